/* SPDX-License-Identifier: Apache-2.0
 *
 * Raw sections: bytes, and nothing that says when they are whole.
 */
#include "client.h"

#include <limits.h>

static uint8_t *place(const shmc_section *section) {
    return section->mapping->base + section->descriptor.ctl_off;
}

static int check_span(const shmc_section *section, size_t offset, size_t bytes) {
    uint64_t size = section->descriptor.size;
    if (offset <= size && bytes <= size - offset && bytes <= SSIZE_MAX)
        return 0;
    return error_set(section->segment->error, -EINVAL,
                     "section '%s': %zu bytes at %zu are beyond its size of %llu", section->name,
                     bytes, offset, (unsigned long long)size);
}

int shmc_raw(shmc_section *section, const void **data, size_t *bytes) {
    int r = section_ready(section, SHMC_RAW);
    if (r < 0)
        return r;
    mapping_lend(section, &section->lent);
    *data = place(section);
    *bytes = section->descriptor.size;
    return 0;
}

int shmc_raw_writable(shmc_section *section, void **data, size_t *bytes) {
    int r = section_ready_to_write(section, SHMC_RAW);
    if (r < 0)
        return r;
    mapping_lend(section, &section->lent);
    *data = place(section);
    *bytes = section->descriptor.size;
    return 0;
}

ssize_t shmc_raw_read(shmc_section *section, size_t offset, void *buffer, size_t bytes) {
    for (;;) {
        int r = section_ready(section, SHMC_RAW);
        if (r == 0)
            r = check_span(section, offset, bytes);
        if (r < 0)
            return r;
        shared_copy_from(buffer, place(section) + offset, bytes);
        shared_fence_acquire(); /* the copy was made before the generation is looked at */
        if (section_settled(section))
            return (ssize_t)bytes;
    }
}

ssize_t shmc_raw_write(shmc_section *section, size_t offset, const void *data, size_t bytes) {
    do {
        int r = section_ready_to_write(section, SHMC_RAW);
        if (r == 0)
            r = check_span(section, offset, bytes);
        if (r < 0)
            return r;
        shared_copy_to(place(section) + offset, data, bytes);
        shared_fence_full(); /* it was written before the state is looked at */
    } while (directory_replaced(&section->mapping->directory));
    return (ssize_t)bytes;
}
