/* SPDX-License-Identifier: Apache-2.0
 *
 * The memfd backend's memory: what can be done with a descriptor of it, and what can't.
 */
#include "core/memfd.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <shm-manager/layout.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define BYTES (4 * (uint64_t)SHM_PAGE)

static int make(void) {
    int fd = -1;
    ck_assert_int_eq(memfd_make("test", BYTES, &fd), 0);
    ck_assert_int_ge(fd, 0);
    return fd;
}

START_TEST(its_size_and_its_mode_stay) {
    struct stat stat;
    const int fd = make();
    ck_assert_int_eq(fstat(fd, &stat), 0);
    ck_assert_uint_eq(stat.st_mode & 0777, 0600);
    ck_assert_uint_eq((uint64_t)stat.st_size, BYTES);
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(ftruncate(fd, 0), -1);
    ck_assert_int_eq(ftruncate(fd, (off_t)(2 * BYTES)), -1);
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    uid_t owner = 77;
    ck_assert_int_eq(memfd_check(fd, BYTES, &owner), 0);
    ck_assert_uint_eq(owner, geteuid());
    ck_assert_int_eq(memfd_check(fd, BYTES, NULL), 0);
    close(fd);
}
END_TEST

START_TEST(what_is_no_such_memfd_is_refused) {
    uid_t owner = 77;
    int ends[2];
    const int fd = make();
    ck_assert_int_eq(memfd_check(fd, BYTES + SHM_PAGE, &owner), -EBADMSG);
    ck_assert_int_eq(memfd_check(-1, BYTES, &owner), -EBADF);
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(memfd_check(ends[0], BYTES, &owner), -EBADMSG);
    const int soft = memfd_create("soft", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ck_assert_int_eq(ftruncate(soft, (off_t)BYTES), 0);
    ck_assert_int_eq(memfd_check(soft, BYTES, &owner), -EBADMSG);
    ck_assert_int_eq(fcntl(soft, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    ck_assert_int_eq(memfd_check(soft, BYTES, &owner), -EBADMSG); /* seals may still be added */
    ck_assert_uint_eq(owner, 77);
    close(soft);
    close(ends[0]);
    close(ends[1]);
    close(fd);
}
END_TEST

START_TEST(a_descriptor_to_read_does_not_write) {
    const int fd = make();
    int reader = -1, writer = -1;
    void *base;
    ck_assert_int_eq(memfd_reopen(fd, false, &reader), 0);
    ck_assert_int_eq(memfd_reopen(fd, true, &writer), 0);
    ck_assert_int_eq(fcntl(reader, F_GETFL) & O_ACCMODE, O_RDONLY);
    ck_assert_int_eq(memfd_map(reader, BYTES, true, NULL, &base), -EACCES);
    ck_assert_int_eq(memfd_punch(reader, 0, SHM_PAGE), -EBADF);
    ck_assert_int_eq(memfd_map(reader, BYTES, false, NULL, &base), 0);
    ck_assert_int_eq(mprotect(base, BYTES, PROT_READ | PROT_WRITE), -1);
    ck_assert_int_eq(pwrite(writer, "x", 1, 5), 1);
    ck_assert_int_eq(((char *)base)[5], 'x');
    munmap(base, BYTES);
    close(writer);
    close(reader);
    close(fd);
    ck_assert_int_eq(memfd_reopen(fd, false, &reader), -ENOENT);
}
END_TEST

/* In the place of what is mapped there, and nowhere else; its memory is given back. */
START_TEST(it_is_mapped_where_it_shall_be) {
    const int fd = make();
    uint8_t *range = mmap(NULL, 2 * BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(range, MAP_FAILED);
    ck_assert_int_eq(memfd_map(fd, BYTES, true, range + BYTES, NULL), 0);
    memset(range + BYTES, 7, BYTES);
    ck_assert_int_eq(memfd_punch(fd, SHM_PAGE, SHM_PAGE), 0);
    ck_assert_uint_eq(range[BYTES + SHM_PAGE - 1], 7);
    ck_assert_uint_eq(range[BYTES + SHM_PAGE], 0);
    ck_assert_uint_eq(range[BYTES + 2 * SHM_PAGE - 1], 0);
    ck_assert_uint_eq(range[BYTES + 2 * SHM_PAGE], 7);
    munmap(range, 2 * BYTES);
    close(fd);
}
END_TEST

START_TEST(none_is_half_made) {
    int fd = 77;
    char name[300];
    struct rlimit files;
    const int next = dup(0);
    close(next);
    ck_assert_int_lt(memfd_make("huge", UINT64_MAX, &fd), 0);
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = '\0';
    ck_assert_int_eq(memfd_make(name, BYTES, &fd), -EINVAL);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
    const struct rlimit none = {.rlim_cur = (rlim_t)next, .rlim_max = files.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    ck_assert_int_eq(memfd_make("one too many", BYTES, &fd), -EMFILE);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
    ck_assert_int_eq(fd, 77);
    const int after = dup(0);
    ck_assert_int_eq(after, next); /* nothing stayed open */
    close(after);
}
END_TEST

UNIT_MAIN("memfd", its_size_and_its_mode_stay, what_is_no_such_memfd_is_refused,
          a_descriptor_to_read_does_not_write, it_is_mapped_where_it_shall_be, none_is_half_made)
