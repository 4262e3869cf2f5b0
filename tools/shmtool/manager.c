/* SPDX-License-Identifier: Apache-2.0
 *
 * Attaching, asking the manager, and the verbs that are no more than a question to it: plan,
 * history, reload, checkpoint, destroy.
 */
#include "tool.h"

#include "core/futex.h"
#include "state_db.h"

#include <errno.h>
#include <poll.h>
#include <shm-manager/layout.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_MS    20
#define PATIENCE_MS 5000 /* of an attach without a timeout, for a hand-shake */

uint32_t chosen_key(const struct tool *tool) {
    const char *text = getenv("SHMC_KEY");
    uint32_t key = tool->key;
    if (key == 0 && text)
        key = (uint32_t)strtoul(text, NULL, 0);
    return key == 0 ? SHM_DEFAULT_KEY : key;
}

const char *chosen_runtime_dir(const struct tool *tool) {
    const char *dir = getenv("SHMC_RUNTIME_DIR");
    return tool->runtime_dir ? tool->runtime_dir : dir && *dir ? dir : SHM_RUNTIME_DIR;
}

bool keeper_there(const struct tool *tool, char path[PATH_BYTES]) {
    snprintf(path, PATH_BYTES, "%.4000s/%08x.keeper", chosen_runtime_dir(tool), chosen_key(tool));
    return access(path, F_OK) == 0;
}

static struct shmc_options options_for(const struct tool *tool, char *error, size_t error_bytes) {
    return (struct shmc_options){
        .size = sizeof(struct shmc_options),
        .key = tool->key,
        .runtime_dir = tool->runtime_dir,
        .timeout_ms =
            tool->verb && tool->verb->run == verb_checkpoint ? TOOL_SAVING_MS : TOOL_MANAGER_MS,
        .error = error,
        .error_bytes = error_bytes,
    };
}

/* -ENOENT has two meanings for a worker: no segment, or no such worker in it. */
static bool segment_exists(struct shmc_options options) {
    shmc *segment;
    options.worker = NULL;
    options.timeout_ms = 0;
    options.error = NULL;
    if (shmc_attach(&segment, &options) < 0)
        return false;
    shmc_detach(segment);
    return true;
}

int attach(const struct tool *tool, const char *worker, uint32_t flags, int timeout_ms,
           shmc **ret) {
    char error[512] = "";
    struct shmc_options options = options_for(tool, error, sizeof error);
    options.worker = worker;
    options.flags = flags;
    options.timeout_ms = timeout_ms;
    int r = shmc_attach(ret, &options);
    if (r == -ETIMEDOUT && timeout_ms > 0 && timeout_ms < PATIENCE_MS) {
        options.timeout_ms = 0; /* a brief wait gives it no less time than none */
        r = shmc_attach(ret, &options);
    }
    if (r >= 0)
        return TOOL_OK;
    if (r == -EBUSY && timeout_ms == 0)
        return fail(tool, TOOL_NO, "%s (--wait MS)", *error ? error : "the worker is held");
    bool no = r == -EBUSY || r == -EACCES || (r == -ENOENT && worker && segment_exists(options));
    return fail(tool, no ? TOOL_NO : TOOL_ABSENT, "%s", *error ? error : strerror(-r));
}

int attach_quietly(const struct tool *tool, shmc **ret, char *error, size_t error_bytes) {
    struct shmc_options options = options_for(tool, error, error_bytes);
    options.timeout_ms = 0;
    *error = '\0';
    int r = shmc_attach(ret, &options);
    if (r < 0 && !*error)
        snprintf(error, error_bytes, "%s", strerror(-r));
    return r;
}

int ask_quietly(const struct tool *tool, const char *request, json_t **reply, char *error,
                size_t error_bytes) {
    struct shmc_options options = options_for(tool, error, error_bytes);
    char *text = NULL;
    *error = '\0';
    int r = shmc_manager(&options, request, &text);
    *reply = text ? json_loads(text, 0, NULL) : NULL;
    free(text);
    if (*reply && !json_is_object(*reply)) {
        json_decref(*reply);
        *reply = NULL;
    }
    if (r >= 0 && !*reply)
        r = -EBADMSG;
    if (!*error)
        snprintf(error, error_bytes, "the manager: %s", strerror(-r));
    return r;
}

int ask(const struct tool *tool, const char *request, json_t **reply) {
    char error[512];
    int r = ask_quietly(tool, request, reply, error, sizeof error);
    if (*reply && field_true(*reply, NULL, "ok"))
        return TOOL_OK;
    int code = TOOL_ABSENT;
    if (*reply && json_object_get(*reply, "error"))
        code = fail(tool, TOOL_NO, "%s", field_text(*reply, NULL, "error"));
    else
        code = fail(tool, r == -EPERM || r == -EINVAL ? TOOL_NO : TOOL_ABSENT, "%s", error);
    json_decref(*reply);
    return code;
}

int wait_left(const struct tool *tool, uint64_t since_ns) {
    if (tool->wait_ms < 0)
        return -1;
    uint64_t took_ms = (clock_mono_ns() - since_ns) / 1000000;
    return took_ms < (uint64_t)tool->wait_ms ? tool->wait_ms - (int)took_ms : 0;
}

bool wait_more(const struct tool *tool, uint64_t since_ns) {
    static const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    if (wait_left(tool, since_ns) == 0)
        return false;
    nanosleep(&pause, NULL);
    return true;
}

static const json_t *field(const json_t *object, const char *group, const char *name) {
    return json_object_get(group ? json_object_get(object, group) : object, name);
}

const char *field_text(const json_t *object, const char *group, const char *name) {
    const char *text = json_string_value(field(object, group, name));
    return text ? text : "?";
}

uint64_t field_number(const json_t *object, const char *group, const char *name) {
    json_int_t value = json_integer_value(field(object, group, name));
    return value > 0 ? (uint64_t)value : 0;
}

bool field_true(const json_t *object, const char *group, const char *name) {
    return json_is_true(field(object, group, name));
}

static void print_changes(const json_t *reply) {
    static const char *const titles[] = {"ACTION", "NAME", "WHAT"};
    const json_t *changes = json_object_get(reply, "changes"), *change;
    struct grid grid;
    size_t i;
    if (json_array_size(changes) == 0)
        return;
    grid_start(&grid, titles, 3);
    json_array_foreach(changes, i, change) {
        const char *action = field_text(change, NULL, "action");
        grid_cell(&grid, strcmp(action, "remove") == 0 ? RED : GREEN, "%s", action);
        grid_cell(&grid, PLAIN, "%s", field_text(change, NULL, "name"));
        grid_cell(&grid, PLAIN, "%s", field_text(change, NULL, "what"));
    }
    grid_print(&grid);
}

void print_reloaded(const json_t *reply) {
    print_changes(reply);
    printf("generation %lu is in force%s\n", field_number(reply, NULL, "generation"),
           json_array_size(json_object_get(reply, "changes")) == 0 ? "; nothing had changed" : "");
}

const char *next_step(bool auto_apply) {
    return auto_apply ? "what becomes of it: shmtool history --wait"
                      : "look with: shmtool plan, apply it with: shmtool reload";
}

int verb_plan(const struct tool *tool) {
    json_t *reply;
    char before[TEXT_BYTES], after[TEXT_BYTES];
    int code = ask(tool, tool->force ? "plan --force" : "plan", &reply);
    if (code != TOOL_OK)
        return code;
    if (tool->json) {
        print_json(reply);
        return TOOL_OK;
    }
    print_changes(reply);
    if (json_array_size(json_object_get(reply, "changes")) == 0)
        printf("nothing to do: generation %lu is as the table says\n",
               field_number(reply, NULL, "generation"));
    else
        printf("would be generation %lu, using %s (now %s); apply it with: shmtool reload%s\n",
               field_number(reply, NULL, "generation"),
               text_bytes(after, field_number(reply, NULL, "used_after")),
               text_bytes(before, field_number(reply, NULL, "used_before")),
               tool->force ? " --force" : "");
    json_decref(reply);
    return TOOL_OK;
}

int verb_reload(const struct tool *tool) {
    json_t *reply;
    int code = ask(tool, tool->force ? "reload --force" : "reload", &reply);
    if (code != TOOL_OK)
        return code;
    if (tool->json) {
        print_json(reply);
        return TOOL_OK;
    }
    print_reloaded(reply);
    json_decref(reply);
    return TOOL_OK;
}

int verb_checkpoint(const struct tool *tool) {
    char request[SHMC_NAME_BYTES + 16], size[TEXT_BYTES];
    json_t *reply;
    if (tool->argc > 0 && strlen(tool->argv[0]) >= SHMC_NAME_BYTES)
        return fail(tool, TOOL_USAGE, "'%s' is too long for a section's name", tool->argv[0]);
    snprintf(request, sizeof request, "checkpoint%s%s", tool->argc > 0 ? " " : "",
             tool->argc > 0 ? tool->argv[0] : "");
    int code = ask(tool, request, &reply);
    if (code != TOOL_OK)
        return code;
    if (tool->json) {
        print_json(reply);
        return TOOL_OK;
    }
    printf("%lu section(s) saved (%s), %lu had not changed\n", field_number(reply, NULL, "saved"),
           text_bytes(size, field_number(reply, NULL, "bytes")),
           field_number(reply, NULL, "unchanged"));
    json_decref(reply);
    return TOOL_OK;
}

/* Without a manager its database is asked, where this user may read it. */
static int read_history(const struct tool *tool, unsigned limit, json_t **ret) {
    struct state_db *db;
    int code = state_open(tool, "its history", &db);
    if (code != TOOL_OK)
        return code;
    int r = state_db_history(db, limit, ret);
    if (r == 0 && tool->diff)
        r = state_db_history_changes(db, *ret);
    state_db_close(db);
    if (r < 0)
        return fail(tool, TOOL_NO, "the history in state.db can't be read: %s", strerror(-r));
    json_object_set_new(*ret, "ok", json_true());
    return TOOL_OK;
}

static void print_history(const json_t *reply) {
    static const char *const titles[] = {">EDIT", "TIME", "WHO", "OUTCOME", ">GENERATION", "WHAT"};
    const json_t *edit;
    struct grid grid;
    size_t i;
    grid_start(&grid, titles, 6);
    json_array_foreach(json_object_get(reply, "edits"), i, edit) {
        const char *outcome = field_text(edit, NULL, "outcome");
        const char *error = json_string_value(json_object_get(edit, "error"));
        grid_cell(&grid, PLAIN, "%lu", field_number(edit, NULL, "edit"));
        grid_cell(&grid, PLAIN, "%s", field_text(edit, NULL, "time"));
        grid_cell(&grid, PLAIN, "%s", field_text(edit, NULL, "who"));
        grid_cell(&grid, outcome_paint(outcome), "%s", outcome);
        uint64_t generation = field_number(edit, NULL, "generation");
        grid_cell(&grid, PLAIN, generation ? "%lu" : "-", generation);
        grid_cell(&grid, PLAIN, "%s", error ? error : field_text(edit, NULL, "what"));
    }
    grid_print(&grid);
}

/* An edit is decided once the manager has read the table as it is now, and it waits for nobody.
 * Nothing tells when that happens, so it is asked again and again. */
static int wait_decided(const struct tool *tool, bool *applied) {
    const uint64_t since_ns = clock_mono_ns();
    char error[512];
    json_t *reply;
    int r;
    bool unread, waits;
    do {
        r = ask_quietly(tool, "status", &reply, error, sizeof error);
        unread = r == 0 && field_true(reply, "table", "differs");
        waits = r == 0 && strcmp(field_text(reply, "table", "outcome"), "pending") == 0;
        *applied = r == 0 && strcmp(field_text(reply, "table", "outcome"), "applied") == 0;
        if (waits)
            snprintf(error, sizeof error, "%s", field_text(reply, "table", "error"));
        json_decref(reply);
    } while ((unread || waits || r == -ENOTCONN) && wait_more(tool, since_ns));
    if (waits)
        return fail(tool, TOOL_NO, "the last edit is pending: %s", error);
    if (unread)
        return fail(tool, TOOL_NO,
                    "the last edit is not decided yet; apply it with: shmtool reload");
    return r < 0 ? fail(tool, TOOL_ABSENT, "%s", error) : TOOL_OK;
}

int verb_history(const struct tool *tool) {
    char request[48], error[512];
    uint64_t limit = 20;
    json_t *reply;
    if (tool->argc > 0 && (!parse_bytes(tool->argv[0], &limit) || limit == 0 || limit > 1000))
        return fail(tool, TOOL_USAGE, "'%s' is no number of edits from 1 to 1000", tool->argv[0]);
    snprintf(request, sizeof request, "history %lu%s", limit, tool->diff ? " --diff" : "");
    bool applied = true;
    int code = tool->waits ? wait_decided(tool, &applied) : TOOL_OK;
    if (code != TOOL_OK)
        return code;
    if (ask_quietly(tool, request, &reply, error, sizeof error) == -ENOTCONN)
        code = read_history(tool, (unsigned)limit, &reply);
    else if (!reply || !field_true(reply, NULL, "ok"))
        code = fail(tool, TOOL_NO, "%s", reply ? field_text(reply, NULL, "error") : error);
    if (code != TOOL_OK)
        return code;
    if (!applied)
        code = TOOL_NO;
    if (tool->json) {
        print_json(reply);
        return code;
    }
    if (tool->diff)
        print_history_rows(reply);
    else
        print_history(reply);
    json_decref(reply);
    return code;
}

/* A request about one worker or section; what is said of it is that it was done. */
static int ask_about(const struct tool *tool, const char *verb, const char *what,
                     const char *done) {
    char request[SHMC_NAME_BYTES + 32];
    json_t *reply;
    if (strlen(tool->argv[0]) >= SHMC_NAME_BYTES)
        return fail(tool, TOOL_USAGE, "'%.80s' is no %s's name", tool->argv[0], what);
    snprintf(request, sizeof request, "%s %s%s", verb, tool->force ? "--force " : "",
             tool->argv[0]);
    int code = ask(tool, request, &reply);
    if (code != TOOL_OK)
        return code;
    if (tool->json) {
        print_json(reply);
        return TOOL_OK;
    }
    printf("%s '%s' is %s\n", what, tool->argv[0], done);
    json_decref(reply);
    return TOOL_OK;
}

int verb_revoke(const struct tool *tool) {
    const char first = tool->argv[0][0];
    if (first >= '0' && first <= '9') /* no worker's name begins so */
        return ask_about(tool, "revoke", "attachment", "free, and so is what it held");
    return ask_about(tool, "revoke", "worker", "free; its sections are in fresh memory");
}

int verb_drop(const struct tool *tool) {
    return ask_about(tool, "drop", "section", "gone");
}

static int confirm(const struct tool *tool) {
    char answer[16];
    if (!isatty(STDIN_FILENO))
        return fail(tool, TOOL_USAGE,
                    "this ends the segment and all values in it; say so with --yes");
    fprintf(stderr, "Remove the segment, all values in it, and stop the manager? [y/N] ");
    if (!fgets(answer, sizeof answer, stdin) || (*answer != 'y' && *answer != 'Y'))
        return fail(tool, TOOL_NO, "nothing was done");
    return TOOL_OK;
}

bool shares_pids(const json_t *status) {
    struct stat here;
    uint64_t there = field_number(status, "manager", "pid_namespace");
    return there == 0 || stat("/proc/self/ns/pid", &here) < 0 || here.st_ino == there;
}

/* A descriptor that tells when the manager has ended; -1 where there is none to be had. */
static int watch_manager(const struct tool *tool) {
    char error[512];
    json_t *status = NULL;
    int fd = -1;
    if (ask_quietly(tool, "status", &status, error, sizeof error) == 0 && shares_pids(status))
        fd = pidfd_open((pid_t)field_number(status, "manager", "pid"), 0);
    json_decref(status);
    return fd;
}

int verb_destroy(const struct tool *tool) {
    json_t *reply;
    int code = tool->yes ? TOOL_OK : confirm(tool);
    if (code != TOOL_OK)
        return code;
    /* It answers before it takes the segment away, and its successor needs both gone. */
    struct pollfd end = {.fd = watch_manager(tool), .events = POLLIN};
    code = ask(tool, "destroy", &reply);
    if (code == TOOL_OK && end.fd >= 0)
        poll(&end, 1, TOOL_MANAGER_MS);
    if (end.fd >= 0)
        close(end.fd);
    if (code != TOOL_OK)
        return code;
    if (tool->json) {
        print_json(reply);
        return TOOL_OK;
    }
    puts("the segment is gone, and the manager has stopped");
    json_decref(reply);
    return TOOL_OK;
}
