/* SPDX-License-Identifier: Apache-2.0
 *
 * A sweep: a process is stepped through something that it does, and killed at each place where
 * that can make a difference.
 *
 * A *point* is an instruction of that process, behind which it may be killed.  Others see nothing
 * of it but shared memory and what system calls do.  So the memory is compared after each
 * instruction, and points between which neither it changed nor a system call returned are one
 * *place*: what was checked at its first point holds for all of them.  A full check is made at
 * places: on a copy of the memory while the process waits, or after a real SIGKILL of one that was
 * brought there anew.
 */
#ifndef SHM_TESTS_SWEEP_H
#define SHM_TESTS_SWEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The first point behind a system call (0: behind the beginning), or behind a change of the memory
 * since then. */
struct sweep_place {
    unsigned calls, changes;
};

struct sweep {
    const char *name; /* of its figures */

    /* Brings about what is there at the beginning, anew for each process. */
    void (*prepare)(void);

    /* In the process: sweep_begin(), what is swept, sweep_pause() where we have a turn, and
     * sweep_end(). */
    void (*act)(void);

    /* Our turn, at the how-many-th pause; NULL: there is none. */
    void (*turn)(unsigned pause);

    /* Is the memory another than at the last look?  (The first look takes it as it is.) */
    bool (*changed)(void);

    /* What must hold if the process was killed there.  At a place that is met by stepping; NULL:
     * nothing is done then. */
    void (*check)(void);

    /* After a kill, or behind the end; NULL: the same. */
    void (*check_killed)(void);

    /* What this run found. */
    uint64_t points, checks, kills;
    unsigned violations;
    struct sweep_place at; /* for messages */
    pid_t pid;             /* of the last process */

    struct sweep_place *places;
    size_t places_n;
};

/* ---- the process's side */
void sweep_begin(void);
void sweep_pause(void);
_Noreturn void sweep_end(void);

/* ---- ours */

/* Takes the options --seed N, --wrong NAME and --mutant NAME; exits with 2 when there are others.
 */
void sweep_options(char **argv);
bool sweep_wrong(const char *name); /* is that the way in which this program shall be wrong? */
bool sweep_any_wrong(void);
bool sweep_soak(void);
uint64_t sweep_budget(uint64_t points); /* so many, or ten times as many */
uint64_t sweep_random(void);

/* Steps a process through it once, until point `kill_at`, where it is killed (UINT64_MAX: to its
 * end).  Lists the places.  Exits with 77 when no process may be traced. */
void sweep_step(struct sweep *sweep, uint64_t kill_at);

/* The same, but what lies between two system calls that leave the memory as it is is run through at
 * once, and isn't counted: for long ways with the same places. */
void sweep_step_moves(struct sweep *sweep);

/* Kills one process at each of those places, or at `most` of them, evenly taken. */
void sweep_kill(struct sweep *sweep, size_t most);

/* There is enough to look into: ten violations, or one where there shall be some. */
bool sweep_failed(const struct sweep *sweep);

/* Something that must not be. */
__attribute__((format(printf, 2, 3))) void sweep_violation(struct sweep *sweep, const char *format,
                                                           ...);

/* Prints the figures; the exit status. */
int sweep_report(const struct sweep *sweep);

/* A helper's own failure: exits with 2. */
__attribute__((noreturn)) void sweep_fail(const char *what, int result);

/* ---- comparing memory */

#define WATCHED_MAX 16

struct watched {
    const uint8_t *at[WATCHED_MAX];
    size_t bytes[WATCHED_MAX];
    uint8_t *was[WATCHED_MAX];
    size_t n;
};

void watched_clear(struct watched *watched);
void watched_add(struct watched *watched, const void *at, size_t bytes);

/* Since the last call; and what is there now becomes what was. */
bool watched_changed(struct watched *watched);

#endif
