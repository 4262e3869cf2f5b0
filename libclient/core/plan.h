/* SPDX-License-Identifier: Apache-2.0
 *
 * The planner: a pure function from what runs and what is wanted to what shall run, and a list of
 * the differences.  Same input, same output.  What did not change does not move; space that was
 * left is kept (RETIRED) for one generation more.
 */
#ifndef SHM_CORE_PLAN_H
#define SHM_CORE_PLAN_H

#include "layout.h"
#include "table.h"

enum plan_action {
    PLAN_ADD,    /* a section is placed */
    PLAN_CHANGE, /* its descriptor changes, its memory stays */
    PLAN_REMOVE, /* its space is retired */
    PLAN_WORKER, /* a worker's record is added or removed */
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
    char error[512];                  /* why the table was refused */
};

struct plan_facts {
    const bool
        *worker_held; /* by worker index of the running layout: is its lease held? NULL: no */
    enum shm_backend backend; /* of what runs; 0: any */
};

/* 0; -EINVAL: the table can't be applied, `error` says why, and `next` is a copy of the running
 * layout; -ENOMEM.  In this version whatever would have to move a section's memory (size, count,
 * kind, owner, offset, persist of a held one) is refused whole. */
int plan_make(struct plan *ret, const struct layout *running, const struct table *wanted,
              const struct plan_facts *facts);

void plan_clear(struct plan *plan);

const char *plan_action_name(enum plan_action action);

#endif
