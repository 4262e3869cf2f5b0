/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of placing share: place.c finds the places, place_refuse.c says why there is none.
 */
#ifndef SHM_CORE_PLACE_PARTS_H
#define SHM_CORE_PLACE_PARTS_H

#include "layout.h"
#include "span.h"

/* spans.index of what is no arena */
#define SPAN_DIRECTORY SHM_NONE

struct placer {
    struct layout *next;
    const struct layout *running;
    struct spans taken;    /* arenas and directories */
    struct spans sections; /* within the arenas, a queue in its two */
    uint32_t hole;         /* no free arena record below */
    char *error;
    size_t error_bytes;
};

/* All write the error, and are -ENOSPC: there is no room of `bytes` for what `what` names, or for a
 * section; a pinned one would lie on another section, or on what else is `taken` (NULL: the
 * header).
 */
int place_refuse_room(const struct placer *placer, const char *what, uint64_t bytes);
int place_refuse_section(const struct placer *placer, const struct shm_section *section);
int place_refuse_taken(const struct placer *placer, const struct shm_section *section,
                       const struct shm_section *taken);
int place_refuse_pin(const struct placer *placer, const struct shm_section *section,
                     const struct span *taken);

#endif
