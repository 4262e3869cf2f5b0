/* SPDX-License-Identifier: Apache-2.0
 *
 * The manager's memory: what was done is there after any end, what was only intended is settled by
 * the generation that runs.
 */
#include "plan_fixture.h"
#include "state_fixture.h"

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <sys/wait.h>

/* A segment and a table to begin with, and an empty state.db of this test's name. */
static void begin(const char *name) {
    begin_db(name);
    start(4 * MIB);
    worker("web")->instances = 3;
    strcpy(worker("alpha")->user, "www-data");
    worker("alpha")->may_create = 4096;
    struct table_section *row = add("temps", "alpha", 1000);
    row->stale_ms = 500;
    row->persist = true;
    row->stamp = TABLE_STAMP_COARSE;
    row->notify = TABLE_NOTIFY_ALWAYS;
    strcpy(row->format, "temps/2 \"x\"");
    row = add_raw("page", "web#2", 5000);
    row->pinned = row->shared = true;
    row->offset = MIB;
    strcpy(table.group_name, "shm-workers");
    table.auto_apply = true;
}

static void end(void) {
    end_db();
    stop();
}

static int64_t intend(void) {
    struct plan plan;
    int64_t edit = 0;
    ck_assert_msg(plan_make(&plan, &running, &table, NULL) == 0, "%s", plan.error);
    ck_assert_int_eq(
        state_db_intend(db, "uid 0 pid 7", "changes something", &plan.next, &table, &edit), 0);
    adopt(&plan);
    return edit;
}

static void edit(void) {
    ck_assert_int_eq(state_db_done(db, intend()), 0);
}

static bool placed(const struct layout *as) {
    struct layout found;
    ck_assert_int_eq(state_db_placement(db, &found), 0);
    bool same = same_layout(&found, as) && found.segment_bytes == as->segment_bytes &&
                found.arena_start == as->arena_start && found.workers_off == as->workers_off &&
                found.workers_capacity == as->workers_capacity &&
                found.attachments_off == as->attachments_off &&
                found.attachments_capacity == as->attachments_capacity &&
                found.bells_capacity == as->bells_capacity;
    layout_clear(&found);
    return same;
}

static bool good_table(const struct table *as) {
    struct table found;
    ck_assert_int_eq(state_db_good_table(db, &found), 0);
    bool same = found.key == as->key && found.size == as->size && found.backend == as->backend &&
                found.mode == as->mode && strcmp(found.group_name, as->group_name) == 0 &&
                found.lock_memory == as->lock_memory && found.auto_apply == as->auto_apply &&
                found.workers_n == as->workers_n && found.sections_n == as->sections_n &&
                memcmp(found.workers, as->workers, as->workers_n * sizeof *as->workers) == 0 &&
                (as->sections_n == 0 ||
                 memcmp(found.sections, as->sections, as->sections_n * sizeof *as->sections) == 0);
    table_clear(&found);
    return same;
}

/* "applied 3 changes something; rejected null nothing [why]; ...", newest first. */
static const char *history(unsigned limit) {
    static char text[4096];
    json_t *all = NULL, *row;
    size_t i, n = 0;
    text[0] = '\0';
    ck_assert_int_eq(state_db_history(db, limit, &all), 0);
    json_array_foreach(json_object_get(all, "edits"), i, row) {
        char *generation = json_dumps(json_object_get(row, "generation"), JSON_ENCODE_ANY);
        const char *why = json_string_value(json_object_get(row, "error"));
        const char *time = json_string_value(json_object_get(row, "time"));
        ck_assert_uint_eq(strlen(time), strlen("2026-11-20T23:36:27Z"));
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%lld %s %s %s%s%s", i > 0 ? "; " : "",
                              json_integer_value(json_object_get(row, "edit")),
                              json_string_value(json_object_get(row, "outcome")), generation,
                              json_string_value(json_object_get(row, "what")),
                              why == NULL ? "" : ": ", why == NULL ? "" : why);
        free(generation);
    }
    json_decref(all);
    return text;
}

START_TEST(empty) {
    struct layout layout;
    struct table nothing;
    struct stat stat_;
    begin("empty.db");
    ck_assert_int_eq(stat(path, &stat_), 0);
    ck_assert_uint_eq(stat_.st_mode & 07777, 0600);
    ck_assert_int_eq(state_db_placement(db, &layout), -ENOENT);
    ck_assert_int_eq(state_db_good_table(db, &nothing), -ENOENT);
    ck_assert_uint_eq(state_db_generation(db), 0);
    ck_assert_int_eq(state_db_settle(db, 0), 0);
    ck_assert_str_eq(history(10), "");
    ck_assert_int_eq(state_db_recall(db, "x", -7), -7);
    ck_assert_int_eq(state_db_remember(db, "x", INT64_MIN), 0);
    reopen();
    ck_assert_int_eq(state_db_recall(db, "x", -7), INT64_MIN);
    end();
}
END_TEST

START_TEST(what_was_done_is_there) {
    begin("done.db");
    edit();
    ck_assert(placed(&running) && good_table(&table));
    reopen();
    ck_assert(placed(&running) && good_table(&table));
    /* every kind of difference, the holes that they leave included */
    add("more", "beta", 2000);
    drop(1);
    edit();
    ck_assert(placed(&running) && good_table(&table));
    table.sections[0].stale_ms = 7;
    drop(1);
    table.workers_n = 2;
    edit();
    reopen();
    ck_assert(placed(&running) && good_table(&table));
    table.sections_n = 0;
    edit();
    edit();
    ck_assert(placed(&running) && good_table(&table));
    ck_assert_uint_eq(state_db_generation(db), 4);
    ck_assert_int_eq(state_db_done(db, 99), -ENOENT);
    ck_assert_int_eq(state_db_done(db, 4), -ENOENT);
    end();
}
END_TEST

/* Both places of a section that is moving, and what somebody keeps who had to leave. */
START_TEST(what_is_on_its_way_is_there) {
    static const bool held[] = {true, true, true, true};
    struct plan plan;
    begin("way.db");
    edit();
    table.sections[0].size = 3000;
    table.sections[1].kind = SHM_KIND_SNAPSHOT;
    table.sections[1].count = 2;
    table.sections[1].shared = false;
    table.sections[1].offset = 2 * MIB;
    const struct plan_facts facts = {.worker_held = held, .force = true};
    ck_assert_msg(plan_make(&plan, &running, &table, &facts) == 0, "%s", plan.error);
    ck_assert_uint_eq(plan.next.sections[0].state, SHM_PLACE_MOVING);
    ck_assert_uint_ne(plan.next.sections[0].old_slot, 0);
    int64_t id;
    ck_assert_int_eq(state_db_intend(db, "uid 0", "moves", &plan.next, &table, &id), 0);
    ck_assert_int_eq(state_db_done(db, id), 0);
    adopt(&plan);
    reopen();
    ck_assert(placed(&running) && good_table(&table));
    end();
}
END_TEST

/* The last record is free again, while an arena that was its worker's still waits. */
START_TEST(a_hole_at_the_end_is_kept) {
    begin("hole.db");
    add("more", "zeta", 2000);
    edit();
    table.sections_n--;
    table.workers_n--;
    edit();
    ck_assert_str_eq(running.workers[running.workers_used - 1], "");
    reopen();
    ck_assert(placed(&running) && good_table(&table));
    end();
}
END_TEST

START_TEST(what_was_intended_is_settled) {
    begin("settle.db");
    edit();
    struct layout before;
    ck_assert_int_eq(layout_copy(&before, &running), 0);
    /* killed before the flip */
    table.sections[0].stale_ms = 7;
    intend();
    reopen();
    ck_assert(placed(&before));
    ck_assert_uint_eq(state_db_generation(db), 2);
    ck_assert_int_eq(state_db_settle(db, before.generation), 0);
    ck_assert(placed(&before));
    ck_assert_str_eq(history(1), "2 abandoned 2 changes something");
    table.sections[0].stale_ms = 500;
    ck_assert(good_table(&table));
    /* killed behind it */
    layout_clear(&running);
    running = before;
    table.sections[0].stale_ms = 9;
    intend();
    reopen();
    ck_assert_int_eq(state_db_settle(db, running.generation), 0);
    ck_assert(placed(&running) && good_table(&table));
    ck_assert_str_eq(history(9), "3 applied 2 changes something; 2 abandoned 2 changes something; "
                                 "1 applied 1 changes something");
    ck_assert_int_eq(state_db_settle(db, 0), 0);
    ck_assert(placed(&running));
    end();
}
END_TEST

START_TEST(an_intent_that_was_left_is_overtaken) {
    begin("overtaken.db");
    edit();
    add("lost", "gamma", 5000);
    intend();
    drop(2);
    edit();
    reopen();
    ck_assert(placed(&running) && good_table(&table));
    ck_assert_str_eq(history(2), "3 applied 3 changes something; 2 abandoned 2 changes something");
    end();
}
END_TEST

START_TEST(an_edit_costs_what_it_changes) {
    char name[SHM_NAME_BYTES];
    begin("cost.db");
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "s%d", i);
        add(name, "alpha", 100);
    }
    edit();
    table.sections[100].stale_ms = 7;
    int64_t open_edit = intend();
    /* its descriptor, its row, and the generation */
    ck_assert_int_eq(count("SELECT count(*) FROM item WHERE stage = 1"), 3);
    ck_assert_int_eq(state_db_done(db, open_edit), 0);
    ck_assert_int_eq(count("SELECT count(*) FROM item WHERE stage = 1"), 0);
    ck_assert(placed(&running) && good_table(&table));
    end();
}
END_TEST

START_TEST(history_tells_newest_first) {
    begin("history.db");
    edit();
    ck_assert_int_eq(state_db_rejected(db, "uid 0 pid 8", "section 'a': no"), 0);
    ck_assert_int_eq(state_db_rejected(db, "uid 0 pid 9", "section 'a': no"), 0);
    ck_assert_str_eq(history(9),
                     "2 rejected null nothing: section 'a': no; 1 applied 1 changes something");
    ck_assert_int_eq(state_db_rejected(db, "uid 0 pid 9", "section 'b': no"), 0);
    ck_assert_int_eq(state_db_rejected(db, "uid 0 pid 9", "section 'a': no"), 0);
    ck_assert_str_eq(history(2), "4 rejected null nothing: section 'a': no; 3 rejected null "
                                 "nothing: section 'b': no");
    ck_assert_str_eq(history(0), "");
    end();
}
END_TEST

/* The row of the highest generation outlives its thousand: a new segment counts on from it. */
START_TEST(history_has_a_limit) {
    char why[32];
    begin("limit.db");
    edit();
    for (int i = 0; i < 1010; i++) {
        snprintf(why, sizeof why, "reason %d", i);
        ck_assert_int_eq(state_db_rejected(db, "uid 0 pid 8", why), 0);
    }
    ck_assert_int_eq(count("SELECT count(*) FROM edit"), 1001);
    ck_assert_int_eq(count("SELECT count(*) FROM edit WHERE outcome = 'rejected'"), 1000);
    ck_assert_str_eq(history(1), "1011 rejected null nothing: reason 1009");
    ck_assert_uint_eq(state_db_generation(db), 1);
    ck_assert(placed(&running));
    end();
}
END_TEST

/* ---- damage */

static void overwrite(off_t from, off_t bytes) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    uint8_t noise[4096];
    memset(noise, 0xa5, sizeof noise);
    for (; bytes > 0; bytes -= (off_t)sizeof noise, from += (off_t)sizeof noise)
        ck_assert_int_eq(pwrite(fd, noise, bytes < 4096 ? (size_t)bytes : sizeof noise, from) > 0,
                         1);
    close(fd);
}

/* Opens a damaged one: it is set aside, said so, and the new one works. */
static void expect_set_aside(void) {
    char error[512] = "", kept[512], mark[] = "it is kept as ";
    state_db_close(db);
    ck_assert_int_eq(state_db_open(&db, path, error, sizeof error), 0);
    const char *at = strstr(error, mark);
    ck_assert_msg(at != NULL, "%s", error);
    snprintf(kept, sizeof kept, "%.*s", (int)strcspn(at + strlen(mark), ","), at + strlen(mark));
    ck_assert_int_eq(access(kept, F_OK), 0);
    ck_assert_int_eq(unlink(kept), 0);
    struct stat stat_;
    ck_assert_int_eq(stat(path, &stat_), 0);
    ck_assert_uint_eq(stat_.st_mode & 07777, 0600);
    ck_assert_str_eq(history(9), "");
    edit();
    reopen();
    ck_assert(placed(&running));
}

START_TEST(a_damaged_file_is_set_aside) {
    begin("damaged.db");
    edit();
    overwrite(0, 100);
    expect_set_aside();
    overwrite(4096, 4096);
    expect_set_aside();
    ck_assert_int_eq(truncate(path, 5000), 0);
    expect_set_aside();
    with_sql("DROP TABLE item");
    expect_set_aside();
    end();
}
END_TEST

START_TEST(a_foreign_file_is_left_alone) {
    char error[512] = "", text[512];
    begin("foreign.db");
    edit();
    state_db_close(db);
    db = NULL;
    const char *sqls[] = {"PRAGMA user_version = 4",
                          "PRAGMA user_version = 3; PRAGMA application_id = 1"};
    for (int i = 0; i < 2; i++) {
        with_sql(sqls[i]);
        ck_assert_int_eq(state_db_open(&db, path, error, sizeof error), -EPROTONOSUPPORT);
        snprintf(
            text, sizeof text,
            "%s can't be used: it is another application's, or a newer version's: move it away",
            path);
        ck_assert_str_eq(error, text);
        ck_assert_ptr_null(db);
    }
    ck_assert_int_eq(count("SELECT count(*) FROM edit"), 1);
    ck_assert_int_eq(state_db_open(&db, temp_path("no/such.db"), error, sizeof error), -ENOENT);
    end();
}
END_TEST

/* Every flipped bit of the placement is noticed, in a value or in its checksum. */
START_TEST(a_damaged_placement_is_refused) {
    static const char *const sqls[] = {
        "UPDATE item SET data = substr(data, 1, 383) || x'ff' WHERE kind = 'descriptor'",
        "UPDATE item SET data = x'00' WHERE kind = 'arena'",
        "UPDATE item SET data = 5 WHERE kind = 'record'",
        "UPDATE item SET id = 4000000000 WHERE kind = 'descriptor' AND id = 1",
        "UPDATE item SET data = '{' WHERE kind = 'geometry'",
        "UPDATE item SET data = replace(data, '4194304', '4194305') WHERE kind = 'geometry'",
        "DELETE FROM item WHERE kind = 'record'",
        "UPDATE item SET stage = 0, data = NULL WHERE kind = 'descriptor'",
    };
    struct layout layout;
    for (size_t i = 0; i < sizeof sqls / sizeof *sqls; i++) {
        begin("placement.db");
        edit();
        with_sql(sqls[i]);
        ck_assert_msg(state_db_placement(db, &layout) == -EBADMSG, "%s", sqls[i]);
        unlink(path);
        end();
    }
}
END_TEST

START_TEST(a_damaged_table_is_refused) {
    static const char *const sqls[] = {
        "UPDATE item SET data = '[]' WHERE kind = 'section'",
        "UPDATE item SET data = replace(data, 'snapshot', 'parrot') WHERE kind = 'section'",
        "UPDATE item SET data = replace(data, 'alpha', printf('%64d', 1)) WHERE kind = 'section'",
        "UPDATE item SET data = replace(data, '\"count\":4', '\"count\":1') WHERE kind = 'section'",
        "UPDATE item SET data = replace(data, 'sysv', 'x') WHERE kind = 'segment'",
        "UPDATE item SET data = x'00' WHERE kind = 'worker'",
        "UPDATE item SET data = replace(data, 'count', 'cuont') WHERE kind = 'section'",
    };
    struct table found;
    for (size_t i = 0; i < sizeof sqls / sizeof *sqls; i++) {
        begin("good.db");
        edit();
        with_sql(sqls[i]);
        int r = state_db_good_table(db, &found);
        ck_assert_msg(r == -EBADMSG || r == -EINVAL, "%d: %s", r, sqls[i]);
        unlink(path);
        end();
    }
}
END_TEST

/* ---- killed with -9, wherever it is */

static _Noreturn void edit_for_ever(int pipe_fd) {
    for (uint64_t i = 1;; i++) {
        table.sections[0].stale_ms = 1 + running.generation % 1000;
        if (i % 3 == 0)
            add("come", "beta", 3000);
        else if (table.sections_n == 3)
            drop(2);
        int64_t open_edit = intend();
        if (write(pipe_fd, "i", 1) != 1 || state_db_done(db, open_edit) != 0 ||
            write(pipe_fd, "d", 1) != 1)
            _exit(1);
    }
}

static void kill_once(unsigned progress) {
    int fds[2];
    char byte = 0;
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    /* SQLite's handles don't survive a fork: the child opens its own */
    state_db_close(db);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        close(fds[0]);
        open_db();
        edit_for_ever(fds[1]);
    }
    close(fds[1]);
    for (unsigned i = 0; i < progress; i++)
        ck_assert_int_eq(read(fds[0], &byte, 1), 1);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    int status = 0;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status));
    close(fds[0]);
    open_db();
}

START_TEST(killed_anywhere) {
    struct layout layout;
    struct table found;
    begin("killed.db");
    edit();
    uint64_t generation = 1, in_force = 1;
    for (unsigned i = 0; i < 60; i++) {
        kill_once(1 + i % 7);
        const uint64_t highest = state_db_generation(db);
        ck_assert_uint_ge(highest, generation + (1 + i % 7) / 2);
        ck_assert_int_eq(state_db_placement(db, &layout), 0);
        ck_assert_uint_ge(layout.generation, in_force);
        ck_assert_uint_le(layout.generation, highest);
        layout_clear(&layout);
        /* the segment has, or has not, seen the flip */
        ck_assert_int_eq(state_db_settle(db, i % 2 == 0 ? highest : highest - 1), 0);
        ck_assert_int_eq(count("SELECT count(*) FROM item WHERE stage = 1"), 0);
        ck_assert_int_eq(count("SELECT count(*) FROM edit WHERE outcome = 'intended'"), 0);
        layout_clear(&running);
        ck_assert_int_eq(state_db_placement(db, &running), 0);
        ck_assert_int_eq(state_db_good_table(db, &found), 0);
        memcpy(table.sections, found.sections, found.sections_n * sizeof *found.sections);
        table.sections_n = found.sections_n;
        table_clear(&found);
        next_id += 1000; /* the child's ids are its own */
        in_force = running.generation;
        running.generation = generation = highest; /* each is given out once */
    }
    end();
}
END_TEST

UNIT_MAIN("state_db", empty, what_was_done_is_there, what_is_on_its_way_is_there,
          a_hole_at_the_end_is_kept, what_was_intended_is_settled,
          an_intent_that_was_left_is_overtaken, an_edit_costs_what_it_changes,
          history_tells_newest_first, history_has_a_limit, a_damaged_file_is_set_aside,
          a_foreign_file_is_left_alone, a_damaged_placement_is_refused, a_damaged_table_is_refused,
          killed_anywhere)
