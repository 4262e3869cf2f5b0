/* SPDX-License-Identifier: Apache-2.0
 *
 * A sections.db to edit and to read.
 */
#ifndef SHM_TESTS_TABLE_FIXTURE_H
#define SHM_TESTS_TABLE_FIXTURE_H

#include "table_db.h"
#include "temp_dir.h"
#include "unit.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

static char error[512];
static const char *path;

/* An empty table of this test's name. */
static void make(const char *name) {
    path = temp_path(name);
    ck_assert_msg(table_db_create(path, error, sizeof error) == 0, "%s", error);
}

static inline void edit(const char *sql) {
    sqlite3 *editor = NULL;
    char *text = NULL;
    ck_assert_int_eq(sqlite3_open(path, &editor), SQLITE_OK);
    ck_assert_msg(sqlite3_exec(editor, sql, NULL, NULL, &text) == SQLITE_OK, "%s: %s", sql, text);
    ck_assert_int_eq(sqlite3_close(editor), SQLITE_OK);
}

static inline struct table_db *opened(void) {
    struct table_db *db = NULL;
    ck_assert_msg(table_db_open(&db, path, error, sizeof error) == 0, "%s", error);
    return db;
}

static inline int load(struct table *ret) {
    struct table_db *db = opened();
    int r = table_db_load(db, ret, error, sizeof error);
    table_db_close(db);
    return r;
}

static inline void expect_table(struct table *ret) {
    int r = load(ret);
    ck_assert_msg(r == 0, "%s", error);
}

static inline void expect_error(int result, const char *text) {
    struct table table;
    int r = load(&table);
    ck_assert_msg(r == result, "%d: %s, not: %s", r, r < 0 ? error : "loaded", text);
    ck_assert_str_eq(error, text);
}

static inline void expect_not_opened(int result, const char *text) {
    struct table_db *db = NULL;
    char whole[1024];
    snprintf(whole, sizeof whole, "%s%s", path, text);
    ck_assert_int_eq(table_db_open(&db, path, error, sizeof error), result);
    ck_assert_str_eq(error, whole);
    ck_assert_ptr_null(db);
}

#endif
