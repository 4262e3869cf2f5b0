/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker who is made to leave all of his own; and what is planned where something is broken, or
 * where nobody can tell who holds what.
 */
#include "plan_fixture.h"

static void evict_refused(const char *error) {
    struct plan plan;
    ck_assert_int_eq(plan_evict(&plan, &running, 0, NULL), -EINVAL);
    ck_assert_str_eq(plan.error, error);
    ck_assert(same_layout(&plan.next, &running));
    plan_clear(&plan);
}

START_TEST(all_of_a_worker) {
    struct plan plan;
    start_with_x();
    add("c", "y", 100);
    apply(NULL);
    const struct shm_section before = *section("b"), c = *section("c");
    const struct plan_facts facts = {.worker_lingers = x_holds};
    ck_assert_msg(plan_evict(&plan, &running, 0, &facts) == 0, "%s", plan.error);
    ck_assert_str_eq(said(&plan),
                     "move a: from 81920 to 106496 (4544 bytes), now, taken from worker 'x'; move "
                     "b: from 86464 to 111040 (4544 bytes), now, taken from worker 'x'; move r: "
                     "from 91008 to 115584 (1024 bytes), now, taken from worker 'x'");
    ck_assert_uint_gt(plan.used_after, plan.used_before);
    adopt(&plan);
    ck_assert_uint_eq(section("b")->state, SHM_PLACE_LIVE);
    ck_assert_uint_eq(section("b")->section_id, before.section_id);
    ck_assert_uint_eq(section("b")->incarnation, before.incarnation);
    ck_assert_ptr_eq(arena("a"), arena("r"));
    ck_assert_uint_eq(arena("a")->owner_index, 0);
    ck_assert_uint_eq(running.arenas[before.arena_index].state, SHM_PLACE_QUARANTINED);
    ck_assert_mem_eq(section("c"), &c, sizeof c);
    for (uint32_t i = 4; i < 7; i++)
        ck_assert_uint_eq(running.sections[i].state, SHM_PLACE_QUARANTINED);
    apply_with(&facts, "");
    settle(&facts, "");
    settle(NULL, "remove a: left by worker 'x' at last: at 81920, 4544 bytes; remove b: left by "
                 "worker 'x' at last: at 86464, 4544 bytes; remove r: left by worker 'x' at last: "
                 "at 91008, 1024 bytes");
    ck_assert_uint_eq(running.arenas[before.arena_index].state, SHM_PLACE_RETIRED);
    ck_assert_uint_eq(running.arenas[before.arena_index].retired_gen, running.generation);
    /* nobody is to leave what nobody has */
    ck_assert_int_eq(plan_evict(&plan, &running, 7, NULL), 0);
    ck_assert_uint_eq(plan.changes_n, 0);
    plan_clear(&plan);
    stop();
}
END_TEST

START_TEST(not_all_can_be_taken) {
    start_with_x();
    table.sections[0].pinned = true;
    table.sections[0].offset = 81920;
    apply(NULL);
    evict_refused("section 'a': it is pinned to offset 81920, and can't be taken from worker 'x' "
                  "there (end that worker, or UPDATE section SET offset = NULL WHERE name = 'a')");
    table.sections[0].pinned = false;
    table.sections[0].size = 2000;
    apply_held(x_holds, NULL);
    evict_refused("section 'a': it is still moving, with the next publish of worker 'x', from whom "
                  "it can't be taken before that (end that worker)");
    table.sections_n = 0;
    apply(NULL);
    add_raw("large", "x", 500 * 1024);
    apply(NULL);
    evict_refused("section 'large': no room for 512000 bytes: 389120 are free in the segment, "
                  "389120 of them in one piece (remove sections, or make a larger segment: UPDATE "
                  "segment SET size = ...)");
    stop();
}
END_TEST

/* Nothing of a damaged section can be brought along. */
START_TEST(a_damaged_one_begins_anew) {
    struct plan plan;
    start_with_x();
    for (uint32_t i = 0; i < 2; i++) {
        running.sections[i].state = SHM_PLACE_BAD;
        running.sections[i].crc = CRC32C_OF(&running.sections[i]);
    }
    table.sections[0].size = 2000;
    apply(NULL);
    ck_assert_uint_eq(section("a")->incarnation, 2);
    ck_assert_int_eq(plan_evict(&plan, &running, 0, NULL), 0);
    ck_assert_uint_eq(plan.next.sections[1].incarnation, 3);
    ck_assert_uint_eq(plan.next.sections[1].state, SHM_PLACE_LIVE);
    plan_clear(&plan);
    stop();
}
END_TEST

/* What a segment says may be forged: whatever the numbers are, they lead nowhere. */
START_TEST(what_is_broken_is_left_alone) {
    struct plan plan;
    start_with_x();
    table.sections[0].size = 2000;
    apply_held(x_holds, NULL);
    struct shm_section *moving = &running.sections[0], *before = &running.sections[3];
    const struct plan_facts facts = {.worker_held = x_holds,
                                     .moved = (bool[]){true, false, false, false}};
    before->owner_index = 99; /* there is nobody to name */
    before->crc = CRC32C_OF((const struct shm_section *)before);
    add_raw("large", "y", 1000 * 1024);
    ck_assert_int_eq(plan_make(&plan, &running, &table, NULL), -EINVAL);
    ck_assert_ptr_nonnull(strstr(plan.error, ": no room for "));
    ck_assert_ptr_null(strstr(plan.error, "come free"));
    plan_clear(&plan);
    table.sections_n--;
    moving->old_slot = 99;
    moving->crc = CRC32C_OF((const struct shm_section *)moving);
    before->arena_index = 99;
    before->crc = CRC32C_OF((const struct shm_section *)before);
    ck_assert_int_eq(plan_settle(&plan, &running, &facts), -EINVAL);
    ck_assert_msg(strncmp(plan.error, "the plan would not hold together: ", 34) == 0, "%s",
                  plan.error);
    plan_clear(&plan);
    before->state = SHM_PLACE_LIVE;
    before->section_id = 77;
    before->crc = CRC32C_OF((const struct shm_section *)before);
    ck_assert_int_eq(plan_make(&plan, &running, &table, &facts), -EINVAL);
    plan_clear(&plan);
    stop();
}
END_TEST

/* Where nobody can say anything, nothing is held. */
START_TEST(no_facts) {
    struct plan plan;
    start_with_x();
    table.sections[0].size = 10;
    ck_assert_int_eq(plan_make(&plan, &running, &table, NULL), 0);
    ck_assert_str_eq(said(&plan), "move a: size 1000 -> 10, from 81920 to 92032 (704 bytes), now");
    plan_clear(&plan);
    stop();
}
END_TEST

/* The record of a worker who was taken from stays until he has gone. */
START_TEST(a_record_is_kept_for_who_lingers) {
    start_with_x();
    const struct plan_facts facts = {.worker_lingers = x_holds, .force = true};
    for (int i = 0; i < 3; i++)
        table.sections[i].owner[0] = 'y';
    memmove(table.workers, table.workers + 1, sizeof *table.workers);
    table.workers_n = 1;
    apply_with(&facts, NULL);
    ck_assert_uint_eq(layout_worker(&running, "x"), 0);
    apply("remove a: left by worker 'x' at last: at 81920, 4544 bytes; remove b: left by worker "
          "'x' at last: at 86464, 4544 bytes; remove r: left by worker 'x' at last: at 91008, 1024 "
          "bytes; worker x: record 0 removed");
    stop();
}
END_TEST

UNIT_MAIN("plan_evict", all_of_a_worker, not_all_can_be_taken, a_damaged_one_begins_anew,
          what_is_broken_is_left_alone, no_facts, a_record_is_kept_for_who_lingers)
