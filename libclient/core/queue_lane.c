/* SPDX-License-Identifier: Apache-2.0
 *
 * Taking a lane, also from a sender who died in it, and giving it back.  Who takes it makes up its
 * own account of what stands there, from what it checked; of a dead sender's work nothing has to be
 * undone, and one thing to be ended: a record that he was about to append again.  Until that is
 * done nothing is committed, so a successor's successor finds it as it was.
 */
#include "barrier.h"
#include "queue_sender.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

size_t queue_sender_bytes(const struct queue *queue) {
    const uint64_t lines = queue->geometry.data_bytes / SHM_LINE;
    return (lines + 63) / 64 * sizeof(uint64_t) +
           queue->geometry.records * sizeof(struct queue_block);
}

static void bind_lane(struct queue_sender *ret, const struct queue *queue, uint32_t index,
                      struct attachment who, void *memory) {
    struct shm_lane *lane = lane_at(queue, index);
    const uint32_t lines = (uint32_t)(queue->geometry.data_bytes / SHM_LINE);
    *ret = (struct queue_sender){
        .queue = queue,
        .lane = lane,
        .data = payloads_of(queue, lane),
        .claims = claims_at(queue, index),
        .index = index,
        .pid = (uint32_t)getpid(),
        .who = who,
        .used = memory,
        .blocks = (struct queue_block *)((uint64_t *)memory + (lines + 63) / 64),
        .lines = lines,
        .lines_free = lines,
        .ordered = barrier_register(),
        /* Counters, each by itself: relaxed. */
        .bytes_sent = shared_load_relaxed64(&lane->bytes_sent),
        .refused = shared_load_relaxed64(&lane->refused),
        .blocked_ns = shared_load_relaxed64(&lane->blocked_ns),
        .wakes = shared_load_relaxed64(&lane->wakes),
        .high_messages = shared_load_relaxed32(&lane->high_messages),
        .high_bytes = shared_load_relaxed64(&lane->high_bytes),
        .relocated = shared_load_relaxed32(&lane->relocated),
    };
    memset(memory, 0, queue_sender_bytes(queue));
}

/* What a dead sender was about to append again: he either did, and then the old one goes, or not,
 * and then it stays what it was. */
static const char *end_move(struct queue_sender *sender) {
    struct shm_lane *lane = sender->lane;
    const uint64_t seq = shared_load_relaxed64(&lane->moving);
    struct shm_record record;
    if (seq == 0)
        return NULL;
    if (seq > sender->sent || seq < oldest_of(sender->queue, sender->sent))
        return "lane.moving";
    struct shm_record *at = record_at(sender->queue, lane, seq);
    shared_copy_from(&record, at, sizeof record);
    if (record_damage(sender->queue, &record, seq) == NULL &&
        record_superseded(sender->queue, lane, record.id, seq) && !MUTANT(LANE_MOVE_NOT_ENDED))
        shared_store_release64(&at->seq, ~seq); /* as the sender's own: queue_room.c */
    shared_store_release64(&lane->moving, 0);
    return NULL;
}

/* One record that the predecessors sent. */
static const char *adopt_record(struct queue_sender *sender, uint64_t seq) {
    const struct queue *queue = sender->queue;
    struct shm_record record;
    shared_copy_from(&record, record_at(queue, sender->lane, seq), sizeof record);
    /* Acquire pairs with the receiver's DONE: it is through with the payload. */
    if (claim_done(shared_load_acquire64(claim_at(queue, sender->claims, seq)), seq))
        return NULL;
    /* Those go in front of all others; and over one of them the predecessor may have begun to write
     * what it never committed. */
    if (sender->reclaimed == 0 && record_gone(queue, sender->lane, record.seq, seq))
        return NULL;
    const char *damage = record_damage(queue, &record, seq);
    if (damage != NULL)
        return damage;
    const struct queue_block block = {(uint32_t)(record.pos / SHM_LINE), record.len};
    if (!lines_take(sender, block.line, lines_of(block.bytes)))
        return "record.pos";
    if (sender->reclaimed == 0)
        sender->reclaimed = seq;
    *block_at(sender, seq) = block;
    sender->bytes_held += block.bytes;
    sender->next_line = block.line + lines_of(block.bytes);
    return NULL;
}

/* Nobody claims what wasn't committed.  Where somebody did, `sent` was put back, and what is sent
 * there next would count as received. */
static bool claimed_ahead(const struct queue_sender *sender) {
    const struct queue *queue = sender->queue;
    for (uint64_t i = 1; i <= queue->geometry.records; i++) {
        const uint64_t seq = sender->sent + i;
        /* Relaxed: who claimed it was before the lane's sender went. */
        const uint64_t word = shared_load_relaxed64(claim_at(queue, sender->claims, seq));
        if (claim_state(word, seq) != SHM_CLAIM_NONE)
            return true;
    }
    return false;
}

static const char *adopt(struct queue_sender *sender) {
    /* Acquire pairs with the predecessors' commits. */
    sender->sent = shared_load_acquire64(&sender->lane->sent);
    if (sender->sent > QUEUE_SENT_MAX || claimed_ahead(sender))
        return "lane.sent";
    const char *damage = end_move(sender);
    for (uint64_t seq = oldest_of(sender->queue, sender->sent);
         damage == NULL && seq <= sender->sent; seq++)
        damage = adopt_record(sender, seq);
    if (damage != NULL)
        return damage;
    if (MUTANT(LANE_SUCCESSOR_SKIPS))
        sender->sent++;
    sender->appended = sender->sent;
    if (sender->reclaimed == 0 || MUTANT(LANE_ADOPTS_NOTHING)) {
        memset(sender->used, 0, queue_sender_bytes(sender->queue));
        sender->lines_free = sender->lines;
        sender->reclaimed = sender->sent + 1;
    }
    sender_reclaimed(sender);
    return NULL;
}

static const char *take_over(struct queue_sender *sender, bool from_dead) {
    struct shm_lane *lane = sender->lane;
    const char *damage = adopt(sender);
    if (damage != NULL)
        return damage;
    shared_store_relaxed32(&lane->waiting, 0);
    if (from_dead)
        shared_store_relaxed32(&lane->takeovers, shared_load_relaxed32(&lane->takeovers) + 1);
    if (!MUTANT(LANE_SILENT_TAKE_OVER))
        queue_wake(sender->queue);
    return NULL;
}

/* 0; -EUSERS: it is somebody else's; -EBADMSG. */
static int try_lane(struct queue_sender *ret, const struct queue *queue, uint32_t index,
                    struct attachment who, void *memory, bool ours, const char **field) {
    struct shm_lane *lane = lane_at(queue, index);
    const uint64_t mine = owner_word(who, SHM_OWNER_HELD, 0);
    uint64_t word = shared_load_acquire64(&lane->owner);
    if (owner_state(word) == SHM_OWNER_SEALED)
        return -ESTALE;
    if ((word == mine) != ours || (!ours && !owner_gone(&queue->attachments, word)))
        return -EUSERS;
    const char *damage = geometry_lane_damage(lane, index, &queue->section);
    if (damage != NULL) {
        *field = damage;
        return -EBADMSG;
    }
    /* A dead one's last stores come before: whoever found his lease ended finds them. */
    if (!ours && !shared_compare_exchange64(&lane->owner, &word, mine))
        return -EUSERS;
    bind_lane(ret, queue, index, who, memory);
    ret->word = mine;
    damage = take_over(ret, !ours && owner_state(word) != SHM_OWNER_FREE);
    if (damage == NULL)
        return 0;
    queue_sender_close(ret);
    *field = damage;
    return -EBADMSG;
}

int queue_sender_open(struct queue_sender *ret, const struct queue *queue, struct attachment who,
                      void *memory, uint32_t *lane, const char **field) {
    int found = -EUSERS;
    for (unsigned pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < queue->section.count; i++) {
            const char *damage;
            const int r = try_lane(ret, queue, i, who, memory, pass == 0, &damage);
            if (r == 0)
                return 0;
            if (r == -ESTALE && found == -EUSERS)
                found = r;
            if (r != -EBADMSG)
                continue;
            found = r;
            if (lane != NULL)
                *lane = i;
            if (field != NULL)
                *field = damage;
        }
    return found;
}

void queue_sender_close(struct queue_sender *sender) {
    if (sender == NULL || sender->word == 0)
        return;
    queue_cancel(sender);
    uint64_t word = sender->word;
    sender->word = 0;
    /* Fails where the manager has sealed it, and then it is nobody's already. */
    shared_compare_exchange64(&sender->lane->owner, &word, 0);
}
