/* SPDX-License-Identifier: Apache-2.0
 *
 * kill_slots [--seed N] [--mutant NAME]
 *
 * A process grabs slots, puts values, hands them on, takes what is handed to it and releases, one
 * instruction at a time, and in most rounds is killed somewhere; the next one comes under the same
 * attachment's next epoch, over what it left.  At each place (sweep.h; here the places are the
 * changes of the section's memory) a reader must find in each slot the value that its head has
 * named last, whole and of the grab whose holder it is told, or none; and with that process dead
 * its slots must be free, but for those that stay, and another one must be able to grab them, or to
 * take what was offered, and go on, while what a third process holds stays as it was.
 */
#include "slots_fixture.h"
#include "sweep.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define POINTS    150000u
#define SIZE      600u
#define COUNT     4u
#define PUTS      3u
#define STEPPED   1u /* attachments: of who is stepped, */
#define BYSTANDER 2u /* of one who lives all the time, */
#define CHECKER   3u /* and of the checks, on the copy alone */

/* The section as it is, and the copy on which everything is tried. */
static struct slots_fixture real, copy;
static struct slots_holder stepped, bystander, checker;
static struct watched watched;

/* What each slot's memory said last. */
static struct truth {
    uint64_t word, head;
    uint64_t label; /* of the value that the head names */
    uint32_t by;    /* epoch of who is stepped that put it; 0: it was another */
    bool fresh;     /* its holder began with nothing */
} truths[COUNT];

static enum { GRABS, GRABS_AND_STAYS, FGRABS, OFFERS, TAKES, SCRIPTS } script;
static uint64_t ticket;
static uint32_t target; /* of fgrab, and of what is taken */
static uint64_t labels; /* given out */
static unsigned puts_done;

static void check(void);
static void prepare(void);
static void act(void);
static bool changed(void);

static struct sweep sweep = {
    .name = "slots", .prepare = prepare, .act = act, .changed = changed, .check = check};

static size_t length_of(uint64_t label) {
    return label % 4 == 0 ? SIZE : 64 - label % 3 * 8;
}

/* ---- who is stepped */

static void put(uint32_t slot, uint64_t values[PUTS][SIZE / 8], unsigned i) {
    if (slots_put(&real.slots, &stepped, slot, values[i], length_of(labels + i)) < 0)
        _Exit(1);
}

static void play(uint64_t values[PUTS][SIZE / 8]) {
    struct attachment by;
    uint64_t own;
    int slot = (int)target;
    if (script == FGRABS)
        slot = slots_fgrab(&real.slots, &stepped, target, SHM_OWNER_STAYS, &by) < 0 ? -1 : slot;
    else if (script == TAKES)
        slot = slots_take(&real.slots, &stepped, target, ticket) < 0 ? -1 : slot;
    else
        slot = slots_grab(&real.slots, &stepped, script == GRABS_AND_STAYS ? SHM_OWNER_STAYS : 0);
    if (slot < 0)
        _Exit(1);
    put((uint32_t)slot, values, 0);
    if (script == OFFERS && (slots_offer(&real.slots, &stepped, (uint32_t)slot, &own) < 0 ||
                             slots_fgrab(&real.slots, &stepped, (uint32_t)slot, 0, &by) < 0))
        _Exit(1);
    put((uint32_t)slot, values, 1);
    if (script == OFFERS && slots_offer(&real.slots, &stepped, (uint32_t)slot, &own) < 0)
        _Exit(1);
    if (slots_release(&real.slots, &stepped, (uint32_t)slot, &by) < 0)
        _Exit(1);
    slot = slots_grab(&real.slots, &stepped, 0);
    if (slot < 0)
        _Exit(1);
    put((uint32_t)slot, values, 2);
}

static void act(void) {
    static uint64_t values[PUTS][SIZE / 8];
    for (unsigned i = 0; i < PUTS; i++)
        value_make(values[i], length_of(labels + i), labels + i, stepped.who.epoch);
    sweep_begin();
    play(values);
    sweep_end();
}

/* ---- what it starts from */

static bool names(uint64_t word, struct attachment who) {
    return (owner_state(word) == SHM_OWNER_HELD || owner_state(word) == SHM_OWNER_OFFERED) &&
           owner_of(word).index == who.index && owner_of(word).epoch == who.epoch;
}

static void look_at_slots(void) {
    for (uint32_t i = 0; i < COUNT; i++) {
        const struct shm_slot *slot = (void *)(real.slots.items + i * real.slots.stride);
        truths[i].word = shared_load_acquire64(&slot->owner);
        truths[i].head = shared_load_acquire64(&slot->head);
    }
}

static void bystander_puts(uint32_t slot) {
    uint64_t value[SIZE / 8];
    value_make(value, length_of(labels), labels, 0);
    if (slots_put(&real.slots, &bystander, slot, value, length_of(labels)) < 0)
        sweep_fail("the bystander's put", -EINVAL);
    truths[slot].label = labels++;
    truths[slot].by = 0;
}

/* What a process that died left in use would be in the next ones' way, and so would what it didn't
 * take. */
static void tidy_up(void) {
    struct attachment by;
    for (uint32_t i = 1; i < COUNT; i++)
        if (names(truths[i].word, bystander.who) || sweep_random() % 2 == 0 ||
            slots_free(&real.slots) < 2)
            slots_release(&real.slots, &bystander, i, &by);
}

static void offer_one(void) {
    struct attachment by;
    if (slots_fgrab(&real.slots, &bystander, target, 0, &by) < 0)
        sweep_fail("the bystander's grab", -EBUSY);
    if (sweep_random() % 4 != 0)
        bystander_puts(target);
    if (slots_offer(&real.slots, &bystander, target, &ticket) < 0)
        sweep_fail("the bystander's offer", -EINVAL);
}

static void prepare(void) {
    labels += puts_done;
    puts_done = 0;
    slots_fixture_end(&real, STEPPED);
    slots_fixture_holder(&real, &stepped, STEPPED);
    look_at_slots();
    tidy_up();
    script = (unsigned)(sweep_random() % SCRIPTS);
    target = 1 + (uint32_t)(sweep_random() % (COUNT - 1));
    if (script == TAKES)
        offer_one();
    if (sweep_random() % 4 == 0)
        bystander_puts(0);
    look_at_slots();
    watched_clear(&watched);
    watched_add(&watched, real.memory, real.bytes);
}

static bool changed(void) {
    return watched_changed(&watched);
}

/* ---- each place */

static bool stays(uint64_t word) {
    return owner_state(word) != SHM_OWNER_FREE && (word & SHM_OWNER_STAYS) != 0;
}

static void observe_owner(uint32_t i, struct truth *truth, uint64_t word) {
    const bool was_his = names(truth->word, bystander.who);
    if (names(word, stepped.who) && !names(truth->word, stepped.who)) {
        const bool handed_on = script == TAKES && truth->word == ticket;
        truth->fresh = !stays(truth->word) && !handed_on;
        if (was_his && !handed_on)
            sweep_violation(&sweep, "slot %u is taken from one who lives", i);
        if (stays(truth->word) && !handed_on && script != FGRABS)
            sweep_violation(&sweep, "slot %u is taken as free, and stays", i);
        if (truth->fresh && (word & SHM_OWNER_EMPTY) == 0)
            sweep_violation(&sweep, "slot %u isn't empty", i);
    } else if (was_his) {
        sweep_violation(&sweep, "slot %u is taken away from one who lives", i);
    }
    truth->word = word;
}

static void observe_head(uint32_t i, struct truth *truth, uint64_t head) {
    if (head >> 1 != (truth->head >> 1) + 1 || puts_done == PUTS ||
        !names(truth->word, stepped.who))
        sweep_violation(&sweep, "slot %u goes from version %" PRIu64 " to %" PRIu64, i,
                        truth->head >> 1, head >> 1);
    truth->head = head;
    truth->label = labels + puts_done++;
    truth->by = stepped.who.epoch;
}

static void observe(void) {
    for (uint32_t i = 0; i < COUNT; i++) {
        const struct shm_slot *slot = (void *)(real.slots.items + i * real.slots.stride);
        const uint64_t word = shared_load_acquire64(&slot->owner);
        const uint64_t head = shared_load_acquire64(&slot->head);
        if (word != truths[i].word)
            observe_owner(i, &truths[i], word);
        if (head != truths[i].head)
            observe_head(i, &truths[i], head);
    }
}

/* The value that its head names, or none. */
static void check_slot(uint32_t i, const char *when) {
    const struct truth *truth = &truths[i];
    uint64_t data[SIZE / 8];
    struct slot_look look;
    const ssize_t n = slots_get(&copy.slots, i, data, sizeof data, &look);
    const bool none = truth->head >> 1 == 0 || (truth->word & SHM_OWNER_EMPTY) != 0;
    if (none && n == -ENODATA)
        return;
    if (none || n < 0 || look.version != truth->head >> 1)
        sweep_violation(&sweep, "%s, slot %u gives %zd, version %" PRIu64 " of %" PRIu64, when, i,
                        n, look.version, truth->head >> 1);
    else if ((size_t)n != length_of(truth->label) || !value_whole(data, (size_t)n, truth->label) ||
             data[1] != truth->by)
        sweep_violation(&sweep, "%s, slot %u has a wrong value of version %" PRIu64, when, i,
                        look.version);
    else if (names(look.word, stepped.who) && truth->fresh && truth->by != stepped.who.epoch)
        sweep_violation(&sweep, "%s, slot %u has a value from before its holder", when, i);
}

static bool tried[COUNT]; /* a successor has put something there, in the copy */

static void check_slots(const char *when) {
    for (uint32_t i = 0; i < COUNT; i++)
        if (!tried[i])
            check_slot(i, when);
}

/* Puts and gets, as whoever comes next does. */
static void go_on(uint32_t i, bool empty) {
    uint64_t value[8], data[SIZE / 8];
    struct slot_look look;
    struct attachment by;
    ssize_t n = slots_get(&copy.slots, i, data, sizeof data, &look);
    if (empty ? n != -ENODATA : n != -ENODATA && look.version != truths[i].head >> 1)
        sweep_violation(&sweep, "behind a grab slot %u gives %zd", i, n);
    tried[i] = true;
    value_make(value, sizeof value, 1, CHECKER);
    const int r = slots_put(&copy.slots, &checker, i, value, sizeof value);
    n = slots_get(&copy.slots, i, data, sizeof data, &look);
    if (r < 0 || n != sizeof value || !value_whole(data, sizeof value, 1) || data[1] != CHECKER ||
        look.version != (truths[i].head >> 1) + 1 || look.holder.index != CHECKER)
        sweep_violation(&sweep, "a successor puts to slot %u (%d), and %zd is got", i, r, n);
    check_slots("behind a successor's put");
    if (slots_release(&copy.slots, &checker, i, &by) < 0)
        sweep_violation(&sweep, "a successor can't release slot %u", i);
}

static bool is_free(uint32_t i) {
    return !stays(truths[i].word) && !names(truths[i].word, bystander.who);
}

/* He is dead: what he held is free, or stays, or is taken by its ticket. */
static void check_successor(void) {
    struct attachment by;
    uint32_t lowest = COUNT, expected = 0;
    slots_fixture_end(&copy, STEPPED);
    slots_fixture_holder(&copy, &checker, CHECKER);
    for (uint32_t i = COUNT; i-- > 0;)
        if (is_free(i)) {
            lowest = i;
            expected++;
        }
    if (slots_free(&copy.slots) != expected)
        sweep_violation(&sweep, "%u slots are free, not %u", slots_free(&copy.slots), expected);
    check_slots("behind the death");
    for (uint32_t i = 0; i < COUNT; i++) {
        if (stays(truths[i].word) && slots_fgrab(&copy.slots, &checker, i, 0, &by) == 0)
            go_on(i, false);
        else if (owner_state(truths[i].word) == SHM_OWNER_OFFERED &&
                 slots_take(&copy.slots, &checker, i, truths[i].word) == 0)
            go_on(i, false);
    }
    /* What was taken and released in this loop is free as well. */
    for (uint32_t i = 0; i < lowest; i++)
        if (tried[i])
            lowest = i;
    const int r = slots_grab(&copy.slots, &checker, 0);
    if (lowest < COUNT ? r != (int)lowest : r != -ENOSPC)
        sweep_violation(&sweep, "a grab gives %d, and the lowest free slot is %u", r, lowest);
    else if (r >= 0 && !tried[r])
        go_on(lowest, true);
}

static void check(void) {
    observe();
    memcpy(copy.memory, real.memory, real.bytes);
    memset(tried, 0, sizeof tried);
    check_slots("while it lives");
    check_successor();
}

int main(int argc, char **argv) {
    (void)argc;
    struct attachment by;
    sweep_options(argv + 1);
    slots_fixture_make(&real, SIZE, COUNT, 0);
    slots_fixture_make(&copy, SIZE, COUNT, 0);
    slots_fixture_holder(&real, &bystander, BYSTANDER);
    labels = 1;
    if (slots_fgrab(&real.slots, &bystander, 0, 0, &by) < 0)
        sweep_fail("the bystander's grab", -EINVAL);
    bystander_puts(0);
    uint64_t length = 2000;
    const uint64_t budget = sweep_budget(POINTS);
    for (unsigned round = 0; sweep.points < budget && !sweep_failed(&sweep); round++) {
        const uint64_t from = sweep.points;
        const bool whole = round % 5 == 0;
        sweep_step(&sweep, whole ? UINT64_MAX : from + 1 + sweep_random() % length);
        length = whole && sweep.points > from ? sweep.points - from : length;
    }
    return sweep_report(&sweep);
}
