/* SPDX-License-Identifier: Apache-2.0
 *
 * Is he who a word names still there?
 */
#include "attachments.h"

#include "shared.h"

bool attachments_live(const struct attachments *attachments, uint32_t index, uint32_t epoch,
                      unsigned epoch_bits) {
    if (index == 0 || index >= attachments->capacity)
        return false;
    /* Pairs with the manager's store of the word behind the lease's end: who finds the next epoch
     * there finds all that the dead one had stored. */
    const uint64_t word = shared_load_acquire64(&attachments->at[index].word);
    const uint64_t mask = (UINT64_C(1) << epoch_bits) - 1;
    const uint32_t state = (uint32_t)word & 0xff;
    if ((word >> 8 & mask) != (epoch & mask) ||
        (state != SHM_LEASE_GRANTED && state != SHM_LEASE_LEASED))
        return false;
    return attachments->ended == NULL || !attachments->ended(attachments->context, index);
}

bool owner_gone(const struct attachments *attachments, uint64_t word) {
    const struct attachment who = owner_of(word);
    switch (owner_state(word)) {
    case SHM_OWNER_FREE:
        return true;
    case SHM_OWNER_HELD:
    case SHM_OWNER_OFFERED:
        return (word & SHM_OWNER_STAYS) == 0 &&
               !attachments_live(attachments, who.index, who.epoch, 32);
    default:
        return false;
    }
}
