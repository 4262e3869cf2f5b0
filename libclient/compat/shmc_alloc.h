/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared memory of a process and the children that it forks, for servers that bring such a call of
 * their own: `addr`, `size`, `name` and `exists` are as in nginx's ngx_shm_t, and the two calls
 * replace the three implementations that its ngx_shmem.c chooses from.
 *
 *     struct shmc_memory zone = {.size = 10 << 20, .name = "one"};
 *     if (shmc_alloc(&zone) < 0)
 *         ...
 *     ... fork(), use zone.addr in all of them ...
 *     shmc_free(&zone);
 *
 * One plain block, without sections, leases or versions: for these see shmc_private_create(3). Both
 * calls are thread-safe, and allocate nothing but the block.  Link with -lshmcompat.
 */
#ifndef SHMC_ALLOC_H
#define SHMC_ALLOC_H

#include <shmclient.h>

#ifdef __cplusplus
extern "C" {
#endif
#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

/* What `addr` is while there is no memory: MAP_FAILED, and nginx's NGX_INVALID_SHM. */
#define SHMC_ALLOC_FAILED ((void *)-1)

struct shmc_memory {
    void *addr;
    size_t size;
    const char *name;            /* the caller's; it isn't looked at */
    unsigned exists;             /* 0: the memory is new, as it always is */
    enum shmc_strategy strategy; /* wanted */
    enum shmc_strategy made;     /* had: one of them, AUTO never */
};

/* Makes memory->size bytes at memory->addr: page-aligned, zero-filled, readable and writable, at
 * the same address in the children that are forked from now on.  AUTO is nginx's order: anonymous,
 * else /dev/zero, else IPC_PRIVATE.  The memory goes with the last process that has it.
 *   -EINVAL  size is 0, or that is no strategy
 *   -ENOMEM  that many bytes can't be had
 *   and what open(2), mmap(2) and shmget(2) give.  addr is SHMC_ALLOC_FAILED then. */
int shmc_alloc(struct shmc_memory *memory);

/* Gives it back in this process; others keep it.  addr is SHMC_ALLOC_FAILED afterwards; where it is
 * that, or NULL, before, nothing is done.  `size` must be what it was. */
void shmc_free(struct shmc_memory *memory);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif

#endif
