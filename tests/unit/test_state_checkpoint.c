/* SPDX-License-Identifier: Apache-2.0
 *
 * Saved values in state.db: nothing of what is staged counts before the flip, everything after it;
 * what was changed behind our back is noticed, value by value.
 */
#include "core/crc32c.h"
#include "state_checkpoint.h"
#include "state_fixture.h"
#include "state_parts.h"

#include <errno.h>
#include <sys/stat.h>

static void stage(uint64_t section_id, const char *text, size_t piece) {
    const size_t bytes = strlen(text);
    struct saved_value value = {.section_id = section_id,
                                .name = "temps",
                                .format = "temps/1",
                                .kind = SHM_KIND_SNAPSHOT,
                                .incarnation = 3,
                                .version = 4,
                                .bytes = bytes,
                                .mono_ns = UINT64_MAX,
                                .real_ns = 6,
                                .boot_id = {7},
                                .data_crc = crc32c(text, bytes)};
    ck_assert_int_eq(state_save_begin(db), 0);
    int64_t id = state_save_id(db);
    ck_assert_int_gt(id, 0);
    for (size_t at = 0; at < bytes; at += piece)
        ck_assert_int_eq(state_save_chunk(db, id, at / piece, text + at,
                                          bytes - at < piece ? bytes - at : piece),
                         0);
    ck_assert_int_eq(state_save_value(db, id, &value), 0);
    ck_assert_int_eq(state_save_end(db, 0), 0);
}

static void flip(uint64_t real_ns) {
    ck_assert_int_eq(state_save_begin(db), 0);
    ck_assert_int_eq(state_save_flip(db, real_ns), 0);
    ck_assert_int_eq(state_save_end(db, 0), 0);
}

static char found[400];

static int note(const struct saved_value *value, int64_t id, bool intact, void *where) {
    (void)where;
    char *text = calloc(1, value->bytes < 1000 ? value->bytes + 1 : 1000);
    int r = intact ? state_saved_data(db, id, value, text) : 0;
    size_t n = strlen(found);
    if (intact)
        ck_assert(strcmp(value->name, "temps") == 0 && strcmp(value->format, "temps/1") == 0 &&
                  value->kind == SHM_KIND_SNAPSHOT && value->incarnation == 3 &&
                  value->version == 4 && value->mono_ns == UINT64_MAX && value->real_ns == 6 &&
                  value->boot_id[0] == 7);
    snprintf(found + n, sizeof found - n, "%llu:%s ", (unsigned long long)value->section_id,
             !intact ? "row"
             : r < 0 ? strerrorname_np(-r)
                     : text);
    free(text);
    return 0;
}

static const char *saved(void) {
    found[0] = '\0';
    ck_assert_int_eq(state_saved_each(db, note, NULL), 0);
    return found;
}

static int sweep(unsigned chunks) {
    ck_assert_int_eq(state_save_begin(db), 0);
    int n = state_save_sweep(db, 4097 * chunks);
    ck_assert_int_eq(state_save_end(db, n < 0 ? n : 0), 0);
    return n;
}

static int64_t count_chunks(void) {
    return state_number(db, "SELECT count(*) FROM chunk", NULL, -1);
}

static int count_whole(const struct saved_value *value, int64_t id, bool intact, void *where) {
    char text[4000] = "";
    ck_assert(intact);
    if (state_saved_data(db, id, value, text) < 0)
        return 0;
    ck_assert_uint_eq(strspn(text, (char[]){text[0], '\0'}), 50 + (value->section_id - 1) * 90);
    ck_assert_int_eq(text[0], 'a' + (int)(value->section_id - 1) % 26);
    ++*(unsigned *)where;
    return 0;
}

START_TEST(what_is_staged_counts_with_the_flip) {
    begin_db("flip.db");
    ck_assert_str_eq(saved(), "");
    ck_assert_uint_eq(state_saved_when(db), 0);
    stage(2, "second", 100);
    stage(1, "first", 2);
    ck_assert_str_eq(saved(), "");
    flip(11);
    ck_assert_str_eq(saved(), "1:first 2:second ");
    ck_assert_uint_eq(state_saved_when(db), 11);
    stage(1, "", 1);
    stage(3, "third", 5);
    ck_assert_str_eq(saved(), "1:first 2:second ");
    reopen();
    ck_assert_str_eq(saved(), "1:first 2:second ");
    flip(12);
    ck_assert_str_eq(saved(), "1: 2:second 3:third ");
    end_db();
}
END_TEST

START_TEST(what_is_not_needed_goes) {
    begin_db("sweep.db");
    stage(1, "first", 1);
    flip(1);
    stage(1, "1st", 1);
    ck_assert_int_eq(sweep(100), 0);
    flip(2);
    ck_assert_int_eq(count_chunks(), 8);
    ck_assert_int_eq(sweep(3), 1);
    ck_assert_int_eq(count_chunks(), 5);
    ck_assert_int_eq(sweep(3), 0);
    ck_assert_int_eq(count_chunks(), 3);
    ck_assert_str_eq(saved(), "1:1st ");
    stage(2, "never", 5);
    ck_assert_int_eq(state_save_begin(db), 0);
    ck_assert_int_eq(state_save_drop(db), 0);
    ck_assert_int_eq(state_save_end(db, 0), 0);
    flip(3);
    ck_assert_int_eq(sweep(3), 0);
    ck_assert_int_eq(count_chunks(), 3);
    ck_assert_int_eq(state_save_begin(db), 0);
    ck_assert_int_eq(state_save_forget(db, 1), 0);
    ck_assert_int_eq(state_save_end(db, -EIO), -EIO); /* undone */
    ck_assert_str_eq(saved(), "1:1st ");
    ck_assert_int_eq(state_save_begin(db), 0);
    ck_assert_int_eq(state_save_forget(db, 1), 0);
    ck_assert_int_eq(state_save_end(db, 0), 0);
    ck_assert_str_eq(saved(), "");
    end_db();
}
END_TEST

START_TEST(damage_is_noticed) {
    static const struct {
        const char *sql, *found;
    } damages[] = {
        {"UPDATE saved SET bytes = 4", "1:row 2:second "},
        {"UPDATE saved SET bytes = -1", "1:row 2:second "},
        {"UPDATE saved SET name = 'tempt'", "1:row 2:second "},
        {"UPDATE saved SET name = printf('%64d', 1)", "1:row 2:second "},
        {"UPDATE saved SET format = ''", "1:row 2:second "},
        {"UPDATE saved SET kind = 1", "1:row 2:second "},
        {"UPDATE saved SET incarnation = 4", "1:row 2:second "},
        {"UPDATE saved SET version = 5", "1:row 2:second "},
        {"UPDATE saved SET mono_ns = 1", "1:row 2:second "},
        {"UPDATE saved SET real_ns = 1", "1:row 2:second "},
        {"UPDATE saved SET boot_id = x'00'", "1:row 2:second "},
        {"UPDATE saved SET boot_id = zeroblob(16)", "1:row 2:second "},
        {"UPDATE saved SET data_crc = 1", "1:row 2:second "},
        {"UPDATE saved SET crc = crc + (1 << 32)", "1:row 2:second "},
        {"UPDATE saved SET section_id = 0", "0:row 2:second "},
        {"UPDATE saved SET id = 99", "1:EBADMSG 2:second "},
        {"UPDATE chunk SET data = x'00'", "1:EBADMSG 2:second "},
        {"UPDATE chunk SET data = zeroblob(2000000)", "1:EBADMSG 2:second "},
        {"DELETE FROM chunk", "1:EBADMSG 2:second "},
        {"UPDATE chunk SET part = 3", "1:EBADMSG 2:second "},
    };
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        char sql[200];
        begin_db("damage.db");
        stage(1, "first", 3);
        stage(2, "second", 3);
        flip(1);
        snprintf(sql, sizeof sql, "%s WHERE %s", damages[i].sql,
                 strstr(damages[i].sql, "chunk") ? "id = 1 AND part = 1" : "section_id = 1");
        with_sql(sql);
        ck_assert_msg(strcmp(saved(), damages[i].found) == 0, "%s: %s", sql, found);
        unlink(path);
        end_db();
    }
}
END_TEST

START_TEST(an_older_database_is_upgraded) {
    begin_db("old.db");
    ck_assert_int_eq(state_db_remember(db, "shmid", 5), 0);
    state_db_close(db);
    with_sql(STATE_FORMER "DROP TABLE saved; DROP TABLE chunk; PRAGMA user_version = 1");
    open_db();
    ck_assert_int_eq(state_db_recall(db, "shmid", 0), 5);
    stage(1, "first", 3);
    flip(1);
    reopen();
    ck_assert_str_eq(saved(), "1:first ");
    end_db();
}
END_TEST

/* Each page of the file is destroyed in turn: what stood elsewhere is taken over into the new one,
 * and nothing else. */
START_TEST(out_of_a_damaged_file_comes_what_is_whole) {
    static char texts[30][3000];
    unsigned set_aside = 0, all = 0, some = 0;
    begin_db("salvage.db");
    for (unsigned i = 0; i < 30; i++) {
        memset(texts[i], 'a' + (int)i % 26, 50 + i * 90);
        stage(i + 1, texts[i], 1000);
    }
    flip(9);
    state_db_close(db);
    char copy[PATH_MAX], error[512], command[2 * PATH_MAX + 20];
    snprintf(copy, sizeof copy, "%s.kept", path);
    snprintf(command, sizeof command, "cp %s %s", path, copy);
    ck_assert_int_eq(system(command), 0);
    struct stat whole;
    ck_assert_int_eq(stat(copy, &whole), 0);
    for (off_t page = 0; page < whole.st_size / 4096; page++) {
        snprintf(command, sizeof command, "cp %s %s", copy, path);
        ck_assert_int_eq(system(command), 0);
        FILE *file = fopen(path, "r+");
        ck_assert_ptr_nonnull(file);
        fseek(file, page * 4096, SEEK_SET);
        for (int i = 0; i < 4096; i++)
            fputc(0xa5, file);
        fclose(file);
        error[0] = '\0';
        ck_assert_msg(state_db_open(&db, path, error, sizeof error) == 0, "%s", error);
        set_aside += error[0] != '\0';
        unsigned whole_values = 0;
        ck_assert_int_eq(state_saved_each(db, count_whole, &whole_values), 0);
        all += whole_values == 30;
        some += whole_values > 0;
        state_db_close(db);
        snprintf(command, sizeof command, "rm -f %s.damaged-*", path);
        ck_assert_int_eq(system(command), 0);
    }
    unsigned pages = (unsigned)(whole.st_size / 4096);
    /* Lost are all with the first page, the tables' roots and what names them. */
    ck_assert_msg(set_aside == pages && some * 4 > pages * 3 && all >= 2, "%u pages: %u, %u, %u",
                  pages, set_aside, some, all);
    db = NULL;
    end_db();
}
END_TEST

START_TEST(what_cannot_be_written_fails) {
    begin_db("fail.db");
    stage(1, "first", 3);
    flip(1);
    ck_assert_int_eq(state_save_begin(db), 0);
    ck_assert_int_lt(state_save_begin(db), 0); /* undoes nothing */
    ck_assert_int_eq(state_save_chunk(db, 9, 0, "x", 1), 0);
    ck_assert_int_lt(state_save_chunk(db, 9, 0, "x", 1), 0);
    ck_assert_int_eq(state_save_end(db, -EIO), -EIO);
    ck_assert_str_eq(saved(), "1:first ");
    with_sql("DROP TABLE chunk");
    ck_assert_int_lt(state_save_id(db), 0);
    ck_assert_int_lt(state_save_sweep(db, 1), 0);
    ck_assert_int_lt(state_save_chunk(db, 1, 0, "x", 1), 0);
    end_db();
}
END_TEST

/* A transaction of its own each. */
static unsigned shrink(uint64_t bytes) {
    unsigned steps = 0;
    for (int more = 1; more == 1; steps++) {
        ck_assert_int_eq(state_save_begin(db), 0);
        more = state_save_shrink(db, bytes);
        ck_assert_int_ge(more, 0);
        ck_assert_int_eq(state_save_end(db, 0), 0);
    }
    return steps;
}

START_TEST(room_that_is_not_used_is_given_back) {
    const size_t bytes = (size_t)8 << 20, piece = (size_t)1 << 20;
    struct stat file;
    char *text = malloc(bytes + 1);
    ck_assert_ptr_nonnull(text);
    memset(text, 'x', bytes);
    text[bytes] = '\0';
    begin_db("shrink.db");
    stage(1, "small", 5);
    stage(2, text, piece);
    flip(1);
    ck_assert_uint_eq(shrink(piece), 1); /* all is used */
    ck_assert_int_eq(state_save_begin(db), 0);
    ck_assert_int_eq(state_save_forget(db, 2), 0);
    ck_assert_int_eq(state_save_sweep(db, 2 * bytes), 0);
    ck_assert_int_eq(state_save_end(db, 0), 0);
    ck_assert(stat(path, &file) == 0 && file.st_size > (off_t)bytes);
    unsigned steps = shrink(piece);
    ck_assert_uint_ge(steps, 7);
    ck_assert_uint_le(steps, 9);
    ck_assert(stat(path, &file) == 0 && file.st_size < (off_t)(2 * piece));
    ck_assert_str_eq(saved(), "1:small ");
    stage(2, text, piece); /* what was given back is had again */
    flip(2);
    ck_assert_uint_eq(shrink(piece), 1);
    ck_assert_int_eq(count_chunks(), 9);
    end_db();
    free(text);
}
END_TEST

START_TEST(a_file_of_an_earlier_version_stays_as_large) {
    begin_db("old.db");
    with_sql("PRAGMA auto_vacuum = NONE; VACUUM; CREATE TABLE t(x); "
             "INSERT INTO t VALUES(zeroblob(8000000)); DROP TABLE t");
    ck_assert_uint_eq(shrink(1), 1);
    end_db();
}
END_TEST

UNIT_MAIN("state_checkpoint", what_is_staged_counts_with_the_flip, what_is_not_needed_goes,
          damage_is_noticed, an_older_database_is_upgraded,
          out_of_a_damaged_file_comes_what_is_whole, what_cannot_be_written_fails,
          room_that_is_not_used_is_given_back, a_file_of_an_earlier_version_stays_as_large)
