/* SPDX-License-Identifier: Apache-2.0
 *
 * Attaches, and opens many sections by name, each once and all at the same time.
 */
#include "bench.h"

#include <shmclient.h>
#include <stdio.h>
#include <stdlib.h>

#define ATTACHES 51

/* Attaches so many times, as a reader or as that worker: the median. */
static void attach_times(const char *as, const char *worker) {
    double ns[ATTACHES];
    for (int i = 0; i < ATTACHES; i++) {
        struct shmc_options options = {
            .size = sizeof options, .worker = worker, .timeout_ms = 1000};
        shmc *segment;
        uint64_t started = time_ticks();
        if (shmc_attach(&segment, &options) < 0)
            bench_die("can't attach");
        ns[i] = time_span(started);
        shmc_detach(segment);
    }
    printf("figure: bench.sections.attach-%s %.1f us\n", as, median(ns, ATTACHES) / 1000);
}

void open_all(const char *prefix, unsigned n) {
    shmc *segment;
    shmc_section **sections = calloc(n, sizeof *sections);
    double *ns = calloc(n, sizeof *ns);
    attach_times("reader", NULL);
    attach_times("worker", "driver1");
    char name[SHMC_NAME_BYTES];
    if (sections == NULL || ns == NULL || shmc_attach(&segment, NULL) < 0)
        bench_die("can't attach");
    uint64_t all = time_ticks();
    for (unsigned i = 0; i < n; i++) {
        snprintf(name, sizeof name, "%s%u", prefix, i + 1);
        uint64_t started = time_ticks();
        if (shmc_open(&sections[i], segment, name, NULL) < 0)
            bench_die("%s", shmc_last_error(segment));
        ns[i] = time_span(started);
    }
    printf("figure: bench.sections.open-all %.1f ms\n", time_span(all) / 1e6);
    printf("figure: bench.sections.open %.2f us\n", median(ns, n) / 1000);
    for (unsigned i = 0; i < n; i++)
        shmc_close(sections[i]);
    shmc_detach(segment);
    free(sections);
    free(ns);
}
