/* SPDX-License-Identifier: Apache-2.0
 *
 * What the planner's files share: plan.c goes through the whole, plan_rows.c compares row by row.
 */
#ifndef SHM_CORE_PLAN_PARTS_H
#define SHM_CORE_PLAN_PARTS_H

#include "plan.h"

struct named {
    const char *name;
    uint32_t index;
};

struct existing {
    uint64_t section_id;
    uint32_t slot;
};

struct planner {
    struct plan *plan;
    struct layout *next; /* the plan's */
    const struct layout *running;
    const struct table *wanted;
    const struct plan_facts *facts;
    size_t changes_room;
    struct named *workers; /* records of next, sorted by name */
    size_t workers_n;
    struct existing *existing; /* what runs, sorted by section id */
    size_t existing_n;
    uint32_t *fresh; /* slots of what is new, sorted by section id */
    size_t *fresh_change;
    size_t fresh_n;
    uint32_t hole; /* no free slot below */
};

/* Writes the plan's error; -EINVAL. */
int plan_refuse(const struct planner *planner, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* One more line of the list of changes; NULL: no memory. */
struct plan_change *plan_add_change(struct planner *planner, enum plan_action action,
                                    const char *name);

/* One more of the things that change in it. */
void plan_note(struct plan_change *change, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Records for all workers of the table; the array has room for them.  A record that nobody wants
 * any more but whose lease is held stays until a later plan finds it free. */
int plan_add_workers(struct planner *planner);
int plan_remove_workers(struct planner *planner);
uint32_t plan_find_worker(const struct planner *planner, const char *name);

/* What of a section comes from its row and needs no place. */
void plan_fill_section(struct shm_section *section, const struct table_section *row);

/* A section that exists already, as its row says now; without its row. */
int plan_change_section(struct planner *planner, uint32_t slot, const struct table_section *row);
int plan_remove_section(struct planner *planner, uint32_t slot);

#endif
