/* SPDX-License-Identifier: Apache-2.0
 *
 * Workers make and drop sections and publish in them, readers read what they find, and workers and
 * manager are killed with -9 at random.  What a worker was told is there, or isn't, is so for its
 * successor; what was to last as long as a lease is gone by the next; a value is its section's; and
 * at the end nothing is left of it, neither sections nor space.
 *
 *     made_kills SHM-MANAGER DIRECTORY KEY SECONDS [SEED]
 *
 * DIRECTORY holds state and runtime directories; its table has the workers w0..w3, each of which
 * may make 512 KiB.
 */
#include "failures.h"
#include "managing.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define WORKERS     4u
#define READERS     2u
#define SLOTS       8u /* sections that a worker has at a time */
#define WORDS_MAX   1024u
#define PATIENCE_MS 60000
#define MS          UINT64_C(1000000)

/* What a worker knows of a section; it may be killed in the midst of two of these. */
enum known { GONE, MAKING, MADE, DROPPING };

struct slot {
    atomic_uint known;
    bool transient;
    uint64_t bytes;
    atomic_ullong begun, done; /* stored around each publish */
};

struct board {
    atomic_bool stop, ended;
    atomic_ullong creates, drops, publishes, reads;
    struct slot slots[WORKERS][SLOTS];
    struct failures failures;
};

static struct board *board;
static struct managing managing;

#define VIOLATION(...) failures_note(&board->failures, __VA_ARGS__)

static shmc *attach(const char *worker) {
    return managing_attach(&managing, &board->failures, worker, PATIENCE_MS);
}

static void name_worker(char name[16], unsigned worker) {
    snprintf(name, 16, "w%u", worker);
}

static void name_section(char name[32], unsigned worker, unsigned slot) {
    snprintf(name, 32, "made.%u.%u", worker, slot);
}

/* Under memfd memory that is new to a process comes from the manager, who may be dead. */
static bool is_away(long r) {
    return r == -ENOTCONN || r == -ETIMEDOUT;
}

/* ---- values: word 0 is their number */

static uint64_t key_of(uint64_t section_id, uint64_t n) {
    return section_id * UINT64_C(0x100000001b3) ^ n << 20;
}

static void check_value(const uint64_t *value, ssize_t bytes, uint64_t section_id,
                        const char *name) {
    char what[128] = "its length";
    const size_t words = (size_t)bytes / sizeof *value;
    if (bytes <= 0 || (size_t)bytes % sizeof *value != 0 ||
        !words_right(value, 1, words, key_of(section_id, value[0]), what))
        VIOLATION("a value of %s (id %llx) is not its own: %s", name,
                  (unsigned long long)section_id, what);
}

/* ---- a worker */

struct worker {
    shmc *segment;
    unsigned number;
    struct slot *slots;
    uint64_t random;
};

static void publish(struct worker *w, unsigned slot) {
    static uint64_t words[WORDS_MAX];
    struct slot *s = &w->slots[slot];
    struct shmc_section_info info;
    char name[32];
    shmc_section *section = NULL;
    name_section(name, w->number, slot);
    int r = shmc_open(&section, w->segment, name, NULL);
    if (r == 0 && (r = shmc_section_info(section, &info)) == 0) {
        const uint64_t n = atomic_load(&s->begun) + 1;
        const size_t count = 1 + random_next(&w->random) % (s->bytes / sizeof *words);
        words[0] = n;
        words_fill(words, 1, count, key_of(info.section_id, n));
        atomic_store(&s->begun, n);
        r = shmc_publish(section, words, count * sizeof *words);
        if (r == 0)
            atomic_store(&s->done, n);
        atomic_fetch_add(&board->publishes, 1);
    }
    if (r < 0 && !is_away(r))
        failures_add(&board->failures, name, r, shmc_last_error(w->segment));
    shmc_close(section);
}

static void make(struct worker *w, unsigned slot) {
    struct slot *s = &w->slots[slot];
    char name[32];
    name_section(name, w->number, slot);
    s->bytes = 64 + random_next(&w->random) % (sizeof(uint64_t) * WORDS_MAX - 64);
    s->transient = random_next(&w->random) % 2 == 0;
    const struct shmc_create_options options = {
        .size = sizeof options,
        .bytes = s->bytes,
        .count = 2,
        .flags = s->transient ? SHMC_CREATE_TRANSIENT : 0,
    };
    atomic_store(&s->begun, 0);
    atomic_store(&s->done, 0);
    atomic_store(&s->known, MAKING);
    int r = shmc_create(w->segment, name, &options);
    if (r < 0) {
        failures_add(&board->failures, "create", r, shmc_last_error(w->segment));
        return;
    }
    atomic_store(&s->known, MADE);
    atomic_fetch_add(&board->creates, 1);
    publish(w, slot);
}

static void drop(struct worker *w, unsigned slot) {
    struct slot *s = &w->slots[slot];
    struct shmc_section_info info;
    char name[32];
    name_section(name, w->number, slot);
    atomic_store(&s->known, DROPPING);
    int r = shmc_drop(w->segment, name);
    if (r < 0) {
        failures_add(&board->failures, "drop", r, shmc_last_error(w->segment));
        return;
    }
    if (shmc_inspect(w->segment, name, &info) != -ENOENT)
        VIOLATION("%s is there behind its drop", name);
    atomic_store(&s->known, GONE);
    atomic_fetch_add(&board->drops, 1);
}

/* What its predecessor published last is there. */
static void check_kept(struct worker *w, unsigned slot, const char *name) {
    static uint64_t words[WORDS_MAX];
    const struct slot *s = &w->slots[slot];
    const unsigned long long done = atomic_load(&s->done), begun = atomic_load(&s->begun);
    struct shmc_section_info info;
    shmc_section *section = NULL;
    ssize_t n;
    const uint64_t end_ns = now_ns() + PATIENCE_MS * MS;
    do {
        shmc_close(section);
        section = NULL;
        n = shmc_open(&section, w->segment, name, NULL);
        if (n == 0)
            n = shmc_section_info(section, &info);
        if (n == 0)
            n = shmc_read(section, words, sizeof words, NULL);
    } while (is_away(n) && now_ns() < end_ns);
    if (n == -ENODATA ? done > 0 : n < 0)
        failures_add(&board->failures, name, (int)n, shmc_last_error(w->segment));
    else if (n > 0 && (words[0] < done || words[0] > begun))
        VIOLATION("%s has value %llu, of %llu to %llu", name, (unsigned long long)words[0], done,
                  begun);
    else if (n > 0)
        check_value(words, n, info.section_id, name);
    shmc_close(section);
}

/* What was told to who was killed, or what he was in the midst of. */
static void inherit(struct worker *w, unsigned slot) {
    static const char *const words[] = {"gone", "being made", "made", "being dropped"};
    struct slot *s = &w->slots[slot];
    const unsigned known = atomic_load(&s->known);
    struct shmc_section_info info;
    char name[32];
    name_section(name, w->number, slot);
    int r = shmc_inspect(w->segment, name, &info);
    if (r < 0 && r != -ENOENT)
        failures_add(&board->failures, name, r, shmc_last_error(w->segment));
    if (r == 0 && (known == GONE || s->transient))
        VIOLATION("%s%s, which was %s, is there for the next lease",
                  s->transient ? "transient " : "", name, words[known]);
    else if (r == -ENOENT && known == MADE && !s->transient)
        VIOLATION("%s was made, and isn't there for the next lease", name);
    else if (r == 0 && known == MADE)
        check_kept(w, slot, name);
    else if (r == 0)
        drop(w, slot);
    if (r == -ENOENT)
        atomic_store(&s->known, GONE);
}

static void be_worker(unsigned number, uint64_t seed, bool last) {
    char name[16];
    name_worker(name, number);
    struct worker w = {attach(name), number, board->slots[number], seed};
    if (w.segment == NULL)
        return;
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        inherit(&w, slot);
        if (last && atomic_load(&w.slots[slot].known) == MADE)
            drop(&w, slot);
    }
    while (!last && !atomic_load(&board->stop) && atomic_load(&board->failures.n) == 0) {
        const unsigned slot = (unsigned)(random_next(&w.random) % SLOTS);
        if (atomic_load(&w.slots[slot].known) == GONE)
            make(&w, slot);
        else if (random_next(&w.random) % 3 == 0)
            drop(&w, slot);
        else
            publish(&w, slot);
    }
    shmc_detach(w.segment);
}

/* ---- a reader */

static void read_one(shmc *segment, const char *name) {
    static uint64_t words[WORDS_MAX];
    struct shmc_section_info info;
    shmc_section *section;
    if (shmc_open(&section, segment, name, NULL) < 0)
        return; /* it is gone again */
    if (shmc_section_info(section, &info) == 0) {
        ssize_t n = shmc_read(section, words, sizeof words, NULL);
        if (n >= 0) {
            check_value(words, n, info.section_id, name);
            atomic_fetch_add(&board->reads, 1);
        } else if (n != -ENODATA && n != -EIDRM && n != -EAGAIN && !is_away(n)) {
            failures_add(&board->failures, name, (int)n, shmc_last_error(segment));
        }
    }
    shmc_close(section);
}

static void be_reader(uint64_t seed) {
    shmc *segment = attach(NULL);
    while (segment != NULL && !atomic_load(&board->ended) && atomic_load(&board->failures.n) == 0) {
        struct shmc_section_info *sections;
        size_t n;
        int r = shmc_sections(segment, &sections, &n);
        if (r < 0) {
            failures_add(&board->failures, "list", r, shmc_last_error(segment));
            break;
        }
        for (unsigned i = 0; i < 4 && n > 0; i++)
            read_one(segment, sections[random_next(&seed) % n].name);
        free(sections);
    }
    shmc_detach(segment);
}

/* ---- the play */

static pid_t start_worker(unsigned number, uint64_t seed, bool last) {
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        be_worker(number, seed, last);
        _exit(0);
    }
    return child;
}

static void end(pid_t child, const char *what) {
    int status = 0;
    if (waitpid(child, &status, 0) != child || status != 0)
        VIOLATION("%s ended with status 0x%x", what, (unsigned)status);
}

/* Twice made and dropped: what was retired before is free, and what is retired is the same. */
static uint64_t settled_bytes(shmc *segment) {
    const struct shmc_create_options options = {.size = sizeof options, .bytes = 1000};
    struct shmc_segment_info info = {0};
    shmc *worker = attach("w0");
    for (int i = 0; worker != NULL && i < 3; i++) {
        int r = shmc_create(worker, "settling", &options);
        if (r == 0)
            r = shmc_drop(worker, "settling");
        if (r < 0)
            failures_add(&board->failures, "settling", r, shmc_last_error(worker));
    }
    shmc_detach(worker);
    shmc_segment(segment, &info);
    return info.arena_bytes;
}

static void kill_manager(pid_t *manager, uint64_t *random, unsigned *kills) {
    kill(*manager, SIGKILL);
    waitpid(*manager, NULL, 0);
    *manager = managing_start(&managing);
    ++*kills;
    /* Sometimes the next is killed as it starts. */
    if (random_next(random) % 4 != 0 && managing_await(&managing, *manager, PATIENCE_MS * MS) == 0)
        VIOLATION("the manager is not back");
}

/* Its successor waits for it, or comes later. */
static void kill_worker(pid_t *worker, unsigned number, uint64_t *random) {
    const bool waits = random_next(random) % 2 == 0;
    pid_t next = waits ? start_worker(number, random_next(random), false) : 0;
    poll(NULL, 0, (int)(random_next(random) % 20));
    kill(*worker, SIGKILL);
    waitpid(*worker, NULL, 0);
    *worker = waits ? next : start_worker(number, random_next(random), false);
}

static void play(pid_t *manager, uint64_t seconds, uint64_t random, unsigned kills[2]) {
    pid_t workers[WORKERS], readers[READERS];
    for (unsigned i = 0; i < WORKERS; i++)
        workers[i] = start_worker(i, random_next(&random), false);
    for (unsigned i = 0; i < READERS; i++) {
        const uint64_t seed = random_next(&random);
        readers[i] = fork();
        if (readers[i] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (nice(10) != -1) /* they take what workers and manager leave of a small machine */
                be_reader(seed);
            _exit(0);
        }
    }
    const uint64_t end_ns = now_ns() + seconds * 1000 * MS;
    while (now_ns() < end_ns && atomic_load(&board->failures.n) == 0) {
        poll(NULL, 0, 20 + (int)(random_next(&random) % 80));
        const unsigned number = (unsigned)(random_next(&random) % WORKERS);
        if (random_next(&random) % 3 == 0) {
            kill_manager(manager, &random, &kills[1]);
        } else {
            kill_worker(&workers[number], number, &random);
            kills[0]++;
        }
    }
    atomic_store(&board->stop, true);
    for (unsigned i = 0; i < WORKERS; i++)
        end(workers[i], "a worker");
    for (unsigned i = 0; i < WORKERS; i++)
        end(start_worker(i, 0, true), "the last worker");
    atomic_store(&board->ended, true);
    for (unsigned i = 0; i < READERS; i++)
        end(readers[i], "a reader");
}

static void check_left(shmc *segment, uint64_t before) {
    struct shmc_section_info *sections = NULL;
    size_t n = 0;
    const uint64_t now = settled_bytes(segment);
    if (now != before)
        VIOLATION("%llu bytes are in arenas, and were %llu before", (unsigned long long)now,
                  (unsigned long long)before);
    if (shmc_sections(segment, &sections, &n) < 0)
        VIOLATION("no list: %s", shmc_last_error(segment));
    else if (n > 0)
        VIOLATION("%zu sections are left, like %s", n, sections[0].name);
    free(sections);
}

static int report(const unsigned kills[2]) {
    const unsigned long long violations = atomic_load(&board->failures.n);
    printf("figure: made.creates %llu sections\n", atomic_load(&board->creates));
    printf("figure: made.drops %llu sections\n", atomic_load(&board->drops));
    printf("figure: made.publishes %llu publishes\n", atomic_load(&board->publishes));
    printf("figure: made.reads %llu reads\n", atomic_load(&board->reads));
    printf("figure: made.worker_kills %u kills\n", kills[0]);
    printf("figure: made.manager_kills %u kills\n", kills[1]);
    printf("figure: violations.made %llu violations\n", violations);
    if (violations > 0)
        printf("first violation: %s\n", board->failures.first);
    return violations > 0;
}

int main(int argc, char **argv) {
    unsigned kills[2] = {0};
    if (argc < 5 || argc > 6) {
        fprintf(stderr, "usage: made_kills SHM-MANAGER DIRECTORY KEY SECONDS [SEED]\n");
        return 2;
    }
    managing = (struct managing){argv[1], argv[2], (uint32_t)strtoul(argv[3], NULL, 0)};
    const uint64_t seed = argc == 6 ? strtoull(argv[5], NULL, 0) : now_ns();
    printf("seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t manager = managing_start(&managing);
    shmc *segment = attach(NULL);
    if (segment != NULL) {
        const uint64_t before = settled_bytes(segment);
        play(&manager, strtoull(argv[4], NULL, 0), seed, kills);
        check_left(segment, before);
        shmc_detach(segment);
    }
    kill(manager, SIGTERM);
    waitpid(manager, NULL, 0);
    return report(kills);
}
