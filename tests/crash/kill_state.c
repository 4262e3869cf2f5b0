/* SPDX-License-Identifier: Apache-2.0
 *
 * kill_state [--seed N] [--wrong NAME]
 *
 * What a manager writes into state.db, one instruction at a time: it makes the file, begins an
 * edit, ends it, settles one that was left open (as done, as abandoned), writes down a refusal,
 * remembers a number, and opens a file of the version before.  Nobody else sees its memory, so that
 * a place (sweep.h) is the return of a system call; at each of them a process is really killed. The
 * database that is opened then must hold the old state or the new one, whole, and take another
 * edit.  The longest steps are stepped through with SHM_SOAK alone, and count as points only then.
 *
 * --wrong unsafe: SQLite keeps its journal in memory.
 */
#include "../unit/state_former.h"
#include "core/crc32c.h"
#include "scenery.h"
#include "scratch.h"
#include "state_parts.h"
#include "sweep.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_MAX 8192
#define KILLS    120u /* of each step, in a run that doesn't soak: all places */
#define NUMBER   "shmid"

static char path[80];
static struct table tables[3];
static struct layout layouts[3]; /* 0 is in force, 1 the edit, 2 one more */
static struct scratch_files before;
static char old_text[TEXT_MAX], new_text[TEXT_MAX];

static struct sweep sweep;

/* ---- the steps */

static int64_t open_edit(struct state_db *db) {
    sqlite3_stmt *s = state_prepare(db, "SELECT max(edit) FROM edit", "");
    const int64_t edit =
        s != NULL && sqlite3_step(s) == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
    sqlite3_finalize(s);
    return edit;
}

static int intend(struct state_db *db, int which) {
    int64_t edit;
    return state_db_intend(db, "test", "something", &layouts[which], &tables[which], &edit);
}

static int step_open(struct state_db *db) {
    char error[256] = "";
    state_db_close(db);
    return state_db_open(&db, path, error, sizeof error);
}

static int step_intend(struct state_db *db) {
    return intend(db, 1);
}

static int step_done(struct state_db *db) {
    return state_db_done(db, open_edit(db));
}

static int step_settle(struct state_db *db) {
    return state_db_settle(db, layouts[1].generation);
}

static int step_abandon(struct state_db *db) {
    return state_db_settle(db, layouts[0].generation);
}

static int step_reject(struct state_db *db) {
    return state_db_rejected(db, "test", "because");
}

static int step_remember(struct state_db *db) {
    return state_db_remember(db, NUMBER, 42);
}

static const struct step_of {
    const char *name;
    int (*take)(struct state_db *);
    bool no_file, open_edit; /* what there is before it */
    bool former;             /* and that is a file of the version before */
    bool is_long;            /* stepped through only in runs that soak; here it is killed only */
} steps[] = {
    {"open", step_open, .no_file = true, .is_long = true},
    {"intend", step_intend, .is_long = true},
    {"done", step_done, .open_edit = true, .is_long = true},
    {"settle", step_settle, .open_edit = true, .is_long = true},
    {"abandon", step_abandon, .open_edit = true},
    {"reject", step_reject, .is_long = true},
    {"remember", step_remember},
    {"upgrade", step_open, .former = true, .open_edit = true, .is_long = true},
};
#define STEPS (sizeof steps / sizeof *steps)
static const struct step_of *step;

/* ---- what is in it */

/* One that was in force, as it can be had again. */
static uint32_t past_table(struct state_db *db, int64_t edit) {
    char when[32], error[256];
    json_t *table = NULL;
    snprintf(when, sizeof when, "edit:%" PRIi64, edit);
    if (state_db_table_at(db, when, &table, error, sizeof error) < 0)
        return 0;
    char *text = json_dumps(table, JSON_COMPACT | JSON_SORT_KEYS);
    const uint32_t crc = text == NULL ? 0 : crc32c(text, strlen(text));
    free(text);
    json_decref(table);
    return crc;
}

static int history_text(struct state_db *db, char *text, size_t bytes) {
    json_t *history = NULL, *row;
    size_t i, at = strlen(text);
    const int r = state_db_history(db, 20, &history);
    if (r < 0)
        return r;
    json_array_foreach(json_object_get(history, "edits"), i, row) {
        json_object_del(row, "time");
        char *edit = json_dumps(row, JSON_COMPACT | JSON_SORT_KEYS);
        at += (size_t)snprintf(text + at, bytes - at, "\n%s %08x", edit == NULL ? "?" : edit,
                               past_table(db, json_integer_value(json_object_get(row, "edit"))));
        free(edit);
    }
    json_decref(history);
    return 0;
}

static int describe(struct state_db *db, char text[TEXT_MAX]) {
    struct layout layout = {0};
    struct table table = {0};
    int which = -1;
    int r = state_db_placement(db, &layout);
    for (int i = 0; r == 0 && i < 3; i++)
        if (scenery_same(&layout, &layouts[i]))
            which = i;
    const int t = state_db_good_table(db, &table);
    snprintf(text, TEXT_MAX, "placement %d is %d, table %d has %zu rows, %" PRIi64 " remembered", r,
             which, t, table.sections_n, state_db_recall(db, NUMBER, -1));
    layout_clear(&layout);
    table_clear(&table);
    r = r == -ENOENT ? 0 : r;
    if (r == 0 && t < 0 && t != -ENOENT)
        r = t;
    return r < 0 ? r : history_text(db, text, TEXT_MAX);
}

static struct state_db *open_now(char *error, size_t error_bytes) {
    struct state_db *db = NULL;
    error[0] = '\0';
    return state_db_open(&db, path, error, error_bytes) < 0 || error[0] != '\0' ? NULL : db;
}

/* ---- the sweep */

static void act(void) {
    char error[256];
    const bool opens = step->take == step_open;
    struct state_db *db = opens ? NULL : open_now(error, sizeof error);
    if (db == NULL && !opens)
        _exit(1);
    if (sweep_wrong("unsafe") && db != NULL)
        sqlite3_exec(db->sql, "PRAGMA journal_mode = MEMORY", NULL, NULL, NULL);
    sweep_begin();
    if (step->take(db) < 0)
        _exit(1);
    sweep_end();
}

static void prepare(void) {
    scratch_restore(&before);
}

static bool changed(void) {
    return false;
}

static void check_next_edit(struct state_db *db) {
    char text[TEXT_MAX];
    const bool flipped = step->take == step_done || step->take == step_settle;
    int r = state_db_settle(db, layouts[flipped ? 1 : 0].generation);
    if (r == 0)
        r = intend(db, 2);
    if (r == 0)
        r = state_db_done(db, open_edit(db));
    if (r < 0)
        sweep_violation(&sweep, "%s: the next edit gets %d", step->name, r);
    else if (describe(db, text) < 0 || strncmp(text, "placement 0 is 2", 16) != 0)
        sweep_violation(&sweep, "%s: the next edit leads to: %s", step->name, text);
}

static void check(void) {
    char error[256], text[TEXT_MAX];
    struct state_db *db = open_now(error, sizeof error);
    if (db == NULL) {
        sweep_violation(&sweep, "%s: it can't be opened: %s", step->name, error);
        return;
    }
    const int r = describe(db, text);
    if (r < 0)
        sweep_violation(&sweep, "%s: it can't be read (%d)", step->name, r);
    else if (strcmp(text, old_text) != 0 && strcmp(text, new_text) != 0)
        sweep_violation(&sweep, "%s: neither old nor new: %s", step->name, text);
    else
        check_next_edit(db);
    state_db_close(db);
}

static struct sweep sweep = {
    .name = "state", .prepare = prepare, .act = act, .changed = changed, .check_killed = check};

/* ---- all of them */

static void look(char text[TEXT_MAX]) {
    char error[256];
    struct state_db *db = open_now(error, sizeof error);
    if (db == NULL || describe(db, text) < 0)
        sweep_fail(error, -EBADMSG);
    state_db_close(db);
}

static void set_up(void) {
    char error[256];
    before.n = 0;
    scratch_restore(&before);
    if (step->no_file) {
        look(old_text);
    } else {
        struct state_db *db = open_now(error, sizeof error);
        if (db == NULL || intend(db, 0) < 0 || state_db_done(db, open_edit(db)) < 0 ||
            (step->open_edit && intend(db, 1) < 0) || describe(db, old_text) < 0)
            sweep_fail(step->name, -EIO);
        if (step->former && sqlite3_exec(db->sql, STATE_FORMER, NULL, NULL, NULL) != SQLITE_OK)
            sweep_fail(step->name, -EIO);
        state_db_close(db);
        scratch_save(&before);
    }
    if (step->take != step_open) {
        struct state_db *db = open_now(error, sizeof error);
        if (db == NULL || step->take(db) < 0)
            sweep_fail(step->name, -EIO);
        state_db_close(db);
    }
    look(new_text);
    if (step->take != step_open && strcmp(old_text, new_text) == 0)
        sweep_fail("a step that changes nothing", -EINVAL);
}

static void make_tables(void) {
    struct layout empty;
    if (layout_init(&empty, SCENERY_BYTES) < 0)
        sweep_fail("a layout", -EINVAL);
    for (int i = 0; i < 3; i++) {
        scenery_table(&tables[i]);
        if (i > 0) {
            memcpy(tables[i].sections, tables[i - 1].sections,
                   tables[i - 1].sections_n * sizeof *tables->sections);
            memcpy(tables[i].workers, tables[i - 1].workers,
                   tables[i - 1].workers_n * sizeof *tables->workers);
            tables[i].sections_n = tables[i - 1].sections_n;
            tables[i].workers_n = tables[i - 1].workers_n;
            tables[i].sections[0].stale_ms = 1000 + (uint64_t)i;
        }
        char name[8] = {'s', (char)('a' + i)};
        scenery_add(&tables[i], name, name, 100);
        scenery_plan(&layouts[i], i == 0 ? &empty : &layouts[i - 1], &tables[i]);
    }
}

int main(int argc, char **argv) {
    (void)argc;
    sweep_options(argv + 1);
    scratch_open();
    snprintf(path, sizeof path, "%s/state.db", scratch_directory);
    make_tables();
    for (size_t i = 0; i < STEPS && !sweep_failed(&sweep); i++) {
        const uint64_t points = sweep.points, kills = sweep.kills;
        step = &steps[i];
        set_up();
        if (sweep_any_wrong() || (step->is_long && !sweep_soak()))
            sweep_step_moves(&sweep);
        else
            sweep_step(&sweep, UINT64_MAX);
        sweep_kill(&sweep, sweep_soak() ? 0 : KILLS);
        printf("%s: %" PRIu64 " points, %zu places, %" PRIu64 " kills\n", step->name,
               sweep.points - points, sweep.places_n, sweep.kills - kills);
    }
    return sweep_report(&sweep);
}
