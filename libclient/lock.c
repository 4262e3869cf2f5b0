/* SPDX-License-Identifier: Apache-2.0
 *
 * A lock that a signal handler may try.  Taking it and saying who holds it is one compare-and-swap;
 * with a pthread mutex there is a moment between the two, in which a handler would wait for the
 * thread that it interrupted.  Without contention it costs no system call: each message that is
 * sent takes one.
 */
#include "client.h"

#include <pthread.h>

#define LOOK_AGAIN_NS UINT64_C(10000000)

/* What differs between two holders who follow one another is almost always here; if it isn't, the
 * waiter looks again soon. */
static const uint32_t *futex_of(const struct lock *lock) {
    return (const uint32_t *)(const void *)&lock->holder;
}

int lock_take(struct lock *lock) {
    const uint64_t self = (uint64_t)pthread_self();
    for (;;) {
        uint64_t holder = 0;
        if (__atomic_compare_exchange_n(&lock->holder, &holder, self, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            return 0;
        if (holder == self)
            return -EBUSY;
        __atomic_add_fetch(&lock->waiters, 1, __ATOMIC_SEQ_CST);
        futex_wait(futex_of(lock), (uint32_t)holder, clock_mono_ns() + LOOK_AGAIN_NS);
        __atomic_sub_fetch(&lock->waiters, 1, __ATOMIC_RELAXED);
    }
}

void lock_release(struct lock *lock) {
    /* Pairs with the waiter's increment: one of the two sees the other's store. */
    __atomic_exchange_n(&lock->holder, 0, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&lock->waiters, __ATOMIC_SEQ_CST) != 0)
        futex_wake(futex_of(lock));
}
