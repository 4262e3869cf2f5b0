/* SPDX-License-Identifier: Apache-2.0
 *
 * Workers and readers for the box, on the default key or that of $SHMC_KEY.
 *
 *     box_load fill     as worker `kept`, gives each of its sections a value
 *     box_load sums     one line for each section of worker `kept`: what it is, and a checksum
 *     box_load run      until SIGTERM: workers load1, load2 and load3 publish, readers check what
 *                       they read, others wait, and worker `comer` attaches again and again
 *
 * Called without a word it is the worker that its own file name says, and publishes in the section
 * of that name, as a unit's program would.
 *
 * `run` prints "ready PID" when all of them are at work, and at its end what they did.  An
 * operation that fails, or a value that isn't as its writer made it, is a failure: one is too many.
 */
#include "failures.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOADS       3
#define WORDS       1280 /* 10 KiB */
#define PATIENCE_MS 120000
#define PAUSE_US    200 /* for the others on a small machine */

struct board {
    atomic_bool stop, stop_writers; /* readers wait for what writers write */
    atomic_uint ready;
    atomic_ullong publishes, reads, waits, attaches;
    struct failures failures;
};

static struct board *board;

static void fail(const char *what, int result, const char *text) {
    failures_add(&board->failures, what, result, text);
}

static shmc *attach(const char *worker) {
    return failures_attach(&board->failures,
                           (struct shmc_options){.size = sizeof(struct shmc_options),
                                                 .worker = worker,
                                                 .timeout_ms = PATIENCE_MS});
}

static shmc_section *open_load(shmc *segment, int number) {
    char name[16];
    shmc_section *section = NULL;
    snprintf(name, sizeof name, "load%d", number);
    int r = shmc_open(&section, segment, name, NULL);
    if (r < 0)
        fail(name, r, shmc_last_error(segment));
    return section;
}

static void fill(uint64_t *words, uint64_t serial) {
    words[0] = serial;
    for (unsigned i = 1; i < WORDS; i++)
        words[i] = serial * UINT64_C(0x9e3779b97f4a7c15) + i;
}

/* ---- at work */

static void publish_loads(int number) {
    static uint64_t words[WORDS];
    char name[16];
    snprintf(name, sizeof name, "load%d", number);
    shmc *segment = attach(name);
    shmc_section *section = segment == NULL ? NULL : open_load(segment, number);
    if (section == NULL)
        return;
    int r = 0;
    for (uint64_t serial = 1; r == 0 && !atomic_load(&board->stop_writers); serial++) {
        fill(words, serial);
        r = shmc_publish(section, words, sizeof words);
        if (serial == 1)
            atomic_fetch_add(&board->ready, 1);
        atomic_fetch_add(&board->publishes, 1);
        usleep(PAUSE_US);
    }
    if (r < 0)
        fail(name, r, shmc_last_error(segment));
    shmc_detach(segment);
}

/* The writer lives throughout, so serials rise as versions do. */
static int check(const uint64_t *words, ssize_t length, const struct shmc_value *value,
                 uint64_t *version) {
    static uint64_t right[WORDS];
    fill(right, words[0]);
    bool ok = length == (ssize_t)sizeof right && memcmp(words, right, sizeof right) == 0 &&
              value->version >= *version;
    *version = value->version;
    return ok ? 0 : -EBADMSG;
}

/* Gets values of a section until the end, and counts them. */
static void look_at(int number, const char *what, int (*look)(shmc_section *, uint64_t *version),
                    atomic_ullong *looks) {
    uint64_t version = 0;
    shmc *segment = attach(NULL);
    shmc_section *section = segment == NULL ? NULL : open_load(segment, number);
    if (section == NULL)
        return;
    int r = 0;
    atomic_fetch_add(&board->ready, 1);
    while (r == 0 && !atomic_load(&board->stop)) {
        r = look(section, &version);
        atomic_fetch_add(looks, 1);
    }
    if (r < 0)
        fail(what, r, shmc_last_error(segment));
    shmc_detach(segment);
}

static int read_one(shmc_section *section, uint64_t *version) {
    static uint64_t words[WORDS];
    struct shmc_value value = {0};
    ssize_t n = shmc_read(section, words, sizeof words, &value);
    usleep(PAUSE_US);
    if (n == -ENODATA)
        return 0;
    return n < 0 ? (int)n : check(words, n, &value, version);
}

static int wait_for_one(shmc_section *section, uint64_t *version) {
    static uint64_t words[WORDS];
    struct shmc_value value = {0};
    ssize_t n = shmc_next(section, words, sizeof words, PATIENCE_MS, &value);
    return n < 0 ? (int)n : check(words, n, &value, version);
}

static void read_loads(int number) {
    look_at(number, "read", read_one, &board->reads);
}

static void wait_for_loads(int number) {
    look_at(number, "wait", wait_for_one, &board->waits);
}

/* Needs the manager each time, and has patience. */
static void come_and_go(int number) {
    (void)number;
    for (bool first = true; !atomic_load(&board->stop); first = false) {
        shmc *segment = attach("comer");
        shmc_section *section;
        if (segment == NULL)
            return;
        int r = shmc_open(&section, segment, "come", NULL);
        if (r == 0)
            r = shmc_publish(section, "here", 4);
        if (r < 0)
            fail("comer", r, shmc_last_error(segment));
        shmc_detach(segment);
        atomic_fetch_add(&board->attaches, 1);
        if (first)
            atomic_fetch_add(&board->ready, 1);
        usleep(5000);
    }
}

static pid_t spawn(void (*work)(int), int number) {
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGTERM, SIG_IGN); /* the parent says when */
        work(number);
        _exit(0);
    }
    if (child < 0)
        fail("fork", -errno, "");
    return child;
}

static void reap(const pid_t *children, int n) {
    for (int i = 0; i < n; i++) {
        int status = -1;
        if (waitpid(children[i], &status, 0) != children[i] || status != 0)
            fail("a child", -ECHILD, "it did not end by itself");
    }
}

static int run(void) {
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, NULL);
    pid_t writers[LOADS], others[LOADS + 1];
    for (int i = 0; i < LOADS; i++) {
        writers[i] = spawn(publish_loads, i + 1);
        others[i] = spawn(i % 2 == 0 ? read_loads : wait_for_loads, i + 1);
    }
    others[LOADS] = spawn(come_and_go, 0);
    while (atomic_load(&board->ready) < 2 * LOADS + 1 && atomic_load(&board->failures.n) == 0)
        poll(NULL, 0, 2);
    printf("ready %d\n", getpid());
    fflush(stdout);
    sigwaitinfo(&term, NULL);
    atomic_store(&board->stop, true);
    reap(others, LOADS + 1);
    atomic_store(&board->stop_writers, true);
    reap(writers, LOADS);
    printf("%llu publishes %llu reads %llu waits %llu attaches %llu failures\n",
           atomic_load(&board->publishes), atomic_load(&board->reads), atomic_load(&board->waits),
           atomic_load(&board->attaches), atomic_load(&board->failures.n));
    if (atomic_load(&board->failures.n) > 0)
        printf("the first failure: %s\n", board->failures.first);
    return atomic_load(&board->failures.n) > 0;
}

/* ---- what stays */

static int each_kept(const char *worker,
                     int (*visit)(shmc *, shmc_section *, const struct shmc_section_info *)) {
    struct shmc_section_info *sections;
    size_t n;
    shmc *segment = attach(worker);
    int r = segment == NULL ? -ENOENT : shmc_sections(segment, &sections, &n);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n && r == 0; i++) {
        shmc_section *section;
        if (strcmp(sections[i].owner, "kept") != 0)
            continue;
        r = shmc_open(&section, segment, sections[i].name, NULL);
        if (r == 0)
            r = visit(segment, section, &sections[i]);
        if (r < 0)
            fail(sections[i].name, r, shmc_last_error(segment));
    }
    free(sections);
    shmc_detach(segment);
    return r;
}

static int fill_one(shmc *segment, shmc_section *section, const struct shmc_section_info *info) {
    (void)segment;
    unsigned char *data = malloc(info->size);
    if (data == NULL)
        return -ENOMEM;
    for (uint64_t i = 0; i < info->size; i++)
        data[i] = (unsigned char)((i * 31 + info->section_id * 7) >> 2);
    int r = info->kind == SHMC_RAW ? (int)shmc_raw_write(section, 0, data, info->size)
                                   : shmc_publish(section, data, info->size);
    free(data);
    return r < 0 ? r : 0;
}

static int sum_one(shmc *segment, shmc_section *section, const struct shmc_section_info *info) {
    (void)segment;
    unsigned char *data = malloc(info->size);
    if (data == NULL)
        return -ENOMEM;
    ssize_t n = info->kind == SHMC_RAW ? shmc_raw_read(section, 0, data, info->size)
                                       : shmc_read(section, data, info->size, NULL);
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */
    for (ssize_t i = 0; i < n; i++)
        hash = (hash ^ data[i]) * UINT64_C(1099511628211);
    free(data);
    printf("%s at %llu incarnation %llu version %llu: %zd bytes %016llx\n", info->name,
           (unsigned long long)info->offset, (unsigned long long)info->incarnation,
           (unsigned long long)info->version, n, (unsigned long long)hash);
    return n < 0 ? (int)n : 0;
}

/* ---- a unit's program */

static int work_as(const char *name) {
    shmc *segment = attach(name);
    shmc_section *section;
    if (segment == NULL)
        return -ENOTCONN;
    int r = shmc_open(&section, segment, name, NULL);
    while (r == 0) {
        r = shmc_publish(section, name, strlen(name));
        usleep(50000);
    }
    fail(name, r, shmc_last_error(segment));
    return r;
}

int main(int argc, char **argv) {
    const char *verb = argc == 2 ? argv[1] : "";
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED)
        return 2;
    if (strcmp(verb, "run") == 0)
        return run();
    int r = -EINVAL;
    if (argc == 1)
        r = work_as(program_invocation_short_name);
    else if (strcmp(verb, "fill") == 0)
        r = each_kept("kept", fill_one);
    else if (strcmp(verb, "sums") == 0)
        r = each_kept(NULL, sum_one);
    else
        fprintf(stderr, "usage: box_load fill | sums | run\n");
    if (atomic_load(&board->failures.n) > 0)
        fprintf(stderr, "%s\n", board->failures.first);
    return r < 0;
}
