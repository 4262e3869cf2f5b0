/* SPDX-License-Identifier: Apache-2.0
 *
 * What the machine can do at best: a plain memcpy within one core's cache, and from lines that the
 * other core wrote; a flag and a memcpy; a cache line that goes to and fro.
 */
#include "bench.h"

#include <string.h>

#define SAMPLES_MAX 20000

static size_t samples_of(const struct bench *bench, double ns_per_kib) {
    double n = bench->effort * 2e7 / (500 + ns_per_kib * (double)bench->bytes / 1024);
    return n < 10 ? 10 : n > SAMPLES_MAX ? SAMPLES_MAX : (size_t)n;
}

static double copy_into(const struct bench *bench, unsigned places) {
    static double samples[SAMPLES_MAX];
    size_t batch = bench->bytes > 65536 ? 4 : 64;
    size_t n = samples_of(bench, 40 * (double)batch);
    for (size_t i = 0; i < n; i++) {
        uint64_t started = time_ticks();
        for (size_t j = 0; j < batch; j++) {
            memcpy(pair_buffer(LEFT, (unsigned)(j % places)), bench->from, bench->bytes);
            __asm__ __volatile__("" ::: "memory");
        }
        samples[i] = time_span(started) / (double)batch;
    }
    return median(samples, n);
}

static double copy_one(const struct bench *bench, const struct channel *channel) {
    (void)channel;
    return copy_into(bench, 1);
}

static double copy_in_turn(const struct bench *bench, const struct channel *channel) {
    (void)channel;
    return copy_into(bench, BUFFERS);
}

/* ---- lines that are dirty in the other core's cache */

static double dirty_left(const struct bench *bench, const struct channel *channel) {
    (void)channel;
    size_t n = samples_of(bench, 300);
    for (size_t i = 1; i <= n; i++) {
        value_stamp(bench->from, bench->bytes, i);
        memcpy(pair_buffer(LEFT, (unsigned)i), bench->from, bench->bytes);
        pair_tell(i);
        pair_await(i);
    }
    return 0;
}

static double dirty_right(const struct bench *bench, const struct channel *channel) {
    (void)channel;
    static double samples[SAMPLES_MAX];
    size_t n = samples_of(bench, 300);
    for (size_t i = 1; i <= n; i++) {
        const uint8_t *from = pair_buffer(LEFT, (unsigned)i);
        pair_await(i);
        uint64_t started = time_ticks();
        memcpy(bench->to, from, bench->bytes);
        __asm__ __volatile__("" ::: "memory");
        samples[i - 1] = time_span(started);
        if (value_check(bench->to, bench->bytes, "memcpy") != i)
            bench_die("memcpy: an old value");
        pair_tell(i);
    }
    return median(samples, n);
}

/* ---- a flag and a memcpy */

static enum side side;
static uint64_t sent, received;

static bool limit_open(const struct bench *bench) {
    side = bench->side;
    sent = received = 0;
    return true;
}

static void limit_send(const uint8_t *value, size_t bytes) {
    sent++;
    memcpy(pair_buffer(side, (unsigned)sent), value, bytes);
    __atomic_store_n(pair_flag(side), sent, __ATOMIC_RELEASE);
}

static void limit_receive(uint8_t *value, size_t bytes) {
    received++;
    while (__atomic_load_n(pair_flag(!side), __ATOMIC_ACQUIRE) < received)
        bench_relax();
    memcpy(value, pair_buffer(!side, (unsigned)received), bytes);
}

static void limit_close(void) {
}

const struct channel channel_limit = {
    .name = "flag+memcpy",
    .every = true,
    .open = limit_open,
    .send = limit_send,
    .receive = limit_receive,
    .close = limit_close,
};

/* ---- a line to and fro */

static double line_left(const struct bench *bench, const struct channel *channel) {
    (void)channel;
    static double samples[SAMPLES_MAX];
    size_t n = bench->effort * 2e4 < 100 ? 100 : (size_t)(bench->effort * 2e4);
    n = n > SAMPLES_MAX ? SAMPLES_MAX : n;
    for (size_t i = 1; i <= n; i++) {
        uint64_t started = time_ticks();
        pair_tell(i);
        pair_await(i);
        samples[i - 1] = time_span(started) / 2;
    }
    pair_tell(n + 1);
    return median(samples, n);
}

static double line_right(const struct bench *bench, const struct channel *channel) {
    (void)channel;
    size_t n = bench->effort * 2e4 < 100 ? 100 : (size_t)(bench->effort * 2e4);
    n = n > SAMPLES_MAX ? SAMPLES_MAX : n;
    for (size_t i = 1; i <= n; i++) {
        pair_await(i);
        pair_tell(i);
    }
    return 0;
}

const struct measure limit_measures[] = {
    {.name = "line", .unit = "ns", .run = {line_left, line_right}, .once = true},
    {.name = "memcpy", .unit = "ns", .run = {copy_one, NULL}},
    {.name = "memcpy4", .unit = "ns", .run = {copy_in_turn, NULL}},
    {.name = "memcpy-dirty", .unit = "ns", .run = {dirty_left, dirty_right}},
    {.name = "flag+memcpy",
     .unit = "ns",
     .run = {latency_left, latency_right},
     .channel = &channel_limit},
    {.name = NULL},
};
