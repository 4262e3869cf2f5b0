/* SPDX-License-Identifier: Apache-2.0
 *
 * System V message queues through the library: each queue is private to its test, or under a key
 * that nobody has.
 */
#include "unit.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <shmclient.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SOON 60000 /* ms: by then it has happened, however busy the machine is */

static int queue = -1;

static void make_queue(void) {
    queue = shmc_sysv_queue_open(0, 0600, 0);
    ck_assert_int_ge(queue, 0);
}

/* Also behind a test that failed, as each has a process of its own. */
static void remove_queue(void) {
    if (queue >= 0)
        shmc_sysv_queue_remove(queue);
    queue = -1;
}

static int make(void) {
    make_queue();
    atexit(remove_queue);
    return queue;
}

static void send_text(int64_t type, const char *text) {
    ck_assert_int_eq(shmc_sysv_queue_send(queue, type, text, strlen(text), 0, 0), 0);
}

static void receives(int64_t wanted, unsigned flags, int64_t type, const char *text) {
    char buffer[100];
    int64_t got = 0;
    const ssize_t n = shmc_sysv_queue_receive(queue, wanted, buffer, sizeof buffer, flags, 0, &got);
    ck_assert_int_eq(n, (ssize_t)strlen(text));
    ck_assert_int_eq(memcmp(buffer, text, (size_t)n), 0);
    ck_assert_int_eq(got, type);
}

static void receives_none(int64_t wanted, unsigned flags) {
    char buffer[100];
    int64_t type = 77;
    ck_assert_int_eq(shmc_sysv_queue_receive(queue, wanted, buffer, sizeof buffer, flags, 0, &type),
                     -EAGAIN);
    ck_assert_int_eq(type, 77);
}

START_TEST(types_select_as_msgrcv_does) {
    make();
    for (int64_t type = 5; type > 0; type--)
        send_text(type, (char[]){(char)('0' + type), 0});
    receives(0, 0, 5, "5");
    receives(2, 0, 2, "2");
    receives(-4, 0, 1, "1");
    receives_none(-2, 0);
    receives(4, SHMC_EXCEPT, 3, "3");
    receives_none(4, SHMC_EXCEPT);
    receives(LONG_MIN, 0, 4, "4");
    receives_none(0, 0);
    send_text(LONG_MAX, "");
    receives(LONG_MAX, 0, LONG_MAX, "");
}
END_TEST

START_TEST(what_does_not_fit_stays) {
    make();
    char buffer[4];
    send_text(1, "longer");
    send_text(2, "two");
    ck_assert_int_eq(shmc_sysv_queue_receive(queue, 0, buffer, 4, 0, 0, NULL), -E2BIG);
    ck_assert_int_eq(shmc_sysv_queue_receive(queue, 0, buffer, 4, 0, SOON, NULL), -E2BIG);
    ck_assert_int_eq(shmc_sysv_queue_receive(queue, 0, buffer, 4, 0, -1, NULL), -E2BIG);
    ck_assert_int_eq(shmc_sysv_queue_receive(queue, 2, buffer, 4, 0, 0, NULL), 3);
    ck_assert_int_eq(shmc_sysv_queue_receive(queue, 0, buffer, 4, SHMC_TRUNCATE, 0, NULL), 4);
    ck_assert_int_eq(memcmp(buffer, "long", 4), 0);
    receives_none(0, 0);
}
END_TEST

START_TEST(a_copy_leaves_it_there) {
    make();
    char buffer[4];
    send_text(3, "abc");
    send_text(4, "defghi");
    int64_t type = 0;
    ssize_t n = shmc_sysv_queue_receive(queue, 0, buffer, 4, SHMC_SYSV_COPY, 0, &type);
    if (n == -ENOSYS)
        return; /* this kernel has no MSG_COPY */
    ck_assert_int_eq(n, 3);
    ck_assert_int_eq(type, 3);
    ck_assert_int_eq(shmc_sysv_queue_receive(queue, 0, buffer, 4, SHMC_SYSV_COPY, -1, &type), 3);
    ck_assert_int_eq(shmc_sysv_queue_receive(queue, 1, buffer, 4, SHMC_SYSV_COPY, 0, &type),
                     -E2BIG);
    ck_assert_int_eq(
        shmc_sysv_queue_receive(queue, 1, buffer, 4, SHMC_SYSV_COPY | SHMC_TRUNCATE, 0, &type),
        -EINVAL);
    receives(1, SHMC_SYSV_COPY, 4, "defghi");
    receives_none(2, SHMC_SYSV_COPY);
    receives(0, 0, 3, "abc");
    receives(0, 0, 4, "defghi");
}
END_TEST

START_TEST(large_messages_are_whole) {
    make();
    struct shmc_sysv_info info;
    ck_assert_int_eq(shmc_sysv_queue_info(&info), 0);
    const size_t most = info.message_bytes_max;
    char *sent = malloc(most + 1), *got = malloc(most + 1);
    ck_assert(sent != NULL && got != NULL);
    for (size_t i = 0; i <= most; i++)
        sent[i] = (char)(i * 31 >> 3);
    for (size_t bytes = most; bytes > 0; bytes /= 7) {
        ck_assert_int_eq(shmc_sysv_queue_send(queue, 1, sent, bytes, 0, 0), 0);
        memset(got, 0, bytes);
        ck_assert_int_eq(shmc_sysv_queue_receive(queue, 0, got, most + 1, 0, 0, NULL),
                         (ssize_t)bytes);
        ck_assert_int_eq(memcmp(got, sent, bytes), 0);
    }
    for (int timeout_ms = -1; timeout_ms <= 1; timeout_ms++)
        ck_assert_int_eq(shmc_sysv_queue_send(queue, 1, sent, most + 1, 0, timeout_ms), -EMSGSIZE);
    free(sent);
    free(got);
}
END_TEST

/* The kernel would wait for ever: what doesn't fit into an empty queue never will. */
START_TEST(what_this_queue_can_never_hold_is_told) {
    make();
    struct shmc_sysv_stat stat;
    char bytes[200] = {0};
    ck_assert_int_eq(shmc_sysv_queue_stat(queue, &stat), 0);
    stat.bytes_max = 100;
    ck_assert_int_eq(shmc_sysv_queue_set(queue, &stat), 0);
    for (int timeout_ms = -1; timeout_ms <= 1; timeout_ms++)
        ck_assert_int_eq(shmc_sysv_queue_send(queue, 1, bytes, 101, 0, timeout_ms), -EMSGSIZE);
    ck_assert_int_eq(shmc_sysv_queue_send(queue, 1, bytes, 100, 0, -1), 0);
    ck_assert_int_eq(shmc_sysv_queue_send(queue, 1, bytes, 1, 0, 0), -EAGAIN);
    ck_assert_int_eq(shmc_sysv_queue_send(queue, 1, bytes, 1, 0, 1), -ETIMEDOUT);
}
END_TEST

START_TEST(arguments_are_checked) {
    make();
    char buffer[4] = "abc";
    ck_assert_int_eq(shmc_sysv_queue_send(queue, 0, buffer, 1, 0, 0), -EINVAL);
    ck_assert_int_eq(shmc_sysv_queue_send(queue, -1, buffer, 1, 0, 0), -EINVAL);
    ck_assert_int_eq(shmc_sysv_queue_send(queue, 1, buffer, 1, 0, -2), -EINVAL);
    ck_assert_int_eq(shmc_sysv_queue_send(queue, 1, buffer, 1, SHMC_EXCEPT, 0), -EINVAL);
    ck_assert_int_eq(shmc_sysv_queue_send(queue, 1, buffer, SIZE_MAX, 0, 0), -EMSGSIZE);
    ck_assert_int_eq(shmc_sysv_queue_receive(queue, 0, buffer, 1, 0x80, 0, NULL), -EINVAL);
    ck_assert_int_eq(shmc_sysv_queue_receive(queue, 0, buffer, 1, 0, -2, NULL), -EINVAL);
    ck_assert_int_eq(
        shmc_sysv_queue_receive(queue, 1, buffer, 1, SHMC_SYSV_COPY | SHMC_EXCEPT, 0, NULL),
        -EINVAL);
    ck_assert_int_eq(shmc_sysv_queue_receive(queue, -1, buffer, 1, SHMC_SYSV_COPY, 0, NULL),
                     -EINVAL);
    ck_assert_int_eq(shmc_sysv_queue_open(0, 01000, 0), -EINVAL);
    ck_assert_int_eq(shmc_sysv_queue_open(0, 0600, 0x10), -EINVAL);
    receives_none(0, 0);
}
END_TEST

static uint32_t free_key(void) {
    uint32_t key;
    do
        key = 0x50000000u | ((uint32_t)getpid() << 8 ^ (uint32_t)rand());
    while (shmc_sysv_queue_open(key, 0, 0) != -ENOENT);
    return key;
}

START_TEST(a_key_finds_it) {
    const uint32_t key = free_key();
    atexit(remove_queue);
    queue = shmc_sysv_queue_open(key, 0620, SHMC_SYSV_CREATE);
    ck_assert_int_ge(queue, 0);
    ck_assert_int_eq(shmc_sysv_queue_open(key, 0666, SHMC_SYSV_CREATE), queue);
    ck_assert_int_eq(shmc_sysv_queue_open(key, 0, 0), queue);
    ck_assert_int_eq(shmc_sysv_queue_open(key, 0600, SHMC_SYSV_CREATE | SHMC_SYSV_EXCLUSIVE),
                     -EEXIST);
    struct shmc_sysv_stat stat;
    ck_assert_int_eq(shmc_sysv_queue_stat(queue, &stat), 0);
    ck_assert_uint_eq(stat.key, key);
    ck_assert_uint_eq(stat.mode, 0620); /* the second one's wish was none of its business */
    ck_assert_int_eq(shmc_sysv_queue_remove(queue), 0);
    ck_assert_int_eq(shmc_sysv_queue_open(key, 0, 0), -ENOENT);
    ck_assert_int_eq(shmc_sysv_queue_stat(queue, &stat), -EIDRM);
    ck_assert_int_eq(shmc_sysv_queue_remove(queue), -EIDRM);
    char byte = 0;
    ck_assert_int_eq(shmc_sysv_queue_send(queue, 1, &byte, 1, 0, -1), -EIDRM);
    ck_assert_int_eq(shmc_sysv_queue_receive(queue, 0, &byte, 1, 0, -1, NULL), -EIDRM);
    queue = shmc_sysv_queue_open(key, 0600, SHMC_SYSV_CREATE | SHMC_SYSV_EXCLUSIVE);
    ck_assert_int_ge(queue, 0);
}
END_TEST

/* As another user, in a child. */
START_TEST(permissions_hold) {
    if (geteuid() != 0)
        return;
    const uint32_t key = free_key();
    atexit(remove_queue);
    queue = shmc_sysv_queue_open(key, 0602, SHMC_SYSV_CREATE);
    ck_assert_int_ge(queue, 0);
    const pid_t child = fork();
    if (child == 0) {
        struct shmc_sysv_stat stat = {.mode = 0666};
        char byte = 0;
        if (setgid(54321) < 0 || setuid(54321) < 0)
            _exit(1);
        const bool right = shmc_sysv_queue_open(key, 0200, 0) == queue &&
                           shmc_sysv_queue_open(key, 0600, 0) == -EACCES &&
                           shmc_sysv_queue_open(key, 0600, SHMC_SYSV_CREATE) == queue &&
                           shmc_sysv_queue_send(queue, 1, &byte, 1, 0, -1) == 0 &&
                           shmc_sysv_queue_receive(queue, 0, &byte, 1, 0, -1, NULL) == -EACCES &&
                           shmc_sysv_queue_stat(queue, &stat) == -EACCES &&
                           shmc_sysv_queue_set(queue, &stat) == -EPERM &&
                           shmc_sysv_queue_remove(queue) == -EPERM;
        _exit(right ? 0 : 2);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(stat_says_all_and_set_sets) {
    make();
    struct shmc_sysv_stat stat;
    const int64_t now = time(NULL);
    char bytes[10];
    ck_assert_int_eq(shmc_sysv_queue_stat(queue, &stat), 0);
    ck_assert_uint_eq(stat.messages + stat.bytes, 0);
    ck_assert_int_eq(stat.last_sender, 0);
    ck_assert_int_eq(stat.last_receiver, 0);
    ck_assert_int_eq(stat.sent_real_s, 0);
    ck_assert_int_eq(stat.received_real_s, 0);
    ck_assert_int_ge(stat.changed_real_s, now - 60);
    send_text(1, "12345");
    send_text(1, "67890");
    ck_assert_int_eq(shmc_sysv_queue_receive(queue, 0, bytes, sizeof bytes, 0, 0, NULL), 5);
    ck_assert_int_eq(shmc_sysv_queue_stat(queue, &stat), 0);
    ck_assert_uint_eq(stat.messages, 1);
    ck_assert_uint_eq(stat.bytes, 5);
    ck_assert_int_eq(stat.last_sender, getpid());
    ck_assert_int_eq(stat.last_receiver, getpid());
    ck_assert_int_ge(stat.sent_real_s, now);
    ck_assert_int_ge(stat.received_real_s, stat.sent_real_s);
    ck_assert_uint_eq(stat.uid, geteuid());
    ck_assert_uint_eq(stat.gid, getegid());
    ck_assert_uint_eq(stat.creator_uid, geteuid());
    ck_assert_uint_eq(stat.creator_gid, getegid());
    ck_assert_uint_eq(stat.key, 0);
    stat.mode = 0640;
    stat.bytes_max = 7;
    ck_assert_int_eq(shmc_sysv_queue_set(queue, &stat), 0);
    ck_assert_int_eq(shmc_sysv_queue_stat(queue, &stat), 0);
    ck_assert_uint_eq(stat.mode, 0640);
    ck_assert_uint_eq(stat.bytes_max, 7);
    stat.mode = 01777;
    ck_assert_int_eq(shmc_sysv_queue_set(queue, &stat), -EINVAL);
    if (geteuid() == 0) {
        stat.mode = 0600;
        stat.uid = stat.gid = 54321;
        ck_assert_int_eq(shmc_sysv_queue_set(queue, &stat), 0);
        ck_assert_int_eq(shmc_sysv_queue_stat(queue, &stat), 0);
        ck_assert_uint_eq(stat.uid, 54321);
        ck_assert_uint_eq(stat.gid, 54321);
        ck_assert_uint_eq(stat.creator_uid, 0);
    }
}
END_TEST

START_TEST(info_counts_what_there_is) {
    struct shmc_sysv_info before, after;
    struct shmc_sysv_stat stat;
    ck_assert_int_eq(shmc_sysv_queue_info(&before), 0);
    ck_assert_uint_gt(before.message_bytes_max, 0);
    ck_assert_uint_gt(before.queues_max, 0);
    make();
    send_text(1, "12345");
    send_text(1, "67890");
    /* Others may have queues, too; ours are among them. */
    ck_assert_int_eq(shmc_sysv_queue_info(&after), 0);
    ck_assert_uint_ge(after.queues, 1);
    ck_assert_uint_ge(after.messages, 2);
    ck_assert_uint_ge(after.bytes, 10);
    ck_assert_int_eq(shmc_sysv_queue_stat(queue, &stat), 0);
    ck_assert_uint_eq(stat.bytes_max, after.queue_bytes_max);
}
END_TEST

/* ---- waits: the other side is a thread, and nothing depends on how soon it comes */

static void *send_later(void *argument) {
    (void)argument;
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    send_text(9, "late");
    return NULL;
}

START_TEST(a_wait_ends_with_the_message) {
    make();
    for (int timeout_ms = -1; timeout_ms <= SOON; timeout_ms += SOON + 1) {
        pthread_t thread;
        char buffer[10];
        ck_assert_int_eq(pthread_create(&thread, NULL, send_later, NULL), 0);
        ck_assert_int_eq(
            shmc_sysv_queue_receive(queue, 9, buffer, sizeof buffer, 0, timeout_ms, NULL), 4);
        pthread_join(thread, NULL);
    }
}
END_TEST

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

START_TEST(a_deadline_holds) {
    make();
    char byte;
    const uint64_t before = now_ms();
    ck_assert_int_eq(shmc_sysv_queue_receive(queue, 0, &byte, 1, 0, 50, NULL), -ETIMEDOUT);
    ck_assert_uint_ge(now_ms() - before, 49);
    ck_assert_uint_lt(now_ms() - before, SOON);
}
END_TEST

static void *remove_later(void *argument) {
    (void)argument;
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    ck_assert_int_eq(shmc_sysv_queue_remove(queue), 0);
    return NULL;
}

START_TEST(removal_ends_a_wait) {
    atexit(remove_queue);
    for (int timeout_ms = -1; timeout_ms <= SOON; timeout_ms += SOON + 1)
        for (int sending = 0; sending < 2; sending++) {
            pthread_t thread;
            struct shmc_sysv_stat stat;
            char byte = 0;
            make_queue();
            ck_assert_int_eq(shmc_sysv_queue_stat(queue, &stat), 0);
            stat.bytes_max = 1;
            ck_assert_int_eq(shmc_sysv_queue_set(queue, &stat), 0);
            if (sending)
                send_text(1, "x");
            ck_assert_int_eq(pthread_create(&thread, NULL, remove_later, NULL), 0);
            if (sending)
                ck_assert_int_eq(shmc_sysv_queue_send(queue, 1, &byte, 1, 0, timeout_ms), -EIDRM);
            else
                ck_assert_int_eq(shmc_sysv_queue_receive(queue, 0, &byte, 1, 0, timeout_ms, NULL),
                                 -EIDRM);
            pthread_join(thread, NULL);
        }
}
END_TEST

static volatile sig_atomic_t signals;

/* After three it helps, so that the wait that goes on behind a signal is one that ends. */
static void on_alarm(int signal) {
    (void)signal;
    if (++signals == 3)
        shmc_sysv_queue_send(queue, 1, "s", 1, 0, 0);
}

static void alarms(long every_us) {
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    struct itimerspec when = {{.tv_nsec = every_us * 1000}, {.tv_nsec = every_us * 1000}};
    timer_t timer;
    signals = 0;
    signal(SIGALRM, on_alarm);
    ck_assert_int_eq(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    ck_assert_int_eq(timer_settime(timer, 0, &when, NULL), 0);
}

START_TEST(a_signal_does_not_end_a_wait) {
    char byte = 0;
    make();
    alarms(20000);
    ck_assert_int_eq(shmc_sysv_queue_receive(queue, 0, &byte, 1, 0, -1, NULL), 1);
    ck_assert_int_eq(byte, 's');
    ck_assert_int_ge(signals, 3);
    alarms(20000);
    ck_assert_int_eq(shmc_sysv_queue_receive(queue, 0, &byte, 1, 0, SOON, NULL), 1);
    ck_assert_int_ge(signals, 3);
}
END_TEST

START_TEST(a_signal_ends_a_wait_if_that_is_wanted) {
    char byte = 0;
    make();
    /* It comes again and again, and so also when this waits. */
    for (int timeout_ms = -1; timeout_ms <= SOON; timeout_ms += SOON + 1) {
        alarms(20000);
        signals = 3; /* it doesn't send */
        ck_assert_int_eq(
            shmc_sysv_queue_receive(queue, 0, &byte, 1, SHMC_INTERRUPTIBLE, timeout_ms, NULL),
            -EINTR);
    }
    struct shmc_sysv_stat stat;
    ck_assert_int_eq(shmc_sysv_queue_stat(queue, &stat), 0);
    stat.bytes_max = 1;
    ck_assert_int_eq(shmc_sysv_queue_set(queue, &stat), 0);
    send_text(1, "x");
    ck_assert_int_eq(shmc_sysv_queue_send(queue, 1, &byte, 1, SHMC_INTERRUPTIBLE, -1), -EINTR);
    ck_assert_int_eq(shmc_sysv_queue_send(queue, 1, &byte, 1, SHMC_INTERRUPTIBLE, SOON), -EINTR);
}
END_TEST

UNIT_MAIN("sysv queue", types_select_as_msgrcv_does, what_does_not_fit_stays,
          a_copy_leaves_it_there, large_messages_are_whole, what_this_queue_can_never_hold_is_told,
          arguments_are_checked, a_key_finds_it, permissions_hold, stat_says_all_and_set_sets,
          info_counts_what_there_is, a_wait_ends_with_the_message, a_deadline_holds,
          removal_ends_a_wait, a_signal_does_not_end_a_wait, a_signal_ends_a_wait_if_that_is_wanted)
