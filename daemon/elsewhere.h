/* SPDX-License-Identifier: Apache-2.0
 *
 * Leases in another directory than ours.  A manager that is started with another --runtime-dir
 * finds none there, and would give the names of workers who live to others: two writers.  So the
 * state directory has a link to where the leases are, and what is held there is asked.
 */
#ifndef SHM_DAEMON_ELSEWHERE_H
#define SHM_DAEMON_ELSEWHERE_H

#include <stddef.h>

struct manager;

/* Before the segment is looked for (with memfd, another directory means another segment).  -EBUSY:
 * somebody holds a lease there. */
int elsewhere_ask(struct manager *manager, char *error, size_t error_bytes);

/* With our own leases found.  Where nobody can be asked, as the directory from before isn't known
 * or is gone, a record that names a process which lives has to do.  -EBUSY; else the link is set.
 */
int elsewhere_settle(struct manager *manager, char *error, size_t error_bytes);

#endif
