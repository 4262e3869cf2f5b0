/* SPDX-License-Identifier: Apache-2.0
 *
 * The queue with everybody at once, as threads on one mapping, so that ThreadSanitizer sees them:
 * senders who fill their lanes and wait for room, receivers who compete and wait for messages, and
 * somebody who looks.  Every message comes once and whole, those of a sender and type in order.
 */
#include "unit.h"

#include "core/futex.h"
#include "queue_fixture.h"

#include <errno.h>
#include <pthread.h>

#define SENDERS   3u
#define RECEIVERS 2u
#define TYPES     3u
#define WORDS     24u /* of the longest message */
#define LONG_NS   UINT64_C(100000000000)

static struct queue_fixture fixture;
static uint32_t messages; /* of each sender */
static uint32_t received; /* by all */
static uint8_t *had[SENDERS];

/* One of the threads. */
struct party {
    pthread_t thread;
    unsigned index;
    struct attachment who;
    const char *wrong; /* NULL: all was well */
    struct queue_sender sender;
    struct queue_receiver receiver;
};

static struct party senders[SENDERS], receivers[RECEIVERS], looker;

static bool over(void) {
    return __atomic_load_n(&received, __ATOMIC_RELAXED) >= SENDERS * messages;
}

static size_t words_of(uint64_t number) {
    return 2 + number * 7 % (WORDS - 2);
}

static int64_t type_of(uint64_t number) {
    return 1 + (int64_t)(number % TYPES);
}

static void *send_all(void *argument) {
    struct party *party = argument;
    const uint64_t until = clock_mono_ns() + LONG_NS;
    uint64_t data[WORDS];
    queue_fixture_sender(&fixture, &party->sender, party->who);
    for (uint64_t number = 0; number < messages && party->wrong == NULL;) {
        const size_t n = words_of(number);
        for (size_t i = 0; i < n; i++)
            data[i] = i == 0 ? number : number * 1000 + party->index + i;
        const int r = queue_send(&party->sender, type_of(number), data, n * 8);
        if (r == 0) {
            number++;
            continue;
        }
        const int w = r == -EAGAIN ? queue_wait_room(&party->sender, n * 8, until, 0) : r;
        if ((w < 0 && w != -ETIMEDOUT) || clock_mono_ns() > until)
            party->wrong = "a send fails";
    }
    queue_sender_close(&party->sender);
    queue_fixture_leave(&party->sender);
    return NULL;
}

static const char *check(const struct queue_message *message, const uint64_t *data, size_t bytes,
                         uint64_t last[SENDERS][TYPES]) {
    const unsigned from = message->sender.index - 1;
    const uint64_t number = data[0];
    if (from >= SENDERS || number >= messages || bytes != words_of(number) * 8 ||
        message->type != type_of(number))
        return "a message that nobody sent";
    for (size_t i = 1; i < bytes / 8; i++)
        if (data[i] != number * 1000 + from + i)
            return "a torn message";
    if (__atomic_exchange_n(&had[from][number], 1, __ATOMIC_RELAXED) != 0)
        return "a message comes twice";
    uint64_t *before = &last[from][message->type - 1];
    if (number + 1 <= *before)
        return "a message comes after a later one";
    *before = number + 1;
    return NULL;
}

/* The first takes all, the other one a type at a time for a while: what stays behind is in the
 * sender's way. */
static void *receive_all(void *argument) {
    struct party *party = argument;
    const uint64_t until = clock_mono_ns() + LONG_NS;
    uint64_t last[SENDERS][TYPES] = {{0}}, data[WORDS];
    queue_fixture_receiver(&fixture, &party->receiver, party->who);
    for (uint64_t i = 0; party->wrong == NULL && !over(); i++) {
        const struct queue_want want = {
            .type = party->index == 0 ? 0 : (int64_t)(i / 256 % (TYPES + 1)),
        };
        struct queue_message message;
        const ssize_t n =
            queue_receive(&party->receiver, want, data, sizeof data, false, &message, NULL);
        if (n >= 0) {
            party->wrong = check(&message, data, (size_t)n, last);
            __atomic_fetch_add(&received, 1, __ATOMIC_RELAXED);
            continue;
        }
        const int w = n == -EAGAIN
                          ? queue_wait_message(&party->receiver, want, until, 0, &message, NULL)
                          : (int)n;
        if ((w < 0 && w != -ETIMEDOUT) || clock_mono_ns() > until)
            party->wrong = "a receipt fails";
    }
    queue_fixture_part(&party->receiver);
    return NULL;
}

static void *look_on(void *argument) {
    struct party *party = argument;
    queue_fixture_receiver(&fixture, &party->receiver, (struct attachment){0});
    while (party->wrong == NULL && !over()) {
        struct queue_message message;
        struct queue_lane_stat stat;
        const struct queue_want any = {0};
        const int r = queue_wait_message(&party->receiver, any, UINT64_MAX, 0, &message, NULL);
        if (r != 0 && r != -ETIMEDOUT)
            party->wrong = "a look fails";
        for (uint32_t lane = 0; lane < SENDERS; lane++) {
            queue_lane_stat(&fixture.queue, lane, &stat);
            if (stat.damage != NULL)
                party->wrong = stat.damage;
        }
        clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    queue_fixture_part(&party->receiver);
    return NULL;
}

static void start(struct party *party, unsigned index, uint32_t attachment, void *(*run)(void *)) {
    *party = (struct party){.index = index};
    party->who = queue_fixture_person(&fixture, attachment, 1);
    ck_assert_int_eq(pthread_create(&party->thread, NULL, run, party), 0);
}

static void join(struct party *party) {
    ck_assert_int_eq(pthread_join(party->thread, NULL), 0);
    ck_assert_msg(party->wrong == NULL, "%s", party->wrong);
}

static void all_at_once(uint64_t size, uint32_t n) {
    queue_fixture_make(&fixture, size, SENDERS, 0);
    messages = getenv("SHM_SOAK") != NULL ? n * 50 : n;
    received = 0;
    for (unsigned i = 0; i < SENDERS; i++) {
        had[i] = queue_fixture_zeroed(messages);
        start(&senders[i], i, 1 + i, send_all);
    }
    for (unsigned i = 0; i < RECEIVERS; i++)
        start(&receivers[i], i, 20 + i, receive_all);
    start(&looker, 0, 30, look_on);
    for (unsigned i = 0; i < SENDERS; i++)
        join(&senders[i]);
    for (unsigned i = 0; i < RECEIVERS; i++)
        join(&receivers[i]);
    join(&looker);
    ck_assert_uint_eq(received, SENDERS * messages);
    ck_assert_uint_eq(queue_count(&fixture.queue), 0);
    for (unsigned i = 0; i < SENDERS; i++)
        free(had[i]);
    queue_fixture_free(&fixture);
}

START_TEST(small_lanes) {
    all_at_once(1024, 6000);
}
END_TEST

START_TEST(large_lanes) {
    all_at_once(16384, 6000);
}
END_TEST

/* ---- what ends a wait */

START_TEST(waits_are_bounded) {
    struct party party = {0};
    struct queue_message message;
    const struct queue_want any = {0};
    queue_fixture_make(&fixture, 1024, 1, 0);
    queue_fixture_sender(&fixture, &party.sender, queue_fixture_person(&fixture, 1, 1));
    queue_fixture_receiver(&fixture, &party.receiver, queue_fixture_person(&fixture, 2, 1));
    for (unsigned i = 0; i < 3; i++) {
        fixture.queue.bell = i == 1 ? NULL : fixture.queue.bell;
        const uint64_t spin = i == 2 ? 5000000 : 0, began = clock_mono_ns();
        ck_assert_int_eq(
            queue_wait_message(&party.receiver, any, began + 20000000, spin, &message, NULL),
            -ETIMEDOUT);
        ck_assert_uint_ge(clock_mono_ns() - began, 20000000);
        ck_assert_int_eq(queue_wait_message(&party.receiver, any, UINT64_MAX, spin, &message, NULL),
                         -ETIMEDOUT);
        ck_assert_uint_ge(clock_mono_ns() - began, 20000000 + SHM_SLEEP_BOUND_MS * 1000000);
        ck_assert_int_eq(queue_wait_message(&party.receiver, any, 0, 0, &message, NULL),
                         -ETIMEDOUT);
    }
    ck_assert_int_eq(queue_wait_room(&party.sender, 8, 0, 0), 0);
    ck_assert_int_eq(queue_wait_room(&party.sender, 513, 0, 0), -EMSGSIZE);
    while (queue_send(&party.sender, 1, "x", 1) == 0)
        continue;
    const uint64_t began = clock_mono_ns();
    ck_assert_int_eq(queue_wait_room(&party.sender, 8, began + 20000000, 5000000), -ETIMEDOUT);
    ck_assert_uint_ge(clock_mono_ns() - began, 20000000);
    ck_assert_int_eq(queue_wait_room(&party.sender, 8, UINT64_MAX, 0), -ETIMEDOUT);
    ck_assert_uint_ge(party.sender.lane->blocked_ns, 20000000 + SHM_SLEEP_BOUND_MS * 1000000);
    ck_assert_uint_eq(party.sender.lane->waiting, 0);
    ck_assert_int_eq(queue_wait_message(&party.receiver, any, 0, 0, &message, NULL), 0);
    queue_fixture_leave(&party.sender);
    queue_fixture_part(&party.receiver);
    queue_fixture_free(&fixture);
}
END_TEST

UNIT_MAIN("queue_threads", small_lanes, large_lanes, waits_are_bounded)
