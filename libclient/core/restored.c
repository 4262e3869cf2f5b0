/* SPDX-License-Identifier: Apache-2.0
 *
 * A value from before.
 */
#include "restored.h"

#include "futex.h"
#include "snapshot_parts.h"

void *restored_room(const struct snapshot *snapshot) {
    return buffer_data(buffer_at(snapshot, 0));
}

void restored_publish(const struct snapshot *snapshot, uint64_t bytes, uint64_t mono_ns,
                      uint64_t real_ns) {
    struct shm_buffer *buffer = buffer_at(snapshot, 0);
    shared_store_relaxed64(&buffer->len, bytes);
    shared_store_relaxed64(&buffer->mono_ns, mono_ns);
    shared_store_relaxed64(&buffer->real_ns, real_ns);
    /* The directory's flip, which makes the section visible, orders these before any reader. */
    shared_store_release64(&buffer->seq, 2);
    shared_store_release64(&snapshot->shared->head, UINT64_C(1) << SHM_HEAD_VERSION_SHIFT);
}

uint64_t snapshot_age(const struct snapshot_value *value) {
    if (value->mono_ns == 0)
        return UINT64_MAX;
    const uint64_t mono = clock_mono_ns();
    if (value->mono_ns != SHM_MONO_EARLIER_BOOT)
        return mono > value->mono_ns ? mono - value->mono_ns : 0;
    const uint64_t real = clock_real_ns();
    /* A clock that stands before it is wrong; but it was published before this boot. */
    return real > value->real_ns ? real - value->real_ns : mono;
}
