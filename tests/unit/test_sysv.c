/* SPDX-License-Identifier: Apache-2.0
 *
 * The thin layer over System V segments.
 */
#include "core/sysv.h"
#include "unit.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/sem.h>
#include <sys/wait.h>
#include <unistd.h>

/* A key that nobody has: random, and not there before. */
static uint32_t free_key(void) {
    int id;
    uint32_t key;
    do
        key = 0x50000000u | ((uint32_t)getpid() << 8 ^ (uint32_t)rand());
    while (sysv_find(key, &id) != -ENOENT);
    return key;
}

START_TEST(a_segment_is_made_once_and_found) {
    uint32_t key = free_key();
    int id, other;
    struct shmid_ds stat;
    ck_assert_int_eq(sysv_create(key, 2 * SHM_PAGE, 0600, &id), 0);
    ck_assert_int_eq(sysv_create(key, SHM_PAGE, 0600, &other), -EEXIST);
    ck_assert_int_eq(sysv_find(key, &other), 0);
    ck_assert_int_eq(other, id);
    ck_assert_int_eq(sysv_stat(id, &stat), 0);
    ck_assert_uint_eq(stat.shm_segsz, 2 * SHM_PAGE);
    ck_assert_int_eq(sysv_remove(id), 0);
    ck_assert_int_eq(sysv_find(key, &other), -ENOENT);
    ck_assert_int_eq(sysv_stat(id, &stat), -EIDRM);
    void *base;
    ck_assert_int_eq(sysv_attach(id, false, &base), -EIDRM);
}
END_TEST

START_TEST(removal_is_seen_by_who_is_attached) {
    int id;
    void *base;
    struct shmid_ds stat;
    ck_assert_int_eq(sysv_create(0, SHM_PAGE, 0600, &id), 0);
    ck_assert_int_eq(sysv_attach(id, true, &base), 0);
    ck_assert_int_eq(sysv_stat(id, &stat), 0);
    ck_assert(!sysv_removed(&stat));
    ck_assert_int_eq(sysv_remove(id), 0);
    ck_assert_int_eq(sysv_stat(id, &stat), 0);
    ck_assert(sysv_removed(&stat));
    memset(base, 1, SHM_PAGE); /* it lives on */
    sysv_detach(base);
    ck_assert_int_eq(sysv_stat(id, &stat), -EIDRM);
}
END_TEST

START_TEST(only_the_own_part_can_be_written) {
    int id;
    void *base;
    ck_assert_int_eq(sysv_create(0, 4 * SHM_PAGE, 0600, &id), 0);
    ck_assert_int_eq(sysv_attach(id, true, &base), 0);
    ck_assert_int_eq(sysv_remove(id), 0);
    ck_assert_int_eq(sysv_protect(base, 0, 4 * SHM_PAGE, false), 0);
    ck_assert_int_eq(sysv_protect(base, SHM_PAGE, SHM_PAGE, true), 0);
    volatile uint8_t *bytes = base;
    bytes[SHM_PAGE] = 1;
    pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        bytes[0] = 1;
        _exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        _exit(bytes[SHM_PAGE]); /* a fork has no own part at all */
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    sysv_detach(base);
}
END_TEST

/* The kernel's reasons come through; what is gone has one of its own. */
START_TEST(errors_are_told) {
    int id;
    void *base = &id;
    struct shmid_ds stat;
    ck_assert_int_eq(sysv_create(0, 0, 0600, &id), -EINVAL);
    ck_assert_int_eq(sysv_create(0, SHM_PAGE, 0600, &id), 0);
    if (geteuid() == 0) {
        ck_assert_int_eq(seteuid(54321), 0);
        ck_assert_int_eq(sysv_stat(id, &stat), -EACCES);
        ck_assert_int_eq(sysv_attach(id, false, &base), -EACCES);
        ck_assert_int_eq(sysv_remove(id), -EPERM);
        ck_assert_int_eq(seteuid(0), 0);
    }
    ck_assert_ptr_eq(base, &id);
    ck_assert_int_eq(sysv_attach(id, true, &base), 0);
    ck_assert_int_eq(sysv_remove(id), 0);
    ck_assert_int_eq(sysv_protect(base, 1, SHM_PAGE, true), -EINVAL);
    sysv_detach(base);
    sysv_detach(NULL);
    ck_assert_int_lt(sysv_remove(id), 0);
}
END_TEST

/* Also of what nobody may look at, and not of another kind or key. */
START_TEST(a_creator_is_known) {
    uint32_t key = free_key();
    int id, found = -1;
    uid_t creator = 1;
    ck_assert_int_eq(sysv_creator(SYSV_SEGMENT, key, &found, &creator), -ENOENT);
    ck_assert_int_eq(sysv_create(key, SHM_PAGE, 0, &id), 0);
    if (geteuid() == 0)
        ck_assert_int_eq(seteuid(54321), 0);
    ck_assert_int_eq(sysv_creator(SYSV_SEGMENT, key, &found, &creator), 0);
    if (getuid() == 0)
        ck_assert_int_eq(seteuid(0), 0);
    ck_assert_int_eq(found, id);
    ck_assert_uint_eq(creator, geteuid());
    ck_assert_int_eq(sysv_creator(SYSV_SEMAPHORE, key, &found, &creator), -ENOENT);
    ck_assert_int_eq(sysv_remove(id), 0);
    int semaphore = semget((key_t)key, 1, IPC_CREAT | IPC_EXCL | 0);
    ck_assert_int_ge(semaphore, 0);
    ck_assert_int_eq(sysv_creator(SYSV_SEGMENT, key, &found, &creator), -ENOENT);
    ck_assert_int_eq(sysv_creator(SYSV_SEMAPHORE, key, &found, &creator), 0);
    ck_assert_int_eq(found, semaphore);
    ck_assert_uint_eq(creator, geteuid());
    ck_assert_int_eq(semctl(semaphore, 0, IPC_RMID), 0);
}
END_TEST

UNIT_MAIN("sysv", a_segment_is_made_once_and_found, removal_is_seen_by_who_is_attached,
          only_the_own_part_can_be_written, errors_are_told, a_creator_is_known)
