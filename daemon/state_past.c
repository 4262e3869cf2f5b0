/* SPDX-License-Identifier: Apache-2.0
 *
 * The table as it was: each edit that is applied is a step, with what it found in each row that it
 * changed.  Going back from what runs, step by step, gives the table at any edit whose later steps
 * are all there; so it costs what was changed, not what exists.
 */
#include "state_parts.h"
#include "table_json.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEPT_BYTES "67108864" /* of rows; twice the largest table's */
#define ROW_BYTES  "64"       /* of each, beside what it was */

/* `name` and `was` are NULL for a row that the step added. */
const char state_past_schema[] =
    "CREATE TABLE past(step INTEGER NOT NULL, kind TEXT NOT NULL, id INTEGER NOT NULL, "
    "  name TEXT, was ANY, PRIMARY KEY(step, kind, id)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX past_row ON past(kind, id, step);";

/* ---- keeping it */

int state_past_record(const struct state_db *db, int64_t edit) {
    int r = state_run(db,
                      "UPDATE edit SET step = 1 + max(coalesce((SELECT max(step) FROM edit), 0), "
                      "coalesce((SELECT max(step) FROM past), 0)) WHERE edit = ?",
                      "i", edit);
    if (r == 0)
        r = state_run(db,
                      "INSERT INTO past(step, kind, id, name, was) "
                      "SELECT (SELECT step FROM edit WHERE edit = ?), new.kind, new.id, old.name, "
                      "  old.data FROM item AS new LEFT JOIN item AS old "
                      "  ON old.stage = 0 AND old.kind = new.kind AND old.id = new.id "
                      "WHERE new.stage = 1 AND (new.kind IN ('segment', 'worker') OR "
                      "  (new.kind = 'section' AND new.id < " STATE_ID_MADE "))",
                      "i", edit);
    if (r == 0)
        r = state_run(db,
                      "UPDATE edit SET past_bytes = (SELECT coalesce(sum(" ROW_BYTES
                      " + coalesce(length(was), 0)), 0) FROM past WHERE past.step = edit.step) "
                      "WHERE edit = ?",
                      "i", edit);
    return r;
}

static int forget_oldest(const struct state_db *db) {
    return state_run(db,
                     "UPDATE edit SET step = NULL WHERE step < (SELECT min(step) FROM "
                     "  (SELECT step, sum(past_bytes) OVER (ORDER BY step DESC ROWS BETWEEN "
                     "  UNBOUNDED PRECEDING AND 1 PRECEDING) AS later FROM edit "
                     "  WHERE step IS NOT NULL) "
                     "WHERE coalesce(later, 0) <= " KEPT_BYTES ")",
                     "");
}

/* What a step found is needed for the edits before it, and to tell what it changed. */
int state_past_prune(const struct state_db *db) {
    int r = 0;
    if (state_number(db, "SELECT sum(past_bytes) > " KEPT_BYTES " FROM edit WHERE step IS NOT NULL",
                     NULL, 1) != 0)
        r = forget_oldest(db);
    if (r == 0)
        r = state_run(db, "DELETE FROM past WHERE step < (SELECT min(step) FROM edit)", "");
    return r;
}

/* ---- which edit is meant */

/* An edit that was in force, and is kept. */
struct then {
    int64_t edit, step, generation;
};

static int say_range(const struct state_db *db, const char *which, char *error,
                     size_t error_bytes) {
    const int64_t first =
        state_number(db, "SELECT min(generation) FROM edit WHERE step IS NOT NULL", NULL, -1);
    const int64_t last =
        state_number(db, "SELECT max(generation) FROM edit WHERE step IS NOT NULL", NULL, -1);
    if (first < 0)
        snprintf(error, error_bytes,
                 "the table of %s is not kept, and no other is: none was applied yet", which);
    else
        snprintf(error, error_bytes,
                 "the table of %s is not kept: those of generations %" PRId64 " to %" PRId64
                 " are (shmtool history)",
                 which, first, last);
    return -ENOENT;
}

static int find(const struct state_db *db, const char *sql, int64_t number, struct then *ret,
                char outcome[16]) {
    sqlite3_stmt *s = state_prepare(db, sql, "i", number);
    int step = s == NULL ? SQLITE_ERROR : sqlite3_step(s);
    int r = step == SQLITE_ROW ? 0 : step == SQLITE_DONE ? -ENOENT : state_error(db);
    if (r == 0) {
        const char *text = (const char *)sqlite3_column_text(s, 3);
        *ret = (struct then){.edit = sqlite3_column_int64(s, 0),
                             .step = sqlite3_column_int64(s, 1),
                             .generation = sqlite3_column_int64(s, 2)};
        snprintf(outcome, 16, "%s", text == NULL ? "" : text);
    }
    sqlite3_finalize(s);
    return r;
}

static int find_edit(const struct state_db *db, int64_t number, struct then *ret, char *error,
                     size_t error_bytes) {
    char which[40], outcome[16];
    int r = find(db, "SELECT edit, coalesce(step, 0), generation, outcome FROM edit WHERE edit = ?",
                 number, ret, outcome);
    snprintf(which, sizeof which, "edit %" PRId64, number);
    if (r == -ENOENT) {
        snprintf(error, error_bytes, "the history has no %s (shmtool history)", which);
    } else if (r == 0 && strcmp(outcome, "applied") != 0) {
        snprintf(
            error, error_bytes,
            "%s was never in force, its outcome is '%s': only a table that was can be had again "
            "(shmtool history)",
            which, outcome);
        r = -ENOENT;
    } else if (r == 0 && ret->step == 0) {
        r = say_range(db, which, error, error_bytes);
    }
    return r;
}

/* An edit that changes no section has the generation of the one before: the last one counts. */
static int find_generation(const struct state_db *db, int64_t number, struct then *ret, char *error,
                           size_t error_bytes) {
    char which[40], outcome[16];
    int r = find(db,
                 "SELECT edit, step, generation, outcome FROM edit WHERE generation = ? AND step "
                 "IS NOT NULL ORDER BY step DESC LIMIT 1",
                 number, ret, outcome);
    snprintf(which, sizeof which, "generation %" PRId64, number);
    return r == -ENOENT ? say_range(db, which, error, error_bytes) : r;
}

/* "41" or "edit:17" */
static int find_when(const struct state_db *db, const char *when, struct then *ret, char *error,
                     size_t error_bytes) {
    const bool is_edit = strncmp(when, "edit:", 5) == 0;
    const char *digits = is_edit ? when + 5 : when;
    const size_t n = strlen(digits);
    if (n == 0 || n > 18 || strspn(digits, "0123456789") != n) {
        snprintf(error, error_bytes,
                 "'%.40s' is neither a generation, as 41, nor an edit, as edit:17 (shmtool "
                 "history)",
                 when);
        return -EINVAL;
    }
    const int64_t number = strtoll(digits, NULL, 10);
    int r = is_edit ? find_edit(db, number, ret, error, error_bytes)
                    : find_generation(db, number, ret, error, error_bytes);
    if (r < 0 && r != -ENOENT)
        snprintf(error, error_bytes, "the history in state.db can't be read: %s", strerror(-r));
    return r;
}

/* ---- the table then */

/* An id that was free in between and is another section's now: with the row of then it would go on
 * with a value that is not its own.  One that was renamed, or came back under its name, is itself.
 */
static int taken_since(const struct state_db *db, int64_t step, const struct table *table,
                       json_t *ret) {
    sqlite3_stmt *s = state_prepare(
        db,
        "SELECT DISTINCT gone.id, item.name FROM past AS back "
        "JOIN past AS gone ON gone.kind = back.kind AND gone.id = back.id AND gone.step = "
        "  (SELECT max(step) FROM past WHERE kind = back.kind AND id = back.id AND "
        "   step < back.step) "
        "JOIN item ON item.stage = 0 AND item.kind = back.kind AND item.id = back.id "
        "WHERE back.kind = 'section' AND back.was IS NULL AND gone.step > ? AND "
        "  gone.name <> coalesce((SELECT name FROM past WHERE kind = back.kind AND id = back.id "
        "   AND step > back.step ORDER BY step LIMIT 1), item.name) COLLATE NOCASE "
        "ORDER BY gone.id",
        "i", step);
    int got = SQLITE_DONE;
    while (s != NULL && (got = sqlite3_step(s)) == SQLITE_ROW) {
        const int64_t id = sqlite3_column_int64(s, 0);
        const struct table_section *then = table_section(table, (uint64_t)id);
        if (then != NULL)
            json_array_append_new(ret, json_pack("{s:I, s:s, s:s}", "id", (json_int_t)id, "then",
                                                 then->name, "now", sqlite3_column_text(s, 1)));
    }
    int r = s == NULL || got != SQLITE_DONE ? state_error(db) : 0;
    sqlite3_finalize(s);
    return r;
}

static int table_then(const struct state_db *db, const struct then *then, json_t **ret) {
    struct table table;
    int r = state_items_table(db, then->step, &table);
    if (r < 0)
        return r;
    json_t *taken = json_array(), *json = NULL;
    r = taken_since(db, then->step, &table, taken);
    if (r == 0)
        json = table_json(&table);
    table_clear(&table);
    if (json == NULL) {
        json_decref(taken);
        return r < 0 ? r : -ENOMEM;
    }
    json_object_set_new(json, "generation", json_integer(then->generation));
    json_object_set_new(json, "edit", json_integer(then->edit));
    json_object_set_new(json, "taken", taken);
    *ret = json;
    return 0;
}

int state_db_table_at(struct state_db *db, const char *when, json_t **ret, char *error,
                      size_t error_bytes) {
    struct then then;
    int r = find_when(db, when, &then, error, error_bytes);
    if (r < 0)
        return r;
    r = table_then(db, &then, ret);
    if (r < 0)
        snprintf(error, error_bytes, "the table of edit %" PRId64 " in state.db can't be read: %s",
                 then.edit, strerror(-r));
    return r;
}
