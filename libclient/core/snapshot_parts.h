/* SPDX-License-Identifier: Apache-2.0
 *
 * What the snapshot's writer, reader and waiter share: where things stand, and what the head says.
 */
#ifndef SHM_CORE_SNAPSHOT_PARTS_H
#define SHM_CORE_SNAPSHOT_PARTS_H

#include "mutant.h"
#include "shared.h"
#include "snapshot.h"

static inline uint64_t head_version(uint64_t head) {
    return (head >> SHM_HEAD_VERSION_SHIFT) & SHM_VERSION_MAX;
}

static inline uint32_t head_buffer(uint64_t head) {
    return (uint32_t)(head >> SHM_HEAD_BUFFER_SHIFT);
}

/* No writer lives to count beyond half of all versions. */
static inline bool head_sane(uint64_t head, uint32_t count) {
    return head_version(head) <= SHM_VERSION_MAX / 2 &&
           (head_version(head) == 0 || head_buffer(head) < count);
}

static inline struct shm_buffer *buffer_at(const struct snapshot *snapshot, uint32_t index) {
    return (struct shm_buffer *)(void *)(snapshot->buffers + index * snapshot->stride);
}

static inline uint8_t *buffer_data(struct shm_buffer *buffer) {
    return (uint8_t *)buffer + SHM_LINE;
}

/* Where the newest value stands: in the place before, until something was published in this one.
 * Relaxed: whoever goes by what this says loads the head of that place again, with acquire, and a
 * head that was seen to be set stays so. */
static inline const struct snapshot *place_of(const struct snapshot *snapshot) {
    if (__builtin_expect(snapshot->before == NULL, true) || MUTANT(NEW_AT_ZERO))
        return snapshot;
    return head_version(shared_load_relaxed64(&snapshot->shared->head)) == 0 ? snapshot->before
                                                                             : snapshot;
}

/* Lines beyond the first come as fast as the copy asks for them. */
#define SNAPSHOT_FETCH_MAX ((size_t)4096) /* by a reader, of what it is about to copy */
#define SNAPSHOT_OWN_MAX   ((size_t)1024) /* by the writer, of what it fills next */

/* Asks for the header and the first lines of a value at once.  Without, the copy begins when the
 * header has come from the writer's core and said how long the value is. */
static inline void buffer_fetch(const struct shm_buffer *buffer, size_t bytes) {
    const size_t end = sizeof *buffer + (bytes < SNAPSHOT_FETCH_MAX ? bytes : SNAPSHOT_FETCH_MAX);
    for (size_t at = 0; at < end; at += SHM_LINE)
        shared_prefetch((const uint8_t *)buffer + at);
}

#endif
