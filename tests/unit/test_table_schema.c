/* SPDX-License-Identifier: Apache-2.0
 *
 * What sections.db says to the person who edits it: each constraint and trigger, in its very words.
 */
#include "table_db.h"
#include "temp_dir.h"
#include "unit.h"

#include <sqlite3.h>
#include <string.h>

static sqlite3 *db;

static void open_new(void) {
    char error[512] = "";
    const char *path = temp_path("sections.db");
    unlink(path); /* of a test that failed */
    ck_assert_msg(table_db_create(path, error, sizeof error) == 0, "%s", error);
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
}

static void close_and_remove(void) {
    sqlite3_close(db);
    ck_assert_int_eq(unlink(temp_path("sections.db")), 0);
}

static void accepted(const char *sql) {
    char *text = NULL;
    ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, &text) == SQLITE_OK, "%s: %s", sql, text);
}

static void refused(const char *sql, const char *why) {
    char *text = NULL;
    ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, &text) != SQLITE_OK, "accepted: %s", sql);
    ck_assert_msg(strcmp(text, why) == 0, "%s: \"%s\", not \"%s\"", sql, text, why);
    sqlite3_free(text);
}

/* The only value of a query, as text. */
static const char *answer(const char *sql) {
    static char text[256];
    sqlite3_stmt *s = NULL;
    ck_assert_int_eq(sqlite3_prepare_v2(db, sql, -1, &s, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(s), SQLITE_ROW);
    const unsigned char *value = sqlite3_column_text(s, 0);
    snprintf(text, sizeof text, "%s", value == NULL ? "NULL" : (const char *)value);
    sqlite3_finalize(s);
    return text;
}

#define CHECK_FAILED "CHECK constraint failed: "

START_TEST(segment_columns) {
    static const char *const cases[][2] = {
        {"key = 0", "segment.key takes a number from 1 to 4294967295, or hex as '0x53484D31'"},
        {"key = 4294967296", NULL},
        {"key = '0x'", NULL},
        {"key = '0x0'", NULL},
        {"key = '0x123456789'", NULL},
        {"key = '0x12g'", NULL},
        {"key = 'SHM1'", NULL},
        {"key = ''", NULL},
        {"key = '-1'", NULL},
        {"key = 1.5", NULL},
        {"key = x'01'", NULL},
        {"size = 0", "segment.size takes a multiple of 4096 bytes from 1048576 (1 MiB) to "
                     "70368744177664 (64 TiB)"},
        {"size = 1048577", NULL},
        {"size = 70368744181760", NULL},
        {"backend = 'posix'", "segment.backend takes 'sysv' or 'memfd'"},
        {"mode = '0666'",
         "segment.mode takes '0660' (only the group attaches) or '0664' (others may read)"},
        {"mode = 0660", NULL},
        {"group_name = ''", "segment.group_name takes a group's name or number"},
        {"group_name = 'a b'", NULL},
        {"lock_memory = 2", "segment.lock_memory takes 0 or 1"},
        {"auto_apply = -1", "segment.auto_apply takes 0 or 1"},
        {"id = 2", "there is one segment row, with id 1: UPDATE segment SET ... changes it"},
    };
    const char *why = NULL;
    open_new();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char sql[256], text[256];
        why = cases[i][1] != NULL ? cases[i][1] : why;
        snprintf(sql, sizeof sql, "UPDATE segment SET %s", cases[i][0]);
        snprintf(text, sizeof text, CHECK_FAILED "%s", why);
        refused(sql, text);
    }
    refused("UPDATE segment SET size = 'big'",
            "cannot store TEXT value in INTEGER column segment.size");
    refused("INSERT INTO segment(id) VALUES(2)",
            CHECK_FAILED "there is one segment row, with id 1: UPDATE segment SET ... changes it");
    refused("DELETE FROM segment", "the segment row stays: change it by UPDATE segment SET ...; "
                                   "shmtool destroy removes the memory");
    close_and_remove();
}
END_TEST

START_TEST(key_decimal_or_hex_in_hex_out) {
    open_new();
    ck_assert_str_eq(answer("SELECT key FROM segment"), "0x53484D31");
    accepted("UPDATE segment SET key = 4660");
    ck_assert_str_eq(answer("SELECT key FROM segment"), "0x00001234");
    accepted("UPDATE segment SET key = 0xfeedbeef");
    ck_assert_str_eq(answer("SELECT key FROM segment"), "0xFEEDBEEF");
    accepted("UPDATE segment SET key = '77'");
    ck_assert_str_eq(answer("SELECT key FROM segment"), "0x0000004D");
    accepted("UPDATE segment SET key = '0xabc'");
    ck_assert_str_eq(answer("SELECT key FROM segment"), "0xabc");
    close_and_remove();
}
END_TEST

START_TEST(worker_columns) {
    open_new();
    accepted("INSERT INTO worker(name, user, instances) VALUES('web', 'www-data', 1024), "
             "('a', 1000, 1)");
    ck_assert_str_eq(answer("SELECT typeof(user) || user FROM worker WHERE name = 'a'"),
                     "text1000");
    refused("INSERT INTO worker(name) VALUES('9web')",
            CHECK_FAILED "worker.name takes 1 to 63 letters, digits, _ . or -, and begins with a "
                         "letter");
    refused("INSERT INTO worker(name) VALUES('b#1')",
            CHECK_FAILED "worker.name takes 1 to 63 letters, digits, _ . or -, and begins with a "
                         "letter");
    refused("INSERT INTO worker(name, user) VALUES('b', 'a b')",
            CHECK_FAILED "worker.user takes an account's name or number, or NULL for any that may "
                         "attach");
    refused("INSERT INTO worker(name, instances) VALUES('b', 0)",
            CHECK_FAILED "worker.instances takes 1 to 1024");
    refused("UPDATE worker SET instances = 1025", CHECK_FAILED "worker.instances takes 1 to 1024");
    refused("INSERT INTO worker(name, may_create) VALUES('b', -1)",
            CHECK_FAILED "worker.may_create takes the bytes that it may create sections for, 0 for "
                         "none");
    refused("INSERT INTO worker(name) VALUES('WEB')",
            "a worker has that name but for its case, and upper and lower case are the same: write "
            "it as it is there, or choose another name");
    refused("INSERT INTO worker(name) VALUES('web')", "UNIQUE constraint failed: worker.name");
    close_and_remove();
}
END_TEST

START_TEST(section_columns) {
    static const char count[] =
        "section.count takes 2 to 256 buffers (snapshot; NULL = 4), 1 to 65536 items (slots; NULL "
        "= 16), 1 to 16383 lanes (queue; NULL = 8), and NULL for raw";
    static const char stale[] = "section.stale_ms takes milliseconds up to a year, 0 for never; a "
                                "raw section, a queue and stamp 'none' have no time to tell by";
    static const char owner[] =
        "section.owner takes a worker's name, or one of its instances as 'worker#2'";
    static const char *const cases[][2] = {
        {"id = 0", "section.id is 1 or more; leave it out and it is chosen"},
        {"name = ''",
         "section.name takes 1 to 63 letters, digits, _ . or -, and begins with a letter"},
        {"name = '1cam'", NULL},
        {"name = 'c/m'", NULL},
        {"name = 'x123456789012345678901234567890123456789012345678901234567890123'", NULL},
        {"owner = ''", owner},
        {"owner = 'eye#'", owner},
        {"owner = 'eye#0'", owner},
        {"owner = 'eye#1x'", owner},
        {"owner = '#1'", owner},
        {"kind = 'Raw'", "section.kind takes 'raw', 'snapshot', 'slots' or 'queue'"},
        {"size = 0", "section.size takes bytes, 1 or more: the largest value (snapshot), all of it "
                     "(raw), one item (slots), one lane (queue)"},
        {"count = 1", count},
        {"count = 257", count},
        {"kind = 'raw', count = 4", count},
        {"kind = 'slots', count = 0", count},
        {"kind = 'slots', count = 65537, size = 1", count},
        {"kind = 'queue', count = 16384, size = 1", count},
        {"offset = 100", "section.offset takes a multiple of 4096, or NULL to let the manager "
                         "choose"},
        {"offset = -4096", NULL},
        {"write_group = 'staff'", "section.write_group takes a group's name or number (slots, "
                                  "queues and shared raw only), or NULL"},
        {"kind = 'raw', write_group = 'staff'", NULL},
        {"shared = 1", "section.shared takes 0, or 1 for raw and slots that many write in place"},
        {"persist = 2", "section.persist takes 0, or 1 for what is no queue"},
        {"kind = 'queue', persist = 1", NULL},
        {"stale_ms = -1", stale},
        {"stale_ms = 31622400001", stale},
        {"kind = 'raw', stale_ms = 5", stale},
        {"kind = 'queue', stale_ms = 5", stale},
        {"stamp = 'none', stale_ms = 5", stale},
        {"format = 'a' || char(10)", "section.format takes up to 63 printable ASCII characters, or "
                                     "NULL"},
        {"format = 'Temperatur °C'", NULL},
        {"stamp = 'exact'", "section.stamp takes 'precise', 'coarse' or 'none'"},
        {"notify = 'sometimes'", "section.notify takes 'demand', 'always' or 'never'"},
        {"pregrab = 1",
         "section.pregrab takes 0, or 1 for slots that are to be grabbed before they "
         "are used"},
        {"kind = 'slots', pregrab = 2", NULL},
        {"clear = 'free'", "section.clear takes 'never', and for slots 'free' or 'restart'"},
        {"kind = 'slots', clear = 'always'", NULL},
    };
    const char *why = NULL;
    open_new();
    accepted("INSERT INTO section(name, owner, size) VALUES('cam', 'eye', 1000)");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char sql[256], text[256];
        why = cases[i][1] != NULL ? cases[i][1] : why;
        if (strncmp(cases[i][0], "id", 2) == 0)
            snprintf(sql, sizeof sql,
                     "INSERT INTO section(id, name, owner, size) VALUES(0, 'x', 'x', 1)");
        else
            snprintf(sql, sizeof sql, "UPDATE section SET %s", cases[i][0]);
        snprintf(text, sizeof text, CHECK_FAILED "%s", why);
        refused(sql, text);
    }
    refused("UPDATE section SET id = 7",
            "section.id never changes, as the data follows it: change the name instead");
    close_and_remove();
}
END_TEST

START_TEST(sections_beside_others) {
    static const char large[] = "section.size times section.count is more than segment.size: lower "
                                "them, or make the segment larger first";
    static const char group[] = "section.read_group: the sysv backend can't enforce one, who may "
                                "attach may read: leave it NULL";
    static const char taken[] =
        "a section has that name but for its case, and upper and lower case "
        "are the same: choose another name";
    open_new();
    accepted("INSERT INTO section(name, owner, size) VALUES('cam', 'eye', 1000), ('b', 'eye', 1)");
    refused("INSERT INTO section(name, owner, size) VALUES('CAM', 'eye', 1000)", taken);
    refused("UPDATE section SET name = 'CAM' WHERE name = 'b'", taken);
    refused("INSERT INTO section(name, owner, size) VALUES('cam', 'eye', 1000)",
            "UNIQUE constraint failed: section.name");
    accepted("UPDATE section SET name = 'Cam' WHERE name = 'cam'");
    refused("INSERT INTO section(name, owner, size) VALUES('c', 'eye', 16777217)", large);
    refused("INSERT INTO section(name, owner, size, kind) VALUES('c', 'eye', 67108865, 'raw')",
            large);
    refused("UPDATE section SET count = 200, size = 1000000 WHERE name = 'b'", large);
    refused("INSERT INTO section(name, owner, size, read_group) VALUES('c', 'eye', 1, 'staff')",
            group);
    refused("UPDATE section SET read_group = 'staff' WHERE name = 'b'", group);
    accepted("UPDATE segment SET backend = 'memfd'");
    accepted("UPDATE section SET read_group = 'staff' WHERE name = 'b'");
    close_and_remove();
}
END_TEST

START_TEST(owners_become_workers) {
    static const char beyond[] = "section.owner: that worker has not so many instances: UPDATE "
                                 "worker SET instances = ... first";
    static const char bare[] =
        "section.owner: that worker has several instances: name one, as in 'web#1'";
    open_new();
    accepted("INSERT INTO section(name, owner, size) VALUES('a', 'eye', 1), ('b', 'web#3', 1), "
             "('c', 'fork#1', 1)");
    ck_assert_str_eq(
        answer("SELECT group_concat(name || instances) FROM (SELECT * FROM worker ORDER BY name)"),
        "eye1,fork2,web3");
    refused("INSERT INTO section(name, owner, size) VALUES('d', 'web#4', 1)", beyond);
    refused("INSERT INTO section(name, owner, size) VALUES('d', 'eye#1', 1)", beyond);
    refused("UPDATE section SET owner = 'web#4' WHERE name = 'a'", beyond);
    refused("INSERT INTO section(name, owner, size) VALUES('d', 'web', 1)", bare);
    refused("UPDATE section SET owner = 'web' WHERE name = 'a'", bare);
    refused("INSERT INTO section(name, owner, size) VALUES('d', 'Eye', 1)",
            "a worker has that name but for its case, and upper and lower case are the same: write "
            "it as it is there, or choose another name");
    refused("INSERT INTO section(name, owner, size) VALUES('d', 'many#1025', 1)",
            CHECK_FAILED "worker.instances takes 1 to 1024");
    refused("DELETE FROM worker WHERE name = 'eye'",
            "that worker still owns sections: delete those, or give them another owner, first");
    refused("DELETE FROM worker WHERE name = 'web'",
            "that worker still owns sections: delete those, or give them another owner, first");
    refused("UPDATE worker SET name = 'ear' WHERE name = 'eye'",
            "that worker owns sections under its name: INSERT the new one and UPDATE "
            "section.owner, then DELETE the old one");
    accepted("UPDATE section SET owner = 'ear' WHERE name = 'a'");
    ck_assert_str_eq(answer("SELECT count(*) FROM worker WHERE name = 'ear'"), "1");
    accepted("DELETE FROM worker WHERE name = 'eye'");
    close_and_remove();
}
END_TEST

/* What packages and Ansible do: the same again changes nothing. */
START_TEST(upserts) {
    open_new();
    for (int i = 0; i < 2; i++) {
        accepted("INSERT INTO section(name, owner, size) VALUES('cam', 'eye', 1000) "
                 "ON CONFLICT(name) DO UPDATE SET size = excluded.size");
        accepted("INSERT OR IGNORE INTO section(name, owner, size) VALUES('b', 'eye', 1000)");
        accepted("INSERT OR IGNORE INTO worker(name) VALUES('eye')");
    }
    ck_assert_str_eq(
        answer("SELECT group_concat(name) FROM (SELECT name FROM section ORDER BY id)"), "cam,b");
    close_and_remove();
}
END_TEST

/* A removed section's id never comes back, as the data would with it. */
START_TEST(ids_are_not_used_again) {
    open_new();
    accepted("INSERT INTO section(name, owner, size) VALUES('a', 'eye', 1), ('b', 'eye', 1)");
    accepted("DELETE FROM section");
    accepted("INSERT INTO section(name, owner, size) VALUES('c', 'eye', 1)");
    ck_assert_str_eq(answer("SELECT id FROM section"), "3");
    close_and_remove();
}
END_TEST

UNIT_MAIN("table_schema", segment_columns, key_decimal_or_hex_in_hex_out, worker_columns,
          section_columns, sections_beside_others, owners_become_workers, upserts,
          ids_are_not_used_again)
