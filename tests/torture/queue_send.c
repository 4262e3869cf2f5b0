/* SPDX-License-Identifier: Apache-2.0
 *
 * A sender of the queue's torture: goes on in its stream where whoever was killed before it left
 * off, in all the ways in which there is to send.
 */
#include "queue.h"

#include <errno.h>
#include <time.h>

#define BATCH 3u

static struct stream *stream;
static uint64_t first; /* name of the stream's message 0 */
static shmc *segment;
static shmc_section *section;

/* Says that it is being sent.  Its number is never used again. */
static uint64_t begin(void) {
    const unsigned number = atomic_fetch_add(&stream->next, 1);
    atomic_store(&stream->fate[number], SENDING);
    return first + number;
}

static void end(uint64_t name, bool sent) {
    atomic_store(&stream->fate[name - first], sent ? SENT : REFUSED);
}

static int send_copied(int timeout_ms) {
    uint64_t words[WORDS_MAX];
    const uint64_t name = begin();
    message_fill(words, name);
    const int r =
        shmc_queue_send(section, message_type(name), words, 8 * message_words(name), 0, timeout_ms);
    end(name, r == 0);
    return r;
}

/* Filled where it will be read, so that a kill comes in the midst of it. */
static int send_in_place(int timeout_ms, bool commit) {
    void *data;
    const uint64_t name = begin();
    int r = shmc_queue_reserve(section, 8 * message_words(name), &data, 0, timeout_ms);
    if (r == 0) {
        message_fill(data, name);
        if (commit)
            r = shmc_queue_commit(section, message_type(name), 8 * message_words(name));
        else
            shmc_queue_cancel(section);
    }
    end(name, r == 0 && commit);
    atomic_fetch_add(&board->in_place, 1);
    return r;
}

static int send_batch(int timeout_ms) {
    uint64_t words[BATCH][WORDS_MAX], names[BATCH];
    struct shmc_outgoing messages[BATCH];
    for (unsigned i = 0; i < BATCH; i++) {
        names[i] = begin();
        message_fill(words[i], names[i]);
        messages[i] =
            (struct shmc_outgoing){message_type(names[i]), words[i], 8 * message_words(names[i])};
    }
    const ssize_t n = shmc_queue_send_batch(section, messages, BATCH, 0, timeout_ms);
    for (unsigned i = 0; i < BATCH; i++)
        end(names[i], i < n);
    atomic_fetch_add(&board->batches, 1);
    return n < 0 ? (int)n : 0;
}

/* Not at full speed, as other tests run beside this one; and with pauses in which receivers fall
 * asleep. */
static void pace(uint64_t random) {
    if (random % 128 == 0)
        nanosleep(&(struct timespec){.tv_nsec = (long)(random >> 32) % 4000000}, NULL);
    else if (random % 8 != 0)
        let_others();
}

void send_until_killed(unsigned index, uint64_t seed) {
    static const char *const workers[STREAMS] = {"first", "second"}; /* the others have no name */
    const char *worker = workers[index];
    stream = &board->streams[index];
    first = (uint64_t)index << 32;
    section = open_queue(worker, worker == NULL ? SHMC_ANONYMOUS : 0, &segment);
    if (section == NULL)
        return;
    while (!atomic_load(&board->stop)) {
        const uint64_t random = random_next(&seed);
        pace(random >> 24);
        if (atomic_load(&stream->next) + BATCH >= NUMBERS)
            continue;
        const int timeout_ms = random % 8 == 0 ? 0 : (int)(random >> 8 & 0xff);
        const unsigned way = (unsigned)(random >> 16) % 16;
        const int r = way < 2   ? send_batch(timeout_ms)
                      : way < 6 ? send_in_place(timeout_ms, way != 2)
                                : send_copied(timeout_ms);
        if (r == -EUSERS) /* the lease of whoever was killed hasn't been seen to end yet */
            let_others();
        else if (r < 0 && r != -EAGAIN && r != -ETIMEDOUT) {
            violate("stream %u sends: %d (%s)", index, r, shmc_last_error(segment));
            break;
        }
    }
    shmc_close(section);
    shmc_detach(segment);
}
