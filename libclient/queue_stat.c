/* SPDX-License-Identifier: Apache-2.0
 *
 * What there is to count in a queue, lane by lane and in all.
 */
#include "queue.h"

#include <stdio.h>
#include <string.h>

static uint64_t real_of(uint64_t mono_ns) {
    const uint64_t now = clock_mono_ns();
    if (mono_ns == 0)
        return 0;
    return clock_real_ns() - (now > mono_ns ? now - mono_ns : 0);
}

static void name_holder(const struct mapping *mapping, const struct queue *place, uint64_t owner,
                        struct shmc_lane_stat *ret) {
    struct shm_attachment record;
    struct shm_worker worker;
    if (owner_state(owner) != SHM_OWNER_HELD || owner_gone(&place->attachments, owner) ||
        directory_attachment(&mapping->directory, owner_of(owner).index, &record) < 0)
        return;
    ret->held = true;
    ret->pid = (pid_t)record.pid;
    if (record.worker != SHM_NONE &&
        directory_worker(&mapping->directory, record.worker, &worker) == 0)
        memcpy(ret->worker, worker.name, sizeof ret->worker);
}

static void describe(const struct mapping *mapping, const struct queue *place, uint32_t lane,
                     const struct queue_lane_stat *found, struct shmc_lane_stat *ret) {
    *ret = (struct shmc_lane_stat){
        .lane = lane,
        .bad = found->damage != NULL,
        .waiting = found->waiting,
        .pid = (pid_t)found->last_send_pid,
        .messages = found->messages,
        .bytes = found->bytes,
        .sent = found->sent,
        .received = found->received,
        .sent_bytes = found->bytes_sent,
        .refused = found->refused,
        .blocked_ns = found->blocked_ns,
        .relocated = found->relocated,
        .takeovers = found->takeovers,
        .wakes = found->wakes,
        .high_messages = found->high_messages,
        .high_bytes = found->high_bytes,
        .last_receive_pid = (pid_t)found->last_receive_pid,
        .last_send_real_ns = real_of(found->last_send_ns),
        .last_receive_real_ns = found->last_receive_real_ns,
    };
    if (found->damage != NULL)
        snprintf(ret->trouble, sizeof ret->trouble, "%s", found->damage);
    name_holder(mapping, place, found->owner, ret);
}

static uint64_t larger(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

static void add(struct shmc_queue_stat *sum, const struct shmc_lane_stat *lane,
                const struct queue_lane_stat *found) {
    sum->lanes_held += lane->held;
    sum->lanes_bad += lane->bad;
    sum->messages += lane->messages;
    sum->bytes += lane->bytes;
    sum->sent += lane->sent;
    sum->received += lane->received;
    sum->sent_bytes += lane->sent_bytes;
    sum->refused += lane->refused;
    sum->blocked_ns += lane->blocked_ns;
    sum->relocated += lane->relocated;
    sum->takeovers += lane->takeovers;
    sum->wakes += lane->wakes;
    sum->high_messages = larger(sum->high_messages, lane->high_messages);
    sum->high_bytes = larger(sum->high_bytes, lane->high_bytes);
    const uint64_t oldest = real_of(found->oldest_ns);
    if (oldest != 0 && (sum->oldest_real_ns == 0 || oldest < sum->oldest_real_ns))
        sum->oldest_real_ns = oldest;
    if (lane->last_send_real_ns > sum->last_send_real_ns) {
        sum->last_send_real_ns = lane->last_send_real_ns;
        sum->last_send_pid = (pid_t)found->last_send_pid;
    }
    if (lane->last_receive_real_ns > sum->last_receive_real_ns) {
        sum->last_receive_real_ns = lane->last_receive_real_ns;
        sum->last_receive_pid = lane->last_receive_pid;
    }
}

void queue_sum(const struct mapping *mapping, const struct queue *place,
               struct shmc_queue_stat *ret, struct shmc_lane_stat *lanes, size_t room) {
    *ret = (struct shmc_queue_stat){
        .lane_messages = place->geometry.records,
        .lane_bytes = place->geometry.data_bytes,
        .message_bytes = place->geometry.max_message,
        .lanes = place->section.count,
        .changed_generation = place->section.changed_gen,
        .changed_real_ns = place->section.changed_real_ns,
    };
    for (uint32_t i = 0; i < place->section.count; i++) {
        struct queue_lane_stat found;
        struct shmc_lane_stat lane;
        queue_lane_stat(place, i, &found);
        describe(mapping, place, i, &found, &lane);
        add(ret, &lane, &found);
        if (i < room)
            lanes[i] = lane;
    }
}

int shmc_queue_stat(shmc_section *section, struct shmc_queue_stat *ret,
                    struct shmc_lane_stat *lanes, size_t *n) {
    struct shmc_queue_stat all;
    if ((lanes != NULL) != (n != NULL))
        return error_set(section->segment->error, -EINVAL,
                         "section '%s': lanes and n are given together, or neither", section->name);
    do {
        int r = queue_ready(section);
        if (r < 0)
            return r;
        queue_sum(section->mapping, &section->queue->place, &all, lanes, n == NULL ? 0 : *n);
        shared_fence_acquire(); /* all was read before the generation is looked at */
    } while (!section_settled(section));
    *ret = all;
    if (n != NULL)
        *n = all.lanes;
    return 0;
}
