/* SPDX-License-Identifier: Apache-2.0
 *
 * kill_queue [--seed N] [--wrong NAME] [--mutant NAME]
 *
 * A sender or a receiver, one instruction at a time: it takes a lane over, sends (copied, in place,
 * several at once, into a lane that is full of what nobody takes), or receives, peeks, and gives
 * back.  Four in five are killed somewhere, and the next goes on over what they left.  At each
 * place (sweep.h; here the places are the changes of the queue's memory) the account of its
 * messages is made.
 */
#include "account.h"
#include "core/shared.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POINTS          200000u
#define RELOCATED_LEAST 10u
#define BLOCK           16384u /* private memory of a sender or a receiver is smaller */

static void prepare(void);
static void act(void);
static void turn(unsigned pause);
static bool changed(void);
static void check(void);

static struct sweep sweep = {.name = "queue",
                             .prepare = prepare,
                             .act = act,
                             .turn = turn,
                             .changed = changed,
                             .check = check};

static struct watched watched;
static bool sends;   /* who is stepped does */
static uint64_t own; /* its random numbers */
static uint64_t private[4][BLOCK / 8];
static struct queue_sender sender, bystander_sender;
static struct queue_receiver receiver, bystander;
static bool bystander_sends;
static struct queue_message held;

static uint64_t pick(uint64_t n) {
    own ^= own << 13;
    own ^= own >> 7;
    own ^= own << 17;
    return (own >> 11) % n;
}

static void *block(unsigned i, size_t bytes) {
    if (bytes > BLOCK)
        sweep_fail("private memory", -ENOMEM);
    return memset(private[i], 0, BLOCK);
}

/* ---- who sends */

static void begin_sending(uint64_t number) {
    account->next = number + 1 > account->next ? number + 1 : account->next;
    account->fate[number] = SENDING;
}

static void end_sending(uint64_t number, int result) {
    account->fate[number] = result == 0 ? SENT : UNSENT;
    if (result == 0 && sweep_wrong("sends_twice")) {
        uint8_t data[ACCOUNT_BYTES];
        message_fill(data, number);
        queue_send(&sender, message_type(number), data, message_bytes(number));
    }
    if (result < 0 && result != -EAGAIN)
        _Exit(1);
}

static int send_copied(uint64_t number) {
    uint8_t data[ACCOUNT_BYTES];
    message_fill(data, number);
    begin_sending(number);
    const int r = queue_send(&sender, message_type(number), data, message_bytes(number));
    end_sending(number, r);
    return r;
}

static int send_in_place(uint64_t number, bool commit) {
    void *data;
    begin_sending(number);
    int r = queue_reserve(&sender, message_bytes(number), &data);
    if (r == 0) {
        message_fill(data, number);
        if (commit)
            r = queue_commit(&sender, message_type(number), message_bytes(number));
        else
            queue_cancel(&sender);
    }
    if (commit || r < 0)
        end_sending(number, r);
    else
        account->fate[number] = UNSENT;
    return r;
}

static int send_batch(uint64_t number) {
    uint8_t data[3][ACCOUNT_BYTES];
    struct queue_item items[3];
    for (unsigned i = 0; i < 3; i++) {
        message_fill(data[i], number + i);
        items[i] =
            (struct queue_item){message_type(number + i), data[i], message_bytes(number + i)};
        begin_sending(number + i);
    }
    const ssize_t n = queue_send_batch(&sender, items, 3);
    for (unsigned i = 0; i < 3; i++)
        end_sending(number + i, n < 0 ? (int)n : i < n ? 0 : -EAGAIN);
    return n < 3 ? -EAGAIN : 0;
}

static void send_all(void) {
    const uint64_t most = 4 + pick(12);
    void *memory = block(0, queue_sender_bytes(&real.queue));
    const struct attachment who = account_attachment(&real, STEPPED);
    sweep_begin();
    if (queue_sender_open(&sender, &real.queue, who, memory, NULL, NULL) < 0)
        _Exit(1);
    for (uint64_t i = 0; i < most; i++) {
        const uint64_t number = account->next, way = pick(8);
        const int r = way < 4    ? send_copied(number)
                      : way == 4 ? send_batch(number)
                                 : send_in_place(number, way != 5);
        if (r == -EAGAIN)
            sweep_pause(); /* somebody takes some of what fills the lane */
    }
    if (pick(2) == 0)
        queue_sender_close(&sender);
    sweep_end();
}

/* ---- who receives */

static struct queue_want any_want(void) {
    const int64_t type = 1 + (int64_t)pick(ACCOUNT_TYPES);
    switch (pick(4)) {
    case 0:
        return (struct queue_want){.type = type};
    case 1:
        return (struct queue_want){.type = -type};
    case 2:
        return (struct queue_want){.type = type, .except = true};
    default:
        return (struct queue_want){0};
    }
}

static uint64_t right_number(const struct queue_message *message, const void *data, size_t bytes) {
    const uint64_t number = message_number(message, data, bytes);
    if (number == 0)
        _Exit(1);
    return number;
}

static int receive_one(void) {
    uint8_t data[ACCOUNT_BYTES];
    struct queue_message message;
    const size_t room = pick(4) == 0 ? 24 : sizeof data;
    account->taking = 1;
    const ssize_t n = queue_receive(&receiver, any_want(), data, room, false, &message, NULL);
    if (n >= 0)
        account->fate[right_number(&message, data, (size_t)n)] = RECEIVED;
    account->taking = 0;
    if (n < 0 && n != -EAGAIN && n != -E2BIG)
        _Exit(1);
    return (int)n;
}

/* Looks at it where it stands, and only then says what becomes of it. */
static int peek_one(void) {
    struct queue_message message;
    const int r = queue_take(&receiver, any_want(), SIZE_MAX, &message, NULL);
    if (r < 0)
        return r;
    const uint64_t number = right_number(&message, message.data, message.length);
    const bool drops = sweep_wrong("drops");
    if (drops || pick(3) != 0) {
        account->taking = !drops;
        if (queue_done(&receiver, &message) < 0)
            _Exit(1);
        account->fate[number] = drops ? SENT : RECEIVED;
        account->taking = 0;
    } else if (pick(2) == 0 && queue_abandon(&receiver, &message) < 0) {
        _Exit(1);
    }
    return 0;
}

static void receive_all(void) {
    const uint64_t most = 3 + pick(8);
    queue_receiver_init(&receiver, &real.queue, account_attachment(&real, STEPPED),
                        block(0, queue_receiver_bytes(&real.queue)));
    sweep_begin();
    for (uint64_t i = 0; i < most; i++)
        if ((pick(2) == 0 ? receive_one() : peek_one()) == -EAGAIN)
            sweep_pause(); /* somebody sends more */
    sweep_end();
}

static void act(void) {
    if (sends)
        send_all();
    else
        receive_all();
}

/* ---- who stands by, and lives */

static void bystander_receive(struct queue_want want) {
    uint8_t data[ACCOUNT_BYTES];
    struct queue_message message;
    const char *field = NULL;
    const ssize_t n = queue_receive(&bystander, want, data, sizeof data, false, &message, &field);
    if (n == -EAGAIN)
        return;
    const uint64_t number = n < 0 ? 0 : message_number(&message, data, (size_t)n);
    if (number == 0)
        sweep_violation(&sweep, "who stands by gets %zd (%s)", n, field ? field : "a wrong one");
    account->fate[number] = RECEIVED;
}

/* Holds one for a while, so that it stands in its sender's way. */
static void bystander_hold(void) {
    if (account->held != 0) {
        const bool done = pick(2) == 0;
        const int r = done ? queue_done(&bystander, &held) : queue_abandon(&bystander, &held);
        if (r < 0)
            sweep_violation(&sweep, "who stands by lost what it held: %d", r);
        account->fate[account->held] = done ? RECEIVED : SENT;
        account->held = 0;
    } else if (queue_take(&bystander, (struct queue_want){0}, SIZE_MAX, &held, NULL) == 0) {
        account->held = message_number(&held, held.data, held.length);
        if (account->held == 0)
            sweep_violation(&sweep, "who stands by takes a wrong one");
    }
}

static int send_unstepped(struct queue_sender *by) {
    uint8_t data[ACCOUNT_BYTES];
    const uint64_t number = account->next++;
    message_fill(data, number);
    const int r = queue_send(by, message_type(number), data, message_bytes(number));
    account->fate[number] = r == 0 ? SENT : UNSENT;
    if (r < 0 && r != -EAGAIN)
        sweep_violation(&sweep, "who stands by can't send: %d", r);
    return r;
}

static void bystander_send(void) {
    if (bystander_sends)
        send_unstepped(&bystander_sender);
}

/* The lane that the next sender will take is full, mostly of what nobody takes. */
static void fill_lane(void) {
    struct queue_sender filler;
    if (queue_sender_open(&filler, &real.queue, account_attachment(&real, SUCCESSOR),
                          block(1, queue_sender_bytes(&real.queue)), NULL, NULL) < 0) {
        sweep_violation(&sweep, "who fills a lane finds none");
        return;
    }
    while (send_unstepped(&filler) == 0)
        continue;
    queue_sender_close(&filler);
}

static void bystander_comes_or_goes(void) {
    if (bystander_sends)
        queue_sender_close(&bystander_sender);
    else if (queue_sender_open(&bystander_sender, &real.queue, account_attachment(&real, BYSTANDER),
                               block(2, queue_sender_bytes(&real.queue)), NULL, NULL) < 0)
        sweep_violation(&sweep, "who stands by finds no lane");
    bystander_sends = !bystander_sends;
}

/* Type 1 is taken by few: it fills the lanes, and is appended again. */
static void turn(unsigned pause) {
    (void)pause;
    for (uint64_t i = 1 + pick(4); i > 0; i--)
        if (sends)
            bystander_receive((struct queue_want){.type = 1, .except = true});
        else
            bystander_send();
    if (pick(4) == 0)
        bystander_hold();
}

static void prepare(void) {
    if (sweep.pid != 0) {
        account_settle(&sweep);
        account_end_lease(&real);
    }
    if (account->next + 256 >= ACCOUNT_NUMBERS - 256)
        sweep_fail("so many messages", -E2BIG);
    sends = sweep_random() % 2 == 0;
    own = sweep_random() | 1;
    if (pick(8) == 0)
        bystander_comes_or_goes();
    for (uint64_t i = pick(4); i > 0; i--)
        bystander_send();
    if (sends && pick(2) == 0) {
        fill_lane();
        turn(0);
    }
    if (account->held != 0 || pick(6) == 0)
        bystander_hold();
    for (uint64_t i = pick(12) == 0 ? 64 : 0; i > 0; i--)
        bystander_receive((struct queue_want){0});
    /* Somebody sleeps, now and then. */
    shared_store_relaxed32(&real.place->bell.want, pick(2) == 0);
    account_watch(&watched);
}

static bool changed(void) {
    return watched_changed(&watched);
}

static void check(void) {
    account_check(&sweep);
}

int main(int argc, char **argv) {
    (void)argc;
    sweep_options(argv + 1);
    account_open();
    queue_receiver_init(&bystander, &real.queue, account_attachment(&real, BYSTANDER),
                        block(3, queue_receiver_bytes(&real.queue)));
    /* Chance has it that a run of that length is without records that are appended again; and what
     * must be noticed may take longer. */
    uint64_t length = 1;
    for (uint64_t round = 0; !sweep_failed(&sweep); round++) {
        const uint64_t start = sweep.points, budget = sweep_budget(POINTS);
        const bool enough = !sweep_any_wrong() && account_relocated() >= RELOCATED_LEAST;
        if (start >= (enough ? budget : 10 * budget))
            break;
        sweep_step(&sweep, round % 5 == 0 ? UINT64_MAX : start + 1 + sweep_random() % length);
        length = round % 5 == 0 ? sweep.points - start + 1 : length;
    }
    const uint32_t again = account_relocated();
    printf("figure: kill_relocations.queue %u records\n", again);
    if (again == 0 && !sweep_any_wrong())
        sweep_violation(&sweep, "no lane was ever full of what nobody takes");
    return sweep_report(&sweep);
}
