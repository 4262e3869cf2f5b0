/* SPDX-License-Identifier: Apache-2.0
 *
 * How slots and queues are divided, and their constants.
 */
#include "unit.h"

#include "core/crc32c.h"
#include "core/geometry.h"
#include "core/layout.h"

#include <stdlib.h>
#include <string.h>

static struct shm_section section(enum shm_kind kind, uint64_t size, uint32_t count,
                                  uint32_t flags) {
    return (struct shm_section){.kind = kind,
                                .size = size,
                                .count = count,
                                .flags = flags,
                                .bell_index = 7,
                                .section_id = 12,
                                .incarnation = 3};
}

START_TEST(slots_are_divided) {
    struct slots_geometry g;
    ck_assert(slots_geometry(&g, 64, 10, false));
    ck_assert_uint_eq(g.buffer_bytes, 96);
    ck_assert_uint_eq(g.stride, 256);
    ck_assert_uint_eq(g.bytes, 64 + 10 * 256);
    ck_assert(slots_geometry(&g, 1, 1, false));
    ck_assert_uint_eq(g.stride, 192);
    ck_assert(slots_geometry(&g, 65, 2, true));
    ck_assert_uint_eq(g.stride, 64 + 128);
}
END_TEST

START_TEST(nonsense_is_refused) {
    struct slots_geometry slots;
    struct queue_geometry queue;
    ck_assert(!slots_geometry(&slots, 0, 10, false));
    ck_assert(!slots_geometry(&slots, 64, 0, false));
    ck_assert(!slots_geometry(&slots, UINT64_MAX, 2, false));
    ck_assert(!slots_geometry(&slots, UINT64_C(1) << 46, UINT32_MAX, true));
    ck_assert(!queue_geometry(&queue, 0, 1));
    ck_assert(!queue_geometry(&queue, 4096, 0));
    ck_assert(!queue_geometry(&queue, UINT64_C(1) << 32, 1));
    ck_assert(!queue_geometry(&queue, 4096, SHM_ATTACHMENTS_MAX + 1));
}
END_TEST

START_TEST(queues_are_divided) {
    struct queue_geometry g;
    ck_assert(queue_geometry(&g, 65536, 4));
    ck_assert_uint_eq(g.records, 1024);
    ck_assert_uint_eq(g.max_message, 32768);
    ck_assert_uint_eq(g.stride, 256 + 1024 * 64 + 65536);
    ck_assert_uint_eq(g.lanes_bytes % SHM_PAGE, 0);
    ck_assert_uint_ge(g.lanes_bytes, 64 + 4 * g.stride);
    ck_assert_uint_eq(g.claims_stride, 64 + 1024 * 8);
    ck_assert_uint_eq(g.bytes, g.lanes_bytes + g.claims_bytes);
    ck_assert(queue_geometry(&g, 1, 1));
    ck_assert_uint_eq(g.records, GEOMETRY_RECORDS_MIN);
    ck_assert_uint_eq(g.data_bytes, 64);
    ck_assert(queue_geometry(&g, UINT32_MAX, SHM_ATTACHMENTS_MAX));
    ck_assert_uint_eq(g.records, GEOMETRY_RECORDS_MAX);
}
END_TEST

/* Each of the constants, when another byte stands there, is found and mended. */
static void damage_each(const struct shm_section *s, uint64_t bytes, uint64_t lane_off) {
    uint8_t *memory = aligned_alloc(SHM_LINE, bytes), *right = malloc(bytes);
    ck_assert(memory != NULL && right != NULL);
    memset(memory, 0, bytes);
    if (s->kind == SHM_KIND_QUEUE)
        queue_format(memory, s);
    else
        slots_format(memory, s);
    memcpy(right, memory, bytes);
    ck_assert_ptr_null(geometry_damage(memory, s));
    ck_assert_uint_eq(geometry_mend(memory, s), 0);
    for (size_t i = 0; i < sizeof(struct shm_control); i++) {
        memory[i] ^= 0x10;
        ck_assert_ptr_nonnull(geometry_damage(memory, s));
        ck_assert_uint_eq(geometry_mend(memory, s), 1);
        ck_assert_mem_eq(memory, right, bytes);
    }
    struct shm_lane *lane = (void *)(memory + lane_off);
    for (size_t i = 0; lane_off != 0 && i < offsetof(struct shm_lane, sent); i++) {
        memory[lane_off + i] ^= 0x10;
        ck_assert_ptr_nonnull(geometry_lane_damage(lane, 1, s));
        ck_assert_uint_eq(geometry_mend(memory, s), 1);
        ck_assert_mem_eq(memory, right, bytes);
    }
    free(memory);
    free(right);
}

START_TEST(damage_is_found_and_mended) {
    struct shm_section s = section(SHM_KIND_SLOTS, 100, 3, SHM_SECTION_SHARED);
    struct slots_geometry slots;
    ck_assert(slots_geometry(&slots, s.size, s.count, true));
    damage_each(&s, slots.bytes, 0);
    s = section(SHM_KIND_QUEUE, 1000, 2, 0);
    struct queue_geometry queue;
    ck_assert(queue_geometry(&queue, s.size, s.count));
    damage_each(&s, queue.bytes, sizeof(struct shm_control) + queue.stride);
}
END_TEST

/* Whoever writes a checksum, too, is found by what the constants have to be. */
START_TEST(sealed_nonsense_is_named) {
    const struct shm_section s = section(SHM_KIND_QUEUE, 1000, 2, 0);
    struct queue_geometry g;
    ck_assert(queue_geometry(&g, s.size, s.count));
    struct shm_control *control = aligned_alloc(SHM_LINE, g.bytes);
    ck_assert_ptr_nonnull(control);
#define NAMED(field, name)                                                                         \
    memset(control, 0, g.bytes);                                                                   \
    geometry_format(control, &s);                                                                  \
    control->field++;                                                                              \
    control->crc = CRC32C_OF((const struct shm_control *)control);                                 \
    ck_assert_str_eq(geometry_damage(control, &s), name)
    NAMED(magic, "control.magic");
    NAMED(abi, "control.abi");
    NAMED(count, "control.count");
    NAMED(bell_index, "control.bell_index");
    NAMED(section_id, "control.section_id");
    NAMED(incarnation, "control.incarnation");
    NAMED(buf_off, "control.buf_off");
    NAMED(stride, "control.stride");
    NAMED(records, "control.stride");
    free(control);
}
END_TEST

/* A descriptor without a geometry is one of nothing. */
START_TEST(no_geometry_no_constants) {
    struct shm_section s = section(SHM_KIND_QUEUE, 1000, 2, 0);
    struct queue_geometry g;
    ck_assert(queue_geometry(&g, s.size, s.count));
    uint8_t *memory = aligned_alloc(SHM_LINE, g.bytes);
    ck_assert_ptr_nonnull(memory);
    memset(memory, 0, g.bytes);
    geometry_format(memory, &s);
    const struct shm_lane *lane = (void *)(memory + sizeof(struct shm_control));
    s.size = 0;
    ck_assert_str_eq(geometry_lane_damage(lane, 0, &s), "size");
    ck_assert_str_eq(geometry_damage(memory, &s), "control.magic");
    s.kind = SHM_KIND_SLOTS;
    ck_assert_str_eq(geometry_damage(memory, &s), "control.magic");
    free(memory);
}
END_TEST

START_TEST(flags_may_change) {
    struct shm_section s = section(SHM_KIND_SLOTS, 100, 3, 0);
    uint8_t memory[1024] __attribute__((aligned(64))) = {0};
    slots_format(memory, &s);
    s.flags = SHM_SECTION_STAMP_NONE;
    ck_assert_ptr_null(geometry_damage(memory, &s));
}
END_TEST

UNIT_MAIN("geometry", slots_are_divided, nonsense_is_refused, queues_are_divided,
          damage_is_found_and_mended, sealed_nonsense_is_named, no_geometry_no_constants,
          flags_may_change)
