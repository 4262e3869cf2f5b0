/* SPDX-License-Identifier: Apache-2.0
 *
 * kill_private [--seed N] [--wrong NAME]
 *
 * In a segment without a manager a child attaches as a worker, opens its section, publishes a value
 * and detaches, by the real library, one instruction at a time.  It writes the header's records
 * itself; they and its section are compared, so that a place (sweep.h) is a change of theirs or a
 * system call's return.  While it waits at a place another tries to become that worker, who must
 * not succeed where the record says that the child is; then the child goes on, and must not mind.
 * At each place one is really killed: another must get the name at once, find the last value whole
 * and publish the next; who else is attached keeps his lease, and no lease of the dead is left.
 *
 * All of it once where the worker's name is free, and once where its last holder was killed, so
 * that the child finds a dead one's records.
 *
 * --wrong unlocked: no lock is ever taken.
 */
#include "scenery.h"
#include "sweep.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <shmclient.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define POINTS 60000u
#define ROUNDS 2u /* of kills, in a run that doesn't soak */

static shmc_private *memory;
static shmc *still;
static shmc_section *still_section;
static uint64_t published; /* by `still` */
static const struct shm_worker *worker;
static const struct shm_attachment *attachments;
static uint32_t attachments_n;
static bool unlocked;     /* behind set_up(), which would notice */
static bool after_a_kill; /* the last holder of the name was */
static struct watched watched;

static struct sweep sweep;

/* The library's own calls come here, too. */
__attribute__((visibility("default"))) int fcntl(int fd, int command, ...) {
    static int (*real)(int, int, ...);
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (command == F_OFD_SETLK && unlocked)
        return 0;
    if (real == NULL)
        real = (int (*)(int, int, ...))(uintptr_t)dlsym(RTLD_NEXT, "fcntl");
    return real(fd, command, argument);
}

static int attach(shmc **ret, const char *name, char *error) {
    const struct shmc_options options = {
        .size = sizeof options, .worker = name, .error = error, .error_bytes = 256};
    error[0] = '\0';
    return shmc_private_attach(ret, memory, &options);
}

/* Values say which version they are. */
static int publish_next(shmc *segment) {
    uint64_t value[4] = {0};
    shmc_section *section;
    struct shmc_value about = {0};
    int r = shmc_open(&section, segment, "cam", NULL);
    if (r < 0)
        return r;
    const ssize_t n = shmc_read(section, value, sizeof value, &about);
    if (n < 0 ? n != -ENODATA
              : n != sizeof value || value[0] != about.version || value[3] != about.version)
        return -EBADMSG;
    for (int i = 0; i < 4; i++)
        value[i] = about.version + 1;
    r = shmc_publish(section, value, sizeof value);
    shmc_close(section);
    return r;
}

/* ---- the child that is stepped */

static void prepare(void) {
    char error[256];
    if (!after_a_kill)
        return;
    const pid_t pid = fork();
    if (pid == 0) {
        shmc *segment;
        if (attach(&segment, "cam", error) == 0)
            raise(SIGKILL);
        _exit(1);
    }
    int status;
    if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status))
        sweep_fail("a holder that is killed", -EIO);
}

/* Somebody else may have the name for a moment, who looks in between. */
static void act(void) {
    char error[256];
    shmc *segment;
    sweep_begin();
    if (attach(&segment, "cam", error) < 0 || publish_next(segment) < 0)
        _exit(1);
    shmc_detach(segment);
    sweep_end();
}

static bool changed(void) {
    return watched_changed(&watched);
}

/* ---- what must hold */

static void check_still(void) {
    uint64_t value = 0;
    if (shmc_read(still_section, &value, sizeof value, NULL) != sizeof value || value != published)
        sweep_violation(&sweep, "another worker's value is lost: %s", shmc_last_error(still));
    published++;
    if (shmc_publish(still_section, &published, sizeof published) < 0)
        sweep_violation(&sweep, "another worker can't publish: %s", shmc_last_error(still));
}

/* While it lives.  What the one who looks changes of the records is none of its places. */
static void check(void) {
    char error[256];
    shmc *other = NULL;
    const struct shm_worker record = *worker;
    const bool is_it =
        lease_word_state(record.word) == SHM_LEASE_LEASED && record.pid == (uint32_t)sweep.pid;
    const int r = attach(&other, "cam", error);
    if (r == 0 && is_it)
        sweep_violation(&sweep, "two are the worker at once");
    else if (r == 0 && publish_next(other) < 0)
        sweep_violation(&sweep, "who came between can't publish: %s", shmc_last_error(other));
    else if (r < 0 && r != -EBUSY)
        sweep_violation(&sweep, "who came between isn't told that it is held: %s", error);
    if (r == 0)
        shmc_detach(other);
    if (shmc_private_reap(memory) < 0)
        sweep_violation(&sweep, "the creator can't reap: %s", shmc_private_last_error(memory));
    changed();
}

static void check_killed(void) {
    char error[256];
    shmc *next = NULL;
    const uint64_t epoch = lease_word_epoch(worker->word);
    int r = attach(&next, "cam", error);
    if (r < 0)
        sweep_violation(&sweep, "nobody gets the name: %s", error);
    else if ((r = publish_next(next)) < 0)
        sweep_violation(&sweep, "the next one can't publish (%d): %s", r, shmc_last_error(next));
    if (r == 0 && lease_word_epoch(worker->word) < epoch)
        sweep_violation(&sweep, "the worker's epoch goes back");
    check_still();
    shmc_detach(next);
    if (shmc_private_reap(memory) < 0)
        sweep_violation(&sweep, "the creator can't reap: %s", shmc_private_last_error(memory));
    unsigned held = 0;
    for (uint32_t i = 1; i < attachments_n; i++)
        held += lease_word_state(attachments[i].word) != SHM_LEASE_FREE;
    if (held != 1)
        sweep_violation(&sweep, "%u leases are held, and one process lives", held);
}

static struct sweep sweep = {.name = "private",
                             .prepare = prepare,
                             .act = act,
                             .changed = changed,
                             .check = check,
                             .check_killed = check_killed};

/* ---- the scene */

static void look_on(void) {
    const char *field = "";
    struct shmc_segment_info info;
    struct directory directory;
    struct shm_section cam;
    struct shm_worker record;
    uint64_t generation;
    if (shmc_segment(still, &info) < 0 ||
        directory_open(&directory, info.base, info.bytes, &field) < 0 ||
        directory_find(&directory, "cam", &cam, &generation, &field) < 0)
        sweep_fail(field, -EIO);
    worker = directory_worker_shared(&directory, cam.owner_index);
    attachments = directory_attachment_shared(&directory, 0);
    attachments_n = directory.header.attachments_capacity;
    if (worker == NULL || directory_worker(&directory, cam.owner_index, &record) < 0 ||
        strcmp(record.name, "cam") != 0)
        sweep_fail("the worker's record", -EIO);
    const uint8_t *base = info.base;
    watched_add(&watched, base + cam.offset, cam.bytes);
    watched_add(&watched, base + directory.header.workers_off,
                directory.header.workers_capacity * sizeof *worker);
    watched_add(&watched, attachments, attachments_n * sizeof *attachments);
}

static void set_up(void) {
    static const struct shmc_private_spec specs[] = {
        {.size = sizeof *specs, .name = "cam", .owner = "cam", .bytes = 64},
        {.size = sizeof *specs, .name = "still", .owner = "still", .bytes = 64}};
    char error[256] = "";
    const struct shmc_private_options options = {.size = sizeof options,
                                                 .bytes = UINT64_C(1) << 20,
                                                 .error = error,
                                                 .error_bytes = sizeof error};
    int r = shmc_private_create(&memory, specs, 2, &options);
    if (r == 0)
        r = attach(&still, "still", error);
    if (r == 0)
        r = shmc_open(&still_section, still, "still", NULL);
    if (r == 0)
        r = shmc_publish(still_section, &published, sizeof published);
    if (r < 0)
        sweep_fail(error, r);
    look_on();
}

int main(int argc, char **argv) {
    (void)argc;
    sweep_options(argv + 1);
    set_up();
    unlocked = sweep_wrong("unlocked");
    for (unsigned i = 0; !sweep_failed(&sweep); i++) {
        after_a_kill = i % 2 != 0;
        sweep_step(&sweep, UINT64_MAX);
        printf("%zu places\n", sweep.places_n);
        for (unsigned k = 0; k < (sweep_soak() ? 20 : ROUNDS) && !sweep_failed(&sweep); k++)
            sweep_kill(&sweep, 0);
        if (sweep.points >= sweep_budget(POINTS) && i % 2 != 0)
            break;
    }
    shmc_close(still_section);
    shmc_detach(still);
    shmc_private_destroy(memory);
    return sweep_report(&sweep);
}
