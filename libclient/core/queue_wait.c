/* SPDX-License-Identifier: Apache-2.0
 *
 * Waiting for a message, and for room.  Receivers sleep on the doorbell's `ring`, a sender on its
 * lane's `kick`; nothing is decided by these, though: whether there is something is always looked
 * at in the lanes.
 */
#include "queue_sender.h"
#include "sleep.h"

#include <errno.h>

#define POLL_NS (QUEUE_POLL_MS * UINT64_C(1000000))

bool queue_heard(void) {
    return sleep_heard();
}

/* A sleep on `word`, or, where nobody would wake us, a short one.  0, or what futex_wait() says. */
static int sleep_on(const struct futex_word *word, bool rung, bool heard, uint64_t until_ns) {
    if (!heard || !rung)
        until_ns = sleep_earlier(until_ns, clock_mono_ns() + POLL_NS);
    if (rung)
        return futex_wait(word->word, word->value, until_ns);
    return sleep_plainly(until_ns) ? -ETIMEDOUT : -EINTR;
}

static uint64_t bound(uint64_t deadline_ns) {
    return MUTANT(SLEEPS_UNBOUND) ? deadline_ns
                                  : sleep_earlier(deadline_ns, clock_mono_ns() + SLEEP_BOUND_NS);
}

/* ---- for a message */

bool queue_ring(const struct queue_receiver *receiver, struct futex_word *ret) {
    struct shm_bell *bell = receiver->queue->bell;
    if (bell == NULL)
        return false;
    /* Acquire keeps the order: the number first, then the ring. */
    *ret = (struct futex_word){.word = &bell->ring, .value = shared_load_acquire32(&bell->ring)};
    STEP(LANE_NOT_RUNG, shared_store_relaxed32(&bell->want, 1));
    return (receiver->queue->section.flags & SHM_SECTION_NOTIFY_NEVER) == 0;
}

static bool spin_for_message(struct queue_receiver *receiver, uint64_t until_ns) {
    while (clock_mono_ns() < until_ns) {
        for (unsigned i = 0; i < SLEEP_SPINS; i++)
            for (uint32_t lane = 0; lane < receiver->queue->section.count; lane++)
                if (lane_moved(receiver, lane))
                    return true;
        shared_relax();
    }
    return false;
}

/* One sleep, and a look before it: what queue_look() says, or -EINTR. */
static int sleep_for_message(struct queue_receiver *receiver, struct queue_want want,
                             uint64_t until_ns, struct queue_message *ret, const char **field) {
    struct futex_word word = {0};
    const uint64_t news = receiver->news;
    if (receiver->empty_wakes >= QUEUE_EMPTY_WAKES) {
        if (!sleep_plainly(until_ns))
            return -EINTR;
        receiver->empty_wakes = 0;
        return queue_look(receiver, want, ret, field);
    }
    const bool rung = queue_ring(receiver, &word);
    const bool heard = queue_heard();
    int r = queue_look(receiver, want, ret, field);
    if (r != -EAGAIN)
        return r;
    const int slept = sleep_on(&word, rung, heard, until_ns);
    if (slept == -EINTR)
        return -EINTR;
    r = queue_look(receiver, want, ret, field);
    /* Who waits for one type is woken for all, which isn't somebody's play. */
    if (r != -EAGAIN || receiver->news != news)
        receiver->empty_wakes = 0;
    else if (slept != -ETIMEDOUT)
        receiver->empty_wakes += !MUTANT(NEVER_PLAIN);
    return r;
}

int queue_wait_message(struct queue_receiver *receiver, struct queue_want want,
                       uint64_t deadline_ns, uint64_t spin_ns, struct queue_message *ret,
                       const char **field) {
    int r = queue_look(receiver, want, ret, field);
    if (r != -EAGAIN)
        return r;
    const uint64_t now = clock_mono_ns(), until = bound(deadline_ns);
    const uint64_t spin_until = sleep_earlier(until, now + sleep_earlier(spin_ns, SLEEP_BOUND_NS));
    while (spin_ns > 0 && spin_for_message(receiver, spin_until)) {
        r = queue_look(receiver, want, ret, field);
        if (r != -EAGAIN)
            return r;
    }
    while (clock_mono_ns() < until) {
        r = sleep_for_message(receiver, want, until, ret, field);
        if (r != -EAGAIN)
            return r;
    }
    return -ETIMEDOUT;
}

/* ---- for room */

bool queue_ring_room(struct queue_sender *sender, struct futex_word *ret) {
    const uint32_t *kick = &sender->claims->kick;
    /* As above: the number first.  The receivers' compare-and-swap is their barrier, so the sleeper
     * needs no more than its own. */
    *ret = (struct futex_word){.word = kick, .value = shared_load_acquire32(kick)};
    STEP(LANE_WAITS_UNSAID, shared_store_relaxed32(&sender->lane->waiting, 1));
    STEP(LANE_WAITS_UNFENCED, shared_fence_full());
    sender->asleep = true;
    return true;
}

void queue_unring_room(struct queue_sender *sender) {
    shared_store_relaxed32(&sender->lane->waiting, 0);
    sender->asleep = false;
}

/* 0, -EAGAIN: go on; or what is wrong. */
static int sleep_for_room(struct queue_sender *sender, size_t bytes, uint64_t until_ns) {
    struct futex_word word = {0};
    if (sender->empty_wakes >= QUEUE_EMPTY_WAKES) {
        if (!sleep_plainly(until_ns))
            return -EINTR;
        sender->empty_wakes = 0;
        return sender_find_room(sender, bytes, true);
    }
    const bool rung = queue_ring_room(sender, &word);
    int r = sender_find_room(sender, bytes, true);
    if (r != -EAGAIN)
        return r;
    const uint64_t before = shared_load_relaxed64(&sender->claims->received);
    const int slept = sleep_on(&word, rung, true, until_ns);
    if (slept == -EINTR)
        return -EINTR;
    r = sender_find_room(sender, bytes, true);
    /* That something was received which gives no room yet isn't somebody's play. */
    if (r != -EAGAIN || shared_load_relaxed64(&sender->claims->received) != before)
        sender->empty_wakes = 0;
    else if (slept != -ETIMEDOUT)
        sender->empty_wakes += !MUTANT(NEVER_PLAIN);
    return r;
}

int queue_wait_room(struct queue_sender *sender, size_t bytes, uint64_t deadline_ns,
                    uint64_t spin_ns) {
    int r = sender_find_room(sender, bytes, true);
    if (r != -EAGAIN)
        return r;
    const uint64_t now = clock_mono_ns(), until = bound(deadline_ns);
    const uint64_t spin_until = sleep_earlier(until, now + sleep_earlier(spin_ns, SLEEP_BOUND_NS));
    while (spin_ns > 0 && r == -EAGAIN && clock_mono_ns() < spin_until) {
        for (unsigned i = 0; i < SLEEP_SPINS; i++)
            shared_relax();
        r = sender_find_room(sender, bytes, true);
    }
    while (r == -EAGAIN && clock_mono_ns() < until)
        r = sleep_for_room(sender, bytes, until);
    queue_unring_room(sender);
    sender->blocked_ns += clock_mono_ns() - now;
    shared_store_relaxed64(&sender->lane->blocked_ns, sender->blocked_ns);
    return r == -EAGAIN ? -ETIMEDOUT : r;
}
