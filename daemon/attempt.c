/* SPDX-License-Identifier: Apache-2.0
 *
 * The file RUNTIME-DIR/KEY.attempt: the generation that ran, how often this table has ended a
 * manager, and the sum of its rows.
 */
#include "attempt.h"
#include "core/crc32c.h"
#include "manager.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TRIES 3u

struct note {
    unsigned long long generation;
    unsigned tries;
    uint32_t table;
};

static bool path_of(const struct manager *m, char ret[PATH_MAX]) {
    return snprintf(ret, PATH_MAX, "%s/%08x.attempt", m->config.runtime_dir, m->key) < PATH_MAX;
}

static uint32_t add_text(uint32_t sum, const char *text) {
    return crc32c_more(sum, text, strlen(text) + 1);
}

static uint32_t add_number(uint32_t sum, uint64_t number) {
    return crc32c_more(sum, &number, sizeof number);
}

static uint32_t add_worker(uint32_t sum, const struct table_worker *worker) {
    sum = add_text(add_text(sum, worker->name), worker->user);
    return add_number(add_number(sum, worker->instances), worker->may_create);
}

static uint32_t add_section(uint32_t sum, const struct table_section *s) {
    const char *const texts[] = {s->name, s->owner, s->format, s->read_group, s->write_group};
    const uint64_t numbers[] = {s->id,     s->kind,    s->size,    s->count,    s->pinned,
                                s->offset, s->shared,  s->persist, s->stale_ms, s->stamp,
                                s->notify, s->pregrab, s->clear};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        sum = add_text(sum, texts[i]);
    return crc32c_more(sum, numbers, sizeof numbers);
}

/* By its rows: the file changes when an editor ends. */
static uint32_t sum_of(const struct table *table) {
    const uint64_t numbers[] = {table->key,  table->size,        table->backend,
                                table->mode, table->lock_memory, table->auto_apply};
    uint32_t sum = add_text(crc32c(numbers, sizeof numbers), table->group_name);
    for (size_t i = 0; i < table->workers_n; i++)
        sum = add_worker(sum, &table->workers[i]);
    for (size_t i = 0; i < table->sections_n; i++)
        sum = add_section(sum, &table->sections[i]);
    return sum;
}

static bool find(const struct manager *m, struct note *ret) {
    char path[PATH_MAX];
    FILE *file = path_of(m, path) ? fopen(path, "re") : NULL;
    bool found = file != NULL &&
                 fscanf(file, "%llu %u %" SCNx32, &ret->generation, &ret->tries, &ret->table) == 3;
    if (file != NULL)
        fclose(file);
    return found;
}

/* Whoever can't write there is killed once more by that table, and no worse. */
void attempt_begin(struct manager *m, enum attempt attempt, const struct table *table) {
    char path[PATH_MAX], text[64];
    struct note before;
    const uint32_t sum = sum_of(table);
    unsigned tries = attempt == ATTEMPT_RUNNING ? TRIES : 1;
    if (attempt == ATTEMPT_START && find(m, &before) && before.table == sum)
        tries = before.tries + 1;
    int n = snprintf(text, sizeof text, "%llu %u %" PRIx32 "\n",
                     (unsigned long long)m->layout.generation, tries, sum);
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
int attempt_check(struct manager *m, const struct table *table) {
    struct note note;
    if (!find(m, &note) || note.tries < TRIES || note.generation != m->layout.generation ||
        note.table != sum_of(table))
        return 0;
    m->verdict.outcome = VERDICT_REJECTED;
    snprintf(m->verdict.error, sizeof m->verdict.error,
             "the manager ended while it applied %.300s as it is now, which is not tried again: "
             "change it, or have it tried by shmtool reload",
             m->config.table);
    return -EINVAL;
}
