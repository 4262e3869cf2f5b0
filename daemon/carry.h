/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots and queues that go to another place with an edit: whoever is attached may grab, send or
 * receive at that very moment.  So what is free there is sealed first; who meets a seal looks the
 * section up again.  If somebody was quicker, or the edit fails, it is unsealed; so it is by the
 * next manager, if this one ends in between.
 */
#ifndef SHM_DAEMON_CARRY_H
#define SHM_DAEMON_CARRY_H

#include "segment.h"

/* The attachment of one who is in it and lives; 0: nobody.  Who writes shared slots and shared raw
 * sections can't be told. */
uint32_t carry_entered(const struct segment *segment, const struct shm_section *section);

/* Messages that are in a queue; or the longest value in the first `count` slots. */
uint64_t carry_messages(const struct segment *segment, const struct shm_section *section);
uint64_t carry_longest(const struct segment *segment, const struct shm_section *section,
                       uint32_t count);

/* A section of a kind that both have, from a place that the memory is mapped of to a fresh one.
 * `whole`: they are divided likewise, and all is as it was; else what slots hold goes with their
 * index, and a queue is empty.  -EBUSY and why: somebody has got in; not with `force`, which leaves
 * him there. */
struct carry {
    struct segment *from;
    const struct segment *to;
    void *memory_from, *memory_to;
    const struct shm_section *section_from, *section_to;
    bool whole, force;
};
int carry_section(const struct carry *carry, char *error, size_t error_bytes);

/* The edit failed, or this manager has just started: all that is in force is anybody's. */
void carry_undo(struct segment *segment, const struct layout *layout);

/* It is in force: nobody receives where a queue was that was left with it. */
void carry_done(struct segment *segment, const struct layout *layout);

/* The same of a segment that another one has taken the place of. */
void carry_done_all(struct segment *segment, const struct layout *layout);

#endif
