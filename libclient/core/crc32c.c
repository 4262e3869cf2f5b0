/* SPDX-License-Identifier: Apache-2.0
 *
 * CRC-32C: the SSE 4.2 instruction when the processor has it, bit by bit otherwise (some 30
 * times slower, which matters little: only descriptors and headers are summed).
 */
#include "crc32c.h"

#include <string.h>

#define POLYNOMIAL 0x82f63b78u

static uint32_t more_portable(uint32_t crc, const void *data, size_t bytes) {
    const uint8_t *p = data;
    crc = ~crc;
    for (size_t i = 0; i < bytes; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (POLYNOMIAL & (0u - (crc & 1u)));
    }
    return ~crc;
}

uint32_t crc32c_portable(const void *data, size_t bytes) {
    return more_portable(0, data, bytes);
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t more_sse42(uint32_t start, const void *data,
                                                             size_t bytes) {
    const uint8_t *p = data;
    uint64_t crc = ~start;
    for (; bytes >= 8; bytes -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        crc = __builtin_ia32_crc32di(crc, word);
    }
    uint32_t rest = (uint32_t)crc;
    if (bytes >= 4) { /* as of each structure that ends with its sum */
        uint32_t half;
        memcpy(&half, p, 4);
        rest = __builtin_ia32_crc32si(rest, half);
        bytes -= 4, p += 4;
    }
    for (; bytes > 0; bytes--, p++)
        rest = __builtin_ia32_crc32qi(rest, *p);
    return ~rest;
}
#endif

uint32_t crc32c_more(uint32_t crc, const void *data, size_t bytes) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return more_sse42(crc, data, bytes);
#endif
    return more_portable(crc, data, bytes);
}

uint32_t crc32c(const void *data, size_t bytes) {
    return crc32c_more(0, data, bytes);
}
