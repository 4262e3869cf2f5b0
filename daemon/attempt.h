/* SPDX-License-Identifier: Apache-2.0
 *
 * An edit that killed the manager is not tried again: while a table is applied, a file in the
 * runtime directory, which a reboot empties, says which.  The next manager that finds it runs the
 * last good table, until the file is edited or somebody asks for it (shmtool reload).  As a kill at
 * start may be anybody's, a table that was applied at start is tried three times.
 */
#ifndef SHM_DAEMON_ATTEMPT_H
#define SHM_DAEMON_ATTEMPT_H

struct manager;
struct table;

enum attempt { ATTEMPT_START, ATTEMPT_RUNNING };

/* Around planning and publishing it. */
void attempt_begin(struct manager *manager, enum attempt attempt, const struct table *table);
void attempt_end(struct manager *manager);

/* At start: -EINVAL when this table isn't to be tried again; the verdict says so. */
int attempt_check(struct manager *manager, const struct table *table);

#endif
