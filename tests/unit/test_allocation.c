/* SPDX-License-Identifier: Apache-2.0
 *
 * Each allocation of libclient/core fails in turn: -ENOMEM, nothing half made, and with enough
 * memory the same call succeeds.  calloc() and reallocarray() are wrapped by the linker.
 */
#include "directory_fixture.h"

#include <errno.h>
#include <stdio.h>

void *__real_calloc(size_t n, size_t size);
void *__real_reallocarray(void *old, size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_reallocarray(void *old, size_t n, size_t size);

static bool armed;
static unsigned allowed; /* before one fails */

static bool denied(void) {
    if (!armed || allowed-- > 0)
        return false;
    armed = false; /* one only, so that cleaning up is tried with memory there */
    return true;
}

void *__wrap_calloc(size_t n, size_t size) {
    return denied() ? NULL : __real_calloc(n, size);
}

void *__wrap_reallocarray(void *old, size_t n, size_t size) {
    return denied() ? NULL : __real_reallocarray(old, n, size);
}

/* Runs `call` with its 1st, 2nd, ... allocation failing, until it no longer makes so many, and
 * must give `result` then.  Each failure must have been an allocation's, and there be `least`. */
#define EACH(least, result, call, failed)                                                          \
    do {                                                                                           \
        unsigned at_ = 0;                                                                          \
        for (;; at_++) {                                                                           \
            allowed = at_;                                                                         \
            armed = true;                                                                          \
            const int r_ = (call);                                                                 \
            const bool made_ = armed;                                                              \
            armed = false;                                                                         \
            if (made_) {                                                                           \
                ck_assert_int_eq(r_, result);                                                      \
                break;                                                                             \
            }                                                                                      \
            ck_assert_msg(r_ == -ENOMEM, "%s: allocation %u: %d", #call, at_, r_);                 \
            failed;                                                                                \
        }                                                                                          \
        ck_assert_uint_ge(at_, least);                                                             \
    } while (0)

START_TEST(a_copy_is_whole_or_none) {
    struct fixture f;
    setup(&f);
    struct layout copy = {.generation = 77};
    EACH(3, 0, layout_copy(&copy, &f.layout), ck_assert_uint_eq(copy.generation, 77));
    ck_assert_uint_eq(copy.sections_used, f.layout.sections_used);
    layout_clear(&copy);
    teardown(&f);
}
END_TEST

START_TEST(checks_need_little) {
    struct fixture f;
    char error[128];
    setup(&f);
    EACH(1, 0, layout_check(&f.layout, error, sizeof error), (void)0);
    EACH(1, 0, table_check(&f.table, error, sizeof error), (void)0);
    teardown(&f);
}
END_TEST

/* Whatever fails, there is no plan, and what runs is not touched. */
static void plans(struct fixture *f, unsigned least, int result) {
    struct plan plan;
    struct layout before;
    ck_assert_int_eq(layout_copy(&before, &f->layout), 0);
    EACH(least, result, plan_make(&plan, &f->layout, &f->table, NULL), {
        ck_assert_ptr_null(plan.changes);
        ck_assert_ptr_null(plan.next.sections);
        ck_assert_uint_eq(plan.next.generation, 0);
    });
    if (before.sections_used > 0)
        ck_assert_mem_eq(before.sections, f->layout.sections,
                         before.sections_used * sizeof *before.sections);
    if (before.arenas_used > 0)
        ck_assert_mem_eq(before.arenas, f->layout.arenas,
                         before.arenas_used * sizeof *before.arenas);
    layout_clear(&before);
    if (result == 0)
        ck_assert_uint_gt(plan.changes_n, 0);
    plan_clear(&plan);
}

START_TEST(a_first_plan) {
    struct fixture f;
    setup(&f);
    layout_clear(&f.layout);
    ck_assert_int_eq(layout_init(&f.layout, BYTES), 0);
    plans(&f, 8, 0);
    teardown(&f);
}
END_TEST

/* One change each, so that the list of changes is made for it. */
START_TEST(an_added_section) {
    struct fixture f;
    setup(&f);
    add(&f, "zoom", "grabber", 100); /* into what its owner's arena has left */
    plans(&f, 10, 0);
    teardown(&f);
}
END_TEST

START_TEST(a_changed_section) {
    struct fixture f;
    setup(&f);
    f.table.sections[1].stale_ms = 100;
    plans(&f, 8, 0);
    teardown(&f);
}
END_TEST

START_TEST(a_section_that_moves) {
    struct fixture f;
    setup(&f);
    f.table.sections[1].size *= 2;
    plans(&f, 10, 0);
    teardown(&f);
}
END_TEST

/* What becomes of places that were left, and of a worker who is made to leave his own. */
START_TEST(places_that_are_left) {
    static const bool held[] = {true, true}, moved[] = {true, false, false, false};
    struct fixture f;
    struct plan plan;
    setup(&f);
    f.table.sections[0].size *= 2;
    publish_held(&f, held);
    const struct plan_facts facts = {.worker_held = held, .moved = moved};
    EACH(5, 0, plan_settle(&plan, &f.layout, &facts), ck_assert_ptr_null(plan.next.sections));
    ck_assert_uint_eq(plan.changes_n, 1);
    plan_clear(&plan);
    EACH(10, 0, plan_evict(&plan, &f.layout, 0, &facts), ck_assert_ptr_null(plan.next.sections));
    layout_clear(&f.layout);
    f.layout = plan.next;
    plan.next = (struct layout){0};
    plan_clear(&plan);
    EACH(5, 0, plan_settle(&plan, &f.layout, NULL), ck_assert_ptr_null(plan.next.sections));
    ck_assert_uint_ge(plan.changes_n, 2);
    plan_clear(&plan);
    EACH(10, 0, plan_evict(&plan, &f.layout, 1, NULL), ck_assert_ptr_null(plan.next.sections));
    plan_clear(&plan);
    teardown(&f);
}
END_TEST

START_TEST(a_removed_section) {
    struct fixture f;
    setup(&f);
    f.table.sections_n = 2;
    plans(&f, 8, 0);
    teardown(&f);
}
END_TEST

START_TEST(a_worker_more_and_one_less) {
    struct fixture f;
    setup(&f);
    f.table.workers = realloc(f.table.workers, 3 * sizeof *f.table.workers);
    f.table.workers[f.table.workers_n++] = (struct table_worker){.instances = 1, .name = "late"};
    plans(&f, 8, 0);
    publish(&f);
    f.table.workers_n--;
    plans(&f, 8, 0);
    teardown(&f);
}
END_TEST

/* Also what says no must copy what runs. */
START_TEST(a_refusal) {
    struct fixture f;
    setup(&f);
    f.table.sections[0].pinned = true; /* onto the header */
    plans(&f, 3, -EINVAL);
    teardown(&f);
}
END_TEST

START_TEST(a_directory_that_grows) {
    struct fixture f;
    setup(&f);
    for (int i = 0; i < 100; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%03d", i);
        add(&f, name, "grabber", 64);
    }
    plans(&f, 10, 0);
    teardown(&f);
}
END_TEST

START_TEST(an_image_that_is_not_published) {
    struct fixture f;
    struct directory d;
    struct layout next, found = {.generation = 77};
    const char *field;
    setup(&f);
    image_reveal(&f.image);
    ck_assert_int_eq(directory_open(&d, f.memory, BYTES, &field), 0);
    ck_assert_int_eq(layout_copy(&next, &f.layout), 0);
    next.generation++;
    EACH(1, 0, image_publish(&f.image, &next, 1),
         ck_assert_uint_eq(directory_generation(&d), f.layout.generation));
    ck_assert_uint_eq(directory_generation(&d), next.generation);
    EACH(3, 0, directory_load(&d, &found, &field), ck_assert_uint_eq(found.generation, 77));
    ck_assert_uint_eq(found.generation, next.generation);
    layout_clear(&found);
    layout_clear(&next);
    struct image image;
    ck_assert_int_lt(image_open(&image, f.memory, UINT64_C(1) << 60), 0);
    image = (struct image){0};
    image_close(&image);
    teardown(&f);
}
END_TEST

UNIT_MAIN("allocation", a_copy_is_whole_or_none, checks_need_little, a_first_plan, an_added_section,
          a_changed_section, a_section_that_moves, places_that_are_left, a_removed_section,
          a_worker_more_and_one_less, a_refusal, a_directory_that_grows,
          an_image_that_is_not_published)
