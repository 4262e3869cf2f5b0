/* SPDX-License-Identifier: Apache-2.0
 *
 * Those who look at a section that moves, as the library does it: what was found counts if the
 * generation that the section was looked up under still holds.
 */
#include "sim_move.h"
#include "sim_values.h"

#include <errno.h>
#include <inttypes.h>

static bool check_value(const uint64_t *data, ssize_t n, const struct snapshot_value *value,
                        uint64_t least) {
    const struct values_known known = {.newest = move.newest, .base = move.base, .who = move.who};
    return values_check(&known, data, n, value, least);
}

/* The newest value; true: of a version from `last` on, which it is now. */
static bool take_newest(struct snapshot_reader *reader, struct move_looked *looked, bool in_place,
                        uint64_t *last) {
    uint64_t data[MOVE_SIZE / 8] = {0};
    struct snapshot_value value;
    const void *at = NULL;
    ssize_t n;
    do {
        if (move_changed(looked))
            move_look_up(looked);
        if (in_place) {
            n = snapshot_view(reader, &at, &value);
            if (n == 0 && value.length <= sizeof data) {
                n = (ssize_t)value.length;
                shared_copy_from(data, at, value.length);
                if (!snapshot_valid(reader, &value))
                    return !violated();
            }
        } else {
            n = snapshot_read(reader, data, sizeof data, &value);
        }
    } while (move_changed(looked) && !violated());
    if (n == -ENODATA && *last == 0)
        return !violated();
    if (violated() || !check_value(data, n, &value, *last))
        return false;
    *last = value.version;
    return true;
}

static void look(bool in_place) {
    struct move_looked looked;
    struct snapshot_reader reader;
    uint64_t last = move.base;
    move_look_up(&looked);
    snapshot_reader_init(&reader, &looked.now);
    for (unsigned looks = 2 + sim_below(10); looks > 0; looks--)
        if (!take_newest(&reader, &looked, in_place, &last))
            return;
}

static void read_values(struct process *process) {
    (void)process;
    look(false);
}

static void view_values(struct process *process) {
    (void)process;
    look(true);
}

/* A place that is in force has the newest versions that were published there. */
static bool must_have(const struct move_looked *looked, uint64_t version) {
    for (unsigned i = 0; i < 2; i++) {
        const struct move_place *place = &move.places[i];
        const uint32_t count = place->snapshot.count;
        const uint64_t kept = count - 1 - (move.hinted && count > 2);
        if (move_in_force(looked->generation, i) && place->last != 0 && version >= place->first &&
            version <= place->last && version + kept > place->last)
            return true;
    }
    return false;
}

static void follow(struct process *process) {
    struct move_looked looked;
    struct snapshot_reader reader;
    struct snapshot_value value;
    uint64_t data[MOVE_SIZE / 8], next = move.base + 1;
    (void)process;
    move_look_up(&looked);
    snapshot_reader_init(&reader, &looked.now);
    for (unsigned looks = 6 + sim_below(16); looks > 0; looks--) {
        if (move_changed(&looked))
            move_look_up(&looked);
        const ssize_t n = snapshot_read_version(&reader, next, data, sizeof data, &value);
        if (move_changed(&looked) || n == -ENODATA)
            continue;
        if (n != -ESTALE) {
            if (!check_value(data, n, &value, next))
                return;
            if (value.version != next)
                violation("version %" PRIu64 " is found for %" PRIu64, value.version, next);
        } else if (move.generation == looked.generation && must_have(&looked, next)) {
            violation("version %" PRIu64 " is missing, and the newest is %" PRIu64, next,
                      move.newest);
        }
        next++;
    }
}

/* Two generations after somebody looked, a place may have another owner already, whom nobody asks
 * to wake him: that is what the bound is for. */
static bool out_of_date(const struct move_looked *looked) {
    for (unsigned i = 0; i < 2; i++)
        if (move_in_force(looked->generation, i) && move.places[i].given_at > looked->generation)
            return true;
    return false;
}

static void sleep_for_values(struct process *process) {
    struct move_looked *looked = process->argument;
    struct snapshot_reader reader;
    uint64_t last = move.base;
    move_look_up(looked);
    snapshot_reader_init(&reader, &looked->now);
    for (unsigned waits = 2 + sim_below(4); waits > 0 && !violated(); waits--) {
        const uint64_t returned = move.returned, before = last;
        if (sim_below(2) == 0 && move_changed(looked))
            move_look_up(looked);
        const int r = snapshot_wait(&reader, last, MOVE_DEADLINE, sim_below(4) == 0 ? 1000 : 0);
        const bool same = !move_changed(looked);
        if (r == -ESTALE && same)
            violation("a sleeper is told that the section is elsewhere, and it isn't");
        if (r == -ETIMEDOUT && returned > last && !process->refused && !move.forgotten &&
            !out_of_date(looked))
            violation("sleeps through version %" PRIu64, returned);
        if (r == -ETIMEDOUT)
            continue;
        if (!take_newest(&reader, looked, false, &last))
            return;
        if (r == 0 && same && last == before)
            violation("a sleeper wakes up for nothing after version %" PRIu64, last);
    }
}

/* Who has no barrier that reaches the writers looks again soon by itself. */
static bool polls(const struct process *process) {
    return process->refused &&
           process->wake_at <= sim_now_ns() + SNAPSHOT_POLL_MS * UINT64_C(1000000);
}

void move_check_sleepers(void) {
    const struct process *process;
    for (unsigned i = 0; (process = process_at(i)) != NULL; i++) {
        if (process->state != PROCESS_ASLEEP || process->futex == NULL || polls(process) ||
            move.forgotten || out_of_date(process->argument))
            continue;
        for (unsigned p = 0; p < 2; p++) {
            const struct move_place *place = &move.places[p];
            if (process->futex == (uint32_t *)&place->snapshot.shared->head && !place->given &&
                (process->expected != (uint32_t)place->head || place->last != move.newest))
                violation("%s sleeps on although version %" PRIu64 " was published", process->name,
                          move.newest);
        }
    }
}

void move_add_lookers(void) {
    static struct move_looked sleepers[2];
    process_add("reader", read_values, NULL);
    process_add("follower", follow, NULL);
    process_add("sleeper 1", sleep_for_values, &sleepers[0]);
    if (sim_below(2) == 0)
        process_add("viewer", view_values, NULL);
    if (sim_below(2) == 0)
        process_add("sleeper 2", sleep_for_values, &sleepers[1]);
}
