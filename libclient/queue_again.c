/* SPDX-License-Identifier: Apache-2.0
 *
 * A queue that was taken elsewhere under a call.  That is done to who holds a lane, or a message,
 * by force alone: lanes and claims are carried whole, and what was stored behind the copy reaches
 * nobody.  So whether a message was sent, or received, is decided where the section is now.
 */
#include "queue.h"

#include "core/queue_parts.h"

/* True: it stands where it stood, or what became of it can't be known. */
static bool stays(shmc_section *section) {
    const struct queue before = section->queue->place;
    return queue_ready(section) < 0 || queue_same_place(&before, &section->queue->place);
}

bool queue_was_sent(shmc_section *section, uint32_t lane, uint64_t seq, struct attachment who) {
    struct shm_record record;
    if (stays(section))
        return true;
    const struct queue *queue = &section->queue->place;
    if (lane >= queue->section.count)
        return false;
    /* Acquire pairs with the manager's copy, by way of the generation that named this place. */
    if (shared_load_acquire64(&lane_at(queue, lane)->sent) < seq)
        return false;
    shared_copy_from(&record, record_at(queue, lane_at(queue, lane), seq), sizeof record);
    /* Another one's: that was sent behind ours, or in its stead. */
    return record.seq != seq || (record.attachment == who.index && record.epoch == who.epoch);
}

bool queue_was_taken(shmc_section *section, const struct queue_message *message) {
    if (stays(section))
        return true;
    const struct queue *queue = &section->queue->place;
    return message->lane < queue->section.count && queue_unavailable(queue, message);
}

bool queue_unavailable(const struct queue *queue, const struct queue_message *message) {
    /* Acquire: what comes behind it was there. */
    const uint64_t word =
        shared_load_acquire64(claim_at(queue, claims_at(queue, message->lane), message->seq));
    struct shm_record record;
    if (claim_done(word, message->seq))
        return true;
    shared_copy_from(&record, record_at(queue, lane_at(queue, message->lane), message->seq),
                     sizeof record);
    return record.seq != message->seq || record.id != message->id;
}
