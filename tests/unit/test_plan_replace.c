/* SPDX-License-Identifier: Apache-2.0
 *
 * Plans for a segment of another size: all is placed anew, and what keeps its value keeps its
 * incarnation.
 */
#include "plan_fixture.h"

static uint64_t incarnation(const char *name) {
    return section(name)->incarnation;
}

START_TEST(larger) {
    start(MIB);
    add("a", "x", 1000);
    add_raw("r", "y", 5000);
    apply(NULL);
    add("b", "y", 2000);
    apply(NULL);
    const uint64_t a = incarnation("a"), b = incarnation("b"), r = incarnation("r");
    ck_assert_uint_lt(a, b);
    const uint64_t generation = running.generation;
    table.size = 4 * MIB;
    apply("replace segment: size 1048576 -> 4194304, a new segment; up to 8000 bytes of values are "
          "copied");
    ck_assert_uint_eq(running.segment_bytes, 4 * MIB);
    ck_assert_uint_eq(running.generation, generation + 1);
    ck_assert_uint_eq(incarnation("a"), a);
    ck_assert_uint_eq(incarnation("b"), b);
    ck_assert_uint_eq(incarnation("r"), r);
    ck_assert_str_eq(running.workers[section("a")->owner_index], "x");
    apply(NULL); /* nothing more */
    ck_assert_uint_eq(running.generation, generation + 1);
    stop();
}
END_TEST

START_TEST(smaller_with_other_changes) {
    start(4 * MIB);
    add("a", "x", 1000);
    add("b", "y", 2000);
    add("c", "y", 3000);
    apply(NULL);
    const uint64_t a = incarnation("a"), c = incarnation("c");
    table.size = MIB;
    snprintf(table.sections[0].name, SHM_NAME_BYTES, "first");
    table.sections[0].size = 900;
    table.sections[2].kind = SHM_KIND_RAW;
    table.sections[2].count = 0;
    drop(1);
    add("d", "x", 10);
    apply("replace segment: size 4194304 -> 1048576, a new segment; up to 6000 bytes of values are "
          "copied; add d: at 86208, 704 bytes; change first: renamed from 'a', size 1000 -> 900; "
          "remove b: at 131072, 8640 bytes; change c: kind snapshot -> raw, begins empty");
    ck_assert_uint_eq(incarnation("first"), a);
    ck_assert_uint_ne(incarnation("c"), c);
    stop();
}
END_TEST

START_TEST(refusals) {
    static const bool nobody[3] = {false}, all[3] = {true, true, true}, y[3] = {false, true};
    static const uint64_t bytes[2] = {700, 0};
    start(2 * MIB);
    add("a", "x", 1000);
    add("b", "y", 1000);
    add("c", "z", 240000);
    apply(NULL);
    table.size = 8 * MIB;
    waits_held(all,
               "segment: size 2097152 -> 8388608 takes a new segment, which waits until nobody "
               "writes: worker 'x', 'y' and 1 more hold their leases (end them, then `shmtool "
               "reload`, or `shmtool reload --force`)");
    waits_held(y, "segment: size 2097152 -> 8388608 takes a new segment, which waits until nobody "
                  "writes: worker 'y' holds its lease (end them, then `shmtool reload`, or "
                  "`shmtool reload --force`)");
    const struct plan_facts one = {.worker_held = nobody, .nameless = 1};
    not_made(&one, -EBUSY,
             "segment: size 2097152 -> 8388608 takes a new segment, which waits until nobody "
             "writes: 1 anonymous attachment holds its lease (end them, then `shmtool reload`, or "
             "`shmtool reload --force`)");
    const struct plan_facts some = {.worker_held = y, .nameless = 2};
    not_made(&some, -EBUSY,
             "segment: size 2097152 -> 8388608 takes a new segment, which waits until nobody "
             "writes: worker 'y' and 2 more hold their leases (end them, then `shmtool reload`, "
             "or `shmtool reload --force`)");
    struct plan plan;
    const struct plan_facts forced = {.worker_held = y, .force = true};
    ck_assert_int_eq(plan_make(&plan, &running, &table, &forced), 0);
    ck_assert_str_eq(said(&plan), "replace segment: size 2097152 -> 8388608, a new segment; up to "
                                  "242000 bytes of values are copied, although worker 'y' holds "
                                  "its lease");
    plan_clear(&plan);
    const struct plan_facts facts = {.worker_held = nobody, .value_bytes = bytes};
    table.sections[0].size = 699;
    refused_with(&facts, "section 'a': size 699 is too small for its newest value, which has 700 "
                         "bytes (UPDATE section SET size = 700 WHERE name = 'a', or let its worker "
                         "publish a shorter one first)");
    table.sections[0].size = 1000;
    table.size = MIB;
    refused_held(
        all,
        "section 'c': no room for 960448 bytes: 942080 are free in the segment, 942080 of "
        "them in one piece (remove sections, or make a larger segment: UPDATE segment SET size "
        "= ...)");
    table.size = MIB + 1;
    refused("segment: size is 1048577; it must be a multiple of 4096 from 1048576 to "
            "70368744177664 (UPDATE segment SET size = 67108864)");
    stop();
}
END_TEST

/* There are fewer records in a small one: those that are needed are numbered anew. */
START_TEST(workers_numbered_anew) {
    start(4 * MIB);
    worker("web")->instances = 100;
    apply(NULL);
    ck_assert_uint_eq(running.workers_used, 100);
    table.workers[0].instances = 1;
    add("a", "web", 100);
    apply(NULL);
    table.size = MIB;
    apply("replace segment: size 4194304 -> 1048576, a new segment; up to 100 bytes of values are "
          "copied; worker web: record 0 added");
    ck_assert_uint_eq(running.workers_used, 1);
    stop();
}
END_TEST

UNIT_MAIN("plan_replace", larger, smaller_with_other_changes, refusals, workers_numbered_anew)
