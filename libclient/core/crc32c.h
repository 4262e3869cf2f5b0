/* SPDX-License-Identifier: Apache-2.0
 *
 * CRC-32C by the processor's instruction where it has one, else bit by bit.
 */
#ifndef SHM_CORE_CRC32C_H
#define SHM_CORE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(const void *data, size_t bytes);

/* The sum of what `crc` is the sum of, and these bytes behind it. */
uint32_t crc32c_more(uint32_t crc, const void *data, size_t bytes);

/* The version without it, which the tests compare with it. */
uint32_t crc32c_portable(const void *data, size_t bytes);

/* Of a structure whose last member is `crc`: over all that stands before it. */
#define CRC32C_OF(object) crc32c((object), offsetof(__typeof__(*(object)), crc))

#endif
