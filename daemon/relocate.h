/* SPDX-License-Identifier: Apache-2.0
 *
 * Values that go to another place with an edit, or to fresh memory at the same place.
 */
#ifndef SHM_DAEMON_RELOCATE_H
#define SHM_DAEMON_RELOCATE_H

#include "segment.h"

/* Maps the memory of arenas that have another incarnation in `next`, before it is replaced. */
int relocate_begin(const struct segment *segment, const struct layout *running,
                   const struct layout *next, struct relocation **ret, char *error,
                   size_t error_bytes);

/* Copies what stands elsewhere in `next`, and isn't left to its writer (MOVING), from where it
 * stands.  A value that can't be had whole is none: its section begins anew, which `next` says
 * then.  -EINVAL: one is larger than its new place takes; -EBUSY: somebody is in slots or a queue.
 */
int relocate_copy(struct segment *segment, const struct layout *running, struct layout *next,
                  const struct relocation *left, char *error, size_t error_bytes);

/* Copies what a segment's successor lists under the same incarnation, whoever writes it.  As above;
 * `next` has its sections in the order of their ids. */
int relocate_succeed(struct segment *from, const struct segment *to, const struct layout *running,
                     struct layout *next, char *error, size_t error_bytes);

#endif
