/* SPDX-License-Identifier: Apache-2.0
 *
 * sections.db: the section table that people write and the manager only reads (but for making an
 * empty one at the first start).  Nothing in it is trusted: foreign schema objects are refused, and
 * every row is checked again.
 */
#ifndef SHM_DAEMON_TABLE_DB_H
#define SHM_DAEMON_TABLE_DB_H

#include "core/table.h"

#define TABLE_DB_APPLICATION_ID 0x53484d74 /* "SHMt" */
#define TABLE_DB_SCHEMA         2          /* user_version; 1 is read, too */
#define TABLE_DB_SCHEMA_FORMER  1

struct table_db;

/* Makes an empty table with its schema at `path` (WAL, 0640); -EEXIST when there is one. */
int table_db_create(const char *path, char *error, size_t error_bytes);

/* Opens it read-only.  Errors are one line that names the file, what is wrong with it and the
 * remedy: -ENOENT, -EACCES, -ENOTDB (not SQLite: mapped to -EBADMSG), -EPROTONOSUPPORT (another
 * application's, or a newer schema), -EBUSY (locked). */
int table_db_open(struct table_db **ret, const char *path, char *error, size_t error_bytes);
void table_db_close(struct table_db *db);

/* Reads the whole table in one read transaction, and checks it (table_check()).  Foreign schema
 * objects are refused here, as they can come at any time. */
int table_db_load(struct table_db *db, struct table *ret, char *error, size_t error_bytes);

/* A number that changes when somebody commits a change (PRAGMA data_version); negative errno.  And
 * whether something was committed since, or another file is there, or that can't be told. */
int64_t table_db_version(struct table_db *db);
bool table_db_changed(struct table_db *db, int64_t since);

/* Is another file there than was opened, or can that not be told? */
bool table_db_replaced(const struct table_db *db);

/* Within a transaction on a table of version 1 whose rows were loaded: makes it one of this
 * version, with the same rows and ids.  What of it SQLite doesn't take stands in its last error:
 * its result. */
struct sqlite3;
int table_db_upgrade(struct sqlite3 *db);

/* The version of a table that is open. */
int table_db_schema_version(struct sqlite3 *db);

/* The commented example that `shmtool table example` prints, and the schema itself. */
extern const char table_db_schema[];
extern const char table_db_former[]; /* of version 1 */
extern const char table_db_example[];

#endif
