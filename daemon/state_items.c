/* SPDX-License-Identifier: Apache-2.0
 *
 * Table and placement as items.  The placement is kept as the segment's own structures, which no
 * version may change; the table's rows as JSON, which people can read and later versions can
 * extend. An edit writes only the items that it changes.
 */
#include "state_parts.h"
#include "table_json.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES_MAX 1000000 /* sections, arenas or workers of a placement */

const char state_items_schema[] =
    "CREATE TABLE item(stage INTEGER NOT NULL, kind TEXT NOT NULL, id INTEGER NOT NULL, "
    "  name TEXT, data ANY, PRIMARY KEY(stage, kind, id)) STRICT, WITHOUT ROWID;";

/* ---- staging */

struct item {
    const char *kind;
    int64_t id;
    const char *name;
    const void *blob; /* or, when NULL, */
    int blob_bytes;
    json_t *json; /* owned by whoever made it */
};

static bool same_as_before(const struct state_db *db, const struct item *item, const void *data,
                           int bytes) {
    sqlite3_stmt *s =
        state_prepare(db, "SELECT data FROM item WHERE stage = 0 AND kind = ? AND id = ?", "ti",
                      item->kind, item->id);
    bool same = s != NULL && sqlite3_step(s) == SQLITE_ROW && sqlite3_column_bytes(s, 0) == bytes &&
                memcmp(sqlite3_column_blob(s, 0), data, (size_t)bytes) == 0;
    sqlite3_finalize(s);
    return same;
}

static int stage(const struct state_db *db, const struct item *item) {
    char *text = item->json == NULL ? NULL : json_dumps(item->json, JSON_COMPACT | JSON_SORT_KEYS);
    if (item->json != NULL && text == NULL)
        return -ENOMEM;
    const void *data = text != NULL ? text : item->blob;
    int bytes = text != NULL ? (int)strlen(text) : item->blob_bytes, r = 0;
    static const char insert[] =
        "INSERT INTO item(stage, kind, id, name, data) VALUES(1, ?, ?, ?, ?)";
    if (same_as_before(db, item, data, bytes))
        r = 0;
    else if (text != NULL)
        r = state_run(db, insert, "titt", item->kind, item->id, item->name, text);
    else
        r = state_run(db, insert, "titb", item->kind, item->id, item->name, data, bytes);
    free(text);
    return r;
}

/* Notes the end of those of a kind that `has` doesn't know any more. */
static int stage_removed(const struct state_db *db, const char *kind,
                         bool (*has)(const void *, int64_t), const void *where) {
    sqlite3_stmt *s = state_prepare(
        db, "SELECT id FROM item WHERE stage = 0 AND kind = ? ORDER BY id", "t", kind);
    int r = s == NULL ? state_error(db) : 0, step = SQLITE_DONE;
    while (r == 0 && (step = sqlite3_step(s)) == SQLITE_ROW) {
        int64_t id = sqlite3_column_int64(s, 0);
        if (!has(where, id))
            r = state_run(db, "INSERT INTO item(stage, kind, id) VALUES(1, ?, ?)", "ti", kind, id);
    }
    if (r == 0 && step != SQLITE_DONE)
        r = state_error(db);
    sqlite3_finalize(s);
    return r;
}

/* ---- the placement */

static bool has_descriptor(const void *layout, int64_t id) {
    const struct layout *l = layout;
    return id < l->sections_used && l->sections[id].state != SHM_PLACE_FREE;
}

static bool has_arena(const void *layout, int64_t id) {
    const struct layout *l = layout;
    return id < l->arenas_used && l->arenas[id].state != SHM_PLACE_FREE;
}

static bool has_record(const void *layout, int64_t id) {
    const struct layout *l = layout;
    return id < l->workers_used && l->workers[id][0] != '\0';
}

static int stage_geometry(const struct state_db *db, const struct layout *l) {
    json_t *json = json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:[I, I, I], s:[I, I, I, I]}", "segment_bytes",
        (json_int_t)l->segment_bytes, "arena_start", (json_int_t)l->arena_start, "workers_off",
        (json_int_t)l->workers_off, "workers_capacity", (json_int_t)l->workers_capacity,
        "attachments_off", (json_int_t)l->attachments_off, "attachments_capacity",
        (json_int_t)l->attachments_capacity, "bells_capacity", (json_int_t)l->bells_capacity,
        "generation", (json_int_t)l->generation, "used", (json_int_t)l->sections_used,
        (json_int_t)l->arenas_used, (json_int_t)l->workers_used, "directories",
        (json_int_t)l->directories[0].offset, (json_int_t)l->directories[0].bytes,
        (json_int_t)l->directories[1].offset, (json_int_t)l->directories[1].bytes);
    struct item item = {.kind = "geometry", .json = json};
    int r = json == NULL ? -ENOMEM : stage(db, &item);
    json_decref(json);
    return r;
}

static int stage_layout(const struct state_db *db, const struct layout *l) {
    int r = stage_geometry(db, l);
    for (uint32_t i = 0; r == 0 && i < l->sections_used; i++)
        if (has_descriptor(l, i)) {
            struct item item = {"descriptor",        i,   l->sections[i].name, &l->sections[i],
                                sizeof *l->sections, NULL};
            r = stage(db, &item);
        }
    for (uint32_t i = 0; r == 0 && i < l->arenas_used; i++)
        if (has_arena(l, i)) {
            struct item item = {"arena", i, NULL, &l->arenas[i], sizeof *l->arenas, NULL};
            r = stage(db, &item);
        }
    for (uint32_t i = 0; r == 0 && i < l->workers_used; i++)
        if (has_record(l, i)) {
            struct item item = {"record", i, l->workers[i], l->workers[i], SHM_NAME_BYTES, NULL};
            r = stage(db, &item);
        }
    if (r == 0)
        r = stage_removed(db, "descriptor", has_descriptor, l);
    if (r == 0)
        r = stage_removed(db, "arena", has_arena, l);
    return r == 0 ? stage_removed(db, "record", has_record, l) : r;
}

/* Goes through the items of a kind that are in force; `take` gets each statement's row. */
static int each(const struct state_db *db, const char *kind,
                int (*take)(sqlite3_stmt *, int64_t, void *), void *where) {
    sqlite3_stmt *s = state_prepare(
        db, "SELECT id, data FROM item WHERE stage = 0 AND kind = ? ORDER BY id", "t", kind);
    int r = s == NULL ? state_error(db) : 0, step = SQLITE_DONE;
    while (r == 0 && (step = sqlite3_step(s)) == SQLITE_ROW)
        r = take(s, sqlite3_column_int64(s, 0), where);
    if (r == 0 && step != SQLITE_DONE)
        r = state_error(db);
    sqlite3_finalize(s);
    return r;
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

static bool has_worker_row(const void *table, int64_t id) {
    return id < (int64_t)((const struct table *)table)->workers_n;
}

static bool has_section_row(const void *table, int64_t id) {
    const struct table *t = table; /* sorted by id */
    size_t low = 0, high = t->sections_n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (t->sections[middle].id == (uint64_t)id)
            return true;
        if (t->sections[middle].id < (uint64_t)id)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

static int stage_json(const struct state_db *db, const char *kind, int64_t id, const char *name,
                      json_t *json) {
    struct item item = {.kind = kind, .id = id, .name = name, .json = json};
    int r = json == NULL ? -ENOMEM : stage(db, &item);
    json_decref(json);
    return r;
}

static int stage_table(const struct state_db *db, const struct table *t) {
    int r = stage_json(db, "segment", 0, NULL, table_json_segment(t));
    for (size_t i = 0; r == 0 && i < t->workers_n; i++)
        r = stage_json(db, "worker", (int64_t)i, t->workers[i].name,
                       table_json_worker(&t->workers[i]));
    for (size_t i = 0; r == 0 && i < t->sections_n; i++)
        r = stage_json(db, "section", (int64_t)t->sections[i].id, t->sections[i].name,
                       table_json_section(&t->sections[i]));
    if (r == 0)
        r = stage_removed(db, "worker", has_worker_row, t);
    return r == 0 ? stage_removed(db, "section", has_section_row, t) : r;
}

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

int state_db_good_table(struct state_db *db, struct table *ret) {
    struct table table = {0};
    char error[512];
    int r = each(db, "segment", take_segment, &table);
    if (r == 0 && table.size == 0)
        return -ENOENT;
    if (r == 0)
        r = each(db, "worker", take_worker, &table);
    if (r == 0)
        r = each(db, "section", take_section, &table);
    if (r == 0)
        r = table_check(&table, error, sizeof error);
    if (r < 0) {
        table_clear(&table);
        return r;
    }
    *ret = table;
    return 0;
}

/* ---- both */

int state_items_stage(struct state_db *db, const struct layout *layout, const struct table *table) {
    int r = state_items_drop(db);
    if (r == 0)
        r = stage_layout(db, layout);
    return r == 0 ? stage_table(db, table) : r;
}

int state_items_commit(struct state_db *db) {
    int r =
        state_run(db,
                  "DELETE FROM item WHERE stage = 0 AND EXISTS (SELECT 1 FROM item AS new WHERE "
                  "new.stage = 1 AND new.kind = item.kind AND new.id = item.id)",
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
