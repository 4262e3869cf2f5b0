/* SPDX-License-Identifier: Apache-2.0
 *
 * Counting system calls in a log of strace's, and what can go wrong with each.
 */
#include "faults.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_MAX 200

struct count {
    char call[32];
    unsigned n;
};

/* What a call of that name can fail with; those that can't fail are only killed at. */
static const struct {
    const char *call, *errors[3];
} kinds[] = {
    {"openat", {"EIO", "EMFILE", "ENOSPC"}},
    {"open", {"EIO", "EMFILE", "ENOSPC"}},
    {"read", {"EIO"}},
    {"pread64", {"EIO"}},
    {"getdents64", {"EIO"}},
    {"write", {"ENOSPC", "EIO"}},
    {"pwrite64", {"ENOSPC", "EIO"}},
    {"fsync", {"EIO", "ENOSPC"}},
    {"fdatasync", {"EIO", "ENOSPC"}},
    {"ftruncate", {"EIO", "ENOSPC"}},
    {"fallocate", {"ENOSPC"}},
    {"mkdir", {"ENOSPC", "EIO"}},
    {"link", {"ENOSPC", "EIO"}},
    {"rename", {"ENOSPC", "EIO"}},
    {"unlink", {"EIO"}},
    {"unlinkat", {"EIO"}},
    {"bind", {"ENOSPC", "ENOMEM"}},
    {"shmget", {"ENOMEM", "ENOSPC"}},
    {"semget", {"ENOMEM", "ENOSPC"}},
    {"fcntl", {"EIO", "ENOLCK"}},
    {"stat", {"EIO"}},
    {"newfstatat", {"EIO"}},
    {"fstat", {"EIO"}},
    {"brk", {NULL}},   /* the kernel reports no error by it, but the old break */
    {"futex", {NULL}}, /* glibc ends a process for errors that the kernel doesn't give */
    {"rt_sigprocmask", {NULL}},
    {"rt_sigaction", {NULL}},
    {"getpid", {NULL}},
    {"gettid", {NULL}},
    {"getuid", {NULL}},
    {"geteuid", {NULL}},
    {"getegid", {NULL}},
    {"exit_group", {NULL}},
    {"restart_syscall", {NULL}},
    {"rt_sigreturn", {NULL}},
    {"munmap", {NULL}},
};
static const char *const otherwise[3] = {"ENOMEM"};

static size_t count_calls(const char *path, struct count *counts) {
    char line[4096];
    size_t n = 0;
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        size_t length = strcspn(line, "(");
        if (line[length] != '(' || length == 0 || length >= sizeof counts->call || line[0] < 'a')
            continue;
        line[length] = '\0';
        size_t i = 0;
        while (i < n && strcmp(counts[i].call, line) != 0)
            i++;
        if (i == NAMES_MAX)
            continue;
        if (i == n) {
            counts[n] = (struct count){.n = 0};
            memcpy(counts[n++].call, line, length + 1);
        }
        counts[i].n++;
    }
    if (file != NULL)
        fclose(file);
    return n;
}

/* Giving a lock back never fails, and SQLite would rightly keep it. */
#define LOCKS_MAX 4096
static bool unlocks[LOCKS_MAX];

static void find_unlocks(const char *path) {
    char line[4096];
    unsigned n = 0;
    FILE *file = fopen(path, "r");
    while (file != NULL && n < LOCKS_MAX - 1 && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "fcntl(", 6) == 0)
            unlocks[++n] = strstr(line, "F_UNLCK") != NULL;
    if (file != NULL)
        fclose(file);
}

static bool can_fail(const char *call, unsigned when) {
    return strcmp(call, "fcntl") != 0 || when >= LOCKS_MAX || !unlocks[when];
}

static const char *const *errors_of(const char *call) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].call, call) == 0)
            return kinds[i].errors;
    return otherwise;
}

static struct point *add(struct point *points, size_t *n, const char *call, unsigned when,
                         const char *kind, const char *value) {
    struct point *grown = reallocarray(points, *n + 1, sizeof *points);
    if (grown == NULL)
        abort();
    struct point *p = &grown[(*n)++];
    *p = (struct point){.when = when};
    snprintf(p->call, sizeof p->call, "%.31s", call);
    snprintf(p->action, sizeof p->action, "%s=%s", kind, value);
    return grown;
}

struct point *points_list(const char *log, const char *before, size_t *n) {
    static struct count all[NAMES_MAX], early[NAMES_MAX];
    size_t calls = count_calls(log, all), early_calls = count_calls(before, early);
    struct point *points = NULL;
    *n = 0;
    find_unlocks(log);
    for (size_t i = 0; i < calls; i++) {
        unsigned first = 0;
        for (size_t j = 0; j < early_calls; j++)
            if (strcmp(early[j].call, all[i].call) == 0)
                first = early[j].n;
        const char *const *errors = errors_of(all[i].call);
        for (unsigned when = first + 1; when <= all[i].n; when++) {
            points = add(points, n, all[i].call, when, "signal", "KILL");
            for (int e = 0; e < 3 && errors[e] != NULL && can_fail(all[i].call, when); e++)
                points = add(points, n, all[i].call, when, "error", errors[e]);
        }
    }
    return points;
}

struct point *points_allocations(const char *count_file, size_t *n) {
    struct point *points = NULL;
    unsigned all = 0;
    FILE *file = fopen(count_file, "r");
    if (file == NULL || fscanf(file, "%u", &all) != 1)
        all = 0;
    if (file != NULL)
        fclose(file);
    *n = 0;
    for (unsigned when = 1; when <= all; when++) {
        points = add(points, n, "malloc", when, "fails", "once");
        points = add(points, n, "malloc", when, "fails", "on");
    }
    return points;
}
