/* SPDX-License-Identifier: Apache-2.0
 *
 * What an edit changes of the items, from the placement and the table that it leads to: only that
 * is written, and, as far as it is known what the items say, only that is looked at.
 */
#include "state_parts.h"
#include "table_json.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* An empty array may be NULL. */
static bool same(const void *a, const void *b, size_t bytes) {
    return bytes == 0 || memcmp(a, b, bytes) == 0;
}

struct item {
    int64_t id;
    const char *name;
    const void *blob; /* or, when NULL, */
    int blob_bytes;
    json_t *json; /* stage() gives it back; NULL: out of memory */
};

/* Goes through the items of a kind that are in force, side by side with those that shall be: both
 * sorted by id, so that one look at each finds what is new, changed or gone.  Where it is known
 * what the items say, it goes only to those that may be one of these. */
struct walk {
    const struct state_db *db;
    const char *kind;
    sqlite3_stmt *s;
    sqlite3_stmt *insert; /* prepared with the first that is new */
    bool more;
    bool leaps;
};

static int walk_next(struct walk *walk) {
    int step = sqlite3_step(walk->s);
    walk->more = step == SQLITE_ROW;
    return walk->more || step == SQLITE_DONE ? 0 : state_error(walk->db);
}

static int walk_begin(struct walk *walk, const struct state_db *db, const char *kind, bool leaps) {
    *walk = (struct walk){.db = db, .kind = kind, .leaps = leaps};
    walk->s = state_prepare(db,
                            "SELECT id, data FROM item WHERE stage = 0 AND kind = ? AND id >= ? "
                            "ORDER BY id",
                            "ti", kind, INT64_MIN);
    return walk->s == NULL ? state_error(db) : leaps ? 0 : walk_next(walk);
}

static int walk_leap(struct walk *walk, int64_t id) {
    sqlite3_reset(walk->s);
    sqlite3_bind_int64(walk->s, 2, id);
    return walk_next(walk);
}

static int stage_gone(const struct walk *walk, int64_t id) {
    return state_run(walk->db, "INSERT INTO item(stage, kind, id) VALUES(1, ?, ?)", "ti",
                     walk->kind, id);
}

/* What stands before `id` is gone. */
static int walk_to(struct walk *walk, int64_t id) {
    int r = 0;
    if (walk->leaps)
        return walk_leap(walk, id);
    while (r == 0 && walk->more && sqlite3_column_int64(walk->s, 0) < id) {
        r = stage_gone(walk, sqlite3_column_int64(walk->s, 0));
        if (r == 0)
            r = walk_next(walk);
    }
    return r;
}

static int walk_end(struct walk *walk, int r) {
    if (r == 0 && !walk->leaps)
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
        const bool unchanged = sqlite3_column_bytes(walk->s, 1) == bytes &&
                               same(sqlite3_column_blob(walk->s, 1), data, (size_t)bytes);
        if (!walk->leaps)
            r = walk_next(walk);
        if (r < 0 || unchanged)
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
    int r = walk_begin(&walk, db, kind, false);
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
    const bool known = db->known.in_force;
    const struct layout *before = &db->known.layout;
    const uint32_t n = l->sections_used, before_n = known ? before->sections_used : 0;
    int r = walk_begin(&walk, db, "descriptor", known);
    for (uint32_t i = 0; r == 0 && (i < n || i < before_n); i++) {
        const struct shm_section *is = i < n ? &l->sections[i] : NULL;
        const struct shm_section *was = i < before_n ? &before->sections[i] : NULL;
        if (is != NULL && was != NULL && same(is, was, sizeof *is))
            continue;
        if (is != NULL && is->state != SHM_PLACE_FREE)
            r = stage(&walk, &(struct item){i, is->name, is, sizeof *is, NULL});
        else if (was != NULL && was->state != SHM_PLACE_FREE)
            r = stage_gone(&walk, i);
    }
    return walk_end(&walk, r);
}

static int stage_arenas(const struct state_db *db, const struct layout *l) {
    struct walk walk;
    const struct layout *before = &db->known.layout;
    const size_t bytes = l->arenas_used * sizeof *l->arenas;
    if (db->known.in_force && before->arenas_used == l->arenas_used &&
        same(before->arenas, l->arenas, bytes))
        return 0;
    int r = walk_begin(&walk, db, "arena", false);
    for (uint32_t i = 0; r == 0 && i < l->arenas_used; i++)
        if (l->arenas[i].state != SHM_PLACE_FREE)
            r = stage(&walk, &(struct item){i, NULL, &l->arenas[i], sizeof *l->arenas, NULL});
    return walk_end(&walk, r);
}

static int stage_records(const struct state_db *db, const struct layout *l) {
    struct walk walk;
    const struct layout *before = &db->known.layout;
    const size_t bytes = l->workers_used * sizeof *l->workers;
    if (db->known.in_force && before->workers_used == l->workers_used &&
        same(before->workers, l->workers, bytes))
        return 0;
    int r = walk_begin(&walk, db, "record", false);
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
    const struct table *before = &db->known.table;
    if (db->known.in_force && before->workers_n == t->workers_n &&
        same(before->workers, t->workers, t->workers_n * sizeof *t->workers))
        return 0;
    struct numbered *workers = calloc(t->workers_n + 1, sizeof *workers);
    for (size_t i = 0; workers != NULL && i < t->workers_n; i++)
        workers[i].id = -1;
    int r = workers == NULL ? -ENOMEM : number_workers(db, t, workers);
    if (r == 0) {
        r = walk_begin(&walk, db, "worker", false);
        for (size_t i = 0; r == 0 && i < t->workers_n; i++)
            r = stage(&walk, &(struct item){.id = workers[i].id,
                                            .name = workers[i].worker->name,
                                            .json = table_json_worker(workers[i].worker)});
        r = walk_end(&walk, r);
    }
    free(workers);
    return r;
}

static int stage_section(struct walk *walk, const struct table_section *row) {
    return stage(
        walk,
        &(struct item){.id = (int64_t)row->id, .name = row->name, .json = table_json_section(row)});
}

static int stage_sections(const struct state_db *db, const struct table *t) {
    struct walk walk;
    const bool known = db->known.in_force;
    const struct table *before = &db->known.table;
    const size_t n = t->sections_n, before_n = known ? before->sections_n : 0;
    size_t i = 0, j = 0;
    int r = walk_begin(&walk, db, "section", known);
    while (r == 0 && (i < n || j < before_n)) {
        const struct table_section *is = i < n ? &t->sections[i] : NULL;
        const struct table_section *was = j < before_n ? &before->sections[j] : NULL;
        const bool both = is != NULL && was != NULL && is->id == was->id;
        const bool gone = is == NULL || (was != NULL && was->id < is->id);
        if (gone)
            r = stage_gone(&walk, (int64_t)was->id);
        else if (!both || !same(is, was, sizeof *is))
            r = stage_section(&walk, is);
        i += !gone;
        j += gone || both;
    }
    return walk_end(&walk, r);
}

static int stage_table(const struct state_db *db, const struct table *t) {
    int r = stage_one(db, "segment", table_json_segment(t));
    if (r == 0)
        r = stage_workers(db, t);
    return r == 0 ? stage_sections(db, t) : r;
}

/* ---- both */

int state_items_stage(struct state_db *db, const struct layout *layout, const struct table *table) {
    int r = state_items_drop(db);
    if (r == 0)
        r = stage_layout(db, layout);
    return r == 0 ? stage_table(db, table) : r;
}
