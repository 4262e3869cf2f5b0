/* SPDX-License-Identifier: Apache-2.0
 *
 * A checked table put in place of all rows of a database.
 */
#include "whole.h"

#include "table_db.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

static const char insert_worker[] =
    "INSERT INTO worker(name, user, instances, may_create) VALUES(?, nullif(?, ''), ?, ?)";
static const char insert_section[] =
    "INSERT INTO section(id, name, owner, kind, size, count, \"offset\", read_group, write_group, "
    "  shared, persist, stale_ms, format, stamp, notify, pregrab, clear) "
    "VALUES(coalesce(?17, (SELECT id FROM temp.kept WHERE name = ?1)), ?1, ?2, ?3, ?4, ?5, ?6, "
    "nullif(?7, ''), "
    "  nullif(?8, ''), ?9, ?10, ?11, nullif(?12, ''), ?13, ?14, ?15, ?16)";
static const char update_segment[] =
    "UPDATE segment SET key = printf('0x%08X', ?), size = ?, backend = ?, mode = printf('%04o', ?),"
    "  group_name = ?, lock_memory = ?, auto_apply = ?";
/* The sequence of ids outlives the rows, so that a new name never gets an old one's id. */
static const char make_room[] =
    "CREATE TEMP TABLE kept(name TEXT PRIMARY KEY COLLATE NOCASE, id INTEGER); "
    "INSERT INTO temp.kept SELECT name, id FROM main.section; "
    "DELETE FROM main.section; DELETE FROM main.worker";

static void bind_text(sqlite3_stmt *statement, int i, const char *text) {
    sqlite3_bind_text(statement, i, text, -1, SQLITE_STATIC);
}

static void bind_number(sqlite3_stmt *statement, int i, uint64_t number) {
    sqlite3_bind_int64(statement, i, (sqlite3_int64)number);
}

static void bind_segment(sqlite3_stmt *statement, const struct table *table) {
    bind_number(statement, 1, table->key);
    bind_number(statement, 2, table->size);
    bind_text(statement, 3, table_word(TABLE_BACKENDS, table->backend));
    bind_number(statement, 4, table->mode);
    bind_text(statement, 5, table->group_name);
    bind_number(statement, 6, table->lock_memory);
    bind_number(statement, 7, table->auto_apply);
}

static void bind_worker(sqlite3_stmt *statement, const struct table_worker *row) {
    bind_text(statement, 1, row->name);
    bind_text(statement, 2, row->user);
    bind_number(statement, 3, row->instances);
    bind_number(statement, 4, row->may_create);
}

static void bind_section(sqlite3_stmt *statement, const struct table_section *row, bool ids) {
    bind_text(statement, 1, row->name);
    bind_text(statement, 2, row->owner);
    bind_text(statement, 3, table_word(TABLE_KINDS, row->kind));
    bind_number(statement, 4, row->size);
    if (row->count != table_count(row->kind))
        bind_number(statement, 5, row->count);
    if (row->pinned)
        bind_number(statement, 6, row->offset);
    bind_text(statement, 7, row->read_group);
    bind_text(statement, 8, row->write_group);
    bind_number(statement, 9, row->shared);
    bind_number(statement, 10, row->persist);
    bind_number(statement, 11, row->stale_ms);
    bind_text(statement, 12, row->format);
    bind_text(statement, 13, table_word(TABLE_STAMPS, row->stamp));
    bind_text(statement, 14, table_word(TABLE_NOTIFIES, row->notify));
    bind_number(statement, 15, row->pregrab);
    bind_text(statement, 16, table_word(TABLE_CLEARS, row->clear));
    if (ids)
        bind_number(statement, 17, row->id);
}

/* Runs a bound statement and makes it ready for the next row. */
static int run_row(sqlite3_stmt *statement) {
    int r = sqlite3_step(statement);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return r == SQLITE_DONE ? SQLITE_OK : r;
}

static int insert_rows(sqlite3 *db, const struct table *table, bool ids) {
    sqlite3_stmt *segment = NULL, *worker = NULL, *section = NULL;
    int r = sqlite3_prepare_v2(db, update_segment, -1, &segment, NULL);
    if (r == SQLITE_OK)
        r = sqlite3_prepare_v2(db, insert_worker, -1, &worker, NULL);
    if (r == SQLITE_OK)
        r = sqlite3_prepare_v2(db, insert_section, -1, &section, NULL);
    if (r == SQLITE_OK) {
        bind_segment(segment, table);
        r = run_row(segment);
    }
    for (size_t i = 0; r == SQLITE_OK && i < table->workers_n; i++) {
        bind_worker(worker, &table->workers[i]);
        r = run_row(worker);
    }
    for (size_t i = 0; r == SQLITE_OK && i < table->sections_n; i++) {
        bind_section(section, &table->sections[i], ids);
        r = run_row(section);
    }
    sqlite3_finalize(segment);
    sqlite3_finalize(worker);
    sqlite3_finalize(section);
    return r;
}

/* With the write lock held nobody changes it any more. */
static bool still_says(const struct tool *tool, const char *path, const char *expected, int *code) {
    struct table now = {0};
    *code = table_read(tool, path, &now);
    char *text = *code == TOOL_OK ? table_dump_text(&now) : NULL;
    bool same = text && strcmp(text, expected) == 0;
    if (*code == TOOL_OK && !same)
        *code = fail(tool, TOOL_NO, "%s was changed by somebody else meanwhile; begin anew", path);
    free(text);
    table_clear(&now);
    return same;
}

int table_replace(const struct tool *tool, const char *path, const struct table *table, bool ids,
                  const char *expected) {
    sqlite3 *db;
    int code = table_open(tool, path, true, &db);
    if (code != TOOL_OK)
        return code;
    /* Every row was checked already, and a trigger that somebody planted shall not run. */
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    int r = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (r == SQLITE_OK && expected && !still_says(tool, path, expected, &code)) {
        sqlite3_close(db);
        return code;
    }
    if (r == SQLITE_OK && table_db_schema_version(db) == TABLE_DB_SCHEMA_FORMER)
        r = table_db_upgrade(db); /* the rows may say what it has no columns for */
    if (r == SQLITE_OK)
        r = sqlite3_exec(db, make_room, NULL, NULL, NULL);
    if (r == SQLITE_OK)
        r = insert_rows(db, table, ids);
    if (r == SQLITE_OK)
        r = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    if (r != SQLITE_OK)
        code = table_failed(tool, db, path);
    sqlite3_close(db); /* rolls back what was not committed */
    return code;
}

static json_t *replaced_json(const char *path, const struct table *table, size_t differences) {
    return json_pack("{s:b, s:s, s:I, s:I, s:b}", "ok", 1, "table", path, "workers",
                     (json_int_t)table->workers_n, "sections", (json_int_t)table->sections_n,
                     "changed", differences > 0);
}

/* Behind a reload that failed. */
static void note_left(const struct tool *tool, const char *path, int code) {
    char error[512];
    json_t *status;
    ask_quietly(tool, "status", &status, error, sizeof error);
    if (code == TOOL_ABSENT)
        note(tool, "%s has the new rows; a manager applies them at its start", path);
    else if (strcmp(field_text(status, "table", "outcome"), "pending") == 0)
        note(tool,
             "%s has the new rows, which are applied when nobody is in the way; to give them up: "
             "shmtool table revert",
             path);
    else
        note(tool,
             "%s has the new rows, and what runs is as it was; to give them up: "
             "shmtool table revert",
             path);
    json_decref(status);
}

int table_replaced(const struct tool *tool, const char *path, const struct table *table,
                   size_t differences, const char *reload) {
    json_t *reply = NULL;
    int code = reload ? ask(tool, reload, &reply) : TOOL_OK;
    if (code != TOOL_OK) {
        note_left(tool, path, code);
        return code;
    }
    if (tool->json) {
        json_t *json = replaced_json(path, table, differences);
        if (reply)
            json_object_set_new(json, "reload", reply);
        print_json(json);
        return TOOL_OK;
    }
    if (differences == 0)
        printf("%s says so already; nothing was written\n", path);
    else
        printf("%s has %zu sections and %zu workers now%s%s\n", path, table->sections_n,
               table->workers_n, reply ? "" : "; ", reply ? "" : next_step(table->auto_apply));
    const bool was_faster = reply && differences > 0 && /* it applies edits by itself */
                            json_array_size(json_object_get(reply, "changes")) == 0;
    if (was_faster)
        printf("generation %lu is in force\n", field_number(reply, NULL, "generation"));
    else if (reply)
        print_reloaded(reply);
    json_decref(reply);
    return TOOL_OK;
}
