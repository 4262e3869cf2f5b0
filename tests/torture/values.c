/* SPDX-License-Identifier: Apache-2.0
 *
 * Values, violations, and what all processes of the torture need.
 */
#include "torture.h"

#include <stdio.h>

const char *const section_names[SECTIONS] = {"small", "page", "middle", "large"};
const uint64_t section_sizes[SECTIONS] = {64, 4096, 10240, LARGEST};

shmc *attach(const char *worker) {
    char error[256] = "";
    const struct shmc_options options = {.size = sizeof options,
                                         .worker = worker,
                                         .timeout_ms = PATIENCE_MS,
                                         .error = error,
                                         .error_bytes = sizeof error};
    shmc *segment = NULL;
    const int r = shmc_attach(&segment, &options);
    if (r < 0)
        violate("attach as %s: %d (%s)", worker == NULL ? "a reader" : worker, r, error);
    return segment;
}

shmc_section *open_section(shmc *segment, unsigned section) {
    shmc_section *ret = NULL;
    const int r = segment == NULL ? -1 : shmc_open(&ret, segment, section_names[section], NULL);
    if (r < 0 && segment != NULL)
        violate("open %s: %d (%s)", section_names[section], r, shmc_last_error(segment));
    return ret;
}

static uint64_t value_key(unsigned section, uint64_t version) {
    uint64_t state = version << 2 | section;
    return random_next(&state);
}

size_t value_bytes(unsigned section, uint64_t version) {
    const uint64_t key = value_key(section, version), words = section_sizes[section] / 8;
    return (size_t)(8 * (key % 2 == 0 ? words : 2 + (key >> 8) % (words - 1)));
}

void value_fill(uint64_t *to, unsigned section, uint64_t version, uint64_t life) {
    const uint64_t key = value_key(section, version) ^ life;
    to[0] = life;
    words_fill(to, 1, value_bytes(section, version) / 8, key);
}

bool value_whole(const uint64_t *value, size_t bytes, unsigned section, uint64_t version,
                 char what[128]) {
    struct progress *progress = &board->sections[section];
    if (bytes != value_bytes(section, version)) {
        snprintf(what, 128, "%zu bytes, not %zu", bytes, value_bytes(section, version));
        return false;
    }
    const uint64_t life = __atomic_load_n(&value[0], __ATOMIC_RELAXED);
    const uint64_t key = value_key(section, version) ^ life;
    if (!words_right(value, 1, bytes / 8, key, what))
        return false;
    const unsigned long long published = atomic_load(&progress->lives[version % LIVES_KEPT]);
    /* Its place may be the next one's already that is not begun yet. */
    if (life != published && atomic_load(&progress->begun) + 1 < version + LIVES_KEPT) {
        snprintf(what, 128, "life %llu's, which never published it: life %llu did",
                 (unsigned long long)life, published);
        return false;
    }
    return true;
}
