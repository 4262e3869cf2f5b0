/* SPDX-License-Identifier: Apache-2.0
 *
 * Sizes and capacities agree with one another, and the check finds each thing that is wrong.
 */
#include "core/crc32c.h"
#include "core/layout.h"
#include "core/table.h"
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MIB (UINT64_C(1) << 20)

START_TEST(fixed_tables) {
    static const struct {
        uint64_t bytes;
        uint32_t workers, bells;
    } cases[] = {
        {MIB, 64, 256},
        {2 * MIB, 128, 512},
        {64 * MIB, 4096, 16384},
        {1024 * MIB, 16384, 262144},
        {TABLE_SEGMENT_MAX, 16384, 262144},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct layout layout;
        char error[128] = "";
        ck_assert_int_eq(layout_init(&layout, cases[i].bytes), 0);
        ck_assert_uint_eq(layout.workers_off, SHM_PAGE);
        ck_assert_uint_eq(layout.workers_capacity, cases[i].workers);
        ck_assert_uint_eq(layout.attachments_capacity, cases[i].workers);
        ck_assert_uint_eq(layout.bells_capacity, cases[i].bells);
        ck_assert_uint_eq(layout.attachments_off % SHM_PAGE, 0);
        ck_assert_uint_eq(layout.arena_start % SHM_PAGE, 0);
        ck_assert_int_eq(layout_check(&layout, error, sizeof error), 0);
    }
    struct layout untouched = {.generation = 7};
    ck_assert_int_eq(layout_init(&untouched, MIB - SHM_PAGE), -EINVAL);
    ck_assert_int_eq(layout_init(&untouched, MIB + 1), -EINVAL);
    ck_assert_int_eq(layout_init(&untouched, 0), -EINVAL);
    ck_assert_int_eq(layout_init(&untouched, UINT64_MAX - SHM_PAGE + 1), -EINVAL);
    ck_assert_uint_eq(untouched.generation, 7);
}
END_TEST

START_TEST(directory_arithmetic) {
    for (uint32_t n = 1; n < 3000; n++) {
        const uint64_t bytes = layout_directory_bytes(n, n / 2);
        struct shm_directory d = {0};
        ck_assert_uint_eq(bytes, layout_directory_bytes(n / 3, n));
        ck_assert_uint_eq(bytes % SHM_PAGE, 0);
        const uint32_t capacity = layout_directory_capacity(bytes);
        ck_assert_uint_ge(capacity, n);
        ck_assert_uint_eq(layout_directory_bytes(capacity, capacity), bytes);
        ck_assert_uint_gt(layout_directory_bytes(capacity + 1, 0), bytes);
        layout_directory_offsets(capacity, &d);
        ck_assert_uint_eq(d.capacity, capacity);
        ck_assert_uint_eq(d.arenas_capacity, capacity);
        ck_assert_uint_ge(d.index_off, sizeof d);
        ck_assert_uint_ge(d.sections_off, d.index_off + capacity * sizeof(uint32_t));
        ck_assert_uint_ge(d.arenas_off, d.sections_off + capacity * sizeof(struct shm_section));
        ck_assert_uint_le(d.arenas_off + capacity * sizeof(struct shm_arena), bytes);
        ck_assert_uint_eq((d.sections_off | d.arenas_off) % SHM_LINE, 0);
    }
    for (uint64_t bytes = 64; bytes < 20000; bytes += 4) {
        struct shm_directory d = {0};
        const uint32_t capacity = layout_directory_capacity(bytes);
        layout_directory_offsets(capacity, &d);
        ck_assert_uint_le(d.arenas_off + capacity * sizeof(struct shm_arena),
                          capacity > 0 ? bytes : UINT64_MAX);
        layout_directory_offsets(capacity + 1, &d); /* and not one more */
        ck_assert_uint_gt(d.arenas_off + (capacity + 1) * sizeof(struct shm_arena), bytes);
    }
    ck_assert_uint_eq(layout_directory_capacity(0), 0);
    ck_assert_uint_eq(layout_directory_capacity(63), 0);
    ck_assert_uint_eq(layout_directory_capacity(64), 0);
    ck_assert_uint_gt(layout_directory_capacity(UINT64_MAX), 9000000);
    ck_assert_uint_gt(layout_directory_bytes(UINT32_MAX, 0), UINT64_MAX / 2);
}
END_TEST

START_TEST(section_arithmetic) {
    ck_assert_uint_eq(layout_section_bytes(SHM_KIND_RAW, 1, 0, false), 64);
    ck_assert_uint_eq(layout_section_bytes(SHM_KIND_RAW, 64, 0, false), 64);
    ck_assert_uint_eq(layout_section_bytes(SHM_KIND_RAW, 65, 0, false), 128);
    ck_assert_uint_eq(layout_section_bytes(SHM_KIND_SNAPSHOT, 1, 2, false), 192 + 2 * 128);
    ck_assert_uint_eq(layout_section_bytes(SHM_KIND_SNAPSHOT, 65536, 4, false), 192 + 4 * 65600);
    ck_assert_uint_eq(layout_section_bytes(SHM_KIND_SNAPSHOT, 10, 0, false), 0);
    ck_assert_uint_eq(layout_section_bytes(SHM_KIND_RAW, 0, 0, false), 0);
    ck_assert_uint_eq(layout_section_bytes(SHM_KIND_RAW, UINT64_MAX, 0, false), 0);
    ck_assert_uint_eq(layout_section_bytes(SHM_KIND_SNAPSHOT, UINT64_MAX / 2, 4, false), 0);
    ck_assert_uint_eq(layout_section_bytes(SHM_KIND_SNAPSHOT, UINT64_MAX - 200, 2, false), 0);
    ck_assert_uint_eq(layout_section_bytes(SHM_KIND_SNAPSHOT, UINT64_MAX - 191, 1, false), 0);
    ck_assert_uint_eq(layout_section_bytes(SHM_KIND_SLOTS, 64, 4, false),
                      64 + 4 * (64 + 2 * (32 + 64)));
    ck_assert_uint_eq(layout_section_bytes(SHM_KIND_SLOTS, 64, 4, true), 64 + 4 * (64 + 64));
    ck_assert_uint_eq(layout_section_bytes(SHM_KIND_SLOTS, UINT64_C(1) << 32, 1, true), 0);
    ck_assert_uint_eq(layout_section_bytes(SHM_KIND_QUEUE, 1024, 4, false), 12288 + 4096);
    ck_assert_uint_eq(layout_section_bytes(SHM_KIND_QUEUE, UINT64_C(1) << 32, 1, false), 0);
    ck_assert_uint_eq(layout_section_bytes(99, 64, 4, false), 0);
}
END_TEST

/* ---- a small layout that is right: two workers, an arena each, three sections, one retired */

enum { SECTIONS = 4, ARENAS = 3, WORKERS = 2 };

static void seal(struct layout *layout) {
    for (uint32_t i = 0; i < layout->sections_used; i++)
        if (layout->sections[i].state != SHM_PLACE_FREE)
            layout->sections[i].crc = CRC32C_OF(&layout->sections[i]);
    for (uint32_t i = 0; i < layout->arenas_used; i++)
        if (layout->arenas[i].state != SHM_PLACE_FREE)
            layout->arenas[i].crc = CRC32C_OF(&layout->arenas[i]);
}

static struct shm_section make_section(const char *name, uint64_t id, uint32_t arena,
                                       uint64_t offset) {
    struct shm_section s = {
        .section_id = id,
        .incarnation = 1,
        .changed_gen = 2,
        .offset = offset,
        .bytes = layout_section_bytes(SHM_KIND_SNAPSHOT, 100, 4, false),
        .ctl_off = offset,
        .size = 100,
        .kind = SHM_KIND_SNAPSHOT,
        .state = SHM_PLACE_LIVE,
        .count = 4,
        .owner_index = arena,
        .bell_index = (uint32_t)id,
        .arena_index = arena,
    };
    snprintf(s.name, sizeof s.name, "%s", name);
    snprintf(s.owner, sizeof s.owner, "worker%u", arena);
    return s;
}

static void make(struct layout *layout) {
    ck_assert_int_eq(layout_init(layout, MIB), 0);
    layout->generation = 3;
    uint64_t at = layout->arena_start;
    const uint64_t bytes = layout_directory_bytes(64, 64);
    for (int i = 0; i < 2; i++, at += bytes)
        layout->directories[i] = (struct shm_directory_place){at, bytes};
    layout->workers = calloc(WORKERS, sizeof *layout->workers);
    layout->workers_used = WORKERS;
    layout->arenas = calloc(ARENAS, sizeof *layout->arenas);
    layout->arenas_used = ARENAS;
    for (uint32_t i = 0; i < WORKERS; i++, at += 8192) {
        snprintf(layout->workers[i], SHM_NAME_BYTES, "worker%u", i);
        layout->arenas[i] = (struct shm_arena){
            .offset = at, .bytes = 8192, .incarnation = 1, .owner_index = i, .state = 1};
    }
    layout->sections = calloc(SECTIONS, sizeof *layout->sections);
    layout->sections_used = SECTIONS;
    layout->sections[0] = make_section("a", 1, 0, layout->arenas[0].offset);
    layout->sections[1] = make_section("b", 2, 0, layout->arenas[0].offset + 1024);
    layout->sections[2] = make_section("c", 3, 1, layout->arenas[1].offset);
    layout->sections[2].state = SHM_PLACE_RETIRED;
    layout->sections[2].retired_gen = 2;
    seal(layout);
}

/* c is a queue of worker1's, with its claims in an arena behind the lanes'; or slots. */
static void set_queue(struct layout *l) {
    struct shm_section *s = &l->sections[2];
    const struct shm_arena lanes = l->arenas[1];
    s->kind = SHM_KIND_QUEUE;
    s->state = SHM_PLACE_LIVE;
    s->retired_gen = 0;
    s->count = 1;
    s->bytes = layout_section_bytes(SHM_KIND_QUEUE, s->size, 1, false);
    s->write_class = 8;
    s->claims_off = s->offset + 4096;
    s->claims_arena = 2;
    l->arenas[2] = l->arenas[1];
    l->arenas[2].offset = lanes.offset + 4096;
    l->arenas[1].bytes = l->arenas[2].bytes = 4096;
    l->arenas[1].writers = SHM_WRITERS_CLASS;
    l->arenas[1].write_class = 8;
    seal(l);
}

static void set_slots(struct layout *l) {
    set_queue(l);
    struct shm_section *s = &l->sections[2];
    s->kind = SHM_KIND_SLOTS;
    s->claims_off = 0;
    s->claims_arena = 0;
    s->bytes = layout_section_bytes(SHM_KIND_SLOTS, s->size, 1, false);
    l->arenas[2] = (struct shm_arena){0};
    seal(l);
}

typedef void breaker(struct layout *layout);

#define BREAK(name, ...)                                                                           \
    static void name(struct layout *l) {                                                           \
        __VA_ARGS__;                                                                               \
    }
BREAK(segment_size, l->segment_bytes += 1)
BREAK(segment_small, l->segment_bytes = 4096)
BREAK(workers_into_attachments, l->workers_capacity += 64)
BREAK(attachments_beyond, l->attachments_off = l->arena_start)
BREAK(arena_start_odd, l->arena_start += 64)
BREAK(no_bells, l->bells_capacity = 0)
BREAK(too_many_workers, l->workers_capacity = 1)
BREAK(directory_low, l->directories[0].offset = SHM_PAGE)
BREAK(directory_high, l->directories[1].bytes = UINT64_MAX - SHM_PAGE + 1)
BREAK(directory_gone, l->directories[1] = (struct shm_directory_place){0})
BREAK(directory_gone_for_arenas, l->directories[1] = (struct shm_directory_place){0};
      l->sections_used = 0)
BREAK(directories_overlap, l->directories[0].offset += SHM_PAGE)
BREAK(worker_name, l->workers[1][0] = '7')
BREAK(worker_unterminated, memset(l->workers[1], 'x', SHM_NAME_BYTES))
BREAK(worker_dirt, l->workers[1][20] = 'x')
BREAK(worker_twice, memcpy(l->workers[1], l->workers[0], SHM_NAME_BYTES))
BREAK(arena_crc, l->arenas[0].crc ^= 1)
BREAK(arena_dirt, l->arenas[2].bytes = 4096)
BREAK(arena_state, l->arenas[0].state = SHM_PLACE_MOVING; seal(l))
BREAK(arena_retired, l->arenas[0].retired_gen = 2; seal(l))
BREAK(arena_never_retired, l->arenas[1].state = SHM_PLACE_RETIRED; seal(l))
BREAK(arena_retired_later, l->arenas[1].state = SHM_PLACE_RETIRED; l->arenas[1].retired_gen = 4;
      seal(l))
BREAK(arena_first, l->arenas[0].incarnation = 0; seal(l))
BREAK(arena_offset, l->arenas[0].offset += 64; seal(l))
BREAK(arena_outside, l->arenas[1].offset = l->segment_bytes; seal(l))
BREAK(arena_wraps, l->arenas[1].bytes = UINT64_MAX - SHM_PAGE + 1; seal(l))
BREAK(arena_empty, l->arenas[1].bytes = 0; seal(l))
BREAK(arena_future, l->arenas[0].incarnation = 4; seal(l))
BREAK(arena_owner, l->arenas[0].owner_index = 2; seal(l))
BREAK(arena_ownerless, memset(l->workers[1], 0, SHM_NAME_BYTES))
BREAK(arenas_overlap, l->arenas[0].bytes += SHM_PAGE; seal(l))
BREAK(arena_on_directory, l->arenas[0].offset -= SHM_PAGE; l->arenas[0].bytes += SHM_PAGE; seal(l))
BREAK(section_crc, l->sections[0].name[0] = 'x')
BREAK(section_dirt, l->sections[3].size = 1)
BREAK(section_state, l->sections[0].state = 6; seal(l))
BREAK(section_id, l->sections[0].section_id = 0; seal(l))
BREAK(section_first, l->sections[0].incarnation = 0; seal(l))
BREAK(section_incarnation, l->sections[0].incarnation = 3; seal(l))
BREAK(section_future, l->sections[0].changed_gen = 4; seal(l))
BREAK(section_never_retired, l->sections[2].retired_gen = 0; seal(l))
BREAK(section_retired, l->sections[0].retired_gen = 1; seal(l))
BREAK(section_bell, l->sections[0].bell_index = l->bells_capacity; seal(l))
BREAK(section_name, l->sections[0].name[0] = '#'; seal(l))
BREAK(section_name_dirt, l->sections[0].name[9] = 'x'; seal(l))
BREAK(section_owner, l->sections[0].owner[0] = ' '; seal(l))
BREAK(section_format, l->sections[0].format[0] = '\n'; seal(l))
BREAK(section_arena, l->sections[0].arena_index = ARENAS; seal(l))
BREAK(section_free_arena, l->sections[0].arena_index = 2; seal(l))
BREAK(section_left_behind, l->arenas[0].state = SHM_PLACE_RETIRED; l->arenas[0].retired_gen = 2;
      seal(l))
BREAK(section_offset, l->sections[0].offset += 8; l->sections[0].ctl_off += 8; seal(l))
BREAK(section_beyond, l->sections[1].offset += 7168; l->sections[1].ctl_off += 7168; seal(l))
BREAK(section_wraps, l->sections[1].bytes = UINT64_MAX - 63; seal(l))
BREAK(section_pinned, l->sections[1].flags = SHM_SECTION_PINNED; seal(l))
BREAK(section_control, l->sections[0].ctl_off += 64; seal(l))
BREAK(section_old, l->sections[0].old_ctl_off = l->arenas[1].offset; seal(l))
BREAK(section_moving, l->sections[0].state = SHM_PLACE_MOVING; seal(l))
BREAK(section_worker, l->sections[0].owner_index = 1; seal(l))
BREAK(section_foreign_arena, l->sections[0].arena_index = 1;
      l->sections[0].offset = l->sections[0].ctl_off = l->arenas[1].offset + 2048; seal(l))
BREAK(section_read_class, l->sections[0].read_class = 1; seal(l))
BREAK(section_kind, l->sections[0].kind = 5; seal(l))
BREAK(section_count, l->sections[0].count = 1; seal(l))
BREAK(section_raw_count, l->sections[0].kind = SHM_KIND_RAW; seal(l))
BREAK(section_bytes, l->sections[0].size = 200; seal(l))
BREAK(section_slots, set_slots(l); l->sections[2].size = 0; seal(l))
BREAK(arena_writers, l->arenas[0].writers = 3; seal(l))
BREAK(arena_write_class, l->arenas[0].write_class = 1; seal(l))
BREAK(section_written, l->arenas[0].writers = SHM_WRITERS_CLASS; seal(l))
BREAK(section_claims, l->sections[0].claims_off = 4096; seal(l))
BREAK(slots_of_owner, set_slots(l); l->arenas[1].writers = SHM_WRITERS_OWNER;
      l->arenas[1].write_class = 0; l->sections[2].write_class = 0; seal(l))
BREAK(slots_of_others, set_slots(l); l->sections[2].write_class = 9; seal(l))
BREAK(slots_in_company, set_slots(l); l->arenas[1].bytes = 8192; seal(l))
BREAK(queue_claims, set_queue(l); l->sections[2].claims_off += 64; seal(l))
BREAK(queue_claims_nowhere, set_queue(l); l->sections[2].claims_arena = ARENAS; seal(l))
BREAK(queue_claims_elsewhere, set_queue(l); l->sections[2].claims_arena = 0; seal(l))
BREAK(queue_claims_left, set_queue(l); l->arenas[2].state = SHM_PLACE_RETIRED;
      l->arenas[2].retired_gen = 2; seal(l))
BREAK(queue_receivers, set_queue(l); l->arenas[2].writers = SHM_WRITERS_INSTANCES; seal(l))
BREAK(queue_receiver, set_queue(l); l->arenas[2].owner_index = 0; seal(l))
BREAK(queue_small, set_queue(l); l->sections[2].bytes = 4096; seal(l))
BREAK(section_lanes, set_slots(l); l->sections[2].count = 0; seal(l))
BREAK(sections_overlap, l->sections[1].offset = l->sections[1].ctl_off = l->sections[0].offset + 64;
      seal(l))
BREAK(section_name_twice, l->sections[1].name[0] = 'a'; seal(l))
BREAK(section_bad_twice, l->sections[1].name[0] = 'a'; l->sections[1].state = SHM_PLACE_BAD;
      seal(l))
BREAK(section_id_twice, l->sections[1].section_id = 1; seal(l))

/* b comes from a place in the same arena. */
static void set_moving(struct layout *l) {
    l->sections[3] = l->sections[1];
    l->sections[3].offset = l->sections[3].ctl_off = l->arenas[0].offset + 2048;
    l->sections[3].state = SHM_PLACE_QUARANTINED;
    l->sections[3].retired_gen = 2;
    l->sections[1].state = SHM_PLACE_MOVING;
    l->sections[1].old_slot = 3;
    l->sections[1].old_ctl_off = l->sections[3].ctl_off;
    seal(l);
}

BREAK(before_unsaid, l->sections[0].old_slot = 2; seal(l))
BREAK(before_beyond, set_moving(l); l->sections[1].old_slot = SECTIONS; seal(l))
BREAK(before_elsewhere, set_moving(l); l->sections[1].old_ctl_off += 64; seal(l))
BREAK(before_retired, set_moving(l); l->sections[3].state = SHM_PLACE_RETIRED; seal(l))
BREAK(before_anothers, set_moving(l); l->sections[3].section_id = 9; seal(l))
BREAK(before_earlier, set_moving(l); l->sections[3].incarnation = 2; seal(l))
BREAK(before_raw, set_moving(l); l->sections[3].kind = SHM_KIND_RAW; seal(l))
BREAK(before_owner, set_moving(l); l->sections[3].owner_index = 1; seal(l))
BREAK(before_bell, set_moving(l); l->sections[3].bell_index = 7; seal(l))
BREAK(before_unmapped, set_moving(l); l->sections[3].arena_index = 1;
      l->sections[3].offset = l->sections[3].ctl_off = l->sections[1].old_ctl_off =
          l->arenas[1].offset + 2048;
      l->arenas[1].state = SHM_PLACE_QUARANTINED; l->arenas[1].retired_gen = 2; seal(l))
BREAK(before_nowhere, set_moving(l); l->sections[3].arena_index = ARENAS; seal(l))
BREAK(before_reused, set_moving(l); l->sections[1].state = SHM_PLACE_LIVE;
      l->sections[1].old_slot = 0; l->sections[1].old_ctl_off = 0; l->sections[3].arena_index = 1;
      l->sections[3].offset = l->sections[3].ctl_off = l->arenas[1].offset + 2048;
      l->arenas[1].state = SHM_PLACE_RETIRED; l->arenas[1].retired_gen = 2; seal(l))
BREAK(moving_raw, set_moving(l); for (int i = 1; i <= 3; i += 2) l->sections[i].kind = SHM_KIND_RAW;
      seal(l))

#define CASE(name, text)                                                                           \
    { #name, name, text }
static const struct {
    const char *name;
    breaker *breaker;
    const char *error;
} broken[] = {
    CASE(segment_size, "segment_bytes 1048577 is no size of a segment"),
    CASE(segment_small, "segment_bytes 4096 is no size of a segment"),
    CASE(workers_into_attachments, "the fixed tables overlap or reach beyond arena_start"),
    CASE(attachments_beyond, "the fixed tables overlap or reach beyond arena_start"),
    CASE(arena_start_odd, "the fixed tables overlap or reach beyond arena_start"),
    CASE(no_bells, "the capacity of attachments or bells is out of range"),
    CASE(too_many_workers, "workers_used 2 is beyond the capacity of 1"),
    CASE(directory_low, "directory 0 is misplaced"),
    CASE(directory_high, "directory 1 is misplaced"),
    CASE(directory_gone, "directory 1 has room for 0, not for 4 sections and 3 arenas"),
    CASE(directory_gone_for_arenas, "directory 1 has room for 0, not for 0 sections and 3 arenas"),
    CASE(directories_overlap, "directory 0 and directory 1 overlap"),
    CASE(worker_name, "worker 1 has no proper name"),
    CASE(worker_unterminated, "worker 1 has no proper name"),
    CASE(worker_dirt, "worker 1 has no proper name"),
    CASE(worker_twice, "worker 0 and 1 are both named 'worker0'"),
    CASE(arena_crc, "arena 0 has a wrong checksum"),
    CASE(arena_dirt, "arena 2 is free, not zero"),
    CASE(arena_state, "arena 0 has state 2"),
    CASE(arena_retired, "arena 0 has retired_gen 2"),
    CASE(arena_never_retired, "arena 1 has retired_gen 0"),
    CASE(arena_retired_later, "arena 1 has retired_gen 4"),
    CASE(arena_first, "arena 0 has incarnation 0"),
    CASE(arena_offset, "arena 0 is misplaced"),
    CASE(arena_outside, "arena 1 is misplaced"),
    CASE(arena_wraps, "arena 1 is misplaced"),
    CASE(arena_empty, "arena 1 is misplaced"),
    CASE(arena_future, "arena 0 has incarnation 4"),
    CASE(arena_owner, "arena 0 has no owner at 2"),
    CASE(arena_ownerless, "arena 1 has no owner at 1"),
    CASE(arenas_overlap, "arena 0 and arena 1 overlap"),
    CASE(arena_on_directory, "directory 1 and arena 0 overlap"),
    CASE(section_crc, "section 0 has a wrong checksum"),
    CASE(section_dirt, "section 3 is free, not zero"),
    CASE(section_state, "section 0 has state 6"),
    CASE(section_id, "section 0 has a wrong id or generation"),
    CASE(section_first, "section 0 has a wrong id or generation"),
    CASE(section_incarnation, "section 0 has a wrong id or generation"),
    CASE(section_future, "section 0 has a wrong id or generation"),
    CASE(section_never_retired, "section 2 has a wrong id or generation"),
    CASE(section_retired, "section 0 has a wrong id or generation"),
    CASE(section_bell, "section 0 has bell_index 256"),
    CASE(section_name, "section 0 has no proper name"),
    CASE(section_name_dirt, "section 0 has no proper name"),
    CASE(section_owner, "section 0 has no proper owner"),
    CASE(section_format, "section 0 has no proper format"),
    CASE(section_arena, "section 0 is in no arena"),
    CASE(section_free_arena, "section 0 is misplaced in arena 2"),
    CASE(section_left_behind, "section 0 is misplaced in arena 0"),
    CASE(section_offset, "section 0 is misplaced in arena 0"),
    CASE(section_beyond, "section 1 is misplaced in arena 0"),
    CASE(section_wraps, "section 1 is misplaced in arena 0"),
    CASE(section_pinned, "section 1 is pinned at no page"),
    CASE(section_control, "section 0 has ctl_off"),
    CASE(section_old, "section 0 has old_ctl_off"),
    CASE(section_moving, "section 0 has old_ctl_off 0"),
    CASE(section_worker, "section 0 is not owned by worker 1"),
    CASE(section_foreign_arena, "section 0 is in another's arena 1"),
    CASE(section_read_class, "section 0 is in another's arena 0"),
    CASE(section_kind, "section 0 has kind 5"),
    CASE(section_count, "section 0 has count 1"),
    CASE(section_raw_count, "section 0 has count 4"),
    CASE(section_bytes, "section 0 has 960 bytes, which is not what its size needs"),
    CASE(section_slots, "section 2 has no size or count"),
    CASE(section_lanes, "section 2 has no size or count"),
    CASE(arena_writers, "arena 0 has writers 3 of class 0"),
    CASE(arena_write_class, "arena 0 has writers 0 of class 1"),
    CASE(section_written, "section 0 can be written by others than its arena 0"),
    CASE(section_claims, "section 0 has claims_off 4096 and claims_arena 0"),
    CASE(slots_of_owner, "section 2 can be written by others than its arena 1"),
    CASE(slots_of_others, "section 2 can be written by others than its arena 1"),
    CASE(slots_in_company, "section 2 is not alone in arena 1"),
    CASE(queue_claims, "section 2 has claims_off"),
    CASE(queue_claims_nowhere, "section 2 is in no arena"),
    CASE(queue_claims_elsewhere, "section 2 is misplaced in arena 0"),
    CASE(queue_claims_left, "section 2 is misplaced in arena 2"),
    CASE(queue_receivers, "section 2 is not alone in arena 2"),
    CASE(queue_receiver, "section 2 is not alone in arena 2"),
    CASE(queue_small, "section 2 has no room for its claims"),
    CASE(sections_overlap, "section 0 and section 1 overlap"),
    CASE(section_name_twice, "section 0 and 1 are both named 'a'"),
    CASE(section_bad_twice, "section 0 and 1 are both named 'a'"),
    CASE(section_id_twice, "section 0 and 1 have the same id"),
    CASE(before_unsaid, "section 0 has old_ctl_off 0 and old_slot 2"),
    CASE(before_beyond, "section 1 has old_ctl_off "),
    CASE(before_elsewhere, "section 1 has old_ctl_off "),
    CASE(before_retired, "section 1 has another's place before, 3"),
    CASE(before_anothers, "section 1 has another's place before, 3"),
    CASE(before_earlier, "section 1 has another's place before, 3"),
    CASE(before_raw, "section 1 has another's place before, 3"),
    CASE(before_owner, "section 1 has another's place before, 3"),
    CASE(before_bell, "section 1 has another's place before, 3"),
    CASE(before_unmapped, "section 1 moves from arena 1, which nobody maps"),
    CASE(before_nowhere, "section 1 moves from arena 3, which nobody maps"),
    CASE(before_reused, "section 3 is quarantined, and its arena 1 is not"),
    CASE(moving_raw, "section 1 is moving, and is no snapshot"),
};

START_TEST(check_finds_what_is_wrong) {
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        struct layout layout;
        char error[128] = "";
        make(&layout);
        ck_assert_int_eq(layout_check(&layout, error, sizeof error), 0);
        broken[i].breaker(&layout);
        ck_assert_msg(layout_check(&layout, error, sizeof error) == -EBADMSG, "%s was not found",
                      broken[i].name);
        ck_assert_msg(strncmp(error, broken[i].error, strlen(broken[i].error)) == 0,
                      "%s: \"%s\", not \"%s\"", broken[i].name, error, broken[i].error);
        layout_clear(&layout);
    }
}
END_TEST

START_TEST(check_takes_a_section_that_moves) {
    struct layout layout;
    char error[128] = "";
    make(&layout);
    set_moving(&layout);
    ck_assert_msg(layout_check(&layout, error, sizeof error) == 0, "%s", error);
    layout_clear(&layout);
}
END_TEST

/* An arena that many write may belong to no one worker. */
START_TEST(check_takes_an_arena_of_nobody) {
    struct layout layout;
    char error[128] = "";
    make(&layout);
    layout.arenas[0].owner_index = SHM_NONE;
    seal(&layout);
    ck_assert_msg(layout_check(&layout, error, sizeof error) == 0, "%s", error);
    layout.sections[1].state = SHM_PLACE_BAD;
    seal(&layout);
    ck_assert_msg(layout_check(&layout, error, sizeof error) == 0, "%s", error);
    layout_clear(&layout);
}
END_TEST

START_TEST(check_takes_what_many_write) {
    struct layout layout;
    char error[128] = "";
    make(&layout);
    set_queue(&layout);
    ck_assert_msg(layout_check(&layout, error, sizeof error) == 0, "%s", error);
    layout_clear(&layout);
    make(&layout);
    set_slots(&layout);
    ck_assert_msg(layout_check(&layout, error, sizeof error) == 0, "%s", error);
    layout_clear(&layout);
}
END_TEST

/* Whatever bytes come in, the check comes back, under the sanitizers with nothing to say. */
START_TEST(check_survives_garbage) {
    unsigned seed = 1;
    for (int round = 0; round < 20000; round++) {
        struct layout layout;
        char error[128];
        make(&layout);
        void *parts[] = {layout.sections, layout.arenas, layout.workers, &layout};
        const size_t bytes[] = {SECTIONS * sizeof *layout.sections, ARENAS * sizeof *layout.arenas,
                                WORKERS * SHM_NAME_BYTES, offsetof(struct layout, sections)};
        for (int hit = 0; hit < 3; hit++) {
            const int part = rand_r(&seed) % 4;
            uint8_t *at = (uint8_t *)parts[part] + (size_t)rand_r(&seed) % bytes[part];
            *at = (uint8_t)rand_r(&seed);
        }
        if (round % 2 == 0)
            seal(&layout);
        layout_check(&layout, error, sizeof error);
        layout_clear(&layout);
    }
}
END_TEST

START_TEST(what_changed_says_when) {
    struct layout layout;
    char error[256];
    make(&layout);
    layout.sections[1].changed_gen = layout.generation;
    layout_stamp(&layout, 77);
    ck_assert_uint_eq(layout.sections[0].changed_real_ns, 0);
    ck_assert_uint_eq(layout.sections[1].changed_real_ns, 77);
    ck_assert_int_eq(layout_check(&layout, error, sizeof error), 0);
    layout_stamp(&layout, 78); /* a manager that was killed before the flip plans anew */
    ck_assert_uint_eq(layout.sections[1].changed_real_ns, 78);
    layout.generation++;
    layout_stamp(&layout, 79);
    ck_assert_uint_eq(layout.sections[1].changed_real_ns, 78);
    layout_clear(&layout);
}
END_TEST

START_TEST(copies_and_lookups) {
    struct layout layout, copy, empty = {0};
    make(&layout);
    ck_assert_int_eq(layout_copy(&copy, &layout), 0);
    ck_assert_ptr_ne(copy.sections, layout.sections);
    ck_assert_mem_eq(copy.sections, layout.sections, SECTIONS * sizeof *layout.sections);
    ck_assert_mem_eq(copy.arenas, layout.arenas, ARENAS * sizeof *layout.arenas);
    ck_assert_mem_eq(copy.workers, layout.workers, WORKERS * SHM_NAME_BYTES);
    ck_assert_uint_eq(layout_worker(&copy, "worker1"), 1);
    ck_assert_uint_eq(layout_worker(&copy, "worker"), SHM_NONE);
    ck_assert_uint_eq(layout_worker(&copy, ""), SHM_NONE);
    ck_assert_uint_eq(layout_section(&copy, "b"), 1);
    ck_assert_uint_eq(layout_section(&copy, "c"), SHM_NONE);
    ck_assert_uint_eq(layout_section_by_id(&copy, 2), 1);
    ck_assert_uint_eq(layout_section_by_id(&copy, 3), SHM_NONE);
    copy.sections[1].state = SHM_PLACE_MOVING; /* both places are in force */
    ck_assert_uint_eq(layout_section(&copy, "b"), 1);
    ck_assert_uint_eq(layout_section_by_id(&copy, 2), 1);
    layout_clear(&copy);
    layout_clear(&copy);
    layout_clear(&layout);
    ck_assert_int_eq(layout_copy(&copy, &empty), 0);
    layout_clear(&copy);
}
END_TEST

UNIT_MAIN("layout", fixed_tables, directory_arithmetic, section_arithmetic,
          check_finds_what_is_wrong, check_takes_a_section_that_moves,
          check_takes_an_arena_of_nobody, check_takes_what_many_write, check_survives_garbage,
          what_changed_says_when, copies_and_lookups)
