/* SPDX-License-Identifier: Apache-2.0
 *
 * A head that somebody wrote over while nobody held the section: the manager finds the newest whole
 * value again, readers beside it see that or none, and a successor goes on from there.
 */
#include "snapshot_fixture.h"
#include "unit.h"

#include <errno.h>
#include <pthread.h>

#define SIZE  256u
#define COUNT 4u

static struct fixture fixture;
static struct snapshot_writer writer;
static struct snapshot_reader reader;
static uint64_t value[SIZE / 8];

static const uint64_t nonsense[] = {UINT64_MAX, UINT64_C(4) << SHM_HEAD_BUFFER_SHIFT | 2,
                                    SHM_VERSION_MAX << SHM_HEAD_VERSION_SHIFT};

static struct shm_snapshot *shared(void) {
    return fixture.snapshot.shared;
}

static struct shm_buffer *buffer(uint32_t index) {
    return (void *)(fixture.snapshot.buffers + index * fixture.snapshot.stride);
}

static struct shm_buffer *buffer_with(uint64_t version) {
    for (uint32_t i = 0; i < COUNT; i++)
        if (buffer(i)->seq == 2 * version)
            return buffer(i);
    ck_abort_msg("no buffer has version %lu", version);
}

static void publish(uint64_t version, uint64_t who) {
    value_make(value, SIZE, version, who);
    ck_assert_int_eq(snapshot_publish(&writer, value, SIZE), 0);
}

/* Versions 1 to `newest` by writer 1, and then the head is `head`. */
static void begin(uint64_t newest, uint64_t head) {
    fixture_make(&fixture, SIZE, COUNT, 0);
    snapshot_reader_init(&reader, &fixture.snapshot);
    ck_assert_int_eq(snapshot_take_over(&writer, &fixture.snapshot, 1), 0);
    for (uint64_t version = 1; version <= newest; version++)
        publish(version, 1);
    shared()->head = head;
}

static void expect_newest(uint64_t version) {
    struct snapshot_value about;
    const ssize_t n = snapshot_read(&reader, value, sizeof value, &about);
    if (version == 0) {
        ck_assert_int_eq(n, -ENODATA);
        return;
    }
    ck_assert_int_eq(n, SIZE);
    ck_assert_uint_eq(about.version, version);
    ck_assert(value_whole(value, SIZE, version));
}

/* It is mended to `version`, once, and the next writer publishes the one behind that. */
static void expect_mended(uint64_t version) {
    uint64_t found = 99;
    ck_assert_int_eq(snapshot_read(&reader, value, sizeof value, NULL), -EBADMSG);
    ck_assert_int_eq(snapshot_take_over(&writer, &fixture.snapshot, 2), -EBADMSG);
    ck_assert(snapshot_mend(&fixture.snapshot, &found));
    ck_assert_uint_eq(found, version);
    ck_assert(!snapshot_mend(&fixture.snapshot, &found));
    expect_newest(version);
    ck_assert_int_eq(snapshot_take_over(&writer, &fixture.snapshot, 2), 0);
    expect_newest(version);
    publish(version + 1, 2);
    expect_newest(version + 1);
    if (version > 0)
        ck_assert_int_eq(snapshot_read_version(&reader, version, value, sizeof value, NULL), SIZE);
    ck_assert_int_eq(snapshot_read_version(&reader, version + 2, value, sizeof value, NULL),
                     -ENODATA);
    fixture_free(&fixture);
}

START_TEST(what_makes_sense_stays) {
    uint64_t version;
    for (uint64_t newest = 0; newest < 9; newest++) {
        begin(newest, 0);
        const uint64_t head = newest == 0 ? 0
                                          : (uint64_t)writer.current << SHM_HEAD_BUFFER_SHIFT |
                                                newest << SHM_HEAD_VERSION_SHIFT;
        shared()->head = head;
        ck_assert(!snapshot_mend(&fixture.snapshot, &version));
        ck_assert_uint_eq(shared()->head, head);
        fixture_free(&fixture);
    }
}
END_TEST

START_TEST(the_newest_whole_value_is_found) {
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++)
        for (uint64_t newest = 0; newest < 9; newest++) {
            begin(newest, nonsense[i]);
            expect_mended(newest);
        }
}
END_TEST

/* Its writer was killed within the next publish, whose buffer had version 2. */
START_TEST(half_a_value_is_none) {
    begin(5, UINT64_MAX);
    buffer_with(2)->seq = 2 * 6 - 1;
    expect_mended(5);
}
END_TEST

/* Or just before its head: nobody can tell it from a published one, so it becomes that. */
START_TEST(a_finished_value_counts) {
    begin(5, UINT64_MAX);
    struct shm_buffer *finished = buffer_with(2);
    value_make((uint64_t *)(void *)(finished + 1), SIZE, 6, 1);
    finished->seq = 2 * 6;
    expect_mended(6);
}
END_TEST

START_TEST(damaged_buffers_are_passed_over) {
    begin(5, UINT64_MAX);
    buffer_with(5)->len = SIZE + 1;
    buffer_with(2)->seq = UINT64_MAX - 1;
    expect_mended(4);
    begin(5, UINT64_MAX);
    for (uint32_t i = 0; i < COUNT; i++)
        memset(buffer(i), 0xff, sizeof *buffer(i));
    expect_mended(0);
}
END_TEST

static void *read_on(void *stop) {
    struct snapshot_reader mine;
    struct snapshot_value about;
    static uint64_t got[SIZE / 8];
    uint64_t *wrong = calloc(1, sizeof *wrong);
    snapshot_reader_init(&mine, &fixture.snapshot);
    while (wrong != NULL && !__atomic_load_n((bool *)stop, __ATOMIC_ACQUIRE)) {
        const ssize_t n = snapshot_read(&mine, got, sizeof got, &about);
        *wrong += n == SIZE ? about.version != 7 || !value_whole(got, SIZE, 7)
                            : n != -EBADMSG && n != -EAGAIN;
    }
    return wrong;
}

START_TEST(readers_see_it_or_an_error) {
    bool stop = false;
    pthread_t thread;
    void *wrong;
    uint64_t version;
    begin(7, UINT64_MAX);
    ck_assert(snapshot_mend(&fixture.snapshot, &version));
    ck_assert_int_eq(pthread_create(&thread, NULL, read_on, &stop), 0);
    for (unsigned i = 0; i < 100000; i++) {
        shared_store_release64(&shared()->head, nonsense[i % 3]);
        ck_assert(snapshot_mend(&fixture.snapshot, &version));
        ck_assert_uint_eq(version, 7);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    ck_assert_int_eq(pthread_join(thread, &wrong), 0);
    ck_assert_ptr_nonnull(wrong);
    ck_assert_uint_eq(*(uint64_t *)wrong, 0);
    free(wrong);
    expect_newest(7);
    fixture_free(&fixture);
}
END_TEST

UNIT_MAIN("snapshot_mend", what_makes_sense_stays, the_newest_whole_value_is_found,
          half_a_value_is_none, a_finished_value_counts, damaged_buffers_are_passed_over,
          readers_see_it_or_an_error)
