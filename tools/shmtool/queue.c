/* SPDX-License-Identifier: Apache-2.0
 *
 * send, receive and peek: messages into a queue, out of it, and a look at those that wait.  What is
 * received is gone from the queue only when it was written out.
 */
#include "tool.h"

#include "core/futex.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PREVIEW_BYTES 48

struct letter {
    char *data;
    size_t room, length;
    struct shmc_message about;
};

int open_queue(const struct tool *tool, shmc *segment, const char *name, shmc_section **ret) {
    const struct shmc_expect queue = {.size = sizeof queue, .kind = SHMC_QUEUE};
    int r = shmc_open(ret, segment, name, &queue);
    return r == -ENOENT ? no_section(tool, segment, name)
           : r < 0      ? fail(tool, TOOL_NO, "%s", shmc_last_error(segment))
                        : TOOL_OK;
}

static bool letter_grow(struct letter *letter, size_t room) {
    if (room <= letter->room)
        return true;
    char *data = realloc(letter->data, room);
    if (!data)
        return false;
    letter->data = data;
    letter->room = room;
    return true;
}

/* ---- send */

/* Reads to the end, but no more than one byte beyond what a message takes. */
static int read_message(const struct tool *tool, int fd, size_t most, struct letter *ret) {
    ssize_t n = 1;
    while (n > 0 && ret->length <= most) {
        if (!letter_grow(ret, ret->length + 4096 < most ? 2 * ret->length + 4096 : most + 1))
            return fail(tool, TOOL_NO, "out of memory");
        n = read(fd, ret->data + ret->length, ret->room - ret->length);
        if (n < 0 && errno != EINTR)
            return fail(tool, TOOL_NO, "%s: %s", tool->input ? tool->input : "stdin",
                        strerror(errno));
        ret->length += n > 0 ? (size_t)n : 0;
    }
    return TOOL_OK;
}

static int take_data(const struct tool *tool, size_t most, struct letter *ret) {
    const char *given = tool->argc > 2 ? tool->argv[2] : "-";
    if (tool->input && strcmp(given, "-") != 0)
        return fail(tool, TOOL_USAGE, "--input and DATA: give one of them");
    if (strcmp(given, "-") != 0) {
        ret->length = strlen(given);
        ret->data = strdup(given);
        return ret->data ? TOOL_OK : fail(tool, TOOL_NO, "out of memory");
    }
    int fd = tool->input ? open(tool->input, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
    if (fd < 0)
        return fail(tool, TOOL_NO, "%s: %s", tool->input, strerror(errno));
    int code = read_message(tool, fd, most, ret);
    if (fd != STDIN_FILENO)
        close(fd);
    return code;
}

static int send_letter(const struct tool *tool, shmc *segment, shmc_section *section, int64_t type,
                       const struct letter *letter) {
    int r = shmc_queue_send(section, type, letter->data, letter->length, 0,
                            tool->waits ? tool->wait_ms : 0);
    if (r < 0)
        return fail(tool, TOOL_NO, "%s", shmc_last_error(segment));
    if (tool->json)
        print_json(json_pack("{s:b, s:s, s:I, s:I}", "ok", 1, "section", tool->argv[0], "type",
                             (json_int_t)type, "length", (json_int_t)letter->length));
    return TOOL_OK;
}

static int send_one(const struct tool *tool, shmc *segment, shmc_section *section, int64_t type) {
    struct shmc_queue_stat stat;
    struct letter letter = {0};
    if (shmc_queue_stat(section, &stat, NULL, NULL) < 0)
        return fail(tool, TOOL_NO, "%s", shmc_last_error(segment));
    int code = take_data(tool, stat.message_bytes, &letter);
    if (code == TOOL_OK && letter.length > stat.message_bytes)
        code = fail(tool, TOOL_NO,
                    "the message is larger than queue '%s' takes, which is %lu bytes; raise its "
                    "size: shmtool table set %s size=...",
                    tool->argv[0], stat.message_bytes, tool->argv[0]);
    if (code == TOOL_OK)
        code = send_letter(tool, segment, section, type, &letter);
    free(letter.data);
    return code;
}

int verb_send(const struct tool *tool) {
    int64_t type = 1;
    shmc *segment;
    shmc_section *section;
    if (tool->argc > 1 && (!parse_type(tool->argv[1], &type) || type <= 0))
        return fail(tool, TOOL_USAGE,
                    "'%s' is no type, which is a number > 0: shmtool send NAME 1 DATA",
                    tool->argv[1]);
    int code = attach(tool, tool->worker, tool->worker ? 0 : SHMC_ANONYMOUS,
                      tool->waits ? tool->wait_ms : 0, &segment);
    if (code != TOOL_OK)
        return code;
    code = open_queue(tool, segment, tool->argv[0], &section);
    if (code == TOOL_OK) {
        code = send_one(tool, segment, section, type);
        shmc_close(section);
    }
    shmc_detach(segment);
    return code;
}

/* ---- what is shown of a message */

static json_t *message_json(const char *name, const struct letter *letter) {
    const struct shmc_message *about = &letter->about;
    const char *encoding;
    json_t *data = json_bytes(letter->data, letter->length, &encoding);
    return json_pack("{s:b, s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:o, s:b, s:s, s:o}", "ok", 1,
                     "section", name, "type", (json_int_t)about->type, "lane",
                     (json_int_t)about->lane, "id", (json_int_t)about->id, "length",
                     (json_int_t)about->length, "pid", (json_int_t)about->pid, "worker",
                     json_text(about->worker), "real_ns", (json_int_t)about->real_ns, "age_ns",
                     json_age(about->age_ns), "redelivered", about->redelivered, "encoding",
                     encoding, "data", data);
}

static int show_letter(const struct tool *tool, const struct letter *letter) {
    if (tool->json)
        (tool->several ? print_json_line : print_json)(message_json(tool->argv[0], letter));
    else
        print_bytes(tool, letter->data, letter->length);
    if (fflush(stdout) != 0 || ferror(stdout))
        return fail(tool, TOOL_NO, "stdout: %s", strerror(errno));
    return TOOL_OK;
}

/* ---- receive */

/* Out of the shared memory, where its sender could still write. */
static bool copy_out(struct letter *letter, const void *data, size_t bytes) {
    if (!letter_grow(letter, bytes))
        return false;
    memcpy(letter->data, data, bytes);
    letter->length = bytes;
    return true;
}

static int receive_failed(const struct tool *tool, shmc *segment, ssize_t r) {
    if (r == -EAGAIN || r == -ETIMEDOUT)
        return fail(tool, TOOL_NO, "queue '%s' has no such message%s", tool->argv[0],
                    r == -EAGAIN ? "; wait for one with --wait" : " in that time");
    return fail(tool, TOOL_NO, "%s", shmc_last_error(segment));
}

static int receive_one(const struct tool *tool, shmc *segment, shmc_section *section,
                       struct letter *letter, int timeout_ms) {
    const void *data;
    size_t bytes;
    int r;
    while ((r = shmc_queue_peek(section, tool->type, &data, &bytes, tool->except ? SHMC_EXCEPT : 0,
                                timeout_ms, &letter->about)) == -EBADMSG)
        note(tool, "%s", shmc_last_error(segment)); /* that lane is skipped from here on */
    if (r < 0)
        return receive_failed(tool, segment, r);
    int code = copy_out(letter, data, bytes) ? show_letter(tool, letter)
                                             : fail(tool, TOOL_NO, "out of memory");
    r = code == TOOL_OK ? shmc_queue_ack(section) : shmc_queue_abandon(section);
    return r < 0 ? fail(tool, TOOL_NO, "%s", shmc_last_error(segment)) : code;
}

static int receive_all(const struct tool *tool, shmc *segment, shmc_section *section) {
    struct tool each = *tool;
    struct letter letter = {0};
    const uint64_t most = tool->count > 0 ? tool->count : tool->follow ? UINT64_MAX : 1;
    const int timeout_ms = tool->waits ? tool->wait_ms : tool->follow ? -1 : 0;
    int code = TOOL_OK;
    each.several = most > 1;
    for (uint64_t n = 0; n < most && code == TOOL_OK; n++)
        code = receive_one(&each, segment, section, &letter, timeout_ms);
    free(letter.data);
    return code;
}

/* The section's owner, or the first of its instances that is free. */
static int find_receiver(const struct tool *tool, char name[SHMC_NAME_BYTES]) {
    struct shmc_section_info info;
    char pattern[SHMC_NAME_BYTES + 2];
    shmc *segment;
    int code = attach(tool, NULL, 0, tool->waits ? tool->wait_ms : 0, &segment);
    if (code != TOOL_OK)
        return code;
    int r = shmc_inspect(segment, tool->argv[0], &info);
    if (r == -ENOENT)
        code = no_section(tool, segment, tool->argv[0]);
    else if (r < 0)
        code = fail(tool, TOOL_NO, "%s", shmc_last_error(segment));
    if (code == TOOL_OK) {
        struct shmc_worker_info worker;
        bool alone = shmc_inspect_worker(segment, info.owner, &worker) == 0;
        snprintf(pattern, sizeof pattern, alone ? "%s" : "%s#*", info.owner);
    }
    shmc_detach(segment);
    return code == TOOL_OK ? choose_worker(tool, pattern, name) : code;
}

int verb_receive(const struct tool *tool) {
    char name[SHMC_NAME_BYTES];
    shmc *segment;
    shmc_section *section;
    const uint64_t since_ns = clock_mono_ns();
    if (tool->except && tool->type <= 0)
        return fail(tool, TOOL_USAGE, "--except: which type? --type N, and it is > 0");
    int code = tool->worker ? choose_worker(tool, tool->worker, name) : find_receiver(tool, name);
    if (code == TOOL_OK)
        code = attach(tool, name, 0, tool->waits ? wait_left(tool, since_ns) : 0, &segment);
    if (code != TOOL_OK)
        return code;
    code = open_queue(tool, segment, tool->argv[0], &section);
    if (code == TOOL_OK) {
        code = receive_all(tool, segment, section);
        shmc_close(section);
    }
    shmc_detach(segment);
    return code;
}

/* ---- peek */

static const char *preview(char text[PREVIEW_BYTES + 8], const struct letter *letter) {
    size_t bytes = letter->length < PREVIEW_BYTES ? letter->length : PREVIEW_BYTES;
    if (!is_plain_text(letter->data, bytes) || memchr(letter->data, '\n', bytes))
        return "(binary)";
    snprintf(text, PREVIEW_BYTES + 8, "%.*s%s", (int)bytes, letter->data,
             bytes < letter->length ? "..." : "");
    return text;
}

static void peek_row(struct grid *grid, const struct letter *letter) {
    const struct shmc_message *about = &letter->about;
    char span[TEXT_BYTES], text[PREVIEW_BYTES + 8];
    grid_cell(grid, PLAIN, "%u", about->lane);
    grid_cell(grid, PLAIN, "%lu", about->id);
    grid_cell(grid, PLAIN, "%ld", about->type);
    grid_cell(grid, PLAIN, "%lu", about->length);
    grid_cell(grid, PLAIN, "%s", text_span(span, about->age_ns));
    grid_cell(grid, PLAIN, "%d%s%s", about->pid, *about->worker ? " " : "", about->worker);
    grid_cell(grid, PLAIN, "%s", preview(text, letter));
}

static void peek_dump(const struct letter *letter) {
    char span[TEXT_BYTES];
    printf("lane %u, id %lu, type %ld, %lu bytes, %s ago, process %d\n", letter->about.lane,
           letter->about.id, letter->about.type, letter->about.length,
           text_span(span, letter->about.age_ns), letter->about.pid);
    print_hex(letter->data, letter->length);
}

/* -ENOMSG behind the last one. */
static ssize_t look(shmc_section *section, size_t index, struct letter *letter) {
    ssize_t n;
    while ((n = shmc_queue_look(section, index, letter->data, letter->room, 0, &letter->about)) ==
           -E2BIG)
        if (!letter_grow(letter, letter->about.length))
            return -ENOMEM;
    letter->length = n < 0 ? 0 : (size_t)n;
    return n;
}

static int peek_all(const struct tool *tool, shmc *segment, shmc_section *section) {
    static const char *const titles[] = {">LANE", ">ID",    ">TYPE", ">LENGTH",
                                         ">AGE",  "SENDER", "DATA"};
    struct letter letter = {0};
    struct grid grid;
    const bool rows = !tool->json && !tool->hex;
    const uint64_t most = tool->count > 0 ? tool->count : SIZE_MAX;
    ssize_t n = 0;
    grid_start(&grid, titles, 7);
    for (size_t i = 0; i < most && (n = look(section, i, &letter)) >= 0; i++) {
        if (tool->json)
            print_json_line(message_json(tool->argv[0], &letter));
        else if (tool->hex)
            peek_dump(&letter);
        else
            peek_row(&grid, &letter);
    }
    free(letter.data);
    if (rows && grid.n > 7)
        grid_print(&grid);
    else
        free(grid.cells);
    if (n < 0 && n != -ENOMSG)
        return fail(tool, TOOL_NO, "%s", n == -ENOMEM ? "out of memory" : shmc_last_error(segment));
    return TOOL_OK;
}

int verb_peek(const struct tool *tool) {
    shmc *segment;
    shmc_section *section;
    int code = attach(tool, NULL, 0, 0, &segment);
    if (code != TOOL_OK)
        return code;
    code = open_queue(tool, segment, tool->argv[0], &section);
    if (code == TOOL_OK) {
        code = peek_all(tool, segment, section);
        shmc_close(section);
    }
    shmc_detach(segment);
    return code;
}
