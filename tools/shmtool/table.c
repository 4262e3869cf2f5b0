/* SPDX-License-Identifier: Apache-2.0
 *
 * The section table, looked at: where it is, show, example, init.
 */
#include "tool.h"

#include "state_db.h"
#include "table_db.h"

#include <errno.h>
#include <pwd.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EDITOR_WAIT_MS 5000 /* for another editor's transaction to end */

const struct column table_columns[] = {
    {"name", COLUMN_TEXT, false},       {"owner", COLUMN_TEXT, false},
    {"kind", COLUMN_TEXT, false},       {"size", COLUMN_BYTES, false},
    {"count", COLUMN_NUMBER, true},     {"offset", COLUMN_BYTES, true},
    {"read_group", COLUMN_TEXT, true},  {"write_group", COLUMN_TEXT, true},
    {"shared", COLUMN_FLAG, false},     {"persist", COLUMN_FLAG, false},
    {"stale_ms", COLUMN_NUMBER, false}, {"format", COLUMN_TEXT, true},
    {"stamp", COLUMN_TEXT, false},      {"notify", COLUMN_TEXT, false},
    {"pregrab", COLUMN_FLAG, false},    {"clear", COLUMN_TEXT, false},
};
const size_t table_columns_n = sizeof table_columns / sizeof *table_columns;

/* --state-dir goes before the environment, as options do. */
static const char *state_dir(const struct tool *tool) {
    const char *dir = tool->state_dir ? tool->state_dir : getenv("SHM_STATE_DIR");
    return dir && *dir ? dir : NULL;
}

static int join(const struct tool *tool, char path[PATH_BYTES], const char *dir, const char *name) {
    if (snprintf(path, PATH_BYTES, "%s%s", dir, name) >= PATH_BYTES)
        return fail(tool, TOOL_USAGE, "%.40s...: this path is too long", dir);
    return TOOL_OK;
}

/* What the running manager uses: its `field` of the status. */
static bool managers_path(const struct tool *tool, const char *field, char path[PATH_BYTES]) {
    char error[512];
    json_t *reply;
    ask_quietly(tool, "status", &reply, error, sizeof error);
    const char *text = field_text(reply, "manager", field);
    bool known = *text == '/' && strlen(text) < PATH_BYTES;
    if (known)
        strcpy(path, text);
    json_decref(reply);
    return known;
}

int table_path(const struct tool *tool, char path[PATH_BYTES]) {
    if (tool->table)
        return join(tool, path, tool->table, "");
    if (state_dir(tool))
        return join(tool, path, state_dir(tool), "/sections.db");
    return managers_path(tool, "table", path) ? TOOL_OK
                                              : join(tool, path, SHM_STATE_DIR, "/sections.db");
}

/* By hand it lies beside the table, as a service in a directory of its own. */
int state_path(const struct tool *tool, char path[PATH_BYTES]) {
    const char *dir = state_dir(tool) ? state_dir(tool) : SHM_STATE_DIR;
    int code = join(tool, path, dir, "/state.db");
    if (code == TOOL_OK && access(path, F_OK) < 0)
        code = join(tool, path, dir, "/state/state.db");
    return code;
}

int state_open(const struct tool *tool, const char *what, struct state_db **ret) {
    char path[PATH_BYTES], error[512] = "";
    int code = state_path(tool, path);
    if (code != TOOL_OK)
        return code;
    if (access(path, R_OK | W_OK) < 0)
        return fail(tool, TOOL_ABSENT,
                    "no manager answers, and %s in %s can't be read: %s (--state-dir)", what, path,
                    strerror(errno));
    int r = state_db_open(ret, path, error, sizeof error);
    if (r < 0)
        return fail(tool, TOOL_ABSENT, "no manager answers; %s", *error ? error : strerror(-r));
    if (*error)
        note(tool, "%s", error);
    return TOOL_OK;
}

int table_failed(const struct tool *tool, sqlite3 *db, const char *path) {
    static const char check[] = "CHECK constraint failed: ";
    const char *text = sqlite3_errmsg(db);
    struct stat st;
    struct passwd *user = stat(path, &st) == 0 ? getpwuid(st.st_uid) : NULL;
    switch (sqlite3_errcode(db) & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return fail(tool, TOOL_NO, "%s is locked by another editor; try again when it has finished",
                    path);
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
        return fail(tool, TOOL_NO, "%s: you may not write it; become %s, whom it belongs to", path,
                    user ? user->pw_name : "the user");
    case SQLITE_CONSTRAINT:
        if (strncmp(text, check, sizeof check - 1) == 0)
            text += sizeof check - 1; /* the constraints are named by sentences */
        if (tool->verb->run == verb_table_add && strstr(text, "section.name") != NULL &&
            strncmp(text, "UNIQUE", 6) == 0)
            return fail(
                tool, TOOL_NO,
                "section '%s' is there already; change it: shmtool table set %s COLUMN=VALUE",
                tool->argv[0], tool->argv[0]);
        if (tool->verb->run == verb_table_add || tool->verb->run == verb_table_set ||
            tool->verb->run == verb_table_rm)
            return fail(tool, TOOL_NO, "section '%s': %s", tool->argv[0], text);
        return fail(tool, TOOL_NO, "%s: %s", path, text);
    default:
        if (strstr(text, " column") != NULL && table_db_schema_version(db) != TABLE_DB_SCHEMA)
            return fail(tool, TOOL_NO,
                        "%s was made by an earlier version, and %s: shmtool table upgrade gives it "
                        "all columns",
                        path, text);
        return fail(tool, TOOL_NO, "%s: %s", path, text);
    }
}

int table_open(const struct tool *tool, const char *path, bool write, sqlite3 **ret) {
    char error[512] = "";
    struct table_db *look;
    sqlite3 *db;
    int r = table_db_open(&look, path, error, sizeof error);
    if (r < 0)
        return fail(tool, r == -ENOENT ? TOOL_ABSENT : TOOL_NO, "%s",
                    *error ? error : strerror(-r));
    table_db_close(look);
    r = sqlite3_open_v2(path, &db, write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY, NULL);
    if (r == SQLITE_OK) {
        sqlite3_busy_timeout(db, EDITOR_WAIT_MS);
        sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
        sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
        r = sqlite3_exec(db, "PRAGMA foreign_keys = ON", NULL, NULL, NULL);
    }
    if (r != SQLITE_OK) {
        int code = table_failed(tool, db, path);
        sqlite3_close(db);
        return code;
    }
    *ret = db;
    return TOOL_OK;
}

static json_t *cell_json(sqlite3_stmt *row, int i) {
    switch (sqlite3_column_type(row, i)) {
    case SQLITE_NULL:
        return json_null();
    case SQLITE_INTEGER:
        return json_integer(sqlite3_column_int64(row, i));
    default:
        return json_text((const char *)sqlite3_column_text(row, i));
    }
}

/* The rows of a query as an array of objects; NULL on SQLite's errors. */
static json_t *query_json(sqlite3 *db, const char *sql, const char *argument) {
    sqlite3_stmt *row;
    json_t *rows = json_array();
    if (sqlite3_prepare_v2(db, sql, -1, &row, NULL) != SQLITE_OK)
        goto failed;
    if (argument)
        sqlite3_bind_text(row, 1, argument, -1, SQLITE_STATIC);
    int r;
    while ((r = sqlite3_step(row)) == SQLITE_ROW) {
        json_t *object = json_object();
        for (int i = 0; i < sqlite3_column_count(row); i++)
            json_object_set_new(object, sqlite3_column_name(row, i), cell_json(row, i));
        json_array_append_new(rows, object);
    }
    sqlite3_finalize(row);
    if (r == SQLITE_DONE)
        return rows;
failed:
    json_decref(rows);
    return NULL;
}

static void json_cell(struct grid *grid, const json_t *value) {
    if (json_is_integer(value))
        grid_cell(grid, PLAIN, "%lld", json_integer_value(value));
    else
        grid_cell(grid, PLAIN, "%s", json_string_length(value) ? json_string_value(value) : "-");
}

static void print_rows(const json_t *rows, const char *const *titles, const char *const *fields,
                       unsigned columns) {
    const json_t *row;
    struct grid grid;
    size_t i;
    grid_start(&grid, titles, columns);
    json_array_foreach(rows, i, row) {
        for (unsigned column = 0; column < columns; column++)
            json_cell(&grid, json_object_get(row, fields[column]));
    }
    grid_print(&grid);
}

/* One row by columns: a line for each. */
static void print_upright(json_t *row) {
    static const char *const titles[] = {"COLUMN", "VALUE"};
    struct grid grid;
    const char *name;
    json_t *value;
    grid_start(&grid, titles, 2);
    json_object_foreach(row, name, value) {
        grid_cell(&grid, PLAIN, "%s", name);
        json_cell(&grid, value);
    }
    grid_print(&grid);
}

static void print_section_rows(const json_t *rows) {
    static const char *const titles[] = {"NAME",    "OWNER",   "KIND",      ">SIZE", ">COUNT",
                                         ">OFFSET", "PERSIST", ">STALE_MS", "FORMAT"};
    static const char *const fields[] = {"name",   "owner",   "kind",     "size",  "count",
                                         "offset", "persist", "stale_ms", "format"};
    print_rows(rows, titles, fields, 9);
}

static void print_table(const json_t *segment, const json_t *workers, const json_t *sections) {
    static const char *const worker_titles[] = {"WORKER", "USER", ">INSTANCES", ">MAY_CREATE"};
    static const char *const worker_fields[] = {"name", "user", "instances", "may_create"};
    print_upright(json_array_get(segment, 0));
    if (json_array_size(workers) > 0) {
        putchar('\n');
        print_rows(workers, worker_titles, worker_fields, 4);
    }
    if (json_array_size(sections) > 0) {
        putchar('\n');
        print_section_rows(sections);
    }
}

static int show_all(const struct tool *tool, const char *path, sqlite3 *db) {
    json_t *segment = query_json(db, "SELECT * FROM segment", NULL);
    json_t *workers = segment ? query_json(db, "SELECT * FROM worker ORDER BY name", NULL) : NULL;
    json_t *sections = workers ? query_json(db, "SELECT * FROM section ORDER BY name", NULL) : NULL;
    int code = TOOL_OK;
    if (!sections)
        code = table_failed(tool, db, path);
    else if (tool->json)
        print_json(json_pack("{s:b, s:s, s:O, s:O, s:O}", "ok", 1, "table", path, "segment",
                             json_array_get(segment, 0), "workers", workers, "sections", sections));
    else
        print_table(segment, workers, sections);
    json_decref(segment);
    json_decref(workers);
    json_decref(sections);
    return code;
}

int table_no_section(const struct tool *tool, sqlite3 *db, const char *path, const char *name) {
    json_t *rows = query_json(db, "SELECT name FROM section", NULL), *row;
    const char *names[1024], *near;
    size_t i, n = 0;
    json_array_foreach(rows, i, row) {
        if (n < sizeof names / sizeof *names)
            names[n++] = field_text(row, NULL, "name");
    }
    near = nearest(name, names, n);
    int code =
        near ? fail(tool, TOOL_NO, "%s has no section '%s'; did you mean '%s'?", path, name, near)
             : fail(tool, TOOL_NO, "%s has no section '%s'; shmtool table show lists them", path,
                    name);
    json_decref(rows);
    return code;
}

static int show_one(const struct tool *tool, const char *path, sqlite3 *db, const char *name) {
    json_t *rows =
        query_json(db, "SELECT * FROM section WHERE name = ?1 OR name GLOB ?1 ORDER BY name", name);
    int code = TOOL_OK;
    if (!rows)
        code = table_failed(tool, db, path);
    else if (json_array_size(rows) == 0)
        code = table_no_section(tool, db, path, name);
    else if (tool->json && json_array_size(rows) == 1)
        print_json(json_pack("{s:b, s:s, s:O}", "ok", 1, "table", path, "section",
                             json_array_get(rows, 0)));
    else if (tool->json)
        print_json(json_pack("{s:b, s:s, s:O}", "ok", 1, "table", path, "sections", rows));
    else if (json_array_size(rows) == 1)
        print_upright(json_array_get(rows, 0));
    else
        print_section_rows(rows);
    json_decref(rows);
    return code;
}

int verb_table_show(const struct tool *tool) {
    char path[PATH_BYTES];
    sqlite3 *db;
    int code = table_path(tool, path);
    if (code == TOOL_OK)
        code = table_open(tool, path, false, &db);
    if (code != TOOL_OK)
        return code;
    code = tool->argc > 0 ? show_one(tool, path, db, tool->argv[0]) : show_all(tool, path, db);
    sqlite3_close(db);
    return code;
}

int verb_table_example(const struct tool *tool) {
    if (tool->json)
        print_json(json_pack("{s:b, s:s}", "ok", 1, "example", table_db_example));
    else
        fputs(table_db_example, stdout);
    return TOOL_OK;
}

int verb_table_init(const struct tool *tool) {
    char path[PATH_BYTES], error[512] = "";
    int code = table_path(tool, path);
    if (code != TOOL_OK)
        return code;
    int r = table_db_create(path, error, sizeof error);
    if (r == -EEXIST && !tool->if_missing)
        return fail(tool, TOOL_NO, "%s exists; look at it with: shmtool table show", path);
    if (r < 0 && r != -EEXIST)
        return fail(tool, TOOL_NO, "%s", *error ? error : strerror(-r));
    if (tool->json)
        print_json(json_pack("{s:b, s:s, s:b}", "ok", 1, "table", path, "made", r == 0));
    else if (r == 0)
        printf("%s is made, and empty; add to it with: shmtool table add NAME OWNER SIZE\n", path);
    return TOOL_OK;
}
