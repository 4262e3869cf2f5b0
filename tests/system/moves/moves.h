/* SPDX-License-Identifier: Apache-2.0
 *
 * What the processes of the moves share: the board on which writers say what they published, and
 * the values, each of which says whose it is.
 */
#ifndef SHM_TESTS_MOVES_H
#define SHM_TESTS_MOVES_H

#include "../failures.h"
#include "../play.h"

#define SECTIONS_MAX 1000u
#define WORKERS      4u
#define LARGEST      (UINT64_C(64) << 10)
#define PATIENCE_MS  60000

enum role { READ, VIEW, NEXT, FOLLOW, ANY, ROLES };

/* Of one row of the table, whose id is its index + 1.  Its section may be removed and made anew,
 * and get another name.  `begun` and `done` are stored around each publish: the newest version is
 * none before `done` and none behind `begun`, whoever is killed where.  Of a raw section `done`
 * says that it was written. */
struct progress {
    _Alignas(64) atomic_ullong begun, done; /* place_of() */
    atomic_uint name;                       /* of name_section(); the editor's */
};

/* What must not be: a violation is one of these. */
enum wrong { WRONG_READ, LOST, OVERLAP, LEAK, UNREPORTED, OTHER, WRONGS };

struct board {
    unsigned sections; /* rows, at most */
    struct progress progress[SECTIONS_MAX];
    atomic_bool stop;  /* for writers */
    atomic_bool ended; /* the last of them has: readers look at what is left */
    atomic_ullong publishes, in_place, raw_writes, raw_reads, reads[ROLES], missed, away;
    atomic_ullong wrong[WRONGS];
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
#define violate(wrong_, ...)                                                                       \
    do {                                                                                           \
        atomic_fetch_add(&board->wrong[wrong_], 1);                                                \
        failures_note(&board->failures, __VA_ARGS__);                                              \
    } while (0)

/* The name that the row has, as far as the editor has come; of as many as there are rows twice. */
void name_text(char text[16], unsigned name);
void name_section(char text[16], unsigned section);
void name_worker(char name[16], unsigned worker);

/* With $SHM_TEST_BACKEND. */
bool on_memfd(void);

/* A manager that is killed now and then has yet to make a new segment whole; and under memfd each
 * place that is new to a process comes from him. */
bool manager_away(int error);

/* NULL: a violation. */
shmc *attach(const char *worker);

/* Opens the row's section if there is one of its name and it is the row's; else NULL. */
shmc_section *open_section(shmc *segment, unsigned section);

/* The words of one version; it has at least one.  A raw section's are those of version 0. */
void value_fill(uint64_t *to, size_t bytes, unsigned section, uint64_t incarnation,
                uint64_t version);
bool value_whole(const uint64_t *value, size_t bytes, unsigned section, uint64_t incarnation,
                 uint64_t version, char what[128]);
void raw_fill(uint64_t *to, size_t bytes, unsigned section, uint64_t incarnation);
/* Each of its words was written, or is 0 yet. */
bool raw_right(const uint64_t *data, size_t bytes, unsigned section, uint64_t incarnation,
               char what[128]);

/* What the forked processes do until the board says stop. */
void write_until_stopped(unsigned worker, uint64_t seed);
void read_until_stopped(enum role role, uint64_t seed);

#endif
