/* SPDX-License-Identifier: Apache-2.0
 *
 * This process's lane in a queue.  Its counters are private memory, and so the section objects of
 * all threads share one, under a lock that is held for a send and never while somebody sleeps.
 * Lanes are mappings of their own and not malloc()'s, as the first send may be a signal handler's.
 */
#include "queue.h"

#include "core/sleep.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define POLL_NS     (QUEUE_POLL_MS * UINT64_C(1000000))
#define HOLDERS_MAX 8u /* that a message names */

/* ---- who has them all */

static uint32_t holder_of(const shmc_section *section, uint32_t index) {
    struct queue_lane_stat stat;
    struct shm_attachment record;
    queue_lane_stat(&section->queue->place, index, &stat);
    const struct directory *directory = &section->mapping->directory;
    if (directory_attachment(directory, owner_of(stat.owner).index, &record) < 0)
        return 0;
    return record.pid;
}

static bool named(const uint32_t *pids, unsigned n, uint32_t pid) {
    for (unsigned i = 0; i < n; i++)
        if (pids[i] == pid)
            return true;
    return false;
}

static int all_held(const shmc_section *section) {
    const uint32_t count = section->queue->place.section.count;
    uint32_t pids[HOLDERS_MAX];
    char text[HOLDERS_MAX * 12 + 8] = "";
    unsigned n = 0;
    size_t at = 0;
    for (uint32_t i = 0; i < count && n < HOLDERS_MAX; i++) {
        const uint32_t pid = holder_of(section, i);
        if (pid == 0 || named(pids, n, pid))
            continue;
        pids[n++] = pid;
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%u", n == 1 ? "" : ", ", pid);
    }
    return error_set(section->segment->error, -EUSERS,
                     "queue '%s': all %u lanes are held (by processes %s%s); raise its count in "
                     "the table",
                     section->name, count, text, n == HOLDERS_MAX ? ", ..." : "");
}

/* ---- taking and giving back */

static struct lane *find(const shmc_section *section) {
    for (struct lane *lane = section->segment->lanes; lane != NULL; lane = lane->next)
        if (!__atomic_load_n(&lane->stale, __ATOMIC_RELAXED) &&
            queue_same_place(&lane->place, &section->queue->place))
            return lane;
    return NULL;
}

/* The sender's memory stands behind the lane's own. */
static void *memory_of(struct lane *lane) {
    return (uint8_t *)lane + (sizeof *lane + SHM_LINE - 1) / SHM_LINE * SHM_LINE;
}

/* What was taken in a place that isn't the section's any more is given back at once. */
static int take(shmc_section *section, struct lane *lane, struct attachment who) {
    uint32_t index = 0;
    const char *field = "";
    lane->place = section->queue->place;
    int r = queue_sender_open(&lane->core, &lane->place, who, memory_of(lane), &index, &field);
    shared_fence_acquire(); /* it was taken before the generation is looked at */
    if (!section_settled(section)) {
        if (r == 0)
            queue_sender_close(&lane->core);
        return -EAGAIN;
    }
    return r == -EUSERS    ? all_held(section)
           : r == -EBADMSG ? queue_bad_lane(section, index, field)
                           : r;
}

static int make(shmc_section *section, struct lane **ret) {
    shmc *segment = section->segment;
    struct attachment who;
    int r = standing_attachment(section->mapping, &who);
    if (r < 0)
        return r;
    const size_t bytes =
        sizeof(struct lane) + SHM_LINE + queue_sender_bytes(&section->queue->place);
    struct lane *lane =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (lane == MAP_FAILED)
        return error_set(segment->error, -ENOMEM, "section '%s': no memory to send to it",
                         section->name);
    r = take(section, lane, who);
    if (r < 0) {
        munmap(lane, bytes);
        return r;
    }
    lane->bytes = bytes;
    lane->mapping = section->mapping;
    lane->mapping->uses++;
    lane->next = segment->lanes;
    segment->lanes = lane;
    *ret = lane;
    return 0;
}

int lane_open(shmc_section *section) {
    shmc *segment = section->segment;
    int r = mapping_write(segment, section, section->descriptor.arena_index);
    if (r < 0)
        return r;
    if (lock_take(&segment->lock) < 0)
        return error_note(section, -EBUSY, NOTE_LANE_BUSY, 0, 0);
    struct lane *lane = find(section);
    r = section->mapping != segment->now ? -EAGAIN : lane != NULL ? 0 : make(section, &lane);
    if (r == 0) {
        __atomic_add_fetch(&lane->references, 1, __ATOMIC_RELAXED);
        section->queue->lane = lane;
    }
    lock_release(&segment->lock);
    return r;
}

static void unlink_lane(shmc *segment, const struct lane *lane) {
    struct lane **at = &segment->lanes;
    while (*at != lane)
        at = &(*at)->next;
    *at = lane->next;
}

/* In a child nothing is closed: the lane is the parent's.  Behind a detach lanes_close() did it. */
void lane_release(shmc *segment, struct lane *lane) {
    const enum handle_state state = handle_state(segment);
    const bool mapped = state == HANDLE_ALIVE || state == HANDLE_LEFT;
    const bool locked = state != HANDLE_FORKED && lock_take(&segment->lock) == 0;
    const bool last = __atomic_sub_fetch(&lane->references, 1, __ATOMIC_ACQ_REL) == 0;
    if (last && state != HANDLE_FORKED)
        unlink_lane(segment, lane);
    if (last && mapped)
        queue_sender_close(&lane->core);
    if (locked)
        lock_release(&segment->lock);
    if (last && mapped)
        mapping_return(segment, lane->mapping);
    if (last)
        munmap(lane, lane->bytes);
}

void lanes_close(shmc *segment) {
    for (struct lane *lane = segment->lanes; lane != NULL; lane = lane->next)
        queue_sender_close(&lane->core);
}

/* ---- waiting for room */

bool lane_has_room(struct lane *lane, size_t bytes) {
    if (lock_take(&lane->lock) < 0)
        return true; /* the caller finds out why */
    const bool room = lane->reserver != NULL || queue_has_room(&lane->core, bytes);
    lock_release(&lane->lock);
    return room;
}

/* Each look takes the lines away on which receivers work, so there is some time between two. */
static bool spin(struct lane *lane, size_t bytes, uint64_t until_ns) {
    while (clock_mono_ns() < until_ns) {
        for (unsigned i = 0; i < SLEEP_SPINS; i++)
            shared_relax();
        if (lane_has_room(lane, bytes))
            return true;
    }
    return false;
}

bool lane_ring(struct lane *lane, struct futex_word *ret) {
    if (lock_take(&lane->lock) < 0)
        return false;
    lane->waiting++;
    const bool rings = queue_ring_room(&lane->core, ret);
    lock_release(&lane->lock);
    return rings;
}

void lane_unring(struct lane *lane, uint64_t blocked_ns) {
    if (lock_take(&lane->lock) < 0)
        return;
    lane->core.blocked_ns += blocked_ns;
    shared_store_relaxed64(&lane->core.lane->blocked_ns, lane->core.blocked_ns);
    if (--lane->waiting == 0)
        queue_unring_room(&lane->core);
    lock_release(&lane->lock);
}

int lane_wait(struct lane *lane, size_t bytes, uint64_t until_ns, uint64_t spin_ns) {
    const uint64_t now = clock_mono_ns();
    struct futex_word word;
    int r = 0;
    until_ns = sleep_earlier(until_ns, now + SLEEP_BOUND_NS);
    if (spin_ns > 0 && spin(lane, bytes, sleep_earlier(until_ns, now + spin_ns)))
        return 0;
    const bool rings = lane_ring(lane, &word) && queue_heard();
    if (!lane_has_room(lane, bytes))
        r = futex_wait(word.word, word.value,
                       rings ? until_ns : sleep_earlier(until_ns, now + POLL_NS));
    lane_unring(lane, clock_mono_ns() - now);
    return r == -EINTR ? r : 0;
}
