/* SPDX-License-Identifier: Apache-2.0
 *
 * Inherited memory: three ways to it, which end in the same.
 */
#include "inherited.h"

#include "sysv.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

const char *inherited_name(enum inherited_strategy strategy) {
    static const char *const names[] = {NULL, "anon", "devzero", "sysv-private"};
    return (unsigned)strategy < sizeof names / sizeof *names ? names[strategy] : NULL;
}

/* MAP_NORESERVE: sparse also in what the system counts, but where it never overcommits. */
static int map(int fd, uint64_t bytes, int flags, void **ret) {
    void *at = mmap(NULL, bytes, PROT_NONE, MAP_SHARED | MAP_NORESERVE | flags, fd, 0);
    if (at == MAP_FAILED)
        return -errno;
    *ret = at;
    return 0;
}

static int make_devzero(uint64_t bytes, void **ret) {
    int fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = map(fd, bytes, 0, ret);
    close(fd);
    return r;
}

static int make_sysv(uint64_t bytes, void **ret) {
    int id, r = sysv_create(IPC_PRIVATE, bytes, 0600, &id);
    if (r < 0)
        return r;
    void *at;
    r = sysv_attach(id, true, &at);
    sysv_remove(id); /* who is attached keeps it */
    if (r < 0)
        return r;
    if (mprotect(at, bytes, PROT_NONE) < 0) {
        r = -errno;
        sysv_detach(at);
        return r;
    }
    *ret = at;
    return 0;
}

int inherited_make(enum inherited_strategy strategy, uint64_t bytes, void **ret) {
    void *at = NULL;
    int r = strategy == INHERITED_ANON      ? map(-1, bytes, MAP_ANONYMOUS, &at)
            : strategy == INHERITED_DEVZERO ? make_devzero(bytes, &at)
            : strategy == INHERITED_SYSV    ? make_sysv(bytes, &at)
                                            : -EINVAL;
    if (r < 0)
        return r;
    /* A core dump shall not have all of it, and would touch what is sparse. */
    madvise(at, bytes, MADV_DONTDUMP);
    *ret = at;
    return 0;
}

int inherited_choose(enum inherited_strategy *strategy, uint64_t bytes, void **ret) {
    if (*strategy != INHERITED_AUTO)
        return inherited_make(*strategy, bytes, ret);
    int r = -EINVAL;
    for (int s = INHERITED_ANON; r < 0 && s <= INHERITED_SYSV; s++) {
        *strategy = (enum inherited_strategy)s;
        r = inherited_make(*strategy, bytes, ret);
    }
    return r;
}

int inherited_map(const void *from, uint64_t bytes, int protection, void **ret) {
    /* With an old size of 0 a shared mapping is doubled and not moved. */
    void *at = mremap((void *)(uintptr_t)from, 0, bytes, MREMAP_MAYMOVE);
    if (at == MAP_FAILED)
        return -errno;
    if (mprotect(at, bytes, protection) < 0) {
        int error = -errno;
        munmap(at, bytes);
        return error;
    }
    madvise(at, bytes, MADV_DONTDUMP);
    *ret = at;
    return 0;
}
