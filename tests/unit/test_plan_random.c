/* SPDX-License-Identifier: Apache-2.0
 *
 * The planner under random tables and edits: what must hold of every plan, whatever it is.  A
 * failure names its seed; PLAN_SEED in the environment runs that one alone,
 * SHM_SOAK ten times as many.
 */
#include "plan_fixture.h"

#include <errno.h>

#define SEEDS 200
#define EDITS 40
#define LINES (2 * MIB / SHM_LINE)

static unsigned seed, state;
static bool crowded; /* many small sections, so that the directories must grow */
static unsigned long cases;

static unsigned pick(unsigned n) {
    return (unsigned)rand_r(&state) % n;
}

/* ---- edits.  The legal ones leave the table such that the plan may be refused for want of room
 * only. */

static const char *const owners[] = {"alpha", "beta", "gamma", "web#1", "web#2"};
static bool held[OWNERS_MAX];

static void edit_add(void) {
    static unsigned serial;
    char name[SHM_NAME_BYTES];
    snprintf(name, sizeof name, "s%u", serial++);
    const uint64_t size = 1 + pick(crowded ? 200 : pick(4) == 0 ? 200000 : 3000);
    const char *owner = owners[pick(5)];
    if (owner[0] == 'w')
        worker("web")->instances = 2;
    struct table_section *row =
        pick(3) == 0 ? add_raw(name, owner, size) : add(name, owner, size / 4 + 1);
    row->persist = pick(2);
    if (row->kind == SHM_KIND_SNAPSHOT) {
        row->count = 2 + pick(5);
        row->stamp = (enum table_stamp)pick(3);
    }
    if (!crowded && pick(6) == 0) {
        row->pinned = true;
        row->offset = (uint64_t)pick((unsigned)((table.size - size) / SHM_PAGE / 2)) * SHM_PAGE;
    }
}

static bool row_held(const struct table_section *row) {
    const uint32_t slot = layout_section_by_id(&running, row->id);
    return slot != SHM_NONE && held[running.sections[slot].owner_index];
}

static void edit_remove(void) {
    if (table.sections_n == 0)
        return;
    const size_t i = pick((unsigned)table.sections_n);
    if (!row_held(&table.sections[i]))
        drop(i);
}

static void edit_change(void) {
    if (table.sections_n == 0)
        return;
    struct table_section *row = &table.sections[pick((unsigned)table.sections_n)];
    switch (pick(5)) {
    case 0:
        if (row->kind == SHM_KIND_SNAPSHOT && row->stamp != TABLE_STAMP_NONE)
            row->stale_ms = pick(1000);
        break;
    case 1:
        snprintf(row->format, sizeof row->format, "f/%u", pick(9));
        break;
    case 2:
        row->notify = (enum table_notify)pick(3);
        break;
    case 3:
        if (row->kind == SHM_KIND_SNAPSHOT)
            row->size = layout_round(row->size, SHM_LINE) - pick(SHM_LINE);
        break;
    default:
        if (!row_held(row))
            snprintf(row->name, sizeof row->name, "r%llu-%u", (unsigned long long)row->id, pick(9));
    }
}

/* Something that is to be refused; false: this row offers nothing. */
static bool edit_wrong(void) {
    if (table.sections_n == 0)
        return false;
    struct table_section *row = &table.sections[pick((unsigned)table.sections_n)];
    if (layout_section_by_id(&running, row->id) == SHM_NONE)
        return false;
    switch (pick(6)) {
    case 0:
        row->size += SHM_LINE;
        return true;
    case 1:
        row->kind = SHM_KIND_QUEUE, row->count = 4;
        return true;
    case 2:
        strcpy(row->owner, strcmp(row->owner, "alpha") == 0 ? "beta" : "alpha");
        worker(row->owner);
        return true;
    case 3:
        row->offset = row->pinned ? row->offset + SHM_PAGE : 0;
        row->pinned = true;
        return true;
    case 4:
        row->name[0] = '9';
        return true;
    default:
        if (!row_held(row))
            return false;
        drop((size_t)(row - table.sections));
        return true;
    }
}

/* ---- what must hold */

/* Not ck_assert(): that tells the parent of each that holds, a pipe's write for each line. */
#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg("seed %u, generation %llu: %s", seed,                                     \
                         (unsigned long long)running.generation, #condition);                      \
    } while (0)

/* No two things on one line of the segment, and no directory on anything that is in force: counted
 * out line by line, without the planner's arithmetic. */
static void claim(uint8_t *lines, uint64_t offset, uint64_t bytes, uint8_t mark) {
    HOLDS(offset % SHM_LINE == 0 && bytes % SHM_LINE == 0 && bytes > 0);
    HOLDS(offset >= running.arena_start && offset + bytes <= running.segment_bytes);
    for (uint64_t i = offset / SHM_LINE; i < (offset + bytes) / SHM_LINE; i++) {
        HOLDS((lines[i] & mark) == 0);
        lines[i] |= mark;
    }
}

static void check_map(const struct layout *next) {
    enum { PLACE = 1, SECTION = 2, BEFORE = 4, LEFT = 8 };
    static uint8_t lines[LINES];
    memset(lines, 0, sizeof lines);
    for (int i = 0; i < 2; i++)
        claim(lines, next->directories[i].offset, next->directories[i].bytes, PLACE | SECTION);
    for (uint32_t i = 0; i < next->arenas_used; i++)
        if (next->arenas[i].state != SHM_PLACE_FREE)
            claim(lines, next->arenas[i].offset, next->arenas[i].bytes, PLACE);
    for (uint32_t i = 0; i < next->sections_used; i++) {
        const struct shm_section *s = &next->sections[i];
        if (s->state == SHM_PLACE_FREE)
            continue;
        claim(lines, s->offset, s->bytes, SECTION);
        const struct shm_arena *a = &next->arenas[s->arena_index];
        HOLDS(s->offset >= a->offset && s->offset + s->bytes <= a->offset + a->bytes);
        HOLDS(!layout_place_in_force(s->state) || a->owner_index == s->owner_index);
    }
    /* nor does anything new take the place that a directory has until the flip */
    for (int i = 0; i < 2; i++)
        if (running.directories[i].bytes > 0)
            claim(lines, running.directories[i].offset, running.directories[i].bytes, LEFT);
    for (uint32_t i = 0; i < next->arenas_used; i++)
        if (next->arenas[i].state != SHM_PLACE_FREE)
            claim(lines, next->arenas[i].offset, next->arenas[i].bytes, LEFT);
    /* a directory's new place keeps clear of all that runs until the flip */
    for (int i = 0; i < 2; i++)
        if (next->directories[i].offset != running.directories[i].offset)
            claim(lines, next->directories[i].offset, next->directories[i].bytes, BEFORE);
    for (uint32_t i = 0; i < running.arenas_used; i++)
        if (running.arenas[i].state != SHM_PLACE_FREE)
            claim(lines, running.arenas[i].offset, running.arenas[i].bytes, BEFORE);
}

/* Each row is there, as it says. */
static void check_rows(const struct layout *next) {
    size_t in_force = 0;
    for (uint32_t i = 0; i < next->sections_used; i++)
        in_force += layout_place_in_force(next->sections[i].state);
    HOLDS(in_force == table.sections_n);
    for (uint32_t i = 0; i < next->arenas_used; i++) {
        bool used = next->arenas[i].state != SHM_PLACE_LIVE;
        for (uint32_t j = 0; !used && j < next->sections_used; j++)
            used = layout_place_in_force(next->sections[j].state) &&
                   next->sections[j].arena_index == i;
        HOLDS(used);
    }
    for (size_t i = 0; i < table.sections_n; i++) {
        const struct table_section *row = &table.sections[i];
        const uint32_t slot = layout_section_by_id(next, row->id);
        HOLDS(slot != SHM_NONE);
        const struct shm_section *s = &next->sections[slot];
        HOLDS(strcmp(s->name, row->name) == 0 && strcmp(s->owner, row->owner) == 0);
        HOLDS(strcmp(s->format, row->format) == 0 && s->stale_ms == row->stale_ms);
        HOLDS(s->size == row->size && s->count == row->count);
        HOLDS(s->kind == (uint32_t)row->kind && s->bell_index == slot);
        HOLDS(((s->flags & SHM_SECTION_PINNED) != 0) == row->pinned);
        HOLDS(!row->pinned || s->offset == row->offset);
        HOLDS(strcmp(next->workers[s->owner_index], row->owner) == 0);
    }
}

/* What runs stays where it is; what went is kept for one generation. */
static void check_steady(const struct layout *next) {
    for (uint32_t i = 0; i < running.sections_used; i++) {
        const struct shm_section *before = &running.sections[i];
        const struct shm_section *after = &next->sections[i];
        if (before->state == SHM_PLACE_QUARANTINED)
            HOLDS(memcmp(before, after, sizeof *before) == 0);
        if (!layout_place_in_force(before->state))
            continue;
        HOLDS(i < next->sections_used && after->section_id == before->section_id);
        HOLDS(after->offset == before->offset && after->bytes == before->bytes);
        HOLDS(after->incarnation == before->incarnation);
        HOLDS(after->arena_index == before->arena_index);
        HOLDS(layout_place_in_force(after->state) ||
              (after->state == SHM_PLACE_RETIRED && after->retired_gen == next->generation &&
               !held[before->owner_index]));
        HOLDS((after->changed_gen == next->generation) ==
              (memcmp(before, after, sizeof *before) != 0));
    }
    for (uint32_t i = 0; i < next->sections_used; i++)
        HOLDS(next->sections[i].state != SHM_PLACE_RETIRED ||
              next->sections[i].retired_gen == next->generation);
    for (uint32_t i = 0; i < next->arenas_used; i++)
        HOLDS(next->arenas[i].state != SHM_PLACE_RETIRED ||
              next->arenas[i].retired_gen == next->generation);
    for (uint32_t i = 0; i < running.workers_used; i++)
        HOLDS(running.workers[i][0] == '\0' || next->workers[i][0] == '\0' ||
              strcmp(running.workers[i], next->workers[i]) == 0);
}

static void make_plan(struct plan *plan, const struct layout *from, int *result) {
    const struct plan_facts facts = {held};
    *result = plan_make(plan, from, &table, &facts);
    cases++;
}

static void check_again(const struct plan *plan, int result) {
    struct plan again;
    int r;
    make_plan(&again, &running, &r);
    HOLDS(r == result && same_layout(&again.next, &plan->next));
    HOLDS(again.changes_n == plan->changes_n && strcmp(again.error, plan->error) == 0);
    for (size_t i = 0; i < plan->changes_n; i++)
        HOLDS(strcmp(again.changes[i].name, plan->changes[i].name) == 0 &&
              strcmp(again.changes[i].what, plan->changes[i].what) == 0 &&
              again.changes[i].action == plan->changes[i].action);
    plan_clear(&again);
    if (result < 0)
        return;
    make_plan(&again, &plan->next, &r);
    HOLDS(r == 0 && again.changes_n == 0 && same_layout(&again.next, &plan->next));
    plan_clear(&again);
}

static void check_plan(const struct plan *plan, int result) {
    char error[256];
    if (result < 0) {
        HOLDS(result == -EINVAL && plan->error[0] != '\0' && plan->changes_n == 0);
        HOLDS(same_layout(&plan->next, &running));
    } else if (plan->changes_n == 0 && running.generation > 0) {
        HOLDS(same_layout(&plan->next, &running));
    } else {
        HOLDS(plan->next.generation == running.generation + 1);
        if (layout_check(&plan->next, error, sizeof error) != 0)
            ck_abort_msg("seed %u: %s", seed, error);
        check_map(&plan->next);
        check_rows(&plan->next);
        check_steady(&plan->next);
    }
    check_again(plan, result);
}

/* As the manager does when it revokes: what was retired is still written to. */
static void quarantine(void) {
    for (uint32_t i = 0; i < running.sections_used; i++) {
        struct shm_section *s = &running.sections[i];
        struct shm_arena *a = &running.arenas[s->arena_index];
        if (s->state != SHM_PLACE_RETIRED || a->state != SHM_PLACE_RETIRED)
            continue;
        s->state = a->state = SHM_PLACE_QUARANTINED;
        s->crc = CRC32C_OF(s);
        a->crc = CRC32C_OF(a);
        return;
    }
}

static void one_edit(void) {
    const size_t n = table.sections_n, workers_n = table.workers_n;
    struct table_section *kept = calloc(n + 1, sizeof *kept);
    struct table_worker *kept_workers = calloc(workers_n + 1, sizeof *kept_workers);
    memcpy(kept, table.sections, n * sizeof *kept);
    memcpy(kept_workers, table.workers, workers_n * sizeof *kept_workers);
    for (uint32_t i = 0; i < running.workers_used; i++)
        held[i] = pick(3) == 0;
    const bool wrong = pick(8) == 0 && edit_wrong();
    for (unsigned i = pick(crowded ? 24 : 6); !wrong && i > 0; i--)
        (pick(crowded ? 3 : 5) < 2 ? edit_add : pick(2) ? edit_remove : edit_change)();

    struct plan plan;
    int r;
    make_plan(&plan, &running, &r);
    check_plan(&plan, r);
    HOLDS(!wrong || r == -EINVAL);
    if (r < 0 && !wrong && strstr(plan.error, ": no room for ") == NULL &&
        strstr(plan.error, " would overlap ") == NULL && strstr(plan.error, " doorbells ") == NULL)
        ck_abort_msg("seed %u: refused without need: %s", seed, plan.error);
    if (r == 0) {
        adopt(&plan);
        if (pick(4) == 0)
            quarantine();
    } else {
        memcpy(table.sections, kept, n * sizeof *kept);
        memcpy(table.workers, kept_workers, workers_n * sizeof *kept_workers);
        table.sections_n = n;
        table.workers_n = workers_n;
        plan_clear(&plan);
    }
    free(kept);
    free(kept_workers);
}

START_TEST(whatever_comes) {
    const char *only = getenv("PLAN_SEED");
    const unsigned first = only == NULL ? 1 : (unsigned)strtoul(only, NULL, 10);
    const unsigned seeds = getenv("SHM_SOAK") == NULL ? SEEDS : 10 * SEEDS;
    const unsigned last = only == NULL ? seeds : first;
    uint64_t applied = 0, grown = 0;
    for (seed = first; seed <= last; seed++) {
        state = seed;
        start(pick(2) ? 2 * MIB : MIB);
        crowded = pick(4) == 0;
        memset(held, 0, sizeof held);
        for (int i = 0; i < EDITS; i++)
            one_edit();
        applied += running.generation;
        grown += running.directories[0].bytes > layout_directory_bytes(64, 64);
        stop();
    }
    /* else all of them were refused, and nothing was tested */
    ck_assert(only != NULL || (applied > seeds * EDITS / 2 && grown > seeds / 10));
    printf("figure: planner.cases %lu cases\n", cases);
    fflush(stdout);
}
END_TEST

UNIT_MAIN("plan_random", whatever_comes)
