/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking into a queue without taking anything.  What is there is gathered at index 0, in the order
 * in which it would be received; who asks for the next ones goes on from there, less what is gone
 * meanwhile.
 */
#include "queue.h"

#include "core/queue_parts.h"

#include <stdlib.h>
#include <sys/mman.h>

#define FOUND_BYTES ((size_t)16 * SHM_PAGE) /* at first */

/* A mapping, as all that a section object has of a queue. */
static bool grow(struct queue_side *side) {
    const size_t bytes = side->found == NULL ? FOUND_BYTES : 2 * side->found_bytes;
    void *at = side->found == NULL
                   ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                   : mremap(side->found, side->found_bytes, bytes, MREMAP_MAYMOVE);
    if (at == MAP_FAILED)
        return false;
    side->found = at;
    side->found_bytes = bytes;
    return true;
}

static int gather_one(void *context, const struct queue_message *message) {
    struct queue_side *side = context;
    if ((side->found_n + 1) * sizeof *message > side->found_bytes && !grow(side))
        return -ENOMEM;
    side->found[side->found_n++] = *message;
    return 0;
}

static int by_time(const void *a, const void *b) {
    const struct queue_message *x = a, *y = b;
    if (x->send_ns != y->send_ns)
        return x->send_ns < y->send_ns ? -1 : 1;
    if (x->lane != y->lane)
        return x->lane < y->lane ? -1 : 1;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* A lane that is bad is left out: who only looks can't mend it, and the others are to be seen. */
static int gather(shmc_section *section) {
    struct queue_side *side = section->queue;
    struct queue_message bad;
    const char *field;
    int r;
    do {
        side->found_n = 0;
        r = queue_each(&side->core, (struct queue_want){0}, gather_one, side, &bad, &field);
    } while (r == -EBADMSG);
    if (r == -ENOMEM)
        return error_set(section->segment->error, -ENOMEM, "section '%s': no memory to look",
                         section->name);
    if (side->found_n > 0)
        qsort(side->found, side->found_n, sizeof *side->found, by_time);
    return 0;
}

/* Is it taken by somebody, or gone? */
static bool unavailable(const struct queue *queue, const struct queue_message *message) {
    /* Acquire: what comes behind it was there. */
    const uint64_t word =
        shared_load_acquire64(claim_at(queue, claims_at(queue, message->lane), message->seq));
    struct shm_record record;
    if (claim_done(word, message->seq))
        return true;
    shared_copy_from(&record, record_at(queue, lane_at(queue, message->lane), message->seq),
                     sizeof record);
    return record.seq != message->seq || record.id != message->id;
}

/* The one at `index`, or -ENOMSG; *n is what was copied of it, or -ESTALE: it is gone. */
static int copy(shmc_section *section, size_t index, void *buffer, size_t bytes, unsigned flags,
                ssize_t *n, struct queue_message *ret) {
    struct queue_side *side = section->queue;
    int r = index == 0 || side->found == NULL ? gather(section) : 0;
    if (r < 0)
        return r;
    if (index >= side->found_n)
        return error_set(section->segment->error, -ENOMSG, "section '%s' has no more messages",
                         section->name);
    *ret = side->found[index];
    *n = -E2BIG;
    if (ret->length <= bytes || (flags & SHMC_TRUNCATE) != 0)
        *n = (ssize_t)queue_copy(ret, buffer, bytes);
    /* Its sender writes there again only behind what this finds. */
    shared_fence_acquire();
    if (unavailable(&side->place, ret))
        *n = -ESTALE;
    return 0;
}

/* Takes it out of what was gathered. */
static void leave_out(struct queue_side *side, size_t index) {
    side->found_n--;
    for (size_t i = index; i < side->found_n; i++)
        side->found[i] = side->found[i + 1];
}

ssize_t shmc_queue_look(shmc_section *section, size_t index, void *buffer, size_t bytes,
                        unsigned flags, struct shmc_message *info) {
    struct queue_message found;
    ssize_t n = 0;
    if ((flags & ~SHMC_TRUNCATE) != 0)
        return error_set(section->segment->error, -EINVAL,
                         "section '%s': flags 0x%x; a look takes SHMC_TRUNCATE", section->name,
                         flags);
    for (;;) {
        int r = queue_ready_to_receive(section, true);
        if (r == 0)
            r = copy(section, index, buffer, bytes, flags, &n, &found);
        if (r < 0)
            return r;
        if (section_settled(section) && n != -ESTALE)
            break;
        if (n == -ESTALE && index > 0 && section->queue->found != NULL)
            leave_out(section->queue, index);
    }
    if (info != NULL) {
        queue_describe(&(struct queue_teller){.section = section}, &found, info);
        info->truncated = n >= 0 && (size_t)n < found.length;
    }
    return n == -E2BIG ? error_note(section, -E2BIG, NOTE_MESSAGE_LONGER, found.length, bytes) : n;
}
