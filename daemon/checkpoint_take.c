/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading a value out of a section whose owner may write it at this moment, or mean harm: into
 * private memory, in bounded time.
 */
#include "checkpoint.h"
#include "core/crc32c.h"
#include "core/futex.h"
#include "core/shared.h"
#include "core/slots.h"
#include "manager.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TAKE_LAPS 64u                /* as often as a lapped reader may ask to be spared */
#define TAKE_NS   UINT64_C(50000000) /* the event loop waits meanwhile */
#define RAW_TRIES 3u
#define PIECE     ((size_t)16384)

bool checkpoint_wants(const struct shm_section *section) {
    return layout_place_in_force(section->state) && (section->flags & SHM_SECTION_PERSIST) != 0 &&
           section->kind != SHM_KIND_QUEUE;
}

void checkpoint_value_clear(struct checkpoint_value *value) {
    free(value->data);
    *value = (struct checkpoint_value){0};
}

static struct saved_value about(const struct checkpoint *c, const struct shm_section *section) {
    struct saved_value v = {.section_id = section->section_id,
                            .incarnation = section->incarnation,
                            .kind = section->kind};
    memcpy(v.name, section->name, strnlen(section->name, sizeof v.name - 1));
    memcpy(v.format, section->format, strnlen(section->format, sizeof v.format - 1));
    memcpy(v.boot_id, c->boot_id, sizeof v.boot_id);
    return v;
}

/* ---- snapshot */

/* 1: it was copied; -EAGAIN: the writer took that buffer meanwhile. */
static int copy_newest(struct snapshot_reader *reader, const struct checkpoint_mark *mark,
                       struct checkpoint_value *ret) {
    struct snapshot_value value;
    const void *data;
    int r = snapshot_view(reader, &data, &value);
    if (r == -ENODATA || (r == 0 && mark->known && mark->version == value.version))
        return 0;
    if (r < 0)
        return r;
    if (value.length > reader->snapshot->size && !value.before)
        return -EBADMSG;
    uint8_t *copy = realloc(ret->data, value.length + 1);
    if (copy == NULL)
        return -ENOMEM;
    ret->data = copy;
    shared_copy_from(copy, data, value.length);
    if (!snapshot_valid(reader, &value))
        return -EAGAIN;
    ret->about.version = value.version;
    ret->about.bytes = value.length;
    ret->about.mono_ns = value.mono_ns;
    ret->about.real_ns = value.real_ns;
    return 1;
}

static int take_snapshot(const struct manager *m, const struct shm_section *section,
                         const struct checkpoint_mark *mark, struct checkpoint_value *ret) {
    struct segment_place place;
    struct snapshot_reader reader;
    int r = segment_place(&m->segment, &m->layout, section, &place);
    if (r < 0)
        return r;
    place.now.bell = (struct shm_bell *)(void *)m->segment.bells + 1 + section->bell_index;
    snapshot_reader_init(&reader, &place.now);
    const uint64_t end_ns = clock_mono_ns() + TAKE_NS;
    unsigned laps = 0;
    do
        r = copy_newest(&reader, mark, ret);
    while (r == -EAGAIN && ++laps < TAKE_LAPS && clock_mono_ns() < end_ns);
    return r;
}

/* ---- raw */

/* Goes through memory that may change, a private piece at a time: its sum, and whether it is all
 * zeros, or (`copy` not NULL) the same as that. */
static uint32_t look_at(const uint8_t *memory, uint64_t bytes, const uint8_t *copy, bool *same) {
    static const uint8_t zeros[PIECE];
    uint8_t piece[PIECE];
    uint32_t crc = 0;
    *same = true;
    for (uint64_t at = 0; at < bytes; at += sizeof piece) {
        const size_t n = bytes - at < sizeof piece ? bytes - at : sizeof piece;
        shared_copy_from(piece, memory + at, n);
        crc = crc32c_more(crc, piece, n);
        *same = *same && memcmp(piece, copy == NULL ? zeros : copy + at, n) == 0;
    }
    return crc;
}

/* Raw bytes have no whole values.  While somebody may be writing, two copies that agree are asked
 * for, and after some tries it is as it is. */
static int take_raw(struct manager *m, const struct shm_section *section,
                    const struct checkpoint_mark *mark, struct checkpoint_value *ret) {
    const uint8_t *memory = (const uint8_t *)m->segment.base + section->ctl_off;
    bool same;
    const uint32_t crc = look_at(memory, section->size, NULL, &same);
    if (mark->known ? crc == mark->data_crc : same) /* zeros: nobody has written there yet */
        return 0;
    ret->data = malloc(section->size + 1);
    if (ret->data == NULL)
        return -ENOMEM;
    const bool shared = (section->flags & SHM_SECTION_SHARED) != 0;
    const bool held = shared || leases_peek(m, section->owner_index) != NULL;
    unsigned tries = 0;
    do {
        shared_copy_from(ret->data, memory, section->size);
        if (held)
            look_at(memory, section->size, ret->data, &same);
    } while (held && !same && ++tries < RAW_TRIES);
    ret->about.bytes = section->size;
    ret->about.real_ns = clock_real_ns();
    return 1;
}

/* ---- slots */

int checkpoint_slots(const struct segment *s, const struct shm_section *section, struct slots *ret,
                     const char **field) {
    static const struct attachments nobody;
    return slots_bind(ret, (uint8_t *)s->base + section->ctl_off, section, &nobody, field);
}

/* Each slot's value is whole; all of them are not of one moment, as they have not one writer. */
static int take_slots(const struct manager *m, const struct shm_section *section,
                      const struct checkpoint_mark *mark, struct checkpoint_value *ret) {
    struct slots slots;
    const char *field;
    int r = checkpoint_slots(&m->segment, section, &slots, &field);
    if (r < 0)
        return r;
    ret->data = malloc(slots_image_room(&slots));
    if (ret->data == NULL)
        return -ENOMEM;
    const ssize_t n = slots_image_take(&slots, ret->data);
    if (n < 0)
        return (int)n;
    if (mark->known ? crc32c(ret->data, (size_t)n) == mark->data_crc : n == SLOTS_IMAGE_EMPTY)
        return 0;
    ret->about.bytes = (uint64_t)n;
    ret->about.real_ns = clock_real_ns();
    return 1;
}

static int take(struct manager *m, const struct shm_section *section,
                const struct checkpoint_mark *mark, struct checkpoint_value *ret) {
    switch (section->kind) {
    case SHM_KIND_RAW:
        return take_raw(m, section, mark, ret);
    case SHM_KIND_SLOTS:
        return take_slots(m, section, mark, ret);
    default:
        return take_snapshot(m, section, mark, ret);
    }
}

int checkpoint_take(struct manager *m, const struct shm_section *section,
                    const struct checkpoint_mark *mark, struct checkpoint_value *ret) {
    *ret = (struct checkpoint_value){.about = about(&m->checkpoint, section)};
    int r = take(m, section, mark, ret);
    if (r == 1)
        ret->about.data_crc = crc32c(ret->data, ret->about.bytes);
    else
        checkpoint_value_clear(ret);
    return r;
}
