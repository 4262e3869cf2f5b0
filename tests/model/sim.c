/* SPDX-License-Identifier: Apache-2.0
 *
 * sim [--world NAME] [--first N] [--schedules N] [--seed N] [--mutant NAME]
 *
 * Runs so many schedules of each world, or that one, from a first seed on, on two processors.
 * --seed runs the schedule of one seed and shows each access.  --mutant (sim_mutants only) takes
 * one step out of the protocols, libclient/core/mutant.h.
 */
#include "sim.h"

#include "mutant_name.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILDREN 2u
#define BROKEN   3    /* exit status: no answer */
#define SOAK     100u /* times as many */
#define WORLDS   (sizeof worlds / sizeof *worlds)

static const struct {
    const struct world *world;
    uint64_t schedules;
} worlds[] = {
    {&queue_world, 60000}, {&snapshot_world, 700000}, {&directory_world, 50000},
    {&move_world, 250000}, {&slots_world, 100000},
};

struct result {
    uint64_t schedules, violations;
};

static struct options {
    const char *world;
    uint64_t first, schedules, seed;
} options;

const struct world *world;
bool tracing;

static bool run_one(uint64_t seed) {
    process_reset(seed);
    world->schedule();
    return !violated();
}

/* Every CHILDREN-th seed of the range; it ends at the first violation. */
static void run_share(unsigned child, uint64_t schedules, struct result *result) {
    world->open();
    for (uint64_t i = child; i < schedules && result->violations == 0; i += CHILDREN) {
        result->schedules++;
        if (!run_one(options.first + i))
            result->violations++;
    }
    if (result->violations > 0)
        printf("replay it by: --world %s --seed N\n", world->name);
    fflush(stdout);
}

static bool run_world(uint64_t schedules, struct result *sum) {
    struct result *results = mmap(NULL, CHILDREN * sizeof *results, PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pids[CHILDREN];
    bool ok = results != MAP_FAILED, failed = false;
    fflush(stdout);
    for (unsigned i = 0; ok && i < CHILDREN; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            run_share(i, schedules, &results[i]);
            _exit(0);
        }
    }
    for (unsigned i = 0; ok && i < CHILDREN; i++) {
        int status = 0;
        while (pids[i] > 0 && waitpid(pids[i], &status, 0) < 0 && errno == EINTR)
            continue;
        if (pids[i] < 0 || status != 0) {
            printf("world %s: the simulator itself failed\n", world->name);
            failed = true;
        }
        sum->schedules += results[i].schedules;
        sum->violations += results[i].violations;
    }
    if (ok)
        munmap(results, CHILDREN * sizeof *results);
    return ok && !failed;
}

static bool chosen(const struct world *candidate) {
    return options.world == NULL || strcmp(options.world, candidate->name) == 0;
}

static int run_all(void) {
    struct result all = {0};
    printf("first seed %" PRIu64 "\n", options.first);
    for (size_t i = 0; i < WORLDS; i++) {
        struct result sum = {0};
        uint64_t schedules = worlds[i].schedules * (getenv("SHM_SOAK") != NULL ? SOAK : 1);
        world = worlds[i].world;
        if (!chosen(world))
            continue;
        if (!run_world(options.schedules > 0 ? options.schedules : schedules, &sum))
            return BROKEN;
        printf("%s: %" PRIu64 " schedules\n", world->name, sum.schedules);
        all.schedules += sum.schedules;
        all.violations += sum.violations;
    }
    printf("figure: sim.schedules %" PRIu64 " schedules\n", all.schedules);
    printf("figure: violations.sim %" PRIu64 " violations\n", all.violations);
    return all.violations == 0 && all.schedules > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int replay(void) {
    tracing = true;
    for (size_t i = 0; i < WORLDS; i++) {
        world = worlds[i].world;
        if (!chosen(world))
            continue;
        world->open();
        return run_one(options.seed) ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    return EXIT_FAILURE;
}

static bool number(const char *text, uint64_t *ret) {
    char *end;
    errno = 0;
    *ret = strtoull(text, &end, 0);
    return errno == 0 && end != text && *end == '\0' && *ret > 0;
}

static bool parse(char **argument) {
    for (; *argument != NULL; argument += 2) {
        const char *value = argument[1];
        bool ok = value != NULL;
        if (ok && strcmp(*argument, "--world") == 0)
            options.world = value;
        else if (ok && strcmp(*argument, "--mutant") == 0)
            ok = mutant_set(value);
        else if (ok && strcmp(*argument, "--first") == 0)
            ok = number(value, &options.first);
        else if (ok && strcmp(*argument, "--schedules") == 0)
            ok = number(value, &options.schedules);
        else if (ok && strcmp(*argument, "--seed") == 0)
            ok = number(value, &options.seed);
        else
            ok = false;
        if (!ok)
            return false;
    }
    return true;
}

int main(int argc, char **argv) {
    (void)argc;
    uint32_t random = 0;
    if (getrandom(&random, sizeof random, 0) < 0)
        random = 1;
    options.first = (uint64_t)random << 24 | 1;
    if (!parse(argv + 1)) {
        fprintf(stderr, "usage: sim [--world NAME] [--first N] [--schedules N] [--seed N] "
                        "[--mutant NAME], all numbers above 0\n");
        return 2;
    }
    return options.seed > 0 ? replay() : run_all();
}
