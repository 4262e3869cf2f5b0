/* SPDX-License-Identifier: Apache-2.0
 *
 * What the queue's senders and receivers share: where things stand, and what claims and records
 * say.
 */
#ifndef SHM_CORE_QUEUE_PARTS_H
#define SHM_CORE_QUEUE_PARTS_H

#include "fetch.h"
#include "mutant.h"
#include "queue.h"
#include "shared.h"

/* A sender's own account of a record's payload. */
struct queue_block {
    uint32_t line;
    uint32_t bytes;
};

/* A receiver's of a lane. */
struct queue_cursor {
    uint64_t next; /* positions before it are done, or gone */
    uint64_t sent; /* as it was found last */
    /* No record behind mark_seq was there at mark_ns, and none of those in front of it that aren't
     * done at floor_ns. */
    uint64_t mark_seq, mark_ns, floor_ns;
    uint64_t late_seq, late_ns; /* one that was sent in the future, and when it was seen first */
    uint64_t moved_until;       /* the last record that is known to have been appended again */
    const char *damage;
    uint32_t relocated; /* the sender's count of these, as of then */
    bool reported;      /* the damage */
};

static inline struct shm_lane *lane_at(const struct queue *queue, uint32_t lane) {
    return (struct shm_lane *)(void *)(queue->lanes + lane * queue->geometry.stride);
}

static inline struct shm_claims *claims_at(const struct queue *queue, uint32_t lane) {
    return (struct shm_claims *)(void *)(queue->claims + lane * queue->geometry.claims_stride);
}

static inline uint64_t index_of(const struct queue *queue, uint64_t seq) {
    return seq & (queue->geometry.records - 1);
}

static inline struct shm_record *record_at(const struct queue *queue, struct shm_lane *lane,
                                           uint64_t seq) {
    return (struct shm_record *)(void *)(lane + 1) + index_of(queue, seq);
}

static inline uint64_t *claim_at(const struct queue *queue, struct shm_claims *claims,
                                 uint64_t seq) {
    return (uint64_t *)(void *)(claims + 1) + index_of(queue, seq);
}

static inline uint8_t *payloads_of(const struct queue *queue, struct shm_lane *lane) {
    return (uint8_t *)((struct shm_record *)(void *)(lane + 1) + queue->geometry.records);
}

/* The oldest record that can still stand in the ring. */
static inline uint64_t oldest_of(const struct queue *queue, uint64_t sent) {
    return sent > queue->geometry.records ? sent - queue->geometry.records + 1 : 1;
}

#define QUEUE_FETCH_RECORDS 3u    /* ahead of the one that is looked at */
#define QUEUE_FETCH_BYTES   1024u /* of a message */

/* A message that is looked at will be copied when it is claimed, and those behind it are next. */
static inline void message_fetch(const struct queue *queue, struct shm_lane *lane,
                                 const struct queue_cursor *cursor,
                                 const struct queue_message *message) {
    const uint8_t *data = message->data;
    for (uint32_t at = 0; at < message->length && at < QUEUE_FETCH_BYTES; at += SHM_LINE)
        fetch_to_read(data + at);
    if (message->seq + QUEUE_FETCH_RECORDS < cursor->sent)
        fetch_to_read(record_at(queue, lane, message->seq + QUEUE_FETCH_RECORDS));
}

/* ---- claims */

static inline uint64_t claim_word(uint64_t seq, enum shm_claim_state state, struct attachment who) {
    return seq << SHM_CLAIM_SEQ_SHIFT | (uint64_t)state << SHM_CLAIM_STATE_SHIFT |
           (uint64_t)(who.index & SHM_ATTACHMENTS_MAX) << SHM_CLAIM_ATTACHMENT_SHIFT |
           (who.epoch & 0xffff);
}

/* Of this record: what a word says of another one is nothing. */
static inline enum shm_claim_state claim_state(uint64_t word, uint64_t seq) {
    if ((uint32_t)(word >> SHM_CLAIM_SEQ_SHIFT) != (uint32_t)seq && !MUTANT(LANE_CLAIM_ANY_SEQ))
        return SHM_CLAIM_NONE;
    return (enum shm_claim_state)(word >> SHM_CLAIM_STATE_SHIFT & 3);
}

static inline bool claim_done(uint64_t word, uint64_t seq) {
    return claim_state(word, seq) == SHM_CLAIM_DONE;
}

/* By somebody who lives. */
static inline bool claim_taken(const struct queue *queue, uint64_t word, uint64_t seq) {
    return claim_state(word, seq) == SHM_CLAIM_TAKEN &&
           attachments_live(&queue->attachments,
                            (uint32_t)(word >> SHM_CLAIM_ATTACHMENT_SHIFT) & SHM_ATTACHMENTS_MAX,
                            (uint32_t)word & 0xffff, 16);
}

/* Somebody had taken it, and died or gave it back. */
static inline bool claim_again(uint64_t word, uint64_t seq) {
    return (uint32_t)(word >> SHM_CLAIM_SEQ_SHIFT) == (uint32_t)seq;
}

/* ---- records (queue.c) */

/* What is wrong with a copy of one, or NULL. */
const char *record_damage(const struct queue *queue, const struct shm_record *record, uint64_t seq);

/* Was it appended again elsewhere?  `found` is the number in a copy, behind which there was an
 * acquire fence.  Its place may be in use for the next already, which isn't committed, nor was
 * perhaps when its sender died; then the sender said before that it had the place back. */
static inline bool record_gone(const struct queue *queue, const struct shm_lane *lane,
                               uint64_t found, uint64_t seq) {
    return found == ~seq || (found == seq + queue->geometry.records &&
                             shared_load_relaxed64(&lane->reclaimed) > seq);
}

/* Of a lane whose sender is no more, or is the caller: was this one appended again?  Then that was
 * the last that was committed there.  Asked behind the look by which he was found to be no more. */
bool record_superseded(const struct queue *queue, struct shm_lane *lane, uint64_t id, uint64_t seq);

/* Wakes the receivers, and a lane's sender who waits for room. */
int queue_wake(const struct queue *queue);
int queue_kick(const struct queue *queue, uint32_t lane);

/* The lane's sender can't be asked any more. */
static inline bool sender_gone(const struct queue *queue, struct shm_lane *lane) {
    /* Acquire pairs with the compare-and-swap of whoever takes the lane. */
    return owner_gone(&queue->attachments, shared_load_acquire64(&lane->owner));
}

/* The manager takes the queue elsewhere, message by message.  Acquire, and behind a full barrier
 * of the receiver's claim: who has passed over a message because the manager has it finds the seal,
 * which was there before. */
static inline bool lane_sealed(const struct shm_lane *lane) {
    return owner_state(shared_load_acquire64(&lane->owner)) == SHM_OWNER_SEALED;
}

/* Has it got more since the receiver looked?  Relaxed: who finds so looks again. */
static inline bool lane_moved(const struct queue_receiver *receiver, uint32_t index) {
    return shared_load_relaxed64(&lane_at(receiver->queue, index)->sent) !=
           receiver->cursors[index].sent;
}

#endif
