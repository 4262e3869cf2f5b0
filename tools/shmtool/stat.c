/* SPDX-License-Identifier: Apache-2.0
 *
 * stat: a queue's counters, in all and lane by lane.
 */
#include "tool.h"

#include <stdlib.h>
#include <string.h>

struct counts {
    struct shmc_queue_stat all;
    struct shmc_lane_stat *lanes;
    size_t n;
};

static const char *lane_state(const struct shmc_lane_stat *lane) {
    return lane->bad ? "bad" : lane->waiting ? "full" : lane->held ? "held" : "free";
}

static enum paint lane_paint(const struct shmc_lane_stat *lane) {
    return lane->bad ? RED : lane->waiting ? YELLOW : lane->held ? GREEN : PLAIN;
}

/* ---- JSON */

static json_t *lane_json(const struct shmc_lane_stat *lane) {
    return json_pack(
        "{s:I, s:s, s:o, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I,"
        " s:I, s:I, s:I}",
        "lane", (json_int_t)lane->lane, "state", lane_state(lane), "trouble",
        json_text(lane->trouble), "pid", (json_int_t)lane->pid, "worker", json_text(lane->worker),
        "messages", (json_int_t)lane->messages, "bytes", (json_int_t)lane->bytes, "sent",
        (json_int_t)lane->sent, "received", (json_int_t)lane->received, "sent_bytes",
        (json_int_t)lane->sent_bytes, "refused", (json_int_t)lane->refused, "blocked_ns",
        (json_int_t)lane->blocked_ns, "relocated", (json_int_t)lane->relocated, "takeovers",
        (json_int_t)lane->takeovers, "wakes", (json_int_t)lane->wakes, "high_messages",
        (json_int_t)lane->high_messages, "high_bytes", (json_int_t)lane->high_bytes,
        "last_receive_pid", (json_int_t)lane->last_receive_pid, "last_send_real_ns",
        (json_int_t)lane->last_send_real_ns, "last_receive_real_ns",
        (json_int_t)lane->last_receive_real_ns);
}

static json_t *all_json(const struct shmc_queue_stat *all) {
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I,"
        " s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
        "messages", (json_int_t)all->messages, "bytes", (json_int_t)all->bytes, "lanes",
        (json_int_t)all->lanes, "lanes_held", (json_int_t)all->lanes_held, "lanes_bad",
        (json_int_t)all->lanes_bad, "lane_messages", (json_int_t)all->lane_messages, "lane_bytes",
        (json_int_t)all->lane_bytes, "message_bytes", (json_int_t)all->message_bytes, "sent",
        (json_int_t)all->sent, "received", (json_int_t)all->received, "sent_bytes",
        (json_int_t)all->sent_bytes, "refused", (json_int_t)all->refused, "blocked_ns",
        (json_int_t)all->blocked_ns, "relocated", (json_int_t)all->relocated, "takeovers",
        (json_int_t)all->takeovers, "wakes", (json_int_t)all->wakes, "high_messages",
        (json_int_t)all->high_messages, "high_bytes", (json_int_t)all->high_bytes, "oldest_real_ns",
        (json_int_t)all->oldest_real_ns, "last_send_pid", (json_int_t)all->last_send_pid,
        "last_receive_pid", (json_int_t)all->last_receive_pid, "last_send_real_ns",
        (json_int_t)all->last_send_real_ns, "last_receive_real_ns",
        (json_int_t)all->last_receive_real_ns, "changed_generation",
        (json_int_t)all->changed_generation, "changed_real_ns", (json_int_t)all->changed_real_ns);
}

static void print_counts_json(const char *name, const struct counts *counts) {
    json_t *lanes = json_array(), *object = all_json(&counts->all);
    for (size_t i = 0; i < counts->n; i++)
        json_array_append_new(lanes, lane_json(&counts->lanes[i]));
    json_object_set_new(object, "ok", json_true());
    json_object_set_new(object, "section", json_string(name));
    json_object_set_new(object, "lane", lanes);
    print_json(object);
}

/* ---- text */

static void lane_row(struct grid *grid, const struct shmc_lane_stat *lane) {
    char span[TEXT_BYTES];
    grid_cell(grid, PLAIN, "%u", lane->lane);
    grid_cell(grid, lane_paint(lane), "%s%s%s%s", lane_state(lane), lane->bad ? " (" : "",
              lane->trouble, lane->bad ? ")" : "");
    grid_cell(grid, PLAIN, lane->pid ? "%d" : "-", lane->pid);
    grid_cell(grid, PLAIN, "%s", *lane->worker ? lane->worker : "-");
    grid_cell(grid, PLAIN, "%lu", lane->messages);
    grid_cell(grid, PLAIN, "%lu", lane->bytes);
    grid_cell(grid, PLAIN, "%lu", lane->high_messages);
    grid_cell(grid, PLAIN, "%lu", lane->sent);
    grid_cell(grid, PLAIN, "%lu", lane->received);
    grid_cell(grid, lane->refused ? YELLOW : PLAIN, "%lu", lane->refused);
    grid_cell(grid, PLAIN, "%s", text_span(span, lane->blocked_ns));
    grid_cell(grid, PLAIN, "%s", text_ago(span, lane->last_send_real_ns));
}

static void print_all(const char *name, const struct shmc_queue_stat *all) {
    char size[TEXT_BYTES], span[TEXT_BYTES], text[TEXT_BYTES];
    printf("%s%s%s: %lu messages wait (%s", paint_on(BOLD), name, paint_off(), all->messages,
           text_bytes(size, all->bytes));
    if (all->oldest_real_ns != 0)
        printf(", the oldest for %s", text_ago(span, all->oldest_real_ns));
    printf("); %lu were sent, %lu received, %lu refused\n", all->sent, all->received, all->refused);
    printf("last sent %s ago by process %d, received %s ago by process %d\n",
           text_ago(span, all->last_send_real_ns), all->last_send_pid,
           text_ago(text, all->last_receive_real_ns), all->last_receive_pid);
    printf("changed by generation %lu, %s ago\n", all->changed_generation,
           text_ago(span, all->changed_real_ns));
    printf("%u of %u lanes are held, %u bad; each has room for %lu messages, %s; one message, %s\n",
           all->lanes_held, all->lanes, all->lanes_bad, all->lane_messages,
           text_bytes(size, all->lane_bytes), text_bytes(text, all->message_bytes));
}

/* Those that anybody ever used. */
static void print_lanes(const struct counts *counts) {
    static const char *const titles[] = {">LANE",     "STATE",    ">PID",     "WORKER",
                                         ">WAIT",     ">BYTES",   ">HIGH",    ">SENT",
                                         ">RECEIVED", ">REFUSED", ">BLOCKED", ">LAST SENT"};
    struct grid grid;
    grid_start(&grid, titles, 12);
    for (size_t i = 0; i < counts->n; i++)
        if (counts->lanes[i].held || counts->lanes[i].bad || counts->lanes[i].sent > 0)
            lane_row(&grid, &counts->lanes[i]);
    putchar('\n');
    grid_print(&grid);
}

static int count(const struct tool *tool, shmc *segment, shmc_section *section,
                 struct counts *ret) {
    int r = shmc_queue_stat(section, &ret->all, NULL, NULL);
    if (r == 0) {
        ret->n = ret->all.lanes;
        ret->lanes = calloc(ret->n, sizeof *ret->lanes);
        if (!ret->lanes)
            return fail(tool, TOOL_NO, "out of memory");
        const size_t room = ret->n;
        r = shmc_queue_stat(section, &ret->all, ret->lanes, &ret->n);
        ret->n = ret->n < room ? ret->n : room; /* an edit may have given it more */
    }
    return r < 0 ? fail(tool, TOOL_NO, "%s", shmc_last_error(segment)) : TOOL_OK;
}

int verb_stat(const struct tool *tool) {
    shmc *segment;
    shmc_section *section;
    struct counts counts = {0};
    int code = attach(tool, NULL, 0, 0, &segment);
    if (code != TOOL_OK)
        return code;
    code = open_queue(tool, segment, tool->argv[0], &section);
    if (code == TOOL_OK) {
        code = count(tool, segment, section, &counts);
        shmc_close(section);
    }
    if (code == TOOL_OK && tool->json) {
        print_counts_json(tool->argv[0], &counts);
    } else if (code == TOOL_OK) {
        print_all(tool->argv[0], &counts.all);
        print_lanes(&counts);
    }
    free(counts.lanes);
    shmc_detach(segment);
    return code;
}
