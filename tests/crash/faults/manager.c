/* SPDX-License-Identifier: Apache-2.0
 *
 * Each system call of a manager's start, grant, reload, of a section made and dropped at run time,
 * and of its stop is killed at and failed, one in each run.  Whatever happens, the next manager
 * starts, what was published is there, who holds a lease keeps it, and nobody else gets it; a
 * section of which its worker was told so is there, or isn't.
 *
 *     faults_manager SHM-MANAGER DIRECTORY KEY POINTS [MALLOC]
 *
 * DIRECTORY holds state and runtime directories of an earlier manager; its table has sections
 * `still` and `cam`, 64 bytes, of workers of the same names, who may make others.  At most so many
 * points are tried, evenly taken from all that there are; 0 = all.  "CALL:WHEN:ACTION", as a
 * violation's line has them, is that one again.  With MALLOC (malloc.c, built) allocations are
 * failed instead.
 */
#include "faults.h"

#include <errno.h>
#include <shmclient.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct scene scene;
static shmc *still; /* a live worker, all the while */
static shmc_section *still_section;
static uint64_t published;
static enum { GONE, MADE, EITHER } lasting; /* a section of `still`, as far as it was told */

static bool one_line(const char *text) {
    return text[0] != '\0' && strchr(text, '\n') == NULL;
}

static int attach(shmc **ret, const char *worker, char *error, int timeout_ms) {
    struct shmc_options options = {.size = sizeof options,
                                   .worker = worker,
                                   .key = scene.key,
                                   .runtime_dir = scene.run,
                                   .timeout_ms = timeout_ms,
                                   .error = error,
                                   .error_bytes = 640};
    error[0] = '\0';
    int r = shmc_attach(ret, &options);
    if (r < 0 && !one_line(error))
        scene_violation(&scene, "an attach fails without a line", error);
    return r;
}

/* ---- what must be true at any time */

static void check_value(void) {
    uint64_t value = 0;
    ssize_t n = shmc_read(still_section, &value, sizeof value, NULL);
    if (n != sizeof value || value != published)
        scene_violation(&scene, "a value is not what was published", shmc_last_error(still));
}

static void check_one_owner(const char *worker) {
    char error[640];
    shmc *second;
    if (attach(&second, worker, error, 0) < 0)
        return;
    scene_violation(&scene, "two owners", worker);
    shmc_detach(second);
}

static void check_publish(void) {
    published++;
    int r = shmc_publish(still_section, &published, sizeof published);
    if (r < 0)
        scene_violation(&scene, "a live worker can't publish", shmc_last_error(still));
}

static bool exists(const char *name) {
    struct shmc_section_info info;
    return shmc_inspect(still, name, &info) == 0;
}

static void check_lasting(void) {
    if (lasting == EITHER)
        lasting = exists("lasting") ? MADE : GONE;
    if (exists("lasting") != (lasting == MADE))
        scene_violation(&scene, "a section is not as its worker was told", "lasting");
}

/* ---- a manager's life, with a fault somewhere in it */

static bool make(shmc *worker, const char *name, unsigned flags) {
    const struct shmc_create_options options = {
        .size = sizeof options, .bytes = 5000, .flags = flags};
    int r = shmc_create(worker, name, &options);
    if (r < 0 && !one_line(shmc_last_error(worker)))
        scene_violation(&scene, "a section isn't made, without a line", name);
    return r == 0;
}

static void make_or_drop(void) {
    if (lasting == GONE) {
        lasting = make(still, "lasting", 0) ? MADE : EITHER;
    } else {
        int r = shmc_drop(still, "lasting");
        if (r < 0 && !one_line(shmc_last_error(still)))
            scene_violation(&scene, "a section isn't dropped, without a line", "lasting");
        lasting = r == 0 ? GONE : EITHER;
    }
}

/* `cam` gets its lease in it, and keeps it (every other time), or gives it back. */
static shmc *live(pid_t manager, bool keeps) {
    char error[640];
    shmc *cam = NULL;
    shmc_section *section;
    int r = attach(&cam, "cam", error, 0);
    if (r == 0 && (shmc_open(&section, cam, "cam", NULL) < 0 ||
                   shmc_publish(section, &manager, sizeof manager) < 0))
        scene_violation(&scene, "a worker can't publish", shmc_last_error(cam));
    if (r == 0)
        make(cam, "brief", SHMC_CREATE_TRANSIENT);
    make_or_drop();
    check_one_owner("still");
    if (r == 0)
        check_one_owner("cam");
    scene_edit(&scene);
    if (scene_ask(&scene, "reload", error) < 0 && !one_line(error))
        scene_violation(&scene, "a reload fails without a line", error);
    check_value();
    check_publish();
    if (r == 0 && !keeps) {
        shmc_detach(cam);
        cam = NULL;
    }
    return r == 0 ? cam : NULL;
}

static shmc *run_faulty(const struct point *point, bool keeps) {
    int status;
    shmc *cam = NULL;
    scene_clear_log(&scene);
    pid_t manager = scene_start(&scene, point, point == NULL);
    if (!scene_ready(&scene, manager, &status)) {
        if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
            scene_violation(&scene, "strace can't be run", "");
        else if (WIFEXITED(status))
            scene_check_log(&scene);
        else if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
            scene_violation(&scene, "it crashed", strsignal(WTERMSIG(status)));
        return NULL;
    }
    cam = live(manager, keeps);
    if (!scene_stop(&scene, manager, &status))
        scene_violation(&scene, "it doesn't end by SIGTERM", "killed");
    else if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
        scene_violation(&scene, "it crashed", strsignal(WTERMSIG(status)));
    return cam;
}

/* ---- the manager after it */

static void check_lease(const char *worker, bool held) {
    struct shmc_worker_info *workers;
    size_t n;
    if (shmc_workers(still, &workers, &n) < 0) {
        scene_violation(&scene, "no workers to be seen", shmc_last_error(still));
        return;
    }
    bool found = false;
    for (size_t i = 0; i < n; i++)
        if (strcmp(workers[i].name, worker) == 0)
            found = workers[i].pid == getpid();
    free(workers);
    if (found != held)
        scene_violation(&scene, held ? "a lease was lost" : "a lease is held by nobody", worker);
}

static void run_clean(shmc *cam) {
    char error[640];
    int status;
    shmc *again = NULL;
    scene_clear_log(&scene);
    pid_t manager = scene_start(&scene, NULL, false);
    if (!scene_ready(&scene, manager, &status)) {
        scene_violation(&scene, "the next manager doesn't start", scene.log);
        scene_check_log(&scene);
        return;
    }
    check_value();
    check_publish();
    check_lasting();
    check_lease("still", true);
    check_one_owner("still");
    if (cam != NULL) {
        check_lease("cam", true);
        check_one_owner("cam");
        shmc_detach(cam);
    }
    if (attach(&again, "cam", error, 30000) < 0)
        scene_violation(&scene, "a free worker's name can't be had", error);
    check_one_owner("cam");
    if (exists("brief"))
        scene_violation(&scene, "a section outlives the lease that it was made for", "brief");
    if (scene_ask(&scene, "reload", error) < 0)
        scene_violation(&scene, "the next manager can't reload", error);
    shmc_detach(again);
    if (!scene_stop(&scene, manager, &status) || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        scene_violation(&scene, "the next manager doesn't stop well", scene.log);
}

/* ---- all of them */

static bool fired(void) {
    char command[400];
    if (scene.preload != NULL)
        return true;
    snprintf(command, sizeof command, "grep -q -e INJECTED -e 'killed by SIGKILL' '%s'",
             scene.trace);
    return system(command) == 0;
}

static void set_up(void) {
    char error[640];
    int status;
    pid_t manager = scene_start(&scene, NULL, false);
    if (!scene_ready(&scene, manager, &status) || attach(&still, "still", error, 0) < 0 ||
        shmc_open(&still_section, still, "still", NULL) < 0) {
        fprintf(stderr, "faults_manager: no manager to begin with, see %s\n", scene.log);
        exit(2);
    }
    check_publish();
    scene_stop(&scene, manager, &status);
}

static struct point *list(size_t *n) {
    char early[320], command[1200];
    snprintf(early, sizeof early, "%s/early", scene.directory);
    snprintf(command, sizeof command, "strace -qq -o '%s' '%s' --version >/dev/null", early,
             scene.program);
    if (scene.preload == NULL && system(command) != 0) {
        fprintf(stderr, "faults_manager: strace can't trace here\n");
        exit(77);
    }
    shmc *cam = run_faulty(NULL, false); /* nothing fails, all is counted */
    run_clean(cam);
    return scene.preload == NULL ? points_list(scene.trace, early, n)
                                 : points_allocations(scene.trace, n);
}

static size_t try_all(const struct point *points, size_t n, size_t most) {
    size_t tried = 0;
    for (size_t i = 0; i < most && scene.violations < 20; i++) {
        const struct point *point = &points[i * n / most];
        scene.at = point;
        shmc *cam = run_faulty(point, i % 2 == 0);
        tried += fired();
        run_clean(cam);
    }
    return tried;
}

/* A single one, to look into it; false when `text` is none. */
static bool replay(const char *text) {
    struct point point;
    if (sscanf(text, "%31[^:]:%u:%23s", point.call, &point.when, point.action) != 3)
        return false;
    try_all(&point, 1, 1);
    shmc_detach(still);
    return true;
}

int main(int argc, char **argv) {
    if (argc < 5 || argc > 6) {
        fprintf(stderr, "usage: faults_manager SHM-MANAGER DIRECTORY KEY POINTS [MALLOC]\n");
        return 2;
    }
    size_t n, most = (size_t)atoi(argv[4]);
    scene_open(&scene, argv[1], argv[2], (uint32_t)strtoul(argv[3], NULL, 0));
    scene.preload = argv[5];
    set_up();
    if (replay(argv[4]))
        return scene.violations > 0;
    struct point *points = list(&n);
    if (most == 0 || most > n)
        most = n;
    size_t tried = try_all(points, n, most);
    shmc_detach(still);
    free(points);
    const char *what = scene.preload == NULL ? "manager" : "allocations.manager";
    printf("figure: faults.%s.all %zu points\n", what, n);
    printf("figure: faults.%s.points %zu points\n", what, tried);
    printf("figure: violations.faults%s %llu violations\n",
           scene.preload == NULL ? "" : "_allocations", scene.violations);
    return scene.violations > 0 || tried < most / 2 || n == 0;
}
