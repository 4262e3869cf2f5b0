/* SPDX-License-Identifier: Apache-2.0
 *
 * What the processes of the moves share: the board on which writers say what they published, and
 * the values, each of which says whose it is.
 */
#ifndef SHM_TESTS_MOVES_H
#define SHM_TESTS_MOVES_H

#include "../failures.h"
#include "../play.h"

#define SECTIONS    12u
#define WORKERS     4u
#define LARGEST     (UINT64_C(64) << 10)
#define PATIENCE_MS 30000

enum role { READ, VIEW, NEXT, FOLLOW, ANY, ROLES };

/* Of one name in the table, whose section may be removed and made anew.  Stored around each
 * publish: the newest version is none before `done` and none behind `begun`, whoever is killed
 * where. */
struct progress {
    _Alignas(64) atomic_ullong begun, done; /* place_of() */
};

struct board {
    struct progress sections[SECTIONS];
    atomic_bool stop;  /* for writers */
    atomic_bool ended; /* the last of them has: readers look at what is left */
    atomic_ullong publishes, in_place, reads[ROLES], missed, away;
    struct failures failures;
};

extern struct board *board;
extern uint32_t key;
extern char run_dir[256];

/* A version compares within its incarnation only, so the two are one word. */
static inline unsigned long long place_of(uint64_t incarnation, uint64_t version) {
    return (unsigned long long)(incarnation << 40 | (version & ((UINT64_C(1) << 40) - 1)));
}
static inline uint64_t incarnation_of(unsigned long long place) {
    return place >> 40;
}
static inline uint64_t version_of(unsigned long long place) {
    return place & ((UINT64_C(1) << 40) - 1);
}

/* One more violation; the first one's text is kept. */
#define violate(...) failures_note(&board->failures, __VA_ARGS__)

void name_section(char name[16], unsigned section);
void name_worker(char name[16], unsigned worker);

/* Under memfd a place that is new to a process comes from the manager, who is killed now and then.
 */
bool manager_away(int error);

/* NULL: a violation. */
shmc *attach(const char *worker);

/* The words of one version; it has at least one. */
void value_fill(uint64_t *to, size_t bytes, unsigned section, uint64_t incarnation,
                uint64_t version);
bool value_whole(const uint64_t *value, size_t bytes, unsigned section, uint64_t incarnation,
                 uint64_t version, char what[128]);

/* What the forked processes do until the board says stop. */
void write_until_stopped(unsigned worker, uint64_t seed);
void read_until_stopped(enum role role, uint64_t seed);

/* ---- the editor */

struct sqlite3;
struct editor {
    struct sqlite3 *table;
    uint64_t random;
    shmc *segment; /* to see what became of it */
    void (*revive)(void *reviver);
    void *reviver; /* who starts a manager that isn't there */
    unsigned long long edits, rejected, moves, held;
    uint64_t offsets[SECTIONS], incarnations[SECTIONS];
    uint64_t space;  /* of no sections */
    char last[1024]; /* edit */
};

/* `random`, `segment`, `revive` and `reviver` are set; makes the sections. */
void editor_open(struct editor *editor, const char *table);
void editor_close(struct editor *editor);

/* A random edit that any time is good for. */
void edit_at_random(struct editor *editor);

/* One that takes something from a worker, who isn't there. */
void edit_without(struct editor *editor, unsigned worker);

/* Removes everything: none of the space may be left. */
void editor_empty(struct editor *editor);

#endif
