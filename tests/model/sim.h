/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulator: the library's own code runs as several processes in one, a seed decides who goes
 * next at each access to shared memory, who dies where, and which of the values that the memory
 * model allows a load returns.
 *
 *     sim_shared.h     what the core sources are compiled with instead of core/shared.h
 *     sim_memory.c     the shared memory, as weak as C11's relaxed, acquire and release
 *     sim_process.c    processes, scheduler, time, futexes, death
 *     sim_snapshot.c   a section's writers, readers, followers and sleepers
 *     sim_directory.c  a manager and its successors, and those who look sections and workers up
 *     sim_move*.c      a section that moves while it is written and read
 *     sim_queue.c      lanes, their senders, and receivers who compete
 *     sim_slots.c      slots that change hands
 *     sim.c            seeds, and what is printed
 */
#ifndef SHM_TESTS_MODEL_SIM_H
#define SHM_TESTS_MODEL_SIM_H

#include "core/shared.h" /* sim_shared.h, that is */

#include <stdbool.h>

/* ---- the shared memory (sim_memory.c) */

#define CELLS_MAX 2048u /* words of 8 bytes that are touched in one world */

/* A view: for each cell the number of the oldest value that may still be read. */
struct view {
    uint16_t at[CELLS_MAX];
};

/* What one process has seen, as operational models of C11's atomics have it. */
struct thread {
    struct view now;         /* what its loads may not fall behind */
    struct view fenced;      /* that, once it executes an acquire fence */
    const uint16_t *release; /* what its relaxed stores carry: `now` at its last release fence */
    const uint16_t *last;    /* merged into `fenced` last: a copy meets the same again and again */
};

/* The memory of a world, at the same place for each of its schedules. */
void memory_open(void *base, size_t bytes);
/* A new schedule: all that was touched is as in `image` again, or zero; `stale` of 256 loads look
 * for an old value. */
void memory_reset(const void *image, size_t bytes, unsigned stale);

void thread_reset(struct thread *thread);
/* A full fence, wherever it stands just then. */
void thread_fence(struct thread *thread);
/* `to` has seen all that `from` has: one was told of the other's end by the kernel. */
void thread_join(struct thread *to, const struct thread *from);

/* ---- processes (sim_process.c) */

enum process_state { PROCESS_UNUSED, PROCESS_READY, PROCESS_ASLEEP, PROCESS_OVER };

struct process {
    const char *name;
    void (*run)(struct process *);
    void *argument;
    enum process_state state;
    bool woken;
    uint64_t wake_at;
    const uint32_t *futex; /* that it sleeps on; NULL: on the clock alone */
    uint32_t expected;
    uint64_t dies_in;               /* accesses; 0: it lives */
    void (*died)(struct process *); /* told in its place */
    unsigned weight, futex_calls;
    bool registered; /* barrier_everywhere() reaches it */
    bool refused;    /* it has none: the kernel forbids the call */
    struct thread thread;
};

#define PROCESSES_MAX 12

extern struct process *current; /* NULL: the world is being made, and memory is plain */

void process_reset(uint64_t seed);
struct process *process_add(const char *name, void (*run)(struct process *), void *argument);
/* Until all are over, or a violation was found. */
void process_run_all(void);
/* Before an access: another may be next, and this one may die here. */
void process_point(void);
struct process *process_at(unsigned i); /* NULL behind the last */

uint64_t sim_random(void);
static inline unsigned sim_below(unsigned n) {
    return (unsigned)(sim_random() % n);
}
uint64_t sim_now_ns(void);

/* The schedule ends here, and failed. */
__attribute__((format(printf, 1, 2))) void violation(const char *format, ...);
bool violated(void);

/* ---- worlds */

struct world {
    const char *name;
    void (*open)(void);
    void (*schedule)(void); /* makes the processes and runs them */
    /* What stands there, for the trace. */
    void (*describe)(size_t offset, char *to, size_t bytes);
    void (*stored)(size_t offset, uint64_t value); /* after each store */
};

extern const struct world snapshot_world, directory_world, move_world, queue_world, slots_world;
extern const struct world *world;
extern bool tracing;

__attribute__((format(printf, 1, 2))) void trace(const char *format, ...);

#endif
