/* SPDX-License-Identifier: Apache-2.0
 *
 * Leases that can't be made, and files that are no leases.
 */
#include "core/crc32c.h"
#include "core/lease.h"
#include "temp_dir.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

static int directory(void) {
    const int dir = open(temp_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(dir, 0);
    return dir;
}

static struct lease_record record(uint32_t attachment, uint64_t epoch) {
    return (struct lease_record){
        .magic = LEASE_MAGIC, .attachment = attachment, .attachment_epoch = epoch, .worker = "cam"};
}

/* Its sum is right, and it is not what its name says. */
static void expect_refused(struct lease_record r, const char *file, size_t bytes) {
    struct lease_record found = {.pid = 77};
    const int dir = directory();
    int other = 77;
    r.crc = CRC32C_OF(&r);
    const int fd = openat(dir, file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, &r, bytes), (ssize_t)bytes);
    close(fd);
    ck_assert_int_eq(lease_open(dir, file, &found, &other), -EBADMSG);
    ck_assert_uint_eq(found.pid, 77);
    ck_assert_int_eq(other, 77);
    ck_assert_int_eq(unlinkat(dir, file, 0), 0);
    close(dir);
}

START_TEST(another_ones_file_is_refused) {
    struct lease_record r = record(5, 6);
    expect_refused(r, "5.6", sizeof r - 1);
    expect_refused(r, "5.6", 0);
    expect_refused(r, "4.6", sizeof r);
    expect_refused(r, "5.7", sizeof r);
    r.magic ^= 1;
    expect_refused(r, "5.6", sizeof r);
    r = record(5, 6);
    memset(r.worker, 'x', sizeof r.worker);
    expect_refused(r, "5.6", sizeof r);
}
END_TEST

static void limit(int resource, rlim_t to) {
    struct rlimit now;
    ck_assert_int_eq(getrlimit((__rlimit_resource_t)resource, &now), 0);
    now.rlim_cur = to;
    ck_assert_int_eq(setrlimit((__rlimit_resource_t)resource, &now), 0);
}

static void expect_no_lease(int dir, int error) {
    const struct lease_record r = record(1, 1);
    int keep = 77, grant = 77;
    ck_assert_int_eq(lease_create(dir, &r, &keep, &grant), error);
    ck_assert_int_eq(lease_probe(dir), error);
    ck_assert_int_eq(keep, 77);
    ck_assert_int_eq(grant, 77);
}

/* A full disk, too many descriptors: no lease, and no file of one. */
START_TEST(a_grant_that_fails_leaves_no_file) {
    const int dir = directory();
    struct rlimit files;
    signal(SIGXFSZ, SIG_IGN);
    limit(RLIMIT_FSIZE, 16);
    expect_no_lease(dir, -ENOSPC);
    limit(RLIMIT_FSIZE, 0);
    expect_no_lease(dir, -EFBIG);
    limit(RLIMIT_FSIZE, RLIM_INFINITY);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
    const int next = dup(dir);
    close(next);
    limit(RLIMIT_NOFILE, (rlim_t)next + 1);
    expect_no_lease(dir, -EMFILE);
    limit(RLIMIT_NOFILE, files.rlim_cur);
    ck_assert_int_eq(lease_remove(dir, 1, 1), -ENOENT);
    ck_assert_int_eq(lease_probe(dir), 0);
    close(dir);
}
END_TEST

START_TEST(nothing_comes_of_no_descriptor) {
    void *map = &map;
    ck_assert_int_eq(lease_held(-1), -EBADF);
    ck_assert_int_eq(lease_map(-1, &map), -EBADF);
    ck_assert_ptr_eq(map, &map);
    lease_unmap(NULL);
    expect_no_lease(-1, -EBADF);
}
END_TEST

UNIT_MAIN("lease errors", another_ones_file_is_refused, a_grant_that_fails_leaves_no_file,
          nothing_comes_of_no_descriptor)
