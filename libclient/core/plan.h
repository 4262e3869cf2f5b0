/* SPDX-License-Identifier: Apache-2.0
 *
 * The planner: a pure function from what runs and what is wanted to what shall run, and a list of
 * the differences.  Same input, same output.  What did not change does not move; space that was
 * left is kept: RETIRED for one generation more, QUARANTINED for as long as somebody may write
 * there.
 *
 * A section that moves keeps its slot, bell and incarnation; the place before gets a descriptor of
 * its own.  Nobody can write there: the section is LIVE in its new place, the old one RETIRED, and
 * the manager copies the value before the flip.  It is held: the section is MOVING, the old place
 * QUARANTINED, and its writer's next publish does the move.  It was taken from its holder by force:
 * LIVE, the old place QUARANTINED, and the manager copies the newest whole value before the flip.
 */
#ifndef SHM_CORE_PLAN_H
#define SHM_CORE_PLAN_H

#include "layout.h"
#include "table.h"

enum plan_action {
    PLAN_ADD,     /* a section is placed */
    PLAN_CHANGE,  /* its descriptor changes, its memory stays */
    PLAN_REMOVE,  /* its space is retired */
    PLAN_WORKER,  /* a worker's record is added or removed */
    PLAN_MOVE,    /* it goes to another place, or has arrived there */
    PLAN_REPLACE, /* the segment, by another of another size */
};

struct plan_change {
    enum plan_action action;
    char name[SHM_NAME_BYTES];
    char what[192]; /* "stale_ms 0 -> 500", "at 4096, 262400 bytes", ... */
};

struct plan {
    struct layout next; /* generation: one more than the running one's, or the same when nothing
                           changes and the directories have their places */
    struct plan_change *changes;
    size_t changes_n;
    uint64_t used_before, used_after; /* bytes in arenas */
    size_t waits;                     /* sections that somebody is in the way of */
    char error[512];                  /* why the table was refused; of waits, of the first */
    bool full;                        /* for want of room in the segment */
};

/* What the layout doesn't tell. */
struct plan_facts {
    const bool
        *worker_held; /* by worker index of the running layout: is its lease held? NULL: no */
    const bool *worker_lingers;  /* by worker index: somebody who holds or held that worker's lease
                                    may still write where it could.  NULL: as worker_held */
    const bool *moved;           /* by slot of the running layout: a MOVING section whose new place
                                    has the newest value, and whose place before nobody will touch
                                    any more.  NULL: none */
    const uint64_t *value_bytes; /* by slot: length of the newest value; 0: none.  NULL: not known,
                                    and nothing is refused for it */
    /* Who may write what many write is anybody who may attach: does somebody, or did he and may
     * still write where he could; and what is the lowest generation that one of them may have been
     * let in under? */
    bool attached;
    uint64_t attached_since;
    /* By slot, of slots that aren't shared and queues: the process that is in it, 0 where nobody
     * is. NULL: whoever is attached may be. */
    const uint32_t *entered;
    const uint64_t *messages; /* by slot: that are in a queue.  NULL: none */
    unsigned nameless;        /* attachments without a name whose leases are held */
    const bool *given_up;     /* by slot: a section that its holder doesn't write any more, and
                                 wants removed.  NULL: none */
    enum shm_backend backend; /* of what runs; 0: any */
    bool force;               /* also what takes something away from a holder */
};

/* Settles, then compares row by row.  A segment of another size is a new one: `next` then has that
 * size, all places in it are fresh, slots are in the order of the table, and what keeps its value
 * keeps its incarnation.  0; -EINVAL: the table can't be applied, `error` says why, and
 * `next` is a copy of the running layout; -EBUSY: the same, but it could be once somebody who holds
 * a lease is gone, or a section that moves has arrived; -ENOMEM.  `facts` may be NULL, also below.
 */
int plan_make(struct plan *ret, const struct layout *running, const struct table *wanted,
              const struct plan_facts *facts);

/* Only what was waited for: a MOVING section that has moved is LIVE, and its place before RETIRED;
 * so is a QUARANTINED place that no section moves from, and whose owner doesn't linger.  Returns as
 * plan_make(); without changes there is nothing to do. */
int plan_settle(struct plan *ret, const struct layout *running, const struct plan_facts *facts);

/* Every section that the worker alone writes goes to a fresh place in a fresh arena of the
 * worker's, and what it leaves is QUARANTINED; what many write stays, as its words say who may.
 * Returns as plan_make(); also -EINVAL where one is pinned or MOVING. */
int plan_evict(struct plan *ret, const struct layout *running, uint32_t worker,
               const struct plan_facts *facts);

/* Would slots or a queue be divided otherwise by that row?  Then they are another incarnation:
 * slots bring along what they hold, and a queue must be empty. */
bool plan_divided(const struct shm_section *section, const struct table_section *row);

void plan_clear(struct plan *plan);

const char *plan_action_name(enum plan_action action);

#endif
