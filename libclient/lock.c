/* SPDX-License-Identifier: Apache-2.0
 *
 * A lock that a signal handler may try.  Taking it and saying who holds it is one compare-and-swap;
 * with a pthread mutex there is a moment between the two, in which a handler would wait for the
 * thread that it interrupted.
 */
#include "client.h"

#include <unistd.h>

#define LOOK_AGAIN_NS UINT64_C(10000000)

int lock_take(struct lock *lock) {
    uint32_t self = (uint32_t)gettid();
    for (;;) {
        uint32_t holder = 0;
        if (__atomic_compare_exchange_n(&lock->holder, &holder, self, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            return 0;
        if (holder == self)
            return -EBUSY;
        futex_wait(&lock->holder, holder, clock_mono_ns() + LOOK_AGAIN_NS);
    }
}

void lock_release(struct lock *lock) {
    __atomic_store_n(&lock->holder, 0, __ATOMIC_RELEASE);
    futex_wake(&lock->holder);
}
