/* SPDX-License-Identifier: Apache-2.0
 *
 * The snapshot: one writer, any number of readers, the newest complete value (the protocol, and
 * why it is as it is: ARCHITECTURE.md).  It relies on the caller for two things: that at most one
 * process is the writer (a lease), and that the directory's generation is compared after a read.
 */
#ifndef SHM_CORE_SNAPSHOT_H
#define SHM_CORE_SNAPSHOT_H

#include <shm-manager/layout.h>
#include <stdbool.h>
#include <sys/types.h>

/* A section's memory, with the constants of its control line copied and checked. */
struct snapshot {
    struct shm_snapshot *shared; /* mapped read-only in a reader */
    uint8_t *buffers;
    struct shm_bell *bell; /* NULL: none can be written; sleepers poll, the writer wakes nobody */
    uint64_t stride;
    uint64_t room; /* largest value: stride less the buffer's header */
    uint64_t size; /* largest value that the table allows */
    uint64_t section_id;
    uint64_t incarnation;
    uint32_t count;
    uint32_t flags; /* SHM_SECTION_* of the descriptor */
    /* A section that is moving: the place before, which has the newest value as long as nothing was
     * published in this one.  It outlives this object.  NULL: it isn't. */
    const struct snapshot *before;
};

/* What one read found. */
struct snapshot_value {
    uint64_t version; /* 0 = nothing published */
    uint64_t length;
    uint64_t mono_ns;
    uint64_t real_ns;
    uint32_t epoch;
    uint32_t buffer;
    bool before; /* it stands in the place before */
};

#define SNAPSHOT_HINT_READS     64u     /* a lapped reader announces itself before so many reads */
#define SNAPSHOT_HINT_PUBLISHES 64u     /* a hint is honoured for at most so many publishes */
#define SNAPSHOT_LAPS_MAX       100000u /* then a read gives up with -EAGAIN */
#define SNAPSHOT_EMPTY_WAKES    8u      /* then a sleeper sleeps plainly for the bound */
#define SNAPSHOT_POLL_MS        4u      /* between two looks of a sleeper whom nobody wakes */

/* ---- the manager: makes one in zeroed memory that nobody else uses yet */
void snapshot_format(void *memory, const struct shm_section *section);

/* ---- everybody: copies the control line once and compares it with the descriptor.
 * 0, or -EBADMSG and which field.  `bell` may be NULL. */
int snapshot_bind(struct snapshot *ret, void *memory, const struct shm_section *section,
                  struct shm_bell *bell, const char **field);

/* Version of the newest value; 0 = none. */
uint64_t snapshot_version(const struct snapshot *snapshot);

/* Has the writer left this place, and for good?  It touches nothing there any more. */
bool snapshot_left(const struct snapshot *before);

/* ---- the manager, while nobody can publish in either: gives a place that nothing was published in
 * the newest value of the place before, under its version.  0, also when there is none, or there
 * was no need; -EMSGSIZE: it is larger than a buffer here; -EBADMSG: no whole value is to be had
 * there. It may be killed at any point, and done again. */
int snapshot_carry(struct snapshot *snapshot);

/* Under the same condition, for a section that isn't moving: a head that is nonsense becomes that
 * of the newest whole value that the buffers have, *version, or of none, 0.  Was it nonsense? */
bool snapshot_mend(struct snapshot *place, uint64_t *version);

/* Marks a place as left and wakes who sleeps there: the writer, behind its first publish elsewhere;
 * the manager, behind each flip that made a place RETIRED where nobody publishes any more (so that
 * sleepers find something else when they look the section up again), and before the space is
 * reused; also where the writer did so, who may have died before it woke them.  What futex_wake()
 * says. */
int snapshot_leave(struct shm_snapshot *place);

/* ---- the writer: one object per section and process */
struct snapshot_writer {
    struct snapshot *snapshot;
    uint64_t next;                    /* version that the next publish gets */
    uint64_t versions[SHM_COUNT_MAX]; /* which buffer holds which version; 0 = none */
    uint8_t queue[SHM_COUNT_MAX];     /* buffers but the current one, oldest first, from queue_at */
    uint32_t queue_at;
    uint32_t current;          /* buffer that head names; SHM_NONE: none */
    uint32_t open;             /* buffer that was begun; SHM_NONE: none */
    const void *begun;         /* what was begun in a place that was left since; NULL: nothing */
    uint64_t begun_room;       /* how much could be written there */
    struct shm_snapshot *left; /* place to be marked as left behind the next head; NULL: none */
    uint64_t hint;             /* last hint seen, and for how many publishes it was honoured */
    uint32_t hint_age;
    uint32_t busy; /* one publish at a time; a flag between threads and signal handlers */
    uint32_t epoch;
    bool first;   /* the first publish after a take-over wakes unconditionally */
    bool ordered; /* sleepers see to the order of head and doorbell (barrier.h) */
    uint64_t aborted, wakes, wake_errors;
};

/* Takes the section over from whoever wrote it before: zeroes every sequence beyond the head's, so
 * that a value that was finished but not published is never found.  -EBADMSG: the head is
 * nonsense.
 *
 * Of a section that is moving, the place before may be anybody's as soon as it is marked as left;
 * so the section must have been looked up after the lease was granted, and the generation must be
 * the same still behind this call: else it doesn't count, and is done again with what is in force
 * then.  (It stores nothing in the place before.  When that wasn't left yet, it stays until this
 * writer leaves it, or dies.) */
int snapshot_take_over(struct snapshot_writer *ret, struct snapshot *snapshot, uint64_t epoch);

/* Goes on in `to`, whose place before is the writer's: its next publish goes there, and then marks
 * the old place as left.  Nothing is copied, and what was begun can be committed.  The caller has
 * the writer for itself: between begin and commit, or with `busy` set. */
void snapshot_move(struct snapshot_writer *writer, struct snapshot *to);

/* 0, -EMSGSIZE, -EBUSY: another thread's, or this signal's interrupted one, is under way. */
int snapshot_publish(struct snapshot_writer *writer, const void *data, size_t bytes);

/* The same in place; *room is the table's size.  begin: 0 or -EBUSY; commit: 0, -EMSGSIZE (the
 * value stays begun), -EINVAL (nothing was begun). */
int snapshot_begin(struct snapshot_writer *writer, void **data, size_t *room);
int snapshot_commit(struct snapshot_writer *writer, size_t bytes);
void snapshot_abort(struct snapshot_writer *writer);

/* ---- a reader: one object per section object */
struct snapshot_reader {
    const struct snapshot *snapshot;
    uint32_t hints;       /* reads that still announce themselves */
    uint32_t empty_wakes; /* in a row */
    uint64_t laps;        /* in all, for the curious */
};

void snapshot_reader_init(struct snapshot_reader *ret, const struct snapshot *snapshot);

/* Copies the newest value; returns its length.  -ENODATA, -EMSGSIZE (value->length says how much it
 * takes), -EAGAIN (lapped SNAPSHOT_LAPS_MAX times), -EBADMSG. */
ssize_t snapshot_read(struct snapshot_reader *reader, void *buffer, size_t bytes,
                      struct snapshot_value *value);

/* Copies that very version; -ESTALE: its buffer was taken for a newer one; -ENODATA: not yet
 * published; -EINVAL: version 0.  With the first two value->version says which is the newest. */
ssize_t snapshot_read_version(struct snapshot_reader *reader, uint64_t version, void *buffer,
                              size_t bytes, struct snapshot_value *value);

/* The newest value in place.  It counts if snapshot_valid() says so after it was used; when not,
 * the reader asks the writer to spare what it views next. */
int snapshot_view(struct snapshot_reader *reader, const void **data, struct snapshot_value *value);
bool snapshot_valid(struct snapshot_reader *reader, const struct snapshot_value *value);

/* Sleeps until the newest version isn't `version` any more: 0, or -ETIMEDOUT (at `deadline_ns` of
 * CLOCK_MONOTONIC, or after SHM_SLEEP_BOUND_MS at the latest: the caller looks around and comes
 * back), or -ESTALE: the section is elsewhere now, the caller looks it up again.  Spins for
 * `spin_ns` first. */
int snapshot_wait(struct snapshot_reader *reader, uint64_t version, uint64_t deadline_ns,
                  uint64_t spin_ns);

/* The same for several: the caller rings for each, asks once whether that was heard, arms each
 * (what its futex word must be; false: there is something newer already, maybe elsewhere), sleeps
 * with futex_wait_any(), and looks at each again.  Unheard, no writer can be relied on to wake the
 * sleeper, who then looks every SNAPSHOT_POLL_MS. */
struct futex_word;
void snapshot_ring(const struct snapshot_reader *reader);
bool snapshot_heard(void);
bool snapshot_arm(const struct snapshot_reader *reader, uint64_t version, struct futex_word *ret);

#endif
