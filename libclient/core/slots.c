/* SPDX-License-Identifier: Apache-2.0
 *
 * A slots section's constants, and looking at all of its slots.  Holding, putting and getting have
 * files of their own.
 */
#include "slots.h"

#include "geometry.h"
#include "slots_parts.h"

#include <errno.h>

int slots_bind(struct slots *ret, void *memory, const struct shm_section *section,
               const struct attachments *attachments, const char **field) {
    struct slots_geometry g;
    const bool shared = (section->flags & SHM_SECTION_SHARED) != 0;
    *field = "size";
    if (!slots_geometry(&g, section->size, section->count, shared))
        return -EBADMSG;
    *field = "section.bytes";
    if (g.bytes > section->offset + section->bytes - section->ctl_off)
        return -EBADMSG;
    *field = geometry_damage(memory, section);
    if (*field != NULL)
        return -EBADMSG;
    *ret = (struct slots){
        .items = (uint8_t *)memory + sizeof(struct shm_control),
        .stride = g.stride,
        .buffer_bytes = g.buffer_bytes,
        .size = section->size,
        .section_id = section->section_id,
        .incarnation = section->incarnation,
        .count = section->count,
        .flags = section->flags,
        .attachments = *attachments,
    };
    return 0;
}

uint32_t slots_free(const struct slots *slots) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < slots->count; i++)
        n += owner_gone(&slots->attachments, slot_owner(slot_at(slots, i)));
    return n;
}

void *slots_shared_data(const struct slots *slots, uint32_t index) {
    return slot_at(slots, index) + 1;
}
