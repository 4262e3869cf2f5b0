/* SPDX-License-Identifier: Apache-2.0
 *
 * The section table as a whole: read from a database, a text or the manager, and put in place of
 * another, in one transaction.
 */
#include "whole.h"

#include "made_rows.h"
#include "state_db.h"
#include "table_db.h"
#include "table_json.h"
#include "table_run.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int table_read(const struct tool *tool, const char *path, struct table *ret) {
    char error[512] = "";
    struct table_db *db;
    int r = table_db_open(&db, path, error, sizeof error);
    if (r < 0)
        return fail(tool, r == -ENOENT ? TOOL_ABSENT : TOOL_NO, "%s",
                    *error ? error : strerror(-r));
    r = table_db_load(db, ret, error, sizeof error);
    table_db_close(db);
    return r < 0 ? fail(tool, TOOL_NO, "%s: %s", path, *error ? error : strerror(-r)) : TOOL_OK;
}

static int last_good(const struct tool *tool, struct table *ret) {
    struct state_db *db;
    int code = state_open(tool, "its last good table", &db);
    if (code != TOOL_OK)
        return code;
    int r = state_db_good_table(db, ret);
    state_db_close(db);
    if (r == 0)
        made_strip(ret);
    if (r == -ENOENT)
        return fail(tool, TOOL_NO, "no table was ever applied");
    return r < 0 ? fail(tool, TOOL_NO, "the last good table in state.db can't be read: %s",
                        strerror(-r))
                 : TOOL_OK;
}

static int take_reply(const struct tool *tool, const json_t *reply, struct table *ret) {
    if (table_json_read(ret, reply) < 0)
        return fail(tool, TOOL_NO,
                    "the manager's table can't be understood; is it of this "
                    "version? (shmtool status)");
    return TOOL_OK;
}

int table_running(const struct tool *tool, struct table *ret) {
    char error[512];
    json_t *reply;
    int code, r = ask_quietly(tool, "table", &reply, error, sizeof error);
    if (r == -ENOTCONN)
        code = last_good(tool, ret);
    else if (r < 0)
        code = fail(tool, TOOL_ABSENT, "%s", error);
    else
        code = take_reply(tool, reply, ret);
    json_decref(reply);
    return code;
}

static int read_then(const struct tool *tool, const char *when, json_t **ret) {
    char error[512];
    struct state_db *db;
    int code = state_open(tool, "its history", &db);
    if (code != TOOL_OK)
        return code;
    int r = state_db_table_at(db, when, ret, error, sizeof error);
    state_db_close(db);
    return r < 0 ? fail(tool, TOOL_NO, "%s", error) : TOOL_OK;
}

int table_then(const struct tool *tool, const char *when, struct table *ret, json_t **about) {
    char error[512], request[64];
    json_t *reply;
    if (snprintf(request, sizeof request, "table %s", when) >= (int)sizeof request)
        return fail(tool, TOOL_USAGE, "'%.40s...' is neither a generation nor an edit", when);
    int code = TOOL_OK, r = ask_quietly(tool, request, &reply, error, sizeof error);
    if (r == -ENOTCONN)
        code = read_then(tool, when, &reply);
    else if (r < 0)
        code = fail(tool, r == -ENOENT || r == -EINVAL ? TOOL_NO : TOOL_ABSENT, "%s", error);
    else if (!json_object_get(reply, "edit")) /* an earlier one answers with what runs */
        code = fail(tool, TOOL_NO, "the manager is of a version that keeps no earlier table");
    if (code == TOOL_OK)
        code = take_reply(tool, reply, ret);
    if (code == TOOL_OK && about)
        *about = json_incref(reply);
    json_decref(reply);
    return code;
}

/* ---- from a text */

int read_text(const struct tool *tool, const char *path, char **ret) {
    char error[512];
    FILE *from = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (!from)
        return fail(tool, TOOL_NO, "%s: %s", path, strerror(errno));
    int r = table_run_read(from, path, ret, error, sizeof error);
    if (from != stdin)
        fclose(from);
    return r < 0 ? fail(tool, TOOL_NO, "%s", error) : TOOL_OK;
}

static int fill_draft(const struct tool *tool, const char *path, const char *name,
                      const char *text) {
    sqlite3 *db;
    int code, r = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL);
    if (r == SQLITE_OK)
        r = sqlite3_exec(db, "PRAGMA synchronous = OFF; BEGIN", NULL, NULL, NULL);
    if (r == SQLITE_OK) {
        sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
        sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
        char error[512];
        code = table_run(db, name, text, error, sizeof error) < 0 ? fail(tool, TOOL_NO, "%s", error)
                                                                  : TOOL_OK;
        if (code == TOOL_OK && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
            code = fail(tool, TOOL_NO, "%s: %s", path, sqlite3_errmsg(db));
    } else {
        code = fail(tool, TOOL_NO, "%s: %s", path, sqlite3_errmsg(db));
    }
    sqlite3_close(db);
    return code;
}

static bool make_draft_dir(char dir[PATH_BYTES]) {
    const char *tmp = getenv("TMPDIR");
    return snprintf(dir, PATH_BYTES, "%s/shmtool-XXXXXX", tmp && *tmp ? tmp : "/tmp") <
               PATH_BYTES - 16 &&
           mkdtemp(dir);
}

static void remove_draft(const char *dir) {
    static const char *const names[] = {"draft.db", "draft.db-wal", "draft.db-shm",
                                        "draft.db-journal"};
    char path[PATH_BYTES + 32];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

int table_from_text(const struct tool *tool, const char *name, const char *text,
                    struct table *ret) {
    char dir[PATH_BYTES], path[PATH_BYTES + 16], error[512] = "";
    if (!make_draft_dir(dir))
        return fail(tool, TOOL_NO, "no place for a draft: %s ($TMPDIR)", strerror(errno));
    snprintf(path, sizeof path, "%s/draft.db", dir);
    int code = TOOL_OK, r = table_db_create(path, error, sizeof error);
    if (r < 0)
        code = fail(tool, TOOL_NO, "%s", *error ? error : strerror(-r));
    if (code == TOOL_OK)
        code = fill_draft(tool, path, name, text);
    if (code == TOOL_OK) {
        struct table_db *db = NULL;
        r = table_db_open(&db, path, error, sizeof error);
        if (r == 0)
            r = table_db_load(db, ret, error, sizeof error);
        table_db_close(db);
        if (r < 0)
            code = fail(tool, TOOL_NO, "%s: %s", name, *error ? error : strerror(-r));
    }
    remove_draft(dir);
    return code;
}

/* A copy first, by the backup interface: whole, also while somebody writes there. */
static int copy_database(const struct tool *tool, const char *from, const char *to) {
    sqlite3 *source = NULL, *copy = NULL;
    int r = sqlite3_open_v2(from, &source, SQLITE_OPEN_READONLY, NULL);
    if (r == SQLITE_OK)
        r = sqlite3_open_v2(to, &copy, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    sqlite3_backup *backup =
        r == SQLITE_OK ? sqlite3_backup_init(copy, "main", source, "main") : NULL;
    if (backup) {
        sqlite3_busy_timeout(source, TOOL_MANAGER_MS);
        sqlite3_backup_step(backup, -1);
        r = sqlite3_backup_finish(backup);
    } else if (r == SQLITE_OK) {
        r = sqlite3_errcode(copy);
    }
    int code = r == SQLITE_OK
                   ? TOOL_OK
                   : fail(tool, TOOL_NO, "%s can't be copied: %s", from, sqlite3_errstr(r));
    sqlite3_close(source);
    sqlite3_close(copy);
    return code;
}

static int table_from_database(const struct tool *tool, const char *from, struct table *ret) {
    char dir[PATH_BYTES], path[PATH_BYTES + 16];
    int code = table_read(tool, from, ret); /* its message names the file */
    if (code != TOOL_OK)
        return code;
    table_clear(ret);
    if (!make_draft_dir(dir))
        return fail(tool, TOOL_NO, "no place for a copy: %s ($TMPDIR)", strerror(errno));
    snprintf(path, sizeof path, "%s/draft.db", dir);
    code = copy_database(tool, from, path);
    if (code == TOOL_OK)
        code = table_read(tool, path, ret);
    remove_draft(dir);
    return code;
}

/* ---- the verbs */

/* A row that was deleted and inserted again says the same, and is another section. */
static size_t other_ids(const struct table *a, const struct table *b) {
    size_t n = 0;
    if (a->sections_n != b->sections_n)
        return 1;
    for (size_t i = 0; i < a->sections_n; i++)
        n += a->sections[i].id != b->sections[i].id;
    return n;
}

int table_look(const char *path, struct table *ret, char *error, size_t error_bytes) {
    struct table_db *db;
    int r = table_db_open(&db, path, error, error_bytes);
    if (r < 0)
        return r;
    r = table_db_load(db, ret, error, error_bytes);
    table_db_close(db);
    return r;
}

size_t table_distance(const struct table *from, const struct table *to, bool ids) {
    return table_compare(from, to, false) + (ids ? other_ids(from, to) : 0);
}

/* Rows that the manager refuses are no hindrance: they are what shall go. */
static size_t differences_to(const char *path, const struct table *table, bool ids) {
    char error[512];
    struct table before = {0};
    size_t n = SIZE_MAX;
    if (table_look(path, &before, error, sizeof error) == 0)
        n = table_distance(&before, table, ids);
    table_clear(&before);
    return n;
}

static int replace_by(const struct tool *tool, struct table *table, bool ids) {
    char path[PATH_BYTES];
    int code = table_path(tool, path);
    size_t differences = code == TOOL_OK ? differences_to(path, table, ids) : 0;
    if (code == TOOL_OK && differences > 0)
        code = table_replace(tool, path, table, ids, NULL);
    if (code == TOOL_OK)
        code = table_replaced(tool, path, table, differences, tool->reload ? "reload" : NULL);
    table_clear(table);
    return code;
}

int verb_table_load(const struct tool *tool) {
    const char *name = tool->argc > 0 ? tool->argv[0] : "-";
    struct table table = {0};
    char *text;
    int code = read_text(tool, name, &text);
    if (code != TOOL_OK)
        return code;
    code = table_from_text(tool, strcmp(name, "-") == 0 ? "stdin" : name, text, &table);
    free(text);
    return code == TOOL_OK ? replace_by(tool, &table, false) : code;
}

int verb_table_import(const struct tool *tool) {
    struct table table = {0};
    int code = table_from_database(tool, tool->argv[0], &table);
    return code == TOOL_OK ? replace_by(tool, &table, false) : code;
}

int verb_table_revert(const struct tool *tool) {
    struct table table = {0};
    int code = table_running(tool, &table);
    return code == TOOL_OK ? replace_by(tool, &table, true) : code;
}

int verb_table_dump(const struct tool *tool) {
    char path[PATH_BYTES];
    struct table table = {0};
    json_t *about = NULL;
    int code = tool->generation ? table_then(tool, tool->generation, &table, &about)
                                : table_path(tool, path);
    if (code == TOOL_OK && !tool->generation)
        code = table_read(tool, path, &table);
    if (code != TOOL_OK)
        return code;
    if (tool->json) {
        json_t *json = table_json(&table);
        json_object_set_new(json, "ok", json_true());
        if (about) {
            json_object_set(json, "generation", json_object_get(about, "generation"));
            json_object_set(json, "edit", json_object_get(about, "edit"));
        }
        print_json(json);
    } else {
        table_dump(stdout, &table);
    }
    json_decref(about);
    table_clear(&table);
    return TOOL_OK;
}
