/* SPDX-License-Identifier: Apache-2.0
 *
 * Which workers' records come and go, and how a plan says what it does.
 */
#include "crc32c.h"
#include "plan_parts.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int plan_refuse(const struct planner *planner, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(planner->plan->error, sizeof planner->plan->error, format, args);
    va_end(args);
    return -EINVAL;
}

int plan_wait(const struct planner *planner, const char *format, ...) {
    va_list args;
    if (planner->plan->waits++ > 0)
        return -EBUSY;
    va_start(args, format);
    vsnprintf(planner->plan->error, sizeof planner->plan->error, format, args);
    va_end(args);
    return -EBUSY;
}

struct plan_change *plan_add_change(struct planner *planner, enum plan_action action,
                                    const char *name) {
    struct plan *plan = planner->plan;
    if (plan->changes_n == planner->changes_room) {
        const size_t room = planner->changes_room * 2 + 16;
        struct plan_change *changes = reallocarray(plan->changes, room, sizeof *changes);
        if (changes == NULL)
            return NULL;
        plan->changes = changes;
        planner->changes_room = room;
    }
    struct plan_change *change = &plan->changes[plan->changes_n++];
    *change = (struct plan_change){.action = action};
    snprintf(change->name, sizeof change->name, "%s", name);
    return change;
}

void plan_note(struct plan_change *change, const char *format, ...) {
    const size_t used = strlen(change->what);
    char *at = change->what + used;
    const size_t room = sizeof change->what - used;
    va_list args;
    va_start(args, format);
    const int prefix = used > 0 ? snprintf(at, room, ", ") : 0;
    if ((size_t)prefix < room)
        vsnprintf(at + prefix, room - (size_t)prefix, format, args);
    va_end(args);
}

/* Whole fields: what stands behind the NUL is compared and summed too. */
void plan_put_text(char to[SHM_NAME_BYTES], const char *from) {
    const size_t length = strnlen(from, SHM_NAME_BYTES - 1);
    memset(to, 0, SHM_NAME_BYTES);
    memcpy(to, from, length);
}

/* ---- workers */

static int by_worker_name(const void *a, const void *b) {
    const struct named *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static void index_workers(struct planner *planner) {
    const struct layout *next = planner->next;
    planner->workers_n = 0;
    for (uint32_t i = 0; i < next->workers_used; i++)
        if (next->workers[i][0] != '\0')
            planner->workers[planner->workers_n++] = (struct named){next->workers[i], i};
    if (planner->workers_n > 1)
        qsort(planner->workers, planner->workers_n, sizeof *planner->workers, by_worker_name);
}

uint32_t plan_find_worker(const struct planner *planner, const char *name) {
    const struct named key = {name, 0};
    const struct named *found = NULL;
    if (planner->workers_n > 0)
        found = bsearch(&key, planner->workers, planner->workers_n, sizeof key, by_worker_name);
    return found == NULL ? SHM_NONE : found->index;
}

bool plan_lingers(const struct planner *planner, uint32_t worker_index) {
    const struct plan_facts *facts = planner->facts;
    if (facts == NULL || worker_index >= planner->running->workers_used)
        return false;
    return (facts->worker_held != NULL && facts->worker_held[worker_index]) ||
           (facts->worker_lingers != NULL && facts->worker_lingers[worker_index]);
}

bool plan_of_items(uint32_t kind) {
    return kind == SHM_KIND_SLOTS || kind == SHM_KIND_QUEUE;
}

/* Do its own words tell who is in it? */
static bool tells(const struct plan_facts *facts, const struct shm_section *section) {
    return facts->entered != NULL && plan_of_items(section->kind) &&
           (section->flags & SHM_SECTION_SHARED) == 0;
}

bool plan_occupied(const struct planner *planner, const struct shm_section *section,
                   uint32_t slot) {
    const struct plan_facts *facts = planner->facts;
    if (!layout_is_of_many(section))
        return plan_lingers(planner, section->owner_index);
    if (facts == NULL || !facts->attached)
        return false;
    if (section->retired_gen != 0) /* who came behind the generation that left it never found it */
        return facts->attached_since < section->retired_gen;
    return !tells(facts, section) || facts->entered[slot] != 0;
}

bool plan_latecomers(const struct planner *planner, const struct shm_section *section) {
    return layout_is_of_many(section) && planner->facts != NULL && planner->facts->attached;
}

const char *plan_occupant(const struct planner *planner, const struct shm_section *section,
                          uint32_t slot, char text[PLAN_OCCUPANT_BYTES]) {
    if (!layout_is_of_many(section))
        snprintf(text, PLAN_OCCUPANT_BYTES, "worker '%s' holds its lease (end that worker, then",
                 section->owner);
    else if (tells(planner->facts, section))
        snprintf(text, PLAN_OCCUPANT_BYTES, "process %u is in it (have it leave, then",
                 planner->facts->entered[slot]);
    else
        snprintf(text, PLAN_OCCUPANT_BYTES,
                 "somebody is attached who may write it (end them all, then");
    return text;
}

/* Name of a row's i-th record; it changes with the number of instances. */
static void record_name(const struct table_worker *row, uint32_t i, char name[SHM_NAME_BYTES]) {
    char numbered[SHM_NAME_BYTES + 12];
    snprintf(numbered, sizeof numbered, "%s#%u", row->name, i + 1);
    plan_put_text(name, row->instances == 1 ? row->name : numbered);
}

uint32_t plan_find_owner(const struct planner *planner, const struct table_section *row) {
    char name[SHM_NAME_BYTES];
    const struct table_worker *worker = table_worker(planner->wanted, row->owner);
    if (row->kind != SHM_KIND_QUEUE || worker == NULL || strchr(row->owner, '#') != NULL)
        return plan_find_worker(planner, row->owner);
    record_name(worker, 0, name);
    return plan_find_worker(planner, name);
}

static bool record_wanted(const struct table *wanted, const char *name) {
    const struct table_worker *row = table_worker(wanted, name);
    return row != NULL && (strchr(name, '#') != NULL) == (row->instances > 1);
}

static int add_worker(struct planner *planner, const char *name, uint32_t *hole) {
    struct layout *next = planner->next;
    while (*hole < next->workers_used && next->workers[*hole][0] != '\0')
        ++*hole;
    if (*hole == next->workers_capacity)
        return plan_refuse(planner,
                           "worker '%s': the segment has records for %u workers, and all are taken "
                           "(remove some, or make a larger segment: UPDATE segment SET size = ...)",
                           name, next->workers_capacity);
    const uint32_t index = (*hole)++;
    if (index == next->workers_used)
        next->workers_used++;
    plan_put_text(next->workers[index], name);
    struct plan_change *change = plan_add_change(planner, PLAN_WORKER, name);
    if (change == NULL)
        return -ENOMEM;
    plan_note(change, "record %u added", index);
    return 0;
}

/* The arrays have room for all that is wanted beside all that runs. */
int plan_add_workers(struct planner *planner) {
    const struct table *wanted = planner->wanted;
    uint32_t hole = 0;
    index_workers(planner);
    for (size_t i = 0; i < wanted->workers_n; i++)
        for (uint32_t j = 0; j < wanted->workers[i].instances; j++) {
            char name[SHM_NAME_BYTES];
            record_name(&wanted->workers[i], j, name);
            if (plan_find_worker(planner, name) != SHM_NONE)
                continue;
            int r = add_worker(planner, name, &hole);
            if (r < 0)
                return r;
        }
    index_workers(planner);
    return 0;
}

/* A record whose worker lingers stays until a later plan finds it free. */
int plan_remove_workers(struct planner *planner) {
    struct layout *next = planner->next;
    for (uint32_t i = 0; i < next->workers_used; i++) {
        if (next->workers[i][0] == '\0' || record_wanted(planner->wanted, next->workers[i]) ||
            plan_lingers(planner, i))
            continue;
        struct plan_change *change = plan_add_change(planner, PLAN_WORKER, next->workers[i]);
        if (change == NULL)
            return -ENOMEM;
        plan_note(change, "record %u removed", i);
        memset(next->workers[i], 0, SHM_NAME_BYTES);
    }
    return 0;
}
