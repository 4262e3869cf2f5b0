/* SPDX-License-Identifier: Apache-2.0
 *
 * CRC-32C: known values, and the fast version against the slow one.
 */
#include "core/crc32c.h"
#include "unit.h"

#include <shm-manager/layout.h>
#include <string.h>

static uint32_t both(const void *data, size_t bytes) {
    const uint32_t fast = crc32c(data, bytes);
    ck_assert_uint_eq(fast, crc32c_portable(data, bytes));
    return fast;
}

/* RFC 3720, appendix B.4, and the customary check value. */
START_TEST(known_values) {
    uint8_t block[32];
    ck_assert_uint_eq(both("123456789", 9), 0xe3069283u);
    ck_assert_uint_eq(both("", 0), 0);
    memset(block, 0, sizeof block);
    ck_assert_uint_eq(both(block, sizeof block), 0x8a9136aau);
    memset(block, 0xff, sizeof block);
    ck_assert_uint_eq(both(block, sizeof block), 0x62a8ab43u);
    for (uint8_t i = 0; i < sizeof block; i++)
        block[i] = i;
    ck_assert_uint_eq(both(block, sizeof block), 0x46dd794eu);
    for (uint8_t i = 0; i < sizeof block; i++)
        block[i] = (uint8_t)(31 - i);
    ck_assert_uint_eq(both(block, sizeof block), 0x113fdb5cu);
}
END_TEST

START_TEST(every_length_and_alignment) {
    uint8_t data[200];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 37 + (i >> 3));
    for (size_t at = 0; at < 8; at++)
        for (size_t bytes = 0; at + bytes <= sizeof data; bytes++)
            both(data + at, bytes);
}
END_TEST

START_TEST(continued) {
    const char text[] = "one text in two pieces, whole words or not";
    const size_t bytes = sizeof text - 1;
    for (size_t cut = 0; cut <= bytes; cut++)
        ck_assert_uint_eq(crc32c_more(crc32c_more(0, text, cut), text + cut, bytes - cut),
                          crc32c(text, bytes));
}
END_TEST

START_TEST(every_flipped_bit_shows) {
    struct shm_section section = {.name = "cam", .section_id = 7};
    const uint32_t right = CRC32C_OF(&section);
    uint8_t *bytes = (uint8_t *)&section;
    for (size_t bit = 0; bit < offsetof(struct shm_section, crc) * 8; bit++) {
        bytes[bit / 8] = (uint8_t)(bytes[bit / 8] ^ 1u << bit % 8);
        ck_assert_uint_ne(CRC32C_OF(&section), right);
        bytes[bit / 8] = (uint8_t)(bytes[bit / 8] ^ 1u << bit % 8);
    }
    section.crc = 1;
    ck_assert_uint_eq(CRC32C_OF(&section), right);
}
END_TEST

UNIT_MAIN("crc32c", known_values, every_length_and_alignment, continued, every_flipped_bit_shows)
