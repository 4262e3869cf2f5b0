/* SPDX-License-Identifier: Apache-2.0
 *
 * What a value's writer stores, of whatever kind the section is: bytes and times.  The caller
 * publishes them behind it.
 */
#ifndef SHM_CORE_STORED_H
#define SHM_CORE_STORED_H

#include "futex.h"
#include "shared.h"

#include <shm-manager/layout.h>

/* From this size on glibc may copy with non-temporal stores (its tunable's least value is 16 KiB).
 * Those pass a release fence, so the large copies pay for a store fence at either end. */
#define STORED_NONTEMPORAL_MIN (UINT64_C(16) << 10)

static inline void stored_bytes(void *to, const void *from, size_t bytes) {
    if (bytes >= STORED_NONTEMPORAL_MIN)
        shared_fence_nontemporal();
    if (bytes > 0)
        shared_copy_to(to, from, bytes);
    if (bytes >= STORED_NONTEMPORAL_MIN)
        shared_fence_nontemporal();
}

/* A clock as the section's `stamp` asks for it. */
static inline uint64_t stored_time(uint32_t flags, clockid_t precise, clockid_t coarse) {
    if ((flags & SHM_SECTION_STAMP_NONE) != 0)
        return 0;
    return clock_read_ns((flags & SHM_SECTION_STAMP_COARSE) != 0 ? coarse : precise);
}

static inline void stored_times(uint32_t flags, uint64_t *mono_ns, uint64_t *real_ns) {
    shared_store_relaxed64(mono_ns, stored_time(flags, CLOCK_MONOTONIC, CLOCK_MONOTONIC_COARSE));
    shared_store_relaxed64(real_ns, stored_time(flags, CLOCK_REALTIME, CLOCK_REALTIME_COARSE));
}

#endif
