/* SPDX-License-Identifier: Apache-2.0
 *
 * What is measured the same way for every channel: how long it takes to send a value while the
 * other side does nothing, and to receive one that was sent just before; how long a value is on its
 * way to somebody who polls, and how many new ones somebody gets while both sides do their utmost.
 */
#include "bench.h"

#define SAMPLES_MAX 20000

static size_t rounds_of(const struct bench *bench, const struct channel *channel, double ns_per_kib,
                        size_t least) {
    double ns = (channel->asleep ? 60000 : 1000) + ns_per_kib * (double)bench->bytes / 1024;
    double n = bench->effort * 2e7 / ns;
    return n < (double)least ? least : n > SAMPLES_MAX ? SAMPLES_MAX : (size_t)n;
}

/* Sends one value at a time, each of which is received before the next is sent. */
static double send_in_turn(const struct bench *bench, const struct channel *channel) {
    static double samples[SAMPLES_MAX];
    size_t n = rounds_of(bench, channel, 500, 10);
    for (size_t i = 0; i < n; i++) {
        value_stamp(bench->from, bench->bytes, i + 1);
        uint64_t started = time_ticks();
        channel->send(bench->from, bench->bytes);
        samples[i] = time_span(started);
        pair_tell(i + 1);
        pair_await(i + 1);
    }
    return median(samples, n);
}

static double receive_in_turn(const struct bench *bench, const struct channel *channel) {
    static double samples[SAMPLES_MAX];
    size_t n = rounds_of(bench, channel, 500, 10);
    for (size_t i = 0; i < n; i++) {
        pair_await(i + 1);
        uint64_t started = time_ticks();
        channel->receive(bench->to, bench->bytes);
        samples[i] = time_span(started);
        if (value_check(bench->to, bench->bytes, channel->name) != i + 1)
            bench_die("%s: another value came than was sent", channel->name);
        pair_tell(i + 1);
    }
    return median(samples, n);
}

double send_left(const struct bench *bench, const struct channel *channel) {
    return send_in_turn(bench, channel);
}

double send_right(const struct bench *bench, const struct channel *channel) {
    receive_in_turn(bench, channel);
    return 0;
}

double receive_left(const struct bench *bench, const struct channel *channel) {
    send_in_turn(bench, channel);
    return 0;
}

double receive_right(const struct bench *bench, const struct channel *channel) {
    return receive_in_turn(bench, channel);
}

/* Half of what there and back takes: both ways are the same. */
double latency_left(const struct bench *bench, const struct channel *channel) {
    static double samples[SAMPLES_MAX];
    size_t n = rounds_of(bench, channel, 500, 10);
    for (size_t i = 0; i < n; i++) {
        value_stamp(bench->from, bench->bytes, i + 1);
        uint64_t started = time_ticks();
        channel->send(bench->from, bench->bytes);
        channel->receive(bench->to, bench->bytes);
        samples[i] = time_span(started) / 2;
        if (value_check(bench->to, bench->bytes, channel->name) != i + 1)
            bench_die("%s: another value came back than was sent", channel->name);
    }
    return median(samples, n);
}

double latency_right(const struct bench *bench, const struct channel *channel) {
    size_t n = rounds_of(bench, channel, 500, 10);
    for (size_t i = 0; i < n; i++) {
        channel->receive(bench->to, bench->bytes);
        if (value_check(bench->to, bench->bytes, channel->name) != i + 1)
            bench_die("%s: an old value came", channel->name);
        value_stamp(bench->from, bench->bytes, i + 1);
        channel->send(bench->from, bench->bytes);
    }
    return 0;
}

/* A channel that passes on every value is sent so many; another one until the reader has enough. */
static size_t flood_of(const struct bench *bench) {
    double n = bench->effort * 2e7 / (100 + 300 * (double)bench->bytes / 1024);
    return n < 20 ? 20 : (size_t)n;
}

double flood_left(const struct bench *bench, const struct channel *channel) {
    size_t n = channel->every ? flood_of(bench) : SIZE_MAX;
    for (size_t i = 0; i < n && pair_told() == 0; i++) {
        value_stamp(bench->from, bench->bytes, i + 1);
        channel->send(bench->from, bench->bytes);
    }
    return 0;
}

/* The next value, which is newer than the last one. */
static uint64_t receive_newer(const struct bench *bench, const struct channel *channel,
                              uint64_t last) {
    channel->receive(bench->to, bench->bytes);
    uint64_t number = value_check(bench->to, bench->bytes, channel->name);
    if (number <= last || (channel->every && number != last + 1))
        bench_die("%s: value %llu came after %llu", channel->name, (unsigned long long)number,
                  (unsigned long long)last);
    return number;
}

/* Values a second, as the median of spans of about a millisecond: one in which somebody else had
 * either core says nothing.  The clock is looked at now and then, as that holds up what a processor
 * does at the same time. */
double flood_right(const struct bench *bench, const struct channel *channel) {
    static double rates[SAMPLES_MAX];
    size_t spans = 0, all = channel->every ? flood_of(bench) : SIZE_MAX, least = 5;
    size_t stretch = bench->bytes > 4096 ? 1 : 16;
    uint64_t last = 0;
    uint64_t began = time_ticks();
    for (size_t got = 0; got < all && spans < SAMPLES_MAX;) {
        uint64_t started = time_ticks();
        size_t before = got;
        double ns;
        do {
            for (size_t i = 0; i < stretch && got < all; i++, got++)
                last = receive_newer(bench, channel, last);
        } while ((ns = time_span(started)) < 1e6 && got < all);
        if (ns >= 1e5 || spans == 0)
            rates[spans++] = (double)(got - before) / ns * 1e9;
        if (!channel->every && spans >= least &&
            time_ns(time_ticks() - began) > bench->effort * 2e7)
            break;
    }
    pair_tell(1);
    return median(rates, spans);
}
