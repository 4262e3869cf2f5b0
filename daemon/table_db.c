/* SPDX-License-Identifier: Apache-2.0
 *
 * sections.db: making it, whose file it is, and whether its schema is ours and nothing else.
 */
#include "table_db.h"
#include "table_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BUSY_MS    500
#define LENGTH_MAX 65536

#define FAIL(result, ...) (snprintf(error, error_bytes, __VA_ARGS__), (result))

/* ---- making one */

static int exec(sqlite3 *sql, const char *text) {
    return sqlite3_exec(sql, text, NULL, NULL, NULL) == SQLITE_OK ? 0 : -EIO;
}

static int fill(const char *path, char *error, size_t error_bytes) {
    char pragmas[160];
    snprintf(pragmas, sizeof pragmas, "PRAGMA application_id = %d; PRAGMA user_version = %d;",
             TABLE_DB_APPLICATION_ID, TABLE_DB_SCHEMA);
    sqlite3 *sql = NULL;
    int r = sqlite3_open_v2(path, &sql, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK ? 0 : -EIO;
    if (r == 0)
        r = exec(sql, "BEGIN");
    if (r == 0)
        r = exec(sql, table_db_schema);
    if (r == 0)
        r = exec(sql, pragmas);
    if (r == 0)
        r = exec(sql, "COMMIT");
    if (r == 0) /* last, so that closing takes the log away again */
        r = exec(sql, "PRAGMA journal_mode = WAL");
    if (r < 0)
        snprintf(error, error_bytes, "%s: can't be made: %s", path, sqlite3_errmsg(sql));
    sqlite3_close(sql);
    return r;
}

/* A log without its database would be replayed into the new one, and bring old rows back.  It is
 * kept for whoever wants its table back. */
static int put_log_aside(const char *path, char *error, size_t error_bytes) {
    char log[PATH_MAX + 8], aside[PATH_MAX + 40];
    snprintf(log, sizeof log, "%s-wal", path);
    snprintf(aside, sizeof aside, "%s-wal.aside-%lld", path, (long long)time(NULL));
    if (rename(log, aside) < 0 && errno != ENOENT)
        return FAIL(-errno, "%s belongs to no table, and can't be put aside: %s", log,
                    strerror(errno));
    snprintf(log, sizeof log, "%s-shm", path);
    if (unlink(log) < 0 && errno != ENOENT)
        return FAIL(-errno, "%s belongs to no table, and can't be removed: %s", log,
                    strerror(errno));
    return 0;
}

/* One at a time in a directory: whoever comes second must not take the first one's log away. */
static int put_in_place(const char *draft, const char *path, char *error, size_t error_bytes) {
    char dir[PATH_MAX];
    struct stat stat;
    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    if (slash != NULL)
        slash[slash == dir] = '\0';
    int fd = open(slash == NULL ? "." : dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 || flock(fd, LOCK_EX) < 0 ? FAIL(-errno, "%s: %s", dir, strerror(errno)) : 0;
    if (r == 0 && lstat(path, &stat) < 0)
        r = put_log_aside(path, error, error_bytes);
    if (r == 0 && link(draft, path) < 0)
        r = FAIL(-errno, "%s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return r;
}

/* Under another name first: whoever sees the file sees a whole table. */
int table_db_create(const char *path, char *error, size_t error_bytes) {
    char draft[PATH_MAX];
    struct stat stat;
    if (lstat(path, &stat) == 0)
        return FAIL(-EEXIST, "%s exists: it is left as it is", path);
    if (snprintf(draft, sizeof draft, "%s.new-XXXXXX", path) >= (int)sizeof draft)
        return FAIL(-ENAMETOOLONG, "%s: the path is too long", path);
    int fd = mkostemp(draft, O_CLOEXEC);
    if (fd < 0)
        return FAIL(-errno, "%s: can't be made: %s", path, strerror(errno));
    int r = fchmod(fd, 0640) < 0 ? -errno : fill(draft, error, error_bytes);
    if (r == 0 && fsync(fd) < 0)
        r = FAIL(-errno, "%s: %s", draft, strerror(errno));
    close(fd);
    if (r == 0)
        r = put_in_place(draft, path, error, error_bytes);
    unlink(draft);
    return r;
}

/* ---- opening one */

static int say_sql_error(const struct table_db *db, char *error, size_t error_bytes) {
    const char *path = db->path, *text = sqlite3_errmsg(db->sql);
    switch (sqlite3_errcode(db->sql)) {
    case SQLITE_NOTADB:
        return FAIL(
            -EBADMSG,
            "%s is not an SQLite database: move it away, and restore a copy (an empty table "
            "is made when there is none)",
            path);
    case SQLITE_CORRUPT:
        return FAIL(-EBADMSG,
                    "%s is damaged (%s): restore a copy (sqlite3 %s '.restore BACKUP'), or mend it "
                    "(sqlite3 %s .recover)",
                    path, text, path, path);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return FAIL(-EBUSY, "%s is locked by another program: end its transaction, and try again",
                    path);
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY:
        return FAIL(-EACCES,
                    "%s can't be read (%s): it must be readable for uid %u, and so must its -wal "
                    "and -shm, which belong to it and must not be from another database",
                    path, text, geteuid());
    case SQLITE_NOMEM:
        return FAIL(-ENOMEM, "%s: out of memory", path);
    case SQLITE_TOOBIG:
        return FAIL(-EINVAL,
                    "%s has a row of more than %d bytes, which no column needs: shorten or DELETE "
                    "it (SELECT id FROM section WHERE length(name || owner || format) > 1000)",
                    path, LENGTH_MAX);
    default:
        return FAIL(-EIO, "%s: %s", path, text);
    }
}

void table_one_line(char *text) {
    for (; *text != '\0'; text++)
        if (*text < ' ' || *text > '~')
            *text = ' ';
}

int table_sql_error(const struct table_db *db, char *error, size_t error_bytes) {
    int r = say_sql_error(db, error, error_bytes);
    table_one_line(error);
    return r;
}

static int64_t pragma(const struct table_db *db, const char *sql) {
    sqlite3_stmt *s = NULL;
    int64_t value = -1;
    if (sqlite3_prepare_v2(db->sql, sql, -1, &s, NULL) == SQLITE_OK &&
        sqlite3_step(s) == SQLITE_ROW)
        value = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return value;
}

static void be_careful(sqlite3 *sql) {
    sqlite3_busy_timeout(sql, BUSY_MS);
    sqlite3_db_config(sql, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(sql, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(sql, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(sql, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    sqlite3_limit(sql, SQLITE_LIMIT_LENGTH, LENGTH_MAX);
    sqlite3_limit(sql, SQLITE_LIMIT_SQL_LENGTH, 1 << 16);
    sqlite3_limit(sql, SQLITE_LIMIT_EXPR_DEPTH, 100);
    sqlite3_limit(sql, SQLITE_LIMIT_COMPOUND_SELECT, 2);
    sqlite3_limit(sql, SQLITE_LIMIT_ATTACHED, 0);
    sqlite3_exec(sql, "PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0", NULL, NULL, NULL);
}

static bool has_companion(const char *path, const char *suffix) {
    char name[PATH_MAX + 8];
    snprintf(name, sizeof name, "%s%s", path, suffix);
    return access(name, F_OK) == 0;
}

static int open_uri(struct table_db *db, const char *options) {
    char *uri = sqlite3_mprintf("file:%s%s", db->path, options);
    if (uri == NULL)
        return SQLITE_NOMEM;
    /* Bytes that mean something in a URI can't be told from a path's: such paths go as they are. */
    bool plain = strpbrk(db->path, "?#%") != NULL;
    int r = sqlite3_open_v2(
        plain ? db->path : uri, &db->sql,
        SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | (plain ? 0 : SQLITE_OPEN_URI), NULL);
    sqlite3_free(uri);
    if (r == SQLITE_OK) {
        be_careful(db->sql);
        sqlite3_stmt *s = NULL; /* opening is lazy: only a read finds out */
        r = sqlite3_prepare_v2(db->sql, "SELECT count(*) FROM sqlite_schema", -1, &s, NULL);
        if (r == SQLITE_OK && sqlite3_step(s) != SQLITE_ROW)
            r = sqlite3_errcode(db->sql);
        sqlite3_finalize(s);
    }
    return r;
}

static ino_t inode_of(const char *path, const char *suffix) {
    char name[PATH_MAX + 8];
    struct stat found;
    snprintf(name, sizeof name, "%s%s", path, suffix);
    return stat(name, &found) == 0 ? found.st_ino : 0;
}

static struct table_log log_of(const char *path) {
    return (struct table_log){.wal = inode_of(path, "-wal"), .shm = inode_of(path, "-shm")};
}

/* As it was, or made since. */
static bool same_log(ino_t before, ino_t now) {
    return before == 0 || before == now;
}

/* In WAL mode even a reader needs the -shm file.  Where it may not make one (the directory is
 * root's) and no editor has the database open, there is no log to be read either, and the file can
 * be taken as it is.  Every look opens it anew, so that an editor who comes later is not
 * overlooked. */
static int open_anyhow(struct table_db *db, char *error, size_t error_bytes) {
    int r = open_uri(db, "");
    if ((r == SQLITE_CANTOPEN || r == SQLITE_READONLY) && access(db->path, R_OK) == 0 &&
        !has_companion(db->path, "-wal")) {
        sqlite3_close(db->sql);
        db->sql = NULL;
        r = open_uri(db, "?immutable=1");
        db->immutable = true;
    }
    return r == SQLITE_OK ? 0 : table_sql_error(db, error, error_bytes);
}

static int check_identity(const struct table_db *db, char *error, size_t error_bytes) {
    int64_t application = pragma(db, "PRAGMA application_id");
    int64_t version = table_db_schema_version(db->sql);
    if (application == 0 && pragma(db, "SELECT count(*) FROM sqlite_schema") == 0)
        return FAIL(-EPROTONOSUPPORT,
                    "%s is empty: remove it, and make a new one (shmtool table init)", db->path);
    if (application != TABLE_DB_APPLICATION_ID)
        return FAIL(-EPROTONOSUPPORT,
                    "%s is an SQLite database of another application (application_id %lld, ours is "
                    "%d): give the right file (--table)",
                    db->path, (long long)application, TABLE_DB_APPLICATION_ID);
    if (version != TABLE_DB_SCHEMA && version != TABLE_DB_SCHEMA_FORMER)
        return FAIL(-EPROTONOSUPPORT,
                    "%s has schema version %lld, this program knows %d: use the version that wrote "
                    "it",
                    db->path, (long long)version, TABLE_DB_SCHEMA);
    return 0;
}

static const char *why_unseen(int error) {
    switch (error) {
    case ENOENT:
        return "there is no section table: shmtool table init makes one";
    case EACCES:
        return "you may not enter its directory, which is for root and the manager: try with sudo";
    default:
        return strerror(error);
    }
}

int table_db_open(struct table_db **ret, const char *path, char *error, size_t error_bytes) {
    struct stat seen;
    if (stat(path, &seen) < 0)
        return FAIL(-errno, "%s: %s", path, why_unseen(errno));
    if (!S_ISREG(seen.st_mode)) /* opening a pipe would wait for its writer */
        return FAIL(-EBADMSG, "%s is not an SQLite database, and no file at all: move it away",
                    path);
    struct table_db *db = calloc(1, sizeof *db);
    if (db == NULL)
        return FAIL(-ENOMEM, "%s: out of memory", path);
    db->seen = seen;
    const struct table_log log = log_of(path);
    int r =
        snprintf(db->path, sizeof db->path, "%s", path) < (int)sizeof db->path ? 0 : -ENAMETOOLONG;
    if (r == 0)
        r = open_anyhow(db, error, error_bytes);
    else
        snprintf(error, error_bytes, "%s: the path is too long", path);
    if (r == 0)
        r = check_identity(db, error, error_bytes);
    db->log = log_of(path);
    /* Taken away meanwhile: which one is read isn't known. */
    if (!same_log(log.wal, db->log.wal) || !same_log(log.shm, db->log.shm))
        db->log.wal = (ino_t)-1;
    if (r < 0) {
        table_db_close(db);
        return r;
    }
    *ret = db;
    return 0;
}

void table_db_close(struct table_db *db) {
    if (db == NULL)
        return;
    sqlite3_finalize(db->version);
    sqlite3_close(db->sql);
    free(db);
}

/* Who only looks leaves an empty log behind. */
static bool has_log(const char *path) {
    char name[PATH_MAX + 8];
    struct stat log;
    snprintf(name, sizeof name, "%s-wal", path);
    return stat(name, &log) == 0 && log.st_size > 0;
}

/* SQLite itself doesn't notice that another file was moved here, or that its log was taken away,
 * in which it goes on reading; nor, without locks, anything. */
static bool still_the_same(const struct table_db *db) {
    struct stat now;
    if (stat(db->path, &now) < 0 || now.st_dev != db->seen.st_dev || now.st_ino != db->seen.st_ino)
        return false;
    if (!db->immutable) {
        const struct table_log log = log_of(db->path);
        return log.wal == db->log.wal && log.shm == db->log.shm;
    }
    return now.st_size == db->seen.st_size && now.st_mtim.tv_sec == db->seen.st_mtim.tv_sec &&
           now.st_mtim.tv_nsec == db->seen.st_mtim.tv_nsec && !has_log(db->path);
}

int64_t table_db_version(struct table_db *db) {
    if (db->version == NULL &&
        sqlite3_prepare_v3(db->sql, "PRAGMA data_version", -1, SQLITE_PREPARE_PERSISTENT,
                           &db->version, NULL) != SQLITE_OK)
        return -EIO;
    int64_t version =
        sqlite3_step(db->version) == SQLITE_ROW ? sqlite3_column_int64(db->version, 0) : -EIO;
    sqlite3_reset(db->version);
    return version < 0 || still_the_same(db) ? version : INT64_MAX;
}

bool table_db_replaced(const struct table_db *db) {
    return !still_the_same(db);
}

bool table_db_changed(struct table_db *db, int64_t since) {
    const int64_t now = table_db_version(db);
    return now < 0 || now == INT64_MAX || now != since;
}

/* ---- its schema: ours, to the letter */

/* But for the statistics that ANALYZE and some shells leave behind, which only SQLite uses. */
static const char list_schema[] =
    "SELECT coalesce(type, ''), coalesce(name, ''), coalesce(sql, '') FROM sqlite_schema "
    "WHERE type <> 'table' OR coalesce(sql, '') NOT IN ('CREATE TABLE sqlite_stat1(tbl,idx,stat)',"
    "  'CREATE TABLE sqlite_stat4(tbl,idx,neq,nlt,ndlt,sample)') OR type IS NULL "
    "ORDER BY type, name";

/* The first object of `a` that `b` hasn't got likewise; true when there is one. */
static bool first_difference(sqlite3_stmt *a, sqlite3_stmt *b, char *name, size_t bytes) {
    while (sqlite3_step(a) == SQLITE_ROW) {
        bool found = false;
        sqlite3_reset(b);
        while (!found && sqlite3_step(b) == SQLITE_ROW)
            found = strcmp((const char *)sqlite3_column_text(a, 0),
                           (const char *)sqlite3_column_text(b, 0)) == 0 &&
                    strcmp((const char *)sqlite3_column_text(a, 1),
                           (const char *)sqlite3_column_text(b, 1)) == 0 &&
                    strcmp((const char *)sqlite3_column_text(a, 2),
                           (const char *)sqlite3_column_text(b, 2)) == 0;
        if (!found) {
            snprintf(name, bytes, "%.16s '%.64s'", (const char *)sqlite3_column_text(a, 0),
                     (const char *)sqlite3_column_text(a, 1));
            return true;
        }
    }
    return false;
}

static int compare_schema(const struct table_db *db, sqlite3 *right, char *error,
                          size_t error_bytes) {
    sqlite3_stmt *found = NULL, *wanted = NULL;
    char name[128];
    int r = 0;
    if (sqlite3_prepare_v2(db->sql, list_schema, -1, &found, NULL) != SQLITE_OK)
        r = table_sql_error(db, error, error_bytes);
    else if (sqlite3_prepare_v2(right, list_schema, -1, &wanted, NULL) != SQLITE_OK)
        r = FAIL(-ENOMEM, "%s: out of memory", db->path);
    else if (first_difference(found, wanted, name, sizeof name))
        r = FAIL(-EINVAL,
                 "the table has %s %s that is not shm-manager's (it would run as whoever edits the "
                 "table next): DROP it",
                 name[0] == 'i' ? "an" : "a", name);
    else if (sqlite3_reset(found), sqlite3_reset(wanted),
             first_difference(wanted, found, name, sizeof name))
        r = FAIL(-EINVAL,
                 "the table lacks its %s: dump its rows, and load them into a new one (shmtool "
                 "table init)",
                 name);
    sqlite3_finalize(found);
    sqlite3_finalize(wanted);
    return r;
}

static int check_whole_schema(const struct table_db *db, char *error, size_t error_bytes) {
    sqlite3 *right = NULL;
    const char *schema = table_db_schema_version(db->sql) == TABLE_DB_SCHEMA_FORMER
                             ? table_db_former
                             : table_db_schema;
    int r = sqlite3_open(":memory:", &right) == SQLITE_OK ? exec(right, schema) : -ENOMEM;
    r = r < 0 ? FAIL(-ENOMEM, "%s: out of memory", db->path)
              : compare_schema(db, right, error, error_bytes);
    sqlite3_close(right);
    return r;
}

/* All that is compared, the version and each text behind its length; NULL: it can't be had. */
static char *schema_text(const struct table_db *db, size_t *bytes) {
    char *text = NULL;
    FILE *to = open_memstream(&text, bytes);
    sqlite3_stmt *s = NULL;
    const int version = table_db_schema_version(db->sql);
    int step = SQLITE_ERROR;
    if (to == NULL)
        return NULL;
    bool whole = fwrite(&version, sizeof version, 1, to) == 1;
    if (sqlite3_prepare_v2(db->sql, list_schema, -1, &s, NULL) == SQLITE_OK)
        while ((step = sqlite3_step(s)) == SQLITE_ROW)
            for (int i = 0; i < 3; i++) {
                const char *column = (const char *)sqlite3_column_text(s, i);
                const int n = sqlite3_column_bytes(s, i);
                whole = whole && column != NULL && fwrite(&n, sizeof n, 1, to) == 1 &&
                        fwrite(column, 1, (size_t)n, to) == (size_t)n;
            }
    sqlite3_finalize(s);
    if (fclose(to) == 0 && whole && step == SQLITE_DONE)
        return text;
    free(text);
    return NULL;
}

/* To have SQLite make ours, to compare with, takes as long as all else of a small table.  So what
 * was right once is remembered. */
static int check_schema(const struct table_db *db, char *error, size_t error_bytes) {
    static char *right;
    static size_t right_bytes;
    size_t bytes = 0;
    char *text = schema_text(db, &bytes);
    int r = 0;
    if (text == NULL || bytes != right_bytes || memcmp(text, right, bytes) != 0)
        r = check_whole_schema(db, error, error_bytes);
    if (r == 0 && text != NULL) {
        free(right);
        right = text;
        right_bytes = bytes;
    } else {
        free(text);
    }
    return r;
}

int table_within(const struct table_db *db, struct table *t, char *error, size_t error_bytes) {
    int r = check_identity(db, error, error_bytes); /* which can change while it is open */
    if (r == 0)
        r = check_schema(db, error, error_bytes);
    if (r == 0)
        r = table_rows(db, t, error, error_bytes);
    return r < 0 ? r : table_check(t, error, error_bytes);
}

int table_db_load(struct table_db *db, struct table *ret, char *error, size_t error_bytes) {
    struct table table = {0};
    if (exec(db->sql, "BEGIN") < 0)
        return table_sql_error(db, error, error_bytes);
    int r = table_within(db, &table, error, error_bytes);
    exec(db->sql, "ROLLBACK");
    /* Without locks half of an edit may have been read. */
    if (db->immutable && !still_the_same(db))
        r = FAIL(-EBUSY, "%s is being edited: try again", db->path);
    if (r < 0) {
        table_clear(&table);
        return r;
    }
    *ret = table;
    return 0;
}
