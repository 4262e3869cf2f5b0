/* SPDX-License-Identifier: Apache-2.0
 *
 * Sending: payload, record, and then `sent`, which is the one commit word.  A sender may be killed
 * between any two of its instructions: what it had not committed never was, and whoever takes its
 * lane writes there next.  On the way it loads nothing that others write but the doorbell, and, for
 * room, now and then the claims.
 */
#include "crc32c.h"
#include "fetch.h"
#include "queue_sender.h"
#include "stored.h"

#include <errno.h>

#define AHEAD       4u /* messages whose lines are fetched while one is written */
#define AHEAD_LINES 16u
#define LOOKS_MOST  64u /* messages between two looks at the claims, for the high marks alone */

void sender_append(struct queue_sender *sender, struct shm_record *record,
                   struct queue_block block) {
    record->seq = ++sender->appended;
    record->crc = CRC32C_OF((const struct shm_record *)record);
    shared_copy_to(record_at(sender->queue, sender->lane, record->seq), record, sizeof *record);
    *block_at(sender, record->seq) = block;
}

/* Between store sent and load want, unless the sleepers have it. */
static inline void barrier(const struct queue_sender *sender) {
    if (sender->ordered)
        __atomic_signal_fence(__ATOMIC_SEQ_CST); /* for the compiler: it stays in this order */
    else
        STEP(LANE_SENT_NO_BARRIER, shared_fence_full());
}

__attribute__((noinline, cold)) static void wake(struct queue_sender *sender) {
    /* First: a receiver who rings behind that finds the next number of `ring`, and doesn't sleep.
     */
    shared_store_relaxed32(&sender->queue->bell->want, 0);
    queue_wake(sender->queue);
    shared_store_relaxed64(&sender->lane->wakes, ++sender->wakes);
}

void sender_publish(struct queue_sender *sender) {
    const struct shm_bell *bell = sender->queue->bell;
    const uint32_t notify =
        sender->queue->section.flags & (SHM_SECTION_NOTIFY_ALWAYS | SHM_SECTION_NOTIFY_NEVER);
    sender->sent = sender->appended;
    /* Release pairs with a receiver's load of it: who sees the number sees record and payload. */
    RELEASE64(LANE_SENT_RELAXED, &sender->lane->sent, sender->sent);
    if (bell == NULL || notify == SHM_SECTION_NOTIFY_NEVER)
        return;
    /* Store sent, load want here pairs with store want, load sent in a sleeper: a full barrier
     * between the two on both sides, so that one of them sees the other's store. */
    barrier(sender);
    if (notify == SHM_SECTION_NOTIFY_ALWAYS || shared_load_relaxed32(&bell->want) != 0)
        STEP(LANE_RECEIVER_NOT_WOKEN, wake(sender));
}

/* ---- the high marks */

/* How much stands in the lane is known when the claims were looked at, which costs the receivers a
 * line; so it is done each time as long as the mark rises, and ever more seldom when not. */
__attribute__((noinline)) static void look_high(struct queue_sender *sender) {
    struct shm_lane *lane = sender->lane;
    sender_reclaim(sender);
    const uint32_t held = (uint32_t)(sender->appended + 1 - sender->reclaimed);
    const bool higher = held > sender->high_messages || sender->bytes_held > sender->high_bytes;
    if (held > sender->high_messages)
        shared_store_relaxed32(&lane->high_messages, sender->high_messages = held);
    if (sender->bytes_held > sender->high_bytes)
        shared_store_relaxed64(&lane->high_bytes, sender->high_bytes = sender->bytes_held);
    sender->look_every = higher ? 1 : sender->look_every * 2;
    if (sender->look_every > LOOKS_MOST)
        sender->look_every = LOOKS_MOST;
    sender->look_at = sender->appended + sender->look_every;
}

static inline void mark_high(struct queue_sender *sender) {
    if (sender->appended >= sender->look_at &&
        (sender->appended + 1 - sender->reclaimed > sender->high_messages ||
         sender->bytes_held > sender->high_bytes))
        look_high(sender);
}

/* ---- one message */

int sender_find_room(struct queue_sender *sender, size_t bytes, bool move) {
    if (bytes > sender->queue->geometry.max_message)
        return -EMSGSIZE;
    if (sender->damaged)
        return -EBADMSG;
    /* Relaxed: the manager takes a lane from a sender for good only when its lease has ended. */
    if (sender->word == 0 || shared_load_relaxed64(&sender->lane->owner) != sender->word)
        return -ESTALE;
    return sender_room(sender, lines_of(bytes), move);
}

/* A receiver read those lines last, and to get each back takes as long as all else of a send does.
 * What comes is most often as long as this one. */
static inline void fetch_ahead(const struct queue_sender *sender, uint32_t lines) {
    const uint64_t from = sender->open_line + (uint64_t)AHEAD * lines;
    fetch_to_write(record_at(sender->queue, sender->lane, sender->appended + AHEAD));
    for (uint64_t line = from; line < from + lines && line < from + AHEAD_LINES; line++)
        if (line < sender->lines)
            fetch_to_write(sender->data + line * SHM_LINE);
}

/* What is at open_line becomes the next message. */
static void append_message(struct queue_sender *sender, int64_t type, size_t bytes) {
    struct shm_record record = {
        .id = sender->appended + 1,
        .pos = (uint64_t)sender->open_line * SHM_LINE,
        .len = (uint32_t)bytes,
        .type = type,
        .send_ns =
            stored_time(sender->queue->section.flags, CLOCK_MONOTONIC, CLOCK_MONOTONIC_COARSE),
        .attachment = sender->who.index,
        .epoch = sender->who.epoch,
        .pid = sender->pid,
    };
    fetch_ahead(sender, lines_of(bytes));
    lines_take(sender, sender->open_line, lines_of(bytes));
    sender->next_line = sender->open_line + lines_of(bytes);
    sender->bytes_held += bytes;
    sender->bytes_sent += bytes;
    sender_append(sender, &record, (struct queue_block){sender->open_line, (uint32_t)bytes});
    mark_high(sender);
}

static void publish_counted(struct queue_sender *sender) {
    sender_publish(sender);
    shared_store_relaxed64(&sender->lane->bytes_sent, sender->bytes_sent);
}

static uint8_t *open_data(const struct queue_sender *sender) {
    return sender->data + (uint64_t)sender->open_line * SHM_LINE;
}

int queue_reserve(struct queue_sender *sender, size_t bytes, void **data) {
    if (sender->open)
        return -EBUSY;
    const int r = sender_find_room(sender, bytes, true);
    if (r < 0)
        return r;
    sender->open = true;
    sender->open_bytes = bytes;
    *data = open_data(sender);
    shared_fence_nontemporal(); /* who knows what the caller writes with */
    return 0;
}

int queue_commit(struct queue_sender *sender, int64_t type, size_t bytes) {
    if (!sender->open || type <= 0)
        return -EINVAL;
    if (bytes > sender->open_bytes)
        return -EMSGSIZE;
    sender->open = false;
    shared_fence_nontemporal();
    append_message(sender, type, bytes);
    publish_counted(sender);
    return 0;
}

void queue_cancel(struct queue_sender *sender) {
    sender->open = false;
}

static void put(struct queue_sender *sender, int64_t type, const void *data, size_t bytes) {
    stored_bytes(open_data(sender), data, bytes);
    append_message(sender, type, bytes);
}

int queue_send(struct queue_sender *sender, int64_t type, const void *data, size_t bytes) {
    if (type <= 0)
        return -EINVAL;
    if (sender->open)
        return -EBUSY;
    const int r = sender_find_room(sender, bytes, true);
    if (r < 0)
        return r;
    if (MUTANT(LANE_SENT_EARLY)) {
        sender->appended++;
        sender_publish(sender);
        sender->appended--;
    }
    put(sender, type, data, bytes);
    publish_counted(sender);
    return 0;
}

ssize_t queue_send_batch(struct queue_sender *sender, const struct queue_item *items, size_t n) {
    size_t i;
    int r = 0;
    if (sender->open)
        return -EBUSY;
    for (i = 0; i < n; i++) {
        r = items[i].type <= 0 ? -EINVAL : sender_find_room(sender, items[i].bytes, i == 0);
        if (r < 0)
            break;
        put(sender, items[i].type, items[i].data, items[i].bytes);
    }
    if (i > 0)
        publish_counted(sender);
    return i > 0 || n == 0 ? (ssize_t)i : r;
}

bool queue_has_room(struct queue_sender *sender, size_t bytes) {
    return sender_find_room(sender, bytes, true) == 0;
}

void queue_refused(struct queue_sender *sender) {
    shared_store_relaxed64(&sender->lane->refused, ++sender->refused);
}
