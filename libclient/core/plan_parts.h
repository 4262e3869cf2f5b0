/* SPDX-License-Identifier: Apache-2.0
 *
 * What the planner's files share: plan.c goes through the whole, plan_rows.c has the workers'
 * records, plan_change.c what becomes of a section, plan_settle.c what became of those that went,
 * plan_replace.c a whole new segment.
 */
#ifndef SHM_CORE_PLAN_PARTS_H
#define SHM_CORE_PLAN_PARTS_H

#include "plan.h"

#define PLAN_OCCUPANT_BYTES (SHM_NAME_BYTES + 96)

struct named {
    const char *name;
    uint32_t index;
};

struct existing {
    uint64_t section_id;
    uint32_t slot;
};

/* How a section leaves its place. */
enum leaving {
    LEAVE_FREE,   /* nobody can be writing there */
    LEAVE_LATE,   /* nobody is, but somebody may come late, and finds it sealed */
    LEAVE_MOVING, /* its writer goes to the new place with the next publish */
    LEAVE_TAKEN,  /* its writer may go on in the old place, where nobody looks any more */
};

/* A section that gets a place. */
struct fresh {
    size_t change; /* its line in the list of changes */
    uint64_t from; /* the offset before; 0: none, it is new */
    enum leaving leaving;
    char holder[SHM_NAME_BYTES]; /* the owner before; "": it is many's */
};

/* A place that is left, until it gets a slot. */
struct left {
    struct shm_section place;
    uint32_t slot; /* of the section that stood there */
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
    uint32_t *fresh; /* slots of what gets a place, sorted by section id */
    struct fresh *fresh_about;
    size_t fresh_n;
    struct left *left;
    size_t left_n, left_room;
    uint32_t hole; /* no free slot below */
};

/* Writes the plan's error; -EINVAL. */
int plan_refuse(const struct planner *planner, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The same for what can be done later, when somebody has left or arrived; -EBUSY. */
int plan_wait(const struct planner *planner, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* One more line of the list of changes; NULL: no memory. */
struct plan_change *plan_add_change(struct planner *planner, enum plan_action action,
                                    const char *name);

/* One more of the things that change in it. */
void plan_note(struct plan_change *change, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A whole field, zeroes behind the text. */
void plan_put_text(char to[SHM_NAME_BYTES], const char *from);

/* May somebody who holds or held that worker's lease still write? */
bool plan_lingers(const struct planner *planner, uint32_t worker_index);

/* May somebody still write in that place, at `slot` of what runs? */
bool plan_occupied(const struct planner *planner, const struct shm_section *section, uint32_t slot);

/* Who that is, for a message: "worker 'x' holds its lease", and how to end that. */
const char *plan_occupant(const struct planner *planner, const struct shm_section *section,
                          uint32_t slot, char text[PLAN_OCCUPANT_BYTES]);

/* Nobody is there, but may he come late, who looked before the flip? */
bool plan_latecomers(const struct planner *planner, const struct shm_section *section);

/* Records for all workers of the table; the array has room for them.  A record that nobody wants
 * any more but whose worker lingers stays until a later plan finds it free. */
int plan_add_workers(struct planner *planner);
int plan_remove_workers(struct planner *planner);
uint32_t plan_find_worker(const struct planner *planner, const char *name);

/* The record that owns a row's section. */
uint32_t plan_find_owner(const struct planner *planner, const struct table_section *row);

/* What of a section comes from its row and needs no place. */
void plan_fill_section(struct shm_section *section, const struct table_section *row);

/* A section that exists already, as its row says now; without its row. */
int plan_change_section(struct planner *planner, uint32_t slot, const struct table_section *row);
int plan_remove_section(struct planner *planner, uint32_t slot);

/* The section at `slot` goes to another place.  What stands there now gets a descriptor of its own,
 * and the caller then makes of this one what it shall be, with state and old_ctl_off as they are,
 * and ctl_off 0. */
int plan_leave(struct planner *planner, uint32_t slot, enum leaving leaving);

/* Its newest value must fit the row's size. */
int plan_check_value(const struct planner *planner, uint32_t slot,
                     const struct shm_section *section, const struct table_section *row);

/* Would the row begin empty, whatever the section holds? */
bool plan_begins_anew(const struct shm_section *section, const struct table_section *row);

/* A queue that is divided otherwise must be empty. */
int plan_check_messages(const struct planner *planner, const struct shm_section *section,
                        uint32_t slot, const struct table_section *row);

bool plan_of_items(uint32_t kind);

/* What differs between the two, but for the place. */
void plan_note_section(struct plan_change *change, const struct shm_section *from,
                       const struct shm_section *to);

/* A plan for a segment of another size, from the beginning to the end. */
int plan_replace(struct planner *planner);

/* Can the table be served, whatever runs in a segment of that size? */
int plan_check_served(const struct planner *planner);

/* What was waited for is over: of sections, and then of arenas, which are left with the last one in
 * them. */
int plan_settle_sections(struct planner *planner);
int plan_settle_arenas(struct layout *next);

/* ---- the steps of each plan */

/* A copy of what runs, of the next generation, what was RETIRED dropped and all else settled. */
int plan_begin(struct planner *planner);

/* Room for so many rows beside everything that runs, and for what that leaves. */
int plan_prepare(struct planner *planner, size_t rows, uint64_t workers);

/* Places what is fresh, and settles the arenas. */
int plan_place(struct planner *planner);

/* Checks the whole, and gives back what was needed on the way; what runs goes on where nothing
 * is to change, or nothing may.  `r` is what became of it so far. */
int plan_end(struct planner *planner, int r);

#endif
