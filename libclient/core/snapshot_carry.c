/* SPDX-License-Identifier: Apache-2.0
 *
 * The manager's part, with nobody there to publish: in a move it brings the newest value along, and
 * where somebody wrote over the head it finds out which that is.
 */
#include "snapshot_parts.h"

#include <errno.h>

#define TRIES 100 /* copies of a value whose writer doesn't stop, though it was told to */

/* As a publish, under the value's own version and times. */
static void put(const struct snapshot *snapshot, const struct snapshot_value *value,
                const void *data) {
    struct shm_buffer *buffer = buffer_at(snapshot, 0);
    shared_store_relaxed64(&buffer->seq, 2 * value->version - 1);
    shared_fence_release();
    shared_fence_nontemporal();
    shared_copy_to(buffer_data(buffer), data, value->length);
    shared_fence_nontemporal();
    shared_store_relaxed64(&buffer->len, value->length);
    shared_store_relaxed64(&buffer->mono_ns, value->mono_ns);
    shared_store_relaxed64(&buffer->real_ns, value->real_ns);
    shared_store_relaxed32(&buffer->epoch, value->epoch);
    shared_store_relaxed32(&buffer->crc, 0);
    shared_store_release64(&buffer->seq, 2 * value->version);
}

static void carry_counters(const struct snapshot *snapshot) {
    const struct shm_snapshot *from = snapshot->before->shared;
    struct shm_snapshot *to = snapshot->shared;
    shared_store_relaxed64(&to->epoch, shared_load_relaxed64(&from->epoch));
    shared_store_relaxed64(&to->aborted, shared_load_relaxed64(&from->aborted));
    shared_store_relaxed64(&to->wakes, shared_load_relaxed64(&from->wakes));
    shared_store_relaxed64(&to->wake_errors, shared_load_relaxed64(&from->wake_errors));
}

/* What a writer that died before its first publish here left in the buffers stays: its versions are
 * beyond this one, where nobody looks, and its successor zeroes them. */
int snapshot_carry(struct snapshot *snapshot) {
    struct snapshot_reader reader;
    struct snapshot_value value;
    const void *data;
    if (head_version(shared_load_acquire64(&snapshot->shared->head)) != 0)
        return 0;
    snapshot_reader_init(&reader, snapshot->before);
    carry_counters(snapshot);
    for (int try = 0; try < TRIES; try++) {
        int r = snapshot_view(&reader, &data, &value);
        if (r < 0)
            return r == -ENODATA ? 0 : -EBADMSG;
        if (value.length > snapshot->room)
            return -EMSGSIZE;
        /* Pairs with a reader's load of the head: until now it was 0, and the place before counted.
         */
        const uint64_t head = value.version << SHM_HEAD_VERSION_SHIFT;
        if (MUTANT(CARRY_HEAD_EARLY))
            shared_store_release64(&snapshot->shared->head, head);
        put(snapshot, &value, data);
        if (!snapshot_valid(&reader, &value))
            continue;
        STEP(CARRY_HEAD_EARLY, shared_store_release64(&snapshot->shared->head, head));
        return 0;
    }
    return -EBADMSG;
}

/* One store, which readers may come before or behind.  A value that was finished and not published
 * counts as published with it: the next writer goes on from this head. */
bool snapshot_mend(struct snapshot *place, uint64_t *version) {
    uint32_t holder = 0;
    *version = 0;
    if (head_sane(shared_load_relaxed64(&place->shared->head), place->count))
        return false;
    for (uint32_t i = 0; i < place->count; i++) {
        const struct shm_buffer *buffer = buffer_at(place, i);
        const uint64_t seq = shared_load_relaxed64(&buffer->seq);
        if (seq % 2 != 0 || seq / 2 > SHM_VERSION_MAX / 2 || seq / 2 <= *version ||
            shared_load_relaxed64(&buffer->len) > place->room)
            continue;
        *version = seq / 2;
        holder = i;
    }
    shared_store_release64(&place->shared->head, (uint64_t)holder << SHM_HEAD_BUFFER_SHIFT |
                                                     *version << SHM_HEAD_VERSION_SHIFT);
    return true;
}
