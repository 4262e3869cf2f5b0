/* SPDX-License-Identifier: Apache-2.0
 *
 * libshmclient, by its public calls alone.
 */
#include "bench.h"

#include <shmclient.h>
#include <stdio.h>
#include <time.h>

#define SAMPLES_MAX 20000

static enum side side;
static shmc *segment;
static shmc_section *mine, *theirs;

static shmc *attach(const char *worker) {
    char error[256];
    struct shmc_options options = {.size = sizeof options,
                                   .worker = worker,
                                   .timeout_ms = 5000,
                                   .error = error,
                                   .error_bytes = sizeof error};
    shmc *ret;
    if (shmc_attach(&ret, &options) < 0)
        bench_die("%s", error);
    return ret;
}

static shmc_section *open_section(const char *name) {
    shmc_section *ret;
    if (shmc_open(&ret, segment, name, NULL) < 0)
        bench_die("%s", shmc_last_error(segment));
    return ret;
}

static void must(ssize_t r) {
    if (r < 0)
        bench_die("%s", shmc_last_error(segment));
}

struct shmc_section *library_section(const char *prefix, size_t bytes) {
    char name[SHMC_NAME_BYTES];
    snprintf(name, sizeof name, "%s-%zu", prefix, bytes);
    return open_section(name);
}

void library_must(int64_t r) {
    must((ssize_t)r);
}

void library_start(enum side s) {
    side = s;
    segment = attach(s == LEFT ? "left" : "right");
}

void library_end(void) {
    shmc_detach(segment);
}

static void open_both(const char *prefix, size_t bytes, unsigned spin_us) {
    char name[SHMC_NAME_BYTES];
    snprintf(name, sizeof name, "%s%s-%zu", prefix, side == LEFT ? "left" : "right", bytes);
    mine = open_section(name);
    snprintf(name, sizeof name, "%s%s-%zu", prefix, side == LEFT ? "right" : "left", bytes);
    theirs = open_section(name);
    must(shmc_set_spin(theirs, spin_us));
}

static void close_both(void) {
    shmc_close(mine);
    shmc_close(theirs);
}

/* What was published before isn't new. */
static void see_old(const struct bench *bench) {
    shmc_read(theirs, bench->to, bench->bytes, NULL);
}

/* ---- as a channel */

static bool library_open(const struct bench *bench) {
    open_both("", bench->bytes, 1000000);
    see_old(bench);
    return true;
}

static void library_send(const uint8_t *value, size_t bytes) {
    must(shmc_publish(mine, value, bytes));
}

static void library_receive(uint8_t *value, size_t bytes) {
    must(shmc_next(theirs, value, bytes, 10000, NULL));
}

const struct channel channel_library = {
    .name = "library",
    .open = library_open,
    .send = library_send,
    .receive = library_receive,
    .close = close_both,
};

/* ---- one side at a time */

static size_t samples_of(const struct bench *bench, double ns_per_kib) {
    double n = bench->effort * 2e7 / (500 + ns_per_kib * (double)bench->bytes / 1024);
    return n < 10 ? 10 : n > SAMPLES_MAX ? SAMPLES_MAX : (size_t)n;
}

static double publish_with(const struct bench *bench, const char *prefix) {
    static double samples[SAMPLES_MAX];
    size_t batch = bench->bytes > 65536 ? 4 : 64;
    size_t n = samples_of(bench, 40 * (double)batch);
    open_both(prefix, bench->bytes, 0);
    value_stamp(bench->from, bench->bytes, 1);
    for (size_t i = 0; i < n; i++) {
        uint64_t started = time_ticks();
        for (size_t j = 0; j < batch; j++)
            must(shmc_publish(mine, bench->from, bench->bytes));
        samples[i] = time_span(started) / (double)batch;
    }
    close_both();
    return median(samples, n);
}

static double publish_plain(const struct bench *bench, const struct channel *channel) {
    (void)channel;
    return publish_with(bench, "");
}

/* No reader is ever woken: nothing has to be found out behind the head's store. */
static double publish_unrung(const struct bench *bench, const struct channel *channel) {
    (void)channel;
    return publish_with(bench, "unrung-");
}

static double publish_stamped(const struct bench *bench, const struct channel *channel) {
    (void)channel;
    return publish_with(bench, "stamped-");
}

/* ---- just after a publish on the other core */

static double fresh_left(const struct bench *bench, const struct channel *channel) {
    (void)channel;
    size_t n = samples_of(bench, 300);
    open_both("", bench->bytes, 0);
    for (size_t i = 1; i <= n; i++) {
        value_stamp(bench->from, bench->bytes, i);
        must(shmc_publish(mine, bench->from, bench->bytes));
        pair_tell(i);
        pair_await(i);
    }
    close_both();
    return 0;
}

/* Reads one value, says its number and how long that took. */
typedef double (*reader)(const struct bench *bench, uint64_t *number);

static double fresh_with(const struct bench *bench, reader read_one) {
    static double samples[SAMPLES_MAX];
    size_t n = samples_of(bench, 300);
    open_both("", bench->bytes, 0);
    for (size_t i = 1; i <= n; i++) {
        uint64_t number;
        pair_await(i);
        samples[i - 1] = read_one(bench, &number);
        if (number != i)
            bench_die("library: an old value");
        pair_tell(i);
    }
    close_both();
    return median(samples, n);
}

static double read_plain(const struct bench *bench, uint64_t *number) {
    uint64_t started = time_ticks();
    ssize_t r = shmc_read(theirs, bench->to, bench->bytes, NULL);
    double ns = time_span(started);
    must(r);
    *number = value_check(bench->to, bench->bytes, "shmc_read");
    return ns;
}

static double read_about(const struct bench *bench, uint64_t *number) {
    struct shmc_value about;
    uint64_t started = time_ticks();
    ssize_t r = shmc_read(theirs, bench->to, bench->bytes, &about);
    double ns = time_span(started);
    must(r);
    *number = value_check(bench->to, bench->bytes, "shmc_read");
    return ns;
}

/* Looks at the first word in place. */
static double view_one(const struct bench *bench, uint64_t *number) {
    const void *at;
    size_t bytes;
    uint64_t started = time_ticks();
    int r = shmc_view(theirs, &at, &bytes, NULL);
    *number = r < 0 ? 0 : *(const volatile uint64_t *)at;
    int valid = shmc_valid(theirs);
    double ns = time_span(started);
    must(r);
    if (valid != 1 || bytes != bench->bytes)
        bench_die("shmc_view: it isn't what was published");
    return ns;
}

static double fresh_read(const struct bench *bench, const struct channel *channel) {
    (void)channel;
    return fresh_with(bench, read_plain);
}

static double fresh_about(const struct bench *bench, const struct channel *channel) {
    (void)channel;
    return fresh_with(bench, read_about);
}

static double fresh_view(const struct bench *bench, const struct channel *channel) {
    (void)channel;
    return fresh_with(bench, view_one);
}

/* ---- waking up */

static uint64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* The reader has had time to fall asleep.  Nothing depends on its having done so but the figure. */
static void linger(double ns) {
    uint64_t started = time_ticks();
    while (time_span(started) < ns)
        bench_relax();
}

static double wake_left(const struct bench *bench, const struct channel *channel) {
    (void)channel;
    size_t n = bench->effort < 0.1 ? 3 : 50;
    open_both("", bench->bytes, 0);
    pair_await(1);
    for (size_t i = 0; i < n; i++) {
        linger(200e3);
        value_stamp(bench->from, bench->bytes, clock_ns());
        must(shmc_publish(mine, bench->from, bench->bytes));
        pair_await(i + 2);
    }
    close_both();
    return 0;
}

static double woken(const struct bench *bench, unsigned spin_us) {
    double samples[50];
    size_t n = bench->effort < 0.1 ? 3 : 50;
    open_both("", bench->bytes, spin_us);
    see_old(bench);
    pair_tell(1);
    for (size_t i = 0; i < n; i++) {
        must(shmc_next(theirs, bench->to, bench->bytes, 10000, NULL));
        uint64_t now = clock_ns();
        samples[i] = (double)(now - value_check(bench->to, bench->bytes, "shmc_next"));
        pair_tell(i + 2);
    }
    close_both();
    return median(samples, n);
}

static double wake_asleep(const struct bench *bench, const struct channel *channel) {
    (void)channel;
    return woken(bench, 0);
}

static double wake_spinning(const struct bench *bench, const struct channel *channel) {
    (void)channel;
    return woken(bench, 1000);
}

/* ---- the beginning */

static double attach_reader(const struct bench *bench, const struct channel *channel) {
    (void)channel;
    double samples[100];
    size_t n = bench->effort < 0.1 ? 5 : 100;
    for (size_t i = 0; i < n; i++) {
        uint64_t started = time_ticks();
        shmc *one = attach(NULL);
        samples[i] = time_span(started) / 1000;
        shmc_detach(one);
    }
    return median(samples, n);
}

static double attach_worker(const struct bench *bench, const struct channel *channel) {
    (void)channel;
    double samples[20];
    size_t n = bench->effort < 0.1 ? 2 : 20;
    for (size_t i = 0; i < n; i++) {
        uint64_t started = time_ticks();
        shmc *one = attach("third");
        samples[i] = time_span(started) / 1000;
        shmc_detach(one);
    }
    return median(samples, n);
}

static double open_by_name(const struct bench *bench, const struct channel *channel) {
    (void)channel;
    double samples[1000];
    size_t n = bench->effort < 0.1 ? 10 : 1000;
    for (size_t i = 0; i < n; i++) {
        uint64_t started = time_ticks();
        shmc_section *one = open_section("left-1024");
        samples[i] = time_span(started) / 1000;
        shmc_close(one);
    }
    return median(samples, n);
}

const struct measure library_measures[] = {
    {.name = "publish", .limit = "memcpy4", .unit = "ns", .run = {publish_plain, NULL}},
    {.name = "publish-unrung", .limit = "memcpy4", .unit = "ns", .run = {publish_unrung, NULL}},
    {.name = "publish-stamped", .limit = "memcpy4", .unit = "ns", .run = {publish_stamped, NULL}},
    {.name = "read", .limit = "memcpy-dirty", .unit = "ns", .run = {fresh_left, fresh_read}},
    {.name = "read-about", .limit = "memcpy-dirty", .unit = "ns", .run = {fresh_left, fresh_about}},
    {.name = "view", .unit = "ns", .run = {fresh_left, fresh_view}},
    {.name = "latency",
     .limit = "flag+memcpy",
     .unit = "ns",
     .run = {latency_left, latency_right},
     .channel = &channel_library},
    {.name = "wake", .unit = "ns", .run = {wake_left, wake_asleep}},
    {.name = "wake-spinning",
     .limit = "flag+memcpy",
     .unit = "ns",
     .run = {wake_left, wake_spinning}},
    {.name = "fresh-reads",
     .unit = "1/s",
     .run = {flood_left, flood_right},
     .channel = &channel_library},
    {.name = "attach-reader", .unit = "us", .run = {attach_reader, NULL}, .once = true},
    {.name = "attach-worker", .unit = "us", .run = {attach_worker, NULL}, .once = true},
    {.name = "open", .unit = "us", .run = {open_by_name, NULL}, .once = true},
    {.name = NULL},
};
