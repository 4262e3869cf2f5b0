/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the sender share (queue_lane.c, queue_room.c, queue_send.c).
 */
#ifndef SHM_CORE_QUEUE_SENDER_H
#define SHM_CORE_QUEUE_SENDER_H

#include "queue_parts.h"

/* ---- room (queue_room.c) */

static inline uint32_t lines_of(size_t bytes) {
    return (uint32_t)((bytes + SHM_LINE - 1) / SHM_LINE);
}

/* So many lines from there on are in use, or aren't any more.  False: one was already. */
bool lines_take(struct queue_sender *sender, uint32_t line, uint32_t lines);
void lines_give(struct queue_sender *sender, uint32_t line, uint32_t lines);

/* What receivers are through with is the sender's again, up to the first that they aren't. */
void sender_reclaim(struct queue_sender *sender);

/* Behind the last look at a claim, and before the record's next use: pairs with the fence that a
 * receiver has between its copy of a record and its second look at number and claim. */
void sender_reclaimed(struct queue_sender *sender);

/* Finds room for a record and so many lines, at sender->open_line: 0, -EAGAIN, -EBADMSG.  `move`:
 * what nobody takes is appended again, where that helps. */
int sender_room(struct queue_sender *sender, uint32_t lines, bool move);

/* ---- sending (queue_send.c) */

/* As queue_reserve() finds room, at sender->open_line; `move` as above. */
int sender_find_room(struct queue_sender *sender, size_t bytes, bool move);

/* Writes a record behind the others; nobody sees it yet. */
void sender_append(struct queue_sender *sender, struct shm_record *record,
                   struct queue_block block);

/* Now they do, and who sleeps is woken. */
void sender_publish(struct queue_sender *sender);

static inline struct queue_block *block_at(struct queue_sender *sender, uint64_t seq) {
    return &sender->blocks[index_of(sender->queue, seq)];
}

#endif
