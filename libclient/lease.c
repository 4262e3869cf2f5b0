/* SPDX-License-Identifier: Apache-2.0
 *
 * Being somebody who may write: the lease, and how it is come by.  It is either taken over from
 * `shmtool run`, which left it open over exec, or granted by the manager.  The manager's word in
 * the segment's header is what counts in the end; the messages only say where to look.
 */
#include "core/lease.h"
#include "client.h"
#include "core/crc32c.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Is `granted` the worker that was asked for, or one of its instances?  NULL: none was. */
static bool same_worker(const char *granted, const char *wanted) {
    size_t n = wanted == NULL ? 0 : strlen(wanted);
    return n == 0 ? granted[0] == '\0'
                  : strncmp(granted, wanted, n) == 0 && (granted[n] == '\0' || granted[n] == '#');
}

/* Who is, or will be, the holder: for "%s%s%s" in texts. */
#define NAMED(worker)                                                                              \
    (worker)[0] != '\0' ? "worker '" : "an anonymous attachment", (worker),                        \
        (worker)[0] != '\0' ? "'" : ""

/* Keeps a lease's description, which it closes: as a mapping, which lasts as long as the address
 * space, and as a descriptor, if one shall outlast that. */
static int keep(struct standing *standing, int fd, uint32_t flags) {
    standing->fd = -1;
    if ((flags & SHMC_LEASE_FD) != 0) {
        standing->fd = fcntl(fd, F_DUPFD, 3); /* without FD_CLOEXEC: exec passes it on */
        if (standing->fd < 0) {
            int error = -errno;
            close(fd);
            return error;
        }
    }
    return lease_map(fd, &standing->map);
}

void standing_drop(struct standing *standing) {
    lease_unmap(standing->map);
    standing->map = NULL;
    standing_forget(standing);
}

void standing_forget(struct standing *standing) {
    if (standing->attachment != 0 && standing->fd >= 0)
        close(standing->fd);
    standing->fd = -1;
    standing->worker[0] = '\0';
    standing->attachment = 0;
}

const char *standing_text(const struct standing *standing, char ret[STANDING_BYTES]) {
    if (standing->worker[0] != '\0')
        snprintf(ret, STANDING_BYTES, "worker '%s'", standing->worker);
    else
        snprintf(ret, STANDING_BYTES, "%s",
                 standing->attachment != 0 ? "an anonymous attachment" : "a reader");
    return ret;
}

/* ---- taken over */

struct inherited {
    uint32_t key, attachment;
    unsigned long long epoch;
    char worker[SHM_NAME_BYTES];
    int fd;
};
#define NAMELESS "-" /* in place of a worker */

static bool parse_inherited(const char *text, struct inherited *ret) {
    int end = 0;
    if (sscanf(text, "0x%8x:%63[^:]:%u:%llu:%d%n", &ret->key, ret->worker, &ret->attachment,
               &ret->epoch, &ret->fd, &end) != 5)
        return false;
    if (strcmp(ret->worker, NAMELESS) == 0)
        ret->worker[0] = '\0';
    return text[end] == '\0' && ret->fd >= 0;
}

/* The descriptor may be anything by now: it is the lease if it holds the record of that grant. */
static bool read_record(const struct inherited *inherited, struct lease_record *ret) {
    struct stat file;
    return fstat(inherited->fd, &file) == 0 && S_ISREG(file.st_mode) &&
           pread(inherited->fd, ret, sizeof *ret, 0) == (ssize_t)sizeof *ret &&
           ret->magic == LEASE_MAGIC && ret->crc == CRC32C_OF(ret) &&
           ret->attachment == inherited->attachment && ret->attachment_epoch == inherited->epoch &&
           memchr(ret->worker, '\0', sizeof ret->worker) != NULL &&
           strcmp(ret->worker, inherited->worker) == 0;
}

/* 1: taken over; 0: there is none for us. */
static int take_over(shmc *segment, const struct settings *settings) {
    const char *text = secure_getenv("SHMC_LEASE");
    struct inherited inherited;
    struct lease_record record;
    if (text == NULL || !parse_inherited(text, &inherited) || inherited.key != settings->key ||
        !same_worker(inherited.worker, settings->worker) || !read_record(&inherited, &record))
        return 0;
    /* A name can't be had twice, and so is shared; of the others each process can have its own. */
    if (record.worker[0] == '\0' && record.pid != (uint32_t)getpid())
        return 0;
    struct shm_attachment attachment;
    if (directory_attachment(&segment->now->directory, record.attachment, &attachment) < 0 ||
        attachment.word != lease_word(record.attachment_epoch, SHM_LEASE_LEASED))
        return 0;
    struct standing *standing = &segment->now->standing;
    *standing = (struct standing){.worker_index = attachment.worker,
                                  .attachment = record.attachment,
                                  .worker_epoch = record.worker_epoch,
                                  .attachment_epoch = record.attachment_epoch,
                                  .fd = -1};
    if (!standing_holds(segment->now))
        return 0;
    memcpy(standing->worker, record.worker, sizeof standing->worker);
    int fd = fcntl(inherited.fd, F_DUPFD_CLOEXEC, 3);
    int r = fd < 0 ? -errno : keep(standing, fd, settings->flags);
    if (r < 0)
        return error_set(segment->error, r, "the lease of SHMC_LEASE (%s) can't be kept: %s", text,
                         strerror(-r));
    return 1;
}

/* ---- granted */

/* The manager knows best who holds it: one process, one that it was handed on to, all instances. */
static int held(shmc *segment, struct settings *settings, const struct protocol_refused *refused) {
    settings->holder = (pid_t)refused->holder;
    return error_set(segment->error, -EBUSY, "%s", refused_text(refused));
}

static int refusal(shmc *segment, struct settings *settings,
                   const struct protocol_refused *refused) {
    if (refused->head.result == -EBUSY)
        return held(segment, settings, refused);
    return error_set(segment->error, refused->head.result < 0 ? refused->head.result : -ENOTCONN,
                     "%s", refused_text(refused));
}

static int claim(shmc *segment, int socket, const struct settings *settings, uint64_t deadline_ns) {
    union protocol_message message = {.claim = {.flags = 0}};
    if (settings->deadline_ns > clock_mono_ns())
        message.claim.flags = PROTOCOL_CLAIM_WAIT;
    if (settings->worker != NULL)
        memcpy(message.claim.worker, settings->worker, strlen(settings->worker));
    return connection_send(socket, &message, PROTOCOL_CLAIM, sizeof message.claim, deadline_ns,
                           segment->error);
}

static int await_grant(shmc *segment, int socket, struct settings *settings, uint64_t deadline_ns,
                       struct protocol_grant *grant, int *fd) {
    struct protocol_refused waiting = {.text = ""};
    for (;;) {
        union protocol_message message;
        int r = connection_receive(socket, &message, fd, deadline_ns, segment->error);
        if (r == -ETIMEDOUT && waiting.text[0] != '\0')
            return held(segment, settings, &waiting);
        if (r < 0)
            return r;
        if (message.head.type == PROTOCOL_GRANT && *fd >= 0) {
            *grant = message.grant;
            return 0;
        }
        if (*fd >= 0)
            close(*fd);
        if (message.head.type == PROTOCOL_REFUSED)
            return refusal(segment, settings, &message.refused);
        if (message.head.type == PROTOCOL_GRANT)
            return error_set(segment->error, -EMFILE,
                             "the lease of %s%s%s was granted, and there was no descriptor free "
                             "to take it with; raise RLIMIT_NOFILE (ulimit -n)",
                             NAMED(message.grant.worker));
        if (message.head.type != PROTOCOL_WAITING)
            return error_set(segment->error, -EPROTONOSUPPORT,
                             "the manager answered a claim by message %u; restart it",
                             message.head.type);
        waiting = message.refused;
        deadline_ns = settings->deadline_ns;
    }
}

/* Is the worker by that number the one of that name?  Who has no name has no number. */
static bool is_record_of(const struct mapping *mapping, const struct protocol_grant *grant) {
    struct shm_worker record;
    if (grant->worker[0] == '\0')
        return grant->worker_index == SHM_NONE;
    return directory_worker(&mapping->directory, grant->worker_index, &record) == 0 &&
           strcmp(record.name, grant->worker) == 0;
}

static int acknowledge(shmc *segment, int socket, struct settings *settings,
                       const struct protocol_grant *grant, uint64_t deadline_ns) {
    union protocol_message message = {
        .ack = {.attachment = grant->attachment, .attachment_epoch = grant->attachment_epoch}};
    int r = connection_send(socket, &message, PROTOCOL_ACK, sizeof message.ack, deadline_ns,
                            segment->error);
    if (r == 0)
        r = connection_receive(socket, &message, NULL, deadline_ns, segment->error);
    if (r < 0)
        return r;
    if (message.head.type == PROTOCOL_REFUSED)
        return refusal(segment, settings, &message.refused);
    if (message.head.type != PROTOCOL_LEASED || !standing_holds(segment->now) ||
        !is_record_of(segment->now, grant))
        return error_set(segment->error, -EAGAIN,
                         "%s%s%s was granted, but the shared memory doesn't say so; try again",
                         NAMED(grant->worker));
    return 0;
}

static int converse(shmc *segment, int socket, struct settings *settings, uint64_t deadline_ns) {
    struct protocol_grant grant = {.worker_index = SHM_NONE};
    struct standing *standing = &segment->now->standing;
    int fd = -1;
    int r = claim(segment, socket, settings, deadline_ns);
    if (r == 0)
        r = await_grant(segment, socket, settings, deadline_ns, &grant, &fd);
    if (r < 0)
        return r;
    if (!same_worker(grant.worker, settings->worker) || grant.attachment == 0) {
        close(fd);
        return error_set(segment->error, -EPROTONOSUPPORT, "asked for %s%s%s, granted '%s'",
                         NAMED(settings->worker == NULL ? "" : settings->worker), grant.worker);
    }
    *standing = (struct standing){.worker_index = grant.worker_index,
                                  .attachment = grant.attachment,
                                  .worker_epoch = grant.worker_epoch,
                                  .attachment_epoch = grant.attachment_epoch};
    memcpy(standing->worker, grant.worker, sizeof standing->worker);
    r = keep(standing, fd, settings->flags);
    if (r < 0)
        error_set(segment->error, r, "the lease can't be mapped: %s", strerror(-r));
    if (r == 0) {
        uint64_t least = clock_mono_ns() + CONNECTION_PATIENCE_NS;
        r = acknowledge(segment, socket, settings, &grant,
                        least > deadline_ns ? least : deadline_ns);
    }
    if (r < 0)
        standing_drop(standing);
    return r;
}

int standing_take(shmc *segment, struct settings *settings) {
    int r = take_over(segment, settings);
    if (r != 0) {
        if (r < 0)
            standing_drop(&segment->now->standing);
        return r < 0 ? r : 0;
    }
    uint64_t deadline_ns = settings->deadline_ns;
    if (deadline_ns == 0)
        deadline_ns = clock_mono_ns() + CONNECTION_PATIENCE_NS;
    struct protocol_hello hello;
    int socket;
    uint32_t pid;
    r = connection_open(&socket, settings, deadline_ns, &hello, segment->error);
    if (r == -ENOTCONN && directory_manager_alive(&segment->now->directory, NULL, &pid) &&
        !connection_there(settings))
        return error_set(segment->error, r,
                         "key 0x%08x is served by process %u, but not at %s: set SHMC_RUNTIME_DIR "
                         "to its --runtime-dir",
                         settings->key, pid, settings->runtime_dir);
    if (r < 0)
        return r;
    if (hello.abi != SHM_ABI)
        r = error_set(segment->error, -EPROTONOSUPPORT,
                      "the manager has ABI %u, this library (%s) ABI %u: install the library that "
                      "belongs to the manager",
                      hello.abi, SHM_VERSION, SHM_ABI);
    else if (hello.segment_id != segment->now->directory.header.segment_id)
        r = error_set(segment->error, -EAGAIN,
                      "the manager (pid %u) serves another segment than the one under key 0x%08x "
                      "(shmid %d); try again",
                      hello.manager_pid, settings->key, segment->now->id);
    else
        r = converse(segment, socket, settings, deadline_ns);
    close(socket);
    return r;
}

/* ---- held */

/* The word that says whether it is in force, of a record that isn't damaged. */
static bool find_word(const struct mapping *mapping, uint64_t *ret) {
    const struct standing *standing = &mapping->standing;
    const char *field;
    struct shm_worker worker;
    struct shm_attachment attachment;
    if (directory_recheck(&mapping->directory, &field) < 0)
        return false;
    if (standing->worker_index != SHM_NONE) {
        if (directory_worker(&mapping->directory, standing->worker_index, &worker) < 0)
            return false;
        *ret = worker.word;
        return true;
    }
    if (directory_attachment(&mapping->directory, standing->attachment, &attachment) < 0)
        return false;
    *ret = attachment.word;
    return true;
}

int standing_check(shmc *segment, const struct mapping *mapping) {
    const struct standing *standing = &mapping->standing;
    char who[STANDING_BYTES];
    uint64_t word;
    if (standing->lost)
        return error_set(segment->error, -EKEYREVOKED,
                         "the lease of %s was taken back, and the segment replaced; detach and "
                         "attach anew",
                         standing_text(standing, who));
    if (!find_word(mapping, &word))
        return 0;
    /* Epochs only rise: a lower one is a stray store's, and the manager mends it. */
    const uint64_t own =
        standing->worker_index != SHM_NONE ? standing->worker_epoch : standing->attachment_epoch;
    const uint64_t epoch = lease_word_epoch(word);
    if (epoch < own || word == lease_word(own, SHM_LEASE_LEASED))
        return 0;
    return error_set(segment->error, -EKEYREVOKED,
                     "the lease of %s was taken back (its epoch was %llu, now %llu); detach and "
                     "attach anew",
                     standing_text(standing, who), (unsigned long long)own,
                     (unsigned long long)epoch);
}

int shmc_lease_fd(const shmc *segment) {
    int r = handle_usable(segment);
    if (r < 0)
        return r;
    if (!standing_is(segment->now) || segment->now->standing.fd < 0)
        return error_set(segment->error, -ENOENT,
                         "the lease has no descriptor; attach as a worker, or with "
                         "SHMC_ANONYMOUS, and SHMC_LEASE_FD");
    return segment->now->standing.fd;
}

int shmc_lease_env(const shmc *segment, char *text, size_t bytes) {
    int fd = shmc_lease_fd(segment);
    if (fd < 0)
        return fd;
    const struct standing *standing = &segment->now->standing;
    int n = snprintf(text, bytes, "0x%08x:%s:%u:%llu:%d", segment->now->directory.header.key,
                     standing->worker[0] != '\0' ? standing->worker : NAMELESS,
                     standing->attachment, (unsigned long long)standing->attachment_epoch, fd);
    if (n < 0 || (size_t)n >= bytes)
        return error_set(segment->error, -EMSGSIZE,
                         "%zu bytes are too few for the lease's text; give it 256", bytes);
    return 0;
}
