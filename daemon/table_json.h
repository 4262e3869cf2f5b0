/* SPDX-License-Identifier: Apache-2.0
 *
 * The section table and its rows as JSON, and back.
 */
#ifndef SHM_DAEMON_TABLE_JSON_H
#define SHM_DAEMON_TABLE_JSON_H

#include "core/table.h"

#include <jansson.h>

/* {"segment": {...}, "workers": [...], "sections": [...], "made": [...]}: the last has the sections
 * that workers made at run time. */
json_t *table_json(const struct table *table);

/* Back, but for what workers made, checked by table_check(): 0, -EBADMSG, -ENOMEM. */
int table_json_read(struct table *ret, const json_t *json);

/* Do they say the same?  But for the ids: a row that was deleted and inserted again says no more
 * than before. */
bool table_json_same(const struct table *a, const struct table *b);

/* A row each; a section's id is kept beside it. */
json_t *table_json_segment(const struct table *table);
json_t *table_json_worker(const struct table_worker *worker);
json_t *table_json_section(const struct table_section *section);

/* Adds a row to a table: 0, -EBADMSG, -ENOMEM. */
int table_json_take_segment(struct table *table, const json_t *json);
int table_json_take_worker(struct table *table, const json_t *json);
int table_json_take_section(struct table *table, uint64_t id, const json_t *json);

#endif
