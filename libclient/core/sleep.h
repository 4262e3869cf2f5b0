/* SPDX-License-Identifier: Apache-2.0
 *
 * What all sleepers on shared memory have in common, whatever they wait for.  Every sleep is
 * bounded: doorbells and futexes can be played with by whoever may attach, and that may cost a
 * sleeper time, but never more than the bound.
 */
#ifndef SHM_CORE_SLEEP_H
#define SHM_CORE_SLEEP_H

#include "barrier.h"
#include "futex.h"
#include "mutant.h"
#include "shared.h"

#include <shm-manager/layout.h>

#define SLEEP_BOUND_NS (SHM_SLEEP_BOUND_MS * UINT64_C(1000000))
#define SLEEP_SPINS    64u /* between two looks at the clock, which costs as much as these */

static inline uint64_t sleep_earlier(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* Between ringing and looking: a full barrier here and in whoever may store what is looked for, so
 * that one of the two sees the other's store.  False: only those hear it that have barriers of
 * their own. */
static inline bool sleep_heard(void) {
    if (MUTANT(RINGS_UNORDERED))
        return true;
    if (barrier_everywhere())
        return true;
    shared_fence_full(); /* reaches the writers that have barriers of their own */
    return MUTANT(TRUSTS_UNHEARD);
}

/* Somebody plays with the futex: a sleep that he can't end.  False: a signal did. */
static inline bool sleep_plainly(uint64_t until_ns) {
    const struct timespec until = {
        .tv_sec = (time_t)(until_ns / 1000000000),
        .tv_nsec = (long)(until_ns % 1000000000),
    };
    return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == 0;
}

#endif
