/* SPDX-License-Identifier: Apache-2.0
 *
 * The manager's part: a queue that goes to another place.  First nobody may send: free lanes are
 * sealed.  Then nobody may receive: the manager takes each message, as a receiver would, by an
 * attachment of its own, so that they are anybody's again when it is killed.
 */
#include "queue_parts.h"

#include <errno.h>

static const struct attachment nobody;

/* ---- lanes */

void queue_unseal(const struct queue *queue) {
    for (uint32_t i = 0; i < queue->section.count; i++) {
        uint64_t *owner = &lane_at(queue, i)->owner, word = shared_load_acquire64(owner);
        while (owner_state(word) == SHM_OWNER_SEALED && !shared_compare_exchange64(owner, &word, 0))
            ;
    }
}

int queue_seal(const struct queue *queue, struct attachment *by) {
    for (uint32_t i = 0; i < queue->section.count; i++) {
        uint64_t *owner = &lane_at(queue, i)->owner, word = shared_load_acquire64(owner);
        while (owner_state(word) != SHM_OWNER_SEALED) {
            if (!owner_gone(&queue->attachments, word)) {
                *by = owner_of(word);
                queue_unseal(queue);
                return -EBUSY;
            }
            /* Full: what its last holder committed comes before all that is read behind it. */
            if (shared_compare_exchange64(owner, &word, owner_word(nobody, SHM_OWNER_SEALED, 0)))
                break;
        }
    }
    return 0;
}

static uint32_t receiver_of(const struct queue *queue, uint32_t index) {
    const uint64_t sent = shared_load_acquire64(&lane_at(queue, index)->sent);
    for (uint64_t seq = oldest_of(queue, sent); seq <= sent; seq++) {
        const uint64_t word = shared_load_acquire64(claim_at(queue, claims_at(queue, index), seq));
        if (claim_taken(queue, word, seq))
            return (uint32_t)(word >> SHM_CLAIM_ATTACHMENT_SHIFT) & SHM_ATTACHMENTS_MAX;
    }
    return 0;
}

uint32_t queue_entered(const struct queue *queue) {
    uint32_t found = 0;
    for (uint32_t i = 0; found == 0 && i < queue->section.count; i++) {
        const uint64_t word = shared_load_acquire64(&lane_at(queue, i)->owner);
        found = owner_state(word) != SHM_OWNER_SEALED && !owner_gone(&queue->attachments, word)
                    ? owner_of(word).index
                    : receiver_of(queue, i);
    }
    return found;
}

/* ---- messages */

/* What the claim said stands in `to`, where a message that is nobody's is as it was. */
static int take_claim(const struct queue *from, uint64_t *claim, uint64_t *to, uint64_t seq,
                      struct attachment manager) {
    const uint64_t mine = claim_word(seq, SHM_CLAIM_TAKEN, manager);
    uint64_t word = shared_load_acquire64(claim); /* of DONE, as a sender's */
    do {
        if (claim_taken(from, word, seq))
            return -EBUSY;
        shared_store_relaxed64(to, claim_again(word, seq) ? word : 0);
    } while (!claim_done(word, seq) && !shared_compare_exchange64(claim, &word, mine));
    return 0;
}

static void give_claims(const struct queue *from, const struct queue *to, uint32_t index,
                        uint64_t until, struct attachment manager) {
    const uint64_t sent = shared_load_acquire64(&lane_at(from, index)->sent);
    for (uint64_t seq = oldest_of(from, sent); seq < until && seq <= sent; seq++) {
        uint64_t word = claim_word(seq, SHM_CLAIM_TAKEN, manager);
        shared_compare_exchange64(claim_at(from, claims_at(from, index), seq), &word,
                                  *claim_at(to, claims_at(to, index), seq));
    }
}

static int take_claims(const struct queue *from, const struct queue *to, uint32_t index,
                       struct attachment manager) {
    struct shm_claims *claims = claims_at(from, index), *line = claims_at(to, index);
    const uint64_t sent = shared_load_acquire64(&lane_at(from, index)->sent);
    for (uint64_t seq = oldest_of(from, sent); seq <= sent; seq++) {
        const int r =
            take_claim(from, claim_at(from, claims, seq), claim_at(to, line, seq), seq, manager);
        if (r == 0)
            continue;
        give_claims(from, to, index, seq, manager);
        return r;
    }
    shared_store_relaxed32(&line->last_pid, shared_load_relaxed32(&claims->last_pid));
    shared_store_relaxed64(&line->last_real_ns, shared_load_relaxed64(&claims->last_real_ns));
    shared_store_relaxed64(&line->received, shared_load_relaxed64(&claims->received));
    return 0;
}

int queue_carry(const struct queue *from, const struct queue *to, struct attachment manager) {
    const uint32_t count = from->section.count;
    for (uint32_t i = 0; i < count; i++) {
        const int r = take_claims(from, to, i, manager);
        if (r == 0)
            continue;
        while (i-- > 0)
            give_claims(from, to, i, UINT64_MAX, manager);
        return r;
    }
    shared_copy_to(to->lanes, from->lanes, count * from->geometry.stride);
    for (uint32_t i = 0; i < count; i++)
        shared_store_relaxed64(&lane_at(to, i)->owner, 0);
    return 0;
}

void queue_bury(const struct queue *queue) {
    for (uint32_t i = 0; i < queue->section.count; i++) {
        const uint64_t sent = shared_load_acquire64(&lane_at(queue, i)->sent);
        for (uint64_t seq = oldest_of(queue, sent); seq <= sent; seq++) {
            uint64_t *claim = claim_at(queue, claims_at(queue, i), seq);
            uint64_t word = shared_load_acquire64(claim);
            while (
                !claim_done(word, seq) &&
                !shared_compare_exchange64(claim, &word, claim_word(seq, SHM_CLAIM_DONE, nobody)))
                ;
        }
    }
}
