/* SPDX-License-Identifier: Apache-2.0
 *
 * What the processes of the torture share: the board on which they say what they did, and the
 * values: whose writer's life it is, and then words that follow from section, version, life and
 * index.
 */
#ifndef SHM_TESTS_TORTURE_H
#define SHM_TESTS_TORTURE_H

#include "failures.h"
#include "play.h"

#define SECTIONS    4u
#define LARGEST     (UINT64_C(256) << 10)
#define LIVES_KEPT  4096u /* of a section's last versions it is known who published them */
#define PATIENCE_MS 60000

/* Of one section, by its writer.  `begun` is stored before a publish and `done` behind it, so that
 * at any time done <= the newest version <= begun, whoever was killed where. */
struct progress {
    _Alignas(64) atomic_ullong begun;
    atomic_ullong done;
    _Alignas(64) atomic_ullong publishes;
    atomic_ullong aborts;
    /* Which life began version v last, at v % LIVES_KEPT: who was killed over it has not published
     * it, and his successor stores his own. */
    atomic_ullong lives[LIVES_KEPT];
};

enum role { READ, VIEW, NEXT, FOLLOW, ANY, ROLES };

struct board {
    struct progress sections[SECTIONS];
    atomic_bool stop;  /* for all */
    atomic_bool ended; /* the last writer has: readers look at what is left */
    atomic_ullong reads[ROLES];
    atomic_ullong laps;   /* reads that gave up, and views that the writer came round to */
    atomic_ullong missed; /* as the followers were told */
    struct failures failures;
};

extern struct board *board;
extern const char *const section_names[SECTIONS];
extern const uint64_t section_sizes[SECTIONS];

/* One more violation; the first one's text is kept. */
#define violate(...) failures_note(&board->failures, __VA_ARGS__)

shmc *attach(const char *worker);
shmc_section *open_section(shmc *segment, unsigned section);

/* The length and the words of a version; half of the values are as long as the section allows. */
size_t value_bytes(unsigned section, uint64_t version);
void value_fill(uint64_t *to, unsigned section, uint64_t version, uint64_t life);

/* Is it that version's value, all of it, as it was published?  If not, `what` is where it isn't. */
bool value_whole(const uint64_t *value, size_t bytes, unsigned section, uint64_t version,
                 char what[128]);

/* What the forked processes do until the board says stop. */
void write_until_killed(unsigned section, uint64_t life, uint64_t seed);
void read_until_stopped(enum role role, unsigned section, uint64_t seed);

#endif
