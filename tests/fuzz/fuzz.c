/* SPDX-License-Identifier: Apache-2.0
 *
 * Input, damage, and a directory.
 */
#include "fuzz.h"
#include "core/shared.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the input */

uint64_t take(struct input *input, unsigned bytes) {
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes && input->at < input->end; i++)
        value |= (uint64_t)*input->at++ << 8 * i;
    return value;
}

uint32_t take_below(struct input *input, uint32_t limit) {
    return (uint32_t)take(input, limit <= 256 ? 1 : limit <= 65536 ? 2 : 4) % limit;
}

size_t take_bytes(struct input *input, void *to, size_t most) {
    size_t left = (size_t)(input->end - input->at), n = most < left ? most : left;
    if (n > 0)
        memcpy(to, input->at, n);
    input->at += n;
    return n;
}

uint64_t take_number(struct input *input, uint64_t about) {
    static const uint64_t edges[] = {0,          1,          63,       64,         4095,
                                     4096,       INT32_MAX,  1u << 31, UINT32_MAX, UINT32_MAX - 1,
                                     INT64_MAX,  UINT64_MAX, 1u << 20, 1u << 16,   UINT64_MAX - 63,
                                     1ull << 55, 1ull << 46};
    uint32_t kind = take_below(input, 8);
    switch (kind) {
    case 0:
    case 1:
        return edges[take_below(input, sizeof edges / sizeof *edges)];
    case 2:
        return about + take(input, 1);
    case 3:
        return about - take(input, 1);
    case 4:
        return about ^ UINT64_C(1) << take_below(input, 64);
    case 5:
        return take(input, 8);
    default:
        return take(input, kind == 6 ? 1 : 3);
    }
}

/* ---- damage */

#define CHANGES_MAX 24

struct change {
    unsigned when; /* before which access */
    size_t offset;
    unsigned bytes;
    uint64_t value;
};

sigjmp_buf damage_jump;
static struct {
    const struct victim *victim;
    struct change changes[CHANGES_MAX];
    unsigned n, next, accesses, limit;
    bool within; /* `fix` makes accesses of its own */
} run;

static void make_change(const struct change *c) {
    memcpy(run.victim->memory + c->offset, &c->value, c->bytes);
    if (run.victim->fixes && run.victim->fix != NULL) {
        run.within = true;
        run.victim->fix();
        run.within = false;
    }
}

static struct change take_change(struct input *input, unsigned when) {
    const struct target *t =
        &run.victim->targets[take_below(input, (uint32_t)run.victim->targets_n)];
    struct change c = {.when = when, .bytes = 1u << take_below(input, 4)};
    if (c.bytes > t->bytes)
        c.bytes = 1;
    size_t at = take(input, 2) % t->bytes / c.bytes * c.bytes;
    if (at + c.bytes > t->bytes)
        at = t->bytes - c.bytes;
    c.offset = t->offset + at;
    uint64_t now = 0;
    memcpy(&now, run.victim->memory + c.offset, c.bytes);
    c.value = take_number(input, now);
    return c;
}

void damage_begin(const struct victim *victim, struct input *input) {
    run.victim = victim;
    run.n = run.next = run.accesses = run.limit = 0;
    unsigned at_once = take_below(input, 8), later = take_below(input, 8), when = 0;
    for (unsigned i = 0; i < at_once; i++) {
        struct change c = take_change(input, 0);
        make_change(&c);
    }
    for (unsigned i = 0; i < later; i++) {
        when += 1 + take_below(input, 200);
        run.changes[run.n++] = take_change(input, when);
    }
}

void damage_end(void) {
    for (size_t i = 0; i < run.victim->targets_n; i++) {
        const struct target *t = &run.victim->targets[i];
        memcpy(run.victim->memory + t->offset, run.victim->right + t->offset, t->bytes);
    }
    run.n = run.next = run.limit = 0;
}

void damage_limit(unsigned accesses) {
    run.accesses = 0;
    run.limit = accesses;
}

void shared_hook(enum shared_access access, const volatile void *address, size_t bytes) {
    (void)access;
    (void)address;
    (void)bytes;
    if (run.within)
        return;
    run.accesses++;
    while (run.next < run.n && run.accesses >= run.changes[run.next].when)
        make_change(&run.changes[run.next++]);
    if (run.limit > 0 && run.accesses > run.limit)
        siglongjmp(damage_jump, 1);
}

/* ---- texts and files */

bool one_line(const char *text) {
    for (; *text != '\0'; text++)
        if (*text < ' ' || *text > '~')
            return false;
    return true;
}

static char directory[PATH_MAX];
static pid_t maker;

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *where) {
    (void)stat;
    (void)type;
    (void)where;
    return remove(path);
}

static void remove_directory(void) {
    if (getpid() == maker)
        nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *fuzz_directory(void) {
    if (maker != 0)
        return directory;
    const char *base = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%s/shm-fuzz-XXXXXX", base == NULL ? "/tmp" : base);
    MUST(mkdtemp(directory) != NULL);
    maker = getpid();
    atexit(remove_directory);
    return directory;
}

void fuzz_write(const char *path, const void *data, size_t bytes) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    MUST(fd >= 0 && write(fd, data, bytes) == (ssize_t)bytes);
    close(fd);
}

size_t fuzz_read(const char *path, void *data, size_t most) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, data, most);
    MUST(n >= 0);
    close(fd);
    return (size_t)n;
}
