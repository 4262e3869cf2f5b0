/* SPDX-License-Identifier: Apache-2.0
 *
 * sections.d: files of SQL that packages and administrators lay down, applied to the table at each
 * start.
 */
#ifndef SHM_DAEMON_TABLE_INCLUDE_H
#define SHM_DAEMON_TABLE_INCLUDE_H

#include <stddef.h>

enum table_included { TABLE_INCLUDED_SAME, TABLE_INCLUDED_CHANGED, TABLE_INCLUDED_FAILED };

/* Is told of each file, in their order; `error` of one that failed. */
typedef void table_include_told(void *context, const char *file, enum table_included outcome,
                                const char *error);

/* Applies the files NAME.sql of these directories to the table at `path`, in the order of their
 * names; one hides those of the same name in the directories before its own, also when it is empty
 * or /dev/null.  A directory that isn't there has none.  Each is a transaction of its own, which
 * leaves the database as it was when it fails, when the table would be refused with it, or when it
 * changes nothing.  Returns how many failed, or a negative errno and why none, or no more of them,
 * could be applied. */
int table_include(const char *path, const char *const *dirs, size_t dirs_n,
                  table_include_told *told, void *context, char *error, size_t error_bytes);

#endif
