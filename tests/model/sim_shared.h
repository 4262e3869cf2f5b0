/* SPDX-License-Identifier: Apache-2.0
 *
 * The core's shared memory under the simulator: the functions of core/shared.h, with the same names
 * and meanings.  It is included on the command line, ahead of the sources, whose own include of
 * core/shared.h then finds its guard defined: what is tested is the text that ships.
 */
#ifndef SHM_CORE_SHARED_H
#define SHM_CORE_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

/* sim_memory.c */
enum memory_order { RELAXED, ACQUIRE, RELEASE, FULL };
uint64_t memory_load(const void *at, size_t bytes, enum memory_order order);
void memory_store(void *at, uint64_t value, size_t bytes, enum memory_order order);
uint64_t memory_exchange(void *at, uint64_t value, size_t bytes);
bool memory_compare_exchange(void *at, uint64_t *expected, uint64_t value, size_t bytes);
void memory_fence(enum memory_order order);
void memory_copy_from(void *to, const void *at, size_t bytes);
void memory_copy_to(void *at, const void *from, size_t bytes);
void memory_clear(void *at, size_t bytes);

#define SHARED_DEFINE(type, bits)                                                                  \
    static inline type shared_load_relaxed##bits(const type *from) {                               \
        return (type)memory_load(from, sizeof *from, RELAXED);                                     \
    }                                                                                              \
    static inline type shared_load_acquire##bits(const type *from) {                               \
        return (type)memory_load(from, sizeof *from, ACQUIRE);                                     \
    }                                                                                              \
    static inline void shared_store_relaxed##bits(type *to, type value) {                          \
        memory_store(to, value, sizeof *to, RELAXED);                                              \
    }                                                                                              \
    static inline void shared_store_release##bits(type *to, type value) {                          \
        memory_store(to, value, sizeof *to, RELEASE);                                              \
    }                                                                                              \
    static inline type shared_exchange##bits(type *to, type value) {                               \
        return (type)memory_exchange(to, value, sizeof *to);                                       \
    }                                                                                              \
    static inline bool shared_compare_exchange##bits(type *to, type *expected, type value) {       \
        uint64_t found = *expected;                                                                \
        const bool done = memory_compare_exchange(to, &found, value, sizeof *to);                  \
        *expected = (type)found;                                                                   \
        return done;                                                                               \
    }

SHARED_DEFINE(uint32_t, 32)
SHARED_DEFINE(uint64_t, 64)
#undef SHARED_DEFINE

static inline void shared_fence_acquire(void) {
    memory_fence(ACQUIRE);
}

static inline void shared_fence_release(void) {
    memory_fence(RELEASE);
}

static inline void shared_fence_full(void) {
    memory_fence(FULL);
}

/* The simulated copies are made with ordinary stores. */
static inline void shared_fence_nontemporal(void) {
}

static inline void shared_relax(void) {
}

static inline void shared_prefetch_own(const void *shared) {
    (void)shared;
}

static inline void shared_prefetch(const void *shared) {
    (void)shared;
}

static inline void shared_copy_from(void *to, const void *shared, size_t bytes) {
    memory_copy_from(to, shared, bytes);
}

static inline void shared_copy_to(void *shared, const void *from, size_t bytes) {
    memory_copy_to(shared, from, bytes);
}

static inline void shared_clear(void *shared, size_t bytes) {
    memory_clear(shared, bytes);
}

/* The one call of the kernel's that the core makes beside futex.c. */
int sim_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *rest);
#define clock_nanosleep sim_nanosleep

#endif
