/* SPDX-License-Identifier: Apache-2.0
 *
 * What the two files of the backend share: backend_sysv.c has the segment under the key, staging.c
 * its successor on the way there.
 */
#ifndef SHM_DAEMON_BACKEND_SYSV_H
#define SHM_DAEMON_BACKEND_SYSV_H

#include "backend.h"
#include "core/sysv.h"

/* Maps it for the attempt's segment. */
int backend_sysv_attach(const struct attempt *attempt, int id);

/* Why none could be made. */
const char *backend_sysv_remedy(int result);

/* It is another user's; `stat` may be NULL.  -EPERM. */
int backend_sysv_refuse(const struct attempt *attempt, int id, const struct shmid_ds *stat);

int backend_sysv_permit(int id, uint32_t mode, gid_t group);

/* With its bells. */
int backend_sysv_remove(struct segment *segment);

/* ---- staging.c */

int staging_make(const struct attempt *attempt);
struct state_number staging_decided(const struct segment *successor);
int staging_succeed(const struct attempt *attempt, struct segment *before);
void staging_abandon(struct segment *successor, struct state_db *state);

/* At start, when that was decided and not done: does it, and maps what is served then.  -ENOENT:
 * there is nothing to finish. */
int staging_finish(const struct attempt *attempt);

/* What is left of one that was never decided, or is done with; `served`, which may be NULL, is the
 * segment that is. */
void staging_clear(struct state_db *state, const void *served);

#endif
