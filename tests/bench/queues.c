/* SPDX-License-Identifier: Apache-2.0
 *
 * Queues: how long a message is on its way to and fro, and how many a second go one way, polling
 * and sleeping; beside what else passes on each message.  Sizes are those of messages.
 */
#include "bench.h"

#include <shmclient.h>

#define SPIN_US 1000000

/* ---- ours: a section for each way, which its receiver owns */

static shmc_section *mine, *theirs; /* to receive from, to send to */

static bool open_sections(const struct bench *bench, unsigned spin_us) {
    mine = library_section(bench->side == LEFT ? "queue-left" : "queue-right", bench->bytes);
    theirs = library_section(bench->side == LEFT ? "queue-right" : "queue-left", bench->bytes);
    library_must(shmc_set_spin(mine, spin_us));
    library_must(shmc_set_spin(theirs, spin_us));
    return true;
}

static bool queue_open(const struct bench *bench) {
    return open_sections(bench, SPIN_US);
}

static bool queue_open_asleep(const struct bench *bench) {
    return open_sections(bench, 0);
}

static void queue_send(const uint8_t *value, size_t bytes) {
    library_must(shmc_queue_send(theirs, 1, value, bytes, 0, -1));
}

static void queue_receive(uint8_t *value, size_t bytes) {
    library_must(shmc_queue_receive(mine, 0, value, bytes, 0, -1, NULL));
}

static void queue_close(void) {
    shmc_close(mine);
    shmc_close(theirs);
}

static const struct channel channel_queue = {
    .name = "queue",
    .every = true,
    .open = queue_open,
    .send = queue_send,
    .receive = queue_receive,
    .close = queue_close,
};

static const struct channel channel_queue_asleep = {
    .name = "queue",
    .every = true,
    .asleep = true,
    .open = queue_open_asleep,
    .send = queue_send,
    .receive = queue_receive,
    .close = queue_close,
};

/* ---- the list */

#define MEASURE(way, how, kind, to, in, prefix)                                                    \
    {                                                                                              \
        .name = #way "." kind, .limit = (to), .unit = (in),                                        \
        .run = {prefix##_left, prefix##_right}, .channel = &channel_##way##how                     \
    }
#define PEER(peer)                                                                                 \
    MEASURE(peer, , "latency", "queue.latency", "ns", latency),                                    \
        MEASURE(peer, , "rate", "queue.rate", "1/s", flood),                                       \
        MEASURE(peer, _asleep, "latency-asleep", "queue.latency-asleep", "ns", latency),           \
        MEASURE(peer, _asleep, "rate-asleep", "queue.rate-asleep", "1/s", flood)

const struct measure queue_measures[] = {
    MEASURE(queue, , "latency", "flag+memcpy", "ns", latency),
    MEASURE(queue, , "rate", NULL, "1/s", flood),
    MEASURE(queue, _asleep, "latency-asleep", NULL, "ns", latency),
    MEASURE(queue, _asleep, "rate-asleep", NULL, "1/s", flood),
    PEER(sysv),
    PEER(mqueue),
    PEER(seqpacket),
    PEER(stream),
    PEER(pipe),
    {.name = NULL},
};
