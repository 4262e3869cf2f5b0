/* SPDX-License-Identifier: Apache-2.0
 *
 * The snapshot's writer.  What it must know (the next version, which buffer holds which) stands in
 * its own memory: from the lines that readers pull it loads nothing but the doorbell, which is the
 * difference between 5 and 75 ns for a small value.
 *
 * A publish is  sequence odd; value; sequence even; head.  The writer may be killed between any two
 * of its instructions: up to the head's store nobody looks at the buffer, and with it the value is
 * whole.  The rest (counters, the wake-up) is not needed for that.
 */
#include "barrier.h"
#include "busy.h"
#include "futex.h"
#include "snapshot_parts.h"
#include "stored.h"

#include <errno.h>

/* Buffers but the current one, the oldest value first, those without a value before all. */
static void queue_sort(struct snapshot_writer *writer) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < writer->snapshot->count; i++) {
        if (i == writer->current)
            continue;
        uint32_t at = n++;
        for (; at > 0 && writer->versions[writer->queue[at - 1]] > writer->versions[i]; at--)
            writer->queue[at] = writer->queue[at - 1];
        writer->queue[at] = (uint8_t)i;
    }
}

/* A value that the dead writer finished and didn't publish has a version that this one will use
 * again: a follower that then looks for it must not find the dead one's.  Stored before the first
 * publish's head, which pairs with the follower's load of it. */
static void forget_unpublished(struct snapshot_writer *writer, uint64_t newest, uint32_t holder) {
    for (uint32_t i = 0; i < writer->snapshot->count; i++) {
        struct shm_buffer *buffer = buffer_at(writer->snapshot, i);
        uint64_t seq = shared_load_relaxed64(&buffer->seq);
        if (seq > 2 * newest && i != holder && !MUTANT(NOT_ZEROED)) {
            shared_store_relaxed64(&buffer->seq, 0);
            seq = 0;
        }
        writer->versions[i] = i == holder ? newest : seq / 2;
    }
}

int snapshot_take_over(struct snapshot_writer *ret, struct snapshot *snapshot, uint64_t epoch) {
    const struct snapshot *place = place_of(snapshot);
    struct shm_snapshot *shared = place->shared;
    const uint64_t head = shared_load_acquire64(&shared->head);
    const uint64_t newest = MUTANT(COUNTS_ANEW) && place != snapshot ? 0 : head_version(head);
    /* What stands in the place before is no buffer of this one's. */
    const bool named = newest > 0 && place == snapshot && !MUTANT(FORGETS_CURRENT);
    if (!head_sane(head, place->count))
        return -EBADMSG;
    const bool left = snapshot->before != NULL && !MUTANT(MARKS_TWICE) &&
                      (snapshot_left(snapshot->before) || MUTANT(LEAVES_UNMARKED));
    *ret = (struct snapshot_writer){
        .snapshot = snapshot,
        .next = newest + !MUTANT(REUSES_VERSION),
        /* Before the first publish one buffer is as good as another; this one starts at 0. */
        .current = named ? head_buffer(head) : snapshot->count - 1,
        .open = SHM_NONE,
        /* Marked once: behind that, the space may be given to another section. */
        .left = snapshot->before == NULL || left ? NULL : snapshot->before->shared,
        .epoch = (uint32_t)epoch,
        .first = !MUTANT(SILENT_SUCCESSOR),
        .ordered = barrier_register(),
        .aborted = shared_load_relaxed64(&shared->aborted),
        .wakes = shared_load_relaxed64(&shared->wakes),
        .wake_errors = shared_load_relaxed64(&shared->wake_errors),
    };
    forget_unpublished(ret, newest, named ? ret->current : SHM_NONE);
    queue_sort(ret);
    shared_store_relaxed64(&snapshot->shared->epoch, epoch);
    /* A predecessor may have died between marking it and waking. */
    if (left && !MUTANT(LEAVES_ASLEEP))
        futex_wake((const uint32_t *)&snapshot->before->shared->head);
    return 0;
}

void snapshot_move(struct snapshot_writer *writer, struct snapshot *to) {
    if (writer->open != SHM_NONE && writer->begun == NULL) {
        writer->begun = buffer_data(buffer_at(writer->snapshot, writer->open));
        writer->begun_room = writer->snapshot->size;
    }
    writer->left = to->before->shared;
    writer->snapshot = to;
    writer->current = to->count - 1;
    writer->queue_at = 0;
    writer->hint = 0;
    writer->first = true;
    if (MUTANT(COUNTS_ANEW))
        writer->next = 1;
    forget_unpublished(writer, writer->next - 1, SHM_NONE);
    queue_sort(writer);
    shared_store_relaxed64(&to->shared->epoch, writer->epoch);
}

static inline bool enter(struct snapshot_writer *writer) {
    return busy_enter(&writer->busy, 0, 1);
}

static inline void leave(struct snapshot_writer *writer) {
    busy_leave(&writer->busy, 0);
}

static inline uint32_t queue_next(const struct snapshot_writer *writer) {
    return writer->queue_at + 2 < writer->snapshot->count ? writer->queue_at + 1 : 0;
}

/* A lapped reader asks to spare the buffer that it reads.  Anybody can write that word, so it is a
 * courtesy with an end: the version must be right, and after some publishes it is enough. */
static bool hinted(struct snapshot_writer *writer, uint64_t hint, uint32_t index) {
    if (hint != (writer->versions[index] << 8 | index) || writer->versions[index] == 0)
        return false;
    if (hint != writer->hint) {
        writer->hint = hint;
        writer->hint_age = 0;
    }
    return writer->hint_age++ < SNAPSHOT_HINT_PUBLISHES;
}

/* The oldest buffer and the one after it change places, if the oldest is to be spared. */
__attribute__((noinline)) static void spare(struct snapshot_writer *writer, uint64_t hint) {
    uint8_t *oldest = &writer->queue[writer->queue_at];
    uint8_t *second = &writer->queue[queue_next(writer)];
    if (second != oldest && hinted(writer, hint, *oldest)) {
        const uint8_t spared = *oldest;
        *oldest = *second;
        *second = spared;
    }
}

/* The oldest buffer that nobody asked to spare; it is at queue_at afterwards. */
static inline uint32_t choose(struct snapshot_writer *writer) {
    const struct shm_bell *bell = writer->snapshot->bell;
    const uint64_t hint = bell == NULL ? 0 : shared_load_relaxed64(&bell->hint);
    if (hint != 0)
        spare(writer, hint);
    return MUTANT(TAKES_CURRENT) ? writer->current : writer->queue[writer->queue_at];
}

static inline uint64_t head_for(const struct snapshot_writer *writer, uint32_t index) {
    return (uint64_t)index << SHM_HEAD_BUFFER_SHIFT | writer->next << SHM_HEAD_VERSION_SHIFT;
}

/* The sequence must be odd before the first byte of the value changes: the fence pairs with the one
 * that a reader has between its copy and its second look at the sequence. */
static inline struct shm_buffer *dirty(struct snapshot_writer *writer, uint32_t index) {
    struct shm_buffer *buffer = buffer_at(writer->snapshot, index);
    if (!MUTANT(NOT_DIRTIED))
        shared_store_relaxed64(&buffer->seq, 2 * writer->next - 1);
    if (MUTANT(HEAD_EARLY))
        shared_store_release64(&writer->snapshot->shared->head, head_for(writer, index));
    STEP(DIRTY_UNFENCED, shared_fence_release());
    return buffer;
}

static void wake(struct snapshot_writer *writer) {
    struct shm_snapshot *shared = writer->snapshot->shared;
    if (futex_wake((const uint32_t *)&shared->head) < 0)
        shared_store_relaxed64(&shared->wake_errors, ++writer->wake_errors);
    shared_store_relaxed64(&shared->wakes, ++writer->wakes);
}

/* Between store head and load want, unless the sleepers have it. */
static inline void barrier(const struct snapshot_writer *writer) {
    if (writer->ordered)
        __atomic_signal_fence(__ATOMIC_SEQ_CST); /* for the compiler: it stays in this order */
    else
        STEP(HEAD_NO_BARRIER, shared_fence_full());
}

/* Stores the head, and finds out whether somebody sleeps on it.
 *
 * The doorbell is cleared before the head is stored; cleared behind it, it could take away the ring
 * of a reader that had seen the new head and sleeps for the next.  There is a full barrier between
 * store head, load want here, as between store want, load head in a sleeper, so that one of the two
 * sees the other's store. */
static inline bool store_head(struct snapshot_writer *writer, uint64_t head) {
    struct shm_bell *bell = writer->snapshot->bell;
    const uint32_t notify =
        writer->snapshot->flags & (SHM_SECTION_NOTIFY_ALWAYS | SHM_SECTION_NOTIFY_NEVER);
    if (bell == NULL || notify != 0) {
        shared_store_release64(&writer->snapshot->shared->head, head);
        return notify != SHM_SECTION_NOTIFY_NEVER &&
               (writer->first || notify == SHM_SECTION_NOTIFY_ALWAYS);
    }
    const bool wanted = shared_load_relaxed32(&bell->want) != 0;
    if (wanted && !MUTANT(BELL_CLEARED_LATE))
        shared_store_relaxed32(&bell->want, 0);
    RELEASE64(HEAD_RELAXED, &writer->snapshot->shared->head, head);
    barrier(writer);
    if (wanted && MUTANT(BELL_CLEARED_LATE))
        shared_store_relaxed32(&bell->want, 0);
    /* A predecessor may have died between clearing the doorbell and waking: the first publish
     * doesn't ask. */
    return (wanted && !MUTANT(BELL_LOOK_LOST)) ||
           (!MUTANT(BELL_ONE_LOOK) && shared_load_relaxed32(&bell->want) != 0) || writer->first;
}

/* Behind the head of the new place: who finds the old one marked finds a value there. */
__attribute__((noinline, cold)) static void mark_left(struct snapshot_writer *writer) {
    struct shm_snapshot *left = writer->left;
    writer->left = NULL;
    if (snapshot_leave(left) < 0)
        shared_store_relaxed64(&writer->snapshot->shared->wake_errors, ++writer->wake_errors);
}

__attribute__((noinline, cold)) static void end_first(struct snapshot_writer *writer) {
    writer->first = false;
    if (writer->left != NULL)
        mark_left(writer);
}

/* Readers have pulled the lines of the buffer that is next.  Asked for now, they are back when the
 * next publish needs them. */
static inline void own_next(const struct snapshot_writer *writer, size_t bytes) {
    uint8_t *next = (uint8_t *)buffer_at(writer->snapshot, writer->queue[writer->queue_at]);
    const uint8_t *end = next + (bytes < SNAPSHOT_OWN_MAX ? bytes : SNAPSHOT_OWN_MAX);
    shared_prefetch_own(next);
    do
        shared_prefetch_own(next += SHM_LINE);
    while (next < end);
}

static inline void finish(struct snapshot_writer *writer, uint32_t index, size_t bytes) {
    struct shm_buffer *buffer = buffer_at(writer->snapshot, index);
    shared_store_relaxed64(&buffer->len, bytes);
    shared_store_relaxed32(&buffer->epoch, writer->epoch);
    shared_store_relaxed32(&buffer->crc, 0);
    stored_times(writer->snapshot->flags, &buffer->mono_ns, &buffer->real_ns);
    /* Pairs with a reader's first load of the sequence, for one that came by another way than the
     * head (a follower), and orders the value before the head for all. */
    shared_store_release64(&buffer->seq, 2 * writer->next);
    if (MUTANT(MOVED_EARLY) && writer->left != NULL)
        mark_left(writer);
    const bool wanted = store_head(writer, head_for(writer, index));
    writer->versions[index] = writer->next++;
    writer->queue[writer->queue_at] = (uint8_t)writer->current;
    writer->queue_at = queue_next(writer);
    writer->current = index;
    own_next(writer, bytes);
    if (__builtin_expect(writer->first, false))
        end_first(writer);
    if (wanted)
        STEP(NOT_WOKEN, wake(writer));
}

static inline void put(struct snapshot_writer *writer, const void *data, size_t bytes) {
    const uint32_t index = choose(writer);
    struct shm_buffer *buffer = dirty(writer, index);
    stored_bytes(buffer_data(buffer), data, bytes);
    finish(writer, index, bytes);
}

int snapshot_publish(struct snapshot_writer *writer, const void *data, size_t bytes) {
    if (!enter(writer))
        return -EBUSY;
    const bool fits = bytes <= writer->snapshot->size; /* of the place that is its now */
    if (fits)
        put(writer, data, bytes);
    leave(writer);
    return fits ? 0 : -EMSGSIZE;
}

int snapshot_begin(struct snapshot_writer *writer, void **data, size_t *room) {
    if (!enter(writer))
        return -EBUSY;
    writer->open = choose(writer);
    *data = buffer_data(dirty(writer, writer->open));
    *room = writer->snapshot->size;
    shared_fence_nontemporal(); /* who knows what the caller writes with */
    return 0;
}

int snapshot_commit(struct snapshot_writer *writer, size_t bytes) {
    if (writer->open == SHM_NONE)
        return -EINVAL;
    if (bytes > writer->snapshot->size || (writer->begun != NULL && bytes > writer->begun_room))
        return -EMSGSIZE;
    const uint32_t index = writer->open;
    const void *begun = writer->begun;
    writer->open = SHM_NONE;
    writer->begun = NULL;
    shared_fence_nontemporal();
    if (begun == NULL)
        finish(writer, index, bytes);
    else
        put(writer, begun, bytes);
    leave(writer);
    return 0;
}

void snapshot_abort(struct snapshot_writer *writer) {
    if (writer->open == SHM_NONE)
        return;
    if (writer->begun == NULL) {
        shared_store_relaxed64(&buffer_at(writer->snapshot, writer->open)->seq, 0);
        writer->versions[writer->open] = 0;
    }
    writer->begun = NULL;
    shared_store_relaxed64(&writer->snapshot->shared->aborted, ++writer->aborted);
    writer->open = SHM_NONE;
    leave(writer);
}
