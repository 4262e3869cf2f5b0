/* SPDX-License-Identifier: Apache-2.0
 *
 * A section table of an earlier version, given the columns of this one.
 */
#include "whole.h"

#include "table_db.h"

#include <sqlite3.h>

/* With the write lock held nobody changes it any more.  *done: it was of this version already. */
static int upgrade(const struct tool *tool, const char *path, sqlite3 *db, bool *done) {
    struct table table = {0};
    int r = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    int code = r == SQLITE_OK ? table_read(tool, path, &table) : table_failed(tool, db, path);
    table_clear(&table);
    if (code != TOOL_OK)
        return code;
    *done = table_db_schema_version(db) == TABLE_DB_SCHEMA;
    if (!*done)
        r = table_db_upgrade(db);
    if (r == SQLITE_OK)
        r = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    return r == SQLITE_OK ? TOOL_OK : table_failed(tool, db, path);
}

int verb_table_upgrade(const struct tool *tool) {
    char path[PATH_BYTES];
    sqlite3 *db;
    bool done = false;
    int code = table_path(tool, path);
    if (code == TOOL_OK)
        code = table_open(tool, path, true, &db);
    if (code != TOOL_OK)
        return code;
    code = upgrade(tool, path, db, &done);
    sqlite3_close(db); /* rolls back what was not committed */
    if (code != TOOL_OK)
        return code;
    if (tool->json)
        print_json(json_pack("{s:b, s:s, s:i, s:b}", "ok", 1, "table", path, "schema",
                             TABLE_DB_SCHEMA, "changed", !done));
    else
        printf("%s %s schema version %d\n", path, done ? "has" : "is brought to", TABLE_DB_SCHEMA);
    return TOOL_OK;
}
