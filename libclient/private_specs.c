/* SPDX-License-Identifier: Apache-2.0
 *
 * What a segment without a manager shall have: read, checked, and told in the caller's terms before
 * the planner would tell it in the table's.
 */
#include "private.h"

#include "core/layout.h"
#include "core/writers.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_OWNER   "master"
#define DEFAULT_BUFFERS 4u
#define BYTES_MAX       (UINT64_C(1) << 44)

static bool is_reserved(const char *name) {
    return strncmp(name, "old.", 4) == 0 || strncmp(name, "new.", 4) == 0;
}

static int check_names(const shmc_private *memory, const struct shmc_private_spec *spec, size_t i) {
    struct error *error = (struct error *)(uintptr_t)&memory->error;
    if (spec->name == NULL || !table_name_ok(spec->name, false) || is_reserved(spec->name))
        return error_set(error, -EINVAL,
                         "spec %zu: its name is '%.80s'; it takes 1 to %d letters, digits, _ . or "
                         "-, a letter first, and not \"old.\" or \"new.\" at the beginning",
                         i, spec->name == NULL ? "" : spec->name, SHMC_NAME_BYTES - 1);
    if (spec->owner != NULL && !table_name_ok(spec->owner, true))
        return error_set(error, -EINVAL,
                         "spec '%s': its owner is '%.80s'; a worker's name has 1 to %d letters, "
                         "digits, _ . or -, a letter first",
                         spec->name, spec->owner, SHMC_NAME_BYTES - 1);
    if (spec->instances > TABLE_INSTANCES_MAX)
        return error_set(error, -EINVAL, "spec '%s': instances is %u; it must be at most %u",
                         spec->name, spec->instances, TABLE_INSTANCES_MAX);
    if (spec->format != NULL && strlen(spec->format) >= SHMC_NAME_BYTES)
        return error_set(error, -EINVAL, "spec '%s': its format has more than %d bytes", spec->name,
                         SHMC_NAME_BYTES - 1);
    return 0;
}

static int check_extent(const shmc_private *memory, const struct shmc_private_spec *spec) {
    struct error *error = (struct error *)(uintptr_t)&memory->error;
    const bool items = spec->kind == SHMC_SLOTS || spec->kind == SHMC_QUEUE;
    if ((unsigned)spec->kind > SHMC_QUEUE)
        return error_set(error, -EINVAL, "spec '%s': kind is %u; it takes an enum shmc_kind",
                         spec->name, (unsigned)spec->kind);
    if (spec->bytes == 0)
        return error_set(error, -EINVAL, "spec '%s': bytes is 0; it must be 1 at least",
                         spec->name);
    if (spec->bytes > BYTES_MAX)
        return error_set(error, -EINVAL, "spec '%s': bytes is %llu; it must be at most %llu",
                         spec->name, (unsigned long long)spec->bytes,
                         (unsigned long long)BYTES_MAX);
    if (items && spec->count == 0)
        return error_set(error, -EINVAL, "spec '%s': count is 0; it says how many %s there are",
                         spec->name, spec->kind == SHMC_SLOTS ? "slots" : "lanes");
    if ((spec->kind == 0 || spec->kind == SHMC_SNAPSHOT) && spec->count != 0 &&
        (spec->count < SHM_COUNT_MIN || spec->count > SHM_COUNT_MAX))
        return error_set(error, -EINVAL,
                         "spec '%s': count is %u; a snapshot has %u to %u buffers, or 0 for %u",
                         spec->name, spec->count, SHM_COUNT_MIN, SHM_COUNT_MAX, DEFAULT_BUFFERS);
    if (spec->kind == SHMC_RAW && spec->count != 0)
        return error_set(error, -EINVAL, "spec '%s': count is %u; a raw section has none, 0",
                         spec->name, spec->count);
    const uint32_t known = spec->kind == SHMC_SLOTS
                               ? SHMC_PRIVATE_SHARED | SHMC_PRIVATE_PREGRAB | SHMC_PRIVATE_CLEAR
                           : spec->kind == SHMC_RAW ? SHMC_PRIVATE_SHARED
                                                    : 0;
    if ((spec->flags & ~known) != 0)
        return error_set(error, -EINVAL,
                         "spec '%s': flags is 0x%x; there is SHMC_PRIVATE_SHARED, for raw and "
                         "slots, and SHMC_PRIVATE_PREGRAB and _CLEAR, for slots",
                         spec->name, spec->flags);
    return 0;
}

static uint64_t bytes_of(const struct table_section *row) {
    return layout_section_bytes(row->kind, row->size, row->count, row->shared);
}

void private_row_of(const struct shm_section *section, struct table_section *ret) {
    *ret = (struct table_section){
        .id = section->section_id,
        .kind = (enum shm_kind)section->kind,
        .size = section->size,
        .count = section->count,
        .shared = (section->flags & SHM_SECTION_SHARED) != 0,
        .pregrab = (section->flags & SHM_SECTION_PREGRAB) != 0,
        .clear = (section->flags & SHM_SECTION_CLEAR) != 0 ? TABLE_CLEAR_FREE : TABLE_CLEAR_NEVER};
    memcpy(ret->name, section->name, sizeof ret->name);
    memcpy(ret->owner, section->owner, sizeof ret->owner);
    memcpy(ret->format, section->format, sizeof ret->format);
}

static bool is_same(const struct table_section *row, const struct shm_section *section) {
    struct table_section now;
    private_row_of(section, &now);
    return now.kind == row->kind && now.size == row->size && now.count == row->count &&
           now.shared == row->shared && now.pregrab == row->pregrab && now.clear == row->clear &&
           strcmp(now.owner, row->owner) == 0;
}

static void fill(const shmc_private *memory, const struct shmc_private_spec *spec,
                 struct private_row *ret) {
    struct table_section *row = &ret->row;
    strcpy(row->name, spec->name); /* lengths were checked */
    strcpy(row->owner, spec->owner == NULL ? DEFAULT_OWNER : spec->owner);
    if (spec->format != NULL)
        strcpy(row->format, spec->format);
    row->kind = spec->kind == 0 ? SHM_KIND_SNAPSHOT : (enum shm_kind)spec->kind;
    row->size = spec->bytes;
    row->count = row->kind == SHM_KIND_SNAPSHOT && spec->count == 0 ? DEFAULT_BUFFERS : spec->count;
    row->shared = (spec->flags & SHMC_PRIVATE_SHARED) != 0;
    row->pregrab = (spec->flags & SHMC_PRIVATE_PREGRAB) != 0;
    row->clear = (spec->flags & SHMC_PRIVATE_CLEAR) != 0 ? TABLE_CLEAR_FREE : TABLE_CLEAR_NEVER;
    ret->instances = spec->instances == 0 ? 1 : spec->instances;
    ret->init = spec->init;
    ret->argument = spec->argument;
    ret->before = layout_section(&memory->layout, row->name);
    if (ret->before != SHM_NONE && is_same(row, &memory->layout.sections[ret->before]))
        row->id = memory->layout.sections[ret->before].section_id;
}

static int read_spec(shmc_private *memory, const uint8_t *at, size_t i, struct private_row *rows) {
    struct shmc_private_spec spec = {0};
    int r = options_copy(&spec, sizeof spec, at, "spec", "shmc_private_spec", &memory->error);
    if (r == 0)
        r = check_names(memory, &spec, i);
    if (r == 0)
        r = check_extent(memory, &spec);
    for (size_t k = 0; r == 0 && k < i; k++)
        if (strcasecmp(rows[k].row.name, spec.name) == 0)
            r = error_set(&memory->error, -EINVAL,
                          "spec '%s': there is another of that name (in any case)", spec.name);
    if (r == 0)
        fill(memory, &spec, &rows[i]);
    if (r == 0 && bytes_of(&rows[i].row) == 0)
        r = error_set(&memory->error, -EINVAL, "spec '%s': count %u of %llu bytes is too much",
                      spec.name, rows[i].row.count, (unsigned long long)spec.bytes);
    return r;
}

/* ---- what they say of one worker together */

uint32_t private_instances(const struct layout *layout, const char *owner) {
    uint32_t most = 1;
    for (uint32_t i = 0; i < layout->workers_used; i++) {
        const char *number = strchr(layout->workers[i], '#');
        if (number == NULL || !writers_same_worker(layout->workers[i], owner))
            continue;
        const unsigned long n = strtoul(number + 1, NULL, 10);
        most = n > most ? (uint32_t)n : most;
    }
    return most;
}

/* They never become fewer: who is attached may be any of them. */
static uint32_t instances_of(const shmc_private *memory, const struct private_row *rows, size_t n,
                             const char *owner) {
    uint32_t most = private_instances(&memory->layout, owner);
    for (size_t i = 0; i < n; i++)
        if (writers_same_worker(rows[i].row.owner, owner) && rows[i].instances > most)
            most = rows[i].instances;
    return most;
}

/* A queue's owner is all of a worker's instances, anything else's is one of them. */
static int check_owner(shmc_private *memory, struct private_row *rows, size_t n, size_t i) {
    struct table_section *row = &rows[i].row;
    const uint32_t instances = instances_of(memory, rows, n, row->owner);
    const bool numbered = strchr(row->owner, '#') != NULL;
    char worker[SHM_NAME_BYTES] = "";
    memcpy(worker, row->owner, strcspn(row->owner, "#"));
    if (instances > 1 && layout_worker(&memory->layout, worker) != SHM_NONE)
        return error_set(&memory->error, -EINVAL,
                         "spec '%s': worker '%s' had no instances until now, and what it owned was "
                         "its alone: give the instances another name",
                         row->name, worker);
    if (numbered && instances == 1)
        return error_set(&memory->error, -EINVAL,
                         "spec '%s': its owner is '%s', of a worker that has no instances: raise "
                         "the spec's, or leave the number out",
                         row->name, row->owner);
    if (!numbered && instances > 1 && row->kind != SHM_KIND_QUEUE)
        return error_set(&memory->error, -EINVAL,
                         "spec '%s': its owner '%s' has %u instances: say which one, '%s#1'",
                         row->name, row->owner, instances, row->owner);
    rows[i].instances = instances;
    return 0;
}

int private_read(shmc_private *memory, const struct shmc_private_spec *specs, size_t n,
                 struct private_row **ret) {
    struct private_row *rows = calloc(n + 1, sizeof *rows);
    if (rows == NULL)
        return error_set(&memory->error, -ENOMEM, "no memory for %zu specs", n);
    const uint8_t *at = (const uint8_t *)specs;
    for (size_t i = 0; i < n; i++, at += specs->size) {
        int r = read_spec(memory, at, i, rows);
        if (r < 0) {
            free(rows);
            return r;
        }
    }
    for (size_t i = 0; i < n; i++) {
        int r = check_owner(memory, rows, n, i);
        if (r < 0) {
            free(rows);
            return r;
        }
    }
    *ret = rows;
    return 0;
}

uint64_t private_bytes(const struct private_row *rows, size_t n) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        const struct table_section *row = &rows[i].row;
        const uint64_t more = bytes_of(row);
        if (__builtin_add_overflow(bytes, more, &bytes) || bytes > BYTES_MAX)
            return 0;
    }
    return bytes;
}
