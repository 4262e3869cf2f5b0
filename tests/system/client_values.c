/* SPDX-License-Identifier: Apache-2.0
 *
 * Cases about sections and their values: opening, publishing, reading, and following the table.
 */
#include "cases.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/time.h>

static void set_up(shmc **writer, shmc **reader) {
    *writer = attach("driver", 0);
    *reader = attach(NULL, 0);
}

static void tear_down(shmc *writer, shmc *reader) {
    shmc_detach(reader);
    shmc_detach(writer);
}

/* ---- snapshot */

static void what_is_published_is_read(void) {
    shmc *writer, *reader;
    char buffer[4096];
    struct shmc_value value;
    set_up(&writer, &reader);
    shmc_section *out = open_section(writer, "temps"), *in = open_section(reader, "temps");
    for (unsigned i = 0; i < 100; i++) {
        size_t bytes = i * 41;
        char text[4096];
        memset(text, 'a' + (int)(i % 26), bytes);
        CHECK_IS(shmc_publish(out, text, bytes), 0);
        CHECK_IS(shmc_read(in, buffer, sizeof buffer, &value), (ssize_t)bytes);
        CHECK(memcmp(buffer, text, bytes) == 0);
        CHECK_IS(value.length, bytes);
        CHECK_IS(value.missed, 0);
        CHECK_IS(value.writer, SHMC_ALIVE);
        CHECK(value.age_ns < UINT64_C(10000000000) && value.real_ns > 0 && !value.stale);
    }
    uint64_t version = value.version;
    for (int i = 0; i < 5; i++)
        CHECK_IS(shmc_publish(out, "x", 1), 0);
    CHECK_IS(shmc_read(in, buffer, sizeof buffer, &value), 1);
    CHECK_IS(value.version, version + 5);
    CHECK_IS(value.missed, 4);
    shmc_close(out);
    shmc_detach(writer);
    AWAIT(shmc_read(in, buffer, sizeof buffer, &value) == 1 && value.writer == SHMC_GONE);
    shmc_close(in);
    shmc_detach(reader);
}

static void in_place_is_the_same(void) {
    shmc *writer, *reader;
    set_up(&writer, &reader);
    shmc_section *out = open_section(writer, "temps"), *in = open_section(reader, "temps");
    void *room;
    const void *data;
    size_t bytes;
    struct shmc_value value;
    CHECK_IS(shmc_commit(out, 1), -EINVAL);
    CHECK_SAYS(shmc_last_error(writer), "nothing was begun");
    CHECK_IS(shmc_publish(out, "before", 6), 0);
    CHECK_IS(shmc_begin(out, &room, &bytes), 0);
    CHECK_IS(bytes, 4096);
    memset(room, 'n', bytes);
    CHECK_IS(shmc_publish(out, "x", 1), -EBUSY);
    CHECK_SAYS(shmc_last_error(writer), "is under way");
    CHECK_IS(shmc_view(in, &data, &bytes, &value), 0);
    CHECK(bytes == 6 && memcmp(data, "before", 6) == 0);
    CHECK_IS(shmc_valid(in), 1);
    CHECK_IS(shmc_commit(out, 5000), -EMSGSIZE);
    CHECK_SAYS(shmc_last_error(writer), "a value of 5000 bytes, and its size is 4096");
    CHECK_IS(shmc_commit(out, 4), 0);
    CHECK_IS(shmc_valid(in), 1); /* its buffer wasn't used again yet */
    for (int i = 0; i < 4; i++)
        CHECK_IS(shmc_publish(out, "x", 1), 0);
    CHECK_IS(shmc_valid(in), 0);
    CHECK_IS(shmc_begin(out, &room, &bytes), 0);
    shmc_abort(out);
    shmc_abort(out);
    CHECK_IS(shmc_begin(out, &room, &bytes), 0);
    shmc_close(out); /* aborts */
    out = open_section(writer, "temps");
    CHECK_IS(shmc_publish(out, "last", 4), 0);
    CHECK_IS(shmc_view(in, &data, &bytes, NULL), 0);
    CHECK(bytes == 4 && memcmp(data, "last", 4) == 0 && shmc_valid(in) == 1);
    shmc_close(out);
    shmc_close(in);
    tear_down(writer, reader);
}

static void mistakes_are_named(void) {
    shmc *writer, *reader;
    set_up(&writer, &reader);
    char buffer[4096];
    struct shmc_value value;
    shmc_section *section = NULL, *in = open_section(reader, "fresh");
    CHECK_IS(shmc_open(&section, reader, "nowhere", NULL), -ENOENT);
    CHECK_SAYS(shmc_last_error(reader), "no section 'nowhere'");
    CHECK(section == NULL);
    CHECK_IS(shmc_read(in, buffer, sizeof buffer, &value), -ENODATA);
    CHECK_SAYS(shmc_last_error(reader), "section 'fresh': nothing was published yet");
    CHECK_IS(value.version, 0);
    CHECK_IS(value.writer, SHMC_ALIVE);
    CHECK(value.age_ns == UINT64_MAX && value.incarnation != 0);
    CHECK_IS(shmc_publish(in, "x", 1), -EACCES);
    CHECK_SAYS(shmc_last_error(reader), "belongs to worker 'driver', and this process is a reader");
    shmc_section *cam = open_section(writer, "cam"), *temps = open_section(writer, "temps");
    CHECK_IS(shmc_publish(cam, "x", 1), -EACCES);
    CHECK_SAYS(shmc_last_error(writer), "belongs to worker 'grabber', and this process is worker "
                                        "driver");
    CHECK_IS(shmc_publish(temps, buffer, 4097), -EMSGSIZE);
    CHECK_SAYS(shmc_last_error(writer), "a value of 4097 bytes, and its size is 4096");
    CHECK_IS(shmc_publish(temps, "12345", 5), 0);
    CHECK_IS(shmc_read(temps, buffer, 4, &value), -EMSGSIZE);
    CHECK_IS(value.length, 5);
    CHECK_SAYS(shmc_last_error(writer), "the value has 5 bytes, the buffer given 4");
    CHECK_IS(shmc_raw_read(temps, 0, buffer, 1), -EPROTOTYPE);
    CHECK_SAYS(shmc_last_error(writer),
               "section 'temps' is a snapshot, and this call is for a raw");
    shmc_close(cam);
    shmc_close(temps);
    shmc_close(in);
    tear_down(writer, reader);
}

static void expectations_are_checked(void) {
    shmc *reader = attach(NULL, 0);
    shmc_section *section = NULL;
    struct shmc_expect expect = {.size = sizeof expect, .format = "temps/3"};
    CHECK_IS(shmc_open(&section, reader, "formed", &expect), -EPROTOTYPE);
    CHECK_SAYS(shmc_last_error(reader), "has the format 'temps/2', expected is 'temps/3'");
    expect = (struct shmc_expect){.size = sizeof expect, .kind = SHMC_RAW};
    CHECK_IS(shmc_open(&section, reader, "formed", &expect), -EPROTOTYPE);
    CHECK_SAYS(shmc_last_error(reader), "is a snapshot, expected is a raw");
    expect = (struct shmc_expect){.size = sizeof expect, .min_size = 1001};
    CHECK_IS(shmc_open(&section, reader, "formed", &expect), -EPROTOTYPE);
    CHECK_SAYS(shmc_last_error(reader), "a size of 1000 bytes, expected are 1001");
    expect = (struct shmc_expect){
        .size = sizeof expect, .kind = SHMC_SNAPSHOT, .format = "temps/2", .min_size = 1000};
    CHECK_IS(shmc_open(&section, reader, "formed", &expect), 0);
    shmc_close(section);
    expect.size = 2;
    CHECK_IS(shmc_open(&section, reader, "formed", &expect), -EINVAL);
    shmc_detach(reader);
}

/* ---- raw */

static void raw_is_plain_bytes(void) {
    shmc *writer, *reader;
    set_up(&writer, &reader);
    shmc_section *out = open_section(writer, "bytes"), *in = open_section(reader, "bytes");
    char buffer[8192];
    const void *data;
    void *mine;
    size_t bytes;
    CHECK_IS(shmc_raw_write(out, 100, "hello", 5), 5);
    CHECK_IS(shmc_raw_read(in, 100, buffer, 5), 5);
    CHECK(memcmp(buffer, "hello", 5) == 0);
    CHECK_IS(shmc_raw_read(in, 0, buffer, 8192), 8192);
    CHECK_IS(shmc_raw_read(in, 1, buffer, 8192), -EINVAL);
    CHECK_SAYS(shmc_last_error(reader), "8192 bytes at 1 are beyond its size of 8192");
    CHECK_IS(shmc_raw_read(in, SIZE_MAX, buffer, 2), -EINVAL);
    CHECK_IS(shmc_raw_write(in, 0, "x", 1), -EACCES);
    CHECK_IS(shmc_raw_writable(in, &mine, &bytes), -EACCES);
    CHECK_IS(shmc_raw(in, &data, &bytes), 0);
    CHECK(bytes == 8192 && memcmp((const char *)data + 100, "hello", 5) == 0);
    CHECK_IS(shmc_raw_writable(out, &mine, &bytes), 0);
    memcpy((char *)mine + 8000, "end", 3);
    CHECK(memcmp((const char *)data + 8000, "end", 3) == 0);
    shmc_section *theirs = open_section(writer, "theirs");
    CHECK_IS(shmc_raw_write(theirs, 0, "x", 1), -EACCES);
    CHECK_IS(shmc_publish(theirs, "x", 1), -EPROTOTYPE);
    shmc_close(theirs);
    shmc_close(out);
    shmc_close(in);
    tear_down(writer, reader);
}

/* ---- a table that changes */

static void sections_follow_the_table(void) {
    edit_table("INSERT INTO section(name, owner, size) VALUES('moody', 'moody-driver', 100);");
    shmc *writer = attach("moody-driver", 0), *reader = attach(NULL, 0);
    shmc_section *out = open_section(writer, "moody"), *in = open_section(reader, "moody");
    char buffer[100];
    struct shmc_section_info info;
    CHECK_IS(shmc_publish(out, "one", 3), 0);
    CHECK_IS(shmc_read(in, buffer, sizeof buffer, NULL), 3);
    edit_table("UPDATE section SET stale_ms = 60000 WHERE name = 'moody';");
    CHECK_IS(shmc_publish(out, "four", 4), 0);
    CHECK_IS(shmc_read(in, buffer, sizeof buffer, NULL), 4);
    CHECK_IS(shmc_section_info(in, &info), 0);
    CHECK_IS(info.stale_ms, 60000);
    shmc_detach(writer);
    CHECK_IS(shmc_publish(out, "x", 1), -EBADF);
    shmc_close(out);
    AWAIT(shmc_inspect(reader, "moody", &info) == 0 && info.writer == SHMC_GONE);
    edit_table("UPDATE section SET name = 'renamed' WHERE name = 'moody';");
    CHECK_IS(shmc_read(in, buffer, sizeof buffer, NULL), 4);
    CHECK_IS(shmc_section_info(in, &info), 0);
    CHECK(strcmp(info.name, "renamed") == 0);
    CHECK_IS(shmc_inspect(reader, "moody", &info), -ENOENT);
    edit_table("DELETE FROM section WHERE name = 'renamed';");
    CHECK_IS(shmc_read(in, buffer, sizeof buffer, NULL), -EIDRM);
    CHECK_SAYS(shmc_last_error(reader), "was removed from the table");
    edit_table("INSERT INTO section(name, owner, size) VALUES('moody', 'moody-driver', 100);");
    CHECK_IS(shmc_read(in, buffer, sizeof buffer, NULL), -EIDRM);
    CHECK_IS(shmc_next(in, buffer, sizeof buffer, 1000, NULL), -EIDRM);
    shmc_close(in);
    in = open_section(reader, "moody");
    CHECK_IS(shmc_read(in, buffer, sizeof buffer, NULL), -ENODATA);
    shmc_close(in);
    shmc_detach(reader);
    edit_table("DELETE FROM section WHERE name = 'moody';"
               "DELETE FROM worker WHERE name = 'moody-driver';");
}

static void new_sections_of_a_worker_become_writable(void) {
    shmc *writer = attach("driver", 0);
    shmc_section *old = open_section(writer, "temps");
    CHECK_IS(shmc_publish(old, "a", 1), 0);
    edit_table("INSERT INTO section(name, owner, size) VALUES('large', 'driver', 1000000);");
    shmc_section *large = open_section(writer, "large");
    CHECK_IS(shmc_publish(large, "b", 1), 0);
    CHECK_IS(shmc_publish(old, "c", 1), 0);
    shmc_close(old);
    shmc_close(large);
    shmc_detach(writer);
    edit_table("DELETE FROM section WHERE name = 'large';");
}

static void format_changes_are_noticed(void) {
    edit_table(
        "INSERT INTO section(name, owner, size, format) VALUES('shape', 'shaper', 8, 'a/1');");
    shmc *reader = attach(NULL, 0);
    shmc_section *section = NULL;
    struct shmc_expect expect = {.size = sizeof expect, .format = "a/1"};
    char buffer[8];
    CHECK_IS(shmc_open(&section, reader, "shape", &expect), 0);
    CHECK_IS(shmc_read(section, buffer, sizeof buffer, NULL), -ENODATA);
    edit_table("UPDATE section SET format = 'a/2' WHERE name = 'shape';");
    CHECK_IS(shmc_read(section, buffer, sizeof buffer, NULL), -EPROTOTYPE);
    CHECK_SAYS(shmc_last_error(reader), "has the format 'a/2', expected is 'a/1'");
    edit_table("UPDATE section SET format = 'a/1' WHERE name = 'shape';");
    CHECK_IS(shmc_read(section, buffer, sizeof buffer, NULL), -ENODATA);
    shmc_close(section);
    shmc_detach(reader);
    edit_table("DELETE FROM section WHERE name = 'shape';"
               "DELETE FROM worker WHERE name = 'shaper';");
}

/* ---- looking around */

static void everything_is_listed(void) {
    shmc *writer = attach("driver", 0);
    shmc_section *temps = open_section(writer, "temps");
    struct shmc_section_info *sections;
    struct shmc_worker_info *workers;
    struct shmc_segment_info info;
    size_t n, found = 0;
    CHECK_IS(shmc_publish(temps, "abc", 3), 0);
    CHECK_IS(shmc_sections(writer, &sections, &n), 0);
    CHECK_IS(shmc_segment(writer, &info), 0);
    CHECK_IS(n, info.sections);
    for (size_t i = 0; i < n; i++) {
        CHECK(i == 0 || strcmp(sections[i - 1].name, sections[i].name) < 0);
        if (strcmp(sections[i].name, "temps") != 0)
            continue;
        found++;
        CHECK(sections[i].own && sections[i].writer == SHMC_ALIVE && sections[i].length == 3);
        CHECK(sections[i].version > 0 && sections[i].size == 4096 && !sections[i].stale);
        CHECK_IS(sections[i].kind, SHMC_SNAPSHOT);
    }
    CHECK_IS(found, 1);
    free(sections);
    CHECK_IS(shmc_workers(writer, &workers, &n), 0);
    CHECK_IS(n, info.workers);
    found = 0;
    for (size_t i = 0; i < n; i++)
        if (strcmp(workers[i].name, "driver") == 0) {
            CHECK(workers[i].state == SHMC_ALIVE && workers[i].pid == getpid());
            found++;
        }
    CHECK_IS(found, 1);
    free(workers);
    CHECK(info.manager_alive && info.arena_bytes > 0 && info.arena_bytes <= info.bytes);
    CHECK(strcmp(info.protection, on_memfd() ? "kernel (memfd)" : "cooperative (sysv)") == 0 &&
          info.base != NULL);
    shmc_close(temps);
    shmc_detach(writer);
}

static void a_thousand_sections_open_at_once(void) {
    static shmc_section *out[1000], *in[1000];
    shmc *writer = attach("bulk", 0), *reader = attach(NULL, 0);
    for (unsigned i = 0; i < 1000; i++) {
        char name[32];
        snprintf(name, sizeof name, "many%04u", i + 1);
        out[i] = open_section(writer, name);
        in[i] = open_section(reader, name);
        CHECK_IS(shmc_publish(out[i], &i, sizeof i), 0);
    }
    for (unsigned i = 0; i < 1000; i++) {
        unsigned is;
        CHECK_IS(shmc_read(in[i], &is, sizeof is, NULL), sizeof is);
        CHECK_IS(is, i);
        shmc_close(in[i]);
        shmc_close(out[i]);
    }
    tear_down(writer, reader);
}

/* ---- threads and signals */

#define ROUNDS 20000
static atomic_uint published, busy;
static atomic_bool enough;
static shmc *shared_segment;
static atomic_bool handled;

static void *publish_often(void *argument) {
    char value[2000];
    shmc_section *section = open_section(shared_segment, "temps");
    memset(value, *(const char *)argument, sizeof value);
    while (!atomic_load(&enough)) {
        int r = shmc_publish(section, value, sizeof value);
        CHECK(r == 0 || r == -EBUSY);
        atomic_fetch_add(r == 0 ? &published : &busy, 1);
    }
    shmc_close(section);
    return NULL;
}

static void two_threads_take_turns(void) {
    pthread_t threads[2];
    char value[4096];
    struct shmc_value before, after;
    shmc *reader = attach(NULL, 0);
    shmc_section *in = open_section(reader, "temps");
    static char letters[] = "ab";
    shared_segment = attach("driver", 0);
    bool any = shmc_read(in, value, sizeof value, &before) >= 0;
    uint64_t first = any ? before.version : 0;
    CHECK(pthread_create(&threads[0], NULL, publish_often, &letters[0]) == 0);
    CHECK(pthread_create(&threads[1], NULL, publish_often, &letters[1]) == 0);
    unsigned reads = 0;
    do {
        ssize_t n = shmc_read(in, value, sizeof value, &after);
        if (n != 2000)
            continue;
        for (int i = 1; i < 2000; i++)
            CHECK(value[i] == value[0]);
        reads++;
    } while (reads < 1000 || atomic_load(&published) + atomic_load(&busy) < 2 * ROUNDS);
    atomic_store(&enough, true);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    CHECK_IS(shmc_read(in, value, sizeof value, &after), 2000);
    CHECK_IS(after.version - first, atomic_load(&published));
    shmc_close(in);
    shmc_detach(reader);
    shmc_detach(shared_segment);
}

static shmc_section *interrupted;
static void on_alarm(int signal) {
    (void)signal;
    char buffer[64];
    int r = shmc_publish(interrupted, "handler", 7);
    CHECK(r == 0 || r == -EBUSY);
    ssize_t n = shmc_read(interrupted, buffer, sizeof buffer, NULL);
    CHECK(n >= 0 || n == -EMSGSIZE || n == -EBUSY || n == -EAGAIN);
    atomic_fetch_add(r == 0 ? &published : &busy, 1);
    atomic_store(&handled, true);
}

static void handlers_may_publish(void) {
    shmc *segment = attach("driver", 0);
    char value[4096];
    memset(value, 'v', sizeof value);
    interrupted = open_section(segment, "temps");
    signal(SIGALRM, on_alarm);
    const struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
    for (int i = 0; i < 300000 || !atomic_load(&handled); i++)
        CHECK_IS(shmc_publish(interrupted, value, sizeof value), 0);
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    CHECK(atomic_load(&published) + atomic_load(&busy) > 0);
    shmc_close(interrupted);
    shmc_detach(segment);
}

CASES_MAIN({"what_is_published_is_read", what_is_published_is_read},
           {"in_place_is_the_same", in_place_is_the_same},
           {"mistakes_are_named", mistakes_are_named},
           {"expectations_are_checked", expectations_are_checked},
           {"raw_is_plain_bytes", raw_is_plain_bytes},
           {"sections_follow_the_table", sections_follow_the_table},
           {"new_sections_of_a_worker_become_writable", new_sections_of_a_worker_become_writable},
           {"format_changes_are_noticed", format_changes_are_noticed},
           {"everything_is_listed", everything_is_listed},
           {"a_thousand_sections_open_at_once", a_thousand_sections_open_at_once},
           {"two_threads_take_turns", two_threads_take_turns},
           {"handlers_may_publish", handlers_may_publish})
