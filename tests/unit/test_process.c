/* SPDX-License-Identifier: Apache-2.0
 *
 * What is said about processes.
 */
#include "core/process.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <shm-manager/layout.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

START_TEST(start_tells_a_process_from_its_successor) {
    uint64_t own = process_start((uint32_t)getpid());
    ck_assert_uint_gt(own, 0);
    ck_assert_int_eq(process_alive((uint32_t)getpid(), own), 1);
    ck_assert_int_eq(process_alive((uint32_t)getpid(), own + 1), 0);
    ck_assert_int_eq(process_alive((uint32_t)getpid(), 0), 1);
    ck_assert_uint_eq(process_start(0), 0);
    ck_assert_int_eq(process_alive(0, 0), -ESRCH);
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
    char text[PROCESS_TEXT_BYTES];
    ck_assert_str_eq(process_text(42, text), "process 42");
    ck_assert_str_eq(process_text(0, text), "a process of another PID namespace");
    ck_assert_str_eq(process_text(UINT32_MAX, text), "process 4294967295");
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
    ck_assert_uint_eq(process_end(1, &detail), SHM_END_UNKNOWN); /* no pidfd */
    ck_assert_uint_eq(detail, 0);
}
END_TEST

/* ---- another /proc: this process's root becomes a directory of the test's */

static int outside = -1;
static char fake[] = "/tmp/shm-process-XXXXXX";

/* False: this process may not change its root. */
static bool enter_fake(void) {
    outside = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(outside, 0);
    ck_assert_ptr_nonnull(mkdtemp(fake));
    if (chroot(fake) == 0 || (unshare(CLONE_NEWUSER) == 0 && chroot(fake) == 0))
        return true;
    ck_assert_int_eq(rmdir(fake), 0);
    puts("another root isn't allowed here: not tested");
    return false;
}

static void write_fake(const char *path, const char *text) {
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *where) {
    (void)stat;
    (void)type;
    (void)where;
    return remove(path);
}

static void leave_fake(void) {
    ck_assert_int_eq(fchdir(outside), 0);
    ck_assert_int_eq(chroot("."), 0);
    ck_assert_int_eq(nftw(fake, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    close(outside);
}

START_TEST(odd_stats_tell_nothing) {
    static const char *const odd[] = {"",      "7",        "7 name R 1", "7 ) name ( R 1",
                                      "7 (ab", "7 (name)", "7 (name)R 1"};
    char name[32];
    if (!enter_fake())
        return;
    ck_assert_int_eq(process_alive(7, 0), -ENOENT); /* no /proc, so who knows */
    ck_assert_int_eq(mkdir("/proc", 0700), 0);
    ck_assert_int_eq(mkdir("/proc/self", 0700), 0);
    ck_assert_int_eq(mkdir("/proc/7", 0700), 0);
    write_fake("/proc/self/stat", "");
    ck_assert_int_eq(process_alive(7, 0), 0);
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        write_fake("/proc/7/stat", odd[i]);
        process_name(7, name);
        ck_assert_msg(strcmp(name, "?") == 0, "'%s' gave the name '%s'", odd[i], name);
        ck_assert_uint_eq(process_start(7), 0);
        ck_assert_int_eq(process_alive(7, 0), 0);
    }
    write_fake("/proc/7/stat", "7 (short) R 1 2 3");
    process_name(7, name);
    ck_assert_str_eq(name, "short");
    ck_assert_uint_eq(process_start(7), 0);
    ck_assert_int_eq(process_alive(7, 0), 1);
    ck_assert_int_eq(process_alive(7, 9), 0);
    write_fake("/proc/7/stat", "7 (dying) X 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 4711");
    ck_assert_uint_eq(process_start(7), 4711);
    ck_assert_int_eq(process_alive(7, 4711), 0);
    leave_fake();
}
END_TEST

START_TEST(odd_boot_ids_are_refused) {
    static const char path[] = "/proc/sys/kernel/random/boot_id";
    static const uint8_t right[16] = {0x0f, 0x1e, 0x2d, 0x3c, 0x4b, 0x5a, 0x69, 0x78,
                                      0x87, 0x96, 0xa5, 0xb4, 0xc3, 0xd2, 0xe1, 0xf0};
    uint8_t id[16];
    if (!enter_fake())
        return;
    ck_assert_int_eq(process_boot_id(id), -ENOENT);
    char part[sizeof path];
    for (size_t i = 1; i < sizeof path; i++)
        if (path[i] == '/' || path[i] == '\0') { /* at last a directory in the file's place */
            snprintf(part, sizeof part, "%.*s", (int)i, path);
            ck_assert_int_eq(mkdir(part, 0700), 0);
        }
    ck_assert_int_eq(process_boot_id(id), -EISDIR);
    ck_assert_int_eq(rmdir(path), 0);
    write_fake(path, "");
    ck_assert_int_eq(process_boot_id(id), -EBADMSG);
    write_fake(path, "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f");
    ck_assert_int_eq(process_boot_id(id), -EBADMSG);
    write_fake(path, "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1fg");
    ck_assert_int_eq(process_boot_id(id), -EBADMSG);
    write_fake(path, "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0\n");
    ck_assert_int_eq(process_boot_id(id), 0);
    ck_assert_mem_eq(id, right, sizeof id);
    leave_fake();
}
END_TEST

START_TEST(an_exit_has_its_status) {
    pid_t child = fork();
    if (child == 0)
        _exit(3);
    const int fd = (int)syscall(SYS_pidfd_open, child, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    uint32_t detail;
    const uint32_t end = process_end(fd, &detail);
    ck_assert(end == SHM_END_EXITED || end == SHM_END_UNKNOWN);
    ck_assert_uint_eq(detail, end == SHM_END_EXITED ? 3 : 0);
    close(fd);
}
END_TEST

UNIT_MAIN("process", start_tells_a_process_from_its_successor, a_zombie_is_not_alive,
          a_name_may_hold_anything, boot_id_is_that_of_the_kernel, a_pidfd_tells_how_it_ended,
          an_exit_has_its_status, odd_stats_tell_nothing, odd_boot_ids_are_refused)
