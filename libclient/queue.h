/* SPDX-License-Identifier: Apache-2.0
 *
 * What a section object has of a queue, and the lane that all of a process's share.
 */
#ifndef SHM_CLIENT_QUEUE_H
#define SHM_CLIENT_QUEUE_H

#include "client.h"
#include "core/queue.h"

/* ---- queue_lane.c: the sender; one for each queue that this process sends to */

struct lane {
    struct lane *next;
    uint32_t references;
    struct lock lock; /* of what follows */
    struct queue_sender core;
    const shmc_section *reserver; /* has a message reserved; NULL: nobody */
    uint32_t waiting;             /* threads that sleep for room */
    bool stale;                   /* it isn't ours any more, or spoilt: who comes takes another */
    struct queue place;
    struct mapping *mapping; /* that it is in */
    size_t bytes;            /* of this and of what `core` has */
};

/* ---- queue.c */

/* Something that a section object held in a place that is the section's no more is lost. */
enum held { HELD_NOTHING, HELD, HELD_LOST };

struct queue_side {
    struct queue place; /* in section->mapping, by section->generation */
    struct mapping *mapping;
    uint64_t generation; /* 0: not bound */

    struct lane *lane; /* NULL: nothing was sent yet */
    enum held reserved;
    size_t refused_bytes; /* of a send that found no room, for shmc_fd(); SIZE_MAX: none did */

    struct queue_receiver core;
    void *cursors; /* its memory; NULL: there is none yet */
    size_t cursors_bytes;
    bool takes;             /* it may; else it looks */
    struct queue_want want; /* that was last found wanting, for shmc_fd() */
    enum held peeked;
    struct queue_message message; /* that is peeked */

    struct queue_message *found; /* shmc_queue_look(): those that were there at index 0 */
    size_t found_n, found_bytes; /* of its mapping */
};

/* A queue in memory that is mapped.  -EBADMSG, and which field. */
int queue_place(struct queue *ret, const struct mapping *mapping, const struct shm_section *found,
                struct shm_bell *bell, const char **field);

/* Each call's beginning: the section's place is known, as section->queue. */
int queue_ready(shmc_section *section);

/* A receiver's: it may take.  With `looks` it needn't. */
int queue_ready_to_receive(shmc_section *section, bool looks);

/* -EAGAIN, or -ESTALE from the lane: the section is to be looked up again.  True: do so. */
bool queue_lookup_again(shmc_section *section, int *r);

/* The section object goes, or its handle did. */
void queue_forget(shmc_section *section);

/* What is wrong with a lane: -EBADMSG. */
int queue_bad_lane(const shmc_section *section, uint32_t lane, const char *field);

/* What is known about a message.  What is the same for all of a batch is looked at once. */
struct queue_teller {
    const shmc_section *section;
    uint64_t mono_ns, real_ns; /* 0: the clocks weren't read as yet */
    struct attachment sender;  /* index 0: nobody was asked for */
    char worker[SHMC_NAME_BYTES];
};
void queue_describe(struct queue_teller *teller, const struct queue_message *message,
                    struct shmc_message *ret);

static inline bool queue_same_place(const struct queue *a, const struct queue *b) {
    return a->lanes == b->lanes && a->claims == b->claims &&
           a->section.section_id == b->section.section_id &&
           a->section.incarnation == b->section.incarnation && a->section.size == b->section.size &&
           a->section.count == b->section.count;
}

/* ---- queue_lane.c */

/* Sets section->queue->lane, taking one with the first.  -EAGAIN: the section is to be looked up
 * again; -EUSERS: all are held. */
int lane_open(shmc_section *section);
void lane_release(shmc *segment, struct lane *lane);

/* The handle goes: its lanes are others' from here on. */
void lanes_close(shmc *segment);

/* Is there room for so many bytes, or a reason to ask? */
bool lane_has_room(struct lane *lane, size_t bytes);

/* One more sleeps for room, and one less.  False: nobody will wake him. */
bool lane_ring(struct lane *lane, struct futex_word *ret);
void lane_unring(struct lane *lane, uint64_t blocked_ns);

/* Sleeps until there is room for so many bytes, or until_ns, or the bound.  0 or -EINTR. */
int lane_wait(struct lane *lane, size_t bytes, uint64_t until_ns, uint64_t spin_ns);

/* ---- queue_event.c: shmc_fd() */

/* What the helper's section object looks for, for its owner's. */
struct queue_interest {
    bool messages;
    struct queue_want want;
    size_t room; /* SIZE_MAX: none is wanted */
};

#define QUEUE_WORDS 2u

struct queue_watch {
    struct queue_interest interest;
    struct futex_word words[QUEUE_WORDS]; /* to sleep on */
    unsigned words_n;
    struct lane *rung; /* that is rung for room; NULL: none */
};

/* From here on it looks for what the owner found wanting last.  Is that something else? */
bool queue_watch_from_here(struct queue_watch *watch, const shmc_section *owner);

/* Is there what it looks for, or a reason to ask?  `mine` is ready. */
bool queue_watch_due(const struct queue_watch *watch, shmc_section *mine);

/* Rings, and fills in the words.  False: nobody will wake him. */
bool queue_watch_ring(struct queue_watch *watch, shmc_section *mine);
void queue_watch_unring(struct queue_watch *watch);

/* ---- queue_stat.c */
void queue_sum(const struct mapping *mapping, const struct queue *place,
               struct shmc_queue_stat *ret, struct shmc_lane_stat *lanes, size_t room);

#endif
