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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES_MAX 1000000 /* sections, arenas or workers of a placement */

const char state_items_schema[] =
    "CREATE TABLE item(stage INTEGER NOT NULL, kind TEXT NOT NULL, id INTEGER NOT NULL, "
    "  name TEXT, data ANY, PRIMARY KEY(stage, kind, id)) STRICT, WITHOUT ROWID;";

/* ---- staging */

struct item {
    int64_t id;
    const char *name;
    const void *blob; /* or, when NULL, */
    int blob_bytes;
    json_t *json; /* stage() gives it back; NULL: out of memory */
};

/* Goes through the items of a kind that are in force, side by side with those that shall be: both
 * sorted by id, so that one look at each finds what is new, changed or gone. */
struct walk {
    const struct state_db *db;
    const char *kind;
    sqlite3_stmt *s;
    sqlite3_stmt *insert; /* prepared with the first that is new */
    bool more;
};

static int walk_next(struct walk *walk) {
    int step = sqlite3_step(walk->s);
    walk->more = step == SQLITE_ROW;
    return walk->more || step == SQLITE_DONE ? 0 : state_error(walk->db);
}

static int walk_begin(struct walk *walk, const struct state_db *db, const char *kind) {
    *walk = (struct walk){.db = db, .kind = kind};
    walk->s = state_prepare(
        db, "SELECT id, data FROM item WHERE stage = 0 AND kind = ? ORDER BY id", "t", kind);
    return walk->s == NULL ? state_error(db) : walk_next(walk);
}

/* What stands before `id` is gone. */
static int walk_to(struct walk *walk, int64_t id) {
    int r = 0;
    while (r == 0 && walk->more && sqlite3_column_int64(walk->s, 0) < id) {
        r = state_run(walk->db, "INSERT INTO item(stage, kind, id) VALUES(1, ?, ?)", "ti",
                      walk->kind, sqlite3_column_int64(walk->s, 0));
        if (r == 0)
            r = walk_next(walk);
    }
    return r;
}

static int walk_end(struct walk *walk, int r) {
    if (r == 0)
        r = walk_to(walk, INT64_MAX);
    sqlite3_finalize(walk->s);
    sqlite3_finalize(walk->insert);
    return r;
}

static int stage_insert(struct walk *walk, const struct item *item, const char *text, int bytes) {
    static const char insert[] =
        "INSERT INTO item(stage, kind, id, name, data) VALUES(1, ?, ?, ?, ?)";
    if (walk->insert == NULL &&
        sqlite3_prepare_v2(walk->db->sql, insert, -1, &walk->insert, NULL) != SQLITE_OK)
        return state_error(walk->db);
    sqlite3_stmt *s = walk->insert;
    sqlite3_bind_text(s, 1, walk->kind, -1, SQLITE_STATIC);
    sqlite3_bind_int64(s, 2, item->id);
    sqlite3_bind_text(s, 3, item->name, -1, SQLITE_STATIC);
    if (text != NULL)
        sqlite3_bind_text(s, 4, text, bytes, SQLITE_STATIC);
    else
        sqlite3_bind_blob(s, 4, item->blob, bytes, SQLITE_STATIC);
    int r = sqlite3_step(s) == SQLITE_DONE ? 0 : state_error(walk->db);
    sqlite3_reset(s);
    return r;
}

static int stage_data(struct walk *walk, const struct item *item, const char *text) {
    const void *data = text != NULL ? text : item->blob;
    const int bytes = text != NULL ? (int)strlen(text) : item->blob_bytes;
    int r = walk_to(walk, item->id);
    if (r < 0)
        return r;
    if (walk->more && sqlite3_column_int64(walk->s, 0) == item->id) {
        const bool same = sqlite3_column_bytes(walk->s, 1) == bytes &&
                          memcmp(sqlite3_column_blob(walk->s, 1), data, (size_t)bytes) == 0;
        r = walk_next(walk);
        if (r < 0 || same)
            return r;
    }
    return stage_insert(walk, item, text, bytes);
}

/* In the order of ids. */
static int stage(struct walk *walk, const struct item *item) {
    if (item->blob != NULL)
        return stage_data(walk, item, NULL);
    char *text = item->json == NULL ? NULL : json_dumps(item->json, JSON_COMPACT | JSON_SORT_KEYS);
    int r = text == NULL ? -ENOMEM : stage_data(walk, item, text);
    free(text);
    json_decref(item->json);
    return r;
}

static int stage_one(const struct state_db *db, const char *kind, json_t *json) {
    struct walk walk;
    int r = walk_begin(&walk, db, kind);
    if (r == 0)
        r = stage(&walk, &(struct item){.json = json});
    else
        json_decref(json);
    return walk_end(&walk, r);
}

/* ---- the placement */

static json_t *geometry(const struct layout *l) {
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:[I, I, I], s:[I, I, I, I]}", "segment_bytes",
        (json_int_t)l->segment_bytes, "arena_start", (json_int_t)l->arena_start, "workers_off",
        (json_int_t)l->workers_off, "workers_capacity", (json_int_t)l->workers_capacity,
        "attachments_off", (json_int_t)l->attachments_off, "attachments_capacity",
        (json_int_t)l->attachments_capacity, "bells_capacity", (json_int_t)l->bells_capacity,
        "generation", (json_int_t)l->generation, "used", (json_int_t)l->sections_used,
        (json_int_t)l->arenas_used, (json_int_t)l->workers_used, "directories",
        (json_int_t)l->directories[0].offset, (json_int_t)l->directories[0].bytes,
        (json_int_t)l->directories[1].offset, (json_int_t)l->directories[1].bytes);
}

static int stage_descriptors(const struct state_db *db, const struct layout *l) {
    struct walk walk;
    int r = walk_begin(&walk, db, "descriptor");
    for (uint32_t i = 0; r == 0 && i < l->sections_used; i++)
        if (l->sections[i].state != SHM_PLACE_FREE)
            r = stage(&walk, &(struct item){i, l->sections[i].name, &l->sections[i],
                                            sizeof *l->sections, NULL});
    return walk_end(&walk, r);
}

static int stage_arenas(const struct state_db *db, const struct layout *l) {
    struct walk walk;
    int r = walk_begin(&walk, db, "arena");
    for (uint32_t i = 0; r == 0 && i < l->arenas_used; i++)
        if (l->arenas[i].state != SHM_PLACE_FREE)
            r = stage(&walk, &(struct item){i, NULL, &l->arenas[i], sizeof *l->arenas, NULL});
    return walk_end(&walk, r);
}

static int stage_records(const struct state_db *db, const struct layout *l) {
    struct walk walk;
    int r = walk_begin(&walk, db, "record");
    for (uint32_t i = 0; r == 0 && i < l->workers_used; i++)
        if (l->workers[i][0] != '\0')
            r = stage(&walk, &(struct item){i, l->workers[i], l->workers[i], SHM_NAME_BYTES, NULL});
    return walk_end(&walk, r);
}

static int stage_layout(const struct state_db *db, const struct layout *l) {
    int r = stage_one(db, "geometry", geometry(l));
    if (r == 0)
        r = stage_descriptors(db, l);
    if (r == 0)
        r = stage_arenas(db, l);
    return r == 0 ? stage_records(db, l) : r;
}

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

/* A worker row has no number: one whose name is known keeps the id that it was given, so that an
 * edit stages what it changes and no more. */
struct numbered {
    int64_t id;
    const struct table_worker *worker;
};

static int by_number(const void *a, const void *b) {
    const struct numbered *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Both are sorted by name. */
static int number_workers(const struct state_db *db, const struct table *t, struct numbered *ret) {
    sqlite3_stmt *s = state_prepare(
        db, "SELECT name, id FROM item WHERE stage = 0 AND kind = 'worker' ORDER BY name", "");
    int64_t next = 0;
    size_t i = 0;
    int step = SQLITE_DONE;
    while (s != NULL && (step = sqlite3_step(s)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(s, 0);
        const int64_t id = sqlite3_column_int64(s, 1);
        if (name == NULL || id < 0 || id > INT32_MAX)
            continue;
        next = id >= next ? id + 1 : next;
        while (i < t->workers_n && strcmp(t->workers[i].name, name) < 0)
            i++;
        if (i < t->workers_n && strcmp(t->workers[i].name, name) == 0)
            ret[i++].id = id;
    }
    int r = s == NULL || step != SQLITE_DONE ? state_error(db) : 0;
    sqlite3_finalize(s);
    for (i = 0; i < t->workers_n; i++) {
        ret[i].worker = &t->workers[i];
        if (ret[i].id < 0)
            ret[i].id = next++;
    }
    qsort(ret, t->workers_n, sizeof *ret, by_number);
    return r;
}

static int stage_workers(const struct state_db *db, const struct table *t) {
    struct walk walk;
    struct numbered *workers = calloc(t->workers_n + 1, sizeof *workers);
    for (size_t i = 0; workers != NULL && i < t->workers_n; i++)
        workers[i].id = -1;
    int r = workers == NULL ? -ENOMEM : number_workers(db, t, workers);
    if (r == 0) {
        r = walk_begin(&walk, db, "worker");
        for (size_t i = 0; r == 0 && i < t->workers_n; i++)
            r = stage(&walk, &(struct item){.id = workers[i].id,
                                            .name = workers[i].worker->name,
                                            .json = table_json_worker(workers[i].worker)});
        r = walk_end(&walk, r);
    }
    free(workers);
    return r;
}

static int stage_sections(const struct state_db *db, const struct table *t) {
    struct walk walk;
    int r = walk_begin(&walk, db, "section");
    for (size_t i = 0; r == 0 && i < t->sections_n; i++)
        r = stage(&walk, &(struct item){.id = (int64_t)t->sections[i].id,
                                        .name = t->sections[i].name,
                                        .json = table_json_section(&t->sections[i])});
    return walk_end(&walk, r);
}

static int stage_table(const struct state_db *db, const struct table *t) {
    int r = stage_one(db, "segment", table_json_segment(t));
    if (r == 0)
        r = stage_workers(db, t);
    return r == 0 ? stage_sections(db, t) : r;
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

/* A row is as the first step behind that one found it; one that no step changed, as it is.  Workers
 * are sorted by name, sections by id. */
static int each_then(const struct state_db *db, const char *kind, int64_t step, take_row *take,
                     void *where) {
    static const char now[] = "SELECT id, data, name FROM item WHERE stage = 0 AND kind = ?1";
    static const char then[] =
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
