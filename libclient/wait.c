/* SPDX-License-Identifier: Apache-2.0
 *
 * Waiting for values.  Every sleep is bounded, by what the caller said, by the moment at which the
 * last value becomes stale, and by the bound of the ABI: so a table that changed, or a wake-up that
 * was lost, is seen on the next round.
 */
#include "client.h"

#include <time.h>

#define BOUND_NS (SHM_SLEEP_BOUND_MS * UINT64_C(1000000))
#define CHUNK_NS (SNAPSHOT_POLL_MS * UINT64_C(1000000)) /* when not all words fit one call */
#define PROBES   (2 * SHM_COUNT_MAX + 1) /* the buffers of two places, while a section moves */
#define LAPS     1000

static uint64_t earlier(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* ---- one section */

static int out_of_time(shmc_section *section, int timeout_ms, struct shmc_value *value) {
    if (value != NULL)
        value_fill(section, &section->last, value);
    if (timeout_ms == 0)
        return error_note(section, -EAGAIN, NOTE_NOTHING_NEW, section->last.version, 0);
    return error_note(section, -ETIMEDOUT, NOTE_TIMED_OUT, section->last.version,
                      (uint64_t)timeout_ms);
}

static int became_stale(shmc_section *section, struct shmc_value *value) {
    section->stale_said = section->last.version;
    if (value != NULL) {
        value_fill(section, &section->last, value);
        value->stale = true;
    }
    return error_note(section, -ETIME, NOTE_STALE, section->last.version,
                      section->descriptor.stale_ms);
}

/* 1: there is something newer; 0: not in this round; or the answer. */
static int wait_round(shmc_section *section, int timeout_ms, uint64_t deadline_ns,
                      struct shmc_value *value) {
    int r = section_ready(section, SHMC_SNAPSHOT);
    if (r < 0)
        return r;
    if (snapshot_version(&section->snapshot) != section->last.version)
        return 1;
    uint64_t stale_at = value_stale_at(section), now = 0;
    if (stale_at != UINT64_MAX || timeout_ms > 0)
        now = clock_mono_ns();
    if (now >= stale_at)
        return became_stale(section, value);
    if (now >= deadline_ns) {
        if (timeout_ms == 0 && event_drain(section) &&
            snapshot_version(&section->snapshot) != section->last.version) {
            event_raise(section); /* there may be more behind it */
            return 1;
        }
        return out_of_time(section, timeout_ms, value);
    }
    snapshot_wait(&section->reader, section->last.version, earlier(deadline_ns, stale_at),
                  section->spin_ns);
    return 0;
}

static int wait_newer(shmc_section *section, int timeout_ms, uint64_t deadline_ns,
                      struct shmc_value *value) {
    int r;
    do
        r = wait_round(section, timeout_ms, deadline_ns, value);
    while (r == 0);
    return r < 0 ? r : 0;
}

ssize_t shmc_next(shmc_section *section, void *buffer, size_t bytes, int timeout_ms,
                  struct shmc_value *value) {
    value_clear(value);
    int r = wait_newer(section, timeout_ms, deadline_after(timeout_ms), value);
    return r < 0 ? r : snapshot_take(section, 0, buffer, bytes, value);
}

/* Where to look next for a version that is still there, when `version` isn't. */
static uint64_t next_candidate(const shmc_section *section, uint64_t version, uint64_t newest) {
    const struct snapshot *before = section->snapshot.before;
    uint64_t kept = section->snapshot.count - 1 + (before == NULL ? 0 : before->count);
    uint64_t oldest = newest > kept ? newest - kept : 1;
    return version + 1 > oldest ? version + 1 : oldest;
}

/* The oldest version behind the last one that can still be had; -ESTALE when the writer was faster.
 */
static ssize_t take_oldest(shmc_section *section, void *buffer, size_t bytes,
                           struct shmc_value *value) {
    uint64_t newest = snapshot_version(&section->snapshot);
    uint64_t version = section->last.version + 1;
    for (unsigned i = 0; i < PROBES && version <= newest; i++) {
        ssize_t n = snapshot_take(section, version, buffer, bytes, value);
        if (n == -ENODATA)
            break; /* another incarnation began meanwhile */
        if (n != -ESTALE)
            return n;
        version = next_candidate(section, version, newest);
    }
    return -ESTALE;
}

ssize_t shmc_follow(shmc_section *section, void *buffer, size_t bytes, int timeout_ms,
                    struct shmc_value *value) {
    value_clear(value);
    uint64_t deadline_ns = deadline_after(timeout_ms);
    for (unsigned lap = 0; lap < LAPS; lap++) {
        int r = wait_newer(section, timeout_ms, deadline_ns, value);
        if (r < 0)
            return r;
        ssize_t n = take_oldest(section, buffer, bytes, value);
        if (n != -ESTALE)
            return n;
    }
    return error_note(section, -EAGAIN, NOTE_LAPPED, LAPS, section->descriptor.count);
}

int shmc_set_spin(shmc_section *section, unsigned microseconds) {
    int r = handle_usable(section->segment);
    if (r == 0)
        section->spin_ns = microseconds * UINT64_C(1000);
    return r;
}

/* ---- any of several */

/* Index of one that has something newer, or -ENOENT; or what is wrong with one. */
static int look_at_all(shmc_section *const *sections, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        int r = section_ready(sections[i], SHMC_SNAPSHOT);
        if (r < 0)
            return r;
        if (snapshot_version(&sections[i]->snapshot) != sections[i]->last.version)
            return (int)i;
    }
    return -ENOENT;
}

static void sleep_until(uint64_t until_ns) {
    const struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000),
                                   .tv_nsec = (long)(until_ns % 1000000000)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

/* Sleeps on up to FUTEX_WAIT_ANY_MAX of them, from *first on, so that each has its turn.  True:
 * woken, or there was no need to sleep. */
static bool sleep_on(shmc_section *const *sections, unsigned n, unsigned *first,
                     uint64_t until_ns) {
    struct futex_word words[FUTEX_WAIT_ANY_MAX];
    unsigned chunk = n < FUTEX_WAIT_ANY_MAX ? n : FUTEX_WAIT_ANY_MAX;
    for (unsigned i = 0; i < chunk; i++)
        snapshot_ring(&sections[(*first + i) % n]->reader);
    if (!snapshot_heard())
        until_ns = earlier(until_ns, clock_mono_ns() + CHUNK_NS);
    for (unsigned i = 0; i < chunk; i++) {
        const shmc_section *section = sections[(*first + i) % n];
        if (!snapshot_arm(&section->reader, section->last.version, &words[i]))
            return true;
    }
    *first = (*first + chunk) % n;
    return futex_wait_any(words, chunk, until_ns) == 0;
}

static bool nobody_rings(const shmc_section *section) {
    return section->snapshot.bell == NULL ||
           (section->snapshot.flags & SHM_SECTION_NOTIFY_NEVER) != 0;
}

static uint64_t bound_of(shmc_section *const *sections, unsigned n) {
    if (n > FUTEX_WAIT_ANY_MAX)
        return CHUNK_NS;
    for (unsigned i = 0; i < n; i++)
        if (nobody_rings(sections[i]))
            return CHUNK_NS;
    return BOUND_NS;
}

int shmc_wait_any(shmc_section *const *sections, unsigned n, int timeout_ms) {
    uint64_t deadline_ns = deadline_after(timeout_ms), spin_until = 0;
    unsigned first = 0, empty = 0;
    if (n == 0 || sections == NULL || n > INT32_MAX)
        return -EINVAL;
    for (unsigned i = 0; i < n; i++)
        spin_until = sections[i]->spin_ns > spin_until ? sections[i]->spin_ns : spin_until;
    if (spin_until > 0)
        spin_until += clock_mono_ns();
    for (;;) {
        int r = look_at_all(sections, n);
        if (r != -ENOENT)
            return r;
        uint64_t now = timeout_ms == 0 ? 0 : clock_mono_ns();
        if (now >= deadline_ns)
            return out_of_time(sections[0], timeout_ms, NULL);
        if (now < spin_until)
            continue;
        uint64_t until = earlier(deadline_ns, now + bound_of(sections, n));
        if (empty >= SNAPSHOT_EMPTY_WAKES) {
            sleep_until(until); /* somebody plays with the futexes: sleep where he can't reach */
            empty = 0;
        } else {
            empty = sleep_on(sections, n, &first, until) ? empty + 1 : 0;
        }
    }
}
