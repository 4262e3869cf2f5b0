/* SPDX-License-Identifier: Apache-2.0
 *
 * A section in two places, its writer and a reader of it.
 */
#ifndef SHM_TESTS_MOVE_FIXTURE_H
#define SHM_TESTS_MOVE_FIXTURE_H

#include "snapshot_fixture.h"
#include "unit.h"

#include <errno.h>
#include <string.h>

#define MOVE_SIZE 256u

static struct fixture old, new; /* the two places */
static struct snapshot_writer writer;
static struct snapshot_reader reader;
static struct snapshot_value about;
static uint64_t got[MOVE_SIZE / 8 * 4];

static inline void publish_as(struct snapshot_writer *as, uint64_t who, size_t bytes) {
    uint64_t value[MOVE_SIZE / 8 * 4];
    value_make(value, bytes, as->next, who);
    ck_assert_int_eq(snapshot_publish(as, value, bytes), 0);
}

static inline void publish(void) {
    publish_as(&writer, 1, 64);
}

/* A section with so many versions, of which a reader has seen the newest. */
static inline void begin(uint32_t count, unsigned versions) {
    fixture_make(&old, MOVE_SIZE, count, SHM_SECTION_STAMP_NONE);
    ck_assert_int_eq(snapshot_take_over(&writer, &old.snapshot, 1), 0);
    for (unsigned i = 0; i < versions; i++)
        publish();
}

/* The manager makes the new place, and readers look the section up again. */
static inline void start_move(uint64_t size, uint32_t count) {
    fixture_move(&new, &old, size, count);
    snapshot_reader_init(&reader, &new.snapshot);
}

static inline void end(void) {
    fixture_free(&new);
    fixture_free(&old);
}

static inline void expect_newest(uint64_t version, uint64_t who, bool before) {
    const ssize_t n = snapshot_read(&reader, got, sizeof got, &about);
    ck_assert_int_ge(n, 0);
    ck_assert_uint_eq(about.version, version);
    ck_assert_int_eq(about.before, before);
    ck_assert(value_whole(got, (size_t)n, version));
    ck_assert_uint_eq(got[1], who);
    ck_assert_uint_eq(snapshot_version(reader.snapshot), version);
}

static inline void expect_version(uint64_t version, uint64_t who, bool before) {
    const ssize_t n = snapshot_read_version(&reader, version, got, sizeof got, &about);
    ck_assert_int_ge(n, 0);
    ck_assert_uint_eq(about.version, version);
    ck_assert_int_eq(about.before, before);
    ck_assert(value_whole(got, (size_t)n, version));
    ck_assert_uint_eq(got[1], who);
}

static inline ssize_t try_version(uint64_t version) {
    return snapshot_read_version(&reader, version, got, sizeof got, &about);
}

static struct shm_buffer *buffer_of(const struct fixture *fixture, uint32_t index) {
    const struct snapshot *snapshot = &fixture->snapshot;
    return (struct shm_buffer *)(void *)(snapshot->buffers + index * snapshot->stride);
}

/* What a writer leaves that dies before its head: its version's sequence, finished or not. */
static inline void leave_behind(const struct fixture *fixture, uint32_t index, uint64_t seq) {
    struct shm_buffer *buffer = buffer_of(fixture, index);
    buffer->seq = seq;
    buffer->len = 64;
    value_make((uint64_t *)(void *)(buffer + 1), 64, (seq + 1) / 2, 66);
}

#endif
