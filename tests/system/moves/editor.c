/* SPDX-License-Identifier: Apache-2.0
 *
 * The editor: changes the table at random, asks the manager to apply it, and looks what became of
 * the sections.  What is refused has to say why, and is taken back.
 */
#include "moves.h"

#include <errno.h>
#include <poll.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENT  (UINT64_C(64) << 20)
#define STALE_MS 3600000u /* never in this test: who is killed publishes nothing for seconds */

static unsigned choose(struct editor *editor, unsigned n) {
    return (unsigned)(random_next(&editor->random) >> 16) % n;
}

/* ---- the table */

static bool run_sql(struct editor *editor, const char *sql) {
    char *error = NULL;
    if (sqlite3_exec(editor->table, sql, NULL, NULL, &error) == SQLITE_OK)
        return true;
    violate("%s: %s", sql, error == NULL ? "?" : error);
    sqlite3_free(error);
    sqlite3_exec(editor->table, "ROLLBACK", NULL, NULL, NULL);
    return false;
}

/* What runs now, so as to take an edit back. */
static void remember(struct editor *editor) {
    run_sql(editor, "DELETE FROM temp.before; INSERT INTO temp.before SELECT * FROM main.section;");
}

static void take_back(struct editor *editor) {
    run_sql(editor, "BEGIN; DELETE FROM main.section;"
                    "INSERT INTO main.section SELECT * FROM temp.before; COMMIT;");
}

__attribute__((format(printf, 2, 3))) static bool edit(struct editor *editor, const char *format,
                                                       ...) {
    char sql[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(sql, sizeof sql, format, args);
    va_end(args);
    remember(editor);
    editor->edits++;
    snprintf(editor->last, sizeof editor->last, "%s", sql);
    return run_sql(editor, sql);
}

static long long number(struct editor *editor, const char *sql) {
    sqlite3_stmt *statement = NULL;
    long long ret = -1;
    if (sqlite3_prepare_v2(editor->table, sql, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        ret = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return ret;
}

/* ---- the manager */

/* 0, or why the manager refuses; it may be killed over it, and started again. */
static int ask(struct editor *editor, const char *request, char why[512]) {
    const uint64_t end = now_ns() + PATIENCE_MS * UINT64_C(1000000);
    for (;;) {
        char *reply = NULL;
        const struct shmc_options options = {.size = sizeof options,
                                             .key = key,
                                             .runtime_dir = run_dir,
                                             .timeout_ms = 2000,
                                             .error = why,
                                             .error_bytes = 512};
        why[0] = '\0';
        const int r = shmc_manager(&options, request, &reply);
        if (r < 0 && reply != NULL)
            snprintf(why, 512, "%s", reply);
        free(reply);
        if (r != -ENOTCONN && r != -ETIMEDOUT)
            return r;
        if (now_ns() > end) {
            violate("%s: %d (%s)", request, r, why);
            return r;
        }
        editor->revive(editor->reviver);
        poll(NULL, 0, 2);
    }
}

/* ---- what became of it */

static void look_at_one(struct editor *editor, const struct shmc_section_info *info) {
    unsigned section;
    if (sscanf(info->name, "s%2u", &section) != 1 || section >= SECTIONS)
        return;
    if (editor->incarnations[section] == info->incarnation &&
        editor->offsets[section] != info->offset) {
        editor->moves++;
        editor->held += info->writer == SHMC_ALIVE;
    }
    editor->incarnations[section] = info->incarnation;
    editor->offsets[section] = info->offset;
}

static void look(struct editor *editor) {
    struct shmc_section_info *all;
    size_t n;
    const int r = shmc_sections(editor->segment, &all, &n);
    if (r < 0) {
        violate("sections: %d (%s)", r, shmc_last_error(editor->segment));
        return;
    }
    for (size_t i = 0; i < n; i++) {
        look_at_one(editor, &all[i]);
        for (size_t k = 0; k < i; k++)
            if (all[i].offset < all[k].offset + all[k].bytes &&
                all[k].offset < all[i].offset + all[i].bytes)
                violate("%s and %s overlap", all[i].name, all[k].name);
    }
    free(all);
}

/* `patient`: it may take the manager a moment to see that a worker has ended. */
static void apply(struct editor *editor, bool force, bool patient) {
    const uint64_t end = now_ns() + PATIENCE_MS * UINT64_C(1000000);
    char why[512];
    int r = ask(editor, force ? "reload --force" : "reload", why);
    while (r < 0 && patient && strstr(why, "holds its lease") != NULL && now_ns() < end) {
        poll(NULL, 0, 2);
        r = ask(editor, "reload", why);
    }
    if (r < 0) {
        editor->rejected++;
        if (why[0] == '\0')
            violate("refused without a reason: %s", editor->last);
        if (getenv("MOVES_TRACE") != NULL)
            fprintf(stderr, "refused: %s: %s\n", editor->last, why);
        take_back(editor);
        r = ask(editor, "reload", why);
        if (r < 0)
            violate("the table that runs is refused after %s: %d (%s)", editor->last, r, why);
    }
    look(editor);
}

/* ---- edits */

static uint64_t any_size(struct editor *editor) {
    const uint64_t largest = choose(editor, 3) == 0 ? LARGEST : 4096;
    return 64 + random_next(&editor->random) % (largest - 64) / 8 * 8;
}

static void edit_size(struct editor *editor, unsigned section) {
    if (choose(editor, 3) > 0)
        edit(editor, "UPDATE section SET size = min(%llu, size + %u) WHERE name = 's%02u'",
             (unsigned long long)LARGEST, 64 + choose(editor, 8192) / 8 * 8, section);
    else
        edit(editor, "UPDATE section SET size = %llu WHERE name = 's%02u'",
             (unsigned long long)any_size(editor), section);
}

static void edit_pin(struct editor *editor, unsigned section) {
    if (choose(editor, 2) == 0)
        edit(editor, "UPDATE section SET offset = NULL WHERE name = 's%02u'", section);
    else
        edit(editor, "UPDATE section SET offset = %llu WHERE name = 's%02u'",
             (unsigned long long)(SEGMENT / 4096 / 2 + choose(editor, SEGMENT / 4096 / 2 - 1024)) *
                 4096,
             section);
}

static void edit_manners(struct editor *editor, unsigned section) {
    static const char *const stamps[] = {"precise", "coarse", "none"};
    static const char *const notifies[] = {"demand", "always", "never"};
    const unsigned stamp = choose(editor, 3);
    edit(editor,
         "UPDATE section SET stamp = '%s', stale_ms = %u, notify = '%s' WHERE name = 's%02u'",
         stamps[stamp], stamp == 2 ? 0 : choose(editor, 3) * STALE_MS, notifies[choose(editor, 3)],
         section);
}

static void edit_two(struct editor *editor, unsigned section) {
    edit(editor,
         "BEGIN; UPDATE section SET size = %llu WHERE name = 's%02u';"
         "UPDATE section SET size = %llu, count = %u WHERE name = 's%02u'; COMMIT;",
         (unsigned long long)any_size(editor), section, (unsigned long long)any_size(editor),
         2 + choose(editor, 7), (section + 1) % SECTIONS);
}

static void add(struct editor *editor, unsigned section) {
    edit(editor,
         "INSERT INTO section(name, owner, size, count) VALUES('s%02u', 'w%u', %llu, %u)"
         "ON CONFLICT DO NOTHING",
         section, choose(editor, WORKERS), (unsigned long long)any_size(editor),
         2 + choose(editor, 7));
}

void edit_at_random(struct editor *editor) {
    const unsigned section = choose(editor, SECTIONS), what = choose(editor, 12);
    if (what < 5)
        edit_size(editor, section);
    else if (what == 5)
        edit(editor, "UPDATE section SET count = %u WHERE name = 's%02u'", 2 + choose(editor, 7),
             section);
    else if (what == 6)
        edit_manners(editor, section);
    else if (what == 7)
        edit_pin(editor, section);
    else if (what < 10)
        edit_two(editor, section);
    else if (what == 10) /* no place for it: in the header */
        edit(editor, "UPDATE section SET offset = 0 WHERE name = 's%02u'", section);
    else
        add(editor, section);
    apply(editor, choose(editor, 2) == 0, false);
}

void edit_without(struct editor *editor, unsigned worker) {
    char sql[128];
    snprintf(sql, sizeof sql,
             "SELECT substr(name, 2) FROM section WHERE owner = 'w%u' ORDER BY random() LIMIT 1",
             worker);
    const long long section = number(editor, sql);
    if (section < 0)
        return;
    if (choose(editor, 3) == 0)
        edit(editor, "DELETE FROM section WHERE name = 's%02lld'", section);
    else
        edit(editor, "UPDATE section SET owner = 'w%u', size = %llu WHERE name = 's%02lld'",
             (worker + 1 + choose(editor, WORKERS - 1)) % WORKERS,
             (unsigned long long)any_size(editor), section);
    apply(editor, false, true);
}

/* ---- beginning and end */

/* Space is given back a generation after it was left: what is left of no sections, `rounds` later,
 * or as soon as it is no more than `enough`. */
static uint64_t space_left(struct editor *editor, unsigned rounds, uint64_t enough) {
    struct shmc_segment_info info = {.arena_bytes = UINT64_MAX};
    for (unsigned i = 0; i < rounds && info.arena_bytes > enough; i++) {
        edit(editor, "INSERT INTO section(name, owner, size) VALUES('s00', 'w0', 64)");
        apply(editor, false, true);
        edit(editor, "DELETE FROM section");
        apply(editor, false, true);
        if (shmc_segment(editor->segment, &info) < 0)
            violate("segment: %s", shmc_last_error(editor->segment));
    }
    return info.arena_bytes;
}

void editor_open(struct editor *editor, const char *table) {
    if (sqlite3_open_v2(table, &editor->table, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
        violate("%s: %s", table, sqlite3_errmsg(editor->table));
    sqlite3_busy_timeout(editor->table, PATIENCE_MS);
    run_sql(editor, "CREATE TEMP TABLE before AS SELECT * FROM main.section");
    editor->space = space_left(editor, 3, 0);
    for (unsigned i = 0; i < SECTIONS; i++)
        add(editor, i);
    apply(editor, false, false);
}

void editor_empty(struct editor *editor) {
    edit(editor, "DELETE FROM section");
    apply(editor, false, true);
    const uint64_t left = space_left(editor, 20, editor->space);
    if (left > editor->space)
        violate("%llu bytes of arenas are left of no sections, and were %llu at first",
                (unsigned long long)left, (unsigned long long)editor->space);
}

void editor_close(struct editor *editor) {
    sqlite3_close(editor->table);
}
