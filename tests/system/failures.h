/* SPDX-License-Identifier: Apache-2.0
 *
 * Failures of any of a test's processes, counted in memory that they share; the first is kept.
 */
#ifndef SHM_TESTS_FAILURES_H
#define SHM_TESTS_FAILURES_H

#include <shmclient.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

struct failures {
    atomic_ullong n;
    char first[640];
};

__attribute__((format(printf, 2, 3))) static inline void failures_note(struct failures *failures,
                                                                       const char *format, ...) {
    char text[sizeof failures->first];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (atomic_fetch_add(&failures->n, 1) == 0)
        memcpy(failures->first, text, sizeof text);
}

static inline void failures_add(struct failures *failures, const char *what, int result,
                                const char *text) {
    failures_note(failures, "%.60s: %.60s (%.180s)", what, strerror(-result), text);
}

/* Attaches where the options say, or counts a failure and returns NULL. */
static inline shmc *failures_attach(struct failures *failures, struct shmc_options options) {
    char error[256] = "";
    shmc *segment = NULL;
    options.error = error;
    options.error_bytes = sizeof error;
    int r = shmc_attach(&segment, &options);
    if (r < 0)
        failures_add(failures, options.worker == NULL ? "attach of a reader" : options.worker, r,
                     error);
    return segment;
}

#endif
