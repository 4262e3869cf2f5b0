/* SPDX-License-Identifier: Apache-2.0
 *
 * state.db: opening it, and its edits.  Only one process writes it, so it has no write-ahead log:
 * at rest it is one file.
 */
#include "state_db.h"
#include "core/futex.h"
#include "state_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define APPLICATION_ID 0x53484d73 /* "SHMs" */
#define SCHEMA         3
#define HISTORY_MAX    "1000"
#define TABLES_MIN     "100"

static const char number_schema[] =
    "CREATE TABLE number(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;";
/* `step` counts what was applied, in that order, and is NULL where the table as it was is not kept;
 * `past_bytes` is what the step takes in `past` (state_past.c). */
static const char edit_schema[] =
    "CREATE TABLE edit(edit INTEGER PRIMARY KEY AUTOINCREMENT, time_ns INTEGER NOT NULL, "
    "  who TEXT NOT NULL, what TEXT NOT NULL, generation INTEGER, error TEXT, "
    "  outcome TEXT NOT NULL CHECK(outcome IN ('intended', 'pending', 'applied', 'abandoned', "
    "'waited', 'rejected')), "
    "  step INTEGER, past_bytes INTEGER) STRICT;";

/* ---- statements */

int state_error(const struct state_db *db) {
    switch (sqlite3_errcode(db->sql)) {
    case SQLITE_OK:
    case SQLITE_DONE:
    case SQLITE_ROW:
        return 0;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_READONLY:
        return -EROFS;
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
        return -EACCES;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return -EBADMSG;
    default:
        return -EIO;
    }
}

static sqlite3_stmt *prepare(const struct state_db *db, const char *sql, const char *types,
                             va_list values) {
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(db->sql, sql, -1, &s, NULL) != SQLITE_OK)
        return NULL;
    for (int i = 1; *types != '\0'; types++, i++) {
        if (*types == 'i') {
            sqlite3_bind_int64(s, i, va_arg(values, int64_t));
        } else if (*types == 't') {
            sqlite3_bind_text(s, i, va_arg(values, const char *), -1, SQLITE_TRANSIENT);
        } else {
            const void *blob = va_arg(values, const void *);
            sqlite3_bind_blob(s, i, blob, va_arg(values, int), SQLITE_TRANSIENT);
        }
    }
    return s;
}

sqlite3_stmt *state_prepare(const struct state_db *db, const char *sql, const char *types, ...) {
    va_list values;
    va_start(values, types);
    sqlite3_stmt *s = prepare(db, sql, types, values);
    va_end(values);
    return s;
}

int state_run(const struct state_db *db, const char *sql, const char *types, ...) {
    va_list values;
    va_start(values, types);
    sqlite3_stmt *s = prepare(db, sql, types, values);
    va_end(values);
    int step = s == NULL ? SQLITE_ERROR : sqlite3_step(s);
    int r = step == SQLITE_DONE || step == SQLITE_ROW ? 0 : state_error(db);
    sqlite3_finalize(s);
    return r;
}

int64_t state_number(const struct state_db *db, const char *sql, const char *name,
                     int64_t otherwise) {
    sqlite3_stmt *s = state_prepare(db, sql, name == NULL ? "" : "t", name);
    if (s != NULL && sqlite3_step(s) == SQLITE_ROW && sqlite3_column_type(s, 0) == SQLITE_INTEGER)
        otherwise = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return otherwise;
}

int state_begin(const struct state_db *db) {
    return state_run(db, "BEGIN IMMEDIATE", "");
}

int state_finish(const struct state_db *db, int r) {
    if (r == 0)
        r = state_run(db, "COMMIT", "");
    if (r < 0 && sqlite3_get_autocommit(db->sql) == 0)
        state_run(db, "ROLLBACK", "");
    return r;
}

/* ---- opening */

static int execute(const struct state_db *db, const char *sql) {
    return sqlite3_exec(db->sql, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : state_error(db);
}

static int execute_all(const struct state_db *db, const char *const *sqls, size_t n) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = execute(db, sqls[i]);
    return r;
}

static int make_schema(const struct state_db *db) {
    char vacuum[64], identity[128];
    snprintf(vacuum, sizeof vacuum, "PRAGMA auto_vacuum = %d", STATE_VACUUM_IN_STEPS);
    snprintf(identity, sizeof identity, "PRAGMA application_id = %d; PRAGMA user_version = %d;",
             APPLICATION_ID, SCHEMA);
    const char *const sqls[] = {number_schema,           edit_schema,       state_items_schema,
                                state_checkpoint_schema, state_past_schema, identity};
    int r = execute(db, vacuum); /* before there is a page */
    if (r == 0)
        r = state_begin(db);
    if (r == 0)
        r = execute_all(db, sqls, sizeof sqls / sizeof *sqls);
    return state_finish(db, r);
}

/* Version 1 had no checkpoints; version 2 kept no table but the last good one, and no edit could be
 * pending. */
static int upgrade(const struct state_db *db, int64_t from) {
    static const char former[] = "ALTER TABLE edit RENAME TO former";
    static const char move[] =
        "INSERT INTO edit(edit, time_ns, who, what, generation, error, outcome) "
        "SELECT edit, time_ns, who, what, generation, error, outcome FROM former;"
        "UPDATE edit SET step = 1 "
        "WHERE edit = (SELECT max(edit) FROM edit WHERE outcome = 'applied');"
        "DROP TABLE former; PRAGMA user_version = 3";
    const char *const sqls[] = {former, edit_schema, state_past_schema, move};
    int r = state_begin(db);
    if (r == 0 && from == 1)
        r = execute(db, state_checkpoint_schema);
    if (r == 0)
        r = execute_all(db, sqls, sizeof sqls / sizeof *sqls);
    return state_finish(db, r);
}

static int64_t count_tables(const struct state_db *db) {
    return state_number(db,
                        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN "
                        "('chunk', 'edit', 'item', 'number', 'past', 'saved')",
                        NULL, 0);
}

static bool is_sound(const struct state_db *db) {
    sqlite3_stmt *s = state_prepare(db, "PRAGMA quick_check(1)", "");
    const char *answer =
        s != NULL && sqlite3_step(s) == SQLITE_ROW ? (const char *)sqlite3_column_text(s, 0) : NULL;
    bool sound = answer != NULL && strcmp(answer, "ok") == 0;
    sqlite3_finalize(s);
    return sound;
}

static int open_file(struct state_db *db, const char *path) {
    int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(path, &db->sql, flags, NULL) != SQLITE_OK)
        return db->sql == NULL ? -ENOMEM : state_error(db);
    sqlite3_busy_timeout(db->sql, 2000);
    sqlite3_db_config(db->sql, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db->sql, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_exec(db->sql, "PRAGMA synchronous = FULL", NULL, NULL, NULL);
    return 0;
}

/* 0; -EBADMSG: damaged; -EPROTONOSUPPORT: not ours, or newer; or another negative errno. */
static int check_file(const struct state_db *db) {
    if (!is_sound(db)) {
        int r = state_error(db);
        return r == 0 ? -EBADMSG : r;
    }
    int64_t application = state_number(db, "PRAGMA application_id", NULL, -1);
    int64_t version = state_number(db, "PRAGMA user_version", NULL, -1);
    if (application == 0 && version == 0 &&
        state_number(db, "SELECT count(*) FROM sqlite_schema", NULL, -1) == 0)
        return make_schema(db);
    static const int64_t tables[SCHEMA + 1] = {0, 3, 5, 6};
    if (application != APPLICATION_ID || version < 1 || version > SCHEMA)
        return -EPROTONOSUPPORT;
    if (count_tables(db) != tables[version])
        return -EBADMSG;
    return version < SCHEMA ? upgrade(db, version) : 0;
}

/* A damaged file is kept for whoever wants to look at it. */
static int set_aside(const char *path, char aside[PATH_MAX], char *error, size_t error_bytes) {
    char journal[PATH_MAX + 16], journal_aside[PATH_MAX + 16];
    snprintf(aside, PATH_MAX, "%s.damaged-%lld", path, (long long)time(NULL));
    snprintf(journal, sizeof journal, "%s-journal", path);
    snprintf(journal_aside, sizeof journal_aside, "%s-journal", aside);
    /* The journal first: it would be played back into the new file. */
    if ((rename(journal, journal_aside) < 0 && errno != ENOENT) || rename(path, aside) < 0)
        return -errno;
    snprintf(error, error_bytes,
             "%s was damaged; it is kept as %s, and a new one was made: the history is lost, the "
             "segment is not",
             path, aside);
    return 0;
}

/* What is whole of the checkpoint goes into the new one: after a reboot there is nothing else. */
static void salvage(struct state_db *db, const char *aside, char *error, size_t error_bytes) {
    int values = state_saved_salvage(db, aside);
    size_t n = strlen(error);
    if (values > 0)
        snprintf(error + n, error_bytes - n, "; %d saved value(s) were taken over", values);
    else if (values < 0)
        snprintf(error + n, error_bytes - n, "; its saved values could not be taken over: %s",
                 strerror(-values));
}

static int try_open(struct state_db *db, const char *path) {
    int r = open_file(db, path);
    if (r == 0)
        r = check_file(db);
    if (r < 0) {
        sqlite3_close(db->sql);
        db->sql = NULL;
    }
    return r;
}

/* SQLite calls a page that the disk failed to give damaged too.  That is no reason to throw the
 * rest away: the error of the disk counts, or nothing when it has passed. */
static int look_again(struct state_db *db, const char *path) {
    char page[4096];
    ssize_t n = 1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && n > 0)
        n = read(fd, page, sizeof page);
    int r = fd < 0 || n < 0 ? -errno : 0;
    if (fd >= 0)
        close(fd);
    return r == 0 ? try_open(db, path) : r;
}

static const char *open_remedy(int r) {
    switch (r) {
    case -EPROTONOSUPPORT:
        return "it is another application's, or a newer version's: move it away";
    case -ENOSPC:
        return "the disk is full: make room";
    case -EBUSY:
        return "somebody else has it locked: end that";
    case -EIO:
        return "the disk fails, or may not be written so far (dmesg, quota, ulimit -f)";
    default:
        return strerror(-r);
    }
}

int state_db_open(struct state_db **ret, const char *path, char *error, size_t error_bytes) {
    /* SQLite would make it with the umask's mode.  One that exists is not opened: closing it would
     * drop the locks that this process may have on it. */
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int made = fd < 0 ? -errno : close(fd);
    struct state_db *db = calloc(1, sizeof *db);
    if (db == NULL)
        return -ENOMEM;
    int r = made < 0 && made != -EEXIST ? made : try_open(db, path);
    if (r == -EBADMSG)
        r = look_again(db, path);
    if (r == -EBADMSG) {
        char aside[PATH_MAX];
        r = set_aside(path, aside, error, error_bytes);
        if (r == 0)
            r = try_open(db, path);
        if (r == 0) {
            chmod(path, 0600);
            salvage(db, aside, error, error_bytes);
        }
    }
    if (r < 0) {
        snprintf(error, error_bytes, "%s can't be used: %s", path, open_remedy(r));
        free(db);
        return r;
    }
    *ret = db;
    return 0;
}

void state_db_close(struct state_db *db) {
    if (db == NULL)
        return;
    state_known_forget(db);
    sqlite3_close(db->sql);
    free(db);
}

/* ---- edits */

static int64_t open_edit(const struct state_db *db) {
    return state_number(db, "SELECT max(edit) FROM edit WHERE outcome = 'intended'", NULL, 0);
}

static int abandon(struct state_db *db) {
    int r = state_run(db, "UPDATE edit SET outcome = 'abandoned' WHERE outcome = 'intended'", "");
    return r == 0 ? state_items_drop(db) : r;
}

static int end_pending(const struct state_db *db) {
    return state_run(db, "UPDATE edit SET outcome = 'waited' WHERE outcome = 'pending'", "");
}

int state_db_intend(struct state_db *db, const char *who, const char *what,
                    const struct layout *next, const struct table *table, int64_t *edit) {
    int r = state_begin(db);
    if (r == 0)
        r = abandon(db);
    if (r == 0)
        r = end_pending(db);
    if (r == 0)
        r = state_run(db,
                      "INSERT INTO edit(time_ns, who, what, generation, outcome) "
                      "VALUES(?, ?, ?, ?, 'intended')",
                      "itti", (int64_t)clock_real_ns(), who, what, (int64_t)next->generation);
    int64_t id = sqlite3_last_insert_rowid(db->sql);
    if (r == 0)
        r = state_items_stage(db, next, table);
    r = state_finish(db, r);
    if (r < 0)
        return r;
    state_known_intend(db, next, table, id);
    *edit = id;
    return 0;
}

/* The newest generation is kept whatever its age: a new segment counts on from it.  So are the last
 * edits of the table, whatever was refused, moved, or made by workers since. */
static int prune(const struct state_db *db) {
    int r = state_run(db,
                      "DELETE FROM edit WHERE edit <= (SELECT max(edit) FROM edit) - " HISTORY_MAX
                      " AND generation IS NOT (SELECT coalesce(max(generation), 0) FROM edit)"
                      " AND step IS NOT (SELECT coalesce(max(step), 0) FROM edit)"
                      " AND (coalesce(past_bytes, 0) = 0 OR step IS NULL OR step < coalesce("
                      "  (SELECT step FROM edit WHERE past_bytes > 0 AND step IS NOT NULL "
                      "   ORDER BY step DESC LIMIT 1 OFFSET " TABLES_MIN " - 1), 0))",
                      "");
    return r == 0 ? state_past_prune(db) : r;
}

static int close_edit(struct state_db *db, int64_t edit) {
    int r = state_run(db,
                      "UPDATE edit SET outcome = 'applied' WHERE edit = ? AND outcome = "
                      "'intended'",
                      "i", edit);
    if (r == 0 && sqlite3_changes(db->sql) == 0)
        r = -ENOENT;
    if (r == 0)
        r = state_past_record(db, edit);
    if (r == 0)
        r = state_items_commit(db);
    return r == 0 ? prune(db) : r;
}

int state_db_done(struct state_db *db, int64_t edit) {
    int r = state_begin(db);
    if (r == 0)
        r = close_edit(db, edit);
    r = state_finish(db, r);
    if (r == 0)
        state_known_done(db, edit);
    return r;
}

int state_db_settle(struct state_db *db, uint64_t running_generation) {
    int64_t edit = open_edit(db);
    if (edit == 0)
        return 0;
    int64_t generation = state_number(db,
                                      "SELECT generation FROM edit WHERE outcome = 'intended' "
                                      "ORDER BY edit DESC LIMIT 1",
                                      NULL, -1);
    if (generation < 0) /* each intended edit has one: it can't be read at this moment */
        return -EIO;
    int r = state_begin(db);
    if (r == 0)
        r = generation == (int64_t)running_generation ? close_edit(db, edit) : abandon(db);
    return state_finish(db, r);
}

static int add_refused(const struct state_db *db, const char *who, const char *why,
                       const char *outcome) {
    int r = end_pending(db);
    if (r == 0)
        r = state_run(db,
                      "INSERT INTO edit(time_ns, who, what, error, outcome) "
                      "VALUES(?, ?, 'nothing', ?, ?)",
                      "ittt", (int64_t)clock_real_ns(), who, why, outcome);
    return r == 0 ? prune(db) : r;
}

static int refused(struct state_db *db, const char *who, const char *why, const char *outcome) {
    sqlite3_stmt *s =
        state_prepare(db,
                      "SELECT edit FROM (SELECT * FROM edit ORDER BY edit DESC LIMIT 1) "
                      "WHERE outcome = ? AND error = ?",
                      "tt", outcome, why);
    const int64_t again =
        s != NULL && sqlite3_step(s) == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
    sqlite3_finalize(s);
    if (again != 0)
        return state_run(db, "UPDATE edit SET time_ns = ?, who = ? WHERE edit = ?", "iti",
                         (int64_t)clock_real_ns(), who, again);
    int r = state_begin(db);
    if (r == 0)
        r = add_refused(db, who, why, outcome);
    return state_finish(db, r);
}

int state_db_rejected(struct state_db *db, const char *who, const char *why) {
    return refused(db, who, why, "rejected");
}

int state_db_pending(struct state_db *db, const char *who, const char *why) {
    return refused(db, who, why, "pending");
}

uint64_t state_db_generation(struct state_db *db) {
    return (uint64_t)state_number(db, "SELECT max(generation) FROM edit", NULL, 0);
}

int state_db_remember(struct state_db *db, const char *name, int64_t value) {
    return state_run(db, "INSERT OR REPLACE INTO number(name, value) VALUES(?, ?)", "ti", name,
                     value);
}

int64_t state_db_recall(struct state_db *db, const char *name, int64_t otherwise) {
    return state_number(db, "SELECT value FROM number WHERE name = ?", name, otherwise);
}

int state_db_remember_all(struct state_db *db, const struct state_number *numbers, size_t n) {
    int r = state_begin(db);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = state_db_remember(db, numbers[i].name, numbers[i].value);
    return state_finish(db, r);
}
