/* SPDX-License-Identifier: Apache-2.0
 *
 * The accounts and groups that a table names, as the kernel knows them.
 */
#ifndef SHM_DAEMON_RESOLVE_H
#define SHM_DAEMON_RESOLVE_H

#include "core/table.h"

/* Who may be that worker; (uid_t)-1: anybody.  -EINVAL: there is no such account. */
int resolve_user(const struct table_worker *worker, uid_t *uid, char *error, size_t error_bytes);

/* A segment whose group doesn't exist (a manager that somebody runs by hand) is for the manager's
 * own group. */
gid_t resolve_group(const char *name, bool *missing);

/* Looks up the groups of read_group and write_group: -EINVAL, a group that isn't there. */
int resolve_groups(struct table *table, char *error, size_t error_bytes);

#endif
