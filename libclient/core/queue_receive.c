/* SPDX-License-Identifier: Apache-2.0
 *
 * Receiving: choose a message, claim it by one compare-and-swap, copy it, and say that it is done
 * by another.  A receiver may be killed between any two of its instructions: what it had claimed is
 * free to others when its lease has ended, and what it hadn't was never touched.
 *
 * A record that is looked at isn't ours, and may be used again by its sender meanwhile; but not
 * without a change of its claim or of its number, which are looked at again behind the copy.  What
 * is nonsense then was written so.
 */
#include "futex.h"
#include "queue_parts.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS_MOST  4u      /* looks at all lanes for one message */
#define WALKS_MOST   64u     /* at one lane, whose sender appends records again meanwhile */
#define COPIES_MOST  64u     /* of one record, that changes each time */
#define MOVING_LOOKS 1000u   /* until a sender that runs is through with appending again */
#define TAKES_MOST   100000u /* messages that somebody else takes first */

size_t queue_receiver_bytes(const struct queue *queue) {
    return queue->section.count * sizeof(struct queue_cursor);
}

void queue_receiver_init(struct queue_receiver *ret, const struct queue *queue,
                         struct attachment who, void *memory) {
    *ret = (struct queue_receiver){
        .queue = queue,
        .who = who,
        .pid = (uint32_t)getpid(),
        .cursors = memory,
    };
    for (uint32_t i = 0; i < queue->section.count; i++) {
        ret->cursors[i] = (struct queue_cursor){
            .next = 1,
            .damage = geometry_lane_damage(lane_at(queue, i), i, &queue->section),
        };
        ret->bad += ret->cursors[i].damage != NULL;
    }
}

/* ---- one record */

enum seen { SEEN_DONE, SEEN_GONE, SEEN_TAKEN, SEEN_MOVING, SEEN_MESSAGE, SEEN_DAMAGE };

/* A look at one lane. */
struct walk {
    const struct queue *queue;
    struct queue_cursor *cursor;
    struct shm_lane *lane;
    struct shm_claims *claims;
    uint64_t moving;
    uint32_t index, relocated;
    bool gone; /* one was appended again, and perhaps behind what is looked at */
    struct queue_want want;
};

static enum seen moving_record(const struct walk *walk, const struct shm_record *record) {
    if (!sender_gone(walk->queue, walk->lane))
        return SEEN_MOVING;
    return record_superseded(walk->queue, walk->lane, record->id, record->seq) ? SEEN_GONE
                                                                               : SEEN_MESSAGE;
}

/* What is at a position: if it is a message, a copy of its record and the word of its claim. */
static enum seen look_at(struct walk *walk, uint64_t seq, struct shm_record *record,
                         uint64_t *word) {
    struct shm_record *at = record_at(walk->queue, walk->lane, seq);
    const uint64_t *claim = claim_at(walk->queue, walk->claims, seq);
    for (unsigned tries = 0; tries < COPIES_MOST; tries++) {
        *word = shared_load_acquire64(claim); /* of DONE, for the cursor's sake */
        if (claim_done(*word, seq))
            return SEEN_DONE;
        /* Acquire: if its sender is through, what he appended is seen. */
        const bool taken = claim_taken(walk->queue, *word, seq) && !MUTANT(LANE_TAKES_TAKEN);
        if (taken && shared_load_acquire64(&walk->lane->moving) != seq)
            return SEEN_TAKEN;
        shared_copy_from(record, at, sizeof *record);
        /* Pairs with the sender's fence between what it saw of a claim and the record's next use:
         * who has copied a part of that finds another claim or number now. */
        STEP(LANE_RECORD_COPY_UNFENCED, shared_fence_acquire());
        const char *damage = record_damage(walk->queue, record, seq);
        const uint64_t found = shared_load_relaxed64(&at->seq);
        if (shared_load_relaxed64(claim) != *word || found != record->seq)
            continue;
        if (damage == NULL && taken) /* perhaps not: see is_ours() */
            return sender_gone(walk->queue, walk->lane) ? SEEN_TAKEN : SEEN_MOVING;
        if (damage == NULL)
            return seq == walk->moving ? moving_record(walk, record) : SEEN_MESSAGE;
        if (record_gone(walk->queue, walk->lane, found, seq) ||
            seq < oldest_of(walk->queue, shared_load_acquire64(&walk->lane->sent)))
            return SEEN_GONE;
        walk->cursor->damage = damage;
        return SEEN_DAMAGE;
    }
    return SEEN_TAKEN; /* somebody is busy with it */
}

static void message_of(struct queue_message *ret, const struct walk *walk,
                       const struct shm_record *record, uint64_t word) {
    *ret = (struct queue_message){
        .lane = walk->index,
        .sender_pid = record->pid,
        .sender = {record->attachment, record->epoch},
        .seq = record->seq,
        .id = record->id,
        .type = record->type,
        .length = record->len,
        .redelivered = claim_again(word, record->seq) || (record->flags & SHM_RECORD_TAKEN) != 0,
        .send_ns = record->send_ns,
        .data = payloads_of(walk->queue, walk->lane) + record->pos,
        .claim = word,
    };
    message_fetch(walk->queue, walk->lane, walk->cursor, ret);
}

/* ---- one lane */

static bool wanted(struct queue_want want, int64_t type) {
    if (want.except)
        return type != want.type;
    if (want.type < 0) /* the least number has no positive counterpart */
        return want.type == INT64_MIN || type <= -want.type;
    return want.type == 0 || type == want.type;
}

/* The lowest type first where that was asked for; else, and then, in the order of sending. */
static bool goes_before(struct queue_want want, const struct queue_message *a,
                        const struct queue_message *b) {
    if (want.type < 0 && a->type != b->type)
        return a->type < b->type;
    return a->id < b->id;
}

/* Numbers are the order of sending but where something was appended again: then all are looked at.
 * 0, -EAGAIN, -EBADMSG. */
static int walk_lane(struct walk *walk, struct queue_message *best) {
    struct queue_cursor *cursor = walk->cursor;
    const bool whole = walk->want.type < 0 || walk->relocated != cursor->relocated;
    bool found = false, moving = false;
    for (uint64_t seq = cursor->next; seq <= cursor->sent; seq++) {
        struct shm_record record;
        struct queue_message message;
        uint64_t word;
        const enum seen seen = look_at(walk, seq, &record, &word);
        if (seen == SEEN_DAMAGE)
            return -EBADMSG;
        if ((seen == SEEN_DONE || seen == SEEN_GONE) && seq == cursor->next)
            cursor->next++;
        walk->gone |= seen == SEEN_GONE || seen == SEEN_MOVING;
        if ((seen != SEEN_MESSAGE && seen != SEEN_MOVING) || !wanted(walk->want, record.type))
            continue;
        message_of(&message, walk, &record, word);
        /* Of one that is being appended again, the copy counts as soon as it is there: nobody is
         * rung for again when the old one goes. */
        if (!found || goes_before(walk->want, &message, best) ||
            (moving && message.id == best->id)) {
            *best = message;
            moving = seen == SEEN_MOVING;
        }
        found = true;
        /* Such a one stood in front of all others, and its next place may be any. */
        if ((!whole && !walk->gone && seq >= cursor->moved_until) || MUTANT(LANE_WALKS_PART))
            break;
    }
    /* What its sender is appending again comes first, and is there in a moment. */
    return found && !moving ? 0 : -EAGAIN;
}

static int damaged(struct queue_receiver *receiver, struct queue_cursor *cursor,
                   const char *damage) {
    cursor->damage = damage;
    receiver->bad++;
    return -EBADMSG;
}

/* How far has its sender come? */
static int look_sent(struct queue_receiver *receiver, struct walk *walk) {
    struct queue_cursor *cursor = walk->cursor;
    /* Acquire pairs with the sender's commit: who sees the number sees record and payload. */
    const uint64_t sent = ACQUIRE64(LANE_LOOK_RELAXED, &walk->lane->sent);
    if (sent == cursor->sent)
        return 0;
    if (sent < cursor->sent || sent > QUEUE_SENT_MAX)
        return damaged(receiver, cursor, "lane.sent");
    cursor->sent = sent;
    receiver->news++;
    if (cursor->next < oldest_of(walk->queue, sent)) {
        cursor->next = oldest_of(walk->queue, sent);
        walk->gone = true;
    }
    return 0;
}

/* The one of this lane that goes first. */
static int look_lane(struct queue_receiver *receiver, uint32_t index, struct queue_want want,
                     struct queue_message *ret) {
    struct walk walk = {
        .queue = receiver->queue,
        .cursor = &receiver->cursors[index],
        .lane = lane_at(receiver->queue, index),
        .claims = claims_at(receiver->queue, index),
        .index = index,
        .want = want,
    };
    int r = 0;
    for (unsigned tries = 0; tries < WALKS_MOST; tries++) {
        walk.gone = tries > 0;
        /* In this order, acquire each: who finds the count of a record whose copy isn't committed
         * yet finds it being moved. */
        walk.relocated = shared_load_acquire32(&walk.lane->relocated);
        walk.moving = shared_load_acquire64(&walk.lane->moving);
        r = look_sent(receiver, &walk);
        if (r < 0)
            return r;
        if (walk.cursor->next > walk.cursor->sent || lane_sealed(walk.lane))
            return -EAGAIN;
        r = walk_lane(&walk, ret);
        if (r == -EBADMSG)
            return damaged(receiver, walk.cursor, walk.cursor->damage);
        /* Who found a record gone, behind an acquire fence, finds its next place committed. */
        if ((shared_load_relaxed32(&walk.lane->relocated) == walk.relocated &&
             !(walk.gone && lane_moved(receiver, index))) ||
            MUTANT(LANE_WALKS_ONCE))
            break;
    }
    if (walk.gone || walk.relocated != walk.cursor->relocated) {
        walk.cursor->relocated = walk.relocated;
        walk.cursor->moved_until = walk.cursor->sent;
    }
    return r;
}

/* ---- all lanes */

/* When was it sent?  That is the sender's word, and it may be any.  But it wasn't after now, nor
 * before a time when it wasn't there; so a lane can't put its messages before all others for ever,
 * nor, by one of them, all that follow behind. */
static uint64_t sent_at(struct queue_receiver *receiver, const struct queue_message *message,
                        uint64_t before_ns) {
    struct queue_cursor *cursor = &receiver->cursors[message->lane];
    uint64_t ns = message->send_ns;
    if (ns > receiver->now_ns)
        receiver->now_ns = clock_mono_ns();
    if (ns > receiver->now_ns) {
        if (cursor->late_seq != message->seq) {
            cursor->late_seq = message->seq;
            cursor->late_ns = receiver->now_ns;
        }
        ns = cursor->late_ns;
    }
    if (message->seq > cursor->mark_seq) {
        cursor->floor_ns = cursor->mark_ns;
        cursor->mark_seq = cursor->sent;
        cursor->mark_ns = before_ns;
    }
    return ns > cursor->floor_ns ? ns : cursor->floor_ns;
}

struct best {
    struct queue_message *message;
    uint64_t sent_ns;
    bool found;
};

/* One lane's contribution: 1: it has a better one; 0; -EBADMSG. */
static int ask_lane(struct queue_receiver *receiver, uint32_t index, struct queue_want want,
                    struct best *best) {
    struct queue_message message;
    const uint64_t before_ns = receiver->now_ns;
    const int r = look_lane(receiver, index, want, &message);
    if (r < 0)
        return r == -EAGAIN ? 0 : r;
    /* Alone, or without times, lanes need none. */
    const bool timed = receiver->queue->section.count > 1 &&
                       (receiver->queue->section.flags & SHM_SECTION_STAMP_NONE) == 0;
    const uint64_t sent_ns = timed ? sent_at(receiver, &message, before_ns) : 0;
    if (best->found) {
        if (want.type < 0 && message.type != best->message->type) {
            if (message.type > best->message->type)
                return 0;
        } else if (sent_ns >= best->sent_ns) {
            return 0;
        }
    }
    *best->message = message;
    best->sent_ns = sent_ns;
    best->found = true;
    return 1;
}

static int report(struct queue_receiver *receiver, uint32_t index, struct queue_message *ret,
                  const char **field) {
    struct queue_cursor *cursor = &receiver->cursors[index];
    cursor->reported = true;
    *ret = (struct queue_message){.lane = index};
    if (field != NULL)
        *field = cursor->damage;
    return -EBADMSG;
}

/* Once through those that have got more since: 1: there is a better one; 0; -EBADMSG. */
static int look_round(struct queue_receiver *receiver, struct queue_want want, bool all,
                      struct best *best, const char **field) {
    int better = 0;
    uint32_t index = receiver->turn;
    for (uint32_t n = receiver->queue->section.count; n > 0; n--, index++) {
        if (index >= receiver->queue->section.count)
            index = 0;
        struct queue_cursor *cursor = &receiver->cursors[index];
        /* What was sent before a message that we have acquired is seen. */
        if (cursor->damage == NULL && (all || lane_moved(receiver, index))) {
            const int r = ask_lane(receiver, index, want, best);
            if (r > 0)
                better = 1;
        }
        if (cursor->damage != NULL && !cursor->reported)
            return report(receiver, index, best->message, field);
    }
    return better;
}

/* A lane that was looked at before the one that has the message may have got another since, sent
 * before that one: so once more, until nothing better comes. */
int queue_look(struct queue_receiver *receiver, struct queue_want want, struct queue_message *ret,
               const char **field) {
    struct best best = {.message = ret};
    for (unsigned round = 0; round < ROUNDS_MOST; round++) {
        const int r = look_round(receiver, want, round == 0, &best, field);
        if (r < 0)
            return r;
        if (r == 0 || receiver->queue->section.count == 1)
            break;
    }
    return best.found ? 0 : -EAGAIN;
}

int queue_each(struct queue_receiver *receiver, struct queue_want want,
               int (*each)(void *context, const struct queue_message *message), void *context,
               struct queue_message *ret, const char **field) {
    for (uint32_t i = 0; i < receiver->queue->section.count; i++) {
        struct queue_cursor *cursor = &receiver->cursors[i];
        struct walk walk = {
            .queue = receiver->queue,
            .cursor = cursor,
            .lane = lane_at(receiver->queue, i),
            .claims = claims_at(receiver->queue, i),
            .index = i,
        };
        if (cursor->damage == NULL)
            look_sent(receiver, &walk);
        walk.moving = shared_load_acquire64(&walk.lane->moving);
        for (uint64_t seq = cursor->next; cursor->damage == NULL && seq <= cursor->sent; seq++) {
            struct shm_record record;
            uint64_t word;
            const enum seen seen = look_at(&walk, seq, &record, &word);
            if (seen == SEEN_DAMAGE)
                damaged(receiver, cursor, cursor->damage);
            if (seen != SEEN_MESSAGE || !wanted(want, record.type))
                continue;
            message_of(ret, &walk, &record, word);
            const int r = each(context, ret);
            if (r != 0)
                return r;
        }
        if (cursor->damage != NULL && !cursor->reported)
            return report(receiver, i, ret, field);
    }
    return 0;
}

/* ---- taking */

/* Its sender may have been appending it again while we took it: see queue_room.c.  Who waits for
 * the end of that keeps the claim: if he gave it back, somebody else might have passed over the
 * record by then, and get what was sent behind it first. */
static bool is_ours(const struct queue *queue, const struct queue_message *message) {
    struct shm_lane *lane = lane_at(queue, message->lane);
    uint64_t moving;
    bool gone = false;
    unsigned looks = 0;
    if (MUTANT(LANE_TAKES_BLINDLY))
        return true;
    if (lane_sealed(lane))
        return false;
    /* The compare-and-swap was a full barrier; it pairs with the sender's between store moving,
     * load claim.  Acquire, of moving: who finds nothing there any more finds the record gone. */
    while ((moving = shared_load_acquire64(&lane->moving)) == message->seq &&
           !(gone = sender_gone(queue, lane)) && looks++ < MOVING_LOOKS)
        shared_relax();
    if (shared_load_acquire64(&record_at(queue, lane, message->seq)->seq) != message->seq)
        return false;
    if (moving != message->seq)
        return true;
    return gone && !record_superseded(queue, lane, message->id, message->seq);
}

/* From `word` to `next`.  What its sender may do about it in either case, if he waits for room, is
 * for him to find out. */
static bool let_go(const struct queue *queue, const struct queue_message *message, uint64_t word,
                   uint64_t next) {
    /* Release, of the payload that was read, pairs with the sender's load of the claim.  Full:
     * store claim, load waiting here pairs with store waiting, load claim in a sender who goes to
     * sleep. */
    if (!shared_compare_exchange64(claim_at(queue, claims_at(queue, message->lane), message->seq),
                                   &word, next))
        return false;
    if (shared_load_relaxed32(&lane_at(queue, message->lane)->waiting) != 0)
        STEP(LANE_SENDER_NOT_KICKED, queue_kick(queue, message->lane));
    return true;
}

static bool take(struct queue_receiver *receiver, struct queue_message *message) {
    const struct queue *queue = receiver->queue;
    uint64_t *claim = claim_at(queue, claims_at(queue, message->lane), message->seq);
    uint64_t word = message->claim;
    const uint64_t mine = claim_word(message->seq, SHM_CLAIM_TAKEN, receiver->who);
    if (MUTANT(LANE_TAKES_UNSWAPPED))
        shared_store_release64(claim, mine);
    else if (!shared_compare_exchange64(claim, &word, mine))
        return false;
    if (is_ours(queue, message)) {
        message->claim = mine;
        return true;
    }
    let_go(queue, message, mine, message->claim);
    return false;
}

int queue_take(struct queue_receiver *receiver, struct queue_want want, size_t most,
               struct queue_message *ret, const char **field) {
    if (receiver->who.index == 0)
        return -EACCES;
    for (unsigned tries = 0; tries < TAKES_MOST; tries++) {
        const int r = queue_look(receiver, want, ret, field);
        if (r < 0)
            return r;
        if (ret->length > most)
            return -E2BIG;
        if (take(receiver, ret)) {
            receiver->turn = ret->lane + 1;
            return 0;
        }
    }
    return -EAGAIN;
}

size_t queue_copy(const struct queue_message *message, void *buffer, size_t bytes) {
    const size_t n = message->length < bytes ? message->length : bytes;
    if (n > 0)
        shared_copy_from(buffer, message->data, n);
    return n;
}

int queue_done(struct queue_receiver *receiver, const struct queue_message *message) {
    const struct queue *queue = receiver->queue;
    struct shm_claims *claims = claims_at(queue, message->lane);
    struct queue_cursor *cursor = &receiver->cursors[message->lane];
    if (!let_go(queue, message, message->claim,
                claim_word(message->seq, SHM_CLAIM_DONE, receiver->who)))
        return -ESTALE;
    /* About: others may count at the same time. */
    shared_store_relaxed32(&claims->last_pid, receiver->pid);
    shared_store_relaxed64(&claims->last_real_ns, clock_read_ns(CLOCK_REALTIME_COARSE));
    shared_store_relaxed64(&claims->received, shared_load_relaxed64(&claims->received) + 1);
    if (cursor->next == message->seq)
        cursor->next++;
    return 0;
}

/* Whoever rang for a message finds this one; not `want` is cleared, as a receiver who dies here has
 * no successor that rings in his place. */
int queue_abandon(struct queue_receiver *receiver, const struct queue_message *message) {
    const struct queue *queue = receiver->queue;
    const struct attachment nobody = {0};
    if (!let_go(queue, message, message->claim, claim_word(message->seq, SHM_CLAIM_NONE, nobody)))
        return -ESTALE;
    if (queue->bell != NULL && shared_load_relaxed32(&queue->bell->want) != 0)
        queue_wake(queue);
    return 0;
}

ssize_t queue_receive(struct queue_receiver *receiver, struct queue_want want, void *buffer,
                      size_t bytes, bool truncate, struct queue_message *ret, const char **field) {
    for (unsigned tries = 0; tries < TAKES_MOST; tries++) {
        const int r = queue_take(receiver, want, truncate ? SIZE_MAX : bytes, ret, field);
        if (r < 0)
            return r;
        const size_t n = queue_copy(ret, buffer, bytes);
        if (queue_done(receiver, ret) == 0)
            return (ssize_t)n;
    }
    return -EAGAIN;
}
