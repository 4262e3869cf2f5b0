/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots as bytes that are kept, and put into a section that is made anew.
 */
#include "unit.h"

#include "slots_fixture.h"

#include <errno.h>

#define SIZE  40u
#define COUNT 5u

static struct slots_fixture from, to;
static struct slots_holder holder;
static uint8_t *image;
static size_t bytes;

static uint64_t number(const struct slots_fixture *in, uint32_t index, struct slot_look *look) {
    uint64_t value[SIZE / 8];
    const ssize_t n = slots_get(&in->slots, index, value, sizeof value, look);
    if (n < 0)
        return 0;
    ck_assert(value_whole(value, (size_t)n, value[0]));
    return value[0];
}

/* Slot 0 free with a value, 1 held with one, 2 stays with one, 3 stays without, 4 nothing. */
static void begin(uint32_t flags) {
    uint64_t value[SIZE / 8];
    struct attachment by;
    slots_fixture_make(&from, SIZE, COUNT, flags);
    slots_fixture_holder(&from, &holder, 3);
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t stays = i >= 2 ? SHM_OWNER_STAYS : 0;
        ck_assert_int_eq(slots_grab(&from.slots, &holder, stays), (int)i);
        if (i == 3)
            break;
        value_make(value, 24 + i * 8, 70 + i, 1);
        ck_assert_int_eq(slots_put(&from.slots, &holder, i, value, 24 + i * 8), 0);
    }
    ck_assert_int_eq(slots_release(&from.slots, &holder, 0, &by), 0);
    image = malloc(slots_image_room(&from.slots));
    const ssize_t n = slots_image_take(&from.slots, image);
    ck_assert_int_gt(n, 0);
    bytes = (size_t)n;
    ck_assert_uint_le(bytes, slots_image_room(&from.slots));
}

static void end(void) {
    slots_fixture_free(&from);
    slots_fixture_free(&to);
    free(image);
}

START_TEST(what_was_kept_comes_back) {
    struct slot_look was, look;
    begin(0);
    slots_fixture_make(&to, SIZE, COUNT, 0);
    ck_assert_int_eq(slots_image_put(&to.slots, image, bytes, false), 0);
    for (uint32_t i = 0; i < 3; i++) {
        const uint64_t kept = number(&from, i, &was);
        ck_assert_uint_eq(number(&to, i, &look), kept);
        ck_assert_uint_eq(kept, 70 + i);
        ck_assert_uint_eq(look.mono_ns, was.mono_ns);
        ck_assert_uint_eq(look.real_ns, was.real_ns);
        ck_assert_uint_eq(look.grabs, 1);
        ck_assert_uint_eq(look.holder.index, 0);
        ck_assert(look.in_use == (i == 2));
    }
    slots_look(&to.slots, 3, &look);
    ck_assert(look.in_use && look.stays && !look.has_data);
    ck_assert_uint_eq(slots_free(&to.slots), 3);
    /* It goes on from there. */
    slots_fixture_holder(&to, &holder, 4);
    uint64_t value[3];
    struct attachment by;
    value_make(value, 24, 99, 1);
    ck_assert_int_eq(slots_fgrab(&to.slots, &holder, 2, 0, &by), 0);
    ck_assert_uint_eq(number(&to, 2, &look), 72);
    ck_assert_int_eq(slots_put(&to.slots, &holder, 2, value, 24), 0);
    ck_assert_uint_eq(number(&to, 2, &look), 99);
    ck_assert_int_eq(slots_grab(&to.slots, &holder, 0), 0);
    ck_assert_uint_eq(number(&to, 0, &look), 0);
    end();
}
END_TEST

START_TEST(a_reboot_or_a_restart_tells) {
    struct slot_look look;
    begin(0);
    slots_fixture_make(&to, SIZE, COUNT, SHM_SECTION_CLEAR_RESTART);
    ck_assert_int_eq(slots_image_put(&to.slots, image, bytes, true), 0);
    ck_assert_uint_eq(slots_free(&to.slots), COUNT);
    ck_assert_uint_eq(number(&to, 2, &look), 72);
    ck_assert(!look.in_use);
    ck_assert_uint_eq(look.mono_ns, SHM_MONO_EARLIER_BOOT);
    end();
}
END_TEST

START_TEST(nothing_is_kept_of_nothing) {
    slots_fixture_make(&from, SIZE, COUNT, SHM_SECTION_SHARED);
    image = malloc(slots_image_room(&from.slots));
    ck_assert_int_eq(slots_image_take(&from.slots, image), SLOTS_IMAGE_EMPTY);
    slots_fixture_make(&to, SIZE, COUNT, SHM_SECTION_SHARED);
    ck_assert_int_eq(slots_image_put(&to.slots, image, SLOTS_IMAGE_EMPTY, false), 0);
    end();
}
END_TEST

START_TEST(shared_slots_are_kept_as_they_are) {
    slots_fixture_make(&from, SIZE, COUNT, SHM_SECTION_SHARED);
    image = malloc(slots_image_room(&from.slots));
    memset(slots_shared_data(&from.slots, 4), 7, SIZE);
    const ssize_t n = slots_image_take(&from.slots, image);
    slots_fixture_make(&to, SIZE, COUNT, SHM_SECTION_SHARED);
    ck_assert_int_eq(slots_image_put(&to.slots, image, (size_t)n, false), 0);
    ck_assert_int_eq(
        memcmp(slots_shared_data(&from.slots, 4), slots_shared_data(&to.slots, 4), SIZE), 0);
    slots_fixture_free(&to);
    slots_fixture_make(&to, SIZE, COUNT, 0);
    ck_assert_int_eq(slots_image_put(&to.slots, image, (size_t)n, false), -EBADMSG);
    end();
}
END_TEST

START_TEST(a_shorter_or_longer_image_is_none) {
    begin(0);
    slots_fixture_make(&to, SIZE, COUNT, 0);
    for (size_t n = 0; n < bytes; n++)
        ck_assert_int_eq(slots_image_put(&to.slots, image, n, false), -EBADMSG);
    uint8_t *longer = calloc(1, bytes + 8);
    memcpy(longer, image, bytes);
    ck_assert_int_eq(slots_image_put(&to.slots, longer, bytes + 8, false), -EBADMSG);
    ck_assert_uint_eq(slots_free(&to.slots), COUNT);
    free(longer);
    slots_fixture_free(&to);
    /* What has no room here isn't put. */
    slots_fixture_make(&to, SIZE, 2, 0);
    ck_assert_int_eq(slots_image_put(&to.slots, image, bytes, false), -EBADMSG);
    slots_fixture_free(&to);
    slots_fixture_make(&to, 24, COUNT, 0);
    ck_assert_int_eq(slots_image_put(&to.slots, image, bytes, false), -EBADMSG);
    end();
}
END_TEST

/* A checksum is the file's; whatever its bytes are, nothing is written beside the slots. */
START_TEST(flipped_bits_do_no_harm) {
    begin(0);
    uint8_t *bad = malloc(bytes);
    for (size_t bit = 0; bit < bytes * 8; bit++) {
        memcpy(bad, image, bytes);
        bad[bit / 8] = (uint8_t)(bad[bit / 8] ^ 1u << bit % 8);
        slots_fixture_make(&to, SIZE, COUNT, 0);
        const int r = slots_image_put(&to.slots, bad, bytes, false);
        ck_assert(r == 0 || r == -EBADMSG);
        ck_assert_ptr_null(geometry_damage(to.memory, &to.section));
        slots_fixture_free(&to);
    }
    slots_fixture_make(&to, SIZE, COUNT, 0);
    free(bad);
    end();
}
END_TEST

UNIT_MAIN("slots_image", what_was_kept_comes_back, a_reboot_or_a_restart_tells,
          nothing_is_kept_of_nothing, shared_slots_are_kept_as_they_are,
          a_shorter_or_longer_image_is_none, flipped_bits_do_no_harm)
