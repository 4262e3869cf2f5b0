/* SPDX-License-Identifier: Apache-2.0
 *
 * The manager is killed with -9 under load, again and again: no publish fails, no read fails, no
 * value changes, and leases and directory are the same when it is back.
 *
 *     manager_kills SHM-MANAGER DIRECTORY KEY KILLS
 *
 * DIRECTORY holds state and runtime directories; its table has the sections load1..load4, each of
 * the worker of the same name, 20000 bytes, and `still`, of worker `still`.
 */
#include "failures.h"
#include "managing.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOADS       4
#define READERS     2
#define WORDS       2500
#define PATIENCE_MS 30000

struct board {
    atomic_bool stop;
    atomic_uint ready;
    atomic_ullong publishes, reads;
    struct failures failures;
};

static struct board *board;
static struct managing managing;

static void fail(const char *what, int result, const char *text) {
    failures_add(&board->failures, what, result, text);
}

static shmc *attach(const char *worker) {
    return managing_attach(&managing, &board->failures, worker, PATIENCE_MS);
}

static void fill(uint64_t *words, uint64_t version) {
    for (unsigned i = 0; i < WORDS; i++)
        words[i] = version * UINT64_C(0x9e3779b97f4a7c15) + i;
}

static void write_load(const char *name) {
    shmc *segment = attach(name);
    shmc_section *section;
    static uint64_t words[WORDS];
    if (segment == NULL)
        return;
    int r = shmc_open(&section, segment, name, NULL);
    atomic_fetch_add(&board->ready, 1);
    for (uint64_t version = 1; r == 0 && !atomic_load(&board->stop); version++) {
        fill(words, version);
        r = shmc_publish(section, words, sizeof words);
        atomic_fetch_add(&board->publishes, 1);
    }
    if (r < 0)
        fail(name, r, shmc_last_error(segment));
    shmc_detach(segment);
}

static int check_value(const uint64_t *words, ssize_t length, uint64_t version, uint64_t *last) {
    static uint64_t right[WORDS];
    fill(right, version);
    bool ok = length == (ssize_t)sizeof right && memcmp(words, right, sizeof right) == 0 &&
              version >= *last;
    *last = version;
    return ok ? 0 : -EBADMSG;
}

static void read_loads(void) {
    static uint64_t words[WORDS], last[LOADS];
    shmc *segment = attach(NULL);
    shmc_section *sections[LOADS] = {0};
    if (segment == NULL)
        return;
    int r = 0;
    for (int i = 0; i < LOADS && r == 0; i++) {
        char name[16];
        snprintf(name, sizeof name, "load%d", i + 1);
        r = shmc_open(&sections[i], segment, name, NULL);
    }
    atomic_fetch_add(&board->ready, 1);
    for (unsigned i = 0; r == 0 && !atomic_load(&board->stop); i = (i + 1) % LOADS) {
        struct shmc_value value = {0};
        ssize_t n = shmc_read(sections[i], words, sizeof words, &value);
        if (n == -ENODATA)
            continue;
        r = n < 0 ? (int)n : check_value(words, n, value.version, &last[i]);
        atomic_fetch_add(&board->reads, 1);
    }
    if (r < 0)
        fail("read", r, shmc_last_error(segment));
    shmc_detach(segment);
}

static pid_t spawn(void (*run)(void)) {
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        run();
        _exit(0);
    }
    return child;
}

static pid_t spawn_writer(int number) {
    pid_t child = fork();
    if (child == 0) {
        char name[16];
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        snprintf(name, sizeof name, "load%d", number + 1);
        write_load(name);
        _exit(0);
    }
    return child;
}

static uint64_t await_manager(pid_t manager) {
    const uint64_t took_ns = managing_await(&managing, manager, PATIENCE_MS * UINT64_C(1000000));
    if (took_ns == 0)
        fail("the manager is not back", -ETIMEDOUT, "");
    return took_ns;
}

/* What must be the same afterwards, as text. */
static void describe(shmc *segment, char *text, size_t bytes) {
    struct shmc_section_info *sections;
    struct shmc_worker_info *workers;
    size_t n, at = 0;
    text[0] = '\0';
    if (shmc_sections(segment, &sections, &n) == 0) {
        for (size_t i = 0; i < n && at < bytes; i++)
            at += (size_t)snprintf(text + at, bytes - at, "%s@%llu+%llu#%llu ", sections[i].name,
                                   (unsigned long long)sections[i].offset,
                                   (unsigned long long)sections[i].bytes,
                                   (unsigned long long)sections[i].incarnation);
        free(sections);
    }
    if (shmc_workers(segment, &workers, &n) == 0) {
        for (size_t i = 0; i < n && at < bytes; i++)
            at += (size_t)snprintf(text + at, bytes - at, "%s=%d/%llu ", workers[i].name,
                                   workers[i].pid, (unsigned long long)workers[i].epoch);
        free(workers);
    }
}

static int by_number(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void kill_and_compare(unsigned kills, pid_t *manager, shmc *segment, shmc_section *still) {
    static char before[8192], after[8192], value[64], again[64];
    uint64_t *times = calloc(kills, sizeof *times);
    ssize_t length = shmc_read(still, value, sizeof value, NULL);
    describe(segment, before, sizeof before);
    for (unsigned i = 0; i < kills && atomic_load(&board->failures.n) == 0; i++) {
        kill(*manager, SIGKILL);
        waitpid(*manager, NULL, 0);
        *manager = managing_start(&managing);
        times[i] = await_manager(*manager);
        describe(segment, after, sizeof after);
        if (strcmp(before, after) != 0)
            fail("directory or leases differ", -EBADMSG, after);
        if (shmc_read(still, again, sizeof again, NULL) != length ||
            memcmp(value, again, sizeof value) != 0)
            fail("a value changed", -EBADMSG, "still");
    }
    qsort(times, kills, sizeof *times, by_number);
    printf("figure: manager.kills %u kills\n", kills);
    printf("figure: manager.back_median %.1f ms\n", (double)times[kills / 2] / 1e6);
    printf("figure: manager.back_max %.1f ms\n", (double)times[kills - 1] / 1e6);
    free(times);
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: manager_kills SHM-MANAGER DIRECTORY KEY KILLS\n");
        return 2;
    }
    managing = (struct managing){argv[1], argv[2], (uint32_t)strtoul(argv[3], NULL, 0)};
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t manager = managing_start(&managing), children[LOADS + READERS];
    await_manager(manager);
    for (int i = 0; i < LOADS; i++)
        children[i] = spawn_writer(i);
    for (int i = 0; i < READERS; i++)
        children[LOADS + i] = spawn(read_loads);
    shmc *segment = attach("still");
    shmc_section *still = NULL;
    if (segment != NULL && shmc_open(&still, segment, "still", NULL) == 0 &&
        shmc_publish(still, "it stays", 9) == 0) {
        while (atomic_load(&board->ready) < LOADS + READERS && atomic_load(&board->failures.n) == 0)
            poll(NULL, 0, 1);
        kill_and_compare((unsigned)atoi(argv[4]), &manager, segment, still);
    } else {
        fail("the test's own section", -ENOENT, "still");
    }
    atomic_store(&board->stop, true);
    for (int i = 0; i < LOADS + READERS; i++)
        waitpid(children[i], NULL, 0);
    shmc_close(still);
    shmc_detach(segment);
    kill(manager, SIGTERM);
    waitpid(manager, NULL, 0);
    printf("figure: manager.publishes_under_kill %llu publishes\n", atomic_load(&board->publishes));
    printf("figure: manager.reads_under_kill %llu reads\n", atomic_load(&board->reads));
    printf("figure: violations.manager_kills %llu violations\n", atomic_load(&board->failures.n));
    if (atomic_load(&board->failures.n) > 0)
        printf("first violation: %s\n", board->failures.first);
    return atomic_load(&board->failures.n) > 0;
}
