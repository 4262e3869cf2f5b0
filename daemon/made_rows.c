/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows of sections made at run time: beside people's, and against their worker's quota.
 */
#include "made_rows.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- beside people's */

size_t made_first(const struct table *table) {
    return table_first(table, SHM_SECTION_ID_MADE);
}

void made_strip(struct table *table) {
    table->sections_n = made_first(table);
}

static int by_name(const void *a, const void *b) {
    return strcasecmp(*(const char *const *)a, *(const char *const *)b);
}

static int refuse_name(const struct table_section *row, const char *name, char *error,
                       size_t error_bytes) {
    snprintf(error, error_bytes,
             "section '%s': worker '%s' made a section '%s' at run time, and the name is taken "
             "(shmtool drop %s, then shmtool reload; or UPDATE section SET name = 'other' WHERE "
             "name = '%s')",
             name, row->owner, row->name, row->name, name);
    return -EINVAL;
}

static int check_names(const struct table *table, const struct table_section *rows, size_t n,
                       char *error, size_t error_bytes) {
    const char **names = calloc(table->sections_n + 1, sizeof *names);
    int r = names == NULL ? -ENOMEM : 0;
    for (size_t i = 0; r == 0 && i < table->sections_n; i++)
        names[i] = table->sections[i].name;
    if (r == 0)
        qsort(names, table->sections_n, sizeof *names, by_name);
    for (size_t i = 0; r == 0 && i < n; i++) {
        const char *name = rows[i].name;
        const char *const *found = bsearch(&name, names, table->sections_n, sizeof *names, by_name);
        if (found != NULL)
            r = refuse_name(&rows[i], *found, error, error_bytes);
    }
    free(names);
    return r;
}

/* Would the table let the row have its owner?  With one instance that goes by the bare name. */
static bool has_owner(const struct table *table, const struct table_section *row) {
    const struct table_worker *worker = table_worker(table, row->owner);
    return worker != NULL && (strchr(row->owner, '#') != NULL) == (worker->instances > 1);
}

static int check_owners(const struct table *table, const struct table_section *rows, size_t n,
                        char *error, size_t error_bytes) {
    for (size_t i = 0; i < n; i++)
        if (!has_owner(table, &rows[i])) {
            snprintf(
                error, error_bytes,
                "worker '%s': it can't be removed, nor its instances, while it has sections "
                "that it made at run time, like '%s' (shmtool drop %s, then shmtool reload; or put "
                "the row back)",
                rows[i].owner, rows[i].name, rows[i].name);
            return -EINVAL;
        }
    return 0;
}

int made_merge(struct table *table, const struct table_section *rows, size_t n, char *error,
               size_t error_bytes) {
    made_strip(table);
    if (n == 0)
        return 0;
    int r = check_owners(table, rows, n, error, error_bytes);
    if (r == 0)
        r = check_names(table, rows, n, error, error_bytes);
    if (r < 0)
        return r;
    void *grown = reallocarray(table->sections, table->sections_n + n, sizeof *rows);
    if (grown == NULL)
        return -ENOMEM;
    table->sections = grown;
    memcpy(&table->sections[table->sections_n], rows, n * sizeof *rows);
    table->sections_n += n;
    return 0;
}

int made_append(struct table *table, const struct table_section *row) {
    void *grown = reallocarray(table->sections, table->sections_n + 1, sizeof *row);
    if (grown == NULL)
        return -ENOMEM;
    table->sections = grown;
    table->sections[table->sections_n++] = *row;
    return 0;
}

void made_remove(struct table *table, size_t index) {
    memmove(&table->sections[index], &table->sections[index + 1],
            (table->sections_n - index - 1) * sizeof *table->sections);
    table->sections_n--;
}

/* ---- from what runs */

static struct table_section row_of(const struct shm_section *section) {
    const uint32_t flags = section->flags;
    struct table_section row = {
        .id = section->section_id,
        .kind = (enum shm_kind)section->kind,
        .size = section->size,
        .count = section->count,
        .read_class = section->read_class,
        .write_class = section->write_class,
        .shared = (flags & SHM_SECTION_SHARED) != 0,
        .pregrab = (flags & SHM_SECTION_PREGRAB) != 0,
        .clear = (flags & SHM_SECTION_CLEAR) != 0           ? TABLE_CLEAR_FREE
                 : (flags & SHM_SECTION_CLEAR_RESTART) != 0 ? TABLE_CLEAR_RESTART
                                                            : TABLE_CLEAR_NEVER,
        .persist = (flags & SHM_SECTION_PERSIST) != 0,
        .transient = (flags & SHM_SECTION_TRANSIENT) != 0,
        .stale_ms = section->stale_ms,
        .stamp = (flags & SHM_SECTION_STAMP_NONE) != 0     ? TABLE_STAMP_NONE
                 : (flags & SHM_SECTION_STAMP_COARSE) != 0 ? TABLE_STAMP_COARSE
                                                           : TABLE_STAMP_PRECISE,
        .notify = (flags & SHM_SECTION_NOTIFY_NEVER) != 0    ? TABLE_NOTIFY_NEVER
                  : (flags & SHM_SECTION_NOTIFY_ALWAYS) != 0 ? TABLE_NOTIFY_ALWAYS
                                                             : TABLE_NOTIFY_DEMAND};
    memcpy(row.name, section->name, sizeof row.name);
    memcpy(row.owner, section->owner, sizeof row.owner);
    memcpy(row.format, section->format, sizeof row.format);
    if (section->read_class != 0)
        snprintf(row.read_group, sizeof row.read_group, "%u", section->read_class - 1);
    if (section->write_class != 0)
        snprintf(row.write_group, sizeof row.write_group, "%u", section->write_class - 1);
    return row;
}

static int by_id(const void *a, const void *b) {
    const struct table_section *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

int made_of_layout(const struct layout *layout, struct table_section **rows, size_t *n) {
    struct table_section *all = calloc(layout->sections_used + 1, sizeof *all);
    size_t found = 0;
    if (all == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < layout->sections_used; i++) {
        const struct shm_section *section = &layout->sections[i];
        if (layout_place_in_force(section->state) && made_is(section->section_id))
            all[found++] = row_of(section);
    }
    qsort(all, found, sizeof *all, by_id);
    *rows = all;
    *n = found;
    return 0;
}

int made_keep(struct table *table, const struct layout *layout, char *error, size_t error_bytes) {
    struct table_section *rows;
    size_t n;
    int r = made_of_layout(layout, &rows, &n);
    if (r < 0)
        return r;
    r = made_merge(table, rows, n, error, error_bytes);
    free(rows);
    return r;
}

/* ---- one that is asked for */

static int wrong(char *error, size_t error_bytes, const char *name, const char *what) {
    snprintf(error, error_bytes, "section '%s': %s", name, what);
    return -EINVAL;
}

static bool printable(const char *text) {
    while (*text >= ' ' && *text <= '~')
        text++;
    return *text == '\0';
}

static bool group_ok(const char *text) {
    return text[strspn(
               text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")] == '\0';
}

static int check_access(const struct table *table, const struct table_section *row, char *error,
                        size_t error_bytes) {
    if (row->read_group[0] != '\0' && table->backend == SHM_BACKEND_SYSV)
        return wrong(error, error_bytes, row->name,
                     "options.read_group is set, which backend sysv can't enforce: leave it NULL");
    if (!group_ok(row->read_group))
        return wrong(error, error_bytes, row->name,
                     "options.read_group is neither a group's name nor a number");
    if (!group_ok(row->write_group))
        return wrong(error, error_bytes, row->name,
                     "options.write_group is neither a group's name nor a number");
    if (row->write_group[0] != '\0' && !layout_of_many(row->kind, row->shared))
        return wrong(error, error_bytes, row->name,
                     "options.write_group is for slots, queues and shared raw");
    return 0;
}

static int check_count(const struct table_section *row, char *error, size_t error_bytes) {
    static const char *const says[] = {
        [SHM_KIND_RAW] = "a raw section has no options.count",
        [SHM_KIND_SNAPSHOT] = "options.count must be 2 to 256 buffers, or 0 for 4",
        [SHM_KIND_SLOTS] = "options.count must be 1 to 65536 slots, or 0 for 16",
        [SHM_KIND_QUEUE] = "options.count must be 1 to 16383 lanes, or 0 for 8"};
    return table_count_ok(row->kind, row->count)
               ? 0
               : wrong(error, error_bytes, row->name, says[row->kind]);
}

/* What one kind has, and another hasn't. */
static int check_kind(const struct table_section *row, char *error, size_t error_bytes) {
    const bool slots = row->kind == SHM_KIND_SLOTS, queue = row->kind == SHM_KIND_QUEUE;
    if (row->shared && row->kind != SHM_KIND_RAW && !slots)
        return wrong(error, error_bytes, row->name, "SHMC_CREATE_SHARED is for raw and slots");
    if (!slots && (row->pregrab || row->clear != TABLE_CLEAR_NEVER))
        return wrong(error, error_bytes, row->name,
                     "SHMC_CREATE_PREGRAB, _CLEAR and _CLEAR_RESTART are for slots");
    if (queue && row->persist)
        return wrong(error, error_bytes, row->name,
                     "SHMC_CREATE_PERSIST is for values, and a queue's messages would come twice");
    if (row->stale_ms > 0 && (queue || row->kind == SHM_KIND_RAW || row->stamp == TABLE_STAMP_NONE))
        return wrong(error, error_bytes, row->name,
                     "options.stale_ms needs times to tell by, which a raw section, a queue and "
                     "stamp 'none' don't have");
    return 0;
}

int made_check(const struct table *table, const struct table_section *row, char *error,
               size_t error_bytes) {
    if (!table_name_ok(row->name, false))
        return wrong(error, error_bytes, "?",
                     "its name must be 1 to 63 of letters, digits, _ . and -, a letter first");
    if (table_word(TABLE_KINDS, row->kind) == NULL)
        return wrong(error, error_bytes, row->name, "options.kind takes an enum shmc_kind");
    if (row->size == 0)
        return wrong(error, error_bytes, row->name, "options.bytes is 0; it must be 1 at least");
    int r = check_count(row, error, error_bytes);
    if (r < 0)
        return r;
    if (!printable(row->format))
        return wrong(error, error_bytes, row->name,
                     "options.format must be at most 63 printable ASCII characters");
    if (table_word(TABLE_STAMPS, row->stamp) == NULL ||
        table_word(TABLE_NOTIFIES, row->notify) == NULL)
        return wrong(error, error_bytes, row->name,
                     "options.stamp takes an enum shmc_stamp, options.notify an enum shmc_notify");
    if (row->stale_ms > TABLE_STALE_MS_MAX)
        return wrong(error, error_bytes, row->name, "options.stale_ms is more than a year");
    r = check_kind(row, error, error_bytes);
    return r < 0 ? r : check_access(table, row, error, error_bytes);
}

bool made_same(const struct table_section *a, const struct table_section *b) {
    return strcmp(a->name, b->name) == 0 && strcmp(a->owner, b->owner) == 0 &&
           strcmp(a->format, b->format) == 0 && strcmp(a->read_group, b->read_group) == 0 &&
           a->kind == b->kind && a->size == b->size && a->count == b->count &&
           a->persist == b->persist && a->transient == b->transient && a->stale_ms == b->stale_ms &&
           a->stamp == b->stamp && a->notify == b->notify && a->shared == b->shared &&
           a->pregrab == b->pregrab && a->clear == b->clear &&
           strcmp(a->write_group, b->write_group) == 0;
}

/* ---- quota */

uint64_t made_charge(const struct table_section *row) {
    const uint64_t bytes = layout_section_bytes(row->kind, row->size, row->count, row->shared);
    return bytes == 0 || bytes > UINT64_MAX - SHM_PAGE ? UINT64_MAX : layout_round(bytes, SHM_PAGE);
}

uint64_t made_used(const struct table *table, const struct table_worker *worker) {
    const size_t length = strlen(worker->name);
    uint64_t used = 0;
    for (size_t i = made_first(table); i < table->sections_n; i++) {
        const char *owner = table->sections[i].owner;
        if (strncmp(owner, worker->name, length) == 0 &&
            (owner[length] == '\0' || owner[length] == '#') &&
            __builtin_add_overflow(used, made_charge(&table->sections[i]), &used))
            return UINT64_MAX;
    }
    return used;
}

int made_allow(const struct table *table, const struct table_worker *worker,
               const struct table_section *row, char *error, size_t error_bytes) {
    const uint64_t charge = made_charge(row), used = made_used(table, worker);
    if (worker->may_create == 0) {
        snprintf(error, error_bytes,
                 "section '%s': worker '%s' may make none, as its may_create is 0 (UPDATE worker "
                 "SET may_create = 1048576 WHERE name = '%s')",
                 row->name, worker->name, worker->name);
        return -EACCES;
    }
    if (used <= worker->may_create && charge <= worker->may_create - used)
        return 0;
    char needs[32] = "more bytes than there can be";
    if (charge != UINT64_MAX)
        snprintf(needs, sizeof needs, "%llu bytes", (unsigned long long)charge);
    snprintf(error, error_bytes,
             "section '%s': it takes %s, and worker '%s' has used %llu of the %llu that it may "
             "(shmc_drop() others, or UPDATE worker SET may_create = ... WHERE name = '%s')",
             row->name, needs, worker->name, (unsigned long long)used,
             (unsigned long long)worker->may_create, worker->name);
    return -EDQUOT;
}
