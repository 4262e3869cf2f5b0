/* SPDX-License-Identifier: Apache-2.0
 *
 * What became of places that were left: who was waited for has gone, or has moved.  And a worker
 * who is made to leave all of its own.
 */
#include "crc32c.h"
#include "plan_parts.h"

#include <errno.h>
#include <stdlib.h>

static bool has_moved(const struct planner *planner, uint32_t slot) {
    const struct plan_facts *facts = planner->facts;
    return facts != NULL && facts->moved != NULL && facts->moved[slot];
}

static int arrive(struct planner *planner, uint32_t slot) {
    const struct shm_section *section = &planner->next->sections[slot];
    const struct shm_section *before = &planner->next->sections[section->old_slot];
    struct plan_change *change = plan_add_change(planner, PLAN_MOVE, section->name);
    if (change == NULL)
        return -ENOMEM;
    plan_note(change, "has moved to %llu, and left %llu (%llu bytes)",
              (unsigned long long)section->offset, (unsigned long long)before->offset,
              (unsigned long long)before->bytes);
    layout_arrive(planner->next, slot);
    return 0;
}

static int let_go(struct planner *planner, uint32_t slot) {
    const struct shm_section *section = &planner->next->sections[slot];
    struct plan_change *change = plan_add_change(planner, PLAN_REMOVE, section->name);
    if (change == NULL)
        return -ENOMEM;
    const bool many = layout_is_of_many(section);
    plan_note(change, "left by %s%s%s at last: at %llu, %llu bytes", many ? "all" : "worker '",
              many ? "" : section->owner, many ? "" : "'", (unsigned long long)section->offset,
              (unsigned long long)section->bytes);
    layout_leave(planner->next, slot, SHM_PLACE_RETIRED);
    return 0;
}

int plan_settle_sections(struct planner *planner) {
    struct layout *next = planner->next;
    bool *waits = calloc(next->sections_used + 1, sizeof *waits);
    int r = waits == NULL ? -ENOMEM : 0;
    for (uint32_t i = 0; r == 0 && i < next->sections_used; i++) {
        const struct shm_section *section = &next->sections[i];
        if (section->state != SHM_PLACE_MOVING || section->old_slot >= next->sections_used)
            continue;
        waits[section->old_slot] = true;
        if (has_moved(planner, i))
            r = arrive(planner, i);
    }
    for (uint32_t i = 0; r == 0 && i < next->sections_used; i++) {
        const struct shm_section *section = &next->sections[i];
        if (section->state == SHM_PLACE_QUARANTINED && !waits[i] &&
            !plan_occupied(planner, section, i))
            r = let_go(planner, i);
    }
    free(waits);
    return r;
}

/* ---- arenas */

enum use { EMPTY, LEFT, USED };

static void use_arena(const struct layout *next, uint8_t *use, const struct shm_section *section,
                      uint8_t is) {
    const uint32_t claims = section->claims_off == 0 ? section->arena_index : section->claims_arena;
    if (section->arena_index < next->arenas_used && use[section->arena_index] < is)
        use[section->arena_index] = is;
    if (claims < next->arenas_used && use[claims] < is)
        use[claims] = is;
}

int plan_settle_arenas(struct layout *next) {
    uint8_t *use = calloc(next->arenas_used + 1, 1);
    if (use == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < next->sections_used; i++) {
        const struct shm_section *section = &next->sections[i];
        if (section->state == SHM_PLACE_FREE || section->state == SHM_PLACE_RETIRED)
            continue;
        use_arena(next, use, section, section->state == SHM_PLACE_QUARANTINED ? LEFT : USED);
        /* Who reads or writes a section that is moving goes by both of its places. */
        if (section->state == SHM_PLACE_MOVING && section->old_slot < next->sections_used)
            use_arena(next, use, &next->sections[section->old_slot], USED);
    }
    for (uint32_t i = 0; i < next->arenas_used; i++) {
        struct shm_arena *arena = &next->arenas[i];
        const bool live = arena->state == SHM_PLACE_LIVE;
        if ((!live && arena->state != SHM_PLACE_QUARANTINED) || use[i] == USED ||
            (!live && use[i] == LEFT))
            continue;
        arena->state = use[i] == EMPTY ? SHM_PLACE_RETIRED : SHM_PLACE_QUARANTINED;
        arena->retired_gen = next->generation;
        arena->crc = CRC32C_OF((const struct shm_arena *)arena);
    }
    free(use);
    return 0;
}

/* ---- the two plans that take no table */

int plan_settle(struct plan *ret, const struct layout *running, const struct plan_facts *facts) {
    *ret = (struct plan){0};
    struct planner planner = {.plan = ret, .next = &ret->next, .running = running, .facts = facts};
    int r = plan_begin(&planner);
    if (r == 0 && ret->changes_n > 0)
        r = plan_place(&planner);
    return plan_end(&planner, r);
}

static int evict_section(struct planner *planner, uint32_t slot) {
    struct shm_section *section = &planner->next->sections[slot];
    if (section->state == SHM_PLACE_MOVING)
        return plan_refuse(
            planner,
            "section '%s': it is still moving, with the next publish of worker '%s', "
            "from whom it can't be taken before that (end that worker)",
            section->name, section->owner);
    if ((section->flags & SHM_SECTION_PINNED) != 0)
        return plan_refuse(
            planner,
            "section '%s': it is pinned to offset %llu, and can't be taken from "
            "worker '%s' there (end that worker, or UPDATE section SET offset = NULL "
            "WHERE name = '%s')",
            section->name, (unsigned long long)section->offset, section->owner, section->name);
    int r = plan_leave(planner, slot, LEAVE_TAKEN);
    if (r < 0 || plan_add_change(planner, PLAN_MOVE, section->name) == NULL)
        return -ENOMEM;
    if (section->state == SHM_PLACE_BAD)
        section->incarnation = planner->next->generation;
    section->state = SHM_PLACE_LIVE;
    section->changed_gen = planner->next->generation;
    section->ctl_off = 0;
    return 0;
}

/* What the worker could write is no place for what it may not write any more. */
static void evict_arenas(struct layout *next, uint32_t worker) {
    for (uint32_t i = 0; i < next->arenas_used; i++) {
        struct shm_arena *arena = &next->arenas[i];
        if (arena->state != SHM_PLACE_LIVE || arena->owner_index != worker ||
            !layout_arena_of_owner(next, i))
            continue;
        arena->state = SHM_PLACE_QUARANTINED;
        arena->retired_gen = next->generation;
        arena->crc = CRC32C_OF((const struct shm_arena *)arena);
    }
}

static int evict(struct planner *planner, uint32_t worker) {
    int r = plan_begin(planner);
    if (r == 0)
        r = plan_prepare(planner, 0, planner->next->workers_used);
    for (size_t i = 0; r == 0 && i < planner->existing_n; i++) {
        const uint32_t slot = planner->existing[i].slot;
        const struct shm_section *section = &planner->next->sections[slot];
        if (section->owner_index == worker && !layout_is_of_many(section))
            r = evict_section(planner, slot);
    }
    if (r < 0 || planner->plan->changes_n == 0)
        return r;
    evict_arenas(planner->next, worker);
    return plan_place(planner);
}

int plan_evict(struct plan *ret, const struct layout *running, uint32_t worker,
               const struct plan_facts *facts) {
    *ret = (struct plan){0};
    struct planner planner = {.plan = ret, .next = &ret->next, .running = running, .facts = facts};
    return plan_end(&planner, evict(&planner, worker));
}
