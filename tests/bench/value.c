/* SPDX-License-Identifier: Apache-2.0
 *
 * Values that carry their number at 64 places and at both ends: enough to tell a torn one, and
 * little enough not to be what is measured.
 */
#include "bench.h"

#include <string.h>

static size_t stride(size_t bytes) {
    return bytes / 64 > 512 ? bytes / 64 : 512;
}

void value_stamp(uint8_t *value, size_t bytes, uint64_t number) {
    for (size_t at = 0; at < bytes; at += stride(bytes))
        memcpy(value + at, &number, sizeof number);
    memcpy(value + bytes - sizeof number, &number, sizeof number);
}

uint64_t value_check(const uint8_t *value, size_t bytes, const char *what) {
    uint64_t first, number;
    memcpy(&first, value, sizeof first);
    for (size_t at = 0; at < bytes; at += stride(bytes)) {
        memcpy(&number, value + at, sizeof number);
        if (number != first)
            bench_die("%s: %zu bytes are torn at %zu", what, bytes, at);
    }
    memcpy(&number, value + bytes - sizeof number, sizeof number);
    if (number != first)
        bench_die("%s: %zu bytes are torn at the end", what, bytes);
    return first;
}
