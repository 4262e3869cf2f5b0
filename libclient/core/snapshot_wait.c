/* SPDX-License-Identifier: Apache-2.0
 *
 * Waiting for a snapshot's next version.  The futex is the low half of the head, which every
 * publish changes; nothing is decided by it, though: whether there is something new is always read
 * from the whole head.  2^31 publishes between looking and sleeping would make the half equal
 * again, and the sleeper then sleeps until the next one, or the bound.
 */
#include "sleep.h"
#include "snapshot_parts.h"

#include <errno.h>

#define POLL_NS (SNAPSHOT_POLL_MS * UINT64_C(1000000))

static bool newer(const struct snapshot_reader *reader, uint64_t version) {
    return snapshot_version(reader->snapshot) != version;
}

void snapshot_ring(const struct snapshot_reader *reader) {
    if (reader->snapshot->bell != NULL)
        shared_store_relaxed32(&reader->snapshot->bell->want, 1);
}

/* Store want, load head here pairs with store head, load want in the writer: a full barrier between
 * the two on both sides, so that one of them sees the other's store. */
bool snapshot_heard(void) {
    return sleep_heard();
}

bool snapshot_arm(const struct snapshot_reader *reader, uint64_t version, struct futex_word *ret) {
    const struct shm_snapshot *shared = place_of(reader->snapshot)->shared;
    const uint64_t head = shared_load_acquire64(&shared->head);
    *ret = (struct futex_word){
        .word = (const uint32_t *)&shared->head,
        .value = (uint32_t)head,
    };
    /* From a place that was left nobody is woken: there is something newer in the next. */
    return head_version(head) == version &&
           ((head & SHM_HEAD_MOVED) == 0 || MUTANT(SLEEPS_ON_LEFT));
}

/* As newer(), for one who will read it at once: its lines are on their way meanwhile. */
static bool newer_fetched(const struct snapshot_reader *reader, uint64_t version) {
    const struct snapshot *snapshot = place_of(reader->snapshot);
    const uint64_t head = shared_load_acquire64(&snapshot->shared->head);
    if (head_version(head) == version)
        return false;
    if (head_buffer(head) < snapshot->count)
        buffer_fetch(buffer_at(snapshot, head_buffer(head)), snapshot->size);
    return true;
}

/* Without a pause between two looks, which on some processors lasts as long as a line takes to come
 * over: whoever spins has said for how long, and wants to be quick. */
static bool spin(const struct snapshot_reader *reader, uint64_t version, uint64_t until_ns) {
    while (clock_mono_ns() < until_ns) {
        for (unsigned i = 0; i < SLEEP_SPINS; i++)
            if (newer_fetched(reader, version))
                return true;
        shared_relax();
    }
    return newer(reader, version);
}

static bool rung_for(const struct snapshot *snapshot) {
    return (snapshot->flags & SHM_SECTION_NOTIFY_ALWAYS) != 0 ||
           (snapshot->bell != NULL && (snapshot->flags & SHM_SECTION_NOTIFY_NEVER) == 0);
}

/* One sleep, until about `until_ns` at most.  False: there was no need, or no use. */
static bool sleep_once(struct snapshot_reader *reader, uint64_t version, uint64_t until_ns) {
    struct futex_word word;
    if (reader->empty_wakes >= SNAPSHOT_EMPTY_WAKES) {
        if (sleep_plainly(until_ns))
            reader->empty_wakes = 0;
        return true;
    }
    snapshot_ring(reader);
    const bool heard = snapshot_heard();
    if (!snapshot_arm(reader, version, &word)) {
        reader->empty_wakes++; /* a place may be marked as left, and not be */
        return false;
    }
    if (!heard || !rung_for(reader->snapshot))
        until_ns = sleep_earlier(until_ns, clock_mono_ns() + POLL_NS);
    const int r = futex_wait(word.word, word.value, until_ns);
    if (r != -ETIMEDOUT && r != -EINTR) /* also where futexes are forbidden: don't spin then */
        reader->empty_wakes += !MUTANT(NEVER_PLAIN);
    return true;
}

int snapshot_wait(struct snapshot_reader *reader, uint64_t version, uint64_t deadline_ns,
                  uint64_t spin_ns) {
    if (newer(reader, version))
        return 0;
    uint64_t now = clock_mono_ns();
    const uint64_t until =
        MUTANT(SLEEPS_UNBOUND) ? deadline_ns : sleep_earlier(deadline_ns, now + SLEEP_BOUND_NS);
    if (spin_ns > 0 &&
        spin(reader, version, sleep_earlier(until, now + sleep_earlier(spin_ns, SLEEP_BOUND_NS))))
        return 0;
    while ((now = clock_mono_ns()) < until) {
        const bool slept = sleep_once(reader, version, until);
        if (newer(reader, version) || MUTANT(WAKES_BLINDLY)) {
            reader->empty_wakes = 0;
            return 0;
        }
        if (!slept && !MUTANT(STAYS_WHERE_LEFT))
            return -ESTALE;
    }
    return -ETIMEDOUT;
}
