/* SPDX-License-Identifier: Apache-2.0
 *
 * How the memory of a slots section and of a queue is divided, from the table's size and count; and
 * making it anew.  Both are constants of an incarnation: other ones are another place.
 */
#ifndef SHM_CORE_GEOMETRY_H
#define SHM_CORE_GEOMETRY_H

#include <shm-manager/layout.h>
#include <stdbool.h>

#define GEOMETRY_RECORDS_MIN 16u
#define GEOMETRY_RECORDS_MAX 65536u

struct slots_geometry {
    uint64_t buffer_bytes; /* of one of an item's two buffers; shared: of its only one */
    uint64_t stride;
    uint64_t bytes; /* of all, the control line included */
};

/* `size` is the table's, of one item.  False: it overflows, or is no size or count. */
bool slots_geometry(struct slots_geometry *ret, uint64_t size, uint32_t count, bool shared);

struct queue_geometry {
    uint32_t records; /* of a lane, a power of two */
    uint32_t
        max_message; /* half the payload's ring: a longer one might never find it in one piece */
    uint64_t data_bytes;    /* the payload's ring */
    uint64_t stride;        /* from lane to lane */
    uint64_t lanes_bytes;   /* control line and lanes, in whole pages */
    uint64_t claims_stride; /* from one lane's claims to the next one's */
    uint64_t claims_bytes;  /* in whole pages; they begin behind the lanes */
    uint64_t bytes;         /* of all */
};

/* `size` is the table's, of one lane's payload, `count` the lanes. */
bool queue_geometry(struct queue_geometry *ret, uint64_t size, uint32_t count);

/* Writes the constants of a section whose memory, from `memory` (its control line) on, is all
 * zeroes: kind, size, count, flags, bell_index, section_id and incarnation count.  The section is
 * published afterwards. */
void slots_format(void *memory, const struct shm_section *section);
void queue_format(void *memory, const struct shm_section *section);

/* The same for a section of any kind. */
void geometry_format(void *memory, const struct shm_section *section);

/* Copies a section's control line, and says what of it is wrong (its field), or NULL: it is what
 * slots_format() or queue_format() wrote. */
const char *geometry_damage(const void *memory, const struct shm_section *section);

/* The same of a queue's lane; its own line alone. */
const char *geometry_lane_damage(const struct shm_lane *lane, uint32_t index,
                                 const struct shm_section *section);

/* Writes damaged constants again, and nothing else; how many lines they were. */
unsigned geometry_mend(void *memory, const struct shm_section *section);

#endif
