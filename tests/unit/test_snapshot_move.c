/* SPDX-License-Identifier: Apache-2.0
 *
 * A section that moves to another place: what readers, followers, sleepers and its writer find at
 * each stage.  (All interleavings: tests/model; a kill at each instruction: tests/crash.)
 */
#include "core/futex.h"
#include "move_fixture.h"

#include <pthread.h>

/* ---- readers */

START_TEST(the_next_publish_moves) {
    begin(4, 3);
    start_move(MOVE_SIZE, 4);
    expect_newest(3, 1, true);
    publish(); /* the writer hasn't noticed */
    expect_newest(4, 1, true);
    snapshot_move(&writer, &new.snapshot);
    expect_newest(4, 1, true);
    ck_assert(!snapshot_left(&old.snapshot));
    publish();
    ck_assert(snapshot_left(&old.snapshot));
    expect_newest(5, 1, false);
    publish();
    expect_newest(6, 1, false);
    ck_assert_uint_eq(snapshot_version(&old.snapshot), 4);
    new.snapshot.before = NULL; /* the move is over */
    expect_newest(6, 1, false);
    ck_assert_uint_eq(reader.laps, 0);
    end();
}
END_TEST

START_TEST(the_first_publish_of_all_moves) {
    begin(2, 0);
    start_move(MOVE_SIZE, 2);
    ck_assert_int_eq(snapshot_read(&reader, got, sizeof got, &about), -ENODATA);
    snapshot_move(&writer, &new.snapshot);
    ck_assert_int_eq(snapshot_read(&reader, got, sizeof got, &about), -ENODATA);
    publish();
    expect_newest(1, 1, false);
    ck_assert(snapshot_left(&old.snapshot));
    end();
}
END_TEST

START_TEST(a_follower_misses_nothing) {
    begin(4, 6);
    start_move(MOVE_SIZE, 3);
    expect_version(4, 1, true);
    snapshot_move(&writer, &new.snapshot);
    ck_assert_int_eq(try_version(7), -ENODATA);
    publish();
    publish();
    expect_version(4, 1, true); /* behind the move: the old place stands still */
    expect_version(5, 1, true);
    expect_version(6, 1, true);
    expect_version(7, 1, false);
    expect_version(8, 1, false);
    ck_assert_int_eq(try_version(9), -ENODATA);
    ck_assert_int_eq(try_version(2), -ESTALE);
    ck_assert_uint_eq(about.version, 8);
    ck_assert_int_eq(try_version(0), -EINVAL);
    for (unsigned i = 0; i < 4; i++)
        publish();
    ck_assert_int_eq(try_version(7), -ESTALE); /* overwritten in the new place, never in the old */
    expect_version(6, 1, true);
    end();
}
END_TEST

/* The old place may hold a value that was finished there and never published; the same version
 * comes from another writer in the new place. */
START_TEST(nothing_is_found_beyond_the_old_head) {
    begin(4, 3);
    leave_behind(&old, 3, 2 * 4);
    start_move(MOVE_SIZE, 2);
    ck_assert_int_eq(try_version(4), -ENODATA);
    ck_assert_int_eq(snapshot_take_over(&writer, &new.snapshot, 2), 0);
    for (unsigned i = 0; i < 4; i++)
        publish_as(&writer, 2, 64);
    ck_assert_int_eq(try_version(4), -ESTALE);
    expect_version(3, 1, true);
    expect_version(7, 2, false);
    end();
}
END_TEST

START_TEST(a_view_lasts_across_a_move) {
    const void *data;
    begin(4, 2);
    start_move(MOVE_SIZE, 4);
    ck_assert_int_eq(snapshot_view(&reader, &data, &about), 0);
    ck_assert(about.before);
    ck_assert_ptr_eq(data, buffer_of(&old, about.buffer) + 1);
    snapshot_move(&writer, &new.snapshot);
    for (unsigned i = 0; i < 6; i++)
        publish();
    ck_assert(snapshot_valid(&reader, &about));
    ck_assert(value_whole(data, 64, 2));
    struct snapshot_value later;
    ck_assert_int_eq(snapshot_view(&reader, &data, &later), 0);
    ck_assert(!later.before && snapshot_valid(&reader, &later));
    new.snapshot.before = NULL; /* it may be another section's from now on */
    ck_assert(!snapshot_valid(&reader, &about));
    ck_assert(snapshot_valid(&reader, &later));
    end();
}
END_TEST

/* ---- sleepers */

START_TEST(no_sleep_in_a_place_that_was_left) {
    struct futex_word word;
    begin(4, 2);
    start_move(MOVE_SIZE, 4);
    ck_assert(snapshot_arm(&reader, 2, &word));
    ck_assert_ptr_eq(word.word, &old.snapshot.shared->head);
    ck_assert_int_eq(snapshot_wait(&reader, 2, clock_mono_ns(), 0), -ETIMEDOUT);
    snapshot_move(&writer, &new.snapshot);
    publish();
    /* Who was about to sleep there finds another word, and doesn't. */
    ck_assert_uint_ne(*word.word, word.value);
    ck_assert_int_eq(snapshot_wait(&reader, 2, UINT64_MAX, 0), 0);
    ck_assert(!snapshot_arm(&reader, 2, &word));
    ck_assert(snapshot_arm(&reader, 3, &word));
    ck_assert_ptr_eq(word.word, &new.snapshot.shared->head);
    end();
}
END_TEST

/* Of the new place it doesn't know, and must look the section up; and if it is told so again and
 * again, it doesn't burn its processor. */
START_TEST(a_sleeper_looks_the_section_up_again) {
    struct futex_word word;
    begin(4, 2);
    start_move(MOVE_SIZE, 4);
    snapshot_reader_init(&reader, &old.snapshot);
    snapshot_move(&writer, &new.snapshot);
    publish();
    ck_assert(!snapshot_arm(&reader, 2, &word));
    for (unsigned i = 0; i < SNAPSHOT_EMPTY_WAKES; i++)
        ck_assert_int_eq(snapshot_wait(&reader, 2, UINT64_MAX, 0), -ESTALE);
    const uint64_t start = clock_mono_ns();
    ck_assert_int_eq(snapshot_wait(&reader, 2, UINT64_MAX, 0), -ETIMEDOUT);
    ck_assert_uint_ge(clock_mono_ns() - start, SHM_SLEEP_BOUND_MS * UINT64_C(1000000) / 2);
    end();
}
END_TEST

static void *wait_for_newer(void *version) {
    const uint64_t last = *(uint64_t *)version;
    while (snapshot_wait(&reader, last, UINT64_MAX, 0) == -ETIMEDOUT)
        continue;
    expect_newest(last + 1, 1, false);
    return NULL;
}

START_TEST(a_sleeper_is_woken_by_the_move) {
    pthread_t thread;
    uint64_t version = 2;
    begin(4, 2);
    start_move(MOVE_SIZE, 4);
    snapshot_move(&writer, &new.snapshot);
    ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_newer, &version), 0);
    while (shared_load_acquire32(&old.snapshot.bell->want) == 0)
        shared_relax();
    publish();
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    end();
}
END_TEST

START_TEST(the_manager_marks_too) {
    struct futex_word word;
    begin(4, 2);
    start_move(MOVE_SIZE, 4);
    const uint64_t head = old.snapshot.shared->head;
    ck_assert_int_eq(snapshot_leave(old.snapshot.shared), 0);
    ck_assert_uint_eq(old.snapshot.shared->head, head | SHM_HEAD_MOVED);
    ck_assert(snapshot_left(&old.snapshot));
    ck_assert_int_eq(snapshot_leave(old.snapshot.shared), 0);
    ck_assert_uint_eq(old.snapshot.shared->head, head | SHM_HEAD_MOVED);
    snapshot_reader_init(&reader, &old.snapshot);
    ck_assert(!snapshot_arm(&reader, 2, &word));
    expect_newest(2, 1, false); /* it can still be read */
    end();
}
END_TEST

/* ---- the writer */

START_TEST(what_was_begun_goes_along) {
    void *data;
    size_t room;
    begin(4, 2);
    ck_assert_int_eq(snapshot_begin(&writer, &data, &room), 0);
    ck_assert_uint_eq(room, MOVE_SIZE);
    value_make(data, 64, 3, 1);
    start_move(MOVE_SIZE, 2);
    snapshot_move(&writer, &new.snapshot);
    expect_newest(2, 1, true);
    ck_assert_int_eq(snapshot_commit(&writer, 64), 0);
    expect_newest(3, 1, false);
    ck_assert(snapshot_left(&old.snapshot));
    ck_assert_int_eq(snapshot_commit(&writer, 64), -EINVAL);
    publish();
    expect_newest(4, 1, false);
    ck_assert_int_eq(snapshot_begin(&writer, &data, &room), 0);
    value_make(data, 64, 5, 1);
    ck_assert_int_eq(snapshot_commit(&writer, 64), 0);
    expect_newest(5, 1, false);
    end();
}
END_TEST

/* Neither beyond the room that was there when it was begun, nor beyond what the new place has. */
START_TEST(what_was_begun_keeps_its_room) {
    void *data;
    size_t room;
    begin(3, 1);
    ck_assert_int_eq(snapshot_begin(&writer, &data, &room), 0);
    value_make(data, MOVE_SIZE, 2, 1);
    start_move(2 * MOVE_SIZE, 3);
    snapshot_move(&writer, &new.snapshot);
    ck_assert_int_eq(snapshot_commit(&writer, MOVE_SIZE + 8), -EMSGSIZE);
    ck_assert_int_eq(snapshot_commit(&writer, MOVE_SIZE), 0);
    expect_newest(2, 1, false);
    end();
    begin(3, 1);
    ck_assert_int_eq(snapshot_begin(&writer, &data, &room), 0);
    value_make(data, 64, 2, 1);
    start_move(64, 3);
    snapshot_move(&writer, &new.snapshot);
    ck_assert_int_eq(snapshot_commit(&writer, 72), -EMSGSIZE);
    ck_assert_int_eq(snapshot_commit(&writer, 64), 0);
    expect_newest(2, 1, false);
    value_make(got, 72, 3, 1);
    ck_assert_int_eq(snapshot_publish(&writer, got, 72), -EMSGSIZE);
    end();
}
END_TEST

START_TEST(what_was_begun_can_be_dropped) {
    void *data;
    size_t room;
    begin(2, 2);
    ck_assert_int_eq(snapshot_begin(&writer, &data, &room), 0);
    value_make(data, 64, 3, 1);
    start_move(MOVE_SIZE, 2);
    snapshot_move(&writer, &new.snapshot);
    snapshot_abort(&writer);
    expect_newest(2, 1, true);
    ck_assert_int_eq(try_version(3), -ENODATA);
    ck_assert(!snapshot_left(&old.snapshot));
    ck_assert_uint_eq(new.snapshot.shared->aborted, 1);
    publish();
    expect_newest(3, 1, false);
    end();
}
END_TEST

/* To and fro, with all kinds of counts and sizes; each version is there when it must be. */
START_TEST(many_moves) {
    struct fixture places[2];
    uint64_t who = 1;
    fixture_make(&places[0], MOVE_SIZE, 4, SHM_SECTION_STAMP_NONE);
    ck_assert_int_eq(snapshot_take_over(&writer, &places[0].snapshot, 1), 0);
    publish();
    for (unsigned i = 1; i < 200; i++) {
        struct fixture *from = &places[(i + 1) % 2], *to = &places[i % 2];
        fixture_move(to, from, 64 + i % 7 * 100, 2 + i % 5);
        snapshot_reader_init(&reader, &to->snapshot);
        for (unsigned n = i % 3; n > 0; n--)
            publish_as(&writer, who, 64);
        const uint64_t version = writer.next - 1;
        expect_newest(version, who, true);
        if (i % 4 == 0)
            ck_assert_int_eq(snapshot_take_over(&writer, &to->snapshot, ++who), 0);
        else
            snapshot_move(&writer, &to->snapshot);
        ck_assert_uint_eq(writer.next, version + 1);
        publish_as(&writer, who, 64);
        expect_newest(version + 1, who, false);
        ck_assert_int_ge(try_version(version), 0);
        ck_assert(about.before && snapshot_left(&from->snapshot));
        to->snapshot.before = NULL;
        /* The doorbell stands behind the first place, which goes. */
        to->snapshot.bell = (void *)((uint8_t *)to->memory + to->section.bytes);
        fixture_free(from);
    }
    fixture_free(&places[1]);
}
END_TEST

UNIT_MAIN("snapshot move", the_next_publish_moves, the_first_publish_of_all_moves,
          a_follower_misses_nothing, nothing_is_found_beyond_the_old_head,
          a_view_lasts_across_a_move, no_sleep_in_a_place_that_was_left,
          a_sleeper_looks_the_section_up_again, a_sleeper_is_woken_by_the_move,
          the_manager_marks_too, what_was_begun_goes_along, what_was_begun_keeps_its_room,
          what_was_begun_can_be_dropped, many_moves)
