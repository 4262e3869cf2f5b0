/* SPDX-License-Identifier: Apache-2.0
 *
 * A word of this process's own, which one thread or signal handler at a time takes from one state
 * to another, and which nobody waits for: who finds it taken gives up with -EBUSY.  Private memory,
 * so not by shared.h.
 */
#ifndef SHM_CORE_BUSY_H
#define SHM_CORE_BUSY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/single_threaded.h>

/* Acquire and release hand what the word guards on from one thread to the next.  As long as there
 * is one thread only, nobody but a signal handler can come between the load and the store, and it
 * is through before the store: no need for the 7 ns of an exchange. */
static inline bool busy_enter(uint32_t *word, uint32_t from, uint32_t to) {
    if (!__libc_single_threaded)
        return __atomic_compare_exchange_n(word, &from, to, false, __ATOMIC_ACQUIRE,
                                           __ATOMIC_RELAXED);
    if (__atomic_load_n(word, __ATOMIC_RELAXED) != from)
        return false;
    __atomic_store_n(word, to, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_ACQUIRE);
    return true;
}

static inline void busy_leave(uint32_t *word, uint32_t to) {
    __atomic_store_n(word, to, __ATOMIC_RELEASE);
}

#endif
