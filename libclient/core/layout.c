/* SPDX-License-Identifier: Apache-2.0
 *
 * Making and copying a layout, finding things in it, and the arithmetic of sizes.
 */
#include "layout.h"

#include "crc32c.h"
#include "geometry.h"
#include "table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The fixed tables grow with the segment: one record for so many bytes. */
#define BYTES_PER_RECORD UINT64_C(16384)
#define RECORDS_MIN      64u
#define RECORDS_MAX      16384u
#define BYTES_PER_BELL   UINT64_C(4096)
#define BELLS_MIN        256u
#define BELLS_MAX        262144u

_Static_assert(RECORDS_MAX <= SHM_ATTACHMENTS_MAX + 1, "an attachment's index has 14 bits");

static uint32_t clamp(uint64_t value, uint32_t low, uint32_t high) {
    return value < low ? low : value > high ? high : (uint32_t)value;
}

int layout_init(struct layout *ret, uint64_t segment_bytes) {
    if (segment_bytes < TABLE_SEGMENT_MIN || segment_bytes > TABLE_SEGMENT_MAX ||
        segment_bytes % SHM_PAGE != 0)
        return -EINVAL;
    const uint32_t records = clamp(segment_bytes / BYTES_PER_RECORD, RECORDS_MIN, RECORDS_MAX);
    const uint64_t attachments_off =
        layout_round(SHM_PAGE + records * sizeof(struct shm_worker), SHM_PAGE);
    const uint64_t end =
        layout_round(attachments_off + records * sizeof(struct shm_attachment), SHM_PAGE);
    *ret = (struct layout){
        .segment_bytes = segment_bytes,
        .arena_start = (uint32_t)end,
        .workers_off = SHM_PAGE,
        .workers_capacity = records,
        .attachments_off = (uint32_t)attachments_off,
        .attachments_capacity = records,
        .bells_capacity = clamp(segment_bytes / BYTES_PER_BELL, BELLS_MIN, BELLS_MAX),
    };
    return 0;
}

static int copy_array(void **ret, const void *from, size_t n, size_t size) {
    *ret = NULL;
    if (n == 0)
        return 0;
    *ret = reallocarray(NULL, n, size);
    if (*ret == NULL)
        return -ENOMEM;
    memcpy(*ret, from, n * size);
    return 0;
}

int layout_copy(struct layout *ret, const struct layout *from) {
    void *sections, *arenas = NULL, *workers = NULL;
    if (copy_array(&sections, from->sections, from->sections_used, sizeof *from->sections) < 0 ||
        copy_array(&arenas, from->arenas, from->arenas_used, sizeof *from->arenas) < 0 ||
        copy_array(&workers, from->workers, from->workers_used, sizeof *from->workers) < 0) {
        free(sections);
        free(arenas);
        return -ENOMEM;
    }
    *ret = *from;
    ret->sections = sections;
    ret->arenas = arenas;
    ret->workers = workers;
    return 0;
}

void layout_clear(struct layout *layout) {
    free(layout->sections);
    free(layout->arenas);
    free(layout->workers);
    *layout = (struct layout){0};
}

uint32_t layout_worker(const struct layout *layout, const char *name) {
    for (uint32_t i = 0; name[0] != '\0' && i < layout->workers_used; i++)
        if (strcmp(layout->workers[i], name) == 0)
            return i;
    return SHM_NONE;
}

uint32_t layout_section(const struct layout *layout, const char *name) {
    for (uint32_t i = 0; i < layout->sections_used; i++)
        if (layout_place_in_force(layout->sections[i].state) &&
            strcmp(layout->sections[i].name, name) == 0)
            return i;
    return SHM_NONE;
}

uint32_t layout_section_by_id(const struct layout *layout, uint64_t section_id) {
    for (uint32_t i = 0; i < layout->sections_used; i++)
        if (layout_place_in_force(layout->sections[i].state) &&
            layout->sections[i].section_id == section_id)
            return i;
    return SHM_NONE;
}

static void settle(struct layout *layout, struct shm_section *section, enum shm_place state) {
    section->state = state;
    section->old_slot = 0;
    section->old_ctl_off = 0;
    section->changed_gen = layout->generation;
    section->crc = CRC32C_OF((const struct shm_section *)section);
}

void layout_stamp(struct layout *layout, uint64_t real_ns) {
    for (uint32_t i = 0; i < layout->sections_used; i++) {
        struct shm_section *section = &layout->sections[i];
        if (section->state == SHM_PLACE_FREE || section->changed_gen != layout->generation)
            continue;
        section->changed_real_ns = real_ns;
        section->crc = CRC32C_OF((const struct shm_section *)section);
    }
}

void layout_leave(struct layout *layout, uint32_t slot, enum shm_place state) {
    layout->sections[slot].retired_gen = layout->generation;
    settle(layout, &layout->sections[slot], state);
}

void layout_arrive(struct layout *layout, uint32_t slot) {
    layout_leave(layout, layout->sections[slot].old_slot, SHM_PLACE_RETIRED);
    settle(layout, &layout->sections[slot], SHM_PLACE_LIVE);
}

/* Bytes of one more section and arena in a directory, its index entry included. */
#define ENTRY_BYTES (sizeof(uint32_t) + sizeof(struct shm_section) + sizeof(struct shm_arena))
/* So many that every offset within the directory fits its 32 bits. */
#define ENTRIES_MAX ((uint32_t)((UINT32_MAX - 2 * SHM_PAGE) / ENTRY_BYTES))

static uint64_t directory_end(const struct shm_directory *directory) {
    return directory->arenas_off + (uint64_t)directory->capacity * sizeof(struct shm_arena);
}

void layout_directory_offsets(uint32_t capacity, struct shm_directory *ret) {
    const uint64_t sections_off = layout_round(sizeof *ret + capacity * sizeof(uint32_t), SHM_LINE);
    ret->capacity = capacity;
    ret->arenas_capacity = capacity;
    ret->index_off = sizeof *ret;
    ret->sections_off = (uint32_t)sections_off;
    ret->arenas_off = (uint32_t)(sections_off + capacity * sizeof(struct shm_section));
}

uint64_t layout_directory_bytes(uint32_t sections, uint32_t arenas) {
    struct shm_directory directory;
    const uint32_t entries = sections > arenas ? sections : arenas;
    if (entries > ENTRIES_MAX)
        return UINT64_MAX / SHM_PAGE * SHM_PAGE;
    layout_directory_offsets(entries, &directory);
    return layout_round(directory_end(&directory), SHM_PAGE);
}

uint32_t layout_directory_capacity(uint64_t bytes) {
    struct shm_directory directory;
    if (bytes < sizeof directory)
        return 0;
    const uint64_t entries = (bytes - sizeof directory) / ENTRY_BYTES;
    uint32_t capacity = entries > ENTRIES_MAX ? ENTRIES_MAX : (uint32_t)entries;
    /* One fewer when the index's rounding takes the last one's place. */
    for (; capacity > 0; capacity--) {
        layout_directory_offsets(capacity, &directory);
        if (directory_end(&directory) <= bytes)
            break;
    }
    return capacity;
}

uint64_t layout_section_bytes(uint32_t kind, uint64_t size, uint32_t count, bool shared) {
    struct slots_geometry slots;
    struct queue_geometry queue;
    uint64_t stride, bytes;
    if (size == 0 || size > UINT64_MAX - 2 * SHM_LINE)
        return 0;
    switch (kind) {
    case SHM_KIND_RAW:
        return layout_round(size, SHM_LINE);
    case SHM_KIND_SNAPSHOT:
        stride = sizeof(struct shm_buffer) + layout_round(size, SHM_LINE);
        if (count == 0 || __builtin_mul_overflow(stride, (uint64_t)count, &bytes) ||
            __builtin_add_overflow(bytes, sizeof(struct shm_snapshot), &bytes))
            return 0;
        return bytes;
    case SHM_KIND_SLOTS:
        return slots_geometry(&slots, size, count, shared) ? slots.bytes : 0;
    case SHM_KIND_QUEUE:
        return queue_geometry(&queue, size, count) ? queue.bytes : 0;
    default:
        return 0;
    }
}

uint64_t layout_claims_at(const struct shm_section *section) {
    struct queue_geometry queue;
    return section->kind == SHM_KIND_QUEUE && queue_geometry(&queue, section->size, section->count)
               ? queue.lanes_bytes
               : 0;
}

bool layout_arena_of_owner(const struct layout *layout, uint32_t index) {
    if (layout->arenas[index].writers != SHM_WRITERS_OWNER)
        return false;
    for (uint32_t i = 0; i < layout->sections_used; i++)
        if (layout->sections[i].kind == SHM_KIND_QUEUE && layout->sections[i].claims_arena == index)
            return false;
    return true;
}

bool layout_record_owns(const char *record, const struct shm_section *section) {
    const size_t length = strnlen(section->owner, SHM_NAME_BYTES - 1);
    return strncmp(record, section->owner, length) == 0 &&
           (record[length] == '\0' ||
            (section->kind == SHM_KIND_QUEUE && strcmp(record + length, "#1") == 0));
}
