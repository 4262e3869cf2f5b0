/* SPDX-License-Identifier: Apache-2.0
 *
 * System V segments: thin, but for what the plain calls get wrong.
 */
#include "sysv.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#ifndef SHM_NORESERVE
#define SHM_NORESERVE 010000
#endif
#ifndef SHM_DEST
#define SHM_DEST 01000
#endif

int sysv_find(uint32_t key, int *id) {
    int found = shmget((key_t)key, 0, 0); /* permissions are a request; 0 asks for none */
    if (found < 0)
        return -errno;
    *id = found;
    return 0;
}

int sysv_stat(int id, struct shmid_ds *ret) {
    if (shmctl(id, IPC_STAT, ret) == 0)
        return 0;
    return errno == EINVAL ? -EIDRM : -errno; /* EINVAL: the id is gone */
}

int sysv_creator(enum sysv_kind kind, uint32_t key, int *id, uid_t *ret) {
    bool segment = kind == SYSV_SEGMENT;
    FILE *list = fopen(segment ? "/proc/sysvipc/shm" : "/proc/sysvipc/sem", "re");
    char line[512];
    int r = -ENOENT;
    while (list != NULL && r < 0 && fgets(line, sizeof line, list) != NULL) {
        int found, number;
        uid_t creator;
        /* key, id, perms, size, cpid, lpid, nattch or key, id, perms, nsems; uid, gid, cuid */
        int n = sscanf(
            line, segment ? "%d %d %*o %*u %*u %*u %*u %*u %*u %u" : "%d %d %*o %*u %*u %*u %u",
            &found, &number, &creator);
        if (n != 3 || (uint32_t)found != key)
            continue;
        *id = number;
        *ret = creator;
        r = 0;
    }
    if (list != NULL)
        fclose(list);
    return r;
}

int sysv_create(uint32_t key, uint64_t bytes, uint32_t mode, int *id) {
    /* Without SHM_NORESERVE a sparse segment is charged in full. */
    int made = shmget((key_t)key, bytes, (int)mode | IPC_CREAT | IPC_EXCL | SHM_NORESERVE);
    if (made < 0)
        return -errno;
    *id = made;
    return 0;
}

int sysv_attach(int id, bool writable, void **base) {
    void *at = shmat(id, NULL, writable ? 0 : SHM_RDONLY);
    if (at == (void *)-1)
        return errno == EINVAL ? -EIDRM : -errno;
    *base = at;
    return 0;
}

void sysv_detach(void *base) {
    if (base != NULL)
        shmdt(base);
}

int sysv_remove(int id) {
    return shmctl(id, IPC_RMID, NULL) == 0 ? 0 : -errno;
}

bool sysv_removed(const struct shmid_ds *stat) {
    return (stat->shm_perm.mode & SHM_DEST) != 0;
}

int sysv_protect(void *base, uint64_t offset, uint64_t bytes, bool own) {
    void *at = (uint8_t *)base + offset;
    if (mprotect(at, bytes, own ? PROT_READ | PROT_WRITE : PROT_READ) < 0)
        return -errno;
    if (madvise(at, bytes, own ? MADV_DODUMP : MADV_DONTDUMP) < 0 ||
        madvise(at, bytes, own ? MADV_DONTFORK : MADV_DOFORK) < 0)
        return -errno;
    return 0;
}
