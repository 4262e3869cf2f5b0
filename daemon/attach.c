/* SPDX-License-Identifier: Apache-2.0
 *
 * Claims: may this process be that worker, and is the name free?
 */
#include "core/process.h"
#include "journal.h"
#include "manager.h"
#include "mend.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define OVERFLOW_UID 65534u /* what the kernel shows for a uid of another user namespace */

/* Those who come at once are let in as fast as they take their leases: a claim is looked at again
 * so often, before its user has too many that he doesn't take. */
#define CROWDED_MOST 100u
#define CROWDED_NS   UINT64_C(20000000)

struct answer {
    int result;
    bool crowded;
    uint32_t holder;
    char text[PROTOCOL_TEXT_BYTES];
};

#define ANSWER(answer, code, ...)                                                                  \
    (snprintf((answer)->text, sizeof(answer)->text, __VA_ARGS__), (answer)->result = (code))

/* May it attach at all, as the segment's group says? */
static int may_attach(const struct client *c, struct answer *a) {
    const struct manager *m = c->manager;
    if (c->peer.uid == 0 || c->peer.uid == geteuid())
        return 0;
    if (c->peer.uid == OVERFLOW_UID)
        return ANSWER(a, -EACCES,
                      "your uid has no number in the manager's user namespace: run the manager "
                      "in the host's, or both in one");
    if (peer_in_group(&c->peer, m->group))
        return 0;
    return ANSWER(a, -EACCES,
                  "uid %u is not in the segment's group '%s' (gid %u): add it (usermod -aG) and "
                  "log in anew",
                  c->peer.uid, m->table.group_name, m->group);
}

int attach_may_read(const struct client *c, char *text, size_t bytes) {
    struct answer a = {0};
    if (c->manager->table.mode == 0664)
        return 0;
    int r = may_attach(c, &a);
    snprintf(text, bytes, "%s", a.text);
    return r;
}

static bool is_holder(const struct client *c, const struct lease *lease) {
    const struct lease_record *r = &lease->record;
    return c->peer.uid == r->uid || c->peer.uid == 0 ||
           (c->peer.pid != 0 && c->peer.pid == r->pid && c->peer.pid_start == r->pid_start);
}

/* A worker of the table's, or nobody by name. */
static bool is_known(const struct lease *lease) {
    return lease->worker != SHM_NONE || lease->record.worker[0] == '\0';
}

const struct lease *attach_lease(const struct client *c, uint32_t attachment, uint64_t epoch) {
    for (const struct lease *l = c->manager->leases.first; l != NULL; l = l->next)
        if (l->record.attachment == attachment && l->record.attachment_epoch == epoch)
            return l->state == SHM_LEASE_LEASED && !l->superseded && is_known(l) && is_holder(c, l)
                       ? l
                       : NULL;
    return NULL;
}

static int may_be(const struct client *c, const struct table_worker *worker, struct answer *a) {
    const struct manager *m = c->manager;
    uid_t uid = m->worker_uids[worker - m->table.workers];
    if (uid == (uid_t)-1 || uid == c->peer.uid || c->peer.uid == 0)
        return 0;
    return ANSWER(a, -EACCES,
                  "worker '%s' may only be user '%s' (uid %u), and you are uid %u: see "
                  "worker.user in the table",
                  worker->name, worker->user, uid, c->peer.uid);
}

static int held_by(struct answer *a, const char *worker, const struct lease *lease) {
    char name[32], process[PROCESS_TEXT_BYTES];
    const struct lease_record *r = &lease->record;
    a->holder = r->pid;
    if (lease->state == SHM_LEASE_GRANTED)
        return ANSWER(a, -EBUSY, "worker '%s' is being taken by %s at this moment", worker,
                      process_text(r->pid, process));
    if (r->pid == 0)
        return ANSWER(a, -EBUSY,
                      "worker '%s' is held by %s than the manager's (uid %u): end it there, or "
                      "wait for it",
                      worker, process_text(0, process), r->uid);
    if (process_alive(r->pid, r->pid_start) == 0)
        return ANSWER(a, -EBUSY,
                      "worker '%s': process %u is gone, but one that it handed its lease to still "
                      "holds it",
                      worker, r->pid);
    process_name(r->pid, name);
    return ANSWER(a, -EBUSY, "worker '%s' is held by process %u (%s): end it, or wait for it",
                  worker, r->pid, name);
}

/* The record to lease: of that name, or with instances the first that is free. */
static int choose(struct manager *m, const char *name, const struct table_worker *worker,
                  uint32_t *index, struct answer *a) {
    if (worker->instances == 1 || strchr(name, '#') != NULL) {
        *index = layout_worker(&m->layout, name);
        if (*index == SHM_NONE)
            return ANSWER(a, -ENOENT, "worker '%s' has %u instance(s), no '%s'", worker->name,
                          worker->instances, name);
        const struct lease *lease = leases_of_worker(m, *index);
        return lease == NULL ? 0 : held_by(a, name, lease);
    }
    char instance[SHM_NAME_BYTES + 16];
    const struct lease *last = NULL;
    for (uint32_t i = 1; i <= worker->instances; i++) {
        snprintf(instance, sizeof instance, "%s#%u", worker->name, i);
        *index = layout_worker(&m->layout, instance);
        if (*index != SHM_NONE && (last = leases_of_worker(m, *index)) == NULL)
            return 0;
    }
    a->holder = last == NULL ? 0 : last->record.pid;
    return ANSWER(a, -EBUSY, "all %u instances of worker '%s' are held: raise worker.instances",
                  worker->instances, worker->name);
}

static int judge_worker(struct client *c, uint32_t *index, struct answer *a) {
    struct manager *m = c->manager;
    const struct table_worker *worker = table_worker(&m->table, c->worker);
    if (worker == NULL)
        return ANSWER(a, -ENOENT,
                      "the table has no worker '%s': add it, and apply the table "
                      "(shmtool reload)",
                      table_name_ok(c->worker, true) ? c->worker : "?");
    int r = may_be(c, worker, a);
    return r == 0 ? choose(m, c->worker, worker, index, a) : r;
}

/* The workers' attachments are kept free for them, and no user has all the others. */
static int judge_anonymous(const struct client *c, uint32_t *index, struct answer *a) {
    const struct leases_room room = leases_room(c->manager);
    const struct leases_room n = leases_anonymous(c->manager, c->peer.uid);
    *index = SHM_NONE;
    if (n.user >= room.user)
        return ANSWER(a, -EUSERS,
                      "uid %u has %u anonymous attachments, and may have %u: end some of those "
                      "processes (shmtool workers lists them), or raise segment.size",
                      c->peer.uid, n.user, room.user);
    if (n.all >= room.all)
        return ANSWER(a, -EUSERS,
                      "all %u anonymous attachments are held: end some of those processes "
                      "(shmtool workers lists them), or raise segment.size",
                      room.all);
    return 0;
}

static int judge(struct client *c, uint32_t *index, struct answer *a) {
    struct manager *m = c->manager;
    if (m->segment.removed)
        return ANSWER(
            a, -EIDRM,
            "somebody removed the segment (ipcrm): restart the manager to have a new one");
    int r = may_attach(c, a);
    if (r == 0)
        r = c->worker[0] == '\0' ? judge_anonymous(c, index, a) : judge_worker(c, index, a);
    a->crowded = r == 0 && leases_unacked(m, c->peer.uid) >= LEASES_UNACKED_MAX;
    if (a->crowded)
        return ANSWER(a, -EUSERS,
                      "uid %u has %u leases that were sent and not taken: end those "
                      "processes",
                      c->peer.uid, LEASES_UNACKED_MAX);
    return r;
}

/* What was the worker's before is as its next holder may find it. */
static int make_ready(const struct client *c, uint32_t worker, char *text, size_t bytes) {
    struct manager *m = c->manager;
    if (worker == SHM_NONE)
        return 0;
    made_before_grant(m, worker);
    moves_before_grant(m, worker);
    mend_heads(m, worker);
    return revoke_leftovers(m, worker, c->peer.uid, text, bytes);
}

static void grant(struct client *c, uint32_t index) {
    struct manager *m = c->manager;
    struct lease *lease;
    int fd;
    char text[PROTOCOL_TEXT_BYTES];
    int r = make_ready(c, index, text, sizeof text);
    if (r < 0) {
        journal(LOG_ERR, JOURNAL_TROUBLE, "%s", text);
        server_refuse(c, r, 0, text);
        return;
    }
    r = leases_grant(m, index, &c->peer, &lease, &fd);
    if (r < 0) {
        snprintf(text, sizeof text, "no lease can be made in %.200s: %s", m->leases.path,
                 strerror(-r));
        journal(LOG_ERR, JOURNAL_TROUBLE, "%s", text);
        server_refuse(c, r, 0, text);
        return;
    }
    union protocol_message message = {0};
    protocol_fill(&message.head, PROTOCOL_GRANT, sizeof message.grant, 0);
    memcpy(message.grant.worker, lease->record.worker, SHM_NAME_BYTES);
    message.grant.worker_index = index;
    message.grant.attachment = lease->record.attachment;
    message.grant.worker_epoch = lease->record.worker_epoch;
    message.grant.attachment_epoch = lease->record.attachment_epoch;
    c->waiting = false;
    c->lease = lease;
    lease->client = c;
    server_expect(c, 0); /* the lease has a clock of its own */
    r = protocol_send(c->fd, &message, fd);
    close(fd);
    if (r < 0)
        server_drop(c);
}

static void keep_waiting(struct client *c, const struct answer *a) {
    union protocol_message message = {0};
    protocol_fill(&message.head, PROTOCOL_WAITING, sizeof message.refused, a->result);
    message.refused.holder = a->holder;
    snprintf(message.refused.text, sizeof message.refused.text, "%s", a->text);
    server_expect(c, 0);
    if (protocol_send(c->fd, &message, -1) < 0)
        server_drop(c);
}

/* Names that the table doesn't have are one: they come in any number. */
static void note_refusal(const struct client *c, const char *text) {
    struct manager *m = c->manager;
    const bool known = c->worker[0] == '\0' || table_worker(&m->table, c->worker) != NULL;
    const char *worker = known ? c->worker : "?";
    char process[PROCESS_TEXT_BYTES];
    refusals_say(&m->refusals, worker, c->peer.uid, c->peer.pid, "%s (uid %u) was refused: %s",
                 process_text(c->peer.pid, process), c->peer.uid, text);
}

/* By the message that it came with. */
static void look_again(struct client *c, bool patient) {
    union protocol_message message = {.claim = {.flags = patient ? PROTOCOL_CLAIM_WAIT : 0}};
    memcpy(message.claim.worker, c->worker, sizeof message.claim.worker);
    protocol_fill(&message.head, PROTOCOL_CLAIM, sizeof message.claim, 0);
    c->crowded++;
    server_postpone(c, &message, CROWDED_NS);
}

void attach_claim(struct client *c) {
    uint32_t index;
    struct answer a = {0};
    /* To judge may end a lease, and so give somebody his turn: not this one, who isn't done yet. */
    bool patient = c->waiting;
    c->waiting = false;
    int r = judge(c, &index, &a);
    if (r == 0) {
        grant(c, index);
        return;
    }
    if (a.crowded && c->crowded < CROWDED_MOST) {
        look_again(c, patient);
        return;
    }
    if (r == -EBUSY && patient) {
        c->waiting = true;
        keep_waiting(c, &a);
        return;
    }
    if (r != -EBUSY)
        note_refusal(c, a.text);
    server_refuse(c, r, a.holder, a.text);
}

void attach_acknowledge(struct client *c, const struct protocol_ack *ack) {
    struct lease *lease = c->lease;
    if (ack->attachment != lease->record.attachment ||
        ack->attachment_epoch != lease->record.attachment_epoch) {
        server_refuse(c, -EBADMSG, 0, "that acknowledges another lease than yours");
        return;
    }
    c->lease = NULL;
    leases_acknowledge(c->manager, lease);
    union protocol_message message = {0};
    protocol_fill(&message.head, PROTOCOL_LEASED, sizeof message.ack, 0);
    message.ack.attachment = ack->attachment;
    message.ack.attachment_epoch = ack->attachment_epoch;
    if (protocol_send(c->fd, &message, -1) < 0)
        server_drop(c);
    else
        server_expect(c, SERVER_SILENCE_MS);
}

static bool waits_for(const struct manager *m, const struct client *c, uint32_t worker) {
    if (!c->waiting)
        return false;
    const char *name = m->layout.workers[worker];
    size_t base = strcspn(name, "#");
    return strcmp(name, c->worker) == 0 ||
           (strlen(c->worker) == base && strncmp(name, c->worker, base) == 0);
}

static struct client *longest_waiting(const struct manager *m, uint32_t worker) {
    struct client *longest = NULL; /* the list has the newest first */
    for (struct client *c = m->server.clients; c != NULL; c = c->next)
        if (waits_for(m, c, worker))
            longest = c;
    return longest;
}

void attach_turn(struct manager *m, uint32_t worker) {
    struct client *next;
    while ((next = longest_waiting(m, worker)) != NULL && leases_of_worker(m, worker) == NULL)
        attach_claim(next); /* is granted, or refused and gone */
}
