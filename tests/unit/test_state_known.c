/* SPDX-License-Identifier: Apache-2.0
 *
 * What the items are known to say without reading them is what they say, whatever became of the
 * edits: a state.db that goes on for all of a random walk has the same items at each step as a twin
 * that is opened anew for each, and so knows nothing.
 */
#include "plan_edits.h"
#include "state_fixture.h"
#include "state_parts.h"

#include <errno.h>
#include <time.h>

#define WALK 300

static struct state_db *twin;
static char twin_path[256];

/* Nothing here ends without warning. */
static void hurry(struct state_db *which) {
    ck_assert_int_eq(sqlite3_exec(which->sql, "PRAGMA synchronous = OFF", NULL, NULL, NULL), 0);
}

static void open_twin(void) {
    char text[512] = "";
    state_db_close(twin);
    ck_assert_msg(state_db_open(&twin, twin_path, text, sizeof text) == 0, "%s", text);
    hurry(twin);
}

static char *items_of(struct state_db *which, const char *where) {
    char sql[512];
    snprintf(sql, sizeof sql,
             "SELECT group_concat(format('%%d %%s %%d %%s %%s', stage, kind, id, name, hex(data)), "
             "char(10)) FROM (SELECT * FROM item WHERE %s ORDER BY stage, kind, id)",
             where);
    sqlite3_stmt *s = state_prepare(which, sql, "");
    ck_assert_int_eq(sqlite3_step(s), SQLITE_ROW);
    const char *text = (const char *)sqlite3_column_text(s, 0);
    char *copy = strdup(text == NULL ? "" : text);
    sqlite3_finalize(s);
    return copy;
}

static void same_items(unsigned step, const char *when) {
    char *here = items_of(db, "true"), *there = items_of(twin, "true");
    ck_assert_msg(strcmp(here, there) == 0, "seed %u, step %u, %s:\n%.1500s\nnot\n%.1500s", seed,
                  step, when, here, there);
    free(here);
    free(there);
}

static int64_t intend_in(struct state_db *which, const struct layout *next) {
    int64_t edit = 0;
    ck_assert_int_eq(state_db_intend(which, "uid 0", "something", next, &table, &edit), 0);
    return edit;
}

/* False: it wasn't done. */
static bool end_edit(int64_t here, int64_t there, uint64_t generation) {
    switch (pick(8)) {
    case 0: /* killed before the flip, or refused there */
        return false;
    case 1:
        ck_assert_int_eq(state_db_done(db, here + 1), -ENOENT);
        return false;
    case 2: /* the next manager finds it done */
        ck_assert_int_eq(state_db_settle(db, generation), 0);
        break;
    default:
        ck_assert_int_eq(state_db_done(db, here), 0);
    }
    ck_assert_int_eq(state_db_done(twin, there), 0);
    return true;
}

static void walk_once(unsigned step) {
    struct plan plan;
    struct table_section *rows = malloc((table.sections_n + 1) * sizeof *rows);
    const size_t n = table.sections_n;
    memcpy(rows, table.sections, n * sizeof *rows);
    for (unsigned edits = 1 + pick(3); edits > 0; edits--)
        pick(3) == 0 ? edit_add() : pick(3) == 0 ? edit_remove() : edit_change();
    if (pick(20) == 0)
        edit_wrong();
    if (pick(4) == 0)
        worker("beta")->may_create = pick(9) * SHM_PAGE;
    pick_facts();
    const struct plan_facts now = facts();
    if (plan_make(&plan, &running, &table, &now) == 0) {
        open_twin();
        const int64_t here = intend_in(db, &plan.next), there = intend_in(twin, &plan.next);
        same_items(step, "intended");
        if (end_edit(here, there, plan.next.generation)) {
            same_items(step, "done");
            adopt(&plan);
        }
    } else {
        memcpy(table.sections, rows, n * sizeof *rows);
        table.sections_n = n;
    }
    plan_clear(&plan);
    free(rows);
}

START_TEST(what_is_known_is_so) {
    const char *given = getenv("SHM_SEED");
    seed = given != NULL ? (unsigned)strtoul(given, NULL, 0) : (unsigned)time(NULL);
    state = seed;
    printf("seed %u\n", seed);
    snprintf(twin_path, sizeof twin_path, "%s", temp_path("twin.db"));
    begin_db("known.db");
    hurry(db);
    start(4 * MIB);
    strcpy(table.group_name, "shm-workers");
    for (unsigned i = 0; i < WALK; i++)
        walk_once(i);
    state_db_close(twin);
    twin = NULL;
    end_db();
    stop();
}
END_TEST

/* So that an edit costs what it changes. */
START_TEST(what_is_known_is_not_read) {
    begin_db("unread.db");
    start(4 * MIB);
    for (unsigned i = 0; i < 10; i++)
        edit_add();
    apply(NULL);
    ck_assert_int_eq(state_db_done(db, intend_in(db, &running)), 0);
    with_sql("UPDATE item SET data = '{}' WHERE kind = 'section' AND id = 5");
    table.sections[2].persist = !table.sections[2].persist;
    apply(NULL);
    int64_t edit = intend_in(db, &running);
    char *staged = items_of(db, "stage = 1 AND kind = 'section'");
    ck_assert_msg(strncmp(staged, "1 section 3 ", 12) == 0 && strchr(staged, '\n') == NULL, "%s",
                  staged);
    free(staged);
    ck_assert_int_eq(state_db_done(db, edit), 0);
    /* Who knows nothing finds it. */
    reopen();
    intend_in(db, &running);
    staged = items_of(db, "stage = 1");
    ck_assert_msg(strncmp(staged, "1 section 5 ", 12) == 0 && strchr(staged, '\n') == NULL, "%s",
                  staged);
    free(staged);
    end_db();
    stop();
}
END_TEST

UNIT_MAIN("state_known", what_is_known_is_so, what_is_known_is_not_read)
