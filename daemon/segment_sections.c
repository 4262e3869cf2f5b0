/* SPDX-License-Identifier: Apache-2.0
 *
 * The sections of a segment: memory for those that are new or go to another place, their control
 * lines, and where their values stand.
 */
#include "backend.h"
#include "core/futex.h"
#include "core/geometry.h"
#include "core/queue.h"
#include "core/shared.h"
#include "memory.h"
#include "relocate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static bool is_new(const struct layout *running, const struct layout *next, uint32_t slot) {
    const struct shm_section *section = &next->sections[slot];
    return layout_place_in_force(section->state) &&
           (slot >= running->sections_used || section->incarnation == next->generation);
}

bool segment_moves(const struct layout *running, const struct layout *next, uint32_t slot) {
    if (slot >= running->sections_used)
        return false;
    const struct shm_section *from = &running->sections[slot], *to = &next->sections[slot];
    return layout_place_in_force(from->state) && layout_place_in_force(to->state) &&
           from->section_id == to->section_id && from->incarnation == to->incarnation &&
           (from->ctl_off != to->ctl_off || from->arena_index != to->arena_index ||
            running->arenas[from->arena_index].incarnation !=
                next->arenas[to->arena_index].incarnation);
}

static bool needs_memory(const struct layout *running, const struct layout *next, uint32_t slot) {
    return is_new(running, next, slot) || segment_moves(running, next, slot);
}

/* What was touched for a plan that is refused, or its cgroup stayed full, and the next allocation
 * would be the manager's death.  Whole pages: the first and the last may be a neighbour's too. */
static void give_back(const struct segment *s, const struct layout *running,
                      const struct layout *next) {
    for (uint32_t i = 0; i < next->sections_used; i++) {
        const struct shm_section *section = &next->sections[i];
        if (!needs_memory(running, next, i))
            continue;
        uint64_t from = layout_round(section->offset, SHM_PAGE);
        uint64_t to = (section->offset + section->bytes) / SHM_PAGE * SHM_PAGE;
        if (from < to)
            madvise((uint8_t *)s->base + from, to - from, MADV_REMOVE);
    }
}

static int reserve(struct segment *s, const struct layout *running, const struct layout *next,
                   char *error, size_t error_bytes) {
    struct memory_range *ranges = calloc(next->sections_used + 1, sizeof *ranges);
    if (ranges == NULL)
        return -ENOMEM;
    size_t n = 0;
    uint64_t wanted = 0;
    for (uint32_t i = 0; i < next->sections_used; i++) {
        const struct shm_section *section = &next->sections[i];
        if (!needs_memory(running, next, i))
            continue;
        uint64_t from = section->offset / SHM_PAGE * SHM_PAGE;
        uint64_t to = layout_round(section->offset + section->bytes, SHM_PAGE);
        ranges[n++] = (struct memory_range){(uint8_t *)s->base + from, to - from};
        wanted += to - from;
    }
    uint64_t room = memory_available();
    int r = wanted > room ? -ENOMEM : memory_touch(ranges, n);
    free(ranges);
    if (r == 0)
        return 0;
    char found[48] = "it can't be had";
    if (wanted > room)
        snprintf(found, sizeof found, "%llu can be had", (unsigned long long)room);
    else
        give_back(s, running, next);
    snprintf(error, error_bytes,
             "the new sections need %llu bytes of memory, and %s: make them smaller, or give the "
             "machine (or the manager's cgroup) more",
             (unsigned long long)wanted, found);
    return -ENOMEM;
}

static void format(struct segment *s, const struct layout *running, const struct layout *next) {
    for (uint32_t i = 0; i < next->sections_used; i++) {
        const struct shm_section *section = &next->sections[i];
        if (!needs_memory(running, next, i))
            continue;
        memset((uint8_t *)s->base + section->offset, 0, section->bytes); /* it may be used */
        geometry_format((uint8_t *)s->base + section->ctl_off, section);
        if (is_new(running, next, i))
            memset((struct shm_bell *)(void *)s->bells + 1 + section->bell_index, 0,
                   sizeof(struct shm_bell));
    }
}

/* ---- control lines that somebody damaged */

static unsigned mend_control(struct segment *s, const struct shm_section *section) {
    struct snapshot bound;
    const char *field;
    void *control = (uint8_t *)s->base + section->ctl_off;
    if (section->kind == SHM_KIND_SLOTS || section->kind == SHM_KIND_QUEUE)
        return geometry_mend(control, section);
    if (section->kind != SHM_KIND_SNAPSHOT ||
        snapshot_bind(&bound, control, section, NULL, &field) == 0)
        return 0;
    struct shm_snapshot fresh = {0};
    snapshot_format(&fresh, section);
    shared_copy_to(control, &fresh.control, sizeof fresh.control);
    return 1;
}

static unsigned mend_section(struct segment *s, const struct layout *layout, uint32_t slot) {
    const struct shm_section *section = &layout->sections[slot];
    if (!layout_place_in_force(section->state))
        return 0;
    unsigned mended = mend_control(s, section);
    if (section->state == SHM_PLACE_MOVING)
        mended += mend_control(s, &layout->sections[section->old_slot]);
    return mended;
}

unsigned segment_mend_controls(struct segment *s, const struct layout *layout) {
    unsigned mended = 0;
    for (uint32_t i = 0; i < layout->sections_used; i++)
        mended += mend_section(s, layout, i);
    return mended;
}

static void mend_moving(struct segment *s, const struct layout *running,
                        const struct layout *next) {
    for (uint32_t i = 0; i < next->sections_used; i++)
        if (segment_moves(running, next, i))
            mend_section(s, running, i);
}

/* ---- a plan's memory */

int segment_prepare(struct segment *s, const struct layout *running, struct layout *next,
                    struct relocation **left, char *error, size_t error_bytes) {
    /* Space that is reused was left in the generation in force.  Who reads there still by an older
     * one, and finds what is stored below, finds that generation behind its acquire fence. */
    shared_fence_release();
    mend_moving(s, running, next); /* what is damaged now would be lost */
    int r = relocate_begin(s, running, next, left, error, error_bytes);
    if (r == 0 && s->backend->prepare != NULL)
        r = s->backend->prepare(s, next, error, error_bytes);
    if (r == 0)
        r = reserve(s, running, next, error, error_bytes);
    if (r == 0) {
        format(s, running, next);
        r = relocate_copy(s, running, next, *left, error, error_bytes);
    }
    return r;
}

/* ---- where they stand */

int segment_place(const struct segment *s, const struct layout *layout,
                  const struct shm_section *section, struct segment_place *ret) {
    const char *field;
    uint8_t *base = s->base;
    int r = snapshot_bind(&ret->now, base + section->ctl_off, section, NULL, &field);
    if (r < 0 || section->state != SHM_PLACE_MOVING)
        return r;
    const struct shm_section *before = &layout->sections[section->old_slot];
    r = snapshot_bind(&ret->before, base + before->ctl_off, before, NULL, &field);
    ret->now.before = &ret->before;
    return r;
}

static void wake_queue(const struct segment *s, const struct shm_section *section) {
    static const struct attachments nobody;
    struct shm_bell *bell = NULL;
    struct queue queue;
    const char *field;
    if (s->bells != NULL)
        bell = (struct shm_bell *)(void *)s->bells + 1 + section->bell_index;
    if (queue_bind(&queue, (uint8_t *)s->base + section->ctl_off, section, bell, &nobody, &field) ==
        0)
        queue_wake_all(&queue, true);
}

static void wake(const struct segment *s, const struct shm_section *section) {
    const uint8_t *control = (const uint8_t *)s->base + section->ctl_off;
    if (section->kind == SHM_KIND_QUEUE)
        wake_queue(s, section);
    else if (section->kind == SHM_KIND_SNAPSHOT)
        futex_wake((const uint32_t *)(const void *)(control + offsetof(struct shm_snapshot, head)));
}

void segment_wake(const struct segment *s, const struct layout *layout,
                  const struct shm_section *section) {
    wake(s, section);
    if (section->state == SHM_PLACE_MOVING)
        wake(s, &layout->sections[section->old_slot]);
}

/* Nobody can publish in a RETIRED place; in a QUARANTINED one somebody may. */
void segment_wake_left(const struct segment *s, const struct layout *layout) {
    for (uint32_t i = 0; i < layout->sections_used; i++) {
        const struct shm_section *section = &layout->sections[i];
        if (section->retired_gen != layout->generation)
            continue;
        if (section->state == SHM_PLACE_RETIRED && section->kind == SHM_KIND_SNAPSHOT)
            snapshot_leave((struct shm_snapshot *)(void *)((uint8_t *)s->base + section->ctl_off));
        else if (section->state == SHM_PLACE_QUARANTINED || section->state == SHM_PLACE_RETIRED)
            wake(s, section);
    }
}
