/* SPDX-License-Identifier: Apache-2.0
 *
 * What applying at start (apply_start.c) and while it runs (apply.c) share.
 */
#ifndef SHM_DAEMON_APPLY_PARTS_H
#define SHM_DAEMON_APPLY_PARTS_H

#include "manager.h"

/* A table and what has to be looked up for it. */
struct wanted {
    struct table table;
    uid_t *uids; /* by worker; (uid_t)-1 = any */
    gid_t group;
    bool group_missing;
};

void wanted_clear(struct wanted *wanted);

/* Reads the file; the verdict says why it can't be, or why it isn't right by itself. */
int apply_read(struct manager *manager, struct table *ret);

/* From there to the segment; what was wanted is the manager's table then.  Errors are in the
 * verdict. */
int apply_wanted(struct manager *manager, const char *who, bool force, struct wanted *wanted,
                 struct plan *plan);

/* Tells history and journal why the table isn't in force (the verdict), and whether it waits. */
void apply_refuse(struct manager *manager, const char *who, int result);

#endif
