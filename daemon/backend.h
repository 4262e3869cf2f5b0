/* SPDX-License-Identifier: Apache-2.0
 *
 * What segment.c asks of a way to make memory.  A backend finds, makes and keeps it; what stands in
 * it is segment.c's.
 */
#ifndef SHM_DAEMON_BACKEND_H
#define SHM_DAEMON_BACKEND_H

#include "segment.h"
#include "state_db.h"

#include <stdio.h>

/* One attempt at opening. */
struct attempt {
    struct segment *segment;
    const struct segment_wish *wish;
    struct layout *layout;
    uint64_t segment_id; /* of a new one */
    char *error;
    size_t error_bytes;
};

#define ATTEMPT_FAIL(attempt, result, ...)                                                         \
    (snprintf((attempt)->error, (attempt)->error_bytes, __VA_ARGS__), (result))

/* The calls fill in segment->base, bytes, name and removal; all failures leave a line of text. */
struct backend {
    enum shm_backend id;
    const char *protection;

    /* Maps the one of that key.  -ENOENT: there is none; -EAGAIN: it went as we looked. */
    int (*find)(const struct attempt *attempt);

    /* Maps a new one, all zeros. */
    int (*make)(const struct attempt *attempt);

    /* Is what was found the one that state.db remembers? */
    bool (*known)(const struct attempt *attempt);

    /* Can it be one whose making was cut short: of the right size, nobody attached? */
    bool (*unused)(const struct attempt *attempt);

    /* Is it known that it was never finished?  Its header may be there in part only. */
    bool (*begun)(const struct attempt *attempt);

    /* Sets segment->bells and bell_id: those of the header, or new ones. */
    int (*bells)(const struct attempt *attempt);

    /* Maps the arenas of a layout that was found; NULL: they come with the segment. */
    int (*arenas)(const struct attempt *attempt);

    /* Makes the arenas that `next` adds; NULL, as above. */
    int (*prepare)(struct segment *segment, const struct layout *next, char *error,
                   size_t error_bytes);

    /* Drops those that `layout` doesn't list; NULL, as above. */
    void (*settle)(struct segment *segment, const struct layout *layout);

    /* Another description of a part; NULL: there are none to hand out. */
    int (*share)(const struct segment *segment, enum segment_part part,
                 const struct shm_arena *arena, uint32_t index, bool writable, int *fd,
                 uint64_t *bytes);

    int (*permit)(struct segment *segment, const struct segment_wish *wish, char *error,
                  size_t error_bytes);

    /* Where memory is locked by who maps it: what `layout` has; NULL: permit() does it. */
    int (*lock)(struct segment *segment, const struct layout *layout, char *error,
                size_t error_bytes);
    void (*unlock)(struct segment *segment);

    /* Maps new memory beside what runs, all zeros, for a successor whose layout is given: nobody
     * else finds it. */
    int (*beside)(const struct attempt *attempt);

    /* The number by which the next manager knows that it was decided. */
    struct state_number (*decided)(const struct segment *successor);

    /* It was: the one before goes, and this one is found where that was. */
    int (*succeed)(const struct attempt *attempt, struct segment *before);

    /* It never will be: its memory goes, as far as it was made.  Doesn't unmap it. */
    void (*abandon)(struct segment *successor, struct state_db *state);

    void (*revealed)(const struct segment *segment, struct state_db *state);
    void (*look)(struct segment *segment);
    int (*watched)(const struct segment *segment); /* NULL: nothing */
    uint32_t (*last_user)(const struct segment *segment);

    /* Takes the memory away for good, but for who has it mapped; does not unmap it. */
    int (*remove)(struct segment *segment);
    void (*close)(struct segment *segment);
};

extern const struct backend backend_sysv, backend_memfd;

#endif
