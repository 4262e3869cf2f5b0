/* SPDX-License-Identifier: Apache-2.0
 *
 * The sysv backend's memory: System V segments, found by key.
 */
#ifndef SHM_CORE_SYSV_H
#define SHM_CORE_SYSV_H

#include <shm-manager/layout.h>
#include <stdbool.h>
#include <sys/shm.h>

/* The id of the segment under a key; -ENOENT, -EACCES. */
int sysv_find(uint32_t key, int *id);

/* Its IPC_STAT; -EIDRM: removed, -EACCES. */
int sysv_stat(int id, struct shmid_ds *ret);

/* Who made the object of that kind under a key?  The kernel lists them for everybody, also those of
 * which IPC_STAT may not be asked.  -ENOENT: none, or there is no list (no /proc). */
enum sysv_kind { SYSV_SEGMENT, SYSV_SEMAPHORE };
int sysv_creator(enum sysv_kind kind, uint32_t key, int *id, uid_t *ret);

/* Makes one of `bytes` (a multiple of SHM_PAGE), without reserving swap for what is never touched:
 * -EEXIST, -ENOSPC (shmmni), -EINVAL (shmmax), -ENOMEM (shmall).  key 0 = IPC_PRIVATE. */
int sysv_create(uint32_t key, uint64_t bytes, uint32_t mode, int *id);

/* Attaches it whole.  -EACCES, -EIDRM, -ENOMEM. */
int sysv_attach(int id, bool writable, void **base);
void sysv_detach(void *base);

/* Removes it (it lives on for who is attached). */
int sysv_remove(int id);

/* Is the segment marked for removal (somebody's ipcrm)? */
bool sysv_removed(const struct shmid_ds *stat);

/* Maps [offset, offset + bytes) of an attached segment writable or not, and sets what a fork and a
 * core dump get of it: the own arena is dumped and not forked, all else is not dumped. */
int sysv_protect(void *base, uint64_t offset, uint64_t bytes, bool own);

#endif
