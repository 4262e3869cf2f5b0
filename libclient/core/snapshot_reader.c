/* SPDX-License-Identifier: Apache-2.0
 *
 * The snapshot's reader.  It writes nothing but the hint, waits for nobody, and trusts nothing that
 * it reads.  A value counts when its buffer had exactly the sequence 2 * version before and after:
 * the usual test, "even and unchanged", lets a reader that was lapped return a value which wasn't
 * published yet, and which the writer's death then un-happens.
 */
#include "snapshot_parts.h"

#include <errno.h>

void snapshot_reader_init(struct snapshot_reader *ret, const struct snapshot *snapshot) {
    *ret = (struct snapshot_reader){.snapshot = snapshot};
}

/* Has the buffer kept that version until now?  The fence keeps the loads of the value before this
 * one of the sequence, and pairs with the writer's between an odd sequence and the value. */
static bool unchanged(struct shm_buffer *buffer, uint64_t version) {
    STEP(CHECK_UNFENCED, shared_fence_acquire());
    if (MUTANT(NO_SECOND_CHECK))
        return true;
    const uint64_t seq = shared_load_relaxed64(&buffer->seq);
    return MUTANT(ANY_EVEN) ? seq % 2 == 0 : seq == 2 * version;
}

/* Before anything that takes time. */
static void announce(const struct snapshot_reader *reader, uint32_t index, uint64_t version) {
    if (reader->hints > 0 && reader->snapshot->bell != NULL)
        shared_store_relaxed64(&reader->snapshot->bell->hint, version << 8 | index);
}

static void lapped(struct snapshot_reader *reader) {
    reader->laps++;
    reader->hints = SNAPSHOT_HINT_READS;
}

/* Copies `version` out of that buffer of a place, or only looks at it when `to` is NULL.  Its
 * length; or -EMSGSIZE; -ESTALE: the buffer hasn't got it, or not any more; -EBADMSG. */
static ssize_t copy_version(const struct snapshot *place, uint32_t index, uint64_t version,
                            void *to, size_t bytes, struct snapshot_value *ret) {
    struct shm_buffer *buffer = buffer_at(place, index);
    if (to != NULL)
        buffer_fetch(buffer, bytes < place->room ? bytes : place->room);
    /* Acquire pairs with the writer's store of the even sequence behind the value. */
    const uint64_t seq = shared_load_acquire64(&buffer->seq);
    if (MUTANT(ANY_EVEN) ? seq % 2 != 0 : seq != 2 * version)
        return -ESTALE;
    const struct snapshot_value found = {
        .version = version,
        .length = shared_load_relaxed64(&buffer->len),
        .mono_ns = shared_load_relaxed64(&buffer->mono_ns),
        .real_ns = shared_load_relaxed64(&buffer->real_ns),
        .epoch = shared_load_relaxed32(&buffer->epoch),
        .buffer = index,
    };
    const bool sane = found.length <= place->room;
    if (to != NULL && sane && found.length <= bytes)
        shared_copy_from(to, buffer_data(buffer), found.length);
    if (!unchanged(buffer, version))
        return -ESTALE;
    if (!sane)
        return -EBADMSG;
    *ret = found;
    return found.length <= bytes ? (ssize_t)found.length : -EMSGSIZE;
}

/* The newest value, copied or looked at. */
static ssize_t newest(struct snapshot_reader *reader, void *to, size_t bytes,
                      struct snapshot_value *ret) {
    uint64_t before = 0;
    bool moved = false;
    for (uint32_t lap = 0; lap < SNAPSHOT_LAPS_MAX; lap++) {
        const struct snapshot *place = place_of(reader->snapshot);
        /* Acquire pairs with the writer's store: the buffer's sequence is at least as new. */
        const uint64_t head = ACQUIRE64(NEWEST_RELAXED, &place->shared->head);
        *ret = (struct snapshot_value){.version = head_version(head), .buffer = head_buffer(head)};
        if (ret->version == 0)
            return -ENODATA;
        if (ret->buffer >= place->count)
            return -EBADMSG;
        announce(reader, ret->buffer, ret->version);
        const ssize_t n = copy_version(place, ret->buffer, ret->version, to, bytes, ret);
        if (n != -ESTALE) {
            ret->before = place != reader->snapshot;
            reader->hints -= reader->hints > 0;
            return n;
        }
        lapped(reader);
        moved = moved || (lap > 0 && head != before);
        before = head;
    }
    /* A buffer that isn't what a resting head says was not lapped: it is damaged. */
    return moved ? -EAGAIN : -EBADMSG;
}

ssize_t snapshot_read(struct snapshot_reader *reader, void *buffer, size_t bytes,
                      struct snapshot_value *value) {
    struct snapshot_value found;
    return newest(reader, buffer, bytes, value != NULL ? value : &found);
}

/* Which buffer has this version, SHM_NONE for none?  Mostly they are used in turn, so the search
 * starts where it would be then. */
static uint32_t find_version(const struct snapshot *snapshot, uint64_t head, uint64_t version) {
    const uint64_t behind = head_version(head) - version;
    const uint32_t count = snapshot->count;
    const uint32_t guess = (uint32_t)((head_buffer(head) + count - behind % count) % count);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t index = (guess + i) % count;
        if (shared_load_relaxed64(&buffer_at(snapshot, index)->seq) == 2 * version)
            return index;
    }
    return SHM_NONE;
}

/* Copies a version out of a place whose head has come so far. */
static ssize_t copy_found(struct snapshot_reader *reader, const struct snapshot *place,
                          uint64_t head, uint64_t version, void *to, size_t bytes,
                          struct snapshot_value *ret) {
    const uint32_t index = find_version(place, head, version);
    if (index == SHM_NONE)
        return -ESTALE;
    announce(reader, index, version);
    const ssize_t n = copy_version(place, index, version, to, bytes, ret);
    if (n == -ESTALE) {
        lapped(reader);
    } else {
        ret->before = place != reader->snapshot;
        reader->hints -= reader->hints > 0;
    }
    return n;
}

ssize_t snapshot_read_version(struct snapshot_reader *reader, uint64_t version, void *buffer,
                              size_t bytes, struct snapshot_value *value) {
    const struct snapshot *place = place_of(reader->snapshot);
    /* Acquire pairs with the writer's store, and so with all that a successor zeroed before it:
     * up to this head's version every sequence that is found was published. */
    uint64_t head = ACQUIRE64(FOLLOW_RELAXED, &place->shared->head);
    struct snapshot_value found = {.version = head_version(head), .buffer = head_buffer(head)};
    ssize_t n = version > found.version ? -ENODATA : -ESTALE;
    if (version == 0)
        n = -EINVAL;
    else if (found.buffer >= place->count)
        n = -EBADMSG;
    if (n == -ESTALE || MUTANT(FOLLOWS_AHEAD)) {
        const ssize_t r = copy_found(reader, place, head, version, buffer, bytes, &found);
        n = r == -ESTALE ? n : r;
    }
    if (n == -ESTALE && place->before != NULL && !MUTANT(FOLLOWS_NEW_ONLY)) {
        /* Published before the writer left that place, where nothing changes any more.  What stands
         * there beyond its head never was. */
        place = place->before;
        head = shared_load_acquire64(&place->shared->head);
        if (version <= head_version(head) || MUTANT(FOLLOWS_LEFT_AHEAD))
            n = copy_found(reader, place, head, version, buffer, bytes, &found);
    }
    if (value != NULL)
        *value = found;
    return n;
}

/* The place that a value was found in; NULL: it is gone. */
static const struct snapshot *viewed(const struct snapshot_reader *reader,
                                     const struct snapshot_value *value) {
    return value->before ? reader->snapshot->before : reader->snapshot;
}

int snapshot_view(struct snapshot_reader *reader, const void **data, struct snapshot_value *value) {
    const ssize_t n = newest(reader, NULL, SIZE_MAX, value);
    if (n < 0)
        return (int)n;
    *data = buffer_data(buffer_at(viewed(reader, value), value->buffer));
    return 0;
}

bool snapshot_valid(struct snapshot_reader *reader, const struct snapshot_value *value) {
    const struct snapshot *place = viewed(reader, value);
    const bool valid = value->version > 0 && place != NULL && value->buffer < place->count &&
                       unchanged(buffer_at(place, value->buffer), value->version);
    if (!valid)
        lapped(reader);
    return valid;
}
