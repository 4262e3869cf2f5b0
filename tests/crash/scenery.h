/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables, and the layouts that the planner makes of them.
 */
#ifndef SHM_TESTS_SCENERY_H
#define SHM_TESTS_SCENERY_H

#include "core/directory.h"
#include "core/image.h"
#include "core/layout.h"
#include "core/table.h"

#define SCENERY_BYTES    TABLE_SEGMENT_MIN
#define SCENERY_ROWS_MAX 64u

/* An empty table for a segment of SCENERY_BYTES, with room for SCENERY_ROWS_MAX rows. */
void scenery_table(struct table *ret);

/* A snapshot section of 4 buffers, and its owner's row if there is none yet. */
struct table_section *scenery_add(struct table *table, const char *name, const char *owner,
                                  uint64_t size);
void scenery_drop(struct table *table, size_t i);

/* One of the edits that people make, which a planner accepts. */
void scenery_edit(struct table *table);

/* The layout that follows `running`; its generation is one more, whatever changes.  False: nothing
 * does, and the directory whose turn it would be may be too small for it. */
bool scenery_plan(struct layout *ret, const struct layout *running, const struct table *table);

bool scenery_same(const struct layout *a, const struct layout *b);

/* What a reader of the segment at `base` finds must be one of these layouts, whole, as the
 * generation says: it is returned; NULL: it isn't, and `error` says why. */
const struct layout *scenery_read(const void *base, const struct layout *const *layouts, size_t n,
                                  char *error, size_t error_bytes);

/* The same for a reader that had looked at the header before. */
const struct layout *scenery_look(const struct directory *directory,
                                  const struct layout *const *layouts, size_t n, char *error,
                                  size_t error_bytes);

/* A manager comes: 0 when what it adopts is that layout, with nothing to mend.  Before the flip to
 * `next` (NULL: to none) two things stand in the segment once only, and may be that one's already:
 * the idle directory's place, and workers' names, of which one that is half written counts as
 * unused. */
int scenery_adopt(struct image *ret, void *base, const struct layout *layout,
                  const struct layout *next, char *error, size_t error_bytes);

#endif
