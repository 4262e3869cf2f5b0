/* SPDX-License-Identifier: Apache-2.0
 *
 * Leases: the lock lives as long as the address space that maps it, and no longer.
 */
#include "core/lease.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[] = "/tmp/shm-lease-XXXXXX";
static int dir = -1;

static void make_directory(void) {
    strcpy(path + strlen(path) - 6, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(path));
    dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(dir, 0);
}

static void remove_directory(void) {
    close(dir);
    ck_assert_int_eq(rmdir(path), 0);
}

static struct lease_record record(uint32_t attachment, uint64_t epoch) {
    struct lease_record r = {.attachment = attachment, .attachment_epoch = epoch, .worker = "cam"};
    return r;
}

/* Waits for a byte from a child, so that nothing needs to sleep. */
static void await(int fd) {
    char byte;
    ck_assert_int_eq(read(fd, &byte, 1), 1);
}

static void await_free(int keep) {
    for (int i = 0; lease_held(keep) != 0; i++) {
        ck_assert_int_lt(i, 30000);
        poll(NULL, 0, 1);
    }
}

START_TEST(a_file_is_made_once) {
    make_directory();
    struct lease_record r = record(3, 7), found;
    int keep, grant, again;
    ck_assert_int_eq(lease_create(dir, &r, &keep, &grant), 0);
    ck_assert_int_eq(lease_create(dir, &r, &again, &again), -EEXIST);
    ck_assert_int_eq(lease_held(keep), 1);
    ck_assert_int_eq(lease_open(dir, "3.7", &found, &again), 0);
    ck_assert_str_eq(found.worker, "cam");
    ck_assert_int_eq(lease_held(again), 1);
    close(grant);
    ck_assert_int_eq(lease_held(keep), 0);
    close(again);
    close(keep);
    ck_assert_int_eq(lease_remove(dir, 3, 7), 0);
    remove_directory();
}
END_TEST

START_TEST(a_probe_leaves_nothing) {
    make_directory();
    ck_assert_int_eq(lease_probe(dir), 0);
    remove_directory();
}
END_TEST

START_TEST(its_holder_can_not_write_it) {
    make_directory();
    struct lease_record r = record(1, 1);
    int keep, grant;
    ck_assert_int_eq(lease_create(dir, &r, &keep, &grant), 0);
    ck_assert_int_eq(fcntl(grant, F_GETFL) & O_ACCMODE, O_RDONLY);
    ck_assert_int_lt(ftruncate(grant, 1 << 20), 0);
    close(grant);
    close(keep);
    lease_remove(dir, 1, 1);
    remove_directory();
}
END_TEST

START_TEST(the_map_keeps_it_and_sigkill_frees_it) {
    make_directory();
    struct lease_record r = record(1, 2);
    int keep, grant, ready[2];
    ck_assert_int_eq(pipe(ready), 0);
    ck_assert_int_eq(lease_create(dir, &r, &keep, &grant), 0);
    pid_t child = fork();
    if (child == 0) {
        void *map;
        if (lease_map(grant, &map) < 0)
            _exit(1);
        close_range(3, (unsigned)ready[1] - 1, 0);
        close_range((unsigned)ready[1] + 1, ~0u, 0);
        (void)!write(ready[1], "", 1);
        for (;;)
            pause();
    }
    close(grant);
    await(ready[0]);
    ck_assert_int_eq(lease_held(keep), 1);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    await_free(keep);
    close(ready[0]);
    close(ready[1]);
    close(keep);
    lease_remove(dir, 1, 2);
    remove_directory();
}
END_TEST

START_TEST(a_fork_does_not_inherit_it) {
    make_directory();
    struct lease_record r = record(1, 3);
    int keep, grant;
    void *map;
    ck_assert_int_eq(lease_create(dir, &r, &keep, &grant), 0);
    ck_assert_int_eq(lease_map(grant, &map), 0);
    int hold[2];
    ck_assert_int_eq(pipe(hold), 0);
    pid_t child = fork();
    if (child == 0) {
        close(keep);
        await(hold[0]);
        _exit(0);
    }
    ck_assert_int_eq(lease_held(keep), 1);
    lease_unmap(map);
    ck_assert_int_eq(lease_held(keep), 0); /* although the child still lives */
    ck_assert_int_eq(write(hold[1], "", 1), 1);
    waitpid(child, NULL, 0);
    close(hold[0]);
    close(hold[1]);
    close(keep);
    lease_remove(dir, 1, 3);
    remove_directory();
}
END_TEST

START_TEST(names_are_canonical) {
    uint32_t attachment;
    uint64_t epoch;
    ck_assert(lease_parse("12.7", &attachment, &epoch));
    ck_assert_uint_eq(attachment, 12);
    ck_assert_uint_eq(epoch, 7);
    const char *bad[] = {"", "12", "12.", ".7", "012.7", "12.7x", "-1.7", "12.07", " 1.2", "a.b"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(!lease_parse(bad[i], &attachment, &epoch), "%s", bad[i]);
}
END_TEST

START_TEST(a_damaged_file_is_refused) {
    make_directory();
    struct lease_record r = record(5, 6), found;
    int keep, grant, other;
    ck_assert_int_eq(lease_create(dir, &r, &keep, &grant), 0);
    ck_assert_int_eq(pwrite(keep, "x", 1, 40), 1);
    ck_assert_int_eq(lease_open(dir, "5.6", &found, &other), -EBADMSG);
    ck_assert_int_eq(lease_open(dir, "5.7", &found, &other), -ENOENT);
    ck_assert_int_eq(lease_open(dir, "../x", &found, &other), -EBADMSG);
    close(keep);
    close(grant);
    lease_remove(dir, 5, 6);
    remove_directory();
}
END_TEST

UNIT_MAIN("lease", a_file_is_made_once, a_probe_leaves_nothing, its_holder_can_not_write_it,
          the_map_keeps_it_and_sigkill_frees_it, a_fork_does_not_inherit_it, names_are_canonical,
          a_damaged_file_is_refused)
