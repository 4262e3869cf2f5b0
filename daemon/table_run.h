/* SPDX-License-Identifier: Apache-2.0
 *
 * A text of SQL that may come from anywhere, run against a table: rows are all that it can read
 * and change.
 */
#ifndef SHM_DAEMON_TABLE_RUN_H
#define SHM_DAEMON_TABLE_RUN_H

#include <sqlite3.h>
#include <stdio.h>

#define TABLE_RUN_MAX (64u << 20)

/* All of a file, as a text that the caller frees; `name` is for messages.  -EFBIG: larger than
 * TABLE_RUN_MAX; -EILSEQ: no text, or the negative errno of reading. */
int table_run_read(FILE *from, const char *name, char **ret, char *error, size_t error_bytes);

/* Runs its statements, within the transaction that the caller has begun and ends.  0, -EEXIST when
 * a row is there already, or -EINVAL; the error names the line where the statement begins. */
int table_run(sqlite3 *db, const char *name, const char *text, char *error, size_t error_bytes);

#endif
