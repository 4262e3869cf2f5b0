/* SPDX-License-Identifier: Apache-2.0
 *
 * The queue between a sender and a receiver: what is received, in which order, and who has it
 * meanwhile.
 */
#include "unit.h"

#include "core/crc32c.h"
#include "core/futex.h"
#include "queue_fixture.h"

#include <errno.h>
#include <unistd.h>

static struct queue_fixture fixture;
static struct queue_sender senders[4];
static struct queue_receiver receiver;
static struct queue_message message;
static const struct queue_want any;

static void begin(uint64_t size, uint32_t lanes, uint32_t flags) {
    queue_fixture_make(&fixture, size, lanes, flags);
    for (uint32_t i = 0; i < lanes && i < 4; i++)
        queue_fixture_sender(&fixture, &senders[i], queue_fixture_person(&fixture, i + 1, 5));
    queue_fixture_receiver(&fixture, &receiver, queue_fixture_person(&fixture, 20, 8));
}

static void end(void) {
    for (uint32_t i = 0; i < fixture.section.count && i < 4; i++)
        queue_fixture_leave(&senders[i]);
    queue_fixture_part(&receiver);
    queue_fixture_free(&fixture);
}

static void send_number(unsigned lane, int64_t type, uint64_t number) {
    ck_assert_int_eq(queue_send(&senders[lane], type, &number, sizeof number), 0);
}

static ssize_t receive(struct queue_want want, void *buffer, size_t bytes) {
    return queue_receive(&receiver, want, buffer, bytes, false, &message, NULL);
}

/* The next number of that want, or -EAGAIN. */
static int64_t number(int64_t type, bool except) {
    uint64_t value = 0;
    const ssize_t n = receive((struct queue_want){type, except}, &value, sizeof value);
    ck_assert(n < 0 || n == sizeof value);
    return n < 0 ? n : (int64_t)value;
}

/* ---- one lane */

START_TEST(what_is_sent_is_received) {
    char buffer[64];
    begin(4096, 1, 0);
    const uint64_t before = clock_mono_ns();
    ck_assert_int_eq(receive(any, buffer, sizeof buffer), -EAGAIN);
    ck_assert_int_eq(queue_send(&senders[0], 7, "hello", 6), 0);
    ck_assert_int_eq(receive(any, buffer, sizeof buffer), 6);
    ck_assert_str_eq(buffer, "hello");
    ck_assert_int_eq(message.type, 7);
    ck_assert_uint_eq(message.length, 6);
    ck_assert_uint_eq(message.id, 1);
    ck_assert_uint_eq(message.lane, 0);
    ck_assert_uint_eq(message.sender.index, 1);
    ck_assert_uint_eq(message.sender.epoch, 5);
    ck_assert_uint_eq(message.sender_pid, (unsigned)getpid());
    ck_assert_uint_ge(message.send_ns, before);
    ck_assert_uint_le(message.send_ns, clock_mono_ns());
    ck_assert(!message.redelivered);
    ck_assert_int_eq(receive(any, buffer, sizeof buffer), -EAGAIN);
    ck_assert_int_eq(queue_send(&senders[0], 7, NULL, 0), 0);
    ck_assert_int_eq(receive(any, NULL, 0), 0);
    ck_assert_uint_eq(message.id, 2);
    end();
}
END_TEST

START_TEST(bad_calls_are_refused) {
    struct queue_item items[] = {{1, "a", 1}, {0, "b", 1}};
    void *data;
    begin(4096, 1, 0);
    ck_assert_int_eq(queue_send(&senders[0], 0, "x", 1), -EINVAL);
    ck_assert_int_eq(queue_send(&senders[0], -1, "x", 1), -EINVAL);
    ck_assert_int_eq(queue_send(&senders[0], 1, "x", 2049), -EMSGSIZE);
    ck_assert_int_eq(queue_reserve(&senders[0], 2049, &data), -EMSGSIZE);
    ck_assert_int_eq(queue_commit(&senders[0], 1, 1), -EINVAL);
    ck_assert_int_eq(queue_send_batch(&senders[0], items, 0), 0);
    ck_assert_int_eq(queue_send_batch(&senders[0], items + 1, 1), -EINVAL);
    ck_assert_int_eq(queue_send_batch(&senders[0], items, 2), 1);
    receiver.who = (struct attachment){0};
    ck_assert_int_eq(queue_take(&receiver, any, 10, &message, NULL), -EACCES);
    ck_assert_int_eq(queue_look(&receiver, any, &message, NULL), 0);
    end();
}
END_TEST

START_TEST(types_choose) {
    begin(4096, 1, 0);
    static const int64_t types[] = {5, 3, 9, 3, INT64_MAX};
    for (unsigned i = 0; i < 5; i++)
        send_number(0, types[i], i);
    ck_assert_int_eq(number(4, false), -EAGAIN);
    ck_assert_int_eq(number(9, false), 2);
    ck_assert_int_eq(number(-2, false), -EAGAIN);
    ck_assert_int_eq(number(-8, false), 1);
    ck_assert_int_eq(number(5, true), 3);
    ck_assert_int_eq(number(5, true), 4);
    ck_assert_int_eq(number(5, true), -EAGAIN);
    ck_assert_int_eq(number(0, false), 0);
    send_number(0, INT64_MAX, 6);
    ck_assert_int_eq(number(-INT64_MAX, false), 6);
    send_number(0, INT64_MAX, 7);
    ck_assert_int_eq(number(INT64_MIN, false), 7);
    ck_assert_int_eq(number(0, false), -EAGAIN);
    end();
}
END_TEST

START_TEST(long_ones_stay_or_are_cut) {
    char buffer[8] = "";
    begin(4096, 1, 0);
    ck_assert_int_eq(queue_send(&senders[0], 1, "abcdefghij", 10), 0);
    ck_assert_int_eq(receive(any, buffer, 4), -E2BIG);
    ck_assert_uint_eq(message.length, 10);
    ck_assert_int_eq(receive(any, buffer, 4), -E2BIG);
    ck_assert_int_eq(queue_receive(&receiver, any, buffer, 4, true, &message, NULL), 4);
    ck_assert_str_eq(buffer, "abcd");
    ck_assert_uint_eq(message.length, 10);
    ck_assert_int_eq(receive(any, buffer, sizeof buffer), -EAGAIN);
    end();
}
END_TEST

START_TEST(in_place_and_cancelled) {
    void *data, *again;
    char buffer[200];
    begin(4096, 1, 0);
    ck_assert_int_eq(queue_reserve(&senders[0], 100, &data), 0);
    ck_assert_uint_eq((uintptr_t)data % SHM_LINE, 0);
    ck_assert_int_eq(queue_reserve(&senders[0], 100, &again), -EBUSY);
    ck_assert_int_eq(queue_send(&senders[0], 1, "x", 1), -EBUSY);
    ck_assert_int_eq(queue_send_batch(&senders[0], NULL, 0), -EBUSY);
    memset(data, 'c', 100);
    ck_assert_int_eq(queue_commit(&senders[0], 0, 50), -EINVAL);
    ck_assert_int_eq(queue_commit(&senders[0], 2, 101), -EMSGSIZE);
    ck_assert_int_eq(receive(any, buffer, sizeof buffer), -EAGAIN);
    queue_cancel(&senders[0]);
    ck_assert_int_eq(queue_commit(&senders[0], 2, 50), -EINVAL);
    ck_assert_int_eq(queue_reserve(&senders[0], 100, &again), 0);
    ck_assert_ptr_eq(again, data);
    memset(data, 'd', 100);
    ck_assert_int_eq(queue_commit(&senders[0], 2, 50), 0);
    ck_assert_int_eq(receive(any, buffer, sizeof buffer), 50);
    for (unsigned i = 0; i < 50; i++)
        ck_assert_int_eq(buffer[i], 'd');
    end();
}
END_TEST

START_TEST(batch_is_seen_in_one) {
    uint64_t values[40];
    struct queue_item items[40];
    begin(64 * 32, 1, 0); /* 32 records, of which one is kept free */
    for (unsigned i = 0; i < 40; i++) {
        values[i] = i;
        items[i] = (struct queue_item){1, &values[i], sizeof values[i]};
    }
    ck_assert_int_eq(queue_send_batch(&senders[0], items, 40), 31);
    ck_assert_int_eq(queue_send_batch(&senders[0], items + 31, 9), -EAGAIN);
    for (int64_t i = 0; i < 5; i++)
        ck_assert_int_eq(number(0, false), i);
    ck_assert_int_eq(queue_send_batch(&senders[0], items + 31, 9), 5);
    for (int64_t i = 5; i < 36; i++)
        ck_assert_int_eq(number(0, false), i);
    ck_assert_int_eq(number(0, false), -EAGAIN);
    end();
}
END_TEST

/* ---- taken, and given back */

START_TEST(taken_is_nobody_elses) {
    struct queue_receiver other;
    struct queue_message theirs;
    begin(4096, 1, 0);
    queue_fixture_receiver(&fixture, &other, queue_fixture_person(&fixture, 21, 9));
    send_number(0, 1, 10);
    send_number(0, 1, 11);
    ck_assert_int_eq(queue_take(&receiver, any, SIZE_MAX, &message, NULL), 0);
    ck_assert_uint_eq(*(const uint64_t *)message.data, 10);
    ck_assert_int_eq(queue_take(&other, any, SIZE_MAX, &theirs, NULL), 0);
    ck_assert_uint_eq(*(const uint64_t *)theirs.data, 11);
    ck_assert_int_eq(number(0, false), -EAGAIN);
    struct queue_message mine = message;
    ck_assert_int_eq(queue_abandon(&other, &theirs), 0);
    ck_assert_int_eq(queue_abandon(&other, &theirs), -ESTALE);
    ck_assert_int_eq(queue_done(&other, &theirs), -ESTALE);
    ck_assert_int_eq(number(0, false), 11);
    ck_assert(message.redelivered);
    /* Who dies has it no more. */
    queue_fixture_dies(&fixture, receiver.who);
    receiver.who = queue_fixture_person(&fixture, 22, 1);
    ck_assert_int_eq(number(0, false), 10);
    ck_assert(message.redelivered);
    ck_assert_uint_eq(message.id, 1);
    ck_assert_int_eq(queue_done(&receiver, &mine), -ESTALE);
    queue_fixture_part(&other);
    end();
}
END_TEST

/* ---- several lanes */

START_TEST(lanes_merge_by_time) {
    begin(4096, 3, 0);
    for (unsigned i = 0; i < 60; i++)
        send_number(i * 7 % 3, 1 + i % 2, i);
    for (int64_t i = 0; i < 30; i++)
        ck_assert_int_eq(number(0, false), i);
    for (int64_t i = 31; i < 60; i += 2)
        ck_assert_int_eq(number(2, false), i);
    for (int64_t i = 30; i < 60; i += 2)
        ck_assert_int_eq(number(-2, false), i);
    end();
}
END_TEST

START_TEST(lowest_type_over_lanes) {
    begin(4096, 2, 0);
    send_number(0, 5, 0);
    send_number(1, 3, 1);
    send_number(0, 3, 2);
    send_number(1, 5, 3);
    static const int64_t order[] = {1, 2, 0, 3};
    for (unsigned i = 0; i < 4; i++)
        ck_assert_int_eq(number(-9, false), order[i]);
    end();
}
END_TEST

START_TEST(lanes_without_times_take_turns) {
    begin(4096, 3, SHM_SECTION_STAMP_NONE);
    for (unsigned i = 0; i < 12; i++)
        send_number(i / 4, 1, i);
    for (unsigned i = 0; i < 12; i++)
        ck_assert_int_eq(number(0, false), i % 3 * 4 + i / 3);
    ck_assert_uint_eq(message.send_ns, 0);
    end();
}
END_TEST

/* Rewrites the time of what was sent last in a lane. */
static void set_time(unsigned lane, uint64_t ns) {
    struct shm_lane *at = senders[lane].lane;
    struct shm_record *record =
        (struct shm_record *)(at + 1) + at->sent % fixture.queue.geometry.records;
    record->send_ns = ns;
    record->crc = CRC32C_OF((const struct shm_record *)record);
}

/* One says always that it sent first, another one that it sends tomorrow; the third goes on. */
START_TEST(false_times_starve_nobody) {
    begin(65536, 3, 0);
    unsigned next[3] = {0};
    for (unsigned i = 0; i < 300; i++) {
        for (unsigned lane = 0; lane < 3; lane++) {
            send_number(lane, 1, lane * 1000 + i);
            if (lane > 0)
                set_time(lane, lane == 1 ? 1 : UINT64_MAX);
        }
        for (unsigned n = 0; n < 2; n++) {
            const unsigned got = (unsigned)number(0, false);
            ck_assert_uint_eq(got % 1000, next[got / 1000]++);
        }
    }
    /* Who says that it sends tomorrow is behind who did so yesterday, but not for ever. */
    ck_assert_uint_ge(next[0], 200);
    ck_assert_uint_ge(next[1], 90);
    ck_assert_uint_ge(next[2], 1);
    end();
}
END_TEST

/* ---- what is seen from outside */

static int add_id(void *context, const struct queue_message *found) {
    uint64_t *sum = context;
    *sum = *sum * 10 + found->id;
    return found->id == 4 ? 77 : 0;
}

START_TEST(each_and_counts) {
    struct queue_lane_stat stat;
    uint64_t ids = 0;
    begin(4096, 2, 0);
    for (unsigned i = 0; i < 3; i++)
        send_number(0, 1 + i, i);
    send_number(1, 2, 9);
    ck_assert_int_eq(queue_each(&receiver, any, add_id, &ids, &message, NULL), 0);
    ck_assert_uint_eq(ids, 1231);
    ids = 0;
    ck_assert_int_eq(
        queue_each(&receiver, (struct queue_want){2, false}, add_id, &ids, &message, NULL), 0);
    ck_assert_uint_eq(ids, 21);
    send_number(0, 1, 4);
    ck_assert_int_eq(queue_each(&receiver, any, add_id, &ids, &message, NULL), 77);
    ck_assert_uint_eq(queue_count(&fixture.queue), 5);
    ck_assert_int_eq(number(2, false), 1);
    ck_assert_int_eq(queue_take(&receiver, any, SIZE_MAX, &message, NULL), 0);
    ck_assert_uint_eq(queue_count(&fixture.queue), 4);
    queue_lane_stat(&fixture.queue, 0, &stat);
    ck_assert_ptr_null(stat.damage);
    ck_assert_uint_eq(stat.sent, 4);
    ck_assert_uint_eq(stat.messages, 3);
    ck_assert_uint_eq(stat.taken, 1);
    ck_assert_uint_eq(stat.bytes, 24);
    ck_assert_uint_eq(stat.high_messages, 4);
    ck_assert_uint_eq(stat.high_bytes, 32);
    ck_assert_uint_eq(stat.bytes_sent, 32);
    ck_assert_uint_eq(stat.received, 1);
    ck_assert_uint_eq(stat.last_send_pid, (unsigned)getpid());
    ck_assert_uint_eq(stat.last_receive_pid, (unsigned)getpid());
    ck_assert_uint_eq(stat.takeovers, 0);
    ck_assert_uint_eq(stat.oldest_ns, message.send_ns);
    ck_assert_uint_eq(owner_of(stat.owner).index, 1);
    queue_refused(&senders[0]);
    queue_lane_stat(&fixture.queue, 0, &stat);
    ck_assert_uint_eq(stat.refused, 1);
    end();
}
END_TEST

UNIT_MAIN("queue", what_is_sent_is_received, bad_calls_are_refused, types_choose,
          long_ones_stay_or_are_cut, in_place_and_cancelled, batch_is_seen_in_one,
          taken_is_nobody_elses, lanes_merge_by_time, lowest_type_over_lanes,
          lanes_without_times_take_turns, false_times_starve_nobody, each_and_counts)
