/* SPDX-License-Identifier: Apache-2.0
 *
 * The editor's tools: the table, the manager, and an edit from its transaction to its outcome.
 */
#include "editor.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

unsigned editor_choose(struct editor *editor, unsigned n) {
    return (unsigned)(random_next(&editor->random) >> 16) % n;
}

unsigned editor_existing(struct editor *editor) {
    unsigned section = editor_choose(editor, board->sections);
    for (unsigned i = 0; i < board->sections && !editor->exists[section]; i++)
        section = (section + 1) % board->sections;
    return section;
}

static void trace(const char *edit, const char *why) {
    if (getenv("MOVES_TRACE") != NULL)
        fprintf(stderr, "%s: %s\n", edit, why);
}

/* ---- the table */

/* False: its own rules forbid it, and say why; or it can't be. */
static bool run_sql(struct editor *editor, const char *sql) {
    char *error = NULL;
    const int r = sqlite3_exec(editor->table, sql, NULL, NULL, &error);
    if (r == SQLITE_OK)
        return true;
    if (r != SQLITE_CONSTRAINT || error == NULL)
        violate(OTHER, "%s: %s", sql, error == NULL ? "?" : error);
    trace(sql, error);
    sqlite3_free(error);
    if (!sqlite3_get_autocommit(editor->table))
        sqlite3_exec(editor->table, "ROLLBACK", NULL, NULL, NULL);
    return false;
}

static void must_run(struct editor *editor, const char *sql) {
    if (!run_sql(editor, sql))
        violate(OTHER, "the table forbids %s", sql);
}

unsigned editor_number(struct editor *editor, const char *sql) {
    sqlite3_stmt *statement = NULL;
    unsigned ret = 0;
    if (sqlite3_prepare_v2(editor->table, sql, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        ret = (unsigned)sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return ret;
}

void editor_rules(struct editor *editor, bool on) {
    must_run(editor,
             on ? "PRAGMA ignore_check_constraints = off" : "PRAGMA ignore_check_constraints = on");
}

/* What runs now, so as to take an edit back. */
static void remember(struct editor *editor) {
    must_run(editor,
             "BEGIN; DELETE FROM before_section; INSERT INTO before_section SELECT * FROM section;"
             "DELETE FROM before_worker; INSERT INTO before_worker SELECT * FROM worker;"
             "DELETE FROM before_segment; INSERT INTO before_segment SELECT * FROM segment;"
             "COMMIT;");
}

/* The segment's row first: the backend allows, or doesn't, what the sections' say. */
static void take_back(struct editor *editor) {
    must_run(editor, "BEGIN; UPDATE segment SET (size, backend, mode, group_name) ="
                     " (SELECT size, backend, mode, group_name FROM before_segment);"
                     "DELETE FROM section; DELETE FROM worker;"
                     "INSERT INTO worker SELECT * FROM before_worker;"
                     "INSERT INTO section SELECT * FROM before_section; COMMIT;");
}

/* ---- the manager */

/* Its answer, or NULL when it could not be asked for too long; it may be killed over it, and is
 * started again. */
static json_t *ask(struct editor *editor, const char *request) {
    const uint64_t end = now_ns() + PATIENCE_MS * UINT64_C(1000000);
    char error[WHY] = "";
    int r;
    do {
        char *reply = NULL;
        const struct shmc_options options = {.size = sizeof options,
                                             .key = key,
                                             .runtime_dir = run_dir,
                                             .timeout_ms = 5000,
                                             .error = error,
                                             .error_bytes = sizeof error};
        r = shmc_manager(&options, request, &reply);
        json_t *answer = reply == NULL ? NULL : json_loads(reply, 0, NULL);
        free(reply);
        if (r != -ENOTCONN && r != -ETIMEDOUT && answer != NULL)
            return answer;
        json_decref(answer);
        editor->revive(editor->reviver);
        poll(NULL, 0, 2);
    } while (now_ns() < end);
    violate(OTHER, "%s: %d (%s)", request, r, error);
    return NULL;
}

static bool is_text(const json_t *object, const char *field, const char *text) {
    const char *value = json_string_value(json_object_get(object, field));
    return value != NULL && strcmp(value, text) == 0;
}

enum outcome { IN_FORCE, PENDING, REJECTED };

static enum outcome reload(struct editor *editor, bool force, char why[WHY]) {
    json_t *answer = ask(editor, force ? "reload --force" : "reload");
    const bool done = json_is_true(json_object_get(answer, "ok"));
    const char *text = json_string_value(json_object_get(answer, "error"));
    snprintf(why, WHY, "%s", text == NULL ? "" : text);
    json_decref(answer);
    return done ? IN_FORCE : strstr(why, "holds its lease") != NULL ? PENDING : REJECTED;
}

/* With auto_apply: what became of the newest edit, which the manager finds by itself. */
static enum outcome await_decision(struct editor *editor, char why[WHY]) {
    const uint64_t end = now_ns() + PATIENCE_MS * UINT64_C(1000000);
    enum outcome outcome = IN_FORCE;
    bool open;
    do {
        json_t *answer = ask(editor, "status"), *table = json_object_get(answer, "table");
        const char *text = json_string_value(json_object_get(table, "error"));
        snprintf(why, WHY, "%s", text == NULL ? "" : text);
        open = !json_is_false(json_object_get(table, "differs"));
        outcome = is_text(table, "outcome", "applied")   ? IN_FORCE
                  : is_text(table, "outcome", "pending") ? PENDING
                                                         : REJECTED;
        json_decref(answer);
        if (open)
            poll(NULL, 0, 2);
    } while (open && now_ns() < end);
    if (open)
        violate(OTHER, "nobody decides on %s", editor->last);
    return outcome;
}

/* The newest edit of them is near the end, behind what arrived since then. */
static void check_history(struct editor *editor, const char *why) {
    json_t *answer = ask(editor, "history 30"), *edit = NULL;
    const json_t *edits = json_object_get(answer, "edits");
    bool found = false;
    size_t i;
    json_array_foreach(edits, i, edit) {
        found = found || (is_text(edit, "error", why) && !is_text(edit, "outcome", "applied"));
    }
    if (!found)
        violate(UNREPORTED, "the history doesn't have what %s was refused for: %s", editor->last,
                why);
    json_decref(answer);
}

/* ---- an edit */

/* An edit that the manager was killed over is left to those who ask for it. */
static enum outcome decide(struct editor *editor, char why[WHY]) {
    const enum outcome outcome = editor->by_itself ? await_decision(editor, why) : IN_FORCE;
    const bool untried =
        outcome == REJECTED && strstr(why, "the manager ended while it applied") != NULL;
    if (untried) {
        check_history(editor, why);
        editor->untried++;
    }
    return untried || !editor->by_itself ? reload(editor, false, why) : outcome;
}

/* As long as what it waits for may come at any moment. */
static enum outcome decide_patiently(struct editor *editor, enum outcome outcome, char why[WHY]) {
    const uint64_t end = now_ns() + PATIENCE_MS * UINT64_C(1000000);
    while (outcome == PENDING && now_ns() < end) {
        poll(NULL, 0, 2);
        outcome = decide(editor, why);
    }
    return outcome;
}

/* What is pending may have been applied meanwhile, and then this goes back from there. */
static int refused(struct editor *editor, enum expected expected, enum outcome outcome,
                   const char *why) {
    char again[WHY];
    editor->rejected++;
    trace(editor->last, why);
    if (why[0] == '\0')
        violate(UNREPORTED, "refused without a reason: %s", editor->last);
    if (expected == APPLIED)
        violate(OTHER, "%s is refused: %s", editor->last, why);
    check_history(editor, why);
    if (!editor->by_itself || outcome == REJECTED)
        editor_look(editor, "before_section");
    take_back(editor);
    outcome = decide(editor, again);
    if (editor->by_itself)
        outcome = decide_patiently(editor, outcome, again);
    if (outcome != IN_FORCE)
        violate(OTHER, "the table that runs is refused after %s: %s", editor->last, again);
    editor_look(editor, "section");
    return -EINVAL;
}

/* It may take the manager a moment to see that a worker has ended. */
static int apply(struct editor *editor, enum expected expected, bool force) {
    char why[WHY];
    enum outcome outcome =
        !editor->by_itself && force ? reload(editor, true, why) : decide(editor, why);
    editor->found += editor->by_itself;
    if (expected >= PATIENT)
        outcome = decide_patiently(editor, outcome, why);
    if (outcome == PENDING && editor->by_itself) {
        editor->pending++;
        check_history(editor, why);
        if (force)
            outcome = reload(editor, true, why);
    }
    if (outcome != IN_FORCE)
        return refused(editor, expected, outcome, why);
    if (expected == REFUSED)
        violate(OTHER, "not refused: %s", editor->last);
    editor_look(editor, "section");
    return 0;
}

int edit(struct editor *editor, enum expected expected, bool force, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(editor->last, sizeof editor->last, format, args);
    va_end(args);
    remember(editor);
    const int before = sqlite3_total_changes(editor->table);
    const bool ran = run_sql(editor, editor->last);
    if (ran && sqlite3_total_changes(editor->table) == before)
        return 0; /* there is no such row */
    editor->edits++;
    if (ran)
        return apply(editor, expected, force);
    editor->at_once++;
    if (expected == APPLIED)
        violate(OTHER, "the table forbids %s", editor->last);
    return -EINVAL;
}

void edit_by_itself(struct editor *editor, bool by_itself) {
    edit(editor, APPLIED, false, "UPDATE segment SET auto_apply = %u", by_itself);
    editor->by_itself = by_itself;
}

/* ---- beginning and end */

/* Objects of memory that the manager has: under memfd one for each arena. */
static unsigned count_objects(struct editor *editor) {
    json_t *answer = ask(editor, "status");
    const json_t *manager = json_object_get(answer, "manager");
    char path[64], link[64];
    snprintf(path, sizeof path, "/proc/%d/fd",
             (int)json_integer_value(json_object_get(manager, "pid")));
    json_decref(answer);
    DIR *fds = opendir(path);
    const struct dirent *entry;
    unsigned n = 0;
    while (fds != NULL && (entry = readdir(fds)) != NULL)
        n += readlinkat(dirfd(fds), entry->d_name, link, sizeof link) > 7 &&
             memcmp(link, "/memfd:", 7) == 0;
    if (fds == NULL)
        violate(OTHER, "%s: %s", path, strerror(errno));
    else
        closedir(fds);
    return n;
}

static struct space space_of(struct editor *editor) {
    struct shmc_segment_info info = {.arena_bytes = UINT64_MAX};
    if (shmc_segment(editor->segment, &info) < 0)
        violate(OTHER, "segment: %s", shmc_last_error(editor->segment));
    return (struct space){.bytes = info.arena_bytes, .objects = count_objects(editor)};
}

static bool more(struct space a, struct space b) {
    return a.bytes > b.bytes || a.objects > b.objects;
}

/* Space is given back a generation after it was left: what is left of no sections, `rounds` later,
 * or as soon as it is no more than `enough`. */
static struct space space_left(struct editor *editor, unsigned rounds, struct space enough) {
    struct space left = {.bytes = UINT64_MAX};
    for (unsigned i = 0; i < rounds && more(left, enough); i++) {
        edit(editor, APPLIED, false,
             "INSERT INTO section(id, name, owner, size) VALUES(1, 's000', 'w0', 64)");
        edit(editor, APPLIED, false, "DELETE FROM section");
        left = space_of(editor);
    }
    return left;
}

void editor_open(struct editor *editor, const char *table) {
    if (sqlite3_open_v2(table, &editor->table, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
        violate(OTHER, "%s: %s", table, sqlite3_errmsg(editor->table));
    sqlite3_busy_timeout(editor->table, PATIENCE_MS);
    must_run(editor, "PRAGMA temp_store = memory;"
                     "CREATE TEMP TABLE before_section AS SELECT * FROM section;"
                     "CREATE TEMP TABLE before_worker AS SELECT * FROM worker;"
                     "CREATE TEMP TABLE before_segment AS SELECT * FROM segment;");
    edit_by_itself(editor, false);
    editor->space = space_left(editor, 3, (struct space){0});
    edit(
        editor, APPLIED, false,
        "INSERT INTO section(id, name, owner, size, count)"
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %u)"
        "SELECT i + 1, printf('s%%03d', i), 'w' || (i %% %u), 64 + i * 1117 %% 4032 / 8 * 8, 2 + i "
        "%% 7"
        " FROM n",
        board->sections - 1, WORKERS);
}

void editor_empty(struct editor *editor) {
    edit(editor, APPLIED, false, "UPDATE segment SET size = %llu", (unsigned long long)SEGMENT);
    edit(editor, APPLIED, false, "DELETE FROM section");
    const struct space left = space_left(editor, 20, editor->space);
    if (more(left, editor->space))
        violate(LEAK,
                "%llu bytes of arenas and %u objects are left of no sections, at first %llu and %u",
                (unsigned long long)left.bytes, left.objects,
                (unsigned long long)editor->space.bytes, editor->space.objects);
}

void editor_close(struct editor *editor) {
    sqlite3_close(editor->table);
}
