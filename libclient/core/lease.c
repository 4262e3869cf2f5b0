/* SPDX-License-Identifier: Apache-2.0
 *
 * Lease files, their locks, and the mapping that keeps one.
 */
#include "lease.h"
#include "crc32c.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LEASE_FILE_BYTES 40

static void lease_name(char ret[LEASE_FILE_BYTES], uint32_t attachment, uint64_t epoch) {
    snprintf(ret, LEASE_FILE_BYTES, "%u.%llu", attachment, (unsigned long long)epoch);
}

/* A second description of the file, read-only, with the lock that will travel. */
static int lock_description(int dir_fd, const char *file) {
    int fd = openat(dir_fd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

int lease_create(int dir_fd, const struct lease_record *record, int *keep, int *grant) {
    struct lease_record filled = *record;
    filled.magic = LEASE_MAGIC;
    filled.crc = CRC32C_OF(&filled);
    char file[LEASE_FILE_BYTES];
    lease_name(file, record->attachment, record->attachment_epoch);
    int fd = openat(dir_fd, file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    ssize_t n = write(fd, &filled, sizeof filled);
    int error = n < 0 ? -errno : n != sizeof filled ? -ENOSPC : 0;
    int locked = error < 0 ? error : lock_description(dir_fd, file);
    if (locked < 0) {
        close(fd);
        unlinkat(dir_fd, file, 0);
        return locked;
    }
    *keep = fd;
    *grant = locked;
    return 0;
}

int lease_held(int keep) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(keep, F_OFD_GETLK, &lock) < 0)
        return -errno;
    return lock.l_type != F_UNLCK;
}

int lease_open(int dir_fd, const char *file, struct lease_record *ret, int *keep) {
    uint32_t attachment;
    uint64_t epoch;
    if (!lease_parse(file, &attachment, &epoch))
        return -EBADMSG;
    int fd = openat(dir_fd, file, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    struct lease_record record;
    ssize_t n = read(fd, &record, sizeof record);
    int error = n < 0 ? -errno : 0; /* says nothing about what it holds */
    if (error == 0 &&
        (n != sizeof record || record.magic != LEASE_MAGIC || record.crc != CRC32C_OF(&record) ||
         record.attachment != attachment || record.attachment_epoch != epoch ||
         memchr(record.worker, 0, SHM_NAME_BYTES) == NULL))
        error = -EBADMSG;
    if (error < 0) {
        close(fd);
        return error;
    }
    *ret = record;
    *keep = fd;
    return 0;
}

bool lease_parse(const char *file, uint32_t *attachment, uint64_t *epoch) {
    unsigned index;
    unsigned long long number;
    char canonical[LEASE_FILE_BYTES];
    if (sscanf(file, "%u.%llu", &index, &number) != 2)
        return false;
    lease_name(canonical, index, number);
    if (strcmp(canonical, file) != 0)
        return false;
    *attachment = index;
    *epoch = number;
    return true;
}

int lease_remove(int dir_fd, uint32_t attachment, uint64_t epoch) {
    char file[LEASE_FILE_BYTES];
    lease_name(file, attachment, epoch);
    return unlinkat(dir_fd, file, 0) == 0 ? 0 : -errno;
}

int lease_map(int fd, void **ret) {
    void *map = mmap(NULL, LEASE_MAP_BYTES, PROT_NONE, MAP_SHARED, fd, 0);
    int error = map == MAP_FAILED ? -errno : 0;
    if (error == 0 && madvise(map, LEASE_MAP_BYTES, MADV_DONTFORK) < 0) {
        error = -errno;
        munmap(map, LEASE_MAP_BYTES);
    }
    close(fd);
    if (error == 0)
        *ret = map;
    return error;
}

void lease_unmap(void *map) {
    if (map != NULL)
        munmap(map, LEASE_MAP_BYTES);
}

int lease_probe(int dir_fd) {
    static const struct lease_record record = {.attachment = UINT32_MAX};
    int keep, grant;
    lease_remove(dir_fd, record.attachment, 0); /* of a manager that was killed in here */
    int r = lease_create(dir_fd, &record, &keep, &grant);
    if (r < 0)
        return r;
    void *map;
    r = lease_map(grant, &map);
    if (r == 0) {
        int held = lease_held(keep);
        r = held < 0 ? held : held == 0 ? -EOPNOTSUPP : 0;
        lease_unmap(map);
    }
    close(keep);
    lease_remove(dir_fd, record.attachment, 0);
    return r;
}
