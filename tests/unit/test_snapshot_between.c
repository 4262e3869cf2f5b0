/* SPDX-License-Identifier: Apache-2.0
 *
 * What a writer does between two accesses of a reader that only looks, spins or is lapped: the
 * library's own code, with the hook of core/shared.h, so that it happens each time.
 */
#define SHM_SHARED_HOOK
#include "core/snapshot.c"
#include "core/snapshot_reader.c"
#include "core/snapshot_wait.c"
#include "core/snapshot_writer.c"

#include "snapshot_fixture.h"
#include "unit.h"

#include <signal.h>
#include <sys/time.h>

static struct fixture fixture;
static struct snapshot_writer writer;
static struct snapshot_reader reader;

/* The event, before each access to `watched` from the one `after` so many others on. */
static const volatile void *watched;
static unsigned after, events;
static void (*event)(void);

void shared_hook(enum shared_access access, const volatile void *address, size_t bytes) {
    (void)access;
    (void)bytes;
    if (address == NULL || address != watched)
        return;
    if (after > 0) {
        after--;
        return;
    }
    watched = NULL; /* not for the event's own accesses */
    events++;
    event();
    watched = address;
}

static void arm(const volatile void *word, unsigned others, void (*what)(void)) {
    watched = word;
    after = others;
    events = 0;
    event = what;
}

static void disarm(void) {
    watched = NULL;
}

static uint64_t value[8];

static void publish_next(void) {
    value_make(value, sizeof value, writer.next, 1);
    ck_assert_int_eq(snapshot_publish(&writer, value, sizeof value), 0);
}

static void publish_once(void) {
    if (events == 1)
        publish_next();
}

static void begin(uint32_t count, uint32_t flags) {
    fixture_make(&fixture, sizeof value, count, flags);
    ck_assert_int_eq(snapshot_take_over(&writer, &fixture.snapshot, 1), 0);
    snapshot_reader_init(&reader, &fixture.snapshot);
    publish_next();
}

/* Lapped at each try: the reader gives up, says so, and has taken nothing for a value. */
static void publish_all_around(void) {
    for (uint32_t i = 0; i < fixture.snapshot.count; i++)
        publish_next();
}

START_TEST(who_is_always_lapped_gives_up) {
    uint64_t got[8];
    struct snapshot_value about;
    begin(2, SHM_SECTION_STAMP_NONE | SHM_SECTION_NOTIFY_NEVER);
    fixture.snapshot.bell = NULL; /* no hints, or the writer would spare what is read */
    for (uint32_t i = 0; i < 2; i++) {
        /* Before the first look at either buffer: two publishes, so that both have changed. */
        arm(&buffer_at(&fixture.snapshot, i)->seq, 0, publish_all_around);
        const uint64_t laps = reader.laps;
        const ssize_t n = snapshot_read(&reader, got, sizeof got, &about);
        disarm();
        ck_assert_int_eq(n, -EAGAIN);
        ck_assert_uint_eq(reader.laps - laps, SNAPSHOT_LAPS_MAX);
        ck_assert_int_eq(snapshot_read(&reader, got, sizeof got, &about), sizeof got);
        ck_assert(value_whole(got, sizeof got, about.version));
        publish_next(); /* so that the other buffer is the newest */
    }
    fixture_free(&fixture);
}
END_TEST

START_TEST(a_spinner_sees_a_publish) {
    uint64_t got[8];
    struct snapshot_value about;
    begin(4, SHM_SECTION_STAMP_NONE);
    for (unsigned looks = 1; looks < 200; looks += 33) {
        const uint64_t version = snapshot_version(&fixture.snapshot);
        arm(&fixture.snapshot.shared->head, looks, publish_once);
        ck_assert_int_eq(snapshot_wait(&reader, version, UINT64_MAX, UINT64_C(60000000000)), 0);
        disarm();
        ck_assert_uint_eq(events > 0, 1);
        ck_assert_uint_eq(fixture.snapshot.shared->wakes, 1); /* its first; it never rang */
        ck_assert_int_eq(snapshot_read(&reader, got, sizeof got, &about), sizeof got);
        ck_assert_uint_eq(about.version, version + 1);
        ck_assert(value_whole(got, sizeof got, about.version));
    }
    fixture_free(&fixture);
}
END_TEST

/* A head that names no buffer ends the spin like any other; the read then finds it. */
static void forge_head(void) {
    fixture.snapshot.shared->head =
        UINT64_C(200) << SHM_HEAD_BUFFER_SHIFT | UINT64_C(77) << SHM_HEAD_VERSION_SHIFT;
}

START_TEST(a_spinner_survives_a_forged_head) {
    uint64_t got[8];
    begin(4, 0);
    arm(&fixture.snapshot.shared->head, 5, forge_head);
    ck_assert_int_eq(snapshot_wait(&reader, 1, UINT64_MAX, UINT64_C(60000000000)), 0);
    disarm();
    ck_assert_int_eq(snapshot_read(&reader, got, sizeof got, NULL), -EBADMSG);
    fixture_free(&fixture);
}
END_TEST

/* Between arming and sleeping: the head that was armed for is not the one that is there.  That the
 * bound wasn't slept for shows by the time, unless the machine was busy. */
START_TEST(a_publish_before_the_sleep_is_not_slept_over) {
    bool quick = false;
    begin(4, 0);
    for (uint64_t version = 1; !quick && version < 20; version++) {
        arm(&fixture.snapshot.bell->want, 0, publish_once); /* the exchange in snapshot_arm() */
        const uint64_t before = clock_mono_ns();
        ck_assert_int_eq(snapshot_wait(&reader, version, UINT64_MAX, 0), 0);
        disarm();
        quick = clock_mono_ns() - before < SHM_SLEEP_BOUND_MS * UINT64_C(1000000) / 2;
        ck_assert_uint_eq(snapshot_version(&fixture.snapshot), version + 1);
    }
    ck_assert(quick);
    fixture_free(&fixture);
}
END_TEST

static volatile sig_atomic_t signals;

static void count_signal(int number) {
    (void)number;
    signals++;
}

/* Signals end a futex's sleep and a plain one; neither is taken for a wake-up. */
START_TEST(a_signal_ends_no_wait) {
    const struct sigaction action = {.sa_handler = count_signal}; /* and no SA_RESTART */
    const struct itimerval often = {{0, 3000}, {0, 3000}}, never = {0};
    begin(4, 0);
    for (unsigned empty = 0; empty <= SNAPSHOT_EMPTY_WAKES; empty += SNAPSHOT_EMPTY_WAKES) {
        reader.empty_wakes = empty;
        signals = 0;
        ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
        ck_assert_int_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
        const uint64_t until = clock_mono_ns() + UINT64_C(60000000);
        ck_assert_int_eq(snapshot_wait(&reader, 1, until, 0), -ETIMEDOUT);
        ck_assert_int_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
        ck_assert_uint_ge(clock_mono_ns(), until);
        ck_assert_int_gt(signals, 0);
        ck_assert_uint_le(reader.empty_wakes, empty);
    }
    fixture_free(&fixture);
}
END_TEST

/* How often a wait that ends with its deadline looks at the head. */
static unsigned looks(void) {
    arm(&fixture.snapshot.shared->head, UINT32_MAX, publish_once);
    ck_assert_int_eq(snapshot_wait(&reader, 1, clock_mono_ns() + UINT64_C(50000000), 0),
                     -ETIMEDOUT);
    const unsigned n = UINT32_MAX - after;
    disarm();
    return n;
}

/* Where the table says "always" a reader without a doorbell may sleep for the bound; where it says
 * "never" one with a doorbell must look by itself (more than once or twice, as far as a busy
 * machine lets it). */
START_TEST(who_is_not_rung_for_polls) {
    begin(4, SHM_SECTION_NOTIFY_ALWAYS);
    fixture.snapshot.bell = NULL;
    ck_assert_uint_lt(looks(), 8);
    fixture_free(&fixture);
    begin(4, SHM_SECTION_NOTIFY_NEVER);
    unsigned most = 0;
    for (unsigned try = 0; most <= 8 && try < 50; try++) {
        const unsigned n = looks();
        most = n > most ? n : most;
    }
    ck_assert_uint_gt(most, 8);
    fixture_free(&fixture);
}
END_TEST

UNIT_MAIN("snapshot between", a_signal_ends_no_wait, who_is_not_rung_for_polls,
          who_is_always_lapped_gives_up, a_spinner_sees_a_publish, a_spinner_survives_a_forged_head,
          a_publish_before_the_sleep_is_not_slept_over)
