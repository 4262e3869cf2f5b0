/* SPDX-License-Identifier: Apache-2.0
 *
 * A queue on its way to another place: the manager is killed before each of its accesses, and
 * before each of them somebody else sends, receives or takes.  Whatever comes of it, each message
 * is received once, and those of a lane in order.
 */
#define SHM_SHARED_HOOK
#include "core/queue_carry.c"

#include "queue_fixture.h"
#include "unit.h"

#include <setjmp.h>

#define LANES    3u
#define MESSAGES 30u /* before the move; one by a sender who is dead */

static struct queue_fixture from, to;
static struct queue_receiver receiver;
static struct attachment manager;
static unsigned seen[64];

/* ---- the manager's accesses */

static bool watched;
static unsigned before, accesses; /* the event comes before that access */
static void (*event)(void);

void shared_hook(enum shared_access access, const volatile void *address, size_t bytes) {
    (void)access;
    (void)address;
    (void)bytes;
    if (!watched || accesses++ != before)
        return;
    watched = false;
    event();
    watched = true;
}

static void send_number(struct queue_sender *sender, uint32_t number) {
    ck_assert_int_eq(queue_send(sender, 1, &number, sizeof number), 0);
}

static bool receive_one(struct queue_fixture *at, struct attachment who) {
    struct queue_receiver one;
    struct queue_message message;
    uint32_t number;
    queue_fixture_receiver(at, &one, who);
    const ssize_t n =
        queue_receive(&one, (struct queue_want){0}, &number, sizeof number, false, &message, NULL);
    queue_fixture_part(&one);
    if (n < 0)
        return false;
    ck_assert(n == sizeof number && number < 64);
    for (uint32_t i = number % LANES; number < MESSAGES && i < number; i += LANES)
        ck_assert_msg(seen[i] > 0, "before access %u: message %u came before %u", before, number,
                      i);
    seen[number]++;
    return true;
}

static void start(void) {
    struct queue_sender senders[LANES];
    queue_fixture_make(&from, 1000, LANES, 0);
    queue_fixture_make(&to, 1000, LANES, 0);
    to.queue.attachments = from.queue.attachments;
    memset(seen, 0, sizeof seen);
    manager = queue_fixture_person(&from, 60, 7);
    for (uint32_t i = 0; i < LANES; i++)
        queue_fixture_sender(&from, &senders[i], queue_fixture_person(&from, 1 + i, 3));
    for (uint32_t i = 0; i < MESSAGES; i++)
        send_number(&senders[i % LANES], i);
    for (uint32_t i = 1; i < LANES; i++)
        queue_sender_close(&senders[i]);
    queue_fixture_dies(&from, (struct attachment){1, 3});
    for (uint32_t i = 0; i < LANES; i++)
        queue_fixture_leave(&senders[i]);
    /* one was received, and one taken by somebody who died */
    struct attachment dead = queue_fixture_person(&from, 20, 1);
    struct queue_message message;
    ck_assert(receive_one(&from, dead));
    queue_fixture_receiver(&from, &receiver, dead);
    ck_assert_int_eq(queue_take(&receiver, (struct queue_want){0}, 100, &message, NULL), 0);
    queue_fixture_part(&receiver);
    queue_fixture_dies(&from, dead);
}

static void stop(void) {
    queue_fixture_free(&from);
    queue_fixture_free(&to);
}

static int move(void) {
    struct attachment by;
    int r = queue_seal(&from.queue, &by);
    if (r == 0)
        r = queue_carry(&from.queue, &to.queue, manager);
    return r;
}

/* What is left, at the place that is in force, is received once. */
static void receive_rest(struct queue_fixture *at, uint32_t messages) {
    struct attachment who = queue_fixture_person(&from, 21, 5);
    while (receive_one(at, who))
        ;
    for (uint32_t i = 0; i < messages; i++)
        ck_assert_msg(seen[i] == 1, "before access %u: message %u came %u times", before, i,
                      seen[i]);
    struct queue_sender sender;
    ck_assert_int_eq(queue_fixture_try_sender(at, &sender, who), 0);
    send_number(&sender, 50);
    queue_sender_close(&sender);
    queue_fixture_leave(&sender);
    ck_assert(receive_one(at, who) && seen[50] == 1);
}

/* ---- a kill */

static jmp_buf killed;

static void kill_it(void) {
    longjmp(killed, 1);
}

static void the_next_manager(void) {
    queue_fixture_dies(&from, manager);
    queue_unseal(&from.queue);
}

/* In place, as the flip was never made. */
START_TEST(killed_anywhere) {
    static volatile bool ended;
    event = kill_it;
    ended = false;
    for (before = 0; !ended; before++) {
        start();
        accesses = 0;
        watched = true;
        if (setjmp(killed) == 0) {
            ck_assert_int_eq(move(), 0);
            ended = true;
        }
        watched = false;
        the_next_manager();
        receive_rest(&from, MESSAGES);
        stop();
    }
    ck_assert_uint_gt(before, 100);
    printf("figure: queue_carry.kills %u points\n", before);
}
END_TEST

/* Behind the flip, at each of what is to be done at the place before. */
START_TEST(killed_behind_the_flip) {
    static volatile bool ended;
    event = kill_it;
    ended = false;
    for (before = 0; !ended; before++) {
        start();
        watched = false;
        ck_assert_int_eq(move(), 0);
        accesses = 0;
        watched = true;
        if (setjmp(killed) == 0) {
            queue_bury(&from.queue);
            ended = true;
        }
        watched = false;
        queue_bury(&from.queue); /* by the next one, before it ends the last one's attachment */
        queue_fixture_dies(&from, manager);
        ck_assert(!receive_one(&from, queue_fixture_person(&from, 22, 1))); /* a late one */
        receive_rest(&to, MESSAGES);
        stop();
    }
}
END_TEST

/* ---- others */

static bool sent, holds;
static struct queue_receiver other;
static struct queue_message held;

static void others_send(void) {
    struct queue_sender sender;
    const int r = queue_fixture_try_sender(&from, &sender, queue_fixture_person(&from, 30, 1));
    ck_assert(r == 0 || r == -ESTALE);
    if (r < 0)
        return;
    send_number(&sender, MESSAGES);
    sent = true;
    queue_sender_close(&sender);
    queue_fixture_leave(&sender);
}

static void others_receive(void) {
    receive_one(&from, queue_fixture_person(&from, 31, 1));
}

static void others_take(void) {
    queue_fixture_receiver(&from, &other, queue_fixture_person(&from, 32, 1));
    holds = queue_take(&other, (struct queue_want){0}, 100, &held, NULL) == 0;
}

/* Whoever was quicker keeps what he has got, and the move is given up; or he was too late. */
static void others_before_each(void (*what)(void)) {
    unsigned moved = 0, given_up = 0;
    event = what;
    for (before = 0;; before++) {
        start();
        sent = holds = false;
        accesses = 0;
        watched = true;
        const int r = move();
        watched = false;
        const bool all = accesses <= before;
        ck_assert(r == 0 || r == -EBUSY);
        moved += r == 0;
        given_up += r < 0;
        if (r == 0) {
            ck_assert(!holds);
            queue_bury(&from.queue);
            queue_fixture_dies(&from, manager);
        } else {
            the_next_manager();
        }
        if (holds) {
            uint32_t number;
            queue_copy(&held, &number, sizeof number);
            seen[number]++;
            ck_assert_int_eq(queue_done(&other, &held), 0);
        }
        receive_rest(r == 0 ? &to : &from, MESSAGES + sent);
        if (what == others_take && accesses > before)
            queue_fixture_part(&other);
        stop();
        if (all)
            break;
    }
    ck_assert_uint_gt(moved, 0);
    ck_assert(what != others_take || given_up > 0);
}

START_TEST(others_send_before_each) {
    others_before_each(others_send);
}
END_TEST

START_TEST(others_receive_before_each) {
    others_before_each(others_receive);
}
END_TEST

START_TEST(others_take_before_each) {
    others_before_each(others_take);
}
END_TEST

/* Who has a lane, or a message, is in it. */
START_TEST(who_is_in_it) {
    struct attachment by;
    struct queue_sender sender;
    watched = false;
    start();
    ck_assert_uint_eq(queue_entered(&from.queue), 0);
    queue_fixture_sender(&from, &sender, queue_fixture_person(&from, 40, 1));
    ck_assert_uint_eq(queue_entered(&from.queue), 40);
    ck_assert_int_eq(queue_seal(&from.queue, &by), -EBUSY);
    ck_assert_uint_eq(by.index, 40);
    queue_sender_close(&sender);
    queue_fixture_leave(&sender);
    others_take();
    ck_assert(holds);
    ck_assert_uint_eq(queue_entered(&from.queue), 32);
    queue_abandon(&other, &held);
    queue_fixture_part(&other);
    ck_assert_uint_eq(queue_entered(&from.queue), 0);
    receive_rest(&from, MESSAGES);
    stop();
}
END_TEST

UNIT_MAIN("queue_carry", killed_anywhere, killed_behind_the_flip, others_send_before_each,
          others_receive_before_each, others_take_before_each, who_is_in_it)
