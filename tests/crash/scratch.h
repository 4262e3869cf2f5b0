/* SPDX-License-Identifier: Apache-2.0
 *
 * A directory that is gone at exit, and the files in it as they were at some time.
 */
#ifndef SHM_TESTS_SCRATCH_H
#define SHM_TESTS_SCRATCH_H

#include <stddef.h>
#include <stdint.h>

#define SCRATCH_FILES_MAX 8

struct scratch_files {
    size_t n;
    char names[SCRATCH_FILES_MAX][64];
    uint8_t *data[SCRATCH_FILES_MAX];
    size_t bytes[SCRATCH_FILES_MAX];
};

extern char scratch_directory[64];

/* Makes it: in memory, where nobody waits for a disk, if there is no TMPDIR. */
void scratch_open(void);

/* Keeps all its files; `ret` is zeroed or from an earlier call. */
void scratch_save(struct scratch_files *ret);

/* These files, and no others. */
void scratch_restore(const struct scratch_files *files);

#endif
