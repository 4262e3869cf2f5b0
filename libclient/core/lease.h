/* SPDX-License-Identifier: Apache-2.0
 *
 * The lease: a fresh file for each grant, in a directory that only the manager can enter.  The
 * grantee gets a read-only description of it that carries an OFD read lock, maps it without access
 * and closes it: the lock then lives exactly as long as its address space.  The manager keeps a
 * description of its own, and asks by F_OFD_GETLK.
 *
 * Why not simpler: a lease that its holder could write would let it fill /run, and lock it again
 * after it was revoked; one file for each worker would be shared by threads and freed by a parent's
 * unlock; and the epoch in the name survives a restart of the manager.
 */
#ifndef SHM_CORE_LEASE_H
#define SHM_CORE_LEASE_H

#include <shm-manager/layout.h>
#include <stdbool.h>
#include <sys/types.h>

/* What a lease's file holds; written before it is granted, and read by the next manager. */
struct lease_record {
    uint32_t magic; /* LEASE_MAGIC */
    uint32_t attachment;
    uint64_t attachment_epoch;
    uint64_t worker_epoch;
    char worker[SHM_NAME_BYTES]; /* "": an attachment without a name */
    uint32_t pid;
    uint32_t uid;
    uint64_t pid_start;
    uint64_t since_real_ns;
    uint64_t segment_id; /* a lease of a segment that is gone counts for nothing */
    uint32_t reserved;
    uint32_t crc;
};
#define LEASE_MAGIC 0x5341454cu /* "LEAS" */

/* ---- the manager */

/* Makes the file ATTACHMENT.EPOCH (-EEXIST when there is one), and two descriptions: *keep to
 * probe, *grant (read-only, locked) to hand over.  record->magic and crc are filled in. */
int lease_create(int dir_fd, const struct lease_record *record, int *keep, int *grant);

/* 1: held; 0: free; or a negative errno.  `keep` is a description that carries no lock. */
int lease_held(int keep);

/* Opens an existing one to probe it, and reads its record; -EBADMSG: it holds nonsense; any other
 * error says nothing about it. */
int lease_open(int dir_fd, const char *file, struct lease_record *ret, int *keep);

/* "12.7" -> 12, 7; false when it isn't the name of a lease. */
bool lease_parse(const char *file, uint32_t *attachment, uint64_t *epoch);

int lease_remove(int dir_fd, uint32_t attachment, uint64_t epoch);

/* Does a mapping alone hold a lock on the file system that `dir_fd` is on?  0, or -EOPNOTSUPP where
 * it doesn't: overlayfs maps another file than the one that was locked. */
int lease_probe(int dir_fd);

/* ---- the grantee */

#define LEASE_MAP_BYTES SHM_PAGE

/* Maps the granted descriptor and closes it (also on failures).  The mapping is not inherited over
 * fork. */
int lease_map(int fd, void **ret);
void lease_unmap(void *map);

#endif
