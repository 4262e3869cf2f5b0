/* SPDX-License-Identifier: Apache-2.0
 *
 * The snapshot with everybody at once, as threads on one mapping, so that ThreadSanitizer sees
 * them. Every word of every value is checked.
 */
#include "unit.h"

#include "../system/let_others.h"
#include "snapshot_fixture.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MS          UINT64_C(1000000)
#define LONG_ENOUGH (20000 * MS)
#define SIZE_MOST   10240u
#define RACES       60000u

static struct fixture fixture;
static struct snapshot_writer writer;
static uint32_t done; /* the writer has published its last */

static void begin_with(uint64_t size, uint32_t count) {
    fixture_make(&fixture, size, count, SHM_SECTION_STAMP_NONE);
    ck_assert_int_eq(snapshot_take_over(&writer, &fixture.snapshot, 11), 0);
    shared_store_release32(&done, 0);
}

static void publish(uint64_t version, size_t bytes) {
    uint64_t value[SIZE_MOST / 8];
    value_make(value, bytes, version, 1);
    ck_assert_int_eq(snapshot_publish(&writer, value, bytes), 0);
}

/* One of the threads beside the writer, which is the test's own. */
struct party {
    pthread_t thread;
    struct snapshot_reader reader;
    const char *wrong; /* NULL: all was well */
    uint64_t seen;     /* values */
    uint64_t missed;
    uint64_t last; /* version */
};

static void start(struct party *party, void *(*run)(void *)) {
    *party = (struct party){0};
    snapshot_reader_init(&party->reader, &fixture.snapshot);
    ck_assert_int_eq(pthread_create(&party->thread, NULL, run, party), 0);
}

static void join(struct party *party) {
    ck_assert_int_eq(pthread_join(party->thread, NULL), 0);
    ck_assert_msg(party->wrong == NULL, "%s", party->wrong);
}

/* `label` is the version that the value should give itself. */
static void look_at(struct party *party, const uint64_t *data, ssize_t n,
                    const struct snapshot_value *found, uint64_t label) {
    if (n == -EAGAIN || n == -ENODATA)
        return;
    if (n < 0)
        party->wrong = "a read failed";
    else if (found->version < party->last)
        party->wrong = "a version un-happened";
    else if (!value_whole(data, (size_t)n, label))
        party->wrong = "a torn value";
    __atomic_store_n(&party->seen, party->seen + (found->version > party->last), __ATOMIC_RELAXED);
    party->last = found->version;
}

static void *read_all(void *argument) {
    struct party *party = argument;
    uint64_t data[SIZE_MOST / 8];
    struct snapshot_value found;
    while (party->wrong == NULL && shared_load_acquire32(&done) == 0) {
        const ssize_t n = snapshot_read(&party->reader, data, sizeof data, &found);
        look_at(party, data, n, &found, found.version);
    }
    return NULL;
}

/* What it finds while it looks may be torn, but then it isn't valid. */
static void *view_all(void *argument) {
    struct party *party = argument;
    struct snapshot_value found;
    const void *data;
    while (party->wrong == NULL && shared_load_acquire32(&done) == 0) {
        if (snapshot_view(&party->reader, &data, &found) < 0)
            continue;
        const bool whole = value_whole(data, found.length, found.version);
        if (!snapshot_valid(&party->reader, &found))
            continue;
        if (!whole)
            party->wrong = "a torn value was valid";
        party->seen++;
    }
    return NULL;
}

static void *wait_for_all(void *argument) {
    struct party *party = argument;
    uint64_t data[SIZE_MOST / 8];
    struct snapshot_value found;
    while (party->wrong == NULL && shared_load_acquire32(&done) == 0) {
        if (snapshot_wait(&party->reader, party->last, clock_mono_ns() + MS, 0) < 0)
            continue;
        const ssize_t n = snapshot_read(&party->reader, data, sizeof data, &found);
        if (n >= 0 && found.version == party->last)
            party->wrong = "the wait ended without a newer version";
        look_at(party, data, n, &found, found.version);
    }
    return NULL;
}

static void *follow_all(void *argument) {
    struct party *party = argument;
    uint64_t data[SIZE_MOST / 8];
    struct snapshot_value found;
    for (uint64_t version = 1; party->wrong == NULL; version++) {
        ssize_t n;
        bool last; /* loaded before the look, so that nothing can come behind an -ENODATA */
        do {
            last = shared_load_acquire32(&done) != 0;
            n = snapshot_read_version(&party->reader, version, data, sizeof data, &found);
        } while (n == -ENODATA && !last);
        if (n == -ENODATA)
            break;
        if (n == -ESTALE)
            party->missed++;
        else
            look_at(party, data, n, &found, found.version);
    }
    return NULL;
}

static void check_all_at_once(size_t size, uint32_t count) {
    struct party readers[2], viewer, follower, waiter;
    begin_with(size, count);
    for (unsigned i = 0; i < 2; i++)
        start(&readers[i], read_all);
    start(&viewer, view_all);
    start(&follower, follow_all);
    start(&waiter, wait_for_all);
    const uint64_t deadline = clock_mono_ns() + 700 * MS;
    uint64_t version = 0;
    while (clock_mono_ns() < deadline)
        for (unsigned i = 0; i < 16; i++, version++)
            publish(version + 1, size - version % 5 * 8);
    shared_store_release32(&done, 1);
    for (unsigned i = 0; i < 2; i++)
        join(&readers[i]);
    join(&viewer);
    join(&follower);
    join(&waiter);
    ck_assert_uint_eq(follower.seen + follower.missed, version);
    fixture_free(&fixture);
}

START_TEST(all_at_once) {
    check_all_at_once(64, 2);
    check_all_at_once(64, 4);
    check_all_at_once(1000, 3);
    check_all_at_once(SIZE_MOST, 4);
}
END_TEST

/* Few, as both may have to share a processor, and then there is one in a slice. */
#define FRESH_READS 300u
#define LABELS      8u

static void *read_labelled(void *argument) {
    struct party *party = argument;
    uint64_t data[SIZE_MOST / 8];
    struct snapshot_value found;
    while (party->wrong == NULL && shared_load_acquire32(&done) == 0) {
        const ssize_t n = snapshot_read(&party->reader, data, sizeof data, &found);
        if (n == -EAGAIN)
            party->wrong = "a read gave up";
        look_at(party, data, n, &found, found.version % LABELS);
    }
    return NULL;
}

/* A writer that never rests, not even to make a value, at the size where it laps a reader again and
 * again. */
START_TEST(reader_does_not_starve) {
    static uint64_t values[LABELS][SIZE_MOST / 8];
    struct party reader;
    begin_with(SIZE_MOST, 4);
    for (unsigned i = 0; i < LABELS; i++)
        value_make(values[i], SIZE_MOST, i, 1);
    start(&reader, read_labelled);
    const uint64_t deadline = clock_mono_ns() + LONG_ENOUGH;
    uint64_t version = 0;
    while (__atomic_load_n(&reader.seen, __ATOMIC_RELAXED) < FRESH_READS &&
           clock_mono_ns() < deadline) {
        version++;
        ck_assert_int_eq(snapshot_publish(&writer, values[version % LABELS], SIZE_MOST), 0);
    }
    shared_store_release32(&done, 1);
    join(&reader);
    ck_assert_uint_ge(reader.seen, FRESH_READS);
}
END_TEST

/* ---- no wake-up is lost */

struct side {
    struct fixture mine, theirs;
    struct snapshot_writer writer;
    struct snapshot_reader reader;
    unsigned rounds;
    bool first;
    int result;
};

static bool arm(const struct snapshot_reader *reader, uint64_t version, struct futex_word *word) {
    snapshot_ring(reader);
    ck_assert(snapshot_heard());
    return snapshot_arm(reader, version, word);
}

/* Nothing bounds this sleep but a deadline that only a lost wake-up can reach. */
static int sleep_until_newer(struct side *side, uint64_t version) {
    struct futex_word word;
    int r = 0;
    while (r == 0 && arm(&side->reader, version, &word))
        r = futex_wait(word.word, word.value, clock_mono_ns() + LONG_ENOUGH);
    return r;
}

static void *hand_over(void *argument) {
    struct side *side = argument;
    for (uint64_t round = 0; round < side->rounds && side->result == 0; round++) {
        if (!side->first)
            side->result = sleep_until_newer(side, round);
        if (side->result == 0)
            side->result = snapshot_publish(&side->writer, &round, sizeof round);
        if (side->first && side->result == 0)
            side->result = sleep_until_newer(side, round);
    }
    return NULL;
}

/* Pins to the n-th processor that we may use, or the last one. */
static void pin(pthread_t thread, unsigned n) {
    cpu_set_t allowed, one;
    CPU_ZERO(&one);
    ck_assert_int_eq(pthread_getaffinity_np(pthread_self(), sizeof allowed, &allowed), 0);
    for (size_t cpu = 0, i = 0; cpu < CPU_SETSIZE && i <= n; cpu++) {
        if (!CPU_ISSET(cpu, &allowed))
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        i++;
    }
    ck_assert_int_eq(pthread_setaffinity_np(thread, sizeof one, &one), 0);
}

static void check_hand_overs(unsigned rounds, unsigned cores) {
    static struct side sides[2];
    pthread_t threads[2];
    struct fixture there, back;
    fixture_make(&there, 8, 2, SHM_SECTION_STAMP_NONE);
    fixture_make(&back, 8, 2, SHM_SECTION_STAMP_NONE);
    for (unsigned i = 0; i < 2; i++) {
        struct side *side = &sides[i];
        side->mine = i == 0 ? there : back;
        side->theirs = i == 0 ? back : there;
        side->rounds = rounds;
        side->first = i == 0;
        side->result = 0;
        ck_assert_int_eq(snapshot_take_over(&side->writer, &side->mine.snapshot, 1), 0);
        snapshot_reader_init(&side->reader, &side->theirs.snapshot);
    }
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, hand_over, &sides[i]), 0);
        pin(threads[i], i % cores);
    }
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_eq(sides[i].result, 0);
    }
    fixture_free(&there);
    fixture_free(&back);
}

START_TEST(no_wake_up_is_lost) {
    check_hand_overs(40000, 1); /* two hand-overs a round */
    check_hand_overs(10000, 2);
}
END_TEST

/* Both at the same moment, from a common start: the sleeper arms while the writer publishes, and
 * each has its store still in its own store buffer.  `turn` counts the starts. */
static uint64_t turn;

static void wait_for_turn(uint64_t number) {
    for (unsigned i = 0; shared_load_acquire64(&turn) < number; i++) {
        if (shared_load_acquire32(&done) != 0)
            return;
        i % 1024 == 1023 ? let_others() : shared_relax();
    }
}

static void *sleep_each_turn(void *argument) {
    struct party *party = argument;
    struct futex_word word;
    for (uint64_t round = 0; round < RACES && party->wrong == NULL; round++) {
        shared_store_release64(&turn, 2 * round + 1);
        wait_for_turn(2 * round + 2);
        for (uint64_t i = round % 32; i > 0; i--)
            shared_relax();
        while (party->wrong == NULL && arm(&party->reader, round, &word))
            if (futex_wait(word.word, word.value, clock_mono_ns() + LONG_ENOUGH) < 0)
                party->wrong = "a wake-up was lost";
    }
    shared_store_release32(&done, 1);
    return NULL;
}

START_TEST(no_race_is_lost) {
    struct party sleeper;
    begin_with(64, 2);
    shared_store_release64(&turn, 0);
    start(&sleeper, sleep_each_turn);
    pin(sleeper.thread, 0);
    pin(pthread_self(), 1);
    for (uint64_t round = 0; round < RACES && shared_load_acquire32(&done) == 0; round++) {
        wait_for_turn(2 * round + 1);
        shared_store_release64(&turn, 2 * round + 2);
        for (uint64_t i = round / 32 % 32; i > 0; i--)
            shared_relax();
        ck_assert_int_eq(snapshot_publish(&writer, &round, sizeof round), 0);
    }
    join(&sleeper);
}
END_TEST

/* ---- what ends a wait */

START_TEST(wait_ends_at_deadline_or_bound) {
    struct snapshot_reader reader;
    begin_with(64, 4);
    snapshot_reader_init(&reader, &fixture.snapshot);
    for (unsigned i = 0; i < 3; i++) {
        fixture.snapshot.bell = i == 1 ? NULL : fixture.snapshot.bell;
        const uint64_t spin_ns = i == 2 ? 5 * MS : 0;
        const uint64_t now = clock_mono_ns();
        ck_assert_int_eq(snapshot_wait(&reader, 0, now + 20 * MS, spin_ns), -ETIMEDOUT);
        ck_assert_uint_ge(clock_mono_ns() - now, 20 * MS);
        ck_assert_int_eq(snapshot_wait(&reader, 0, UINT64_MAX, spin_ns > 0 ? UINT64_MAX : 0),
                         -ETIMEDOUT);
        ck_assert_uint_ge(clock_mono_ns() - now, (20 + SHM_SLEEP_BOUND_MS) * MS);
        ck_assert_uint_lt(clock_mono_ns() - now, LONG_ENOUGH);
        ck_assert_int_eq(snapshot_wait(&reader, 0, 0, 0), -ETIMEDOUT);
    }
    ck_assert_uint_eq(reader.empty_wakes, 0);
}
END_TEST

static void *wait_for_one(void *argument) {
    struct party *party = argument;
    const uint64_t deadline = clock_mono_ns() + LONG_ENOUGH;
    while (snapshot_wait(&party->reader, 0, deadline, 0) < 0)
        if (clock_mono_ns() > deadline) {
            party->wrong = "the wait never ended";
            break;
        }
    return NULL;
}

START_TEST(wait_ends_with_a_publish) {
    struct party waiter;
    begin_with(64, 4);
    start(&waiter, wait_for_one);
    const uint64_t deadline = clock_mono_ns() + LONG_ENOUGH;
    while (shared_load_acquire32(&fixture.snapshot.bell->want) == 0 && clock_mono_ns() < deadline)
        let_others();
    publish(1, 64);
    join(&waiter);
}
END_TEST

/* Nobody rings for a reader that has no doorbell, or where the table says "never". */
START_TEST(wait_without_a_doorbell_polls) {
    for (unsigned i = 0; i < 2; i++) {
        struct party waiter;
        begin_with(64, 4);
        fixture.snapshot.flags |= SHM_SECTION_NOTIFY_NEVER;
        struct snapshot deaf = fixture.snapshot;
        if (i == 0) {
            deaf.bell = NULL;
            deaf.flags = 0;
        }
        waiter = (struct party){0};
        snapshot_reader_init(&waiter.reader, &deaf);
        ck_assert_int_eq(pthread_create(&waiter.thread, NULL, wait_for_one, &waiter), 0);
        publish(1, 64);
        join(&waiter);
        ck_assert_uint_eq(fixture.snapshot.shared->wakes, 0);
    }
}
END_TEST

static void *disturb(void *argument) {
    (void)argument;
    while (shared_load_acquire32(&done) == 0)
        futex_wake((const uint32_t *)&fixture.snapshot.shared->head);
    return NULL;
}

/* Somebody wakes the sleeper all the time: it must not turn into a spinner, nor miss a value. */
START_TEST(empty_wakes_are_slept_through) {
    struct snapshot_reader reader;
    pthread_t thread;
    begin_with(64, 4);
    snapshot_reader_init(&reader, &fixture.snapshot);
    ck_assert_int_eq(pthread_create(&thread, NULL, disturb, NULL), 0);
    const uint64_t from = clock_mono_ns(), cpu_from = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_int_eq(snapshot_wait(&reader, 0, UINT64_MAX, 0), -ETIMEDOUT);
    const uint64_t cpu = clock_read_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_from;
    ck_assert_uint_ge(clock_mono_ns() - from, 4 * SHM_SLEEP_BOUND_MS * MS);
    ck_assert_uint_lt(cpu, 4 * SHM_SLEEP_BOUND_MS * MS / 20);
    publish(1, 64);
    ck_assert_int_eq(snapshot_wait(&reader, 0, UINT64_MAX, 0), 0);
    shared_store_release32(&done, 1);
    pthread_join(thread, NULL);
}
END_TEST

/* Parks where the kernel refuses an ordinary wake-up, as a hostile reader can do. */
static void *park(void *argument) {
    uint32_t *head = (uint32_t *)&fixture.snapshot.shared->head;
    uint32_t *pi = argument;
    while (shared_load_acquire32(&done) == 0) {
        const uint64_t until = clock_mono_ns() + 20 * MS;
        const struct timespec deadline = {(time_t)(until / 1000000000), (long)(until % 1000000000)};
        syscall(SYS_futex, head, FUTEX_WAIT_REQUEUE_PI, shared_load_acquire32(head), &deadline, pi,
                0);
    }
    return NULL;
}

START_TEST(refused_wakes_are_counted) {
    pthread_t thread;
    static uint32_t pi;
    begin_with(64, 4);
    fixture.snapshot.flags |= SHM_SECTION_NOTIFY_ALWAYS;
    ck_assert_int_eq(pthread_create(&thread, NULL, park, &pi), 0);
    const uint64_t deadline = clock_mono_ns() + LONG_ENOUGH;
    const uint64_t *errors = &fixture.snapshot.shared->wake_errors;
    uint64_t version = 0;
    while (shared_load_relaxed64(errors) == 0 && clock_mono_ns() < deadline) {
        publish(++version, 64);
        let_others();
    }
    shared_store_release32(&done, 1);
    pthread_join(thread, NULL);
    ck_assert_uint_ge(shared_load_relaxed64(errors), 1);
    ck_assert_uint_eq(shared_load_relaxed64(&fixture.snapshot.shared->wakes), version);
}
END_TEST

UNIT_MAIN("snapshot_threads", all_at_once, reader_does_not_starve, no_wake_up_is_lost,
          no_race_is_lost, wait_ends_at_deadline_or_bound, wait_ends_with_a_publish,
          wait_without_a_doorbell_polls, empty_wakes_are_slept_through, refused_wakes_are_counted)
