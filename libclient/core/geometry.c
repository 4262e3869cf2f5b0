/* SPDX-License-Identifier: Apache-2.0
 *
 * What is computed here is what the constants in the memory have to be, so that a damaged one is
 * found by comparing, and nothing that was read is computed with.
 */
#include "geometry.h"

#include "crc32c.h"
#include "layout.h"
#include "shared.h"
#include "snapshot.h"

#include <string.h>

/* One record for so many bytes of payload. */
#define BYTES_PER_RECORD 64u

#define CONTROL_FLAGS (SHM_SECTION_STAMP_COARSE | SHM_SECTION_STAMP_NONE | SHM_SECTION_SHARED)

#define SIZE_MAX_HERE (UINT64_C(1) << 46) /* beyond any segment: sums of a few don't overflow */

bool slots_geometry(struct slots_geometry *ret, uint64_t size, uint32_t count, bool shared) {
    if (size == 0 || size > UINT32_MAX || count == 0)
        return false;
    struct slots_geometry g = {.buffer_bytes = layout_round(size, SHM_LINE)};
    if (!shared)
        g.buffer_bytes = sizeof(struct shm_slot_buffer) + layout_round(size, 8);
    g.stride = layout_round(sizeof(struct shm_slot) + (shared ? 1 : 2) * g.buffer_bytes, SHM_LINE);
    if (__builtin_mul_overflow(g.stride, (uint64_t)count, &g.bytes) || g.bytes > SIZE_MAX_HERE)
        return false;
    g.bytes += sizeof(struct shm_control);
    *ret = g;
    return true;
}

static uint32_t records_for(uint64_t data_bytes) {
    uint32_t records = GEOMETRY_RECORDS_MIN;
    while (records < GEOMETRY_RECORDS_MAX && records < data_bytes / BYTES_PER_RECORD)
        records *= 2;
    return records;
}

bool queue_geometry(struct queue_geometry *ret, uint64_t size, uint32_t count) {
    if (size == 0 || size > UINT32_MAX || count == 0 || count > SHM_ATTACHMENTS_MAX)
        return false;
    struct queue_geometry g = {.data_bytes = layout_round(size, SHM_LINE)};
    g.records = records_for(g.data_bytes);
    g.max_message = (uint32_t)(g.data_bytes / 2);
    g.stride = sizeof(struct shm_lane) + g.records * sizeof(struct shm_record) + g.data_bytes;
    g.lanes_bytes = layout_round(sizeof(struct shm_control) + count * g.stride, SHM_PAGE);
    g.claims_stride = sizeof(struct shm_claims) + g.records * sizeof(uint64_t);
    g.claims_bytes = layout_round(count * g.claims_stride, SHM_PAGE);
    g.bytes = g.lanes_bytes + g.claims_bytes;
    *ret = g;
    return true;
}

/* ---- the constants */

static void control_of(struct shm_control *ret, const struct shm_section *section) {
    *ret = (struct shm_control){
        .abi = SHM_ABI,
        .count = section->count,
        .bell_index = section->bell_index,
        .section_id = section->section_id,
        .incarnation = section->incarnation,
        .buf_off = sizeof *ret,
        .flags = section->flags & CONTROL_FLAGS,
    };
    struct slots_geometry slots;
    struct queue_geometry queue;
    if (section->kind == SHM_KIND_SLOTS &&
        slots_geometry(&slots, section->size, section->count,
                       (section->flags & SHM_SECTION_SHARED) != 0)) {
        ret->magic = SHM_CONTROL_SLOTS;
        ret->stride = slots.stride;
    } else if (section->kind == SHM_KIND_QUEUE &&
               queue_geometry(&queue, section->size, section->count)) {
        ret->magic = SHM_CONTROL_QUEUE;
        ret->stride = queue.stride;
        ret->records = queue.records;
    }
    ret->crc = CRC32C_OF((const struct shm_control *)ret);
}

/* A lane's first line, which is all that has a checksum of it. */
#define LANE_CONSTANTS offsetof(struct shm_lane, sent)

static void lane_of(struct shm_lane *ret, uint32_t index, const struct shm_section *section,
                    const struct queue_geometry *g) {
    *ret = (struct shm_lane){
        .magic = SHM_CONTROL_QUEUE,
        .lane = index,
        .section_id = section->section_id,
        .incarnation = section->incarnation,
        .records = g->records,
        .max_message = g->max_message,
        .data_bytes = g->data_bytes,
    };
    ret->crc = CRC32C_OF((const struct shm_lane *)ret);
}

static struct shm_lane *lane_at(void *memory, uint32_t index, const struct queue_geometry *g) {
    return (struct shm_lane *)(void *)((uint8_t *)memory + sizeof(struct shm_control) +
                                       index * g->stride);
}

void slots_format(void *memory, const struct shm_section *section) {
    struct shm_control control;
    control_of(&control, section);
    shared_copy_to(memory, &control, sizeof control);
}

void queue_format(void *memory, const struct shm_section *section) {
    struct queue_geometry g;
    struct shm_lane lane;
    slots_format(memory, section);
    for (uint32_t i = 0; queue_geometry(&g, section->size, section->count) && i < section->count;
         i++) {
        lane_of(&lane, i, section, &g);
        shared_copy_to(lane_at(memory, i, &g), &lane, LANE_CONSTANTS);
    }
}

void geometry_format(void *memory, const struct shm_section *section) {
    if (section->kind == SHM_KIND_SNAPSHOT)
        snapshot_format(memory, section);
    else if (section->kind == SHM_KIND_SLOTS)
        slots_format(memory, section);
    else if (section->kind == SHM_KIND_QUEUE)
        queue_format(memory, section);
}

/* ---- what became of them */

const char *geometry_damage(const void *memory, const struct shm_section *section) {
    struct shm_control found, right;
    shared_copy_from(&found, memory, sizeof found);
    control_of(&right, section);
    if (found.magic != right.magic)
        return "control.magic";
    if (found.crc != CRC32C_OF((const struct shm_control *)&found))
        return "control.crc";
    if (found.abi != right.abi)
        return "control.abi";
    if (found.count != right.count)
        return "control.count";
    if (found.bell_index != right.bell_index)
        return "control.bell_index";
    if (found.section_id != right.section_id)
        return "control.section_id";
    if (found.incarnation != right.incarnation)
        return "control.incarnation";
    if (found.buf_off != right.buf_off)
        return "control.buf_off";
    if (found.stride != right.stride || found.records != right.records)
        return "control.stride";
    return NULL; /* the flags aren't compared: the table may change them in place */
}

const char *geometry_lane_damage(const struct shm_lane *lane, uint32_t index,
                                 const struct shm_section *section) {
    struct shm_lane found, right;
    struct queue_geometry g;
    shared_copy_from(&found, lane, LANE_CONSTANTS);
    if (!queue_geometry(&g, section->size, section->count))
        return "size";
    lane_of(&right, index, section, &g);
    if (found.magic != right.magic)
        return "lane.magic";
    return memcmp(&found, &right, LANE_CONSTANTS) == 0 ? NULL : "lane.crc";
}

unsigned geometry_mend(void *memory, const struct shm_section *section) {
    struct queue_geometry g;
    struct shm_lane lane;
    unsigned mended = 0;
    if (geometry_damage(memory, section) != NULL) {
        slots_format(memory, section);
        mended++;
    }
    if (section->kind != SHM_KIND_QUEUE || !queue_geometry(&g, section->size, section->count))
        return mended;
    for (uint32_t i = 0; i < section->count; i++)
        if (geometry_lane_damage(lane_at(memory, i, &g), i, section) != NULL) {
            lane_of(&lane, i, section, &g);
            shared_copy_to(lane_at(memory, i, &g), &lane, LANE_CONSTANTS);
            mended++;
        }
    return mended;
}
