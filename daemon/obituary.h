/* SPDX-License-Identifier: Apache-2.0
 *
 * How a worker ended: its record's last lines, and a message.  It is only for people, and known a
 * little later than the end itself, which nothing waits for.
 */
#ifndef SHM_DAEMON_OBITUARY_H
#define SHM_DAEMON_OBITUARY_H

#include "core/lease.h"

struct manager;

/* Writes an end (enum shm_end) into the worker's record, unless it has a new holder already. */
void obituary_note(struct manager *manager, uint32_t worker, const struct lease_record *lease,
                   uint32_t reason, uint32_t detail);

/* Finds out how the holder ended, then notes and says it.  *pidfd is taken over. */
void obituary_write(struct manager *manager, const struct lease_record *lease, uint32_t worker,
                    int *pidfd);

/* A pidfd of the holder of a lease that an earlier manager granted; -1: none to be had. */
int obituary_watch(const struct lease_record *lease);

/* Those that are not written yet never will be. */
void obituaries_clear(struct manager *manager);

#endif
