/* SPDX-License-Identifier: Apache-2.0
 *
 * The rows of sections.db: nothing in it is trusted, and what is wrong is said in one line.
 */
#include "table_fixture.h"

START_TEST(every_column) {
    struct table table;
    make("columns.db");
    edit("UPDATE segment SET key = '0xfeedbeef', size = 1048576, backend = 'memfd', mode = '0664',"
         " group_name = '1000', lock_memory = 1, auto_apply = 0;"
         "INSERT INTO worker VALUES('web', 'www-data', 4, 4096);"
         "INSERT INTO section(id, name, owner, size) VALUES(7, 'b', 'eye', 100);"
         "INSERT INTO section VALUES(3, 'a', 'web#2', 'slots', 64, 9, 8192, 'staff', 'clerks', 1, "
         "1, 500, 'a/1', 'coarse', 'never', 1, 'restart');");
    expect_table(&table);
    ck_assert_uint_eq(table.key, 0xfeedbeef);
    ck_assert_uint_eq(table.size, 1048576);
    ck_assert_uint_eq(table.backend, SHM_BACKEND_MEMFD);
    ck_assert_uint_eq(table.mode, 0664);
    ck_assert_str_eq(table.group_name, "1000");
    ck_assert(table.lock_memory && !table.auto_apply);
    ck_assert_uint_eq(table.workers_n, 2);
    ck_assert_str_eq(table.workers[0].name, "eye");
    ck_assert_str_eq(table.workers[0].user, "");
    ck_assert_str_eq(table.workers[1].user, "www-data");
    ck_assert_uint_eq(table.workers[1].instances, 4);
    ck_assert_uint_eq(table.workers[1].may_create, 4096);
    ck_assert_uint_eq(table.sections_n, 2);
    const struct table_section *a = &table.sections[0], *b = &table.sections[1];
    ck_assert(a->id == 3 && strcmp(a->name, "a") == 0 && strcmp(a->owner, "web#2") == 0);
    ck_assert(a->kind == SHM_KIND_SLOTS && a->size == 64 && a->count == 9);
    ck_assert(a->pinned && a->offset == 8192 && a->shared && a->persist);
    ck_assert(strcmp(a->read_group, "staff") == 0 && strcmp(a->write_group, "clerks") == 0);
    ck_assert(a->stale_ms == 500 && strcmp(a->format, "a/1") == 0);
    ck_assert(a->stamp == TABLE_STAMP_COARSE && a->notify == TABLE_NOTIFY_NEVER);
    ck_assert(a->pregrab && a->clear == TABLE_CLEAR_RESTART);
    ck_assert(!b->pregrab && b->clear == TABLE_CLEAR_NEVER);
    ck_assert(b->id == 7 && b->kind == SHM_KIND_SNAPSHOT && b->count == 4 && !b->pinned);
    ck_assert(b->stamp == TABLE_STAMP_PRECISE && b->notify == TABLE_NOTIFY_DEMAND);
    ck_assert(!b->shared && !b->persist && b->stale_ms == 0 && b->format[0] == '\0');
    table_clear(&table);
}
END_TEST

/* Of the version before: read as it is, and brought up to date with its rows and ids. */
START_TEST(the_former_schema) {
    struct table table, upgraded;
    sqlite3 *db = NULL;
    make("former.db");
    edit("DROP TABLE section; DROP TABLE worker; DROP TABLE segment; PRAGMA user_version = 1");
    edit(table_db_former);
    edit("UPDATE segment SET size = 1048576; INSERT INTO worker(name, instances) VALUES('pool', 3);"
         "INSERT INTO section(id, name, owner, kind, size, count, shared) "
         "VALUES(9, 'seats', 'x', 'slots', 64, 5, 1);"
         "INSERT INTO section(name, owner, size) VALUES('late', 'y', 1);"
         "DELETE FROM section WHERE name = 'late'");
    expect_table(&table);
    ck_assert_uint_eq(table.sections_n, 1);
    ck_assert(table.sections[0].count == 5 && !table.sections[0].pregrab);
    ck_assert_int_eq(table.sections[0].clear, TABLE_CLEAR_NEVER);
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(table_db_schema_version(db), 1);
    ck_assert_int_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    ck_assert_msg(table_db_upgrade(db) == SQLITE_OK, "%s", sqlite3_errmsg(db));
    ck_assert_int_eq(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    ck_assert_int_eq(table_db_schema_version(db), 2);
    sqlite3_close(db);
    expect_table(&upgraded);
    ck_assert_uint_eq(upgraded.size, 1048576);
    ck_assert_uint_eq(upgraded.workers_n, table.workers_n);
    ck_assert(memcmp(upgraded.sections, table.sections, sizeof *table.sections) == 0);
    table_clear(&table);
    table_clear(&upgraded);
    edit("INSERT INTO section(name, owner, kind, size, pregrab, clear) "
         "VALUES('new', 'x', 'slots', 64, 1, 'free'); INSERT INTO section(name, owner, kind, size) "
         "VALUES('jobs', 'pool', 'queue', 64)");
    expect_table(&table);
    ck_assert(table.sections[1].id == 11 && table.sections[1].count == 16);
    ck_assert(table.sections[2].count == 8 && strcmp(table.sections[2].owner, "pool") == 0);
    table_clear(&table);
    /* Neither is taken for the other. */
    edit("PRAGMA user_version = 1");
    ck_assert_int_eq(load(&table), -EINVAL);
}
END_TEST

START_TEST(the_example_is_right) {
    struct table table;
    make("example.db");
    edit(table_db_example);
    expect_table(&table);
    ck_assert_uint_ge(table.sections_n, 3);
    table_clear(&table);
    ck_assert_ptr_nonnull(strstr(table_db_schema, "CREATE TABLE section"));
}
END_TEST

/* ---- constraints that were switched off */

static void without_checks(const char *name, const char *sql, const char *text) {
    char all[1024];
    make(name);
    snprintf(all, sizeof all,
             "INSERT INTO section(name, owner, size) VALUES('cam', 'eye', 1000);"
             "PRAGMA ignore_check_constraints = ON; %s",
             sql);
    edit(all);
    expect_error(-EINVAL, text);
    unlink(path);
}

START_TEST(checks_are_made_again) {
    static const char *const cases[][2] = {
        {"UPDATE segment SET key = 'SHM1'",
         "segment: key must be a number from 1 to 4294967295, or hex as '0x53484D31' (UPDATE "
         "segment SET key = ...)"},
        {"UPDATE segment SET size = 4097",
         "segment: size is 4097; it must be a multiple of 4096 from 1048576 to 70368744177664 "
         "(UPDATE segment SET size = 67108864)"},
        {"UPDATE segment SET size = -1",
         "segment: size must be a number from 1 to 70368744177664 (UPDATE segment SET size = ...)"},
        {"UPDATE segment SET backend = 'x'",
         "segment: backend must be sysv or memfd (UPDATE segment SET backend = ...)"},
        {"UPDATE segment SET mode = '0777'",
         "segment: mode must be '0660' or '0664' (UPDATE segment SET mode = ...)"},
        {"UPDATE segment SET lock_memory = 7", "segment: lock_memory must be a number from 0 to 1 "
                                               "(UPDATE segment SET lock_memory = ...)"},
        {"INSERT INTO segment(id) VALUES(2)",
         "segment: there must be one row, and there are 2: DELETE FROM segment WHERE id <> 1, "
         "after .dbconfig enable_trigger off"},
        {"UPDATE worker SET instances = 0",
         "worker 'eye': instances must be a number from 1 to 1024 (UPDATE worker SET instances = "
         "... WHERE name = 'eye')"},
        {"UPDATE section SET name = 'a b'",
         "section 1: name 'a b' is not 1 to 63 of letters, digits, _ . and -, a letter first "
         "(UPDATE section SET name = 'other' WHERE id = 1)"},
        {"UPDATE section SET name = 'a' || char(0) || 'b'",
         "section 'a': name must be a text of at most 63 bytes (UPDATE section SET name = ... "
         "WHERE id = 1)"},
        {"UPDATE section SET name = 'a' || char(10, 27) || 'b', size = 0",
         "section 'a??b': size must be a number from 1 to 70368744177664 (UPDATE section SET size "
         "= ... WHERE id = 1)"},
        {"UPDATE section SET format = printf('%64d', 1)",
         "section 'cam': format must be a text of at most 63 bytes (UPDATE section SET format = "
         "... WHERE name = 'cam')"},
        {"UPDATE section SET kind = 'parrot'",
         "section 'cam': kind must be raw, snapshot, slots or queue (UPDATE section SET kind = ... "
         "WHERE name = 'cam')"},
        {"UPDATE section SET count = 1",
         "section 'cam': count is 1; a snapshot needs 2 to 256 buffers (UPDATE section SET count = "
         "4 WHERE name = 'cam')"},
        {"UPDATE section SET count = -1",
         "section 'cam': count must be a number from 0 to 4294967295 (UPDATE section SET count = "
         "... WHERE name = 'cam')"},
        {"UPDATE section SET offset = -4096",
         "section 'cam': offset must be a number from 0 to 70368744177664 (UPDATE section SET "
         "offset = ... WHERE name = 'cam')"},
        {"UPDATE section SET stamp = 'x'", "section 'cam': stamp must be precise, coarse or none "
                                           "(UPDATE section SET stamp = ... WHERE name = 'cam')"},
        {"UPDATE section SET notify = 'x'", "section 'cam': notify must be demand, always or never "
                                            "(UPDATE section SET notify = ... WHERE name = 'cam')"},
        {"UPDATE section SET clear = 'x'", "section 'cam': clear must be never, free or restart "
                                           "(UPDATE section SET clear = ... WHERE name = 'cam')"},
        {"UPDATE section SET pregrab = 2", "section 'cam': pregrab must be a number from 0 to 1 "
                                           "(UPDATE section SET pregrab = ... WHERE name = "
                                           "'cam')"},
        {"UPDATE section SET pregrab = 1",
         "section 'cam': pregrab is for slots, not for a snapshot (UPDATE section SET pregrab = 0, "
         "clear = 'never' WHERE name = 'cam')"},
        {"UPDATE section SET clear = 'free'",
         "section 'cam': clear is for slots, not for a snapshot (UPDATE section SET pregrab = 0, "
         "clear = 'never' WHERE name = 'cam')"},
        {"UPDATE section SET stale_ms = -5",
         "section 'cam': stale_ms must be a number from 0 to 31622400000 (UPDATE section SET "
         "stale_ms = ... WHERE name = 'cam')"},
        {"UPDATE section SET id = 0 WHERE 0; UPDATE section SET shared = 1",
         "section 'cam': shared is for raw and slots, not for a snapshot (UPDATE section SET "
         "shared = 0 WHERE name = 'cam')"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        without_checks("unchecked.db", cases[i][0], cases[i][1]);
}
END_TEST

/* Types too: a table that was made without STRICT for a moment, and is to the letter again. */
START_TEST(types_are_looked_at_again) {
    static const char *const cases[][2] = {
        {"UPDATE section SET size = 'big'",
         "section 'cam': size must be a number from 1 to 70368744177664 (UPDATE section SET size = "
         "... WHERE name = 'cam')"},
        {"UPDATE section SET size = 1.5",
         "section 'cam': size must be a number from 1 to 70368744177664 (UPDATE section SET size = "
         "... WHERE name = 'cam')"},
        {"UPDATE section SET format = x'00ff'",
         "section 'cam': format must be a text of at most 63 bytes (UPDATE section SET format = "
         "... WHERE name = 'cam')"},
        {"UPDATE section SET name = x'6361'", "section '': name must be a text of at most 63 bytes "
                                              "(UPDATE section SET name = ... WHERE id = 1)"},
        {"UPDATE section SET persist = 'yes'",
         "section 'cam': persist must be a number from 0 to 1 (UPDATE section SET persist = ... "
         "WHERE name = 'cam')"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make("types.db");
        edit("INSERT INTO section(name, owner, size) VALUES('cam', 'eye', 1000);"
             "CREATE TEMP TABLE kept AS SELECT sql FROM sqlite_schema WHERE name = 'section';"
             "PRAGMA writable_schema = ON;"
             "UPDATE sqlite_schema SET sql = replace(sql, 'STRICT', '') WHERE name = 'section';");
        edit("PRAGMA ignore_check_constraints = ON;");
        char all[256];
        snprintf(all, sizeof all, "PRAGMA ignore_check_constraints = ON; %s", cases[i][0]);
        edit(all);
        edit("PRAGMA writable_schema = ON;"
             "UPDATE sqlite_schema SET sql = sql || 'STRICT' WHERE name = 'section';");
        expect_error(-EINVAL, cases[i][1]);
        unlink(path);
    }
}
END_TEST

/* ---- objects that are not ours, and ours that are missing or changed */

START_TEST(foreign_objects_are_refused) {
    static const char *const cases[][2] = {
        {"CREATE TRIGGER evil AFTER INSERT ON section BEGIN SELECT 1; END",
         "the table has a trigger 'evil' that is not shm-manager's (it would run as whoever edits "
         "the table next): DROP it"},
        {"CREATE VIEW evil AS SELECT 1",
         "the table has a view 'evil' that is not shm-manager's (it would run as whoever edits the "
         "table next): DROP it"},
        {"CREATE TABLE evil(a)", "the table has a table 'evil' that is not shm-manager's (it would "
                                 "run as whoever edits the table next): DROP it"},
        {"CREATE INDEX evil ON section(size)", "the table has an index 'evil' that is not "
                                               "shm-manager's (it would run as whoever edits the "
                                               "table next): DROP it"},
        {"DROP TRIGGER section_keeps_id; CREATE TRIGGER section_keeps_id AFTER INSERT ON section "
         "BEGIN SELECT 1; END",
         "the table has a trigger 'section_keeps_id' that is not shm-manager's (it would run as "
         "whoever edits the table next): DROP it"},
        {"DROP TRIGGER section_keeps_id",
         "the table lacks its trigger 'section_keeps_id': dump its rows, and load them into a new "
         "one (shmtool table init)"},
        {"ALTER TABLE section ADD COLUMN more TEXT",
         "the table has a table 'section' that is not shm-manager's (it would run as whoever edits "
         "the table next): DROP it"},
    };
    const size_t n = sizeof cases / sizeof *cases;
    struct table table;
    for (size_t i = 0; i < 2 * n; i++) {
        make("foreign.db");
        if (i >= n) { /* also when the right ones were seen before */
            expect_table(&table);
            table_clear(&table);
        }
        edit(cases[i % n][0]);
        expect_error(-EINVAL, cases[i % n][1]);
        unlink(path);
    }
}
END_TEST

START_TEST(statistics_are_no_harm) {
    struct table table;
    make("statistics.db");
    edit("INSERT INTO section(name, owner, size) VALUES('cam', 'eye', 1000); ANALYZE");
    expect_table(&table);
    table_clear(&table);
}
END_TEST

START_TEST(row_limits) {
    struct table table;
    make("rows.db");
    edit("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) "
         "INSERT INTO section(name, owner, size) SELECT 's' || i, 'w' || (i % 9), 64 FROM n");
    expect_table(&table);
    ck_assert_uint_eq(table.sections_n, 100000);
    table_clear(&table);
    edit("INSERT INTO section(name, owner, size) VALUES('more', 'w1', 64)");
    expect_error(-EINVAL, "the table has more than 100000 sections: delete some");
    edit("DELETE FROM section; "
         "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 16384) "
         "INSERT INTO worker(name) SELECT 'x' || i FROM n");
    expect_error(-EINVAL, "the table has more than 16384 workers: delete some");
}
END_TEST

UNIT_MAIN("table_db", every_column, the_former_schema, the_example_is_right, checks_are_made_again,
          types_are_looked_at_again, foreign_objects_are_refused, statistics_are_no_harm,
          row_limits)
