/* SPDX-License-Identifier: Apache-2.0
 *
 * Cases about waiting: for the next value, for every value, for any of several, and in an epoll
 * loop.
 */
#include "pair.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/time.h>

#define TRIES    10 /* for what a machine that stalls can spoil */
#define WOKEN_NS UINT64_C(60000000)
#define STALE_NS UINT64_C(150000000) /* of section `quick` */

static char buffer[4096];

static void publish(int times) {
    for (int i = 0; i < times; i++)
        CHECK_IS(shmc_publish(out, &i, sizeof i), 0);
}

/* Publishes once the reader has slept for a while, so that a lost wake-up shows as a late one. */
static void *publish_later(void *argument) {
    pause_ms(30);
    CHECK_IS(shmc_publish(argument, "later", 5), 0);
    return NULL;
}

/* ---- the next value */

static void next_gives_each_once(void) {
    set_up("temps");
    publish(1);
    CHECK_IS(shmc_next(in, buffer, sizeof buffer, 0, &value), sizeof(int));
    uint64_t version = value.version;
    CHECK_IS(shmc_next(in, buffer, sizeof buffer, 0, &value), -EAGAIN);
    CHECK_SAYS(shmc_last_error(reader), "section 'temps': nothing newer than version");
    CHECK_IS(value.version, version);
    CHECK_IS(value.writer, SHMC_ALIVE);
    uint64_t before = now_ns();
    CHECK_IS(shmc_next(in, buffer, sizeof buffer, 50, &value), -ETIMEDOUT);
    CHECK(now_ns() - before >= 50000000);
    CHECK_SAYS(shmc_last_error(reader), "came in 50 ms");
    publish(8);
    CHECK_IS(shmc_next(in, buffer, sizeof buffer, 0, &value), sizeof(int));
    CHECK_IS(value.version, version + 8);
    CHECK_IS(value.missed, 7);
    CHECK_IS(shmc_next(in, buffer, 1, 0, NULL), -EAGAIN);
    publish(1);
    CHECK_IS(shmc_next(in, buffer, 1, 0, &value), -EMSGSIZE);
    CHECK_IS(shmc_next(in, buffer, sizeof buffer, 0, &value), sizeof(int));
    CHECK_IS(value.missed, 0);
    tear_down();
}

/* Of ten wake-ups. */
static uint64_t worst_wake_up(void) {
    pthread_t thread;
    uint64_t worst = 0;
    for (int i = 0; i < 10; i++) {
        while (shmc_next(in, buffer, sizeof buffer, 0, NULL) >= 0)
            ;
        CHECK(pthread_create(&thread, NULL, publish_later, out) == 0);
        CHECK_IS(shmc_next(in, buffer, sizeof buffer, i % 2 == 0 ? PATIENCE_MS : -1, &value), 5);
        worst = value.age_ns > worst ? value.age_ns : worst;
        pthread_join(thread, NULL);
    }
    return worst;
}

static void next_wakes(void) {
    pthread_t thread;
    set_up("temps");
    publish(1);
    /* A sleeper that nobody woke would look again after 100 ms.  A machine that let us wait gets
     * another chance. */
    uint64_t worst = worst_wake_up();
    for (int i = 0; worst >= WOKEN_NS && i < TRIES; i++)
        worst = worst_wake_up();
    printf("figure: wait.wake_up_worst %.2f ms\n", (double)worst / 1e6);
    CHECK(worst < WOKEN_NS);
    CHECK_IS(shmc_set_spin(in, 200), 0);
    CHECK(pthread_create(&thread, NULL, publish_later, out) == 0);
    CHECK_IS(shmc_next(in, buffer, sizeof buffer, PATIENCE_MS, &value), 5);
    pthread_join(thread, NULL);
    tear_down();
}

/* Publishes, and takes it before it is stale. */
static void next_is_fresh(int timeout_ms) {
    for (int i = 0;; i++) {
        const uint64_t before = now_ns();
        publish(1);
        const ssize_t n = shmc_next(in, buffer, sizeof buffer, timeout_ms, &value);
        if (n == sizeof(int) && !value.stale)
            return;
        CHECK(now_ns() - before >= STALE_NS && i < TRIES); /* else the machine stalled */
    }
}

static void stale_is_said_once(void) {
    set_up("quick");
    next_is_fresh(PATIENCE_MS);
    CHECK_IS(shmc_next(in, buffer, sizeof buffer, PATIENCE_MS, &value), -ETIME);
    CHECK(value.stale && value.version > 0);
    CHECK(value.age_ns >= STALE_NS && value.age_ns < PATIENCE_MS * UINT64_C(1000000));
    CHECK_SAYS(shmc_last_error(reader), "older than the 150 ms of its stale_ms");
    CHECK_IS(shmc_next(in, buffer, sizeof buffer, 20, &value), -ETIMEDOUT);
    CHECK(value.stale);
    CHECK_IS(shmc_read(in, buffer, sizeof buffer, &value), sizeof(int));
    CHECK(value.stale);
    CHECK_IS(shmc_next(in, buffer, sizeof buffer, 0, &value), -EAGAIN);
    next_is_fresh(0);
    CHECK_IS(shmc_next(in, buffer, sizeof buffer, -1, &value), -ETIME);
    tear_down();
}

static void ignore(int signal) {
    (void)signal;
}

static void signals_do_not_end_a_wait(void) {
    struct sigaction action = {.sa_handler = ignore}; /* no SA_RESTART */
    const struct itimerval often = {{0, 2000}, {0, 2000}}, never = {{0, 0}, {0, 0}};
    set_up("temps");
    publish(1);
    CHECK_IS(shmc_read(in, buffer, sizeof buffer, NULL), sizeof(int));
    sigaction(SIGALRM, &action, NULL);
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
    uint64_t before = now_ns();
    CHECK_IS(shmc_next(in, buffer, sizeof buffer, 300, NULL), -ETIMEDOUT);
    CHECK_IS(shmc_wait_any(&in, 1, 200), -ETIMEDOUT);
    CHECK(now_ns() - before >= 500000000);
    /* And so does an attach that waits for a holder. */
    CHECK_IS(try_attach_within("driver", 100), -EBUSY);
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    tear_down();
}

/* ---- every value */

static void follow_goes_through_all(void) {
    int is;
    set_up("deep"); /* 4 buffers */
    publish(1);
    while (shmc_follow(in, &is, sizeof is, 0, &value) >= 0)
        ;
    uint64_t last = value.version;
    for (int round = 0; round < 20; round++) {
        publish(3);
        for (int i = 0; i < 3; i++) {
            CHECK_IS(shmc_follow(in, &is, sizeof is, 0, &value), sizeof is);
            CHECK_IS(is, i);
            CHECK_IS(value.version, ++last);
            CHECK_IS(value.missed, 0);
        }
        CHECK_IS(shmc_follow(in, &is, sizeof is, 0, &value), -EAGAIN);
    }
    publish(100);
    uint64_t missed = 0, seen = 0;
    while (shmc_follow(in, &is, sizeof is, 0, &value) >= 0) {
        missed += value.missed;
        seen++;
        CHECK_IS(value.version, last + missed + seen);
        CHECK_IS(is, (int)(missed + seen) - 1);
    }
    CHECK_IS(missed + seen, 100);
    CHECK(seen >= 3 && seen <= 4);
    tear_down();
}

/* ---- any of several */

static void any_of_several_wakes(void) {
    shmc_section *all[3];
    pthread_t thread;
    set_up("temps");
    shmc_section *second = open_section(writer, "other");
    all[0] = in;
    all[1] = open_section(reader, "other");
    all[2] = open_section(reader, "deep");
    publish(1);
    for (int i = 0; i < 3; i++)
        shmc_read(all[i], buffer, sizeof buffer, NULL);
    CHECK_IS(shmc_wait_any(all, 3, 0), -EAGAIN);
    CHECK_IS(shmc_wait_any(all, 3, 20), -ETIMEDOUT);
    CHECK_IS(shmc_wait_any(all, 0, 20), -EINVAL);
    for (int i = 0;; i++) { /* woken, and not by the bound */
        const uint64_t before = now_ns();
        CHECK(pthread_create(&thread, NULL, publish_later, second) == 0);
        CHECK_IS(shmc_wait_any(all, 3, PATIENCE_MS), 1);
        const bool woken = now_ns() - before < 90000000;
        pthread_join(thread, NULL);
        if (woken)
            break;
        CHECK(i < TRIES); /* the machine may stall */
        CHECK_IS(shmc_read(all[1], buffer, sizeof buffer, NULL), 5);
    }
    CHECK_IS(shmc_wait_any(all, 3, 0), 1); /* until it was read */
    CHECK_IS(shmc_read(all[1], buffer, sizeof buffer, NULL), 5);
    CHECK_IS(shmc_wait_any(all, 3, 0), -EAGAIN);
    shmc_close(second);
    shmc_close(all[1]);
    shmc_close(all[2]);
    tear_down();
}

static void any_of_very_many_wakes(void) {
    static shmc_section *all[300];
    pthread_t thread;
    shmc *bulk = attach("bulk", 0);
    reader = attach(NULL, 0);
    for (unsigned i = 0; i < 300; i++) {
        char name[32];
        snprintf(name, sizeof name, "many%04u", i + 1);
        all[i] = open_section(reader, name);
        shmc_read(all[i], buffer, sizeof buffer, NULL);
    }
    shmc_section *last = open_section(bulk, "many0300");
    CHECK(pthread_create(&thread, NULL, publish_later, last) == 0);
    CHECK_IS(shmc_wait_any(all, 300, PATIENCE_MS), 299);
    pthread_join(thread, NULL);
    for (unsigned i = 0; i < 300; i++)
        shmc_close(all[i]);
    shmc_close(last);
    shmc_detach(bulk);
    shmc_detach(reader);
}

/* ---- in an event loop */

static bool readable(int fd, int timeout_ms) {
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    return poll(&wait, 1, timeout_ms) == 1;
}

static int take_all(shmc_section *section) {
    ssize_t n;
    while ((n = shmc_next(section, buffer, sizeof buffer, 0, NULL)) >= 0)
        ;
    return (int)n;
}

static void drain(shmc_section *section) {
    CHECK_IS(take_all(section), -EAGAIN);
    CHECK_IS(shmc_next(section, buffer, sizeof buffer, 0, NULL), -EAGAIN);
}

static void descriptor_is_readable_for_news(void) {
    set_up("temps");
    publish(1);
    int fd = shmc_fd(in);
    CHECK(fd >= 0);
    CHECK_IS(shmc_fd(in), fd);
    CHECK(readable(fd, PATIENCE_MS));
    drain(in);
    CHECK(!readable(fd, 150)); /* longer than the bound */
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = fd};
    CHECK(epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
    for (int i = 0; i < 200; i++) {
        publish(1 + i % 3);
        CHECK_IS(epoll_wait(epoll, &event, 1, PATIENCE_MS), 1);
        CHECK_IS(shmc_next(in, buffer, sizeof buffer, 0, &value), sizeof(int));
        drain(in);
    }
    CHECK(!readable(fd, 20));
    close(epoll);
    tear_down();
}

static void descriptor_tells_of_staleness_and_removal(void) {
    edit_table("INSERT INTO section(name, owner, size) VALUES('brief', 'briefer', 64);");
    set_up("quick");
    shmc_section *brief = open_section(reader, "brief");
    publish(1);
    int fd = shmc_fd(in), fd2 = shmc_fd(brief), left = -ETIME;
    CHECK(fd >= 0 && fd2 >= 0 && fd != fd2);
    for (int i = 0; left != -EAGAIN; i++) {
        const uint64_t before = now_ns();
        publish(1);
        CHECK(readable(fd, PATIENCE_MS));
        left = take_all(in);
        if (left == -ETIME) /* said already: the machine stalled */
            CHECK(now_ns() - before >= STALE_NS && i < TRIES);
        else
            CHECK_IS(left, -EAGAIN);
    }
    CHECK(readable(fd, PATIENCE_MS));
    CHECK_IS(shmc_next(in, buffer, sizeof buffer, 0, NULL), -ETIME);
    drain(in);
    CHECK(!readable(fd, 200));
    CHECK(!readable(fd2, 0));
    edit_table("DELETE FROM section WHERE name = 'brief';"
               "DELETE FROM worker WHERE name = 'briefer';");
    CHECK(readable(fd2, PATIENCE_MS));
    CHECK_IS(shmc_next(brief, buffer, sizeof buffer, 0, NULL), -EIDRM);
    shmc_close(brief);
    tear_down();
}

static void as_many_descriptors_as_a_kernel_call_takes(void) {
    static shmc_section *all[128];
    shmc *bulk = attach("bulk", 0);
    reader = attach(NULL, 0);
    for (unsigned i = 0; i < 128; i++) {
        char name[32];
        snprintf(name, sizeof name, "many%04u", i + 1);
        all[i] = open_section(reader, name);
        drain(all[i]);
        int fd = shmc_fd(all[i]);
        CHECK(i < 127 ? fd >= 0 : fd == -EMFILE);
    }
    CHECK_SAYS(shmc_last_error(reader), "127 sections of this segment have a descriptor already");
    shmc_close(all[5]);
    CHECK(shmc_fd(all[127]) >= 0);
    shmc_section *last = open_section(bulk, "many0128");
    CHECK_IS(shmc_publish(last, "x", 1), 0);
    CHECK(readable(shmc_fd(all[127]), PATIENCE_MS));
    CHECK(!readable(shmc_fd(all[126]), 0));
    shmc_close(last);
    shmc_detach(bulk);
    shmc_detach(reader); /* with the sections open */
    for (unsigned i = 0; i < 128; i++)
        if (i != 5)
            shmc_close(all[i]);
}

CASES_MAIN({"next_gives_each_once", next_gives_each_once}, {"next_wakes", next_wakes},
           {"stale_is_said_once", stale_is_said_once},
           {"signals_do_not_end_a_wait", signals_do_not_end_a_wait},
           {"follow_goes_through_all", follow_goes_through_all},
           {"any_of_several_wakes", any_of_several_wakes},
           {"any_of_very_many_wakes", any_of_very_many_wakes},
           {"descriptor_is_readable_for_news", descriptor_is_readable_for_news},
           {"descriptor_tells_of_staleness_and_removal", descriptor_tells_of_staleness_and_removal},
           {"as_many_descriptors_as_a_kernel_call_takes",
            as_many_descriptors_as_a_kernel_call_takes})
