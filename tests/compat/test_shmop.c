/* SPDX-License-Identifier: Apache-2.0
 *
 * shmop on System V segments: what each call does and refuses.  That PHP's does the same is
 * test_shmop.sh's to show.
 */
#include "unit.h"
#include "usage.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <shmop.h>
#include <string.h>
#include <sys/random.h>
#include <sys/shm.h>
#include <sys/wait.h>

#define ROUNDS 100000u
#define MANY   5000u

static uint32_t new_key(void) {
    uint32_t key;
    do
        ck_assert_int_eq(getrandom(&key, sizeof key, 0), sizeof key);
    while (key == 0 || shmget((key_t)key, 0, 0) >= 0);
    return key;
}

static shmop *opened(uint32_t key, const char *flags, size_t size) {
    shmop *block = shmop_open(key, flags, 0600, size);
    ck_assert_msg(block != NULL, "%s", shmop_last_error());
    return block;
}

static void open_fails(uint32_t key, const char *flags, unsigned mode, size_t size, int error) {
    errno = 0;
    ck_assert_ptr_null(shmop_open(key, flags, mode, size));
    ck_assert_int_eq(errno, error);
    ck_assert_str_ne(shmop_last_error(), "");
}

#define fails(call, error)                                                                         \
    do {                                                                                           \
        errno = 0;                                                                                 \
        ck_assert_int_eq(call, -1);                                                                \
        ck_assert_int_eq(errno, error);                                                            \
    } while (0)

START_TEST(flags) {
    const uint32_t key = new_key();
    static const char *const wrong[] = {NULL, "", "x", "ac", "A", "cc", " c"};
    ck_assert_str_eq(shmop_last_error(), "");
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
        open_fails(key, wrong[i], 0600, 100, EINVAL);
    open_fails(key, "a", 0600, 100, ENOENT);
    open_fails(key, "w", 0600, 100, ENOENT);
    open_fails(key, "c", 0600, 0, EINVAL);
    open_fails(key, "n", 0600, 0, EINVAL);
    shmop *first = opened(key, "n", 100);
    open_fails(key, "n", 0600, 100, EEXIST);
    open_fails(key, "c", 0600, 101, EINVAL);
    /* of one that is there, size and mode don't count */
    shmop *second = opened(key, "c", 1), *third = shmop_open(key, "w", 0xffff, SIZE_MAX);
    shmop *fourth = shmop_open(key, "a", 0xffff, SIZE_MAX);
    ck_assert(third != NULL && fourth != NULL);
    ck_assert_int_eq(shmop_size(first), 100);
    ck_assert_int_eq(shmop_size(second), 100);
    ck_assert_int_eq(shmop_size(third), 100);
    ck_assert_int_eq(shmop_size(fourth), 100);
    ck_assert_int_eq(shmop_id(first), shmget((key_t)key, 0, 0));
    ck_assert_int_eq(shmop_id(fourth), shmop_id(first));
    struct shmid_ds found;
    ck_assert_int_eq(shmctl(shmget((key_t)key, 0, 0), IPC_STAT, &found), 0);
    ck_assert_uint_eq(found.shm_perm.mode & 0777, 0600);
    ck_assert_int_eq(shmop_delete(first), 0);
    shmop_close(first);
    shmop_close(second);
    shmop_close(third);
    shmop_close(fourth);
    open_fails(key, "w", 0600, 100, ENOENT);
}
END_TEST

START_TEST(bounds) {
    char buffer[200];
    shmop *block = opened(0, "c", 100);
    shmop_delete(block);
    ck_assert_int_eq(shmop_write(block, "0123456789", 10, 95), 5);
    ck_assert_int_eq(shmop_write(block, "0123456789", 10, 100), 0);
    ck_assert_int_eq(shmop_write(block, "", 0, 0), 0);
    ck_assert_int_eq(shmop_write(block, NULL, 0, 50), 0);
    fails(shmop_write(block, "", 0, 101), EINVAL);
    fails(shmop_write(block, "1", 1, SIZE_MAX), EINVAL);
    ck_assert_int_eq(shmop_read(block, 95, 5, buffer, sizeof buffer), 5);
    ck_assert_mem_eq(buffer, "01234", 5);
    ck_assert_int_eq(shmop_read(block, 0, 0, buffer, sizeof buffer), 100);
    ck_assert_mem_eq(buffer + 95, "01234", 5);
    ck_assert_int_eq(buffer[94], 0);
    ck_assert_int_eq(shmop_read(block, 90, 0, buffer, sizeof buffer), 10);
    ck_assert_int_eq(shmop_read(block, 100, 0, buffer, sizeof buffer), 0);
    ck_assert_int_eq(shmop_read(block, 100, 0, NULL, 0), 0);
    fails(shmop_read(block, 100, 1, buffer, sizeof buffer), EINVAL);
    fails(shmop_read(block, 101, 0, buffer, sizeof buffer), EINVAL);
    fails(shmop_read(block, 1, SIZE_MAX, buffer, sizeof buffer), EINVAL);
    fails(shmop_read(block, SIZE_MAX, 2, buffer, sizeof buffer), EINVAL);
    fails(shmop_read(block, 0, 0, buffer, 99), EMSGSIZE);
    ck_assert_str_eq(shmop_last_error(),
                     "a read of 100 bytes at 0 takes more than the buffer's 99");
    shmop_close(block);
}
END_TEST

START_TEST(to_read_alone) {
    const uint32_t key = new_key();
    char byte;
    shmop *writer = opened(key, "n", 10), *reader = opened(key, "a", 0);
    fails(shmop_write(reader, "x", 1, 0), EACCES);
    fails(shmop_write(reader, "x", 1, 11), EACCES);
    ck_assert_int_eq(shmop_write(writer, "x", 1, 9), 1);
    ck_assert_int_eq(shmop_read(reader, 9, 1, &byte, 1), 1);
    ck_assert_int_eq(byte, 'x');
    /* deleted, it is read and written until it is closed; its key is free at once */
    ck_assert_int_eq(shmop_delete(reader), 0);
    open_fails(key, "a", 0, 0, ENOENT);
    shmop *other = opened(key, "n", 20);
    ck_assert_int_eq(shmop_write(writer, "y", 1, 9), 1);
    ck_assert_int_eq(shmop_read(reader, 9, 1, &byte, 1), 1);
    ck_assert_int_eq(byte, 'y');
    ck_assert_int_eq(shmop_size(reader), 10);
    ck_assert_int_eq(shmop_delete(other), 0);
    shmop_close(writer);
    shmop_close(reader);
    ck_assert_int_eq(shmop_delete(other), 0); /* once more, while somebody has it */
    shmop_close(other);
}
END_TEST

START_TEST(not_open) {
    char byte;
    fails(shmop_size(NULL), EBADF);
    fails(shmop_id(NULL), EBADF);
    fails(shmop_read(NULL, 0, 0, &byte, 1), EBADF);
    fails(shmop_write(NULL, "x", 1, 0), EBADF);
    fails(shmop_delete(NULL), EBADF);
    shmop_close(NULL);
    errno = 0;
    ck_assert_ptr_null(shmop_open_section_in(NULL, "name", "a"));
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_ptr_null(shmop_open_section(1, NULL, "a"));
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_ptr_null(shmop_open_section(1, "name", "c"));
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_ptr_null(shmop_open_section(new_key(), "name", "w"));
    ck_assert_int_eq(errno, ENOENT);
}
END_TEST

/* The first segment of an IPC namespace has the id 0. */
START_TEST(id_0) {
    const pid_t child = fork();
    int status;
    if (child == 0) {
        if (unshare(CLONE_NEWIPC) < 0)
            _exit(77);
        shmop *block = shmop_open(1, "n", 0600, 10);
        if (block == NULL || shmget(1, 0, 0) != 0)
            _exit(1);
        char byte = 0;
        _exit(shmop_write(block, "z", 1, 3) == 1 && shmop_read(block, 3, 1, &byte, 1) == 1 &&
                      byte == 'z' && shmop_id(block) == 0 &&
                      shmop_size(shmop_open(1, "a", 0, 0)) == 10 && shmop_delete(block) == 0
                  ? 0
                  : 2);
    }
    waitpid(child, &status, 0);
    ck_assert_msg(status == 0 || WEXITSTATUS(status) == 77, "status %#x", (unsigned)status);
}
END_TEST

START_TEST(many_blocks) {
    static shmop *blocks[MANY];
    const uint32_t key = new_key();
    for (unsigned i = 0; i < MANY; i++)
        blocks[i] = opened(key, i == 0 ? "n" : i % 2 == 0 ? "w" : "a", MANY);
    for (unsigned i = 0; i < MANY; i += 2)
        ck_assert_int_eq(shmop_write(blocks[i], &(char){(char)i}, 1, i), 1);
    for (unsigned i = 0; i < MANY; i += 2) {
        char byte = 1;
        ck_assert_int_eq(shmop_read(blocks[MANY - 1], i, 1, &byte, 1), 1);
        ck_assert_int_eq(byte, (char)i);
    }
    shmop_delete(blocks[0]);
    for (unsigned i = 0; i < MANY; i++)
        shmop_close(blocks[i]);
}
END_TEST

/* Another user, who may read: "a" with any mode, and nothing else. */
START_TEST(of_another_user) {
    if (geteuid() != 0)
        return;
    const uint32_t key = new_key();
    char byte;
    int status;
    shmop *block = shmop_open(key, "n", 0644, 10);
    ck_assert_ptr_nonnull(block);
    const pid_t child = fork();
    if (child == 0) {
        if (setgid(65534) < 0 || setuid(65534) < 0)
            _exit(1);
        shmop *reader = shmop_open(key, "a", 0666, 0);
        if (reader == NULL || shmop_read(reader, 0, 1, &byte, 1) != 1)
            _exit(2);
        if (shmop_open(key, "w", 0, 0) != NULL || errno != EACCES)
            _exit(3);
        _exit(shmop_delete(reader) == -1 && errno == EPERM ? 0 : 4);
    }
    waitpid(child, &status, 0);
    ck_assert_int_eq(status, 0);
    shmop_delete(block);
    shmop_close(block);
}
END_TEST

START_TEST(over_fork) {
    shmop *block = opened(0, "c", 10);
    char byte;
    int status;
    const pid_t child = fork();
    if (child == 0) {
        const bool wrote = shmop_write(block, "c", 1, 0) == 1;
        shmop_close(block);
        _exit(!wrote);
    }
    waitpid(child, &status, 0);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(shmop_read(block, 0, 1, &byte, 1), 1);
    ck_assert_int_eq(byte, 'c');
    shmop_delete(block);
    shmop_close(block);
}
END_TEST

static void *fail_elsewhere(void *nothing) {
    ck_assert_str_eq(shmop_last_error(), "");
    shmop_size(NULL);
    return nothing;
}

START_TEST(text_of_a_thread) {
    pthread_t thread;
    open_fails(new_key(), "x", 0, 0, EINVAL);
    pthread_create(&thread, NULL, fail_elsewhere, NULL);
    pthread_join(thread, NULL);
    ck_assert_str_eq(shmop_last_error(),
                     "flags are \"x\"; they must be one of \"a\", \"c\", \"w\", \"n\"");
}
END_TEST

START_TEST(nothing_leaks) {
    const uint32_t key = new_key();
    char buffer[64];
    shmop *first = opened(key, "n", 1000);
    struct usage before = {0};
    for (unsigned i = 0; i < ROUNDS / 4 + 100; i++) {
        if (i == 100)
            before = usage_now();
        shmop *block = opened(key, i % 2 == 0 ? "w" : "c", 10);
        ck_assert_int_eq(shmop_write(block, &i, sizeof i, i % 900), sizeof i);
        ck_assert_int_eq(shmop_read(block, i % 900, 60, buffer, sizeof buffer), 60);
        ck_assert_int_eq(memcmp(buffer, &i, sizeof i), 0);
        shmop_close(block);
        ck_assert_ptr_null(shmop_open(key, "n", 0600, 10));
    }
    const struct usage after = usage_now();
    ck_assert_int_lt(after.bytes - before.bytes, 10L * ROUNDS);
    ck_assert_uint_eq(after.descriptors, before.descriptors);
    ck_assert_uint_le(after.mappings, before.mappings + 50); /* the allocator's may come and go */
    shmop_delete(first);
    shmop_close(first);
    printf("figure: compat.shmop.leak_operations %u operations\n", ROUNDS);
}
END_TEST

UNIT_MAIN("shmop", flags, bounds, to_read_alone, not_open, id_0, many_blocks, of_another_user,
          over_fork, text_of_a_thread, nothing_leaks)
