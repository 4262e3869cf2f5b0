/* SPDX-License-Identifier: Apache-2.0
 *
 * Cases about sections that workers make at run time.  Worker `maker` may make 1 MiB of them,
 * `prefork` (of 2 instances) and `other` 64 KiB, `greedy` more than there is, `driver` none.
 */
#include "cases.h"

#include <pthread.h>

#define KIB 1024

static shmc *maker, *reader;
static char buffer[100 * KIB];
static struct shmc_value value;

static struct shmc_create_options of(uint64_t bytes) {
    return (struct shmc_create_options){.size = sizeof(struct shmc_create_options), .bytes = bytes};
}

static int create(shmc *segment, const char *name, uint64_t bytes, unsigned flags) {
    struct shmc_create_options options = of(bytes);
    options.flags = flags;
    return shmc_create(segment, name, &options);
}

static int create_with(const char *name, struct shmc_create_options options) {
    return shmc_create(maker, name, &options);
}

static void publish_once(shmc *segment, const char *name, const char *text) {
    shmc_section *section = open_section(segment, name);
    CHECK_IS(shmc_publish(section, text, strlen(text)), 0);
    shmc_close(section);
}

static void set_up(void) {
    maker = attach("maker", 0);
    reader = attach(NULL, 0);
}

static void tear_down(void) {
    shmc_detach(reader);
    shmc_detach(maker);
}

static int find(const char *name) {
    struct shmc_section_info info;
    return shmc_inspect(reader, name, &info);
}

static uint64_t arena_bytes(void) {
    struct shmc_segment_info info;
    CHECK_IS(shmc_segment(reader, &info), 0);
    return info.arena_bytes;
}

static void one_is_made_used_and_dropped(void) {
    struct shmc_section_info info;
    set_up();
    struct shmc_create_options options = of(1000);
    options.format = "made/1";
    options.count = 3;
    options.stale_ms = 60000;
    options.stamp = SHMC_STAMP_COARSE;
    CHECK_IS(shmc_create(maker, "one", &options), 0);
    shmc_section *out = open_section(maker, "one"), *in = open_section(reader, "one");
    CHECK_IS(shmc_publish(out, "value", 5), 0);
    CHECK_IS(shmc_read(in, buffer, sizeof buffer, &value), 5);
    CHECK(memcmp(buffer, "value", 5) == 0 && value.version == 1 && value.writer == SHMC_ALIVE);
    CHECK_IS(shmc_publish(out, buffer, 1001), -EMSGSIZE);
    CHECK_IS(shmc_section_info(in, &info), 0);
    CHECK(info.made && !info.transient && !info.own && !info.persist && info.count == 3);
    CHECK(info.size == 1000 && info.stale_ms == 60000 && strcmp(info.format, "made/1") == 0);
    CHECK(strcmp(info.owner, "maker") == 0 && info.section_id >= UINT64_C(1) << 48);
    CHECK_IS(shmc_inspect(reader, "table", &info), 0);
    CHECK(!info.made && info.section_id < UINT64_C(1) << 48);

    CHECK_IS(shmc_drop(maker, "one"), 0);
    CHECK_IS(shmc_publish(out, "value", 5), -EIDRM);
    CHECK_IS(shmc_read(in, buffer, sizeof buffer, &value), -EIDRM);
    CHECK_IS(find("one"), -ENOENT);
    CHECK_IS(shmc_drop(maker, "one"), -ENOENT);
    /* another of that name is another section */
    CHECK_IS(create(maker, "one", 2000, 0), 0);
    CHECK_IS(shmc_read(in, buffer, sizeof buffer, &value), -EIDRM);
    shmc_section *again = open_section(reader, "one");
    CHECK_IS(shmc_read(again, buffer, sizeof buffer, &value), -ENODATA);
    CHECK_IS(shmc_drop(maker, "one"), 0);
    shmc_close(again);
    shmc_close(in);
    shmc_close(out);
    tear_down();
}

static void raw_ones_too(void) {
    const void *data;
    void *writable;
    size_t bytes;
    set_up();
    struct shmc_create_options options = of(5000);
    options.kind = SHMC_RAW;
    CHECK_IS(create_with("raw", options), 0);
    shmc_section *out = open_section(maker, "raw"), *in = open_section(reader, "raw");
    CHECK_IS(shmc_raw_writable(out, &writable, &bytes), 0);
    CHECK_IS(bytes, 5000);
    memcpy(writable, "raw", 3);
    CHECK_IS(shmc_raw(in, &data, &bytes), 0);
    CHECK(memcmp(data, "raw", 3) == 0);
    CHECK_IS(shmc_drop(maker, "raw"), 0);
    CHECK_IS(shmc_raw_writable(out, &writable, &bytes), -EIDRM);
    CHECK_IS(shmc_raw(in, &data, &bytes), -EIDRM);
    shmc_close(in);
    shmc_close(out);
    tear_down();
}

static void there_is_one_of_a_name(void) {
    set_up();
    CHECK_IS(create(maker, "same", 1000, 0), 0);
    CHECK_IS(create(maker, "same", 1000, 0), 0);
    CHECK_IS(create(maker, "same", 1000, SHMC_CREATE_EXCLUSIVE), -EEXIST);
    CHECK_SAYS(shmc_last_error(maker), "section 'same' is there already: you made it before");
    CHECK_IS(create(maker, "same", 1001, 0), -EEXIST);
    CHECK_SAYS(shmc_last_error(maker), "made with other options: shmc_drop() it first");
    CHECK_IS(create(maker, "same", 1000, SHMC_CREATE_TRANSIENT), -EEXIST);
    CHECK_IS(create(maker, "SAME", 1000, 0), -EEXIST);
    CHECK_SAYS(shmc_last_error(maker), "section 'SAME': worker 'maker' made a section 'same'");
    CHECK_IS(create(maker, "table", 1000, 0), -EEXIST);
    CHECK_SAYS(shmc_last_error(maker),
               "section 'table': the table has a section 'table', of worker 'driver': choose "
               "another name");
    shmc *other = attach("other", 0);
    CHECK_IS(create(other, "same", 1000, 0), -EEXIST);
    CHECK_SAYS(shmc_last_error(other), "worker 'maker' made a section 'same'");
    CHECK_IS(shmc_drop(other, "same"), -EACCES);
    CHECK_SAYS(shmc_last_error(other),
               "section 'same' is worker 'maker's, and you are worker 'other'");
    CHECK_IS(shmc_drop(maker, "table"), -EACCES);
    CHECK_SAYS(shmc_last_error(maker), "section 'table' wasn't made at run time: its row is in the "
                                       "table (shmtool table rm table)");
    CHECK_IS(shmc_drop(maker, "same"), 0);
    CHECK_IS(create(other, "same", 1000, SHMC_CREATE_EXCLUSIVE), 0);
    CHECK_IS(shmc_drop(other, "same"), 0);
    shmc_detach(other);
    tear_down();
}

/* A page each, at least: 64 KiB are 16 small ones. */
static void a_quota_is_kept(void) {
    char name[16];
    set_up();
    shmc *other = attach("other", 0);
    CHECK_IS(create(other, "large", 16 * KIB, 0), -EDQUOT);
    CHECK_SAYS(shmc_last_error(other),
               "section 'large': it takes 69632 bytes, and worker 'other' has used 0 of the 65536 "
               "that it may (shmc_drop() others, or UPDATE worker SET may_create");
    CHECK_IS(create(other, "huge", UINT64_MAX - 5000, 0), -EDQUOT);
    CHECK_SAYS(shmc_last_error(other), "it takes more bytes than there can be");
    CHECK_IS(create(other, "huge", UINT64_C(1) << 62, 0), -EDQUOT);
    for (int i = 0; i < 16; i++) {
        snprintf(name, sizeof name, "small%d", i);
        CHECK_IS(create(other, name, 1, 0), 0);
    }
    CHECK_IS(create(other, "small16", 1, 0), -EDQUOT);
    CHECK_SAYS(shmc_last_error(other), "it takes 4096 bytes, and worker 'other' has used 65536");
    CHECK_IS(create(other, "small3", 1, 0), 0); /* it is there */
    CHECK_IS(create(maker, "mine", 1, 0), 0);   /* another's quota is another's */
    CHECK_IS(shmc_drop(other, "small7"), 0);
    CHECK_IS(create(other, "small16", 1, 0), 0);
    for (int i = 0; i < 17; i++) {
        snprintf(name, sizeof name, "small%d", i);
        CHECK_IS(shmc_drop(other, name), i == 7 ? -ENOENT : 0);
    }
    CHECK_IS(shmc_drop(maker, "mine"), 0);
    shmc_detach(other);

    /* the instances of a worker have one */
    shmc *first = attach("prefork#1", 0), *second = attach("prefork#2", 0);
    CHECK_IS(create(first, "first", 9 * KIB, 0), 0);
    CHECK_IS(create(second, "second", 9 * KIB, 0), -EDQUOT);
    CHECK_IS(shmc_drop(second, "first"), -EACCES);
    CHECK_IS(shmc_drop(first, "first"), 0);
    CHECK_IS(create(second, "second", 9 * KIB, 0), 0);
    CHECK_IS(shmc_drop(second, "second"), 0);
    shmc_detach(first);
    shmc_detach(second);
    tear_down();
}

static void who_may_not(void) {
    set_up();
    CHECK_IS(create(reader, "no", 1, 0), -EACCES);
    CHECK_SAYS(shmc_last_error(reader), "this process is a reader");
    CHECK_IS(shmc_drop(reader, "table"), -EACCES);
    shmc *driver = attach("driver", 0);
    CHECK_IS(create(driver, "no", 1, 0), -EACCES);
    CHECK_SAYS(shmc_last_error(driver),
               "worker 'driver' may make none, as its may_create is 0 (UPDATE worker SET "
               "may_create = 1048576 WHERE name = 'driver')");
    shmc_section *kept = open_section(driver, "table");
    shmc_detach(driver);
    CHECK_IS(create(driver, "no", 1, 0), -EBADF);
    CHECK_IS(shmc_drop(driver, "no"), -EBADF);
    shmc_close(kept);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        _exit(create(maker, "no", 1, 0) == -ECHILD && shmc_drop(maker, "no") == -ECHILD ? 0 : 1);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    shmc *greedy = attach("greedy", 0);
    const uint64_t before = arena_bytes();
    CHECK_IS(create(greedy, "no", 16 * KIB * KIB - 4 * KIB, 0), -ENOSPC);
    CHECK_SAYS(shmc_last_error(greedy), "section 'no': no room for ");
    CHECK(arena_bytes() == before && find("no") == -ENOENT);
    shmc_detach(greedy);
    tear_down();
}

static void slots_and_queues_too(void) {
    struct shmc_section_info info;
    struct shmc_options anonymous = {
        .size = sizeof anonymous, .flags = SHMC_ANONYMOUS, .timeout_ms = PATIENCE_MS};
    shmc *guest;
    set_up();
    CHECK_IS(shmc_attach(&guest, &anonymous), 0);
    struct shmc_create_options options = of(100);
    options.kind = SHMC_SLOTS;
    options.flags = SHMC_CREATE_PREGRAB | SHMC_CREATE_CLEAR;
    CHECK_IS(create_with("seats", options), 0);
    CHECK_IS(create_with("seats", options), 0); /* as it is there */
    options.flags = 0;
    CHECK_IS(create_with("seats", options), -EEXIST);
    options = of(1000);
    options.kind = SHMC_QUEUE;
    options.count = 2;
    options.write_group = "0";
    CHECK_IS(create_with("jobs", options), 0);
    CHECK_IS(shmc_inspect(reader, "seats", &info), 0);
    CHECK(info.kind == SHMC_SLOTS && info.count == 16 && info.size == 100 && info.made);
    CHECK_IS(shmc_inspect(reader, "jobs", &info), 0);
    CHECK(info.kind == SHMC_QUEUE && info.count == 2 && info.size == 1000 && info.made);
    shmc_section *seats = open_section(guest, "seats"), *jobs = open_section(guest, "jobs");
    const int slot = shmc_slot_grab(seats, 0);
    CHECK_IS(slot, 0);
    CHECK_IS(shmc_slot_put(seats, slot, "hers", 4), 0);
    CHECK_IS(shmc_slot_get(seats, slot, buffer, sizeof buffer, NULL), 4);
    CHECK_IS(shmc_slot_release(seats, slot), 0);
    CHECK_IS(shmc_slot_get(seats, slot, buffer, sizeof buffer, NULL), -ENOENT);
    CHECK_IS(shmc_queue_send(jobs, 1, "job", 3, 0, PATIENCE_MS), 0);
    shmc_section *mine = open_section(maker, "jobs");
    CHECK_IS(shmc_queue_receive(mine, 0, buffer, sizeof buffer, 0, PATIENCE_MS, NULL), 3);
    CHECK_IS(shmc_drop(maker, "seats"), 0);
    CHECK_IS(shmc_drop(maker, "jobs"), 0);
    CHECK_IS(shmc_slot_grab(seats, 0), -EIDRM);
    CHECK_IS(shmc_queue_send(jobs, 1, "job", 3, 0, PATIENCE_MS), -EIDRM);
    shmc_close(mine);
    shmc_close(seats);
    shmc_close(jobs);
    shmc_detach(guest);
    tear_down();
}

#define REFUSED(set, says)                                                                         \
    do {                                                                                           \
        struct shmc_create_options options = of(100);                                              \
        set;                                                                                       \
        CHECK_IS(shmc_create(maker, "bad", &options), -EINVAL);                                    \
        CHECK_SAYS(shmc_last_error(maker), says);                                                  \
    } while (0)

static void what_makes_no_sense(void) {
    static const char *const names[] = {"", "1st", "a b", "a\n", "a#1", "\xff\xfe", "%n", "a'b"};
    char text[80];
    set_up();
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        CHECK_IS(create(maker, names[i], 1, 0), -EINVAL);
    CHECK_SAYS(shmc_last_error(maker), "its name must be 1 to 63 of letters");
    CHECK_IS(create(maker, text, 1, 0), -EINVAL);
    CHECK_IS(create(maker, NULL, 1, 0), -EINVAL);
    CHECK_IS(shmc_drop(maker, NULL), -EINVAL);
    CHECK_IS(shmc_create(maker, "bad", NULL), -EINVAL);
    REFUSED(options.size = 4, "options.size is 4; set it to sizeof (struct shmc_create_options)");
    REFUSED(options.reserved = 7, "options.reserved is 7");
    REFUSED(options.bytes = 0, "options.bytes is 0");
    REFUSED(options.kind = 7, "options.kind takes an enum shmc_kind");
    REFUSED((options.kind = SHMC_QUEUE, options.count = 16384), "options.count must be 1 to 16383");
    REFUSED((options.kind = SHMC_SLOTS, options.count = 65537), "options.count must be 1 to 65536");
    REFUSED((options.kind = SHMC_QUEUE, options.flags = SHMC_CREATE_PERSIST),
            "SHMC_CREATE_PERSIST is for values");
    REFUSED((options.kind = SHMC_QUEUE, options.stale_ms = 5), "needs times to tell by");
    REFUSED(options.flags = SHMC_CREATE_SHARED, "SHMC_CREATE_SHARED is for raw and slots");
    REFUSED(options.flags = SHMC_CREATE_PREGRAB, "_CLEAR_RESTART are for slots");
    REFUSED(options.flags = SHMC_CREATE_CLEAR, "_CLEAR_RESTART are for slots");
    REFUSED(
        (options.kind = SHMC_SLOTS, options.flags = SHMC_CREATE_CLEAR | SHMC_CREATE_CLEAR_RESTART),
        "choose one");
    REFUSED(options.write_group = "0", "options.write_group is for slots, queues and shared raw");
    REFUSED((options.kind = SHMC_SLOTS, options.write_group = "a b"),
            "options.write_group is neither");
    REFUSED((options.kind = SHMC_SLOTS, options.write_group = "no-such-group"),
            "there is no group 'no-such-group'");
    REFUSED(options.write_group = text, "options.write_group is 'xxx");
    REFUSED(options.count = 1, "options.count must be 2 to 256");
    REFUSED(options.count = 257, "options.count must be 2 to 256");
    REFUSED((options.kind = SHMC_RAW, options.count = 2), "a raw section has no options.count");
    REFUSED(options.format = "\x01", "options.format must be at most 63 printable");
    REFUSED(options.format = text, "options.format is 'xxx");
    REFUSED(options.read_group = text, "options.read_group is 'xxx");
    REFUSED(options.stamp = 3, "options.stamp takes an enum shmc_stamp");
    REFUSED(options.notify = 3, "options.notify an enum shmc_notify");
    REFUSED(options.flags = 0x100, "options.flags 0x100 has bits");
    REFUSED((options.stamp = SHMC_STAMP_NONE, options.stale_ms = 5), "needs times to tell by");
    REFUSED(options.stale_ms = UINT64_MAX, "options.stale_ms is more than a year");
    if (on_memfd()) {
        REFUSED(options.read_group = "no-such-group", "there is no group 'no-such-group'");
        REFUSED(options.read_group = "a b", "neither a group's name nor a number");
        struct shmc_create_options options = of(100);
        options.read_group = "0";
        CHECK_IS(create_with("grouped", options), 0);
        CHECK_IS(create_with("grouped", options), 0);
        CHECK_IS(shmc_drop(maker, "grouped"), 0);
    } else {
        REFUSED(options.read_group = "0", "which backend sysv can't enforce");
    }
    CHECK_IS(find("bad"), -ENOENT);
    tear_down();
}

/* ---- transient ones */

static void hold(int from, int to) {
    shmc *segment = attach("maker", 0);
    CHECK_IS(create(segment, "brief", 1000, SHMC_CREATE_TRANSIENT), 0);
    CHECK_IS(create(segment, "lasting", 1000, 0), 0);
    publish_once(segment, "brief", "brief");
    publish_once(segment, "lasting", "kept");
    say(to, 'h');
    hear(from);
    shmc_detach(segment);
}

static void a_transient_one_goes_with_the_lease(void) {
    reader = attach(NULL, 0);
    for (int i = 0; i < 4; i++) {
        struct child child = start_child(hold);
        CHECK_IS(hear(child.from), 'h');
        shmc_section *brief = open_section(reader, "brief");
        CHECK_IS(shmc_read(brief, buffer, sizeof buffer, &value), 5);
        if (i % 2 == 0)
            say(child.to, 'e');
        end_child(&child, i % 2 == 0 ? 0 : SIGKILL);
        if (i < 2)
            AWAIT(find("brief") == -ENOENT);
        /* who comes next finds none of it, however fast he is */
        maker = attach("maker", 0);
        CHECK_IS(find("brief"), -ENOENT);
        CHECK_IS(shmc_read(brief, buffer, sizeof buffer, &value), -EIDRM);
        shmc_section *lasting = open_section(maker, "lasting");
        CHECK_IS(shmc_read(lasting, buffer, sizeof buffer, &value), 4);
        shmc_close(lasting);
        shmc_close(brief);
        shmc_detach(maker);
    }
    maker = attach("maker", 0);
    CHECK_IS(shmc_drop(maker, "lasting"), 0);
    tear_down();
}

/* Its old holder lives, and may write where he could. */
static void or_when_that_is_taken_back(void) {
    struct shmc_options options = {.size = sizeof options, .timeout_ms = PATIENCE_MS};
    char *reply = NULL;
    set_up();
    CHECK_IS(create(maker, "brief", 1000, SHMC_CREATE_TRANSIENT), 0);
    CHECK_IS(create(maker, "lasting", 1000, 0), 0);
    shmc_section *lasting = open_section(maker, "lasting");
    CHECK_IS(shmc_publish(lasting, "kept", 4), 0);
    CHECK_IS(shmc_manager(&options, "revoke maker", &reply), 0);
    free(reply);
    CHECK_IS(create(maker, "more", 1000, 0), -EKEYREVOKED);
    CHECK_IS(shmc_drop(maker, "lasting"), -EKEYREVOKED);
    shmc *next = attach("maker", 0);
    CHECK_IS(find("brief"), -ENOENT);
    CHECK_IS(create(next, "brief", 2000, SHMC_CREATE_TRANSIENT), 0);
    shmc_section *again = open_section(next, "lasting");
    CHECK_IS(shmc_read(again, buffer, sizeof buffer, &value), 4);
    CHECK_IS(shmc_drop(next, "lasting"), 0);
    CHECK_IS(shmc_publish(again, "x", 1), -EIDRM);
    shmc_close(again);
    shmc_detach(next);
    AWAIT(find("brief") == -ENOENT);
    shmc_close(lasting);
    tear_down();
}

/* ---- dropped in use */

static void one_that_is_being_published_stays(void) {
    void *data;
    size_t room;
    set_up();
    CHECK_IS(create(maker, "busy", 1000, 0), 0);
    shmc_section *out = open_section(maker, "busy"), *twin = open_section(maker, "busy");
    CHECK_IS(shmc_begin(out, &data, &room), 0);
    CHECK_IS(shmc_drop(maker, "busy"), -EBUSY);
    CHECK_SAYS(shmc_last_error(maker), "'busy' is being published, or a value is begun");
    memcpy(data, "begun", 5);
    CHECK_IS(shmc_commit(out, 5), 0);
    CHECK_IS(shmc_publish(twin, "twin", 4), 0);
    CHECK_IS(shmc_drop(maker, "busy"), 0);
    CHECK_IS(shmc_publish(out, "x", 1), -EIDRM);
    CHECK_IS(shmc_publish(twin, "x", 1), -EIDRM);
    CHECK_IS(shmc_begin(twin, &data, &room), -EIDRM);
    shmc_close(twin);
    shmc_close(out);
    tear_down();
}

/* Publishes until it can't any more; how often it could. */
static void *publish_on(void *argument) {
    shmc_section *section = argument;
    intptr_t times = 0;
    int r;
    while ((r = shmc_publish(section, "value", 5)) == 0 || r == -EBUSY)
        times += r == 0;
    CHECK_IS(r, -EIDRM);
    return (void *)times;
}

static void a_thread_that_publishes_is_told(void) {
    set_up();
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        void *times;
        int r;
        CHECK_IS(create(maker, "threads", 1000, 0), 0);
        shmc_section *out = open_section(maker, "threads"), *in = open_section(reader, "threads");
        CHECK_IS(pthread_create(&thread, NULL, publish_on, out), 0);
        CHECK_IS(shmc_next(in, buffer, sizeof buffer, PATIENCE_MS, NULL), 5);
        while ((r = shmc_drop(maker, "threads")) == -EBUSY)
            continue; /* in the midst of a publish */
        CHECK_IS(r, 0);
        pthread_join(thread, &times);
        CHECK((intptr_t)times > 0);
        shmc_close(in);
        shmc_close(out);
    }
    tear_down();
}

static void *make_and_drop(void *argument) {
    const char *name = argument;
    for (int i = 0; i < 30; i++) {
        CHECK_IS(create(maker, name, 1000, i % 2 == 0 ? SHMC_CREATE_TRANSIENT : 0), 0);
        publish_once(maker, name, name);
        CHECK_IS(shmc_drop(maker, name), 0);
    }
    return NULL;
}

static void threads_make_their_own(void) {
    static char names[3][8] = {"first", "second", "third"};
    pthread_t threads[3];
    set_up();
    for (int i = 0; i < 3; i++)
        CHECK_IS(pthread_create(&threads[i], NULL, make_and_drop, names[i]), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 3; i++)
        CHECK_IS(find(names[i]), -ENOENT);
    tear_down();
}

static int by_size(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Memory is kept for a generation, and no longer. */
static void what_was_given_up_is_used_again(void) {
    char name[16];
    uint64_t created_ns[100], dropped_ns[100];
    set_up();
    memset(buffer, 'r', sizeof buffer);
    const uint64_t before = arena_bytes();
    uint64_t most = 0;
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "again%d", i);
        uint64_t from_ns = now_ns();
        CHECK_IS(create(maker, name, 64 * KIB, 0), 0);
        created_ns[i] = now_ns() - from_ns;
        shmc_section *out = open_section(maker, name), *in = open_section(reader, name);
        CHECK_IS(shmc_read(in, buffer, sizeof buffer, NULL), -ENODATA);
        CHECK_IS(shmc_publish(out, buffer, 64 * KIB), 0);
        CHECK_IS(shmc_read(in, buffer, sizeof buffer, NULL), 64 * KIB);
        from_ns = now_ns();
        CHECK_IS(shmc_drop(maker, name), 0);
        dropped_ns[i] = now_ns() - from_ns;
        shmc_close(in);
        shmc_close(out);
        most = arena_bytes() > most ? arena_bytes() : most;
    }
    CHECK(most <= before + 3 * 320 * KIB);
    qsort(created_ns, 100, sizeof *created_ns, by_size);
    qsort(dropped_ns, 100, sizeof *dropped_ns, by_size);
    printf("figure: made.create_median %.2f ms\n", (double)created_ns[50] / 1e6);
    printf("figure: made.drop_median %.2f ms\n", (double)dropped_ns[50] / 1e6);
    tear_down();
}

static void a_manager_that_hangs_is_not_waited_for(void) {
    struct shmc_segment_info info;
    struct shmc_options options = {.size = sizeof options, .worker = "maker"};
    reader = attach(NULL, 0);
    CHECK_IS(shmc_attach(&maker, &options), 0);
    CHECK_IS(shmc_segment(reader, &info), 0);
    CHECK_IS(kill(info.manager_pid, SIGSTOP), 0);
    int r = create(maker, "late", 1000, 0);
    CHECK_IS(kill(info.manager_pid, SIGCONT), 0);
    CHECK_IS(r, -ETIMEDOUT);
    CHECK_SAYS(shmc_last_error(maker), "did not answer in the time given");
    r = shmc_drop(maker, "late"); /* it may have come to it, or come yet */
    AWAIT(r == 0 || (r = shmc_drop(maker, "late")) == 0 || find("late") == -ENOENT);
    tear_down();
}

/* For test_made.sh, which ends managers: `client_made NAME BYTES FLAGS` makes and publishes one. */
static int be_told(char **argv) {
    maker = attach("maker", 0);
    int r = create(maker, argv[1], strtoull(argv[2], NULL, 0), (unsigned)strtoul(argv[3], NULL, 0));
    if (r == 0)
        publish_once(maker, argv[1], "told");
    puts(r < 0 ? shmc_last_error(maker) : "done");
    fflush(stdout);
    if (r == 0 && getenv("SHM_TEST_HOLDS") != NULL)
        pause();
    shmc_detach(maker);
    return r == 0 ? 0 : 1;
}

int main(int argc, char **argv) {
    const struct test_case cases[] = {
        {"one_is_made_used_and_dropped", one_is_made_used_and_dropped},
        {"slots_and_queues_too", slots_and_queues_too},
        {"raw_ones_too", raw_ones_too},
        {"there_is_one_of_a_name", there_is_one_of_a_name},
        {"a_quota_is_kept", a_quota_is_kept},
        {"who_may_not", who_may_not},
        {"what_makes_no_sense", what_makes_no_sense},
        {"a_transient_one_goes_with_the_lease", a_transient_one_goes_with_the_lease},
        {"or_when_that_is_taken_back", or_when_that_is_taken_back},
        {"one_that_is_being_published_stays", one_that_is_being_published_stays},
        {"a_thread_that_publishes_is_told", a_thread_that_publishes_is_told},
        {"threads_make_their_own", threads_make_their_own},
        {"what_was_given_up_is_used_again", what_was_given_up_is_used_again},
        {"a_manager_that_hangs_is_not_waited_for", a_manager_that_hangs_is_not_waited_for},
    };
    if (argc == 4)
        return be_told(argv);
    return run_case(cases, sizeof cases / sizeof *cases, argc, argv);
}
