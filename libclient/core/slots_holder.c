/* SPDX-License-Identifier: Apache-2.0
 *
 * Who holds a slot: one compare-and-swap of its owner word for each change of hands.  What this
 * process holds it also knows from its own memory, so that a put needn't ask; there a slot is
 * BUSY while a thread of this process is at it, and what others of its threads try then fails
 * or, in a search for a free slot, passes it by.
 */
#include "futex.h"
#include "slots_parts.h"

#include <errno.h>

/* Apache's scan, which asks and then stores. */
static bool change(struct shm_slot *slot, uint64_t *word, uint64_t to) {
    if (MUTANT(SLOT_GRAB_PLAIN)) {
        shared_store_release64(&slot->owner, to);
        return true;
    }
    /* Full: what was put before comes before for who takes the slot next, and the other way round.
     */
    return shared_compare_exchange64(&slot->owner, word, to);
}

/* Whose word it is. */
static bool is_mine(const struct slots_holder *holder, uint64_t word) {
    const struct attachment who = owner_of(word);
    const enum shm_owner_state state = owner_state(word);
    return (state == SHM_OWNER_HELD || state == SHM_OWNER_OFFERED) &&
           who.index == holder->who.index && who.epoch == holder->who.epoch;
}

/* One look at who lives decides: between two he may have gone. */
enum whose { NOBODYS, OURS, ANOTHERS, LEFT, SEALED };
static enum whose whose(const struct slots *slots, const struct slots_holder *holder,
                        uint64_t word) {
    const enum shm_owner_state state = owner_state(word);
    const bool stays = (word & SHM_OWNER_STAYS) != 0;
    if (state == SHM_OWNER_FREE)
        return NOBODYS;
    if (state == SHM_OWNER_SEALED)
        return SEALED;
    if (is_mine(holder, word))
        return OURS;
    if (slot_holder_lives(&slots->attachments, word))
        return MUTANT(SLOT_GRABS_LIVE) && !stays ? NOBODYS : ANOTHERS;
    /* In use without him; or a state that nobody knows, which somebody wrote over it. */
    const bool left = stays || (state != SHM_OWNER_HELD && state != SHM_OWNER_OFFERED);
    return left && !MUTANT(SLOT_GRABS_STAYING) ? LEFT : NOBODYS;
}

/* ---- this process's own state of a slot; a shared section's have none */

static bool enter(const struct slots *slots, struct slots_holder *holder, uint32_t index,
                  enum slot_state from) {
    return slots_shared(slots) || busy_enter(&holder->mine[index].state, from, SLOT_BUSY);
}

/* From whichever it is; -EBUSY. */
static int enter_any(const struct slots *slots, struct slots_holder *holder, uint32_t index,
                     enum slot_state *before) {
    *before = SLOT_MINE;
    if (enter(slots, holder, index, SLOT_MINE))
        return 0;
    *before = SLOT_UNKNOWN;
    return enter(slots, holder, index, SLOT_UNKNOWN) ? 0 : -EBUSY;
}

static void leave(const struct slots *slots, struct slots_holder *holder, uint32_t index,
                  enum slot_state to) {
    if (!slots_shared(slots))
        busy_leave(&holder->mine[index].state, to);
}

/* The slot is held under that word: its head says how it goes on.  Behind the compare-and-swap, or
 * behind having found the holder before gone, there is nobody who would change it. */
static void hold(const struct slots *slots, struct slots_holder *holder, uint32_t index,
                 uint64_t word) {
    struct shm_slot *slot = slot_at(slots, index);
    if (slots_shared(slots))
        return;
    struct slot_mine *mine = &holder->mine[index];
    uint64_t head = shared_load_relaxed64(&slot->head);
    if (!slot_head_sane(head) || MUTANT(SLOT_FORGETS_HEAD)) {
        head = 0;
        shared_store_relaxed64(&slot->head, head); /* somebody wrote over it */
    }
    mine->word = word;
    mine->buffer = slot_head_buffer(head);
    mine->next = slot_head_version(head) + 1;
    leave(slots, holder, index, SLOT_MINE);
}

static void note(struct shm_slot *slot, const struct slots_holder *holder, unsigned grabs) {
    shared_store_relaxed64(&slot->real_ns, clock_real_ns());
    shared_store_relaxed32(&slot->pid, holder->pid);
    /* Release pairs with a reader's first look at the owner.  Before anything is put. */
    shared_store_release64(&slot->grabs, shared_load_relaxed64(&slot->grabs) + grabs);
}

/* Behind a grab of a slot that was free. */
static void clear(const struct slots *slots, uint32_t index) {
    if (slots_shared(slots) && (slots->flags & SHM_SECTION_CLEAR) != 0)
        shared_clear(slots_shared_data(slots, index), slots->size);
}

/* ---- grabbing */

static uint64_t new_word(const struct slots *slots, const struct slots_holder *holder,
                         uint32_t flags) {
    const bool empty = !slots_shared(slots) && !MUTANT(SLOT_GRABBED_FULL);
    return owner_word(holder->who, SHM_OWNER_HELD,
                      (uint8_t)((flags & SHM_OWNER_STAYS) | (empty ? SHM_OWNER_EMPTY : 0)));
}

/* Grabs a slot that is nobody's, which the caller has entered.  False: somebody was quicker, and
 * *word is what he made it. */
static bool grab_free(const struct slots *slots, struct slots_holder *holder, uint32_t index,
                      uint64_t *word, uint32_t flags) {
    struct shm_slot *slot = slot_at(slots, index);
    const uint64_t to = new_word(slots, holder, flags);
    if (!change(slot, word, to))
        return false;
    note(slot, holder, 1);
    clear(slots, index);
    hold(slots, holder, index, to);
    return true;
}

/* 1: it is grabbed; 0: it isn't free. */
static int try_grab(const struct slots *slots, struct slots_holder *holder, uint32_t index,
                    uint32_t flags) {
    uint64_t word = slot_owner(slot_at(slots, index));
    enum whose now = whose(slots, holder, word);
    if (now == SEALED)
        return -EAGAIN;
    if (now != NOBODYS || !enter(slots, holder, index, SLOT_UNKNOWN))
        return 0;
    for (; now == NOBODYS; now = whose(slots, holder, word))
        if (grab_free(slots, holder, index, &word, flags))
            return 1;
    leave(slots, holder, index, SLOT_UNKNOWN);
    return now == SEALED ? -EAGAIN : 0;
}

int slots_grab(const struct slots *slots, struct slots_holder *holder, uint32_t flags) {
    for (uint32_t i = 0; i < slots->count; i++) {
        const int r = try_grab(slots, holder, i, flags);
        if (r != 0)
            return r < 0 ? r : (int)i;
    }
    return -ENOSPC;
}

/* What the word of a slot that isn't free becomes; or why it stays as it is. */
static int fgrab_word(const struct slots *slots, const struct slots_holder *holder, enum whose now,
                      uint64_t word, uint32_t flags, uint64_t *to, struct attachment *by) {
    const uint64_t stays = flags & SHM_OWNER_STAYS;
    if (now == SEALED)
        return -EAGAIN;
    if (now != ANOTHERS) {
        *to = owner_word(holder->who, SHM_OWNER_HELD, (uint8_t)(word | stays));
        return 0;
    }
    if (slots_shared(slots) && ((word | stays) & SHM_OWNER_STAYS) != 0) {
        *to = word | stays;
        return 0;
    }
    *by = owner_of(word);
    return -EBUSY;
}

/* The caller has entered it, and leaves it unless it is held. */
static int fgrab(const struct slots *slots, struct slots_holder *holder, uint32_t index,
                 uint32_t flags, struct attachment *by) {
    struct shm_slot *slot = slot_at(slots, index);
    uint64_t to, word = slot_owner(slot);
    for (;;) {
        const enum whose now = whose(slots, holder, word);
        if (now == NOBODYS) {
            if (grab_free(slots, holder, index, &word, flags))
                return 0;
            continue;
        }
        const int r = fgrab_word(slots, holder, now, word, flags, &to, by);
        if (r < 0)
            return r;
        if (to != word && !change(slot, &word, to))
            continue;
        if (now == LEFT)
            note(slot, holder, 1);
        hold(slots, holder, index, to);
        return 0;
    }
}

int slots_fgrab(const struct slots *slots, struct slots_holder *holder, uint32_t index,
                uint32_t flags, struct attachment *by) {
    enum slot_state before;
    *by = (struct attachment){0};
    int r = enter_any(slots, holder, index, &before);
    if (r < 0)
        return r;
    r = fgrab(slots, holder, index, flags, by);
    if (r < 0)
        leave(slots, holder, index, SLOT_UNKNOWN);
    return r;
}

/* ---- letting go */

/* May it be released by us? */
static int may_release(const struct slots *slots, const struct slots_holder *holder, uint64_t word,
                       struct attachment *by) {
    switch (whose(slots, holder, word)) {
    case OURS:
    case LEFT:
        return 0;
    case NOBODYS:
        return -ENOENT;
    case SEALED:
        return -EAGAIN;
    case ANOTHERS:
        break;
    }
    if (slots_shared(slots) && (word & SHM_OWNER_STAYS) != 0)
        return 0;
    *by = owner_of(word);
    return -EBUSY;
}

int slots_release(const struct slots *slots, struct slots_holder *holder, uint32_t index,
                  struct attachment *by) {
    struct shm_slot *slot = slot_at(slots, index);
    enum slot_state before;
    *by = (struct attachment){0};
    int r = enter_any(slots, holder, index, &before);
    if (r < 0)
        return r;
    uint64_t word = slot_owner(slot);
    for (;;) {
        r = may_release(slots, holder, word, by);
        if (r < 0)
            break;
        clear(slots, index);
        if (change(slot, &word, word & SHM_OWNER_EMPTY))
            break;
    }
    leave(slots, holder, index, SLOT_UNKNOWN);
    /* It was ours, and isn't: nobody takes from one who lives what he holds alone. */
    return r < 0 && r != -EAGAIN && before == SLOT_MINE && !slots_shared(slots) ? -EBADMSG : r;
}

/* ---- handing on */

int slots_offer(const struct slots *slots, struct slots_holder *holder, uint32_t index,
                uint64_t *ticket) {
    struct shm_slot *slot = slot_at(slots, index);
    enum slot_state before;
    const int r = enter_any(slots, holder, index, &before);
    if (r < 0)
        return r;
    uint64_t word = slot_owner(slot);
    bool offered = false;
    while (!offered && is_mine(holder, word)) {
        *ticket = owner_word(holder->who, SHM_OWNER_OFFERED, (uint8_t)word);
        offered = *ticket == word || change(slot, &word, *ticket);
    }
    leave(slots, holder, index, SLOT_UNKNOWN);
    return offered ? 0 : -ENOENT;
}

int slots_take(const struct slots *slots, struct slots_holder *holder, uint32_t index,
               uint64_t ticket) {
    struct shm_slot *slot = slot_at(slots, index);
    const uint64_t to = owner_word(holder->who, SHM_OWNER_HELD, (uint8_t)ticket);
    enum slot_state before;
    if (owner_state(ticket) != SHM_OWNER_OFFERED)
        return -EINVAL;
    const int r = enter_any(slots, holder, index, &before);
    if (r < 0)
        return r;
    uint64_t word = ticket;
    if (MUTANT(SLOT_TAKEN_BLINDLY))
        word = shared_load_relaxed64(&slot->owner);
    if (!change(slot, &word, to)) {
        leave(slots, holder, index, before);
        return owner_state(word) == SHM_OWNER_SEALED ? -EAGAIN : -ESTALE;
    }
    note(slot, holder, 0);
    hold(slots, holder, index, to);
    return 0;
}
