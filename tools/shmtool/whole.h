/* SPDX-License-Identifier: Apache-2.0
 *
 * The section table as a whole, for the verbs that print, compare and replace it.
 */
#ifndef SHM_TOOLS_WHOLE_H
#define SHM_TOOLS_WHOLE_H

#include "core/table.h"
#include "tool.h"

/* ---- table_text.c */

/* As SQL that fills an empty table: a row a line, sorted by name, columns only where they are not
 * as by default; the same table gives the same text. */
void table_dump(FILE *to, const struct table *table);

/* The same in memory, which the caller frees; NULL: no memory. */
char *table_dump_text(const struct table *table);

/* Prints what `to` has otherwise than `from`, as lines with - and +; how many rows differ. */
size_t table_compare(const struct table *from, const struct table *to, bool print);

/* The same as JSON: [{"row": "section", "name": "cam", "from": "INSERT...", "to": null}]. */
json_t *table_compare_json(const struct table *from, const struct table *to);

/* ---- table_whole.c: TOOL_OK, or an exit code with the reason said */

/* What the database at `path` says, checked. */
int table_read(const struct tool *tool, const char *path, struct table *ret);

/* What runs: the manager's, or without one the last good table of its state.db. */
int table_running(const struct tool *tool, struct table *ret);

/* What ran then: `when` is a generation, or "edit:N" (state_db.h).  *about, unless NULL, is all
 * that is known of it. */
int table_then(const struct tool *tool, const char *when, struct table *ret, json_t **about);

/* What the database says, in silence: a negative errno, and why. */
int table_look(const char *path, struct table *ret, char *error, size_t error_bytes);

/* How many rows differ; with `ids` also those that say the same and are another section. */
size_t table_distance(const struct table *from, const struct table *to, bool ids);

/* What a text of INSERTs makes of an empty table; `name` is for messages. */
int table_from_text(const struct tool *tool, const char *name, const char *text, struct table *ret);

/* Puts `table` in place of all rows, in one transaction.  Sections keep the ids of their names, so
 * that data stays with the name, or with `ids` get those of `table`.  With `expected` (a dump),
 * only when it still says so. */
int table_replace(const struct tool *tool, const char *path, const struct table *table, bool ids,
                  const char *expected);

/* What is said when the table was replaced, and with `reload` (a request) asked of the manager. */
int table_replaced(const struct tool *tool, const char *path, const struct table *table,
                   size_t differences, const char *reload);

/* ---- table_diff.c */

/* Prints what the manager would answer to "plan"; nothing where nothing runs.  TOOL_NO: it would
 * refuse it, and that was said. */
int table_show_plan(const struct tool *tool, struct table *wanted);

/* Asks on the terminal. */
bool answered_yes(const char *question);

/* A whole file, or stdin for "-"; ends with a zero byte. */
int read_text(const struct tool *tool, const char *path, char **ret);

#endif
