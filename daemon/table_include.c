/* SPDX-License-Identifier: Apache-2.0
 *
 * The files are looked for first, then run one by one.  What a file makes of the table is compared
 * with what was there before, as a row that is written anew with the same columns is a change to
 * SQLite, and every commit would be one to those who watch the table.
 */
#include "table_include.h"
#include "table_json.h"
#include "table_parts.h"
#include "table_run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define BUSY_MS 5000 /* for an editor's transaction to end */

#define FAIL(result, ...) (snprintf(error, error_bytes, __VA_ARGS__), (result))

/* ---- which files */

struct file {
    char *path;
    const char *name; /* in it */
    size_t dir;       /* the later one hides the earlier */
};

struct files {
    struct file *at;
    size_t n;
};

static void clear(struct files *files) {
    for (size_t i = 0; i < files->n; i++)
        free(files->at[i].path);
    free(files->at);
    *files = (struct files){0};
}

static bool is_included(const char *name) {
    const char *end = strrchr(name, '.');
    return name[0] != '.' && end != NULL && strcmp(end, ".sql") == 0;
}

static int add(struct files *files, const char *dir, size_t index, const char *name) {
    struct file *grown = reallocarray(files->at, files->n + 1, sizeof *grown);
    if (grown == NULL)
        return -ENOMEM;
    files->at = grown;
    struct file file = {.dir = index};
    const int n = asprintf(&file.path, "%s/%s", dir, name);
    if (n < 0)
        return -ENOMEM;
    file.name = file.path + n - strlen(name);
    files->at[files->n++] = file;
    return 0;
}

/* Whoever may lay a file there has a say in the table. */
static bool is_everybodys(const struct stat *found) {
    return (found->st_mode & S_IWOTH) != 0 && (found->st_mode & S_ISVTX) == 0;
}

static int list(struct files *files, const char *dir, size_t index) {
    struct stat found;
    DIR *stream = opendir(dir);
    if (stream == NULL)
        return errno == ENOENT ? 0 : -errno;
    int r = fstat(dirfd(stream), &found) == 0 && is_everybodys(&found) ? -EPERM : 0;
    const struct dirent *entry;
    while (r == 0 && (errno = 0, entry = readdir(stream)) != NULL)
        if (is_included(entry->d_name))
            r = add(files, dir, index, entry->d_name);
    r = r == 0 ? -errno : r;
    closedir(stream);
    return r;
}

static int by_name(const void *a, const void *b) {
    const struct file *one = a, *other = b;
    const int order = strcmp(one->name, other->name);
    return order != 0 ? order : one->dir < other->dir ? -1 : one->dir > other->dir;
}

static bool is_hidden(const struct files *files, size_t i) {
    return i + 1 < files->n && strcmp(files->at[i].name, files->at[i + 1].name) == 0;
}

/* ---- one of them */

/* An empty text for /dev/null, as for an empty file.  Anything else might never end, or wait. */
static int read_file(const char *path, char **ret, char *error, size_t error_bytes) {
    struct stat found;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    FILE *from = fd < 0 || fstat(fd, &found) < 0 ? NULL : fdopen(fd, "r");
    if (from == NULL) {
        int r = FAIL(-errno, "%s can't be read: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return r;
    }
    const bool is_null = S_ISCHR(found.st_mode) && found.st_rdev == makedev(1, 3);
    int r;
    if (!S_ISREG(found.st_mode) && !is_null)
        r = FAIL(-EINVAL,
                 "%s is no regular file: a file of SQL is, and a link to /dev/null hides one",
                 path);
    else if (is_everybodys(&found) && !is_null)
        r = FAIL(-EPERM, "%s: everybody may write it: chmod o-w it", path);
    else
        r = table_run_read(from, path, ret, error, error_bytes);
    fclose(from);
    return r;
}

static int exec(const struct table_db *db, const char *sql) {
    return sqlite3_exec(db->sql, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : -EIO;
}

/* The table as the file makes it; `changed`: it says something else than before. */
static int try_text(const struct table_db *db, const char *path, const char *text,
                    const struct table *before, bool *changed, char *error, size_t error_bytes) {
    char why[512];
    struct table after = {0};
    int r = table_run(db->sql, path, text, why, sizeof why);
    if (r == -EEXIST)
        return FAIL(r,
                    "%s; a file is applied at each start, so write INSERT ... ON CONFLICT(name) DO "
                    "NOTHING, or DO UPDATE SET ...",
                    why);
    if (r < 0)
        return FAIL(r, "%s", why);
    r = table_within(db, &after, why, sizeof why);
    if (r < 0)
        snprintf(error, error_bytes, "%s: %s", path, why);
    *changed = r == 0 && !table_json_same(before, &after);
    table_clear(&after);
    return r;
}

static int apply_file(const struct table_db *db, const char *path, const struct table *before,
                      bool *changed, char *error, size_t error_bytes) {
    char *text = NULL, why[512];
    *changed = false;
    int r = read_file(path, &text, error, error_bytes);
    if (r == 0)
        r = try_text(db, path, text, before, changed, error, error_bytes);
    free(text);
    if (r == 0 && *changed && exec(db, "COMMIT") < 0) {
        r = table_sql_error(db, why, sizeof why);
        snprintf(error, error_bytes, "%s: %s", path, why);
    }
    table_one_line(error);
    return r;
}

/* ---- all of them */

static int cannot_write(const struct table_db *db, int code, char *error, size_t error_bytes) {
    return FAIL(code, "%s can't be written by uid %u (%s): run this as its owner, where it can be",
                db->path, geteuid(), strerror(-code));
}

/* In triggers that somebody planted nothing may be trusted; whether there are any is looked for
 * within each transaction. */
static int open_table(struct table_db *ret, const char *path, char *error, size_t error_bytes) {
    struct table_db *look;
    int r = table_db_open(&look, path, error, error_bytes);
    if (r < 0)
        return r;
    table_db_close(look);
    *ret = (struct table_db){0};
    snprintf(ret->path, sizeof ret->path, "%s", path);
    if (access(path, W_OK) < 0)
        return cannot_write(ret, -errno, error, error_bytes);
    if (sqlite3_open_v2(path, &ret->sql, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
        return table_sql_error(ret, error, error_bytes);
    if (sqlite3_db_readonly(ret->sql, "main") == 1)
        return cannot_write(ret, -EROFS, error, error_bytes);
    sqlite3_busy_timeout(ret->sql, BUSY_MS);
    sqlite3_db_config(ret->sql, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(ret->sql, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(ret->sql, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    sqlite3_limit(ret->sql, SQLITE_LIMIT_LENGTH, 1 << 20);
    sqlite3_limit(ret->sql, SQLITE_LIMIT_ATTACHED, 0);
    return 0;
}

static int begin(const struct table_db *db, struct table *before, char *error, size_t error_bytes) {
    char why[512];
    if (exec(db, "BEGIN IMMEDIATE") < 0) {
        const int code = sqlite3_errcode(db->sql);
        return code == SQLITE_READONLY || code == SQLITE_CANTOPEN || code == SQLITE_PERM
                   ? cannot_write(db, -EACCES, error, error_bytes)
                   : table_sql_error(db, error, error_bytes);
    }
    int r = table_within(db, before, why, sizeof why);
    return r < 0 ? FAIL(r, "%s is refused as it is, so no file is applied to it: %s", db->path, why)
                 : 0;
}

static int apply_all(const struct table_db *db, const struct files *files, table_include_told *told,
                     void *context, char *error, size_t error_bytes) {
    int failed = 0;
    for (size_t i = 0; i < files->n; i++) {
        struct table before = {0};
        char why[1024] = "";
        bool changed = false;
        if (is_hidden(files, i))
            continue;
        int r = begin(db, &before, error, error_bytes);
        const bool begun = r == 0;
        if (begun)
            r = apply_file(db, files->at[i].path, &before, &changed, why, sizeof why);
        if (!sqlite3_get_autocommit(db->sql))
            exec(db, "ROLLBACK");
        table_clear(&before);
        if (!begun)
            return r;
        failed += r < 0;
        told(context, files->at[i].path,
             r < 0     ? TABLE_INCLUDED_FAILED
             : changed ? TABLE_INCLUDED_CHANGED
                       : TABLE_INCLUDED_SAME,
             why);
    }
    return failed;
}

int table_include(const char *path, const char *const *dirs, size_t dirs_n,
                  table_include_told *told, void *context, char *error, size_t error_bytes) {
    struct files files = {0};
    struct table_db db = {0};
    int failed = 0, r = 0;
    for (size_t i = 0; i < dirs_n; i++) {
        char why[1024];
        r = list(&files, dirs[i], i);
        if (r == 0)
            continue;
        snprintf(why, sizeof why,
                 r == -EPERM ? "%s: everybody may write there: chmod o-w it"
                             : "%s can't be read: %s",
                 dirs[i], strerror(-r));
        table_one_line(why);
        told(context, dirs[i], TABLE_INCLUDED_FAILED, why);
        failed++;
    }
    r = 0;
    if (files.n > 0) {
        qsort(files.at, files.n, sizeof *files.at, by_name);
        r = open_table(&db, path, error, error_bytes);
        if (r == 0)
            r = apply_all(&db, &files, told, context, error, error_bytes);
        sqlite3_close(db.sql);
    }
    clear(&files);
    return r < 0 ? r : failed + r;
}
