/* SPDX-License-Identifier: Apache-2.0
 *
 * Leases without a manager: one holder a name, free at once when he dies, whoever looks.
 */
#include "core/directory.h"
#include "core/inherited.h"
#include "core/tenancy.h"
#include "forbid.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS     4u
#define ATTACHMENTS 8u

/* In memory of all processes of a test. */
static struct scene {
    struct shm_worker workers[WORKERS];
    struct shm_attachment attachments[ATTACHMENTS];
    uint32_t inside; /* holders of worker 0 */
    uint32_t wrong, taken;
} * scene;
static struct tenancy tenancy;

static void setup(void) {
    void *memory;
    ck_assert_int_eq(inherited_make(INHERITED_ANON, SHM_PAGE, &memory), 0);
    ck_assert_int_eq(mprotect(memory, SHM_PAGE, PROT_READ | PROT_WRITE), 0);
    _Static_assert(sizeof *scene <= SHM_PAGE, "one page");
    scene = memory;
    ck_assert_int_eq(tenancy_make(&tenancy), 0);
    tenancy.workers = scene->workers;
    tenancy.workers_n = WORKERS;
    tenancy.attachments = scene->attachments;
    tenancy.attachments_n = ATTACHMENTS;
}

static void teardown(void) {
    munmap(scene, SHM_PAGE);
    close(tenancy.fd);
}

/* A child that has taken a lease by now, and keeps it until it is killed. */
static pid_t hold(uint32_t worker) {
    int ready[2];
    char byte;
    ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        struct tenant tenant;
        if (tenancy_take(&tenancy, worker, &tenant) == 0 && write(ready[1], "", 1) == 1)
            for (;;)
                pause();
        _exit(1);
    }
    close(ready[1]);
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return pid;
}

static void end(pid_t pid) {
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static int try_worker_0(void) {
    struct tenant tenant;
    return -tenancy_take(&tenancy, 0, &tenant);
}

static uint64_t word_of(uint32_t attachment) {
    return scene->attachments[attachment].word;
}

START_TEST(taken_and_given_up) {
    struct tenant first, second;
    setup();
    ck_assert_int_eq(tenancy_take(&tenancy, 1, &first), 0);
    ck_assert_uint_eq(first.attachment, 1);
    ck_assert_uint_eq(first.attachment_epoch, 1);
    ck_assert_uint_eq(scene->workers[1].word, lease_word(1, SHM_LEASE_LEASED));
    ck_assert_uint_eq(scene->workers[1].pid, (uint32_t)getpid());
    ck_assert_uint_eq(scene->attachments[1].worker, 1);
    ck_assert_int_eq(tenancy_take(&tenancy, 1, &second), -EBUSY);
    ck_assert_int_eq(tenancy_take(&tenancy, SHM_NONE, &second), 0);
    ck_assert_uint_eq(second.attachment, 2);
    ck_assert(!tenancy_attachment_ended(&tenancy, 1));
    ck_assert(!tenancy_worker_ended(&tenancy, 1));
    tenancy_release(&tenancy, &first);
    ck_assert_uint_eq(word_of(1), lease_word(2, SHM_LEASE_FREE));
    ck_assert_uint_eq(scene->workers[1].word, lease_word(2, SHM_LEASE_FREE));
    ck_assert_uint_eq(scene->workers[1].end_reason, SHM_END_RELEASED);
    tenancy_release(&tenancy, &first); /* nothing is left to be given up */
    ck_assert_int_eq(tenancy_take(&tenancy, 1, &first), 0);
    ck_assert_uint_eq(first.attachment_epoch, 2);
    ck_assert_uint_eq(first.worker_epoch, 2);
    tenancy_release(&tenancy, &first);
    tenancy_release(&tenancy, &second);
    teardown();
}
END_TEST

START_TEST(free_when_killed) {
    struct tenant tenant;
    setup();
    const pid_t pid = hold(0);
    ck_assert_int_eq(in_child(try_worker_0), EBUSY);
    ck_assert(!tenancy_attachment_ended(&tenancy, 1));
    end(pid);
    ck_assert(tenancy_attachment_ended(&tenancy, 1));
    ck_assert_uint_eq(word_of(1), lease_word(2, SHM_LEASE_FREE));
    ck_assert(!tenancy_attachment_ended(&tenancy, 1)); /* nobody holds it */
    ck_assert_int_eq(tenancy_take(&tenancy, 0, &tenant), 0);
    ck_assert_uint_eq(tenant.worker_epoch, 2);
    ck_assert_uint_eq(scene->workers[0].previous_pid, (uint32_t)pid);
    ck_assert_uint_eq(scene->workers[0].end_reason, SHM_END_UNKNOWN);
    tenancy_release(&tenancy, &tenant);
    teardown();
}
END_TEST

START_TEST(all_are_taken) {
    struct tenant tenants[ATTACHMENTS], tenant;
    setup();
    const pid_t pid = hold(0);
    for (unsigned i = 2; i < ATTACHMENTS; i++)
        ck_assert_int_eq(tenancy_take(&tenancy, SHM_NONE, &tenants[i]), 0);
    ck_assert_int_eq(tenancy_take(&tenancy, SHM_NONE, &tenant), -EUSERS);
    end(pid);
    ck_assert_int_eq(tenancy_take(&tenancy, 0, &tenant), 0);
    ck_assert_uint_eq(tenant.attachment, 1);
    ck_assert_uint_eq(tenant.attachment_epoch, 2);
    tenancy_release(&tenancy, &tenant);
    for (unsigned i = 2; i < ATTACHMENTS; i++)
        tenancy_release(&tenancy, &tenants[i]);
    teardown();
}
END_TEST

/* A child that was forked while it was held doesn't hold it. */
START_TEST(not_inherited) {
    struct tenant tenant, next;
    int ends[2];
    setup();
    ck_assert_int_eq(tenancy_take(&tenancy, 0, &tenant), 0);
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        char byte;
        close(ends[1]);
        _exit(read(ends[0], &byte, 1) == 0 ? 0 : 1);
    }
    close(ends[0]);
    tenancy_release(&tenancy, &tenant);
    ck_assert_int_eq(tenancy_take(&tenancy, 0, &next), 0);
    tenancy_release(&tenancy, &next);
    close(ends[1]);
    waitpid(pid, NULL, 0);
    teardown();
}
END_TEST

/* Neither a lock nor an answer comes from another file. */
START_TEST(descriptor_closed) {
    struct tenant tenant;
    setup();
    const pid_t pid = hold(0);
    const int kept = dup(tenancy.fd);
    close(tenancy.fd);
    ck_assert_int_eq(tenancy_take(&tenancy, 1, &tenant), -EBADF);
    ck_assert(!tenancy_attachment_ended(&tenancy, 1));
    const int other = open("/dev/null", O_RDWR | O_CLOEXEC);
    ck_assert_int_eq(dup2(other, tenancy.fd), tenancy.fd);
    ck_assert_int_eq(tenancy_take(&tenancy, 1, &tenant), -EBADF);
    ck_assert(!tenancy_attachment_ended(&tenancy, 1));
    close(other);
    ck_assert_int_eq(dup2(kept, tenancy.fd), tenancy.fd);
    close(kept);
    ck_assert(!tenancy_attachment_ended(&tenancy, 1));
    end(pid);
    ck_assert(tenancy_attachment_ended(&tenancy, 1));
    teardown();
}
END_TEST

/* ---- where something is missing */

static int drop_root_and_take(void) {
    struct tenant tenant;
    if (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0)
        return 1;
    return -tenancy_take(&tenancy, 0, &tenant);
}

START_TEST(as_another_user) {
    if (geteuid() != 0)
        return;
    setup();
    ck_assert_int_eq(in_child(drop_root_and_take), 0);
    teardown();
}
END_TEST

static int without_memfd(void) {
    if (!forbid(SYS_memfd_create))
        return 0;
    struct tenancy other = {0};
    struct tenant tenant;
    if (memfd_create("none", 0) >= 0 || tenancy_make(&other) < 0)
        return 1;
    other.workers = scene->workers;
    other.workers_n = WORKERS;
    other.attachments = scene->attachments;
    other.attachments_n = ATTACHMENTS;
    return -tenancy_take(&other, 0, &tenant);
}

START_TEST(memfd_forbidden) {
    setup();
    ck_assert_int_eq(apart(without_memfd), 0);
    teardown();
}
END_TEST

static int without_proc(void) {
    struct tenancy other;
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", "", MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", "/proc", "tmpfs", 0, NULL) < 0)
        return ENOENT; /* not to be had here */
    return -tenancy_make(&other);
}

START_TEST(proc_missing) {
    ck_assert_int_eq(apart(without_proc), ENOENT);
}
END_TEST

static int forbidden;

static int without_it(void) {
    struct tenancy other;
    return forbid(forbidden) ? -tenancy_make(&other) : EPERM;
}

START_TEST(no_mode_for_the_file) {
    forbidden = SYS_fchmod;
    ck_assert_int_eq(apart(without_it), EPERM);
}
END_TEST

START_TEST(no_lock_on_the_file) {
    forbidden = SYS_fcntl;
    ck_assert_int_eq(apart(without_it), EPERM);
}
END_TEST

START_TEST(no_mapping_of_the_file) {
    forbidden = SYS_madvise;
    ck_assert_int_eq(apart(without_it), EPERM);
}
END_TEST

static int take_without_it(void) {
    struct tenant tenant;
    return forbid(SYS_madvise) ? -tenancy_take(&tenancy, 0, &tenant) : EPERM;
}

START_TEST(no_lease_to_be_had) {
    struct tenant tenant;
    setup();
    ck_assert_int_eq(tenancy_take(&tenancy, WORKERS, &tenant), -EINVAL);
    ck_assert(!tenancy_worker_ended(&tenancy, WORKERS));
    ck_assert(!tenancy_attachment_ended(&tenancy, ATTACHMENTS));
    ck_assert_int_eq(apart(take_without_it), EPERM);
    ck_assert_uint_eq(word_of(1), 0); /* nothing of it */
    ck_assert_uint_eq(scene->workers[0].word, 0);
    teardown();
}
END_TEST

/* ---- many at once */

#define THREADS 4
#define ROUNDS  150

/* In and out of worker 0; two inside is what must not be. */
static bool visit(void) {
    struct tenant tenant;
    int r = tenancy_take(&tenancy, 0, &tenant);
    if (r < 0)
        return false;
    if (__atomic_add_fetch(&scene->inside, 1, __ATOMIC_SEQ_CST) != 1)
        __atomic_add_fetch(&scene->wrong, 1, __ATOMIC_SEQ_CST);
    if (scene->workers[0].word != lease_word(tenant.worker_epoch, SHM_LEASE_LEASED) ||
        word_of(tenant.attachment) != lease_word(tenant.attachment_epoch, SHM_LEASE_LEASED))
        __atomic_add_fetch(&scene->wrong, 1, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&scene->taken, 1, __ATOMIC_SEQ_CST);
    __atomic_sub_fetch(&scene->inside, 1, __ATOMIC_SEQ_CST);
    tenancy_release(&tenancy, &tenant);
    return true;
}

static void *visit_often(void *unused) {
    for (int i = 0; i < ROUNDS; i++) {
        while (!visit())
            ;
        for (uint32_t k = 0; k < ATTACHMENTS; k++)
            tenancy_attachment_ended(&tenancy, k);
        tenancy_worker_ended(&tenancy, 0);
    }
    return unused;
}

START_TEST(threads) {
    pthread_t all[THREADS];
    setup();
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&all[i], NULL, visit_often, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(all[i], NULL);
    ck_assert_uint_eq(scene->wrong, 0);
    ck_assert_uint_eq(scene->taken, THREADS * ROUNDS);
    /* Each lease was an epoch of its own. */
    ck_assert_uint_eq(lease_word_epoch(scene->workers[0].word), scene->taken + 1);
    teardown();
}
END_TEST

#define PROCESSES 3
#define KILLS     150

/* One that takes the name again and again, until it is killed, maybe while it has it.  If another
 * came in meanwhile, it finds its pid. */
static _Noreturn void come_and_go(void) {
    for (;;) {
        struct tenant tenant;
        if (tenancy_take(&tenancy, 0, &tenant) < 0)
            continue;
        __atomic_store_n(&scene->inside, (uint32_t)getpid(), __ATOMIC_SEQ_CST);
        __atomic_add_fetch(&scene->taken, 1, __ATOMIC_SEQ_CST);
        if (__atomic_exchange_n(&scene->inside, 0, __ATOMIC_SEQ_CST) != (uint32_t)getpid())
            __atomic_add_fetch(&scene->wrong, 1, __ATOMIC_SEQ_CST);
        tenancy_release(&tenancy, &tenant);
    }
}

static pid_t start_one(void) {
    const pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        come_and_go();
    }
    return pid;
}

/* The next one is killed when there was progress, so that each kill is of somebody at work. */
static void await_progress(uint32_t since) {
    const struct timespec moment = {.tv_nsec = 200000};
    for (int i = 0; __atomic_load_n(&scene->taken, __ATOMIC_SEQ_CST) == since; i++) {
        ck_assert_msg(i < 300000, "nobody gets the worker any more");
        nanosleep(&moment, NULL);
    }
}

START_TEST(killed_at_random) {
    pid_t all[PROCESSES];
    setup();
    for (int i = 0; i < PROCESSES; i++)
        all[i] = start_one();
    for (int k = 0; k < KILLS; k++) {
        await_progress(__atomic_load_n(&scene->taken, __ATOMIC_SEQ_CST));
        const int who = k % PROCESSES;
        end(all[who]);
        for (uint32_t i = 0; i < ATTACHMENTS; i++)
            tenancy_attachment_ended(&tenancy, i);
        all[who] = start_one();
    }
    for (int i = 0; i < PROCESSES; i++)
        end(all[i]);
    ck_assert_uint_eq(scene->wrong, 0);
    /* Nothing is held by the dead. */
    for (uint32_t i = 1; i < ATTACHMENTS; i++) {
        tenancy_attachment_ended(&tenancy, i);
        ck_assert_int_eq(lease_word_state(word_of(i)), SHM_LEASE_FREE);
    }
    ck_assert_int_eq(in_child(try_worker_0), 0);
    teardown();
}
END_TEST

UNIT_MAIN("tenancy", taken_and_given_up, free_when_killed, all_are_taken, not_inherited,
          descriptor_closed, as_another_user, memfd_forbidden, proc_missing, no_mode_for_the_file,
          no_lock_on_the_file, no_mapping_of_the_file, no_lease_to_be_had, threads,
          killed_at_random)
