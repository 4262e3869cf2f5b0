/* SPDX-License-Identifier: Apache-2.0
 *
 * A segment as it is mapped here, and who this process is in it.
 */
#ifndef SHM_MAPPING_H
#define SHM_MAPPING_H

#include "core/attachments.h"
#include "core/directory.h"
#include "core/tenancy.h"

#include <errno.h>
#include <sys/types.h>

#define BELLS_KEPT 8

/* The doorbells are replaced when somebody removed them; the earlier ones stay mapped, as sections
 * may be bound to them. */
struct bells {
    uint8_t *base;
    uint32_t capacity;
    int id;
    void *kept[BELLS_KEPT];
    unsigned kept_n;
};

/* Parts of the segment that were mapped writable; of one made of memfds, also to read. */
struct range {
    uint64_t offset, bytes;
    uint64_t incarnation; /* of the arena */
    uint32_t index;       /* its */
    bool ours;            /* by the directory that was looked at last */
    bool writable;
};
struct ranges {
    struct range *at; /* a mapping, not malloc()'s: see struct lock */
    size_t n, room;
    uint64_t generation; /* of the directory that they agree with */
};

/* A segment made of memfds. */
struct parts {
    void *spare; /* a second mapping of the header's object; NULL: it is System V's */
    uint64_t bytes;
    uint64_t bells_bytes;
    uint64_t deadline_ns; /* of the attach; 0 when it is over */
    bool hasty;           /* who asks now can do without */
    uint64_t away_ns;     /* when the manager was last asked in vain; 0: never */
};

/* Being somebody who may write: a worker, or an attachment alone. */
struct standing {
    char worker[SHM_NAME_BYTES]; /* "" = it has no name */
    uint32_t worker_index;       /* SHM_NONE: the same */
    uint32_t attachment;         /* 0 = a reader */
    uint64_t worker_epoch;
    uint64_t attachment_epoch;
    void *map; /* the lease */
    int fd;    /* the same, with SHMC_LEASE_FD; else -1 */
    bool lost; /* it was of a segment that has been replaced */
};

/* A segment as it is mapped.  One that replaces it gets another of these; calls that are under way,
 * and what was lent out, keep the one before. */
struct mapping {
    struct directory directory;
    uint8_t *base;
    int id;        /* shmid; -1: memfd */
    uid_t creator; /* of the segment */
    struct standing standing;
    struct ranges ranges;
    struct parts parts;
    struct bells bells;
    uint64_t inherited;     /* a segment without a manager: its bytes; else 0 */
    struct tenancy tenancy; /* of that: who is attached */
    struct tenant tenant;   /* the lease of this attachment, also a reader's */
    void *records;          /* the header and its records, writable */
    bool whole;             /* all of it is writable: its creator's, in an init */
    struct mapping *before; /* that is still there */
    uint32_t uses; /* section objects bound to it, what they lent, and calls; if shut, none */
    bool shut;     /* its memory was given back; nothing but the addresses is left */
};

static inline bool private_is(const struct mapping *mapping) {
    return mapping->inherited != 0;
}

/* Somebody who may write. */
static inline bool standing_is(const struct mapping *mapping) {
    return mapping->standing.attachment != 0;
}

/* As the words in memory name us; -EACCES: a reader. */
static inline int standing_attachment(const struct mapping *mapping, struct attachment *ret) {
    const struct standing *s = &mapping->standing;
    if (s->attachment == 0)
        return -EACCES;
    *ret = (struct attachment){s->attachment, (uint32_t)s->attachment_epoch};
    return 0;
}

/* Is it in force?  A worker is told by his worker's word to publish nothing more. */
static inline bool standing_holds(const struct mapping *mapping) {
    const struct standing *s = &mapping->standing;
    const struct directory *d = &mapping->directory;
    return !s->lost &&
           (s->worker_index != SHM_NONE ? directory_worker_word(d, s->worker_index) ==
                                              lease_word(s->worker_epoch, SHM_LEASE_LEASED)
                                        : directory_attachment_word(d, s->attachment) ==
                                              lease_word(s->attachment_epoch, SHM_LEASE_LEASED));
}

#endif
