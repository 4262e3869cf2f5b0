/* SPDX-License-Identifier: Apache-2.0
 *
 * Opens many sections by name, each once and all at the same time.
 */
#include "bench.h"

#include <shmclient.h>
#include <stdio.h>
#include <stdlib.h>

void open_all(const char *prefix, unsigned n) {
    shmc *segment;
    shmc_section **sections = calloc(n, sizeof *sections);
    double *ns = calloc(n, sizeof *ns);
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
