/* SPDX-License-Identifier: Apache-2.0
 *
 * status: what the manager says of itself; where none answers, what the segment says.
 */
#include "tool.h"

#include "core/futex.h"

#include <errno.h>
#include <shm-manager/layout.h>
#include <stdarg.h>
#include <string.h>

__attribute__((format(printf, 3, 4))) static void line(const char *title, enum paint paint,
                                                       const char *format, ...) {
    va_list arguments;
    printf("%s%-11s%s ", paint_on(BOLD), title, paint_off());
    fputs(paint_on(paint), stdout);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("%s\n", paint == PLAIN ? "" : paint_off());
}

static void table_line(const json_t *reply) {
    const char *path = field_text(reply, "manager", "table");
    const char *outcome = field_text(reply, "table", "outcome");
    if (strcmp(outcome, "pending") == 0)
        line("table", YELLOW, "%s pending: %s", path, field_text(reply, "table", "error"));
    else if (strcmp(outcome, "applied") != 0)
        line("table", RED, "%s %s: %s; the last good one runs", path, outcome,
             field_text(reply, "table", "error"));
    else if (field_true(reply, "table", "differs"))
        line("table", YELLOW, "%s was edited since; see: shmtool plan, apply: shmtool reload",
             path);
    else
        line("table", PLAIN, "%s, applied", path);
}

/* The first few: somebody who has thousands wants to know that it is thousands. */
static void moving_lines(const json_t *reply) {
    const json_t *moving = json_object_get(reply, "moving"), *section;
    size_t i;
    json_array_foreach(moving, i, section) {
        if (i == 5) {
            line("", YELLOW, "and %zu more", json_array_size(moving) - i);
            return;
        }
        line(i == 0 ? "moving" : "", YELLOW, "%s, with the next publish of worker %s",
             field_text(section, NULL, "section"), field_text(section, NULL, "waits_for"));
    }
}

static void checkpoint_lines(const json_t *reply) {
    const json_t *checkpoint = json_object_get(reply, "checkpoint");
    const char *error = json_string_value(json_object_get(checkpoint, "error"));
    const uint64_t saved_ns = field_number(checkpoint, NULL, "time_ns");
    char ago[TEXT_BYTES];
    const json_t *why;
    size_t i;
    if (error)
        line("checkpoint", RED, "%s", error);
    else if (field_number(checkpoint, NULL, "sections") > 0 && saved_ns == 0)
        line("checkpoint", PLAIN, "%lu sections to save, nothing saved yet",
             field_number(checkpoint, NULL, "sections"));
    else if (field_number(checkpoint, NULL, "sections") > 0)
        line("checkpoint", PLAIN, "%lu sections, last saved %s ago",
             field_number(checkpoint, NULL, "sections"), text_ago(ago, saved_ns));
    if (error && saved_ns > 0)
        line("", PLAIN, "last saved %s ago", text_ago(ago, saved_ns));
    json_array_foreach(json_object_get(checkpoint, "not_restored"), i, why) {
        line("", YELLOW, "%s", json_string_value(why));
    }
}

static void print_status(const json_t *reply) {
    char up[TEXT_BYTES], size[TEXT_BYTES], used[TEXT_BYTES];
    line("manager", GREEN, "pid %lu, version %s, up %s", field_number(reply, "manager", "pid"),
         field_text(reply, "manager", "version"),
         text_ago(up, field_number(reply, "manager", "since_ns")));
    char id[TEXT_BYTES] = "memfd";
    if (strcmp(field_text(reply, "segment", "backend"), id) != 0)
        snprintf(id, sizeof id, "shmid %lu", field_number(reply, "segment", "id"));
    line("segment", PLAIN, "key %s, %s, %s (%s in arenas), mode %s, group %s",
         field_text(reply, "segment", "key"), id,
         text_bytes(size, field_number(reply, "segment", "bytes")),
         text_bytes(used, field_number(reply, "segment", "arena_bytes")),
         field_text(reply, "segment", "mode"), field_text(reply, "segment", "group"));
    line("protection", PLAIN, "%s", field_text(reply, "segment", "protection"));
    char others[TEXT_BYTES] = "";
    if (field_number(reply, NULL, "anonymous") > 0)
        snprintf(others, sizeof others, ", %lu anonymous", field_number(reply, NULL, "anonymous"));
    line("generation", PLAIN, "%lu: %lu sections, %lu workers (%lu leased%s)",
         field_number(reply, NULL, "generation"), field_number(reply, NULL, "sections"),
         field_number(reply, NULL, "workers"), field_number(reply, NULL, "leased"), others);
    table_line(reply);
    moving_lines(reply);
    checkpoint_lines(reply);
    line("clients", PLAIN, "%lu connected, %lu waiting; %lu grants, %lu refused",
         field_number(reply, "clients", "connected"), field_number(reply, "clients", "waiting"),
         field_number(reply, "counters", "grants"), field_number(reply, "counters", "refused"));
    if (field_number(reply, "counters", "repairs") > 0)
        line("repairs", RED, "the header was repaired %lu times; the journal names who wrote there",
             field_number(reply, "counters", "repairs"));
}

static const char *state_name(uint32_t state) {
    static const char *const names[] = {"?", "serving", "stopped", "replaced"};
    return state < sizeof names / sizeof *names ? names[state] : "?";
}

static void print_segment_json(const struct shmc_segment_info *info) {
    char key[16];
    snprintf(key, sizeof key, "0x%08x", info->key);
    print_json(json_pack(
        "{s:b, s:n, s:{s:s, s:i, s:s, s:I, s:I, s:s, s:I, s:o}, s:I, s:I, s:I}", "ok", 1, "manager",
        "segment", "key", key, "id", info->id, "protection", info->protection, "bytes",
        (json_int_t)info->bytes, "arena_bytes", (json_int_t)info->arena_bytes, "state",
        state_name(info->state), "manager_pid", (json_int_t)info->manager_pid, "heartbeat_age_ns",
        json_age(info->heartbeat_age_ns), "generation", (json_int_t)info->generation, "sections",
        (json_int_t)info->sections, "workers", (json_int_t)info->workers));
}

static void print_segment(const struct shmc_segment_info *info, const char *error) {
    char age[TEXT_BYTES], size[TEXT_BYTES], used[TEXT_BYTES];
    text_span(age, info->heartbeat_age_ns);
    if (info->manager_alive)
        line("manager", YELLOW, "no answer; last heartbeat %s ago; readers and workers go on", age);
    else if (info->state == SHM_STATE_STOPPED)
        line("manager", YELLOW, "stopped %s ago; readers and workers go on", age);
    else
        line("manager", RED, "not running; last heartbeat %s ago; readers and workers go on", age);
    if (info->manager_alive)
        line("", PLAIN, "%s", error);
    char id[TEXT_BYTES] = "memfd";
    if (info->id >= 0)
        snprintf(id, sizeof id, "shmid %d", info->id);
    line("segment", PLAIN, "key 0x%08x, %s, %s (%s in arenas)", info->key, id,
         text_bytes(size, info->bytes), text_bytes(used, info->arena_bytes));
    line("protection", PLAIN, "%s", info->protection);
    line("generation", PLAIN, "%lu: %u sections, %u workers", info->generation, info->sections,
         info->workers);
}

static int status_of_segment(const struct tool *tool, const char *error) {
    struct shmc_segment_info info;
    shmc *segment;
    int code = attach(tool, NULL, 0, 0, &segment);
    if (code != TOOL_OK)
        return code;
    if (shmc_segment(segment, &info) < 0)
        code = fail(tool, TOOL_ABSENT, "%s", shmc_last_error(segment));
    else if (tool->json)
        print_segment_json(&info);
    else
        print_segment(&info, error);
    shmc_detach(segment);
    return code;
}

/* Nothing tells when a manager begins to serve, so it is asked again and again. */
static int ask_until(const struct tool *tool, json_t **reply, char *error, size_t error_bytes) {
    const uint64_t since_ns = clock_mono_ns();
    for (;;) {
        int r = ask_quietly(tool, "status", reply, error, error_bytes);
        if (r != -ENOTCONN || !wait_more(tool, since_ns))
            return r;
        json_decref(*reply);
    }
}

int verb_status(const struct tool *tool) {
    char error[512];
    json_t *reply;
    int r = ask_until(tool, &reply, error, sizeof error);
    if (r < 0 || !field_true(reply, NULL, "ok")) {
        json_decref(reply);
        return tool->wait_ms ? fail(tool, TOOL_ABSENT, "%s", error)
                             : status_of_segment(tool, error);
    }
    if (tool->json) {
        print_json(reply);
    } else {
        print_status(reply);
        json_decref(reply);
    }
    return TOOL_OK;
}
