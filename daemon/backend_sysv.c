/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory by System V: one object under the key for all of the segment, which the kernel keeps, and
 * one without a key for the bells.
 */
#include "backend_sysv.h"
#include "backend.h"
#include "core/shared.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define FAIL(result, ...) ATTEMPT_FAIL(a, result, __VA_ARGS__)

/* With kernel.shm_rmid_forced a segment goes when the last process detaches, so nothing would
 * survive a restart.  /proc/sys may be hidden from us, so it is tried out. */
static bool removal_is_forced(void) {
    int id;
    void *base;
    struct shmid_ds stat;
    if (sysv_create(IPC_PRIVATE, SHM_PAGE, 0600, &id) < 0)
        return false;
    if (sysv_attach(id, true, &base) == 0)
        sysv_detach(base);
    bool gone = sysv_stat(id, &stat) < 0;
    if (!gone)
        sysv_remove(id);
    return gone;
}

static const char *attach_remedy(int result) {
    return result == -ENOMEM ? "there is no address space for it: raise RLIMIT_AS (ulimit -v, "
                               "LimitAS=), or lower segment.size"
                             : strerror(-result);
}

int backend_sysv_attach(const struct attempt *a, int id) {
    struct segment *s = a->segment;
    struct shmid_ds stat;
    int r = sysv_attach(id, true, &s->base);
    if (r == 0)
        r = sysv_stat(id, &stat);
    if (r < 0)
        return FAIL(r, "shmid %d can't be attached: %s", id, attach_remedy(r));
    s->id = id;
    s->bytes = stat.shm_segsz / SHM_PAGE * SHM_PAGE;
    snprintf(s->name, sizeof s->name, "shmid %d", id);
    snprintf(s->removal, sizeof s->removal, "ipcrm -m %d", id);
    return 0;
}

/* ---- a new one */

const char *backend_sysv_remedy(int result) {
    switch (result) {
    case -EINVAL:
        return "it is larger than kernel.shmmax: raise that, or lower segment.size";
    case -ENOSPC:
        return "kernel.shmmni or kernel.shmall is reached: see ipcs -l, or lower segment.size";
    case -ENOMEM:
        return "there is no memory for it: lower segment.size";
    case -EEXIST:
        return "somebody made one under this key just now: try again, or choose another key";
    default:
        return strerror(-result);
    }
}

static int make(const struct attempt *a) {
    const struct segment_wish *wish = a->wish;
    if (removal_is_forced())
        return FAIL(-EINVAL, "kernel.shm_rmid_forced is 1, so that memory goes with its last user: "
                             "sysctl -w kernel.shm_rmid_forced=0");
    int id;
    int r = sysv_create(wish->key, wish->bytes, 0600, &id);
    if (r < 0)
        return FAIL(r, "a segment of %llu bytes under key 0x%08x can't be made: %s",
                    (unsigned long long)wish->bytes, wish->key, backend_sysv_remedy(r));
    r = backend_sysv_attach(a, id);
    if (r < 0)
        sysv_remove(id);
    else /* who finds it without a magic knows by this that it was never finished */
        state_db_remember(wish->state, "making", id);
    return r;
}

/* ---- one that is there */

int backend_sysv_refuse(const struct attempt *a, int id, const struct shmid_ds *stat) {
    char owner[32] = "somebody else";
    uid_t creator;
    int same;
    if (sysv_creator(SYSV_SEGMENT, a->wish->key, &same, &creator) == 0 && same == id)
        snprintf(owner, sizeof owner, "uid %u", creator);
    if (stat == NULL)
        return FAIL(-EPERM,
                    "shmid %d under key 0x%08x belongs to %s, who lets nobody look at it: choose "
                    "another key (--key), or let root remove it (ipcrm -m %d)",
                    id, a->wish->key, owner, id);
    return FAIL(
        -EPERM,
        "shmid %d under key 0x%08x belongs to uid %u and was made by process %d, not by this "
        "manager: remove it (ipcrm -m %d), or choose another key (--key)",
        id, a->wish->key, stat->shm_perm.cuid, stat->shm_cpid, id);
}

static int find_served(const struct attempt *a) {
    int id;
    struct shmid_ds stat;
    int r = sysv_find(a->wish->key, &id);
    if (r == -ENOENT)
        return r;
    if (r == 0)
        r = sysv_stat(id, &stat);
    if (r == -EIDRM)
        return -EAGAIN;
    if (r < 0)
        return backend_sysv_refuse(a, id, NULL);
    if (stat.shm_perm.cuid != geteuid())
        return backend_sysv_refuse(a, id, &stat);
    return backend_sysv_attach(a, id);
}

static int find(const struct attempt *a) {
    int r = staging_finish(a);
    if (r == -ENOENT) {
        r = find_served(a);
        if (r == 0 || r == -ENOENT)
            staging_clear(a->wish->state, r == 0 ? a->segment->base : NULL);
    }
    return r;
}

static bool known(const struct attempt *a) {
    return state_db_recall(a->wish->state, "shmid", -1) == a->segment->id;
}

static bool unused(const struct attempt *a) {
    struct shmid_ds stat;
    return sysv_stat(a->segment->id, &stat) == 0 && stat.shm_nattch <= 1 &&
           stat.shm_segsz == a->wish->bytes;
}

static bool begun(const struct attempt *a) {
    return state_db_recall(a->wish->state, "making", -1) == a->segment->id;
}

/* ---- bells */

static uint64_t bells_bytes(const struct shm_header *h) {
    return layout_round(((uint64_t)h->bells_capacity + 1) * SHM_LINE, SHM_PAGE);
}

static bool bells_fit(const struct shm_bells *bells, const struct shm_header *h) {
    struct shm_bells copy;
    shared_copy_from(&copy, bells, sizeof copy);
    return copy.magic == SHM_BELLS_MAGIC && copy.abi == SHM_ABI &&
           copy.capacity == h->bells_capacity && copy.segment_id == h->segment_id;
}

/* The bells that the header names, if they are ours and fit. */
static bool bells_find(struct segment *s, const struct shm_header *h) {
    const int id = (int)(h->bell_id - 1);
    struct shmid_ds stat;
    void *base;
    if (id < 0 || sysv_stat(id, &stat) < 0 || stat.shm_perm.cuid != geteuid() ||
        sysv_removed(&stat) || stat.shm_segsz < bells_bytes(h) || sysv_attach(id, true, &base) < 0)
        return false;
    if (!bells_fit(base, h)) {
        sysv_detach(base);
        return false;
    }
    s->bells = base;
    s->bell_id = id;
    return true;
}

static int bells_make(const struct attempt *a) {
    struct segment *s = a->segment;
    const struct shm_header *h = image_header(&s->image);
    int id;
    void *base;
    int r = sysv_create(IPC_PRIVATE, bells_bytes(h), 0600, &id);
    if (r < 0)
        return FAIL(r, "no memory for the doorbells (%llu bytes): %s",
                    (unsigned long long)bells_bytes(h), strerror(-r));
    r = sysv_attach(id, true, &base);
    if (r < 0) {
        sysv_remove(id);
        return FAIL(r, "the doorbells (%llu bytes) can't be attached: %s",
                    (unsigned long long)bells_bytes(h), attach_remedy(r));
    }
    s->bells = base;
    s->bell_id = id;
    *s->bells = (struct shm_bells){.magic = SHM_BELLS_MAGIC,
                                   .abi = SHM_ABI,
                                   .capacity = h->bells_capacity,
                                   .segment_id = h->segment_id};
    return 0;
}

static int bells(const struct attempt *a) {
    a->segment->bell_id = -1;
    if (bells_find(a->segment, image_header(&a->segment->image)))
        return 0;
    return bells_make(a);
}

/* ---- all the rest */

static void revealed(const struct segment *s, struct state_db *state) {
    state_db_remember(state, "shmid", s->id);
}

int backend_sysv_permit(int id, uint32_t mode, gid_t group) {
    struct shmid_ds stat;
    int r = sysv_stat(id, &stat);
    if (r < 0)
        return r;
    stat.shm_perm.mode = (unsigned short)mode;
    stat.shm_perm.gid = group;
    return shmctl(id, IPC_SET, &stat) == 0 ? 0 : -errno;
}

static int permit(struct segment *s, const struct segment_wish *wish, char *error,
                  size_t error_bytes) {
    int r = backend_sysv_permit(s->id, wish->mode, wish->group);
    if (r == 0) /* whoever may read may ring: the bells are writable for the same people */
        r = backend_sysv_permit(s->bell_id, wish->mode == 0664 ? 0666 : 0660, wish->group);
    if (r < 0) {
        snprintf(error, error_bytes, "the segment's mode and group can't be set: %s", strerror(-r));
        return r;
    }
    if (wish->lock_memory && shmctl(s->id, SHM_LOCK, NULL) < 0) {
        snprintf(error, error_bytes,
                 "the segment can't be locked into memory: %s (raise LimitMEMLOCK, or set "
                 "segment.lock_memory to 0)",
                 strerror(errno));
        return -errno;
    }
    return 0;
}

static void look(struct segment *s) {
    struct shmid_ds stat;
    int r = sysv_stat(s->id, &stat);
    s->removed = r == 0 ? sysv_removed(&stat) : r == -EIDRM; /* another error says nothing */
}

static uint32_t last_user(const struct segment *s) {
    struct shmid_ds stat;
    return sysv_stat(s->id, &stat) == 0 ? (uint32_t)stat.shm_lpid : 0;
}

int backend_sysv_remove(struct segment *s) {
    struct shm_header found;
    if (s->bell_id < 0 && s->base != NULL) { /* half made, so nobody has opened its bells */
        shared_copy_from(&found, s->base, sizeof found);
        bells_find(s, &found);
    }
    sysv_remove(s->bell_id);
    return s->removed ? 0 : sysv_remove(s->id);
}

static void detach(struct segment *s) {
    if (s->removed) /* nobody can find its bells any more */
        sysv_remove(s->bell_id);
    sysv_detach(s->bells);
    sysv_detach(s->base);
}

const struct backend backend_sysv = {.id = SHM_BACKEND_SYSV,
                                     .protection = "cooperative (sysv)",
                                     .find = find,
                                     .make = make,
                                     .known = known,
                                     .unused = unused,
                                     .begun = begun,
                                     .bells = bells,
                                     .permit = permit,
                                     .revealed = revealed,
                                     .look = look,
                                     .last_user = last_user,
                                     .beside = staging_make,
                                     .decided = staging_decided,
                                     .succeed = staging_succeed,
                                     .abandon = staging_abandon,
                                     .remove = backend_sysv_remove,
                                     .close = detach};
