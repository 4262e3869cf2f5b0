/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading sections.db: whose file it is, whether its schema is ours and nothing else, and its rows.
 */
#include "table_db.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUSY_MS      500
#define SECTIONS_MAX 100000u
#define WORKERS_MAX  16384u

struct table_db {
    sqlite3 *sql;
    sqlite3_stmt *version;
    char path[PATH_MAX];
};

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
    if (r == 0 && link(draft, path) < 0)
        r = FAIL(-errno, "%s: %s", path, strerror(errno));
    unlink(draft);
    return r;
}

/* ---- opening one */

static int sql_error(const struct table_db *db, char *error, size_t error_bytes) {
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
    default:
        return FAIL(-EIO, "%s: %s", path, text);
    }
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
    sqlite3_limit(sql, SQLITE_LIMIT_LENGTH, 1 << 20);
    sqlite3_limit(sql, SQLITE_LIMIT_ATTACHED, 0);
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
    int r = sqlite3_open_v2(plain ? db->path : uri, &db->sql,
                            SQLITE_OPEN_READONLY | (plain ? 0 : SQLITE_OPEN_URI), NULL);
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
    }
    return r == SQLITE_OK ? 0 : sql_error(db, error, error_bytes);
}

static int check_identity(const struct table_db *db, char *error, size_t error_bytes) {
    int64_t application = pragma(db, "PRAGMA application_id");
    int64_t version = pragma(db, "PRAGMA user_version");
    if (application != TABLE_DB_APPLICATION_ID)
        return FAIL(-EPROTONOSUPPORT,
                    "%s is an SQLite database of another application (application_id %lld, ours is "
                    "%d): give the right file (--table)",
                    db->path, (long long)application, TABLE_DB_APPLICATION_ID);
    if (version != TABLE_DB_SCHEMA)
        return FAIL(-EPROTONOSUPPORT,
                    "%s has schema version %lld, this program knows %d: use the version that wrote "
                    "it",
                    db->path, (long long)version, TABLE_DB_SCHEMA);
    return 0;
}

int table_db_open(struct table_db **ret, const char *path, char *error, size_t error_bytes) {
    struct stat stat;
    if (lstat(path, &stat) < 0)
        return FAIL(-errno, "%s: %s", path,
                    errno == ENOENT ? "there is no section table: shmtool table init makes one"
                                    : strerror(errno));
    struct table_db *db = calloc(1, sizeof *db);
    if (db == NULL)
        return FAIL(-ENOMEM, "%s: out of memory", path);
    int r =
        snprintf(db->path, sizeof db->path, "%s", path) < (int)sizeof db->path ? 0 : -ENAMETOOLONG;
    if (r == 0)
        r = open_anyhow(db, error, error_bytes);
    else
        snprintf(error, error_bytes, "%s: the path is too long", path);
    if (r == 0)
        r = check_identity(db, error, error_bytes);
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

int64_t table_db_version(struct table_db *db) {
    if (db->version == NULL &&
        sqlite3_prepare_v3(db->sql, "PRAGMA data_version", -1, SQLITE_PREPARE_PERSISTENT,
                           &db->version, NULL) != SQLITE_OK)
        return -EIO;
    int64_t version =
        sqlite3_step(db->version) == SQLITE_ROW ? sqlite3_column_int64(db->version, 0) : -EIO;
    sqlite3_reset(db->version);
    return version;
}

/* ---- its schema: ours, to the letter */

static const char list_schema[] =
    "SELECT type, name, coalesce(sql, '') FROM sqlite_schema ORDER BY type, name";

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
        r = sql_error(db, error, error_bytes);
    else if (sqlite3_prepare_v2(right, list_schema, -1, &wanted, NULL) != SQLITE_OK)
        r = FAIL(-ENOMEM, "%s: out of memory", db->path);
    else if (first_difference(found, wanted, name, sizeof name))
        r = FAIL(-EINVAL,
                 "the table has a %s that is not shm-manager's (it would run as whoever edits the "
                 "table next): DROP it",
                 name);
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

static int check_schema(const struct table_db *db, char *error, size_t error_bytes) {
    sqlite3 *right = NULL;
    int r = sqlite3_open(":memory:", &right) == SQLITE_OK ? exec(right, table_db_schema) : -ENOMEM;
    r = r < 0 ? FAIL(-ENOMEM, "%s: out of memory", db->path)
              : compare_schema(db, right, error, error_bytes);
    sqlite3_close(right);
    return r;
}

/* ---- its rows */

/* One row being read; what is wrong with it ends in `error`. */
struct row {
    sqlite3_stmt *s;
    const char *table;
    char label[96]; /* "section 'cam'" */
    char *error;
    size_t error_bytes;
};

static int wrong_type(const struct row *row, int column, const char *should) {
    snprintf(row->error, row->error_bytes, "%s: %s must be %s (UPDATE %s SET %s = ...)", row->label,
             sqlite3_column_name(row->s, column), should, row->table,
             sqlite3_column_name(row->s, column));
    return -EINVAL;
}

/* A text of at most 63 bytes without a NUL in it; NULL is "". */
static int read_text(const struct row *row, int column, char ret[SHM_NAME_BYTES]) {
    int type = sqlite3_column_type(row->s, column);
    ret[0] = '\0';
    if (type == SQLITE_NULL)
        return 0;
    const char *text = (const char *)sqlite3_column_text(row->s, column);
    size_t bytes = (size_t)sqlite3_column_bytes(row->s, column);
    if (type != SQLITE_TEXT || text == NULL || bytes >= SHM_NAME_BYTES || strlen(text) != bytes)
        return wrong_type(row, column, "a text of at most 63 bytes");
    memcpy(ret, text, bytes + 1);
    return 0;
}

static int read_number(const struct row *row, int column, uint64_t least, uint64_t most,
                       uint64_t *ret) {
    int64_t value = sqlite3_column_int64(row->s, column);
    if (sqlite3_column_type(row->s, column) == SQLITE_INTEGER && value >= 0 &&
        (uint64_t)value >= least && (uint64_t)value <= most) {
        *ret = (uint64_t)value;
        return 0;
    }
    char should[80];
    snprintf(should, sizeof should, "a number from %llu to %llu", (unsigned long long)least,
             (unsigned long long)most);
    return wrong_type(row, column, should);
}

static int read_count(const struct row *row, int column, uint32_t otherwise, uint32_t *ret) {
    uint64_t value = otherwise;
    if (sqlite3_column_type(row->s, column) != SQLITE_NULL) {
        int r = read_number(row, column, 0, UINT32_MAX, &value);
        if (r < 0)
            return r;
    }
    *ret = (uint32_t)value;
    return 0;
}

static int read_flag(const struct row *row, int column, bool *ret) {
    uint64_t value = 0;
    int r = read_number(row, column, 0, 1, &value);
    *ret = value == 1;
    return r;
}

static int read_word(const struct row *row, int column, enum table_words words, unsigned *ret) {
    char text[SHM_NAME_BYTES];
    int r = read_text(row, column, text);
    if (r < 0)
        return r;
    int value = table_value(words, text);
    if (value < 0)
        return wrong_type(row, column,
                          words == TABLE_KINDS      ? "raw, snapshot, slots or queue"
                          : words == TABLE_BACKENDS ? "sysv or memfd"
                          : words == TABLE_STAMPS   ? "precise, coarse or none"
                                                    : "demand, always or never");
    *ret = (unsigned)value;
    return 0;
}

/* A number, or a text in decimal or hex. */
static int read_key(const struct row *row, int column, uint32_t *ret) {
    const char *text = (const char *)sqlite3_column_text(row->s, column);
    char *end = NULL;
    errno = 0;
    unsigned long long value = text == NULL ? 0 : strtoull(text, &end, 0);
    bool ok = text != NULL && *text >= '0' && *text <= '9' && *end == '\0' && errno == 0 &&
              value >= 1 && value <= UINT32_MAX;
    if (!ok)
        return wrong_type(row, column, "a number from 1 to 4294967295, or hex as '0x53484D31'");
    *ret = (uint32_t)value;
    return 0;
}

static int read_mode(const struct row *row, int column, uint32_t *ret) {
    char text[SHM_NAME_BYTES];
    int r = read_text(row, column, text);
    if (r < 0)
        return r;
    if (strcmp(text, "0660") != 0 && strcmp(text, "0664") != 0)
        return wrong_type(row, column, "'0660' or '0664'");
    *ret = text[3] == '0' ? 0660 : 0664;
    return 0;
}

static int take_segment(struct row *row, struct table *t) {
    unsigned backend = 0;
    snprintf(row->label, sizeof row->label, "segment");
    int r = read_key(row, 0, &t->key);
    if (r == 0)
        r = read_number(row, 1, 1, TABLE_SEGMENT_MAX, &t->size);
    if (r == 0)
        r = read_word(row, 2, TABLE_BACKENDS, &backend);
    if (r == 0)
        r = read_mode(row, 3, &t->mode);
    if (r == 0)
        r = read_text(row, 4, t->group_name);
    if (r == 0)
        r = read_flag(row, 5, &t->lock_memory);
    if (r == 0)
        r = read_flag(row, 6, &t->auto_apply);
    t->backend = (enum shm_backend)backend;
    return r;
}

/* Room for one more; the array doubles. */
static void *grow(void *array, size_t n, size_t bytes) {
    return (n & (n - 1)) == 0 ? reallocarray(array, n == 0 ? 1 : 2 * n, bytes) : array;
}

static int too_many(const struct row *row, unsigned most) {
    snprintf(row->error, row->error_bytes, "the table has more than %u %ss: delete some", most,
             row->table);
    return -EINVAL;
}

static int take_worker(struct row *row, struct table *t) {
    if (t->workers_n == WORKERS_MAX)
        return too_many(row, WORKERS_MAX);
    struct table_worker w = {0};
    uint64_t instances = 0;
    snprintf(row->label, sizeof row->label, "worker '%.63s'", sqlite3_column_text(row->s, 0));
    int r = read_text(row, 0, w.name);
    if (r == 0)
        r = read_text(row, 1, w.user);
    if (r == 0)
        r = read_number(row, 2, 1, TABLE_INSTANCES_MAX, &instances);
    if (r == 0)
        r = read_number(row, 3, 0, TABLE_SEGMENT_MAX, &w.may_create);
    if (r < 0)
        return r;
    w.instances = (uint32_t)instances;
    void *grown = grow(t->workers, t->workers_n, sizeof w);
    if (grown == NULL)
        return -ENOMEM;
    t->workers = grown;
    t->workers[t->workers_n++] = w;
    return 0;
}

static int read_place(const struct row *row, int column, struct table_section *s) {
    s->pinned = sqlite3_column_type(row->s, column) != SQLITE_NULL;
    return s->pinned ? read_number(row, column, 0, TABLE_SEGMENT_MAX, &s->offset) : 0;
}

static int read_words(const struct row *row, struct table_section *s) {
    unsigned kind = 0, stamp = 0, notify = 0;
    int r = read_word(row, 3, TABLE_KINDS, &kind);
    if (r == 0)
        r = read_word(row, 13, TABLE_STAMPS, &stamp);
    if (r == 0)
        r = read_word(row, 14, TABLE_NOTIFIES, &notify);
    s->kind = (enum shm_kind)kind;
    s->stamp = (enum table_stamp)stamp;
    s->notify = (enum table_notify)notify;
    return r;
}

static int take_section(struct row *row, struct table *t) {
    if (t->sections_n == SECTIONS_MAX)
        return too_many(row, SECTIONS_MAX);
    struct table_section s = {0};
    snprintf(row->label, sizeof row->label, "section '%.63s'", sqlite3_column_text(row->s, 1));
    int r = read_number(row, 0, 1, INT64_MAX, &s.id);
    if (r == 0)
        r = read_text(row, 1, s.name);
    if (r == 0)
        r = read_text(row, 2, s.owner);
    if (r == 0)
        r = read_words(row, &s);
    if (r == 0)
        r = read_number(row, 4, 1, TABLE_SEGMENT_MAX, &s.size);
    if (r == 0)
        r = read_count(row, 5, s.kind == SHM_KIND_SNAPSHOT ? 4 : 0, &s.count);
    if (r == 0)
        r = read_place(row, 6, &s);
    if (r == 0)
        r = read_text(row, 7, s.read_group);
    if (r == 0)
        r = read_text(row, 8, s.write_group);
    if (r == 0)
        r = read_flag(row, 9, &s.shared);
    if (r == 0)
        r = read_flag(row, 10, &s.persist);
    if (r == 0)
        r = read_number(row, 11, 0, TABLE_STALE_MS_MAX, &s.stale_ms);
    if (r == 0)
        r = read_text(row, 12, s.format);
    if (r < 0)
        return r;
    void *grown = grow(t->sections, t->sections_n, sizeof s);
    if (grown == NULL)
        return -ENOMEM;
    t->sections = grown;
    t->sections[t->sections_n++] = s;
    return 0;
}

static int each(const struct table_db *db, const char *table, const char *sql,
                int (*take)(struct row *, struct table *), struct table *t, char *error,
                size_t error_bytes) {
    struct row row = {.table = table, .error = error, .error_bytes = error_bytes};
    if (sqlite3_prepare_v2(db->sql, sql, -1, &row.s, NULL) != SQLITE_OK)
        return sql_error(db, error, error_bytes);
    int r = 0, step = SQLITE_DONE, rows = 0;
    for (; r == 0 && (step = sqlite3_step(row.s)) == SQLITE_ROW; rows++)
        r = take(&row, t);
    if (r == -ENOMEM)
        snprintf(error, error_bytes, "%s: out of memory", db->path);
    if (r == 0 && step != SQLITE_DONE)
        r = sql_error(db, error, error_bytes);
    sqlite3_finalize(row.s);
    return r < 0 ? r : rows;
}

static int load(const struct table_db *db, struct table *t, char *error, size_t error_bytes) {
    int r = check_schema(db, error, error_bytes);
    if (r == 0)
        r = each(
            db, "segment",
            "SELECT key, size, backend, mode, group_name, lock_memory, auto_apply FROM segment",
            take_segment, t, error, error_bytes);
    if (r >= 0 && r != 1)
        r = FAIL(-EINVAL,
                 "segment: there must be one row, and there are %d: INSERT INTO segment "
                 "DEFAULT VALUES",
                 r);
    if (r > 0)
        r = each(
            db, "worker",
            "SELECT name, user, instances, may_create FROM worker ORDER BY name COLLATE BINARY",
            take_worker, t, error, error_bytes);
    if (r >= 0)
        r = each(db, "section",
                 "SELECT id, name, owner, kind, size, count, \"offset\", read_group, write_group, "
                 "shared, persist, stale_ms, format, stamp, notify FROM section ORDER BY id",
                 take_section, t, error, error_bytes);
    return r < 0 ? r : table_check(t, error, error_bytes);
}

int table_db_load(struct table_db *db, struct table *ret, char *error, size_t error_bytes) {
    struct table table = {0};
    if (exec(db->sql, "BEGIN") < 0)
        return sql_error(db, error, error_bytes);
    int r = load(db, &table, error, error_bytes);
    exec(db->sql, "ROLLBACK");
    if (r < 0) {
        table_clear(&table);
        return r;
    }
    *ret = table;
    return 0;
}
