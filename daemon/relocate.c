/* SPDX-License-Identifier: Apache-2.0
 *
 * Copies values out of arenas that are replaced by fresh memory while somebody may be writing
 * there.
 */
#include "backend.h"
#include "core/crc32c.h"
#include "core/futex.h"
#include "core/memfd.h"
#include "core/snapshot.h"
#include "journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define TRIES 1000 /* views of a value whose writer doesn't stop */

/* An arena's memory before. */
struct relocation {
    uint32_t index;
    uint64_t offset, bytes;
    void *at;
    struct relocation *next;
};

static bool replaced(const struct layout *running, const struct layout *next, uint32_t index) {
    return layout_place_in_force(next->arenas[index].state) &&
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

void segment_leave(struct relocation *list, const struct layout *layout) {
    for (struct relocation *old; (old = list) != NULL; free(old)) {
        list = old->next;
        for (uint32_t i = 0; layout != NULL && i < layout->sections_used; i++) {
            const struct shm_section *section = &layout->sections[i];
            if (layout_place_in_force(section->state) && section->arena_index == old->index &&
                section->kind == SHM_KIND_SNAPSHOT)
                futex_wake((const uint32_t *)(const void *)((const uint8_t *)old->at +
                                                            (section->ctl_off - old->offset) +
                                                            offsetof(struct shm_snapshot, head)));
        }
        munmap(old->at, old->bytes);
    }
}

/* ---- values */

/* The newest value, in buffer 0 of a section that nobody has seen yet. */
static void put_value(uint8_t *control, const struct snapshot_value *value, const void *data) {
    struct shm_snapshot *snapshot = (struct shm_snapshot *)(void *)control;
    uint8_t *buffer = control + snapshot->control.buf_off;
    const struct shm_buffer head = {.seq = 2 * value->version,
                                    .len = value->length,
                                    .mono_ns = value->mono_ns,
                                    .real_ns = value->real_ns,
                                    .epoch = value->epoch};
    memcpy(buffer, &head, sizeof head);
    memcpy(buffer + SHM_LINE, data, value->length);
    snapshot->head = value->version << SHM_HEAD_VERSION_SHIFT;
}

/* 0, also where nothing was published; -EBADMSG: nothing whole was to be had. */
static int copy_snapshot(uint8_t *to, void *from, const struct shm_section *section) {
    struct snapshot bound;
    struct snapshot_reader reader;
    struct snapshot_value value;
    const void *data;
    const char *field;
    snapshot_format(to, section);
    if (snapshot_bind(&bound, from, section, NULL, &field) < 0)
        return -EBADMSG;
    snapshot_reader_init(&reader, &bound);
    for (int try = 0; try < TRIES; try++) {
        int r = snapshot_view(&reader, &data, &value);
        if (r == -ENODATA)
            return 0;
        if (r < 0)
            continue;
        put_value(to, &value, data);
        if (snapshot_valid(&reader, &value))
            return 0;
    }
    return -EBADMSG;
}

/* A value that couldn't be had whole is none: the section begins anew. */
static void copy_section(const struct segment *s, const struct layout *next,
                         struct shm_section *section, const struct relocation *old) {
    uint8_t *to = (uint8_t *)s->base + section->ctl_off;
    uint8_t *from = (uint8_t *)old->at + (section->ctl_off - old->offset);
    if (section->kind == SHM_KIND_RAW) {
        memcpy(to, from, section->size);
    } else if (copy_snapshot(to, from, section) < 0) {
        journal(LOG_WARNING, JOURNAL_TROUBLE,
                "section '%s': its holder left no whole value, and it begins empty", section->name);
        section->incarnation = next->generation;
        section->changed_gen = next->generation;
        section->crc = CRC32C_OF((const struct shm_section *)section);
        memset(to, 0, section->bytes);
        snapshot_format(to, section);
    }
}

static void copy_sections(const struct segment *s, struct layout *next,
                          const struct relocation *list) {
    for (const struct relocation *old = list; old != NULL; old = old->next)
        for (uint32_t i = 0; i < next->sections_used; i++)
            if (layout_place_in_force(next->sections[i].state) &&
                next->sections[i].arena_index == old->index)
                copy_section(s, next, &next->sections[i], old);
}

int segment_relocate(struct segment *s, const struct layout *running, struct layout *next,
                     struct relocation **ret, char *error, size_t error_bytes) {
    int r = 0;
    *ret = NULL;
    for (uint32_t i = 0; r == 0 && i < next->arenas_used; i++)
        if (replaced(running, next, i))
            r = map_old(s, running, i, ret);
    if (r < 0)
        snprintf(error, error_bytes, "the memory to be left can't be mapped: %s", strerror(-r));
    else
        r = segment_prepare(s, next, error, error_bytes);
    if (r == 0)
        copy_sections(s, next, *ret);
    return r;
}
