/* SPDX-License-Identifier: Apache-2.0
 *
 * The section table, changed: add, set, rm.  One transaction each; what its triggers say against it
 * is passed on as it is; afterwards the whole table is looked at as the manager will look at it.
 */
#include "tool.h"

#include "table_db.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#define EDIT_COLUMNS_MAX 24

struct assignment {
    const struct column *column;
    const char *text; /* NULL: the number, or NULL */
    int64_t number;
    bool null;
};

struct edit {
    struct assignment columns[EDIT_COLUMNS_MAX];
    size_t n;
};

static const struct column *column_of(const char *name, size_t length) {
    for (size_t i = 0; i < table_columns_n; i++)
        if (strlen(table_columns[i].name) == length &&
            memcmp(table_columns[i].name, name, length) == 0)
            return &table_columns[i];
    return NULL;
}

static int unknown_column(const struct tool *tool, const char *text, size_t length) {
    const char *names[EDIT_COLUMNS_MAX];
    char typed[SHMC_NAME_BYTES];
    snprintf(typed, sizeof typed, "%.*s", (int)(length < 63 ? length : 63), text);
    for (size_t i = 0; i < table_columns_n; i++)
        names[i] = table_columns[i].name;
    const char *near = nearest(typed, names, table_columns_n);
    if (near)
        return fail(tool, TOOL_USAGE, "a section has no column '%s'; did you mean '%s'?", typed,
                    near);
    return fail(tool, TOOL_USAGE, "a section has no column '%s'; shmtool %s --help lists them",
                typed, tool->verb->name);
}

static bool parse_flag(const char *text, int64_t *ret) {
    static const char *const words[] = {"0", "1", "no", "yes", "off", "on", "false", "true"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcasecmp(text, words[i]) == 0) {
            *ret = i & 1;
            return true;
        }
    return false;
}

static int assign(const struct tool *tool, struct edit *edit, const struct column *column,
                  const char *text) {
    struct assignment *to = &edit->columns[edit->n];
    uint64_t bytes = 0;
    for (size_t i = 0; i < edit->n; i++)
        if (edit->columns[i].column == column)
            return fail(tool, TOOL_USAGE, "%s is given twice", column->name);
    *to = (struct assignment){.column = column};
    if (*text == '\0' && column->optional)
        to->null = true;
    else if (column->type == COLUMN_TEXT)
        to->text = text;
    else if (column->type == COLUMN_FLAG && !parse_flag(text, &to->number))
        return fail(tool, TOOL_USAGE, "%s: '%s' is neither yes nor no", column->name, text);
    else if (column->type == COLUMN_BYTES || column->type == COLUMN_NUMBER) {
        if (!parse_bytes(text, &bytes) || bytes > INT64_MAX)
            return fail(tool, TOOL_USAGE, "%s: '%s' is no number; write for example 65536%s",
                        column->name, text, column->type == COLUMN_BYTES ? " or 64K" : "");
        to->number = (int64_t)bytes;
    }
    edit->n++;
    return TOOL_OK;
}

static int assign_all(const struct tool *tool, struct edit *edit, char **argv, int argc) {
    for (int i = 0; i < argc; i++) {
        const char *equals = strchr(argv[i], '=');
        if (!equals)
            return fail(tool, TOOL_USAGE, "'%s' is not of the form column=value", argv[i]);
        const struct column *column = column_of(argv[i], (size_t)(equals - argv[i]));
        if (!column)
            return unknown_column(tool, argv[i], (size_t)(equals - argv[i]));
        int code = assign(tool, edit, column, equals + 1);
        if (code != TOOL_OK)
            return code;
    }
    return TOOL_OK;
}

static void bind(sqlite3_stmt *statement, int i, const struct assignment *value) {
    if (value->null)
        sqlite3_bind_null(statement, i);
    else if (value->text)
        sqlite3_bind_text(statement, i, value->text, -1, SQLITE_STATIC);
    else
        sqlite3_bind_int64(statement, i, value->number);
}

/* Binds the edit's values from ?1 on and `name`, when given, to ?32. */
static int run_sql(sqlite3 *db, const char *sql, const struct edit *edit, const char *name) {
    sqlite3_stmt *statement;
    int r = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (r != SQLITE_OK)
        return r;
    for (size_t i = 0; i < edit->n; i++)
        bind(statement, (int)i + 1, &edit->columns[i]);
    if (name)
        sqlite3_bind_text(statement, 32, name, -1, SQLITE_STATIC);
    r = sqlite3_step(statement);
    sqlite3_finalize(statement);
    return r == SQLITE_DONE ? SQLITE_OK : r;
}

/* The statement in a transaction; *changed: how many rows of `section` it met. */
static int transact(const struct tool *tool, sqlite3 *db, const char *path, const char *sql,
                    const struct edit *edit, const char *name, int *changed) {
    int r = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (r == SQLITE_OK)
        r = run_sql(db, sql, edit, name);
    *changed = sqlite3_changes(db);
    if (r == SQLITE_OK)
        r = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    int code = r == SQLITE_OK ? TOOL_OK : table_failed(tool, db, path);
    if (!sqlite3_get_autocommit(db))
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return code;
}

/* Triggers and CHECKs catch a wrong row; that rows go together is seen only here. */
static int look_over(const struct tool *tool, const char *path, bool *auto_apply) {
    char error[512] = "";
    struct table table = {0};
    struct table_db *db;
    int r = table_db_open(&db, path, error, sizeof error);
    if (r == 0) {
        r = table_db_load(db, &table, error, sizeof error);
        table_db_close(db);
    }
    *auto_apply = table.auto_apply;
    table_clear(&table);
    if (r < 0)
        return fail(tool, TOOL_NO,
                    "written, but the manager will refuse the table as it is now: %s", error);
    return TOOL_OK;
}

static int reload(const struct tool *tool, const char *path, const char *name, const char *done) {
    json_t *reply;
    int code = ask(tool, "reload", &reply);
    if (code != TOOL_OK) {
        note(tool,
             code == TOOL_ABSENT ? "%s has the change; a manager applies it at its start"
                                 : "%s has the change, and what runs is as it was",
             path);
        return code;
    }
    if (tool->json) {
        print_json(json_pack("{s:b, s:s, s:s, s:s, s:o}", "ok", 1, "table", path, "section", name,
                             "done", done, "reload", reply));
        return TOOL_OK;
    }
    print_reloaded(reply);
    json_decref(reply);
    return TOOL_OK;
}

static int finish(const struct tool *tool, const char *path, const char *name, const char *done) {
    bool auto_apply;
    int code = look_over(tool, path, &auto_apply);
    if (code != TOOL_OK)
        return code;
    if (tool->reload)
        return reload(tool, path, name, done);
    if (tool->json)
        print_json(json_pack("{s:b, s:s, s:s, s:s}", "ok", 1, "table", path, "section", name,
                             "done", done));
    else
        printf("section%s '%s' %s; %s\n", is_pattern(name) ? "s" : "", name, done,
               next_step(auto_apply));
    return TOOL_OK;
}

static int apply_edit(const struct tool *tool, const char *sql, const struct edit *edit,
                      const char *name, const char *done) {
    char path[PATH_BYTES];
    sqlite3 *db;
    int changed = 0;
    int code = table_path(tool, path);
    if (code == TOOL_OK)
        code = table_open(tool, path, true, &db);
    if (code != TOOL_OK)
        return code;
    code = transact(tool, db, path, sql, edit, name, &changed);
    if (code == TOOL_OK && changed == 0)
        code = table_no_section(tool, db, path, name);
    sqlite3_close(db);
    return code == TOOL_OK ? finish(tool, path, tool->argv[0], done) : code;
}

int verb_table_add(const struct tool *tool) {
    struct edit edit = {0};
    char columns[512] = "", marks[128] = "", sql[768];
    int code = assign(tool, &edit, column_of("name", 4), tool->argv[0]);
    if (code == TOOL_OK)
        code = assign(tool, &edit, column_of("owner", 5), tool->argv[1]);
    if (code == TOOL_OK)
        code = assign(tool, &edit, column_of("size", 4), tool->argv[2]);
    if (code == TOOL_OK)
        code = assign_all(tool, &edit, tool->argv + 3, tool->argc - 3);
    if (code != TOOL_OK)
        return code;
    for (size_t i = 0; i < edit.n; i++) {
        size_t c = strlen(columns), m = strlen(marks);
        snprintf(columns + c, sizeof columns - c, i ? ", \"%s\"" : "\"%s\"",
                 edit.columns[i].column->name);
        snprintf(marks + m, sizeof marks - m, i ? ", ?" : "?");
    }
    snprintf(sql, sizeof sql, "INSERT INTO section(%s) VALUES(%s)", columns, marks);
    return apply_edit(tool, sql, &edit, NULL, "added");
}

int verb_table_set(const struct tool *tool) {
    struct edit edit = {0};
    char columns[512] = "", sql[768];
    int code = assign_all(tool, &edit, tool->argv + 1, tool->argc - 1);
    if (code != TOOL_OK)
        return code;
    for (size_t i = 0; i < edit.n; i++) {
        size_t c = strlen(columns);
        snprintf(columns + c, sizeof columns - c, i ? ", \"%s\" = ?" : "\"%s\" = ?",
                 edit.columns[i].column->name);
    }
    snprintf(sql, sizeof sql, "UPDATE section SET %s WHERE name = ?32 OR name GLOB ?32", columns);
    return apply_edit(tool, sql, &edit, tool->argv[0], "changed");
}

int verb_table_rm(const struct tool *tool) {
    static const struct edit none;
    return apply_edit(tool, "DELETE FROM section WHERE name = ?32 OR name GLOB ?32", &none,
                      tool->argv[0], "removed");
}
