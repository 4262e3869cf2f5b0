/* SPDX-License-Identifier: Apache-2.0
 *
 * kill_attach SHM-MANAGER [--seed N] [--wrong NAME]
 *
 * A client attaches as a worker, opens its section, publishes a value and detaches; then it
 * attaches without a name, grabs a slot, puts a value there and detaches: with the real library and
 * a live manager, one instruction at a time.  All that it writes itself is these sections, which
 * are compared; the rest is system calls, so that a place (sweep.h) is one's return or a change of
 * a section.  At each of them a client is really killed.  Whatever it was doing, another must get
 * the name, find the last value whole and publish the next, and another without a name a slot; the
 * other worker keeps its lease and its value, and the directory stays as it is.
 *
 * --wrong hands_on: the client leaves a process behind that holds its lease.
 */
#include "scenery.h"
#include "scratch.h"
#include "sweep.h"
#include "table_db.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <shmclient.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define POINTS      60000u
#define ROUNDS      2u /* of kills, as the manager is quick or slow, in a run that doesn't soak */
#define PATIENCE_MS (sweep_any_wrong() ? 6000 : 30000)
#define SLOW_MS     60000 /* for a client that is stepped */

static uint32_t key;
static char state_directory[80], run_directory[80];
static pid_t manager;
static int lingering[2]; /* a pipe on which processes wait that shall end with us */

static shmc *still;
static shmc_section *still_section;
static uint64_t published; /* by `still` */
static const uint8_t *base;
static struct shm_section cam, bench;
static struct watched watched, directories;

static struct sweep sweep;

static struct shmc_options options_for(int timeout_ms) {
    return (struct shmc_options){.size = sizeof(struct shmc_options),
                                 .key = key,
                                 .runtime_dir = run_directory,
                                 .timeout_ms = timeout_ms};
}

static int attach(shmc **ret, const char *worker, uint32_t flags, int timeout_ms, char *error) {
    struct shmc_options options = options_for(timeout_ms);
    options.worker = worker;
    options.flags = flags;
    options.error = error;
    options.error_bytes = 256;
    error[0] = '\0';
    return shmc_attach(ret, &options);
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

/* Any that is free; one that somebody held who was killed, is so in a moment. */
static int use_slot(shmc *segment) {
    uint64_t value[4] = {7, 7, 7, 7}, found[4] = {0};
    shmc_section *section;
    int r = shmc_open(&section, segment, "bench", NULL);
    if (r < 0)
        return r;
    const int slot = r = shmc_slot_grab(section, 0);
    if (slot >= 0)
        r = shmc_slot_put(section, slot, value, sizeof value);
    if (r >= 0 && (shmc_slot_get(section, slot, found, sizeof found, NULL) != sizeof found ||
                   memcmp(found, value, sizeof value) != 0))
        r = -EBADMSG;
    if (r >= 0)
        r = shmc_slot_release(section, slot);
    shmc_close(section);
    return r;
}

/* ---- the client that is stepped */

static void leave_behind(void) {
    char byte;
    if (sweep_wrong("hands_on") && fork() == 0) {
        close(lingering[1]);
        _exit(read(lingering[0], &byte, 1) != 0);
    }
}

static void act(void) {
    char error[256];
    shmc *segment;
    close(lingering[1]);
    sweep_begin();
    const uint32_t flags = sweep_wrong("hands_on") ? SHMC_LEASE_FD : 0;
    if (attach(&segment, "cam", flags, SLOW_MS, error) < 0)
        _exit(1);
    leave_behind();
    if (publish_next(segment) < 0)
        _exit(1);
    shmc_detach(segment);
    if (attach(&segment, NULL, SHMC_ANONYMOUS, SLOW_MS, error) < 0 || use_slot(segment) < 0)
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
    struct shmc_worker_info *workers = NULL;
    size_t n = 0;
    bool held = false;
    if (shmc_read(still_section, &value, sizeof value, NULL) != sizeof value || value != published)
        sweep_violation(&sweep, "another worker's value is lost: %s", shmc_last_error(still));
    published++;
    if (shmc_publish(still_section, &published, sizeof published) < 0)
        sweep_violation(&sweep, "another worker can't publish: %s", shmc_last_error(still));
    if (shmc_workers(still, &workers, &n) < 0)
        sweep_violation(&sweep, "no workers to be seen: %s", shmc_last_error(still));
    for (size_t i = 0; i < n; i++)
        held = held || (strcmp(workers[i].name, "still") == 0 && workers[i].pid == getpid());
    if (!held)
        sweep_violation(&sweep, "another worker lost its lease");
    free(workers);
}

static void check(void) {
    char error[256];
    shmc *next = NULL;
    int r = attach(&next, "cam", 0, PATIENCE_MS, error);
    if (r < 0)
        sweep_violation(&sweep, "nobody gets the name: %s", error);
    else if ((r = publish_next(next)) < 0)
        sweep_violation(&sweep, "the next one can't publish (%d): %s", r, shmc_last_error(next));
    check_still();
    shmc_detach(next);
    next = NULL;
    r = attach(&next, NULL, SHMC_ANONYMOUS, PATIENCE_MS, error);
    if (r < 0)
        sweep_violation(&sweep, "nobody can attach without a name: %s", error);
    else if ((r = use_slot(next)) < 0)
        sweep_violation(&sweep, "he can't use a slot (%d): %s", r, shmc_last_error(next));
    shmc_detach(next);
    if (watched_changed(&directories))
        sweep_violation(&sweep, "the directory changed");
}

static struct sweep sweep = {
    .name = "attach", .act = act, .changed = changed, .check_killed = check};

/* Files of leases. */
static unsigned leases(void) {
    char path[128];
    unsigned n = 0;
    snprintf(path, sizeof path, "%s/%08x.leases", run_directory, key);
    DIR *directory = opendir(path);
    const struct dirent *entry;
    while (directory != NULL && (entry = readdir(directory)) != NULL)
        n += entry->d_name[0] != '.';
    if (directory != NULL)
        closedir(directory);
    return n;
}

/* At the end only that of `still`; the manager may need a moment. */
static void check_leases(void) {
    char *reply = NULL;
    const struct shmc_options options = options_for(PATIENCE_MS);
    for (int tries = 0; leases() > 1 && tries < 2000; tries++) {
        shmc_manager(&options, "status", &reply);
        free(reply);
        reply = NULL;
    }
    if (leases() != 1)
        sweep_violation(&sweep, "%u leases' files are left behind", leases() - 1);
}

/* ---- the scene */

static void make_table(void) {
    char path[128], error[512];
    sqlite3 *sql;
    snprintf(path, sizeof path, "%s/sections.db", state_directory);
    if (table_db_create(path, error, sizeof error) < 0 ||
        sqlite3_open_v2(path, &sql, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK ||
        sqlite3_exec(sql,
                     "UPDATE segment SET size = 1048576; INSERT INTO section(name, owner, size) "
                     "VALUES('cam', 'cam', 64), ('still', 'still', 64); INSERT INTO section(name, "
                     "owner, kind, size, count) VALUES('bench', 'still', 'slots', 32, 16)",
                     NULL, NULL, NULL) != SQLITE_OK)
        sweep_fail("a table", -EIO);
    sqlite3_close(sql);
}

static void start_manager(const char *program) {
    char text[16];
    snprintf(text, sizeof text, "0x%08x", key);
    fflush(NULL);
    manager = fork();
    if (manager == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (freopen("/dev/null", "w", stderr) != NULL)
            execl(program, program, "--key", text, "--state-dir", state_directory, "--runtime-dir",
                  run_directory, NULL);
        _exit(127);
    }
}

static void stop_manager(void) {
    char *reply = NULL;
    const struct shmc_options options = options_for(PATIENCE_MS);
    shmc_detach(still);
    if (shmc_manager(&options, "destroy", &reply) < 0)
        kill(manager, SIGKILL);
    free(reply);
    waitpid(manager, NULL, 0);
}

static void look_on(void) {
    const char *field = "";
    uint64_t generation;
    struct directory directory;
    base = shmat(shmget((key_t)key, 0, 0), NULL, SHM_RDONLY);
    if (base == (const void *)-1 || directory_open(&directory, base, SCENERY_BYTES, &field) < 0 ||
        directory_find(&directory, "cam", &cam, &generation, &field) < 0 ||
        directory_find(&directory, "bench", &bench, &generation, &field) < 0)
        sweep_fail("the segment", -EIO);
    watched_add(&watched, base + cam.offset, cam.bytes);
    watched_add(&watched, base + bench.offset, bench.bytes);
    const struct shm_header *h = (const void *)base;
    watched_add(&directories, base, offsetof(struct shm_header, state));
    for (int i = 0; i < 2; i++)
        watched_add(&directories, base + h->directories[i].offset, h->directories[i].bytes);
}

static void set_up(const char *program) {
    char error[256];
    scratch_open();
    snprintf(state_directory, sizeof state_directory, "%s/state", scratch_directory);
    snprintf(run_directory, sizeof run_directory, "%s/run", scratch_directory);
    unshare(CLONE_NEWIPC); /* else a random key will do */
    key = 0x40000000 | (uint32_t)(sweep_random() & 0x3fffffff);
    if (mkdir(state_directory, 0700) < 0 || mkdir(run_directory, 0755) < 0 || pipe(lingering) < 0)
        sweep_fail("directories", -errno);
    make_table();
    start_manager(program);
    int r = attach(&still, "still", 0, SLOW_MS, error);
    if (r == 0)
        r = shmc_open(&still_section, still, "still", NULL);
    if (r == 0)
        r = shmc_publish(still_section, &published, sizeof published);
    if (r < 0)
        sweep_fail(error, r);
    look_on();
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: kill_attach SHM-MANAGER [--seed N] [--wrong NAME]\n");
        return 2;
    }
    sweep_options(argv + 2);
    set_up(argv[1]);
    while (sweep.points < sweep_budget(POINTS) && sweep.violations == 0)
        sweep_step(&sweep, UINT64_MAX);
    for (unsigned i = 0; i < (sweep_soak() ? 50 : ROUNDS) && sweep.violations == 0; i++)
        sweep_kill(&sweep, 0);
    if (sweep.violations == 0)
        check_leases();
    printf("%zu places\n", sweep.places_n);
    close(lingering[1]);
    stop_manager();
    return sweep_report(&sweep);
}
