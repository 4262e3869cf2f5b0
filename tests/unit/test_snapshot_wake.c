/* SPDX-License-Identifier: Apache-2.0
 *
 * Going to sleep against publishing, step by step: the library's own code, with a hook in front of
 * each access to the head and the doorbell, and a kernel of one sleeper.  A seed decides at each
 * step who goes on.  A run is lost when the writer has finished and the sleeper still sleeps.
 *
 * The steps are sequentially consistent here; what the barriers are for, it can't show.
 */
#define SHM_SHARED_HOOK
#include "core/snapshot.c"
#include "core/snapshot_reader.c"
#include "core/snapshot_wait.c"
#include "core/snapshot_writer.c"

#include "snapshot_fixture.h"
#include "unit.h"

#include <pthread.h>
#include <semaphore.h>

#define PUBLISHES 3u
#define SCHEDULES 6000u

enum player { NOBODY, WRITER, SLEEPER };
enum state { AWAKE, ASLEEP, THROUGH };

static struct {
    sem_t baton[3];
    enum state state[3];
    uint64_t random;
    bool lost;
    unsigned sleeps;
} play;
static _Thread_local enum player self;
static struct fixture fixture;

static void hand_to(enum player player) {
    sem_post(&play.baton[player]);
}

static void await_baton(void) {
    while (sem_wait(&play.baton[self]) < 0)
        continue;
}

static void step(void) {
    const enum player other = self == WRITER ? SLEEPER : WRITER;
    play.random ^= play.random << 13;
    play.random ^= play.random >> 7;
    play.random ^= play.random << 17;
    if (self == NOBODY || play.state[other] != AWAKE || play.random % 2 == 0)
        return;
    hand_to(other);
    await_baton();
}

void shared_hook(enum shared_access access, const volatile void *address, size_t bytes) {
    (void)access, (void)bytes;
    if (self != NOBODY &&
        (address == &fixture.snapshot.shared->head || address == &fixture.snapshot.bell->want))
        step();
}

/* The kernel compares and queues as one step. */
int futex_wait(const uint32_t *word, uint32_t value, uint64_t deadline_ns) {
    (void)deadline_ns;
    step();
    if (__atomic_load_n(word, __ATOMIC_RELAXED) != value)
        return 0;
    play.sleeps++;
    if (play.state[WRITER] == THROUGH) {
        play.lost = true; /* it knows of an older version, and nobody is left to wake it */
        return -ETIMEDOUT;
    }
    play.state[SLEEPER] = ASLEEP;
    hand_to(WRITER);
    await_baton();
    return play.lost ? -ETIMEDOUT : 0;
}

int futex_wake(const uint32_t *word) {
    (void)word;
    step();
    if (play.state[SLEEPER] != ASLEEP)
        return 0;
    play.state[SLEEPER] = AWAKE;
    return 1;
}

uint64_t clock_read_ns(clockid_t clock) {
    (void)clock;
    return 1;
}

uint64_t clock_mono_ns(void) {
    return 1;
}

static void *sleep_for_each(void *unused) {
    struct snapshot_reader reader;
    struct futex_word word;
    (void)unused;
    snapshot_reader_init(&reader, &fixture.snapshot);
    self = SLEEPER;
    await_baton();
    for (uint64_t version = 1; version < 1 + PUBLISHES && !play.lost;) {
        while (!play.lost) {
            snapshot_ring(&reader);
            snapshot_heard();
            if (!snapshot_arm(&reader, version, &word))
                break;
            futex_wait(word.word, word.value, 0);
        }
        version = snapshot_version(&fixture.snapshot);
    }
    play.state[SLEEPER] = THROUGH;
    if (play.state[WRITER] != THROUGH)
        hand_to(WRITER);
    return NULL;
}

static void publish_each(struct snapshot_writer *writer) {
    self = WRITER;
    for (unsigned i = 0; i < PUBLISHES; i++)
        ck_assert_int_eq(snapshot_publish(writer, "x", 1), 0);
    self = NOBODY;
    play.state[WRITER] = THROUGH;
    play.lost = play.state[SLEEPER] == ASLEEP;
    if (play.state[SLEEPER] != THROUGH)
        hand_to(SLEEPER);
}

/* Is a wake-up lost in the schedule of this seed? */
static bool lost(uint64_t seed) {
    struct snapshot_writer writer;
    pthread_t sleeper;
    fixture_make(&fixture, 8, 2, SHM_SECTION_STAMP_NONE);
    ck_assert_int_eq(snapshot_take_over(&writer, &fixture.snapshot, 1), 0);
    ck_assert_int_eq(snapshot_publish(&writer, "x", 1), 0);
    play.random = seed * UINT64_C(0x9e3779b97f4a7c15);
    play.lost = false;
    for (enum player player = WRITER; player <= SLEEPER; player++) {
        play.state[player] = AWAKE;
        sem_init(&play.baton[player], 0, 0);
    }
    ck_assert_int_eq(pthread_create(&sleeper, NULL, sleep_for_each, NULL), 0);
    publish_each(&writer);
    pthread_join(sleeper, NULL);
    fixture_free(&fixture);
    return play.lost;
}

START_TEST(no_schedule_loses_a_wake_up) {
    for (uint64_t seed = 1; seed <= SCHEDULES; seed++)
        ck_assert_msg(!lost(seed), "the schedule of seed %lu loses a wake-up", seed);
    /* Or the schedules would show nothing. */
    ck_assert_uint_gt(play.sleeps, SCHEDULES / 4);
}
END_TEST

UNIT_MAIN("snapshot_wake", no_schedule_loses_a_wake_up)
