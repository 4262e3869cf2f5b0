/* SPDX-License-Identifier: Apache-2.0
 *
 * slots: who holds which slot of a section, since when, and what was put there; or one slot's
 * value.
 */
#include "tool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *state_of(const struct shmc_slot *slot) {
    return slot->offered    ? "offered"
           : slot->held     ? slot->stays ? "held, stays" : "held"
           : slot->in_use   ? "stays"
           : slot->has_data ? "free, value left"
                            : "free";
}

static enum paint paint_of(const struct shmc_slot *slot) {
    return slot->held ? GREEN : slot->in_use ? YELLOW : PLAIN;
}

/* ---- all of them */

static int add_row(shmc_section *section, const struct shmc_slot *slot, void *argument) {
    struct grid *grid = argument;
    char since[TEXT_BYTES], age[TEXT_BYTES];
    (void)section;
    grid_cell(grid, PLAIN, "%d", slot->slot);
    grid_cell(grid, paint_of(slot), "%s", state_of(slot));
    grid_cell(grid, PLAIN, slot->held && slot->pid ? "%d" : "-", slot->pid);
    grid_cell(grid, PLAIN, "%s", *slot->worker ? slot->worker : "-");
    grid_cell(grid, PLAIN, "%s", slot->in_use ? text_ago(since, slot->since_real_ns) : "-");
    grid_cell(grid, PLAIN, "%lu", slot->grabs);
    grid_cell(grid, PLAIN, slot->has_data && slot->version ? "%lu" : "-", slot->version);
    grid_cell(grid, PLAIN, slot->has_data ? "%lu" : "-", slot->length);
    grid_cell(grid, PLAIN, "%s", slot->has_data ? text_span(age, slot->age_ns) : "-");
    return 0;
}

static json_t *slot_json(const struct shmc_slot *slot) {
    return json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b, s:i, s:o, s:I, s:I, s:I, s:I, s:I, s:o}",
                     "slot", slot->slot, "state", state_of(slot), "in_use", slot->in_use, "held",
                     slot->held, "offered", slot->offered, "stays", slot->stays, "has_data",
                     slot->has_data, "pid", slot->pid, "worker", json_text(slot->worker),
                     "since_real_ns", (json_int_t)slot->since_real_ns, "grabs",
                     (json_int_t)slot->grabs, "version", (json_int_t)slot->version, "length",
                     (json_int_t)slot->length, "real_ns", (json_int_t)slot->real_ns, "age_ns",
                     json_age(slot->age_ns));
}

static int add_json(shmc_section *section, const struct shmc_slot *slot, void *argument) {
    (void)section;
    json_array_append_new(argument, slot_json(slot));
    return 0;
}

static int list_slots(const struct tool *tool, shmc *segment, shmc_section *section) {
    static const char *const titles[] = {">SLOT",  "STATE",    ">PID",    "WORKER", ">SINCE",
                                         ">GRABS", ">VERSION", ">LENGTH", ">AGE"};
    const int all = shmc_num_slots(section), unused = shmc_num_free(section);
    json_t *slots = json_array();
    struct grid grid;
    grid_start(&grid, titles, 9);
    int r = all < 0 || unused < 0 ? -EIO
            : tool->json          ? shmc_slot_each(section, 0, add_json, slots)
                                  : shmc_slot_each(section, 0, add_row, &grid);
    if (r < 0) {
        json_decref(slots);
        free(grid.cells);
        return fail(tool, TOOL_NO, "%s", shmc_last_error(segment));
    }
    if (tool->json) {
        free(grid.cells);
        print_json(json_pack("{s:b, s:o, s:i, s:i, s:o}", "ok", 1, "section",
                             json_text(tool->argv[0]), "count", all, "free", unused, "slots",
                             slots));
        return TOOL_OK;
    }
    json_decref(slots);
    grid_print(&grid);
    printf("%d of %d in use\n", all - unused, all);
    return TOOL_OK;
}

/* ---- one */

static int print_value(const struct tool *tool, const struct shmc_slot *slot, const char *data,
                       size_t bytes) {
    const char *encoding;
    if (!tool->json) {
        print_bytes(tool, data, bytes);
        return TOOL_OK;
    }
    json_t *reply = slot_json(slot), *value = json_bytes(data, bytes, &encoding);
    json_object_set_new(reply, "ok", json_true());
    json_object_set_new(reply, "encoding", json_string(encoding));
    json_object_set_new(reply, "value", value);
    print_json(reply);
    return TOOL_OK;
}

static int show_value(const struct tool *tool, shmc *segment, shmc_section *section) {
    struct shmc_slot slot;
    char *end;
    errno = 0;
    const long index = strtol(tool->argv[1], &end, 10);
    if (errno != 0 || *tool->argv[1] == '\0' || *end != '\0' || index < 0 || index > INT32_MAX)
        return fail(tool, TOOL_USAGE, "'%s' is no slot: they are numbers from 0", tool->argv[1]);
    const ssize_t size = shmc_slot_size(section);
    char *data = size < 0 ? NULL : malloc((size_t)size + 1);
    const ssize_t n =
        data == NULL ? size : shmc_slot_get(section, (int)index, data, (size_t)size, &slot);
    int code = TOOL_NO;
    if (n < 0)
        fail(tool, TOOL_NO, "%s", shmc_last_error(segment));
    else if (data == NULL)
        fail(tool, TOOL_NO, "out of memory");
    else
        code = print_value(tool, &slot, data, (size_t)n);
    free(data);
    return code;
}

/* ---- the verb */

/* Attached anew each time, as watch does. */
static int look(const struct tool *tool, void *unused) {
    const struct shmc_expect slots = {.size = sizeof slots, .kind = SHMC_SLOTS};
    shmc *segment;
    shmc_section *section;
    (void)unused;
    int code = attach(tool, NULL, 0, 0, &segment);
    if (code != TOOL_OK)
        return code;
    int r = shmc_open(&section, segment, tool->argv[0], &slots);
    if (r == 0) {
        code = tool->argc > 1 ? show_value(tool, segment, section)
                              : list_slots(tool, segment, section);
        shmc_close(section);
    } else {
        code = r == -ENOENT ? no_section(tool, segment, tool->argv[0])
                            : fail(tool, TOOL_NO, "%s", shmc_last_error(segment));
    }
    shmc_detach(segment);
    return code;
}

int verb_slots(const struct tool *tool) {
    return tool->every ? watch_repeat(tool, look, NULL) : look(tool, NULL);
}
