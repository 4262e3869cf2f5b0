/* SPDX-License-Identifier: Apache-2.0
 *
 * Finds a place for new sections, and for the directories: the second half of the planner.
 */
#ifndef SHM_CORE_PLACE_H
#define SHM_CORE_PLACE_H

#include "layout.h"

/* Places the sections at `slots` of `next` (sorted by id; filled in but for offset, ctl_off and
 * arena_index; a pinned one has its offset), and a directory that has become too small.
 *
 * Pinned ones come first, each in an arena of its own unless it lies within one of its owner's.
 * Then the directories.  Of the others each takes the first gap in its owner's arenas, and those
 * that find none get a new arena together.  `running` is what is in force: its directories, and
 * the space that it retired, are not overwritten by a directory that is not yet in force.
 *
 * 0; -ENOSPC: there is no room, `error` says for what; -ENOMEM. */
int place_sections(struct layout *next, const struct layout *running, const uint32_t *slots,
                   size_t n, char *error, size_t error_bytes);

#endif
