/* SPDX-License-Identifier: Apache-2.0
 *
 * Sealing, carrying and unsealing.  Who takes a message is named by an attachment; while a queue is
 * carried the manager has one for itself, which no lease stands behind: the next manager ends it as
 * it does all such, and what it had taken is there again.
 */
#include "carry.h"
#include "core/lease.h"
#include "core/queue.h"
#include "core/shared.h"
#include "core/slots.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* As the manager itself wrote them, whatever became of them in the memory. */
static struct attachments attachments_of(const struct segment *s) {
    const struct shm_header *header = image_header(&s->image);
    return (struct attachments){
        .at = (const struct shm_attachment *)(const void *)(s->image.shadow +
                                                            header->attachments_off),
        .capacity = header->attachments_capacity,
    };
}

static bool bind_slots(const struct segment *s, void *memory, const struct shm_section *section,
                       struct slots *ret) {
    const struct attachments attachments = attachments_of(s);
    const char *field;
    return slots_bind(ret, memory, section, &attachments, &field) == 0;
}

static bool bind_queue(const struct segment *s, void *memory, const struct shm_section *section,
                       struct queue *ret) {
    const struct attachments attachments = attachments_of(s);
    const char *field;
    return queue_bind(ret, memory, section, NULL, &attachments, &field) == 0;
}

static void *memory_of(const struct segment *s, const struct shm_section *section) {
    return (uint8_t *)s->base + section->ctl_off;
}

/* ---- what is there */

uint32_t carry_entered(const struct segment *s, const struct shm_section *section) {
    struct slots slots;
    struct queue queue;
    struct slot_look look;
    if (section->kind == SHM_KIND_QUEUE)
        return bind_queue(s, memory_of(s, section), section, &queue) ? queue_entered(&queue) : 0;
    if (section->kind != SHM_KIND_SLOTS || !bind_slots(s, memory_of(s, section), section, &slots))
        return 0;
    for (uint32_t i = 0; i < slots.count; i++) {
        slots_look(&slots, i, &look);
        if (look.holder.index != 0)
            return look.holder.index;
    }
    return 0;
}

uint64_t carry_messages(const struct segment *s, const struct shm_section *section) {
    struct queue queue;
    return section->kind == SHM_KIND_QUEUE && bind_queue(s, memory_of(s, section), section, &queue)
               ? queue_count(&queue)
               : 0;
}

uint64_t carry_longest(const struct segment *s, const struct shm_section *section, uint32_t count) {
    struct slots slots;
    struct slot_look look;
    uint64_t longest = 0;
    if (section->kind != SHM_KIND_SLOTS || (section->flags & SHM_SECTION_SHARED) != 0 ||
        !bind_slots(s, memory_of(s, section), section, &slots))
        return 0;
    for (uint32_t i = 0; i < slots.count && i < count; i++) {
        slots_look(&slots, i, &look);
        if (look.has_data && look.length > longest)
            longest = look.length;
    }
    return longest;
}

/* ---- the manager's own attachment */

/* From the end, where hardly ever anybody's is. */
static bool attach_self(struct segment *s) {
    const struct shm_header *header = image_header(&s->image);
    for (uint32_t i = header->attachments_capacity; s->carrier.index == 0 && --i > 0;) {
        const uint64_t word = image_get_attachment(&s->image, i).word;
        if (lease_word_state(word) != SHM_LEASE_FREE)
            continue;
        const uint64_t epoch = lease_word_epoch(word) + 1;
        const struct shm_attachment record = {.word = lease_word(epoch, SHM_LEASE_LEASED),
                                              .worker = SHM_NONE,
                                              .pid = (uint32_t)getpid(),
                                              .uid = geteuid()};
        image_attachment(&s->image, i, &record);
        s->carrier = (struct attachment){i, (uint32_t)epoch};
    }
    return s->carrier.index != 0;
}

static void detach_self(struct segment *s) {
    if (s->carrier.index == 0)
        return;
    const uint64_t word = image_get_attachment(&s->image, s->carrier.index).word;
    const struct shm_attachment record = {
        .word = lease_word(lease_word_epoch(word) + 1, SHM_LEASE_FREE), .worker = SHM_NONE};
    image_attachment(&s->image, s->carrier.index, &record);
    s->carrier = (struct attachment){0};
}

/* ---- carrying */

static int busy(const struct carry *c, const char *what, char *error, size_t bytes) {
    snprintf(error, bytes,
             "section '%s': it can't go to another place, as somebody has just %s (try again: "
             "shmtool reload)",
             c->section_to->name, what);
    return -EBUSY;
}

/* The free value of a slot is kept, too. */
static int carry_values(const struct slots *from, const struct slots *to) {
    struct slot_look look;
    void *value = malloc(from->size);
    if (value == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < from->count && i < to->count; i++) {
        const ssize_t n = slots_get(from, i, value, from->size, &look);
        look.has_data = n >= 0;
        look.length = n < 0 ? 0 : (uint64_t)n < to->size ? (uint64_t)n : to->size;
        if (look.has_data || look.stays)
            slots_restore(to, i, &look, value);
    }
    free(value);
    return 0;
}

static int carry_slots(const struct carry *c, char *error, size_t bytes) {
    struct slots from, to;
    struct attachment by;
    if (!bind_slots(c->from, c->memory_from, c->section_from, &from) ||
        !bind_slots(c->to, c->memory_to, c->section_to, &to))
        return 0; /* of a damaged one nothing can be brought along */
    if (!c->force && slots_seal(&from, &by) < 0)
        return busy(c, "grabbed a slot", error, bytes);
    if (c->whole) {
        shared_copy_to(to.items, from.items, from.count * from.stride);
        slots_unseal(&to);
        return 0;
    }
    int r = carry_values(&from, &to);
    if (r < 0)
        snprintf(error, bytes, "out of memory");
    return r;
}

static int carry_queue(const struct carry *c, char *error, size_t bytes) {
    struct queue from, to;
    struct attachment by;
    if (c->force || !bind_queue(c->from, c->memory_from, c->section_from, &from) ||
        !bind_queue(c->to, c->memory_to, c->section_to, &to))
        return 0;
    if (queue_seal(&from, &by) < 0)
        return busy(c, "begun to send", error, bytes);
    if (!c->whole)
        return queue_count(&from) == 0 ? 0 : busy(c, "sent something", error, bytes);
    if (!attach_self(c->from)) {
        snprintf(error, bytes,
                 "section '%s': it can't go to another place while all attachments are held (end "
                 "some of those processes: shmtool workers)",
                 c->section_to->name);
        return -EBUSY;
    }
    return queue_carry(&from, &to, c->from->carrier) < 0 ? busy(c, "received", error, bytes) : 0;
}

int carry_section(const struct carry *c, char *error, size_t bytes) {
    return c->section_to->kind == SHM_KIND_SLOTS ? carry_slots(c, error, bytes)
                                                 : carry_queue(c, error, bytes);
}

/* ---- what comes behind it */

void carry_undo(struct segment *s, const struct layout *layout) {
    for (uint32_t i = 0; i < layout->sections_used; i++) {
        const struct shm_section *section = &layout->sections[i];
        struct slots slots;
        struct queue queue;
        if (!layout_place_in_force(section->state))
            continue;
        if (section->kind == SHM_KIND_SLOTS &&
            bind_slots(s, memory_of(s, section), section, &slots))
            slots_unseal(&slots);
        else if (section->kind == SHM_KIND_QUEUE &&
                 bind_queue(s, memory_of(s, section), section, &queue))
            queue_unseal(&queue);
    }
    detach_self(s);
}

static void bury(struct segment *s, const struct layout *layout, bool all) {
    for (uint32_t i = 0; i < layout->sections_used; i++) {
        const struct shm_section *section = &layout->sections[i];
        struct queue queue;
        if (section->kind == SHM_KIND_QUEUE && section->state != SHM_PLACE_FREE &&
            (all || section->retired_gen == layout->generation) &&
            bind_queue(s, memory_of(s, section), section, &queue))
            queue_bury(&queue);
    }
    detach_self(s);
}

void carry_done(struct segment *s, const struct layout *layout) {
    bury(s, layout, false);
}

void carry_done_all(struct segment *s, const struct layout *layout) {
    bury(s, layout, true);
}
