/* SPDX-License-Identifier: Apache-2.0
 *
 * diff: the table beside what runs, or ran.  edit: the table in an editor, with its plan before
 * anything is written.
 */
#include "whole.h"

#include "core/directory.h"
#include "core/plan.h"
#include "made_rows.h"
#include "resolve.h"
#include "table_db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- diff */

/* What runs, or ran when the first operand says. */
static int read_from(const struct tool *tool, struct table *ret) {
    return tool->argc == 0 ? table_running(tool, ret) : table_then(tool, tool->argv[0], ret, NULL);
}

/* The table as it is, or was when the second says. */
static int read_to(const struct tool *tool, char path[PATH_BYTES], struct table *ret) {
    if (tool->argc > 1)
        return table_then(tool, tool->argv[1], ret, NULL);
    int code = table_path(tool, path);
    return code == TOOL_OK ? table_read(tool, path, ret) : code;
}

int verb_diff(const struct tool *tool) {
    char path[PATH_BYTES] = "";
    struct table from = {0}, to = {0};
    size_t n = 0;
    int code = read_to(tool, path, &to);
    if (code == TOOL_OK)
        code = read_from(tool, &from);
    if (code == TOOL_OK && tool->json) {
        json_t *rows = table_compare_json(&from, &to);
        n = json_array_size(rows);
        print_json(json_pack("{s:b, s:s?, s:s?, s:s?, s:o}", "ok", 1, "table", *path ? path : NULL,
                             "from", tool->argc > 0 ? tool->argv[0] : NULL, "to",
                             tool->argc > 1 ? tool->argv[1] : NULL, "differences", rows));
    } else if (code == TOOL_OK) {
        n = table_compare(&from, &to, true);
    }
    table_clear(&from);
    table_clear(&to);
    return code != TOOL_OK ? code : n > 0 ? TOOL_NO : TOOL_OK;
}

/* ---- the plan of a table that no manager has seen yet */

/* As the database will number them: known names keep their ids. */
static void number_sections(const struct table *before, struct table *table) {
    uint64_t next = 1;
    for (size_t i = 0; i < before->sections_n; i++)
        if (before->sections[i].id >= next)
            next = before->sections[i].id + 1;
    for (size_t i = 0; i < table->sections_n; i++) {
        table->sections[i].id = 0;
        for (size_t j = 0; j < before->sections_n && table->sections[i].id == 0; j++)
            if (strcasecmp(table->sections[i].name, before->sections[j].name) == 0)
                table->sections[i].id = before->sections[j].id;
        if (table->sections[i].id == 0)
            table->sections[i].id = next++;
    }
}

static int by_id(const void *a, const void *b) {
    const struct table_section *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static bool *held_in(const struct directory *directory, const struct layout *layout) {
    bool *held = calloc(layout->workers_used + 1, sizeof *held);
    for (uint32_t i = 0; held && i < layout->workers_used; i++)
        held[i] = lease_word_state(directory_worker_word(directory, i)) != SHM_LEASE_FREE;
    return held;
}

static void print_plan(const struct plan *plan) {
    static const char *const titles[] = {"ACTION", "NAME", "WHAT"};
    struct grid grid;
    if (plan->changes_n == 0)
        return;
    grid_start(&grid, titles, 3);
    for (size_t i = 0; i < plan->changes_n; i++) {
        grid_cell(&grid, plan->changes[i].action == PLAN_REMOVE ? RED : GREEN, "%s",
                  plan_action_name(plan->changes[i].action));
        grid_cell(&grid, PLAIN, "%s", plan->changes[i].name);
        grid_cell(&grid, PLAIN, "%s", plan->changes[i].what);
    }
    grid_print(&grid);
}

static int resolve(struct table *table, char *error, size_t error_bytes) {
    uid_t uid;
    int r = 0;
    for (size_t i = 0; r == 0 && i < table->workers_n; i++)
        r = resolve_user(&table->workers[i], &uid, error, error_bytes);
    return r == 0 ? resolve_groups(table, error, error_bytes) : r;
}

/* Beside what workers made, which stays. */
static int make_plan(const struct tool *tool, const struct directory *directory,
                     const struct layout *layout, struct table *wanted, struct plan *plan) {
    bool *held = held_in(directory, layout);
    int r = held ? resolve(wanted, plan->error, sizeof plan->error) : -ENOMEM;
    if (r == 0)
        r = made_keep(wanted, layout, plan->error, sizeof plan->error);
    if (r == 0)
        r = plan_make(plan, layout, wanted,
                      &(struct plan_facts){.backend = (enum shm_backend)directory->header.backend,
                                           .worker_held = held,
                                           .force = tool->force});
    made_strip(wanted);
    free(held);
    return r;
}

/* What only waits is written all the same, where the manager applies it once it can be. */
static int say_refused(const struct tool *tool, int r, const char *why) {
    char error[512];
    json_t *status = NULL;
    if (r == -EBUSY)
        ask_quietly(tool, "status", &status, error, sizeof error);
    const bool waits = field_true(status, "table", "auto_apply");
    json_decref(status);
    if (!waits)
        return fail(tool, TOOL_NO, "the manager would refuse it: %s", why);
    note(tool, "it would be pending: %s", why);
    return TOOL_OK;
}

int table_show_plan(const struct tool *tool, struct table *wanted) {
    struct shmc_segment_info info;
    struct directory directory;
    struct layout layout = {0};
    struct plan plan = {0};
    const char *field;
    shmc *segment;
    char error[512];
    if (attach_quietly(tool, &segment, error, sizeof error) < 0)
        return TOOL_OK;
    int code = TOOL_OK;
    if (shmc_segment(segment, &info) == 0 &&
        directory_open(&directory, info.base, info.bytes, &field) == 0 &&
        directory_load(&directory, &layout, &field) == 0) {
        int r = make_plan(tool, &directory, &layout, wanted, &plan);
        if (r < 0)
            code = say_refused(tool, r, *plan.error ? plan.error : strerror(-r));
        else if (!tool->json)
            print_plan(&plan);
    }
    plan_clear(&plan);
    layout_clear(&layout);
    shmc_detach(segment);
    return code;
}

/* ---- edit */

static int run_editor(const struct tool *tool, const char *path) {
    const char *editor = getenv("VISUAL");
    if (!editor || !*editor)
        editor = getenv("EDITOR");
    if (!editor || !*editor)
        editor = "vi";
    pid_t child = fork();
    if (child == 0) {
        char command[1024];
        snprintf(command, sizeof command, "%s \"$1\"", editor); /* it may have options */
        execl("/bin/sh", "sh", "-c", command, editor, path, NULL);
        _exit(127);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) < 0)
        return fail(tool, TOOL_NO, "%s can't be run: %s", editor, strerror(errno));
    if (status != 0)
        return fail(tool, TOOL_NO, "'%s' failed ($EDITOR); nothing was changed", editor);
    return TOOL_OK;
}

bool answered_yes(const char *question) {
    char answer[16];
    fprintf(stderr, "%s [y/N] ", question);
    return fgets(answer, sizeof answer, stdin) && (*answer == 'y' || *answer == 'Y');
}

/* An edited text becomes a table that would be applied, or the editor comes back. */
static int edit_text(const struct tool *tool, const char *draft, const struct table *before,
                     struct table *ret) {
    for (;;) {
        char *text = NULL;
        struct table table = {0};
        int code = run_editor(tool, draft);
        if (code != TOOL_OK)
            return code;
        code = read_text(tool, draft, &text);
        if (code == TOOL_OK)
            code = table_from_text(tool, draft, text, &table);
        free(text);
        if (code == TOOL_OK) {
            number_sections(before, &table);
            qsort(table.sections, table.sections_n, sizeof *table.sections, by_id);
            if (!tool->json)
                table_compare(before, &table, true);
            code = table_show_plan(tool, &table);
        }
        if (code == TOOL_OK) {
            *ret = table;
            return code;
        }
        table_clear(&table);
        if (tool->yes || !answered_yes("Edit it again?"))
            return code;
    }
}

static int write_draft(const struct tool *tool, const char *text, char *draft, size_t bytes) {
    const char *tmp = getenv("TMPDIR");
    snprintf(draft, bytes, "%.4000s/shm-table-XXXXXX.sql", tmp && *tmp ? tmp : "/tmp");
    int fd = mkostemps(draft, 4, O_CLOEXEC);
    FILE *to = fd < 0 ? NULL : fdopen(fd, "w");
    if (!to || fputs(text, to) == EOF || fclose(to) == EOF)
        return fail(tool, TOOL_NO, "%s: %s", draft, strerror(errno));
    return TOOL_OK;
}

static int put_in_place(const struct tool *tool, const char *path, const struct table *before,
                        const struct table *table, const char *expected) {
    size_t n = table_compare(before, table, false);
    if (n > 0 && !tool->yes && !answered_yes("Write this into the table?"))
        return fail(tool, TOOL_NO, "nothing was written");
    int code = n > 0 ? table_replace(tool, path, table, false, expected) : TOOL_OK;
    return code == TOOL_OK ? table_replaced(tool, path, table, n, tool->reload ? "reload" : NULL)
                           : code;
}

int verb_table_edit(const struct tool *tool) {
    char path[PATH_BYTES], draft[PATH_BYTES];
    struct table before = {0}, table = {0};
    if (!tool->yes && !isatty(STDIN_FILENO))
        return fail(tool, TOOL_USAGE,
                    "it asks before it writes, and there is no terminal; say "
                    "--yes, or use: shmtool table load");
    int code = table_path(tool, path);
    if (code == TOOL_OK)
        code = table_read(tool, path, &before);
    if (code != TOOL_OK)
        return code;
    char *text = table_dump_text(&before);
    code = text ? write_draft(tool, text, draft, sizeof draft) : TOOL_NO;
    if (code == TOOL_OK) {
        code = edit_text(tool, draft, &before, &table);
        if (code == TOOL_OK)
            code = put_in_place(tool, path, &before, &table, text);
        if (code == TOOL_OK || tool->yes)
            unlink(draft);
        else
            note(tool, "your text is kept: %s", draft);
    }
    free(text);
    table_clear(&before);
    table_clear(&table);
    return code;
}
