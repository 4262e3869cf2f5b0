/* SPDX-License-Identifier: Apache-2.0
 *
 * Plain inherited memory: that of a private segment, without the segment.
 */
#include "shmc_alloc.h"

#include "core/inherited.h"
#include "core/layout.h"

#include <errno.h>
#include <sys/mman.h>

_Static_assert((int)SHMC_STRATEGY_AUTO == INHERITED_AUTO &&
                   (int)SHMC_STRATEGY_ANON == INHERITED_ANON &&
                   (int)SHMC_STRATEGY_DEVZERO == INHERITED_DEVZERO &&
                   (int)SHMC_STRATEGY_SYSV_PRIVATE == INHERITED_SYSV,
               "shmclient.h and core/inherited.h differ");

static int make(enum inherited_strategy *strategy, uint64_t bytes, void **ret) {
    void *at;
    int r = inherited_choose(strategy, bytes, &at);
    if (r < 0)
        return r;
    if (mprotect(at, bytes, PROT_READ | PROT_WRITE) < 0) {
        r = -errno;
        munmap(at, bytes);
        return r;
    }
    /* Unlike a segment's it is all used, and a server's own: a core dump has it. */
    madvise(at, bytes, MADV_DODUMP);
    *ret = at;
    return 0;
}

int shmc_alloc(struct shmc_memory *memory) {
    enum inherited_strategy strategy = (enum inherited_strategy)memory->strategy;
    memory->addr = SHMC_ALLOC_FAILED;
    memory->exists = 0;
    if (memory->size == 0 || (unsigned)strategy > INHERITED_SYSV)
        return -EINVAL;
    if (memory->size > PTRDIFF_MAX - SHM_PAGE)
        return -ENOMEM;
    int r = make(&strategy, layout_round(memory->size, SHM_PAGE), &memory->addr);
    if (r == 0)
        memory->made = (enum shmc_strategy)strategy;
    return r;
}

/* That of System V as well: a mapping is a mapping, and shmdt() would look for its beginning. */
void shmc_free(struct shmc_memory *memory) {
    if (memory->addr != NULL && memory->addr != SHMC_ALLOC_FAILED)
        munmap(memory->addr, layout_round(memory->size, SHM_PAGE));
    memory->addr = SHMC_ALLOC_FAILED;
}
