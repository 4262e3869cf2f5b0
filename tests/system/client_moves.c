/* SPDX-License-Identifier: Apache-2.0
 *
 * Cases about sections that move, by an edit of the table, while they are written and read.
 */
#include "pair.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/time.h>

#define LARGE 100000 /* more than any of the sections has at first */

/* Each case has a section of its own, of 4096 bytes. */
static char buffer[LARGE];
static const char large[LARGE] = {[0 ... LARGE - 1] = 'L'};

/* Under memfd a place that is new to a process comes from the manager, who gets a second for it;
 * this machine may take longer. */
static bool late(ssize_t r) {
    static uint64_t end;
    if (!on_memfd() || (r != -ETIMEDOUT && r != -ENOTCONN)) {
        end = 0;
        return false;
    }
    if (end == 0)
        end = now_ns() + PATIENCE_MS * UINT64_C(1000000);
    return now_ns() < end;
}

static struct shmc_section_info look(void) {
    struct shmc_section_info info;
    int r;
    do
        r = shmc_section_info(in, &info);
    while (late(r));
    CHECK_IS(r, 0);
    return info;
}

/* Behind it both have got there: a slow manager would keep the writer where he is for a while. */
static void edit_by(const char *request, const char *sql) {
    struct shmc_section_info info;
    edit_table_by(request, sql);
    if (!on_memfd())
        return;
    while (late(shmc_section_info(out, &info)) || late(shmc_section_info(in, &info)))
        continue;
}

static void edit(const char *sql) {
    edit_by("reload", sql);
}

static ssize_t read_in(void) {
    ssize_t n;
    do
        n = shmc_read(in, buffer, sizeof buffer, &value);
    while (late(n));
    return n;
}

static int publish_large(void) {
    int r;
    do
        r = shmc_publish(out, large, LARGE);
    while (late(r) || (on_memfd() && r == -EMSGSIZE && look().size >= LARGE)); /* not there yet */
    return r;
}

static void publish(const char *text) {
    CHECK_IS(shmc_publish(out, text, strlen(text)), 0);
}

static void check_read(const char *text, uint64_t version) {
    CHECK_IS(read_in(), (ssize_t)strlen(text));
    CHECK(memcmp(buffer, text, strlen(text)) == 0);
    CHECK_IS(value.version, version);
}

/* ---- one writer */

static void a_held_section_moves_with_the_next_publish(void) {
    set_up("grows");
    publish("before");
    const struct shmc_section_info before = look();
    edit("UPDATE section SET size = 131072 WHERE name = 'grows'");
    CHECK_IS(look().moving, 1);
    CHECK(look().offset != before.offset && look().incarnation == before.incarnation);
    CHECK_IS(look().version, 1);
    CHECK_IS(look().length, 6);
    check_read("before", 1);
    CHECK_IS(publish_large(), 0);
    CHECK_IS(read_in(), LARGE);
    CHECK(memcmp(buffer, large, LARGE) == 0);
    CHECK_IS(value.version, 2);
    CHECK_IS(value.missed, 0);
    AWAIT(!look().moving);
    CHECK_IS(read_in(), LARGE);
    CHECK_IS(value.version, 2);
    publish("behind");
    check_read("behind", 3);
    tear_down();
}

static void a_free_section_moves_at_once(void) {
    set_up("free");
    publish("kept");
    shmc_close(out);
    shmc_detach(writer);
    AWAIT(read_in() == 4 && value.writer == SHMC_GONE);
    const struct shmc_section_info before = look();
    edit_table("UPDATE section SET size = 131072, count = 7 WHERE name = 'free'");
    CHECK(look().offset != before.offset && look().incarnation == before.incarnation);
    CHECK(!look().moving && look().count == 7);
    check_read("kept", 1);
    writer = attach("driver", 0);
    out = open_section(writer, "free");
    CHECK_IS(publish_large(), 0);
    CHECK_IS(read_in(), LARGE);
    CHECK_IS(value.version, 2);
    tear_down();
}

static void a_smaller_size_counts_at_once(void) {
    set_up("shrinks");
    publish("short");
    edit_by("reload --force", "UPDATE section SET size = 100 WHERE name = 'shrinks'");
    check_read("short", 1);
    CHECK_IS(shmc_publish(out, large, 101), -EMSGSIZE);
    CHECK_SAYS(shmc_last_error(writer), "a value of 101 bytes, and its size is 100");
    check_read("short", 1);
    CHECK_IS(shmc_publish(out, large, 100), 0);
    CHECK_IS(read_in(), 100);
    tear_down();
}

static void what_was_begun_before_is_committed_behind(void) {
    void *data;
    size_t room;
    set_up("begun");
    publish("before");
    CHECK_IS(shmc_begin(out, &data, &room), 0);
    memcpy(data, "begun", 5);
    edit("UPDATE section SET size = 131072 WHERE name = 'begun'");
    check_read("before", 1);
    CHECK_IS(shmc_publish(out, "x", 1), -EBUSY);
    CHECK_IS(shmc_commit(out, 5), 0);
    check_read("begun", 2);
    AWAIT(!look().moving);
    check_read("begun", 2);

    CHECK_IS(shmc_begin(out, &data, &room), 0);
    CHECK_IS(room, 131072);
    memset(data, 'a', room);
    edit_by("reload --force", "UPDATE section SET size = 1000 WHERE name = 'begun'");
    CHECK_IS(shmc_commit(out, 131072), -EMSGSIZE);
    CHECK_SAYS(shmc_last_error(writer), "its size is 1000");
    CHECK_IS(shmc_commit(out, 1000), 0);
    CHECK_IS(read_in(), 1000);
    CHECK(value.version == 3 && buffer[0] == 'a' && buffer[999] == 'a');

    CHECK_IS(shmc_begin(out, &data, &room), 0);
    edit("UPDATE section SET count = 9 WHERE name = 'begun'");
    shmc_abort(out);
    CHECK_IS(read_in(), 1000);
    publish("at last");
    check_read("at last", 4);
    tear_down();
}

/* What a worker publishes before and behind it is one sequence, and a successor's goes on. */
static void a_follower_gets_every_version(void) {
    set_up("followed");
    for (int i = 1; i <= 3; i++)
        CHECK_IS(shmc_publish(out, &i, sizeof i), 0);
    int got = 0;
    CHECK_IS(shmc_follow(in, &got, sizeof got, 0, &value), sizeof got);
    const uint64_t first = value.version;
    edit("UPDATE section SET size = 8192, count = 3 WHERE name = 'followed'");
    for (int i = 4; i <= 5; i++)
        CHECK_IS(shmc_publish(out, &i, sizeof i), 0);
    for (uint64_t version = first + 1; version <= 5; version++) {
        CHECK_IS(shmc_follow(in, &got, sizeof got, 0, &value), sizeof got);
        CHECK_IS(value.version, version);
        CHECK_IS(got, version);
        CHECK_IS(value.missed, 0);
    }
    CHECK_IS(shmc_follow(in, &got, sizeof got, 0, &value), -EAGAIN);
    tear_down();
}

/* ---- sleepers */

static void *publish_later(void *argument) {
    pause_ms(50); /* so that the other sleeps */
    CHECK_IS(shmc_publish(argument, "later", 5), 0);
    return NULL;
}

/* In the place before: its writer is elsewhere, and has to wake it all the same. */
static void sleepers_in_the_old_place_are_woken(void) {
    pthread_t thread;
    set_up("slept");
    publish("before");
    check_read("before", 1);
    edit("UPDATE section SET size = 8192 WHERE name = 'slept'");
    const int fd = shmc_fd(in);
    CHECK(fd >= 0);
    CHECK_IS(pthread_create(&thread, NULL, publish_later, out), 0);
    CHECK_IS(shmc_next(in, buffer, sizeof buffer, PATIENCE_MS, &value), 5);
    CHECK_IS(value.version, 2);
    pthread_join(thread, NULL);

    CHECK_IS(shmc_next(in, buffer, sizeof buffer, 0, &value), -EAGAIN);
    edit("UPDATE section SET size = 4096 * 4 WHERE name = 'slept'");
    CHECK_IS(pthread_create(&thread, NULL, publish_later, out), 0);
    CHECK_IS(shmc_wait_any(&in, 1, PATIENCE_MS), 0);
    CHECK_IS(shmc_next(in, buffer, sizeof buffer, 0, &value), 5);
    CHECK_IS(shmc_next(in, buffer, sizeof buffer, 0, &value), -EAGAIN);
    pthread_join(thread, NULL);

    edit("UPDATE section SET size = 4096 * 7 WHERE name = 'slept'");
    CHECK_IS(pthread_create(&thread, NULL, publish_later, out), 0);
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    CHECK_IS(poll(&wait, 1, PATIENCE_MS), 1);
    AWAIT(shmc_next(in, buffer, sizeof buffer, 0, &value) == 5);
    CHECK_IS(value.version, 4);
    pthread_join(thread, NULL);
    tear_down();
}

static void a_view_is_memory_until_it_is_looked_at_again(void) {
    const void *data;
    size_t bytes;
    set_up("viewed");
    publish("seen");
    CHECK_IS(shmc_view(in, &data, &bytes, &value), 0);
    edit("UPDATE section SET size = 131072 WHERE name = 'viewed'");
    CHECK_IS(publish_large(), 0);
    CHECK(memcmp(data, "seen", 4) == 0); /* nobody writes there any more */
    CHECK_IS(shmc_valid(in), 0);
    CHECK_IS(shmc_view(in, &data, &bytes, &value), 0);
    CHECK(bytes == LARGE && memcmp(data, large, LARGE) == 0);
    CHECK_IS(shmc_valid(in), 1);
    tear_down();
}

/* Under memfd the new place's memory comes from the manager, who may be gone since. */
static void a_writer_goes_on_without_a_manager(void) {
    struct shmc_segment_info segment;
    set_up("alone");
    publish("before");
    CHECK_IS(shmc_segment(reader, &segment), 0);
    edit_table("UPDATE section SET size = 131072 WHERE name = 'alone'");
    CHECK_IS(kill(segment.manager_pid, SIGSTOP), 0);
    const uint64_t end = now_ns() + PATIENCE_MS * UINT64_C(1000000);
    unsigned times = 0;
    while (times < 1000 && now_ns() < end && shmc_publish(out, "alone", 5) == 0)
        times++;
    CHECK_IS(kill(segment.manager_pid, SIGCONT), 0);
    CHECK_IS(times, 1000);
    check_read("alone", 1 + times);
    CHECK_IS(publish_large(), 0);
    CHECK_IS(read_in(), LARGE);
    CHECK_IS(value.version, 2 + times);
    AWAIT(!look().moving);
    tear_down();
}

/* ---- another owner */

static void taken_away_by_force_is_said(void) {
    set_up("taken");
    publish("mine");
    edit_by("reload --force", "UPDATE section SET owner = 'grabber' WHERE name = 'taken'");
    check_read("mine", 1);
    CHECK_IS(shmc_publish(out, "x", 1), -EACCES);
    CHECK_SAYS(shmc_last_error(writer), "belongs to worker 'grabber', and this process is worker "
                                        "driver");
    shmc *other = attach("grabber", 0);
    shmc_section *theirs = open_section(other, "taken");
    CHECK_IS(shmc_publish(theirs, "theirs", 6), 0);
    check_read("theirs", 2);
    edit_by("reload --force", "UPDATE section SET owner = 'driver' WHERE name = 'taken'");
    CHECK_IS(shmc_publish(theirs, "x", 1), -EACCES);
    check_read("theirs", 2);
    publish("mine again");
    check_read("mine again", 3);
    edit_by("reload --force", "DELETE FROM section WHERE name = 'taken'");
    CHECK_IS(shmc_publish(out, "x", 1), -EIDRM);
    CHECK_IS(read_in(), -EIDRM);
    shmc_close(theirs);
    shmc_detach(other);
    tear_down();
}

static void a_value_begun_for_another_is_lost(void) {
    void *data;
    size_t room;
    set_up("lost");
    publish("kept");
    CHECK_IS(shmc_begin(out, &data, &room), 0);
    edit_by("reload --force", "UPDATE section SET owner = 'grabber' WHERE name = 'lost'");
    memset(data, 'x', room); /* reaches nobody, and harms nobody */
    CHECK_IS(shmc_commit(out, room), -EACCES);
    check_read("kept", 1);
    edit_by("reload --force", "UPDATE section SET owner = 'driver' WHERE name = 'lost'");
    publish("again");
    check_read("again", 2);
    tear_down();
}

/* ---- several threads, and a signal handler */

#define MOVES 10

static atomic_uint published;
static atomic_bool enough;

/* All of a worker's threads publish in one section, each by an object of its own. */
static void *publish_often(void *argument) {
    shmc_section *mine = open_section(writer, "shared");
    const char letter = *(const char *)argument;
    char text[512];
    memset(text, letter, sizeof text);
    for (unsigned i = 0; !atomic_load(&enough); i++) {
        void *data;
        size_t room;
        int r;
        if (i % 4 != 0) {
            r = shmc_publish(mine, text, sizeof text);
        } else {
            r = shmc_begin(mine, &data, &room);
            if (r == 0) {
                memset(data, letter, sizeof text);
                r = shmc_commit(mine, sizeof text);
            }
        }
        CHECK(r == 0 || r == -EBUSY);
        atomic_fetch_add(&published, r == 0);
    }
    shmc_close(mine);
    return NULL;
}

static void *read_often(void *argument) {
    shmc_section *mine = open_section(reader, "shared");
    char text[LARGE];
    uint64_t last = 0;
    struct shmc_value about;
    (void)argument;
    while (!atomic_load(&enough)) {
        const ssize_t n = shmc_next(mine, text, sizeof text, 100, &about);
        CHECK(n == 512 || n == -ETIMEDOUT || n == -EAGAIN);
        for (ssize_t i = 1; i < n; i++)
            CHECK(text[i] == text[0]);
        CHECK(n < 0 || about.version > last);
        last = n < 0 ? last : about.version;
    }
    shmc_close(mine);
    return NULL;
}

static void move_often(void) {
    for (int i = 0; i < MOVES; i++) {
        char sql[128];
        const unsigned before = atomic_load(&published);
        snprintf(sql, sizeof sql, "UPDATE section SET size = %d, count = %d WHERE name = 'shared'",
                 8192 + i * 64, 2 + i % 5);
        edit_table(sql);
        AWAIT(!look().moving && atomic_load(&published) != before);
    }
}

/* Each publish that was one is a version: none was lost, and none counted twice. */
static void no_thread_loses_a_publish(void) {
    static char letters[] = "abc";
    pthread_t writers[3], readers[2];
    set_up("shared");
    for (unsigned i = 0; i < 3; i++)
        CHECK_IS(pthread_create(&writers[i], NULL, publish_often, &letters[i]), 0);
    for (unsigned i = 0; i < 2; i++)
        CHECK_IS(pthread_create(&readers[i], NULL, read_often, NULL), 0);
    move_often();
    atomic_store(&enough, true);
    for (unsigned i = 0; i < 3; i++)
        pthread_join(writers[i], NULL);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(readers[i], NULL);
    CHECK_IS(read_in(), 512);
    CHECK_IS(value.version, atomic_load(&published));
    tear_down();
}

static void on_alarm(int signal) {
    (void)signal;
    const int r = shmc_publish(out, "handler", 7);
    CHECK(r == 0 || r == -EBUSY);
    atomic_fetch_add(&published, r == 0);
}

static void no_handler_loses_a_publish(void) {
    const struct itimerval often = {.it_interval = {.tv_usec = 300}, .it_value = {.tv_usec = 300}};
    const struct itimerval never = {0};
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    unsigned mine = 0;
    set_up("signalled");
    shmc_section *second = open_section(writer, "signalled");
    CHECK_IS(sigaction(SIGALRM, &action, NULL), 0);
    for (int i = 0; i < MOVES; i++) {
        char sql[128];
        snprintf(sql, sizeof sql, "UPDATE section SET size = %d WHERE name = 'signalled'",
                 8192 + i * 64);
        edit_table(sql);
        CHECK_IS(setitimer(ITIMER_REAL, &often, NULL), 0);
        for (int k = 0; k < 2000; k++) {
            const int r = shmc_publish(second, large, 700);
            CHECK(r == 0 || r == -EBUSY);
            mine += r == 0;
        }
        CHECK_IS(setitimer(ITIMER_REAL, &never, NULL), 0);
        AWAIT(!look().moving);
    }
    CHECK(read_in() > 0);
    CHECK_IS(value.version, mine + atomic_load(&published));
    shmc_close(second);
    tear_down();
}

CASES_MAIN({"a_held_section_moves_with_the_next_publish",
            a_held_section_moves_with_the_next_publish},
           {"a_free_section_moves_at_once", a_free_section_moves_at_once},
           {"a_smaller_size_counts_at_once", a_smaller_size_counts_at_once},
           {"what_was_begun_before_is_committed_behind", what_was_begun_before_is_committed_behind},
           {"a_follower_gets_every_version", a_follower_gets_every_version},
           {"sleepers_in_the_old_place_are_woken", sleepers_in_the_old_place_are_woken},
           {"a_view_is_memory_until_it_is_looked_at_again",
            a_view_is_memory_until_it_is_looked_at_again},
           {"a_writer_goes_on_without_a_manager", a_writer_goes_on_without_a_manager},
           {"taken_away_by_force_is_said", taken_away_by_force_is_said},
           {"a_value_begun_for_another_is_lost", a_value_begun_for_another_is_lost},
           {"no_thread_loses_a_publish", no_thread_loses_a_publish},
           {"no_handler_loses_a_publish", no_handler_loses_a_publish})
