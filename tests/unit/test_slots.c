/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots, one call at a time: who may do what with one that is free, held, offered, that stays, or
 * whose holder is gone; and what is read there.
 */
#include "unit.h"

#include "slots_fixture.h"

#include <errno.h>

#define SIZE  40u
#define COUNT 4u

static struct slots_fixture fixture;
static struct slots_holder a, b;
static struct slots *slots;
static struct attachment by;
static struct slot_look look;

static void begin(uint32_t flags) {
    slots_fixture_make(&fixture, SIZE, COUNT, flags);
    slots = &fixture.slots;
    slots_fixture_holder(&fixture, &a, 3);
    slots_fixture_holder(&fixture, &b, 9);
}

static int grab(struct slots_holder *holder) {
    return slots_grab(slots, holder, 0);
}

static int fgrab(struct slots_holder *holder, uint32_t index, uint32_t flags) {
    return slots_fgrab(slots, holder, index, flags, &by);
}

static int release(struct slots_holder *holder, uint32_t index) {
    return slots_release(slots, holder, index, &by);
}

static int put(struct slots_holder *holder, uint32_t index, uint64_t version, size_t bytes) {
    uint64_t value[SIZE / 8];
    value_make(value, bytes, version, holder->who.index);
    return slots_put(slots, holder, index, value, bytes);
}

static ssize_t get(uint32_t index) {
    uint64_t value[SIZE / 8];
    const ssize_t n = slots_get(slots, index, value, sizeof value, &look);
    if (n >= 0)
        ck_assert(value_whole(value, (size_t)n, value[0]));
    return n < 0 ? n : (ssize_t)value[0];
}

START_TEST(the_lowest_free_one_is_grabbed) {
    begin(0);
    ck_assert_uint_eq(slots_free(slots), COUNT);
    for (int i = 0; i < (int)COUNT; i++)
        ck_assert_int_eq(grab(i % 2 == 0 ? &a : &b), i);
    ck_assert_int_eq(grab(&a), -ENOSPC);
    ck_assert_uint_eq(slots_free(slots), 0);
    ck_assert_int_eq(release(&b, 1), 0);
    ck_assert_int_eq(release(&a, 2), 0);
    ck_assert_uint_eq(slots_free(slots), 2);
    ck_assert_int_eq(grab(&a), 1);
    ck_assert_int_eq(grab(&a), 2);
    slots_look(slots, 2, &look);
    ck_assert(look.in_use && !look.has_data && !look.stays && !look.offered);
    ck_assert_uint_eq(look.holder.index, 3);
    ck_assert_uint_eq(look.pid, 1003);
    ck_assert_uint_eq(look.grabs, 2);
    slots_fixture_free(&fixture);
}
END_TEST

START_TEST(who_is_gone_holds_nothing) {
    begin(0);
    ck_assert_int_eq(grab(&a), 0);
    ck_assert_int_eq(put(&a, 0, 5, 40), 0);
    slots_fixture_end(&fixture, 3);
    ck_assert_uint_eq(slots_free(slots), COUNT);
    ck_assert_int_eq(get(0), 5);
    ck_assert(!look.in_use);
    ck_assert_uint_eq(look.holder.index, 0);
    ck_assert_int_eq(release(&b, 0), -ENOENT);
    ck_assert_int_eq(grab(&b), 0);
    ck_assert_int_eq(get(0), -ENODATA);
    ck_assert_uint_eq(look.holder.index, 9);
    ck_assert_int_eq(put(&b, 0, 6, 24), 0);
    ck_assert_int_eq(get(0), 6);
    ck_assert_uint_eq(look.version, 2);
    slots_fixture_free(&fixture);
}
END_TEST

START_TEST(a_value_goes_with_the_next_grab_alone) {
    begin(0);
    ck_assert_int_eq(get(2), -ENODATA);
    ck_assert_int_eq(put(&a, 2, 1, 24), -ENOENT);
    ck_assert_int_eq(fgrab(&a, 2, 0), 0);
    ck_assert_int_eq(get(2), -ENODATA);
    ck_assert_int_eq(put(&a, 2, 1, 24), 0);
    ck_assert_int_eq(put(&a, 2, 2, 40), 0);
    ck_assert_int_eq(fgrab(&a, 2, 0), 0);
    ck_assert_int_eq(get(2), 2);
    ck_assert_uint_eq(look.version, 2);
    ck_assert_uint_eq(look.length, 40);
    ck_assert_uint_ne(look.real_ns, 0);
    ck_assert_uint_eq(look.grabs, 1);
    ck_assert_int_eq(put(&a, 2, 3, 41), -EMSGSIZE);
    ck_assert_int_eq(release(&a, 2), 0);
    ck_assert_int_eq(get(2), 2);
    ck_assert(!look.in_use);
    ck_assert_int_eq(put(&a, 2, 3, 24), -ENOENT);
    ck_assert_int_eq(fgrab(&b, 2, 0), 0);
    ck_assert_int_eq(get(2), -ENODATA);
    ck_assert_int_eq(release(&b, 2), 0);
    ck_assert_int_eq(get(2), -ENODATA);
    ck_assert_int_eq(release(&b, 2), -ENOENT);
    slots_fixture_free(&fixture);
}
END_TEST

START_TEST(a_small_buffer_says_how_much_it_takes) {
    uint64_t value[SIZE / 8];
    begin(0);
    ck_assert_int_eq(grab(&a), 0);
    ck_assert_int_eq(put(&a, 0, 1, 40), 0);
    ck_assert_int_eq(slots_get(slots, 0, value, 39, &look), -EMSGSIZE);
    ck_assert_uint_eq(look.length, 40);
    ck_assert_int_eq(slots_get(slots, 0, value, 40, &look), 40);
    ck_assert_int_eq(slots_put(slots, &a, 0, NULL, 0), 0);
    ck_assert_int_eq(slots_get(slots, 0, value, 0, &look), 0);
    slots_fixture_free(&fixture);
}
END_TEST

START_TEST(what_another_holds_is_his) {
    begin(0);
    ck_assert_int_eq(grab(&a), 0);
    ck_assert_int_eq(fgrab(&b, 0, 0), -EBUSY);
    ck_assert_uint_eq(by.index, 3);
    ck_assert_int_eq(fgrab(&b, 0, SHM_OWNER_STAYS), -EBUSY);
    ck_assert_int_eq(release(&b, 0), -EBUSY);
    ck_assert_uint_eq(by.index, 3);
    ck_assert_int_eq(put(&b, 0, 1, 24), -ENOENT);
    ck_assert_int_eq(put(&a, 0, 1, 24), 0);
    slots_fixture_free(&fixture);
}
END_TEST

START_TEST(what_stays_is_in_use_whoever_lives) {
    begin(SHM_SECTION_PREGRAB);
    ck_assert_int_eq(get(0), -ENOENT);
    ck_assert_int_eq(slots_grab(slots, &a, SHM_OWNER_STAYS), 0);
    ck_assert_int_eq(get(0), -ENODATA);
    ck_assert_int_eq(put(&a, 0, 4, 24), 0);
    slots_fixture_end(&fixture, 3);
    ck_assert_uint_eq(slots_free(slots), COUNT - 1);
    ck_assert_int_eq(get(0), 4);
    ck_assert(look.in_use && look.stays && look.holder.index == 0);
    ck_assert_int_eq(grab(&b), 1);
    ck_assert_int_eq(fgrab(&b, 0, 0), 0);
    ck_assert_int_eq(get(0), 4);
    ck_assert_uint_eq(look.holder.index, 9);
    ck_assert_int_eq(put(&b, 0, 5, 24), 0);
    slots_fixture_end(&fixture, 9);
    ck_assert_int_eq(get(0), 5);
    ck_assert_int_eq(get(1), -ENOENT);
    slots_fixture_holder(&fixture, &a, 3);
    ck_assert_int_eq(release(&a, 0), 0);
    ck_assert_int_eq(get(0), -ENOENT);
    ck_assert_uint_eq(slots_free(slots), COUNT);
    slots_fixture_free(&fixture);
}
END_TEST

START_TEST(a_flag_is_added_by_a_second_grab) {
    begin(0);
    ck_assert_int_eq(grab(&a), 0);
    ck_assert_int_eq(fgrab(&a, 0, SHM_OWNER_STAYS), 0);
    ck_assert_int_eq(put(&a, 0, 1, 24), 0);
    slots_fixture_end(&fixture, 3);
    ck_assert_uint_eq(slots_free(slots), COUNT - 1);
    ck_assert_int_eq(get(0), 1);
    slots_fixture_free(&fixture);
}
END_TEST

START_TEST(a_slot_is_handed_on) {
    uint64_t ticket = 0, other = 0;
    begin(0);
    ck_assert_int_eq(slots_offer(slots, &a, 0, &ticket), -ENOENT);
    ck_assert_int_eq(grab(&a), 0);
    ck_assert_int_eq(put(&a, 0, 7, 24), 0);
    ck_assert_int_eq(slots_take(slots, &b, 0, 0), -EINVAL);
    ck_assert_int_eq(slots_offer(slots, &a, 0, &ticket), 0);
    ck_assert_int_eq(put(&a, 0, 8, 24), -ENOENT);
    ck_assert_int_eq(get(0), 7);
    ck_assert(look.offered && look.in_use);
    ck_assert_int_eq(grab(&b), 1);
    ck_assert_int_eq(fgrab(&b, 0, 0), -EBUSY);
    ck_assert_int_eq(slots_take(slots, &b, 1, ticket), -ESTALE);
    ck_assert_int_eq(slots_take(slots, &b, 0, ticket), 0);
    ck_assert_int_eq(get(0), 7);
    ck_assert_uint_eq(look.holder.index, 9);
    ck_assert_uint_eq(look.pid, 1009);
    ck_assert_int_eq(put(&b, 0, 8, 24), 0);
    ck_assert_int_eq(get(0), 8);
    ck_assert_int_eq(slots_take(slots, &a, 0, ticket), -ESTALE);
    ck_assert_int_eq(release(&a, 0), -EBUSY);
    /* Taken back. */
    ck_assert_int_eq(slots_offer(slots, &b, 0, &ticket), 0);
    ck_assert_int_eq(slots_offer(slots, &b, 0, &other), 0);
    ck_assert_uint_eq(ticket, other);
    ck_assert_int_eq(fgrab(&b, 0, 0), 0);
    ck_assert_int_eq(put(&b, 0, 9, 24), 0);
    ck_assert_int_eq(slots_take(slots, &a, 0, ticket), -ESTALE);
    /* Released by who offers it, or who offers it is gone. */
    ck_assert_int_eq(slots_offer(slots, &b, 0, &ticket), 0);
    ck_assert_int_eq(release(&b, 0), 0);
    ck_assert_int_eq(slots_take(slots, &a, 0, ticket), -ESTALE);
    ck_assert_int_eq(slots_offer(slots, &b, 1, &ticket), 0);
    slots_fixture_end(&fixture, 9);
    ck_assert_uint_eq(slots_free(slots), COUNT);
    ck_assert_int_eq(slots_take(slots, &a, 1, ticket), 0);
    ck_assert_uint_eq(slots_free(slots), COUNT - 1);
    slots_fixture_free(&fixture);
}
END_TEST

START_TEST(a_slot_is_known_again_by_who_forgot_it) {
    begin(0);
    ck_assert_int_eq(grab(&a), 0);
    ck_assert_int_eq(put(&a, 0, 1, 24), 0);
    memset(a.mine, 0, COUNT * sizeof *a.mine); /* a program that executed another one */
    ck_assert_int_eq(put(&a, 0, 2, 24), -ENOENT);
    ck_assert_int_eq(fgrab(&a, 0, 0), 0);
    ck_assert_int_eq(get(0), 1);
    ck_assert_int_eq(put(&a, 0, 2, 24), 0);
    ck_assert_int_eq(get(0), 2);
    memset(a.mine, 0, COUNT * sizeof *a.mine);
    ck_assert_int_eq(release(&a, 0), 0);
    slots_fixture_free(&fixture);
}
END_TEST

START_TEST(what_is_under_way_is_busy) {
    uint64_t ticket;
    begin(0);
    ck_assert_int_eq(grab(&a), 0);
    a.mine[0].state = SLOT_BUSY;
    ck_assert_int_eq(put(&a, 0, 1, 24), -EBUSY);
    ck_assert_int_eq(fgrab(&a, 0, 0), -EBUSY);
    ck_assert_uint_eq(by.index, 0);
    ck_assert_int_eq(release(&a, 0), -EBUSY);
    ck_assert_int_eq(slots_offer(slots, &a, 0, &ticket), -EBUSY);
    a.mine[1].state = SLOT_BUSY;
    ck_assert_int_eq(grab(&a), 2);
    slots_fixture_free(&fixture);
}
END_TEST

START_TEST(what_is_cleared_is_gone_with_its_holder) {
    begin(SHM_SECTION_CLEAR);
    ck_assert_int_eq(grab(&a), 0);
    ck_assert_int_eq(put(&a, 0, 1, 24), 0);
    ck_assert_int_eq(get(0), 1);
    ck_assert_int_eq(release(&a, 0), 0);
    ck_assert_int_eq(get(0), -ENODATA);
    ck_assert_int_eq(grab(&a), 0);
    ck_assert_int_eq(put(&a, 0, 2, 24), 0);
    slots_fixture_end(&fixture, 3);
    ck_assert_int_eq(get(0), -ENODATA);
    slots_fixture_free(&fixture);
}
END_TEST

START_TEST(a_shared_slot_is_everybodys) {
    uint64_t value[SIZE / 8], *data;
    begin(SHM_SECTION_SHARED | SHM_SECTION_CLEAR);
    ck_assert_int_eq(slots_grab(slots, &a, SHM_OWNER_STAYS), 0);
    ck_assert_int_eq(slots_grab(slots, &a, 0), 1);
    ck_assert_int_eq(slots_put(slots, &a, 0, "abc", 3), 0);
    ck_assert_int_eq(slots_put(slots, &b, 0, "x", 1), 0);
    data = slots_shared_data(slots, 0);
    ck_assert_int_eq(memcmp(data, "xbc", 4), 0);
    data[4] = 77;
    ck_assert_int_eq(slots_get(slots, 0, value, sizeof value, &look), SIZE);
    ck_assert_uint_eq(value[4], 77);
    ck_assert_int_eq(slots_get(slots, 0, value, 4, &look), 4);
    ck_assert_uint_eq(look.version, 0);
    ck_assert_int_eq(fgrab(&b, 0, 0), 0);
    ck_assert_int_eq(fgrab(&b, 1, 0), -EBUSY);
    ck_assert_int_eq(fgrab(&b, 1, SHM_OWNER_STAYS), 0);
    slots_look(slots, 1, &look);
    ck_assert(look.stays && look.holder.index == 3);
    ck_assert_int_eq(release(&b, 0), 0);
    ck_assert_int_eq(memcmp(data, (char[SIZE]){0}, SIZE), 0);
    ck_assert_int_eq(release(&a, 0), -ENOENT);
    data[0] = 1; /* whoever writes where nobody grabbed */
    ck_assert_int_eq(grab(&b), 0);
    ck_assert_uint_eq(data[0], 0);
    slots_fixture_free(&fixture);
}
END_TEST

START_TEST(damage_is_said_and_mended_by_the_next_value) {
    begin(0);
    ck_assert_int_eq(grab(&a), 0);
    ck_assert_int_eq(put(&a, 0, 1, 24), 0);
    struct shm_slot *slot = (void *)slots->items;
    slot->head = UINT64_MAX;
    ck_assert_int_eq(get(0), -EBADMSG);
    ck_assert_int_eq(put(&a, 0, 2, 24), 0);
    ck_assert_int_eq(get(0), 2);
    slot->head += 2; /* what its buffer hasn't got */
    ck_assert_int_eq(get(0), -EBADMSG);
    slots_look(slots, 0, &look);
    ck_assert(!look.has_data);
    ck_assert_int_eq(release(&a, 0), 0);
    slot->head = UINT64_MAX;
    ck_assert_int_eq(grab(&a), 0);
    ck_assert_int_eq(put(&a, 0, 3, 24), 0);
    ck_assert_int_eq(get(0), 3);
    struct shm_slot_buffer *buffer = (void *)((uint8_t *)(slot + 1));
    buffer->len = 1000000;
    ((struct shm_slot_buffer *)(void *)((uint8_t *)buffer + slots->buffer_bytes))->len = 1000000;
    ck_assert_int_eq(get(0), -EBADMSG);
    slot->owner = UINT64_MAX; /* a state that nobody knows: not free, nor anybody's */
    ck_assert_int_eq(release(&a, 0), 0);
    slot->owner = UINT64_MAX;
    ck_assert_int_eq(grab(&b), 1);
    ck_assert_int_eq(fgrab(&b, 0, 0), 0);
    slot->owner = owner_word(a.who, SHM_OWNER_HELD, 0);
    ck_assert_int_eq(release(&b, 0), -EBADMSG);
    slots_fixture_free(&fixture);
}
END_TEST

START_TEST(what_is_sealed_is_left_alone) {
    uint64_t ticket;
    begin(0);
    ck_assert_int_eq(slots_grab(slots, &a, SHM_OWNER_STAYS), 0);
    ck_assert_int_eq(put(&a, 0, 1, 24), 0);
    ck_assert_int_eq(slots_seal(slots, &by), -EBUSY);
    ck_assert_uint_eq(by.index, 3);
    ck_assert_int_eq(grab(&b), 1);
    slots_fixture_end(&fixture, 3);
    ck_assert_int_eq(slots_seal(slots, &by), -EBUSY);
    ck_assert_uint_eq(by.index, 9);
    ck_assert_int_eq(release(&b, 1), 0);
    ck_assert_int_eq(slots_seal(slots, &by), 0);
    ck_assert_int_eq(slots_seal(slots, &by), 0);
    ck_assert_int_eq(grab(&b), -EAGAIN);
    ck_assert_int_eq(fgrab(&b, 0, 0), -EAGAIN);
    ck_assert_int_eq(fgrab(&b, 1, 0), -EAGAIN);
    ck_assert_int_eq(release(&b, 0), -EAGAIN);
    ticket = owner_word(b.who, SHM_OWNER_OFFERED, 0);
    ck_assert_int_eq(slots_take(slots, &b, 0, ticket), -EAGAIN);
    ck_assert_int_eq(get(0), 1);
    ck_assert(look.sealed && look.stays);
    slots_unseal(slots);
    ck_assert_uint_eq(slots_free(slots), COUNT - 1);
    ck_assert_int_eq(get(0), 1);
    ck_assert_int_eq(fgrab(&b, 0, 0), 0);
    ck_assert_int_eq(get(0), 1);
    slots_fixture_free(&fixture);
}
END_TEST

/* A kernel without a manager: who is asked for may be found to be gone. */
static bool is_over(void *context, uint32_t index) {
    (void)context;
    slots_fixture_end(&fixture, index);
    return true;
}

START_TEST(who_grabs_asks_whether_the_holder_lives) {
    begin(0);
    slots->attachments.ended = is_over;
    ck_assert_int_eq(grab(&a), 0);
    ck_assert_int_eq(put(&a, 0, 1, 24), 0);
    ck_assert_int_eq(get(0), 1);
    ck_assert(look.in_use); /* a reader doesn't */
    ck_assert_int_eq(grab(&b), 0);
    slots_fixture_free(&fixture);
}
END_TEST

START_TEST(constants_are_checked) {
    struct slots found;
    const char *field;
    begin(0);
    struct shm_section other = fixture.section;
    other.count++;
    ck_assert_int_eq(slots_bind(&found, fixture.memory, &other, &fixture.slots.attachments, &field),
                     -EBADMSG);
    ck_assert_str_eq(field, "section.bytes");
    other = fixture.section;
    other.incarnation++;
    ck_assert_int_eq(slots_bind(&found, fixture.memory, &other, &fixture.slots.attachments, &field),
                     -EBADMSG);
    ck_assert_str_eq(field, "control.incarnation");
    other.size = 0;
    ck_assert_int_eq(slots_bind(&found, fixture.memory, &other, &fixture.slots.attachments, &field),
                     -EBADMSG);
    ck_assert_str_eq(field, "size");
    slots_fixture_free(&fixture);
}
END_TEST

UNIT_MAIN("slots", the_lowest_free_one_is_grabbed, who_is_gone_holds_nothing,
          a_value_goes_with_the_next_grab_alone, a_small_buffer_says_how_much_it_takes,
          what_another_holds_is_his, what_stays_is_in_use_whoever_lives,
          a_flag_is_added_by_a_second_grab, a_slot_is_handed_on,
          a_slot_is_known_again_by_who_forgot_it, what_is_under_way_is_busy,
          what_is_cleared_is_gone_with_its_holder, a_shared_slot_is_everybodys,
          damage_is_said_and_mended_by_the_next_value, what_is_sealed_is_left_alone,
          who_grabs_asks_whether_the_holder_lives, constants_are_checked)
