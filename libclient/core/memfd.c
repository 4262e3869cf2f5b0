/* SPDX-License-Identifier: Apache-2.0
 *
 * memfds: thin, but for what makes them safe to hand out.
 */
#include "memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#endif

/* Without F_SEAL_GROW a writer could blow its object up for good; with F_SEAL_FUTURE_WRITE neither
 * a restarted manager nor a new owner could ever map it again. */
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static int seal(int fd, uint64_t bytes) {
    /* Born 0777: whoever got it to read could open it to write through /proc. */
    if (fchmod(fd, 0600) < 0 || ftruncate(fd, (off_t)bytes) < 0 ||
        fcntl(fd, F_ADD_SEALS, SEALS) < 0)
        return -errno;
    return 0;
}

int memfd_make(const char *name, uint64_t bytes, int *ret) {
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    int r = seal(fd, bytes);
    if (r < 0)
        close(fd);
    else
        *ret = fd;
    return r;
}

int memfd_reopen(int fd, bool writable, int *ret) {
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int made = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    if (made < 0)
        return -errno;
    *ret = made;
    return 0;
}

int memfd_check(int fd, uint64_t bytes, uid_t *owner) {
    struct stat stat;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0)
        return errno == EINVAL ? -EBADMSG : -errno; /* EINVAL: no memfd */
    if (fstat(fd, &stat) < 0)
        return -errno;
    if ((seals & (F_SEAL_SHRINK | F_SEAL_SEAL)) != (F_SEAL_SHRINK | F_SEAL_SEAL) ||
        (uint64_t)stat.st_size != bytes)
        return -EBADMSG;
    if (owner != NULL)
        *owner = stat.st_uid;
    return 0;
}

int memfd_map(int fd, uint64_t bytes, bool writable, void *at, void **ret) {
    void *base = mmap(at, bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ,
                      MAP_SHARED | MAP_NORESERVE | (at == NULL ? 0 : MAP_FIXED), fd, 0);
    if (base == MAP_FAILED)
        return -errno;
    if (ret != NULL)
        *ret = base;
    return 0;
}

int memfd_punch(int fd, uint64_t offset, uint64_t bytes) {
    int r = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)bytes);
    return r < 0 ? -errno : 0;
}
