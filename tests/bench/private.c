/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that is inherited over fork: making 16 MiB of it and touching each page for the first
 * time, by each strategy: as the plain calls do it, and as a section without a daemon.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <shmclient.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

#define BYTES ((size_t)16 << 20)
#define PAGE  4096
#define TIMES 50

static void *anon(void) {
    return mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static void *devzero(void) {
    const int fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
    void *at = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return at;
}

static void *sysv(void) {
    const int id = shmget(IPC_PRIVATE, BYTES, 0600);
    void *at = id < 0 ? MAP_FAILED : shmat(id, NULL, 0);
    if (id >= 0)
        shmctl(id, IPC_RMID, NULL);
    return at;
}

static int let_go(void *at) {
    return munmap(at, BYTES);
}

static int detach(void *at) {
    return shmdt(at);
}

/* ---- ours */

static shmc_private *private;
static shmc *attached;
static shmc_section *section;

static void *ours(enum shmc_strategy strategy) {
    const struct shmc_private_spec spec = {
        .size = sizeof spec, .name = "memory", .kind = SHMC_RAW, .bytes = BYTES};
    char error[256] = "";
    const struct shmc_private_options options = {
        .size = sizeof options, .strategy = strategy, .error = error, .error_bytes = sizeof error};
    const struct shmc_options master = {
        .size = sizeof master, .worker = "master", .error = error, .error_bytes = sizeof error};
    void *at;
    size_t bytes;
    if (shmc_private_create(&private, &spec, 1, &options) < 0 ||
        shmc_private_attach(&attached, private, &master) < 0)
        bench_die("%s", error);
    if (shmc_open(&section, attached, "memory", NULL) < 0 ||
        shmc_raw_writable(section, &at, &bytes) < 0)
        bench_die("%s", shmc_last_error(attached));
    return at;
}

static void *our_anon(void) {
    return ours(SHMC_STRATEGY_ANON);
}

static void *our_devzero(void) {
    return ours(SHMC_STRATEGY_DEVZERO);
}

static void *our_sysv(void) {
    return ours(SHMC_STRATEGY_SYSV_PRIVATE);
}

static int destroy(void *at) {
    (void)at;
    shmc_close(section);
    shmc_detach(attached);
    shmc_private_destroy(private);
    return 0;
}

/* ---- the measures */

/* In microseconds. */
static double made_and_touched(const struct bench *bench, void *(*make)(void), int (*end)(void *)) {
    double samples[TIMES];
    const size_t n = bench->effort < 0.1 ? 3 : TIMES;
    for (size_t i = 0; i < n; i++) {
        const uint64_t started = time_ticks();
        volatile uint8_t *at = make();
        if (at == MAP_FAILED)
            bench_die("no memory: %s", strerror(errno));
        for (size_t offset = 0; offset < BYTES; offset += PAGE)
            at[offset] = 1;
        samples[i] = time_span(started) / 1000;
        if (end((void *)(uintptr_t)at) < 0)
            bench_die("memory can't be given back: %s", strerror(errno));
    }
    return median(samples, n);
}

static double plain_anon(const struct bench *bench, const struct channel *channel) {
    (void)channel;
    return made_and_touched(bench, anon, let_go);
}

static double plain_devzero(const struct bench *bench, const struct channel *channel) {
    (void)channel;
    return made_and_touched(bench, devzero, let_go);
}

static double plain_sysv(const struct bench *bench, const struct channel *channel) {
    (void)channel;
    return made_and_touched(bench, sysv, detach);
}

static double private_anon(const struct bench *bench, const struct channel *channel) {
    (void)channel;
    return made_and_touched(bench, our_anon, destroy);
}

static double private_devzero(const struct bench *bench, const struct channel *channel) {
    (void)channel;
    return made_and_touched(bench, our_devzero, destroy);
}

static double private_sysv(const struct bench *bench, const struct channel *channel) {
    (void)channel;
    return made_and_touched(bench, our_sysv, destroy);
}

#define MEASURE(called, function, to)                                                              \
    { .name = (called), .limit = (to), .unit = "us", .run = {function, NULL}, .once = true }

const struct measure private_measures[] = {
    MEASURE("plain-anon", plain_anon, NULL),
    MEASURE("private-anon", private_anon, "plain-anon"),
    MEASURE("plain-devzero", plain_devzero, NULL),
    MEASURE("private-devzero", private_devzero, "plain-devzero"),
    MEASURE("plain-sysv", plain_sysv, NULL),
    MEASURE("private-sysv", private_sysv, "plain-sysv"),
    {.name = NULL},
};
