/* SPDX-License-Identifier: Apache-2.0
 *
 * Values, violations, and what all processes of the moves need.
 */
#include "moves.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void name_text(char text[16], unsigned name) {
    snprintf(text, 16, "s%03u", name);
}

void name_section(char text[16], unsigned section) {
    name_text(text, atomic_load(&board->progress[section].name));
}

void name_worker(char name[16], unsigned worker) {
    snprintf(name, 16, "w%u", worker);
}

bool on_memfd(void) {
    const char *backend = getenv("SHM_TEST_BACKEND");
    return backend != NULL && strcmp(backend, "memfd") == 0;
}

bool manager_away(int error) {
    const bool away = error == -ENOTCONN || (error == -ETIMEDOUT && on_memfd());
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
        violate(OTHER, "attach as %s: %d (%s)", worker == NULL ? "a reader" : worker, r, error);
    return segment;
}

shmc_section *open_section(shmc *segment, unsigned section) {
    char name[16];
    struct shmc_section_info info;
    shmc_section *handle = NULL;
    name_section(name, section);
    int r = shmc_open(&handle, segment, name, NULL);
    if (r == 0)
        r = shmc_section_info(handle, &info);
    if (r == 0 && info.section_id == section + 1)
        return handle;
    if (r < 0 && r != -ENOENT && r != -EIDRM && !manager_away(r))
        violate(OTHER, "open %s: %d (%s)", name, r, shmc_last_error(segment));
    shmc_close(handle); /* another row has that name, or had it a moment ago */
    return NULL;
}

static uint64_t value_seed(unsigned section, uint64_t incarnation, uint64_t version) {
    uint64_t state = place_of(incarnation, version) * SECTIONS_MAX + section;
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

void raw_fill(uint64_t *to, size_t bytes, unsigned section, uint64_t incarnation) {
    words_fill(to, 0, bytes / 8, value_seed(section, incarnation, 0));
}

bool raw_right(const uint64_t *data, size_t bytes, unsigned section, uint64_t incarnation,
               char what[128]) {
    const uint64_t seed = value_seed(section, incarnation, 0);
    for (size_t i = 0; i < bytes / 8; i++)
        if (data[i] != 0 && !words_right(data, i, i + 1, seed, what))
            return false;
    return true;
}
