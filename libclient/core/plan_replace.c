/* SPDX-License-Identifier: Apache-2.0
 *
 * A segment of another size: all of the table is placed anew, as in a segment that nothing runs in.
 * What runs says whose value comes along, under the same incarnation.
 */
#include "crc32c.h"
#include "plan_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- who is in the way */

#define HOLDERS_BYTES 192

/* False: there are none. */
static bool name_holders(const struct planner *planner, char text[HOLDERS_BYTES]) {
    const bool *held = planner->facts == NULL ? NULL : planner->facts->worker_held;
    const unsigned nameless = planner->facts == NULL ? 0 : planner->facts->nameless;
    unsigned n = 0;
    int at = 0;
    for (uint32_t i = 0; held != NULL && i < planner->running->workers_used; i++)
        if (held[i] && n++ < 2)
            at += snprintf(text + at, HOLDERS_BYTES - (size_t)at, "%s '%s'",
                           n == 1 ? "worker" : ",", planner->running->workers[i]);
    const unsigned named = n < 2 ? n : 2;
    n += nameless;
    if (named == 0)
        at = snprintf(text, HOLDERS_BYTES, "%u anonymous attachment%s", n, n == 1 ? "" : "s");
    else if (n > named)
        at += snprintf(text + at, HOLDERS_BYTES - (size_t)at, " and %u more", n - named);
    snprintf(text + at, HOLDERS_BYTES - (size_t)at,
             n == 1 ? " holds its lease" : " hold their leases");
    return n > 0;
}

/* A publish that is under way would have to be made once more, elsewhere, and bytes that are
 * written in place would be lost.  Last of all, as nobody shall wait for what is refused in the
 * end. */
static int check_holders(const struct planner *planner) {
    char holders[HOLDERS_BYTES];
    if (!name_holders(planner, holders) || planner->facts->force)
        return 0;
    return plan_wait(planner,
                     "segment: size %llu -> %llu takes a new segment, which waits until nobody "
                     "writes: %s (end them, then `shmtool reload`, or `shmtool reload --force`)",
                     (unsigned long long)planner->running->segment_bytes,
                     (unsigned long long)planner->wanted->size, holders);
}

/* ---- the new one */

/* Empty but for the workers, whose records keep their numbers where there is room for that. */
static int begin_empty(const struct planner *planner, struct layout *ret) {
    const struct layout *running = planner->running;
    *ret = (struct layout){0};
    int r = layout_init(ret, planner->wanted->size); /* the table's check knows its limits */
    if (r < 0)
        return r;
    ret->generation = running->generation;
    if (running->workers_used == 0 || running->workers_used > ret->workers_capacity)
        return 0;
    ret->workers = calloc(running->workers_used, sizeof *ret->workers);
    if (ret->workers == NULL)
        return -ENOMEM;
    memcpy(ret->workers, running->workers, running->workers_used * sizeof *ret->workers);
    ret->workers_used = running->workers_used;
    return 0;
}

static int plan_empty(struct planner *planner, const struct layout *empty) {
    const struct plan_facts nobody = {.backend =
                                          planner->facts == NULL ? 0 : planner->facts->backend};
    return plan_make(planner->plan, empty, planner->wanted, &nobody);
}

/* ---- what comes along */

/* The table's rows, and so the slots, are in the order of ids. */
static uint32_t slot_of(const struct table *wanted, uint64_t id) {
    const struct table_section *row = table_section(wanted, id);
    return row == NULL ? SHM_NONE : (uint32_t)(row - wanted->sections);
}

/* As plan_change.c has it. */
static bool is_the_same(const struct planner *planner, uint32_t from_slot,
                        const struct table_section *row) {
    const struct shm_section *from = &planner->running->sections[from_slot];
    return !plan_divided(from, row) &&
           !(plan_of_items(from->kind) && plan_occupied(planner, from, from_slot));
}

static int bring(struct planner *planner, uint32_t from_slot, uint32_t slot) {
    const struct shm_section *from = &planner->running->sections[from_slot];
    struct shm_section *to = &planner->next->sections[slot];
    const struct table_section *row = &planner->wanted->sections[slot];
    if (from->state != SHM_PLACE_BAD && !plan_begins_anew(from, row)) {
        int r = row->size < from->size && row->kind != SHM_KIND_QUEUE
                    ? plan_check_value(planner, from_slot, from, row)
                    : 0;
        if (r == 0 && plan_divided(from, row))
            r = plan_check_messages(planner, from, from_slot, row);
        if (r < 0 && r != -EBUSY) /* then all is looked at all the same */
            return r;
        if (is_the_same(planner, from_slot, row)) {
            to->incarnation = from->incarnation;
            to->crc = CRC32C_OF((const struct shm_section *)to);
        }
    }
    struct plan_change *change = plan_add_change(planner, PLAN_CHANGE, row->name);
    if (change == NULL)
        return -ENOMEM;
    plan_note_section(change, from, to);
    if (change->what[0] == '\0') /* the place alone */
        planner->plan->changes_n--;
    return 0;
}

static int leave_behind(struct planner *planner, const struct shm_section *section) {
    struct plan_change *change = plan_add_change(planner, PLAN_REMOVE, section->name);
    if (change == NULL)
        return -ENOMEM;
    plan_note(change, "at %llu, %llu bytes", (unsigned long long)section->offset,
              (unsigned long long)section->bytes);
    return 0;
}

static bool runs(const struct shm_section *section) {
    return layout_place_in_force(section->state) || section->state == SHM_PLACE_BAD;
}

static int compare(struct planner *planner) {
    const struct layout *running = planner->running;
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < running->sections_used; i++) {
        const struct shm_section *section = &running->sections[i];
        if (!runs(section))
            continue;
        const uint32_t slot = slot_of(planner->wanted, section->section_id);
        r = slot == SHM_NONE ? leave_behind(planner, section) : bring(planner, i, slot);
    }
    return r;
}

/* The plan of an empty segment calls each section added, in the order of slots; those that run
 * aren't. */
static int drop_added(struct planner *planner) {
    const struct layout *running = planner->running;
    struct plan *plan = planner->plan;
    bool *known = calloc(planner->wanted->sections_n + 1, sizeof *known);
    if (known == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < running->sections_used; i++) {
        const uint32_t slot = slot_of(planner->wanted, running->sections[i].section_id);
        if (slot != SHM_NONE && runs(&running->sections[i]))
            known[slot] = true;
    }
    size_t kept = 0, slot = 0;
    for (size_t i = 0; i < plan->changes_n; i++) {
        const bool add = plan->changes[i].action == PLAN_ADD;
        if (!add || !known[slot])
            plan->changes[kept++] = plan->changes[i];
        slot += add;
    }
    free(known);
    planner->changes_room = plan->changes_n; /* at least */
    plan->changes_n = kept;
    return 0;
}

static uint64_t value_bytes(const struct layout *running) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < running->sections_used; i++)
        if (layout_place_in_force(running->sections[i].state))
            bytes += running->sections[i].size;
    return bytes;
}

/* The segment's own line comes first. */
static int say_replaced(struct planner *planner) {
    struct plan *plan = planner->plan;
    char holders[HOLDERS_BYTES];
    struct plan_change *change = plan_add_change(planner, PLAN_REPLACE, "segment");
    if (change == NULL)
        return -ENOMEM;
    plan_note(change, "size %llu -> %llu, a new segment; up to %llu bytes of values are copied",
              (unsigned long long)planner->running->segment_bytes,
              (unsigned long long)planner->wanted->size,
              (unsigned long long)value_bytes(planner->running));
    if (name_holders(planner, holders))
        plan_note(change, "although %s", holders);
    const struct plan_change first = *change;
    memmove(plan->changes + 1, plan->changes, (plan->changes_n - 1) * sizeof first);
    plan->changes[0] = first;
    return 0;
}

static int plan_steps(struct planner *planner) {
    struct layout empty;
    int r = plan_check_served(planner);
    if (r < 0)
        return r;
    r = begin_empty(planner, &empty);
    if (r == 0)
        r = plan_empty(planner, &empty);
    layout_clear(&empty);
    if (r == 0)
        r = drop_added(planner);
    if (r == 0)
        r = compare(planner);
    if (r == 0)
        r = say_replaced(planner);
    planner->next->forced = planner->facts != NULL && planner->facts->force;
    if (r == 0)
        r = check_holders(planner);
    return r == 0 && planner->plan->waits > 0 ? -EBUSY : r;
}

int plan_replace(struct planner *planner) {
    return plan_end(planner, plan_steps(planner));
}
