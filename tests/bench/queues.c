/* SPDX-License-Identifier: Apache-2.0
 *
 * Queues: how long a message is on its way to and fro, and how many a second go one way, polling
 * and sleeping; beside what else passes on each message.  Sizes are those of messages.
 */
#include "bench.h"

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
    PEER(sysv), PEER(mqueue), PEER(seqpacket), PEER(stream), PEER(pipe), {.name = NULL},
};
