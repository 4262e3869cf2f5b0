/* SPDX-License-Identifier: Apache-2.0
 *
 * The manager: one object that holds what runs, and the nouns that it is made of.
 */
#ifndef SHM_DAEMON_MANAGER_H
#define SHM_DAEMON_MANAGER_H

#include "checkpoint.h"
#include "config.h"
#include "core/layout.h"
#include "core/plan.h"
#include "core/table.h"
#include "edits.h"
#include "leases.h"
#include "made.h"
#include "moves.h"
#include "refusals.h"
#include "segment.h"
#include "server.h"
#include "stale.h"
#include "state_db.h"
#include "table_db.h"

#include <systemd/sd-event.h>

#define MANAGER_TICK_MS 1000 /* heartbeat, repair, and the slow look at everything */

/* What became of the table as it was last read. */
struct verdict {
    enum { VERDICT_APPLIED, VERDICT_REJECTED, VERDICT_UNREADABLE, VERDICT_PENDING } outcome;
    bool passing; /* it may be another without an edit: the file is locked, the disk is full */
    char error[512];
    int64_t version; /* table_db_version() when it was read; to see that it differs */
};

struct manager {
    struct config config;
    uint32_t key;
    uint64_t since_real_ns;
    sd_event *event;
    sd_event_source *tick;
    sd_event_source *watch;    /* segment_watched() */
    sd_event_source *arrivals; /* moves_soon() */
    struct edits *edits;
    bool moves_stuck;  /* and that was said */
    unsigned turns_in; /* so many ticks: who waits for a worker gets it, if its holder in the
                          segment before didn't come for it */
    int lock;          /* semaphore id: one manager a key */
    struct segment segment;
    struct layout layout; /* what runs */
    struct table table;   /* what was applied */
    uid_t *worker_uids;   /* of table.workers; (uid_t)-1 = any */
    gid_t group;          /* who may attach */
    bool group_missing;   /* the table's doesn't exist here, and it is our own */
    gid_t admins;         /* who may manage; (gid_t)-1: there is no such group */
    struct table_db *table_db;
    struct state_db *state;
    struct verdict verdict;
    struct verdict told;   /* the last one that history and journal have */
    char status_line[700]; /* as systemd was told it last */
    struct leases leases;
    struct refusals refusals;
    struct server server;
    struct debt *debts; /* descriptors in flight to peers that hung up */
    struct stale stale;
    struct made made;
    struct checkpoint checkpoint;
    uint64_t repairs;
    bool destroyed;
};

/* Takes the lock, opens the databases, adopts or makes the segment, applies the table and listens.
 * On failures everything is undone, and one line was logged. */
int manager_start(struct manager *manager, const struct config *config);

/* Runs until SIGTERM, SIGINT or a destroy; the exit status. */
int manager_run(struct manager *manager);

/* Leaves the segment in place, marked as stopped (or gone, after a destroy). */
void manager_stop(struct manager *manager);

/* --check: prints the plan, changes nothing; the exit status. */
int manager_check(const struct config *config);

/* What systemctl status shows; told when it has changed. */
void manager_notify_status(struct manager *manager);

/* ---- apply.c */

/* Reads the table and applies it whole or not at all; with `force` also what takes something away
 * from a holder.  `who` goes into the history.  0, or -EINVAL (rejected), -EBUSY (it waits for
 * somebody; with auto_apply it is pending), or why it can't be read: manager->verdict.error says
 * it.  *plan, when not NULL, is what was planned. */
int apply_table(struct manager *manager, const char *who, bool force, struct plan *plan);

/* Publishes a layout that follows the one in force and whose memory is prepared, and remembers it.
 * It is the manager's then, and its generation all that is left in *next.  -ENOMEM and errors of
 * state.db: nothing is changed. */
int apply_publish(struct manager *manager, const char *who, const char *what, struct layout *next,
                  const struct table *table, char *error, size_t error_bytes);

/* The same for one whose memory is not prepared yet. */
int apply_layout(struct manager *manager, const char *who, const char *what, struct layout *next,
                 const struct table *table, char *error, size_t error_bytes);

/* Plans only. */
int apply_plan(struct manager *manager, bool force, struct plan *plan);

/* At start: the table, or the last good one when it is bad, or an empty one where there is none.
 * Failures were logged. */
int apply_choose(struct manager *manager, struct table *ret);

/* At start: makes the layout in force agree with that table, or with the last good one when it is
 * bad.  Without either nothing is touched, and verdict.error says so. */
int apply_start(struct manager *manager, struct table *table);

/* ---- replace.c */

/* An edit that was planned and takes a new segment. */
struct edit {
    const char *who, *what; /* for the history */
    struct layout *next;
    const struct table *table;
    struct segment_wish wish;
};

/* Carries it out.  -ENOMEM, -EINVAL and others: nothing is changed; or, when the journal says so,
 * the manager ends. */
int replace_segment(struct manager *manager, const struct edit *edit, char *error,
                    size_t error_bytes);

/* ---- revoke.c */

/* Takes a worker's lease back, and its memory out of its holder's reach; or, of a number in place
 * of a name, that of an attachment without one.  -ENOENT, -ESRCH: there is none; -EINVAL: there is
 * no room for that, or a section can't be moved now; or why it failed. */
int revoke_worker(struct manager *manager, const char *who, const char *name, char *error,
                  size_t error_bytes);

/* Before a worker goes to another user than before: that one may have kept a mapping of its arenas,
 * or handed a descriptor on, whatever became of the lease.  So they get fresh memory. */
int revoke_leftovers(struct manager *manager, uint32_t worker, uid_t uid, char *error,
                     size_t error_bytes);

/* ---- dismiss.c */

/* After an edit: nobody stays a worker whom the table no longer lets be it. */
void dismiss(struct manager *manager, const char *who);

/* ---- status.c: replies to requests, as JSON text that the caller frees; NULL: no memory */
char *status_reply(struct manager *manager);
char *plan_reply(const struct plan *plan, int result);
char *history_reply(struct manager *manager, unsigned limit, bool changes);
char *plain_reply(int result, const char *error);

/* The table that runs: the last good one; or the one that ran, `when` (state_db.h, errors too). */
int table_reply(struct manager *manager, const char *when, char **ret, char *error,
                size_t error_bytes);

/* And in one line. */
void status_line(const struct manager *manager, char *line, size_t bytes);

#endif
