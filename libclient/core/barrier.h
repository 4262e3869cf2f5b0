/* SPDX-License-Identifier: Apache-2.0
 *
 * A full barrier for two, paid for by one of them.  A publish must order its store of the head
 * before its look at the doorbell, and a sleeper the other way round.  Publishing is done all the
 * time and going to sleep hardly ever, so the sleeper asks the kernel to run a barrier on every
 * processor on which a registered process runs, membarrier(2), and the writer needs none.
 */
#ifndef SHM_CORE_BARRIER_H
#define SHM_CORE_BARRIER_H

#include <stdbool.h>

/* The writer's side, once in each process: barrier_everywhere() of others reaches it from now on.
 * False where the kernel lacks or forbids the call: the writer then needs barriers of its own. */
bool barrier_register(void);

/* The sleeper's: a full barrier here and in all registered processes.  False where it can't be had:
 * it was none, and nobody can be relied on to see what was stored before. */
bool barrier_everywhere(void);

#endif
