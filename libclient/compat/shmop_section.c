/* SPDX-License-Identifier: Apache-2.0
 *
 * shmop on a section: whose lease counts, and the library's calls under shmop's names.
 */
#include "shmop_block.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Errors are the library's, with its text; but what was detached has none any more. */
static int library_failed(const shmop *block, ssize_t r) {
    if (r == -EBADF)
        return shmop_fail(EBADF, "the section's segment was detached; close its blocks before");
    return shmop_fail((int)-r, "%s", shmc_last_error(block->segment));
}

/* ---- opening */

/* The worker of $SHMC_LEASE ("key:worker:..."), if it has a name and is of that segment. */
static bool lease_worker(uint32_t key, char worker[SHMC_NAME_BYTES]) {
    const char *lease = secure_getenv("SHMC_LEASE");
    const char *name = lease == NULL ? NULL : strchr(lease, ':');
    const size_t n = name == NULL ? 0 : strcspn(name + 1, ":");
    if (n == 0 || n >= SHMC_NAME_BYTES || (n == 1 && name[1] == '-') ||
        (key != 0 && strtoul(lease, NULL, 16) != key))
        return false;
    memcpy(worker, name + 1, n);
    worker[n] = '\0';
    return true;
}

static int attach(shmop *block, uint32_t key, const char *worker, uint32_t flags) {
    char error[512] = "";
    const struct shmc_options options = {.size = sizeof options,
                                         .worker = worker,
                                         .key = key,
                                         .flags = flags,
                                         .error = error,
                                         .error_bytes = sizeof error};
    int r = shmc_attach(&block->segment, &options);
    if (r < 0)
        return shmop_fail(-r, "%s", error);
    block->attached = true;
    return 0;
}

/* May this attachment write it?  Asked now, so that an open tells, and not the first write. */
static int check_writable(shmop *block) {
    void *data;
    size_t bytes;
    int r = block->writable ? shmc_raw_writable(block->section, &data, &bytes) : 0;
    return r < 0 ? library_failed(block, r) : 0;
}

static int open_section(shmop *block, const char *name) {
    int r = shmc_open(&block->section, block->segment, name, NULL);
    struct shmc_section_info info;
    if (r == 0)
        r = shmc_section_info(block->section, &info);
    if (r < 0)
        return library_failed(block, r);
    if (info.kind != SHMC_RAW)
        return shmop_fail(EPROTOTYPE,
                          "section '%s' isn't raw, and bytes at an offset mean nothing in it; call "
                          "%s instead",
                          name,
                          info.kind == SHMC_SNAPSHOT ? "shmc_read() and shmc_publish()"
                          : info.kind == SHMC_SLOTS  ? "shmc_slot_get() and shmc_slot_put()"
                                                     : "shmc_queue_send() and its like");
    return check_writable(block);
}

/* A section that many write takes anybody's lease. */
static int attach_to_shared(shmop *block, uint32_t key, const char *name) {
    struct shmc_section_info info;
    int r = attach(block, key, NULL, 0);
    if (r < 0)
        return r;
    r = shmc_inspect(block->segment, name, &info);
    if (r < 0)
        return library_failed(block, r);
    if (!info.shared)
        return shmop_fail(
            EACCES,
            "section '%s' belongs to worker '%s', and this process isn't it; start it "
            "by `shmtool run --worker %s`, or attach so and call "
            "shmop_open_section_in()",
            name, info.owner, info.owner);
    shmc_detach(block->segment);
    block->segment = NULL;
    block->attached = false;
    return attach(block, key, NULL, SHMC_ANONYMOUS);
}

static int attach_for(shmop *block, uint32_t key, const char *name) {
    char worker[SHMC_NAME_BYTES];
    if (!block->writable)
        return attach(block, key, NULL, 0);
    return lease_worker(key, worker) ? attach(block, key, worker, 0)
                                     : attach_to_shared(block, key, name);
}

static shmop *new_block(const char *name, const char *flags) {
    if (name == NULL || !shmop_flag_is(flags, "aw")) {
        shmop_fail(EINVAL,
                   "section '%s', flags \"%s\"; they must be a name, and one of \"a\" and \"w\"",
                   name == NULL ? "(null)" : name, flags == NULL ? "(null)" : flags);
        return NULL;
    }
    shmop *block = calloc(1, sizeof *block);
    if (block == NULL)
        shmop_fail(ENOMEM, "no memory for a block");
    else
        block->writable = flags[0] == 'w';
    return block;
}

static shmop *opened(shmop *block, int r) {
    if (r == 0)
        return block;
    const int error = errno;
    shmop_close(block);
    errno = error;
    return NULL;
}

shmop *shmop_open_section(uint32_t key, const char *name, const char *flags) {
    shmop *block = new_block(name, flags);
    if (block == NULL)
        return NULL;
    int r = attach_for(block, key, name);
    if (r == 0)
        r = open_section(block, name);
    return opened(block, r);
}

shmop *shmop_open_section_in(shmc *segment, const char *name, const char *flags) {
    shmop *block = new_block(name, flags);
    if (block == NULL)
        return NULL;
    if (segment == NULL)
        return opened(block, shmop_fail(EINVAL, "section '%s': no segment is attached", name));
    block->segment = segment;
    return opened(block, open_section(block, name));
}

/* ---- in between, and the end */

ssize_t shmop_section_size(shmop *block) {
    struct shmc_section_info info;
    int r = shmc_section_info(block->section, &info);
    return r < 0 ? library_failed(block, r) : (ssize_t)info.size;
}

ssize_t shmop_section_read(shmop *block, size_t offset, void *buffer, size_t bytes) {
    ssize_t n = shmc_raw_read(block->section, offset, buffer, bytes);
    return n < 0 ? library_failed(block, n) : n;
}

ssize_t shmop_section_write(shmop *block, size_t offset, const void *data, size_t bytes) {
    ssize_t n = shmc_raw_write(block->section, offset, data, bytes);
    return n < 0 ? library_failed(block, n) : n;
}

void shmop_section_close(shmop *block) {
    shmc_close(block->section);
    if (block->attached)
        shmc_detach(block->segment);
}
