/* SPDX-License-Identifier: Apache-2.0
 *
 * The futex calls.  None is of the private sort: the words are shared between processes, and
 * sleeping on one needs no more than a read-only mapping of it.
 */
#include "futex.h"

#include "shared.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FALLBACK_NS UINT64_C(4000000)

uint64_t clock_read_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t clock_mono_ns(void) {
    return clock_read_ns(CLOCK_MONOTONIC);
}

uint64_t clock_real_ns(void) {
    return clock_read_ns(CLOCK_REALTIME);
}

static struct timespec timespec_of(uint64_t ns) {
    return (struct timespec){
        .tv_sec = (time_t)(ns / 1000000000),
        .tv_nsec = (long)(ns % 1000000000),
    };
}

int futex_wait(const uint32_t *word, uint32_t value, uint64_t deadline_ns) {
    const struct timespec deadline = timespec_of(deadline_ns);
    /* The bitset form is the one that takes an absolute deadline. */
    if (syscall(SYS_futex, word, FUTEX_WAIT_BITSET, value, &deadline, NULL,
                FUTEX_BITSET_MATCH_ANY) == 0 ||
        errno == EAGAIN)
        return 0;
    return -errno;
}

static int waitv(const struct futex_word *words, unsigned n, uint64_t deadline_ns) {
#ifdef SYS_futex_waitv
    struct futex_waitv vector[FUTEX_WAIT_ANY_MAX];
    for (unsigned i = 0; i < n; i++)
        vector[i] = (struct futex_waitv){
            .val = words[i].value,
            .uaddr = (uintptr_t)words[i].word,
            .flags = FUTEX_32,
        };
    const struct timespec deadline = timespec_of(deadline_ns);
    if (syscall(SYS_futex_waitv, vector, n, 0, &deadline, CLOCK_MONOTONIC) >= 0 || errno == EAGAIN)
        return 0;
    return -errno;
#else
    (void)words, (void)n, (void)deadline_ns;
    return -ENOSYS;
#endif
}

static int wait_in_turn(const struct futex_word *words, unsigned n, uint64_t deadline_ns) {
    for (;;) {
        for (unsigned i = 0; i < n; i++)
            if (shared_load_acquire32(words[i].word) != words[i].value)
                return 0;
        const uint64_t next = clock_mono_ns() + FALLBACK_NS;
        const int r =
            futex_wait(words[0].word, words[0].value, next < deadline_ns ? next : deadline_ns);
        if (r != -ETIMEDOUT || next >= deadline_ns)
            return r;
    }
}

int futex_wait_any(const struct futex_word *words, unsigned n, uint64_t deadline_ns) {
    if (n == 0 || n > FUTEX_WAIT_ANY_MAX)
        return -EINVAL;
    const int r = waitv(words, n, deadline_ns);
    /* Kernels before 5.16 don't know the call, and containers forbid what their list lacks. */
    return r == -ENOSYS || r == -EPERM ? wait_in_turn(words, n, deadline_ns) : r;
}

int futex_wake(const uint32_t *word) {
    const long n = syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    return n < 0 ? -errno : (int)n;
}
