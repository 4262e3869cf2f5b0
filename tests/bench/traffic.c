/* SPDX-License-Identifier: Apache-2.0
 *
 * A writer and a reader of the section `written`, processes at full speed, each on a core of its
 * own, while something else is measured.  Each notes the times between two of its calls, in the
 * class that holds as the call begins; what is read is checked.
 */
#include "bench.h"

#include <shmclient.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define VALUE_BYTES 100
#define STEPS       16   /* of the histogram, within a power of two */
#define LOOK_NS     1000 /* nobody is preempted for less */

struct times {
    uint64_t counts[64 * STEPS];
    uint64_t calls;
    double worst_ns, worst_own_ns; /* of all, and of those within which nobody else was scheduled */
};

struct traffic {
    _Alignas(LINE) uint32_t noted; /* enum noted */
    _Alignas(LINE) uint32_t ready[2];
    struct times times[2][UNNOTED + 1];
};

static struct traffic *traffic;
static pid_t children[2];

/* ---- times */

static unsigned step_of(uint64_t ticks) {
    if (ticks < STEPS)
        return (unsigned)ticks;
    const unsigned power = 63 - (unsigned)__builtin_clzll(ticks);
    return power * STEPS + (unsigned)((ticks << 4 >> power) & (STEPS - 1));
}

static double ticks_of(unsigned step) {
    if (step < STEPS)
        return step;
    return (double)(UINT64_C(1) << step / STEPS) * (1 + (step % STEPS + 0.5) / STEPS);
}

static double median_ns(const struct times *t) {
    uint64_t below = 0;
    for (unsigned i = 0; i < 64 * STEPS; i++) {
        below += t->counts[i];
        if (below * 2 >= t->calls && below > 0)
            return time_ns(1) * ticks_of(i);
    }
    return 0;
}

static bool preempted(void) {
    static long before;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    const bool again = usage.ru_nivcsw != before;
    before = usage.ru_nivcsw;
    return again;
}

static void note(struct times *t, uint64_t ticks) {
    const double ns = time_ns(ticks);
    t->calls++;
    t->counts[step_of(ticks)]++;
    if (ns < LOOK_NS)
        return;
    const bool own = !preempted();
    if (ns > t->worst_ns)
        t->worst_ns = ns;
    if (own && ns > t->worst_own_ns)
        t->worst_own_ns = ns;
}

/* ---- the two */

static void write_one(shmc *segment, shmc_section *section) {
    static uint64_t number;
    uint8_t value[VALUE_BYTES];
    value_stamp(value, sizeof value, ++number);
    if (shmc_publish(section, value, sizeof value) < 0)
        bench_die("the writer: %s", shmc_last_error(segment));
}

static void read_one(shmc *segment, shmc_section *section) {
    static uint64_t last;
    uint8_t value[VALUE_BYTES];
    ssize_t n = shmc_read(section, value, sizeof value, NULL);
    if (n != sizeof value)
        bench_die("the reader: %s", n < 0 ? shmc_last_error(segment) : "a value of another length");
    uint64_t number = value_check(value, sizeof value, "section 'written'");
    if (number < last)
        bench_die("the reader: value %llu came after value %llu", (unsigned long long)number,
                  (unsigned long long)last);
    last = number;
}

__attribute__((noreturn)) static void run(enum side side) {
    static const char *const workers[] = {"writer", NULL};
    struct shmc_options options = {
        .size = sizeof options, .worker = workers[side], .timeout_ms = 60000};
    shmc *segment;
    shmc_section *section;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || shmc_attach(&segment, &options) < 0 ||
        shmc_open(&section, segment, "written", NULL) < 0)
        bench_die("the %s can't begin", side == LEFT ? "writer" : "reader");
    pair_pin(side);
    if (side == LEFT)
        write_one(segment, section);
    __atomic_store_n(&traffic->ready[side], 1, __ATOMIC_RELEASE);
    uint64_t before = time_ticks();
    for (;;) {
        const uint32_t noted = __atomic_load_n(&traffic->noted, __ATOMIC_RELAXED);
        if (side == LEFT)
            write_one(segment, section);
        else
            read_one(segment, section);
        const uint64_t now = time_ticks();
        note(&traffic->times[side][noted], now - before);
        before = now;
    }
}

static void start(enum side side) {
    fflush(NULL);
    children[side] = fork();
    if (children[side] < 0)
        bench_die("can't fork");
    if (children[side] == 0)
        run(side);
    while (__atomic_load_n(&traffic->ready[side], __ATOMIC_ACQUIRE) == 0) {
        traffic_check();
        usleep(1000);
    }
}

/* ---- from outside */

void traffic_start(void) {
    void *at = mmap(NULL, sizeof *traffic, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (at == MAP_FAILED)
        bench_die("no memory");
    traffic = at;
    traffic->noted = UNNOTED;
    start(LEFT); /* the reader finds a value */
    start(RIGHT);
}

void traffic_check(void) {
    for (int i = 0; i < 2; i++)
        if (children[i] > 0 && waitpid(children[i], NULL, WNOHANG) == children[i])
            bench_die("the %s is gone; its last line says why", i == LEFT ? "writer" : "reader");
}

void traffic_note(enum noted noted) {
    traffic_check();
    __atomic_store_n(&traffic->noted, noted, __ATOMIC_RELAXED);
}

void traffic_end(void) {
    traffic_check();
    for (int i = 0; i < 2; i++) {
        kill(children[i], SIGKILL);
        waitpid(children[i], NULL, 0);
    }
}

static void print_side(const char *name, const struct times *t) {
    const char *const class[] = {"", "-idle"};
    for (int i = EDITED; i <= IDLE; i++) {
        printf("figure: bench.edit.%s-worst%s %.0f us\n", name, class[i], t[i].worst_ns / 1000);
        printf("figure: bench.edit.%s-worst-own%s %.0f us\n", name, class[i],
               t[i].worst_own_ns / 1000);
        printf("figure: bench.edit.%s-median%s %.0f ns\n", name, class[i], median_ns(&t[i]));
    }
    printf("figure: bench.edit.%s-ratio %.2f times\n", name,
           median_ns(&t[EDITED]) / median_ns(&t[IDLE]));
}

void traffic_print(void) {
    print_side("writer", traffic->times[LEFT]);
    print_side("reader", traffic->times[RIGHT]);
}
