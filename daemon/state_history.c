/* SPDX-License-Identifier: Apache-2.0
 *
 * The history of edits, and what each changed, row by row.  What a row was stands with the step
 * that changed it, what became of it with the next one that did, or in the table that runs.
 */
#include "state_parts.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define ROWS_OF_EDIT 100  /* told of each; who wants more compares the tables */
#define ROWS_OF_ALL  2000 /* told at once: nobody else is served meanwhile */

/* ---- the edits */

static json_t *edit_json(sqlite3_stmt *s) {
    char text[32];
    int64_t ns = sqlite3_column_int64(s, 1);
    time_t seconds = (time_t)(ns / 1000000000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    bool placed = sqlite3_column_type(s, 4) != SQLITE_NULL;
    return json_pack("{s:I, s:s, s:s, s:s, s:s, s:o, s:s?}", "edit",
                     (json_int_t)sqlite3_column_int64(s, 0), "time", text, "who",
                     sqlite3_column_text(s, 2), "what", sqlite3_column_text(s, 3), "outcome",
                     sqlite3_column_text(s, 6), "generation",
                     placed ? json_integer(sqlite3_column_int64(s, 4)) : json_null(), "error",
                     sqlite3_column_text(s, 5));
}

int state_db_history(struct state_db *db, unsigned limit, struct json_t **ret) {
    sqlite3_stmt *s = state_prepare(db,
                                    "SELECT edit, time_ns, who, what, generation, error, outcome "
                                    "FROM edit ORDER BY edit DESC LIMIT ?",
                                    "i", (int64_t)limit);
    json_t *edits = json_array();
    int step = SQLITE_DONE;
    while (s != NULL && (step = sqlite3_step(s)) == SQLITE_ROW)
        json_array_append_new(edits, edit_json(s));
    int r = s == NULL || step != SQLITE_DONE ? state_error(db) : 0;
    sqlite3_finalize(s);
    json_t *history = r < 0 ? NULL : json_pack("{s:O}", "edits", edits);
    json_decref(edits);
    if (r == 0 && history == NULL)
        r = -ENOMEM;
    if (r == 0)
        *ret = history;
    return r;
}

/* ---- their rows */

/* As people write it: the columns of sections.db. */
static void as_columns(json_t *row) {
    static const char *const optional[] = {"user", "read_group", "write_group", "format"};
    for (size_t i = 0; i < sizeof optional / sizeof *optional; i++) {
        const char *text = json_string_value(json_object_get(row, optional[i]));
        if (text != NULL && *text == '\0')
            json_object_set_new(row, optional[i], json_null());
    }
    if (json_is_false(json_object_get(row, "pinned")))
        json_object_set_new(row, "offset", json_null());
    json_object_del(row, "pinned");
    const json_t *key = json_object_get(row, "key"), *mode = json_object_get(row, "mode");
    if (key != NULL && mode != NULL) {
        json_object_set_new(row, "key", json_sprintf("0x%08llX", json_integer_value(key)));
        json_object_set_new(row, "mode", json_sprintf("%04llo", json_integer_value(mode)));
    }
}

/* json_null() for a row that there wasn't; NULL: damaged. */
static json_t *row_json(sqlite3_stmt *s, int column) {
    if (sqlite3_column_type(s, column) == SQLITE_NULL)
        return json_null();
    json_t *row = json_loadb(sqlite3_column_blob(s, column),
                             (size_t)sqlite3_column_bytes(s, column), 0, NULL);
    if (!json_is_object(row)) {
        json_decref(row);
        return NULL;
    }
    as_columns(row);
    return row;
}

/* Of a row that stays only the columns that differ. */
static void leave_differences(json_t *from, json_t *to) {
    const char *column;
    json_t *value;
    void *next;
    json_object_foreach_safe(from, next, column, value) {
        if (json_equal(value, json_object_get(to, column))) {
            json_object_del(to, column);
            json_object_del(from, column); /* which may be what `column` points into */
        }
    }
}

static json_t *change_json(sqlite3_stmt *s) {
    json_t *from = row_json(s, 2), *to = row_json(s, 3);
    const json_t *named = json_is_object(from) ? from : to;
    if (from == NULL || to == NULL || !json_is_object(named)) {
        json_decref(from);
        json_decref(to);
        return NULL;
    }
    const char *name = json_string_value(json_object_get(named, "name"));
    json_t *change =
        json_pack("{s:s, s:I, s:s}", "row", sqlite3_column_text(s, 0), "id",
                  (json_int_t)sqlite3_column_int64(s, 1), "name", name == NULL ? "" : name);
    if (json_is_object(from) && json_is_object(to))
        leave_differences(from, to);
    json_object_set_new(change, "from", from);
    json_object_set_new(change, "to", to);
    return change;
}

static const char changes_sql[] =
    "SELECT kind, id, was, CASE WHEN later IS NULL THEN "
    "    (SELECT data FROM item WHERE stage = 0 AND item.kind = p.kind AND item.id = p.id) "
    "  ELSE (SELECT was FROM past WHERE past.kind = p.kind AND past.id = p.id AND past.step = "
    "    later) END "
    "FROM (SELECT kind, id, was, (SELECT min(step) FROM past AS next WHERE next.kind = some.kind "
    "    AND next.id = some.id AND next.step > some.step) AS later "
    "  FROM (SELECT step, kind, id, was FROM past WHERE step = "
    "    (SELECT step FROM edit WHERE edit = ?) ORDER BY kind, id LIMIT ?) AS some) AS p "
    "ORDER BY kind, id";

/* Adds "changes" to an edit, and takes them off what may be told. */
static int add_changes(const struct state_db *db, json_t *edit, int64_t *rows) {
    const int64_t id = json_integer_value(json_object_get(edit, "edit"));
    const int64_t most = *rows < ROWS_OF_EDIT ? *rows : ROWS_OF_EDIT;
    json_t *changes = json_array();
    sqlite3_stmt *s = state_prepare(db, changes_sql, "ii", id, most + 1);
    int step = SQLITE_DONE, r = s == NULL ? state_error(db) : 0;
    int64_t n = 0;
    for (; r == 0 && n < most && (step = sqlite3_step(s)) == SQLITE_ROW; n++) {
        json_t *change = change_json(s);
        r = change == NULL ? -EBADMSG : json_array_append_new(changes, change);
    }
    const bool more = r == 0 && n == most && sqlite3_step(s) == SQLITE_ROW;
    if (r == 0 && !more && step != SQLITE_DONE && step != SQLITE_ROW)
        r = state_error(db);
    sqlite3_finalize(s);
    *rows -= n;
    json_object_set_new(edit, "changes", changes);
    json_object_set_new(edit, "more", json_boolean(more));
    return r;
}

int state_db_history_changes(struct state_db *db, json_t *history) {
    int64_t rows = ROWS_OF_ALL;
    json_t *edit;
    size_t i;
    int r = 0;
    json_array_foreach(json_object_get(history, "edits"), i, edit) {
        if (r == 0)
            r = add_changes(db, edit, &rows);
    }
    return r;
}
