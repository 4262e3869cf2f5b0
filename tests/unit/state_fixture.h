/* SPDX-License-Identifier: Apache-2.0
 *
 * A test's own state.db.
 */
#ifndef SHM_TESTS_STATE_FIXTURE_H
#define SHM_TESTS_STATE_FIXTURE_H

#include "state_db.h"
#include "state_former.h"
#include "temp_dir.h"
#include "unit.h"

#include <sqlite3.h>
#include <string.h>

static struct state_db *db;
static const char *path;

static inline void open_db(void) {
    char error[512] = "";
    ck_assert_msg(state_db_open(&db, path, error, sizeof error) == 0, "%s", error);
    ck_assert_str_eq(error, "");
}

static inline void reopen(void) {
    state_db_close(db);
    open_db();
}

/* An empty one. */
static inline void begin_db(const char *name) {
    path = strdup(temp_path(name));
    open_db();
}

static inline void end_db(void) {
    state_db_close(db);
    free((void *)(uintptr_t)path);
}

/* As somebody else. */
static inline void with_sql(const char *sql) {
    sqlite3 *other;
    ck_assert_int_eq(sqlite3_open(path, &other), SQLITE_OK);
    ck_assert_msg(sqlite3_exec(other, sql, NULL, NULL, NULL) == SQLITE_OK, "%s: %s", sql,
                  sqlite3_errmsg(other));
    sqlite3_close(other);
}

/* Counted in the file, past the module. */
static inline int64_t count(const char *sql) {
    sqlite3 *other = NULL;
    sqlite3_stmt *s = NULL;
    ck_assert_int_eq(sqlite3_open_v2(path, &other, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_prepare_v2(other, sql, -1, &s, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(s), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    sqlite3_close(other);
    return n;
}

#endif
