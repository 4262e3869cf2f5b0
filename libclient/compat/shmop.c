/* SPDX-License-Identifier: Apache-2.0
 *
 * shmop on System V segments.  PHP's own checks and order of system calls, but for "a" and "w",
 * which ask shmget() for nothing, so that a mode or size that was given doesn't count against it.
 */
#include "shmop_block.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>

#define MODE_BITS 0777u

bool shmop_flag_is(const char *flags, const char *letters) {
    return flags != NULL && flags[0] != '\0' && flags[1] == '\0' &&
           strchr(letters, flags[0]) != NULL;
}

/* ---- opening */

static int open_failed(uint32_t key, const char *flags) {
    const int error = errno;
    const char *remedy =
        error == ENOENT ? "; make it with \"c\", or if an shm-manager serves this key on memfd, "
                          "call shmop_open_section()"
        : error == EINVAL && flags[0] == 'c'
            ? "; one that is there may be smaller: open it with \"w\""
        : error == EEXIST ? "; open it with \"w\", or \"c\""
                          : "";
    return shmop_fail(error, "segment 0x%08x can't be opened with \"%s\": %s%s", key, flags,
                      strerror(error), remedy);
}

static int find(uint32_t key, const char *flags, unsigned mode, size_t size) {
    const bool makes = shmop_flag_is(flags, "cn");
    if (!makes && !shmop_flag_is(flags, "aw"))
        return shmop_fail(EINVAL,
                          "flags are \"%s\"; they must be one of \"a\", \"c\", \"w\", \"n\"",
                          flags == NULL ? "(null)" : flags);
    if (makes && (size == 0 || size > SSIZE_MAX)) /* as PHP, before it asks what is there */
        return shmop_fail(EINVAL, "segment 0x%08x: size is %zd; with \"%s\" it must be above 0",
                          key, (ssize_t)size, flags);
    const int how =
        (makes ? IPC_CREAT | (int)(mode & MODE_BITS) : 0) | (flags[0] == 'n' ? IPC_EXCL : 0);
    const int id = shmget((key_t)key, makes ? size : 0, how);
    return id < 0 ? open_failed(key, flags) : id;
}

static int attach(shmop *block) {
    struct shmid_ds found;
    void *at = (void *)-1;
    if (shmctl(block->id, IPC_STAT, &found) == 0)
        at = shmat(block->id, NULL, block->writable ? 0 : SHM_RDONLY);
    if (at == (void *)-1) {
        const int error = errno;
        return shmop_fail(error, "segment 0x%08x (shmid %d) can't be attached to %s: %s",
                          block->key, block->id, block->writable ? "write" : "read",
                          strerror(error));
    }
    block->at = at;
    block->size = found.shm_segsz;
    return 0;
}

shmop *shmop_open(uint32_t key, const char *flags, unsigned mode, size_t size) {
    const int id = find(key, flags, mode, size);
    if (id < 0)
        return NULL;
    shmop *block = calloc(1, sizeof *block);
    if (block == NULL) {
        shmop_fail(ENOMEM, "no memory for a block");
        return NULL;
    }
    *block = (shmop){.key = key, .id = id, .writable = flags[0] != 'a'};
    if (attach(block) < 0) {
        free(block);
        return NULL;
    }
    return block;
}

/* ---- in between */

static int not_open(void) {
    return shmop_fail(EBADF, "no block: it wasn't opened, as its open has said");
}

static int out_of_range(const char *what, size_t offset, size_t bytes, size_t size) {
    return shmop_fail(EINVAL, "%s of %zu bytes at %zu is beyond the block's %zu", what, bytes,
                      offset, size);
}

ssize_t shmop_size(shmop *block) {
    if (block == NULL)
        return not_open();
    return block->at == NULL ? shmop_section_size(block) : (ssize_t)block->size;
}

int shmop_id(const shmop *block) {
    if (block == NULL)
        return not_open();
    if (block->at == NULL)
        return shmop_fail(EPROTOTYPE, "a section has no System V identifier; its segment may have: "
                                      "shmc_segment()");
    return block->id;
}

ssize_t shmop_read(shmop *block, size_t offset, size_t count, void *buffer, size_t room) {
    const ssize_t size = shmop_size(block);
    if (size < 0)
        return -1;
    if (offset > (size_t)size || count > (size_t)size - offset)
        return out_of_range("a read", offset, count, (size_t)size);
    const size_t bytes = count != 0 ? count : (size_t)size - offset;
    if (bytes > room)
        return shmop_fail(EMSGSIZE, "a read of %zu bytes at %zu takes more than the buffer's %zu",
                          bytes, offset, room);
    if (block->at == NULL)
        return shmop_section_read(block, offset, buffer, bytes);
    if (bytes > 0)
        memcpy(buffer, block->at + offset, bytes);
    return (ssize_t)bytes;
}

ssize_t shmop_write(shmop *block, const void *data, size_t bytes, size_t offset) {
    if (block == NULL)
        return not_open();
    if (!block->writable)
        return shmop_fail(EACCES, "the block was opened to read alone; open it with \"w\"");
    const ssize_t size = shmop_size(block);
    if (size < 0)
        return -1;
    if (offset > (size_t)size)
        return out_of_range("a write", offset, bytes, (size_t)size);
    if (bytes > (size_t)size - offset)
        bytes = (size_t)size - offset;
    if (block->at == NULL)
        return shmop_section_write(block, offset, data, bytes);
    if (bytes > 0)
        memcpy(block->at + offset, data, bytes);
    return (ssize_t)bytes;
}

/* ---- the end */

int shmop_delete(shmop *block) {
    if (block == NULL)
        return not_open();
    if (block->at == NULL)
        return shmop_fail(EPERM,
                          "a section is not deleted by shmop; remove its row from the table, "
                          "or shmc_drop() it");
    if (shmctl(block->id, IPC_RMID, NULL) == 0)
        return 0;
    const int error = errno;
    return shmop_fail(error, "segment 0x%08x (shmid %d) can't be deleted: %s", block->key,
                      block->id, strerror(error));
}

void shmop_close(shmop *block) {
    if (block == NULL)
        return;
    if (block->at != NULL)
        shmdt(block->at);
    else
        shmop_section_close(block);
    free(block);
}
