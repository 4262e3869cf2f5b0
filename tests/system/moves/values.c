/* SPDX-License-Identifier: Apache-2.0
 *
 * Values, violations, and what all processes of the moves need.
 */
#include "moves.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void name_section(char name[16], unsigned section) {
    snprintf(name, 16, "s%02u", section);
}

void name_worker(char name[16], unsigned worker) {
    snprintf(name, 16, "w%u", worker);
}

bool manager_away(int error) {
    const char *backend = getenv("SHM_TEST_BACKEND");
    const bool away = (error == -ENOTCONN || error == -ETIMEDOUT) && backend != NULL &&
                      strcmp(backend, "memfd") == 0;
    atomic_fetch_add(&board->away, away);
    return away;
}

shmc *attach(const char *worker) {
    char error[512] = "";
    const struct shmc_options options = {.size = sizeof options,
                                         .worker = worker,
                                         .key = key,
                                         .runtime_dir = run_dir,
                                         .timeout_ms = PATIENCE_MS,
                                         .error = error,
                                         .error_bytes = sizeof error};
    shmc *segment = NULL;
    const int r = shmc_attach(&segment, &options);
    if (r < 0)
        violate("attach as %s: %d (%s)", worker == NULL ? "a reader" : worker, r, error);
    return segment;
}

static uint64_t value_seed(unsigned section, uint64_t incarnation, uint64_t version) {
    uint64_t state = place_of(incarnation, version) * SECTIONS + section;
    return random_next(&state);
}

void value_fill(uint64_t *to, size_t bytes, unsigned section, uint64_t incarnation,
                uint64_t version) {
    words_fill(to, 0, bytes / 8, value_seed(section, incarnation, version) ^ bytes);
}

bool value_whole(const uint64_t *value, size_t bytes, unsigned section, uint64_t incarnation,
                 uint64_t version, char what[128]) {
    const uint64_t seed = value_seed(section, incarnation, version) ^ bytes;
    if (!words_right(value, 0, bytes / 8, seed, what))
        return false;
    snprintf(what, 128, "%zu bytes", bytes);
    return bytes >= 8 && bytes % 8 == 0;
}
