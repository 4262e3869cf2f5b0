/* SPDX-License-Identifier: Apache-2.0
 *
 * Queue sections: where a section object's queue is, and what it has there: a share in the
 * process's lane, a receiver's cursors, a message that is peeked.  All of it goes along with the
 * table: it stays as it is while the place does, and is begun anew in another one.
 */
#include "queue.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

_Static_assert(sizeof(struct queue_side) <= SHM_PAGE, "a queue's side no longer fits its page");

int queue_bad_lane(const shmc_section *section, uint32_t lane, const char *field) {
    return error_set(section->segment->error, -EBADMSG,
                     "queue '%s': lane %u is damaged (%s), and is skipped; see shmtool stat %s",
                     section->name, lane, field, section->name);
}

/* ---- the place */

static void drop_cursors(struct queue_side *side) {
    if (side->cursors != NULL)
        munmap(side->cursors, side->cursors_bytes);
    side->cursors = NULL;
    side->takes = false;
    if (side->found != NULL)
        munmap(side->found, side->found_bytes);
    side->found = NULL;
    side->found_n = side->found_bytes = 0;
}

/* Elsewhere the memory is gone, or it is the parent's, and a lock may be another thread's for ever.
 */
static bool is_mapped(const shmc *segment) {
    const enum handle_state state = handle_state(segment);
    return state == HANDLE_ALIVE || state == HANDLE_LEFT;
}

static void leave_lane(shmc_section *section) {
    struct queue_side *side = section->queue;
    struct lane *lane = side->lane;
    if (lane == NULL)
        return;
    if (side->reserved == HELD && is_mapped(section->segment) && lock_take(&lane->lock) == 0) {
        queue_cancel(&lane->core);
        lane->reserver = NULL;
        lock_release(&lane->lock);
    }
    side->lane = NULL;
    lane_release(section->segment, lane);
}

static void leave_place(shmc_section *section) {
    struct queue_side *side = section->queue;
    drop_cursors(side);
    leave_lane(section);
    if (side->peeked == HELD)
        side->peeked = HELD_LOST;
    if (side->reserved == HELD)
        side->reserved = HELD_LOST;
    side->refused_bytes = SIZE_MAX;
}

/* The extent is in the segment: the directory checked that.  What is inside is checked here. */
int queue_place(struct queue *ret, const struct mapping *mapping, const struct shm_section *found,
                struct shm_bell *bell, const char **field) {
    const struct attachments attachments = mapping_attachments(mapping);
    struct queue_geometry g;
    *field = "section.size";
    if (!queue_geometry(&g, found->size, found->count) || found->ctl_off % SHM_LINE != 0 ||
        g.bytes > found->offset + found->bytes - found->ctl_off ||
        found->claims_off != found->ctl_off + g.lanes_bytes)
        return -EBADMSG;
    return queue_bind(ret, mapping->base + found->ctl_off, found, bell, &attachments, field);
}

static int find_place(shmc_section *section, struct queue *ret) {
    shmc *segment = section->segment;
    const char *field;
    if (lock_take(&segment->lock) < 0)
        return error_note(section, -EBUSY, NOTE_LANE_BUSY, 0, 0);
    struct shm_bell *bell = section->mapping == segment->now
                                ? mapping_bell(segment, section->descriptor.bell_index)
                                : NULL;
    lock_release(&segment->lock);
    int r = queue_place(ret, section->mapping, &section->descriptor, bell, &field);
    if (r == 0)
        return 0;
    shared_fence_acquire(); /* the control line was read before the generation is */
    if (!section_settled(section))
        return -EAGAIN;
    return error_set(segment->error, r,
                     "section '%s': its control line is damaged (%s); a running manager repairs it",
                     section->name, field);
}

static int bind_place(shmc_section *section) {
    struct queue place;
    int r = find_place(section, &place);
    if (r < 0)
        return r;
    if (section->queue == NULL) {
        struct queue_side *side =
            mmap(NULL, SHM_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (side == MAP_FAILED)
            return error_set(section->segment->error, -ENOMEM, "section '%s': no memory for it",
                             section->name);
        side->refused_bytes = SIZE_MAX;
        section->queue = side;
    }
    struct queue_side *side = section->queue;
    if (side->generation != 0 &&
        (side->mapping != section->mapping || !queue_same_place(&side->place, &place)))
        leave_place(section);
    side->place = place;
    side->mapping = section->mapping;
    side->generation = section->generation;
    return 0;
}

bool queue_lookup_again(shmc_section *section, int *r) {
    if (*r != -EAGAIN)
        return false;
    *r = section_resolve(section);
    return *r == 0;
}

int queue_ready(shmc_section *section) {
    int r;
    do {
        r = section_ready(section, SHMC_QUEUE);
        const struct queue_side *side = section->queue;
        if (r == 0 && (side == NULL || side->generation != section->generation ||
                       side->mapping != section->mapping))
            r = bind_place(section);
    } while (queue_lookup_again(section, &r));
    return r;
}

/* ---- a receiver */

static int begin_to_receive(shmc_section *section, bool takes) {
    struct queue_side *side = section->queue;
    struct attachment who = {0};
    if (takes)
        standing_attachment(section->mapping, &who);
    const size_t bytes = queue_receiver_bytes(&side->place);
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return error_set(section->segment->error, -ENOMEM,
                         "section '%s': no memory to receive from it", section->name);
    drop_cursors(side);
    side->cursors = memory;
    side->cursors_bytes = bytes;
    side->takes = takes;
    queue_receiver_init(&side->core, &side->place, who, memory);
    return 0;
}

int queue_ready_to_receive(shmc_section *section, bool looks) {
    int r;
    do {
        r = queue_ready(section);
        if (r == 0 && !looks)
            r = mapping_write(section->segment, section, section->descriptor.claims_arena);
    } while (queue_lookup_again(section, &r));
    if (r < 0)
        return r;
    const struct queue_side *side = section->queue;
    if (side->cursors == NULL || (!looks && !side->takes))
        return begin_to_receive(section, !looks);
    return 0;
}

/* ---- closing */

void queue_forget(shmc_section *section) {
    struct queue_side *side = section->queue;
    if (side == NULL)
        return;
    if (side->peeked == HELD && is_mapped(section->segment)) /* else it ends with the lease */
        queue_abandon(&side->core, &side->message);
    leave_lane(section);
    drop_cursors(side);
    section->queue = NULL;
    munmap(side, SHM_PAGE);
}

/* ---- what is known about a message */

static void name_sender(struct queue_teller *teller, struct attachment sender) {
    const struct directory *directory = &teller->section->mapping->directory;
    struct shm_attachment record;
    struct shm_worker worker;
    if (sender.index == teller->sender.index && sender.epoch == teller->sender.epoch)
        return;
    teller->sender = sender;
    teller->worker[0] = '\0';
    if (directory_attachment(directory, sender.index, &record) == 0 &&
        (uint32_t)lease_word_epoch(record.word) == sender.epoch && record.worker != SHM_NONE &&
        directory_worker(directory, record.worker, &worker) == 0)
        memcpy(teller->worker, worker.name, sizeof teller->worker);
}

void queue_describe(struct queue_teller *teller, const struct queue_message *message,
                    struct shmc_message *ret) {
    *ret = (struct shmc_message){
        .type = message->type,
        .length = message->length,
        .id = message->id,
        .lane = message->lane,
        .pid = (pid_t)message->sender_pid,
        .redelivered = message->redelivered,
        .age_ns = UINT64_MAX,
    };
    name_sender(teller, message->sender);
    memcpy(ret->worker, teller->worker, sizeof ret->worker);
    if (message->send_ns == 0)
        return;
    if (teller->mono_ns == 0) {
        teller->mono_ns = clock_mono_ns();
        teller->real_ns = clock_real_ns();
    }
    ret->age_ns = teller->mono_ns > message->send_ns ? teller->mono_ns - message->send_ns : 0;
    ret->real_ns = teller->real_ns - ret->age_ns;
}
