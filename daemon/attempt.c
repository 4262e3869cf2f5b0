/* SPDX-License-Identifier: Apache-2.0
 *
 * The file RUNTIME-DIR/KEY.attempt: the generation that ran, how often this table has ended a
 * manager, and which table it is, by the files that it stands in.
 */
#include "attempt.h"
#include "manager.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRIES 3u

struct note {
    unsigned long long generation;
    unsigned tries;
    char table[256];
};

static bool path_of(const struct manager *m, char ret[PATH_MAX]) {
    return snprintf(ret, PATH_MAX, "%s/%08x.attempt", m->config.runtime_dir, m->key) < PATH_MAX;
}

static int file_text(const char *path, const char *suffix, char *text, size_t bytes) {
    char name[PATH_MAX + 8];
    struct stat s = {0};
    snprintf(name, sizeof name, "%s%s", path, suffix);
    if (stat(name, &s) < 0)
        s = (struct stat){0};
    return snprintf(text, bytes, "%llx:%llx:%llx:%llx.%lx", (unsigned long long)s.st_dev,
                    (unsigned long long)s.st_ino, (unsigned long long)s.st_size,
                    (unsigned long long)s.st_mtim.tv_sec, (unsigned long)s.st_mtim.tv_nsec);
}

/* What changes with every commit: the log's size or time, else the file's. */
static void table_text(const struct manager *m, char text[256]) {
    int n = file_text(m->config.table, "", text, 120);
    text[n++] = '/';
    file_text(m->config.table, "-wal", text + n, 120);
}

static bool find(const struct manager *m, struct note *ret) {
    char path[PATH_MAX];
    FILE *file = path_of(m, path) ? fopen(path, "re") : NULL;
    bool found = file != NULL &&
                 fscanf(file, "%llu %u %255s", &ret->generation, &ret->tries, ret->table) == 3;
    if (file != NULL)
        fclose(file);
    return found;
}

/* Whoever can't write there is killed once more by that table, and no worse. */
void attempt_begin(struct manager *m, enum attempt attempt) {
    char path[PATH_MAX], text[512];
    struct note note, before;
    table_text(m, note.table);
    note.tries = attempt == ATTEMPT_RUNNING ? TRIES : 1;
    if (attempt == ATTEMPT_START && find(m, &before) && strcmp(before.table, note.table) == 0)
        note.tries = before.tries + 1;
    int n = snprintf(text, sizeof text, "%llu %u %s\n", (unsigned long long)m->layout.generation,
                     note.tries, note.table);
    int fd = path_of(m, path) ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
    if (fd < 0)
        return;
    if (write(fd, text, (size_t)n) != n)
        unlink(path);
    close(fd);
}

void attempt_end(struct manager *m) {
    char path[PATH_MAX];
    if (path_of(m, path))
        unlink(path);
}

/* Where another generation runs, that table was published, and the end came behind it. */
int attempt_check(struct manager *m) {
    char table[256];
    struct note note;
    table_text(m, table);
    if (!find(m, &note) || note.tries < TRIES || strcmp(note.table, table) != 0 ||
        note.generation != m->layout.generation)
        return 0;
    m->verdict.outcome = VERDICT_REJECTED;
    snprintf(m->verdict.error, sizeof m->verdict.error,
             "the manager ended while it applied %.300s as it is now, which is not tried again: "
             "change it, or have it tried by shmtool reload",
             m->config.table);
    return -EINVAL;
}
