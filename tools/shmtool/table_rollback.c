/* SPDX-License-Identifier: Apache-2.0
 *
 * rollback: the table as it was, put back and applied, after a look at what that does.
 */
#include "whole.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* A section that has the id of one that is gone would go on with its value. */
static int check_ids(const struct tool *tool, const char *when, const json_t *about) {
    const json_t *taken = json_array_get(json_object_get(about, "taken"), 0);
    if (!taken)
        return TOOL_OK;
    return fail(tool, TOOL_NO,
                "section '%s' had the id %lu then, which is section '%s' by now, whose value it "
                "would have: load the rows without their ids: shmtool table dump --generation %s | "
                "shmtool table load",
                field_text(taken, NULL, "then"), field_number(taken, NULL, "id"),
                field_text(taken, NULL, "now"), when);
}

/* Puts it in place of `before`, whose text nobody may have changed since it was shown; of what
 * can't be read as a table (NULL), whatever it is. */
static int put_back(const struct tool *tool, const char *path, const struct table *before,
                    const struct table *then) {
    size_t n = before ? table_distance(before, then, true) : SIZE_MAX;
    char *expected = before ? table_dump_text(before) : NULL;
    int code = TOOL_OK;
    if (n > 0 && !tool->yes && !answered_yes("Put this back, and apply it?"))
        code = fail(tool, TOOL_NO, "nothing was written");
    else if (before && !expected)
        code = fail(tool, TOOL_NO, "out of memory");
    else if (n > 0)
        code = table_replace(tool, path, then, true, expected);
    free(expected);
    return code == TOOL_OK
               ? table_replaced(tool, path, then, n, tool->force ? "reload --force" : "reload")
               : code;
}

static int show_and_put_back(const struct tool *tool, const char *path, struct table *then) {
    char error[512];
    struct table before = {0};
    const int r = table_look(path, &before, error, sizeof error);
    if (r < 0 && r != -EINVAL) /* no rows at all */
        return fail(tool, r == -ENOENT ? TOOL_ABSENT : TOOL_NO, "%s", error);
    if (r < 0)
        note(tool, "%s: all rows are replaced, which no manager takes as they are: %s", path,
             error);
    else if (!tool->json)
        table_compare(&before, then, true);
    int code = table_show_plan(tool, then);
    if (code == TOOL_OK)
        code = put_back(tool, path, r == 0 ? &before : NULL, then);
    table_clear(&before);
    return code;
}

int verb_rollback(const struct tool *tool) {
    char path[PATH_BYTES];
    struct table then = {0};
    json_t *about = NULL;
    if (!tool->yes && !isatty(STDIN_FILENO))
        return fail(tool, TOOL_USAGE,
                    "it asks before it writes, and there is no terminal; say --yes");
    int code = table_path(tool, path);
    if (code == TOOL_OK)
        code = table_then(tool, tool->argv[0], &then, &about);
    if (code == TOOL_OK)
        code = check_ids(tool, tool->argv[0], about);
    if (code == TOOL_OK)
        code = show_and_put_back(tool, path, &then);
    json_decref(about);
    table_clear(&then);
    return code;
}
