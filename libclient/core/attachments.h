/* SPDX-License-Identifier: Apache-2.0
 *
 * Who may write, as the words in the memory name him: a slot's and a lane's owner, a claim.  They
 * name an attachment and the low part of its epoch; when its lease ends, the manager counts the
 * epoch on, and all that it held is free at once, without anybody going round.
 */
#ifndef SHM_CORE_ATTACHMENTS_H
#define SHM_CORE_ATTACHMENTS_H

#include <shm-manager/layout.h>
#include <stdbool.h>

struct attachments {
    const struct shm_attachment *at; /* the header's records; index 0 is nobody */
    uint32_t capacity;
    /* Where no manager looks at the leases: did this one end?  Then it is counted on, and true.
     * Asked where somebody is in the way, never on a way that is free.  NULL: a manager looks. */
    bool (*ended)(void *context, uint32_t attachment);
    void *context;
};

/* Somebody who writes. */
struct attachment {
    uint32_t index;
    uint32_t epoch; /* its low half */
};

/* Is he still there?  `epoch_bits` of the epoch are known: 32 in an owner word, 16 in a claim. */
bool attachments_live(const struct attachments *attachments, uint32_t index, uint32_t epoch,
                      unsigned epoch_bits);

/* ---- owner words */

static inline uint64_t owner_word(struct attachment who, enum shm_owner_state state,
                                  uint8_t flags) {
    return (uint64_t)who.epoch << SHM_OWNER_EPOCH_SHIFT |
           (uint64_t)who.index << SHM_OWNER_ATTACHMENT_SHIFT |
           (uint64_t)state << SHM_OWNER_STATE_SHIFT | flags;
}

static inline struct attachment owner_of(uint64_t word) {
    return (struct attachment){(uint32_t)(word >> SHM_OWNER_ATTACHMENT_SHIFT) & 0xffff,
                               (uint32_t)(word >> SHM_OWNER_EPOCH_SHIFT)};
}

static inline enum shm_owner_state owner_state(uint64_t word) {
    return (enum shm_owner_state)(word >> SHM_OWNER_STATE_SHIFT & 0xff);
}

/* May it be taken?  Not what stays, nor what the manager has sealed. */
bool owner_gone(const struct attachments *attachments, uint64_t word);

#endif
