/* SPDX-License-Identifier: Apache-2.0
 *
 * The section table as JSON: rows in state.db, and the reply to "table".  What is read is checked
 * as a table, whoever wrote it.
 */
#include "table_json.h"
#include "made_rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

json_t *table_json_segment(const struct table *t) {
    return json_pack("{s:I, s:I, s:s, s:I, s:s, s:b, s:b}", "key", (json_int_t)t->key, "size",
                     (json_int_t)t->size, "backend", table_word(TABLE_BACKENDS, t->backend), "mode",
                     (json_int_t)t->mode, "group_name", t->group_name, "lock_memory",
                     t->lock_memory, "auto_apply", t->auto_apply);
}

json_t *table_json_worker(const struct table_worker *w) {
    return json_pack("{s:s, s:s, s:I, s:I}", "name", w->name, "user", w->user, "instances",
                     (json_int_t)w->instances, "may_create", (json_int_t)w->may_create);
}

json_t *table_json_section(const struct table_section *s) {
    json_t *row = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:b, s:I, s:b, s:b, s:b, s:I, s:s, s:s}", "name",
        s->name, "owner", s->owner, "format", s->format, "read_group", s->read_group, "write_group",
        s->write_group, "kind", table_word(TABLE_KINDS, s->kind), "size", (json_int_t)s->size,
        "count", (json_int_t)s->count, "pinned", s->pinned, "offset", (json_int_t)s->offset,
        "shared", s->shared, "persist", s->persist, "transient", s->transient, "stale_ms",
        (json_int_t)s->stale_ms, "stamp", table_word(TABLE_STAMPS, s->stamp), "notify",
        table_word(TABLE_NOTIFIES, s->notify));
    /* A row that says nothing of them is as the versions before wrote it. */
    if (row != NULL && (s->pregrab || s->clear != TABLE_CLEAR_NEVER)) {
        json_object_set_new(row, "pregrab", json_boolean(s->pregrab));
        json_object_set_new(row, "clear", json_string(table_word(TABLE_CLEARS, s->clear)));
    }
    return row;
}

static int read_name(char ret[SHM_NAME_BYTES], const char *text) {
    if (strlen(text) >= SHM_NAME_BYTES)
        return -EBADMSG;
    strcpy(ret, text);
    return 0;
}

int table_json_take_segment(struct table *t, const json_t *json) {
    json_int_t key, size, mode;
    const char *backend, *group;
    int lock, automatic;
    int r = json_unpack((json_t *)(uintptr_t)json, "{s:I, s:I, s:s, s:I, s:s, s:b, s:b}", "key",
                        &key, "size", &size, "backend", &backend, "mode", &mode, "group_name",
                        &group, "lock_memory", &lock, "auto_apply", &automatic);
    if (r == 0) {
        t->key = (uint32_t)key;
        t->size = (uint64_t)size;
        t->mode = (uint32_t)mode;
        t->lock_memory = lock;
        t->auto_apply = automatic;
        r = table_value(TABLE_BACKENDS, backend);
        t->backend = (enum shm_backend)r;
        r = r < 0 ? r : read_name(t->group_name, group);
    }
    return r < 0 ? -EBADMSG : 0;
}

int table_json_take_worker(struct table *t, const json_t *json) {
    struct table_worker w = {0};
    json_int_t instances, may_create;
    const char *name, *user;
    int r = json_unpack((json_t *)(uintptr_t)json, "{s:s, s:s, s:I, s:I}", "name", &name, "user",
                        &user, "instances", &instances, "may_create", &may_create);
    if (r == 0 && (r = read_name(w.name, name)) == 0)
        r = read_name(w.user, user);
    if (r < 0)
        return -EBADMSG;
    w.instances = (uint32_t)instances;
    w.may_create = (uint64_t)may_create;
    void *grown = reallocarray(t->workers, t->workers_n + 1, sizeof w);
    if (grown == NULL)
        return -ENOMEM;
    t->workers = grown;
    t->workers[t->workers_n++] = w;
    return 0;
}

static int words_of(struct table_section *row, const char *kind, const char *stamp,
                    const char *notify, const char *clear) {
    int k = table_value(TABLE_KINDS, kind), s = table_value(TABLE_STAMPS, stamp),
        n = table_value(TABLE_NOTIFIES, notify), c = table_value(TABLE_CLEARS, clear);
    if (k < 0 || s < 0 || n < 0 || c < 0)
        return -EBADMSG;
    row->kind = (enum shm_kind)k;
    row->stamp = (enum table_stamp)s;
    row->notify = (enum table_notify)n;
    row->clear = (enum table_clear)c;
    return 0;
}

int table_json_take_section(struct table *t, uint64_t id, const json_t *json) {
    struct table_section row = {.id = id};
    const char *name, *owner, *format, *readers, *writers, *kind, *stamp, *notify;
    const char *clear = "never";
    json_int_t size, count, offset, stale;
    int pinned, shared, persist, transient = 0, pregrab = 0;
    int r = json_unpack(
        (json_t *)(uintptr_t)json,
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:b, s:I, s:b, s:b, s?b, s:I, s:s, s:s, s?b, "
        "s?s}",
        "name", &name, "owner", &owner, "format", &format, "read_group", &readers, "write_group",
        &writers, "kind", &kind, "size", &size, "count", &count, "pinned", &pinned, "offset",
        &offset, "shared", &shared, "persist", &persist, "transient", &transient, "stale_ms",
        &stale, "stamp", &stamp, "notify", &notify, "pregrab", &pregrab, "clear", &clear);
    if (r == 0 &&
        (read_name(row.name, name) < 0 || read_name(row.owner, owner) < 0 ||
         read_name(row.format, format) < 0 || read_name(row.read_group, readers) < 0 ||
         read_name(row.write_group, writers) < 0 || words_of(&row, kind, stamp, notify, clear) < 0))
        r = -EBADMSG;
    if (r < 0)
        return -EBADMSG;
    row.size = (uint64_t)size;
    row.count = (uint32_t)count;
    row.pinned = pinned;
    row.offset = (uint64_t)offset;
    row.shared = shared;
    row.persist = persist;
    row.transient = transient;
    row.pregrab = pregrab;
    row.stale_ms = (uint64_t)stale;
    void *grown = reallocarray(t->sections, t->sections_n + 1, sizeof row);
    if (grown == NULL)
        return -ENOMEM;
    t->sections = grown;
    t->sections[t->sections_n++] = row;
    return 0;
}

json_t *table_json(const struct table *t) {
    json_t *workers = json_array(), *sections = json_array(), *made = json_array();
    for (size_t i = 0; i < t->workers_n; i++)
        json_array_append_new(workers, table_json_worker(&t->workers[i]));
    for (size_t i = 0; i < t->sections_n; i++) {
        json_t *row = table_json_section(&t->sections[i]);
        json_object_set_new(row, "id", json_integer((json_int_t)t->sections[i].id));
        json_array_append_new(made_is(t->sections[i].id) ? made : sections, row);
    }
    return json_pack("{s:o, s:o, s:o, s:o}", "segment", table_json_segment(t), "workers", workers,
                     "sections", sections, "made", made);
}

static json_t *rows_by_name(const struct table *t) {
    json_t *workers = json_array(), *sections = json_object();
    for (size_t i = 0; i < t->workers_n; i++)
        json_array_append_new(workers, table_json_worker(&t->workers[i]));
    for (size_t i = 0; i < t->sections_n; i++)
        json_object_set_new(sections, t->sections[i].name, table_json_section(&t->sections[i]));
    return json_pack("{s:o, s:o}", "workers", workers, "sections", sections);
}

/* Rows that are the same bytes, in the same order, say the same; others may. */
static bool same_bytes(const struct table *a, const struct table *b) {
    const void *const one[] = {a->workers, a->sections}, *const other[] = {b->workers, b->sections};
    const size_t bytes[] = {a->workers_n * sizeof *a->workers, a->sections_n * sizeof *a->sections};
    for (size_t i = 0; i < 2; i++)
        if (bytes[i] > 0 && memcmp(one[i], other[i], bytes[i]) != 0)
            return false;
    return true;
}

static bool same_segment(const struct table *a, const struct table *b) {
    json_t *one = table_json_segment(a), *other = table_json_segment(b);
    const bool same = one != NULL && json_equal(one, other);
    json_decref(one);
    json_decref(other);
    return same;
}

bool table_json_same(const struct table *a, const struct table *b) {
    if (a->workers_n != b->workers_n || a->sections_n != b->sections_n || !same_segment(a, b))
        return false;
    if (same_bytes(a, b))
        return true;
    json_t *one = rows_by_name(a), *other = rows_by_name(b);
    const bool same = one != NULL && json_equal(one, other);
    json_decref(one);
    json_decref(other);
    return same;
}

int table_json_read(struct table *ret, const json_t *json) {
    struct table table = {0};
    const json_t *row;
    char error[512];
    size_t i;
    int r = table_json_take_segment(&table, json_object_get(json, "segment"));
    json_array_foreach(json_object_get(json, "workers"), i, row) {
        if (r == 0)
            r = table_json_take_worker(&table, row);
    }
    json_array_foreach(json_object_get(json, "sections"), i, row) {
        json_int_t id = json_integer_value(json_object_get(row, "id"));
        if (r == 0)
            r = table_json_take_section(&table, (uint64_t)id, row);
    }
    if (r == 0 && table_check(&table, error, sizeof error) < 0)
        r = -EBADMSG;
    if (r < 0) {
        table_clear(&table);
        return r;
    }
    *ret = table;
    return 0;
}
