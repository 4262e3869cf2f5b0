/* SPDX-License-Identifier: Apache-2.0
 *
 * Stretches of the segment, against a map of its bytes.
 */
#include "core/span.h"
#include "unit.h"

#include <string.h>

#define BYTES 64u

START_TEST(sorted_by_offset_then_index) {
    struct spans spans = {0};
    const struct span given[] = {{8, 4, 3}, {0, 4, 7}, {8, 0, 1}, {8, 2, 2}, {4, 4, 0}};
    ck_assert_int_eq(spans_reserve(&spans, 5), 0);
    for (size_t i = 0; i < 5; i++)
        spans_append(&spans, given[i]);
    spans_sort(&spans);
    const uint32_t order[] = {7, 0, 1, 2, 3};
    for (size_t i = 0; i < 5; i++)
        ck_assert_uint_eq(spans.at[i].index, order[i]);
    spans_clear(&spans);
    ck_assert_uint_eq(spans.n, 0);
    spans_sort(&spans);
    spans_clear(&spans);
}
END_TEST

/* Overlaps, and the gaps within a window, agree with a map that has a byte for each byte. */
START_TEST(what_a_map_says) {
    unsigned seed = 7;
    for (int round = 0; round < 5000; round++) {
        struct spans spans = {0};
        uint8_t map[BYTES] = {0};
        ck_assert_int_eq(spans_reserve(&spans, 8), 0);
        for (uint32_t i = 0; i < 8; i++) {
            const struct span span = {(unsigned)rand_r(&seed) % (BYTES - 8),
                                      1 + (unsigned)rand_r(&seed) % 8, i};
            if (spans_overlap(&spans, span.offset, span.bytes) == NULL) {
                ck_assert_ptr_null(memchr(map + span.offset, 1, span.bytes));
                spans_add(&spans, span);
                memset(map + span.offset, 1, span.bytes);
            } else
                ck_assert_ptr_nonnull(memchr(map + span.offset, 1, span.bytes));
        }
        const unsigned from = (unsigned)rand_r(&seed) % 32, end = 33 + (unsigned)rand_r(&seed) % 31;
        uint8_t free_bytes[BYTES] = {0};
        struct gaps gaps = gaps_between(&spans, from, end);
        struct span gap;
        /* A stretch that begins below the window counts from its own beginning on: who asks begins
         * where none does. */
        while (gaps_next(&gaps, &gap))
            for (uint64_t i = gap.offset; i < gap.offset + gap.bytes; i++)
                free_bytes[i]++;
        bool inside = false; /* a stretch from below `from` */
        for (size_t i = 0; i < spans.n; i++)
            inside = inside ||
                     (spans.at[i].offset < from && spans.at[i].offset + spans.at[i].bytes > from);
        for (unsigned i = from; i < end && !inside; i++)
            ck_assert_uint_eq(free_bytes[i], map[i] == 0);
        spans_clear(&spans);
    }
}
END_TEST

UNIT_MAIN("span", sorted_by_offset_then_index, what_a_map_says)
