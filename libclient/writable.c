/* SPDX-License-Identifier: Apache-2.0
 *
 * What of the segment this process may write: its own arenas from the beginning, those that it
 * shares with others from when it first writes there.
 */
#include "client.h"
#include "core/sysv.h"
#include "core/writers.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- its own */

static struct range *find_range(const struct ranges *ranges, const struct shm_arena *arena) {
    for (size_t i = 0; i < ranges->n; i++)
        if (ranges->at[i].offset == arena->offset && ranges->at[i].bytes == arena->bytes)
            return &ranges->at[i];
    return NULL;
}

int ranges_reserve(struct ranges *ranges) {
    if (ranges->n < ranges->room)
        return 0;
    size_t room = ranges->room == 0 ? SHM_PAGE / sizeof *ranges->at : 2 * ranges->room;
    size_t old = ranges->room * sizeof *ranges->at, bytes = room * sizeof *ranges->at;
    void *at = ranges->at == NULL
                   ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                   : mremap(ranges->at, old, bytes, MREMAP_MAYMOVE);
    if (at == MAP_FAILED)
        return -errno;
    ranges->at = at;
    ranges->room = room;
    return 0;
}

bool mapping_owns(const struct mapping *mapping, const struct shm_arena *arena) {
    const struct standing *s = &mapping->standing;
    const struct writers_who who = {.worker = s->worker_index, .name = s->worker};
    return !s->lost && arena->writers == SHM_WRITERS_OWNER && writers_allow(arena, "", &who);
}

static int make_writable(shmc *segment, const struct shm_arena *arena, uint32_t index) {
    struct ranges *ranges = &segment->now->ranges;
    int r = ranges_reserve(ranges);
    if (r == 0)
        r = sysv_protect(segment->now->base, arena->offset, arena->bytes, true);
    if (r == 0)
        ranges->at[ranges->n++] = (struct range){.offset = arena->offset,
                                                 .bytes = arena->bytes,
                                                 .incarnation = arena->incarnation,
                                                 .index = index,
                                                 .ours = true,
                                                 .writable = true};
    return r;
}

/* What was ours stays writable while it is retired or quarantined: a thread may be in the middle of
 * a publish there, and nobody else gets the space before our lease has ended.  What we share with
 * others is as it is while it is the same arena, and is never added here: see mapping_write(). */
static int note_arena(shmc *segment, const struct shm_arena *arena, uint32_t index, bool add) {
    struct range *known = find_range(&segment->now->ranges, arena);
    const bool owns = mapping_owns(segment->now, arena);
    if (known != NULL) {
        known->ours = owns || (known->index == index && known->incarnation == arena->incarnation &&
                               arena->writers != SHM_WRITERS_OWNER);
        return 0;
    }
    return add && owns && layout_place_in_force(arena->state) ? make_writable(segment, arena, index)
                                                              : 0;
}

static int walk(shmc *segment, uint64_t generation, bool add) {
    const char *field;
    for (uint32_t index = 0;; index++) {
        struct shm_arena arena;
        int r = directory_arena(&segment->now->directory, generation, index, &arena, &field);
        if (r == -ERANGE)
            return 0;
        if (r == 0)
            r = note_arena(segment, &arena, index, add);
        if (r < 0 && r != -ENOENT)
            return r;
    }
}

static void drop_ranges(shmc *segment) {
    struct ranges *ranges = &segment->now->ranges;
    size_t kept = 0;
    for (size_t i = 0; i < ranges->n; i++) {
        struct range range = ranges->at[i];
        if (range.ours)
            ranges->at[kept++] = range;
        else
            sysv_protect(segment->now->base, range.offset, range.bytes, false);
    }
    ranges->n = kept;
}

static int update_sysv(shmc *segment, uint64_t generation) {
    struct ranges *ranges = &segment->now->ranges;
    for (size_t i = 0; i < ranges->n; i++)
        ranges->at[i].ours = false;
    int r = walk(segment, generation, false);
    if (r == 0) {
        drop_ranges(segment);
        r = walk(segment, generation, true);
    }
    char who[STANDING_BYTES];
    if (r < 0 && r != -EAGAIN)
        error_set(segment->error, r,
                  "%s: its part of the shared memory can't be mapped for writing: %s",
                  standing_text(&segment->now->standing, who),
                  r == -EBADMSG ? "the directory's arenas are damaged" : strerror(-r));
    return r;
}

int mapping_update(shmc *segment, uint64_t generation) {
    struct ranges *ranges = &segment->now->ranges;
    if (ranges->generation == generation)
        return 0;
    int r = 0;
    if (parts_are(segment->now))
        r = parts_update(segment, generation);
    else if (standing_is(segment->now) && !segment->now->standing.lost && !segment->now->whole)
        r = update_sysv(segment, generation);
    if (r == 0)
        ranges->generation = generation;
    return r;
}

static const struct range *writable_range(const struct ranges *ranges, uint64_t offset,
                                          uint64_t bytes) {
    for (size_t i = 0; i < ranges->n; i++) {
        const struct range *range = &ranges->at[i];
        if (range->writable && offset >= range->offset && offset - range->offset <= range->bytes &&
            bytes <= range->bytes - (offset - range->offset))
            return range;
    }
    return NULL;
}

bool mapping_writable(const shmc *segment, uint64_t offset, uint64_t bytes) {
    return writable_range(&segment->now->ranges, offset, bytes) != NULL;
}

/* ---- writable when it is first written */

static bool in_group(gid_t group) {
    gid_t groups[1024];
    if (getegid() == group)
        return true;
    for (int i = getgroups(sizeof groups / sizeof *groups, groups); i > 0; i--)
        if (groups[i - 1] == group)
            return true;
    return false;
}

static int not_allowed(const shmc *segment, const shmc_section *section,
                       const struct shm_arena *arena) {
    if (arena->writers == SHM_WRITERS_CLASS && arena->write_class != 0)
        return error_set(segment->error, -EACCES,
                         "section '%s': uid %u is not in the group (gid %u) that may write it: see "
                         "section.write_group in the table, add it (usermod -aG) and log in anew",
                         section->name, geteuid(), arena->write_class - 1);
    return section_not_ours(section);
}

/* System V's memory is writable for the whole group: it is the library that keeps to the table. */
static int allow(const shmc *segment, const shmc_section *section, const struct shm_arena *arena) {
    const struct mapping *mapping = segment->now;
    const uid_t uid = geteuid();
    struct shm_worker owner;
    const bool known = directory_worker(&mapping->directory, arena->owner_index, &owner) == 0;
    const struct writers_who who = {
        .worker = mapping->standing.worker_index,
        .name = mapping->standing.worker,
        .in_class = arena->write_class == 0 || uid == 0 || uid == mapping->creator ||
                    in_group((gid_t)arena->write_class - 1),
    };
    return writers_allow(arena, known ? owner.name : "", &who)
               ? 0
               : not_allowed(segment, section, arena);
}

static int write_arena(shmc *segment, const shmc_section *section, uint32_t index) {
    struct shm_arena arena;
    const char *field;
    if (section->mapping != segment->now || !section->bound)
        return -EAGAIN;
    int r = directory_arena(&segment->now->directory, section->generation, index, &arena, &field);
    if (r == -EAGAIN)
        return r;
    if (r < 0 || !layout_place_in_force(arena.state))
        return error_set(segment->error, -EBADMSG,
                         "section '%s': the segment's header is damaged (arena %u); a running "
                         "manager repairs it within about a second",
                         section->name, index);
    if (mapping_writable(segment, arena.offset, arena.bytes))
        return 0;
    if (parts_are(segment->now))
        return parts_write(segment, index, &arena);
    r = allow(segment, section, &arena);
    if (r < 0)
        return r;
    r = make_writable(segment, &arena, index);
    return r == 0 ? 0
                  : error_set(segment->error, r, "section '%s' can't be mapped for writing: %s",
                              section->name, strerror(-r));
}

int mapping_write(shmc *segment, shmc_section *section, uint32_t index) {
    bool *done = index == section->descriptor.arena_index ? &section->own : &section->receives;
    if (!standing_is(section->mapping))
        return error_set(segment->error, -EACCES,
                         "section '%s': this process is a reader: attach as a worker, or with "
                         "SHMC_ANONYMOUS",
                         section->name);
    if (!standing_holds(section->mapping)) {
        int r = standing_check(segment, section->mapping);
        if (r < 0)
            return r;
    }
    if (*done)
        return 0;
    if (lock_take(&segment->lock) < 0)
        return error_note(section, -EBUSY, NOTE_BUSY, 0, 0);
    int r = write_arena(segment, section, index);
    if (r == 0)
        *done = true;
    lock_release(&segment->lock);
    return r;
}

/* As drop_ranges() says, it is then until it isn't the same arena any more. */
int mapping_inherit(const shmc *segment, const shmc_section *section) {
    const struct mapping *mapping = segment->now;
    if (section->mapping != mapping)
        return -EAGAIN;
    const struct range *range = writable_range(&mapping->ranges, section->descriptor.offset, 1);
    if (range == NULL)
        return -EAGAIN;
    return madvise(mapping->base + range->offset, range->bytes, MADV_DOFORK) < 0 ? -errno : 0;
}

struct attachments mapping_attachments(const struct mapping *mapping) {
    if (private_is(mapping))
        return private_attachments(mapping);
    return (struct attachments){
        .at = directory_attachment_shared(&mapping->directory, 0),
        .capacity = mapping->directory.header.attachments_capacity,
    };
}
