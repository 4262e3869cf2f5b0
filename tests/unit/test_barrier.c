/* SPDX-License-Identifier: Apache-2.0
 *
 * The sleeper's barrier, where the kernel has it, and where a container's filter forbids it.
 */
#include "core/barrier.h"
#include "core/futex.h"
#include "core/snapshot.h"

#include "snapshot_fixture.h"
#include "unit.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define SECOND UINT64_C(1000000000)

static struct fixture fixture;
static struct snapshot_writer writer;

/* This process, which check made for this test, may not make that call any more. */
static void forbid(unsigned call) {
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog filter = {.len = sizeof program / sizeof *program, .filter = program};
    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

static void begin(void) {
    fixture_make(&fixture, 64, 4, SHM_SECTION_STAMP_NONE);
    ck_assert_int_eq(snapshot_take_over(&writer, &fixture.snapshot, 1), 0);
    ck_assert_int_eq(snapshot_publish(&writer, "x", 1), 0);
}

START_TEST(is_the_sleepers) {
    begin();
    ck_assert(writer.ordered);
    ck_assert(barrier_everywhere());
    ck_assert(snapshot_heard());
}
END_TEST

static void *sleep_for_next(void *argument) {
    struct snapshot_reader reader;
    int *result = argument;
    snapshot_reader_init(&reader, &fixture.snapshot);
    const uint64_t deadline = clock_mono_ns() + 30 * SECOND;
    do
        *result = snapshot_wait(&reader, 1, deadline, 0);
    while (*result == -ETIMEDOUT && clock_mono_ns() < deadline);
    return NULL;
}

START_TEST(is_the_writers_where_it_is_forbidden) {
    pthread_t sleeper;
    int result;
    forbid(SYS_membarrier);
    begin();
    ck_assert(!writer.ordered);
    ck_assert(!barrier_everywhere());
    ck_assert(!snapshot_heard());
    ck_assert_int_eq(pthread_create(&sleeper, NULL, sleep_for_next, &result), 0);
    ck_assert_int_eq(snapshot_publish(&writer, "y", 1), 0);
    ck_assert_int_eq(pthread_join(sleeper, NULL), 0);
    ck_assert_int_eq(result, 0);
}
END_TEST

UNIT_MAIN("barrier", is_the_sleepers, is_the_writers_where_it_is_forbidden)
