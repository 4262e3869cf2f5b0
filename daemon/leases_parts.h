/* SPDX-License-Identifier: Apache-2.0
 *
 * What the two files of leases share: leases.c for those that this manager grants, leases_found.c
 * for those that it finds.
 */
#ifndef SHM_DAEMON_LEASES_PARTS_H
#define SHM_DAEMON_LEASES_PARTS_H

#include "leases.h"

/* What is known of a holder, in both records; the states last. */
void leases_write_records(struct manager *manager, const struct lease *lease);

/* Whatever named the attachment under this epoch is free.  FREE; or REVOKED, while the lock of who
 * had it is still there. */
void leases_end_attachment(struct manager *manager, uint32_t index, uint64_t epoch,
                           enum shm_lease_state state);

/* The next look at the lease: for its acknowledgement, then at its lock. */
void leases_set_timer(struct manager *manager, struct lease *lease, uint64_t usec);

int leases_on_inotify(sd_event_source *source, const struct inotify_event *event, void *userdata);

#endif
