/* SPDX-License-Identifier: Apache-2.0
 *
 * The course of a sweep, which is the same for all.
 */
#include "sweep.h"
#include "mutant_name.h"
#include "step.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#define VIOLATIONS_MAX 10u
#define CALLS_MAX      65536u

/* What the process tells, in memory shared with it. */
static struct stage { uint32_t begun, over; } * stage;

static uint64_t random_state;
static const char *wrong = "";
static bool is_wrong; /* so, or by a mutant */

void sweep_fail(const char *what, int result) {
    printf("sweep: %s: %s\n", what, strerror(-result));
    exit(2);
}

/* ---- the process's side */

void sweep_begin(void) {
    raise(SIGSTOP);
    __atomic_store_n(&stage->begun, 1, __ATOMIC_RELEASE);
}

void sweep_pause(void) {
    raise(SIGSTOP);
}

void sweep_end(void) {
    __atomic_store_n(&stage->over, 1, __ATOMIC_RELEASE);
    for (;;)
        raise(SIGSTOP);
}

static void run(void *sweep) {
    ((const struct sweep *)sweep)->act();
}

/* ---- options */

bool sweep_wrong(const char *name) {
    return strcmp(wrong, name) == 0;
}

bool sweep_any_wrong(void) {
    return is_wrong;
}

bool sweep_failed(const struct sweep *sweep) {
    return sweep->violations >= (is_wrong ? 1 : VIOLATIONS_MAX);
}

bool sweep_soak(void) {
    const char *soak = getenv("SHM_SOAK");
    return soak != NULL && *soak != '\0';
}

uint64_t sweep_budget(uint64_t points) {
    return sweep_soak() ? 10 * points : points;
}

uint64_t sweep_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state >> 11;
}

static bool parse(char **argv, uint64_t *seed) {
    for (char **argument = argv; *argument != NULL; argument += 2) {
        if (argument[1] == NULL)
            return false;
        is_wrong = is_wrong || strcmp(*argument, "--seed") != 0;
        if (strcmp(*argument, "--seed") == 0)
            *seed = strtoull(argument[1], NULL, 0);
        else if (strcmp(*argument, "--wrong") == 0)
            wrong = argument[1];
        else if (strcmp(*argument, "--mutant") != 0 || !mutant_set(argument[1]))
            return false;
    }
    return *seed != 0;
}

void sweep_options(char **argv) {
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed / 2, 0) < 0 || seed == 0)
        seed = 1;
    if (!parse(argv, &seed)) {
        fprintf(stderr, "usage: ... [--seed N] [--wrong NAME] [--mutant NAME]\n");
        exit(2);
    }
    if (!step_knows_calls()) {
        printf("skipped: on this processor system calls look like any instruction to this test\n");
        exit(SKIPPED);
    }
    printf("seed %" PRIu64 "\n", seed);
    random_state = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
    stage = mmap(NULL, sizeof *stage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (stage == MAP_FAILED)
        sweep_fail("memory", -errno);
}

/* ---- stepping */

static pid_t start(struct sweep *sweep) {
    *stage = (struct stage){0};
    sweep->at = (struct sweep_place){0};
    if (sweep->prepare != NULL)
        sweep->prepare();
    const pid_t pid = sweep->pid = step_start(run, sweep);
    if (pid == 0) {
        printf("skipped: this process may not trace its children\n");
        exit(SKIPPED);
    }
    while (__atomic_load_n(&stage->begun, __ATOMIC_ACQUIRE) == 0)
        if (pid < 0 || step_instruction(pid, NULL) == STEP_ENDED) {
            sweep_violation(sweep, "the process fails before it begins");
            return -1;
        }
    sweep->changed();
    return pid;
}

static bool is_over(void) {
    return __atomic_load_n(&stage->over, __ATOMIC_ACQUIRE) != 0;
}

static void take_turn(const struct sweep *sweep, unsigned *pauses) {
    if (sweep->turn != NULL)
        sweep->turn((*pauses)++);
    sweep->changed();
}

static void check_killed(struct sweep *sweep) {
    sweep->checks++;
    if (sweep->check_killed != NULL)
        sweep->check_killed();
    else
        sweep->check();
}

static void met_place(struct sweep *sweep) {
    sweep->places = reallocarray(sweep->places, sweep->places_n + 1, sizeof *sweep->places);
    if (sweep->places == NULL)
        sweep_fail("memory", -ENOMEM);
    sweep->places[sweep->places_n++] = sweep->at;
    if (sweep->check == NULL)
        return;
    sweep->checks++;
    sweep->check();
}

static void ended_early(struct sweep *sweep) {
    sweep_violation(sweep, "the process failed");
}

/* Which instructions are stepped: all; none, where it is found out behind which system calls the
 * memory changes; or those behind these. */
enum course { ALL, NONE, MOVES };
static bool moves[CALLS_MAX];

static void run_course(struct sweep *sweep, enum course course, uint64_t kill_at) {
    unsigned pauses = 0;
    const pid_t pid = start(sweep);
    if (pid < 0)
        return;
    sweep->places_n = 0;
    met_place(sweep);
    while (!sweep_failed(sweep) && sweep->points < kill_at) {
        const unsigned calls = sweep->at.calls;
        const bool small = course == ALL || (course == MOVES && moves[calls % CALLS_MAX]);
        bool call = true;
        const enum step step = small ? step_instruction(pid, &call) : step_call(pid);
        if (step == STEP_ENDED) {
            ended_early(sweep);
            return;
        }
        if (is_over())
            break;
        if (step == STEP_PAUSED) {
            take_turn(sweep, &pauses);
            continue;
        }
        sweep->points += small;
        const bool changed = sweep->changed();
        if (course == NONE)
            moves[calls % CALLS_MAX] |= changed;
        if (call)
            sweep->at = (struct sweep_place){calls + 1, 0};
        else if (changed)
            sweep->at.changes++;
        if (call || changed)
            met_place(sweep);
    }
    sweep->kills += !is_over();
    step_kill(pid);
    if (sweep->check_killed != NULL)
        check_killed(sweep);
}

void sweep_step(struct sweep *sweep, uint64_t kill_at) {
    run_course(sweep, ALL, kill_at);
}

void sweep_step_moves(struct sweep *sweep) {
    memset(moves, 0, sizeof moves);
    run_course(sweep, NONE, UINT64_MAX);
    run_course(sweep, MOVES, UINT64_MAX);
}

/* ---- killing */

/* Paused: it ended before, well. */
static enum step go_to(struct sweep *sweep, pid_t pid, struct sweep_place place) {
    unsigned pauses = 0;
    while (sweep->at.calls < place.calls || sweep->at.changes < place.changes) {
        const bool calling = sweep->at.calls < place.calls;
        const enum step step = calling ? step_call(pid) : step_instruction(pid, NULL);
        if (step == STEP_ENDED)
            return step;
        if (is_over())
            return STEP_PAUSED;
        if (step == STEP_PAUSED)
            take_turn(sweep, &pauses);
        else if (calling)
            sweep->at.calls++;
        else if (sweep->changed())
            sweep->at.changes++;
        if (calling && sweep->at.calls == place.calls)
            sweep->changed();
    }
    return STEP_DONE;
}

void sweep_kill(struct sweep *sweep, size_t most) {
    const size_t n = most == 0 || most > sweep->places_n ? sweep->places_n : most;
    for (size_t i = 0; i < n && !sweep_failed(sweep); i++) {
        const pid_t pid = start(sweep);
        const enum step step =
            pid < 0 ? STEP_ENDED : go_to(sweep, pid, sweep->places[i * sweep->places_n / n]);
        if (step == STEP_ENDED) {
            ended_early(sweep);
            return;
        }
        step_kill(pid);
        sweep->kills += step == STEP_DONE;
        check_killed(sweep);
    }
}

/* ---- findings */

void sweep_violation(struct sweep *sweep, const char *format, ...) {
    va_list arguments;
    sweep->violations++;
    printf("violation: %s, behind system call %u and change %u: ", sweep->name, sweep->at.calls,
           sweep->at.changes);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
}

int sweep_report(const struct sweep *sweep) {
    printf("figure: kill_points.%s %" PRIu64 " points\n", sweep->name, sweep->points);
    printf("figure: kill_checks.%s %" PRIu64 " checks\n", sweep->name, sweep->checks);
    printf("figure: kills.%s %" PRIu64 " kills\n", sweep->name, sweep->kills);
    printf("figure: violations.%s %u violations\n", sweep->name, sweep->violations);
    return sweep->violations > 0 || sweep->points == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* ---- comparing memory */

void watched_clear(struct watched *watched) {
    for (size_t i = 0; i < watched->n; i++)
        free(watched->was[i]);
    watched->n = 0;
}

void watched_add(struct watched *watched, const void *at, size_t bytes) {
    const size_t i = watched->n;
    if (i == WATCHED_MAX)
        sweep_fail("memory to compare", -E2BIG);
    watched->was[i] = malloc(bytes);
    if (watched->was[i] == NULL)
        sweep_fail("memory to compare", -ENOMEM);
    watched->at[i] = at;
    watched->bytes[i] = bytes;
    watched->n++;
    memcpy(watched->was[i], at, bytes);
}

bool watched_changed(struct watched *watched) {
    bool changed = false;
    for (size_t i = 0; i < watched->n; i++)
        if (memcmp(watched->was[i], watched->at[i], watched->bytes[i]) != 0) {
            memcpy(watched->was[i], watched->at[i], watched->bytes[i]);
            changed = true;
        }
    return changed;
}
