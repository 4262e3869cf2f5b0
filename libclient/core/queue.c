/* SPDX-License-Identifier: Apache-2.0
 *
 * A queue's memory: binding, what a record may say, and looking at it from outside.
 */
#include "queue.h"

#include "crc32c.h"
#include "futex.h"
#include "queue_parts.h"

#include <errno.h>
#include <limits.h>

int queue_bind(struct queue *ret, void *memory, const struct shm_section *section,
               struct shm_bell *bell, const struct attachments *attachments, const char **field) {
    struct queue_geometry g;
    const char *damage = geometry_damage(memory, section);
    if (damage == NULL && !queue_geometry(&g, section->size, section->count))
        damage = "size";
    if (damage == NULL && section->claims_off - section->ctl_off != g.lanes_bytes)
        damage = "claims_off";
    if (damage == NULL && g.bytes > section->offset + section->bytes - section->ctl_off)
        damage = "section.bytes";
    if (damage != NULL) {
        *field = damage;
        return -EBADMSG;
    }
    *ret = (struct queue){
        .lanes = (uint8_t *)memory + sizeof(struct shm_control),
        .claims = (uint8_t *)memory + g.lanes_bytes,
        .bell = bell,
        .attachments = *attachments,
        .geometry = g,
        .section = *section,
    };
    return 0;
}

const char *record_damage(const struct queue *queue, const struct shm_record *record,
                          uint64_t seq) {
    const struct queue_geometry *g = &queue->geometry;
    if (record->seq != seq)
        return "record.seq";
    if (record->crc != CRC32C_OF(record))
        return "record.crc";
    if (record->id == 0 || record->id > seq)
        return "record.id";
    if (record->len > g->max_message)
        return "record.len";
    if (record->pos % SHM_LINE != 0 || record->pos > g->data_bytes - record->len)
        return "record.pos";
    return record->type > 0 ? NULL : "record.type";
}

bool record_superseded(const struct queue *queue, struct shm_lane *lane, uint64_t id,
                       uint64_t seq) {
    struct shm_record last;
    /* Acquire pairs with the commit of the sender: who sees the number sees the record. */
    const uint64_t sent = shared_load_acquire64(&lane->sent);
    if (sent == seq || MUTANT(LANE_MOVED_TWICE))
        return false;
    shared_copy_from(&last, record_at(queue, lane, sent), sizeof last);
    return record_damage(queue, &last, sent) == NULL && last.id == id;
}

/* Another number than any who goes to sleep has seen.  When it fails somebody else has counted, and
 * it is. */
static int count_and_wake(uint32_t *word) {
    uint32_t before = shared_load_relaxed32(word);
    if (!MUTANT(LANE_RING_UNCOUNTED))
        shared_compare_exchange32(word, &before, before + 1);
    return futex_wake(word);
}

int queue_wake(const struct queue *queue) {
    return queue->bell == NULL ? 0 : count_and_wake(&queue->bell->ring);
}

int queue_kick(const struct queue *queue, uint32_t lane) {
    return count_and_wake(&claims_at(queue, lane)->kick);
}

void queue_wake_all(const struct queue *queue, bool claims) {
    queue_wake(queue);
    for (uint32_t i = 0; claims && i < queue->section.count; i++)
        queue_kick(queue, i);
}

/* ---- from outside */

static void count_record(const struct queue *queue, const struct shm_record *record, uint64_t word,
                         uint64_t seq, struct queue_lane_stat *ret) {
    const char *damage = record_damage(queue, record, seq);
    if (damage != NULL) {
        ret->damage = damage;
        return;
    }
    ret->messages++;
    ret->bytes += record->len;
    ret->taken += claim_taken(queue, word, seq);
    if (ret->oldest_ns == 0 || record->send_ns < ret->oldest_ns)
        ret->oldest_ns = record->send_ns;
}

/* One that was done, and perhaps used again, while it was looked at doesn't count. */
static void count_lane(const struct queue *queue, uint32_t index, struct queue_lane_stat *ret) {
    struct shm_lane *lane = lane_at(queue, index);
    struct shm_record record;
    const uint64_t moving = shared_load_acquire64(&lane->moving);
    for (uint64_t seq = oldest_of(queue, ret->sent); seq <= ret->sent; seq++) {
        const uint64_t *claim = claim_at(queue, claims_at(queue, index), seq);
        const uint64_t word = shared_load_acquire64(claim);
        if (claim_done(word, seq))
            continue;
        shared_copy_from(&record, record_at(queue, lane, seq), sizeof record);
        shared_fence_acquire(); /* as a receiver's, behind its copy */
        if (record_gone(queue, lane, record.seq, seq) || shared_load_relaxed64(claim) != word ||
            seq < oldest_of(queue, shared_load_acquire64(&lane->sent)))
            continue;
        if (seq == moving && sender_gone(queue, lane) &&
            record_superseded(queue, lane, record.id, seq))
            continue;
        count_record(queue, &record, word, seq, ret);
    }
}

static void last_sent(const struct queue *queue, struct shm_lane *lane,
                      struct queue_lane_stat *ret) {
    struct shm_record record;
    if (ret->sent == 0)
        return;
    shared_copy_from(&record, record_at(queue, lane, ret->sent), sizeof record);
    if (record_damage(queue, &record, ret->sent) == NULL) {
        ret->last_send_pid = record.pid;
        ret->last_send_ns = record.send_ns;
    }
}

/* The counters are each by themselves: relaxed. */
void queue_lane_stat(const struct queue *queue, uint32_t index, struct queue_lane_stat *ret) {
    struct shm_lane *lane = lane_at(queue, index);
    struct shm_claims *claims = claims_at(queue, index);
    *ret = (struct queue_lane_stat){
        .damage = geometry_lane_damage(lane, index, &queue->section),
        .owner = shared_load_acquire64(&lane->owner),
        .sent = shared_load_acquire64(&lane->sent), /* pairs with the sender's commit */
        .high_messages = shared_load_relaxed32(&lane->high_messages),
        .relocated = shared_load_relaxed32(&lane->relocated),
        .high_bytes = shared_load_relaxed64(&lane->high_bytes),
        .takeovers = shared_load_relaxed32(&lane->takeovers),
        .waiting = shared_load_relaxed32(&lane->waiting) != 0,
        .bytes_sent = shared_load_relaxed64(&lane->bytes_sent),
        .refused = shared_load_relaxed64(&lane->refused),
        .blocked_ns = shared_load_relaxed64(&lane->blocked_ns),
        .wakes = shared_load_relaxed64(&lane->wakes),
        .last_receive_pid = shared_load_relaxed32(&claims->last_pid),
        .last_receive_real_ns = shared_load_relaxed64(&claims->last_real_ns),
        .received = shared_load_relaxed64(&claims->received),
    };
    if (ret->damage == NULL && ret->sent > QUEUE_SENT_MAX)
        ret->damage = "lane.sent";
    if (ret->damage != NULL)
        return;
    count_lane(queue, index, ret);
    last_sent(queue, lane, ret);
}

uint64_t queue_count(const struct queue *queue) {
    struct queue_lane_stat stat;
    uint64_t n = 0;
    for (uint32_t i = 0; i < queue->section.count; i++) {
        queue_lane_stat(queue, i, &stat);
        n += stat.damage == NULL ? stat.messages : 0;
    }
    return n;
}
