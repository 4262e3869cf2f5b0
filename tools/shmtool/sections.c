/* SPDX-License-Identifier: Apache-2.0
 *
 * list and workers: what stands in the segment's directory, seen by a reader.
 */
#include "tool.h"

#include <errno.h>
#include <fnmatch.h>
#include <math.h>
#include <shm-manager/layout.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *kind_name(unsigned kind) {
    static const char *const names[] = {"?", "raw", "snapshot", "slots", "queue"};
    return kind < sizeof names / sizeof *names ? names[kind] : "?";
}

const char *alive_name(enum shmc_alive alive) {
    return alive == SHMC_ALIVE ? "alive" : alive == SHMC_GONE ? "gone" : "unknown";
}

enum paint alive_paint(enum shmc_alive alive) {
    return alive == SHMC_ALIVE ? GREEN : alive == SHMC_GONE ? RED : YELLOW;
}

json_t *json_age(uint64_t age_ns) {
    return age_ns == UINT64_MAX ? json_null() : json_integer((json_int_t)age_ns);
}

static uint64_t mono_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

bool is_pattern(const char *name) {
    return strpbrk(name, "*?[") != NULL;
}

bool wanted(const struct tool *tool, const char *name) {
    for (int i = 0; i < tool->argc; i++)
        if (fnmatch(tool->argv[i], name, 0) == 0)
            return true;
    return tool->argc == 0;
}

int listing_look(const struct tool *tool, shmc *segment, struct listing *ret) {
    size_t kept = 0;
    int r = shmc_sections(segment, &ret->sections, &ret->n);
    if (r < 0)
        return fail(tool, TOOL_ABSENT, "%s", shmc_last_error(segment));
    ret->at_ns = mono_ns();
    for (size_t i = 0; i < ret->n; i++)
        if (wanted(tool, ret->sections[i].name))
            ret->sections[kept++] = ret->sections[i];
    ret->n = kept;
    return TOOL_OK;
}

static bool counts_versions(const struct shmc_section_info *section) {
    return section->kind == SHMC_SNAPSHOT || section->kind == SHMC_QUEUE;
}

/* Values, or messages, per second since the earlier look; NAN where that makes no sense. */
static double rate_of(const struct listing *earlier, const struct listing *now, size_t i) {
    const struct shmc_section_info *section = &now->sections[i];
    for (size_t j = 0; j < earlier->n; j++) {
        const struct shmc_section_info *then = &earlier->sections[j];
        if (then->incarnation != section->incarnation || then->section_id != section->section_id)
            continue;
        if (!counts_versions(section) || section->version < then->version)
            return NAN;
        return (double)(section->version - then->version) * 1e9 /
               (double)(now->at_ns - earlier->at_ns);
    }
    return NAN;
}

static json_t *section_json(const struct shmc_section_info *section) {
    return json_pack(
        "{s:o, s:o, s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:s, s:b, s:I, s:I,"
        " s:I, s:I, s:I, s:I, s:I, s:b, s:b, s:b, s:b, s:b, s:b}",
        "name", json_text(section->name), "owner", json_text(section->owner), "kind",
        kind_name(section->kind), "format", json_text(section->format), "size",
        (json_int_t)section->size, "count", (json_int_t)section->count, "offset",
        (json_int_t)section->offset, "bytes", (json_int_t)section->bytes, "version",
        (json_int_t)section->version, "length", (json_int_t)section->length, "messages",
        (json_int_t)section->messages, "real_ns", (json_int_t)section->real_ns, "age_ns",
        json_age(section->age_ns), "writer", alive_name(section->writer), "stale", section->stale,
        "stale_ms", (json_int_t)section->stale_ms, "section_id", (json_int_t)section->section_id,
        "incarnation", (json_int_t)section->incarnation, "generation",
        (json_int_t)section->generation, "aborted", (json_int_t)section->aborted, "wakes",
        (json_int_t)section->wakes, "wake_errors", (json_int_t)section->wake_errors, "persist",
        section->persist, "shared", section->shared, "pinned", section->pinned, "moving",
        section->moving, "made", section->made, "transient", section->transient);
}

static void print_list_json(const struct tool *tool, const struct listing *earlier,
                            const struct listing *now) {
    json_t *sections = json_array();
    for (size_t i = 0; i < now->n; i++) {
        json_t *section = section_json(&now->sections[i]);
        double rate = tool->rates ? rate_of(earlier, now, i) : NAN;
        if (tool->rates)
            json_object_set_new(section, "values_per_s",
                                isnan(rate) ? json_null() : json_real(rate));
        json_array_append_new(sections, section);
    }
    print_json(json_pack("{s:b, s:o}", "ok", 1, "sections", sections));
}

static void section_row(struct grid *grid, const struct shmc_section_info *section) {
    char span[TEXT_BYTES];
    grid_cell(grid, PLAIN, "%s", section->name);
    grid_cell(grid, PLAIN, "%s%s", section->owner,
              section->transient ? " (transient)"
              : section->made    ? " (made)"
                                 : "");
    grid_cell(grid, PLAIN, "%s", kind_name(section->kind));
    grid_cell(grid, PLAIN, "%lu", section->size);
    grid_cell(grid, PLAIN, counts_versions(section) ? "%lu" : "-", section->version);
    if (section->kind == SHMC_QUEUE)
        grid_cell(grid, PLAIN, "%lu waiting", section->messages);
    else if (section->kind == SHMC_SLOTS)
        grid_cell(grid, PLAIN, "%lu of %u used", section->messages, section->count);
    else
        grid_cell(grid, PLAIN, section->kind == SHMC_SNAPSHOT ? "%lu" : "-", section->length);
    grid_cell(grid, section->stale ? RED : PLAIN, "%s%s", text_span(span, section->age_ns),
              section->stale ? " stale" : "");
    grid_cell(grid, alive_paint(section->writer), "%s%s", alive_name(section->writer),
              section->moving ? ", moving" : "");
    grid_cell(grid, PLAIN, "%s", *section->format ? section->format : "-");
}

static void print_list(const struct tool *tool, const struct listing *earlier,
                       const struct listing *now) {
    static const char *const titles[] = {"NAME",    "OWNER", "KIND",   ">SIZE",  ">VERSION",
                                         ">LENGTH", ">AGE",  "WRITER", "FORMAT", ">VALUES/S"};
    struct grid grid;
    grid_start(&grid, titles, tool->rates ? 10 : 9);
    for (size_t i = 0; i < now->n; i++) {
        section_row(&grid, &now->sections[i]);
        double rate = tool->rates ? rate_of(earlier, now, i) : NAN;
        if (tool->rates)
            grid_cell(&grid, PLAIN, isnan(rate) ? "-" : "%.1f", rate);
    }
    grid_print(&grid);
}

void listing_print(const struct tool *tool, const struct listing *earlier,
                   const struct listing *now) {
    (tool->json ? print_list_json : print_list)(tool, earlier, now);
}

static int list(const struct tool *tool, shmc *segment) {
    struct listing earlier = {0}, now = {0};
    int code = TOOL_OK;
    if (tool->rates) {
        code = listing_look(tool, segment, &earlier);
        time_t whole = (time_t)tool->seconds;
        struct timespec span = {whole, (long)((tool->seconds - (double)whole) * 1e9)};
        if (code == TOOL_OK)
            nanosleep(&span, NULL);
    }
    if (code == TOOL_OK)
        code = listing_look(tool, segment, &now);
    if (code == TOOL_OK && now.n == 0 && tool->argc > 0)
        code =
            fail(tool, TOOL_NO, "no section matches '%s'; shmtool list shows all", tool->argv[0]);
    else if (code == TOOL_OK && now.n == 0 && !tool->json)
        note(tool, "no sections yet; add one: shmtool table add NAME OWNER SIZE --reload");
    else if (code == TOOL_OK)
        listing_print(tool, &earlier, &now);
    free(earlier.sections);
    free(now.sections);
    return code;
}

int verb_list(const struct tool *tool) {
    shmc *segment;
    int code = attach(tool, NULL, 0, 0, &segment);
    if (code != TOOL_OK)
        return code;
    code = list(tool, segment);
    shmc_detach(segment);
    return code;
}

static const char *end_text(char text[TEXT_BYTES], const struct shmc_worker_info *worker) {
    const char *signal_name = sigabbrev_np((int)worker->end_detail);
    switch (worker->end_reason) {
    case SHM_END_NONE:
        return "-";
    case SHM_END_RELEASED:
        return "released";
    case SHM_END_EXITED:
        snprintf(text, TEXT_BYTES, "exited, status %u", worker->end_detail);
        return text;
    case SHM_END_KILLED:
        snprintf(text, TEXT_BYTES, "killed by SIG%s", signal_name ? signal_name : "?");
        return text;
    case SHM_END_UNCLAIMED:
        return "never acknowledged";
    case SHM_END_WHILE_AWAY:
        return "ended while no manager ran";
    case SHM_END_REVOKED:
        return "lease taken back";
    default:
        return "ended";
    }
}

static const char *worker_state(const struct shmc_worker_info *worker) {
    if (worker->granted)
        return "granted";
    return worker->state == SHMC_ALIVE ? "leased" : worker->state == SHMC_GONE ? "free" : "unknown";
}

static json_t *worker_json(const struct shmc_worker_info *worker) {
    char end[TEXT_BYTES];
    return json_pack(
        "{s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:I, s:I}", "name", json_text(worker->name),
        "state", worker_state(worker), "pid", (json_int_t)worker->pid, "uid",
        (json_int_t)worker->uid, "epoch", (json_int_t)worker->epoch, "since_real_ns",
        (json_int_t)worker->since_real_ns, "ended_real_ns", (json_int_t)worker->ended_real_ns,
        "last_end", end_text(end, worker), "end_reason", (json_int_t)worker->end_reason,
        "end_detail", (json_int_t)worker->end_detail, "attachment", (json_int_t)worker->attachment);
}

/* What `workers` shows: those whose names match, and without a pattern who has no name. */
struct crew {
    struct shmc_worker_info *workers;
    struct shmc_attachment_info *others;
    size_t workers_n, others_n;
};

static json_t *other_json(const struct shmc_attachment_info *other) {
    return json_pack("{s:I, s:s, s:I, s:I, s:I, s:I}", "attachment", (json_int_t)other->attachment,
                     "state", other->granted ? "granted" : "leased", "pid", (json_int_t)other->pid,
                     "uid", (json_int_t)other->uid, "epoch", (json_int_t)other->epoch,
                     "since_real_ns", (json_int_t)other->since_real_ns);
}

static void print_workers_json(const struct crew *crew) {
    json_t *workers = json_array(), *others = json_array();
    for (size_t i = 0; i < crew->workers_n; i++)
        json_array_append_new(workers, worker_json(&crew->workers[i]));
    for (size_t i = 0; i < crew->others_n; i++)
        json_array_append_new(others, other_json(&crew->others[i]));
    print_json(json_pack("{s:b, s:o, s:o}", "ok", 1, "workers", workers, "anonymous", others));
}

static void print_other(struct grid *grid, const struct shmc_attachment_info *other) {
    char text[TEXT_BYTES];
    grid_cell(grid, PLAIN, "-");
    grid_cell(grid, alive_paint(SHMC_ALIVE), "%s", other->granted ? "granted" : "leased");
    grid_cell(grid, PLAIN, other->pid ? "%d" : "-", other->pid);
    grid_cell(grid, PLAIN, "%u", other->uid);
    grid_cell(grid, PLAIN, "%s", text_ago(text, other->since_real_ns));
    grid_cell(grid, PLAIN, "-");
    grid_cell(grid, PLAIN, "(anonymous, attachment %u)", other->attachment);
}

static void print_workers(const struct crew *crew) {
    static const char *const titles[] = {"NAME",   "STATE",   ">PID",    ">UID",
                                         ">SINCE", ">LEASES", "LAST END"};
    struct grid grid;
    grid_start(&grid, titles, 7);
    for (size_t i = 0; i < crew->workers_n; i++) {
        const struct shmc_worker_info *worker = &crew->workers[i];
        bool held = worker->state != SHMC_GONE;
        char text[TEXT_BYTES];
        grid_cell(&grid, PLAIN, "%s", worker->name);
        grid_cell(&grid, alive_paint(worker->state), "%s", worker_state(worker));
        grid_cell(&grid, PLAIN, worker->pid ? "%d" : "-", worker->pid);
        grid_cell(&grid, PLAIN, held ? "%u" : "-", worker->uid);
        grid_cell(&grid, PLAIN, "%s",
                  text_ago(text, held ? worker->since_real_ns : worker->ended_real_ns));
        grid_cell(&grid, PLAIN, "%lu", worker->epoch);
        grid_cell(&grid, PLAIN, "%s", end_text(text, worker));
    }
    for (size_t i = 0; i < crew->others_n; i++)
        print_other(&grid, &crew->others[i]);
    grid_print(&grid);
}

static size_t keep_wanted(const struct tool *tool, struct shmc_worker_info *workers, size_t n) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (wanted(tool, workers[i].name))
            workers[kept++] = workers[i];
    return kept;
}

int verb_workers(const struct tool *tool) {
    struct crew crew = {0};
    shmc *segment;
    int code = attach(tool, NULL, 0, 0, &segment);
    if (code != TOOL_OK)
        return code;
    int r = shmc_workers(segment, &crew.workers, &crew.workers_n);
    if (r == 0 && tool->argc == 0)
        r = shmc_attachments(segment, &crew.others, &crew.others_n);
    if (r < 0) {
        code = fail(tool, TOOL_ABSENT, "%s", shmc_last_error(segment));
    } else {
        crew.workers_n = keep_wanted(tool, crew.workers, crew.workers_n);
        if (crew.workers_n == 0 && tool->argc > 0)
            code = fail(tool, TOOL_NO, "no worker matches '%s'; shmtool workers shows all",
                        tool->argv[0]);
        else
            (tool->json ? print_workers_json : print_workers)(&crew);
    }
    free(crew.workers);
    free(crew.others);
    shmc_detach(segment);
    return code;
}
