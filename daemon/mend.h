/* SPDX-License-Identifier: Apache-2.0
 *
 * Heads of sections that somebody wrote over.  Who holds a section mends its head with the next
 * publish; where nobody does, no publish comes, and who takes the section over would find nonsense
 * to go on from.
 */
#ifndef SHM_DAEMON_MEND_H
#define SHM_DAEMON_MEND_H

#include <stdint.h>

struct manager;

/* One look at the sections of a worker, before somebody becomes that, or of SHM_NONE: at all. Those
 * that somebody may be writing are left alone. */
void mend_heads(struct manager *manager, uint32_t worker);

#endif
