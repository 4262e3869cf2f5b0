/* SPDX-License-Identifier: Apache-2.0
 *
 * What is said about processes.
 */
#include "core/process.h"
#include "unit.h"

#include <poll.h>
#include <shm-manager/layout.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

START_TEST(start_tells_a_process_from_its_successor) {
    uint64_t own = process_start((uint32_t)getpid());
    ck_assert_uint_gt(own, 0);
    ck_assert_int_eq(process_alive((uint32_t)getpid(), own), 1);
    ck_assert_int_eq(process_alive((uint32_t)getpid(), own + 1), 0);
    ck_assert_uint_eq(process_start(0), 0);
}
END_TEST

START_TEST(a_zombie_is_not_alive) {
    pid_t child = fork();
    if (child == 0)
        _exit(3);
    siginfo_t info;
    ck_assert_int_eq(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
    ck_assert_int_eq(process_alive((uint32_t)child, 0), 0);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    ck_assert_int_eq(process_alive((uint32_t)child, 0), 0);
}
END_TEST

START_TEST(a_name_may_hold_anything) {
    prctl(PR_SET_NAME, "a) R (b");
    char name[32];
    process_name((uint32_t)getpid(), name);
    ck_assert_str_eq(name, "a) R (b");
    ck_assert_uint_gt(process_start((uint32_t)getpid()), 0);
    process_name(0, name);
    ck_assert_str_eq(name, "?");
}
END_TEST

START_TEST(boot_id_is_that_of_the_kernel) {
    uint8_t a[16], b[16];
    ck_assert_int_eq(process_boot_id(a), 0);
    ck_assert_int_eq(process_boot_id(b), 0);
    ck_assert_mem_eq(a, b, sizeof a);
    const uint8_t zero[16] = {0};
    ck_assert_mem_ne(a, zero, sizeof a);
}
END_TEST

START_TEST(a_pidfd_tells_how_it_ended) {
    pid_t child = fork();
    if (child == 0)
        for (;;)
            pause();
    int fd = (int)syscall(SYS_pidfd_open, child, 0);
    ck_assert_int_ge(fd, 0);
    uint32_t detail;
    uint32_t running = process_end(fd, &detail);
    ck_assert(running == SHM_END_RELEASED || running == SHM_END_UNKNOWN);
    kill(child, SIGKILL);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    uint32_t end = process_end(fd, &detail);
    if (running == SHM_END_RELEASED) { /* the kernel knows the call */
        ck_assert_uint_eq(end, SHM_END_KILLED);
        ck_assert_uint_eq(detail, SIGKILL);
    } else {
        ck_assert_uint_eq(end, SHM_END_UNKNOWN);
    }
    close(fd);
    ck_assert_uint_eq(process_end(-1, &detail), SHM_END_UNKNOWN);
}
END_TEST

UNIT_MAIN("process", start_tells_a_process_from_its_successor, a_zombie_is_not_alive,
          a_name_may_hold_anything, boot_id_is_that_of_the_kernel, a_pidfd_tells_how_it_ended)
