/* SPDX-License-Identifier: Apache-2.0
 *
 * The writer of a section: its counters are this process's private memory, and so there may be but
 * one for each section, which all threads' section objects share.  It follows the section to
 * another place at its next publish.  Writers are mappings of their own and not malloc()'s, as the
 * first publish may be a signal handler's.
 */
#include "client.h"

#include <sys/mman.h>

_Static_assert(sizeof(struct writer) <= SHM_PAGE, "a writer no longer fits its page");

static bool same_limits(const struct snapshot *a, const struct snapshot *b) {
    return a->size == b->size && a->flags == b->flags && a->bell == b->bell;
}

static bool same_place(const struct snapshot *a, const struct snapshot *b) {
    return a->shared == b->shared && a->buffers == b->buffers && a->section_id == b->section_id &&
           a->incarnation == b->incarnation && a->count == b->count && a->stride == b->stride;
}

/* Publishes go to another place from now on. */
static void move(struct writer *writer) {
    struct snapshot *from = writer->core.snapshot;
    struct snapshot *to = from == &writer->places[0] ? &writer->places[1] : &writer->places[0];
    from->before = NULL;
    *to = writer->wanted;
    to->before = from;
    snapshot_move(&writer->core, to);
}

/* For who has the core for himself.  Under the lock. */
static void adopt(struct writer *writer) {
    struct snapshot *now = writer->core.snapshot;
    if (same_place(now, &writer->wanted)) {
        now->size = writer->wanted.size;
        now->flags = writer->wanted.flags;
        now->bell = writer->wanted.bell;
    } else {
        move(writer);
    }
    __atomic_store_n(&writer->late, false, __ATOMIC_RELAXED);
}

/* Whoever publishes reads the place and its limits, so they change only while nobody does; if
 * somebody does right now, before the next publish.  Until then the place before is right as well:
 * nobody copies from it behind its writer's back. */
static void settle(struct writer *writer) {
    if (__atomic_exchange_n(&writer->core.busy, 1, __ATOMIC_ACQUIRE) != 0)
        return;
    adopt(writer);
    __atomic_store_n(&writer->core.busy, 0, __ATOMIC_RELEASE);
}

/* Does the writer's next publish belong there?  Where it isn't yet, it comes from the place before;
 * a place that the manager brought the value to is one to be taken over anew. */
static bool leads_to(const struct writer *writer, const struct snapshot *snapshot) {
    const struct snapshot *now = writer->core.snapshot;
    return same_place(now, snapshot) ||
           (snapshot->before != NULL && same_place(now, snapshot->before));
}

bool writer_follow(struct writer *writer, const struct snapshot *snapshot) {
    if (!leads_to(writer, snapshot))
        return false;
    if (!same_place(&writer->wanted, snapshot) || !same_limits(&writer->wanted, snapshot)) {
        writer->wanted = *snapshot;
        writer->wanted.before = NULL; /* it may go before the writer does */
        __atomic_store_n(&writer->late, true, __ATOMIC_RELAXED);
        settle(writer);
    }
    return true;
}

void writer_catch_up(shmc *segment, struct writer *writer, bool open) {
    if (lock_take(&segment->lock) < 0)
        return;
    if (writer->late && open)
        adopt(writer);
    else if (writer->late)
        settle(writer);
    lock_release(&segment->lock);
}

static struct writer *find(const shmc_section *section) {
    for (struct writer *writer = section->segment->writers; writer != NULL; writer = writer->next)
        if (writer_follow(writer, &section->snapshot))
            return writer;
    return NULL;
}

/* -EAGAIN: the section was looked up too long ago, and the place may be anybody's by now.  What is
 * in force behind it stays so until this process's writer leaves it, which all threads have in
 * common from here on. */
static int take_over(const shmc_section *section, struct writer *writer) {
    const shmc *segment = section->segment;
    struct snapshot *place = &writer->places[0];
    if (!section_settled(section))
        return -EAGAIN;
    *place = section->snapshot; /* with the place before, for as long as this lasts */
    int r = snapshot_take_over(&writer->core, place, segment->now->standing.worker_epoch);
    place->before = NULL;
    shared_fence_acquire(); /* all was looked at before the generation is */
    if (!section_settled(section))
        return -EAGAIN;
    if (r < 0)
        error_set(segment->error, r,
                  "section '%s': its head is damaged; remove the section and add it again",
                  section->name);
    return r;
}

static int make(shmc_section *section, struct writer **ret) {
    shmc *segment = section->segment;
    struct writer *writer =
        mmap(NULL, SHM_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (writer == MAP_FAILED)
        return error_set(segment->error, -ENOMEM, "section '%s': no memory to publish it",
                         section->name);
    int r = take_over(section, writer);
    if (r < 0) {
        munmap(writer, SHM_PAGE);
        return r;
    }
    writer->wanted = writer->places[0];
    writer->next = segment->writers;
    segment->writers = writer;
    *ret = writer;
    return 0;
}

int writer_open(shmc_section *section) {
    shmc *segment = section->segment;
    if (lock_take(&segment->lock) < 0)
        return error_note(section, -EBUSY, NOTE_BUSY, 0, 0);
    struct writer *writer = find(section);
    int r = writer != NULL ? 0 : make(section, &writer);
    if (r == 0) {
        __atomic_add_fetch(&writer->references, 1, __ATOMIC_RELAXED);
        section->writer = writer;
    }
    lock_release(&segment->lock);
    return r;
}

static void unlink_writer(shmc *segment, const struct writer *writer) {
    struct writer **at = &segment->writers;
    while (*at != writer)
        at = &(*at)->next;
    *at = writer->next;
}

void writer_release(shmc *segment, struct writer *writer) {
    /* Behind look_up() the lock is ours already.  In a child another thread of the parent may have
     * had it, and nobody looks at the list there. */
    bool forked = handle_state(segment) == HANDLE_FORKED;
    bool locked = !forked && lock_take(&segment->lock) == 0;
    bool last = __atomic_sub_fetch(&writer->references, 1, __ATOMIC_ACQ_REL) == 0;
    if (last && !forked)
        unlink_writer(segment, writer);
    if (locked)
        lock_release(&segment->lock);
    if (last)
        munmap(writer, SHM_PAGE);
}
