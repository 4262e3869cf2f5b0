/* SPDX-License-Identifier: Apache-2.0
 *
 * A snapshot section's constants: written once by the manager, copied and checked by everybody
 * else.  The writer, the readers and the waiters have files of their own.
 */
#include "snapshot.h"

#include "crc32c.h"
#include "futex.h"
#include "snapshot_parts.h"

#include <errno.h>

/* Flags that the control line repeats for those who read it without the directory. */
#define CONTROL_FLAGS (SHM_SECTION_STAMP_COARSE | SHM_SECTION_STAMP_NONE | SHM_SECTION_SHARED)

void snapshot_format(void *memory, const struct shm_section *section) {
    const uint64_t space = section->bytes - sizeof(struct shm_snapshot);
    struct shm_control control = {
        .magic = SHM_CONTROL_SNAPSHOT,
        .abi = SHM_ABI,
        .count = section->count,
        .bell_index = section->bell_index,
        .section_id = section->section_id,
        .incarnation = section->incarnation,
        /* All the space that was reserved: what a buffer has beyond `size` is room to grow. */
        .stride = space / section->count / SHM_LINE * SHM_LINE,
        .buf_off = sizeof(struct shm_snapshot),
        .flags = section->flags & CONTROL_FLAGS,
    };
    control.crc = CRC32C_OF(&control);
    shared_copy_to(memory, &control, sizeof control);
}

/* The field that is wrong, or NULL.  The flags are not compared: the table may change them in
 * place, and then the descriptor's hold. */
static const char *control_damage(const struct shm_control *control,
                                  const struct shm_section *section) {
    if (control->magic != SHM_CONTROL_SNAPSHOT)
        return "control.magic";
    if (control->crc != CRC32C_OF(control))
        return "control.crc";
    if (control->abi != SHM_ABI)
        return "control.abi";
    if (control->count < SHM_COUNT_MIN || control->count > SHM_COUNT_MAX ||
        control->count != section->count)
        return "control.count";
    if (control->bell_index != section->bell_index)
        return "control.bell_index";
    if (control->section_id != section->section_id)
        return "control.section_id";
    if (control->incarnation != section->incarnation)
        return "control.incarnation";
    if (control->buf_off % SHM_LINE != 0 || control->buf_off < sizeof(struct shm_snapshot) ||
        control->buf_off > section->bytes)
        return "control.buf_off";
    if (control->stride % SHM_LINE != 0 || control->stride < SHM_LINE ||
        control->stride > (section->bytes - control->buf_off) / control->count)
        return "control.stride";
    if (section->size > control->stride - SHM_LINE)
        return "size";
    return NULL;
}

int snapshot_bind(struct snapshot *ret, void *memory, const struct shm_section *section,
                  struct shm_bell *bell, const char **field) {
    struct shm_control control;
    shared_copy_from(&control, memory, sizeof control);
    const char *damage = control_damage(&control, section);
    if (damage != NULL) {
        *field = damage;
        return -EBADMSG;
    }
    *ret = (struct snapshot){
        .shared = memory,
        .buffers = (uint8_t *)memory + control.buf_off,
        .bell = bell,
        .stride = control.stride,
        .room = control.stride - SHM_LINE,
        .size = section->size,
        .section_id = control.section_id,
        .incarnation = control.incarnation,
        .count = control.count,
        .flags = section->flags,
    };
    return 0;
}

uint64_t snapshot_version(const struct snapshot *snapshot) {
    /* Acquire pairs with the writer's store of the head: who sees the version sees its value. */
    return head_version(shared_load_acquire64(&place_of(snapshot)->shared->head));
}

bool snapshot_left(const struct snapshot *before) {
    /* Acquire pairs with the writer's last store there, behind its head in the next place: a
     * directory without the place before shows that head to all. */
    return (ACQUIRE64(LEFT_RELAXED, &before->shared->head) & SHM_HEAD_MOVED) != 0;
}

int snapshot_leave(struct shm_snapshot *place) {
    const uint64_t head = shared_load_relaxed64(&place->head); /* we are its writer */
    /* Release pairs with snapshot_left(), and with a sleeper's load of this head before it sleeps
     * on it: who finds it marked finds what came instead. */
    if (!MUTANT(LEFT_UNMARKED))
        RELEASE64(MOVED_RELAXED, &place->head, head | SHM_HEAD_MOVED);
    return MUTANT(LEFT_UNWOKEN) ? 0 : futex_wake((const uint32_t *)&place->head);
}
