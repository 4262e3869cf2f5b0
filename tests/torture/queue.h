/* SPDX-License-Identifier: Apache-2.0
 *
 * What the processes of the queue's torture share: the board on which they say what becomes of each
 * message, which is named by its stream (of one sender, and of those who come after it) and its
 * number in it.
 */
#ifndef SHM_TESTS_TORTURE_QUEUE_H
#define SHM_TESTS_TORTURE_QUEUE_H

#include "failures.h"
#include "play.h"

#define STREAMS     4u
#define RECEIVERS   2u
#define LANES       8u
#define NUMBERS     (1u << 24) /* of a stream, at most; only what is used takes memory */
#define TYPES       3u
#define WORDS_MAX   64u
#define PATIENCE_MS 60000

/* What is said of a message.  A sender says SENDING before, and SENT or REFUSED behind; who is
 * killed between them may have sent it. */
enum { UNSENT, SENDING, SENT, REFUSED };

struct stream {
    _Alignas(64) atomic_uint next; /* number of its next message */
    atomic_uchar fate[NUMBERS];
    atomic_uchar received[NUMBERS]; /* how often */
    atomic_uchar named[NUMBERS];    /* a receiver was killed that was about to acknowledge it */
};

struct board {
    struct stream streams[STREAMS];
    struct {
        _Alignas(64) atomic_ullong acking; /* stream << 32 | number + 1 */
        atomic_uint receiving;             /* messages that it may be taking, which no one knows */
    } receivers[RECEIVERS];
    atomic_bool stop;  /* for senders */
    atomic_bool ended; /* they have: receivers take what is left */
    atomic_ullong batches, in_place, peeks, given_back, again;
    atomic_ullong relocated, takeovers; /* as the queue says at the end */
    struct failures failures;
};

extern struct board *board;

/* One more violation; the first one's text is kept. */
#define violate(...) failures_note(&board->failures, __VA_ARGS__)

shmc_section *open_queue(const char *worker, uint32_t flags, shmc **segment);

/* The type and the words of a message; the first one names it. */
int64_t message_type(uint64_t name);
size_t message_words(uint64_t name);
void message_fill(uint64_t *to, uint64_t name);

/* What the forked processes do until they are killed, or the board says stop. */
void send_until_killed(unsigned stream, uint64_t seed);
void receive_until_killed(unsigned receiver, uint64_t seed);

#endif
