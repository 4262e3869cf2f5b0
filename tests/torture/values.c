/* SPDX-License-Identifier: Apache-2.0
 *
 * Values, violations, and what all processes of the torture need.
 */
#include "torture.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

const char *const section_names[SECTIONS] = {"small", "page", "middle", "large"};
const uint64_t section_sizes[SECTIONS] = {64, 4096, 10240, LARGEST};

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

uint64_t random_next(uint64_t *state) {
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static uint64_t value_key(unsigned section, uint64_t version) {
    uint64_t state = version << 2 | section;
    return random_next(&state);
}

size_t value_bytes(unsigned section, uint64_t version) {
    const uint64_t key = value_key(section, version), words = section_sizes[section] / 8;
    return (size_t)(8 * (key % 2 == 0 ? words : 2 + (key >> 8) % (words - 1)));
}

/* Words of one value differ, and so do words of one index. */
static uint64_t value_word(uint64_t key, size_t i) {
    return (key ^ i) * UINT64_C(0x9e3779b97f4a7c15) + i;
}

void value_fill(uint64_t *to, unsigned section, uint64_t version, uint64_t life) {
    const uint64_t key = value_key(section, version) ^ life;
    const size_t words = value_bytes(section, version) / 8;
    to[0] = life;
    for (size_t i = 1; i < words; i++)
        to[i] = value_word(key, i);
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
    for (size_t i = 1; i < bytes / 8; i++) {
        const uint64_t is = __atomic_load_n(&value[i], __ATOMIC_RELAXED);
        if (is != value_word(key, i)) {
            snprintf(what, 128, "word %zu of %zu is %016llx, not %016llx", i, bytes / 8,
                     (unsigned long long)is, (unsigned long long)value_word(key, i));
            return false;
        }
    }
    const unsigned long long published = atomic_load(&progress->lives[version % LIVES_KEPT]);
    /* Its place may be the next one's already that is not begun yet. */
    if (life != published && atomic_load(&progress->begun) + 1 < version + LIVES_KEPT) {
        snprintf(what, 128, "life %llu's, which never published it: life %llu did",
                 (unsigned long long)life, published);
        return false;
    }
    return true;
}
