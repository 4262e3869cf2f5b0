/* SPDX-License-Identifier: Apache-2.0
 *
 * The table as it was: whatever was edited since, each one that was in force can be had again,
 * exactly, as long as it is kept.
 */
#include "plan_fixture.h"
#include "state_fixture.h"
#include "state_parts.h"
#include "table_json.h"

#include <errno.h>
#include <jansson.h>
#include <time.h>

static unsigned random_state;

static unsigned pick(unsigned n) {
    return (unsigned)rand_r(&random_state) % n;
}

/* Nothing here ends without warning. */
static void hurry(void) {
    ck_assert_int_eq(sqlite3_exec(db->sql, "PRAGMA synchronous = OFF", NULL, NULL, NULL), 0);
}

static void begin(const char *name) {
    begin_db(name);
    hurry();
    start(4 * MIB);
    strcpy(table.group_name, "shm-workers");
    add("temps", "alpha", 1000);
    add("page", "beta", 2000);
}

static void end(void) {
    end_db();
    stop();
}

/* Its memory is nothing to state.db: any generation will do for a placement. */
static int64_t intend(void) {
    int64_t edit = 0;
    ck_assert_int_eq(state_db_intend(db, "uid 0", "something", &running, &table, &edit), 0);
    return edit;
}

static int64_t edit(void) {
    running.generation++;
    const int64_t id = intend();
    ck_assert_int_eq(state_db_done(db, id), 0);
    return id;
}

static int64_t edit_workers(void) { /* which flips nothing */
    const int64_t id = intend();
    ck_assert_int_eq(state_db_done(db, id), 0);
    return id;
}

static json_t *table_at(const char *when) {
    char error_text[512] = "";
    json_t *json = NULL;
    int r = state_db_table_at(db, when, &json, error_text, sizeof error_text);
    ck_assert_msg(r == 0, "%s: %d %s", when, r, error_text);
    return json;
}

static const char *edit_name(int64_t id) {
    static char text[32];
    snprintf(text, sizeof text, "edit:%lld", (long long)id);
    return text;
}

/* Takes `as`. */
static void expect_table(const char *when, json_t *as) {
    json_t *found = table_at(when);
    json_object_del(found, "generation");
    json_object_del(found, "edit");
    json_object_del(found, "taken");
    if (!json_equal(found, as))
        ck_abort_msg("%s is\n%s\nnot\n%s", when, json_dumps(found, 0), json_dumps(as, 0));
    json_decref(found);
    json_decref(as);
}

static void expect_none(const char *when, int result, const char *text) {
    char error_text[512] = "";
    json_t *json = NULL;
    ck_assert_int_eq(state_db_table_at(db, when, &json, error_text, sizeof error_text), result);
    ck_assert_str_eq(error_text, text);
    ck_assert_ptr_null(json);
}

/* "3 cam is other, ...": the ids that are other sections' by now. */
static const char *taken(const char *when) {
    static char text[512];
    json_t *found = table_at(when), *row;
    size_t i, n = 0;
    text[0] = '\0';
    json_array_foreach(json_object_get(found, "taken"), i, row) {
        n += (size_t)snprintf(text + n, sizeof text - n, "%lld %s is %s, ",
                              json_integer_value(json_object_get(row, "id")),
                              json_string_value(json_object_get(row, "then")),
                              json_string_value(json_object_get(row, "now")));
    }
    json_decref(found);
    return text;
}

/* ---- any edits */

static void change_section(void) {
    static unsigned serial;
    char name[SHM_NAME_BYTES];
    snprintf(name, sizeof name, "s%u", serial++);
    switch (table.sections_n == 0 ? 0 : pick(6)) {
    case 0:
    case 1:
        if (table.sections_n < 20)
            add(name, table.workers[pick((unsigned)table.workers_n)].name, 1 + pick(9000));
        break;
    case 2:
        drop(pick((unsigned)table.sections_n));
        break;
    case 3:
        strcpy(table.sections[pick((unsigned)table.sections_n)].name, name);
        break;
    default:
        table.sections[pick((unsigned)table.sections_n)].size = 1 + pick(9000);
    }
}

static void drop_worker(size_t i) {
    for (size_t j = 0; j < table.sections_n; j++)
        if (strcmp(table.sections[j].owner, table.workers[i].name) == 0)
            return;
    memmove(&table.workers[i], &table.workers[i + 1],
            (table.workers_n - i - 1) * sizeof *table.workers);
    table.workers_n--;
}

static void change_worker(void) {
    static const char *const names[] = {"alpha", "beta", "delta", "epsilon", "Zeta"};
    struct table_worker *row = worker(names[pick(5)]);
    if (pick(2))
        row->may_create = pick(4096);
    else
        snprintf(row->user, sizeof row->user, "user%u", pick(9));
    if (table.workers_n > 2 && pick(2))
        drop_worker(pick((unsigned)table.workers_n));
}

static void change_something(void) {
    const unsigned changes = 1 + pick(3);
    for (unsigned i = 0; i < changes; i++) {
        if (pick(4) == 0)
            change_worker();
        else if (pick(10) == 0)
            table.lock_memory = !table.lock_memory;
        else
            change_section();
    }
    if (pick(20) == 0)
        table.sections_n = 0;
}

#define WALK 200

struct walked {
    int64_t edit;
    uint64_t generation;
    json_t *table;
};

/* One edit, of which some are only of workers, and some begin and come to nothing. */
static struct walked walk_once(void) {
    change_something();
    if (pick(10) == 0) {
        running.generation++;
        intend();
        if (pick(2))
            reopen();
        hurry();
        ck_assert_int_eq(state_db_settle(db, --running.generation), 0);
    }
    if (pick(12) == 0)
        ck_assert_int_eq(state_db_rejected(db, "uid 0", "because"), 0);
    const int64_t id = pick(6) == 0 ? edit_workers() : edit();
    return (struct walked){id, running.generation, table_json(&table)};
}

static void expect_walked(const struct walked *walked, bool last_of_its_generation) {
    char generation[24];
    snprintf(generation, sizeof generation, "%llu", (unsigned long long)walked->generation);
    expect_table(edit_name(walked->edit), json_incref(walked->table));
    if (last_of_its_generation)
        expect_table(generation, json_incref(walked->table));
}

static void walk(unsigned seed) {
    char error_text[512];
    struct walked walked[WALK];
    random_state = seed;
    printf("seed %u\n", seed);
    begin("walk.db");
    edit();
    for (unsigned i = 0; i < WALK; i++) {
        walked[i] = walk_once();
        ck_assert_msg(table_check(&table, error_text, sizeof error_text) == 0, "%s", error_text);
        if (pick(30) == 0)
            reopen();
        hurry();
        expect_walked(&walked[pick(i + 1)], false);
    }
    for (unsigned i = 0; i < WALK; i++)
        expect_walked(&walked[i],
                      i + 1 == WALK || walked[i + 1].generation != walked[i].generation);
    for (unsigned i = 0; i < WALK; i++)
        json_decref(walked[i].table);
    unlink(path);
    end();
}

START_TEST(each_table_of_a_random_walk_can_be_had_again) {
    const char *given = getenv("SHM_SEED");
    const unsigned walks = getenv("SHM_SOAK") == NULL ? 1 : 10;
    const unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 0) : (unsigned)time(NULL);
    for (unsigned i = 0; i < walks; i++)
        walk(seed + i);
    printf("figure: past.tables %u tables\n", walks * WALK);
}
END_TEST

/* ---- which one */

START_TEST(a_generation_is_its_last_edit) {
    begin("which.db");
    expect_none("1", -ENOENT,
                "the table of generation 1 is not kept, and no other is: none was applied yet");
    edit();
    json_t *first = table_json(&table);
    worker("alpha")->may_create = 7;
    edit_workers();
    ck_assert_int_eq(state_db_rejected(db, "uid 0", "section 'x': no"), 0);
    table.sections[0].size = 3000;
    ck_assert_int_eq(edit(), 4);
    json_t *found = table_at("1");
    ck_assert_int_eq(json_integer_value(json_object_get(found, "edit")), 2);
    ck_assert_int_eq(json_integer_value(json_object_get(found, "generation")), 1);
    json_decref(found);
    expect_table("edit:1", first);
    expect_table("2", table_json(&table));
    expect_none("3", -ENOENT,
                "the table of generation 3 is not kept: those of generations 1 to 2 are (shmtool "
                "history)");
    expect_none("edit:3", -ENOENT,
                "edit 3 was never in force, its outcome is 'rejected': only a table that was can "
                "be had again (shmtool history)");
    expect_none("edit:9", -ENOENT, "the history has no edit 9 (shmtool history)");
    expect_none("x", -EINVAL,
                "'x' is neither a generation, as 41, nor an edit, as edit:17 (shmtool history)");
    expect_none("", -EINVAL,
                "'' is neither a generation, as 41, nor an edit, as edit:17 (shmtool history)");
    expect_none("edit:-1", -EINVAL,
                "'edit:-1' is neither a generation, as 41, nor an edit, as edit:17 (shmtool "
                "history)");
    end();
}
END_TEST

/* ---- ids that another section has */

START_TEST(an_id_that_is_anothers_now_is_told) {
    begin("taken.db");
    edit();
    ck_assert_str_eq(taken("1"), "");
    strcpy(table.sections[0].name, "warmth"); /* a rename is no other section */
    edit();
    ck_assert_str_eq(taken("1"), "");
    const struct table_section page = table.sections[1];
    drop(1);
    edit();
    ck_assert_str_eq(taken("1"), "");
    table.sections[table.sections_n++] = page; /* nor is one that came back */
    edit();
    strcpy(table.sections[1].name, "sheet");
    edit();
    ck_assert_str_eq(taken("1"), "");
    drop(1);
    edit();
    table.sections[table.sections_n++] = page;
    strcpy(table.sections[1].name, "other");
    edit();
    ck_assert_str_eq(taken("1"), "2 page is other, ");
    strcpy(table.sections[1].name, "others");
    edit();
    ck_assert_str_eq(taken("1"), "2 page is others, ");
    ck_assert_str_eq(taken("5"), "2 sheet is others, ");
    ck_assert_str_eq(taken("6"), ""); /* which hadn't any */
    ck_assert_str_eq(taken("7"), "");
    end();
}
END_TEST

/* ---- what is kept */

START_TEST(an_edit_keeps_what_it_changed) {
    char name[SHM_NAME_BYTES];
    begin("cost.db");
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "s%d", i);
        add(name, i % 2 ? "gamma" : "alpha", 100);
    }
    edit();
    ck_assert_int_eq(count("SELECT count(*) FROM past"), 26);
    table.sections[7].stale_ms = 7;
    edit();
    ck_assert_int_eq(count("SELECT count(*) FROM past WHERE step = 2"), 1);
    worker("aaa"); /* before all others by its name */
    edit();
    ck_assert_int_eq(count("SELECT count(*) FROM past WHERE step = 3"), 1);
    edit_workers();
    ck_assert_int_eq(count("SELECT count(*) FROM past WHERE step = 4"), 0);
    running.generation++;
    table.sections[7].stale_ms = 8;
    intend();
    ck_assert_int_eq(count("SELECT count(*) FROM past WHERE step > 3"), 0);
    end();
}
END_TEST

/* A thousand edits, and of what is before them nothing. */
START_TEST(the_past_goes_with_its_history) {
    begin("prune.db");
    for (int i = 0; i < 1005; i++) {
        table.sections[0].size = 1000 + (uint64_t)i;
        edit();
    }
    ck_assert_int_eq(count("SELECT count(*) FROM edit WHERE step IS NOT NULL"), 1000);
    ck_assert_int_eq(count("SELECT count(*) FROM past"), 1000);
    ck_assert_int_eq(count("SELECT min(step) FROM past"), 6);
    expect_none("5", -ENOENT,
                "the table of generation 5 is not kept: those of generations 6 to 1005 are "
                "(shmtool history)");
    table.sections[0].size = 1005;
    expect_table("6", table_json(&table));
    end();
}
END_TEST

/* The last tables stay, however often something was refused since, or moved. */
START_TEST(the_last_tables_are_kept) {
    char why[32];
    begin("refused.db");
    for (uint64_t i = 1; i <= 105; i++) {
        table.sections[0].size = i;
        edit();
        running.generation++;
    }
    for (int i = 0; i < 1010; i++) {
        snprintf(why, sizeof why, "reason %d", i);
        if (i % 10 == 0)
            edit();
        ck_assert_int_eq(state_db_rejected(db, "uid 0", why), 0);
    }
    ck_assert_int_le(count("SELECT count(*) FROM edit"), 1101);
    expect_table("edit:105", table_json(&table));
    table.sections[0].size = 106;
    edit();
    table.sections[0].size = 7;
    expect_table("edit:7", table_json(&table));
    expect_none("edit:6", -ENOENT, "the history has no edit 6 (shmtool history)");
    ck_assert_int_eq(count("SELECT min(step) FROM past"), 7);
    end();
}
END_TEST

/* They are never people's: not to be had again, nor in the way of a name that people had. */
START_TEST(what_workers_made_is_no_past) {
    begin("made.db");
    edit();
    json_t *first = table_json(&table);
    table.sections[0].size = 50;
    strcpy(table.sections[0].name, "other");
    edit();
    for (int i = 0; i < 5; i++) {
        add("temps", "alpha", 10)->id = SHM_SECTION_ID_MADE + (uint64_t)i;
        edit();
        expect_table("1", json_incref(first));
        if (i < 4)
            drop(2);
        edit();
    }
    ck_assert_int_eq(count("SELECT count(*) FROM past WHERE step > 2"), 0);
    struct table found;
    ck_assert_int_eq(state_db_good_table(db, &found), 0);
    ck_assert_uint_eq(found.sections_n, 3);
    table_clear(&found);
    expect_table("1", first);
    drop(2);
    expect_table("3", table_json(&table));
    end();
}
END_TEST

/* As though the later edits had changed much. */
START_TEST(there_is_a_limit_on_what_is_kept) {
    begin("much.db");
    for (uint64_t i = 1; i <= 5; i++) {
        table.sections[0].size = i;
        edit();
    }
    with_sql("UPDATE edit SET past_bytes = 30000000 WHERE step BETWEEN 3 AND 5");
    table.sections[0].size = 6;
    edit();
    expect_none(
        "edit:2", -ENOENT,
        "the table of edit 2 is not kept: those of generations 3 to 6 are (shmtool history)");
    ck_assert_int_eq(count("SELECT min(step) FROM past"), 3);
    table.sections[0].size = 3;
    expect_table("3", table_json(&table));
    with_sql("UPDATE edit SET past_bytes = 70000000 WHERE step = 6");
    table.sections[0].size = 7;
    edit();
    expect_table("7", table_json(&table));
    table.sections[0].size = 5;
    expect_none("5", -ENOENT,
                "the table of generation 5 is not kept: those of generations 6 to 7 are (shmtool "
                "history)");
    ck_assert_int_eq(count("SELECT count(*) FROM past"), 2);
    end();
}
END_TEST

/* ---- what an edit changed */

/* "section 1 temps {...} -> {...}; ...", of the edit that many before the last. */
static const char *changes(size_t back) {
    static char text[4096];
    json_t *history = NULL, *change;
    size_t i, n = 0;
    text[0] = '\0';
    ck_assert_int_eq(state_db_history(db, 50, &history), 0);
    ck_assert_int_eq(state_db_history_changes(db, history), 0);
    json_t *of = json_array_get(json_object_get(history, "edits"), back);
    json_array_foreach(json_object_get(of, "changes"), i, change) {
        char *from = json_dumps(json_object_get(change, "from"), JSON_ENCODE_ANY | JSON_SORT_KEYS);
        char *to = json_dumps(json_object_get(change, "to"), JSON_ENCODE_ANY | JSON_SORT_KEYS);
        if (n < sizeof text)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%s %lld %s %s -> %s",
                                  i > 0 ? "; " : "",
                                  json_string_value(json_object_get(change, "row")),
                                  json_integer_value(json_object_get(change, "id")),
                                  json_string_value(json_object_get(change, "name")), from, to);
        free(from);
        free(to);
    }
    if (json_is_true(json_object_get(of, "more")))
        snprintf(text, sizeof text, "%zu and more", i);
    json_decref(history);
    return text;
}

START_TEST(each_edit_tells_what_it_changed) {
    begin("changes.db");
    edit();
    table.sections[0].size = 3000;
    table.sections[0].pinned = true;
    table.sections[0].offset = MIB;
    edit();
    strcpy(table.sections[0].name, "warmth");
    strcpy(worker("alpha")->user, "www-data");
    table.mode = 0664;
    edit();
    ck_assert_int_eq(state_db_rejected(db, "uid 0", "no"), 0);
    drop(0);
    edit();
    edit_workers();
    ck_assert_str_eq(changes(0), "");
    const char *gone = changes(1);
    ck_assert_ptr_nonnull(strstr(gone, "section 1 warmth {"));
    ck_assert_ptr_nonnull(strstr(gone, "\"owner\": \"alpha\""));
    ck_assert_ptr_nonnull(strstr(gone, "\"read_group\": null"));
    ck_assert_str_eq(strstr(gone, " -> "), " -> null");
    ck_assert_str_eq(changes(2), "");
    ck_assert_str_eq(changes(3), "section 1 temps {\"name\": \"temps\"} -> {\"name\": \"warmth\"}; "
                                 "segment 0  {\"mode\": \"0660\"} -> {\"mode\": \"0664\"}; "
                                 "worker 0 alpha {\"user\": null} -> {\"user\": \"www-data\"}");
    ck_assert_str_eq(changes(4), "section 1 temps {\"offset\": null, \"size\": 1000} -> "
                                 "{\"offset\": 1048576, \"size\": 3000}");
    ck_assert_ptr_nonnull(strstr(changes(5), "section 1 temps null -> {"));
    ck_assert_str_eq(changes(6), "");
    end();
}
END_TEST

START_TEST(not_all_of_much_is_told) {
    char name[SHM_NAME_BYTES];
    begin("many.db");
    for (int i = 0; i < 96; i++) { /* beside two, their workers and the segment */
        snprintf(name, sizeof name, "s%d", i);
        add(name, "alpha", 100);
    }
    edit();
    ck_assert_str_eq(changes(0), "100 and more");
    drop(3);
    edit();
    ck_assert_ptr_nonnull(strstr(changes(0), "section 4 s1 {"));
    for (int i = 0; i < 25; i++) {
        for (size_t j = 0; j < table.sections_n; j++)
            table.sections[j].size++;
        edit();
    }
    ck_assert_ptr_null(strstr(changes(0), "more"));
    ck_assert_str_eq(changes(20), "60 and more"); /* of two thousand */
    ck_assert_str_eq(changes(21), "0 and more");
    end();
}
END_TEST

/* ---- a file from before */

START_TEST(an_older_history_goes_on) {
    begin("older.db");
    edit();
    table.sections[0].size = 3000;
    edit();
    json_t *last = table_json(&table);
    running.generation++;
    add("never", "alpha", 10);
    intend();
    ck_assert_int_eq(state_db_settle(db, --running.generation), 0);
    drop(2);
    state_db_close(db);
    db = NULL;
    with_sql(STATE_FORMER);
    open_db();
    ck_assert_int_eq(count("SELECT count(*) FROM edit"), 3);
    ck_assert_int_eq(count("PRAGMA user_version"), 3);
    table.sections[0].size = 4000;
    ck_assert_int_eq(edit(), 4);
    reopen();
    expect_table("2", last);
    expect_table("3", table_json(&table));
    expect_none("edit:1", -ENOENT,
                "the table of edit 1 is not kept: those of generations 2 to 3 are (shmtool "
                "history)");
    with_sql("UPDATE edit SET outcome = 'pending' WHERE edit = 3");
    expect_none("edit:3", -ENOENT,
                "edit 3 was never in force, its outcome is 'pending': only a table that was can be "
                "had again (shmtool history)");
    end();
}
END_TEST

/* One that was open then was not done yet. */
START_TEST(an_older_edit_that_was_open_is_settled) {
    begin("open.db");
    edit();
    json_t *first = table_json(&table);
    table.sections[0].size = 3000;
    running.generation++;
    intend();
    state_db_close(db);
    db = NULL;
    with_sql(STATE_FORMER);
    open_db();
    ck_assert_int_eq(state_db_settle(db, running.generation), 0);
    expect_table("1", first);
    expect_table("2", table_json(&table));
    end();
}
END_TEST

/* What a damaged one says is an error, or a table that is right by itself. */
START_TEST(a_damaged_past_is_refused) {
    static const char *const sqls[] = {
        "UPDATE past SET was = '[]' WHERE step = 2",
        "UPDATE past SET was = x'00' WHERE step = 2",
        "UPDATE past SET was = replace(was, 'snapshot', 'parrot') WHERE step = 2",
        "UPDATE past SET was = replace(was, '\"count\":4', '\"count\":1') WHERE step = 2",
        "UPDATE past SET id = 2 WHERE step = 2",
        "UPDATE past SET kind = 'worker' WHERE step = 2",
        "UPDATE past SET was = 7 WHERE step = 2",
    };
    char error_text[512];
    json_t *found = NULL;
    for (size_t i = 0; i < sizeof sqls / sizeof *sqls; i++) {
        begin("damaged.db");
        edit();
        table.sections[0].size = 3000;
        edit();
        with_sql(sqls[i]);
        int r = state_db_table_at(db, "1", &found, error_text, sizeof error_text);
        ck_assert_msg(r == -EBADMSG || r == -EINVAL, "%d: %s", r, sqls[i]);
        ck_assert_ptr_nonnull(strstr(error_text, "the table of edit 1 in state.db can't be read"));
        unlink(path);
        end();
    }
}
END_TEST

UNIT_MAIN("state_past", each_table_of_a_random_walk_can_be_had_again, a_generation_is_its_last_edit,
          an_id_that_is_anothers_now_is_told, an_edit_keeps_what_it_changed,
          the_past_goes_with_its_history, the_last_tables_are_kept, what_workers_made_is_no_past,
          there_is_a_limit_on_what_is_kept, each_edit_tells_what_it_changed,
          not_all_of_much_is_told, an_older_history_goes_on, an_older_edit_that_was_open_is_settled,
          a_damaged_past_is_refused)
