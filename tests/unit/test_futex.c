/* SPDX-License-Identifier: Apache-2.0
 *
 * The futex calls: what ends a sleep, on whose mapping, and without futex_waitv.
 */
#include "unit.h"

#include "core/futex.h"
#include "core/shared.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define MS           UINT64_C(1000000)
#define LONG_ENOUGH  (clock_mono_ns() + 20000 * MS)
#define WORD_INITIAL 7u

static uint32_t *shared_words(unsigned n) {
    void *memory =
        mmap(NULL, n * sizeof(uint32_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(memory, MAP_FAILED);
    uint32_t *words = memory;
    for (unsigned i = 0; i < n; i++)
        words[i] = WORD_INITIAL;
    return words;
}

/* Wakes until somebody was asleep there. */
static void wake_one(const uint32_t *word) {
    const uint64_t deadline = LONG_ENOUGH;
    int woken = 0;
    while ((woken = futex_wake(word)) == 0 && clock_mono_ns() < deadline)
        shared_relax();
    ck_assert_int_eq(woken, 1);
}

START_TEST(clocks_run) {
    const uint64_t mono = clock_mono_ns();
    ck_assert_uint_ge(clock_mono_ns(), mono);
    ck_assert_uint_gt(clock_real_ns(), UINT64_C(1600000000) * 1000000000);
    ck_assert_uint_gt(clock_read_ns(CLOCK_MONOTONIC_COARSE), 0);
}
END_TEST

START_TEST(changed_word_does_not_sleep) {
    uint32_t *words = shared_words(2);
    ck_assert_int_eq(futex_wait(words, WORD_INITIAL + 1, UINT64_MAX), 0);
    const struct futex_word any[2] = {{&words[0], WORD_INITIAL}, {&words[1], WORD_INITIAL + 1}};
    ck_assert_int_eq(futex_wait_any(any, 2, UINT64_MAX), 0);
}
END_TEST

START_TEST(deadline_ends_the_sleep) {
    uint32_t *words = shared_words(2);
    const struct futex_word any[2] = {{&words[0], WORD_INITIAL}, {&words[1], WORD_INITIAL}};
    uint64_t deadline = clock_mono_ns() + 10 * MS;
    ck_assert_int_eq(futex_wait(words, WORD_INITIAL, deadline), -ETIMEDOUT);
    ck_assert_uint_ge(clock_mono_ns(), deadline);
    deadline = clock_mono_ns() + 10 * MS;
    ck_assert_int_eq(futex_wait_any(any, 2, deadline), -ETIMEDOUT);
    ck_assert_uint_ge(clock_mono_ns(), deadline);
    ck_assert_int_eq(futex_wait(words, WORD_INITIAL, 0), -ETIMEDOUT);
}
END_TEST

START_TEST(number_of_words_is_limited) {
    uint32_t *words = shared_words(1);
    struct futex_word any[FUTEX_WAIT_ANY_MAX + 1];
    for (unsigned i = 0; i <= FUTEX_WAIT_ANY_MAX; i++)
        any[i] = (struct futex_word){words, WORD_INITIAL};
    ck_assert_int_eq(futex_wait_any(any, 0, UINT64_MAX), -EINVAL);
    ck_assert_int_eq(futex_wait_any(any, FUTEX_WAIT_ANY_MAX + 1, UINT64_MAX), -EINVAL);
    ck_assert_int_eq(futex_wait_any(any, FUTEX_WAIT_ANY_MAX, clock_mono_ns() + MS), -ETIMEDOUT);
}
END_TEST

START_TEST(bad_address_is_an_error) {
    ck_assert_int_eq(futex_wait((const uint32_t *)8, 0, UINT64_MAX), -EFAULT);
    ck_assert_int_eq(futex_wake((const uint32_t *)8), -EFAULT);
}
END_TEST

static void on_alarm(int signal) {
    (void)signal;
}

START_TEST(signal_interrupts) {
    uint32_t *words = shared_words(1);
    const struct futex_word any[1] = {{words, WORD_INITIAL}};
    const struct sigaction action = {.sa_handler = on_alarm};
    /* Again and again, as the first one may come before the sleep. */
    const struct itimerval every = {{0, 5000}, {0, 5000}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
    ck_assert_int_eq(futex_wait(words, WORD_INITIAL, LONG_ENOUGH), -EINTR);
    ck_assert_int_eq(futex_wait_any(any, 1, LONG_ENOUGH), -EINTR);
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
}
END_TEST

/* The reader's case: another process, whose mapping is read-only. */
START_TEST(wakes_a_process_that_may_only_read) {
    uint32_t *words = shared_words(1);
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (mprotect(words, sizeof *words, PROT_READ) < 0)
            _exit(2);
        _exit(futex_wait(words, WORD_INITIAL, LONG_ENOUGH) == 0 ? 0 : 1);
    }
    wake_one(words);
    int status = -1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}
END_TEST

struct any_waiter {
    uint32_t *words;
    int result;
};

static void *wait_for_any(void *argument) {
    struct any_waiter *waiter = argument;
    const struct futex_word any[3] = {{&waiter->words[0], WORD_INITIAL},
                                      {&waiter->words[1], WORD_INITIAL},
                                      {&waiter->words[2], WORD_INITIAL}};
    waiter->result = futex_wait_any(any, 3, LONG_ENOUGH);
    return NULL;
}

START_TEST(any_word_wakes) {
    for (unsigned i = 0; i < 3; i++) {
        struct any_waiter waiter = {shared_words(3), -1};
        pthread_t thread;
        ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_any, &waiter), 0);
        wake_one(&waiter.words[i]);
        pthread_join(thread, NULL);
        ck_assert_int_eq(waiter.result, 0);
    }
}
END_TEST

/* From here on futex_waitv gives `error` in this process. */
static int forbid_waitv(unsigned error) {
#ifdef SYS_futex_waitv
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex_waitv, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        return -errno;
    return syscall(SYS_futex_waitv, NULL, 0, 0, NULL, 0) < 0 && errno == (int)error ? 0 : -EIO;
#else
    return error != 0 ? 0 : -EIO;
#endif
}

/* In a child that has no futex_waitv; the third word says that the second one may now change. */
static int wait_without_waitv(uint32_t *words, unsigned error) {
    const uint64_t deadline = clock_mono_ns() + 10 * MS;
    const struct futex_word any[2] = {{&words[0], WORD_INITIAL}, {&words[1], WORD_INITIAL}};
    if (forbid_waitv(error) < 0)
        return 2;
    if (futex_wait_any(any, 2, deadline) != -ETIMEDOUT || clock_mono_ns() < deadline)
        return 3;
    shared_store_release32(&words[2], 0);
    if (futex_wait_any(any, 2, LONG_ENOUGH) != 0)
        return 4;
    return shared_load_acquire32(&words[1]) == WORD_INITIAL ? 5 : 0;
}

static void check_without_waitv(unsigned error) {
    uint32_t *words = shared_words(3);
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        exit(wait_without_waitv(words, error)); /* not _exit(): what it covers is counted */
    }
    const uint64_t deadline = LONG_ENOUGH;
    while (shared_load_acquire32(&words[2]) != 0 && clock_mono_ns() < deadline)
        futex_wait(&words[2], WORD_INITIAL, clock_mono_ns() + MS);
    shared_store_release32(&words[1], 0); /* no wake-up: it must look for itself */
    int status = -1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}

/* It sleeps on the first word, and says that it was woken, by its status. */
static int be_woken_without_waitv(uint32_t *words) {
    const struct futex_word any[2] = {{&words[0], WORD_INITIAL}, {&words[1], WORD_INITIAL}};
    return forbid_waitv(ENOSYS) < 0 ? 2 : futex_wait_any(any, 2, LONG_ENOUGH) == 0 ? 0 : 3;
}

START_TEST(first_word_wakes_without_waitv) {
    uint32_t *words = shared_words(2);
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        exit(be_woken_without_waitv(words));
    }
    wake_one(&words[0]);
    int status = -1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(old_kernel_has_no_waitv) {
    check_without_waitv(ENOSYS);
}
END_TEST

START_TEST(container_forbids_waitv) {
    check_without_waitv(EPERM);
}
END_TEST

UNIT_MAIN("futex", clocks_run, changed_word_does_not_sleep, deadline_ends_the_sleep,
          number_of_words_is_limited, bad_address_is_an_error, signal_interrupts,
          wakes_a_process_that_may_only_read, any_word_wakes, first_word_wakes_without_waitv,
          old_kernel_has_no_waitv, container_forbids_waitv)
