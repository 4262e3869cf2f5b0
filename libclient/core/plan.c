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
#include <stdio.h>
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

/* ---- the steps of each plan */

int plan_begin(struct planner *planner) {
    int r = layout_copy(planner->next, planner->running);
    if (r < 0)
        return r;
    planner->next->generation++;
    planner->next->forced = planner->facts != NULL && planner->facts->force;
    drop_retired(planner->next);
    return plan_settle_sections(planner);
}

int plan_prepare(struct planner *planner, size_t rows, uint64_t workers) {
    struct layout *next = planner->next;
    /* Each section that runs may leave its place, whose descriptor stays. */
    const size_t runs = next->sections_used;
    void *moved = reallocarray(next->workers, workers + 1, sizeof *next->workers);
    if (moved == NULL)
        return -ENOMEM;
    next->workers = moved;
    moved = reallocarray(next->sections, 2 * runs + rows + 1, sizeof *next->sections);
    if (moved == NULL)
        return -ENOMEM;
    next->sections = moved;
    planner->workers = calloc(workers + 1, sizeof *planner->workers);
    planner->existing = calloc(runs + 1, sizeof *planner->existing);
    planner->fresh = calloc(runs + rows + 1, sizeof *planner->fresh);
    planner->fresh_about = calloc(runs + rows + 1, sizeof *planner->fresh_about);
    if (planner->workers == NULL || planner->existing == NULL || planner->fresh == NULL ||
        planner->fresh_about == NULL)
        return -ENOMEM;
    list_existing(planner);
    return 0;
}

static uint32_t take_hole(struct planner *planner) {
    struct layout *next = planner->next;
    while (planner->hole < next->sections_used &&
           next->sections[planner->hole].state != SHM_PLACE_FREE)
        planner->hole++;
    if (planner->hole == next->sections_used)
        next->sections_used++;
    return planner->hole++;
}

/* They come behind all that is added: what rings a bell needs a slot that has one, they don't. */
static void keep_left(struct planner *planner) {
    struct layout *next = planner->next;
    for (size_t i = 0; i < planner->left_n; i++) {
        const struct left *left = &planner->left[i];
        const uint32_t slot = take_hole(planner);
        struct shm_section *section = &next->sections[left->slot];
        next->sections[slot] = left->place;
        layout_leave(next, slot, left->place.state);
        if (section->state == SHM_PLACE_MOVING) {
            section->old_slot = slot;
            section->old_ctl_off = left->place.ctl_off;
        }
    }
}

static void note_place(const struct planner *planner, const struct fresh *about,
                       const struct shm_section *section) {
    struct plan_change *change = &planner->plan->changes[about->change];
    const unsigned long long at = section->offset, bytes = section->bytes, from = about->from;
    if (from == 0)
        plan_note(change, "at %llu, %llu bytes", at, bytes);
    else if (about->leaving == LEAVE_FREE || about->leaving == LEAVE_LATE)
        plan_note(change, "from %llu to %llu (%llu bytes), now", from, at, bytes);
    else if (about->leaving == LEAVE_MOVING)
        plan_note(change, "from %llu to %llu (%llu bytes), with the next publish of worker '%s'",
                  from, at, bytes, about->holder);
    else
        plan_note(change, "from %llu to %llu (%llu bytes), now, taken from %s%s%s", from, at, bytes,
                  about->holder[0] == '\0' ? "who writes it" : "worker '", about->holder,
                  about->holder[0] == '\0' ? "" : "'");
}

int plan_place(struct planner *planner) {
    struct plan *plan = planner->plan;
    keep_left(planner);
    int r = place_sections(planner->next, planner->running, planner->fresh, planner->fresh_n,
                           plan->error, sizeof plan->error);
    if (r == -ENOSPC) {
        plan->full = true;
        return -EINVAL;
    }
    for (size_t i = 0; r == 0 && i < planner->fresh_n; i++) {
        struct shm_section *section = &planner->next->sections[planner->fresh[i]];
        section->crc = CRC32C_OF((const struct shm_section *)section);
        note_place(planner, &planner->fresh_about[i], section);
    }
    return r == 0 ? plan_settle_arenas(planner->next) : r;
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

static int keep_running(struct plan *plan, const struct layout *running) {
    layout_clear(&plan->next);
    free(plan->changes);
    plan->changes = NULL;
    plan->changes_n = 0;
    return layout_copy(&plan->next, running);
}

/* There was room for the worst. */
static void fit_sections(struct layout *next) {
    void *fit = next->sections_used == 0
                    ? NULL
                    : realloc(next->sections, next->sections_used * sizeof *next->sections);
    if (fit != NULL)
        next->sections = fit;
}

int plan_end(struct planner *planner, int r) {
    struct plan *plan = planner->plan;
    char broken[192];
    /* What doesn't hold together must not be published, whoever's fault it is. */
    if (r == 0 && !unchanged(planner))
        r = layout_check(planner->next, broken, sizeof broken);
    if (r == -EBADMSG)
        r = plan_refuse(planner, "the plan would not hold together: %s", broken);
    free(planner->workers);
    free(planner->existing);
    free(planner->fresh);
    free(planner->fresh_about);
    free(planner->left);
    if ((r < 0 || unchanged(planner)) && r != -ENOMEM && keep_running(plan, planner->running) < 0)
        r = -ENOMEM;
    if (r == -ENOMEM) {
        plan_clear(plan);
        return r;
    }
    fit_sections(&plan->next);
    plan->used_before = used_bytes(planner->running);
    plan->used_after = used_bytes(&plan->next);
    return r;
}

/* ---- the table's rows */

/* The array has room for all of them. */
static int add_section(struct planner *planner, const struct table_section *row) {
    struct layout *next = planner->next;
    const uint32_t slot = take_hole(planner);
    if (slot >= next->bells_capacity) {
        planner->plan->full = true;
        return plan_refuse(
            planner,
            "section '%s': the segment has doorbells for %u sections, and all are taken "
            "(remove some, or make a larger segment: UPDATE segment SET size = ...)",
            row->name, next->bells_capacity);
    }
    struct shm_section *section = &next->sections[slot];
    *section = (struct shm_section){
        .incarnation = next->generation,
        .changed_gen = next->generation,
        .offset = row->pinned ? row->offset : 0,
        .bytes = layout_section_bytes(row->kind, row->size, row->count, row->shared),
        .state = SHM_PLACE_LIVE,
        .owner_index = plan_find_owner(planner, row),
        .bell_index = slot,
    };
    plan_fill_section(section, row);
    planner->fresh[planner->fresh_n] = slot;
    planner->fresh_about[planner->fresh_n++] = (struct fresh){.change = planner->plan->changes_n};
    return plan_add_change(planner, PLAN_ADD, row->name) == NULL ? -ENOMEM : 0;
}

int plan_check_served(const struct planner *planner) {
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
    return 0;
}

/* What runs and what is wanted, both sorted by id, side by side. */
static int compare_sections(struct planner *planner) {
    const struct table *wanted = planner->wanted;
    size_t i = 0, j = 0;
    int r = 0;
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
        if (r == -EBUSY) /* the others are looked at all the same */
            r = 0;
    }
    return r == 0 && planner->plan->waits > 0 ? -EBUSY : r;
}

static uint64_t records(const struct planner *planner) {
    const struct table *wanted = planner->wanted;
    uint64_t workers = planner->next->workers_used;
    for (size_t i = 0; i < wanted->workers_n; i++)
        workers += wanted->workers[i].instances;
    return workers > planner->next->workers_capacity ? planner->next->workers_capacity : workers;
}

static int plan_rows(struct planner *planner) {
    int r = plan_check_served(planner);
    if (r == 0)
        r = plan_begin(planner);
    if (r == 0)
        r = plan_prepare(planner, planner->wanted->sections_n, records(planner));
    if (r == 0)
        r = plan_add_workers(planner);
    if (r == 0)
        r = compare_sections(planner);
    if (r == 0)
        r = plan_place(planner);
    return r == 0 ? plan_remove_workers(planner) : r;
}

static int make(struct plan *ret, const struct layout *running, const struct table *wanted,
                const struct plan_facts *facts) {
    *ret = (struct plan){0};
    struct planner planner = {
        .plan = ret, .next = &ret->next, .running = running, .wanted = wanted, .facts = facts};
    if (wanted->size != running->segment_bytes)
        return plan_replace(&planner);
    return plan_end(&planner, plan_rows(&planner));
}

/* Nobody shall wait for what is refused in the end. */
static int look_behind_wait(struct plan *waits, const struct layout *running,
                            const struct table *wanted, const struct plan_facts *facts) {
    const size_t n = strlen(waits->error);
    if (waits->waits > 1)
        snprintf(waits->error + n, sizeof waits->error - n, "; %zu more wait likewise",
                 waits->waits - 1);
    struct plan_facts forced = {0};
    struct plan refused;
    if (facts != NULL)
        forced = *facts;
    forced.force = true;
    int r = make(&refused, running, wanted, &forced);
    if (r != -EINVAL) {
        plan_clear(&refused);
        return -EBUSY;
    }
    plan_clear(waits);
    *waits = refused;
    return r;
}

int plan_make(struct plan *ret, const struct layout *running, const struct table *wanted,
              const struct plan_facts *facts) {
    const int r = make(ret, running, wanted, facts);
    return r == -EBUSY ? look_behind_wait(ret, running, wanted, facts) : r;
}

void plan_clear(struct plan *plan) {
    layout_clear(&plan->next);
    free(plan->changes);
    *plan = (struct plan){0};
}

const char *plan_action_name(enum plan_action action) {
    static const char *const names[] = {"add", "change", "remove", "worker", "move", "replace"};
    return (unsigned)action < sizeof names / sizeof *names ? names[action] : "unknown";
}
