/* SPDX-License-Identifier: Apache-2.0
 *
 * Taking a lease, giving it up, and finding that somebody's has ended.
 */
#include "tenancy.h"

#include "directory.h"
#include "futex.h"
#include "lease.h"
#include "memfd.h"
#include "process.h"
#include "shared.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* An attachment's byte is its index, a worker's stands behind all of those. */
#define WORKER_BYTES (SHM_ATTACHMENTS_MAX + 1)
#define PROBE_BYTE   0 /* of the attachment that is nobody */

/* ---- the file */

/* For anybody who inherits it, whatever user he has become since: he opens it anew. */
#define FILE_MODE 0666

static int make_file(void) {
    static const char *const directories[] = {"/dev/shm", "/tmp"};
    int fd = memfd_create("shm-leases", MFD_CLOEXEC), error = errno;
    for (unsigned i = 0; fd < 0 && i < sizeof directories / sizeof *directories; i++)
        fd = open(directories[i], O_TMPFILE | O_RDWR | O_CLOEXEC, FILE_MODE);
    if (fd < 0)
        return -error;
    if (fchmod(fd, FILE_MODE) < 0) {
        error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

/* A descriptor's number may be another file's, which must neither be locked nor believed. */
bool tenancy_is_there(const struct tenancy *tenancy) {
    struct stat file;
    return fstat(tenancy->fd, &file) == 0 && file.st_dev == tenancy->device &&
           file.st_ino == tenancy->inode;
}

static int open_anew(const struct tenancy *tenancy, int *ret) {
    struct stat file;
    int fd, r = tenancy_is_there(tenancy) ? memfd_reopen(tenancy->fd, true, &fd) : -EBADF;
    if (r < 0)
        return r;
    if (fstat(fd, &file) < 0 || file.st_dev != tenancy->device || file.st_ino != tenancy->inode) {
        close(fd);
        return -EBADF;
    }
    *ret = fd;
    return 0;
}

/* 0; -EAGAIN: somebody has it. */
static int lock_byte(int fd, uint64_t byte) {
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)byte, .l_len = 1};
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
        return 0;
    return errno == EACCES ? -EAGAIN : -errno;
}

/* Nobody has the byte, as far as can be told. */
static bool is_unlocked(const struct tenancy *tenancy, uint64_t byte) {
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)byte, .l_len = 1};
    return tenancy_is_there(tenancy) && fcntl(tenancy->fd, F_OFD_GETLK, &lock) == 0 &&
           lock.l_type == F_UNLCK;
}

/* overlayfs, say, maps another file than the one that was locked. */
static int probe(const struct tenancy *tenancy) {
    int fd, r = open_anew(tenancy, &fd);
    if (r < 0)
        return r;
    r = lock_byte(fd, PROBE_BYTE);
    if (r < 0) {
        close(fd);
        return r;
    }
    void *map;
    r = lease_map(fd, &map);
    if (r < 0)
        return r;
    r = is_unlocked(tenancy, PROBE_BYTE) ? -EOPNOTSUPP : 0;
    lease_unmap(map);
    return r;
}

int tenancy_make(struct tenancy *ret) {
    struct stat file;
    const int fd = make_file();
    if (fd < 0)
        return fd;
    *ret = (struct tenancy){.fd = fd};
    int r = fstat(fd, &file) < 0 ? -errno : 0;
    if (r == 0) {
        ret->device = file.st_dev;
        ret->inode = file.st_ino;
        r = probe(ret);
    }
    if (r < 0) {
        close(fd);
        ret->fd = -1;
    }
    return r;
}

/* ---- that somebody's has ended */

/* The next epoch begins.  False: it began before. */
static bool count_on(uint64_t *word, uint64_t seen) {
    return shared_compare_exchange64(word, &seen,
                                     lease_word(lease_word_epoch(seen) + 1, SHM_LEASE_FREE));
}

/* The holder locks the byte before he writes LEASED and is FREE before he unlocks it: if it is
 * unlocked behind our load of LEASED, that lease is over.  Pairs with take_word() and
 * tenancy_release(). */
static bool has_ended(const struct tenancy *tenancy, uint64_t byte, uint64_t *word) {
    const uint64_t seen = shared_load_acquire64(word);
    if (lease_word_state(seen) != SHM_LEASE_LEASED)
        return false;
    if (!is_unlocked(tenancy, byte))
        return lease_word_epoch(shared_load_acquire64(word)) != lease_word_epoch(seen);
    count_on(word, seen);
    return true;
}

static uint64_t worker_byte(uint32_t worker) {
    return WORKER_BYTES + (uint64_t)worker;
}

bool tenancy_worker_ended(const struct tenancy *tenancy, uint32_t worker) {
    return worker < tenancy->workers_n &&
           has_ended(tenancy, worker_byte(worker), &tenancy->workers[worker].word);
}

bool tenancy_attachment_ended(const struct tenancy *tenancy, uint32_t attachment) {
    return attachment != 0 && attachment < tenancy->attachments_n &&
           has_ended(tenancy, attachment, &tenancy->attachments[attachment].word);
}

/* ---- taking one */

/* For who has the byte: whoever had it before is gone.  The epoch that is free now. */
static uint64_t end_former(uint64_t *word) {
    uint64_t seen = shared_load_acquire64(word);
    while (lease_word_state(seen) == SHM_LEASE_LEASED) {
        count_on(word, seen);
        seen = shared_load_acquire64(word);
    }
    return lease_word_epoch(seen);
}

/* Behind the record's fields, for readers of the record (COPY_RECORD); the lowest epoch is 1, as 0
 * is what a word of nobody's names.  FREE words are changed by who has the byte alone. */
static uint64_t take_word(uint64_t *word, uint64_t epoch) {
    if (epoch == 0)
        epoch = 1;
    shared_store_release64(word, lease_word(epoch, SHM_LEASE_LEASED));
    return epoch;
}

#define PUT32(field, value) shared_store_relaxed32(&(field), (value))
#define PUT64(field, value) shared_store_relaxed64(&(field), (value))

static uint64_t take_worker(struct shm_worker *record, uint32_t attachment, uint64_t start) {
    const uint64_t word = shared_load_acquire64(&record->word);
    const uint64_t epoch = end_former(&record->word), now = clock_real_ns();
    shared_fence_release(); /* the word before the fields: pairs with COPY_RECORD's fence */
    if (lease_word_state(word) == SHM_LEASE_LEASED) {
        PUT32(record->end_reason, SHM_END_UNKNOWN);
        PUT32(record->end_detail, 0);
        PUT64(record->ended_real_ns, now);
    }
    PUT32(record->previous_pid, shared_load_relaxed32(&record->pid));
    PUT32(record->attachment, attachment);
    PUT32(record->pid, (uint32_t)getpid());
    PUT64(record->pid_start, start);
    PUT64(record->since_real_ns, now);
    PUT32(record->uid, geteuid());
    return take_word(&record->word, epoch);
}

static uint64_t take_attachment(struct shm_attachment *record, uint32_t worker, uint64_t start) {
    const uint64_t epoch = end_former(&record->word);
    shared_fence_release(); /* as above */
    PUT32(record->worker, worker);
    PUT32(record->pid, (uint32_t)getpid());
    PUT64(record->pid_start, start);
    PUT64(record->since_real_ns, clock_real_ns());
    PUT32(record->uid, geteuid());
    return take_word(&record->word, epoch);
}

/* Locks the first that can be had: of those that nobody has, then of those whose holder may have
 * died. */
static int lock_attachment(const struct tenancy *tenancy, int fd, uint32_t *ret) {
    for (int dead = 0; dead <= 1; dead++)
        for (uint32_t i = 1; i < tenancy->attachments_n; i++) {
            const uint64_t word = shared_load_acquire64(&tenancy->attachments[i].word);
            if ((lease_word_state(word) == SHM_LEASE_LEASED) != dead)
                continue;
            int r = lock_byte(fd, i);
            if (r == 0)
                *ret = i;
            if (r != -EAGAIN)
                return r;
        }
    return -EUSERS;
}

static int lock_both(const struct tenancy *tenancy, int fd, struct tenant *tenant) {
    int r = 0;
    if (tenant->worker != SHM_NONE)
        r = tenant->worker < tenancy->workers_n ? lock_byte(fd, worker_byte(tenant->worker))
                                                : -EINVAL;
    if (r == -EAGAIN)
        return -EBUSY;
    return r < 0 ? r : lock_attachment(tenancy, fd, &tenant->attachment);
}

int tenancy_take(const struct tenancy *tenancy, uint32_t worker, struct tenant *ret) {
    struct tenant tenant = {.worker = worker};
    int fd, r = open_anew(tenancy, &fd);
    if (r < 0)
        return r;
    r = lock_both(tenancy, fd, &tenant);
    if (r < 0) {
        close(fd);
        return r;
    }
    r = lease_map(fd, &tenant.map); /* nothing fails behind this */
    if (r < 0)
        return r;
    const uint64_t start = process_start((uint32_t)getpid());
    tenant.attachment_epoch =
        take_attachment(&tenancy->attachments[tenant.attachment], worker, start);
    if (worker != SHM_NONE)
        tenant.worker_epoch = take_worker(&tenancy->workers[worker], tenant.attachment, start);
    *ret = tenant;
    return 0;
}

/* ---- giving it up */

static void give_up(uint64_t *word, uint64_t epoch) {
    count_on(word, lease_word(epoch, SHM_LEASE_LEASED));
}

void tenancy_release(const struct tenancy *tenancy, struct tenant *tenant) {
    if (tenant->map == NULL)
        return;
    if (tenant->worker != SHM_NONE) {
        struct shm_worker *record = &tenancy->workers[tenant->worker];
        PUT32(record->end_reason, SHM_END_RELEASED);
        PUT32(record->end_detail, 0);
        PUT64(record->ended_real_ns, clock_real_ns());
        give_up(&record->word, tenant->worker_epoch);
    }
    give_up(&tenancy->attachments[tenant->attachment].word, tenant->attachment_epoch);
    lease_unmap(tenant->map); /* behind the words: see has_ended() */
    *tenant = (struct tenant){.worker = SHM_NONE};
}
