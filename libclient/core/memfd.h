/* SPDX-License-Identifier: Apache-2.0
 *
 * The memfd backend's memory: sealed anonymous files, which are passed as descriptors.
 */
#ifndef SHM_CORE_MEMFD_H
#define SHM_CORE_MEMFD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Makes one of so many bytes, which nobody can ever shrink or grow, and which nobody but its
 * owner's uid can open anew. */
int memfd_make(const char *name, uint64_t bytes, int *ret);

/* Another description of it.  One to read can't be made writable by another uid. */
int memfd_reopen(int fd, bool writable, int *ret);

/* Is a descriptor that came from elsewhere a memfd of exactly so many bytes that can't be truncated
 * under us?  -EBADMSG, or an error that says nothing about it.  *owner may be NULL. */
int memfd_check(int fd, uint64_t bytes, uid_t *owner);

/* Maps it whole, at `at` in place of what is there, or with NULL anywhere. */
int memfd_map(int fd, uint64_t bytes, bool writable, void *at, void **ret);

/* Gives its memory back to the system, also what others have mapped; it reads as zeros then. */
int memfd_punch(int fd, uint64_t offset, uint64_t bytes);

#endif
