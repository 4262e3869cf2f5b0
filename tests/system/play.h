/* SPDX-License-Identifier: Apache-2.0
 *
 * What the processes of a play with values need: the clock, random numbers that a seed repeats, and
 * values whose every word is known.
 */
#ifndef SHM_TESTS_PLAY_H
#define SHM_TESTS_PLAY_H

#include "let_others.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

static inline uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

/* A process's own random numbers. */
static inline uint64_t random_next(uint64_t *state) {
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* Words of one value differ, and so do words of one index. */
static inline uint64_t value_word(uint64_t key, size_t i) {
    return (key ^ i) * UINT64_C(0x9e3779b97f4a7c15) + i;
}

static inline void words_fill(uint64_t *to, size_t from, size_t words, uint64_t key) {
    for (size_t i = from; i < words; i++)
        to[i] = value_word(key, i);
}

/* Are they, from `from` on, that key's?  If not, `what` is where they aren't.  The loads are atomic
 * as the value may stand where it is written. */
static inline bool words_right(const uint64_t *value, size_t from, size_t words, uint64_t key,
                               char what[128]) {
    for (size_t i = from; i < words; i++) {
        const uint64_t is = __atomic_load_n(&value[i], __ATOMIC_RELAXED);
        if (is != value_word(key, i)) {
            snprintf(what, 128, "word %zu of %zu is %016llx, not %016llx", i, words,
                     (unsigned long long)is, (unsigned long long)value_word(key, i));
            return false;
        }
    }
    return true;
}

#endif
