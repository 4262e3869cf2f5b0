/* SPDX-License-Identifier: Apache-2.0
 *
 * A section that moves to another place, by others than its writer: successors of one that died on
 * the way, and the manager that brings the value along; and what is damaged.
 */
#include "move_fixture.h"

/* ---- successors */

START_TEST(a_successor_before_the_first_publish) {
    begin(4, 5);
    start_move(MOVE_SIZE, 2);
    snapshot_move(&writer, &new.snapshot);
    leave_behind(&new, 0, 2 * 6);     /* finished, */
    leave_behind(&new, 1, 2 * 6 - 1); /* and half finished */
    writer.aborted = 3;
    old.snapshot.shared->aborted = 3;
    ck_assert_int_eq(snapshot_take_over(&writer, &new.snapshot, 2), 0);
    ck_assert_uint_eq(buffer_of(&new, 0)->seq, 0);
    ck_assert_uint_eq(buffer_of(&new, 1)->seq, 0);
    ck_assert_uint_eq(writer.aborted, 3);
    expect_newest(5, 1, true);
    ck_assert(!snapshot_left(&old.snapshot));
    publish_as(&writer, 2, 64);
    expect_newest(6, 2, false);
    ck_assert(snapshot_left(&old.snapshot));
    end();
}
END_TEST

START_TEST(a_successor_before_the_mark) {
    begin(4, 5);
    start_move(MOVE_SIZE, 3);
    snapshot_move(&writer, &new.snapshot);
    publish();
    old.snapshot.shared->head &= ~SHM_HEAD_MOVED; /* it died in between */
    expect_newest(6, 1, false);
    ck_assert_int_eq(snapshot_take_over(&writer, &new.snapshot, 2), 0);
    expect_newest(6, 1, false);
    ck_assert(!snapshot_left(&old.snapshot));
    publish_as(&writer, 2, 64);
    ck_assert(snapshot_left(&old.snapshot));
    expect_newest(7, 2, false);
    expect_version(6, 1, false);
    end();
}
END_TEST

/* The old place may be another section's as soon as it is marked. */
START_TEST(a_successor_behind_the_mark) {
    uint8_t *before;
    begin(4, 5);
    start_move(MOVE_SIZE, 3);
    snapshot_move(&writer, &new.snapshot);
    publish();
    ck_assert_int_eq(snapshot_take_over(&writer, &new.snapshot, 2), 0);
    memset(old.memory, 0x5a, old.section.bytes);
    before = malloc(old.section.bytes);
    ck_assert_ptr_nonnull(before);
    memcpy(before, old.memory, old.section.bytes);
    publish_as(&writer, 2, 64);
    expect_newest(7, 2, false);
    ck_assert_mem_eq(before, old.memory, old.section.bytes);
    free(before);
    end();
}
END_TEST

/* ---- the manager's part */

START_TEST(a_value_is_carried) {
    begin(4, 5);
    old.snapshot.shared->wakes = 9;
    struct shm_buffer *from = buffer_of(&old, writer.current);
    from->mono_ns = 11;
    from->real_ns = 12;
    start_move(MOVE_SIZE, 2);
    leave_behind(&new, 0, 2 * 6 - 1); /* by one that died before its first publish there */
    leave_behind(&new, 1, 2 * 6);
    ck_assert_int_eq(snapshot_carry(&new.snapshot), 0);
    expect_newest(5, 1, false);
    ck_assert_uint_eq(about.mono_ns, 11);
    ck_assert_uint_eq(about.real_ns, 12);
    ck_assert_uint_eq(about.epoch, 1);
    ck_assert_uint_eq(new.snapshot.shared->wakes, 9);
    ck_assert_int_eq(try_version(6), -ENODATA);
    ck_assert_int_eq(snapshot_carry(&new.snapshot), 0);
    new.snapshot.before = NULL;
    ck_assert_int_eq(snapshot_take_over(&writer, &new.snapshot, 2), 0);
    ck_assert_int_eq(try_version(6), -ENODATA);
    ck_assert_uint_eq(writer.wakes, 9);
    publish_as(&writer, 2, 64);
    expect_newest(6, 2, false);
    expect_version(5, 1, false); /* its buffer is not the oldest */
    end();
}
END_TEST

START_TEST(nothing_to_carry) {
    begin(4, 0);
    start_move(MOVE_SIZE, 2);
    ck_assert_int_eq(snapshot_carry(&new.snapshot), 0);
    ck_assert_uint_eq(snapshot_version(&new.snapshot), 0);
    end();
    begin(4, 2);
    start_move(MOVE_SIZE, 2);
    snapshot_move(&writer, &new.snapshot);
    publish();
    ck_assert_int_eq(snapshot_carry(&new.snapshot), 0);
    expect_newest(3, 1, false);
    end();
}
END_TEST

START_TEST(too_large_to_carry) {
    begin(4, 0);
    publish_as(&writer, 1, MOVE_SIZE);
    start_move(64, 2);
    ck_assert_int_eq(snapshot_carry(&new.snapshot), -EMSGSIZE);
    expect_newest(1, 1, true);
    publish(); /* it goes on where it was, */
    ck_assert_int_eq(snapshot_carry(&new.snapshot), 0);
    expect_newest(2, 1, false);
    end();
}
END_TEST

/* A manager that died at whatever point is followed by another, or by a writer. */
START_TEST(a_carry_is_done_again) {
    for (unsigned stage = 0; stage < 4; stage++) {
        begin(4, 5);
        start_move(MOVE_SIZE, 2);
        leave_behind(&new, 0, stage == 0 ? 2 * 5 - 1 : 2 * 5);
        if (stage > 0) /* all but the head */
            memcpy(buffer_of(&new, 0), buffer_of(&old, writer.current), SHM_LINE + 64);
        expect_newest(5, 1, true);
        if (stage < 2) {
            ck_assert_int_eq(snapshot_carry(&new.snapshot), 0);
            expect_newest(5, 1, false);
        }
        ck_assert_int_eq(snapshot_take_over(&writer, &new.snapshot, 2), 0);
        publish_as(&writer, 2, 64);
        expect_newest(6, 2, false);
        expect_version(5, 1, stage >= 2); /* in one of the two */
        end();
    }
}
END_TEST

/* ---- damage */

START_TEST(a_damaged_old_head) {
    const struct {
        uint64_t head;
        int reads, taken, carried;
    } heads[] = {
        {UINT64_C(9) << SHM_HEAD_BUFFER_SHIFT | 5 << SHM_HEAD_VERSION_SHIFT, -EBADMSG, -EBADMSG,
         -EBADMSG},
        {SHM_VERSION_MAX << SHM_HEAD_VERSION_SHIFT, -EBADMSG, -EBADMSG, -EBADMSG},
        {77 << SHM_HEAD_VERSION_SHIFT, -EBADMSG, 0, -EBADMSG}, /* no such value */
        {SHM_HEAD_MOVED, -ENODATA, 0, 0},
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        begin(4, 5);
        start_move(MOVE_SIZE, 2);
        old.snapshot.shared->head = heads[i].head;
        ck_assert_int_eq(snapshot_read(&reader, got, sizeof got, &about), heads[i].reads);
        ck_assert_int_lt(try_version(76), 0); /* that was never published */
        ck_assert_int_eq(snapshot_carry(&new.snapshot), heads[i].carried);
        ck_assert_uint_eq(snapshot_version(&new.snapshot) != 0,
                          (heads[i].head >> SHM_HEAD_VERSION_SHIFT & SHM_VERSION_MAX) != 0);
        ck_assert_uint_eq(new.snapshot.shared->head, 0);
        ck_assert_int_eq(snapshot_take_over(&writer, &new.snapshot, 2), heads[i].taken);
        end();
    }
}
END_TEST

/* A length beyond the buffer, and beyond the new one's. */
START_TEST(a_damaged_old_value) {
    begin(4, 5);
    buffer_of(&old, writer.current)->len = UINT64_MAX;
    start_move(MOVE_SIZE, 2);
    ck_assert_int_eq(snapshot_carry(&new.snapshot), -EBADMSG);
    ck_assert_int_eq(snapshot_read(&reader, got, sizeof got, &about), -EBADMSG);
    ck_assert_int_eq(snapshot_take_over(&writer, &new.snapshot, 2), 0);
    publish_as(&writer, 2, 64);
    expect_newest(6, 2, false);
    end();
}
END_TEST

UNIT_MAIN("snapshot carry", a_successor_before_the_first_publish, a_successor_before_the_mark,
          a_successor_behind_the_mark, a_value_is_carried, nothing_to_carry, too_large_to_carry,
          a_carry_is_done_again, a_damaged_old_head, a_damaged_old_value)
