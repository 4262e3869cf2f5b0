/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows of sections made at run time: beside people's, back from a layout, and a worker's quota.
 */
#include "made_rows.h"
#include "plan_fixture.h"

#define FIRST SHM_SECTION_ID_MADE

static char error[512];

static struct table_section made(uint64_t id, const char *name, const char *owner, uint64_t size) {
    struct table_section row = {
        .id = id, .kind = SHM_KIND_RAW, .size = size, .stamp = TABLE_STAMP_PRECISE};
    snprintf(row.name, sizeof row.name, "%s", name);
    snprintf(row.owner, sizeof row.owner, "%s", owner);
    return row;
}

static void begin(void) {
    start(MIB);
    add("temps", "x", 100);
    add("Camera", "y", 100);
    worker("z")->instances = 2;
    error[0] = '\0';
}

START_TEST(they_come_behind_all_others) {
    struct table_section rows[] = {made(FIRST, "a", "x", 1), made(FIRST + 7, "b", "z#2", 1)};
    begin();
    ck_assert_uint_eq(made_first(&table), 2);
    ck_assert_int_eq(made_merge(&table, rows, 2, error, sizeof error), 0);
    ck_assert_uint_eq(table.sections_n, 4);
    ck_assert_uint_eq(made_first(&table), 2);
    ck_assert_str_eq(table.sections[3].name, "b");
    ck_assert_int_eq(table_check(&table, error, sizeof error), 0);
    /* once, however often */
    ck_assert_int_eq(made_merge(&table, rows, 1, error, sizeof error), 0);
    ck_assert_uint_eq(table.sections_n, 3);
    rows[0] = made(FIRST + 9, "c", "x", 1);
    ck_assert_int_eq(made_append(&table, &rows[0]), 0);
    made_remove(&table, 2);
    ck_assert_uint_eq(table.sections_n, 3);
    ck_assert_str_eq(table.sections[2].name, "c");
    made_strip(&table);
    ck_assert_uint_eq(table.sections_n, 2);
    ck_assert_int_eq(made_merge(&table, NULL, 0, error, sizeof error), 0);
    ck_assert_uint_eq(table.sections_n, 2);
    stop();
}
END_TEST

static void not_merged(const char *name, const char *owner, const char *why) {
    const struct table_section row = made(FIRST, name, owner, 1);
    const size_t n = table.sections_n;
    ck_assert_int_eq(made_merge(&table, &row, 1, error, sizeof error), -EINVAL);
    ck_assert_str_eq(error, why);
    ck_assert_uint_eq(table.sections_n, n);
}

START_TEST(a_table_leaves_them_name_and_owner) {
    begin();
    not_merged("temps", "y",
               "section 'temps': worker 'y' made a section 'temps' at run time, and the name is "
               "taken (shmtool drop temps, then shmtool reload; or UPDATE section SET name = "
               "'other' WHERE name = "
               "'temps')");
    not_merged("camera", "y",
               "section 'Camera': worker 'y' made a section 'camera' at run time, and the name is "
               "taken (shmtool drop camera, then shmtool reload; or UPDATE section SET name = "
               "'other' WHERE name = "
               "'Camera')");
    static const char *const owners[] = {"nobody", "x#1", "z", "z#3"};
    for (size_t i = 0; i < sizeof owners / sizeof *owners; i++) {
        char why[300];
        snprintf(why, sizeof why,
                 "worker '%s': it can't be removed, nor its instances, while it has sections that "
                 "it made at run time, like 'a' (shmtool drop a, then shmtool reload; or put the "
                 "row back)",
                 owners[i]);
        not_merged("a", owners[i], why);
    }
    stop();
}
END_TEST

START_TEST(a_layout_tells_them) {
    struct table_section row = made(FIRST + 3, "b", "x", 500), other = row;
    struct table_section *rows;
    size_t n;
    begin();
    row.kind = SHM_KIND_SNAPSHOT;
    row.count = 3;
    row.stale_ms = 77;
    row.persist = row.transient = true;
    row.stamp = TABLE_STAMP_COARSE;
    row.notify = TABLE_NOTIFY_ALWAYS;
    row.read_class = 1001;
    strcpy(row.format, "b/1");
    strcpy(row.read_group, "1000");
    other.id = FIRST + 1;
    strcpy(other.name, "a");
    other.notify = TABLE_NOTIFY_NEVER;
    other.stamp = TABLE_STAMP_NONE;
    table.backend = SHM_BACKEND_MEMFD;
    made_append(&table, &other);
    made_append(&table, &row);
    apply_with(NULL, NULL);
    ck_assert_int_eq(made_of_layout(&running, &rows, &n), 0);
    ck_assert_uint_eq(n, 2);
    ck_assert(rows[0].id == FIRST + 1 && made_same(&rows[0], &other));
    ck_assert_mem_eq(&rows[1], &row, sizeof row);
    free(rows);
    stop();
}
END_TEST

START_TEST(a_layout_tells_slots_and_queues) {
    struct table_section row = made(FIRST + 1, "s", "x", 500), queue = row;
    struct table_section *rows;
    size_t n;
    begin();
    row.kind = SHM_KIND_SLOTS;
    row.count = 3;
    row.shared = row.pregrab = true;
    row.clear = TABLE_CLEAR_RESTART;
    row.write_class = 1001;
    strcpy(row.write_group, "1000");
    queue.id++;
    strcpy(queue.name, "q");
    queue.kind = SHM_KIND_QUEUE;
    queue.count = 2;
    made_append(&table, &row);
    made_append(&table, &queue);
    apply_with(NULL, NULL);
    ck_assert_int_eq(made_of_layout(&running, &rows, &n), 0);
    ck_assert_uint_eq(n, 2);
    ck_assert_mem_eq(&rows[0], &row, sizeof row);
    ck_assert_mem_eq(&rows[1], &queue, sizeof queue);
    free(rows);
    stop();
}
END_TEST

/* The planner's part: their holder may give them up, and who lost his lease has. */
START_TEST(one_that_was_given_up_is_retired) {
    static const bool held[] = {true, true, true, true};
    bool given_up[8] = {false};
    struct table_section row = made(FIRST, "a", "x", 500);
    begin();
    made_append(&table, &row);
    apply(NULL);
    const uint32_t slot = layout_section(&running, "a");
    made_strip(&table);
    struct plan_facts facts = {.worker_held = held, .worker_lingers = held, .given_up = given_up};
    struct plan plan;
    ck_assert_int_lt(plan_make(&plan, &running, &table, &facts), 0);
    plan_clear(&plan);
    given_up[slot] = true;
    apply_with(&facts, "remove a: at 82880, 512 bytes");
    ck_assert_uint_eq(running.sections[slot].state, SHM_PLACE_RETIRED);

    row.id++;
    made_append(&table, &row);
    apply_with(&facts, NULL);
    made_strip(&table);
    given_up[slot] = false;
    facts.force = true;
    apply_with(&facts, NULL);
    const uint32_t taken = running.sections_used - 1;
    ck_assert_uint_eq(running.sections[taken].section_id, FIRST + 1);
    ck_assert_uint_eq(running.sections[taken].state, SHM_PLACE_QUARANTINED);
    stop();
}
END_TEST

START_TEST(a_transient_one_goes_when_nobody_holds_it) {
    static const bool held[] = {true, true, true, true}, free_again[4];
    struct table_section row = made(FIRST, "a", "x", 500);
    begin();
    row.transient = true;
    made_append(&table, &row);
    apply(NULL);
    const uint32_t slot = layout_section(&running, "a");
    made_strip(&table);
    struct plan_facts facts = {.worker_held = held, .worker_lingers = held};
    struct plan plan;
    ck_assert_int_lt(plan_make(&plan, &running, &table, &facts), 0);
    plan_clear(&plan);
    facts.worker_held = NULL;
    ck_assert_int_eq(plan_make(&plan, &running, &table, &facts), 0);
    plan_clear(&plan);
    facts.worker_held = free_again; /* but who held it may write there still */
    apply_with(&facts, "remove a: at 82880, 512 bytes, taken from worker 'x'");
    ck_assert_uint_eq(running.sections[slot].state, SHM_PLACE_QUARANTINED);
    stop();
}
END_TEST

START_TEST(a_full_segment_is_told_from_a_bad_table) {
    struct table_section row = made(FIRST, "a", "x", 1000 * 1024);
    struct plan plan;
    begin();
    ck_assert_int_eq(plan_make(&plan, &running, &table, NULL), 0);
    ck_assert(!plan.full);
    plan_clear(&plan);
    made_append(&table, &row);
    ck_assert_int_eq(plan_make(&plan, &running, &table, NULL), -EINVAL);
    ck_assert(plan.full);
    plan_clear(&plan);
    strcpy(table.sections[2].owner, "nobody");
    ck_assert_int_eq(plan_make(&plan, &running, &table, NULL), -EINVAL);
    ck_assert(!plan.full);
    plan_clear(&plan);
    stop();
}
END_TEST

/* ---- quota */

static int allow(const char *owner, uint64_t size) {
    const struct table_section row = made(0, "new", owner, size);
    return made_allow(&table, table_worker(&table, owner), &row, error, sizeof error);
}

START_TEST(whole_pages_count) {
    struct table_section row = made(FIRST, "a", "x", 1);
    ck_assert_uint_eq(made_charge(&row), 4096);
    row.size = 4096;
    ck_assert_uint_eq(made_charge(&row), 4096);
    row.size = 4097;
    ck_assert_uint_eq(made_charge(&row), 8192);
    row.size = 0;
    ck_assert_uint_eq(made_charge(&row), UINT64_MAX);
    row.size = UINT64_MAX - 128; /* it is one, but its pages are not */
    ck_assert_uint_eq(made_charge(&row), UINT64_MAX);
    row.size = UINT64_MAX;
    ck_assert_uint_eq(made_charge(&row), UINT64_MAX);
    row = (struct table_section){.kind = SHM_KIND_SNAPSHOT, .size = 1000, .count = 4};
    ck_assert_uint_eq(
        made_charge(&row),
        layout_round(layout_section_bytes(SHM_KIND_SNAPSHOT, 1000, 4, false), SHM_PAGE));
    row.count = UINT32_MAX;
    row.size = UINT64_MAX / 4;
    ck_assert_uint_eq(made_charge(&row), UINT64_MAX);
}
END_TEST

START_TEST(what_a_worker_has_made_counts) {
    struct table_section rows[] = {made(FIRST, "a", "x", 5000), made(FIRST + 1, "b", "xx", 5000),
                                   made(FIRST + 2, "c", "z#1", 4096),
                                   made(FIRST + 3, "d", "z#2", 1)};
    begin();
    worker("xx");
    ck_assert_int_eq(made_merge(&table, rows, 4, error, sizeof error), 0);
    ck_assert_uint_eq(made_used(&table, worker("x")), 8192); /* and not people's section of it */
    ck_assert_uint_eq(made_used(&table, worker("xx")), 8192);
    ck_assert_uint_eq(made_used(&table, worker("y")), 0);
    ck_assert_uint_eq(made_used(&table, worker("z")), 8192);

    ck_assert_int_eq(allow("x", 1), -EACCES);
    ck_assert_str_eq(error, "section 'new': worker 'x' may make none, as its may_create is 0 "
                            "(UPDATE worker SET may_create = 1048576 WHERE name = 'x')");
    worker("x")->may_create = 12288;
    ck_assert_int_eq(allow("x", 4096), 0);
    ck_assert_int_eq(allow("x", 4097), -EDQUOT);
    ck_assert_str_eq(error, "section 'new': it takes 8192 bytes, and worker 'x' has used 8192 of "
                            "the 12288 that it may (shmc_drop() others, or UPDATE worker SET "
                            "may_create = ... WHERE name = 'x')");
    ck_assert_int_eq(allow("x", UINT64_MAX - 200), -EDQUOT);
    worker("x")->may_create = 4096; /* it was lowered */
    ck_assert_int_eq(allow("x", 1), -EDQUOT);
    worker("z")->may_create = 12287;
    ck_assert_int_eq(allow("z#1", 1), -EDQUOT);
    worker("z")->may_create = 12288;
    ck_assert_int_eq(allow("z#1", 1), 0);
    stop();
}
END_TEST

START_TEST(the_same_is_what_was_asked_for) {
    const struct table_section row = made(FIRST, "a", "x", 500);
    struct table_section other = row;
    other.id++;
    other.read_class = 5;
    ck_assert(made_same(&row, &other));
#define DIFFERS(set)                                                                               \
    do {                                                                                           \
        other = row;                                                                               \
        set;                                                                                       \
        ck_assert(!made_same(&row, &other));                                                       \
    } while (0)
    DIFFERS(other.name[0] = 'A');
    DIFFERS(other.owner[0] = 'y');
    DIFFERS(other.format[0] = 'f');
    DIFFERS(other.read_group[0] = 'g');
    DIFFERS(other.kind = SHM_KIND_SNAPSHOT);
    DIFFERS(other.size++);
    DIFFERS(other.count = 4);
    DIFFERS(other.persist = true);
    DIFFERS(other.transient = true);
    DIFFERS(other.stale_ms = 1);
    DIFFERS(other.stamp = TABLE_STAMP_NONE);
    DIFFERS(other.notify = TABLE_NOTIFY_NEVER);
    DIFFERS(other.shared = true);
    DIFFERS(other.pregrab = true);
    DIFFERS(other.clear = TABLE_CLEAR_FREE);
    DIFFERS(other.write_group[0] = 'g');
}
END_TEST

UNIT_MAIN("made_rows", they_come_behind_all_others, a_table_leaves_them_name_and_owner,
          a_layout_tells_them, a_layout_tells_slots_and_queues, one_that_was_given_up_is_retired,
          a_transient_one_goes_when_nobody_holds_it, a_full_segment_is_told_from_a_bad_table,
          whole_pages_count, what_a_worker_has_made_counts, the_same_is_what_was_asked_for)
