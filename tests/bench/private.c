/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that is inherited over fork: making 16 MiB of it and touching each page for the first
 * time, by each strategy, as the plain calls do it.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
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

const struct measure private_measures[] = {
    {.name = "plain-anon", .unit = "us", .run = {plain_anon, NULL}, .once = true},
    {.name = "plain-devzero", .unit = "us", .run = {plain_devzero, NULL}, .once = true},
    {.name = "plain-sysv", .unit = "us", .run = {plain_sysv, NULL}, .once = true},
    {.name = NULL},
};
