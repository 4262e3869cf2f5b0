/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of shmop share: a block, and how a call fails.
 */
#ifndef SHMOP_BLOCK_H
#define SHMOP_BLOCK_H

#include "shmop.h"

#include <stdarg.h>

struct shmop {
    uint32_t key;
    int id;
    uint8_t *at; /* NULL: a section */
    size_t size;
    bool writable;
    bool attached; /* `segment` is ours to detach */
    shmc *segment;
    shmc_section *section;
};

/* Sets errno, and the thread's text; returns -1. */
int shmop_fail(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

ssize_t shmop_section_size(shmop *block);
ssize_t shmop_section_read(shmop *block, size_t offset, void *buffer, size_t bytes);
ssize_t shmop_section_write(shmop *block, size_t offset, const void *data, size_t bytes);
void shmop_section_close(shmop *block);

/* One of `letters`? */
bool shmop_flag_is(const char *flags, const char *letters);

#endif
