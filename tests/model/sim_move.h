/* SPDX-License-Identifier: Apache-2.0
 *
 * The move world: what its processes know (what stands in the directory, as one word of shared
 * memory says which), and what only those who watch over them know.
 */
#ifndef SHM_TESTS_MODEL_SIM_MOVE_H
#define SHM_TESTS_MODEL_SIM_MOVE_H

#include "sim.h"

#include "snapshot_fixture.h"

#define MOVE_SIZE     40u
#define MOVE_VERSIONS 64u
#define MOVE_DEADLINE UINT64_C(1000000000000)

/* One of the two places that the section moves between; the other one is another section's, or
 * nobody's, in between. */
struct move_place {
    struct fixture fixture;
    struct snapshot snapshot;
    uint64_t head;        /* that was stored there */
    uint64_t first, last; /* versions that were published or brought there; 0: none */
    uint64_t given_at;    /* generation that was in force when somebody else last got it */
    bool given;           /* it is somebody else's now */
};

/* What a process found in the directory. */
struct move_looked {
    uint64_t generation;
    struct snapshot now, before;
};

/* The schedule that runs. */
struct move {
    struct move_place places[2];
    uint64_t base;       /* version that is there at the start */
    uint64_t newest;     /* that was published */
    uint64_t returned;   /* so, and the publish is over */
    uint64_t generation; /* that is in force */
    uint32_t who[MOVE_VERSIONS];
    bool hinted;
    bool forgotten; /* a manager died before it told the sleepers */
};

extern struct move move;

/* Looks into the directory, and whether that still holds. */
void move_look_up(struct move_looked *ret);
bool move_changed(const struct move_looked *looked);

/* In generation `generation`, is this the place where the newest value is looked for first, and is
 * it one that may have it? */
bool move_is_new(uint64_t generation, unsigned place);
bool move_in_force(uint64_t generation, unsigned place);

/* The processes that look (sim_move_look.c). */
void move_add_lookers(void);
/* When a publish has returned, nobody sleeps for what it published. */
void move_check_sleepers(void);

#endif
