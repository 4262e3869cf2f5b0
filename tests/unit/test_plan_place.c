/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the planner puts things, what it leaves alone, and when it gives space back.
 */
#include "plan_fixture.h"

START_TEST(arenas_are_shared_by_one_owner) {
    start(MIB);
    add("a", "x", 1000);
    add("b", "y", 1000);
    add("c", "x", 1000);
    apply(NULL);
    ck_assert_ptr_eq(arena("a"), arena("c"));
    ck_assert_ptr_ne(arena("a"), arena("b"));
    const uint64_t bytes = arena("a")->bytes;
    ck_assert_uint_ge(bytes, 2 * 4544 + 4096);
    add_raw("d", "x", 64);
    add("e", "x", 100000);
    apply(NULL);
    ck_assert_ptr_eq(arena("d"), arena("a"));
    ck_assert_uint_eq(arena("a")->bytes, bytes);
    ck_assert_ptr_ne(arena("e"), arena("a"));
    stop();
}
END_TEST

/* Who may read is a matter of arenas, where the kernel keeps the others out. */
START_TEST(arenas_are_shared_by_the_same_readers) {
    static const uint32_t classes[] = {0, 1001, 0, 1002, 1001};
    char name[SHM_NAME_BYTES], error[256];
    start(MIB);
    for (uint32_t i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "s%u", i);
        add(name, "x", 100)->read_class = classes[i];
    }
    apply(NULL);
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < table.sections_n; i++) {
            const struct shm_section *a = section(table.sections[i].name);
            ck_assert_uint_eq(running.arenas[a->arena_index].read_class, a->read_class);
            for (uint32_t j = 0; j < i; j++) {
                const struct shm_section *b = section(table.sections[j].name);
                ck_assert_int_eq(a->arena_index == b->arena_index, a->read_class == b->read_class);
            }
        }
        add("late", "x", 100)->read_class = 1002; /* into the room that there is for it */
        if (round == 0)
            apply(NULL);
    }
    ck_assert_int_eq(layout_check(&running, error, sizeof error), 0);
    table.sections_n--;
    table.sections[0].read_class = 1001; /* to those of that class, where there is room */
    apply("move s0: read_group NULL -> 1000, from 81920 to 92032 (960 bytes), now");
    ck_assert_ptr_eq(arena("s0"), arena("s1"));
    stop();
}
END_TEST

START_TEST(retired_space_is_kept_for_a_generation) {
    start(MIB);
    add("a", "x", 1000);
    add("b", "x", 1000);
    add("c", "y", 1000);
    apply(NULL);
    const struct shm_section a = *section("a"), c = *section("c");
    const uint32_t c_arena = c.arena_index;
    table.sections_n = 3;
    drop(2);
    drop(0);
    apply("remove a: at 81920, 4544 bytes; remove c: at 98304, 4544 bytes");
    ck_assert_uint_eq(running.sections[0].state, SHM_PLACE_RETIRED);
    ck_assert_uint_eq(running.sections[0].retired_gen, 2);
    ck_assert_uint_eq(running.sections[0].offset, a.offset);
    ck_assert_uint_eq(running.arenas[c_arena].state, SHM_PLACE_RETIRED);
    ck_assert_uint_eq(running.arenas[0].state, SHM_PLACE_LIVE);
    apply("");
    ck_assert_uint_eq(running.sections[0].state, SHM_PLACE_RETIRED);
    add("d", "x", 1000);
    add("e", "z", 1000);
    apply(NULL);
    ck_assert_uint_eq(section("d")->offset, a.offset);
    ck_assert_uint_eq(layout_section(&running, "d"), 0);
    ck_assert_uint_eq(section("d")->incarnation, 3);
    ck_assert_uint_eq(section("e")->offset, c.offset);
    ck_assert_uint_eq(section("e")->arena_index, c_arena);
    stop();
}
END_TEST

START_TEST(a_successor_does_not_take_what_was_just_left) {
    start(MIB);
    add("a", "x", 1000);
    apply(NULL);
    const uint64_t offset = section("a")->offset;
    drop(0);
    add("a", "x", 1000);
    apply(NULL);
    ck_assert_uint_ne(section("a")->offset, offset);
    ck_assert_uint_eq(section("a")->incarnation, 2);
    ck_assert_uint_eq(layout_section(&running, "a"), 1);
    stop();
}
END_TEST

START_TEST(quarantine_is_never_dropped) {
    start(MIB);
    add("a", "x", 1000);
    add("b", "y", 1000);
    apply(NULL);
    drop(0);
    apply(NULL);
    /* what the manager does when it revokes a lease */
    struct shm_section *left = &running.sections[0];
    left->state = SHM_PLACE_QUARANTINED;
    left->crc = CRC32C_OF(left);
    struct shm_arena *place = &running.arenas[left->arena_index];
    place->state = SHM_PLACE_QUARANTINED;
    place->crc = CRC32C_OF(place);
    const struct shm_section before = *left;
    const bool x[] = {true, false};
    for (uint64_t i = 1; i < 4; i++) {
        table.sections[0].stale_ms = i;
        apply_held(x, NULL);
        ck_assert_mem_eq(&running.sections[0], &before, sizeof before);
        ck_assert_uint_eq(running.arenas[before.arena_index].state, SHM_PLACE_QUARANTINED);
    }
    stop();
}
END_TEST

/* The last that lives goes; the arena may not, while a revoked holder may write to it. */
START_TEST(quarantine_keeps_its_arena) {
    start(MIB);
    add("a", "x", 1000);
    add("b", "x", 1000);
    add("c", "y", 1000);
    apply(NULL);
    struct shm_section *revoked = &running.sections[layout_section(&running, "a")];
    revoked->state = SHM_PLACE_QUARANTINED;
    revoked->retired_gen = 1;
    revoked->crc = CRC32C_OF(revoked);
    const bool lingers[] = {true, false};
    const struct plan_facts facts = {.worker_lingers = lingers, .force = true};
    drop(0);
    drop(0);
    for (uint64_t i = 1; i < 4; i++) {
        table.sections[0].stale_ms = i;
        apply_with(&facts, NULL);
        ck_assert_uint_eq(running.arenas[0].state, SHM_PLACE_QUARANTINED);
        ck_assert_uint_eq(running.arenas[0].retired_gen, 2);
    }
    stop();
}
END_TEST

START_TEST(pins) {
    start(MIB);
    struct table_section *row = add_raw("p", "x", 5000);
    row->pinned = true;
    row->offset = 16384;
    add("a", "x", 1000);
    apply(NULL);
    /* what is pinned comes first, and the directories make way for it */
    ck_assert_uint_eq(section("p")->offset, 16384);
    ck_assert_uint_eq(section("p")->flags, SHM_SECTION_PINNED);
    ck_assert_uint_eq(arena("p")->bytes, 8192);
    ck_assert_uint_eq(running.directories[1].offset, 24576);

    row = add_raw("q", "x", 4096);
    row->pinned = true;
    row->offset = arena("a")->offset + 8192; /* slack of the owner's own arena */
    apply(NULL);
    ck_assert_ptr_eq(arena("q"), arena("a"));

#define PIN(where, by, text)                                                                       \
    do {                                                                                           \
        row = add_raw("s", by, 4096);                                                              \
        row->pinned = true;                                                                        \
        row->offset = where;                                                                       \
        refused("section 's': at offset " text                                                     \
                " (UPDATE section SET offset = NULL WHERE name = 's' leaves the place to the "     \
                "manager)");                                                                       \
        table.sections_n--;                                                                        \
    } while (0)
    worker("y");
    PIN(8192, "x", "8192 its 4096 bytes would overlap the header, which ends at 16384");
    PIN(24576, "x", "24576 its 4096 bytes would overlap the directory of sections");
    PIN(16384, "x", "16384 it would overlap section 'p'");
    PIN(arena("a")->offset + 8192, "x", "98304 it would overlap section 'q'");
    PIN(arena("a")->offset + 8192, "y",
        "98304 its 4096 bytes would overlap the arena of worker 'x'");
    add_raw("t", "x", 8192);
    table.sections[table.sections_n - 1].pinned = true;
    table.sections[table.sections_n - 1].offset = MIB - 8192;
    PIN(MIB - 4096, "x", "1044480 it would overlap section 't'");
    PIN(MIB - 4096, "y", "1044480 its 4096 bytes would overlap the arena of worker 'x'");
    apply(NULL);
    ck_assert_uint_eq(section("t")->offset, MIB - 8192);
    stop();
}
END_TEST

START_TEST(no_room) {
    start(MIB);
    struct table_section *row = add_raw("wall", "x", 4096);
    row->pinned = true;
    row->offset = 512 * 1024;
    apply(NULL);
    /* 432 KiB below the wall, 508 KiB behind it */
    add_raw("a", "y", 600 * 1024);
    refused("section 'a': no room for 614400 bytes: 962560 are free in the segment, 520192 of them "
            "in one piece (remove sections, or make a larger segment: UPDATE segment SET size = "
            "...)");
    table.sections_n--;
    /* not in one arena, but in two */
    add_raw("b", "y", 400 * 1024);
    add_raw("c", "y", 400 * 1024);
    apply(NULL);
    ck_assert_uint_gt(section("b")->offset, 512 * 1024);
    ck_assert_uint_lt(section("c")->offset, 512 * 1024);
    stop();
}
END_TEST

/* Neither in one arena, nor each by itself. */
START_TEST(no_room_for_either) {
    start(MIB);
    add_raw("wall", "x", 4096)->pinned = true;
    table.sections[0].offset = 512 * 1024;
    apply(NULL);
    add_raw("a", "y", 600 * 1024);
    add_raw("b", "y", 300 * 1024);
    refused("section 'a': no room for 614400 bytes: 962560 are free in the segment, 520192 of them "
            "in one piece (remove sections, or make a larger segment: UPDATE segment SET size = "
            "...)");
    stop();
}
END_TEST

/* The sections would find room, but the directory that lists them must grow for them. */
START_TEST(no_room_for_the_directory) {
    struct plan plan;
    char name[SHM_NAME_BYTES];
    start(MIB);
    add_raw("a", "x", MIB - 120 * 1024);
    apply(NULL);
    for (int i = 0; i < 90; i++) {
        snprintf(name, sizeof name, "s%d", i);
        add_raw(name, "x", 64);
    }
    ck_assert_int_eq(plan_make(&plan, &running, &table, NULL), -EINVAL);
    ck_assert_msg(strncmp(plan.error, "the directory of sections: no room for ", 39) == 0, "%s",
                  plan.error);
    ck_assert(same_layout(&plan.next, &running));
    plan_clear(&plan);
    stop();
}
END_TEST

/* Nobody's name can be given for an arena that many write. */
START_TEST(a_pin_in_an_arena_of_many) {
    start(MIB);
    add_raw("a", "x", 4096);
    apply(NULL);
    running.arenas[0].owner_index = SHM_NONE;
    running.arenas[0].crc = CRC32C_OF(&running.arenas[0]);
    struct table_section *row = add_raw("b", "x", 4096);
    row->pinned = true;
    row->offset = section("a")->offset;
    char text[256];
    snprintf(text, sizeof text,
             "section 'b': at offset %llu its 4096 bytes would overlap the arena of worker '?' "
             "(UPDATE section SET offset = NULL WHERE name = 'b' leaves the place to the manager)",
             (unsigned long long)row->offset);
    refused(text);
    stop();
}
END_TEST

START_TEST(slack_shrinks_where_there_is_no_room) {
    start(MIB);
    add_raw("a", "x", MIB - 81920);
    apply(NULL);
    ck_assert_uint_eq(arena("a")->bytes, MIB - 81920);
    stop();
}
END_TEST

START_TEST(too_many) {
    char name[SHM_NAME_BYTES];
    start(MIB);
    for (int i = 0; i < 257; i++) {
        snprintf(name, sizeof name, "s%d", i);
        add_raw(name, "x", 64);
    }
    refused("section 's256': the segment has doorbells for 256 sections, and all are taken (remove "
            "some, or make a larger segment: UPDATE segment SET size = ...)");
    table.sections_n = 0;
    worker("web")->instances = 65;
    refused("worker 'web#65': the segment has records for 64 workers, and all are taken (remove "
            "some, or make a larger segment: UPDATE segment SET size = ...)");
    stop();
}
END_TEST

/* The idle one of the two directories grows, at its turn, and its place is given up only then. */
START_TEST(directories_grow) {
    char name[SHM_NAME_BYTES];
    start(MIB);
    add_raw("first", "x", 64);
    apply(NULL);
    const struct shm_directory_place small = running.directories[0];
    ck_assert_uint_eq(small.bytes, running.directories[1].bytes);
    const uint32_t capacity = layout_directory_capacity(small.bytes);
    for (uint32_t i = 1; i < capacity + 1; i++) {
        snprintf(name, sizeof name, "s%u", i);
        add_raw(name, "x", 64);
    }
    apply(NULL);
    ck_assert_uint_eq(running.generation, 2);
    ck_assert_uint_eq(running.directories[0].bytes, 2 * small.bytes);
    ck_assert_uint_ne(running.directories[0].offset, small.offset);
    ck_assert_uint_eq(running.directories[1].bytes, small.bytes);
    table.sections[0].stale_ms = 0;
    strcpy(table.sections[0].format, "x");
    apply("change first: format '' -> 'x'");
    ck_assert_uint_eq(running.directories[1].bytes, 2 * small.bytes);
    stop();
}
END_TEST

/* A manager that is killed before the flip leaves a header with the new place in it, and what was
 * in force, retired space included: the two must not overlap, though the plan drops the latter. */
START_TEST(directories_keep_clear_of_what_is_dropped) {
    char name[SHM_NAME_BYTES];
    start(MIB);
    add_raw("large", "x", 200 * 1024);
    apply(NULL);
    const struct shm_arena left = *arena("large");
    drop(0);
    apply(NULL);
    struct table_section *row = add_raw("pin", "y", 64);
    row->pinned = true;
    row->offset = left.offset + 8192; /* which may stand there at once */
    for (uint32_t i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "s%u", i);
        add_raw(name, "y", 64);
    }
    apply(NULL);
    ck_assert_uint_eq(section("pin")->offset, left.offset + 8192);
    ck_assert_uint_ge(running.directories[1].offset, left.offset + left.bytes);
    stop();
}
END_TEST

START_TEST(arena_records_are_used_again) {
    start(MIB);
    add("a", "x", 1000);
    add("b", "y", 1000);
    apply(NULL);
    drop(0);
    apply(NULL);
    add("c", "z", 1000);
    apply(NULL);
    ck_assert_uint_eq(section("c")->arena_index, 0);
    ck_assert_uint_eq(arena("c")->incarnation, 3);
    ck_assert_uint_eq(running.arenas_used, 2);
    stop();
}
END_TEST

/* A segment as large as they come is planned within a second or so, not within hours. */
START_TEST(many_sections) {
    char name[SHM_NAME_BYTES], owner[SHM_NAME_BYTES];
    start(1024 * MIB);
    for (int i = 0; i < 60000; i++) {
        snprintf(name, sizeof name, "s%d", i);
        snprintf(owner, sizeof owner, "w%d", i % 500);
        add_raw(name, owner, 1 + (uint64_t)i % 4000);
    }
    apply(NULL);
    for (int i = 0; i < 30000; i++)
        table.sections[i] = table.sections[2 * i];
    table.sections_n = 30000;
    apply(NULL);
    for (int i = 0; i < 30000; i++) {
        snprintf(name, sizeof name, "t%d", i);
        snprintf(owner, sizeof owner, "w%d", i % 500);
        add_raw(name, owner, 1 + (uint64_t)i % 5000);
    }
    apply(NULL);
    stop();
}
END_TEST

UNIT_MAIN("plan_place", arenas_are_shared_by_the_same_readers, arenas_are_shared_by_one_owner,
          retired_space_is_kept_for_a_generation, a_successor_does_not_take_what_was_just_left,
          quarantine_is_never_dropped, quarantine_keeps_its_arena, pins, no_room,
          no_room_for_either, no_room_for_the_directory, a_pin_in_an_arena_of_many,
          slack_shrinks_where_there_is_no_room, too_many, directories_grow,
          directories_keep_clear_of_what_is_dropped, arena_records_are_used_again, many_sections)
