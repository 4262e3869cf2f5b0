/* SPDX-License-Identifier: Apache-2.0
 *
 * The processes of a schedule, each on a stack of its own.  Who goes next, how fast each is and
 * when one dies comes from the seed alone.  Time passes with each access, and jumps when all sleep.
 */
#include "sim.h"

#include "core/barrier.h"
#include "core/futex.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <shm-manager/layout.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define STACK_BYTES (128u << 10)
#define STEPS_MAX   200000u
#define STEP_NS     100u

struct coroutine {
    struct process process; /* first: one is the other */
    bool begun;
    jmp_buf at;
    ucontext_t beginning;
    uint8_t *stack;
};

static struct {
    struct coroutine coroutines[PROCESSES_MAX];
    unsigned n, steps, switch_mask;
    uint64_t random, now_ns, seed;
    struct thread
        bucket; /* what the kernel's lock of the futexes carries from one call to the next */
    jmp_buf out;
    bool violated;
} sim;

struct process *current;

uint64_t sim_random(void) {
    uint64_t x = sim.random += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return (x ^ x >> 31) >> 1;
}

uint64_t sim_now_ns(void) {
    return sim.now_ns;
}

bool violated(void) {
    return sim.violated;
}

void violation(const char *format, ...) {
    va_list arguments;
    if (sim.violated)
        return;
    sim.violated = true;
    printf("violation: world %s, seed %" PRIu64 ", %s: ", world->name, sim.seed,
           current != NULL ? current->name : "-");
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

void trace(const char *format, ...) {
    va_list arguments;
    if (!tracing)
        return;
    printf("%6u %-10s ", sim.steps, current != NULL ? current->name : "-");
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

void process_reset(uint64_t seed) {
    sim.seed = seed;
    sim.random = seed * UINT64_C(0xd1342543de82ef95);
    sim.n = sim.steps = 0;
    sim.now_ns = UINT64_C(1000000000);
    sim.violated = false;
    sim.switch_mask = (1u << sim_below(6)) - 1;
    thread_reset(&sim.bucket);
    current = NULL;
}

static void begin(void) {
    current->run(current);
    trace("ends");
    current->state = PROCESS_OVER;
    process_point();
    abort(); /* whoever is over is never next */
}

struct process *process_add(const char *name, void (*run)(struct process *), void *argument) {
    static const uint8_t weights[] = {1, 4, 4, 16};
    if (sim.n == PROCESSES_MAX)
        abort();
    struct coroutine *coroutine = &sim.coroutines[sim.n++];
    struct process *process = &coroutine->process;
    process->name = name;
    process->run = run;
    process->argument = argument;
    process->state = PROCESS_READY;
    process->woken = false;
    process->futex = NULL;
    process->dies_in = 0;
    process->died = NULL;
    process->weight = weights[sim_below(sizeof weights)];
    process->futex_calls = 0;
    process->registered = false;
    process->refused = sim_below(4) == 0;
    thread_reset(&process->thread);
    coroutine->begun = false;
    if (coroutine->stack == NULL) {
        coroutine->stack = malloc(STACK_BYTES);
        if (coroutine->stack == NULL || getcontext(&coroutine->beginning) < 0)
            abort();
    }
    coroutine->beginning.uc_stack.ss_sp = coroutine->stack;
    coroutine->beginning.uc_stack.ss_size = STACK_BYTES;
    makecontext(&coroutine->beginning, begin, 0);
    return process;
}

struct process *process_at(unsigned i) {
    return i < sim.n ? &sim.coroutines[i].process : NULL;
}

static struct process *earliest(void) {
    struct process *found = NULL;
    for (unsigned i = 0; i < sim.n; i++) {
        struct process *process = &sim.coroutines[i].process;
        if (process->state == PROCESS_ASLEEP &&
            (found == NULL || process->wake_at < found->wake_at))
            found = process;
    }
    if (found != NULL) {
        sim.now_ns = found->wake_at > sim.now_ns ? found->wake_at : sim.now_ns;
        found->state = PROCESS_READY;
    }
    return found;
}

/* NULL: all are over. */
static struct process *choose(void) {
    unsigned sum = 0;
    for (unsigned i = 0; i < sim.n; i++)
        if (sim.coroutines[i].process.state == PROCESS_READY)
            sum += sim.coroutines[i].process.weight;
    if (sum == 0)
        return earliest();
    unsigned left = sim_below(sum);
    for (unsigned i = 0;; i++) {
        struct process *process = &sim.coroutines[i].process;
        if (process->state != PROCESS_READY)
            continue;
        if (left < process->weight)
            return process;
        left -= process->weight;
    }
}

_Noreturn static void jump(struct process *next) {
    current = next;
    if (next == NULL || sim.violated)
        _longjmp(sim.out, 1);
    struct coroutine *coroutine = (struct coroutine *)(void *)next;
    if (coroutine->begun)
        _longjmp(coroutine->at, 1);
    coroutine->begun = true;
    setcontext(&coroutine->beginning);
    abort();
}

/* Returns when the caller is next again. */
__attribute__((noinline)) static void hand_over(void) {
    struct process *next = choose();
    if (next == current && !sim.violated)
        return;
    if (_setjmp(((struct coroutine *)(void *)current)->at) == 0)
        jump(next);
}

void process_run_all(void) {
    if (_setjmp(sim.out) == 0)
        jump(choose());
    current = NULL;
}

void process_point(void) {
    sim.now_ns += STEP_NS;
    if (++sim.steps == STEPS_MAX)
        violation("the schedule has no end");
    if (current->dies_in > 0 && --current->dies_in == 0 && current->state == PROCESS_READY) {
        trace("dies");
        current->state = PROCESS_OVER;
        current->died(current);
    }
    if (current->state == PROCESS_OVER || sim.violated || (sim_random() & sim.switch_mask) == 0)
        hand_over();
}

static void sleep_until(uint64_t until_ns) {
    if (until_ns > sim.now_ns + SHM_SLEEP_BOUND_MS * UINT64_C(1000000))
        violation("sleeps for longer than the bound");
    current->state = PROCESS_ASLEEP;
    current->woken = false;
    current->wake_at = until_ns;
    hand_over();
}

/* No more is relied upon than that the calls on one word come one after the other: who calls later
 * sees what those before him had seen. */
int futex_wait(const uint32_t *word, uint32_t value, uint64_t deadline_ns) {
    process_point();
    current->futex_calls++;
    thread_join(&current->thread, &sim.bucket);
    /* The kernel's own look comes together with going to sleep. */
    const unsigned mask = sim.switch_mask;
    sim.switch_mask = UINT32_MAX;
    const uint32_t found = (uint32_t)memory_load(word, sizeof *word, RELAXED);
    sim.switch_mask = mask;
    if (found != value)
        return 0;
    trace("sleeps");
    current->futex = word;
    current->expected = value;
    sleep_until(deadline_ns);
    current->futex = NULL;
    trace(current->woken ? "is woken" : "wakes up");
    return current->woken ? 0 : -ETIMEDOUT;
}

int futex_wake(const uint32_t *word) {
    int n = 0;
    if (current == NULL)
        return 0;
    process_point();
    thread_join(&sim.bucket, &current->thread);
    trace("wakes");
    for (unsigned i = 0; i < sim.n; i++) {
        struct process *process = &sim.coroutines[i].process;
        if (process->state != PROCESS_ASLEEP || process->futex != word)
            continue;
        process->state = PROCESS_READY;
        process->woken = true;
        n++;
    }
    return n;
}

bool barrier_register(void) {
    if (current == NULL)
        return true;
    return current->registered = !current->refused;
}

/* The caller's barrier comes first and last, as the kernel has it: so all have seen what each of
 * them had. */
bool barrier_everywhere(void) {
    process_point();
    trace(current->refused ? "has no barrier" : "has a barrier everywhere");
    if (current->refused)
        return false;
    thread_fence(&current->thread);
    for (unsigned i = 0; i < sim.n; i++)
        if (sim.coroutines[i].process.registered)
            thread_fence(&sim.coroutines[i].process.thread);
    thread_fence(&current->thread);
    return true;
}

int sim_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *rest);
int sim_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *rest) {
    (void)clock, (void)flags, (void)rest;
    sleep_until((uint64_t)until->tv_sec * 1000000000 + (uint64_t)until->tv_nsec);
    /* No store stays unseen for as long as that. */
    for (unsigned i = 0; i < sim.n; i++)
        thread_join(&current->thread, &sim.coroutines[i].process.thread);
    return 0;
}

uint64_t clock_read_ns(clockid_t clock) {
    (void)clock;
    return sim.now_ns;
}

uint64_t clock_mono_ns(void) {
    return sim.now_ns;
}

uint64_t clock_real_ns(void) {
    return sim.now_ns;
}
