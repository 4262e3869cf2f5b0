/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory of a process and the children that it forks: it has no key, file or descriptor, and is
 * zero-filled and sparse.  Other mappings of it are made from the first.
 */
#ifndef SHM_CORE_INHERITED_H
#define SHM_CORE_INHERITED_H

#include <stdint.h>

/* In nginx's own order. */
enum inherited_strategy {
    INHERITED_AUTO = 0,    /* the first of these by which it can be had */
    INHERITED_ANON = 1,    /* mmap(), MAP_SHARED | MAP_ANONYMOUS */
    INHERITED_DEVZERO = 2, /* mmap() of /dev/zero */
    INHERITED_SYSV = 3,    /* shmget(IPC_PRIVATE), which is removed as soon as it is attached, or
                              couldn't be */
};

/* Makes `bytes` (whole pages), mapped without access, by one strategy. */
int inherited_make(enum inherited_strategy strategy, uint64_t bytes, void **ret);

/* The same, AUTO too: `*strategy` is then what it was made by, or what failed last. */
int inherited_choose(enum inherited_strategy *strategy, uint64_t bytes, void **ret);

/* Maps a part of it (whole pages) once more, with the access `protection`. */
int inherited_map(const void *from, uint64_t bytes, int protection, void **ret);

/* "anon", "devzero", "sysv-private"; NULL: it isn't one. */
const char *inherited_name(enum inherited_strategy strategy);

#endif
