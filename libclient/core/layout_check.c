/* SPDX-License-Identifier: Apache-2.0
 *
 * Does a layout hold together?  This is what stands between the bytes of a damaged segment, or of
 * a restored state.db, and everybody who computes with them: it trusts nothing, and compares
 * before it adds.
 */
#include "crc32c.h"
#include "layout.h"
#include "table.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct check {
    const struct layout *layout;
    char *error;
    size_t error_bytes;
};

__attribute__((format(printf, 2, 3))) static int bad(const struct check *check, const char *format,
                                                     ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(check->error, check->error_bytes, format, args);
    va_end(args);
    return -EBADMSG;
}

/* Terminated, and nothing behind the end: texts are compared and summed as whole fields. */
static bool text_ok(const char text[SHM_NAME_BYTES]) {
    static const char nothing[SHM_NAME_BYTES];
    const size_t length = strnlen(text, SHM_NAME_BYTES);
    if (memcmp(text + length, nothing, SHM_NAME_BYTES - length) != 0)
        return false;
    for (size_t i = 0; i < length; i++)
        if (text[i] < ' ' || text[i] > '~')
            return false;
    return length < SHM_NAME_BYTES;
}

static bool name_ok(const char name[SHM_NAME_BYTES], bool instance) {
    return text_ok(name) && table_name_ok(name, instance);
}

static bool inside(uint64_t offset, uint64_t bytes, uint64_t start, uint64_t end) {
    return bytes > 0 && offset >= start && offset <= end && bytes <= end - offset;
}

static bool all_zero(const void *data, size_t bytes) {
    const uint8_t *p = data;
    for (size_t i = 0; i < bytes; i++)
        if (p[i] != 0)
            return false;
    return true;
}

static int check_tables(const struct check *check) {
    const struct layout *l = check->layout;
    if (l->segment_bytes < TABLE_SEGMENT_MIN || l->segment_bytes > TABLE_SEGMENT_MAX ||
        l->segment_bytes % SHM_PAGE != 0)
        return bad(check, "segment_bytes %llu is no size of a segment",
                   (unsigned long long)l->segment_bytes);
    if (l->attachments_capacity > SHM_ATTACHMENTS_MAX + 1 || l->bells_capacity == 0)
        return bad(check, "the capacity of attachments or bells is out of range");
    if (l->workers_off < SHM_PAGE || l->workers_off % SHM_LINE != 0 ||
        l->attachments_off % SHM_LINE != 0 || l->arena_start % SHM_PAGE != 0 ||
        l->arena_start > l->segment_bytes ||
        !inside(l->workers_off, (uint64_t)l->workers_capacity * sizeof(struct shm_worker), SHM_PAGE,
                l->attachments_off) ||
        !inside(l->attachments_off,
                (uint64_t)l->attachments_capacity * sizeof(struct shm_attachment), SHM_PAGE,
                l->arena_start))
        return bad(check, "the fixed tables overlap or reach beyond arena_start");
    if (l->workers_used > l->workers_capacity)
        return bad(check, "workers_used %u is beyond the capacity of %u", l->workers_used,
                   l->workers_capacity);
    return 0;
}

static int check_directories(const struct check *check) {
    const struct layout *l = check->layout;
    for (int i = 0; i < 2; i++) {
        const struct shm_directory_place *place = &l->directories[i];
        if (place->offset == 0 && place->bytes == 0)
            continue;
        if (place->offset % SHM_PAGE != 0 || place->bytes % SHM_PAGE != 0 ||
            !inside(place->offset, place->bytes, l->arena_start, l->segment_bytes))
            return bad(check, "directory %d is misplaced", i);
    }
    const uint32_t capacity = layout_directory_capacity(l->directories[l->generation & 1].bytes);
    if (l->generation > 0 && (capacity < l->sections_used || capacity < l->arenas_used))
        return bad(check, "directory %u has room for %u, not for %u sections and %u arenas",
                   (unsigned)(l->generation & 1), capacity, l->sections_used, l->arenas_used);
    return 0;
}

static int check_arena(const struct check *check, uint32_t index) {
    const struct layout *l = check->layout;
    const struct shm_arena *arena = &l->arenas[index];
    if (arena->state == SHM_PLACE_FREE)
        return all_zero(arena, sizeof *arena) ? 0 : bad(check, "arena %u is free, not zero", index);
    if (arena->crc != CRC32C_OF(arena))
        return bad(check, "arena %u has a wrong checksum", index);
    const bool left = arena->state == SHM_PLACE_RETIRED || arena->state == SHM_PLACE_QUARANTINED;
    if (!left && arena->state != SHM_PLACE_LIVE)
        return bad(check, "arena %u has state %u", index, arena->state);
    if (left ? arena->retired_gen == 0 || arena->retired_gen > l->generation
             : arena->retired_gen != 0)
        return bad(check, "arena %u has retired_gen %llu", index,
                   (unsigned long long)arena->retired_gen);
    if (arena->offset % SHM_PAGE != 0 || arena->bytes % SHM_PAGE != 0 ||
        !inside(arena->offset, arena->bytes, l->arena_start, l->segment_bytes))
        return bad(check, "arena %u is misplaced", index);
    if (arena->incarnation == 0 || arena->incarnation > l->generation)
        return bad(check, "arena %u has incarnation %llu", index,
                   (unsigned long long)arena->incarnation);
    if (arena->writers > SHM_WRITERS_CLASS ||
        (arena->write_class != 0 && arena->writers != SHM_WRITERS_CLASS))
        return bad(check, "arena %u has writers %u of class %u", index, arena->writers,
                   arena->write_class);
    if (arena->owner_index != SHM_NONE && (arena->owner_index >= l->workers_used ||
                                           (!left && l->workers[arena->owner_index][0] == '\0')))
        return bad(check, "arena %u has no owner at %u", index, arena->owner_index);
    return 0;
}

static int check_texts(const struct check *check, uint32_t slot) {
    const struct shm_section *section = &check->layout->sections[slot];
    if (!name_ok(section->name, false))
        return bad(check, "section %u has no proper name", slot);
    if (!name_ok(section->owner, true))
        return bad(check, "section %u has no proper owner", slot);
    if (!text_ok(section->format))
        return bad(check, "section %u has no proper format", slot);
    return 0;
}

static bool left(const struct shm_section *section) {
    return section->state == SHM_PLACE_RETIRED || section->state == SHM_PLACE_QUARANTINED;
}

/* A part of a section in its arena. */
static int check_arena_of(const struct check *check, uint32_t slot, uint32_t index, uint64_t offset,
                          uint64_t bytes) {
    const struct layout *l = check->layout;
    const struct shm_section *section = &l->sections[slot];
    if (index >= l->arenas_used)
        return bad(check, "section %u is in no arena", slot);
    const struct shm_arena *arena = &l->arenas[index];
    if (arena->state == SHM_PLACE_FREE || (!left(section) && arena->state != SHM_PLACE_LIVE) ||
        offset % SHM_LINE != 0 || bytes % SHM_LINE != 0 ||
        !inside(offset, bytes, arena->offset, arena->offset + arena->bytes))
        return bad(check, "section %u is misplaced in arena %u", slot, index);
    if (section->state == SHM_PLACE_QUARANTINED && arena->state == SHM_PLACE_RETIRED)
        return bad(check, "section %u is quarantined, and its arena %u is not", slot, index);
    return 0;
}

static bool is_anothers(const struct shm_arena *arena, const struct shm_section *section) {
    return section->read_class != arena->read_class ||
           (arena->owner_index != SHM_NONE && arena->owner_index != section->owner_index);
}

/* Those that many write have their arenas for themselves. */
static int check_writers(const struct check *check, uint32_t slot, uint64_t claims) {
    const struct layout *l = check->layout;
    const struct shm_section *section = &l->sections[slot];
    const struct shm_arena *arena = &l->arenas[section->arena_index];
    const bool many = layout_is_of_many(section);
    if (is_anothers(arena, section))
        return bad(check, "section %u is in another's arena %u", slot, section->arena_index);
    if (section->write_class != (many ? arena->write_class : 0) ||
        arena->writers != (many ? SHM_WRITERS_CLASS : SHM_WRITERS_OWNER))
        return bad(check, "section %u can be written by others than its arena %u", slot,
                   section->arena_index);
    if (!many)
        return 0;
    const uint64_t bytes = claims == 0 ? layout_round(section->bytes, SHM_PAGE) : claims;
    if (arena->offset != section->offset || arena->bytes != bytes)
        return bad(check, "section %u is not alone in arena %u", slot, section->arena_index);
    if (claims == 0)
        return 0;
    arena = &l->arenas[section->claims_arena];
    const uint32_t writers = strcmp(l->workers[section->owner_index], section->owner) == 0
                                 ? SHM_WRITERS_OWNER
                                 : SHM_WRITERS_INSTANCES;
    if (arena->offset != section->claims_off || arena->bytes != section->bytes - claims ||
        arena->writers != writers || is_anothers(arena, section))
        return bad(check, "section %u is not alone in arena %u", slot, section->claims_arena);
    return 0;
}

static int check_extent(const struct check *check, uint32_t slot) {
    const struct layout *l = check->layout;
    const struct shm_section *section = &l->sections[slot];
    const uint64_t claims = layout_claims_at(section);
    if (claims >= section->bytes && claims != 0)
        return bad(check, "section %u has no room for its claims", slot);
    int r = check_arena_of(check, slot, section->arena_index, section->offset,
                           claims == 0 ? section->bytes : claims);
    if (r < 0)
        return r;
    if (claims == 0 ? section->claims_off != 0 || section->claims_arena != 0
                    : section->claims_off != section->offset + claims)
        return bad(check, "section %u has claims_off %llu and claims_arena %u", slot,
                   (unsigned long long)section->claims_off, section->claims_arena);
    if (claims != 0)
        r = check_arena_of(check, slot, section->claims_arena, section->claims_off,
                           section->bytes - claims);
    if (r < 0)
        return r;
    if ((section->flags & SHM_SECTION_PINNED) != 0 && section->offset % SHM_PAGE != 0)
        return bad(check, "section %u is pinned at no page", slot);
    if (section->ctl_off != section->offset)
        return bad(check, "section %u has ctl_off %llu", slot,
                   (unsigned long long)section->ctl_off);
    if (left(section))
        return 0;
    if (section->owner_index >= l->workers_used ||
        !layout_record_owns(l->workers[section->owner_index], section))
        return bad(check, "section %u is not owned by worker %u", slot, section->owner_index);
    return check_writers(check, slot, claims);
}

static int check_shape(const struct check *check, uint32_t slot) {
    const struct shm_section *section = &check->layout->sections[slot];
    bool right = true;
    switch (section->kind) {
    case SHM_KIND_RAW:
        right = section->count == 0;
        break;
    case SHM_KIND_SNAPSHOT:
        right = section->count >= SHM_COUNT_MIN && section->count <= SHM_COUNT_MAX;
        break;
    case SHM_KIND_SLOTS:
    case SHM_KIND_QUEUE:
        if (section->count == 0 || section->size == 0)
            return bad(check, "section %u has no size or count", slot);
        break;
    default:
        return bad(check, "section %u has kind %u", slot, section->kind);
    }
    if (!right)
        return bad(check, "section %u has count %u", slot, section->count);
    if (section->bytes != layout_section_bytes(section->kind, section->size, section->count,
                                               (section->flags & SHM_SECTION_SHARED) != 0))
        return bad(check, "section %u has %llu bytes, which is not what its size needs", slot,
                   (unsigned long long)section->bytes);
    return 0;
}

/* A section that is moving names the place before, which nobody else may be given meanwhile. */
static int check_before(const struct check *check, uint32_t slot) {
    const struct layout *l = check->layout;
    const struct shm_section *section = &l->sections[slot];
    const bool moving = section->state == SHM_PLACE_MOVING;
    if (moving ? section->old_slot >= l->sections_used ||
                     section->old_ctl_off != l->sections[section->old_slot].ctl_off
               : section->old_slot != 0 || section->old_ctl_off != 0)
        return bad(check, "section %u has old_ctl_off %llu and old_slot %u", slot,
                   (unsigned long long)section->old_ctl_off, section->old_slot);
    if (!moving)
        return 0;
    const struct shm_section *before = &l->sections[section->old_slot];
    if (before->state != SHM_PLACE_QUARANTINED || before->section_id != section->section_id ||
        before->incarnation != section->incarnation || before->kind != section->kind ||
        before->owner_index != section->owner_index || before->bell_index != section->bell_index)
        return bad(check, "section %u has another's place before, %u", slot, section->old_slot);
    if (section->kind != SHM_KIND_SNAPSHOT)
        return bad(check, "section %u is moving, and is no snapshot", slot);
    if (before->arena_index >= l->arenas_used ||
        l->arenas[before->arena_index].state != SHM_PLACE_LIVE)
        return bad(check, "section %u moves from arena %u, which nobody maps", slot,
                   before->arena_index);
    return 0;
}

static int check_section(const struct check *check, uint32_t slot) {
    const struct layout *l = check->layout;
    const struct shm_section *section = &l->sections[slot];
    if (section->state == SHM_PLACE_FREE)
        return all_zero(section, sizeof *section)
                   ? 0
                   : bad(check, "section %u is free, not zero", slot);
    if (section->crc != CRC32C_OF(section))
        return bad(check, "section %u has a wrong checksum", slot);
    if (section->state > SHM_PLACE_BAD)
        return bad(check, "section %u has state %u", slot, section->state);
    if (section->section_id == 0 || section->incarnation == 0 ||
        section->incarnation > section->changed_gen || section->changed_gen > l->generation ||
        (left(section) ? section->retired_gen == 0 || section->retired_gen > l->generation
                       : section->retired_gen != 0))
        return bad(check, "section %u has a wrong id or generation", slot);
    if (section->bell_index >= l->bells_capacity)
        return bad(check, "section %u has bell_index %u", slot, section->bell_index);
    int r = check_texts(check, slot);
    if (r == 0)
        r = check_extent(check, slot);
    if (r == 0)
        r = check_before(check, slot);
    return r < 0 ? r : check_shape(check, slot);
}

/* ---- what holds between entries */

struct entry {
    const char *what;
    uint32_t index;
    uint64_t number, bytes; /* an extent; or an id, and 0 */
    const char *name;
};

static int by_number(const void *a, const void *b) {
    const struct entry *x = a, *y = b;
    return x->number < y->number ? -1 : x->number > y->number;
}

static int by_name(const void *a, const void *b) {
    const struct entry *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* Extents were found to lie within the segment, so that their ends don't overflow. */
static int check_apart(const struct check *check, struct entry *entries, size_t n) {
    qsort(entries, n, sizeof *entries, by_number);
    for (size_t i = 1; i < n; i++)
        if (entries[i - 1].number + entries[i - 1].bytes > entries[i].number)
            return bad(check, "%s %u and %s %u overlap", entries[i - 1].what, entries[i - 1].index,
                       entries[i].what, entries[i].index);
    return 0;
}

static int check_names(const struct check *check, struct entry *entries, size_t n) {
    qsort(entries, n, sizeof *entries, by_name);
    for (size_t i = 1; i < n; i++)
        if (strcmp(entries[i - 1].name, entries[i].name) == 0)
            return bad(check, "%s %u and %u are both named '%s'", entries[i].what,
                       entries[i - 1].index, entries[i].index, entries[i].name);
    return 0;
}

static int check_ids(const struct check *check, struct entry *entries, size_t n) {
    qsort(entries, n, sizeof *entries, by_number);
    for (size_t i = 1; i < n; i++)
        if (entries[i - 1].number == entries[i].number)
            return bad(check, "section %u and %u have the same id", entries[i - 1].index,
                       entries[i].index);
    return 0;
}

static int check_places(const struct check *check, struct entry *entries) {
    const struct layout *l = check->layout;
    size_t n = 0;
    for (uint32_t i = 0; i < 2; i++)
        if (l->directories[i].bytes > 0)
            entries[n++] = (struct entry){"directory", i, l->directories[i].offset,
                                          l->directories[i].bytes, NULL};
    for (uint32_t i = 0; i < l->arenas_used; i++)
        if (l->arenas[i].state != SHM_PLACE_FREE)
            entries[n++] =
                (struct entry){"arena", i, l->arenas[i].offset, l->arenas[i].bytes, NULL};
    int r = check_apart(check, entries, n);
    if (r < 0)
        return r;
    n = 0;
    for (uint32_t i = 0; i < l->sections_used; i++)
        if (l->sections[i].state != SHM_PLACE_FREE)
            entries[n++] =
                (struct entry){"section", i, l->sections[i].offset, l->sections[i].bytes, NULL};
    return check_apart(check, entries, n);
}

static int check_identities(const struct check *check, struct entry *entries) {
    const struct layout *l = check->layout;
    size_t n = 0;
    for (uint32_t i = 0; i < l->workers_used; i++)
        if (l->workers[i][0] != '\0')
            entries[n++] = (struct entry){"worker", i, 0, 0, l->workers[i]};
    int r = check_names(check, entries, n);
    if (r < 0)
        return r;
    n = 0;
    for (uint32_t i = 0; i < l->sections_used; i++) {
        const struct shm_section *section = &l->sections[i];
        if (layout_place_in_force(section->state) || section->state == SHM_PLACE_BAD)
            entries[n++] = (struct entry){"section", i, section->section_id, 0, section->name};
    }
    r = check_names(check, entries, n);
    return r < 0 ? r : check_ids(check, entries, n);
}

int layout_check(const struct layout *layout, char *error, size_t error_bytes) {
    const struct check check = {layout, error, error_bytes};
    int r = check_tables(&check);
    if (r == 0)
        r = check_directories(&check);
    for (uint32_t i = 0; r == 0 && i < layout->workers_used; i++)
        if (layout->workers[i][0] == '\0' ? !text_ok(layout->workers[i])
                                          : !name_ok(layout->workers[i], true))
            r = bad(&check, "worker %u has no proper name", i);
    for (uint32_t i = 0; r == 0 && i < layout->arenas_used; i++)
        r = check_arena(&check, i);
    for (uint32_t i = 0; r == 0 && i < layout->sections_used; i++)
        r = check_section(&check, i);
    if (r < 0)
        return r;

    const size_t most = 2 + (size_t)layout->arenas_used + layout->sections_used;
    struct entry *entries = calloc(most + layout->workers_used, sizeof *entries);
    if (entries == NULL)
        return -ENOMEM;
    r = check_places(&check, entries);
    if (r == 0)
        r = check_identities(&check, entries);
    free(entries);
    return r;
}
