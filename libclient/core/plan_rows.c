/* SPDX-License-Identifier: Apache-2.0
 *
 * The rows of the table beside what runs: which workers' records come and go, and what may change
 * in a section that exists.
 */
#include "crc32c.h"
#include "plan_parts.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int plan_refuse(const struct planner *planner, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(planner->plan->error, sizeof planner->plan->error, format, args);
    va_end(args);
    return -EINVAL;
}

struct plan_change *plan_add_change(struct planner *planner, enum plan_action action,
                                    const char *name) {
    struct plan *plan = planner->plan;
    if (plan->changes_n == planner->changes_room) {
        const size_t room = planner->changes_room * 2 + 16;
        struct plan_change *changes = reallocarray(plan->changes, room, sizeof *changes);
        if (changes == NULL)
            return NULL;
        plan->changes = changes;
        planner->changes_room = room;
    }
    struct plan_change *change = &plan->changes[plan->changes_n++];
    *change = (struct plan_change){.action = action};
    snprintf(change->name, sizeof change->name, "%s", name);
    return change;
}

void plan_note(struct plan_change *change, const char *format, ...) {
    const size_t used = strlen(change->what);
    char *at = change->what + used;
    const size_t room = sizeof change->what - used;
    va_list args;
    va_start(args, format);
    const int prefix = used > 0 ? snprintf(at, room, ", ") : 0;
    if ((size_t)prefix < room)
        vsnprintf(at + prefix, room - (size_t)prefix, format, args);
    va_end(args);
}

/* Whole fields: what stands behind the NUL is compared and summed too. */
static void put_text(char to[SHM_NAME_BYTES], const char *from) {
    const size_t length = strnlen(from, SHM_NAME_BYTES - 1);
    memset(to, 0, SHM_NAME_BYTES);
    memcpy(to, from, length);
}

/* ---- workers */

static int by_worker_name(const void *a, const void *b) {
    const struct named *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static void index_workers(struct planner *planner) {
    const struct layout *next = planner->next;
    planner->workers_n = 0;
    for (uint32_t i = 0; i < next->workers_used; i++)
        if (next->workers[i][0] != '\0')
            planner->workers[planner->workers_n++] = (struct named){next->workers[i], i};
    if (planner->workers_n > 1)
        qsort(planner->workers, planner->workers_n, sizeof *planner->workers, by_worker_name);
}

uint32_t plan_find_worker(const struct planner *planner, const char *name) {
    const struct named key = {name, 0};
    const struct named *found = NULL;
    if (planner->workers_n > 0)
        found = bsearch(&key, planner->workers, planner->workers_n, sizeof key, by_worker_name);
    return found == NULL ? SHM_NONE : found->index;
}

static bool held(const struct planner *planner, uint32_t worker_index) {
    const struct plan_facts *facts = planner->facts;
    return facts != NULL && facts->worker_held != NULL &&
           worker_index < planner->running->workers_used && facts->worker_held[worker_index];
}

/* Name of a row's i-th record; it changes with the number of instances. */
static void record_name(const struct table_worker *row, uint32_t i, char name[SHM_NAME_BYTES]) {
    char numbered[SHM_NAME_BYTES + 12];
    snprintf(numbered, sizeof numbered, "%s#%u", row->name, i + 1);
    put_text(name, row->instances == 1 ? row->name : numbered);
}

static bool record_wanted(const struct table *wanted, const char *name) {
    const struct table_worker *row = table_worker(wanted, name);
    return row != NULL && (strchr(name, '#') != NULL) == (row->instances > 1);
}

static int add_worker(struct planner *planner, const char *name, uint32_t *hole) {
    struct layout *next = planner->next;
    while (*hole < next->workers_used && next->workers[*hole][0] != '\0')
        ++*hole;
    if (*hole == next->workers_capacity)
        return plan_refuse(planner,
                           "worker '%s': the segment has records for %u workers, and all are taken "
                           "(remove some, or make a larger segment: UPDATE segment SET size = ..., "
                           "`shmtool destroy`, and a new start)",
                           name, next->workers_capacity);
    const uint32_t index = (*hole)++;
    if (index == next->workers_used)
        next->workers_used++;
    put_text(next->workers[index], name);
    struct plan_change *change = plan_add_change(planner, PLAN_WORKER, name);
    if (change == NULL)
        return -ENOMEM;
    plan_note(change, "record %u added", index);
    return 0;
}

/* The arrays have room for all that is wanted beside all that runs. */
int plan_add_workers(struct planner *planner) {
    const struct table *wanted = planner->wanted;
    uint32_t hole = 0;
    index_workers(planner);
    for (size_t i = 0; i < wanted->workers_n; i++)
        for (uint32_t j = 0; j < wanted->workers[i].instances; j++) {
            char name[SHM_NAME_BYTES];
            record_name(&wanted->workers[i], j, name);
            if (plan_find_worker(planner, name) != SHM_NONE)
                continue;
            int r = add_worker(planner, name, &hole);
            if (r < 0)
                return r;
        }
    index_workers(planner);
    return 0;
}

/* A record that is held stays until a later plan finds it free. */
int plan_remove_workers(struct planner *planner) {
    struct layout *next = planner->next;
    for (uint32_t i = 0; i < next->workers_used; i++) {
        if (next->workers[i][0] == '\0' || record_wanted(planner->wanted, next->workers[i]) ||
            held(planner, i))
            continue;
        struct plan_change *change = plan_add_change(planner, PLAN_WORKER, next->workers[i]);
        if (change == NULL)
            return -ENOMEM;
        plan_note(change, "record %u removed", i);
        memset(next->workers[i], 0, SHM_NAME_BYTES);
    }
    return 0;
}

/* ---- sections that stay */

static uint32_t flags_of(const struct table_section *row) {
    static const uint32_t stamps[] = {0, SHM_SECTION_STAMP_COARSE, SHM_SECTION_STAMP_NONE};
    static const uint32_t notifies[] = {0, SHM_SECTION_NOTIFY_ALWAYS, SHM_SECTION_NOTIFY_NEVER};
    return stamps[row->stamp] | notifies[row->notify] | (row->persist ? SHM_SECTION_PERSIST : 0) |
           (row->shared ? SHM_SECTION_SHARED : 0) | (row->pinned ? SHM_SECTION_PINNED : 0);
}

/* What comes from the row and needs no place. */
void plan_fill_section(struct shm_section *section, const struct table_section *row) {
    put_text(section->name, row->name);
    put_text(section->owner, row->owner);
    put_text(section->format, row->format);
    section->section_id = row->id;
    section->size = row->size;
    section->stale_ms = row->stale_ms;
    section->kind = row->kind;
    section->flags = flags_of(row);
    section->count = row->count;
    section->read_class = row->read_class;
}

static int refuse_move(const struct planner *planner, const struct shm_section *section,
                       const char *column, const char *from, const char *to) {
    return plan_refuse(
        planner,
        "section '%s': %s can't change from %s to %s while the section exists, in this "
        "version (DELETE the row and INSERT it anew, or `shmtool destroy` and a new "
        "start)",
        section->name, column, from, to);
}

static int refuse_number(const struct planner *planner, const struct shm_section *section,
                         const char *column, uint64_t from, uint64_t to) {
    char before[24], after[24];
    snprintf(before, sizeof before, "%llu", (unsigned long long)from);
    snprintf(after, sizeof after, "%llu", (unsigned long long)to);
    return refuse_move(planner, section, column, before, after);
}

static const char *stamp_word(uint32_t flags) {
    return table_word(TABLE_STAMPS, (flags & SHM_SECTION_STAMP_COARSE) != 0 ? TABLE_STAMP_COARSE
                                    : (flags & SHM_SECTION_STAMP_NONE) != 0 ? TABLE_STAMP_NONE
                                                                            : TABLE_STAMP_PRECISE);
}

static const char *notify_word(uint32_t flags) {
    return table_word(TABLE_NOTIFIES, (flags & SHM_SECTION_NOTIFY_ALWAYS) != 0 ? TABLE_NOTIFY_ALWAYS
                                      : (flags & SHM_SECTION_NOTIFY_NEVER) != 0
                                          ? TABLE_NOTIFY_NEVER
                                          : TABLE_NOTIFY_DEMAND);
}

/* Whatever its memory would have to move or be made anew for. */
static int check_unmoved(const struct planner *planner, const struct shm_section *section,
                         const struct table_section *row) {
    const uint32_t flags = flags_of(row);
    if (section->kind != (uint32_t)row->kind)
        return refuse_move(planner, section, "kind", table_word(TABLE_KINDS, section->kind),
                           table_word(TABLE_KINDS, row->kind));
    if (strcmp(section->owner, row->owner) != 0)
        return refuse_move(planner, section, "owner", section->owner, row->owner);
    if (section->read_class != row->read_class)
        return refuse_move(planner, section, "read_group",
                           section->read_class == 0 ? "NULL" : "another group",
                           row->read_group[0] == '\0' ? "NULL" : row->read_group);
    if (section->count != row->count)
        return refuse_number(planner, section, "count", section->count, row->count);
    if (section->size != row->size &&
        (section->kind != SHM_KIND_SNAPSHOT ||
         section->bytes != layout_section_bytes(section->kind, row->size, row->count)))
        return refuse_number(planner, section, "size", section->size, row->size);
    if (strcmp(stamp_word(section->flags), stamp_word(flags)) != 0)
        return refuse_move(planner, section, "stamp", stamp_word(section->flags),
                           stamp_word(flags));
    if (((section->flags ^ flags) & SHM_SECTION_SHARED) != 0)
        return refuse_number(planner, section, "shared", (section->flags & SHM_SECTION_SHARED) != 0,
                             row->shared);
    if (row->pinned && row->offset != section->offset)
        return refuse_number(planner, section, "offset", section->offset, row->offset);
    return 0;
}

static void note_section(struct plan_change *change, const struct shm_section *from,
                         const struct shm_section *to) {
    const uint32_t differs = from->flags ^ to->flags;
    if (strcmp(from->name, to->name) != 0)
        plan_note(change, "renamed from '%s'", from->name);
    if (from->size != to->size)
        plan_note(change, "size %llu -> %llu", (unsigned long long)from->size,
                  (unsigned long long)to->size);
    if (from->stale_ms != to->stale_ms)
        plan_note(change, "stale_ms %llu -> %llu", (unsigned long long)from->stale_ms,
                  (unsigned long long)to->stale_ms);
    if (strcmp(from->format, to->format) != 0)
        plan_note(change, "format '%s' -> '%s'", from->format, to->format);
    if (strcmp(notify_word(from->flags), notify_word(to->flags)) != 0)
        plan_note(change, "notify %s -> %s", notify_word(from->flags), notify_word(to->flags));
    if ((differs & SHM_SECTION_PERSIST) != 0)
        plan_note(change, "persist %d -> %d", (from->flags & SHM_SECTION_PERSIST) != 0,
                  (to->flags & SHM_SECTION_PERSIST) != 0);
    if ((differs & SHM_SECTION_PINNED) != 0)
        plan_note(change,
                  (to->flags & SHM_SECTION_PINNED) != 0 ? "pinned where it is, at %llu"
                                                        : "no longer pinned, stays at %llu",
                  (unsigned long long)to->offset);
}

int plan_change_section(struct planner *planner, uint32_t slot, const struct table_section *row) {
    struct shm_section *section = &planner->next->sections[slot];
    int r = check_unmoved(planner, section, row);
    if (r < 0)
        return r;
    struct shm_section changed = *section;
    plan_fill_section(&changed, row);
    if (memcmp(&changed, section, sizeof changed) == 0)
        return 0;
    if (strcmp(section->name, row->name) != 0 && held(planner, section->owner_index))
        return plan_refuse(
            planner,
            "section '%s': it can't be renamed to '%s' while worker '%s' holds its lease "
            "(end that worker, then `shmtool reload`)",
            section->name, row->name, section->owner);
    struct plan_change *change = plan_add_change(planner, PLAN_CHANGE, row->name);
    if (change == NULL)
        return -ENOMEM;
    note_section(change, section, &changed);
    changed.changed_gen = planner->next->generation;
    changed.crc = CRC32C_OF(&changed);
    *section = changed;
    return 0;
}

int plan_remove_section(struct planner *planner, uint32_t slot) {
    struct shm_section *section = &planner->next->sections[slot];
    if (held(planner, section->owner_index))
        return plan_refuse(
            planner,
            "section '%s': it can't be removed while worker '%s' holds its lease (end "
            "that worker, then `shmtool reload`)",
            section->name, section->owner);
    struct plan_change *change = plan_add_change(planner, PLAN_REMOVE, section->name);
    if (change == NULL)
        return -ENOMEM;
    plan_note(change, "at %llu, %llu bytes", (unsigned long long)section->offset,
              (unsigned long long)section->bytes);
    section->state = SHM_PLACE_RETIRED;
    section->retired_gen = planner->next->generation;
    section->changed_gen = planner->next->generation;
    section->old_ctl_off = 0;
    section->crc = CRC32C_OF(section);
    return 0;
}
