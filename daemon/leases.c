/* SPDX-License-Identifier: Apache-2.0
 *
 * Granting, watching and ending leases.
 */
#include "leases.h"
#include "core/futex.h"
#include "core/process.h"
#include "journal.h"
#include "leases_parts.h"
#include "manager.h"
#include "obituary.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

/* The close event can come before the lock is gone (1 in 300): look again after so many us. */
static const uint64_t back_off_us[] = {200, 1000, 5000, 20000, 100000};
#define BACK_OFFS (sizeof back_off_us / sizeof *back_off_us)

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata);

/* ---- records */

void leases_end_attachment(struct manager *m, uint32_t index, uint64_t epoch,
                           enum shm_lease_state state) {
    struct shm_attachment record = {.word = lease_word(epoch + 1, state), .worker = SHM_NONE};
    image_attachment(&m->segment.image, index, &record);
}

void leases_write_records(struct manager *m, const struct lease *lease) {
    const struct lease_record *r = &lease->record;
    struct shm_attachment attachment = {.word = lease_word(r->attachment_epoch, lease->state),
                                        .worker = lease->worker,
                                        .pid = r->pid,
                                        .pid_start = r->pid_start,
                                        .since_real_ns = r->since_real_ns,
                                        .uid = r->uid};
    image_attachment(&m->segment.image, r->attachment, &attachment);
    if (lease->worker == SHM_NONE)
        return;
    struct shm_worker worker = image_get_worker(&m->segment.image, lease->worker);
    worker.attachment = r->attachment;
    worker.pid = r->pid;
    worker.pid_start = r->pid_start;
    worker.since_real_ns = r->since_real_ns;
    worker.uid = r->uid;
    worker.word = lease_word(r->worker_epoch, lease->state);
    image_worker(&m->segment.image, lease->worker, &worker);
}

/* ---- what they are called, and how many there may be */

const char *leases_who(const struct lease_record *record, char ret[LEASES_WHO_BYTES]) {
    if (record->worker[0] != '\0')
        snprintf(ret, LEASES_WHO_BYTES, "worker '%s'", record->worker);
    else
        snprintf(ret, LEASES_WHO_BYTES, "an anonymous attachment");
    return ret;
}

struct leases_room leases_room(const struct manager *m) {
    const uint32_t records = m->layout.attachments_capacity - 1; /* 0 is nobody */
    uint32_t workers = 0;
    for (uint32_t i = 0; i < m->layout.workers_used; i++)
        workers += m->layout.workers[i][0] != '\0';
    const unsigned all = records > workers ? records - workers : 0;
    return (struct leases_room){.all = all, .user = all / 2};
}

/* Those that only wait for a lock to go count, as their number can't be given again. */
struct leases_room leases_anonymous(const struct manager *m, uid_t uid) {
    struct leases_room n = {0};
    for (const struct lease *l = m->leases.first; l != NULL; l = l->next)
        if (l->record.worker[0] == '\0') {
            n.all++;
            n.user += l->record.uid == uid;
        }
    return n;
}

/* ---- the list */

static void forget(struct manager *m, struct lease *lease) {
    for (struct lease **at = &m->leases.first; *at != NULL; at = &(*at)->next)
        if (*at == lease) {
            *at = lease->next;
            break;
        }
    if (lease->client != NULL)
        lease->client->lease = NULL;
    sd_event_source_disable_unref(lease->timer);
    if (lease->pidfd >= 0)
        close(lease->pidfd);
    if (lease->keep >= 0)
        close(lease->keep);
    free(lease);
}

/* Who looks at the worker's sections; and at queues, where whoever has gone may have held a lane or
 * taken messages. */
static void wake_sections(struct manager *m, uint32_t worker) {
    for (uint32_t i = 0; i < m->layout.sections_used; i++) {
        const struct shm_section *section = &m->layout.sections[i];
        if (layout_place_in_force(section->state) &&
            (section->owner_index == worker || section->kind == SHM_KIND_QUEUE))
            segment_wake(&m->segment, &m->layout, section);
    }
}

/* ---- the end of a lease */

static void end(struct manager *m, struct lease *lease) {
    const struct lease_record *r = &lease->record;
    uint32_t worker = lease->worker;
    bool mine = worker != SHM_NONE && !lease->superseded;
    bool wrote = lease->state != SHM_LEASE_GRANTED;
    lease_remove(m->leases.dir_fd, r->attachment, r->attachment_epoch);
    leases_end_attachment(m, r->attachment, r->attachment_epoch, SHM_LEASE_FREE);
    if (mine) {
        obituary_note(m, worker, r,
                      lease->state == SHM_LEASE_LEASED ? SHM_END_UNKNOWN : SHM_END_UNCLAIMED, 0);
        if (lease->state == SHM_LEASE_LEASED)
            obituary_write(m, r, worker, &lease->pidfd);
    }
    forget(m, lease);
    moves_soon(m);
    if (mine)
        attach_turn(m, worker);
    if (mine || wrote)
        wake_sections(m, worker);
}

/* Asks the kernel; true when the lease is over, and gone. */
static bool look(struct manager *m, struct lease *lease) {
    if (lease_held(lease->keep) != 0) /* a probe that fails proves nothing: the lease stands */
        return false;
    end(m, lease);
    return true;
}

void leases_set_timer(struct manager *m, struct lease *lease, uint64_t usec) {
    sd_event_source_disable_unref(lease->timer);
    lease->timer = NULL;
    sd_event_add_time_relative(m->event, &lease->timer, CLOCK_MONOTONIC, usec, 100, on_timer,
                               lease);
}

/* Not acknowledged in time: somebody may sit on the unread descriptor (a forked child that
 * inherited the socket: seen).  Its holder never saw LEASED, so it never writes; the name goes on.
 */
static void supersede(struct manager *m, struct lease *lease) {
    char process[PROCESS_TEXT_BYTES], who[LEASES_WHO_BYTES];
    refusals_say(&m->refusals, lease->record.worker, lease->record.uid, lease->record.pid,
                 "%s: %s did not take its lease within %d s; it is void",
                 leases_who(&lease->record, who), process_text(lease->record.pid, process),
                 LEASES_ACK_MS / 1000);
    uint32_t worker = lease->worker;
    struct client *client = lease->client;
    lease->client = NULL;
    if (client != NULL) {
        client->lease = NULL;
        server_drop(client);
    }
    lease->superseded = true;
    leases_end_attachment(m, lease->record.attachment, lease->record.attachment_epoch,
                          SHM_LEASE_FREE);
    if (worker == SHM_NONE)
        return;
    obituary_note(m, worker, &lease->record, SHM_END_UNCLAIMED, 0);
    attach_turn(m, worker);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
    (void)source;
    (void)usec;
    struct lease *lease = userdata;
    struct manager *m = lease->manager;
    if (look(m, lease))
        return 0;
    if (lease->state == SHM_LEASE_GRANTED && !lease->superseded)
        supersede(m, lease);
    else if (lease->checks < BACK_OFFS)
        leases_set_timer(m, lease, back_off_us[lease->checks++]);
    return 0;
}

int leases_on_inotify(sd_event_source *source, const struct inotify_event *event, void *userdata) {
    (void)source;
    struct manager *m = userdata;
    if (event->mask & IN_Q_OVERFLOW) {
        leases_rescan(m);
        return 0;
    }
    uint32_t attachment;
    uint64_t epoch;
    if (event->len == 0 || !lease_parse(event->name, &attachment, &epoch))
        return 0;
    for (struct lease *l = m->leases.first; l != NULL; l = l->next)
        if (l->record.attachment == attachment && l->record.attachment_epoch == epoch) {
            if (!look(m, l) && l->state != SHM_LEASE_GRANTED) {
                l->checks = 0;
                leases_set_timer(m, l, back_off_us[l->checks++]);
            }
            break;
        }
    return 0;
}

/* ---- granting */

/* The free attachment whose number is lowest; 0 = none. */
static uint32_t free_index(const struct manager *m) {
    for (uint32_t i = 1; i < m->layout.attachments_capacity; i++) {
        struct shm_attachment a = image_get_attachment(&m->segment.image, i);
        if (lease_word_state(a.word) != SHM_LEASE_FREE)
            continue;
        bool in_flight = false;
        for (const struct lease *l = m->leases.first; l != NULL && !in_flight; l = l->next)
            in_flight = l->record.attachment == i;
        if (!in_flight)
            return i;
    }
    return 0;
}

static uint64_t next_epoch(const struct manager *m, uint64_t word) {
    uint64_t epoch = lease_word_epoch(word);
    if (epoch > UINT32_MAX) /* slots have 32 bits for it: this one was never ours */
        epoch = 0;
    return (epoch > m->leases.epoch_base ? epoch : m->leases.epoch_base) + 1;
}

int leases_grant(struct manager *m, uint32_t worker, const struct peer *peer, struct lease **ret,
                 int *grant) {
    uint32_t index = free_index(m);
    if (index == 0)
        return -EUSERS;
    struct lease *lease = malloc(sizeof *lease);
    if (lease == NULL)
        return -ENOMEM;
    struct shm_attachment attachment = image_get_attachment(&m->segment.image, index);
    *lease = (struct lease){.manager = m,
                            .worker = worker,
                            .state = SHM_LEASE_GRANTED,
                            .keep = -1,
                            .pidfd = -1,
                            .generation = m->layout.generation};
    struct lease_record *r = &lease->record;
    r->attachment = index;
    r->attachment_epoch = next_epoch(m, attachment.word);
    r->segment_id = image_header(&m->segment.image)->segment_id;
    if (worker != SHM_NONE) {
        r->worker_epoch = next_epoch(m, image_get_worker(&m->segment.image, worker).word);
        memcpy(r->worker, m->layout.workers[worker], SHM_NAME_BYTES);
    }
    r->pid = peer->pid;
    r->uid = peer->uid;
    r->pid_start = peer->pid_start;
    r->since_real_ns = clock_real_ns();
    int made = lease_create(m->leases.dir_fd, r, &lease->keep, grant);
    if (made < 0) {
        free(lease);
        return made;
    }
    if (peer->pidfd >= 0 && worker != SHM_NONE) /* for an obituary, which has a name */
        lease->pidfd = fcntl(peer->pidfd, F_DUPFD_CLOEXEC, 3);
    lease->next = m->leases.first;
    m->leases.first = lease;
    m->leases.grants++;
    leases_write_records(m, lease);
    leases_set_timer(m, lease, LEASES_ACK_MS * UINT64_C(1000));
    *ret = lease;
    return 0;
}

/* Who has no name may come and go many times a second, and is in no journal. */
void leases_acknowledge(struct manager *m, struct lease *lease) {
    char process[PROCESS_TEXT_BYTES];
    lease->client = NULL;
    lease->state = SHM_LEASE_LEASED;
    sd_event_source_disable_unref(lease->timer);
    lease->timer = NULL;
    leases_write_records(m, lease);
    if (lease->record.worker[0] == '\0')
        return;
    journal_about(LOG_INFO, JOURNAL_LEASED, lease->record.worker, lease->record.pid,
                  "worker '%s' is %s (uid %u)", lease->record.worker,
                  process_text(lease->record.pid, process), lease->record.uid);
}

void leases_suspend(struct manager *m, const struct lease *lease, bool suspend) {
    struct shm_worker worker = image_get_worker(&m->segment.image, lease->worker);
    worker.word =
        lease_word(lease->record.worker_epoch, suspend ? SHM_LEASE_REVOKED : lease->state);
    image_worker(&m->segment.image, lease->worker, &worker);
}

/* Its file goes, so that no later manager takes the lock that is still held for anything; or it is
 * kept for as long as that lock is, and its attachment says what it is. */
static void void_lease(struct manager *m, struct lease *lease, bool lingers) {
    const struct lease_record *r = &lease->record;
    if (lingers) {
        leases_end_attachment(m, r->attachment, r->attachment_epoch, SHM_LEASE_REVOKED);
        lease->superseded = true;
        lease->state = SHM_LEASE_REVOKED;
        return;
    }
    lease_remove(m->leases.dir_fd, r->attachment, r->attachment_epoch);
    leases_end_attachment(m, r->attachment, r->attachment_epoch, SHM_LEASE_FREE);
    forget(m, lease);
}

void leases_revoke(struct manager *m, struct lease *lease, bool lingers) {
    const struct lease_record r = lease->record;
    uint32_t worker = lease->worker;
    char process[PROCESS_TEXT_BYTES], who[LEASES_WHO_BYTES];
    if (worker != SHM_NONE)
        obituary_note(m, worker, &r, SHM_END_REVOKED, 0);
    journal_about(LOG_NOTICE, JOURNAL_ENDED, r.worker, r.pid, "%s: the lease of %s was taken back",
                  leases_who(&r, who), process_text(r.pid, process));
    struct client *client = lease->client;
    lease->client = NULL;
    void_lease(m, lease, lingers);
    if (client != NULL) {
        client->lease = NULL;
        server_drop(client);
    }
    if (worker != SHM_NONE)
        attach_turn(m, worker);
    wake_sections(m, worker);
}

void leases_disown(struct manager *m, struct lease *lease) {
    lease->client = NULL;
    look(m, lease);
}

struct lease *leases_of_worker(struct manager *m, uint32_t worker) {
    for (struct lease *l = worker == SHM_NONE ? NULL : m->leases.first; l != NULL;) {
        if (l->worker != worker || l->superseded)
            l = l->next;
        else if (!look(m, l))
            return l;
        else
            l = m->leases.first; /* its end may have granted the worker to the next in line */
    }
    return NULL;
}

const struct lease *leases_peek(const struct manager *m, uint32_t worker) {
    for (const struct lease *l = m->leases.first; l != NULL && worker != SHM_NONE; l = l->next)
        if (l->worker == worker && !l->superseded)
            return l;
    return NULL;
}

void leases_rescan(struct manager *m) {
    for (struct lease *l = m->leases.first, *next; l != NULL; l = next) {
        next = l->next;
        if (look(m, l))
            next = m->leases.first; /* an end may grant, drop and end others */
    }
}

unsigned leases_unacked(const struct manager *m, uid_t uid) {
    unsigned n = 0;
    for (const struct lease *l = m->leases.first; l != NULL; l = l->next)
        n += l->record.uid == uid && l->state == SHM_LEASE_GRANTED;
    return n;
}

bool *leases_held(const struct manager *m) {
    bool *held = calloc(m->layout.workers_used + 1, sizeof *held);
    for (const struct lease *l = m->leases.first; held != NULL && l != NULL; l = l->next)
        if (!l->superseded && l->worker < m->layout.workers_used)
            held[l->worker] = true;
    return held;
}

/* Who never acknowledged a lease, and has lost it, never wrote. */
static bool may_write(const struct lease *l) {
    return !l->superseded || l->state != SHM_LEASE_GRANTED;
}

bool *leases_lingering(const struct manager *m) {
    bool *lingers = calloc(m->layout.workers_used + 1, sizeof *lingers);
    for (const struct lease *l = m->leases.first; lingers != NULL && l != NULL; l = l->next)
        if (may_write(l) && l->worker < m->layout.workers_used)
            lingers[l->worker] = true;
    return lingers;
}

unsigned leases_nameless(const struct manager *m) {
    unsigned n = 0;
    for (const struct lease *l = m->leases.first; l != NULL; l = l->next)
        n += !l->superseded && l->record.worker[0] == '\0';
    return n;
}

bool leases_attached(const struct manager *m, uint64_t *since) {
    *since = UINT64_MAX;
    for (const struct lease *l = m->leases.first; l != NULL; l = l->next)
        if (may_write(l) && l->generation < *since)
            *since = l->generation;
    return *since != UINT64_MAX;
}

void leases_leave(struct manager *m) {
    for (struct lease *l; (l = m->leases.first) != NULL;) {
        struct client *client = l->client;
        lease_remove(m->leases.dir_fd, l->record.attachment, l->record.attachment_epoch);
        forget(m, l);
        if (client != NULL) /* it was granted there, and not yet acknowledged */
            server_drop(client);
    }
}

void leases_relate(struct manager *m) {
    for (struct lease *l = m->leases.first; l != NULL; l = l->next)
        l->worker = layout_worker(&m->layout, l->record.worker);
}

/* ---- the end of the manager */

void leases_close(struct manager *m) {
    if (m->leases.dir_fd >= 0)
        leases_rescan(m);
    obituaries_clear(m);
    while (m->leases.first != NULL)
        forget(m, m->leases.first); /* the files stay: they are what the next manager finds */
    sd_event_source_disable_unref(m->leases.inotify);
    m->leases.inotify = NULL;
    if (m->leases.dir_fd >= 0)
        close(m->leases.dir_fd);
    m->leases.dir_fd = -1;
}
