/* SPDX-License-Identifier: Apache-2.0
 *
 * What the planner makes of each difference.  Where things go: test_plan_place.c; what
 * all these forget: test_plan_random.c.
 */
#include "plan_fixture.h"

START_TEST(first_plan) {
    start(MIB);
    add("temps", "driver", 1000)->stale_ms = 500;
    struct table_section *row = add_raw("page", "web", 100);
    row->persist = row->shared = true;
    row->notify = TABLE_NOTIFY_ALWAYS;
    row->stamp = TABLE_STAMP_NONE;
    strcpy(row->format, "html/1");
    worker("idle")->instances = 2;
    /* header, workers, attachments: 16384; two directories of 32768 for 64 entries */
    apply("worker driver: record 0 added; worker idle#1: record 1 added; worker idle#2: record 2 "
          "added; worker web: record 3 added; add temps: at 81920, 4544 bytes; add page: at 94208, "
          "128 bytes");
    ck_assert_uint_eq(running.arena_start, 16384);
    ck_assert_uint_eq(running.directories[0].offset + running.directories[1].offset,
                      16384 + 16384 + 32768);
    const struct shm_section *s = section("page");
    ck_assert_str_eq(s->owner, "web");
    ck_assert_str_eq(s->format, "html/1");
    ck_assert_uint_eq(s->flags, SHM_SECTION_PERSIST | SHM_SECTION_SHARED |
                                    SHM_SECTION_NOTIFY_ALWAYS | SHM_SECTION_STAMP_NONE);
    ck_assert_uint_eq(s->owner_index, 3);
    ck_assert_uint_eq(s->bell_index, 1);
    ck_assert_uint_eq(s->incarnation, 1);
    ck_assert_uint_eq(s->changed_gen, 1);
    ck_assert_uint_eq(s->count, 0);
    ck_assert_uint_eq(s->ctl_off, s->offset);
    ck_assert_uint_eq(section("temps")->stale_ms, 500);
    apply("");
    stop();
}
END_TEST

/* Readers may attach before there is anything to read. */
START_TEST(empty_table) {
    start(MIB);
    apply("");
    ck_assert_uint_eq(running.generation, 1);
    ck_assert_uint_eq(running.directories[0].offset, 49152);
    ck_assert_uint_eq(running.directories[1].offset, 16384);
    apply("");
    ck_assert_uint_eq(running.generation, 1);
    stop();
}
END_TEST

START_TEST(changes_in_place) {
    start(MIB);
    add("a", "x", 1000);
    apply(NULL);
    const struct shm_section before = *section("a");
    struct table_section *row = &table.sections[0];
    strcpy(row->name, "b");
    strcpy(row->format, "b/1");
    row->size = 1024; /* of the same stride */
    row->stale_ms = 500;
    row->notify = TABLE_NOTIFY_NEVER;
    row->persist = true;
    apply("change b: renamed from 'a', size 1000 -> 1024, stale_ms 0 -> 500, format '' -> 'b/1', "
          "notify demand -> never, persist 0 -> 1");
    const struct shm_section *after = section("b");
    ck_assert_uint_eq(after->offset, before.offset);
    ck_assert_uint_eq(after->bytes, before.bytes);
    ck_assert_uint_eq(after->incarnation, 1);
    ck_assert_uint_eq(after->changed_gen, 2);
    ck_assert_uint_eq(after->size, 1024);
    row->pinned = true;
    row->offset = after->offset;
    apply("change b: pinned where it is, at 81920");
    row->pinned = false;
    apply("change b: no longer pinned, stays at 81920");
    stop();
}
END_TEST

START_TEST(two_may_swap_names) {
    start(MIB);
    add("a", "x", 1000);
    add("b", "x", 2000);
    apply(NULL);
    const uint64_t a = section("a")->offset;
    strcpy(table.sections[0].name, "b");
    strcpy(table.sections[1].name, "a");
    apply("change b: renamed from 'a'; change a: renamed from 'b'");
    ck_assert_uint_eq(section("b")->offset, a);
    stop();
}
END_TEST

START_TEST(what_is_held_is_kept) {
    start(MIB);
    add("a", "x", 1000);
    add("b", "y", 1000);
    apply(NULL);
    const bool held[] = {true, false};
    strcpy(table.sections[0].name, "c");
    waits_held(held, "section 'a': it can't be renamed to 'c' while worker 'x' holds its lease "
                     "(end that worker, then `shmtool reload`, or `shmtool reload --force`)");
    strcpy(table.sections[0].name, "a");
    table.sections[0].stale_ms = 7;
    strcpy(table.sections[1].name, "d");
    apply_held(held, "change a: stale_ms 0 -> 7; change d: renamed from 'b'");
    drop(0);
    waits_held(held, "section 'a': it can't be removed while worker 'x' holds its lease (end "
                     "that worker, then `shmtool reload`, or `shmtool reload --force`)");
    apply("remove a: at 81920, 4544 bytes");
    /* the record of a holder stays, though its row is gone */
    table.workers_n = 1;
    table.workers[0] = table.workers[1];
    apply_held(held, "");
    apply("worker x: record 0 removed");
    ck_assert_uint_eq(layout_worker(&running, "y"), 1);
    worker("z");
    apply("worker z: record 0 added");
    stop();
}
END_TEST

START_TEST(instances) {
    start(MIB);
    worker("web")->instances = 3;
    add("a", "web#3", 1000);
    apply("worker web#1: record 0 added; worker web#2: record 1 added; worker web#3: record 2 "
          "added; add a: at 81920, 4544 bytes");
    ck_assert_uint_eq(section("a")->owner_index, 2);
    table.workers[0].instances = 4;
    apply("worker web#4: record 3 added");
    table.workers[0].instances = 2;
    refused("section 'a': its owner 'web#3' is beyond the worker's 2 instances (UPDATE worker SET "
            "instances = 3 WHERE name = 'web')");
    table.sections_n = 0;
    table.workers[0].instances = 1;
    apply("worker web: record 4 added; remove a: at 81920, 4544 bytes; worker web#1: record 0 "
          "removed; worker web#2: record 1 removed; worker web#3: record 2 removed; worker web#4: "
          "record 3 removed");
    stop();
}
END_TEST

START_TEST(not_served) {
    start(MIB);
    add("a", "x", 1000)->kind = SHM_KIND_QUEUE;
    table.sections[0].persist = true;
    refused("section 'a': persist is for values, and a queue's messages would come twice (UPDATE "
            "section SET persist = 0 WHERE name = 'a')");
    table.sections[0].persist = false;
    table.sections[0].stale_ms = 100;
    refused("section 'a': stale_ms is 100, but a queue has no times to tell by (UPDATE section SET "
            "stale_ms = 0 WHERE name = 'a')");
    table.sections[0].stale_ms = 0;
    table.sections[0].kind = SHM_KIND_SNAPSHOT;
    table.backend = SHM_BACKEND_MEMFD;
    refused("segment: its backend can't change from sysv to memfd while it runs (UPDATE segment "
            "SET backend = 'sysv', or `shmtool destroy` and a new start)");
    table.backend = SHM_BACKEND_SYSV;
    table.sections[0].size = 0;
    refused("section 'a': size is 0; it must be 1 byte at least (UPDATE section SET size = 4096 "
            "WHERE name = 'a')");
    stop();
}
END_TEST

/* A descriptor that somebody forged may have it. */
START_TEST(the_highest_id_is_one_like_any_other) {
    start(MIB);
    add("a", "alpha", 100)->id = UINT64_MAX;
    apply("worker alpha: record 0 added; add a: at 81920, 960 bytes");
    drop(0);
    apply("remove a: at 81920, 960 bytes");
    stop();
}
END_TEST

/* The rows come sorted by id, not by when they were made. */
START_TEST(a_row_may_come_in_between) {
    start(MIB);
    add("a", "x", 100);
    add("c", "x", 100)->id = 9;
    apply(NULL);
    add("b", "x", 100)->id = 5;
    const struct table_section last = table.sections[1];
    table.sections[1] = table.sections[2];
    table.sections[2] = last;
    apply(NULL);
    ck_assert_uint_eq(section("b")->section_id, 5);
    ck_assert_uint_eq(section("a")->changed_gen, 1);
    ck_assert_uint_eq(section("c")->changed_gen, 1);
    stop();
}
END_TEST

/* A section that the manager found to be damaged goes with its row, and stays with it. */
START_TEST(a_bad_section_goes_with_its_row) {
    start(MIB);
    add("a", "x", 100);
    add("b", "x", 100);
    apply(NULL);
    running.sections[0].state = SHM_PLACE_BAD;
    running.sections[0].crc = CRC32C_OF(&running.sections[0]);
    apply("");
    ck_assert_uint_eq(running.sections[0].state, SHM_PLACE_BAD);
    drop(0);
    apply(NULL);
    ck_assert_uint_eq(running.sections[0].state, SHM_PLACE_RETIRED);
    stop();
}
END_TEST

/* Nothing is built on what is broken already. */
START_TEST(a_broken_layout_is_not_gone_on_from) {
    start(MIB);
    add("a", "x", 100);
    add("b", "y", 100);
    apply(NULL);
    running.arenas[0].crc ^= 1;
    table.sections[1].stale_ms = 5;
    refused("the plan would not hold together: arena 0 has a wrong checksum");
    stop();
}
END_TEST

/* Names keep their records; who comes later takes the first that is free. */
START_TEST(a_workers_record_is_used_again) {
    start(MIB);
    add("a", "x", 100);
    add("b", "y", 100);
    add("c", "z", 100);
    apply(NULL);
    drop(0);
    drop(0);
    memmove(table.workers, table.workers + 2, sizeof *table.workers); /* z */
    table.workers_n = 1;
    apply(NULL);
    ck_assert_uint_eq(layout_worker(&running, "z"), 2);
    table.sections[0].stale_ms = 1;
    apply("change c: stale_ms 0 -> 1");
    worker("late");
    apply("worker late: record 0 added");
    ck_assert_uint_eq(layout_worker(&running, "z"), 2);
    stop();
}
END_TEST

/* A change's text ends where its room does. */
START_TEST(a_long_change_is_cut) {
    struct plan plan;
    char name[SHM_NAME_BYTES];
    start(MIB);
    memset(name, 'n', sizeof name);
    name[63] = '\0';
    struct table_section *row = add(name, "x", 100);
    memset(row->format, 'f', 63);
    apply(NULL);
    strcpy(row->name, "other");
    memset(row->format, 'g', 63);
    row->stale_ms = TABLE_STALE_MS_MAX;
    row->size = 128;
    row->notify = TABLE_NOTIFY_NEVER;
    row->persist = true;
    ck_assert_msg(plan_make(&plan, &running, &table, NULL) == 0, "%s", plan.error);
    ck_assert_uint_eq(plan.changes_n, 1);
    ck_assert_uint_eq(strlen(plan.changes[0].what), sizeof plan.changes[0].what - 1);
    ck_assert_ptr_nonnull(strstr(plan.changes[0].what, "size 100 -> 128, stale_ms 0 -> "));
    plan_clear(&plan);
    ck_assert_str_eq(plan_action_name((enum plan_action)99), "unknown");
    stop();
}
END_TEST

UNIT_MAIN("plan", a_workers_record_is_used_again, a_row_may_come_in_between,
          a_bad_section_goes_with_its_row, a_broken_layout_is_not_gone_on_from,
          a_long_change_is_cut, first_plan, empty_table, changes_in_place, two_may_swap_names,
          what_is_held_is_kept, instances, not_served, the_highest_id_is_one_like_any_other)
