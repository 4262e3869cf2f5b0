/* SPDX-License-Identifier: Apache-2.0
 *
 * From the former schema of sections.db to the one of today.  A table's text in SQLite is what it
 * was made with, and ours is compared to the letter: so the tables are made anew, and the rows put
 * back.
 */
#include "table_db.h"

#include <sqlite3.h>

/* The sequence of ids outlives the rows, so that a new name never gets an old one's id. */
static const char set_aside[] =
    "CREATE TEMP TABLE former_segment AS SELECT * FROM main.segment;"
    "CREATE TEMP TABLE former_worker AS SELECT * FROM main.worker;"
    "CREATE TEMP TABLE former_section AS SELECT * FROM main.section;"
    "CREATE TEMP TABLE former_ids AS SELECT seq FROM main.sqlite_sequence WHERE name = 'section';"
    "DROP TABLE main.section; DROP TABLE main.worker; DROP TABLE main.segment;";

static const char put_back[] =
    "DELETE FROM main.segment; INSERT INTO main.segment SELECT * FROM temp.former_segment;"
    "INSERT INTO main.worker SELECT * FROM temp.former_worker;"
    "INSERT INTO main.section(id, name, owner, kind, size, count, \"offset\", read_group, "
    "  write_group, shared, persist, stale_ms, format, stamp, notify) "
    "SELECT id, name, owner, kind, size, count, \"offset\", read_group, write_group, shared, "
    "  persist, stale_ms, format, stamp, notify FROM temp.former_section;"
    "DELETE FROM main.sqlite_sequence WHERE name = 'section';"
    "INSERT INTO main.sqlite_sequence SELECT 'section', seq FROM temp.former_ids;"
    "DROP TABLE temp.former_segment; DROP TABLE temp.former_worker;"
    "DROP TABLE temp.former_section; DROP TABLE temp.former_ids;";

int table_db_schema_version(sqlite3 *db) {
    sqlite3_stmt *s = NULL;
    int version = -1;
    if (sqlite3_prepare_v2(db, "PRAGMA main.user_version", -1, &s, NULL) == SQLITE_OK &&
        sqlite3_step(s) == SQLITE_ROW)
        version = sqlite3_column_int(s, 0);
    sqlite3_finalize(s);
    return version;
}

int table_db_upgrade(sqlite3 *db) {
    char version[48];
    sqlite3_snprintf(sizeof version, version, "PRAGMA main.user_version = %d", TABLE_DB_SCHEMA);
    const char *const steps[] = {set_aside, table_db_schema, put_back, version};
    int r = SQLITE_OK, triggers = 0;
    /* The rows are right: none of them is to be looked at, nor to make another. */
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, -1, &triggers);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    for (size_t i = 0; r == SQLITE_OK && i < sizeof steps / sizeof *steps; i++)
        r = sqlite3_exec(db, steps[i], NULL, NULL, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, triggers, NULL);
    return r;
}
