/* SPDX-License-Identifier: Apache-2.0
 *
 * A restored value: the first version, as old as it is, and the next writer's to follow.
 */
#include "core/restored.h"
#include "snapshot_fixture.h"
#include "unit.h"

#include <errno.h>
#include <string.h>

#define SECOND UINT64_C(1000000000)

static struct snapshot_value restored(uint64_t mono_ns, uint64_t real_ns) {
    struct fixture f;
    struct snapshot_reader reader;
    struct snapshot_value value;
    struct snapshot_writer writer;
    char text[8] = "";
    fixture_make(&f, 100, 2, 0);
    snapshot_reader_init(&reader, &f.snapshot);
    memcpy(restored_room(&f.snapshot), "before", 6);
    ck_assert_int_eq(snapshot_read(&reader, text, sizeof text, &value), -ENODATA);
    restored_publish(&f.snapshot, 6, mono_ns, real_ns);
    ck_assert_int_eq(snapshot_read(&reader, text, sizeof text, &value), 6);
    ck_assert_str_eq(text, "before");
    ck_assert_uint_eq(value.version, 1);
    ck_assert_uint_eq(value.mono_ns, mono_ns);
    ck_assert_uint_eq(value.real_ns, real_ns);

    struct snapshot_value next;
    ck_assert_int_eq(snapshot_take_over(&writer, &f.snapshot, 9), 0);
    ck_assert_int_eq(snapshot_publish(&writer, "behind", 6), 0);
    ck_assert_int_eq(snapshot_read(&reader, text, sizeof text, &next), 6);
    ck_assert_str_eq(text, "behind");
    ck_assert_uint_eq(next.version, 2);
    ck_assert_int_eq(snapshot_read_version(&reader, 1, text, sizeof text, NULL), 6);
    ck_assert_str_eq(text, "before");
    fixture_free(&f);
    return value;
}

static void is_old(const struct snapshot_value *value, uint64_t age_ns) {
    uint64_t found = snapshot_age(value);
    ck_assert_msg(found >= age_ns && found < age_ns + 10 * SECOND, "%lu, not %lu", found, age_ns);
}

START_TEST(it_is_a_first_version) {
    restored(5, 7);
}
END_TEST

START_TEST(of_this_boot_its_age_is_the_monotonic_clocks) {
    struct snapshot_value value = restored(clock_mono_ns() - 3 * SECOND, 1);
    is_old(&value, 3 * SECOND);
    value.mono_ns = clock_mono_ns() + 100 * SECOND;
    ck_assert_uint_eq(snapshot_age(&value), 0);
}
END_TEST

START_TEST(of_an_earlier_boot_it_is_the_real_clocks) {
    struct snapshot_value value = restored(SHM_MONO_EARLIER_BOOT, clock_real_ns() - 86400 * SECOND);
    is_old(&value, 86400 * SECOND);
}
END_TEST

START_TEST(with_a_wrong_real_clock_it_is_at_least_this_boots) {
    struct snapshot_value value = restored(SHM_MONO_EARLIER_BOOT, clock_real_ns() + 100 * SECOND);
    is_old(&value, clock_mono_ns());
}
END_TEST

START_TEST(without_a_time_it_has_none) {
    struct snapshot_value value = restored(0, 0);
    ck_assert_uint_eq(snapshot_age(&value), UINT64_MAX);
}
END_TEST

UNIT_MAIN("restored", it_is_a_first_version, of_this_boot_its_age_is_the_monotonic_clocks,
          of_an_earlier_boot_it_is_the_real_clocks,
          with_a_wrong_real_clock_it_is_at_least_this_boots, without_a_time_it_has_none)
