/* SPDX-License-Identifier: Apache-2.0
 *
 * sections.db with any bytes, or with rows that no shell would take: opening and loading it ends
 * with a table that table_check() likes, or with one line.
 */
#include "fuzz_file.h"
#include "table_db.h"

#include <sqlite3.h>
#include <unistd.h>

static struct fuzz_file file;
static char shm[PATH_MAX + 8];

static void run_sql(sqlite3 *sql, const char *text) {
    MUST(sqlite3_exec(sql, text, NULL, NULL, NULL) == SQLITE_OK);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    char error[512];
    sqlite3 *sql;
    file_name(&file, "sections.db", "-wal");
    snprintf(shm, sizeof shm, "%s/sections.db-shm", fuzz_directory());
    MUST(table_db_create(file.path, error, sizeof error) == 0);
    MUST(sqlite3_open(file.path, &sql) == SQLITE_OK);
    run_sql(sql, "PRAGMA journal_mode = DELETE");
    run_sql(sql, "INSERT INTO section(name, owner, size) VALUES('temps', 'driver', 1000),"
                 "('camera', 'grabber', 70000)");
    sqlite3_close(sql);
    file_keep(&file);
    return 0;
}

static void load(void) {
    struct table_db *db = NULL;
    struct table table;
    char error[512] = "";
    int r = table_db_open(&db, file.path, error, sizeof error);
    MUST(r == 0 || (error[0] != '\0' && one_line(error)));
    if (r < 0)
        return;
    table_db_version(db);
    r = table_db_load(db, &table, error, sizeof error);
    MUST(r == 0 || (error[0] != '\0' && one_line(error)));
    if (r == 0) {
        MUST(table_check(&table, error, sizeof error) == 0);
        table_clear(&table);
    }
    table_db_close(db);
}

static void bind_any(sqlite3_stmt *s, struct input *input) {
    char text[80];
    size_t n;
    switch (take_below(input, 6)) {
    case 0:
        sqlite3_bind_null(s, 1);
        break;
    case 1:
    case 2:
        sqlite3_bind_int64(s, 1, (int64_t)take_number(input, 4));
        break;
    case 3:
        sqlite3_bind_double(s, 1, (double)take(input, 4) / 3);
        break;
    case 4:
        n = take_bytes(input, text, 1 + take_below(input, sizeof text));
        sqlite3_bind_blob(s, 1, text, (int)n, SQLITE_TRANSIENT);
        break;
    default:
        n = take_bytes(input, text, 1 + take_below(input, sizeof text));
        sqlite3_bind_text(s, 1, text, (int)n, SQLITE_TRANSIENT);
    }
}

/* As somebody's shell with its constraints off. */
static void write_rows(struct input *input) {
    static const char *const columns[] = {
        "section SET id",       "section SET name",       "section SET owner",
        "section SET kind",     "section SET size",       "section SET count",
        "section SET offset",   "section SET read_group", "section SET write_group",
        "section SET shared",   "section SET persist",    "section SET stale_ms",
        "section SET format",   "section SET stamp",      "section SET notify",
        "worker SET name",      "worker SET user",        "worker SET instances",
        "segment SET key",      "segment SET size",       "segment SET backend",
        "segment SET mode",     "segment SET group_name", "segment SET lock_memory",
        "worker SET may_create"};
    sqlite3 *sql;
    MUST(sqlite3_open(file.path, &sql) == SQLITE_OK);
    sqlite3_db_config(sql, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_exec(sql,
                 "PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF;"
                 "PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY; BEGIN",
                 NULL, NULL, NULL);
    for (uint32_t n = 1 + take_below(input, 3); n > 0; n--) {
        char text[160];
        sqlite3_stmt *s = NULL;
        snprintf(text, sizeof text, "UPDATE OR IGNORE %s = ?%s",
                 columns[take_below(input, sizeof columns / sizeof *columns)],
                 take_below(input, 2) == 0 ? "" : " WHERE rowid = 1");
        if (sqlite3_prepare_v2(sql, text, -1, &s, NULL) == SQLITE_OK) {
            bind_any(s, input);
            sqlite3_step(s);
        }
        sqlite3_finalize(s);
    }
    sqlite3_exec(sql, "COMMIT", NULL, NULL, NULL);
    sqlite3_close(sql);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    struct input input = {data, data + bytes};
    uint32_t mode = take_below(&input, 4);
    if (mode == 0) {
        file_any(&file, &input);
    } else if (mode == 1) {
        file_right(&file);
        write_rows(&input);
    } else {
        file_damaged(&file, &input);
    }
    load();
    unlink(file.log);
    unlink(shm);
    return 0;
}
