/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernel's futex calls, on words shared between processes, with absolute deadlines of
 * CLOCK_MONOTONIC.
 */
#ifndef SHM_CORE_FUTEX_H
#define SHM_CORE_FUTEX_H

#include <stdint.h>
#include <time.h>

#define FUTEX_WAIT_ANY_MAX 128u

struct futex_word {
    const uint32_t *word;
    uint32_t value; /* sleep only while the word has this value */
};

/* 0: woken, or the word had changed already; -ETIMEDOUT; -EINTR: a signal.  A deadline of
 * UINT64_MAX is for ever. */
int futex_wait(const uint32_t *word, uint32_t value, uint64_t deadline_ns);

/* As above, on up to FUTEX_WAIT_ANY_MAX words; where the kernel has no futex_waitv, or forbids it,
 * it sleeps on the first word for a few milliseconds at most and looks at all of them again. */
int futex_wait_any(const struct futex_word *words, unsigned n, uint64_t deadline_ns);

/* Wakes all; the number woken, or a negative errno. */
int futex_wake(const uint32_t *word);

/* A clock in nanoseconds; CLOCK_MONOTONIC and CLOCK_REALTIME have names of their own. */
uint64_t clock_read_ns(clockid_t clock);
uint64_t clock_mono_ns(void);
uint64_t clock_real_ns(void);

#endif
