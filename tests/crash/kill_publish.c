/* SPDX-License-Identifier: Apache-2.0
 *
 * kill_publish [--seed N] [--points N] [--mutant NAME]
 *
 * A writer takes a section over and publishes, one instruction at a time, and at each of them all
 * that must hold if it was killed there is checked.  Now and then it really is killed, and another
 * process takes the memory over as it was left, and is stepped in its turn.
 */
#include "crash.h"
#include "mutant_name.h"
#include "step.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/random.h>

#define POINTS         160000u
#define NONE           SHM_SECTION_STAMP_NONE
#define VIOLATIONS_MAX 10u

static const struct variant variants[] = {
    {"64 B, 2 buffers", 64, 2, NONE},
    {"64 B, 3 buffers, hints", 64, 3, NONE, .hints = true},
    {"64 B, 4 buffers, time stamps", 64, 4, 0},
    {"64 B, 8 buffers, aborts", 64, 8, NONE, .aborts = true},
    {"64 B, 3 buffers, sleepers", 64, 3, NONE, .sleepers = true},
    {"64 B, 4 buffers, always waking", 64, 4, NONE | SHM_SECTION_NOTIFY_ALWAYS, .sleepers = true},
    {"64 B, 4 buffers, never waking", 64, 4, NONE | SHM_SECTION_NOTIFY_NEVER},
    {"64 B, 4 buffers, the futex wraps", 64, 4, NONE, .sleepers = true,
     .base = (UINT64_C(1) << 31) - 3},
    {"1000 B, 2 buffers, in place, sleepers", 1000, 2, NONE, .in_place = true, .sleepers = true},
    {"1000 B, 3 buffers, coarse stamps", 1000, 3, SHM_SECTION_STAMP_COARSE},
    {"1000 B, 4 buffers, hints, sleepers", 1000, 4, NONE, .hints = true, .sleepers = true},
    {"1000 B, 4 buffers, in place, aborts, hints", 1000, 4, NONE, .in_place = true, .aborts = true,
     .hints = true},
    {"1000 B, 8 buffers", 1000, 8, NONE},
    {"10 KiB, 2 buffers", 10240, 2, NONE},
    {"10 KiB, 4 buffers, hints, sleepers", 10240, 4, NONE, .hints = true, .sleepers = true},
    {"10 KiB, 3 buffers, in place, aborts", 10240, 3, NONE, .in_place = true, .aborts = true},
};
#define VARIANTS (sizeof variants / sizeof *variants)

/* Steps one worker from marker to marker, or to point `kill_at`.  False: it may not be traced. */
static bool play_round(struct world *world, uint64_t kill_at) {
    world->epoch++;
    *world->stage = (struct stage){0};
    const pid_t pid = step_start(worker_run, world);
    if (pid == 0)
        return false;
    while (world->violations < VIOLATIONS_MAX) {
        if (pid < 0 || step_instruction(pid, NULL) != STEP_DONE) {
            fprintf(stderr, "violation: variant %s: the worker failed\n", world->variant->name);
            world->violations++;
            return true;
        }
        if (shared_load_acquire32(&world->stage->over) != 0)
            break;
        if (shared_load_acquire32(&world->stage->stepped) == 0)
            continue;
        world->point++;
        world_check(world);
        if (world->point >= kill_at) {
            world->kills++;
            break;
        }
    }
    step_kill(pid);
    return true;
}

/* The first round of a variant goes to its end, which says how long one is; of the others four in
 * five are cut short somewhere. */
static uint64_t choose_kill(struct world *world, uint64_t round, uint64_t length) {
    return round % 5 == 0 ? UINT64_MAX : world->point + 1 + world_random(world) % length;
}

/* Until it has its share of the points, and was killed often enough; a large value's rounds are
 * long, with a step for each byte. */
static bool play_variant(struct world *world, const struct variant *variant, uint64_t share) {
    const uint64_t start = world->point, kills = world->kills;
    const uint64_t rounds = variant->size > LARGE ? 4 : 7;
    uint64_t round = 0, length = 0;
    world_make(world, variant);
    for (; world->violations < VIOLATIONS_MAX; round++) {
        if (round >= rounds && world->point - start >= share)
            break;
        if (!play_round(world, choose_kill(world, round, length)))
            return false;
        length = round == 0 ? world->point - start : length;
    }
    world_free(world);
    printf("%s: %" PRIu64 " points, %" PRIu64 " writers, %" PRIu64 " killed\n", variant->name,
           world->point - start, round, world->kills - kills);
    return true;
}

static int play(struct world *world, uint64_t points) {
    for (size_t i = 0; i < VARIANTS && world->violations < VIOLATIONS_MAX; i++)
        if (!play_variant(world, &variants[i], points / VARIANTS))
            return SKIPPED;
    return world->violations == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* A number above 0 for an option; 0: it isn't one. */
static uint64_t number(const char *text) {
    char *end = NULL;
    errno = 0;
    const uint64_t value = text != NULL ? strtoull(text, &end, 0) : 0;
    return value != 0 && errno == 0 && *end == '\0' ? value : 0;
}

static bool parse(char **argv, uint64_t *seed, uint64_t *points) {
    for (char **argument = argv + 1; *argument != NULL; argument += 2) {
        if (strcmp(*argument, "--mutant") == 0 && argument[1] != NULL && mutant_set(argument[1]))
            continue;
        uint64_t *option = strcmp(*argument, "--seed") == 0     ? seed
                           : strcmp(*argument, "--points") == 0 ? points
                                                                : NULL;
        if (option == NULL || (*option = number(argument[1])) == 0)
            return false;
    }
    return true;
}

int main(int argc, char **argv) {
    static struct world world;
    (void)argc;
    uint64_t points = POINTS, seed = 0;
    if (getrandom(&seed, sizeof seed / 2, 0) < 0 || seed == 0)
        seed = 1;
    if (!parse(argv, &seed, &points)) {
        fprintf(stderr,
                "usage: kill_publish [--seed N] [--points N] [--mutant NAME], both above 0\n");
        return 2;
    }
    world.random = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
    printf("seed %" PRIu64 "\n", seed);
    const int result = play(&world, points);
    if (result == SKIPPED) {
        printf("skipped: this process may not trace its children\n");
        return SKIPPED;
    }
    printf("figure: kill_points.publish %" PRIu64 " points\n", world.point);
    printf("figure: kill_checks.publish %" PRIu64 " checks\n", world.point);
    printf("figure: kills.publish %" PRIu64 " kills\n", world.kills);
    printf("figure: violations.publish %u violations\n", world.violations);
    return result;
}
