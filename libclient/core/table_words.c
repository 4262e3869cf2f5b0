/* SPDX-License-Identifier: Apache-2.0
 *
 * The words of the columns that have a few of them, and what a column is that says nothing.
 */
#include "table.h"

#include <errno.h>
#include <string.h>

static const char *const kinds[] = {NULL, "raw", "snapshot", "slots", "queue"};
static const char *const backends[] = {NULL, "sysv", "memfd"};
static const char *const stamps[] = {"precise", "coarse", "none"};
static const char *const notifies[] = {"demand", "always", "never"};
static const char *const clears[] = {"never", "free", "restart"};

static const struct {
    const char *const *words;
    unsigned n;
} columns[] = {
    [TABLE_KINDS] = {kinds, sizeof kinds / sizeof *kinds},
    [TABLE_BACKENDS] = {backends, sizeof backends / sizeof *backends},
    [TABLE_STAMPS] = {stamps, sizeof stamps / sizeof *stamps},
    [TABLE_NOTIFIES] = {notifies, sizeof notifies / sizeof *notifies},
    [TABLE_CLEARS] = {clears, sizeof clears / sizeof *clears},
};

const char *table_word(enum table_words words, unsigned value) {
    return value < columns[words].n ? columns[words].words[value] : NULL;
}

int table_value(enum table_words words, const char *word) {
    for (unsigned i = 0; i < columns[words].n; i++)
        if (columns[words].words[i] != NULL && strcmp(columns[words].words[i], word) == 0)
            return (int)i;
    return -EINVAL;
}

uint32_t table_count(enum shm_kind kind) {
    static const uint32_t counts[] = {
        [SHM_KIND_SNAPSHOT] = 4, [SHM_KIND_SLOTS] = 16, [SHM_KIND_QUEUE] = 8};
    return kind < sizeof counts / sizeof *counts ? counts[kind] : 0;
}

bool table_count_ok(enum shm_kind kind, uint32_t count) {
    switch (kind) {
    case SHM_KIND_SNAPSHOT:
        return count >= SHM_COUNT_MIN && count <= SHM_COUNT_MAX;
    case SHM_KIND_SLOTS:
        return count >= 1 && count <= TABLE_SLOTS_MAX;
    case SHM_KIND_QUEUE:
        return count >= 1 && count <= SHM_ATTACHMENTS_MAX;
    default:
        return count == 0;
    }
}
