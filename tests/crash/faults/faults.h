/* SPDX-License-Identifier: Apache-2.0
 *
 * The manager's system calls, killed and failed in turn: the list of points (points.c), and what
 * is done with a manager at each (scene.c).
 */
#ifndef SHM_TESTS_FAULTS_H
#define SHM_TESTS_FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* One system call of one run, and what becomes of it. */
struct point {
    char call[32];
    unsigned when;   /* the how-many-th of that name */
    char action[24]; /* "signal=KILL", "error=EIO" */
};

/* Reads what strace logged of a whole run, leaves out what `before` has (what happens before
 * main()), and lists what can happen to each call.  The caller frees it. */
struct point *points_list(const char *log, const char *before, size_t *n);

/* The same for allocations (call "malloc"): one fails, or all from one on. */
struct point *points_allocations(const char *count_file, size_t *n);

/* ---- scene.c */

struct scene {
    const char *program, *directory;
    const char *preload; /* malloc.c, to fail allocations instead of system calls; or NULL */
    uint32_t key;
    char run[256], state[256], log[300], trace[300];
    int notify; /* where READY=1 comes */
    unsigned edits;
    unsigned long long violations;
    const struct point *at; /* for messages; NULL: nothing was injected */
};

void scene_open(struct scene *scene, const char *program, const char *directory, uint32_t key);

/* Something that must not be. */
void scene_violation(struct scene *scene, const char *what, const char *detail);

/* Starts a manager; with a point under strace (or malloc.c), with `trace` only logged by it. */
pid_t scene_start(struct scene *scene, const struct point *point, bool trace);

/* Waits until it serves (true), or has ended (its status in *status), thirty seconds at most. */
bool scene_ready(struct scene *scene, pid_t manager, int *status);

/* Ends it: SIGTERM, and SIGKILL when that does nothing for five seconds (false). */
bool scene_stop(struct scene *scene, pid_t manager, int *status);

/* Asks for a request; the error's text in `error` (at least 640 bytes). */
int scene_ask(struct scene *scene, const char *request, char *error);

/* Changes a column that matters to nobody. */
void scene_edit(struct scene *scene);

/* What a manager that failed to start has said must be lines, and one of them the error. */
void scene_check_log(struct scene *scene);
void scene_clear_log(struct scene *scene);

#endif
