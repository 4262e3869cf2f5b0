/* SPDX-License-Identifier: Apache-2.0
 *
 * The leases that an earlier manager granted: the files tell which there were, the locks which of
 * them last.
 */
#include "core/futex.h"
#include "elsewhere.h"
#include "journal.h"
#include "leases_parts.h"
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

/* A later epoch, and the worker's record isn't this one's: it was taken back, or was not
 * acknowledged in time.  Its lock is there all the same; its holder may have a successor. */
static bool was_superseded(const struct manager *m, const struct lease *lease) {
    struct shm_attachment a = image_get_attachment(&m->segment.image, lease->record.attachment);
    struct shm_worker w = {0};
    if (lease->worker != SHM_NONE)
        w = image_get_worker(&m->segment.image, lease->worker);
    return !m->segment.rebuilt && lease_word_epoch(a.word) > lease->record.attachment_epoch &&
           w.word != lease_word(lease->record.worker_epoch, SHM_LEASE_LEASED);
}

static enum shm_lease_state state_of(const struct manager *m, const struct lease *lease) {
    struct shm_attachment a = image_get_attachment(&m->segment.image, lease->record.attachment);
    if (lease->superseded && lease_word_state(a.word) == SHM_LEASE_REVOKED)
        return SHM_LEASE_REVOKED;
    return was_acknowledged(m, &lease->record, lease->worker) ? SHM_LEASE_LEASED
                                                              : SHM_LEASE_GRANTED;
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
                                .pidfd = record.worker[0] != '\0' ? obituary_watch(&record) : -1,
                                .next = m->leases.first};
        lease->superseded = was_superseded(m, lease);
        lease->state = state_of(m, lease);
        m->leases.first = lease;
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

/* Of two leases of one worker the later grant counts, whatever the records say. */
static void supersede_earlier(struct manager *m) {
    for (struct lease *l = m->leases.first; l != NULL; l = l->next)
        for (struct lease *other = m->leases.first; other != NULL && !l->superseded;
             other = other->next) {
            if (other->superseded || l->worker == SHM_NONE || other->worker != l->worker ||
                other->record.worker_epoch <= l->record.worker_epoch)
                continue;
            l->superseded = true;
            if (l->state == SHM_LEASE_LEASED)
                l->state = SHM_LEASE_REVOKED;
            leases_end_attachment(m, l->record.attachment, l->record.attachment_epoch,
                                  l->state == SHM_LEASE_REVOKED ? l->state : SHM_LEASE_FREE);
        }
}

static void write_found(struct manager *m) {
    for (struct lease *l = m->leases.first; l != NULL; l = l->next) {
        if (l->superseded)
            continue;
        leases_write_records(m, l);
        if (l->state == SHM_LEASE_GRANTED)
            leases_set_timer(m, l, LEASES_ACK_MS * UINT64_C(1000));
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
            leases_end_attachment(m, i, lease_word_epoch(a.word), SHM_LEASE_FREE);
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
                             IN_CLOSE_NOWRITE | IN_CLOSE_WRITE, leases_on_inotify, m);
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
    supersede_earlier(m);
    r = elsewhere_settle(m, error, error_bytes);
    if (r < 0)
        return r;
    write_found(m);
    free_the_rest(m);
    return 0;
}
