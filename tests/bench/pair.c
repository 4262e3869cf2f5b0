/* SPDX-License-Identifier: Apache-2.0
 *
 * Two processes in step.  Neither may outlive the other: the second one dies with the first, and
 * the first looks now and then whether the second still lives.
 */
#include "bench.h"

#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define SPINS (1u << 20) /* about a millisecond; then somebody else may have this core */

const size_t bench_sizes[SIZES] = {64, 1024, 10240, 65536, BYTES_MAX};

struct line {
    _Alignas(LINE) uint64_t word;
};

struct shared {
    struct line arrived[2];
    struct line step[2];
    struct line flag[2];
    struct line result[2];
    _Alignas(4096) uint8_t buffers[2][BUFFERS][BYTES_MAX + LINE];
};

static struct shared *shared;
static enum side me;
static pid_t other;

void bench_die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("bench: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    if (me == LEFT && other > 0) {
        kill(other, SIGKILL);
        waitpid(other, NULL, 0);
    }
    _exit(1);
}

static void look_for_other(void) {
    if (me == LEFT && waitpid(other, NULL, WNOHANG) == other) {
        other = 0;
        bench_die("the second process is gone; its last line says why");
    }
}

void bench_relax(void) {
    static unsigned spins;
    if (++spins % SPINS == 0) {
        look_for_other();
        sched_yield();
    }
}

void pair_pin(unsigned nth) {
    cpu_set_t all, one;
    sched_getaffinity(0, sizeof all, &all);
    CPU_ZERO(&one);
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &all) && nth-- == 0) {
            CPU_SET(cpu, &one);
            break;
        }
    if (sched_setaffinity(0, sizeof one, &one) < 0)
        bench_die("can't pin a process to a core; it takes two of them");
}

static uint8_t *memory(size_t bytes, int how) {
    uint8_t *at =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, how | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (at == MAP_FAILED)
        bench_die("no memory: %zu bytes", bytes);
    return at;
}

void pair_start(struct bench *ret) {
    void *at = memory(sizeof *shared, MAP_SHARED);
    shared = at;
    fflush(NULL);
    other = fork();
    if (other < 0)
        bench_die("can't fork");
    me = ret->side = other == 0 ? RIGHT : LEFT;
    if (me == RIGHT)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    pair_pin(me == LEFT ? 0 : 1);
    setpriority(PRIO_PROCESS, 0, -20); /* as far as it is allowed */
    ret->from = memory(BYTES_MAX, MAP_PRIVATE);
    ret->to = memory(BYTES_MAX, MAP_PRIVATE);
}

void pair_end(void) {
    int status = 0;
    if (me == RIGHT)
        exit(0);
    if (waitpid(other, &status, 0) != other || status != 0)
        exit(1);
}

void pair_meet(void) {
    uint64_t mine = shared->arrived[me].word + 1;
    __atomic_store_n(&shared->arrived[me].word, mine, __ATOMIC_RELEASE);
    while (__atomic_load_n(&shared->arrived[!me].word, __ATOMIC_ACQUIRE) < mine)
        bench_relax();
}

void pair_tell(uint64_t step) {
    __atomic_store_n(&shared->step[me].word, step, __ATOMIC_RELEASE);
}

uint64_t pair_told(void) {
    return __atomic_load_n(&shared->step[!me].word, __ATOMIC_ACQUIRE);
}

void pair_await(uint64_t step) {
    while (pair_told() < step)
        bench_relax();
}

void pair_restart(void) {
    pair_meet();
    pair_tell(0);
    __atomic_store_n(&shared->flag[me].word, 0, __ATOMIC_RELAXED);
    pair_meet();
}

void pair_give(double result) {
    double *at = (double *)(void *)&shared->result[me].word;
    *at = result;
}

double pair_given(enum side side) {
    return *(const double *)(const void *)&shared->result[side].word;
}

uint8_t *pair_buffer(enum side side, unsigned index) {
    return shared->buffers[side][index % BUFFERS] + LINE; /* as in a section */
}

uint64_t *pair_flag(enum side side) {
    return &shared->flag[side].word;
}
