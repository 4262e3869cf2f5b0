/* SPDX-License-Identifier: Apache-2.0
 *
 * With segment.auto_apply an edit is applied once it is committed.  The table's directory is
 * watched; under WAL the event may come before the commit can be seen, so the table is looked at
 * again a moment behind the last one, and every second besides.  What was refused because somebody
 * is in the way is tried again when somebody has left.
 */
#ifndef SHM_DAEMON_EDITS_H
#define SHM_DAEMON_EDITS_H

#include "core/table.h"

#define EDITS_WHO "auto_apply" /* in the history */

struct manager;
struct edits;

/* Without the means to watch, the looks of each second are left. */
void edits_open(struct manager *manager);
void edits_close(struct manager *manager);

/* Applies the table if it isn't the one that was read last. */
void edits_look(struct manager *manager);

/* Somebody has left, or a section arrived. */
void edits_retry(struct manager *manager);

/* -EINVAL: a table that came in another file and has no sections takes nothing away by itself; the
 * verdict says so. */
int edits_check(struct manager *manager, const char *who, const struct table *table);

#endif
