/* SPDX-License-Identifier: Apache-2.0
 *
 * How many lines refused claims come to, whoever makes them.
 */
#include "core/futex.h"
#include "refusals.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct refusals refusals;

/* The lines that were said since `f` began to. */
static char text[65536];

static unsigned lines_of(void (*f)(void)) {
    int before = dup(STDERR_FILENO), to = memfd_create("stderr", 0);
    ck_assert(before >= 0 && to >= 0 && dup2(to, STDERR_FILENO) >= 0);
    f();
    fflush(stderr);
    ck_assert(dup2(before, STDERR_FILENO) >= 0);
    ssize_t n = pread(to, text, sizeof text - 1, 0);
    close(before);
    close(to);
    ck_assert_int_ge(n, 0);
    text[n] = '\0';
    unsigned lines = 0;
    for (const char *c = text; *c != '\0'; c++)
        lines += *c == '\n';
    return lines;
}

static void hundred_of_one(void) {
    for (unsigned i = 0; i < 100; i++)
        refusals_say(&refusals, "driver", 1000, i, "process %u was refused", i);
}

static void one_of_another(void) {
    refusals_say(&refusals, "driver", 1001, 1, "process 1 was refused");
    refusals_say(&refusals, "grabber", 1000, 1, "process 1 was refused");
}

static void of_many_uids(void) {
    for (uid_t uid = 1; uid <= 10 * REFUSALS_ROWS; uid++)
        for (unsigned i = 0; i < 10; i++)
            refusals_say(&refusals, "driver", uid, 1, "uid %u was refused", uid);
}

static void look_now(void) {
    refusals_look(&refusals, clock_mono_ns());
}

static void look_later(void) {
    refusals_look(&refusals, clock_mono_ns() + REFUSALS_PERIOD_NS);
}

static void look_at_the_end(void) {
    refusals_look(&refusals, UINT64_MAX);
}

START_TEST(the_first_are_said_and_the_rest_is_counted) {
    ck_assert_uint_eq(lines_of(hundred_of_one), REFUSALS_EACH);
    ck_assert_uint_eq(lines_of(look_now), 0);
    ck_assert_uint_eq(lines_of(look_later), 1);
    ck_assert_ptr_nonnull(strstr(text, "worker 'driver': 97 more claims of uid 1000 were refused"));
    ck_assert_uint_eq(lines_of(look_later), 0);
}
END_TEST

START_TEST(a_new_period_says_them_again) {
    lines_of(hundred_of_one);
    lines_of(look_later);
    ck_assert_uint_eq(lines_of(hundred_of_one), REFUSALS_EACH);
    ck_assert_uint_eq(lines_of(look_at_the_end), 1);
}
END_TEST

START_TEST(others_are_not_silenced) {
    lines_of(hundred_of_one);
    ck_assert_uint_eq(lines_of(one_of_another), 2);
    ck_assert_uint_eq(lines_of(look_later), 1);
}
END_TEST

START_TEST(a_crowd_has_a_limit_as_a_whole) {
    ck_assert_uint_eq(lines_of(of_many_uids), REFUSALS_ROWS * REFUSALS_EACH);
    ck_assert_uint_eq(lines_of(look_later), REFUSALS_ROWS);
    char rest[96];
    snprintf(rest, sizeof rest, "%u more claims of many workers and users were refused",
             (unsigned)((9 * REFUSALS_ROWS + 1) * 10 - REFUSALS_EACH));
    ck_assert_ptr_nonnull(strstr(text, rest));
}
END_TEST

UNIT_MAIN("refusals", the_first_are_said_and_the_rest_is_counted, a_new_period_says_them_again,
          others_are_not_silenced, a_crowd_has_a_limit_as_a_whole)
