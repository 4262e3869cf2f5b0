/* SPDX-License-Identifier: Apache-2.0
 *
 * Who holds which attachment.  The lock of the lease's file is the truth; what is kept here, and in
 * the segment's records, is found again from those files by the next manager.
 */
#ifndef SHM_DAEMON_LEASES_H
#define SHM_DAEMON_LEASES_H

#include "core/lease.h"
#include "peer.h"

#include <limits.h>
#include <systemd/sd-event.h>

#define LEASES_ACK_MS      5000 /* a grant that isn't acknowledged by then may be superseded */
#define LEASES_UNACKED_MAX 16u  /* of one uid; each costs a descriptor in flight */
#define LEASES_WHO_BYTES   (SHM_NAME_BYTES + 16)

struct manager;
struct client;
struct obituary;

struct lease {
    struct manager *manager;
    struct lease_record record;
    uint32_t worker; /* index of the worker's record; SHM_NONE: the table lost it, or it never had
                        a name (record.worker is "") */
    enum shm_lease_state state;
    bool superseded; /* not acknowledged in time, or taken back: only its lock is waited for */
    int keep;
    int pidfd;
    uint64_t generation;    /* that it was granted under; 0: found, from whenever it is */
    unsigned checks;        /* looks since the last event, for the back-off */
    sd_event_source *timer; /* acknowledgement, then back-off */
    struct client *client;  /* who shall acknowledge */
    struct lease *next;
};

struct leases {
    int dir_fd;
    char path[PATH_MAX + 32];
    sd_event_source *inotify;
    struct lease *first;
    struct obituary *obituaries; /* of leases that ended, until it is known how */
    uint64_t epoch_base;         /* grants count on from here when the records were lost */
    uint64_t grants, refused;
};

/* Opens the directory, finds the leases that are still held, and sets the records accordingly. */
int leases_open(struct manager *manager, char *error, size_t error_bytes);
void leases_close(struct manager *manager);

/* "worker 'NAME'", or "an anonymous attachment". */
const char *leases_who(const struct lease_record *record, char ret[LEASES_WHO_BYTES]);

/* Of how many attachments without a name is there room: in all, so that each worker can still come,
 * and for one user? */
struct leases_room {
    unsigned all, user;
};
struct leases_room leases_room(const struct manager *manager);

/* How many there are, in all and of one user. */
struct leases_room leases_anonymous(const struct manager *manager, uid_t uid);

/* Makes a lease for a worker (SHM_NONE: for nobody by name) and its description to send (*grant).
 */
int leases_grant(struct manager *manager, uint32_t worker, const struct peer *peer,
                 struct lease **ret, int *grant);

/* The holder is told to publish nothing more; or may go on. */
void leases_suspend(struct manager *manager, const struct lease *lease, bool suspend);

/* Takes it back for good: the worker is free, whatever its holder does.  With `lingers` it stays in
 * the list, superseded, until its lock is gone: so long its holder may write where it could. */
void leases_revoke(struct manager *manager, struct lease *lease, bool lingers);

/* The client has mapped it. */
void leases_acknowledge(struct manager *manager, struct lease *lease);

/* The grant could not be sent, or its client is gone: only the lock counts from here on. */
void leases_disown(struct manager *manager, struct lease *lease);

/* Who is that worker?  NULL: nobody, as also for SHM_NONE.  Looks at the lock itself. */
struct lease *leases_of_worker(struct manager *manager, uint32_t worker);

/* The same as far as is known: ends no lease, and so changes no layout under its caller. */
const struct lease *leases_peek(const struct manager *manager, uint32_t worker);

/* Asks the kernel about every lease. */
void leases_rescan(struct manager *manager);

/* Grants of a uid that were not acknowledged and whose descriptor may still be in flight. */
unsigned leases_unacked(const struct manager *manager, uid_t uid);

/* The segment was replaced: leases of the one before count for nothing any more. */
void leases_leave(struct manager *manager);

/* Records of workers that came or went with an edit. */
void leases_relate(struct manager *manager);

/* For the planner, by worker index, as far as is known: who is held; and of whom somebody has a
 * lock still, who may write where he could.  The caller frees them; NULL: no memory. */
bool *leases_held(const struct manager *manager);
bool *leases_lingering(const struct manager *manager);

/* How many without a name are held? */
unsigned leases_nameless(const struct manager *manager);

/* Does anybody linger?  Then *since is the lowest generation that one of them was granted under. */
bool leases_attached(const struct manager *manager, uint64_t *since);

#endif
