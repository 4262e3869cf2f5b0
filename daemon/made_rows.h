/* SPDX-License-Identifier: Apache-2.0
 *
 * Sections that workers make at run time, as rows: what people's table (sections.db) doesn't have,
 * and what runs beside it.  Their ids begin at SHM_SECTION_ID_MADE, so that in a table, which is
 * sorted by id, they stand behind all others.
 */
#ifndef SHM_DAEMON_MADE_ROWS_H
#define SHM_DAEMON_MADE_ROWS_H

#include "core/layout.h"
#include "core/table.h"

static inline bool made_is(uint64_t section_id) {
    return section_id >= SHM_SECTION_ID_MADE;
}

/* Where in a table they begin; sections_n: it has none. */
size_t made_first(const struct table *table);

/* A table as people wrote it: without them. */
void made_strip(struct table *table);

/* The same, with these in their stead, sorted by id.  -EINVAL and why: a section of the table has
 * the name of one, or the table has no such worker any more; -ENOMEM. */
int made_merge(struct table *table, const struct table_section *rows, size_t n, char *error,
               size_t error_bytes);

/* Those that a layout has, as far as it tells: a read_group by its number.  The caller frees them.
 * -ENOMEM. */
int made_of_layout(const struct layout *layout, struct table_section **rows, size_t *n);

/* The table with those of a layout, which stay beside it; errors of both. */
int made_keep(struct table *table, const struct layout *layout, char *error, size_t error_bytes);

/* One more row, which has the highest id of all; -ENOMEM. */
int made_append(struct table *table, const struct table_section *row);

/* Without the one at `index`. */
void made_remove(struct table *table, size_t index);

/* Is that a section that can be made?  -EINVAL and why not, as who asks for it sees it. */
int made_check(const struct table *table, const struct table_section *row, char *error,
               size_t error_bytes);

/* Was the same asked for, but for the id? */
bool made_same(const struct table_section *a, const struct table_section *b);

/* What a section counts of its worker's may_create: its bytes in the segment, in whole pages.
 * UINT64_MAX when there is no such section. */
uint64_t made_charge(const struct table_section *row);

/* What those of a worker count, of all its instances together. */
uint64_t made_used(const struct table *table, const struct table_worker *worker);

/* May the worker make this one beside what it has made?  -EACCES: none at all; -EDQUOT. */
int made_allow(const struct table *table, const struct table_worker *worker,
               const struct table_section *row, char *error, size_t error_bytes);

#endif
