/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of sections.db share: the file (table_db.c), and its rows (table_rows.c).
 */
#ifndef SHM_DAEMON_TABLE_PARTS_H
#define SHM_DAEMON_TABLE_PARTS_H

#include "table_db.h"

#include <limits.h>
#include <sqlite3.h>
#include <sys/stat.h>

struct table_db {
    sqlite3 *sql;
    sqlite3_stmt *version;
    struct stat seen; /* the file that was opened */
    struct table_log {
        ino_t wal, shm; /* 0: there is none */
    } log;
    bool immutable; /* read without locks, as its directory can't be written */
    char path[PATH_MAX];
};

/* SQLite cites a damaged schema, and others' texts, with their line ends. */
void table_one_line(char *text);

/* Says SQLite's last error with its remedy; the negative errno. */
int table_sql_error(const struct table_db *db, char *error, size_t error_bytes);

/* Within a transaction, with the schema found to be ours: reads all rows, each column's type and
 * range checked.  Whether they make sense is table_check()'s to say. */
int table_rows(const struct table_db *db, struct table *ret, char *error, size_t error_bytes);

/* Within a transaction: table_rows(), and all that table_db_load() checks.  What was read is the
 * caller's to clear, also where it fails. */
int table_within(const struct table_db *db, struct table *ret, char *error, size_t error_bytes);

#endif
