/* SPDX-License-Identifier: Apache-2.0
 *
 * check, for monitoring: one line with performance data, and the exit status that Nagios, Icinga
 * and the like expect.
 */
#include "tool.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_SHOWN 4

enum condition { MANAGER, TABLE, EDITED, STALE, DEAD, EMPTY, CONDITIONS };

static const char *const condition_names[] = {"manager", "table", "edited",
                                              "stale",   "dead",  "empty"};
static const char *const state_names[] = {"OK", "WARNING", "CRITICAL", "UNKNOWN"};

struct check {
    const struct tool *tool;
    int levels[CONDITIONS];
    size_t n[CONDITIONS];
    char names[CONDITIONS][256]; /* a few of them, with what is to be said of each */
    char manager[512], table[640];
    struct listing listing;
    struct shmc_segment_info segment;
    int state;
};

/* "stale,dead": these conditions get that level. */
static int take_list(struct check *check, const char *list, int level) {
    char copy[128], *rest = copy, *name;
    if (!list)
        return CHECK_OK;
    snprintf(copy, sizeof copy, "%s", list);
    while ((name = strsep(&rest, ",")) != NULL) {
        int i = 0;
        while (i < CONDITIONS && strcmp(name, condition_names[i]) != 0)
            i++;
        if (i == CONDITIONS)
            return fail(check->tool, CHECK_UNKNOWN,
                        "'%s' is none of: manager, table, edited, stale, dead, empty", name);
        check->levels[i] = level;
    }
    return CHECK_OK;
}

static int take_levels(struct check *check) {
    static const int defaults[] = {CHECK_CRITICAL, CHECK_WARNING, CHECK_OK,
                                   CHECK_CRITICAL, CHECK_WARNING, CHECK_OK};
    memcpy(check->levels, defaults, sizeof defaults);
    int code = take_list(check, check->tool->ignore, CHECK_OK);
    if (code == CHECK_OK)
        code = take_list(check, check->tool->warning, CHECK_WARNING);
    if (code == CHECK_OK)
        code = take_list(check, check->tool->critical, CHECK_CRITICAL);
    return code;
}

static void count(struct check *check, enum condition condition, const char *name,
                  const char *what) {
    char *names = check->names[condition];
    size_t at = strlen(names), n = check->n[condition]++;
    if (n < NAMES_SHOWN)
        snprintf(names + at, sizeof check->names[0] - at, "%s%s%s%s", n ? ", " : "", name,
                 *what ? " " : "", what);
    else if (n == NAMES_SHOWN)
        snprintf(names + at, sizeof check->names[0] - at, ", ...");
    if (check->levels[condition] > check->state)
        check->state = check->levels[condition];
}

/* A writer that is gone matters where there was one. */
static void judge_section(struct check *check, const struct shmc_section_info *section,
                          const struct shmc_worker_info *owner) {
    char age[TEXT_BYTES];
    bool snapshot = section->kind == SHMC_SNAPSHOT;
    if (section->stale)
        count(check, STALE, section->name, text_span(age, section->age_ns));
    if (section->writer == SHMC_GONE && owner && owner->epoch > 0 && !owner->granted)
        count(check, DEAD, section->name, "");
    if (snapshot && section->version == 0)
        count(check, EMPTY, section->name, "");
}

static const struct shmc_worker_info *find_worker(const struct shmc_worker_info *workers, size_t n,
                                                  const char *name) {
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(workers[middle].name, name);
        if (order == 0)
            return &workers[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static int judge_sections(struct check *check, shmc *segment) {
    struct shmc_worker_info *workers = NULL;
    size_t n = 0;
    if (shmc_segment(segment, &check->segment) < 0 || shmc_workers(segment, &workers, &n) < 0)
        return fail(check->tool, CHECK_UNKNOWN, "%s", shmc_last_error(segment));
    if (listing_look(check->tool, segment, &check->listing) != TOOL_OK) {
        free(workers);
        return CHECK_UNKNOWN;
    }
    for (size_t i = 0; i < check->listing.n; i++) {
        const struct shmc_section_info *section = &check->listing.sections[i];
        judge_section(check, section, find_worker(workers, n, section->owner));
    }
    free(workers);
    if (check->listing.n == 0 && check->tool->argc > 0)
        return fail(check->tool, CHECK_UNKNOWN, "no section matches '%s'; shmtool list shows all",
                    check->tool->argv[0]);
    return CHECK_OK;
}

/* Performance data begins at a bar, and monitoring takes one line. */
static void plain(char *text) {
    for (; *text; text++)
        if (*text == '|' || (unsigned char)*text < ' ')
            *text = '/';
}

static void judge_manager(struct check *check) {
    char error[512];
    json_t *reply;
    int r = ask_quietly(check->tool, "status", &reply, error, sizeof error);
    const char *outcome = field_text(reply, "table", "outcome");
    if (r < 0) {
        count(check, MANAGER, "", "");
        snprintf(check->manager, sizeof check->manager, "%s", error);
        plain(check->manager);
    } else if (strcmp(outcome, "pending") == 0 ||
               (strcmp(outcome, "applied") == 0 && field_true(reply, "table", "differs"))) {
        count(check, EDITED, "", "");
    } else if (strcmp(outcome, "applied") != 0) {
        count(check, TABLE, "", "");
        snprintf(check->table, sizeof check->table, "table %s: %s", outcome,
                 field_text(reply, "table", "error"));
        plain(check->table);
    }
    json_decref(reply);
}

static void add(char *text, size_t bytes, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void add(char *text, size_t bytes, const char *format, ...) {
    size_t at = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    if (at > 0 && at + 2 < bytes) {
        strcpy(text + at, "; ");
        at += 2;
    }
    vsnprintf(text + at, bytes - at, format, arguments);
    va_end(arguments);
}

/* The worst comes first; what is ignored isn't said. */
static void describe(const struct check *check, char *text, size_t bytes) {
    *text = '\0';
    for (int level = CHECK_CRITICAL; level >= CHECK_WARNING; level--)
        for (int i = 0; i < CONDITIONS; i++) {
            if (check->n[i] == 0 || check->levels[i] != level)
                continue;
            if (i == MANAGER)
                add(text, bytes, "%s", check->manager);
            else if (i == TABLE)
                add(text, bytes, "%s", check->table);
            else if (i == EDITED)
                add(text, bytes, "the table was edited and not applied (shmtool plan)");
            else
                add(text, bytes, "%zu %s: %s", check->n[i],
                    i == STALE  ? "stale"
                    : i == DEAD ? "without their writer"
                                : "empty",
                    check->names[i]);
        }
    if (*text == '\0')
        snprintf(text, bytes, "%zu section%s, generation %lu", check->listing.n,
                 check->listing.n == 1 ? "" : "s", check->segment.generation);
}

static uint64_t oldest(const struct check *check) {
    uint64_t age_ns = 0;
    for (size_t i = 0; i < check->listing.n; i++) {
        const struct shmc_section_info *section = &check->listing.sections[i];
        if (section->stale_ms != 0 && section->age_ns != UINT64_MAX && section->age_ns > age_ns)
            age_ns = section->age_ns;
    }
    return age_ns;
}

static void print_check(const struct check *check) {
    char text[2048];
    describe(check, text, sizeof text);
    if (check->tool->json) {
        json_t *counts = json_object();
        for (int i = 0; i < CONDITIONS; i++)
            json_object_set_new(counts, condition_names[i], json_integer((json_int_t)check->n[i]));
        print_json(json_pack("{s:b, s:s, s:i, s:o, s:I, s:o}", "ok", check->state == CHECK_OK,
                             "state", state_names[check->state], "status", check->state, "text",
                             json_text(text), "sections", (json_int_t)check->listing.n, "counts",
                             counts));
        return;
    }
    printf("SHM %s - %s | sections=%zu stale=%zu dead=%zu empty=%zu manager=%d age=%.3fs "
           "generation=%luc\n",
           state_names[check->state], text, check->listing.n, check->n[STALE], check->n[DEAD],
           check->n[EMPTY], check->n[MANAGER] == 0, (double)oldest(check) / 1e9,
           check->segment.generation);
}

/* Without a manager nobody sees a segment of memfds, but that there is none is known. */
static int judge_absence(struct check *check, int result, const char *error) {
    char path[PATH_BYTES];
    const bool kept = result == -ENOENT && keeper_there(check->tool, path);
    if (check->levels[MANAGER] != CHECK_OK && (kept || result == -ENOTCONN)) {
        count(check, MANAGER, "", "");
        if (kept)
            snprintf(check->manager, sizeof check->manager,
                     "no manager serves key 0x%08x; what %.300s holds stays: start it (systemctl "
                     "start shm-manager)",
                     chosen_key(check->tool), path);
        else
            snprintf(check->manager, sizeof check->manager, "%s", error);
        print_check(check);
        return check->state;
    }
    if (check->tool->json)
        return fail(check->tool, CHECK_UNKNOWN, "%s", error);
    printf("SHM UNKNOWN - %s\n", error);
    return CHECK_UNKNOWN;
}

int verb_check(const struct tool *tool) {
    struct check check = {.tool = tool};
    char error[512];
    shmc *segment;
    int code = take_levels(&check);
    if (code != CHECK_OK)
        return code;
    int r = attach_quietly(tool, &segment, error, sizeof error);
    plain(error);
    if (r < 0)
        return judge_absence(&check, r, error);
    code = judge_sections(&check, segment);
    shmc_detach(segment);
    if (code == CHECK_OK) {
        judge_manager(&check);
        print_check(&check);
        code = check.state;
    }
    free(check.listing.sections);
    return code;
}
