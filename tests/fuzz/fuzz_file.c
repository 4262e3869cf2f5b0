/* SPDX-License-Identifier: Apache-2.0
 *
 * The header, the rest of the first page (where SQLite's schema is), and all of it are damaged.
 */
#include "fuzz_file.h"

#include <string.h>

#define PAGE 4096

static uint8_t right[FILE_MAX], image[FILE_MAX];
static size_t image_bytes;
static struct target targets[3];
static struct victim victim;

void file_name(struct fuzz_file *ret, const char *name, const char *log) {
    snprintf(ret->path, sizeof ret->path, "%s/%s", fuzz_directory(), name);
    snprintf(ret->log, sizeof ret->log, "%s%s", ret->path, log);
}

void file_keep(const struct fuzz_file *file) {
    image_bytes = fuzz_read(file->path, right, sizeof right);
    MUST(image_bytes > PAGE && image_bytes < FILE_MAX);
    memcpy(image, right, image_bytes);
    targets[0] = (struct target){0, 100};
    targets[1] = (struct target){100, PAGE - 100};
    targets[2] = (struct target){0, image_bytes};
    victim = (struct victim){
        .memory = image, .right = right, .targets = targets, .targets_n = 3, .fixes = false};
}

void file_right(const struct fuzz_file *file) {
    fuzz_write(file->path, right, image_bytes);
}

void file_damaged(const struct fuzz_file *file, struct input *input) {
    damage_begin(&victim, input);
    fuzz_write(file->path, image, image_bytes);
    damage_end();
}

void file_any(const struct fuzz_file *file, struct input *input) {
    size_t kept = take_below(input, 65536);
    fuzz_write(file->path, right, kept < image_bytes ? kept : image_bytes);
    fuzz_write(kept == 0 ? file->path : file->log, input->at, (size_t)(input->end - input->at));
}
