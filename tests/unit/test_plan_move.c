/* SPDX-License-Identifier: Apache-2.0
 *
 * What becomes of a section whose row changed while it runs: in its place, at another, anew, or
 * not at all while somebody holds it.
 */
#include "plan_fixture.h"

#define REMEDIES " (end that worker, then `shmtool reload`, or `shmtool reload --force`)"

static const struct shm_section *before_of(const char *name) {
    ck_assert_uint_eq(section(name)->state, SHM_PLACE_MOVING);
    const struct shm_section *before = &running.sections[section(name)->old_slot];
    ck_assert_uint_eq(section(name)->old_ctl_off, before->ctl_off);
    return before;
}

START_TEST(in_its_place) {
    start_with_x();
    const struct shm_section before = *section("a");
    const bool *held = x_holds;
    table.sections[0].size = 1024;
    table.sections[0].stamp = TABLE_STAMP_COARSE;
    table.sections[2].size = 1024;
    apply_held(held, "change a: size 1000 -> 1024, stamp precise -> coarse; change r: size 1000 -> "
                     "1024");
    ck_assert_uint_eq(section("a")->offset, before.offset);
    ck_assert_uint_eq(section("a")->state, SHM_PLACE_LIVE);
    ck_assert_uint_eq(section("a")->incarnation, 1);
    ck_assert_uint_eq(section("a")->flags, SHM_SECTION_STAMP_COARSE);
    apply("");
    stop();
}
END_TEST

/* Nobody holds it: the manager takes the value along before anybody looks. */
START_TEST(unheld_moves_at_once) {
    start_with_x();
    const struct shm_section before = *section("a");
    table.sections[0].size = 2000;
    apply("move a: size 1000 -> 2000, from 81920 to 98304 (8640 bytes), now");
    const struct shm_section *after = section("a"), *left = &running.sections[3];
    ck_assert_uint_eq(layout_section(&running, "a"), 0);
    ck_assert_uint_eq(after->state, SHM_PLACE_LIVE);
    ck_assert_uint_eq(after->incarnation, before.incarnation);
    ck_assert_uint_eq(after->bell_index, 0);
    ck_assert_uint_eq(after->changed_gen, 2);
    ck_assert_uint_eq(left->state, SHM_PLACE_RETIRED);
    ck_assert_uint_eq(left->retired_gen, 2);
    ck_assert_uint_eq(left->offset, before.offset);
    ck_assert_uint_eq(left->bytes, before.bytes);
    ck_assert_uint_eq(left->bell_index, 0);
    apply("");
    settle(NULL, "");
    /* a generation later the space is anybody's of x, and the slot anybody's */
    add("c", "x", 1000);
    apply(NULL);
    ck_assert_uint_eq(section("c")->offset, before.offset);
    ck_assert_uint_eq(layout_section(&running, "c"), 3);
    ck_assert_uint_eq(section("c")->bell_index, 3);
    stop();
}
END_TEST

START_TEST(held_moves_with_its_writer) {
    start_with_x();
    const struct shm_section before = *section("a");
    table.sections[0].size = 2000;
    table.sections[0].count = 5;
    apply_held(x_holds, "move a: size 1000 -> 2000, count 4 -> 5, from 81920 to 98304 (10752 "
                        "bytes), with the next publish of worker 'x'");
    const struct shm_section *left = before_of("a");
    ck_assert_uint_eq(section("a")->incarnation, 1);
    ck_assert_uint_eq(left->state, SHM_PLACE_QUARANTINED);
    ck_assert_uint_eq(left->offset, before.offset);
    ck_assert_uint_eq(running.arenas[left->arena_index].state, SHM_PLACE_LIVE);
    apply_held(x_holds, "");
    apply(""); /* its worker left, and the value wasn't brought along yet */
    const bool moved[] = {true, false, false, false};
    struct plan_facts facts = {.worker_held = x_holds, .moved = moved};
    settle(&facts, "move a: has moved to 98304, and left 81920 (4544 bytes)");
    ck_assert_uint_eq(section("a")->state, SHM_PLACE_LIVE);
    ck_assert_uint_eq(section("a")->old_slot, 0);
    ck_assert_uint_eq(section("a")->old_ctl_off, 0);
    ck_assert_uint_eq(running.sections[3].state, SHM_PLACE_RETIRED);
    ck_assert_uint_eq(running.sections[3].retired_gen, 3);
    settle(&facts, "");
    stop();
}
END_TEST

/* The others of its arena are at home there still, and readers map it as before. */
START_TEST(an_arena_lives_as_long_as_somebody_comes_from_there) {
    start_with_x();
    table.sections_n = 1;
    apply(NULL);
    const uint32_t old_arena = section("a")->arena_index;
    table.sections[0].size = 100000;
    apply_held(x_holds, NULL);
    ck_assert_uint_ne(section("a")->arena_index, old_arena);
    ck_assert_uint_eq(running.arenas[old_arena].state, SHM_PLACE_LIVE);
    const bool moved[] = {true};
    const struct plan_facts facts = {.worker_held = x_holds, .moved = moved};
    add("c", "y", 100); /* an edit settles too */
    apply_with(&facts, "move a: has moved to 98304, and left 81920 (4544 bytes); add c: at 552960, "
                       "960 bytes");
    stop();
}
END_TEST

START_TEST(what_a_holder_keeps) {
    start_with_x();
    const struct plan_facts facts = {.worker_lingers = x_holds};
#define KEPT(text, ...)                                                                            \
    do {                                                                                           \
        struct table_section before_[3];                                                           \
        memcpy(before_, table.sections, sizeof before_);                                           \
        struct table_section *row = table.sections;                                                \
        __VA_ARGS__;                                                                               \
        not_made(&facts, -EBUSY, text);                                                            \
        memcpy(table.sections, before_, sizeof before_);                                           \
    } while (0)
    KEPT("section 'a': its size can't shrink from 1000 to 999 while worker 'x' holds its "
         "lease" REMEDIES,
         row->size = 999);
    KEPT("section 'a': its owner can't change from x to y while worker 'x' holds its "
         "lease" REMEDIES,
         row->owner[0] = 'y');
    KEPT("section 'a': its kind can't change from snapshot to raw while worker 'x' holds its "
         "lease" REMEDIES,
         row->kind = SHM_KIND_RAW, row->count = 0);
    KEPT("section 'a': it can't be renamed to 'c' while worker 'x' holds its lease" REMEDIES,
         row->name[0] = 'c');
    KEPT("section 'r': shared can't change from 0 to 1 while worker 'x' holds its lease" REMEDIES,
         row[2].shared = true);
    KEPT("section 'r': it can't go to another place while worker 'x' holds its lease, who writes a "
         "raw section in place (end that worker, then `shmtool reload`)",
         row[2].size = 2000);
    stop();
}
END_TEST

START_TEST(by_force) {
    start_with_x();
    const struct plan_facts facts = {.worker_held = x_holds, .force = true};
    const uint32_t arena_of_x = section("a")->arena_index;
    table.sections[0].owner[0] = 'y';
    table.sections[1].size = 500;
    table.sections[2].owner[0] = 'y';
    apply_with(&facts,
               "move a: owner x -> y, from 81920 to 98304 (4544 bytes), now, taken from worker "
               "'x'; move b: size 1000 -> 500, from 86464 to 92032 (2496 bytes), with the next "
               "publish of worker 'x'; move r: owner x -> y, from 91008 to 102848 (1024 bytes), "
               "now, taken from worker 'x'");
    ck_assert_uint_eq(section("a")->state, SHM_PLACE_LIVE);
    ck_assert_uint_eq(section("a")->incarnation, 1);
    ck_assert_uint_ne(section("a")->arena_index, arena_of_x);
    ck_assert_uint_eq(running.sections[3].state, SHM_PLACE_QUARANTINED);
    table.sections[0].size = 2000;
    table.sections[2].size = 2000;
    not_made(&(struct plan_facts){.worker_held = (bool[]){true, true}, .force = true}, -EBUSY,
             "section 'r': it can't go to another place while worker 'y' holds its lease, who "
             "writes a raw section in place (end that worker, then `shmtool reload`)");
    stop();
}
END_TEST

START_TEST(anew) {
    start_with_x();
    const struct plan_facts facts = {.worker_held = x_holds, .force = true};
    table.sections[0].kind = SHM_KIND_RAW;
    table.sections[0].count = 0;
    table.sections[2].shared = true;
    apply_with(&facts, "move a: kind snapshot -> raw, begins empty, from 81920 to 92032 (1024 "
                       "bytes), now, taken from worker 'x'; move r: shared 0 -> 1, begins empty, "
                       "from 91008 to 98304 (1024 bytes), now, taken from worker 'x'");
    ck_assert_uint_eq(section("a")->incarnation, 2);
    ck_assert_uint_eq(section("a")->changed_gen, 2);
    ck_assert_uint_eq(section("r")->incarnation, 2);
    ck_assert_uint_eq(running.sections[3].incarnation, 1);
    ck_assert_uint_eq(running.sections[3].state, SHM_PLACE_QUARANTINED);
    settle(&(struct plan_facts){.worker_lingers = x_holds}, "");
    settle(NULL, "remove a: left by worker 'x' at last: at 81920, 4544 bytes; remove r: left by "
                 "worker 'x' at last: at 91008, 1024 bytes");
    ck_assert_uint_eq(running.sections[3].state, SHM_PLACE_RETIRED);
    stop();
}
END_TEST

START_TEST(removed_by_force) {
    start_with_x();
    table.sections[1].size = 2000; /* is moving when it is removed */
    apply_held(x_holds, NULL);
    drop(1);
    waits_held(x_holds,
               "section 'b': it can't be removed while worker 'x' holds its lease" REMEDIES);
    const struct plan_facts facts = {.worker_held = x_holds, .force = true};
    apply_with(&facts, "remove b: at 98304, 8640 bytes, taken from worker 'x'");
    for (uint32_t i = 1; i < 4; i += 2)
        ck_assert_uint_eq(running.sections[i].state, SHM_PLACE_QUARANTINED);
    ck_assert_uint_eq(running.sections[1].old_slot, 0);
    settle(NULL, "remove b: left by worker 'x' at last: at 98304, 8640 bytes; remove b: left by "
                 "worker 'x' at last: at 86464, 4544 bytes");
    stop();
}
END_TEST

/* Unheld, nothing keeps either of its places. */
START_TEST(removed_on_its_way) {
    start_with_x();
    table.sections[1].size = 2000;
    apply_held(x_holds, NULL);
    drop(1);
    apply("remove b: at 98304, 8640 bytes");
    ck_assert_uint_eq(running.sections[1].state, SHM_PLACE_RETIRED);
    ck_assert_uint_eq(running.sections[3].state, SHM_PLACE_RETIRED);
    settle(NULL, "");
    stop();
}
END_TEST

START_TEST(one_move_at_a_time) {
    start_with_x();
    table.sections[0].size = 2000;
    apply_held(x_holds, NULL);
    table.sections[0].stale_ms = 5; /* needs no place */
    apply_held(x_holds, "change a: stale_ms 0 -> 5");
    table.sections[0].size = 3000;
    static const char still[] =
        "section 'a': it is still moving, with the next publish of worker 'x', and can't go "
        "elsewhere before that (wait for it, or end that worker; then `shmtool reload`)";
    waits_held(x_holds, still);
    waits_held(NULL, still);
    const bool moved[] = {true, false, false, false};
    apply_with(&(struct plan_facts){.worker_held = x_holds, .moved = moved},
               "move a: has moved to 98304, and left 81920 (4544 bytes); move a: size 2000 -> "
               "3000, from 98304 to 114688 (12480 bytes), with the next publish of worker 'x'");
    ck_assert_uint_eq(before_of("a")->offset, 98304);
    stop();
}
END_TEST

START_TEST(a_value_is_not_cut) {
    start_with_x();
    const uint64_t bytes[] = {400, 0, 900};
    const struct plan_facts facts = {.value_bytes = bytes};
    table.sections[0].size = 399;
    refused_with(&facts, "section 'a': size 399 is too small for its newest value, which has 400 "
                         "bytes (UPDATE section SET size = 400 WHERE name = 'a', or let its worker "
                         "publish a shorter one first)");
    table.sections[0].size = 400;
    apply_with(&facts, "move a: size 1000 -> 400, from 81920 to 92032 (2240 bytes), now");
    stop();
}
END_TEST

START_TEST(pins_that_change) {
    start_with_x();
    struct table_section *row = &table.sections[0];
    row->pinned = true;
    row->offset = 512 * 1024;
    apply_held(x_holds, "move a: pinned, from 81920 to 524288 (4544 bytes), with the next publish "
                        "of worker 'x'");
    const bool moved[] = {true, false, false, false};
    settle(&(struct plan_facts){.moved = moved},
           "move a: has moved to 524288, and left 81920 (4544 bytes)");
    row->size = 2000;
    refused("section 'a': at offset 524288 its 8640 bytes would overlap its own place before, at "
            "524288 (UPDATE section SET offset = NULL WHERE name = 'a' leaves the place to the "
            "manager)");
    row->offset = 520192;
    refused("section 'a': at offset 520192 its 8640 bytes would overlap its own place before, at "
            "524288 (UPDATE section SET offset = NULL WHERE name = 'a' leaves the place to the "
            "manager)");
    row->pinned = false;
    apply("move a: size 1000 -> 2000, no longer pinned, from 524288 to 98304 (8640 bytes), now");
    stop();
}
END_TEST

/* Each wants the other's place, which isn't free before the other has left it. */
START_TEST(pins_that_are_swapped) {
    start(MIB);
    for (uint64_t i = 0; i < 2; i++) {
        struct table_section *row = add(i == 0 ? "a" : "b", "x", 1000);
        row->pinned = true;
        row->offset = (512 + 8 * i) * 1024;
    }
    apply(NULL);
    table.sections[0].offset = 520 * 1024;
    table.sections[1].offset = 512 * 1024;
    refused("section 'a': at offset 532480 it would overlap the place before of section 'b', which "
            "isn't free yet (UPDATE section SET offset = NULL WHERE name = 'a' leaves the place to "
            "the manager)");
    table.sections[0].pinned = false;
    table.sections[1].pinned = false;
    apply("change a: no longer pinned, stays at 524288; change b: no longer pinned, stays at "
          "532480");
    stop();
}
END_TEST

/* Several at once, with what comes and what goes. */
START_TEST(all_in_one_edit) {
    start_with_x();
    table.sections[0].size = 2000;
    table.sections[1].owner[0] = 'y';
    drop(2);
    add("c", "y", 100);
    const struct shm_section a = *section("a");
    apply(NULL);
    ck_assert_uint_ne(section("a")->offset, a.offset);
    ck_assert_ptr_eq(arena("b"), arena("c"));
    ck_assert_uint_eq(layout_section(&running, "c"), 3); /* the places before come behind it */
    ck_assert_uint_eq(running.sections[4].state, SHM_PLACE_RETIRED);
    ck_assert_uint_eq(running.sections[5].state, SHM_PLACE_RETIRED);
    table.sections[0].size = 3000;
    table.sections[1].size = 225 * 1024;
    refused("section 'b': no room for 922048 bytes: 917504 are free in the segment, 901120 of "
            "them in one piece (remove sections, or make a larger segment: UPDATE segment SET size "
            "= ...)");
    stop();
}
END_TEST

START_TEST(nobody_waits_for_what_is_refused) {
    const struct plan_facts facts = {.worker_held = x_holds};
    struct plan plan;
    start_with_x();
    drop(0);
    ck_assert_int_eq(plan_make(&plan, &running, &table, &facts), -EBUSY);
    ck_assert_uint_eq(plan.waits, 1);
    plan_clear(&plan);
    drop(0); /* what was the second one */
    not_made(&facts, -EBUSY,
             "section 'a': it can't be removed while worker 'x' holds its lease" REMEDIES
             "; 1 more wait likewise");
    add_raw("large", "y", 1000 * 1024);
    ck_assert_int_eq(plan_make(&plan, &running, &table, &facts), -EINVAL);
    ck_assert_ptr_nonnull(strstr(plan.error, "section 'large': no room for "));
    ck_assert(same_layout(&plan.next, &running));
    plan_clear(&plan);
    stop();
}
END_TEST

START_TEST(room_that_somebody_keeps) {
    start(MIB);
    add_raw("a", "x", 600 * 1024);
    worker("y");
    apply(NULL);
    const struct plan_facts facts = {.worker_held = x_holds, .force = true};
    drop(0);
    apply_with(&facts, NULL);
    add_raw("b", "y", 600 * 1024);
    refused_with(&facts, "section 'b': no room for 614400 bytes: 274432 are free in the segment, "
                         "274432 of them in one piece, and 614400 more come free when worker 'x' "
                         "ends (remove sections, or make a larger segment: UPDATE segment SET size "
                         "= ...)");
    settle(NULL, "remove a: left by worker 'x' at last: at 81920, 614400 bytes");
    apply_with(&facts, "add b: at 81920, 614400 bytes");
    stop();
}
END_TEST

START_TEST(room_that_is_free_an_edit_later) {
    start(MIB);
    add_raw("a", "x", 600 * 1024);
    apply(NULL);
    drop(0);
    add_raw("b", "x", 600 * 1024);
    refused("section 'b': no room for 614400 bytes: 274432 are free in the segment, 274432 of them "
            "in one piece, and 614400 more once what this edit removes has gone: remove that first "
            "(remove sections, or make a larger segment: UPDATE segment SET size = ...)");
    table.sections_n = 0;
    apply("remove a: at 81920, 614400 bytes");
    add_raw("b", "x", 600 * 1024);
    apply("add b: at 81920, 614400 bytes");
    stop();
}
END_TEST

UNIT_MAIN("plan_move", in_its_place, unheld_moves_at_once, held_moves_with_its_writer,
          an_arena_lives_as_long_as_somebody_comes_from_there, what_a_holder_keeps, by_force, anew,
          removed_by_force, removed_on_its_way, one_move_at_a_time, a_value_is_not_cut,
          pins_that_change, pins_that_are_swapped, all_in_one_edit,
          nobody_waits_for_what_is_refused, room_that_somebody_keeps,
          room_that_is_free_an_edit_later)
