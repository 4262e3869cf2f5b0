/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots in a segment without a daemon: what the dead held is free, for whoever looks.
 */
#include "private_fixture.h"

#define SLOTS 4

static struct shmc_private_spec plain[] = {
    SPEC(.name = "slots", .kind = SHMC_SLOTS, .bytes = 32, .count = SLOTS)};

/* Grabs one and puts its pid; then puts on. */
static int holder(const shmc_private *memory, int at) {
    static shmc *segment;
    static shmc_section *slots;
    static int slot;
    const int pid = getpid();
    if (at == 0) {
        segment = nameless(memory);
        slots = opened(segment, "slots");
        slot = shmc_slot_grab(slots, 0);
        if (slot < 0)
            return slot;
    }
    const int r = shmc_slot_put(slots, slot, &pid, sizeof pid);
    return r < 0 ? r : slot;
}

static int pid_in(shmc_section *slots, int slot, struct shmc_slot *info) {
    int pid = 0;
    const ssize_t n = shmc_slot_get(slots, slot, &pid, sizeof pid, info);
    return n < 0 ? (int)n : pid;
}

START_TEST(held_until_death) {
    for (int strategy = SHMC_STRATEGY_ANON; strategy <= SHMC_STRATEGY_SYSV_PRIVATE; strategy++) {
        shmc_private *memory = make((enum shmc_strategy)strategy, plain, 1);
        struct child children[SLOTS];
        struct shmc_slot info;
        shmc *segment = nameless(memory);
        shmc_section *slots = opened(segment, "slots");
        for (int i = 0; i < SLOTS; i++) {
            children[i] = start(memory, holder);
            ck_assert_int_eq(step(&children[i]), i);
            ck_assert_int_eq(pid_in(slots, i, &info), children[i].pid);
            ck_assert(info.held);
        }
        ck_assert_int_eq(shmc_num_free(slots), 0);
        ck_assert_int_eq(shmc_slot_grab(slots, 0), -ENOSPC);
        end(&children[2], SIGKILL); /* nobody tells anybody */
        ck_assert_int_eq(shmc_num_free(slots), 1);
        ck_assert_int_eq(pid_in(slots, 2, &info), children[2].pid); /* stays until the next grab */
        ck_assert(!info.held);
        children[2] = start(memory, holder);
        ck_assert_int_eq(step(&children[2]), 2);
        ck_assert_int_eq(pid_in(slots, 2, &info), children[2].pid);
        for (int i = 0; i < SLOTS; i++)
            end(&children[i], i % 2 == 0 ? SIGKILL : 0);
        ck_assert_int_eq(shmc_num_free(slots), SLOTS);
        shmc_close(slots);
        shmc_detach(segment);
        shmc_private_destroy(memory);
    }
}
END_TEST

static uint64_t ticket;

static int taker(const shmc_private *memory, int at) {
    (void)at;
    shmc *segment = nameless(memory);
    shmc_section *slots = opened(segment, "slots");
    const int r = shmc_slot_take(slots, 0, ticket);
    if (r < 0)
        return r;
    const int pid = getpid();
    return shmc_slot_put(slots, 0, &pid, sizeof pid);
}

START_TEST(handed_on_over_a_fork) {
    shmc_private *memory = make(SHMC_STRATEGY_AUTO, plain, 1);
    shmc *segment = nameless(memory);
    shmc_section *slots = opened(segment, "slots");
    struct shmc_slot info;
    ck_assert_int_eq(shmc_slot_grab(slots, 0), 0);
    ck_assert_int_eq(shmc_slot_offer(slots, 0, &ticket), 0);
    const struct child child = start(memory, taker);
    ck_assert_int_eq(step(&child), 0);
    ck_assert_int_eq(pid_in(slots, 0, &info), child.pid);
    ck_assert_int_eq(shmc_slot_put(slots, 0, "x", 1), -EBUSY);
    end(&child, SIGKILL);
    ck_assert_int_eq(shmc_slot_put(slots, 0, "x", 1), 0);
    shmc_close(slots);
    shmc_detach(segment);
    shmc_private_destroy(memory);
}
END_TEST

/* An init puts what is there from the beginning, or was there before. */
static int fill(shmc_section *section, shmc_section *before, void *argument) {
    const int *first = argument;
    for (int i = 0; i < (before == NULL ? 1 : shmc_num_slots(before)); i++) {
        int value = *first;
        if (before != NULL && shmc_slot_get(before, i, &value, sizeof value, NULL) < 0)
            continue;
        int r = shmc_slot_fgrab(section, i, SHMC_SLOT_STAYS);
        if (r == 0)
            r = shmc_slot_put(section, i, &value, sizeof value);
        if (r < 0)
            return r;
    }
    return 0;
}

START_TEST(filled_and_carried_over) {
    int first = 42;
    struct shmc_private_spec specs[] = {SPEC(.name = "slots", .kind = SHMC_SLOTS, .bytes = 32,
                                             .count = SLOTS, .init = fill, .argument = &first)};
    struct shmc_slot info;
    shmc_private *memory = make(SHMC_STRATEGY_AUTO, specs, 1);
    shmc *segment = nameless(memory);
    shmc_section *slots = opened(segment, "slots");
    ck_assert_int_eq(pid_in(slots, 0, &info), 42);
    ck_assert(info.stays && info.in_use);
    const struct child child = start(memory, holder);
    ck_assert_int_eq(step(&child), 1);
    specs[0].count = 2 * SLOTS;
    ck_assert_int_eq(shmc_private_reload(memory, specs, 1), 0);
    ck_assert_int_eq(step(&child), 1); /* goes on in the old */
    shmc_close(slots);
    slots = opened(segment, "slots");
    ck_assert_int_eq(shmc_num_slots(slots), 2 * SLOTS);
    ck_assert_int_eq(pid_in(slots, 0, &info), 42);
    ck_assert_int_eq(pid_in(slots, 1, &info), child.pid);
    end(&child, 0);
    shmc_close(slots);
    shmc_detach(segment);
    shmc_private_destroy(memory);
}
END_TEST

START_TEST(cleared_and_pregrabbed) {
    const struct shmc_private_spec specs[] = {
        SPEC(.name = "slots", .kind = SHMC_SLOTS, .bytes = 32, .count = SLOTS,
             .flags = SHMC_PRIVATE_CLEAR | SHMC_PRIVATE_PREGRAB)};
    shmc_private *memory = make(SHMC_STRATEGY_AUTO, specs, 1);
    shmc *segment = nameless(memory);
    shmc_section *slots = opened(segment, "slots");
    ck_assert_int_eq(shmc_slot_put(slots, 0, "x", 1), -ENOENT);
    const struct child child = start(memory, holder);
    ck_assert_int_eq(step(&child), 0);
    ck_assert_int_eq(pid_in(slots, 0, NULL), child.pid);
    end(&child, SIGKILL);
    ck_assert_int_eq(shmc_private_reap(memory), 1); /* a get asks nobody */
    ck_assert_int_eq(pid_in(slots, 0, NULL), -ENOENT);
    shmc_close(slots);
    shmc_detach(segment);
    shmc_private_destroy(memory);
}
END_TEST

static int *in_place;

static int by_the_inherited(const shmc_private *memory, int at) {
    (void)memory;
    return *in_place += at;
}

START_TEST(written_by_inheritance) {
    const struct shmc_private_spec specs[] = {SPEC(.name = "slots", .kind = SHMC_SLOTS, .bytes = 32,
                                                   .count = SLOTS, .flags = SHMC_PRIVATE_SHARED),
                                              SPEC(.name = "more", .kind = SHMC_SLOTS,
                                                   .bytes = 8192, .count = SLOTS,
                                                   .flags = SHMC_PRIVATE_SHARED)};
    for (int strategy = SHMC_STRATEGY_ANON; strategy <= SHMC_STRATEGY_SYSV_PRIVATE; strategy++) {
        shmc_private *memory = make((enum shmc_strategy)strategy, specs, 1);
        shmc *segment = nameless(memory);
        shmc_section *slots = opened(segment, "slots");
        void *ptr;
        size_t bytes;
        ck_assert_int_eq(shmc_slot_inherit(slots), 0);
        ck_assert_int_eq(shmc_slot_ptr(slots, 1, &ptr, &bytes), 0);
        in_place = ptr;
        *in_place = 40;
        const struct child before = start(memory, by_the_inherited);
        ck_assert_int_eq(step(&before), 40);
        ck_assert_int_eq(shmc_private_reload(memory, specs, 2), 0);
        ck_assert_int_eq(shmc_num_slots(slots), SLOTS);
        const struct child behind = start(memory, by_the_inherited);
        ck_assert_int_eq(step(&behind), 40);
        ck_assert_int_eq(step(&behind), 41);
        ck_assert_int_eq(step(&before), 42);
        ck_assert_int_eq(*in_place, 42);
        shmc_close(slots);
        shmc_detach(segment);
        shmc_private_destroy(memory);
        ck_assert_int_eq(step(&before), 44); /* goes on without the parent */
        ck_assert_int_eq(step(&behind), 46);
        end(&before, 0);
        end(&behind, 0);
    }
}
END_TEST

UNIT_MAIN("private_slots", held_until_death, handed_on_over_a_fork, filled_and_carried_over,
          cleared_and_pregrabbed, written_by_inheritance)
