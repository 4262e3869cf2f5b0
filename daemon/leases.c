/* SPDX-License-Identifier: Apache-2.0
 *
 * Granting, watching and ending leases.
 */
#include "leases.h"
#include "core/futex.h"
#include "core/process.h"
#include "elsewhere.h"
#include "journal.h"
#include "manager.h"
#include "obituary.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

/* The close event can come before the lock is gone (1 in 300): look again after so many us. */
static const uint64_t back_off_us[] = {200, 1000, 5000, 20000, 100000};
#define BACK_OFFS (sizeof back_off_us / sizeof *back_off_us)

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata);

/* ---- records */

static void free_attachment(struct manager *m, uint32_t index, uint64_t epoch) {
    struct shm_attachment record = {.word = lease_word(epoch + 1, SHM_LEASE_FREE),
                                    .worker = SHM_NONE};
    image_attachment(&m->segment.image, index, &record);
}

/* What is known of a holder, in both records; the states last. */
static void write_records(struct manager *m, const struct lease *lease) {
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

static void wake_sections(struct manager *m, uint32_t worker) {
    for (uint32_t i = 0; i < m->layout.sections_used; i++)
        if (layout_place_in_force(m->layout.sections[i].state) &&
            m->layout.sections[i].owner_index == worker)
            segment_wake(&m->segment, &m->layout.sections[i]);
}

/* ---- the end of a lease */

static void end(struct manager *m, struct lease *lease) {
    const struct lease_record *r = &lease->record;
    uint32_t worker = lease->worker;
    bool mine = worker != SHM_NONE && !lease->superseded;
    lease_remove(m->leases.dir_fd, r->attachment, r->attachment_epoch);
    free_attachment(m, r->attachment, r->attachment_epoch);
    if (mine) {
        obituary_note(m, worker, r,
                      lease->state == SHM_LEASE_LEASED ? SHM_END_UNKNOWN : SHM_END_UNCLAIMED, 0);
        if (lease->state == SHM_LEASE_LEASED)
            obituary_write(m, r, worker, &lease->pidfd);
    }
    forget(m, lease);
    if (mine) {
        attach_turn(m, worker);
        wake_sections(m, worker);
    }
}

/* Asks the kernel; true when the lease is over, and gone. */
static bool look(struct manager *m, struct lease *lease) {
    if (lease_held(lease->keep) != 0) /* a probe that fails proves nothing: the lease stands */
        return false;
    end(m, lease);
    return true;
}

static void set_timer(struct manager *m, struct lease *lease, uint64_t usec) {
    sd_event_source_disable_unref(lease->timer);
    lease->timer = NULL;
    sd_event_add_time_relative(m->event, &lease->timer, CLOCK_MONOTONIC, usec, 100, on_timer,
                               lease);
}

/* Not acknowledged in time: somebody may sit on the unread descriptor (a forked child that
 * inherited the socket: seen).  Its holder never saw LEASED, so it never writes; the name goes on.
 */
static void supersede(struct manager *m, struct lease *lease) {
    char process[PROCESS_TEXT_BYTES];
    refusals_say(&m->refusals, lease->record.worker, lease->record.uid, lease->record.pid,
                 "worker '%s': %s did not take its lease within %d s; it is void",
                 lease->record.worker, process_text(lease->record.pid, process),
                 LEASES_ACK_MS / 1000);
    uint32_t worker = lease->worker;
    struct client *client = lease->client;
    lease->client = NULL;
    if (client != NULL) {
        client->lease = NULL;
        server_drop(client);
    }
    lease->superseded = true;
    free_attachment(m, lease->record.attachment, lease->record.attachment_epoch);
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
        set_timer(m, lease, back_off_us[lease->checks++]);
    return 0;
}

static int on_inotify(sd_event_source *source, const struct inotify_event *event, void *userdata) {
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
            if (!look(m, l) && l->state == SHM_LEASE_LEASED) {
                l->checks = 0;
                set_timer(m, l, back_off_us[l->checks++]);
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
    struct shm_worker record = image_get_worker(&m->segment.image, worker);
    *lease = (struct lease){
        .manager = m, .worker = worker, .state = SHM_LEASE_GRANTED, .keep = -1, .pidfd = -1};
    struct lease_record *r = &lease->record;
    r->attachment = index;
    r->attachment_epoch = next_epoch(m, attachment.word);
    r->worker_epoch = next_epoch(m, record.word);
    r->segment_id = image_header(&m->segment.image)->segment_id;
    memcpy(r->worker, m->layout.workers[worker], SHM_NAME_BYTES);
    r->pid = peer->pid;
    r->uid = peer->uid;
    r->pid_start = peer->pid_start;
    r->since_real_ns = clock_real_ns();
    int made = lease_create(m->leases.dir_fd, r, &lease->keep, grant);
    if (made < 0) {
        free(lease);
        return made;
    }
    if (peer->pidfd >= 0)
        lease->pidfd = fcntl(peer->pidfd, F_DUPFD_CLOEXEC, 3);
    lease->next = m->leases.first;
    m->leases.first = lease;
    m->leases.grants++;
    write_records(m, lease);
    set_timer(m, lease, LEASES_ACK_MS * UINT64_C(1000));
    *ret = lease;
    return 0;
}

void leases_acknowledge(struct manager *m, struct lease *lease) {
    char process[PROCESS_TEXT_BYTES];
    lease->client = NULL;
    lease->state = SHM_LEASE_LEASED;
    sd_event_source_disable_unref(lease->timer);
    lease->timer = NULL;
    write_records(m, lease);
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

void leases_revoke(struct manager *m, struct lease *lease) {
    const struct lease_record *r = &lease->record;
    uint32_t worker = lease->worker;
    char process[PROCESS_TEXT_BYTES];
    /* Its file goes, so that no later manager takes the lock that is still held for anything. */
    lease_remove(m->leases.dir_fd, r->attachment, r->attachment_epoch);
    free_attachment(m, r->attachment, r->attachment_epoch);
    obituary_note(m, worker, r, SHM_END_REVOKED, 0);
    journal_about(LOG_NOTICE, JOURNAL_ENDED, r->worker, r->pid,
                  "worker '%s': the lease of %s was taken back", r->worker,
                  process_text(r->pid, process));
    struct client *client = lease->client;
    forget(m, lease);
    if (client != NULL)
        server_drop(client);
    attach_turn(m, worker);
    wake_sections(m, worker);
}

void leases_disown(struct manager *m, struct lease *lease) {
    lease->client = NULL;
    look(m, lease);
}

struct lease *leases_of_worker(struct manager *m, uint32_t worker) {
    for (struct lease *l = m->leases.first; l != NULL;) {
        if (l->worker != worker || l->superseded)
            l = l->next;
        else if (!look(m, l))
            return l;
        else
            l = m->leases.first; /* its end may have granted the worker to the next in line */
    }
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

bool *leases_held(struct manager *m) {
    leases_rescan(m);
    bool *held = calloc(m->layout.workers_used + 1, sizeof *held);
    for (const struct lease *l = m->leases.first; held != NULL && l != NULL; l = l->next)
        if (!l->superseded && l->worker < m->layout.workers_used)
            held[l->worker] = true;
    return held;
}

void leases_relate(struct manager *m) {
    for (struct lease *l = m->leases.first; l != NULL; l = l->next)
        l->worker = layout_worker(&m->layout, l->record.worker);
}

/* ---- after a restart */

/* Who was granted a lease by a manager that died takes it only after it has seen LEASED, and one
 * that was superseded left a later epoch.  Anything else in its record is damage, which must not
 * cost a live holder its name; nor is a rebuilt header a witness. */
static bool was_acknowledged(const struct manager *m, const struct lease_record *r,
                             uint32_t worker) {
    struct shm_attachment a = image_get_attachment(&m->segment.image, r->attachment);
    struct shm_worker w = {0};
    if (worker != SHM_NONE)
        w = image_get_worker(&m->segment.image, worker);
    return m->segment.rebuilt || w.word == lease_word(r->worker_epoch, SHM_LEASE_LEASED) ||
           (a.word != lease_word(r->attachment_epoch, SHM_LEASE_GRANTED) &&
            lease_word_epoch(a.word) <= r->attachment_epoch);
}

/* Nonsense, a link, a directory, or gone meanwhile. */
static bool is_no_lease(int r) {
    return r == -EBADMSG || r == -ELOOP || r == -EISDIR || r == -ENOENT;
}

static int find_one(struct manager *m, const char *file) {
    struct lease_record record;
    int keep;
    int r = lease_open(m->leases.dir_fd, file, &record, &keep);
    if (r == 0 && record.attachment < m->layout.attachments_capacity &&
        record.segment_id == image_header(&m->segment.image)->segment_id && lease_held(keep) != 0) {
        struct lease *lease = malloc(sizeof *lease);
        if (lease == NULL) {
            close(keep);
            return -ENOMEM;
        }
        *lease = (struct lease){.manager = m,
                                .record = record,
                                .worker = layout_worker(&m->layout, record.worker),
                                .keep = keep,
                                .pidfd = obituary_watch(&record),
                                .next = m->leases.first};
        lease->state =
            was_acknowledged(m, &record, lease->worker) ? SHM_LEASE_LEASED : SHM_LEASE_GRANTED;
        m->leases.first = lease;
        write_records(m, lease);
        if (lease->state == SHM_LEASE_GRANTED)
            set_timer(m, lease, LEASES_ACK_MS * UINT64_C(1000));
        return 0;
    }
    if (r == 0)
        close(keep);
    /* One that can't be looked at may be held: without it a second owner would come. */
    if (r < 0 && !is_no_lease(r))
        return r;
    unlinkat(m->leases.dir_fd, file, 0);
    return 0;
}

static int find_all(struct manager *m, DIR *dir) {
    int r = 0;
    for (;;) {
        errno = 0;
        const struct dirent *e = readdir(dir);
        if (e == NULL)
            return -errno;
        if (e->d_name[0] != '.')
            r = find_one(m, e->d_name);
        if (r < 0)
            return r;
    }
}

/* Records that say "held" for which no lease was found: it ended while no manager ran. */
static void free_the_rest(struct manager *m) {
    for (uint32_t i = 1; i < m->segment.image.attachments_used; i++) {
        struct shm_attachment a = image_get_attachment(&m->segment.image, i);
        bool found = false;
        for (const struct lease *l = m->leases.first; l != NULL && !found; l = l->next)
            found = l->record.attachment == i;
        if (!found && lease_word_state(a.word) != SHM_LEASE_FREE)
            free_attachment(m, i, lease_word_epoch(a.word));
    }
    for (uint32_t i = 0; i < m->layout.workers_used; i++) {
        struct shm_worker w = image_get_worker(&m->segment.image, i);
        if (lease_word_state(w.word) == SHM_LEASE_FREE || leases_of_worker(m, i) != NULL)
            continue;
        struct lease_record r = {.worker_epoch = lease_word_epoch(w.word), .pid = w.pid};
        obituary_note(m, i, &r, SHM_END_WHILE_AWAY, 0);
    }
}

static const char *reason(int error) {
    return error == EMFILE ? "too many open files: raise LimitNOFILE (ulimit -n)" : strerror(error);
}

static int open_directory(struct leases *leases, char *error, size_t error_bytes) {
    struct stat stat;
    if (mkdir(leases->path, 0700) < 0 && errno != EEXIST) {
        snprintf(error, error_bytes, "%s: can't be made: %s", leases->path, reason(errno));
        return -errno;
    }
    leases->dir_fd = open(leases->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    bool foreign = leases->dir_fd < 0 && lstat(leases->path, &stat) == 0;
    if (!foreign && (leases->dir_fd < 0 || fstat(leases->dir_fd, &stat) < 0)) {
        snprintf(error, error_bytes, "%s: %s", leases->path, reason(errno));
        return -errno;
    }
    if (!foreign && stat.st_uid == geteuid() && (stat.st_mode & 077) == 0)
        return 0;
    snprintf(
        error, error_bytes,
        "%s: must be a directory of ours that nobody else can enter (uid %u, mode 0700), and is "
        "uid %u's, mode %04o: remove it",
        leases->path, geteuid(), stat.st_uid, stat.st_mode & 07777);
    return -EPERM;
}

int leases_open(struct manager *m, char *error, size_t error_bytes) {
    struct leases *leases = &m->leases;
    leases->dir_fd = -1;
    if (m->segment.rebuilt) /* seconds since 1970 outrun any count of grants */
        leases->epoch_base = clock_real_ns() / UINT64_C(1000000000);
    snprintf(leases->path, sizeof leases->path, "%s/%08x.leases", m->config.runtime_dir, m->key);
    int r = open_directory(leases, error, error_bytes);
    if (r < 0)
        return r;
    if (lease_probe(leases->dir_fd) == -EOPNOTSUPP) { /* any other error may pass */
        snprintf(error, error_bytes,
                 "%s: no lock lasts on its file system (an overlay, as a container's root?): give "
                 "a --runtime-dir on a tmpfs, as below /run or /dev/shm",
                 leases->path);
        return -EOPNOTSUPP;
    }
    r = sd_event_add_inotify(m->event, &leases->inotify, leases->path,
                             IN_CLOSE_NOWRITE | IN_CLOSE_WRITE, on_inotify, m);
    if (r < 0) {
        snprintf(error, error_bytes, "%s: can't be watched: %s", leases->path, reason(-r));
        return r;
    }
    DIR *dir = opendir(leases->path);
    if (dir == NULL) {
        snprintf(error, error_bytes, "%s: %s", leases->path, reason(errno));
        return -errno;
    }
    r = find_all(m, dir);
    closedir(dir);
    if (r < 0) {
        snprintf(error, error_bytes, "%s: its leases can't all be looked at (%s): start again",
                 leases->path, reason(-r));
        return r;
    }
    r = elsewhere_settle(m, error, error_bytes);
    if (r == 0)
        free_the_rest(m);
    return r;
}

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
