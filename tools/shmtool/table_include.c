/* SPDX-License-Identifier: Apache-2.0
 *
 * The files of sections.d applied to the table, as the service does at each start.
 */
#include "table_include.h"
#include "tool.h"

#include <string.h>

/* Packages' files, and the administrator's, which hide those of the same names. */
static const char *const usual[] = {SHM_VENDOR_SECTIONS, SHM_LOCAL_SECTIONS};

struct included {
    const struct tool *tool;
    json_t *files;
    size_t n, changed;
};

static void tell(void *context, const char *file, enum table_included outcome, const char *error) {
    static const char *const words[] = {"same", "changed", "failed"};
    struct included *included = context;
    included->n++;
    included->changed += outcome == TABLE_INCLUDED_CHANGED;
    if (included->tool->json) {
        json_t *row = json_pack("{s:o, s:s}", "file", json_text(file), "outcome", words[outcome]);
        if (outcome == TABLE_INCLUDED_FAILED)
            json_object_set_new(row, "error", json_text(error));
        json_array_append_new(included->files, row);
    } else if (outcome == TABLE_INCLUDED_FAILED) {
        note(included->tool, "%s", error);
    } else {
        printf("%s %s\n", file,
               outcome == TABLE_INCLUDED_CHANGED ? "is applied" : "changes nothing");
    }
}

static int finish(const struct included *included, const char *path, bool reload,
                  const char *error) {
    const struct tool *tool = included->tool;
    json_t *reply = NULL;
    int code = reload ? ask(tool, "reload", &reply) : TOOL_OK;
    if (code != TOOL_OK)
        return code;
    if (tool->json) {
        json_t *json = json_pack("{s:b, s:s, s:b, s:O}", "ok", *error == '\0', "table", path,
                                 "changed", included->changed > 0, "files", included->files);
        if (*error != '\0')
            json_object_set_new(json, "error", json_text(error));
        if (reply)
            json_object_set_new(json, "reload", reply);
        print_json(json);
    } else if (reply) {
        print_reloaded(reply);
        json_decref(reply);
    }
    return *error == '\0' ? TOOL_OK : TOOL_NO;
}

static void say_none(const char *const *dirs, size_t n) {
    for (size_t i = 0; i < n; i++)
        printf("%s%s", i == 0 ? "no files NAME.sql in " : ", ", dirs[i]);
    putchar('\n');
}

int verb_table_include(const struct tool *tool) {
    const bool named = tool->argc > 0;
    const char *const *dirs = named ? (const char *const *)tool->argv : usual;
    const size_t n = named ? (size_t)tool->argc : sizeof usual / sizeof *usual;
    struct included included = {.tool = tool, .files = json_array()};
    char path[PATH_BYTES], error[1024] = "";
    int code = table_path(tool, path);
    if (code == TOOL_OK) {
        int failed = table_include(path, dirs, n, tell, &included, error, sizeof error);
        if (failed > 0)
            snprintf(error, sizeof error, "%d of %zu could not be applied", failed, included.n);
        if (failed != 0)
            note(tool, "%s", error);
        else if (included.n == 0 && !tool->json)
            say_none(dirs, n);
        code = finish(&included, path, tool->reload && failed >= 0, error);
    }
    json_decref(included.files);
    return code;
}
