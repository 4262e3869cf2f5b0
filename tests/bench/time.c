/* SPDX-License-Identifier: Apache-2.0
 *
 * Time in ticks of the processor's counter, where it has one that all cores agree on: looking at
 * the clock costs as much as some of what is measured.
 */
#include "bench.h"

#include <stdlib.h>
#include <time.h>

static double ns_per_tick = 1, overhead_ns;

static uint64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t time_ticks(void) {
#if defined(__x86_64__)
    __builtin_ia32_lfence();
    uint64_t ticks = __builtin_ia32_rdtsc();
    __builtin_ia32_lfence();
    return ticks;
#else
    return clock_ns();
#endif
}

double time_ns(uint64_t ticks) {
    return (double)ticks * ns_per_tick;
}

double time_span(uint64_t started) {
    double ns = time_ns(time_ticks() - started) - overhead_ns;
    return ns > 0 ? ns : 0;
}

void time_calibrate(void) {
#if defined(__x86_64__)
    uint64_t ns = clock_ns(), ticks = time_ticks();
    while (clock_ns() < ns + 50000000) {
    }
    ns = clock_ns() - ns;
    ns_per_tick = (double)ns / (double)(time_ticks() - ticks);
#endif
    double least = 1e9;
    for (int i = 0; i < 1000; i++) {
        double span = time_span(time_ticks());
        least = span < least ? span : least;
    }
    overhead_ns = least;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double median(double *values, size_t n) {
    qsort(values, n, sizeof *values, by_value);
    return n == 0 ? 0 : n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}
