/* SPDX-License-Identifier: Apache-2.0
 *
 * Leases where no manager gives them: who attaches takes his own, and writes his own records.
 *
 * One file without a name is inherited over fork.  Each attach opens it anew, locks a byte of it
 * for its attachment (and one for its worker) on that description, maps it without access and
 * closes it: so the locks last exactly as long as the address space, as a manager's leases do.  Who
 * has the byte is the only one who writes the record; but its word may be counted on, from LEASED
 * to the next epoch's FREE, by anybody who finds the byte unlocked.  That is a compare-and-swap,
 * and epochs only rise, so that it doesn't matter who comes late.
 */
#ifndef SHM_CORE_TENANCY_H
#define SHM_CORE_TENANCY_H

#include <shm-manager/layout.h>
#include <stdbool.h>
#include <sys/types.h>

struct tenancy {
    int fd; /* the file's, as inherited; it carries no lock itself */
    dev_t device;
    ino_t inode;                /* which file it is, as its number may be another's by now */
    struct shm_worker *workers; /* the header's records, writable */
    uint32_t workers_n;
    struct shm_attachment *attachments; /* index 0 is nobody */
    uint32_t attachments_n;
};

struct tenant {
    uint32_t worker; /* SHM_NONE: nobody's name */
    uint32_t attachment;
    uint64_t worker_epoch;
    uint64_t attachment_epoch;
    void *map; /* the locks; NULL: none */
};

/* Makes the file and tries out that a mapping alone holds a lock on it: fills in fd, device and
 * inode.  -EOPNOTSUPP: the file systems that there are don't do that; -ENOENT: there is no /proc.
 */
int tenancy_make(struct tenancy *ret);

/* Is the descriptor still that file's? */
bool tenancy_is_there(const struct tenancy *tenancy);

/* Takes an attachment, and with `worker` that name.  -EBUSY: it is held, and its
 * record says by whom; -EUSERS: all attachments are; -EBADF: the file's descriptor was closed. */
int tenancy_take(const struct tenancy *tenancy, uint32_t worker, struct tenant *ret);

/* Gives both up. */
void tenancy_release(const struct tenancy *tenancy, struct tenant *tenant);

/* Has the holder gone?  Then his word is counted on, by us or by another: true.  False: he lives,
 * nobody holds it, or it can't be said (the descriptor was closed). */
bool tenancy_worker_ended(const struct tenancy *tenancy, uint32_t worker);
bool tenancy_attachment_ended(const struct tenancy *tenancy, uint32_t attachment);

#endif
