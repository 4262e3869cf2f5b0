/* SPDX-License-Identifier: Apache-2.0
 *
 * A lane that goes round, is full, has messages in it that nobody takes, and changes hands.
 */
#include "unit.h"

#include "core/crc32c.h"
#include "core/futex.h"
#include "queue_fixture.h"

#include <errno.h>

static struct queue_fixture fixture;
static struct queue_sender sender;
static struct queue_receiver receiver;
static struct queue_message message;
static const struct queue_want any;

static void begin(uint64_t size, uint32_t lanes) {
    queue_fixture_make(&fixture, size, lanes, 0);
    queue_fixture_sender(&fixture, &sender, queue_fixture_person(&fixture, 1, 5));
    queue_fixture_receiver(&fixture, &receiver, queue_fixture_person(&fixture, 20, 8));
}

static void end(void) {
    queue_fixture_leave(&sender);
    queue_fixture_part(&receiver);
    queue_fixture_free(&fixture);
}

static void fill(uint8_t *to, size_t bytes, uint64_t number) {
    for (size_t i = 0; i < bytes; i++)
        to[i] = (uint8_t)(number * 131 + i * 7 + bytes);
}

static int put(int64_t type, uint64_t number, size_t bytes) {
    uint8_t data[8192];
    fill(data, bytes, number);
    return queue_send(&sender, type, data, bytes);
}

/* The next one is this number, whole. */
static void get(struct queue_want want, uint64_t number, size_t bytes) {
    uint8_t data[8192], right[8192];
    fill(right, bytes, number);
    ck_assert_int_eq(queue_receive(&receiver, want, data, sizeof data, false, &message, NULL),
                     (ssize_t)bytes);
    ck_assert(bytes == 0 || memcmp(data, right, bytes) == 0);
}

static void get_none(struct queue_want want) {
    uint8_t data[8192];
    ck_assert_int_eq(queue_receive(&receiver, want, data, sizeof data, false, &message, NULL),
                     -EAGAIN);
}

static void successor(uint32_t index) {
    queue_fixture_dies(&fixture, sender.who);
    queue_fixture_leave(&sender);
    queue_fixture_sender(&fixture, &sender, queue_fixture_person(&fixture, index, 1));
}

/* ---- round and full */

START_TEST(goes_round) {
    begin(4096, 1);
    uint64_t sent = 0, received = 0, state = 1;
    for (unsigned i = 0; i < 20000; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        const size_t bytes = state >> 60 == 0 ? (state >> 33) % 2049 : (state >> 33) % 200;
        if ((state >> 50 & 3) != 0 && put(1, sent * 4096 + bytes, bytes) == 0) {
            sent++;
            continue;
        }
        uint8_t data[2048], right[2048];
        const ssize_t n = queue_receive(&receiver, any, data, sizeof data, false, &message, NULL);
        ck_assert(n >= 0 || sent == received);
        if (n < 0)
            continue;
        fill(right, (size_t)n, received * 4096 + (uint64_t)n);
        ck_assert(n == 0 || memcmp(data, right, (size_t)n) == 0);
        received++;
        ck_assert_uint_eq(message.id, received);
    }
    ck_assert_uint_gt(received, 2000);
    end();
}
END_TEST

START_TEST(full_by_records) {
    begin(64 * 16, 1);
    for (unsigned i = 0; i < 15; i++)
        ck_assert_int_eq(put(1, i, 1), 0);
    ck_assert_int_eq(put(1, 15, 1), -EAGAIN);
    ck_assert(!queue_has_room(&sender, 0));
    get(any, 0, 1);
    ck_assert(queue_has_room(&sender, 0));
    ck_assert_int_eq(put(1, 15, 1), 0);
    ck_assert_int_eq(put(1, 16, 1), -EAGAIN);
    for (unsigned i = 1; i < 16; i++)
        get(any, i, 1);
    get_none(any);
    end();
}
END_TEST

START_TEST(full_by_bytes) {
    begin(4096, 1);
    for (unsigned round = 0; round < 50; round++) {
        /* However the last ones stood: an empty lane takes the longest. */
        ck_assert_int_eq(put(1, round, 2048), 0);
        const bool both = put(1, round + 1, 2048) == 0;
        ck_assert(both || round > 0);
        ck_assert_int_eq(put(1, 0, 1), both ? -EAGAIN : 0);
        ck_assert_int_eq(put(1, 0, 0), 0);
        get(any, round, 2048);
        ck_assert_int_eq(put(1, 7, 65), 0);
        if (both)
            get(any, round + 1, 2048);
        else
            get(any, 0, 1);
        get(any, 0, 0);
        get(any, 7, 65);
    }
    end();
}
END_TEST

/* ---- what nobody takes */

static const struct queue_want one = {1, false}, two = {2, false};

START_TEST(unwanted_is_in_nobodys_way) {
    begin(4096, 1);
    uint64_t got = 0;
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(put(2, 100 + i, 100 + i), 0);
    for (unsigned i = 0; i < 5000; i++) {
        ck_assert_int_eq(put(1, i, i % 700), 0);
        if (i % 2 == 1) {
            get(one, got, got % 700), got++;
            get(one, got, got % 700), got++;
        }
    }
    ck_assert_uint_gt(sender.relocated, 100);
    for (unsigned i = 0; i < 3; i++) {
        get(two, 100 + i, 100 + i);
        ck_assert_uint_eq(message.id, i + 1);
    }
    get_none(any);
    end();
}
END_TEST

START_TEST(order_is_that_of_sending) {
    begin(64 * 16, 1);
    for (unsigned i = 0; i < 10; i++)
        ck_assert_int_eq(put(2, i, 10), 0);
    for (unsigned i = 0; i < 5; i++)
        ck_assert_int_eq(put(1, i, 10), 0);
    for (unsigned i = 0; i < 5; i++)
        get(one, i, 10);
    /* The first ones stand behind the last now, for a receiver who knows the lane and for one who
     * doesn't. */
    ck_assert_int_eq(put(2, 10, 10), 0);
    ck_assert_uint_gt(sender.relocated, 0);
    struct queue_receiver other;
    queue_fixture_receiver(&fixture, &other, receiver.who);
    ck_assert_int_eq(queue_look(&other, any, &message, NULL), 0);
    ck_assert_uint_eq(message.id, 1);
    queue_fixture_part(&other);
    for (unsigned i = 0; i < 11; i++)
        get(any, i, 10);
    get_none(any);
    end();
}
END_TEST

START_TEST(full_of_unwanted_is_full) {
    begin(64 * 16, 1);
    for (unsigned i = 0; i < 15; i++)
        ck_assert_int_eq(put(2, i, 10), 0);
    ck_assert_int_eq(put(1, 0, 10), -EAGAIN);
    ck_assert_uint_eq(sender.relocated, 0);
    get(two, 0, 10);
    ck_assert_int_eq(put(1, 0, 10), 0);
    get(one, 0, 10);
    ck_assert_int_eq(put(1, 1, 10), 0);
    ck_assert_uint_eq(sender.relocated, 14);
    end();
}
END_TEST

START_TEST(who_has_it_keeps_it) {
    begin(64 * 16, 1);
    ck_assert_int_eq(put(2, 0, 10), 0);
    ck_assert_int_eq(queue_take(&receiver, two, SIZE_MAX, &message, NULL), 0);
    const struct queue_message held = message;
    for (unsigned i = 0; i < 14; i++)
        ck_assert_int_eq(put(1, i, 10), 0);
    for (unsigned i = 0; i < 14; i++)
        get(one, i, 10);
    ck_assert_int_eq(put(1, 14, 10), -EAGAIN);
    ck_assert_uint_eq(sender.relocated, 0);
    ck_assert_uint_eq(sender.lane->moving, 0);
    ck_assert_int_eq(queue_abandon(&receiver, &held), 0);
    ck_assert_int_eq(put(1, 14, 10), 0);
    ck_assert_uint_eq(sender.relocated, 1);
    get(any, 0, 10);
    ck_assert(message.redelivered);
    get(any, 14, 10);
    ck_assert(!message.redelivered);
    end();
}
END_TEST

/* ---- changing hands */

START_TEST(lowest_free_lane) {
    struct queue_sender others[3];
    begin(4096, 3);
    ck_assert_uint_eq(sender.index, 0);
    for (uint32_t i = 0; i < 2; i++) {
        queue_fixture_sender(&fixture, &others[i], queue_fixture_person(&fixture, 2 + i, 1));
        ck_assert_uint_eq(others[i].index, 1 + i);
    }
    ck_assert_int_eq(
        queue_fixture_try_sender(&fixture, &others[2], queue_fixture_person(&fixture, 4, 1)),
        -EUSERS);
    queue_sender_close(&others[0]);
    queue_sender_close(&others[0]);
    ck_assert_int_eq(queue_send(&others[0], 1, "x", 1), -ESTALE);
    queue_fixture_leave(&others[0]);
    queue_fixture_sender(&fixture, &others[0], queue_fixture_person(&fixture, 4, 1));
    ck_assert_uint_eq(others[0].index, 1);
    ck_assert_uint_eq(others[0].lane->takeovers, 0);
    queue_fixture_dies(&fixture, sender.who);
    queue_fixture_dies(&fixture, others[1].who);
    queue_fixture_leave(&sender);
    queue_fixture_sender(&fixture, &sender, queue_fixture_person(&fixture, 5, 1));
    ck_assert_uint_eq(sender.index, 0);
    ck_assert_uint_eq(sender.lane->takeovers, 1);
    /* Whoever lost the object has the lane still. */
    queue_fixture_leave(&sender);
    queue_fixture_sender(&fixture, &sender, sender.who);
    ck_assert_uint_eq(sender.index, 0);
    ck_assert_uint_eq(sender.lane->takeovers, 1);
    shared_store_release64(&sender.lane->owner, owner_word(sender.who, SHM_OWNER_SEALED, 0));
    ck_assert_int_eq(put(1, 1, 1), -ESTALE);
    queue_fixture_leave(&others[0]);
    queue_fixture_leave(&others[1]);
    end();
}
END_TEST

/* Whatever stood in the lane when its sender died, the next one goes on behind it. */
START_TEST(successor_goes_on) {
    for (unsigned sent = 0; sent < 40; sent++)
        for (unsigned received = 0; received <= sent; received += 3) {
            begin(64 * 16, 1);
            unsigned next = 0;
            for (unsigned i = 0; i < sent; i++)
                if (put(1, i, i % 70) < 0) {
                    get(any, next, next % 70), next++;
                    i--;
                }
            while (next < received)
                get(any, next, next % 70), next++;
            void *data;
            if (queue_reserve(&sender, 50, &data) == 0)
                memset(data, 'u', 50);
            successor(2);
            unsigned more = sent;
            while (put(1, more, more % 70) == 0)
                more++;
            ck_assert_uint_gt(more, received);
            for (; next < more; next++)
                get(any, next, next % 70);
            get_none(any);
            ck_assert_int_eq(put(1, 77, 512), 0);
            get(any, 77, 512);
            end();
        }
}
END_TEST

/* Leaves a lane in which the oldest of 15 is unwanted, and the others are received. */
static void begin_unwanted(void) {
    begin(64 * 16, 1);
    ck_assert_int_eq(put(2, 50, 60), 0);
    for (unsigned i = 0; i < 14; i++)
        ck_assert_int_eq(put(1, i, 10), 0);
    for (unsigned i = 0; i < 14; i++)
        get(one, i, 10);
}

static struct shm_record *record(uint64_t seq) {
    return (struct shm_record *)(sender.lane + 1) + seq % 16;
}

/* Its sender dies between saying that it moves the first one, and being through: `copied`, it is
 * committed again already; `gone`, the old one is marked. */
static void die_in_move(bool copied, bool gone) {
    begin_unwanted();
    sender.lane->moving = 1;
    if (copied) {
        struct shm_record copy = *record(1);
        copy.seq = 16;
        copy.crc = CRC32C_OF((const struct shm_record *)&copy);
        *record(16) = copy;
        sender.lane->relocated++;
        sender.lane->sent = 16;
    }
    if (gone)
        record(1)->seq = ~UINT64_C(1);
}

START_TEST(successor_ends_a_move) {
    for (unsigned state = 0; state < 3; state++)
        for (unsigned first = 0; first < 2; first++) {
            die_in_move(state > 0, state > 1);
            /* While he lives, nobody takes what he is about to send again. */
            ck_assert_int_eq(queue_look(&receiver, two, &message, NULL), state == 0 ? -EAGAIN : 0);
            ck_assert(state == 0 || message.seq == 16);
            if (first == 0) { /* received before there is a successor */
                queue_fixture_dies(&fixture, sender.who);
                ck_assert_uint_eq(queue_count(&fixture.queue), 1);
                get(two, 50, 60);
                ck_assert_uint_eq(message.id, 1);
                get_none(any);
            }
            successor(2);
            ck_assert_uint_eq(sender.lane->moving, 0);
            if (first == 1) {
                ck_assert_uint_eq(queue_count(&fixture.queue), 1);
                get(two, 50, 60);
            }
            get_none(any);
            for (unsigned i = 0; i < 40; i++) {
                ck_assert_int_eq(put(1, i, 500), 0);
                get(any, i, 500);
            }
            end();
        }
}
END_TEST

/* A receiver has it, and dies: it can be sent again, and comes again. */
START_TEST(dead_receivers_are_in_nobodys_way) {
    begin(64 * 16, 1);
    ck_assert_int_eq(put(2, 50, 60), 0);
    ck_assert_int_eq(queue_take(&receiver, two, SIZE_MAX, &message, NULL), 0);
    queue_fixture_dies(&fixture, receiver.who);
    receiver.who = queue_fixture_person(&fixture, 21, 3);
    for (unsigned i = 0; i < 100; i++) {
        ck_assert_int_eq(put(1, i, 60), 0);
        get(one, i, 60);
    }
    ck_assert_uint_gt(sender.relocated, 0);
    get(any, 50, 60);
    ck_assert(message.redelivered);
    end();
}
END_TEST

static unsigned asked;

/* The receiver is through with the first one, and then its lease ends: just before it is asked for
 * that, after its claim was looked at. */
static bool ended_when_done(void *context, uint32_t attachment) {
    uint64_t *claim = (uint64_t *)(sender.claims + 1) + 1;
    (void)context, (void)attachment;
    if (++asked == 2)
        *claim = UINT64_C(1) << SHM_CLAIM_SEQ_SHIFT | (uint64_t)SHM_CLAIM_DONE
                                                          << SHM_CLAIM_STATE_SHIFT;
    return true;
}

START_TEST(what_the_dead_had_received_does_not_move) {
    begin_unwanted();
    ck_assert_int_eq(queue_take(&receiver, two, SIZE_MAX, &message, NULL), 0);
    fixture.queue.attachments.ended = ended_when_done;
    asked = 0;
    ck_assert_int_eq(put(1, 14, 10), -EAGAIN);
    ck_assert_uint_eq(asked, 2);
    ck_assert_uint_eq(sender.relocated, 0);
    fixture.queue.attachments.ended = NULL;
    ck_assert_int_eq(put(1, 14, 10), 0);
    get(any, 14, 10);
    get_none(any);
    end();
}
END_TEST

/* One receiver has seen a record, and comes to take it when it was sent again meanwhile. */
START_TEST(taken_while_it_moves) {
    begin_unwanted();
    ck_assert_int_eq(queue_look(&receiver, two, &message, NULL), 0);
    sender.lane->moving = 1;
    ck_assert_int_eq(queue_take(&receiver, two, SIZE_MAX, &message, NULL), -EAGAIN);
    ck_assert_uint_eq(((uint64_t *)(sender.claims + 1))[1], 0);
    sender.lane->moving = 0;
    ck_assert_int_eq(put(1, 14, 10), 0);
    ck_assert_uint_eq(sender.relocated, 1);
    get(two, 50, 60);
    get(one, 14, 10);
    get_none(any);
    end();
}
END_TEST

UNIT_MAIN("queue_room", goes_round, full_by_records, full_by_bytes, unwanted_is_in_nobodys_way,
          order_is_that_of_sending, full_of_unwanted_is_full, who_has_it_keeps_it, lowest_free_lane,
          successor_goes_on, successor_ends_a_move, dead_receivers_are_in_nobodys_way,
          what_the_dead_had_received_does_not_move, taken_while_it_moves)
