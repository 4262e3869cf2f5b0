/* SPDX-License-Identifier: Apache-2.0
 *
 * The kill test of publish: a writer is single-stepped, and after each of its instructions the
 * shared memory is looked at as if the writer had been killed there.
 *
 *     kill_publish.c  the variants and the rounds
 *     worker.c        the writer that is stepped (by step.h)
 *     check.c         what must hold at each point
 */
#ifndef SHM_TESTS_CRASH_H
#define SHM_TESTS_CRASH_H

#include "snapshot_fixture.h"

#define VERSIONS_MAX 65536 /* of one variant */
#define LARGE        4096u /* values beyond this are copied with a step for each byte */
#define SLOW_READERS 4
#define SUCCESSOR    UINT32_C(0xdead) /* the epoch that successors at kill points write under */

struct variant {
    const char *name;
    uint64_t size;
    uint32_t count;
    uint32_t flags;
    bool in_place; /* begin, fill, commit */
    bool aborts;   /* one more is begun and aborted before each */
    bool hints;    /* readers ask for buffers to be spared */
    bool sleepers; /* readers set the doorbell */
    uint64_t base; /* version that is there at the start */
};

/* What the worker tells, in memory shared with it. */
struct stage {
    uint32_t stepped; /* it is between the markers */
    uint32_t over;
    uint64_t returned; /* version whose publish has returned */
};

/* A reader that looks at a value in place, and takes its time. */
struct slow_reader {
    struct snapshot_reader reader;
    struct snapshot_value value;
    const void *data;
    bool holds;
};

struct world {
    const struct variant *variant;
    struct fixture real; /* what the workers write */
    struct fixture copy; /* what is checked, and what the successors write */
    struct stage *stage;
    uint32_t epoch;  /* of the worker that runs */
    uint64_t newest; /* version that was seen published */
    uint32_t *who;   /* epoch that published version `base + i` */
    struct slow_reader slow[SLOW_READERS];
    uint64_t asleep_at; /* version at which the sleeper fell asleep; UINT64_MAX: nobody sleeps */
    uint64_t asleep_wakes;
    uint64_t random;
    uint64_t point; /* in all, over the variants */
    uint64_t kills;
    unsigned violations;
};

static inline uint64_t world_random(struct world *world) {
    world->random ^= world->random << 13;
    world->random ^= world->random >> 7;
    world->random ^= world->random << 17;
    return world->random >> 11;
}

/* Length of the value of that version. */
static inline size_t world_length(const struct world *world, uint64_t version) {
    return world->variant->size - version % 3 * 8;
}

void world_make(struct world *world, const struct variant *variant);
void world_free(struct world *world);

/* Checks all that must hold if the worker was killed now; counts and prints what doesn't. */
void world_check(struct world *world);

/* The worker itself, for step_start(); it stops before the first marker. */
_Noreturn void worker_run(void *world);

#endif
