/* SPDX-License-Identifier: Apache-2.0
 *
 * The planner under random tables and edits: what must hold of every plan, whatever it is.  A
 * failure names its seed; PLAN_SEED in the environment runs that one alone,
 * SHM_SOAK ten times as many.
 */
#include "plan_edits.h"

#define SEEDS 900
#define EDITS 40
#define LINES (2 * MIB / SHM_LINE)

static unsigned long cases, moves;

/* ---- what is expected, told from the rules and not from the plan */

struct expected {
    bool anew, divided, place, renamed, smaller, owner;
};

static const struct table_section *row_of(uint64_t section_id) {
    for (size_t i = 0; i < table.sections_n; i++)
        if (table.sections[i].id == section_id)
            return &table.sections[i];
    return NULL;
}

static bool items(uint32_t kind) {
    return kind == SHM_KIND_SLOTS || kind == SHM_KIND_QUEUE;
}

static bool shared(const struct shm_section *s) {
    return (s->flags & SHM_SECTION_SHARED) != 0;
}

/* Do others write it than its owner? */
static bool many(const struct shm_section *s) {
    return items(s->kind) || (s->kind == SHM_KIND_RAW && shared(s));
}

/* Is somebody there who may write?  In force, `slot` is its own. */
static bool occupied(const struct shm_section *s, uint32_t slot) {
    if (!many(s))
        return lingers[s->owner_index];
    if (!attached || s->retired_gen != 0)
        return attached && attached_since < s->retired_gen;
    return shared(s) || entered[slot] != 0;
}

/* The record that owns a row's section. */
static const char *record_of(const struct table_section *row) {
    const bool instances = strcmp(row->owner, "pool") == 0 && worker("pool")->instances > 1;
    return instances ? "pool#1" : row->owner;
}

static struct expected expect(const struct shm_section *s, const struct table_section *row) {
    struct expected e = {0};
    e.anew = s->kind != (uint32_t)row->kind || shared(s) != row->shared;
    e.divided = !e.anew && items(s->kind) && (s->size != row->size || s->count != row->count);
    e.owner = strcmp(s->owner, row->owner) != 0 ||
              strcmp(running.workers[s->owner_index], record_of(row)) != 0;
    e.renamed = strcmp(s->name, row->name) != 0;
    e.smaller = !e.anew && row->size < s->size && row->kind != SHM_KIND_QUEUE;
    e.place = e.anew || e.divided || e.owner || s->count != row->count ||
              s->read_class != row->read_class || s->write_class != row->write_class ||
              layout_round(s->size, SHM_LINE) != layout_round(row->size, SHM_LINE) ||
              (row->pinned && row->offset != s->offset);
    return e;
}

static bool refused_row(uint32_t slot) {
    const struct shm_section *s = &running.sections[slot];
    const struct table_section *row = row_of(s->section_id);
    const bool keeps = occupied(s, slot);
    if (row == NULL)
        return keeps && !force;
    const struct expected e = expect(s, row);
    return (e.place && s->state == SHM_PLACE_MOVING && !moved[slot]) ||
           (keeps && !force && (e.anew || e.owner || e.smaller || e.renamed)) ||
           (keeps && !force && e.place && items(s->kind)) ||
           (keeps && e.place && s->kind == SHM_KIND_RAW && !e.anew && !e.owner) ||
           (e.divided && !force && messages[slot] != 0) ||
           (e.smaller && row->size < value_bytes[slot]);
}

static bool refused_edit(void) {
    for (uint32_t i = 0; i < running.sections_used; i++)
        if (layout_place_in_force(running.sections[i].state) && refused_row(i))
            return true;
    return false;
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
        const struct shm_arena *last = s->claims_off == 0 ? a : &next->arenas[s->claims_arena];
        HOLDS(s->offset >= a->offset && s->offset + s->bytes <= last->offset + last->bytes);
        HOLDS(a == last || (a->offset + a->bytes == last->offset && last->offset == s->claims_off));
        HOLDS(!layout_place_in_force(s->state) ||
              (a->owner_index == s->owner_index && last->owner_index == s->owner_index));
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

/* Its arenas have its writers, and what others write stands in none of them. */
static void check_writers(const struct layout *next, const struct shm_section *s,
                          const struct table_section *row) {
    const struct shm_arena *a = &next->arenas[s->arena_index];
    const bool of_many = items(row->kind) || row->shared;
    HOLDS(a->writers == (of_many ? SHM_WRITERS_CLASS : SHM_WRITERS_OWNER));
    HOLDS(a->write_class == row->write_class && s->write_class == row->write_class);
    HOLDS((row->kind == SHM_KIND_QUEUE) == (s->claims_off != 0));
    if (row->kind == SHM_KIND_QUEUE) {
        const struct shm_arena *claims = &next->arenas[s->claims_arena];
        HOLDS(claims->writers == (strcmp(record_of(row), row->owner) == 0 ? SHM_WRITERS_OWNER
                                                                          : SHM_WRITERS_INSTANCES));
        HOLDS(claims->write_class == 0 && claims->read_class == row->read_class);
    }
    for (uint32_t i = 0; of_many && i < next->sections_used; i++) {
        const struct shm_section *other = &next->sections[i];
        HOLDS(other == s || other->state == SHM_PLACE_FREE ||
              (other->arena_index != s->arena_index &&
               (s->claims_off == 0 || other->arena_index != s->claims_arena)));
    }
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
                   (next->sections[j].arena_index == i ||
                    (next->sections[j].claims_off != 0 && next->sections[j].claims_arena == i) ||
                    (next->sections[j].state == SHM_PLACE_MOVING &&
                     next->sections[next->sections[j].old_slot].arena_index == i));
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
        HOLDS(s->read_class == row->read_class &&
              ((s->flags & SHM_SECTION_SHARED) != 0) == row->shared);
        HOLDS(((s->flags & SHM_SECTION_PINNED) != 0) == row->pinned);
        HOLDS(!row->pinned || s->offset == row->offset);
        HOLDS(strcmp(next->workers[s->owner_index], record_of(row)) == 0);
        check_writers(next, s, row);
    }
}

static uint32_t evicted = SHM_NONE; /* worker whom this plan makes leave */

/* What many write is taken from nobody who leaves. */
static bool is_evicted(const struct shm_section *s) {
    return s->owner_index == evicted && !many(s);
}

/* The place that a section left with this plan. */
static uint32_t place_left(const struct layout *next, const struct shm_section *before) {
    for (uint32_t i = 0; i < next->sections_used; i++) {
        const struct shm_section *s = &next->sections[i];
        if ((s->state == SHM_PLACE_RETIRED || s->state == SHM_PLACE_QUARANTINED) &&
            s->offset == before->offset)
            return i;
    }
    return SHM_NONE;
}

static void check_moved(const struct layout *next, uint32_t slot, const struct expected *e) {
    const struct shm_section *before = &running.sections[slot], *after = &next->sections[slot];
    const bool keeps = occupied(before, slot);
    const bool anew = e->anew || e->divided || (keeps && items(before->kind));
    const bool taken = anew || e->owner || is_evicted(before);
    const uint32_t left = place_left(next, before);
    HOLDS(after->changed_gen == next->generation && after->bell_index == before->bell_index);
    HOLDS(after->incarnation == (anew ? next->generation : before->incarnation));
    HOLDS(after->state == (keeps && !taken ? SHM_PLACE_MOVING : SHM_PLACE_LIVE));
    HOLDS(left != SHM_NONE);
    const struct shm_section *old = &next->sections[left];
    HOLDS(old->bytes == before->bytes && old->section_id == before->section_id);
    HOLDS(old->incarnation == before->incarnation && old->owner_index == before->owner_index);
    HOLDS(old->arena_index == before->arena_index && old->retired_gen == next->generation);
    HOLDS(old->state == (keeps || is_evicted(before) || (attached && many(before))
                             ? SHM_PLACE_QUARANTINED
                             : SHM_PLACE_RETIRED));
    HOLDS(after->state != SHM_PLACE_MOVING || after->old_slot == left);
    HOLDS(after->arena_index != before->arena_index || (!e->owner && !is_evicted(before)));
    moves++;
}

static void check_section_steady(const struct layout *next, uint32_t slot) {
    const struct shm_section *before = &running.sections[slot];
    const struct shm_section *after = &next->sections[slot];
    const struct table_section *row = row_of(before->section_id);
    HOLDS(slot < next->sections_used && after->section_id == before->section_id);
    struct expected e = {0};
    if (row != NULL)
        e = expect(before, row);
    if (e.place || (row != NULL && is_evicted(before))) {
        check_moved(next, slot, &e);
        return;
    }
    HOLDS(after->offset == before->offset && after->bytes == before->bytes);
    HOLDS(after->incarnation == before->incarnation);
    HOLDS(after->arena_index == before->arena_index);
    HOLDS((after->changed_gen == next->generation) == (memcmp(before, after, sizeof *before) != 0));
    if (row == NULL)
        HOLDS(after->retired_gen == next->generation &&
              after->state == (occupied(before, slot) || (attached && many(before))
                                   ? SHM_PLACE_QUARANTINED
                                   : SHM_PLACE_RETIRED));
    else
        HOLDS(after->state == (moved[slot] ? SHM_PLACE_LIVE : before->state));
}

/* Is somebody or something still waited for at a place that was left? */
static bool waited_for(uint32_t slot) {
    for (uint32_t i = 0; i < running.sections_used; i++) {
        const struct shm_section *s = &running.sections[i];
        if (s->state == SHM_PLACE_MOVING && s->old_slot == slot)
            return !moved[i] && (row_of(s->section_id) != NULL || lingers[s->owner_index]);
    }
    return occupied(&running.sections[slot], slot);
}

/* What runs stays where it is, if its row doesn't want it elsewhere; what went is kept for one
 * generation, and where somebody may write for as long as he may. */
static void check_steady(const struct layout *next) {
    for (uint32_t i = 0; i < running.sections_used; i++) {
        const struct shm_section *before = &running.sections[i];
        const struct shm_section *after = &next->sections[i];
        if (layout_place_in_force(before->state))
            check_section_steady(next, i);
        else if (before->state == SHM_PLACE_QUARANTINED && waited_for(i))
            HOLDS(memcmp(before, after, sizeof *before) == 0);
        else if (before->state == SHM_PLACE_QUARANTINED)
            HOLDS(after->state == SHM_PLACE_RETIRED && after->offset == before->offset &&
                  after->bytes == before->bytes);
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
    for (uint32_t i = 0; i < running.workers_used; i++)
        HOLDS(!lingers[i] || strcmp(running.workers[i], next->workers[i]) == 0);
}

/* ---- plans: of an edit, of what was waited for, of a worker who is made to leave */

enum what { EDIT, SETTLE, EVICT };

static int make_plan(enum what what, struct plan *plan, const struct layout *from) {
    struct plan_facts now = facts();
    if (from != &running) /* its slots are others */
        now.moved = NULL, now.value_bytes = NULL, now.entered = NULL, now.messages = NULL;
    cases++;
    return what == EDIT     ? plan_make(plan, from, &table, &now)
           : what == SETTLE ? plan_settle(plan, from, &now)
                            : plan_evict(plan, from, evicted, &now);
}

static void check_again(enum what what, const struct plan *plan, int result) {
    struct plan again;
    const int r = make_plan(what, &again, &running);
    HOLDS(r == result && same_layout(&again.next, &plan->next));
    HOLDS(again.changes_n == plan->changes_n && strcmp(again.error, plan->error) == 0);
    for (size_t i = 0; i < plan->changes_n; i++)
        HOLDS(strcmp(again.changes[i].name, plan->changes[i].name) == 0 &&
              strcmp(again.changes[i].what, plan->changes[i].what) == 0 &&
              again.changes[i].action == plan->changes[i].action);
    plan_clear(&again);
    if (result < 0)
        return;
    const enum what then = what == EVICT ? SETTLE : what;
    HOLDS(make_plan(then, &again, &plan->next) == 0 && again.changes_n == 0 &&
          same_layout(&again.next, &plan->next));
    plan_clear(&again);
}

static void check_plan(enum what what, const struct plan *plan, int result) {
    char error[256];
    if (result < 0) {
        HOLDS(result == -EINVAL || (result == -EBUSY && what == EDIT));
        HOLDS(plan->error[0] != '\0' && plan->changes_n == 0);
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
    check_again(what, plan, result);
}

/* Why a plan may be refused whose rows are all right: there is no room. */
static bool for_want_of_room(const char *error) {
    return strstr(error, ": no room for ") != NULL || strstr(error, " would overlap ") != NULL ||
           strstr(error, " doorbells ") != NULL;
}

static bool evict_refused(void) {
    for (uint32_t i = 0; i < running.sections_used; i++) {
        const struct shm_section *s = &running.sections[i];
        if (is_evicted(s) && layout_place_in_force(s->state) &&
            ((s->state == SHM_PLACE_MOVING && !moved[i]) || (s->flags & SHM_SECTION_PINNED) != 0))
            return true;
    }
    return false;
}

static bool one_plan(enum what what, bool wrong) {
    struct plan plan;
    const bool refused = what == EDIT ? wrong || refused_edit() : what == EVICT && evict_refused();
    const int r = make_plan(what, &plan, &running);
    check_plan(what, &plan, r);
    HOLDS(!refused || r < 0);
    HOLDS(r != -EBUSY || (refused && !wrong)); /* nobody waits for what is wrong */
    if (r < 0 && !refused && !for_want_of_room(plan.error))
        ck_abort_msg("seed %u: refused without need: %s", seed, plan.error);
    if (r == 0)
        adopt(&plan);
    plan_clear(&plan);
    return r == 0;
}

static void one_edit(void) {
    const size_t n = table.sections_n, workers_n = table.workers_n;
    struct table_section *kept = calloc(n + 1, sizeof *kept);
    struct table_worker *kept_workers = calloc(workers_n + 1, sizeof *kept_workers);
    memcpy(kept, table.sections, n * sizeof *kept);
    memcpy(kept_workers, table.workers, workers_n * sizeof *kept_workers);
    const bool wrong = pick(8) == 0 && edit_wrong();
    for (unsigned i = pick(crowded ? 24 : 6); !wrong && i > 0; i--)
        (pick(crowded ? 3 : 5) < 2 ? edit_add : pick(3) == 0 ? edit_remove : edit_change)();
    if (!one_plan(EDIT, wrong)) {
        memcpy(table.sections, kept, n * sizeof *kept);
        memcpy(table.workers, kept_workers, workers_n * sizeof *kept_workers);
        table.sections_n = n;
        table.workers_n = workers_n;
    }
    free(kept);
    free(kept_workers);
}

static void one_step(void) {
    pick_facts();
    const unsigned what = pick(8);
    if (what == 0 && running.generation > 0) {
        one_plan(SETTLE, false);
    } else if (what == 1 && running.workers_used > 0) {
        evicted = pick(running.workers_used);
        if (running.workers[evicted][0] != '\0') {
            held[evicted] = lingers[evicted] = true;
            one_plan(EVICT, false);
        }
        evicted = SHM_NONE;
    } else {
        one_edit();
    }
}

/* Everybody goes, and so does every row: then all of the space is there again. */
static void all_leave(void) {
    memset(held, 0, sizeof held);
    memset(lingers, 0, sizeof lingers);
    attached = false;
    for (uint32_t i = 0; i < running.sections_used; i++)
        moved[i] = running.sections[i].state == SHM_PLACE_MOVING;
    HOLDS(one_plan(SETTLE, false));
    memset(moved, 0, sizeof moved);
    for (uint32_t i = 0; i < running.sections_used; i++)
        HOLDS(running.sections[i].state != SHM_PLACE_MOVING &&
              running.sections[i].state != SHM_PLACE_QUARANTINED);
    table.sections_n = 0;
    HOLDS(one_plan(EDIT, false));
    add_raw("last", "alpha", 64);
    HOLDS(one_plan(EDIT, false));
    HOLDS(running.sections_used == 1 && running.arenas_used == 1);
}

START_TEST(whatever_comes) {
    const char *only = getenv("PLAN_SEED");
    const unsigned first = only == NULL ? 1 : (unsigned)strtoul(only, NULL, 10);
    const unsigned seeds = getenv("SHM_SOAK") == NULL ? SEEDS : 10 * SEEDS;
    const unsigned last = only == NULL ? seeds : first;
    uint64_t applied = 0, grown = 0;
    for (seed = first; seed <= last; seed++) {
        state = seed;
        start(pick(3) ? 2 * MIB : MIB);
        crowded = pick(4) == 0;
        memset(held, 0, sizeof held);
        memset(lingers, 0, sizeof lingers);
        attached = false;
        for (int i = 0; i < EDITS; i++)
            one_step();
        applied += running.generation;
        grown += running.directories[0].bytes > layout_directory_bytes(64, 64);
        all_leave();
        stop();
    }
    /* else all of them were refused, and nothing was tested */
    ck_assert(only != NULL ||
              (applied > seeds * EDITS / 2 && grown > seeds / 10 && moves > seeds * EDITS / 2));
    printf("figure: planner.cases %lu cases\n", cases);
    printf("figure: planner.moves %lu moves\n", moves);
    fflush(stdout);
}
END_TEST

UNIT_MAIN("plan_random", whatever_comes)
