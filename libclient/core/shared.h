/* SPDX-License-Identifier: Apache-2.0
 *
 * Every load and store of shared memory goes through here, and says its ordering.  A test build
 * (SHM_SHARED_HOOK) sees each access before it happens, so that the same code runs under a
 * simulator that decides who goes next and who dies.
 *
 * ThreadSanitizer does not know fences: in its builds the copies are word by word, with acquire
 * loads and release stores, and the fences are compiler barriers.
 */
#ifndef SHM_CORE_SHARED_H
#define SHM_CORE_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum shared_access { SHARED_LOAD, SHARED_STORE, SHARED_EXCHANGE, SHARED_FENCE };

#ifdef SHM_SHARED_HOOK
void shared_hook(enum shared_access access, const volatile void *address, size_t bytes);
#else
static inline void shared_hook(enum shared_access access, const volatile void *address,
                               size_t bytes) {
    (void)access;
    (void)address;
    (void)bytes;
}
#endif

#ifdef __SANITIZE_THREAD__
#define SHARED_WORDWISE 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SHARED_WORDWISE 1
#endif
#endif

/* Elsewhere (arm64) an exchange, also a sequentially consistent one, lets a later load of another
 * word pass its store. */
static inline void shared_exchanged(void) {
#ifndef __x86_64__
    __sync_synchronize();
#endif
}

#define SHARED_DEFINE(type, bits)                                                                  \
    static inline type shared_load_relaxed##bits(const type *from) {                               \
        shared_hook(SHARED_LOAD, from, sizeof *from);                                              \
        return __atomic_load_n(from, __ATOMIC_RELAXED);                                            \
    }                                                                                              \
    static inline type shared_load_acquire##bits(const type *from) {                               \
        shared_hook(SHARED_LOAD, from, sizeof *from);                                              \
        return __atomic_load_n(from, __ATOMIC_ACQUIRE);                                            \
    }                                                                                              \
    static inline void shared_store_relaxed##bits(type *to, type value) {                          \
        shared_hook(SHARED_STORE, to, sizeof *to);                                                 \
        __atomic_store_n(to, value, __ATOMIC_RELAXED);                                             \
    }                                                                                              \
    static inline void shared_store_release##bits(type *to, type value) {                          \
        shared_hook(SHARED_STORE, to, sizeof *to);                                                 \
        __atomic_store_n(to, value, __ATOMIC_RELEASE);                                             \
    }                                                                                              \
    /* A store and a full barrier behind it: on x86 one instruction. */                            \
    static inline type shared_exchange##bits(type *to, type value) {                               \
        shared_hook(SHARED_EXCHANGE, to, sizeof *to);                                              \
        const type before = __atomic_exchange_n(to, value, __ATOMIC_SEQ_CST);                      \
        shared_exchanged();                                                                        \
        return before;                                                                             \
    }                                                                                              \
    /* The same, if the word was *expected; else *expected is what it was. */                      \
    static inline bool shared_compare_exchange##bits(type *to, type *expected, type value) {       \
        shared_hook(SHARED_EXCHANGE, to, sizeof *to);                                              \
        const bool swapped = __atomic_compare_exchange_n(to, expected, value, false,               \
                                                         __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);      \
        shared_exchanged();                                                                        \
        return swapped;                                                                            \
    }

SHARED_DEFINE(uint32_t, 32)
SHARED_DEFINE(uint64_t, 64)
#undef SHARED_DEFINE

static inline void shared_fence_acquire(void) {
    shared_hook(SHARED_FENCE, NULL, 0);
#ifdef SHARED_WORDWISE
    __asm__ __volatile__("" ::: "memory");
#else
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
#endif
}

static inline void shared_fence_release(void) {
    shared_hook(SHARED_FENCE, NULL, 0);
#ifdef SHARED_WORDWISE
    __asm__ __volatile__("" ::: "memory");
#else
    __atomic_thread_fence(__ATOMIC_RELEASE);
#endif
}

/* Orders an earlier store before a later load.  A locked instruction on a line that is always here
 * does so in a third of mfence's time, and without waiting first, as an exchange of the stored word
 * would, until all earlier stores have reached the cache before it asks for that word's line. */
static inline void shared_fence_full(void) {
    shared_hook(SHARED_FENCE, NULL, 0);
#if defined(__x86_64__)
    __asm__ __volatile__("lock; orl $0, -8(%%rsp)" ::: "memory", "cc");
#elif defined(SHARED_WORDWISE)
    __sync_synchronize();
#else
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/* glibc copies large blocks with non-temporal stores, which a release fence does not order. */
static inline void shared_fence_nontemporal(void) {
#if defined(__x86_64__)
    __asm__ __volatile__("sfence" ::: "memory");
#endif
}

/* Will be read soon.  No access: the address may be anywhere. */
static inline void shared_prefetch(const void *at) {
    __builtin_prefetch(at);
}

/* Will be written soon. */
static inline void shared_prefetch_own(void *at) {
#if defined(__x86_64__)
    __asm__ __volatile__("prefetchw %0" : : "m"(*(volatile char *)at));
#else
    __builtin_prefetch(at, 1);
#endif
}

/* In a loop that waits for somebody's store. */
static inline void shared_relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

#ifdef SHARED_WORDWISE
static inline void shared_copy_words(void *to, const void *from, size_t bytes, bool store) {
    uint8_t *t = (uint8_t *)to;
    const uint8_t *f = (const uint8_t *)from;
    const uintptr_t shared = (uintptr_t)(store ? to : from);
    while (bytes > 0) {
        if (((shared + (size_t)(f - (const uint8_t *)from)) & 7) == 0 && bytes >= 8) {
            uint64_t word;
            if (store) {
                memcpy(&word, f, 8);
                __atomic_store_n((uint64_t *)(void *)t, word, __ATOMIC_RELEASE);
            } else {
                word = __atomic_load_n((const uint64_t *)(const void *)f, __ATOMIC_ACQUIRE);
                memcpy(t, &word, 8);
            }
            t += 8, f += 8, bytes -= 8;
        } else {
            if (store)
                __atomic_store_n(t, *f, __ATOMIC_RELEASE);
            else
                *t = __atomic_load_n(f, __ATOMIC_ACQUIRE);
            t++, f++, bytes--;
        }
    }
}
#endif

/* Copies out of shared memory that may change meanwhile: what was copied counts only once the
 * caller has found, behind an acquire fence, that it did not. */
static inline void shared_copy_from(void *to, const void *shared, size_t bytes) {
    shared_hook(SHARED_LOAD, shared, bytes);
#ifdef SHARED_WORDWISE
    shared_copy_words(to, shared, bytes, false);
#else
    memcpy(to, shared, bytes);
    __asm__ __volatile__("" ::: "memory"); /* the copy is made once, here */
#endif
}

/* Zeroes shared memory; the caller publishes it likewise. */
static inline void shared_clear(void *shared, size_t bytes) {
    shared_hook(SHARED_STORE, shared, bytes);
    memset(shared, 0, bytes);
    __asm__ __volatile__("" ::: "memory");
}

/* Copies into shared memory; the caller publishes it by a release store behind it. */
static inline void shared_copy_to(void *shared, const void *from, size_t bytes) {
    shared_hook(SHARED_STORE, shared, bytes);
#ifdef SHARED_WORDWISE
    shared_copy_words(shared, from, bytes, true);
#else
    memcpy(shared, from, bytes);
    __asm__ __volatile__("" ::: "memory");
#endif
}

#endif
