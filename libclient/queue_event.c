/* SPDX-License-Identifier: Apache-2.0
 *
 * shmc_fd() of a queue: what the helper thread looks for there.  A receiver waits for messages of
 * the kind that its last call didn't find; a sender, for the room that it was refused.
 */
#include "queue.h"

#include "core/writers.h"

bool queue_watch_from_here(struct queue_watch *watch, const shmc_section *owner) {
    const struct queue_side *side = owner->queue;
    const struct queue_interest before = watch->interest;
    watch->interest = (struct queue_interest){
        .messages = writers_same_worker(owner->descriptor.owner, owner->mapping->standing.worker),
        .room = SIZE_MAX,
    };
    if (side != NULL) {
        watch->interest.want = side->want;
        watch->interest.room = side->refused_bytes;
    }
    const struct queue_interest *now = &watch->interest;
    return now->room != before.room || now->want.type != before.want.type ||
           now->want.except != before.want.except || now->messages != before.messages;
}

static bool wants_room(const struct queue_watch *watch) {
    return watch->interest.room != SIZE_MAX;
}

bool queue_watch_due(const struct queue_watch *watch, shmc_section *mine) {
    struct queue_side *side = mine->queue;
    struct queue_message found;
    if (watch->interest.messages &&
        queue_look(&side->core, watch->interest.want, &found, NULL) != -EAGAIN)
        return true;
    if (!wants_room(watch))
        return false;
    return (side->lane == NULL && lane_open(mine) < 0) ||
           lane_has_room(side->lane, watch->interest.room);
}

bool queue_watch_ring(struct queue_watch *watch, shmc_section *mine) {
    struct queue_side *side = mine->queue;
    bool rings = true;
    watch->words_n = 0;
    if (watch->interest.messages)
        rings = queue_ring(&side->core, &watch->words[watch->words_n++]);
    if (wants_room(watch) && side->lane != NULL) {
        watch->rung = side->lane;
        rings = lane_ring(side->lane, &watch->words[watch->words_n++]) && rings;
    }
    return rings;
}

void queue_watch_unring(struct queue_watch *watch) {
    if (watch->rung != NULL)
        lane_unring(watch->rung, 0);
    watch->rung = NULL;
}
