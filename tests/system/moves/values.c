/* SPDX-License-Identifier: Apache-2.0
 *
 * Values, violations, and what all processes of the moves need.
 */
#include "moves.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void violate(const char *format, ...) {
    char text[sizeof board->violation];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (atomic_fetch_add(&board->violations, 1) == 0)
        memcpy(board->violation, text, sizeof text);
}

uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

uint64_t random_next(uint64_t *state) {
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

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

/* Words of one value differ, and so do words of one index. */
static uint64_t value_word(uint64_t seed, size_t i) {
    return (seed ^ i) * UINT64_C(0x9e3779b97f4a7c15) + i;
}

static uint64_t value_seed(unsigned section, uint64_t incarnation, uint64_t version) {
    uint64_t state = place_of(incarnation, version) * SECTIONS + section;
    return random_next(&state);
}

void value_fill(uint64_t *to, size_t bytes, unsigned section, uint64_t incarnation,
                uint64_t version) {
    const uint64_t seed = value_seed(section, incarnation, version) ^ bytes;
    for (size_t i = 0; i < bytes / 8; i++)
        to[i] = value_word(seed, i);
}

bool value_whole(const uint64_t *value, size_t bytes, unsigned section, uint64_t incarnation,
                 uint64_t version, char what[128]) {
    const uint64_t seed = value_seed(section, incarnation, version) ^ bytes;
    for (size_t i = 0; i < bytes / 8; i++) {
        const uint64_t is = __atomic_load_n(&value[i], __ATOMIC_RELAXED);
        if (is != value_word(seed, i)) {
            snprintf(what, 128, "word %zu of %zu is %016llx, not %016llx", i, bytes / 8,
                     (unsigned long long)is, (unsigned long long)value_word(seed, i));
            return false;
        }
    }
    snprintf(what, 128, "%zu bytes", bytes);
    return bytes >= 8 && bytes % 8 == 0;
}
