/* SPDX-License-Identifier: Apache-2.0
 *
 * A small segment in private memory, with three sections, to be damaged.
 */
#ifndef SHM_TESTS_FUZZ_SEGMENT_H
#define SHM_TESTS_FUZZ_SEGMENT_H

#include "core/image.h"
#include "core/plan.h"
#include "fuzz.h"

#define SEGMENT_BYTES (UINT64_C(1) << 20)

extern struct victim segment_victim;
extern struct directory segment_clean; /* opened before any damage */
extern struct layout segment_layout;

/* Its table: sections temps and alerts of worker driver, camera of grabber. */
void segment_table(struct table *ret);

/* Once; worker `driver` (record 0) is leased, by attachment 1, both with epoch 7. */
void segment_make(void);

#endif
