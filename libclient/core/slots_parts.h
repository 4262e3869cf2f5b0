/* SPDX-License-Identifier: Apache-2.0
 *
 * What those who hold slots, put and get share: where things stand.
 */
#ifndef SHM_CORE_SLOTS_PARTS_H
#define SHM_CORE_SLOTS_PARTS_H

#include "busy.h"
#include "mutant.h"
#include "shared.h"
#include "slots.h"

static inline struct shm_slot *slot_at(const struct slots *slots, uint32_t index) {
    return (struct shm_slot *)(void *)(slots->items + index * slots->stride);
}

static inline struct shm_slot_buffer *slot_buffer(const struct slots *slots, struct shm_slot *slot,
                                                  uint32_t buffer) {
    return (struct shm_slot_buffer *)(void *)((uint8_t *)(slot + 1) + buffer * slots->buffer_bytes);
}

static inline uint8_t *slot_data(struct shm_slot_buffer *buffer) {
    return (uint8_t *)(buffer + 1);
}

static inline bool slots_shared(const struct slots *slots) {
    return (slots->flags & SHM_SECTION_SHARED) != 0;
}

static inline uint64_t slot_head_version(uint64_t head) {
    return head >> 1;
}

static inline uint32_t slot_head_buffer(uint64_t head) {
    return (uint32_t)head & 1;
}

/* No writers live to count beyond. */
static inline bool slot_head_sane(uint64_t head) {
    return slot_head_version(head) <= SHM_VERSION_MAX;
}

/* Acquire pairs with the compare-and-swap by which the word came there, so that the attachments say
 * of whom it names nothing from before he had that epoch: he would seem to be gone.  Not acquired,
 * slots were taken from who lives (seen in the simulator). */
static inline uint64_t slot_owner(const struct shm_slot *slot) {
    return ACQUIRE64(SLOT_OWNER_RELAXED, &slot->owner);
}

/* Is he whom the word names still there? */
static inline bool slot_holder_lives(const struct attachments *attachments, uint64_t word) {
    const struct attachment who = owner_of(word);
    const enum shm_owner_state state = owner_state(word);
    return (state == SHM_OWNER_HELD || state == SHM_OWNER_OFFERED) &&
           attachments_live(attachments, who.index, who.epoch, 32);
}

#endif
