/* SPDX-License-Identifier: Apache-2.0
 *
 * Copies values out of places that are left, while somebody may be writing there: to another
 * offset, or to the same one in an arena that is replaced by fresh memory.
 */
#include "relocate.h"
#include "carry.h"
#include "core/crc32c.h"
#include "core/futex.h"
#include "core/memfd.h"
#include "core/shared.h"
#include "journal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* An arena's memory before. */
struct relocation {
    uint32_t index;
    uint64_t offset, bytes;
    void *at;
    struct relocation *next;
};

static bool replaced(const struct layout *running, const struct layout *next, uint32_t index) {
    return index < running->arenas_used && layout_place_in_force(next->arenas[index].state) &&
           layout_place_in_force(running->arenas[index].state) &&
           next->arenas[index].offset == running->arenas[index].offset &&
           next->arenas[index].incarnation != running->arenas[index].incarnation;
}

static int map_old(const struct segment *s, const struct layout *running, uint32_t index,
                   struct relocation **list) {
    const struct shm_arena *arena = &running->arenas[index];
    int fd;
    uint64_t bytes;
    struct relocation *old = malloc(sizeof *old);
    if (old == NULL)
        return -ENOMEM;
    *old = (struct relocation){
        .index = index, .offset = arena->offset, .bytes = arena->bytes, .next = *list};
    int r = segment_share(s, SEGMENT_ARENA, arena, index, false, &fd, &bytes);
    if (r == 0) {
        r = memfd_map(fd, arena->bytes, false, NULL, &old->at);
        close(fd);
    }
    if (r < 0)
        free(old);
    else
        *list = old;
    return r;
}

int relocate_begin(const struct segment *s, const struct layout *running, const struct layout *next,
                   struct relocation **ret, char *error, size_t error_bytes) {
    int r = 0;
    *ret = NULL;
    for (uint32_t i = 0; r == 0 && i < next->arenas_used; i++)
        if (replaced(running, next, i))
            r = map_old(s, running, i, ret);
    if (r < 0)
        snprintf(error, error_bytes, "the memory to be left can't be mapped: %s", strerror(-r));
    return r;
}

void segment_leave(struct relocation *list, const struct layout *layout) {
    for (struct relocation *old; (old = list) != NULL; free(old)) {
        list = old->next;
        for (uint32_t i = 0; layout != NULL && i < layout->sections_used; i++) {
            const struct shm_section *section = &layout->sections[i];
            if (section->state != SHM_PLACE_FREE && section->arena_index == old->index &&
                section->kind == SHM_KIND_SNAPSHOT)
                futex_wake((const uint32_t *)(const void *)((const uint8_t *)old->at +
                                                            (section->ctl_off - old->offset) +
                                                            offsetof(struct shm_snapshot, head)));
        }
        munmap(old->at, old->bytes);
    }
}

/* ---- values */

/* Where a section's memory is, as it runs. */
static void *memory_of(const struct segment *s, const struct relocation *list,
                       const struct shm_section *section) {
    for (const struct relocation *old = list; old != NULL; old = old->next)
        if (old->index == section->arena_index)
            return (uint8_t *)old->at + (section->ctl_off - old->offset);
    return (uint8_t *)s->base + section->ctl_off;
}

static int bind_old(const struct segment *s, const struct relocation *list,
                    const struct layout *running, uint32_t slot, struct segment_place *ret) {
    const struct shm_section *section = &running->sections[slot];
    const char *field;
    int r = snapshot_bind(&ret->now, memory_of(s, list, section), section, NULL, &field);
    if (r < 0 || section->state != SHM_PLACE_MOVING)
        return r;
    section = &running->sections[section->old_slot];
    r = snapshot_bind(&ret->before, memory_of(s, list, section), section, NULL, &field);
    ret->now.before = &ret->before;
    return r;
}

uint64_t segment_value_bytes(const struct segment_place *place) {
    struct snapshot_reader reader;
    struct snapshot_value value = {0};
    const void *data;
    snapshot_reader_init(&reader, &place->now);
    return snapshot_view(&reader, &data, &value) == 0 ? value.length : 0;
}

bool segment_value_fits(const struct segment_place *place) {
    return segment_value_bytes(place) <= place->now.size;
}

/* 0, also where nothing was published; -EBADMSG: nothing whole was to be had; -EMSGSIZE. */
static int carry(const struct segment *s, const struct shm_section *to,
                 const struct segment_place *from) {
    struct snapshot fresh;
    const char *field;
    if (segment_value_bytes(from) > to->size)
        return -EMSGSIZE;
    if (snapshot_bind(&fresh, (uint8_t *)s->base + to->ctl_off, to, NULL, &field) < 0)
        return -EBADMSG;
    fresh.before = &from->now;
    return snapshot_carry(&fresh);
}

/* A value that couldn't be had whole is none. */
static void begin_anew(const struct segment *s, const struct layout *next,
                       struct shm_section *section) {
    uint8_t *to = (uint8_t *)s->base + section->ctl_off;
    journal(LOG_WARNING, JOURNAL_TROUBLE,
            "section '%s': its holder left no whole value, and it begins empty", section->name);
    section->incarnation = next->generation;
    section->changed_gen = next->generation;
    section->crc = CRC32C_OF((const struct shm_section *)section);
    memset(to, 0, section->bytes);
    snapshot_format(to, section);
}

/* From where to where; `left` is what of `from` is mapped elsewhere. */
struct carrying {
    struct segment *from;
    const struct segment *to;
    const struct layout *running;
    struct layout *next;
    const struct relocation *left;
};

static int copy_section(const struct carrying *c, uint32_t from_slot, uint32_t to_slot, char *error,
                        size_t error_bytes) {
    const struct shm_section *from = &c->running->sections[from_slot];
    struct shm_section *to = &c->next->sections[to_slot];
    struct segment_place place;
    if (from->kind == SHM_KIND_RAW) {
        shared_copy_to((uint8_t *)c->to->base + to->ctl_off, memory_of(c->from, c->left, from),
                       from->size < to->size ? from->size : to->size);
        return 0;
    }
    if (from->kind == SHM_KIND_SLOTS || from->kind == SHM_KIND_QUEUE) {
        const struct carry carry = {
            .from = c->from,
            .to = c->to,
            .memory_from = memory_of(c->from, c->left, from),
            .memory_to = (uint8_t *)c->to->base + to->ctl_off,
            .section_from = from,
            .section_to = to,
            .whole = from->incarnation == to->incarnation,
            /* Where all goes along, nobody was found there. */
            .force = c->next->forced && from->incarnation != to->incarnation,
        };
        return carry_section(&carry, error, error_bytes);
    }
    int r = bind_old(c->from, c->left, c->running, from_slot, &place);
    if (r == 0)
        r = carry(c->to, to, &place);
    if (r == -EBADMSG)
        begin_anew(c->to, c->next, to);
    if (r != -EMSGSIZE)
        return 0;
    snprintf(error, error_bytes,
             "section '%s': its newest value has %llu bytes, and a size of %llu would not take it: "
             "publish a smaller one first, or choose a larger size",
             to->name, (unsigned long long)segment_value_bytes(&place),
             (unsigned long long)to->size);
    return -EINVAL;
}

static bool carries_on(const struct shm_section *from, const struct shm_section *to) {
    return layout_place_in_force(from->state) && from->section_id == to->section_id &&
           from->kind == to->kind &&
           (from->kind == SHM_KIND_SLOTS || from->kind == SHM_KIND_QUEUE) &&
           ((from->flags ^ to->flags) & SHM_SECTION_SHARED) == 0;
}

/* Another incarnation, with what it can bring along. */
static bool divided_anew(const struct layout *running, const struct layout *next, uint32_t slot) {
    const struct shm_section *to = &next->sections[slot];
    return slot < running->sections_used && carries_on(&running->sections[slot], to) &&
           running->sections[slot].incarnation != to->incarnation;
}

int relocate_copy(struct segment *s, const struct layout *running, struct layout *next,
                  const struct relocation *list, char *error, size_t error_bytes) {
    const struct carrying c = {s, s, running, next, list};
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < next->sections_used; i++)
        if (next->sections[i].state == SHM_PLACE_LIVE &&
            (segment_moves(running, next, i) || divided_anew(running, next, i)))
            r = copy_section(&c, i, i, error, error_bytes);
    return r;
}

static int by_id(const void *a, const void *b) {
    const uint64_t x = ((const struct shm_section *)a)->section_id;
    const uint64_t y = ((const struct shm_section *)b)->section_id;
    return x < y ? -1 : x > y;
}

int relocate_succeed(struct segment *from, const struct segment *to, const struct layout *running,
                     struct layout *next, char *error, size_t error_bytes) {
    const struct carrying c = {from, to, running, next, NULL};
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < running->sections_used; i++) {
        const struct shm_section *section = &running->sections[i], *found = NULL;
        if (layout_place_in_force(section->state) && next->sections_used > 0)
            found = bsearch(section, next->sections, next->sections_used, sizeof *found, by_id);
        if (found != NULL &&
            (found->incarnation == section->incarnation || carries_on(section, found)))
            r = copy_section(&c, i, (uint32_t)(found - next->sections), error, error_bytes);
    }
    return r;
}
