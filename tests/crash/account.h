/* SPDX-License-Identifier: Apache-2.0
 *
 * A queue of three lanes whose sender or receiver is killed, and the account of its messages: each
 * has a number, from which its type, length and bytes follow.
 */
#ifndef SHM_TESTS_ACCOUNT_H
#define SHM_TESTS_ACCOUNT_H

#include "core/queue.h"
#include "sweep.h"

#define ACCOUNT_NUMBERS 1048576u
#define ACCOUNT_BYTES   1024u /* of a lane's payload */
#define ACCOUNT_LANES   3u
#define ACCOUNT_TYPES   4

/* Attachments. */
enum { NOBODY, STEPPED, BYSTANDER, SUCCESSOR, OTHER, ATTACHMENTS };

/* The section's memory with all that stands beside it. */
struct place {
    struct shm_attachment attachments[ATTACHMENTS];
    struct shm_bell bell;
    uint8_t memory[];
};

/* A place as it is, and the copy on which everything is tried. */
struct scene {
    struct place *place;
    struct queue queue;
};

/* What became of a message, as who sends and receives says it. */
enum fate {
    UNSENT, /* or refused */
    SENDING,
    SENT,
    RECEIVED,
};

/* Shared with the process that is stepped; nothing of it is a place. */
struct account {
    uint32_t taking; /* messages that it may be receiving right now */
    uint64_t next;   /* number of the next message */
    uint64_t held;   /* of the one that the bystander has taken; 0: none */
    uint8_t fate[ACCOUNT_NUMBERS];
};

extern struct account *account;
extern struct scene real;

/* Both, empty. */
void account_open(void);

/* Changes of this are places. */
void account_watch(struct watched *watched);

struct attachment account_attachment(const struct scene *scene, unsigned index);

/* The lease of the process that is stepped has ended. */
void account_end_lease(struct scene *scene);

int64_t message_type(uint64_t number);
size_t message_bytes(uint64_t number);
void message_fill(void *to, uint64_t number);

/* Its number, if it is one that was sent and not received, and all its bytes are right; else 0. */
uint64_t message_number(const struct queue_message *message, const void *data, size_t n);

/* What must hold if the process was killed now. */
void account_check(struct sweep *sweep);

/* Records that were appended again. */
uint32_t account_relocated(void);

/* It was killed: who was sending and receiving has no more to say. */
void account_settle(struct sweep *sweep);

#endif
