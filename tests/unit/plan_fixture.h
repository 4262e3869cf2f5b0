/* SPDX-License-Identifier: Apache-2.0
 *
 * A table to edit and a layout that runs, for the planner's tests.
 */
#ifndef SHM_TESTS_PLAN_FIXTURE_H
#define SHM_TESTS_PLAN_FIXTURE_H

#include "core/crc32c.h"
#include "core/plan.h"
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MIB        (UINT64_C(1) << 20)
#define ROWS_MAX   70000
#define OWNERS_MAX 600

static struct table table;
static struct layout running;
static uint64_t next_id;

static void start(uint64_t segment_bytes) {
    table = (struct table){.key = SHM_DEFAULT_KEY,
                           .size = segment_bytes,
                           .backend = SHM_BACKEND_SYSV,
                           .mode = 0660,
                           .workers = calloc(OWNERS_MAX, sizeof *table.workers),
                           .sections = calloc(ROWS_MAX, sizeof *table.sections)};
    next_id = 1;
    ck_assert_int_eq(layout_init(&running, segment_bytes), 0);
}

static void stop(void) {
    layout_clear(&running);
    table_clear(&table);
}

/* Keeps the rows sorted, as the loader does. */
static struct table_worker *worker(const char *name) {
    size_t i = 0;
    while (i < table.workers_n && strcmp(table.workers[i].name, name) < 0)
        i++;
    if (i == table.workers_n || strcmp(table.workers[i].name, name) != 0) {
        memmove(&table.workers[i + 1], &table.workers[i],
                (table.workers_n - i) * sizeof *table.workers);
        table.workers_n++;
        table.workers[i] = (struct table_worker){.instances = 1};
        snprintf(table.workers[i].name, SHM_NAME_BYTES, "%s", name);
    }
    return &table.workers[i];
}

static struct table_section *add(const char *name, const char *owner, uint64_t size) {
    struct table_section *row = &table.sections[table.sections_n++];
    if (strchr(owner, '#') == NULL)
        worker(owner);
    *row = (struct table_section){
        .id = next_id++, .kind = SHM_KIND_SNAPSHOT, .size = size, .count = 4};
    snprintf(row->name, sizeof row->name, "%s", name);
    snprintf(row->owner, sizeof row->owner, "%s", owner);
    return row;
}

static inline struct table_section *add_raw(const char *name, const char *owner, uint64_t size) {
    struct table_section *row = add(name, owner, size);
    row->kind = SHM_KIND_RAW;
    row->count = 0;
    return row;
}

static inline void drop(size_t i) {
    memmove(&table.sections[i], &table.sections[i + 1],
            (table.sections_n - i - 1) * sizeof *table.sections);
    table.sections_n--;
}

static inline bool same_layout(const struct layout *a, const struct layout *b) {
    return a->generation == b->generation && a->sections_used == b->sections_used &&
           a->arenas_used == b->arenas_used && a->workers_used == b->workers_used &&
           memcmp(a->directories, b->directories, sizeof a->directories) == 0 &&
           (a->sections_used == 0 ||
            memcmp(a->sections, b->sections, a->sections_used * sizeof *a->sections) == 0) &&
           (a->arenas_used == 0 ||
            memcmp(a->arenas, b->arenas, a->arenas_used * sizeof *a->arenas) == 0) &&
           (a->workers_used == 0 ||
            memcmp(a->workers, b->workers, a->workers_used * sizeof *a->workers) == 0);
}

/* The flip: what was planned runs. */
static inline void adopt(struct plan *plan) {
    layout_clear(&running);
    running = plan->next;
    plan->next = (struct layout){0};
    plan_clear(plan);
}

/* Plans, and says the changes as "action name: what; ...". */
static inline const char *said(const struct plan *plan) {
    static char text[4096];
    size_t n = 0;
    text[0] = '\0';
    for (size_t i = 0; i < plan->changes_n && n < sizeof text; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s %s: %s", i > 0 ? "; " : "",
                              plan_action_name(plan->changes[i].action), plan->changes[i].name,
                              plan->changes[i].what);
    return text;
}

static inline void apply_with(const struct plan_facts *facts, const char *changes) {
    struct plan plan;
    char error[256];
    ck_assert_msg(plan_make(&plan, &running, &table, facts) == 0, "%s", plan.error);
    ck_assert_int_eq(layout_check(&plan.next, error, sizeof error), 0);
    if (changes != NULL)
        ck_assert_str_eq(said(&plan), changes);
    ck_assert_uint_eq(plan.next.generation,
                      running.generation + (plan.changes_n > 0 || running.generation == 0));
    adopt(&plan);
}

static inline void apply_held(const bool *held, const char *changes) {
    const struct plan_facts facts = {.worker_held = held, .backend = SHM_BACKEND_SYSV};
    apply_with(&facts, changes);
}

static inline void apply(const char *changes) {
    apply_held(NULL, changes);
}

static inline void not_made(const struct plan_facts *facts, int result, const char *error) {
    struct plan plan;
    ck_assert_int_eq(plan_make(&plan, &running, &table, facts), result);
    ck_assert_str_eq(plan.error, error);
    ck_assert_uint_eq(plan.changes_n, 0);
    ck_assert(same_layout(&plan.next, &running));
    plan_clear(&plan);
}

static inline void refused_with(const struct plan_facts *facts, const char *error) {
    not_made(facts, -EINVAL, error);
}

static inline void refused_held(const bool *held, const char *error) {
    const struct plan_facts facts = {.worker_held = held, .backend = SHM_BACKEND_SYSV};
    refused_with(&facts, error);
}

static inline void refused(const char *error) {
    refused_held(NULL, error);
}

/* Refused for now: somebody has to leave, or to arrive, first. */
static inline void waits_held(const bool *held, const char *error) {
    const struct plan_facts facts = {.worker_held = held, .backend = SHM_BACKEND_SYSV};
    not_made(&facts, -EBUSY, error);
}

/* a and b are x's, r too and raw; y and z have nothing. */
static inline void start_with_x(void) {
    start(MIB);
    add("a", "x", 1000);
    add("b", "x", 1000);
    add_raw("r", "x", 1000);
    worker("y");
    apply(NULL);
}
static const bool x_holds[] __attribute__((unused)) = {true, false, false};

/* The flip of what was waited for, if anything was. */
static inline void settle(const struct plan_facts *facts, const char *changes) {
    struct plan plan;
    ck_assert_msg(plan_settle(&plan, &running, facts) == 0, "%s", plan.error);
    ck_assert_str_eq(said(&plan), changes);
    ck_assert_uint_eq(plan.next.generation, running.generation + (plan.changes_n > 0));
    adopt(&plan);
}

static inline const struct shm_section *section(const char *name) {
    const uint32_t slot = layout_section(&running, name);
    ck_assert_msg(slot != SHM_NONE, "no section %s", name);
    return &running.sections[slot];
}

static inline const struct shm_arena *arena(const char *name) {
    return &running.arenas[section(name)->arena_index];
}

#endif
