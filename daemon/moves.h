/* SPDX-License-Identifier: Apache-2.0
 *
 * Sections on their way to another place: what the planner has to know about them, and their
 * arrival.
 */
#ifndef SHM_DAEMON_MOVES_H
#define SHM_DAEMON_MOVES_H

#include "core/plan.h"

struct manager;

/* What the planner is told; its arrays. */
struct moves {
    bool *held, *lingers, *moved;
    uint64_t *value_bytes, *messages;
    uint32_t *entered;
    struct plan_facts facts;
};

/* Looks at leases and places; a section whose writer is gone gets its newest value in its new place
 * by it.  `table`, which may be NULL, says what of sections may matter.  -ENOMEM. */
int moves_gather(struct manager *manager, const struct table *table, bool force, struct moves *ret);
void moves_clear(struct moves *moves);

/* Ends what can be ended: moves, and quarantines.  Failures were logged; the next look tries
 * again. */
void moves_look(struct manager *manager);

/* The same, once what is under way is done. */
void moves_soon(struct manager *manager);

/* The same before somebody becomes that worker. */
void moves_before_grant(struct manager *manager, uint32_t worker);

/* Sections that are moving. */
unsigned moves_count(const struct layout *layout);

#endif
