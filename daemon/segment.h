/* SPDX-License-Identifier: Apache-2.0
 *
 * The segment as the manager holds it: found or made, adopted or rebuilt, its bells beside it.
 */
#ifndef SHM_DAEMON_SEGMENT_H
#define SHM_DAEMON_SEGMENT_H

#include "core/attachments.h"
#include "core/directory.h"
#include "core/image.h"
#include "core/snapshot.h"
#include "core/table.h"

struct backend;
struct memory;
struct state_db;

struct segment {
    const struct backend *backend;
    struct memory *memory; /* memfd: its objects */
    int id;                /* sysv: shmid; else -1 */
    char name[24];         /* for messages: "shmid 5" */
    char removal[48];      /* how people take it away: "ipcrm -m 5" */
    int bell_id;
    void *base;
    uint64_t bytes;
    struct shm_bells *bells;
    struct image image;
    struct attachment carrier; /* the manager's, while a queue is carried (carry.h) */
    bool adopted;              /* it was there before us */
    bool rebuilt;              /* and its directory was not to be trusted */
    bool removed;              /* somebody's ipcrm: it lives on for who is attached */
};

struct segment_wish {
    uint32_t key;
    const char *runtime_dir;
    enum shm_backend backend; /* of a new one */
    uint64_t bytes;           /* the same */
    uint32_t mode;
    gid_t group;
    bool lock_memory;
    struct state_db *state; /* for a placement when the directory is damaged */
};

/* Finds the segment and takes it over with all its data, or makes one; *layout is what runs in it
 * (its generation 0 in a new one).  Failures are one line in `error`: a foreign segment (-EPERM),
 * another ABI (-EPROTONOSUPPORT), no memory (-ENOSPC, -ENOMEM, -EINVAL). */
int segment_open(struct segment *ret, const struct segment_wish *wish, struct layout *layout,
                 char *error, size_t error_bytes);

/* The first directory is published: stores the magic. */
void segment_reveal(struct segment *segment, struct state_db *state);

/* A successor for a segment, of wish->bytes: made beside it, with memory for `next`, so that nobody
 * can find it.  -ENOMEM and others: there is none. */
int segment_beside(struct segment *ret, const struct segment *before,
                   const struct segment_wish *wish, struct layout *next, char *error,
                   size_t error_bytes);

/* Brings along what `next` keeps.  -EINVAL: a value doesn't fit. */
int segment_bring(struct segment *before, const struct segment *successor,
                  const struct layout *running, struct layout *next, char *error,
                  size_t error_bytes);

/* It is whole and published: state.db says that it is the one.  The next manager would go on from
 * here; with a failure nothing has happened. */
int segment_decide(const struct segment *successor, struct state_db *state, char *error,
                   size_t error_bytes);

/* It takes the place of the one before, which goes for whoever comes now.  A failure leaves that to
 * the next manager, and this one can't go on. */
int segment_succeed(struct segment *successor, struct segment *before,
                    const struct segment_wish *wish, char *error, size_t error_bytes);

/* It was for nothing. */
void segment_abandon(struct segment *successor, struct state_db *state);

/* Detaches; the memory stays. */
void segment_close(struct segment *segment);

/* Takes memory and bells away for good. */
int segment_destroy(struct segment *segment);

/* mode, group, memory lock as the table says now. */
int segment_permit(struct segment *segment, const struct segment_wish *wish, char *error,
                   size_t error_bytes);

/* Locks what `layout` has into memory, or unlocks it, where segment_permit() can't. */
int segment_lock(struct segment *segment, const struct layout *layout, bool lock, char *error,
                 size_t error_bytes);

/* Makes sure that there is memory (else -ENOMEM and why) for the sections that are new in `next`,
 * or elsewhere than in `running`, and makes their control lines; nothing of it is visible yet.
 * Those that don't wait for their writer get their values: one that can't be had whole begins anew,
 * which `next` says then; one that is too large for its new place is -EINVAL.  *left is the memory
 * that is replaced, also on failures. */
struct relocation;
int segment_prepare(struct segment *segment, const struct layout *running, struct layout *next,
                    struct relocation **left, char *error, size_t error_bytes);

/* Lets it go; with `layout`, which is in force, wakes who sleeps there. */
void segment_leave(struct relocation *left, const struct layout *layout);

/* Has this section another place in `next`? */
bool segment_moves(const struct layout *running, const struct layout *next, uint32_t slot);

/* What `layout`, which is in force, doesn't list goes: after a flip, or a plan that failed. */
void segment_settle(struct segment *segment, const struct layout *layout);

/* A snapshot section's memory, with the place before where it is moving.  It refers to itself:
 * don't copy it. */
struct segment_place {
    struct snapshot now, before;
};
int segment_place(const struct segment *segment, const struct layout *layout,
                  const struct shm_section *section, struct segment_place *ret);

/* Length of its newest value; 0: none. */
uint64_t segment_value_bytes(const struct segment_place *place);

/* Does the size that the section has now allow it? */
bool segment_value_fits(const struct segment_place *place);

/* Wakes everybody who sleeps on a section of `layout`; or at the places that were left with it. */
void segment_wake(const struct segment *segment, const struct layout *layout,
                  const struct shm_section *section);
void segment_wake_left(const struct segment *segment, const struct layout *layout);

/* Mends damaged control lines of sections; the number that were. */
unsigned segment_mend_controls(struct segment *segment, const struct layout *layout);

/* One look at what others may have done to it: sets `removed`. */
void segment_look(struct segment *segment);

/* A descriptor whose hang-up is a reason to look at once; -1: there is none. */
int segment_watched(const struct segment *segment);

/* The process that attached or detached last, for the search for who wrote into the header; 0: not
 * known. */
uint32_t segment_last_user(const struct segment *segment);

/* A description of a part of it to hand out; its size.  -EOPNOTSUPP: this backend has none. */
enum segment_part { SEGMENT_HEADER = 1, SEGMENT_BELLS, SEGMENT_ARENA };
int segment_share(const struct segment *segment, enum segment_part part,
                  const struct shm_arena *arena, uint32_t index, bool writable, int *fd,
                  uint64_t *bytes);

enum shm_backend segment_backend(const struct segment *segment);
const char *segment_protection(const struct segment *segment);

#endif
