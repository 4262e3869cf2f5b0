/* SPDX-License-Identifier: Apache-2.0
 *
 * Random edits, and the whole look at a directory.
 */
#include "scenery.h"
#include "core/plan.h"
#include "sweep.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAIL(result, ...) (snprintf(error, error_bytes, __VA_ARGS__), (result))

/* ---- tables */

static uint64_t next_id = 1;

void scenery_table(struct table *ret) {
    *ret = (struct table){.key = SHM_DEFAULT_KEY,
                          .size = SCENERY_BYTES,
                          .backend = SHM_BACKEND_SYSV,
                          .mode = 0660,
                          .workers = calloc(SCENERY_ROWS_MAX, sizeof *ret->workers),
                          .sections = calloc(SCENERY_ROWS_MAX, sizeof *ret->sections)};
    if (ret->workers == NULL || ret->sections == NULL)
        sweep_fail("a table", -ENOMEM);
}

/* Rows are sorted by name, as the loader does it. */
static void add_worker(struct table *t, const char *name) {
    size_t i = 0;
    while (i < t->workers_n && strcmp(t->workers[i].name, name) < 0)
        i++;
    if (i < t->workers_n && strcmp(t->workers[i].name, name) == 0)
        return;
    memmove(&t->workers[i + 1], &t->workers[i], (t->workers_n++ - i) * sizeof *t->workers);
    t->workers[i] = (struct table_worker){.instances = 1};
    snprintf(t->workers[i].name, SHM_NAME_BYTES, "%s", name);
}

struct table_section *scenery_add(struct table *t, const char *name, const char *owner,
                                  uint64_t size) {
    struct table_section *row = &t->sections[t->sections_n++];
    add_worker(t, owner);
    *row = (struct table_section){
        .id = next_id++, .kind = SHM_KIND_SNAPSHOT, .size = size, .count = 4};
    snprintf(row->name, sizeof row->name, "%s", name);
    snprintf(row->owner, sizeof row->owner, "%s", owner);
    return row;
}

void scenery_drop(struct table *t, size_t i) {
    memmove(&t->sections[i], &t->sections[i + 1], (--t->sections_n - i) * sizeof *t->sections);
}

static void add_some(struct table *t) {
    static const char *const owners[] = {"alpha", "beta", "gamma", "delta"};
    char name[32];
    snprintf(name, sizeof name, "s%llu",
             (unsigned long long)(sweep_random() % 100 * 1000 + next_id));
    scenery_add(t, name, owners[sweep_random() % 4], 64 + sweep_random() % 2000);
}

void scenery_edit(struct table *t) {
    const size_t i = t->sections_n == 0 ? 0 : sweep_random() % t->sections_n;
    struct table_section *row = &t->sections[i];
    const uint64_t what = t->sections_n < 3 ? 0 : sweep_random() % 8;
    if (what < 3 && t->sections_n < 14)
        add_some(t);
    else if (what < 5)
        scenery_drop(t, i);
    else if (what == 5)
        snprintf(row->name, sizeof row->name, "r%llu", (unsigned long long)next_id++);
    else if (what == 6)
        snprintf(row->format, sizeof row->format, "f%llu", (unsigned long long)sweep_random() % 99);
    else
        row->stale_ms = 1 + sweep_random() % 1000;
}

bool scenery_plan(struct layout *ret, const struct layout *running, const struct table *table) {
    struct plan plan;
    char error[256];
    const int r = plan_make(&plan, running, table, &(struct plan_facts){0});
    if (r < 0)
        sweep_fail(plan.error, r);
    *ret = plan.next;
    ret->generation = running->generation + 1;
    const bool changes = plan.changes_n > 0;
    plan.next = (struct layout){0};
    plan_clear(&plan);
    if (changes && layout_check(ret, error, sizeof error) < 0)
        sweep_fail(error, -EBADMSG);
    return changes;
}

static bool same_array(const void *a, const void *b, uint32_t n, size_t each) {
    return n == 0 || memcmp(a, b, n * each) == 0;
}

static bool same_places(const struct layout *a, const struct layout *b) {
    return a->generation == b->generation && a->sections_used == b->sections_used &&
           a->arenas_used == b->arenas_used && a->workers_used == b->workers_used &&
           same_array(a->sections, b->sections, a->sections_used, sizeof *a->sections) &&
           same_array(a->arenas, b->arenas, a->arenas_used, sizeof *a->arenas);
}

static bool same_directory(const struct layout *a, const struct layout *b, uint64_t which) {
    return memcmp(&a->directories[which], &b->directories[which], sizeof *a->directories) == 0;
}

bool scenery_same(const struct layout *a, const struct layout *b) {
    return same_places(a, b) && same_directory(a, b, 0) && same_directory(a, b, 1) &&
           same_array(a->workers, b->workers, a->workers_used, sizeof *a->workers);
}

static bool fits(const struct layout *found, const struct layout *old, const struct layout *next) {
    const uint64_t used = old->generation & 1;
    if (!same_places(found, old) || !same_directory(found, old, used) ||
        (!same_directory(found, old, !used) &&
         (next == NULL || !same_directory(found, next, !used))))
        return false;
    for (uint32_t i = 0; i < found->workers_used; i++) {
        const char *name = found->workers[i];
        if (strcmp(name, old->workers[i]) != 0 &&
            (next == NULL || i >= next->workers_used ||
             (name[0] != '\0' && strcmp(name, next->workers[i]) != 0)))
            return false;
    }
    return true;
}

/* ---- readers */

static bool is_in(const struct layout *layout, const struct shm_section *section) {
    const uint32_t slot = layout_section(layout, section->name);
    return slot != SHM_NONE && memcmp(&layout->sections[slot], section, sizeof *section) == 0;
}

/* By name, and by id. */
static int look_up(const struct directory *directory, const struct layout *layout,
                   const struct shm_section *wanted, char *error, size_t error_bytes) {
    const char *field = "";
    uint64_t generation = 0;
    uint32_t slot = SHM_NONE;
    struct shm_section found;
    const bool there = layout_section(layout, wanted->name) != SHM_NONE;
    int r = directory_find(directory, wanted->name, &found, &generation, &field);
    if (r != (there ? 0 : -ENOENT))
        return FAIL(-EBADMSG, "a reader of generation %llu, looking for '%s', gets %d (%s)",
                    (unsigned long long)layout->generation, wanted->name, r, field);
    if (r == 0 && (generation != layout->generation || !is_in(layout, &found)))
        return FAIL(-EBADMSG, "a reader of generation %llu finds a wrong '%s'",
                    (unsigned long long)layout->generation, wanted->name);
    const bool known = layout_section_by_id(layout, wanted->section_id) != SHM_NONE;
    r = directory_find_id(directory, wanted->section_id, &slot, &found, &generation, &field);
    if (r != (known ? 0 : -ENOENT) || (r == 0 && !is_in(layout, &found)))
        return FAIL(-EBADMSG, "a reader of generation %llu, looking for id %llu, gets %d (%s)",
                    (unsigned long long)layout->generation, (unsigned long long)wanted->section_id,
                    r, field);
    return 0;
}

static int look_at_arenas(const struct directory *directory, const struct layout *layout,
                          char *error, size_t error_bytes) {
    for (uint32_t i = 0; i <= layout->arenas_used; i++) {
        const char *field = "";
        struct shm_arena found;
        const bool end = i == layout->arenas_used;
        const bool hole = !end && layout->arenas[i].state == SHM_PLACE_FREE;
        const int r = directory_arena(directory, layout->generation, i, &found, &field);
        if (r != (end ? -ERANGE : hole ? -ENOENT : 0))
            return FAIL(-EBADMSG, "a reader gets %d for arena %u (%s)", r, i, field);
        if (r == 0 && memcmp(&found, &layout->arenas[i], sizeof found) != 0)
            return FAIL(-EBADMSG, "a reader finds a wrong arena %u", i);
    }
    return 0;
}

const struct layout *scenery_look(const struct directory *directory,
                                  const struct layout *const *layouts, size_t n, char *error,
                                  size_t error_bytes) {
    const uint64_t generation = directory_generation(directory);
    const struct layout *layout = NULL;
    for (size_t i = 0; i < n; i++)
        if (layouts[i]->generation == generation)
            layout = layouts[i];
    if (layout == NULL)
        return FAIL(NULL, "generation %llu is in force", (unsigned long long)generation);
    for (size_t i = 0; i < n; i++)
        for (uint32_t slot = 0; slot < layouts[i]->sections_used; slot++)
            if (layout_place_in_force(layouts[i]->sections[slot].state) &&
                look_up(directory, layout, &layouts[i]->sections[slot], error, error_bytes) < 0)
                return NULL;
    return look_at_arenas(directory, layout, error, error_bytes) < 0 ? NULL : layout;
}

const struct layout *scenery_read(const void *base, const struct layout *const *layouts, size_t n,
                                  char *error, size_t error_bytes) {
    const char *field = "";
    struct directory directory;
    const int r = directory_open(&directory, base, SCENERY_BYTES, &field);
    if (r < 0)
        return FAIL(NULL, "a reader is refused (%s: %d)", field, r);
    return scenery_look(&directory, layouts, n, error, error_bytes);
}

/* ---- managers */

int scenery_adopt(struct image *ret, void *base, const struct layout *layout,
                  const struct layout *next, char *error, size_t error_bytes) {
    const char *field = "";
    uint64_t where = 0;
    struct directory directory;
    struct layout found = {0};
    int r = directory_open(&directory, base, SCENERY_BYTES, &field);
    if (r == 0)
        r = directory_load(&directory, &found, &field);
    if (r < 0)
        return FAIL(r, "a new manager finds the directory damaged (%s: %d)", field, r);
    if (layout_check(&found, error, error_bytes) < 0)
        r = -EBADMSG;
    else if (!fits(&found, layout, next))
        r = FAIL(-EBADMSG, "a new manager takes over another layout (generation %llu, not %llu)",
                 (unsigned long long)found.generation, (unsigned long long)layout->generation);
    else if ((r = image_open(ret, base, SCENERY_BYTES)) == 0)
        image_adopt(ret, &directory, &found);
    layout_clear(&found);
    if (r == 0 && image_repair(ret, &where) != 0) {
        image_close(ret);
        r = FAIL(-EBADMSG, "a new manager mends what is right, at %llu", (unsigned long long)where);
    }
    return r;
}
