/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots with everybody at once, as threads on one mapping, so that ThreadSanitizer sees them.
 * Those who hold grab, put, hand on, release or end without a word; two of them are threads of one
 * process.  Every word of every value is checked, and that nobody else is where one puts.
 */
#include "unit.h"

#include "slots_fixture.h"

#include <errno.h>
#include <pthread.h>

#define COUNT   3u
#define SIZE    256u
#define HOLDERS 3u
#define READERS 2u
#define ROUNDS  60000u

static struct slots_fixture fixture;
static struct slots *slots;
static uint32_t users[COUNT]; /* who puts there at the moment */
static uint64_t tickets[COUNT];
static uint32_t over;

struct party {
    pthread_t thread;
    uint32_t attachment;
    struct slots_holder own, *holder; /* threads of one process have one of them */
    const char *wrong;
    uint64_t done;
};

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state >> 11;
}

static bool check_value(const uint64_t *data, ssize_t n) {
    return value_whole(data, (size_t)n, data[0]) && (size_t)n == VALUE_LEAST + data[0] % 20 * 8;
}

static void put_some(struct party *party, uint32_t slot, uint64_t *label) {
    uint64_t value[SIZE / 8], got[SIZE / 8];
    struct slot_look look;
    if (__atomic_exchange_n(&users[slot], party->attachment, __ATOMIC_ACQ_REL) != 0)
        party->wrong = "two hold a slot at once";
    for (unsigned i = 0; i < 3; i++) {
        const size_t bytes = VALUE_LEAST + ++*label % 20 * 8;
        value_make(value, bytes, *label, party->attachment);
        if (slots_put(slots, party->holder, slot, value, bytes) < 0)
            party->wrong = "a put fails";
        const ssize_t n = slots_get(slots, slot, got, sizeof got, &look);
        if (n != (ssize_t)bytes || memcmp(value, got, bytes) != 0)
            party->wrong = "who holds a slot reads what another put";
    }
    __atomic_store_n(&users[slot], 0, __ATOMIC_RELEASE);
    party->done++;
}

/* Ends, and comes again under the next epoch. */
static void die(struct party *party) {
    slots_fixture_end(&fixture, party->attachment);
    slots_fixture_holder(&fixture, &party->own, party->attachment);
}

static int acquire(struct party *party, uint32_t *slot, uint64_t *random) {
    struct attachment by;
    const uint64_t ticket = __atomic_exchange_n(&tickets[*slot], 0, __ATOMIC_ACQ_REL);
    if (ticket != 0 && slots_take(slots, party->holder, *slot, ticket) == 0)
        return 0;
    if (next_random(random) % 4 == 0)
        return slots_fgrab(slots, party->holder, *slot, 0, &by);
    const int r = slots_grab(slots, party->holder, 0);
    *slot = r >= 0 ? (uint32_t)r : *slot;
    return r < 0 ? r : 0;
}

/* Who shares a holder must leave alone what the other one has by now: he grabs by slots_grab()
 * alone, takes no offer back, and doesn't end. */
static void *hold(void *argument) {
    struct party *party = argument;
    uint64_t random = 77 + (uintptr_t)party, label = (uint64_t)(party->attachment + 10) << 32;
    const bool alone = party->holder == &party->own;
    struct attachment by;
    for (unsigned round = 0; round < ROUNDS && party->wrong == NULL; round++) {
        uint32_t slot = (uint32_t)(next_random(&random) % COUNT);
        int r = alone ? acquire(party, &slot, &random) : slots_grab(slots, party->holder, 0);
        if (r < 0)
            continue;
        slot = alone ? slot : (uint32_t)r;
        put_some(party, slot, &label);
        uint64_t ticket;
        const unsigned how = (unsigned)(next_random(&random) % 8);
        if (how == 0 && alone) {
            die(party);
        } else if (how == 1 && slots_offer(slots, party->holder, slot, &ticket) == 0) {
            __atomic_store_n(&tickets[slot], ticket, __ATOMIC_RELEASE);
            if (alone && next_random(&random) % 2 == 0)
                slots_release(slots, party->holder, slot, &by); /* if it is still ours */
        } else if (slots_release(slots, party->holder, slot, &by) < 0) {
            party->wrong = "a release fails";
        }
    }
    return NULL;
}

static void *read_all(void *argument) {
    struct party *party = argument;
    uint64_t data[SIZE / 8], versions[COUNT] = {0}, random = 5;
    struct slot_look look;
    while (shared_load_acquire32(&over) == 0 && party->wrong == NULL) {
        const uint32_t slot = (uint32_t)(next_random(&random) % COUNT);
        const ssize_t n = slots_get(slots, slot, data, sizeof data, &look);
        if (n < 0 && n != -ENODATA && n != -EAGAIN)
            party->wrong = "a get fails";
        if (n < 0)
            continue;
        if (!check_value(data, n))
            party->wrong = "a torn value";
        else if (look.version < versions[slot])
            party->wrong = "a version un-happened";
        versions[slot] = look.version;
        party->done++;
    }
    return NULL;
}

static void start(struct party *party, uint32_t attachment, struct slots_holder *shared,
                  void *(*run)(void *)) {
    *party = (struct party){.attachment = attachment};
    party->holder = shared != NULL ? shared : &party->own;
    if (shared == NULL && run == hold)
        slots_fixture_holder(&fixture, &party->own, attachment);
    ck_assert_int_eq(pthread_create(&party->thread, NULL, run, party), 0);
}

static void join(struct party *party) {
    ck_assert_int_eq(pthread_join(party->thread, NULL), 0);
    ck_assert_msg(party->wrong == NULL, "%s", party->wrong);
}

START_TEST(everybody_at_once) {
    static struct party holders[HOLDERS + 2], readers[READERS];
    static struct slots_holder common;
    slots_fixture_make(&fixture, SIZE, COUNT, SHM_SECTION_STAMP_NONE);
    slots = &fixture.slots;
    slots_fixture_holder(&fixture, &common, HOLDERS + 1);
    for (uint32_t i = 0; i < READERS; i++)
        start(&readers[i], 0, NULL, read_all);
    for (uint32_t i = 0; i < HOLDERS + 2; i++)
        start(&holders[i], i + 1, i < HOLDERS ? NULL : &common, hold);
    uint64_t done = 0;
    for (uint32_t i = 0; i < HOLDERS + 2; i++) {
        join(&holders[i]);
        done += holders[i].done;
    }
    ck_assert_uint_gt(done, ROUNDS / 10);
    shared_store_release32(&over, 1);
    for (uint32_t i = 0; i < READERS; i++)
        join(&readers[i]);
    slots_fixture_free(&fixture);
}
END_TEST

UNIT_MAIN("slots_threads", everybody_at_once)
