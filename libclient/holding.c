/* SPDX-License-Identifier: Apache-2.0
 *
 * What this process knows of the slots that it holds in a section, which the section objects of all
 * threads share.  It is a mapping of its own and not malloc()'s, as the first grab may be a signal
 * handler's.  When the last section object goes, so does this, and not what is held: who opens the
 * section again finds his attachment in the owner words.
 */
#include "client.h"
#include "core/barrier.h"

#include <sys/mman.h>
#include <unistd.h>

bool holding_suits(const struct holding *holding, const struct slots *slots) {
    const struct slots *of = &holding->place;
    return of->items == slots->items && of->section_id == slots->section_id &&
           of->incarnation == slots->incarnation && of->count == slots->count &&
           of->stride == slots->stride;
}

static struct holding *find(const shmc_section *section, struct attachment who) {
    for (struct holding *h = section->segment->holdings; h != NULL; h = h->next)
        if (holding_suits(h, &section->slots) && h->holder.who.index == who.index &&
            h->holder.who.epoch == who.epoch)
            return h;
    return NULL;
}

static struct holding *make(shmc_section *section, struct attachment who) {
    shmc *segment = section->segment;
    const size_t bytes = sizeof(struct holding) + section->slots.count * sizeof(struct slot_mine);
    struct holding *holding = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (holding == MAP_FAILED)
        return NULL;
    holding->bytes = bytes;
    holding->place = section->slots;
    holding->ordered = barrier_register();
    holding->holder = (struct slots_holder){
        .who = who, .pid = (uint32_t)getpid(), .mine = (struct slot_mine *)(void *)(holding + 1)};
    holding->next = segment->holdings;
    segment->holdings = holding;
    return holding;
}

int holding_open(shmc_section *section) {
    shmc *segment = section->segment;
    struct attachment who;
    if (lock_take(&segment->lock) < 0)
        return error_note(section, -EBUSY, NOTE_BUSY, 0, 0);
    int r = standing_attachment(section->mapping, &who);
    struct holding *holding = NULL;
    if (r == 0) {
        holding = find(section, who);
        if (holding == NULL)
            holding = make(section, who);
        r = holding == NULL ? -ENOMEM : 0;
    }
    if (r == 0) {
        __atomic_add_fetch(&holding->references, 1, __ATOMIC_RELAXED);
        section->holding = holding;
    }
    lock_release(&segment->lock);
    return r == -ENOMEM ? error_set(segment->error, r,
                                    "section '%s': no memory to hold slots of it", section->name)
                        : r;
}

void holding_release(shmc *segment, struct holding *holding) {
    /* As writer_release(). */
    const bool forked = handle_state(segment) == HANDLE_FORKED;
    const bool locked = !forked && lock_take(&segment->lock) == 0;
    const bool last = __atomic_sub_fetch(&holding->references, 1, __ATOMIC_ACQ_REL) == 0;
    if (last && !forked) {
        struct holding **at = &segment->holdings;
        while (*at != holding)
            at = &(*at)->next;
        *at = holding->next;
    }
    if (locked)
        lock_release(&segment->lock);
    if (last)
        munmap(holding, holding->bytes);
}
