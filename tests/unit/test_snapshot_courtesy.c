/* SPDX-License-Identifier: Apache-2.0
 *
 * What the snapshot's two sides do for one another without relying on it: hints and doorbells; and
 * what a reader does about memory that holds nonsense.
 */
#include "unit.h"

#include "snapshot_fixture.h"

#include <errno.h>

#define SIZE 64u

static struct fixture fixture;
static struct snapshot_writer writer;
static struct snapshot_reader reader;

static void begin_with(uint32_t count, uint32_t flags) {
    fixture_make(&fixture, SIZE, count, flags | SHM_SECTION_STAMP_NONE);
    ck_assert_int_eq(snapshot_take_over(&writer, &fixture.snapshot, 11), 0);
    snapshot_reader_init(&reader, &fixture.snapshot);
}

static void publish(unsigned n) {
    while (n-- > 0)
        ck_assert_int_eq(snapshot_publish(&writer, "x", 1), 0);
}

static struct shm_snapshot *shared(void) {
    return fixture.snapshot.shared;
}

static struct shm_bell *bell(void) {
    return fixture.snapshot.bell;
}

static struct shm_buffer *buffer(uint32_t index) {
    return (void *)(fixture.snapshot.buffers + index * fixture.snapshot.stride);
}

static struct snapshot_value view(void) {
    struct snapshot_value found;
    const void *data;
    ck_assert_int_eq(snapshot_view(&reader, &data, &found), 0);
    return found;
}

/* ---- hints */

static void check_spared(uint32_t count, uint64_t hinted_version, unsigned publishes) {
    begin_with(count, 0);
    publish(1);
    struct snapshot_value held = view();
    bell()->hint = hinted_version << 8 | held.buffer;
    /* The others are used up first, then it would be this one's turn. */
    publish(count - 1 + publishes);
    ck_assert(snapshot_valid(&reader, &held));
    publish(1);
    ck_assert(!snapshot_valid(&reader, &held));
    fixture_free(&fixture);
}

START_TEST(hinted_buffer_is_spared_for_a_while) {
    check_spared(3, 1, SNAPSHOT_HINT_PUBLISHES);
    check_spared(4, 1, SNAPSHOT_HINT_PUBLISHES);
    check_spared(256, 1, SNAPSHOT_HINT_PUBLISHES);
}
END_TEST

START_TEST(hint_is_ignored_without_another_buffer) {
    check_spared(2, 1, 0);
}
END_TEST

START_TEST(hint_for_another_version_is_ignored) {
    check_spared(4, 2, 0);
    check_spared(4, 0, 0);
}
END_TEST

START_TEST(hint_for_an_unwritten_buffer_is_ignored) {
    begin_with(4, 0);
    bell()->hint = 1; /* version 0 in buffer 1 */
    publish(2);
    ck_assert_uint_eq(view().buffer, 1);
    fixture_free(&fixture);
}
END_TEST

/* Whatever is written there, values stay right, and the oldest goes first again afterwards. */
START_TEST(wild_hints_do_no_harm) {
    uint64_t value[SIZE / 8];
    begin_with(4, 0);
    srand(1);
    for (uint64_t version = 1; version < 20000; version++) {
        const uint64_t back = (uint64_t)(unsigned)rand() % 6;
        bell()->hint = (version - back) << 8 | ((unsigned)rand() & 7u);
        value_make(value, SIZE, version, 1);
        ck_assert_int_eq(snapshot_publish(&writer, value, SIZE), 0);
        for (uint64_t old = version > 2 ? version - 2 : 1; old <= version; old++) {
            const ssize_t n = snapshot_read_version(&reader, old, value, SIZE, NULL);
            ck_assert_int_eq(n, SIZE);
            ck_assert(value_whole(value, SIZE, old));
        }
    }
    bell()->hint = 0;
    publish(8);
    for (uint64_t version = 20004; version < 20008; version++)
        ck_assert_int_eq(snapshot_read_version(&reader, version, value, SIZE, NULL), 1);
}
END_TEST

START_TEST(lapped_reader_announces_itself) {
    begin_with(4, 0);
    publish(1);
    struct snapshot_value held = view();
    ck_assert_uint_eq(bell()->hint, 0);
    publish(4);
    ck_assert(!snapshot_valid(&reader, &held));
    for (unsigned i = 0; i < SNAPSHOT_HINT_READS; i++) {
        bell()->hint = 0;
        held = view();
        ck_assert_uint_eq(bell()->hint, held.version << 8 | held.buffer);
        publish(1);
    }
    bell()->hint = 0;
    view();
    ck_assert_uint_eq(bell()->hint, 0);
}
END_TEST

/* ---- doorbells */

START_TEST(wakes_on_demand) {
    struct futex_word word;
    begin_with(4, 0);
    publish(10);
    ck_assert_uint_eq(shared()->wakes, 1); /* a new writer's first */
    snapshot_ring(&reader);
    ck_assert(snapshot_heard());
    ck_assert(!snapshot_arm(&reader, 9, &word));
    ck_assert(snapshot_arm(&reader, 10, &word));
    ck_assert_uint_eq(bell()->want, 1);
    ck_assert_ptr_eq(word.word, &shared()->head);
    ck_assert_uint_eq(word.value, (uint32_t)shared()->head);
    publish(10);
    ck_assert_uint_eq(bell()->want, 0);
    ck_assert_uint_eq(shared()->wakes, 2);
    ck_assert_uint_eq(shared()->wake_errors, 0);
}
END_TEST

START_TEST(wakes_as_the_table_says) {
    begin_with(4, SHM_SECTION_NOTIFY_ALWAYS);
    publish(10);
    ck_assert_uint_eq(shared()->wakes, 10);
    begin_with(4, SHM_SECTION_NOTIFY_NEVER);
    bell()->want = 1;
    publish(10);
    ck_assert_uint_eq(shared()->wakes, 0);
}
END_TEST

START_TEST(works_without_a_doorbell) {
    struct futex_word word;
    begin_with(4, 0);
    fixture.snapshot.bell = NULL;
    publish(10);
    ck_assert(snapshot_arm(&reader, 10, &word));
    struct snapshot_value held = view();
    publish(10);
    ck_assert(!snapshot_valid(&reader, &held));
    ck_assert_uint_eq(view().version, 20);
    ck_assert_uint_eq(shared()->wakes, 1);
}
END_TEST

/* ---- nonsense */

static void check_unreadable(int newest, int by_version) {
    char byte[SIZE];
    struct snapshot_value found;
    const void *data;
    ck_assert_int_eq(snapshot_read(&reader, byte, sizeof byte, &found), newest);
    ck_assert_int_eq(snapshot_view(&reader, &data, &found), newest);
    ck_assert_int_eq(snapshot_read_version(&reader, 3, byte, sizeof byte, &found), by_version);
}

START_TEST(buffer_out_of_range_is_damage) {
    begin_with(4, 0);
    publish(3);
    shared()->head = UINT64_C(4) << SHM_HEAD_BUFFER_SHIFT | 3 << SHM_HEAD_VERSION_SHIFT;
    check_unreadable(-EBADMSG, -EBADMSG);
}
END_TEST

START_TEST(impossible_length_is_damage) {
    const uint64_t lengths[] = {SIZE + 1, UINT64_MAX, UINT64_C(1) << 63};
    begin_with(4, 0);
    publish(3);
    for (size_t i = 0; i < 3; i++) {
        buffer(2)->len = lengths[i];
        check_unreadable(-EBADMSG, -EBADMSG);
    }
}
END_TEST

/* A resting head whose buffer never fits: the reader gives up instead of trying for ever. */
START_TEST(head_that_no_buffer_fits_is_damage) {
    const uint64_t sequences[] = {0, 5, 7, 8, UINT64_MAX};
    begin_with(4, 0);
    publish(3);
    for (size_t i = 0; i < sizeof sequences / sizeof *sequences; i++) {
        buffer(2)->seq = sequences[i];
        check_unreadable(-EBADMSG, -ESTALE);
    }
    ck_assert_int_eq(snapshot_take_over(&writer, &fixture.snapshot, 12), 0);
    publish(1);
    ck_assert_uint_eq(view().version, 4);
}
END_TEST

UNIT_MAIN("snapshot_courtesy", hinted_buffer_is_spared_for_a_while,
          hint_is_ignored_without_another_buffer, hint_for_another_version_is_ignored,
          hint_for_an_unwritten_buffer_is_ignored, wild_hints_do_no_harm,
          lapped_reader_announces_itself, wakes_on_demand, wakes_as_the_table_says,
          works_without_a_doorbell, buffer_out_of_range_is_damage, impossible_length_is_damage,
          head_that_no_buffer_fits_is_damage)
