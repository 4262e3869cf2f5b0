/* SPDX-License-Identifier: Apache-2.0
 *
 * The writer of a section: its counters are this process's private memory, and so there may be but
 * one for each place.  Writers are mappings of their own and not malloc()'s, as the first publish
 * may be a signal handler's.
 */
#include "client.h"

#include <sys/mman.h>

_Static_assert(sizeof(struct writer) <= SHM_PAGE, "a writer no longer fits its page");

static bool same_limits(const struct snapshot *a, const struct snapshot *b) {
    return a->size == b->size && a->flags == b->flags && a->bell == b->bell;
}

/* Whoever publishes reads the limits, so they change only while nobody does; if somebody does right
 * now, before the next publish. */
static void settle(struct writer *writer) {
    if (__atomic_exchange_n(&writer->core.busy, 1, __ATOMIC_ACQUIRE) != 0)
        return;
    writer->snapshot.size = writer->wanted.size;
    writer->snapshot.flags = writer->wanted.flags;
    writer->snapshot.bell = writer->wanted.bell;
    __atomic_store_n(&writer->late, false, __ATOMIC_RELAXED);
    __atomic_store_n(&writer->core.busy, 0, __ATOMIC_RELEASE);
}

bool writer_follow(struct writer *writer, const struct snapshot *snapshot, uint64_t ctl_off) {
    const struct snapshot *kept = &writer->wanted;
    if (writer->ctl_off != ctl_off || kept->section_id != snapshot->section_id ||
        kept->incarnation != snapshot->incarnation || kept->count != snapshot->count ||
        kept->stride != snapshot->stride || kept->buffers != snapshot->buffers)
        return false;
    if (!same_limits(kept, snapshot)) {
        writer->wanted = *snapshot;
        __atomic_store_n(&writer->late, true, __ATOMIC_RELAXED);
        settle(writer);
    }
    return true;
}

void writer_catch_up(shmc *segment, struct writer *writer) {
    if (lock_take(&segment->lock) < 0)
        return;
    if (writer->late)
        settle(writer);
    lock_release(&segment->lock);
}

static struct writer *find(const shmc_section *section) {
    for (struct writer *writer = section->segment->writers; writer != NULL; writer = writer->next)
        if (writer_follow(writer, &section->snapshot, section->descriptor.ctl_off))
            return writer;
    return NULL;
}

static int make(shmc_section *section, struct writer **ret) {
    shmc *segment = section->segment;
    struct writer *writer =
        mmap(NULL, SHM_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (writer == MAP_FAILED)
        return error_set(segment->error, -ENOMEM, "section '%s': no memory to publish it",
                         section->name);
    writer->ctl_off = section->descriptor.ctl_off;
    writer->snapshot = writer->wanted = section->snapshot;
    int r = snapshot_take_over(&writer->core, &writer->snapshot, segment->standing.worker_epoch);
    if (r < 0) {
        munmap(writer, SHM_PAGE);
        return error_set(segment->error, r,
                         "section '%s': its head is damaged; remove the section and add it again",
                         section->name);
    }
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
