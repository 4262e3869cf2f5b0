/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes in a lane that no sender would have written, and in claims that no receiver would.  They
 * cost that lane, and nobody else anything.
 */
#include "unit.h"

#include "core/crc32c.h"
#include "queue_fixture.h"

#include <errno.h>

#define SIZE    2048u
#define RECORDS 32u

static struct queue_fixture fixture;
static struct queue_sender bad, good;
static struct queue_receiver receiver;
static struct queue_message message;
static const char *field;
static const struct queue_want any;

static struct shm_record *record(uint64_t seq) {
    return (struct shm_record *)(bad.lane + 1) + seq % RECORDS;
}

static uint64_t *claim(uint64_t seq) {
    return (uint64_t *)(bad.claims + 1) + seq % RECORDS;
}

static void put(struct queue_sender *sender, uint64_t number) {
    ck_assert_int_eq(queue_send(sender, 1, &number, sizeof number), 0);
}

static ssize_t get(uint64_t *number) {
    field = NULL;
    return queue_receive(&receiver, any, number, sizeof *number, true, &message, &field);
}

/* Two lanes, with three messages each. */
static void begin(void) {
    queue_fixture_make(&fixture, SIZE, 2, SHM_SECTION_STAMP_NONE);
    queue_fixture_sender(&fixture, &bad, queue_fixture_person(&fixture, 1, 5));
    queue_fixture_sender(&fixture, &good, queue_fixture_person(&fixture, 2, 5));
    for (unsigned i = 0; i < 3; i++) {
        put(&bad, i);
        put(&good, 10 + i);
    }
    queue_fixture_receiver(&fixture, &receiver, queue_fixture_person(&fixture, 20, 8));
}

static void end(void) {
    queue_fixture_leave(&bad);
    queue_fixture_leave(&good);
    queue_fixture_part(&receiver);
    queue_fixture_free(&fixture);
}

/* It is named once, and then the other lane goes on. */
static void check_left_out(const char *what) {
    uint64_t number;
    unsigned named = 0, next = 10;
    for (unsigned i = 0; i < 4; i++) {
        const ssize_t n = get(&number);
        if (n == -EBADMSG) {
            ck_assert_uint_eq(message.lane, 0);
            ck_assert_str_eq(field, what);
            named++;
        } else {
            ck_assert_int_eq(n, 8);
            ck_assert_uint_eq(number, next++);
        }
    }
    ck_assert_uint_eq(named, 1);
    ck_assert_uint_eq(receiver.bad, 1);
    ck_assert_int_eq(get(&number), -EAGAIN);
    put(&good, 13);
    ck_assert_int_eq(get(&number), 8);
    struct queue_lane_stat stat;
    queue_lane_stat(&fixture.queue, 0, &stat);
    ck_assert_str_eq(stat.damage, what);
    queue_lane_stat(&fixture.queue, 1, &stat);
    ck_assert_ptr_null(stat.damage);
}

/* ---- records */

enum wrong { SEQ, CRC, ID_0, ID_BEYOND, LEN, LEN_BEYOND, POS, POS_BEYOND, TYPE_0, TYPE_BELOW };

static const char *spoil(struct shm_record *r, enum wrong wrong) {
    const char *what = "record.crc";
    switch (wrong) {
    case SEQ:
        r->seq += 2;
        return "record.seq";
    case CRC:
        r->crc ^= 1;
        return what;
    case ID_0:
        r->id = 0;
        what = "record.id";
        break;
    case ID_BEYOND:
        r->id = r->seq + 1;
        what = "record.id";
        break;
    case LEN:
        r->len = SIZE / 2 + 1;
        what = "record.len";
        break;
    case LEN_BEYOND:
        r->len = UINT32_MAX;
        what = "record.len";
        break;
    case POS:
        r->pos = 8;
        what = "record.pos";
        break;
    case POS_BEYOND:
        r->pos = UINT64_MAX - 63;
        what = "record.pos";
        break;
    case TYPE_0:
        r->type = 0;
        what = "record.type";
        break;
    default:
        r->type = INT64_MIN;
        what = "record.type";
    }
    r->crc = CRC32C_OF((const struct shm_record *)r);
    return what;
}

START_TEST(bad_records_cost_their_lane) {
    for (unsigned wrong = SEQ; wrong <= TYPE_BELOW; wrong++) {
        begin();
        check_left_out(spoil(record(1), (enum wrong)wrong));
        end();
    }
}
END_TEST

/* Behind one that is right, which is received before; and each bit. */
START_TEST(each_flipped_bit_is_seen) {
    for (unsigned bit = 0; bit < sizeof(struct shm_record) * 8; bit++) {
        uint64_t number;
        begin();
        ((uint8_t *)record(1))[bit / 8] ^= (uint8_t)(1u << bit % 8);
        unsigned named = 0;
        for (unsigned i = 0; i < 4; i++)
            named += get(&number) == -EBADMSG;
        ck_assert_msg(named == 1, "bit %u", bit);
        end();
    }
}
END_TEST

START_TEST(bad_counts_cost_their_lane) {
    static const uint64_t counts[] = {UINT64_MAX, QUEUE_SENT_MAX + 1, 1};
    for (unsigned i = 0; i < 3; i++) {
        uint64_t number;
        begin();
        ck_assert_int_eq(get(&number), 8);
        bad.lane->sent = counts[i];
        unsigned named = 0, had = 0;
        for (ssize_t n; (n = get(&number)) != -EAGAIN; n < 0 ? named++ : had++)
            ck_assert(n == 8 || (n == -EBADMSG && strcmp(field, "lane.sent") == 0));
        ck_assert_uint_eq(named, 1);
        ck_assert_uint_ge(had, 2);
        end();
    }
    /* Ahead of what is there: nothing is what it should be. */
    begin();
    bad.lane->sent = 5000;
    check_left_out("record.seq");
    end();
}
END_TEST

START_TEST(bad_constants_cost_their_lane) {
    uint64_t number;
    begin();
    bad.lane->max_message ^= 4;
    queue_fixture_part(&receiver);
    queue_fixture_receiver(&fixture, &receiver, receiver.who);
    check_left_out("lane.crc");
    queue_fixture_dies(&fixture, bad.who);
    struct queue_sender next;
    ck_assert_int_eq(
        queue_fixture_try_sender(&fixture, &next, queue_fixture_person(&fixture, 3, 1)), -EBADMSG);
    ck_assert_int_eq(get(&number), -EAGAIN);
    end();
}
END_TEST

/* ---- the next sender */

/* Who comes next would send under numbers that count as received. */
START_TEST(what_was_put_back_is_not_taken_over) {
    struct queue_sender next;
    uint64_t number;
    uint32_t lane = 99;
    begin();
    for (unsigned i = 0; i < 6; i++)
        ck_assert_int_eq(get(&number), 8);
    bad.lane->sent = 1;
    queue_fixture_dies(&fixture, bad.who);
    void *memory = queue_fixture_zeroed(queue_sender_bytes(&fixture.queue));
    const struct attachment who = queue_fixture_person(&fixture, 3, 1);
    ck_assert_int_eq(queue_sender_open(&next, &fixture.queue, who, memory, &lane, &field),
                     -EBADMSG);
    ck_assert_uint_eq(lane, 0);
    ck_assert_str_eq(field, "lane.sent");
    bad.lane->sent = 3; /* as it is right */
    ck_assert_int_eq(queue_sender_open(&next, &fixture.queue, who, memory, &lane, &field), 0);
    put(&next, 77);
    ck_assert_int_eq(get(&number), 8);
    ck_assert_uint_eq(number, 77);
    free(memory);
    end();
}
END_TEST

START_TEST(damage_is_not_taken_over) {
    for (unsigned wrong = SEQ; wrong <= TYPE_BELOW + 3; wrong++) {
        struct queue_sender next;
        uint32_t lane = 99;
        const char *what = "record.pos";
        begin();
        if (wrong <= TYPE_BELOW)
            what = spoil(record(2), (enum wrong)wrong);
        else if (wrong == TYPE_BELOW + 1)
            what = "lane.sent", bad.lane->sent = UINT64_MAX;
        else if (wrong == TYPE_BELOW + 2)
            what = "lane.moving", bad.lane->moving = 4;
        else { /* two in one place */
            record(2)->pos = record(1)->pos;
            record(2)->crc = CRC32C_OF((const struct shm_record *)record(2));
        }
        queue_fixture_dies(&fixture, bad.who);
        void *memory = queue_fixture_zeroed(queue_sender_bytes(&fixture.queue));
        const struct attachment who = queue_fixture_person(&fixture, 3, 1);
        ck_assert_int_eq(queue_sender_open(&next, &fixture.queue, who, memory, &lane, &field),
                         -EBADMSG);
        ck_assert_uint_eq(lane, 0);
        ck_assert_str_eq(field, what);
        ck_assert_uint_eq(bad.lane->owner, 0);
        /* With another lane to be had, that one is taken. */
        queue_fixture_dies(&fixture, good.who);
        ck_assert_int_eq(queue_sender_open(&next, &fixture.queue, who, memory, NULL, NULL), 0);
        ck_assert_uint_eq(next.index, 1);
        free(memory);
        end();
    }
}
END_TEST

START_TEST(sender_notices_others_in_its_lane) {
    begin();
    uint64_t number;
    const struct queue_want two = {2, false};
    for (unsigned i = 3; i < RECORDS - 1; i++)
        ck_assert_int_eq(queue_send(&bad, 2, &number, 8), 0);
    ck_assert_int_eq(queue_receive(&receiver, two, &number, 8, true, &message, NULL), 8);
    spoil(record(1), LEN);
    ck_assert_int_eq(queue_send(&bad, 1, &number, 8), -EBADMSG);
    ck_assert_int_eq(queue_send(&bad, 1, &number, 8), -EBADMSG);
    end();
}
END_TEST

/* ---- claims */

START_TEST(nonsense_in_claims_loses_no_memory) {
    uint64_t state = 7;
    begin();
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t number = i;
        state = state * 6364136223846793005u + 1442695040888963407u;
        /* Now and then one that means something. */
        const uint64_t seq = state >> 20 & 0xffffffff, now = bad.lane->sent - (state >> 60);
        *claim(state >> 40) =
            (state >> 58 & 1 ? now : seq) << SHM_CLAIM_SEQ_SHIFT | (state >> 8 & 0xffffffff);
        queue_send(&bad, 1, &number, sizeof number);
        const ssize_t n = get(&number);
        ck_assert(n >= 0 || n == -EAGAIN);
    }
    end();
}
END_TEST

/* Records, claims and counts at random, and a sender and receivers who meet them. */
START_TEST(nonsense_everywhere) {
    uint64_t state = 11;
    for (unsigned round = 0; round < 3000; round++) {
        begin();
        uint8_t *lane = (uint8_t *)bad.lane + SHM_LINE;
        for (unsigned i = 0; i < 6; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            const size_t at = (state >> 40) % (sizeof(struct shm_lane) + 4 * 64);
            lane[at] = (uint8_t)(state >> 33);
            uint64_t number;
            get(&number);
            queue_send(&bad, 1, &number, sizeof number);
        }
        struct queue_lane_stat stat;
        queue_lane_stat(&fixture.queue, 0, &stat);
        queue_fixture_dies(&fixture, bad.who);
        struct queue_sender next;
        if (queue_fixture_try_sender(&fixture, &next, queue_fixture_person(&fixture, 3, 1)) == 0)
            queue_fixture_leave(&next);
        uint64_t number;
        for (unsigned i = 0; i < 10; i++)
            get(&number);
        /* The other lane had three, and they were received. */
        queue_lane_stat(&fixture.queue, 1, &stat);
        ck_assert_uint_eq(stat.messages, 0);
        end();
    }
}
END_TEST

START_TEST(bad_control_line_binds_nothing) {
    struct queue queue;
    begin();
    struct shm_section section = fixture.section;
    const struct attachments nobody = {0};
    section.claims_off += SHM_PAGE;
    ck_assert_int_eq(queue_bind(&queue, fixture.memory, &section, NULL, &nobody, &field), -EBADMSG);
    ck_assert_str_eq(field, "claims_off");
    section = fixture.section;
    section.bytes -= SHM_LINE;
    ck_assert_int_eq(queue_bind(&queue, fixture.memory, &section, NULL, &nobody, &field), -EBADMSG);
    ck_assert_str_eq(field, "section.bytes");
    fixture.memory[4] ^= 1;
    ck_assert_int_eq(queue_bind(&queue, fixture.memory, &fixture.section, NULL, &nobody, &field),
                     -EBADMSG);
    ck_assert_str_eq(field, "control.crc");
    end();
}
END_TEST

UNIT_MAIN("queue_damage", bad_records_cost_their_lane, each_flipped_bit_is_seen,
          bad_counts_cost_their_lane, bad_constants_cost_their_lane, damage_is_not_taken_over,
          what_was_put_back_is_not_taken_over, sender_notices_others_in_its_lane,
          nonsense_in_claims_loses_no_memory, nonsense_everywhere, bad_control_line_binds_nothing)
