/* SPDX-License-Identifier: Apache-2.0
 *
 * The queue: many senders, each alone in a lane of its own, and receivers, one or competing (the
 * protocol, and why it is as it is: ARCHITECTURE.md).  It relies on the caller for three things:
 * that a sender and a receiver have an attachment that lives (its lease), that each object below is
 * used by one thread at a time, and that the memory was looked up in the directory in force.
 *
 * What stands in records and claims may be anybody's invention: it is copied once, and checked, and
 * what is wrong with it is the lane's trouble, never the others'.
 */
#ifndef SHM_CORE_QUEUE_H
#define SHM_CORE_QUEUE_H

#include "attachments.h"
#include "geometry.h"

#include <sys/types.h>

struct futex_word;

#define QUEUE_POLL_MS     4u                  /* between two looks of a sleeper whom nobody wakes */
#define QUEUE_EMPTY_WAKES 8u                  /* then a sleeper sleeps plainly for the bound */
#define QUEUE_SENT_MAX    (UINT64_C(1) << 62) /* nobody lives to send so many */

/* A section's memory, with the constants of its control line copied and checked. */
struct queue {
    uint8_t *lanes;        /* the first lane; read-only for who may not send */
    uint8_t *claims;       /* the first lane's; read-only for who may not receive */
    struct shm_bell *bell; /* NULL: none can be written; sleepers poll, senders wake nobody */
    struct attachments attachments;
    struct queue_geometry geometry;
    struct shm_section section; /* as it was looked up */
};

/* Copies the control line once and compares it with the descriptor: 0, or -EBADMSG and which field.
 * `memory` is the section's control line, with all lanes and claims behind it; `bell` may be NULL.
 * A lane whose own line is damaged is bad, and not the queue. */
int queue_bind(struct queue *ret, void *memory, const struct shm_section *section,
               struct shm_bell *bell, const struct attachments *attachments, const char **field);

/* ---- a sender: one object per process and queue */

struct queue_block;

struct queue_sender {
    const struct queue *queue;
    struct shm_lane *lane;
    uint8_t *data;
    struct shm_claims *claims;
    uint32_t index; /* of the lane */
    uint32_t pid;   /* for its records */
    struct attachment who;
    uint64_t word; /* the lane's owner word while it is ours; 0: we have none */
    uint64_t sent; /* records committed; what follows is appended, and not committed yet */
    uint64_t appended;
    uint64_t reclaimed;         /* records before this one are ours again */
    struct queue_block *blocks; /* of each record, where its payload stands */
    uint64_t *used;             /* a bit for each line of the payload's ring */
    uint32_t lines;             /* in all */
    uint32_t lines_free;
    uint32_t next_line; /* where to look first */
    uint32_t open_line; /* what was reserved */
    uint32_t open_lines;
    size_t open_bytes;
    bool open;
    bool ordered; /* sleepers see to the order of `sent` and doorbell (barrier.h) */
    bool damaged; /* somebody else wrote into the lane: it can't be used any more */
    uint32_t empty_wakes;
    uint64_t bytes_sent, refused, blocked_ns, wakes, high_bytes, bytes_held;
    /* The receivers' count, and the claim of the oldest record, when it was looked last whether
     * something is gained by moving that one; and attempts since. */
    uint64_t received_then, oldest_then;
    uint32_t unlooked;
    bool asleep;      /* or about to be, for room */
    uint64_t look_at; /* the next look at how full it is, for the high marks */
    uint32_t look_every, high_messages, relocated;
};

/* Bytes of private memory that a sender needs; zeroed, at 8 bytes; untouched pages cost nothing. */
size_t queue_sender_bytes(const struct queue *queue);

/* Takes the lowest lane that is free, or whose holder's lease has ended; what he had committed is
 * still delivered, what he hadn't never was.  A lane that is `who`'s already is taken before all.
 * `memory` is the caller's until queue_sender_close(), or for ever (nothing is to be undone).
 * -EUSERS: all are held (queue_lane_stat() says by whom); -ESTALE: or the manager has
 * sealed them, as the queue goes to another place: look the section up again; -EBADMSG: those that
 * could be had are damaged, *lane and *field say the last one (either may be NULL).
 *
 * Rings for the receivers once: a predecessor may have died between its commit and its ring. */
int queue_sender_open(struct queue_sender *ret, const struct queue *queue, struct attachment who,
                      void *memory, uint32_t *lane, const char **field);

/* Gives the lane back; its messages stay.  What was reserved is cancelled.  NULL-safe, idempotent.
 */
void queue_sender_close(struct queue_sender *sender);

/* In place: room for a message of so many bytes, in one piece, at a line's begin.
 * 0; -EMSGSIZE: more than geometry.max_message; -EAGAIN: the lane is full (also of messages that
 * nobody takes, each of which was appended again behind the others, where that gave room); -EBUSY:
 * something is reserved already; -ESTALE: the lane isn't ours any more (the manager has sealed it:
 * look the section up again, close, and open); -EBADMSG: somebody else wrote into this lane. */
int queue_reserve(struct queue_sender *sender, size_t bytes, void **data);

/* Sends what was reserved, `bytes` of it at most; type > 0.  0, or -EINVAL (nothing was reserved,
 * or no type), -EMSGSIZE (more than was reserved); it stays reserved then. */
int queue_commit(struct queue_sender *sender, int64_t type, size_t bytes);
void queue_cancel(struct queue_sender *sender);

/* reserve, copy, commit. */
int queue_send(struct queue_sender *sender, int64_t type, const void *data, size_t bytes);

struct queue_item {
    int64_t type;
    const void *data;
    size_t bytes;
};

/* Sends as many as there is room for, in order; they become receivable in one.  How many; or what
 * queue_send() says of the first. */
ssize_t queue_send_batch(struct queue_sender *sender, const struct queue_item *items, size_t n);

/* Would queue_reserve() find room?  It does for that what that does. */
bool queue_has_room(struct queue_sender *sender, size_t bytes);

/* Counts a send that the caller gave up for want of room; the wait counts by itself. */
void queue_refused(struct queue_sender *sender);

/* ---- a receiver: one object per section object.  Who may only read uses it as well, to look. */

struct queue_cursor;

struct queue_receiver {
    const struct queue *queue;
    struct attachment who; /* index 0: may look, and take nothing */
    uint32_t pid;
    struct queue_cursor *cursors; /* of each lane */
    uint32_t turn;                /* lane that is asked first, for fairness among equal times */
    uint32_t empty_wakes;
    uint64_t now_ns; /* the latest look at the clock */
    uint64_t news;   /* how often a lane had got more */
    uint32_t bad;    /* how many lanes are */
};

size_t queue_receiver_bytes(const struct queue *queue);

/* `memory` as a sender's.  Lanes whose own line is damaged are bad from the beginning, and are
 * reported as others by the first call below that would look at them. */
void queue_receiver_init(struct queue_receiver *ret, const struct queue *queue,
                         struct attachment who, void *memory);

/* Which: 0 the oldest; > 0 the oldest of that type; < 0 the oldest of the lowest type that is not
 * above -type; except: the oldest of any type but `type`, which is > 0. */
struct queue_want {
    int64_t type;
    bool except;
};

struct queue_message {
    uint32_t lane;
    uint32_t sender_pid;
    struct attachment sender;
    uint64_t seq; /* its position in the lane */
    uint64_t id;  /* what the user sees: unique within lane and incarnation, rises with sending */
    int64_t type;
    uint32_t length;
    bool redelivered; /* somebody had taken it before, and died or gave it back */
    uint64_t send_ns; /* CLOCK_MONOTONIC; 0 with stamp none; as the sender says */
    const void *data; /* in the lane: the sender could write it still */
    uint64_t claim;   /* the word that holds it, or that was found */
};

/* The message that would be received now, without taking it.  0; -EAGAIN: there is none.
 *
 * -EBADMSG, from this and the calls below: ret->lane is damaged, *field says what is (may be NULL).
 * That lane is left out from then on, for as long as this object lives; the next call goes on with
 * the others. */
int queue_look(struct queue_receiver *receiver, struct queue_want want, struct queue_message *ret,
               const char **field);

/* All that could be received, oldest of each lane first, lane after lane, until `each` says other
 * than 0; what it said.  For looking: nothing is taken, and a message may be gone meanwhile.
 * -EBADMSG as above. */
int queue_each(struct queue_receiver *receiver, struct queue_want want,
               int (*each)(void *context, const struct queue_message *message), void *context,
               struct queue_message *ret, const char **field);

/* Takes it; it is ours until it is done or abandoned, or our lease ends.  -EAGAIN, -EBADMSG;
 * -EACCES: the receiver has no attachment; -E2BIG: longer than `most`, and it stays (*ret is what
 * queue_look() says). */
int queue_take(struct queue_receiver *receiver, struct queue_want want, size_t most,
               struct queue_message *ret, const char **field);

/* Copies what was taken, at most `bytes` of it; how many that were. */
size_t queue_copy(const struct queue_message *message, void *buffer, size_t bytes);

/* Received: its sender may use the place again.  -ESTALE: it wasn't ours any more, and may come
 * again. */
int queue_done(struct queue_receiver *receiver, const struct queue_message *message);

/* Gives it back, to whoever comes next; it was never away.  -ESTALE as above. */
int queue_abandon(struct queue_receiver *receiver, const struct queue_message *message);

/* take, copy, done; the bytes copied.  With `truncate` a longer message is cut (ret->length says
 * how long it was), else -E2BIG and it stays.  If it turns out at the end that it isn't ours
 * (-ESTALE above), the next one is taken instead. */
ssize_t queue_receive(struct queue_receiver *receiver, struct queue_want want, void *buffer,
                      size_t bytes, bool truncate, struct queue_message *ret, const char **field);

/* ---- waiting.  Every sleep is bounded: SHM_SLEEP_BOUND_MS at the latest -ETIMEDOUT, and the
 * caller looks around (removed? moved? its deadline?) and comes back. */

/* Until there is such a message: 0; -ETIMEDOUT (at `deadline_ns` of CLOCK_MONOTONIC, or the bound);
 * -EINTR; -EBADMSG.  Spins for `spin_ns` first. */
int queue_wait_message(struct queue_receiver *receiver, struct queue_want want,
                       uint64_t deadline_ns, uint64_t spin_ns, struct queue_message *ret,
                       const char **field);

/* Until there is room for so many bytes: 0, -ETIMEDOUT, -EINTR, -ESTALE, -EMSGSIZE, -EBADMSG. */
int queue_wait_room(struct queue_sender *sender, size_t bytes, uint64_t deadline_ns,
                    uint64_t spin_ns);

/* The same for several objects at once: the caller rings for each (which says the futex word and
 * what it must be), asks queue_heard() once, then looks at each (queue_look(), queue_has_room()),
 * and sleeps with futex_wait_any() when there is nothing.  Unheard, or where ring said false,
 * nobody can be relied on to wake the sleeper, who then looks every QUEUE_POLL_MS.  A sender's bell
 * is unrung when it doesn't wait any more. */
bool queue_ring(const struct queue_receiver *receiver, struct futex_word *ret);
bool queue_ring_room(struct queue_sender *sender, struct futex_word *ret);
void queue_unring_room(struct queue_sender *sender);
bool queue_heard(void);

/* Wakes all who sleep on the queue, so that they look around: its section went, or moved, or
 * somebody's lease ended.  `claims` only when these can be written (the senders who wait for room).
 */
void queue_wake_all(const struct queue *queue, bool claims);

/* ---- looking at it: anybody, also who may only read; a lane may change meanwhile */

struct queue_lane_stat {
    const char *damage; /* NULL: none is seen; else what is wrong with it: it is bad */
    uint64_t owner;     /* owner word, see owner_of(), owner_state(), owner_gone() */
    uint64_t sent;      /* ever */
    uint32_t messages;  /* that stand in it, taken ones included */
    uint32_t taken;     /* by receivers who live */
    uint64_t bytes;     /* of payload of these messages */
    uint64_t oldest_ns; /* when the oldest of them was sent; 0: none, or no stamps */
    uint32_t high_messages;
    uint32_t relocated;
    uint64_t high_bytes;
    uint32_t takeovers;
    bool waiting;                                    /* its sender sleeps for room */
    uint64_t bytes_sent, refused, blocked_ns, wakes; /* as the senders count */
    uint32_t last_send_pid;                          /* 0: nobody ever did */
    uint64_t last_send_ns;                           /* CLOCK_MONOTONIC */
    uint32_t last_receive_pid;
    uint64_t last_receive_real_ns; /* CLOCK_REALTIME, coarse */
    uint64_t received;             /* ever; about */
};

/* Messages and bytes are counted by looking at each; exact when nobody is at work meanwhile. */
void queue_lane_stat(const struct queue *queue, uint32_t lane, struct queue_lane_stat *ret);

/* Messages that could be received, by anybody, over all lanes that aren't bad: cheaper. */
uint64_t queue_count(const struct queue *queue);

/* ---- the manager: queue_carry.c */

/* The attachment of one who lives and holds a lane, or a message; 0: nobody does. */
uint32_t queue_entered(const struct queue *queue);

/* Keeps everybody from taking a lane.  -EBUSY: somebody holds one, *by; none is sealed then. */
int queue_seal(const struct queue *queue, struct attachment *by);
void queue_unseal(const struct queue *queue);

/* All that is in it, into a place that nobody else uses yet and is divided likewise; `from` is
 * sealed, and nobody receives there from now on for as long as `manager`, an attachment of the
 * caller's, lives.  -EBUSY: somebody holds a message, and all is as it was. */
int queue_carry(const struct queue *from, const struct queue *to, struct attachment manager);

/* Nobody ever receives there again, where it was carried from: the other place is in force. */
void queue_bury(const struct queue *queue);

#endif
