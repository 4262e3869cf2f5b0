/* SPDX-License-Identifier: Apache-2.0
 *
 * The manager's part: slots that go to another place, or come back from a checkpoint.
 */
#include "slots_parts.h"

#include <errno.h>

/* ---- sealing */

void slots_unseal(const struct slots *slots) {
    for (uint32_t i = 0; i < slots->count; i++) {
        struct shm_slot *slot = slot_at(slots, i);
        uint64_t word = slot_owner(slot);
        while (owner_state(word) == SHM_OWNER_SEALED) {
            const bool stays = (word & SHM_OWNER_STAYS) != 0;
            const uint64_t to = owner_word((struct attachment){0},
                                           stays ? SHM_OWNER_HELD : SHM_OWNER_FREE, (uint8_t)word);
            if (shared_compare_exchange64(&slot->owner, &word, to))
                break;
        }
    }
}

int slots_seal(const struct slots *slots, struct attachment *by) {
    *by = (struct attachment){0};
    for (uint32_t i = 0; i < slots->count; i++) {
        struct shm_slot *slot = slot_at(slots, i);
        uint64_t word = slot_owner(slot);
        while (owner_state(word) != SHM_OWNER_SEALED) {
            if (slot_holder_lives(&slots->attachments, word)) {
                *by = owner_of(word);
                slots_unseal(slots);
                return -EBUSY;
            }
            /* Full: what was put comes before all that is read behind it. */
            if (shared_compare_exchange64(
                    &slot->owner, &word,
                    owner_word((struct attachment){0}, SHM_OWNER_SEALED, (uint8_t)word)))
                break;
        }
    }
    return 0;
}

/* ---- putting back */

/* The directory's flip, which makes the section visible, orders these before any reader. */
void slots_restore(const struct slots *slots, uint32_t index, const struct slot_look *look,
                   const void *data) {
    struct shm_slot *slot = slot_at(slots, index);
    if (look->has_data && slots_shared(slots)) {
        shared_copy_to(slots_shared_data(slots, index), data, look->length);
    } else if (look->has_data) {
        struct shm_slot_buffer *buffer = slot_buffer(slots, slot, 0);
        shared_copy_to(slot_data(buffer), data, look->length);
        shared_store_relaxed32(&buffer->len, (uint32_t)look->length);
        shared_store_relaxed64(&buffer->mono_ns, look->mono_ns);
        shared_store_relaxed64(&buffer->real_ns, look->real_ns);
        shared_store_relaxed64(&buffer->seq, 2 * look->version);
        shared_store_relaxed64(&slot->head, look->version << 1);
    }
    shared_store_relaxed64(&slot->grabs, look->grabs);
    shared_store_relaxed64(&slot->real_ns, look->since_real_ns);
    shared_store_relaxed32(&slot->pid, look->pid);
    if (look->stays)
        shared_store_release64(
            &slot->owner, owner_word((struct attachment){0}, SHM_OWNER_HELD, (uint8_t)look->word));
}

/* ---- images */

#define IMAGE_MAGIC UINT64_C(0x31544f4c534d4853) /* the bytes "SHMSLOT1" */

/* Then come as many slots, the index rising, each with its bytes, up to a multiple of 8. */
struct image {
    uint64_t magic;
    uint32_t slots_n;
    uint32_t shared;
};
_Static_assert(sizeof(struct image) == SLOTS_IMAGE_EMPTY, "an image of nothing is its head");
struct image_slot {
    uint32_t index;
    uint32_t flags; /* SHM_OWNER_STAYS, SHM_OWNER_EMPTY */
    uint64_t version, length, mono_ns, real_ns, grabs, since_real_ns;
    uint32_t pid;
    uint32_t has_data;
};

static size_t padded(uint64_t bytes) {
    return (bytes + 7) & ~(uint64_t)7;
}

size_t slots_image_room(const struct slots *slots) {
    return sizeof(struct image) + slots->count * (sizeof(struct image_slot) + padded(slots->size));
}

static bool all_zero(const uint8_t *data, size_t bytes) {
    return bytes == 0 || (data[0] == 0 && memcmp(data, data + 1, bytes - 1) == 0);
}

/* One slot; its bytes of the image, 0: nothing to keep. */
static ssize_t take_slot(const struct slots *slots, uint32_t index, uint8_t *to) {
    struct slot_look look;
    uint8_t *data = to + sizeof(struct image_slot);
    const ssize_t n = slots_get(slots, index, data, slots->size, &look);
    if (n == -EAGAIN)
        return n;
    const bool has_data = n >= 0 && !(slots_shared(slots) && all_zero(data, (size_t)n));
    if (!has_data && !look.stays)
        return 0;
    const struct image_slot head = {
        .index = index,
        .flags = look.stays ? (uint32_t)look.word & (SHM_OWNER_STAYS | SHM_OWNER_EMPTY) : 0,
        .version = has_data ? look.version : 0,
        .length = has_data ? look.length : 0,
        .mono_ns = has_data ? look.mono_ns : 0,
        .real_ns = has_data ? look.real_ns : 0,
        .grabs = look.grabs,
        .since_real_ns = look.since_real_ns,
        .pid = look.pid,
        .has_data = has_data,
    };
    memcpy(to, &head, sizeof head);
    memset(data + head.length, 0, padded(head.length) - head.length);
    return (ssize_t)(sizeof head + padded(head.length));
}

ssize_t slots_image_take(const struct slots *slots, void *to) {
    struct image image = {.magic = IMAGE_MAGIC, .shared = slots_shared(slots)};
    size_t at = sizeof image;
    for (uint32_t i = 0; i < slots->count; i++) {
        const ssize_t n = take_slot(slots, i, (uint8_t *)to + at);
        if (n < 0)
            return n;
        image.slots_n += n > 0;
        at += (size_t)n;
    }
    memcpy(to, &image, sizeof image);
    return (ssize_t)at;
}

/* The next slot of an image, copied; its bytes, or 0: it is wrong. */
static size_t next_slot(const struct slots *slots, const uint8_t *at, size_t left, uint64_t least,
                        struct image_slot *ret) {
    if (left < sizeof *ret)
        return 0;
    memcpy(ret, at, sizeof *ret);
    const bool right = ret->index >= least && ret->index < slots->count &&
                       ret->length <= slots->size && padded(ret->length) <= left - sizeof *ret &&
                       ret->version <= SHM_VERSION_MAX && ret->has_data <= 1 &&
                       (ret->flags & ~(SHM_OWNER_STAYS | SHM_OWNER_EMPTY)) == 0 &&
                       (slots_shared(slots) || !ret->has_data || ret->version > 0);
    return right ? sizeof *ret + padded(ret->length) : 0;
}

static void put_slot(const struct slots *slots, const struct image_slot *from, const void *data,
                     bool reboot) {
    const struct slot_look look = {
        .word = from->flags,
        .grabs = from->grabs,
        .since_real_ns = from->since_real_ns,
        .pid = from->pid,
        .stays =
            (from->flags & SHM_OWNER_STAYS) != 0 && (slots->flags & SHM_SECTION_CLEAR_RESTART) == 0,
        .has_data = from->has_data != 0,
        .version = from->version,
        .length = from->length,
        .mono_ns = reboot && from->mono_ns != 0 ? SHM_MONO_EARLIER_BOOT : from->mono_ns,
        .real_ns = from->real_ns,
    };
    slots_restore(slots, from->index, &look, data);
}

/* Goes through it once to check it, and once more to put it. */
static bool each_slot(const struct slots *slots, const uint8_t *image, size_t bytes, uint32_t n,
                      bool put, bool reboot) {
    struct image_slot slot;
    size_t at = sizeof(struct image);
    uint64_t least = 0;
    for (; n > 0; n--) {
        const size_t step = next_slot(slots, image + at, bytes - at, least, &slot);
        if (step == 0)
            return false;
        if (put)
            put_slot(slots, &slot, image + at + sizeof slot, reboot);
        at += step;
        least = slot.index + UINT64_C(1);
    }
    return at == bytes;
}

int slots_image_put(const struct slots *slots, const void *image, size_t bytes, bool reboot) {
    struct image head;
    if (bytes < sizeof head)
        return -EBADMSG;
    memcpy(&head, image, sizeof head);
    if (head.magic != IMAGE_MAGIC || head.shared != slots_shared(slots) ||
        !each_slot(slots, image, bytes, head.slots_n, false, reboot))
        return -EBADMSG;
    each_slot(slots, image, bytes, head.slots_n, true, reboot);
    return 0;
}
