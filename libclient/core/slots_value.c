/* SPDX-License-Identifier: Apache-2.0
 *
 * Putting and getting a slot's value.  The holder knows the next version and the buffer that is
 * current from its own memory, and loads nothing from the lines that readers pull.  It may be
 * killed between any two of its instructions: up to the head's store nobody looks at the buffer,
 * and with it the value is whole.
 */
#include "slots_parts.h"
#include "stored.h"

#include <errno.h>

#define LOOKS 100u /* at a value that isn't copied */

/* ---- putting */

/* Behind the head, for who finds the slot not empty any more and looks at the head then: release,
 * as a compare-and-swap is.  -EBADMSG: that word isn't ours to change any more. */
static int first_value(struct shm_slot *slot, struct slot_mine *mine) {
    uint64_t word = mine->word;
    if (!shared_compare_exchange64(&slot->owner, &word, word & ~(uint64_t)SHM_OWNER_EMPTY))
        return -EBADMSG;
    mine->word &= ~(uint64_t)SHM_OWNER_EMPTY;
    return 0;
}

static int put(const struct slots *slots, struct shm_slot *slot, struct slot_mine *mine,
               const void *data, size_t bytes) {
    const uint32_t index = MUTANT(SLOT_TAKES_CURRENT) ? mine->buffer : 1 - mine->buffer;
    struct shm_slot_buffer *buffer = slot_buffer(slots, slot, index);
    const uint64_t head = mine->next << 1 | index;
    if (MUTANT(SLOT_FILLED_EARLY) && (mine->word & SHM_OWNER_EMPTY) != 0)
        first_value(slot, mine);
    /* The sequence must be odd before the first byte changes: the fence pairs with the one that a
     * reader has between its copy and its second look at the sequence. */
    if (!MUTANT(SLOT_NOT_DIRTIED))
        shared_store_relaxed64(&buffer->seq, 2 * mine->next - 1);
    if (MUTANT(SLOT_HEAD_EARLY))
        shared_store_release64(&slot->head, head);
    STEP(SLOT_DIRTY_UNFENCED, shared_fence_release());
    stored_bytes(slot_data(buffer), data, bytes);
    shared_store_relaxed32(&buffer->len, (uint32_t)bytes);
    shared_store_relaxed32(&buffer->crc, 0);
    stored_times(slots->flags, &buffer->mono_ns, &buffer->real_ns);
    /* Pairs with a reader's first load of the sequence, and the head with its load of that: who
     * sees the version sees its value. */
    shared_store_release64(&buffer->seq, 2 * mine->next);
    shared_store_release64(&slot->head, head);
    mine->buffer = index;
    mine->next++;
    return (mine->word & SHM_OWNER_EMPTY) != 0 ? first_value(slot, mine) : 0;
}

static int put_shared(const struct slots *slots, uint32_t index, const void *data, size_t bytes) {
    stored_bytes(slots_shared_data(slots, index), data, bytes);
    return 0;
}

int slots_put(const struct slots *slots, struct slots_holder *holder, uint32_t index,
              const void *data, size_t bytes) {
    if (bytes > slots->size)
        return -EMSGSIZE;
    if (slots_shared(slots))
        return put_shared(slots, index, data, bytes);
    struct slot_mine *mine = &holder->mine[index];
    if (!busy_enter(&mine->state, SLOT_MINE, SLOT_BUSY))
        return __atomic_load_n(&mine->state, __ATOMIC_RELAXED) == SLOT_UNKNOWN ? -ENOENT : -EBUSY;
    const int r = put(slots, slot_at(slots, index), mine, data, bytes);
    busy_leave(&mine->state, r == 0 ? SLOT_MINE : SLOT_UNKNOWN);
    return r;
}

/* ---- getting */

/* Whose it is.  Who reads doesn't ask the kernel who lives. */
static void look_at_owner(const struct slots *slots, const struct shm_slot *slot, bool ask,
                          struct slot_look *ret) {
    const struct attachments attachments = {.at = slots->attachments.at,
                                            .capacity = slots->attachments.capacity,
                                            .ended = ask ? slots->attachments.ended : NULL,
                                            .context = slots->attachments.context};
    /* Acquire: the first look, for the sake of slot_unchanged(); and it pairs with a grab's store
     * behind its owner word, so that that word is at least as new. */
    const uint64_t grabs = shared_load_acquire64(&slot->grabs);
    /* Acquire pairs with the compare-and-swap behind a holder's first value: who finds it there
     * finds the head not older. */
    const uint64_t word = shared_load_acquire64(&slot->owner);
    const bool lives = slot_holder_lives(&attachments, word);
    *ret = (struct slot_look){
        .holder = lives ? owner_of(word) : (struct attachment){0, 0},
        .word = word,
        .grabs = grabs,
        .since_real_ns = shared_load_relaxed64(&slot->real_ns),
        .pid = shared_load_relaxed32(&slot->pid),
        .stays = owner_state(word) != SHM_OWNER_FREE && (word & SHM_OWNER_STAYS) != 0,
        .sealed = owner_state(word) == SHM_OWNER_SEALED,
        .offered = lives && owner_state(word) == SHM_OWNER_OFFERED,
    };
    ret->in_use = lives || ret->stays;
}

/* Is it still the same holder, of the same grab?  Whoever put the value that was copied stored both
 * before, and the head told. */
static bool same_holder(const struct shm_slot *slot, const struct slot_look *look) {
    return MUTANT(SLOT_HOLDER_UNCHECKED) || (shared_load_relaxed64(&slot->owner) == look->word &&
                                             shared_load_relaxed64(&slot->grabs) == look->grabs);
}

/* -ESTALE: that buffer hasn't got this version, or not any more. */
static ssize_t copy_value(const struct slots *slots, struct shm_slot *slot, uint64_t head, void *to,
                          size_t bytes, struct slot_look *ret) {
    const uint64_t version = slot_head_version(head);
    struct shm_slot_buffer *buffer = slot_buffer(slots, slot, slot_head_buffer(head));
    /* Acquire pairs with the holder's store of the even sequence behind the value. */
    if (shared_load_acquire64(&buffer->seq) != 2 * version)
        return -ESTALE;
    const uint64_t length = shared_load_relaxed32(&buffer->len);
    const uint64_t mono_ns = shared_load_relaxed64(&buffer->mono_ns);
    const uint64_t real_ns = shared_load_relaxed64(&buffer->real_ns);
    if (to != NULL && length <= slots->size && length <= bytes)
        shared_copy_from(to, slot_data(buffer), length);
    /* Keeps the copy before the second look, and pairs with the holder's between odd sequence and
     * bytes. */
    STEP(SLOT_CHECK_UNFENCED, shared_fence_acquire());
    if (shared_load_relaxed64(&buffer->seq) != 2 * version && !MUTANT(SLOT_NO_SECOND_CHECK))
        return -ESTALE;
    if (length > slots->size)
        return -EBADMSG;
    ret->version = version;
    ret->length = length;
    ret->mono_ns = mono_ns;
    ret->real_ns = real_ns;
    ret->has_data = true;
    return length <= bytes ? (ssize_t)length : -EMSGSIZE;
}

/* Once.  *head is what was found there. */
static ssize_t get_once(const struct slots *slots, struct shm_slot *slot, void *to, size_t bytes,
                        bool ask, struct slot_look *ret, uint64_t *head) {
    *head = 0;
    look_at_owner(slots, slot, ask, ret);
    if (!ret->in_use && (slots->flags & SHM_SECTION_PREGRAB) != 0)
        return -ENOENT;
    if ((ret->word & SHM_OWNER_EMPTY) != 0 ||
        (!ret->in_use && (slots->flags & SHM_SECTION_CLEAR) != 0))
        return -ENODATA;
    /* Acquire pairs with the holder's store: the buffer's sequence is at least as new. */
    *head = shared_load_acquire64(&slot->head);
    if (slot_head_version(*head) == 0)
        return -ENODATA;
    if (!slot_head_sane(*head))
        return -EBADMSG;
    const ssize_t n = copy_value(slots, slot, *head, to, bytes, ret);
    return n != -ESTALE && !same_holder(slot, ret) ? -ESTALE : n;
}

static ssize_t get(const struct slots *slots, struct shm_slot *slot, void *to, size_t bytes,
                   unsigned laps, struct slot_look *ret) {
    uint64_t head, before_head = 0, before_word = 0, before_grabs = 0;
    bool moved = false;
    for (unsigned lap = 0; lap < laps; lap++) {
        const ssize_t n = get_once(slots, slot, to, bytes, to == NULL, ret, &head);
        if (n != -ESTALE)
            return n;
        moved = moved || (lap > 0 && (head != before_head || ret->word != before_word ||
                                      ret->grabs != before_grabs));
        before_head = head;
        before_word = ret->word;
        before_grabs = ret->grabs;
    }
    ret->has_data = false;
    /* A buffer that isn't what a resting head says was not lapped: it is damaged. */
    return moved ? -EAGAIN : -EBADMSG;
}

static ssize_t get_shared(const struct slots *slots, uint32_t index, void *to, size_t bytes,
                          struct slot_look *ret) {
    look_at_owner(slots, slot_at(slots, index), to == NULL, ret);
    if (!ret->in_use && (slots->flags & SHM_SECTION_PREGRAB) != 0)
        return -ENOENT;
    ret->has_data = true;
    ret->length = slots->size;
    const size_t n = bytes < slots->size ? bytes : slots->size;
    if (to != NULL)
        shared_copy_from(to, slots_shared_data(slots, index), n);
    return (ssize_t)n;
}

ssize_t slots_get(const struct slots *slots, uint32_t index, void *to, size_t bytes,
                  struct slot_look *ret) {
    return slots_shared(slots) ? get_shared(slots, index, to, bytes, ret)
                               : get(slots, slot_at(slots, index), to, bytes, SLOTS_LAPS_MAX, ret);
}

void slots_look(const struct slots *slots, uint32_t index, struct slot_look *ret) {
    if (slots_shared(slots))
        get_shared(slots, index, NULL, SIZE_MAX, ret);
    else
        get(slots, slot_at(slots, index), NULL, SIZE_MAX, LOOKS, ret);
}
