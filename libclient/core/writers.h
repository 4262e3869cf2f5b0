/* SPDX-License-Identifier: Apache-2.0
 *
 * Whose attachment may write an arena?  The manager asks before it hands out a writable descriptor;
 * the library before it asks the manager, and under System V instead of that.
 */
#ifndef SHM_CORE_WRITERS_H
#define SHM_CORE_WRITERS_H

#include <shm-manager/layout.h>
#include <stdbool.h>

/* Who would write: by the worker that he is, if any, and by his groups. */
struct writers_who {
    uint32_t worker;  /* its record; SHM_NONE: he has no name */
    const char *name; /* of that record, with its instance; "" */
    bool in_class;    /* of the arena's write_class, which is 0 or a group of his */
};

/* `owner` is the name of the record arena->owner_index; "": it isn't known. */
bool writers_allow(const struct shm_arena *arena, const char *owner, const struct writers_who *who);

/* Are both instances of one worker, or the same? */
bool writers_same_worker(const char *a, const char *b);

#endif
