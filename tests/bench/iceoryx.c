/* SPDX-License-Identifier: Apache-2.0
 *
 * iceoryx by its C binding: a publisher borrows a chunk, fills it and hands it over; a subscriber
 * that keeps the newest one polls.  It needs its daemon, RouDi, which run.sh starts.
 */
#include "bench.h"

#include <iceoryx_binding_c/publisher.h>
#include <iceoryx_binding_c/runtime.h>
#include <iceoryx_binding_c/subscriber.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static iox_pub_storage_t publisher_storage;
static iox_sub_storage_t subscriber_storage;
static iox_pub_t publisher;
static iox_sub_t subscriber;
static bool joined;

/* Once in each process.  Without RouDi it ends the process, so nobody calls it then. */
static void join(enum side side) {
    char name[64];
    snprintf(name, sizeof name, "shm-bench-%s-%d", side == LEFT ? "left" : "right", (int)getpid());
    if (!joined)
        iox_runtime_init(name);
    joined = true;
}

static bool iceoryx_open(const struct bench *bench) {
    iox_pub_options_t publishing;
    iox_sub_options_t subscribing;
    char event[32];
    if (getenv("BENCH_ROUDI") == NULL)
        return false;
    join(bench->side);
    snprintf(event, sizeof event, "%zu", bench->bytes);
    iox_pub_options_init(&publishing);
    iox_sub_options_init(&subscribing);
    subscribing.queueCapacity = 1;
    publisher = iox_pub_init(&publisher_storage, "shm-bench",
                             bench->side == LEFT ? "left" : "right", event, &publishing);
    subscriber = iox_sub_init(&subscriber_storage, "shm-bench",
                              bench->side == LEFT ? "right" : "left", event, &subscribing);
    while (!iox_pub_has_subscribers(publisher) ||
           iox_sub_get_subscription_state(subscriber) != SubscribeState_SUBSCRIBED)
        bench_relax();
    return true;
}

static void iceoryx_send(const uint8_t *value, size_t bytes) {
    void *chunk;
    if (iox_pub_loan_chunk(publisher, &chunk, (uint32_t)bytes) != AllocationResult_SUCCESS)
        bench_die("iceoryx: no chunk for %zu bytes", bytes);
    memcpy(chunk, value, bytes);
    iox_pub_publish_chunk(publisher, chunk);
}

static void iceoryx_receive(uint8_t *value, size_t bytes) {
    const void *chunk;
    while (iox_sub_take_chunk(subscriber, &chunk) != ChunkReceiveResult_SUCCESS)
        bench_relax();
    memcpy(value, chunk, bytes);
    iox_sub_release_chunk(subscriber, chunk);
}

static void iceoryx_close(void) {
    if (publisher == NULL)
        return;
    iox_sub_deinit(subscriber);
    iox_pub_deinit(publisher);
    publisher = NULL;
}

/* RouDi aborts, and leaves its files, when a process of its went without a word. */
void iceoryx_end(void) {
    if (joined)
        iox_runtime_shutdown();
}

const struct channel channel_iceoryx = {
    .name = "iceoryx",
    .open = iceoryx_open,
    .send = iceoryx_send,
    .receive = iceoryx_receive,
    .close = iceoryx_close,
};
