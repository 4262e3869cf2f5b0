/* SPDX-License-Identifier: Apache-2.0
 *
 * What an edit does to the memory of sections whose control lines somebody damaged: those that move
 * bring their values along, and those that stay are left to the tick.
 */
#include "backend.h"
#include "core/geometry.h"
#include "plan_fixture.h"
#include "relocate.h"

#include <sys/mman.h>

static struct segment segment;

static void open_memory(void) {
    const struct layout none = {0};
    struct relocation *left;
    char error[256];
    start_with_x();
    segment = (struct segment){.backend = &backend_sysv, .id = -1, .bytes = MIB};
    segment.base = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(segment.base, MAP_FAILED);
    segment.bells = calloc(running.bells_capacity + 1, sizeof(struct shm_bell));
    ck_assert_ptr_nonnull(segment.bells);
    ck_assert_int_eq(image_open(&segment.image, segment.base, MIB), 0);
    image_create(&segment.image, &running, &(struct image_identity){.segment_id = 7});
    ck_assert_int_eq(segment_prepare(&segment, &none, &running, &left, error, sizeof error), 0);
}

static void close_memory(void) {
    image_close(&segment.image);
    munmap(segment.base, MIB);
    free(segment.bells);
    stop();
}

static void publish(const char *name, const char *text) {
    struct segment_place place;
    struct snapshot_writer writer;
    ck_assert_int_eq(segment_place(&segment, &running, section(name), &place), 0);
    ck_assert_int_eq(snapshot_take_over(&writer, &place.now, 1), 0);
    ck_assert_int_eq(snapshot_publish(&writer, text, strlen(text)), 0);
}

static const char *value_of(const char *name) {
    static char text[64];
    struct segment_place place;
    struct snapshot_reader reader;
    struct snapshot_value value;
    const void *data;
    ck_assert_int_eq(segment_place(&segment, &running, section(name), &place), 0);
    snapshot_reader_init(&reader, &place.now);
    ck_assert_int_eq(snapshot_view(&reader, &data, &value), 0);
    snprintf(text, sizeof text, "%.*s", (int)value.length, (const char *)data);
    return text;
}

static bool is_damaged(const char *name) {
    struct segment_place place;
    return segment_place(&segment, &running, section(name), &place) == -EBADMSG;
}

static void damage(const char *name) {
    memset((uint8_t *)segment.base + section(name)->ctl_off, 0x5a, sizeof(struct shm_control));
    ck_assert(is_damaged(name));
}

static void edit(void) {
    struct plan plan;
    struct relocation *left;
    ck_assert_int_eq(plan_make(&plan, &running, &table, NULL), 0);
    ck_assert_int_eq(
        segment_prepare(&segment, &running, &plan.next, &left, plan.error, sizeof plan.error), 0);
    adopt(&plan);
}

START_TEST(a_damaged_section_moves_with_its_value) {
    open_memory();
    publish("a", "older");
    publish("a", "newest");
    publish("b", "other");
    damage("a");
    damage("b");
    table.sections[0].size = 2000;
    edit();
    ck_assert_uint_eq(section("a")->incarnation, 1);
    ck_assert_str_eq(value_of("a"), "newest");
    ck_assert(is_damaged("b"));
    ck_assert_uint_eq(segment_mend_controls(&segment, &running), 1);
    ck_assert_str_eq(value_of("b"), "other");
    ck_assert_uint_eq(segment_mend_controls(&segment, &running), 0);
    close_memory();
}
END_TEST

START_TEST(an_edit_of_others_looks_at_none) {
    open_memory();
    publish("a", "newest");
    damage("a");
    add("c", "y", 100);
    table.sections[1].stale_ms = 5;
    edit();
    ck_assert(is_damaged("a"));
    ck_assert(!is_damaged("c"));
    ck_assert_uint_eq(segment_mend_controls(&segment, &running), 1);
    ck_assert_str_eq(value_of("a"), "newest");
    close_memory();
}
END_TEST

static uint8_t *memory_of(const char *name) {
    return (uint8_t *)segment.base + section(name)->ctl_off;
}

static struct table_section *add_many(const char *name, enum shm_kind kind, uint64_t size) {
    struct table_section *row = add(name, "y", size);
    row->kind = kind;
    return row;
}

/* Their constants are made and mended by the manager, and what is in them goes with them. */
START_TEST(slots_and_queues_are_made_mended_and_moved) {
    struct queue_geometry g;
    open_memory();
    struct table_section *s = add_many("s", SHM_KIND_SLOTS, 100);
    struct table_section *q = add_many("q", SHM_KIND_QUEUE, 1000);
    edit();
    ck_assert(queue_geometry(&g, 1000, 4));
    ck_assert_ptr_null(geometry_damage(memory_of("s"), section("s")));
    ck_assert_ptr_null(geometry_damage(memory_of("q"), section("q")));
    struct shm_slot *slot = (struct shm_slot *)(void *)(memory_of("s") + 64);
    slot->grabs = 77;
    uint64_t *claim = (uint64_t *)(void *)(memory_of("q") + g.lanes_bytes + 3 * g.claims_stride +
                                           64 + 15 * sizeof *claim);
    const uint64_t done = UINT64_C(95) << 32 | (uint64_t)SHM_CLAIM_DONE << SHM_CLAIM_STATE_SHIFT;
    *claim = done;
    struct shm_lane *lane = (struct shm_lane *)(void *)(memory_of("q") + 64 + 3 * g.stride);
    lane->sent = 99;
    lane->lane = 7;
    memset(memory_of("s"), 0, sizeof(struct shm_control));
    ck_assert_uint_eq(segment_mend_controls(&segment, &running), 2);
    ck_assert_ptr_null(geometry_damage(memory_of("s"), section("s")));
    ck_assert_ptr_null(geometry_lane_damage(lane, 3, section("q")));
    lane->lane = 7;
    const uint64_t from = section("q")->offset;
    s->write_class = q->write_class = 5;
    edit();
    ck_assert_uint_ne(section("q")->offset, from);
    slot = (struct shm_slot *)(void *)(memory_of("s") + 64);
    lane = (struct shm_lane *)(void *)(memory_of("q") + 64 + 3 * g.stride);
    claim = (uint64_t *)(void *)(memory_of("q") + g.lanes_bytes + 3 * g.claims_stride + 64 +
                                 15 * sizeof *claim);
    ck_assert_uint_eq(slot->grabs, 77);
    ck_assert_uint_eq(lane->sent, 99);
    ck_assert_uint_eq(*claim, done);
    ck_assert_uint_eq(segment_mend_controls(&segment, &running), 0);
    q->count = 3; /* divided otherwise, it means nothing */
    edit();
    ck_assert(queue_geometry(&g, 1000, 3));
    ck_assert_ptr_null(geometry_damage(memory_of("q"), section("q")));
    lane = (struct shm_lane *)(void *)(memory_of("q") + 64);
    ck_assert_uint_eq(lane->sent, 0);
    close_memory();
}
END_TEST

/* Receivers sleep on the bell, senders on the kicks of their lanes. */
START_TEST(who_sleeps_on_a_queue_is_woken) {
    struct queue_geometry g;
    open_memory();
    add_many("q", SHM_KIND_QUEUE, 1000);
    edit();
    ck_assert(queue_geometry(&g, 1000, 4));
    const struct shm_bell *bell =
        (const struct shm_bell *)(const void *)segment.bells + 1 + section("q")->bell_index;
    const uint8_t *claims = (const uint8_t *)segment.base + section("q")->claims_off;
    const struct shm_claims *last =
        (const struct shm_claims *)(const void *)(claims + 3 * g.claims_stride);
    const uint32_t ring = bell->ring, kick = last->kick;
    segment_wake(&segment, &running, section("q"));
    ck_assert_uint_eq(bell->ring, ring + 1);
    ck_assert_uint_eq(last->kick, kick + 1);
    /* so that he finds it removed */
    drop(table.sections_n - 1);
    edit();
    segment_wake_left(&segment, &running);
    ck_assert_uint_eq(bell->ring, ring + 2);
    ck_assert_uint_eq(last->kick, kick + 2);
    close_memory();
}
END_TEST

UNIT_MAIN("segment_sections", a_damaged_section_moves_with_its_value,
          an_edit_of_others_looks_at_none, slots_and_queues_are_made_mended_and_moved,
          who_sleeps_on_a_queue_is_woken)
