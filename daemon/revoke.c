/* SPDX-License-Identifier: Apache-2.0
 *
 * Taking a worker's lease back while its process lives.  To tell it is not enough: a process that
 * was stopped in the midst of a publish would go on with it under its successor's eyes.  So its
 * sections get fresh memory with a copy of the newest values, and what he was about to write
 * reaches nobody.  Where an arena is an object of its own, the memory is replaced at the same
 * place, and the old holder can reach nothing else; under System V it is at another, and the place
 * before stays unused until his lock is gone.
 */
#include "core/crc32c.h"
#include "journal.h"
#include "manager.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int no_lease(const struct manager *m, const char *name, char *error, size_t bytes) {
    bool known = layout_worker(&m->layout, name) != SHM_NONE;
    snprintf(error, bytes,
             known ? "nobody is worker '%.63s': there is nothing to take back"
                   : "the table has no worker '%.63s': see shmtool workers",
             table_name_ok(name, true) ? name : "?");
    return known ? -ESRCH : -ENOENT;
}

/* What many write stays: their words there name a lease, and count for nothing with its end. */
static bool is_own(const struct layout *layout, uint32_t worker, uint32_t arena) {
    return layout->arenas[arena].owner_index == worker &&
           layout_place_in_force(layout->arenas[arena].state) &&
           layout_arena_of_owner(layout, arena);
}

/* The layout in force, the worker's arenas with another incarnation. */
static int renew_arenas(const struct manager *m, uint32_t worker, struct layout *ret, char *error,
                        size_t bytes) {
    int r = layout_copy(ret, &m->layout);
    if (r < 0) {
        snprintf(error, bytes, "out of memory");
        return r;
    }
    ret->generation++;
    for (uint32_t i = 0; i < ret->sections_used; i++)
        if (ret->sections[i].state == SHM_PLACE_MOVING && ret->sections[i].owner_index == worker)
            layout_arrive(ret, i); /* the copy takes the newest value from where it is */
    for (uint32_t i = 0; i < ret->arenas_used; i++) {
        struct shm_arena *arena = &ret->arenas[i];
        if (!is_own(&m->layout, worker, i))
            continue;
        arena->incarnation = ret->generation;
        arena->crc = CRC32C_OF((const struct shm_arena *)arena);
    }
    return 0;
}

/* The same in arenas of other places, where no object can be taken away. */
static int leave_arenas(struct manager *m, uint32_t worker, struct layout *ret, char *error,
                        size_t bytes) {
    struct moves moves;
    struct plan plan;
    int r = moves_gather(m, NULL, true, &moves);
    if (r < 0) {
        snprintf(error, bytes, "out of memory");
        return r;
    }
    r = plan_evict(&plan, &m->layout, worker, &moves.facts);
    moves_clear(&moves);
    if (r < 0) {
        snprintf(error, bytes, "%s", r == -ENOMEM ? "out of memory" : plan.error);
    } else {
        *ret = plan.next;
        plan.next = (struct layout){0};
    }
    plan_clear(&plan);
    return r;
}

static int relocate(struct manager *m, const char *who, uint32_t worker, char *error,
                    size_t bytes) {
    char what[SHM_NAME_BYTES + 32];
    struct layout next = {0};
    snprintf(what, sizeof what, "fresh memory for worker '%s'", m->layout.workers[worker]);
    int r = segment_backend(&m->segment) == SHM_BACKEND_MEMFD
                ? renew_arenas(m, worker, &next, error, bytes)
                : leave_arenas(m, worker, &next, error, bytes);
    if (r == 0)
        r = apply_layout(m, who, what, &next, &m->table, error, bytes);
    layout_clear(&next);
    return r;
}

static bool has_arenas(const struct manager *m, uint32_t worker) {
    for (uint32_t i = 0; i < m->layout.arenas_used; i++)
        if (is_own(&m->layout, worker, i))
            return true;
    return false;
}

int revoke_leftovers(struct manager *m, uint32_t worker, uid_t uid, char *error, size_t bytes) {
    const struct shm_worker last = image_get_worker(&m->segment.image, worker);
    if (segment_backend(&m->segment) != SHM_BACKEND_MEMFD || last.since_real_ns == 0 ||
        last.uid == uid || last.uid == 0 || last.uid == geteuid() || !has_arenas(m, worker))
        return 0;
    journal_about(LOG_INFO, JOURNAL_APPLIED, m->layout.workers[worker], last.pid,
                  "worker '%s' goes from uid %u to uid %u: its sections move to fresh memory",
                  m->layout.workers[worker], last.uid, uid);
    return relocate(m, "a claim", worker, error, bytes);
}

/* By its number: no worker's name begins with a digit.  There is no memory to take away, as what
 * many write stays: the lease is over, and so is all that names it. */
static int revoke_nameless(struct manager *m, const char *number, char *error, size_t bytes) {
    char *end;
    const unsigned long attachment = strtoul(number, &end, 10);
    leases_rescan(m);
    for (struct lease *l = m->leases.first; *end == '\0' && l != NULL; l = l->next) {
        if (l->record.attachment != attachment || l->superseded || l->record.worker[0] != '\0')
            continue;
        leases_revoke(m, l, segment_backend(&m->segment) != SHM_BACKEND_MEMFD);
        return 0;
    }
    snprintf(error, bytes,
             "there is no anonymous attachment %.63s: shmtool workers shows which there are",
             *end == '\0' ? number : "?");
    return -ESRCH;
}

int revoke_worker(struct manager *m, const char *who, const char *name, char *error, size_t bytes) {
    if (name[0] >= '0' && name[0] <= '9')
        return revoke_nameless(m, name, error, bytes);
    uint32_t worker = layout_worker(&m->layout, name);
    struct lease *lease = worker == SHM_NONE ? NULL : leases_of_worker(m, worker);
    if (lease == NULL)
        return no_lease(m, name, error, bytes);
    /* First, so that a holder with manners publishes nothing more and keeps its old memory. */
    leases_suspend(m, lease, true);
    int r = has_arenas(m, worker) ? relocate(m, who, worker, error, bytes) : 0;
    if (r < 0) {
        leases_suspend(m, lease, false);
        return r;
    }
    /* On sysv he may write in the place before until his lock is gone. */
    leases_revoke(m, lease, segment_backend(&m->segment) != SHM_BACKEND_MEMFD);
    return 0;
}
