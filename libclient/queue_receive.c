/* SPDX-License-Identifier: Apache-2.0
 *
 * Receiving from a queue: at once, in a batch, or peeked, done and given back.
 */
#include "queue.h"

/* One of the two. */
struct receiving {
    struct queue_want want;
    void *buffer; /* where to */
    size_t bytes;
    bool truncate;
    bool peeks;
    struct queue_message *found;
};

/* ---- what it comes to */

static int check(const shmc_section *section, int64_t type, unsigned flags, unsigned known) {
    struct error *error = section->segment->error;
    int r = handle_usable(section->segment);
    if (r < 0)
        return r;
    if ((flags & ~known) != 0)
        return error_set(error, -EINVAL,
                         "section '%s': flags 0x%x have bits that this call "
                         "doesn't take",
                         section->name, flags);
    if ((flags & SHMC_EXCEPT) != 0 && type <= 0)
        return error_set(error, -EINVAL, "section '%s': SHMC_EXCEPT takes a type > 0, and not %lld",
                         section->name, (long long)type);
    return 0;
}

static void tell(struct queue_teller *teller, const struct queue_message *found, ssize_t copied,
                 struct shmc_message *info) {
    if (info == NULL)
        return;
    queue_describe(teller, found, info);
    info->truncated = copied >= 0 && (size_t)copied < found->length;
}

static ssize_t out_of_time(shmc_section *section, int timeout_ms) {
    if (timeout_ms == 0)
        return error_note(section, -EAGAIN, NOTE_NO_MESSAGE, 0, 0);
    return error_note(section, -ETIMEDOUT, NOTE_NO_MESSAGE_CAME, (uint64_t)timeout_ms, 0);
}

/* With timeout 0: there was none.  True: now there is. */
static bool refuse(shmc_section *section, const struct receiving *receiving) {
    struct queue_side *side = section->queue;
    struct queue_message found;
    side->want = receiving->want;
    if (!event_drain(section) || queue_look(&side->core, receiving->want, &found, NULL) < 0)
        return false;
    event_raise(section); /* there may be more behind it */
    return true;
}

/* ---- taking */

static ssize_t attempt(struct queue_receiver *receiver, const struct receiving *receiving,
                       const char **field) {
    if (receiving->peeks)
        return queue_take(receiver, receiving->want, SIZE_MAX, receiving->found, field);
    return queue_receive(receiver, receiving->want, receiving->buffer, receiving->bytes,
                         receiving->truncate, receiving->found, field);
}

static ssize_t explain(shmc_section *section, ssize_t n, const struct receiving *receiving,
                       const char *field) {
    const struct queue_message *found = receiving->found;
    switch (n) {
    case -E2BIG:
        return error_note(section, -E2BIG, NOTE_MESSAGE_LONGER, found->length, receiving->bytes);
    case -EBADMSG:
        return queue_bad_lane(section, found->lane, field);
    default:
        return n;
    }
}

static int ready(shmc_section *section) {
    int r = queue_ready_to_receive(section, false);
    if (r == 0 && section->queue->peeked == HELD)
        return error_note(section, -EBUSY, NOTE_PEEKED, 0, 0);
    return r;
}

/* One look, and no wait.  -EAGAIN, without a word: there is none. */
static ssize_t take(shmc_section *section, const struct receiving *receiving) {
    for (;;) {
        const char *field = "";
        int r = ready(section);
        if (r < 0)
            return r;
        const ssize_t n = attempt(&section->queue->core, receiving, &field);
        if (n >= 0) /* wherever the section is by now: see ARCHITECTURE.md, "Of a message" */
            return n;
        shared_fence_acquire(); /* all was read before the generation is looked at */
        if (section_settled(section))
            return explain(section, n, receiving, field);
    }
}

static ssize_t take_in_time(shmc_section *section, const struct receiving *receiving,
                            unsigned flags, int timeout_ms) {
    uint64_t deadline_ns = 0;
    bool drained = false;
    for (;;) {
        const char *field;
        struct queue_side *side;
        ssize_t n = take(section, receiving);
        if (n != -EAGAIN)
            return n;
        side = section->queue;
        if (timeout_ms == 0 && !drained && (drained = refuse(section, receiving)))
            continue;
        if (timeout_ms == 0 || (deadline_ns != 0 && clock_mono_ns() >= deadline_ns))
            return out_of_time(section, timeout_ms);
        if (deadline_ns == 0)
            deadline_ns = deadline_after(timeout_ms);
        int r = queue_wait_message(&side->core, receiving->want, deadline_ns, section->spin_ns,
                                   receiving->found, &field);
        if (r == -EINTR && (flags & SHMC_INTERRUPTIBLE) != 0)
            return error_note(section, -EINTR, NOTE_INTERRUPTED, 0, 0);
        if (r == -EBADMSG && section_settled(section))
            return queue_bad_lane(section, receiving->found->lane, field);
    }
}

#define RECEIVE_FLAGS (SHMC_TRUNCATE | SHMC_EXCEPT | SHMC_INTERRUPTIBLE)

ssize_t shmc_queue_receive(shmc_section *section, int64_t type, void *buffer, size_t bytes,
                           unsigned flags, int timeout_ms, struct shmc_message *info) {
    struct queue_message found;
    const struct receiving receiving = {.want = {type, (flags & SHMC_EXCEPT) != 0},
                                        .buffer = buffer,
                                        .bytes = bytes,
                                        .truncate = (flags & SHMC_TRUNCATE) != 0,
                                        .found = &found};
    int r = check(section, type, flags, RECEIVE_FLAGS);
    if (r < 0)
        return r;
    const ssize_t n = take_in_time(section, &receiving, flags, timeout_ms);
    if (n >= 0 || n == -E2BIG)
        tell(&(struct queue_teller){.section = section}, &found, n, info);
    return n;
}

ssize_t shmc_queue_receive_batch(shmc_section *section, int64_t type,
                                 struct shmc_incoming *messages, size_t n, unsigned flags,
                                 int timeout_ms) {
    int r = check(section, type, flags, RECEIVE_FLAGS);
    struct queue_teller teller = {.section = section};
    if (r < 0 || n == 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        struct queue_message found;
        const struct receiving receiving = {.want = {type, (flags & SHMC_EXCEPT) != 0},
                                            .buffer = messages[i].buffer,
                                            .bytes = messages[i].room,
                                            .truncate = (flags & SHMC_TRUNCATE) != 0,
                                            .found = &found};
        const ssize_t copied = i == 0 ? take_in_time(section, &receiving, flags, timeout_ms)
                                      : take(section, &receiving);
        if (copied >= 0 || (copied == -E2BIG && i == 0))
            tell(&teller, &found, copied, &messages[i].message);
        if (copied < 0)
            return i == 0 ? copied : (ssize_t)i;
    }
    return (ssize_t)n;
}

/* ---- peeking */

int shmc_queue_peek(shmc_section *section, int64_t type, const void **data, size_t *bytes,
                    unsigned flags, int timeout_ms, struct shmc_message *info) {
    struct queue_message found = {0}; /* cppcheck doesn't see it being filled */
    const struct receiving receiving = {
        .want = {type, (flags & SHMC_EXCEPT) != 0}, .peeks = true, .found = &found};
    int r = check(section, type, flags, SHMC_EXCEPT | SHMC_INTERRUPTIBLE);
    if (r == 0)
        r = (int)take_in_time(section, &receiving, flags, timeout_ms);
    if (r < 0)
        return r;
    section->queue->message = found;
    section->queue->peeked = HELD;
    mapping_lend(section, &section->lent);
    tell(&(struct queue_teller){.section = section}, &found, found.length, info);
    *data = found.data;
    *bytes = found.length;
    return 0;
}

/* What was peeked goes, in one way or the other. */
static int settle(shmc_section *section, int (*end)(struct queue_receiver *receiver,
                                                    const struct queue_message *message)) {
    shmc *segment = section->segment;
    int r = handle_usable(segment);
    if (r < 0)
        return r;
    if (section->queue == NULL || section->queue->peeked == HELD_NOTHING)
        return error_set(segment->error, -EINVAL,
                         "section '%s': nothing is peeked; call shmc_queue_peek() first",
                         section->name);
    r = queue_ready_to_receive(section, false);
    if (r == -EBUSY || r == -ENOTCONN)
        return r;
    struct queue_side *side = section->queue;
    const bool held = side->peeked == HELD;
    side->peeked = HELD_NOTHING;
    if (r == 0 && held)
        r = end(&side->core, &side->message);
    if (r == -ESTALE || (r == 0 && !held))
        r = error_set(segment->error, -EIDRM,
                      "section '%s' went elsewhere since shmc_queue_peek(), and the message with "
                      "it: it may come again",
                      section->name);
    return r;
}

int shmc_queue_ack(shmc_section *section) {
    return settle(section, queue_done);
}

int shmc_queue_abandon(shmc_section *section) {
    return settle(section, queue_abandon);
}
