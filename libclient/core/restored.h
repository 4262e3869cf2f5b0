/* SPDX-License-Identifier: Apache-2.0
 *
 * A value from before: how the manager puts it into a section that it makes anew, and how old it
 * is. It is the first version of a new incarnation; its times are those of when it was published.
 */
#ifndef SHM_CORE_RESTORED_H
#define SHM_CORE_RESTORED_H

#include "snapshot.h"

/* Where the bytes of a first value go, in zeroed memory that nobody else uses yet. */
void *restored_room(const struct snapshot *snapshot);

/* They are there: from here on they are version 1.  mono_ns is SHM_MONO_EARLIER_BOOT when
 * CLOCK_MONOTONIC began anew since. */
void restored_publish(const struct snapshot *snapshot, uint64_t bytes, uint64_t mono_ns,
                      uint64_t real_ns);

/* Any value's age; UINT64_MAX: it carries no time.  One from an earlier boot is as old as the real
 * clock says, which is set right some time after a boot: it is asked each time. */
uint64_t snapshot_age(const struct snapshot_value *value);

#endif
