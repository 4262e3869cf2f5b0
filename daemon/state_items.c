/* SPDX-License-Identifier: Apache-2.0
 *
 * Table and placement as items.  The placement is kept as the segment's own structures, which no
 * version may change; the table's rows as JSON, which people can read and later versions can
 * extend.  What an edit changes of them is state_stage.c's.
 */
#include "state_parts.h"
#include "table_json.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES_MAX 1000000 /* sections, arenas or workers of a placement */

const char state_items_schema[] =
    "CREATE TABLE item(stage INTEGER NOT NULL, kind TEXT NOT NULL, id INTEGER NOT NULL, "
    "  name TEXT, data ANY, PRIMARY KEY(stage, kind, id)) STRICT, WITHOUT ROWID;";

/* ---- the placement */

typedef int take_row(sqlite3_stmt *, int64_t, void *);

/* `take` gets each row (id, data) of a statement, which is ended. */
static int take_each(const struct state_db *db, sqlite3_stmt *s, take_row *take, void *where) {
    int r = s == NULL ? state_error(db) : 0, step = SQLITE_DONE;
    while (r == 0 && (step = sqlite3_step(s)) == SQLITE_ROW)
        r = take(s, sqlite3_column_int64(s, 0), where);
    if (r == 0 && step != SQLITE_DONE)
        r = state_error(db);
    sqlite3_finalize(s);
    return r;
}

/* Goes through the items of a kind that are in force. */
static int each(const struct state_db *db, const char *kind, take_row *take, void *where) {
    sqlite3_stmt *s = state_prepare(
        db, "SELECT id, data FROM item WHERE stage = 0 AND kind = ? ORDER BY id", "t", kind);
    return take_each(db, s, take, where);
}

/* Puts one structure at its index; what no item tells of is a hole, and zero. */
static int take_indexed(sqlite3_stmt *s, int64_t id, void *array, uint32_t used, size_t bytes) {
    if (id < 0 || id >= used || (size_t)sqlite3_column_bytes(s, 1) != bytes)
        return -EBADMSG;
    memcpy((uint8_t *)array + (size_t)id * bytes, sqlite3_column_blob(s, 1), bytes);
    return 0;
}

static int take_descriptor(sqlite3_stmt *s, int64_t id, void *where) {
    struct layout *l = where;
    return take_indexed(s, id, l->sections, l->sections_used, sizeof *l->sections);
}

static int take_arena(sqlite3_stmt *s, int64_t id, void *where) {
    struct layout *l = where;
    return take_indexed(s, id, l->arenas, l->arenas_used, sizeof *l->arenas);
}

static int take_record(sqlite3_stmt *s, int64_t id, void *where) {
    struct layout *l = where;
    return take_indexed(s, id, l->workers, l->workers_used, sizeof *l->workers);
}

static json_t *row_json(sqlite3_stmt *s) {
    return json_loadb(sqlite3_column_blob(s, 1), (size_t)sqlite3_column_bytes(s, 1), 0, NULL);
}

static int take_geometry(sqlite3_stmt *s, int64_t id, void *where) {
    (void)id;
    struct layout *l = where;
    json_t *json = row_json(s);
    json_int_t n[8], u[3], d[4];
    int r =
        json_unpack(json, "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:[I, I, I], s:[I, I, I, I]}",
                    "segment_bytes", &n[0], "arena_start", &n[1], "workers_off", &n[2],
                    "workers_capacity", &n[3], "attachments_off", &n[4], "attachments_capacity",
                    &n[5], "bells_capacity", &n[6], "generation", &n[7], "used", &u[0], &u[1],
                    &u[2], "directories", &d[0], &d[1], &d[2], &d[3]);
    json_decref(json);
    for (int i = 0; r == 0 && i < 3; i++)
        if (u[i] < 0 || u[i] > ENTRIES_MAX)
            r = -EBADMSG;
    if (r < 0)
        return -EBADMSG;
    layout_clear(l);
    *l = (struct layout){
        .segment_bytes = (uint64_t)n[0],
        .arena_start = (uint32_t)n[1],
        .workers_off = (uint32_t)n[2],
        .workers_capacity = (uint32_t)n[3],
        .attachments_off = (uint32_t)n[4],
        .attachments_capacity = (uint32_t)n[5],
        .bells_capacity = (uint32_t)n[6],
        .generation = (uint64_t)n[7],
        .directories = {{(uint64_t)d[0], (uint64_t)d[1]}, {(uint64_t)d[2], (uint64_t)d[3]}},
        .sections = calloc((size_t)u[0] + 1, sizeof *l->sections),
        .sections_used = (uint32_t)u[0],
        .arenas = calloc((size_t)u[1] + 1, sizeof *l->arenas),
        .arenas_used = (uint32_t)u[1],
        .workers = calloc((size_t)u[2] + 1, sizeof *l->workers),
        .workers_used = (uint32_t)u[2]};
    return l->sections == NULL || l->arenas == NULL || l->workers == NULL ? -ENOMEM : 0;
}

int state_db_placement(struct state_db *db, struct layout *ret) {
    struct layout layout = {0};
    char error[256];
    int r = each(db, "geometry", take_geometry, &layout);
    if (r == 0 && layout.segment_bytes == 0)
        r = -ENOENT;
    if (r == 0)
        r = each(db, "descriptor", take_descriptor, &layout);
    if (r == 0)
        r = each(db, "arena", take_arena, &layout);
    if (r == 0)
        r = each(db, "record", take_record, &layout);
    if (r == 0)
        r = layout_check(&layout, error, sizeof error);
    if (r < 0) {
        layout_clear(&layout);
        return r;
    }
    *ret = layout;
    return 0;
}

/* ---- the table */

static int take_segment(sqlite3_stmt *s, int64_t id, void *where) {
    (void)id;
    json_t *json = row_json(s);
    int r = table_json_take_segment(where, json);
    json_decref(json);
    return r;
}

static int take_worker(sqlite3_stmt *s, int64_t id, void *where) {
    (void)id;
    json_t *json = row_json(s);
    int r = table_json_take_worker(where, json);
    json_decref(json);
    return r;
}

static int take_section(sqlite3_stmt *s, int64_t id, void *where) {
    json_t *json = row_json(s);
    int r = table_json_take_section(where, (uint64_t)id, json);
    json_decref(json);
    return r;
}

/* A row is as the first step behind that one found it; one that no step changed, as it is.  (What
 * workers made changes in no step.)  Workers are sorted by name, sections by id. */
static int each_then(const struct state_db *db, const char *kind, int64_t step, take_row *take,
                     void *where) {
    static const char now[] = "SELECT id, data, name FROM item WHERE stage = 0 AND kind = ?1";
    static const char then[] =
        " AND id < " STATE_ID_MADE
        " AND NOT EXISTS (SELECT 1 FROM past WHERE past.kind = ?1 AND past.id = item.id AND "
        "  past.step > ?2) "
        "UNION ALL SELECT id, was, name FROM past WHERE kind = ?1 AND step > ?2 AND was IS NOT "
        "  NULL AND NOT EXISTS (SELECT 1 FROM past AS before WHERE before.kind = ?1 AND "
        "  before.id = past.id AND before.step > ?2 AND before.step < past.step)";
    char sql[sizeof now + sizeof then + 16];
    snprintf(sql, sizeof sql, "%s%s ORDER BY %s", now, step == STATE_NOW ? "" : then,
             strcmp(kind, "worker") == 0 ? "3, 1" : "1");
    return take_each(db, state_prepare(db, sql, step == STATE_NOW ? "t" : "ti", kind, step), take,
                     where);
}

int state_items_table(const struct state_db *db, int64_t step, struct table *ret) {
    struct table table = {0};
    char error[512];
    int r = each_then(db, "segment", step, take_segment, &table);
    if (r == 0 && table.size == 0)
        return -ENOENT;
    if (r == 0)
        r = each_then(db, "worker", step, take_worker, &table);
    if (r == 0)
        r = each_then(db, "section", step, take_section, &table);
    if (r == 0)
        r = table_check(&table, error, sizeof error);
    if (r < 0) {
        table_clear(&table);
        return r;
    }
    *ret = table;
    return 0;
}

int state_db_good_table(struct state_db *db, struct table *ret) {
    return state_items_table(db, STATE_NOW, ret);
}

/* ---- the end of an edit */

int state_items_commit(struct state_db *db) {
    int r = state_run(db,
                      "DELETE FROM item WHERE stage = 0 AND (kind, id) IN "
                      "(SELECT kind, id FROM item WHERE stage = 1)",
                      "");
    if (r == 0)
        r = state_run(db,
                      "INSERT INTO item SELECT 0, kind, id, name, data FROM item "
                      "WHERE stage = 1 AND data IS NOT NULL",
                      "");
    return r == 0 ? state_items_drop(db) : r;
}

int state_items_drop(struct state_db *db) {
    return state_run(db, "DELETE FROM item WHERE stage = 1", "");
}
