/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that is inherited over fork, by each way to it, and where one isn't to be had.
 */
#include "core/inherited.h"
#include "forbid.h"
#include "unit.h"

#include <errno.h>
#include <sched.h>
#include <shm-manager/layout.h>
#include <sys/mman.h>
#include <sys/shm.h>

START_TEST(each_strategy) {
    for (int i = INHERITED_ANON; i <= INHERITED_SYSV; i++) {
        void *first, *second;
        int status;
        ck_assert_int_eq(inherited_make((enum inherited_strategy)i, 4 * SHM_PAGE, &first), 0);
        ck_assert_int_eq(inherited_map((uint8_t *)first + SHM_PAGE, 2 * SHM_PAGE,
                                       PROT_READ | PROT_WRITE, &second),
                         0);
        uint8_t *bytes = second;
        for (unsigned k = 0; k < 2 * SHM_PAGE; k++)
            ck_assert_uint_eq(bytes[k], 0);
        const pid_t pid = fork();
        if (pid == 0) {
            void *third;
            if (inherited_map(first, 4 * SHM_PAGE, PROT_READ | PROT_WRITE, &third) < 0)
                _exit(1);
            ((uint8_t *)third)[SHM_PAGE + 5] = 42;
            _exit(0);
        }
        waitpid(pid, &status, 0);
        ck_assert_int_eq(status, 0);
        ck_assert_uint_eq(bytes[5], 42);
        ck_assert_int_eq(madvise(bytes, SHM_PAGE, MADV_REMOVE), 0);
        ck_assert_uint_eq(bytes[5], 0);
        ck_assert_ptr_nonnull(inherited_name((enum inherited_strategy)i));
        munmap(second, 2 * SHM_PAGE);
        munmap(first, 4 * SHM_PAGE);
    }
    void *none;
    ck_assert_int_eq(inherited_make((enum inherited_strategy)9, SHM_PAGE, &none), -EINVAL);
    ck_assert_ptr_null(inherited_name((enum inherited_strategy)9));
}
END_TEST

START_TEST(the_first_to_be_had) {
    for (int i = INHERITED_AUTO; i <= INHERITED_SYSV; i++) {
        enum inherited_strategy strategy = (enum inherited_strategy)i;
        void *memory;
        ck_assert_int_eq(inherited_choose(&strategy, SHM_PAGE, &memory), 0);
        ck_assert_int_eq((int)strategy, i == INHERITED_AUTO ? INHERITED_ANON : i);
        munmap(memory, SHM_PAGE);
        strategy = (enum inherited_strategy)i;
        ck_assert_int_lt(inherited_choose(&strategy, UINT64_C(1) << 62, &memory), 0);
        ck_assert_int_eq((int)strategy, i == INHERITED_AUTO ? INHERITED_SYSV : i);
    }
}
END_TEST

START_TEST(more_than_there_is) {
    void *none;
    for (int i = INHERITED_ANON; i <= INHERITED_SYSV; i++)
        ck_assert_int_lt(inherited_make((enum inherited_strategy)i, UINT64_C(1) << 62, &none), 0);
    ck_assert_int_lt(inherited_map((void *)(uintptr_t)SHM_PAGE, SHM_PAGE, PROT_READ, &none), 0);
}
END_TEST

static unsigned sysv_segments(void) {
    struct shm_info info;
    return shmctl(0, SHM_INFO, (struct shmid_ds *)(void *)&info) < 0 ? 0 : (unsigned)info.used_ids;
}

static int without_shmat(void) {
    void *none;
    return forbid(SYS_shmat) ? -inherited_make(INHERITED_SYSV, SHM_PAGE, &none) : EPERM;
}

/* It is removed as well when it couldn't be attached. */
START_TEST(sysv_is_not_attached) {
    if (unshare(CLONE_NEWIPC) < 0)
        return; /* others' come and go */
    ck_assert_int_eq(apart(without_shmat), EPERM);
    ck_assert_uint_eq(sysv_segments(), 0);
}
END_TEST

static int without_mprotect(void) {
    void *none, *memory;
    if (inherited_make(INHERITED_ANON, SHM_PAGE, &memory) < 0)
        return 1;
    if (!forbid(SYS_mprotect))
        return EPERM;
    const int r = inherited_make(INHERITED_SYSV, SHM_PAGE, &none);
    return r == -EPERM ? -inherited_map(memory, SHM_PAGE, PROT_READ, &none) : 1;
}

START_TEST(memory_that_cant_be_protected) {
    ck_assert_int_eq(apart(without_mprotect), EPERM);
}
END_TEST

UNIT_MAIN("inherited", each_strategy, the_first_to_be_had, more_than_there_is, sysv_is_not_attached,
          memory_that_cant_be_protected)
