/* SPDX-License-Identifier: Apache-2.0
 *
 * What differs between the layout that runs and the table that is wanted, and what that makes of
 * the layout.  Where new sections go is place.c's part.
 */
#include "plan.h"
#include "crc32c.h"
#include "place.h"
#include "plan_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- what was retired before is free now */

static void drop_retired(struct layout *next) {
    for (uint32_t i = 0; i < next->sections_used; i++)
        if (next->sections[i].state == SHM_PLACE_RETIRED)
            next->sections[i] = (struct shm_section){0};
    for (uint32_t i = 0; i < next->arenas_used; i++)
        if (next->arenas[i].state == SHM_PLACE_RETIRED)
            next->arenas[i] = (struct shm_arena){0};
    while (next->sections_used > 0 &&
           next->sections[next->sections_used - 1].state == SHM_PLACE_FREE)
        next->sections_used--;
    while (next->arenas_used > 0 && next->arenas[next->arenas_used - 1].state == SHM_PLACE_FREE)
        next->arenas_used--;
}

/* ---- sections that are new */

/* The array has room for all of them. */
static int add_section(struct planner *planner, const struct table_section *row) {
    struct layout *next = planner->next;
    while (planner->hole < next->sections_used &&
           next->sections[planner->hole].state != SHM_PLACE_FREE)
        planner->hole++;
    if (planner->hole == next->bells_capacity)
        return plan_refuse(
            planner,
            "section '%s': the segment has doorbells for %u sections, and all are taken "
            "(remove some, or make a larger segment: UPDATE segment SET size = ..., "
            "`shmtool destroy`, and a new start)",
            row->name, next->bells_capacity);
    const uint32_t slot = planner->hole++;
    if (slot == next->sections_used)
        next->sections_used++;
    struct shm_section *section = &next->sections[slot];
    *section = (struct shm_section){
        .incarnation = next->generation,
        .changed_gen = next->generation,
        .offset = row->pinned ? row->offset : 0,
        .bytes = layout_section_bytes(row->kind, row->size, row->count),
        .state = SHM_PLACE_LIVE,
        .owner_index = plan_find_worker(planner, row->owner),
        .bell_index = slot,
    };
    plan_fill_section(section, row);
    planner->fresh[planner->fresh_n] = slot;
    planner->fresh_change[planner->fresh_n++] = planner->plan->changes_n;
    return plan_add_change(planner, PLAN_ADD, row->name) == NULL ? -ENOMEM : 0;
}

static int place_fresh(struct planner *planner) {
    struct plan *plan = planner->plan;
    int r = place_sections(planner->next, planner->running, planner->fresh, planner->fresh_n,
                           plan->error, sizeof plan->error);
    for (size_t i = 0; r == 0 && i < planner->fresh_n; i++) {
        struct shm_section *section = &planner->next->sections[planner->fresh[i]];
        section->crc = CRC32C_OF(section);
        plan_note(&plan->changes[planner->fresh_change[i]], "at %llu, %llu bytes",
                  (unsigned long long)section->offset, (unsigned long long)section->bytes);
    }
    return r;
}

/* ---- all of it */

static int check_served(const struct planner *planner) {
    const struct table *wanted = planner->wanted;
    int r = table_check(wanted, planner->plan->error, sizeof planner->plan->error);
    if (r < 0)
        return r;
    const enum shm_backend runs = planner->facts == NULL ? 0 : planner->facts->backend;
    if (runs != 0 && wanted->backend != runs)
        return plan_refuse(planner,
                           "segment: its backend can't change from %s to %s while it runs (UPDATE "
                           "segment SET backend = '%s', or `shmtool destroy` and a new start)",
                           table_word(TABLE_BACKENDS, runs),
                           table_word(TABLE_BACKENDS, wanted->backend),
                           table_word(TABLE_BACKENDS, runs));
    if (wanted->size != planner->running->segment_bytes)
        return plan_refuse(planner,
                           "segment: its size can't change from %llu to %llu while it runs (UPDATE "
                           "segment SET size = %llu, or `shmtool destroy` and a new start)",
                           (unsigned long long)planner->running->segment_bytes,
                           (unsigned long long)wanted->size,
                           (unsigned long long)planner->running->segment_bytes);
    for (size_t i = 0; i < wanted->sections_n; i++)
        if (wanted->sections[i].kind != SHM_KIND_RAW &&
            wanted->sections[i].kind != SHM_KIND_SNAPSHOT)
            return plan_refuse(
                planner,
                "section '%s': kind '%s' is not served by this version (raw and snapshot "
                "are)",
                wanted->sections[i].name, table_word(TABLE_KINDS, wanted->sections[i].kind));
    return 0;
}

static int by_id(const void *a, const void *b) {
    const struct existing *x = a, *y = b;
    return x->section_id < y->section_id ? -1 : x->section_id > y->section_id;
}

static void list_existing(struct planner *planner) {
    for (uint32_t i = 0; i < planner->next->sections_used; i++) {
        const struct shm_section *section = &planner->next->sections[i];
        if (layout_place_in_force(section->state) || section->state == SHM_PLACE_BAD)
            planner->existing[planner->existing_n++] = (struct existing){section->section_id, i};
    }
    if (planner->existing_n > 1)
        qsort(planner->existing, planner->existing_n, sizeof *planner->existing, by_id);
}

/* Room for everything that is wanted beside everything that runs. */
static int prepare(struct planner *planner) {
    struct layout *next = planner->next;
    const struct table *wanted = planner->wanted;
    uint64_t workers = next->workers_used;
    for (size_t i = 0; i < wanted->workers_n; i++)
        workers += wanted->workers[i].instances;
    if (workers > next->workers_capacity)
        workers = next->workers_capacity;
    const size_t sections = next->sections_used + wanted->sections_n;
    void *moved = reallocarray(next->workers, workers + 1, sizeof *next->workers);
    if (moved == NULL)
        return -ENOMEM;
    next->workers = moved;
    moved = reallocarray(next->sections, sections + 1, sizeof *next->sections);
    if (moved == NULL)
        return -ENOMEM;
    next->sections = moved;
    planner->workers = calloc(workers + 1, sizeof *planner->workers);
    planner->existing = calloc(next->sections_used + 1, sizeof *planner->existing);
    planner->fresh = calloc(wanted->sections_n + 1, sizeof *planner->fresh);
    planner->fresh_change = calloc(wanted->sections_n + 1, sizeof *planner->fresh_change);
    return planner->workers == NULL || planner->existing == NULL || planner->fresh == NULL ||
                   planner->fresh_change == NULL
               ? -ENOMEM
               : 0;
}

/* What runs and what is wanted, both sorted by id, side by side. */
static int compare_sections(struct planner *planner) {
    const struct table *wanted = planner->wanted;
    size_t i = 0, j = 0;
    int r = 0;
    list_existing(planner);
    while (r == 0 && (i < planner->existing_n || j < wanted->sections_n)) {
        /* No id stands for "none left": a forged descriptor may have any. */
        const bool have = i < planner->existing_n, want = j < wanted->sections_n;
        const uint64_t runs = have ? planner->existing[i].section_id : 0;
        const uint64_t wants = want ? wanted->sections[j].id : 0;
        if (have && want && runs == wants)
            r = plan_change_section(planner, planner->existing[i++].slot, &wanted->sections[j++]);
        else if (have && (!want || runs < wants))
            r = plan_remove_section(planner, planner->existing[i++].slot);
        else
            r = add_section(planner, &wanted->sections[j++]);
    }
    return r;
}

/* An arena is left with its last section.  A quarantined one may still be written to. */
static int retire_arenas(struct layout *next) {
    enum { EMPTY, QUARANTINED, USED };
    uint8_t *use = calloc(next->arenas_used + 1, 1);
    if (use == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < next->sections_used; i++) {
        const struct shm_section *section = &next->sections[i];
        if (section->state == SHM_PLACE_FREE || section->state == SHM_PLACE_RETIRED)
            continue;
        const uint8_t is = section->state == SHM_PLACE_QUARANTINED ? QUARANTINED : USED;
        if (use[section->arena_index] < is)
            use[section->arena_index] = is;
    }
    for (uint32_t i = 0; i < next->arenas_used; i++) {
        struct shm_arena *arena = &next->arenas[i];
        if (arena->state != SHM_PLACE_LIVE || use[i] == USED)
            continue;
        arena->state = use[i] == EMPTY ? SHM_PLACE_RETIRED : SHM_PLACE_QUARANTINED;
        arena->retired_gen = next->generation;
        arena->crc = CRC32C_OF(arena);
    }
    free(use);
    return 0;
}

static uint64_t used_bytes(const struct layout *layout) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < layout->arenas_used; i++)
        bytes += layout->arenas[i].bytes;
    return bytes;
}

/* A segment without a directory gets one, even if there is nothing to list. */
static bool unchanged(const struct planner *planner) {
    return planner->plan->changes_n == 0 && planner->running->directories[0].bytes != 0;
}

static int plan_all(struct planner *planner) {
    int r = layout_copy(planner->next, planner->running);
    if (r < 0)
        return r;
    r = check_served(planner);
    if (r < 0)
        return r;
    planner->next->generation++;
    drop_retired(planner->next);
    r = prepare(planner);
    if (r == 0)
        r = plan_add_workers(planner);
    if (r == 0)
        r = compare_sections(planner);
    if (r == 0)
        r = place_fresh(planner);
    if (r == 0)
        r = retire_arenas(planner->next);
    if (r == 0)
        r = plan_remove_workers(planner);
    if (r < 0 || unchanged(planner))
        return r;
    /* What doesn't hold together must not be published, whoever's fault it is. */
    char broken[192];
    r = layout_check(planner->next, broken, sizeof broken);
    return r == -EBADMSG ? plan_refuse(planner, "the plan would not hold together: %s", broken) : r;
}

/* What runs goes on: nothing is to change, or nothing may. */
static int keep_running(struct plan *plan, const struct layout *running) {
    layout_clear(&plan->next);
    free(plan->changes);
    plan->changes = NULL;
    plan->changes_n = 0;
    return layout_copy(&plan->next, running);
}

int plan_make(struct plan *ret, const struct layout *running, const struct table *wanted,
              const struct plan_facts *facts) {
    *ret = (struct plan){0};
    struct planner planner = {
        .plan = ret, .next = &ret->next, .running = running, .wanted = wanted, .facts = facts};
    int r = plan_all(&planner);
    free(planner.workers);
    free(planner.existing);
    free(planner.fresh);
    free(planner.fresh_change);
    if ((r < 0 || unchanged(&planner)) && r != -ENOMEM && keep_running(ret, running) < 0)
        r = -ENOMEM;
    if (r == -ENOMEM) {
        plan_clear(ret);
        return r;
    }
    ret->used_before = used_bytes(running);
    ret->used_after = used_bytes(&ret->next);
    return r;
}

void plan_clear(struct plan *plan) {
    layout_clear(&plan->next);
    free(plan->changes);
    *plan = (struct plan){0};
}

const char *plan_action_name(enum plan_action action) {
    static const char *const names[] = {"add", "change", "remove", "worker"};
    return (unsigned)action < sizeof names / sizeof *names ? names[action] : "unknown";
}
