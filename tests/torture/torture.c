/* SPDX-License-Identifier: Apache-2.0
 *
 * Writers, readers and followers on a real manager, whose writers are killed with -9 at random, and
 * the manager now and then.
 *
 *     torture SHM-MANAGER STATE-DIRECTORY SECONDS [SEED]
 *
 * The key and the runtime directory come from the environment; the manager's table has the
 * sections of values.c, each owned by the worker of its name.
 */
#include "torture.h"
#include "processes.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define READERS      (SECTIONS * ANY + 1)
#define MANAGER_EACH 50 /* that many writers' kills for one of the manager's */

struct board *board;

static const char *program, *state_directory;
static uint64_t seed;
static pid_t manager, writers[SECTIONS], readers[READERS];
static unsigned kills, manager_kills;

static void start_writer(unsigned section) {
    static uint64_t lives;
    const uint64_t own = random_next(&seed), life = ++lives;
    writers[section] = start_child();
    if (writers[section] == 0) {
        write_until_killed(section, life, own);
        _exit(0);
    }
}

static void start_readers(void) {
    for (unsigned i = 0; i < READERS; i++) {
        const uint64_t own = random_next(&seed);
        readers[i] = start_child();
        if (readers[i] == 0) {
            read_until_stopped((enum role)(i / SECTIONS), i % SECTIONS, own);
            _exit(0);
        }
    }
}

static void kill_writer(unsigned section) {
    kill(writers[section], SIGKILL);
    if (!reap(writers[section], SIGKILL))
        violate("the writer of %s ended by itself", section_names[section]);
    kills++;
    start_writer(section);
}

static void kill_manager(void) {
    kill(manager, SIGKILL);
    if (!reap(manager, SIGKILL))
        violate("the manager ended by itself");
    manager_kills++;
    manager = start_manager(program, state_directory);
}

/* Some are killed while they attach, most while they write. */
static void torture(double seconds) {
    const uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
    while (now_ns() < end && atomic_load(&board->failures.n) == 0) {
        const uint64_t random = random_next(&seed);
        poll(NULL, 0, (int)(random >> 8 & 0xffff) % 20 * (random % 8 != 0));
        kill_writer((unsigned)(random >> 32) % SECTIONS);
        if (random_next(&seed) % MANAGER_EACH == 0)
            kill_manager();
    }
}

static void stop_all(void) {
    atomic_store(&board->stop, true);
    for (unsigned i = 0; i < SECTIONS; i++)
        if (!reap(writers[i], 0))
            violate("the writer of %s came to a bad end", section_names[i]);
    atomic_store(&board->ended, true);
    for (unsigned i = 0; i < READERS; i++)
        if (!reap(readers[i], 0))
            violate("reader %u came to a bad end", i);
    kill(manager, SIGTERM);
    if (!reap(manager, 0))
        violate("the manager came to a bad end");
}

static int report(uint64_t first, unsigned seconds) {
    uint64_t publishes = 0, aborts = 0, reads = 0;
    for (unsigned i = 0; i < SECTIONS; i++) {
        publishes += atomic_load(&board->sections[i].publishes);
        aborts += atomic_load(&board->sections[i].aborts);
    }
    for (unsigned i = 0; i < ROLES; i++) {
        reads += atomic_load(&board->reads[i]);
        if (atomic_load(&board->reads[i]) == 0)
            violate("nothing was read in one of the ways to read (%u)", i);
    }
    if (kills < seconds * 5 || publishes < kills)
        violate("hardly anything happened: %u kills, %" PRIu64 " publishes", kills, publishes);
    printf("figure: torture.publishes %" PRIu64 " publishes\n", publishes);
    printf("figure: torture.aborts %" PRIu64 " aborts\n", aborts);
    printf("figure: torture.reads %" PRIu64 " reads\n", reads);
    printf("figure: torture.missed %llu versions\n", atomic_load(&board->missed));
    printf("figure: torture.laps %llu laps\n", atomic_load(&board->laps));
    printf("figure: torture.kills %u kills\n", kills);
    printf("figure: torture.manager_kills %u kills\n", manager_kills);
    printf("figure: violations.torture %llu violations\n", atomic_load(&board->failures.n));
    if (atomic_load(&board->failures.n) == 0)
        return 0;
    printf("violation: %s\nseed %" PRIu64 "\n", board->failures.first, first);
    return 1;
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: torture SHM-MANAGER STATE-DIRECTORY SECONDS [SEED]\n");
        return 2;
    }
    program = argv[1];
    state_directory = argv[2];
    const unsigned seconds = (unsigned)strtoul(argv[3], NULL, 10);
    const uint64_t first = seed = first_seed(argc, argv);
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED)
        return 2;
    manager = start_manager(program, state_directory);
    for (unsigned i = 0; i < SECTIONS; i++)
        start_writer(i);
    start_readers();
    torture(seconds);
    stop_all();
    return report(first, seconds);
}
