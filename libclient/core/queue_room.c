/* SPDX-License-Identifier: Apache-2.0
 *
 * Room in a lane.  Records are taken in turn, and payloads wherever there are enough lines in one
 * piece, from where the last one ended: both are the sender's own account, in its own memory, and
 * nothing is computed with what stands in the lane.
 *
 * A record that nobody takes would be in the way for ever, however much behind it was received.  So
 * a sender that finds no room appends such a record again, under the next number, and the old one
 * is gone; its payload stays where it is.  One record of the ring is always left for that.  The
 * sender can't write claims, so between it and a receiver who takes that very record at the same
 * time each stores first, and then looks for the other's store: `moving` here, the claim there.
 * Both may give up then; both going on is not possible.
 */
#include "queue_sender.h"

#include <errno.h>

#define UNLOOKED_MOST 64u /* attempts on a full lane without a look at all that stands in it */

/* ---- lines */

/* The bits of a word that stand for lines in [from, to), of which there is at least one. */
static uint64_t bits_between(uint32_t word, uint32_t from, uint32_t to) {
    const uint32_t first = word * 64, low = from > first ? from - first : 0;
    const uint32_t high = to < first + 64 ? to - first : 64;
    return UINT64_MAX << low & UINT64_MAX >> (64 - high);
}

bool lines_take(struct queue_sender *sender, uint32_t line, uint32_t lines) {
    const uint32_t end = line + lines;
    uint64_t before = 0;
    for (uint32_t word = line / 64; lines > 0 && word * 64 < end; word++) {
        const uint64_t bits = bits_between(word, line, end);
        before |= sender->used[word] & bits;
        sender->used[word] |= bits;
    }
    sender->lines_free -= lines;
    return before == 0;
}

void lines_give(struct queue_sender *sender, uint32_t line, uint32_t lines) {
    const uint32_t end = line + lines;
    for (uint32_t word = line / 64; lines > 0 && word * 64 < end; word++)
        sender->used[word] &= ~bits_between(word, line, end);
    sender->lines_free += lines;
}

/* The line behind the last one in use of [from, to); `from`, if none is. */
static uint32_t behind_used(const uint64_t *used, uint32_t from, uint32_t to) {
    while (to > from) {
        const uint32_t word = (to - 1) / 64;
        const uint64_t found = used[word] & bits_between(word, from, to);
        if (found != 0)
            return word * 64 + 64 - (uint32_t)__builtin_clzll(found);
        to = word * 64;
    }
    return from;
}

static bool find_between(const struct queue_sender *sender, uint32_t from, uint32_t to,
                         uint32_t lines, uint32_t *ret) {
    for (uint32_t at = from; at + lines <= to;) {
        const uint32_t next = behind_used(sender->used, at, at + lines);
        if (next == at) {
            *ret = at;
            return true;
        }
        for (at = next; at % 64 == 0 && at < to && sender->used[at / 64] == UINT64_MAX;)
            at += 64;
    }
    return false;
}

static bool find_lines(struct queue_sender *sender, uint32_t lines) {
    const uint32_t next = sender->next_line, end = next + lines;
    if (sender->lines_free < lines)
        return false;
    /* Nearly always where the last one ended, and within one word. */
    if (lines > 0 && end <= sender->lines && next / 64 == (end - 1) / 64 &&
        (sender->used[next / 64] & bits_between(next / 64, next, end)) == 0) {
        sender->open_line = next;
        return true;
    }
    return find_between(sender, sender->next_line, sender->lines, lines, &sender->open_line) ||
           find_between(sender, 0, sender->lines, lines, &sender->open_line);
}

/* ---- records */

static uint32_t records_held(const struct queue_sender *sender) {
    return (uint32_t)(sender->appended + 1 - sender->reclaimed);
}

static bool fits(struct queue_sender *sender, uint32_t lines) {
    return records_held(sender) + 2 <= sender->queue->geometry.records && find_lines(sender, lines);
}

static void give_block(struct queue_sender *sender, uint64_t seq) {
    struct queue_block *block = block_at(sender, seq);
    lines_give(sender, block->line, lines_of(block->bytes));
    sender->bytes_held -= block->bytes;
    *block = (struct queue_block){0};
}

void sender_reclaimed(struct queue_sender *sender) {
    shared_store_relaxed64(&sender->lane->reclaimed, sender->reclaimed);
    STEP(LANE_REUSED_UNFENCED, shared_fence_release());
}

void sender_reclaim(struct queue_sender *sender) {
    const uint64_t before = sender->reclaimed;
    for (; sender->reclaimed <= sender->sent; sender->reclaimed++) {
        /* Acquire pairs with the receiver's DONE: it is through with the payload. */
        const uint64_t word =
            shared_load_acquire64(claim_at(sender->queue, sender->claims, sender->reclaimed));
        if (!claim_done(word, sender->reclaimed) &&
            !(MUTANT(LANE_RECLAIMS_TAKEN) && claim_again(word, sender->reclaimed)))
            break;
        give_block(sender, sender->reclaimed);
    }
    if (sender->reclaimed != before)
        sender_reclaimed(sender);
}

/* ---- appending again */

static int damage(struct queue_sender *sender) {
    sender->damaged = true;
    return -EBADMSG;
}

/* Did a receiver take it, whom we then leave it to? */
static bool left_alone(struct queue_sender *sender, uint64_t seq, uint64_t *word) {
    const struct queue *queue = sender->queue;
    /* The full barrier between store moving, load claim here pairs with the one that a receiver's
     * compare-and-swap of the claim is before it loads moving. */
    shared_store_relaxed64(&sender->lane->moving, seq);
    STEP(LANE_MOVING_UNFENCED, shared_fence_full());
    *word = shared_load_acquire64(claim_at(queue, sender->claims, seq));
    if (claim_done(*word, seq) || (claim_taken(queue, *word, seq) && !MUTANT(LANE_MOVES_TAKEN)))
        return false;
    /* Whose lease has ended may have been through before; who saw the end sees that. */
    return shared_load_acquire64(claim_at(queue, sender->claims, seq)) == *word;
}

/* The oldest record: 0; -EAGAIN: somebody has it; -EBADMSG. */
static int move_oldest(struct queue_sender *sender) {
    const uint64_t seq = sender->reclaimed;
    struct queue_block *block = block_at(sender, seq);
    struct shm_record *at = record_at(sender->queue, sender->lane, seq), record;
    uint64_t word;
    shared_copy_from(&record, at, sizeof record);
    if (record_damage(sender->queue, &record, seq) != NULL || record.len != block->bytes ||
        record.pos != (uint64_t)block->line * SHM_LINE)
        return damage(sender);
    if (!left_alone(sender, seq, &word)) {
        shared_store_relaxed64(&sender->lane->moving, 0);
        return -EAGAIN;
    }
    if (claim_again(word, seq))
        record.flags |= SHM_RECORD_TAKEN;
    /* Before the commit: who finds the copy finds the count, and looks for it next time. */
    shared_store_relaxed32(&sender->lane->relocated, ++sender->relocated);
    sender_append(sender, &record, *block);
    *block = (struct queue_block){0};
    sender_publish(sender);
    /* Release, both: whoever finds it gone finds the copy committed, and whoever finds that nothing
     * is being moved finds it gone. */
    if (!MUTANT(LANE_MOVED_STAYS))
        shared_store_release64(&at->seq, ~seq);
    shared_store_release64(&sender->lane->moving, 0);
    sender->reclaimed++;
    sender_reclaimed(sender);
    return 0;
}

/* Has anything changed since all was looked at last?  Of that the receivers' own count tells nearly
 * always, and the oldest record's claim; where they don't, to look now and then is enough, and
 * before a sleep always. */
static bool worth_looking(struct queue_sender *sender) {
    const uint64_t oldest =
        shared_load_relaxed64(claim_at(sender->queue, sender->claims, sender->reclaimed));
    const uint64_t received = shared_load_relaxed64(&sender->claims->received);
    if (received == sender->received_then && oldest == sender->oldest_then && !sender->asleep &&
        ++sender->unlooked < UNLOOKED_MOST)
        return false;
    sender->received_then = received;
    sender->oldest_then = oldest;
    sender->unlooked = 0;
    return true;
}

/* The payloads of what receivers are through with, also behind what they aren't: those needn't wait
 * for their turn.  How many such records there are. */
static uint32_t give_done(struct queue_sender *sender) {
    uint32_t n = 0;
    for (uint64_t seq = sender->reclaimed; seq <= sender->sent; seq++) {
        /* Acquire as in sender_reclaim(). */
        const uint64_t word = shared_load_acquire64(claim_at(sender->queue, sender->claims, seq));
        if (!claim_done(word, seq))
            continue;
        give_block(sender, seq);
        n++;
    }
    return n;
}

/* What is appended again goes behind all others; so it is done only where the room that lacks is
 * that of a record, and there is one to be had, and then not oftener than there are records. */
static int make_room(struct queue_sender *sender, uint32_t lines) {
    if (!worth_looking(sender) || give_done(sender) == 0)
        return -EAGAIN;
    uint32_t most = records_held(sender);
    sender_reclaim(sender);
    while (!fits(sender, lines)) {
        const uint64_t word =
            shared_load_acquire64(claim_at(sender->queue, sender->claims, sender->reclaimed));
        if (!find_lines(sender, lines) || most-- == 0 ||
            (claim_taken(sender->queue, word, sender->reclaimed) && !MUTANT(LANE_MOVES_TAKEN)))
            return -EAGAIN;
        const int r = move_oldest(sender);
        if (r < 0)
            return r;
        sender_reclaim(sender);
    }
    return 0;
}

int sender_room(struct queue_sender *sender, uint32_t lines, bool move) {
    if (fits(sender, lines))
        return 0;
    sender_reclaim(sender);
    if (fits(sender, lines))
        return 0;
    return move && sender->appended == sender->sent ? make_room(sender, lines) : -EAGAIN;
}
