/* SPDX-License-Identifier: Apache-2.0
 *
 * A database file: a right one, which inputs damage, cut off, or replace.
 */
#ifndef SHM_TESTS_FUZZ_FILE_H
#define SHM_TESTS_FUZZ_FILE_H

#include "fuzz.h"

#include <limits.h>

#define FILE_MAX (1u << 20)

struct fuzz_file {
    char path[PATH_MAX];
    char log[PATH_MAX + 16]; /* what SQLite would play back into it */
};

/* Its paths; `log` is the suffix of its log's. */
void file_name(struct fuzz_file *ret, const char *name, const char *log);

/* Once: what stands there now is right. */
void file_keep(const struct fuzz_file *file);

/* Puts there: what is right; the same, damaged by the input; any bytes at all, or the beginning of
 * what is right and any bytes as its log. */
void file_right(const struct fuzz_file *file);
void file_damaged(const struct fuzz_file *file, struct input *input);
void file_any(const struct fuzz_file *file, struct input *input);

#endif
