/* SPDX-License-Identifier: Apache-2.0
 *
 * What makes a table right, and that each wrong row is told in the very words.
 */
#include "core/table.h"
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

START_TEST(what_is_a_name) {
    static const char *const good[] = {"a", "Temp-driver", "a_b.c-9", "x1", "Z."};
    static const char *const bad[] = {"",    "1a",  "-a", "_a",       "a b", "a/b",
                                      "a#1", "a\n", "#1", "\xc3\xa4", "a'b", "a%s"};
    static const char *const instances[] = {"web#1", "web#9", "web#1024"};
    static const char *const no_instances[] = {
        "web#",    "web#0", "web#01", "web#1025", "web#1x",
        "web#1#2", "#1",    "web#-1", "web# 1",   "web#99999999999999999999"};
    char longest[SHM_NAME_BYTES + 1];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        ck_assert_msg(table_name_ok(good[i], false) && table_name_ok(good[i], true), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(!table_name_ok(bad[i], false), "%s", bad[i]);
    for (size_t i = 0; i < sizeof instances / sizeof *instances; i++)
        ck_assert_msg(table_name_ok(instances[i], true) && !table_name_ok(instances[i], false),
                      "%s", instances[i]);
    for (size_t i = 0; i < sizeof no_instances / sizeof *no_instances; i++)
        ck_assert_msg(!table_name_ok(no_instances[i], true), "%s", no_instances[i]);
    memset(longest, 'a', sizeof longest);
    longest[63] = '\0';
    ck_assert(table_name_ok(longest, false));
    longest[63] = 'a', longest[64] = '\0';
    ck_assert(!table_name_ok(longest, false));
}
END_TEST

START_TEST(words_and_values) {
    ck_assert_str_eq(table_word(TABLE_KINDS, SHM_KIND_SNAPSHOT), "snapshot");
    ck_assert_str_eq(table_word(TABLE_BACKENDS, SHM_BACKEND_MEMFD), "memfd");
    ck_assert_str_eq(table_word(TABLE_STAMPS, TABLE_STAMP_COARSE), "coarse");
    ck_assert_str_eq(table_word(TABLE_NOTIFIES, TABLE_NOTIFY_DEMAND), "demand");
    ck_assert_ptr_null(table_word(TABLE_KINDS, 0));
    ck_assert_ptr_null(table_word(TABLE_KINDS, 5));
    ck_assert_ptr_null(table_word(TABLE_BACKENDS, SHM_BACKEND_PRIVATE));
    for (unsigned words = TABLE_KINDS; words <= TABLE_NOTIFIES; words++)
        for (unsigned value = 0; value < 8; value++) {
            const char *word = table_word((enum table_words)words, value);
            if (word != NULL)
                ck_assert_int_eq(table_value((enum table_words)words, word), (int)value);
        }
    ck_assert_int_eq(table_value(TABLE_KINDS, "Raw"), -EINVAL);
    ck_assert_int_eq(table_value(TABLE_KINDS, ""), -EINVAL);
}
END_TEST

/* ---- a table that is right: a raw, a snapshot, slots and a queue */

static struct table_worker workers[3];
static struct table_section sections[5];
static struct table table;

enum { RAW, CAM, SLOTS, QUEUE, PART };

static void make(void) {
    memset(workers, 0, sizeof workers);
    memset(sections, 0, sizeof sections);
    for (size_t i = 0; i < 3; i++) {
        static const char *const names[] = {"driver", "eye", "web"};
        strcpy(workers[i].name, names[i]);
        workers[i].instances = i == 2 ? 4 : 1;
    }
    for (size_t i = 0; i < 5; i++) {
        static const char *const names[] = {"raw", "cam", "items", "orders", "part"};
        static const enum shm_kind kinds[] = {SHM_KIND_RAW, SHM_KIND_SNAPSHOT, SHM_KIND_SLOTS,
                                              SHM_KIND_QUEUE, SHM_KIND_SNAPSHOT};
        strcpy(sections[i].name, names[i]);
        strcpy(sections[i].owner, i == PART ? "web#4" : i == CAM ? "eye" : "driver");
        sections[i].id = 10 * i + 1;
        sections[i].kind = kinds[i];
        sections[i].size = 4096;
        sections[i].count = i == RAW ? 0 : 4;
    }
    table = (struct table){.key = SHM_DEFAULT_KEY,
                           .size = 64 << 20,
                           .backend = SHM_BACKEND_SYSV,
                           .mode = 0660,
                           .group_name = "shm-workers",
                           .workers = workers,
                           .workers_n = 3,
                           .sections = sections,
                           .sections_n = 5};
}

START_TEST(owners) {
    make();
    ck_assert_ptr_eq(table_worker(&table, "eye"), &workers[1]);
    ck_assert_ptr_eq(table_worker(&table, "web#1"), &workers[2]);
    ck_assert_ptr_eq(table_worker(&table, "web#4"), &workers[2]);
    ck_assert_ptr_null(table_worker(&table, "web#5"));
    ck_assert_ptr_null(table_worker(&table, "web#0"));
    ck_assert_ptr_null(table_worker(&table, "we"));
    ck_assert_ptr_null(table_worker(&table, "webs"));
    ck_assert_ptr_null(table_worker(&table, ""));
    table.workers_n = 0;
    ck_assert_ptr_null(table_worker(&table, "eye"));
}
END_TEST

/* The right table, then what is wrong with it, then how that is said. */
static void expect(const char *text) {
    char error[512] = "";
    ck_assert_msg(table_check(&table, error, sizeof error) == -EINVAL, "not refused: %s", text);
    ck_assert_str_eq(error, text);
}
#define WRONG(text, ...)                                                                           \
    do {                                                                                           \
        make();                                                                                    \
        __VA_ARGS__;                                                                               \
        expect(text);                                                                              \
    } while (0)
#define RIGHT(...)                                                                                 \
    do {                                                                                           \
        char error_[512] = "";                                                                     \
        make();                                                                                    \
        __VA_ARGS__;                                                                               \
        ck_assert_msg(table_check(&table, error_, sizeof error_) == 0, "%s", error_);              \
    } while (0)

START_TEST(right) {
    RIGHT();
    RIGHT(table.workers_n = table.sections_n = 0);
    RIGHT(table.mode = 0664; table.group_name[0] = '\0');
    RIGHT(strcpy(workers[0].user, "www-data"));
    RIGHT(strcpy(workers[0].user, "_apt"));
    RIGHT(strcpy(workers[0].user, "0"));
    RIGHT(strcpy(workers[0].user, "4294967294"));
    RIGHT(sections[RAW].pinned = true; sections[RAW].offset = (64 << 20) - 4096);
    RIGHT(sections[CAM].stale_ms = TABLE_STALE_MS_MAX; strcpy(sections[CAM].format, "cam/2 (x)"));
    RIGHT(sections[SLOTS].shared = true; strcpy(sections[SLOTS].write_group, "clerks"));
    RIGHT(table.backend = SHM_BACKEND_MEMFD; strcpy(sections[CAM].read_group, "1000"));
}
END_TEST

START_TEST(wrong_segment) {
    WRONG("segment: key is 0, which names no segment (UPDATE segment SET key = '0x53484D31')",
          table.key = 0);
    WRONG("segment: size is 1048577; it must be a multiple of 4096 from 1048576 to "
          "70368744177664 (UPDATE segment SET size = 67108864)",
          table.size = 1048577);
    WRONG("segment: size is 4096; it must be a multiple of 4096 from 1048576 to 70368744177664 "
          "(UPDATE segment SET size = 67108864)",
          table.size = 4096);
    WRONG("segment: size is 70368744181760; it must be a multiple of 4096 from 1048576 to "
          "70368744177664 (UPDATE segment SET size = 67108864)",
          table.size = TABLE_SEGMENT_MAX + 4096);
    WRONG("segment: backend must be sysv or memfd (UPDATE segment SET backend = 'sysv')",
          table.backend = SHM_BACKEND_PRIVATE);
    WRONG("segment: mode is 0666; it must be 0660 (only the group attaches) or 0664 (others may "
          "read) (UPDATE segment SET mode = '0660')",
          table.mode = 0666);
    WRONG("segment: group_name 'a b' is neither a group's name nor a number (UPDATE segment SET "
          "group_name = 'shm-workers')",
          strcpy(table.group_name, "a b"));
}
END_TEST

START_TEST(wrong_worker) {
    WRONG("worker 'a?b': its name is not 1 to 63 of letters, digits, _ . and -, a letter first "
          "(DELETE the row, and INSERT it with another name)",
          strcpy(workers[0].name, "a\nb"));
    WRONG("worker 'a?b': its name is not 1 to 63 of letters, digits, _ . and -, a letter first "
          "(DELETE the row, and INSERT it with another name)",
          strcpy(workers[0].name, "a\177b"));
    WRONG("worker 'eye': user '-1' is neither an account's name nor a number (UPDATE worker SET "
          "user = NULL WHERE name = 'eye' allows any that may attach)",
          strcpy(workers[1].user, "-1"));
    WRONG("worker 'eye': user '4294967295' is neither an account's name nor a number (UPDATE "
          "worker SET user = NULL WHERE name = 'eye' allows any that may attach)",
          strcpy(workers[1].user, "4294967295"));
    WRONG("worker 'eye': user 65534 (nobody) stands for every uid that can't be told, and never "
          "matches (UPDATE worker SET user = NULL WHERE name = 'eye' allows any that may attach)",
          strcpy(workers[1].user, "65534"));
    WRONG("worker 'eye': instances is 0; it must be 1 to 1024 (UPDATE worker SET instances = 1 "
          "WHERE name = 'eye')",
          workers[1].instances = 0);
    WRONG("worker 'eye': instances is 1025; it must be 1 to 1024 (UPDATE worker SET instances = 1 "
          "WHERE name = 'eye')",
          workers[1].instances = 1025);
    WRONG("worker 'eye': may_create is 67108865, more than the segment's 67108864 bytes (UPDATE "
          "worker SET may_create = 0 WHERE name = 'eye')",
          workers[1].may_create = 67108865);
    WRONG("worker 'WEB': there is a worker 'web' too, and names that differ only in case are one "
          "name (rename or delete one of them)",
          strcpy(workers[0].name, "WEB");
          table.sections_n = 0);
    WRONG("worker 'driver': the rows don't come sorted by name", strcpy(workers[1].name, "driver");
          strcpy(workers[0].name, "eye"));
}
END_TEST

START_TEST(longest_worker) {
    char text[256], name[SHM_NAME_BYTES];
    memset(name, 'x', sizeof name);
    name[61] = '\0';
    RIGHT(strcpy(workers[2].name, name); workers[2].instances = 9; table.sections_n = 4);
    snprintf(text, sizeof text,
             "worker '%s': with '#10' behind it the name is longer than 63 (DELETE it and INSERT "
             "one with a shorter name)",
             name);
    WRONG(text, strcpy(workers[2].name, name); workers[2].instances = 10);
}
END_TEST

START_TEST(wrong_name) {
    WRONG("section 11: name 'c?m' is not 1 to 63 of letters, digits, _ . and -, a letter first "
          "(UPDATE section SET name = 'other' WHERE id = 11)",
          strcpy(sections[CAM].name, "c'm"));
    WRONG("section 'CAM': there is a section 'cam' too, and names that differ only in case are "
          "one name (rename or delete one of them)",
          strcpy(sections[PART].name, "CAM");
          strcpy(sections[RAW].name, "zz"));
    WRONG("section 'cam': there is a section 'cam' too, and names that differ only in case are "
          "one name (rename or delete one of them)",
          strcpy(sections[PART].name, "cam"));
    WRONG("section 'cam': its id 1 is not above 0 and its predecessor's", sections[CAM].id = 1);
    WRONG("section 'raw': its id 0 is not above 0 and its predecessor's", sections[RAW].id = 0);
    WRONG("section '?[31m': its id 0 is not above 0 and its predecessor's", sections[RAW].id = 0,
          strcpy(sections[RAW].name, "\033[31m"));
}
END_TEST

START_TEST(wrong_owner) {
    WRONG("section 'cam': owner 'a b' is not a worker's name, nor one with '#1' to '#1024' "
          "(UPDATE section SET owner = 'worker' WHERE name = 'cam')",
          strcpy(sections[CAM].owner, "a b"));
    WRONG("section 'cam': its owner 'ghost#2' has no row in the worker table (INSERT INTO "
          "worker(name) VALUES('ghost'))",
          strcpy(sections[CAM].owner, "ghost#2"));
    WRONG("section 'cam': its owner 'web#5' is beyond the worker's 4 instances (UPDATE worker SET "
          "instances = 5 WHERE name = 'web')",
          strcpy(sections[CAM].owner, "web#5"));
    WRONG("section 'cam': its owner 'web' has 4 instances, and it must name one (UPDATE section "
          "SET owner = 'web#1' WHERE name = 'cam')",
          strcpy(sections[CAM].owner, "web"));
    WRONG("section 'cam': worker 'eye' has one instance, which goes by its bare name (UPDATE "
          "section SET owner = 'eye' WHERE name = 'cam')",
          strcpy(sections[CAM].owner, "eye#1"));
}
END_TEST

START_TEST(wrong_shape) {
    WRONG("section 'cam': kind must be raw, snapshot, slots or queue (UPDATE section SET kind = "
          "'snapshot' WHERE name = 'cam')",
          sections[CAM].kind = (enum shm_kind)5);
    WRONG("section 'cam': format '?' is not at most 63 printable ASCII characters (UPDATE "
          "section SET format = NULL WHERE name = 'cam')",
          strcpy(sections[CAM].format, "\177"));
    WRONG("section 'cam': format 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' "
          "is not at most 63 printable ASCII characters (UPDATE section SET format = NULL WHERE "
          "name = 'cam')",
          memset(sections[CAM].format, 'x', SHM_NAME_BYTES));
    WRONG("section 'cam': format 'a?b' is not at most 63 printable ASCII characters (UPDATE "
          "section SET format = NULL WHERE name = 'cam')",
          strcpy(sections[CAM].format, "a\tb"));
    WRONG("section 'raw': count is 4; a raw section has none (UPDATE section SET count = NULL "
          "WHERE name = 'raw')",
          sections[RAW].count = 4);
    WRONG("section 'cam': count is 1; a snapshot needs 2 to 256 buffers (UPDATE section SET count "
          "= 4 WHERE name = 'cam')",
          sections[CAM].count = 1);
    WRONG("section 'cam': count is 257; a snapshot needs 2 to 256 buffers (UPDATE section SET "
          "count = 4 WHERE name = 'cam')",
          sections[CAM].count = 257);
    WRONG("section 'items': count is 0; slots need 1 to 65536 items (UPDATE section SET count = 4 "
          "WHERE name = 'items')",
          sections[SLOTS].count = 0);
    WRONG("section 'orders': count is 16384; a queue needs 1 to 16383 lanes (UPDATE section SET "
          "count = 4 WHERE name = 'orders')",
          sections[QUEUE].count = 16384);
}
END_TEST

START_TEST(wrong_extent) {
    WRONG("section 'cam': size is 0; it must be 1 byte at least (UPDATE section SET size = 4096 "
          "WHERE name = 'cam')",
          sections[CAM].size = 0);
    WRONG("section 'cam': size 16777216 with count 4 takes more than the segment's 67108864 bytes "
          "(lower them, or make the segment larger: UPDATE segment SET size = ...)",
          sections[CAM].size = 16 << 20);
    WRONG("section 'cam': size 18446744073709551615 with count 4 takes more than the segment's "
          "67108864 bytes (lower them, or make the segment larger: UPDATE segment SET size = ...)",
          sections[CAM].size = UINT64_MAX);
    WRONG("section 'items': size 9223372036854775807 with count 4 takes more than the segment's "
          "67108864 bytes (lower them, or make the segment larger: UPDATE segment SET size = ...)",
          sections[SLOTS].size = INT64_MAX);
    WRONG("section 'raw': offset 100 is no multiple of 4096 (UPDATE section SET offset = NULL "
          "WHERE name = 'raw' leaves the place to the manager)",
          sections[RAW].pinned = true;
          sections[RAW].offset = 100);
    WRONG("section 'raw': from offset 67108864 its 4096 bytes reach beyond the segment's 67108864 "
          "(UPDATE section SET offset = NULL WHERE name = 'raw' leaves the place to the manager)",
          sections[RAW].pinned = true;
          sections[RAW].offset = 64 << 20);
    WRONG("section 'raw': from offset 18446744073709547520 its 4096 bytes reach beyond the "
          "segment's 67108864 (UPDATE section SET offset = NULL WHERE name = 'raw' leaves the "
          "place to the manager)",
          sections[RAW].pinned = true;
          sections[RAW].offset = UINT64_MAX - 4095);
}
END_TEST

START_TEST(wrong_times) {
    WRONG("section 'cam': stale_ms is 31622400001; it must be at most 31622400000, or 0 for never "
          "(UPDATE section SET stale_ms = 0 WHERE name = 'cam')",
          sections[CAM].stale_ms = TABLE_STALE_MS_MAX + 1);
    WRONG("section 'cam': stamp must be precise, coarse or none, and notify demand, always or "
          "never (UPDATE section SET stamp = 'precise', notify = 'demand' WHERE name = 'cam')",
          sections[CAM].stamp = (enum table_stamp)3);
    WRONG("section 'cam': stamp must be precise, coarse or none, and notify demand, always or "
          "never (UPDATE section SET stamp = 'precise', notify = 'demand' WHERE name = 'cam')",
          sections[CAM].notify = (enum table_notify)3);
    WRONG("section 'raw': stale_ms is 500, but a raw section has no times to tell by (UPDATE "
          "section SET stale_ms = 0 WHERE name = 'raw')",
          sections[RAW].stale_ms = 500);
    WRONG("section 'cam': stale_ms is 500, but stamp 'none' has no times to tell by (UPDATE "
          "section SET stale_ms = 0 WHERE name = 'cam')",
          sections[CAM].stale_ms = 500;
          sections[CAM].stamp = TABLE_STAMP_NONE);
}
END_TEST

START_TEST(wrong_access) {
    WRONG("section 'cam': read_group and write_group are a group's name or number, or NULL "
          "(UPDATE section SET read_group = NULL, write_group = NULL WHERE name = 'cam')",
          strcpy(sections[CAM].read_group, "$"));
    WRONG("section 'items': read_group and write_group are a group's name or number, or NULL "
          "(UPDATE section SET read_group = NULL, write_group = NULL WHERE name = 'items')",
          strcpy(sections[SLOTS].write_group, "1x"));
    WRONG("section 'cam': read_group is 'staff', which backend sysv can't enforce: whoever may "
          "attach may read (UPDATE section SET read_group = NULL WHERE name = 'cam')",
          strcpy(sections[CAM].read_group, "staff"));
    WRONG("section 'cam': write_group is 'staff', but only its owner writes a snapshot section "
          "(UPDATE section SET write_group = NULL WHERE name = 'cam')",
          strcpy(sections[CAM].write_group, "staff"));
    WRONG("section 'cam': shared is for raw and slots, not for a snapshot (UPDATE section SET "
          "shared = 0 WHERE name = 'cam')",
          sections[CAM].shared = true);
}
END_TEST

START_TEST(wrong_slots) {
    WRONG("section 'items': clear must be never, free or restart (UPDATE section SET clear = "
          "'never' WHERE name = 'items')",
          sections[SLOTS].clear = (enum table_clear)7);
    WRONG("section 'cam': pregrab is for slots, not for a snapshot (UPDATE section SET pregrab = "
          "0, clear = 'never' WHERE name = 'cam')",
          sections[CAM].pregrab = true);
    WRONG("section 'orders': clear is for slots, not for a queue (UPDATE section SET pregrab = 0, "
          "clear = 'never' WHERE name = 'orders')",
          sections[QUEUE].clear = TABLE_CLEAR_FREE);
}
END_TEST

/* The error's buffer is never overrun, however long the texts are. */
START_TEST(short_buffer) {
    char error[24];
    memset(error, 'x', sizeof error);
    make();
    memset(sections[CAM].name, '\xff', SHM_NAME_BYTES);
    ck_assert_int_eq(table_check(&table, error, 8), -EINVAL);
    ck_assert_str_eq(error, "section");
    ck_assert_int_eq(error[8], 'x');
}
END_TEST

UNIT_MAIN("table", what_is_a_name, words_and_values, owners, right, wrong_segment, wrong_worker,
          longest_worker, wrong_name, wrong_owner, wrong_shape, wrong_extent, wrong_times,
          wrong_access, wrong_slots, short_buffer)
