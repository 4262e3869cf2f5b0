/* SPDX-License-Identifier: Apache-2.0
 *
 * A file of sections.d, with any bytes or of words that mean something there: whatever it says, the
 * table behind it is one that the manager takes, with its own schema, and nothing was committed
 * unless the file is told to have changed it.
 */
#include "fuzz_file.h"
#include "table_db.h"
#include "table_include.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEXT_MAX 4096

static struct fuzz_file table;
static char directory[PATH_MAX], rows[PATH_MAX + 16], schema[16384];
static struct table_db *watch;
static enum table_included outcome;

static int keep_schema(void *context, int n, char **values, char **names) {
    char *text = context;
    (void)names;
    for (int i = 0; i < n; i++)
        strncat(text, values[i] == NULL ? "-" : values[i], sizeof schema - 1 - strlen(text));
    return 0;
}

static void read_schema(char text[sizeof schema]) {
    sqlite3 *sql;
    text[0] = '\0';
    MUST(sqlite3_open_v2(table.path, &sql, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK);
    MUST(sqlite3_exec(sql,
                      "SELECT type, name, sql FROM sqlite_schema; PRAGMA user_version;"
                      "PRAGMA application_id",
                      keep_schema, text, NULL) == SQLITE_OK);
    sqlite3_close(sql);
}

static void make_table(void) {
    char error[512], suffixed[PATH_MAX + 8];
    sqlite3 *sql;
    table_db_close(watch);
    watch = NULL;
    unlink(table.path);
    unlink(table.log);
    snprintf(suffixed, sizeof suffixed, "%s-shm", table.path);
    unlink(suffixed);
    MUST(table_db_create(table.path, error, sizeof error) == 0);
    MUST(sqlite3_open(table.path, &sql) == SQLITE_OK);
    MUST(sqlite3_exec(sql,
                      "INSERT INTO section(name, owner, size) VALUES('temps', 'driver', 1000),"
                      "('camera', 'grabber#2', 70000)",
                      NULL, NULL, NULL) == SQLITE_OK);
    sqlite3_close(sql);
    MUST(table_db_open(&watch, table.path, error, sizeof error) == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    file_name(&table, "sections.db", "-wal");
    snprintf(directory, sizeof directory, "%s/sections.d", fuzz_directory());
    snprintf(rows, sizeof rows, "%s/50.sql", directory);
    MUST(mkdir(directory, 0755) == 0 || errno == EEXIST);
    make_table();
    read_schema(schema);
    return 0;
}

/* A statement of words, each with a byte of the input. */
static size_t make_text(struct input *input, char text[TEXT_MAX]) {
    static const char *const words[] = {
        "INSERT INTO",
        "INSERT OR REPLACE INTO",
        "UPDATE",
        "DELETE FROM",
        "SELECT",
        "FROM",
        "SET",
        "WHERE",
        "VALUES",
        "ON CONFLICT(name) DO UPDATE SET",
        "ON CONFLICT DO NOTHING",
        "section",
        "worker",
        "segment",
        "section(name, owner, size)",
        "worker(name, instances)",
        "worker(name, user)",
        "('a', 'driver', 64)",
        "('cam#', 'x', 64)",
        "('b', 'new#3', 4096)",
        "('driver', 3)",
        "('plant', 'root')",
        "('temps', 'w', 1)",
        "name",
        "owner",
        "size",
        "count",
        "kind",
        "\"offset\"",
        "id",
        "instances",
        "key",
        "backend",
        "auto_apply",
        "=",
        ",",
        ";",
        "*",
        "(",
        ")",
        "1",
        "0",
        "2",
        "8192",
        "-1",
        "70000000",
        "NULL",
        "'memfd'",
        "'grabber'",
        "'driver'",
        "'raw'",
        "'temps'",
        "'x'",
        "excluded.size",
        "max(size, 5)",
        "count(*)",
        "AS",
        "AND",
        "OR",
        "LIKE",
        "'%'",
        "||",
        "ATTACH 'x' AS y",
        "PRAGMA user_version = 5",
        "CREATE TABLE x(a)",
        "DROP TABLE section",
        "CREATE TRIGGER x AFTER INSERT ON section BEGIN SELECT 1; END",
        "VACUUM",
        "ANALYZE",
        "ROLLBACK",
        "BEGIN",
        "COMMIT",
        "SAVEPOINT a",
        "sqlite_schema",
        "sqlite_sequence",
        "pragma_table_list",
        "ALTER TABLE section RENAME TO",
        "REINDEX",
        "RETURNING *",
        "main.",
        "temp.",
        "RAISE(IGNORE)",
        "load_extension('x')",
        "zeroblob(1000000)",
        "printf('%1000000s', 'x')",
        "GROUP BY",
        "ORDER BY",
        "EXISTS",
        "CASE WHEN 1 THEN 2 END",
        "-- \n",
        "/*",
        "*/",
        "\n"};
    size_t n = 0;
    text[0] = '\0';
    while (input_left(input) && n + 128 < TEXT_MAX)
        n += (size_t)snprintf(text + n, TEXT_MAX - n, "%s ",
                              words[take_below(input, sizeof words / sizeof *words)]);
    return n;
}

static void tell(void *context, const char *file, enum table_included is, const char *error) {
    (void)context;
    MUST(strcmp(file, rows) == 0);
    MUST((is == TABLE_INCLUDED_FAILED) == (error[0] != '\0'));
    MUST(error[0] == '\0' || (one_line(error) && strstr(error, rows) == error));
    outcome = is;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    struct input input = {data, data + bytes};
    const char *const directories[] = {directory};
    char text[TEXT_MAX], error[1024], now[sizeof schema];
    struct table after;
    const size_t n = take_below(&input, 8) == 0 ? take_bytes(&input, text, sizeof text)
                                                : make_text(&input, text);
    fuzz_write(rows, text, n);
    const int64_t version = table_db_version(watch);
    const int failed = table_include(table.path, directories, 1, tell, NULL, error, sizeof error);
    MUST(failed == (outcome == TABLE_INCLUDED_FAILED));
    MUST((table_db_version(watch) != version) == (outcome == TABLE_INCLUDED_CHANGED));
    MUST(table_db_load(watch, &after, error, sizeof error) == 0);
    table_clear(&after);
    if (outcome != TABLE_INCLUDED_CHANGED)
        return 0;
    MUST(table_include(table.path, directories, 1, tell, NULL, error, sizeof error) >= 0);
    read_schema(now);
    MUST(strcmp(now, schema) == 0);
    make_table();
    return 0;
}
