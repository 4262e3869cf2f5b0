/* SPDX-License-Identifier: Apache-2.0
 *
 * The segment that replaces another, when the table asks for another size: its header says so, and
 * the successor is found as the first one was.  What was mapped before stays for as long as a
 * section object is bound to it, or has lent an address in it, or a call is under way that began
 * there.  Then its memory is given back, but not its addresses at once: a signal handler may have
 * brought us here, and the call that it interrupted goes on.
 */
#include "client.h"

#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define PAUSE_NS UINT64_C(2000000)

_Static_assert(sizeof(struct mapping) <= SHM_PAGE, "a mapping no longer fits its page");

/* Not malloc()'s: see struct lock. */
struct mapping *mapping_new(void) {
    struct mapping *mapping =
        mmap(NULL, SHM_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED)
        return NULL;
    mapping->bells.id = -1;
    mapping->standing.fd = -1;
    mapping->standing.worker_index = SHM_NONE;
    return mapping;
}

static void discard(struct mapping *mapping) {
    mapping_close(mapping);
    munmap(mapping, SHM_PAGE);
}

void mapping_close_all(shmc *segment) {
    for (struct mapping *mapping; (mapping = segment->now) != NULL; discard(mapping))
        segment->now = mapping->before;
}

/* ---- what is still used */

/* Pages of nobody's take the place of the memory: who reads or writes there still finds some, and
 * then that the generation isn't what it was. */
static void shut(struct mapping *mapping) {
    if (mmap(mapping->base, mapping->directory.bytes, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED)
        return; /* the next look tries again */
    if (parts_are(mapping))
        munmap(mapping->parts.spare, mapping->parts.bytes);
    mapping->parts.spare = NULL;
    mapping->shut = true;
}

/* Of those that nobody uses the newest keeps its addresses. */
static void tidy(shmc *segment) {
    bool kept = false;
    for (struct mapping **at = &segment->now->before; *at != NULL;) {
        struct mapping *mapping = *at;
        if (mapping->uses == 0 && kept) {
            *at = mapping->before;
            discard(mapping);
            continue;
        }
        if (mapping->uses == 0 && !mapping->shut)
            shut(mapping);
        kept = kept || mapping->uses == 0;
        at = &mapping->before;
    }
}

static void give_back(shmc *segment, struct mapping *mapping) {
    if (mapping != NULL && --mapping->uses == 0)
        tidy(segment);
}

void mapping_take(shmc_section *section) {
    struct mapping *before = section->mapping, *now = section->segment->now;
    if (before == now)
        return;
    now->uses++;
    section->mapping = now;
    give_back(section->segment, before);
}

void mapping_lend(shmc_section *section, struct mapping **lent) {
    shmc *segment = section->segment;
    struct mapping *before = *lent;
    if (before == section->mapping || lock_take(&segment->lock) < 0)
        return;
    section->mapping->uses++;
    *lent = section->mapping;
    give_back(segment, before);
    lock_release(&segment->lock);
}

/* Behind a detach nothing is mapped, and in a child the lock may be another thread's for ever. */
void mapping_leave(shmc_section *section) {
    shmc *segment = section->segment;
    const enum handle_state state = handle_state(segment);
    if ((state != HANDLE_ALIVE && state != HANDLE_LEFT) || lock_take(&segment->lock) < 0)
        return;
    give_back(segment, section->mapping);
    give_back(segment, section->lent);
    give_back(segment, section->begun_in);
    lock_release(&segment->lock);
}

/* The calls take a constant segment: what they change of it is no more than its lock would be. */
int mapping_borrow(const shmc *constant, struct mapping **ret) {
    shmc *segment = (shmc *)(uintptr_t)constant;
    int r = handle_usable(segment);
    if (r < 0)
        return r;
    r = lock_take(&segment->lock);
    if (r < 0)
        return error_set(segment->error, r, "a signal handler interrupted a call of this segment");
    r = successor_follow(segment);
    if (r == 0) {
        *ret = segment->now;
        (*ret)->uses++;
    }
    lock_release(&segment->lock);
    return r;
}

void mapping_return(const shmc *constant, struct mapping *mapping) {
    shmc *segment = (shmc *)(uintptr_t)constant;
    if (lock_take(&segment->lock) < 0)
        return;
    give_back(segment, mapping);
    lock_release(&segment->lock);
}

/* ---- the next one */

/* It is being made, or its manager has ended in the midst of that, and the next one goes on. */
static bool comes_yet(int r) {
    return r == -ENOENT || r == -EAGAIN || r == -EBADMSG || r == -EACCES || r == -ENOTCONN ||
           r == -ETIMEDOUT;
}

/* Who was the worker is it again, and who had no name has another attachment, unless somebody else
 * was quicker, or the table lets him no more: then what he would write belongs to nobody, as after
 * any lease that was taken back. */
static int claim_again(shmc *segment, const struct settings *settings, struct mapping *before) {
    struct settings own = *settings;
    own.deadline_ns = 0; /* nobody is waited for */
    own.flags |= before->standing.fd >= 0 ? SHMC_LEASE_FD : 0;
    int r = standing_holds(before) ? standing_take(segment, &own) : -EKEYREVOKED;
    if (r == 0) {
        standing_drop(&before->standing);
        return 0;
    }
    if (comes_yet(r))
        return r;
    segment->now->standing = before->standing;
    segment->now->standing.lost = true;
    return 0;
}

/* Whoever needs no lock looks at what his section object is bound to, so that this may stand in the
 * other's place before it is known to be good. */
static int open_next(shmc *segment, const struct settings *settings) {
    struct mapping *before = segment->now, *next = mapping_new();
    if (next == NULL)
        return error_set(segment->error, -ENOMEM, "no memory to map the segment's successor");
    segment->now = next;
    int r = mapping_open(segment, settings);
    if (r == 0 && settings_write(settings))
        r = claim_again(segment, settings, before);
    if (r < 0) {
        segment->now = before;
        discard(next);
        return r;
    }
    next->before = before;
    tidy(segment);
    return 0;
}

int successor_follow(shmc *segment) {
    char why[ERROR_BYTES];
    struct settings settings = {.key = segment->home.key, .runtime_dir = segment->home.runtime_dir};
    char worker[SHM_NAME_BYTES];
    memcpy(worker, segment->now->standing.worker, sizeof worker);
    if (worker[0] != '\0')
        settings.worker = worker;
    else if (standing_is(segment->now))
        settings.flags = SHMC_ANONYMOUS;
    while (directory_replaced(&segment->now->directory)) {
        const uint64_t now = clock_mono_ns();
        if (settings.deadline_ns == 0)
            settings.deadline_ns = now + CONNECTION_PATIENCE_NS;
        int r = open_next(segment, &settings);
        if (r == 0 || !comes_yet(r))
            return r;
        if (now >= settings.deadline_ns) {
            memcpy(why, segment->error->text, sizeof why);
            return error_set(segment->error, r == -EACCES ? r : -ENOTCONN,
                             "the segment was replaced by another, which can't be had as yet: %s",
                             why);
        }
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
    }
    return 0;
}
