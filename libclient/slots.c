/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots: grabbing, putting and getting.  As with a snapshot, what was read counts when the
 * directory's generation behind it is the one that the section is bound by; and what is written
 * stays where it is for as long as this process holds it, as slots go to another place only while
 * nobody holds any.
 */
#include "client.h"

#include "core/restored.h"

#include <string.h>
#include <time.h>

#define TRIES     1000                 /* tables that may change under one get */
#define SEALED_NS UINT64_C(2000000000) /* that a manager may take to move them */
#define PAUSE_NS  1000000L             /* between two looks at what it has sealed */

static int check_slot(const shmc_section *section, int slot) {
    return slot >= 0 && (uint32_t)slot < section->slots.count
               ? 0
               : error_set(section->segment->error, -EINVAL,
                           "section '%s' has no slot %d: they are 0 to %u", section->name, slot,
                           section->slots.count - 1);
}

static int check_flags(const shmc_section *section, unsigned flags) {
    return (flags & ~SHMC_SLOT_STAYS) == 0
               ? 0
               : error_set(section->segment->error, -EINVAL,
                           "section '%s': the flags are 0x%x; known is SHMC_SLOT_STAYS",
                           section->name, flags);
}

/* ---- why not */

static int held_by(const shmc_section *section, int slot, struct attachment by) {
    struct shm_attachment record = {0};
    directory_attachment(&section->mapping->directory, by.index, &record);
    return error_set(section->segment->error, -EBUSY,
                     "section '%s': slot %d is held by process %u; it comes free when that "
                     "releases it, or ends",
                     section->name, slot, record.pid);
}

static int explain(shmc_section *section, int slot, int r, struct attachment by, size_t bytes) {
    switch (r) {
    case -EBUSY:
        return by.index != 0 ? held_by(section, slot, by)
                             : error_note(section, r, NOTE_SLOT_BUSY, (uint64_t)slot, 0);
    case -ENOENT:
        return error_note(section, r, NOTE_SLOT_FREE, (uint64_t)slot, 0);
    case -EMSGSIZE:
        return error_note(section, r, NOTE_TOO_LARGE, bytes, section->slots.size);
    case -ENOSPC:
        return error_set(section->segment->error, r,
                         "section '%s': all of its %u slots are in use; release some, or raise "
                         "its count in the table",
                         section->name, section->slots.count);
    case -EBADMSG:
        return error_set(section->segment->error, r,
                         "section '%s': somebody wrote over slot %d's owner; grab it again",
                         section->name, slot);
    case -ESTALE:
        return error_set(section->segment->error, r,
                         "section '%s': slot %d was taken, or grabbed again, since it was offered",
                         section->name, slot);
    case -EINVAL:
        return error_set(section->segment->error, r,
                         "section '%s': that is no ticket; take one from shmc_slot_offer()",
                         section->name);
    case -EAGAIN:
        return error_set(section->segment->error, r,
                         "section '%s' is being taken to another place, by a manager who doesn't "
                         "come to an end with it; try again, or restart the manager",
                         section->name);
    default:
        return r;
    }
}

/* ---- holding */

static int ready_to_hold(shmc_section *section) {
    if (section_is_ours(section, SHMC_SLOTS) && section->holding != NULL) {
        left_pace(section);
        return 0;
    }
    int r = section_ready_to_write(section, SHMC_SLOTS);
    if (r == 0 && section->holding == NULL)
        r = holding_open(section);
    return r;
}

/* A manager takes the section to another place: it is looked up again, until it is there.  False:
 * that lasts too long. */
static bool wait_for_seal(uint64_t *until_ns) {
    const struct timespec pause = {.tv_nsec = PAUSE_NS};
    const uint64_t now = clock_mono_ns();
    if (*until_ns == 0)
        *until_ns = now + SEALED_NS;
    if (now >= *until_ns)
        return false;
    nanosleep(&pause, NULL);
    return true;
}

/* Something that changes hands.  What it gives for the slot; by: who is in the way. */
struct change {
    int slot;
    uint32_t flags;
    uint64_t ticket;
    struct attachment by;
};
typedef int change_fn(const struct slots *slots, struct slots_holder *holder,
                      struct change *change);

static int change_hands(shmc_section *section, struct change *change, change_fn *how) {
    uint64_t until_ns = 0;
    int r;
    do {
        change->by = (struct attachment){0};
        r = ready_to_hold(section);
        if (r == 0)
            r = check_slot(section, change->slot);
        if (r < 0)
            return r;
        r = how(&section->slots, &section->holding->holder, change);
    } while (r == -EAGAIN && wait_for_seal(&until_ns));
    return r < 0 ? explain(section, change->slot, r, change->by, 0) : r;
}

static int grab(const struct slots *slots, struct slots_holder *holder, struct change *change) {
    return slots_grab(slots, holder, change->flags);
}

static int fgrab(const struct slots *slots, struct slots_holder *holder, struct change *change) {
    return slots_fgrab(slots, holder, (uint32_t)change->slot, change->flags, &change->by);
}

static int release(const struct slots *slots, struct slots_holder *holder, struct change *change) {
    return slots_release(slots, holder, (uint32_t)change->slot, &change->by);
}

static int offer(const struct slots *slots, struct slots_holder *holder, struct change *change) {
    return slots_offer(slots, holder, (uint32_t)change->slot, &change->ticket);
}

static int take(const struct slots *slots, struct slots_holder *holder, struct change *change) {
    return slots_take(slots, holder, (uint32_t)change->slot, change->ticket);
}

int shmc_slot_grab(shmc_section *section, unsigned flags) {
    struct change change = {.flags = flags};
    int r = check_flags(section, flags);
    return r < 0 ? r : change_hands(section, &change, grab);
}

int shmc_slot_fgrab(shmc_section *section, int slot, unsigned flags) {
    struct change change = {.slot = slot, .flags = flags};
    int r = check_flags(section, flags);
    return r < 0 ? r : change_hands(section, &change, fgrab);
}

int shmc_slot_release(shmc_section *section, int slot) {
    struct change change = {.slot = slot};
    return change_hands(section, &change, release);
}

int shmc_slot_offer(shmc_section *section, int slot, uint64_t *ticket) {
    struct change change = {.slot = slot};
    int r = change_hands(section, &change, offer);
    if (r == 0)
        *ticket = change.ticket;
    return r;
}

int shmc_slot_take(shmc_section *section, int slot, uint64_t ticket) {
    struct change change = {.slot = slot, .ticket = ticket};
    return change_hands(section, &change, take);
}

/* ---- putting */

/* As with Apache, a put to a slot that nobody holds makes it ours, unless slots are to be grabbed
 * first. */
static int grab_to_put(const struct slots *slots, struct slots_holder *holder,
                       struct change *change) {
    struct slot_look look;
    slots_look(slots, (uint32_t)change->slot, &look);
    const bool pregrab = (slots->flags & SHM_SECTION_PREGRAB) != 0;
    if (look.in_use && (slots->flags & SHM_SECTION_SHARED) != 0)
        return 0;
    return pregrab && !look.in_use ? -ENOENT : fgrab(slots, holder, change);
}

static int put(shmc_section *section, int slot, const void *data, size_t bytes) {
    struct change change = {.slot = slot};
    int r = -ENOENT;
    if ((section->slots.flags & SHM_SECTION_SHARED) == 0)
        r = slots_put(&section->slots, &section->holding->holder, (uint32_t)slot, data, bytes);
    if (r == -ENOENT) {
        r = change_hands(section, &change, grab_to_put);
        if (r < 0)
            return r;
        r = slots_put(&section->slots, &section->holding->holder, (uint32_t)slot, data, bytes);
    }
    return r < 0 ? explain(section, slot, r, (struct attachment){0}, bytes) : 0;
}

/* As in shmc_publish(): did the segment get a successor meanwhile, which may not have it? */
static inline bool came_late(const shmc_section *section) {
    if (section->holding->ordered)
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
    else
        shared_fence_full();
    return __builtin_expect(directory_replaced(&section->mapping->directory), false);
}

int shmc_slot_put(shmc_section *section, int slot, const void *data, size_t bytes) {
    int r;
    do {
        r = ready_to_hold(section);
        if (r == 0)
            r = check_slot(section, slot);
        if (r == 0)
            r = put(section, slot, data, bytes);
    } while (r == 0 && came_late(section));
    return r;
}

static int check_shared(const shmc_section *section) {
    return (section->slots.flags & SHM_SECTION_SHARED) != 0
               ? 0
               : error_set(section->segment->error, -EPROTOTYPE,
                           "section '%s' is of whole values: use shmc_slot_get() and "
                           "shmc_slot_put(), or make it shared in the table",
                           section->name);
}

int shmc_slot_ptr(shmc_section *section, int slot, void **ptr, size_t *bytes) {
    int r = ready_to_hold(section);
    if (r == 0)
        r = check_slot(section, slot);
    if (r == 0)
        r = check_shared(section);
    if (r < 0)
        return r;
    mapping_lend(section, &section->lent);
    *ptr = slots_shared_data(&section->slots, (uint32_t)slot);
    *bytes = section->slots.size;
    return 0;
}

int shmc_slot_inherit(shmc_section *section) {
    shmc *segment = section->segment;
    int r;
    do {
        r = ready_to_hold(section);
        if (r == 0)
            r = check_shared(section);
        if (r < 0)
            return r;
        if (lock_take(&segment->lock) < 0)
            return error_note(section, -EBUSY, NOTE_BUSY, 0, 0);
        r = mapping_inherit(segment, section);
        lock_release(&segment->lock);
    } while (r == -EAGAIN); /* the segment was replaced meanwhile */
    return r == 0 ? 0
                  : error_set(segment->error, r, "section '%s' can't be inherited: %s",
                              section->name, strerror(-r));
}

/* ---- getting */

static uint64_t age_of(const struct slot_look *look) {
    const struct snapshot_value value = {.mono_ns = look->mono_ns, .real_ns = look->real_ns};
    return look->has_data ? snapshot_age(&value) : UINT64_MAX;
}

/* Who holds it, by the manager's record. */
static void fill_holder(const shmc_section *section, const struct slot_look *look,
                        struct shmc_slot *ret) {
    const struct directory *directory = &section->mapping->directory;
    struct shm_attachment record;
    struct shm_worker worker;
    if (look->holder.index == 0 ||
        directory_attachment(directory, look->holder.index, &record) < 0 ||
        (uint32_t)(record.word >> 8) != look->holder.epoch)
        return;
    ret->pid = (pid_t)record.pid;
    if (record.worker != SHM_NONE && directory_worker(directory, record.worker, &worker) == 0)
        memcpy(ret->worker, worker.name, sizeof ret->worker);
}

static void fill(const shmc_section *section, int slot, const struct slot_look *look,
                 struct shmc_slot *ret) {
    *ret = (struct shmc_slot){
        .slot = slot,
        .in_use = look->in_use,
        .held = look->holder.index != 0,
        .offered = look->offered,
        .stays = look->stays,
        .has_data = look->has_data,
        .pid = (pid_t)look->pid,
        .grabs = look->grabs,
        .since_real_ns = look->since_real_ns,
        .version = look->version,
        .length = look->length,
        .real_ns = look->real_ns,
        .age_ns = age_of(look),
    };
    fill_holder(section, look, ret);
}

static ssize_t not_got(shmc_section *section, int slot, ssize_t n, const struct slot_look *look,
                       size_t bytes) {
    switch (n) {
    case -ENODATA:
        return error_note(section, -ENODATA, NOTE_SLOT_NO_DATA, (uint64_t)slot, 0);
    case -ENOENT:
        return error_note(section, -ENOENT, NOTE_SLOT_FREE, (uint64_t)slot, 0);
    case -EMSGSIZE:
        return error_note(section, -EMSGSIZE, NOTE_BUFFER_SMALL, look->length, bytes);
    case -EAGAIN:
        return error_note(section, -EAGAIN, NOTE_SLOT_LAPPED, (uint64_t)slot, SLOTS_LAPS_MAX);
    case -EBADMSG:
        return error_set(section->segment->error, -EBADMSG,
                         "section '%s': slot %d is damaged; its holder's next value mends it",
                         section->name, slot);
    default:
        return n;
    }
}

ssize_t shmc_slot_get(shmc_section *section, int slot, void *buffer, size_t bytes,
                      struct shmc_slot *info) {
    if (info != NULL)
        *info = (struct shmc_slot){.slot = slot, .age_ns = UINT64_MAX};
    for (int try = 0; try < TRIES; try++) {
        struct slot_look look;
        int r = section_ready(section, SHMC_SLOTS);
        if (r == 0)
            r = check_slot(section, slot);
        if (r < 0)
            return r;
        const ssize_t n = slots_get(&section->slots, (uint32_t)slot, buffer, bytes, &look);
        shared_fence_acquire(); /* all was read before the generation is looked at */
        if (!section_settled(section))
            continue;
        if (info != NULL)
            fill(section, slot, &look, info);
        return n < 0 ? not_got(section, slot, n, &look, bytes) : n;
    }
    return error_note(section, -EAGAIN, NOTE_SLOT_LAPPED, (uint64_t)slot, TRIES);
}

/* ---- all of them */

static int look_at(shmc_section *section, int slot, struct shmc_slot *ret) {
    struct slot_look look;
    for (;;) {
        int r = section_ready(section, SHMC_SLOTS);
        if (r < 0)
            return r;
        if ((uint32_t)slot >= section->slots.count)
            return -ERANGE;
        slots_look(&section->slots, (uint32_t)slot, &look);
        shared_fence_acquire(); /* as in shmc_slot_get() */
        if (section_settled(section))
            break;
    }
    fill(section, slot, &look, ret);
    return 0;
}

int shmc_slot_each(shmc_section *section, unsigned flags, shmc_slot_callback *callback,
                   void *argument) {
    struct shmc_slot found;
    if ((flags & ~SHMC_SLOT_IN_USE) != 0)
        return error_set(section->segment->error, -EINVAL,
                         "section '%s': the flags are 0x%x; known is SHMC_SLOT_IN_USE",
                         section->name, flags);
    for (int slot = 0;; slot++) {
        int r = look_at(section, slot, &found);
        if (r < 0)
            return r == -ERANGE ? 0 : r;
        if ((flags & SHMC_SLOT_IN_USE) != 0 && !found.in_use)
            continue;
        r = callback(section, &found, argument);
        if (r != 0)
            return r;
    }
}

int shmc_num_slots(shmc_section *section) {
    int r = section_ready(section, SHMC_SLOTS);
    return r < 0 ? r : (int)section->slots.count;
}

int shmc_num_free(shmc_section *section) {
    uint32_t n;
    do {
        int r = section_ready(section, SHMC_SLOTS);
        if (r < 0)
            return r;
        n = slots_free(&section->slots);
        shared_fence_acquire(); /* as in shmc_slot_get() */
    } while (!section_settled(section));
    return (int)n;
}

ssize_t shmc_slot_size(shmc_section *section) {
    int r = section_ready(section, SHMC_SLOTS);
    return r < 0 ? r : (ssize_t)section->slots.size;
}
