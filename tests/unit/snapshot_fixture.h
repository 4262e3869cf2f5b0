/* SPDX-License-Identifier: Apache-2.0
 *
 * What the snapshot's tests share: a section with its doorbell in memory that threads and forked
 * processes see, and values that say themselves whether they are whole.
 */
#ifndef SHM_TESTS_SNAPSHOT_FIXTURE_H
#define SHM_TESTS_SNAPSHOT_FIXTURE_H

#include "core/futex.h"
#include "core/shared.h"
#include "core/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

struct fixture {
    struct shm_section section;
    struct snapshot snapshot;
    void *memory;
    size_t bytes; /* of `memory`, the doorbell behind the section included */
};

static inline void fixture_fail(const char *what) {
    fprintf(stderr, "snapshot fixture: %s\n", what);
    abort();
}

/* Binds `ret` to a section at `memory`, whose doorbell stands behind it. */
static inline void fixture_bind(struct fixture *ret, void *memory) {
    const char *field = NULL;
    struct shm_bell *bell = (void *)((uint8_t *)memory + ret->section.bytes);
    ret->memory = memory;
    if (snapshot_bind(&ret->snapshot, memory, &ret->section, bell, &field) < 0)
        fixture_fail(field);
}

static inline void fixture_make(struct fixture *ret, uint64_t size, uint32_t count,
                                uint32_t flags) {
    const uint64_t stride = SHM_LINE + (size + SHM_LINE - 1) / SHM_LINE * SHM_LINE;
    *ret = (struct fixture){
        .section = {.section_id = 7,
                    .incarnation = 3,
                    .bytes = sizeof(struct shm_snapshot) + count * stride,
                    .size = size,
                    .count = count,
                    .kind = SHM_KIND_SNAPSHOT,
                    .state = SHM_PLACE_LIVE,
                    .flags = flags,
                    .bell_index = 5},
    };
    ret->bytes = ret->section.bytes + sizeof(struct shm_bell);
    void *memory =
        mmap(NULL, ret->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        fixture_fail("no memory");
    snapshot_format(memory, &ret->section);
    fixture_bind(ret, memory);
}

/* `ret` is the place that the section of `from` moves to, with the same doorbell. */
static inline void fixture_move(struct fixture *ret, const struct fixture *from, uint64_t size,
                                uint32_t count) {
    fixture_make(ret, size, count, from->snapshot.flags);
    ret->snapshot.bell = from->snapshot.bell;
    ret->snapshot.before = &from->snapshot;
}

static inline void fixture_free(struct fixture *fixture) {
    munmap(fixture->memory, fixture->bytes);
}

/* ---- values: version, who wrote it, length, and words that follow from these */

#define VALUE_LEAST 24u

static inline uint64_t value_word(uint64_t version, uint64_t who, uint64_t i) {
    uint64_t x = version * UINT64_C(0x9e3779b97f4a7c15) + who * UINT64_C(0xd1342543de82ef95) + i;
    x ^= x >> 31;
    return x * UINT64_C(0xbf58476d1ce4e5b9);
}

/* `bytes` is a multiple of 8. */
static inline void value_make(uint64_t *to, size_t bytes, uint64_t version, uint64_t who) {
    to[0] = version;
    to[1] = who;
    to[2] = bytes;
    for (size_t i = 3; i < bytes / 8; i++)
        to[i] = value_word(version, who, i);
}

/* As if version `base` had been published, by writer 0. */
static inline void fixture_put_base(const struct fixture *fixture, uint64_t base) {
    struct shm_buffer *buffer = (void *)fixture->snapshot.buffers;
    buffer->len = VALUE_LEAST;
    value_make((uint64_t *)(void *)(buffer + 1), buffer->len, base, 0);
    buffer->seq = 2 * base;
    fixture->snapshot.shared->head = base << SHM_HEAD_VERSION_SHIFT;
}

/* Atomic loads, as the value may stand in shared memory that is being written. */
static inline uint64_t value_at(const uint64_t *value, size_t i) {
    return __atomic_load_n(&value[i], __ATOMIC_ACQUIRE);
}

static inline bool value_whole(const uint64_t *value, size_t bytes, uint64_t version) {
    if (bytes < VALUE_LEAST || bytes % 8 != 0)
        return false;
    const uint64_t who = value_at(value, 1);
    if (value_at(value, 0) != version || value_at(value, 2) != bytes)
        return false;
    for (size_t i = 3; i < bytes / 8; i++)
        if (value_at(value, i) != value_word(version, who, i))
            return false;
    return true;
}

#endif
