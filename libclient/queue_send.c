/* SPDX-License-Identifier: Apache-2.0
 *
 * Sending to a queue: at once, in a batch, or in place.  Whoever finds the lane full sleeps without
 * the lane's lock, so that other threads may still be refused, or send something shorter.
 */
#include "queue.h"

#include <time.h>

#define SEALED_NS UINT64_C(1000000) /* between two looks at a lane that the manager has sealed */

/* One of the three. */
struct sending {
    const struct queue_item *items; /* to be sent, in order, as far as there is room */
    size_t n;
    size_t bytes; /* of the first; or to be reserved, as *room */
    void **room;
};

/* ---- the lane */

static int ready_to_send(shmc_section *section) {
    int r;
    do {
        r = queue_ready(section);
        if (r == 0 && section->queue->lane == NULL)
            r = lane_open(section);
    } while (queue_lookup_again(section, &r));
    return r == 0 && !standing_holds(section->mapping)
               ? standing_check(section->segment, section->mapping)
               : r;
}

/* All that a send needs is as it was. */
static inline bool still_ready(const shmc_section *section) {
    const struct queue_side *side = section->queue;
    return handle_state(section->segment) == HANDLE_ALIVE && section_settled(section) &&
           section->bound && side != NULL && side->generation == section->generation &&
           side->mapping == section->mapping && side->lane != NULL &&
           standing_holds(section->mapping);
}

static ssize_t attempt(shmc_section *section, struct lane *lane, const struct sending *sending) {
    if (lane->reserver != NULL)
        return -EBUSY;
    if (sending->room == NULL)
        return queue_send_batch(&lane->core, sending->items, sending->n);
    int r = queue_reserve(&lane->core, sending->bytes, sending->room);
    if (r == 0)
        lane->reserver = section;
    return r;
}

/* `last`: a lack of room will be the answer. */
static ssize_t attempt_locked(shmc_section *section, const struct sending *sending, bool last) {
    struct lane *lane = section->queue->lane;
    if (lock_take(&lane->lock) < 0)
        return -EBUSY;
    const ssize_t r = attempt(section, lane, sending);
    if (r == -EAGAIN && last)
        queue_refused(&lane->core);
    if (r == -EBADMSG) /* nobody else of this process shall go on in it */
        queue_sender_close(&lane->core);
    if (r == -ESTALE || r == -EBADMSG) /* relaxed: who takes it all the same finds out likewise */
        __atomic_store_n(&lane->stale, true, __ATOMIC_RELAXED);
    lock_release(&lane->lock);
    return r;
}

/* ---- what it comes to */

static void leave_lane(shmc_section *section) {
    struct lane *lane = section->queue->lane;
    section->queue->lane = NULL;
    lane_release(section->segment, lane);
}

static ssize_t explain(shmc_section *section, ssize_t r, const struct sending *sending) {
    const struct queue_side *side = section->queue;
    switch (r) {
    case -EBUSY:
        return error_note(section, -EBUSY, NOTE_LANE_BUSY, 0, 0);
    case -EMSGSIZE:
        return error_note(section, -EMSGSIZE, NOTE_MESSAGE_LONG, sending->bytes,
                          side->place.geometry.max_message);
    case -EBADMSG:
        leave_lane(section);
        return error_set(section->segment->error, -EBADMSG,
                         "queue '%s': somebody else wrote into this process's lane; the next send "
                         "takes another",
                         section->name);
    default:
        return r;
    }
}

static ssize_t out_of_room(shmc_section *section, const struct sending *sending, int timeout_ms) {
    if (timeout_ms == 0)
        return error_note(section, -EAGAIN, NOTE_LANE_FULL, sending->bytes,
                          section->descriptor.size);
    return error_note(section, -ETIMEDOUT, NOTE_LANE_STAYED_FULL, sending->bytes,
                      (uint64_t)timeout_ms);
}

/* The manager has sealed the lanes, as the section goes elsewhere with them; or it did so, and gave
 * it up.  -EAGAIN: they are sealed still. */
static int look_elsewhere(shmc_section *section, bool last) {
    const bool had_one = section->queue->lane != NULL;
    if (had_one)
        leave_lane(section);
    else if (!last)
        nanosleep(&(struct timespec){.tv_nsec = (long)SEALED_NS}, NULL);
    int r = section_resolve(section);
    return r == 0 && !had_one ? -EAGAIN : r;
}

/* With timeout 0: nothing was to be had.  True: now it may be. */
static bool refuse(shmc_section *section, size_t bytes) {
    section->queue->refused_bytes = bytes;
    return event_drain(section) && lane_has_room(section->queue->lane, bytes);
}

/* shmc_fd() needn't tell of it any more. */
static inline ssize_t room_was_found(shmc_section *section, ssize_t n) {
    if (__builtin_expect(section->queue->refused_bytes == SIZE_MAX, true))
        return n;
    section->queue->refused_bytes = SIZE_MAX;
    event_drain(section);
    return n;
}

static ssize_t send_in_time(shmc_section *section, const struct sending *sending, unsigned flags,
                            int timeout_ms) {
    uint64_t deadline_ns = 0;
    bool drained = false;
    for (;;) {
        const bool last = timeout_ms == 0 || (deadline_ns != 0 && clock_mono_ns() >= deadline_ns);
        ssize_t n = 0;
        if (still_ready(section))
            left_pace(section);
        else
            n = ready_to_send(section);
        if (n == 0)
            n = attempt_locked(section, sending, last);
        else if (n != -ESTALE)
            return n;
        if (n >= 0)
            return room_was_found(section, n);
        const bool sealed = n == -ESTALE;
        if (sealed && (n = look_elsewhere(section, last)) == 0)
            continue;
        if (n != -EAGAIN)
            return explain(section, n, sending);
        if (timeout_ms == 0 && !sealed && !drained && (drained = refuse(section, sending->bytes)))
            continue;
        if (last)
            return out_of_room(section, sending, timeout_ms);
        if (deadline_ns == 0)
            deadline_ns = deadline_after(timeout_ms);
        if (sealed)
            continue;
        int r = lane_wait(section->queue->lane, sending->bytes, deadline_ns, section->spin_ns);
        if (r == -EINTR && (flags & SHMC_INTERRUPTIBLE) != 0)
            return error_note(section, -EINTR, NOTE_INTERRUPTED, 0, 0);
    }
}

static int check(const shmc_section *section, int64_t type, unsigned flags) {
    struct error *error = section->segment->error;
    int r = handle_usable(section->segment);
    if (r < 0)
        return r;
    if (type <= 0)
        return error_set(error, -EINVAL, "section '%s': type %lld; a message's is > 0",
                         section->name, (long long)type);
    if ((flags & ~SHMC_INTERRUPTIBLE) != 0)
        return error_set(error, -EINVAL,
                         "section '%s': flags 0x%x; a send takes SHMC_INTERRUPTIBLE", section->name,
                         flags);
    return 0;
}

/* ---- the calls */

int shmc_queue_send(shmc_section *section, int64_t type, const void *data, size_t bytes,
                    unsigned flags, int timeout_ms) {
    const struct queue_item item = {type, data, bytes};
    const struct sending sending = {.items = &item, .n = 1, .bytes = bytes};
    int r = check(section, type, flags);
    if (r < 0)
        return r;
    const ssize_t n = send_in_time(section, &sending, flags, timeout_ms);
    return n < 0 ? (int)n : 0;
}

_Static_assert(sizeof(struct shmc_outgoing) == sizeof(struct queue_item) &&
                   offsetof(struct shmc_outgoing, type) == offsetof(struct queue_item, type) &&
                   offsetof(struct shmc_outgoing, data) == offsetof(struct queue_item, data) &&
                   offsetof(struct shmc_outgoing, bytes) == offsetof(struct queue_item, bytes),
               "a batch is passed on as it is");

ssize_t shmc_queue_send_batch(shmc_section *section, const struct shmc_outgoing *messages, size_t n,
                              unsigned flags, int timeout_ms) {
    int r = check(section, 1, flags);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = check(section, messages[i].type, flags);
    if (r < 0 || n == 0)
        return r;
    const struct sending sending = {
        .items = (const struct queue_item *)messages, .n = n, .bytes = messages[0].bytes};
    return send_in_time(section, &sending, flags, timeout_ms);
}

int shmc_queue_reserve(shmc_section *section, size_t bytes, void **data, unsigned flags,
                       int timeout_ms) {
    void *room = NULL;
    const struct sending sending = {.bytes = bytes, .room = &room};
    int r = check(section, 1, flags);
    if (r < 0)
        return r;
    const ssize_t n = send_in_time(section, &sending, flags, timeout_ms);
    if (n < 0)
        return (int)n;
    section->queue->reserved = HELD;
    mapping_lend(section, &section->begun_in);
    *data = room;
    return 0;
}

int shmc_queue_commit(shmc_section *section, int64_t type, size_t bytes) {
    shmc *segment = section->segment;
    int r = check(section, type, 0);
    if (r < 0)
        return r;
    if (section->queue == NULL || section->queue->reserved == HELD_NOTHING)
        return error_set(segment->error, -EINVAL,
                         "section '%s': nothing is reserved; call shmc_queue_reserve() first",
                         section->name);
    struct queue_side *side = section->queue;
    r = still_ready(section) ? 0 : queue_ready(section);
    if (r == 0 && !standing_holds(section->mapping))
        r = standing_check(segment, section->mapping);
    if (r == -EIDRM || r == -EKEYREVOKED)
        shmc_queue_cancel(section);
    if (r < 0)
        return r;
    if (side->reserved == HELD_LOST) {
        side->reserved = HELD_NOTHING;
        return error_set(segment->error, -EIDRM,
                         "section '%s' went elsewhere since shmc_queue_reserve(); reserve again",
                         section->name);
    }
    if (lock_take(&side->lane->lock) < 0)
        return error_note(section, -EBUSY, NOTE_LANE_BUSY, 0, 0);
    r = queue_commit(&side->lane->core, type, bytes);
    if (r == 0) {
        side->lane->reserver = NULL;
        side->reserved = HELD_NOTHING;
    }
    lock_release(&side->lane->lock);
    return r != -EMSGSIZE
               ? r
               : error_set(segment->error, -EINVAL,
                           "section '%s': %zu bytes, and fewer are reserved", section->name, bytes);
}

void shmc_queue_cancel(shmc_section *section) {
    struct queue_side *side = section->queue;
    if (side == NULL || side->reserved == HELD_NOTHING ||
        handle_usable(section->segment) == -ECHILD)
        return;
    if (side->reserved == HELD && lock_take(&side->lane->lock) == 0) {
        queue_cancel(&side->lane->core);
        side->lane->reserver = NULL;
        lock_release(&side->lane->lock);
    }
    side->reserved = HELD_NOTHING;
}
