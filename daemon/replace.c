/* SPDX-License-Identifier: Apache-2.0
 *
 * A segment of another size is another segment.  It is made whole beside the one that runs, gets
 * its values, and takes its place once state.db says so: a manager that ends before that has
 * changed nothing, and behind it the next one goes on from there.  Nobody writes meanwhile, as no
 * lease is held and none is granted; or, by force, who does finds out as who reads does, by the old
 * header.
 */
#include "carry.h"
#include "core/barrier.h"
#include "core/futex.h"
#include "core/process.h"
#include "core/shared.h"
#include "journal.h"
#include "leases_parts.h"
#include "manager.h"
#include "obituary.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the manager's own records */

static uint32_t record_before(const struct manager *m, uint32_t index, const char *name) {
    return index < m->layout.workers_used && strcmp(m->layout.workers[index], name) == 0
               ? index
               : layout_worker(&m->layout, name);
}

/* By force: its holder claims the worker again. */
static void end_lease(struct shm_worker *worker) {
    worker->word = lease_word(lease_word_epoch(worker->word), SHM_LEASE_FREE);
    worker->previous_pid = worker->pid;
    worker->ended_real_ns = clock_real_ns();
    worker->end_reason = SHM_END_REVOKED;
    worker->end_detail = 0;
}

/* Epochs go on, and so does what is known of who was last. */
static void bring_records(const struct manager *m, struct segment *fresh,
                          const struct layout *next) {
    for (uint32_t i = 0; i < next->workers_used; i++) {
        const uint32_t before = record_before(m, i, next->workers[i]);
        if (before == SHM_NONE)
            continue;
        struct shm_worker worker = image_get_worker(&m->segment.image, before);
        if (lease_word_state(worker.word) != SHM_LEASE_FREE)
            end_lease(&worker);
        image_worker(&fresh->image, i, &worker);
    }
    for (uint32_t i = 1; i < next->attachments_capacity && i < m->segment.image.attachments_used;
         i++) {
        const struct shm_attachment before = image_get_attachment(&m->segment.image, i);
        const struct shm_attachment attachment = {
            .word = lease_word(lease_word_epoch(before.word), SHM_LEASE_FREE), .worker = SHM_NONE};
        image_attachment(&fresh->image, i, &attachment);
    }
    image_manager(&fresh->image, (uint32_t)getpid(), process_start((uint32_t)getpid()),
                  image_header(&m->segment.image)->manager_epoch, MANAGER_TICK_MS);
    image_heartbeat(&fresh->image, clock_mono_ns(), clock_real_ns());
}

/* ---- making it */

/* What can fail without harm, and with the decision the last of that.  *ret is the layout. */
static int fill(struct manager *m, const struct edit *edit, struct segment *fresh,
                struct layout *ret, int64_t *number, char *error, size_t bytes) {
    image_replaced(&m->segment.image, image_header(&fresh->image)->segment_id);
    /* Behind this, who publishes in spite of it either is copied, or sees that he came too late: it
     * pairs with came_late() in the library; and with a reader, who counts what he read only if
     * that state wasn't there behind it. */
    if (!barrier_everywhere())
        shared_fence_full();
    int r = segment_bring(&m->segment, fresh, &m->layout, edit->next, error, bytes);
    if (r < 0)
        return r;
    bring_records(m, fresh, edit->next);
    const uint64_t now_ns = clock_real_ns();
    r = layout_copy(ret, edit->next);
    if (r == 0)
        layout_stamp(ret, now_ns);
    if (r == 0)
        r = state_db_intend(m->state, edit->who, edit->what, ret, edit->table, number);
    if (r == 0)
        r = image_publish(&fresh->image, ret, now_ns);
    if (r < 0) {
        snprintf(error, bytes, "the edit can't be written down in %.300s: %s", m->config.state,
                 strerror(-r));
        return r;
    }
    image_reveal(&fresh->image);
    return segment_decide(fresh, m->state, error, bytes);
}

/* ---- going there */

static bool same_records(const struct layout *a, const struct layout *b) {
    for (uint32_t i = 0; i < a->workers_used; i++)
        if (i >= b->workers_used || strcmp(a->workers[i], b->workers[i]) != 0)
            return false;
    return true;
}

/* Sleepers wake when there is something to go to. */
static void go(struct manager *m, const struct segment *fresh, struct layout *next) {
    struct segment before = m->segment;
    struct layout layout = m->layout;
    if (!same_records(&layout, next))
        obituaries_clear(m); /* they tell of records by number */
    m->segment = *fresh;
    m->segment.adopted = true; /* with its values */
    m->layout = *next;
    *next = (struct layout){0};
    leases_leave(m);
    for (uint32_t i = 0; i < layout.sections_used; i++)
        if (layout_place_in_force(layout.sections[i].state))
            segment_wake(&before, &layout, &layout.sections[i]);
    carry_done_all(&before, &layout);
    segment_close(&before);
    layout_clear(&layout);
    checkpoint_restart(m);
    m->turns_in = 2;
}

/* The old one is removed, or about to be; the next manager finishes that. */
static int end_here(struct manager *m, struct segment *fresh, int r, const char *error) {
    journal(LOG_CRIT, JOURNAL_TROUBLE,
            "the new segment can't take the old one's place: %s; no value is lost, a restart of "
            "the manager goes on from here",
            error);
    segment_close(fresh);
    m->segment.removed = true;
    sd_event_exit(m->event, EXIT_FAILURE);
    return r;
}

static void say(struct manager *m, const struct edit *edit) {
    journal(LOG_INFO, JOURNAL_APPLIED, "generation %llu: %s; the segment is %s now, %llu bytes",
            (unsigned long long)m->layout.generation, edit->what, m->segment.name,
            (unsigned long long)m->segment.bytes);
}

int replace_segment(struct manager *m, const struct edit *edit, char *error, size_t bytes) {
    const struct segment_wish *wish = &edit->wish;
    struct segment fresh;
    struct layout next = {0};
    int64_t number = 0;
    if (m->segment.removed) {
        snprintf(error, bytes, "somebody removed the segment (ipcrm): restart the manager");
        return -EIDRM;
    }
    int r = segment_beside(&fresh, &m->segment, wish, edit->next, error, bytes);
    if (r < 0)
        return r;
    r = fill(m, edit, &fresh, &next, &number, error, bytes);
    if (r < 0) { /* who reads comes back */
        carry_undo(&m->segment, &m->layout);
        image_state(&m->segment.image, SHM_STATE_SERVING);
        segment_abandon(&fresh, m->state);
        layout_clear(&next);
        return r;
    }
    r = segment_succeed(&fresh, &m->segment, wish, error, bytes);
    if (r < 0) {
        layout_clear(&next);
        return end_here(m, &fresh, r, error);
    }
    go(m, &fresh, &next);
    r = state_db_done(m->state, number);
    if (r < 0) /* the generation in the header will tell the next manager */
        journal(LOG_WARNING, JOURNAL_TROUBLE, "%s: %s", m->config.state, strerror(-r));
    if (wish->lock_memory && (segment_permit(&m->segment, wish, error, bytes) < 0 ||
                              segment_lock(&m->segment, &m->layout, true, error, bytes) < 0))
        journal(LOG_WARNING, JOURNAL_TROUBLE, "%s", error);
    say(m, edit);
    return 0;
}
