/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker, or a reader, that does what it is told on stdin, a line at a time, and answers each
 * with a line: what the call returned (0, a length, or an error's name), then what it read. driven
 * [WORKER] (- is an attachment without a name): open NAME; put NAME TEXT; begin NAME TEXT; commit
 * NAME BYTES; get NAME; next NAME MS; raw NAME TEXT; rawget NAME; view NAME; look NAME; follow NAME
 * MS; any NAME MS (wait_any on it alone); size NAME (of the segment) and sections NAME (how many
 * there are); count NAME MS (publishes 1, 2 and so on for so long, and last -N), watch NAME (reads
 * those: each larger than the one before, up to the last).  Of slots: grab NAME, stay NAME INDEX
 * (fgrab, in use whoever lives), fill NAME INDEX TEXT, slot NAME INDEX (gets), free NAME INDEX; of
 * queues: send NAME TEXT, receive NAME MS, peek NAME MS, ack NAME.
 */
#include <errno.h>
#include <shmclient.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECTIONS_MAX 16

static shmc *segment;
static struct {
    char name[SHMC_NAME_BYTES];
    shmc_section *section;
    const char *viewed;
    char *begun;
} opened[SECTIONS_MAX];
static char value[1 << 20];

static int find(const char *name) {
    for (int i = 0; i < SECTIONS_MAX; i++) {
        if (strcmp(opened[i].name, name) == 0)
            return i;
        if (opened[i].name[0] != '\0')
            continue;
        int r = shmc_open(&opened[i].section, segment, name, NULL);
        if (r < 0)
            return r;
        snprintf(opened[i].name, sizeof opened[i].name, "%s", name);
        return i;
    }
    return -EMFILE;
}

static void answer(long result, const char *text) {
    if (result < 0)
        printf("%s %s\n", strerrorname_np((int)-result), text);
    else
        printf("%ld %s\n", result, text);
    fflush(stdout);
}

static void show(ssize_t n, const struct shmc_value *about) {
    char text[256];
    if (n < 0) {
        answer(n, "");
        return;
    }
    value[n] = '\0';
    snprintf(text, sizeof text, "v%lu %.200s", about->version, value);
    answer(n, text);
}

static void read_newest(int i, int wait_ms) {
    struct shmc_value about;
    show(wait_ms < 0 ? shmc_read(opened[i].section, value, sizeof value - 1, &about)
                     : shmc_next(opened[i].section, value, sizeof value - 1, wait_ms, &about),
         &about);
}

static void follow(int i, int wait_ms) {
    struct shmc_value about;
    show(shmc_follow(opened[i].section, value, sizeof value - 1, wait_ms, &about), &about);
}

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void count(int i, unsigned ms) {
    const uint64_t end = now_ms() + ms;
    int64_t n = 0;
    int r = 0;
    while (r == 0 && n >= 0) {
        n = now_ms() < end ? n + 1 : -n;
        r = shmc_publish(opened[i].section, &n, sizeof n);
    }
    answer(r < 0 ? r : (long)-n, r < 0 ? shmc_last_error(segment) : "");
}

static void watch(int i) {
    int64_t n = 0, last = 0;
    ssize_t r = shmc_read(opened[i].section, &n, sizeof n, NULL); /* whatever was there */
    do {
        r = shmc_next(opened[i].section, &n, sizeof n, 30000, NULL);
        if (r >= 0 && (r != sizeof n || (n < 0 ? -n : n) < last))
            r = -EILSEQ;
        last = n;
    } while (r >= 0 && n > 0);
    answer(r < 0 ? r : (long)-n, r < 0 ? shmc_last_error(segment) : "");
}

static void show_size(void) {
    struct shmc_segment_info info;
    int r = shmc_segment(segment, &info);
    answer(r < 0 ? r : (long)info.bytes, "");
}

static void count_sections(void) {
    struct shmc_section_info *all;
    size_t n;
    int r = shmc_sections(segment, &all, &n);
    answer(r < 0 ? r : (long)n, "");
    if (r == 0)
        free(all);
}

static void write_raw(int i, const char *text, size_t bytes) {
    void *data;
    size_t room;
    int r = shmc_raw_writable(opened[i].section, &data, &room);
    if (r == 0)
        memcpy(data, text, bytes < room ? bytes : room);
    answer(r, "");
}

static void begin(int i, const char *text, size_t bytes) {
    void *data;
    size_t room;
    int r = shmc_begin(opened[i].section, &data, &room);
    if (r == 0)
        memcpy(data, text, bytes < room ? bytes : room);
    answer(r, "");
}

static void view(int i) {
    const void *data;
    size_t bytes;
    int r = shmc_view(opened[i].section, &data, &bytes, NULL);
    if (r == 0)
        opened[i].viewed = data;
    answer(r, "");
}

/* What was viewed, however long ago. */
static void look(int i) {
    char text[64];
    snprintf(text, sizeof text, "%.40s", opened[i].viewed);
    answer(shmc_valid(opened[i].section), text);
}

static void show_slot(int i, int slot) {
    ssize_t n = shmc_slot_get(opened[i].section, slot, value, sizeof value - 1, NULL);
    if (n >= 0)
        value[n] = '\0';
    answer(n, n < 0 ? "" : value);
}

static void peek(int i, int wait_ms) {
    const void *data;
    size_t bytes;
    char text[64] = "";
    int r = shmc_queue_peek(opened[i].section, 0, &data, &bytes, 0, wait_ms, NULL);
    if (r == 0)
        snprintf(text, sizeof text, "%.*s", (int)bytes, (const char *)data);
    answer(r, text);
}

static void receive(int i, int wait_ms) {
    ssize_t n = shmc_queue_receive(opened[i].section, 0, value, sizeof value - 1, 0, wait_ms, NULL);
    if (n >= 0)
        value[n] = '\0';
    answer(n, n < 0 ? "" : value);
}

/* Slots and queues; false: that is no verb of theirs. */
static bool obey_many(const char *verb, shmc_section *section, int i, const char *text) {
    const char *rest = strchr(text, ' ');
    rest = rest == NULL ? "" : rest + 1;
    if (strcmp(verb, "grab") == 0)
        answer(shmc_slot_grab(section, 0), "");
    else if (strcmp(verb, "stay") == 0)
        answer(shmc_slot_fgrab(section, atoi(text), SHMC_SLOT_STAYS), "");
    else if (strcmp(verb, "fill") == 0)
        answer(shmc_slot_put(section, atoi(text), rest, strlen(rest)), "");
    else if (strcmp(verb, "slot") == 0)
        show_slot(i, atoi(text));
    else if (strcmp(verb, "free") == 0)
        answer(shmc_slot_release(section, atoi(text)), "");
    else if (strcmp(verb, "send") == 0)
        answer(shmc_queue_send(section, 1, text, strlen(text), 0, 10000), "");
    else if (strcmp(verb, "receive") == 0)
        receive(i, atoi(text));
    else if (strcmp(verb, "peek") == 0)
        peek(i, atoi(text));
    else if (strcmp(verb, "ack") == 0)
        answer(shmc_queue_ack(section), "");
    else
        return false;
    return true;
}

static void obey(const char *verb, int i, const char *text) {
    shmc_section *section = opened[i].section;
    if (strcmp(verb, "open") == 0)
        answer(0, "");
    else if (strcmp(verb, "put") == 0)
        answer(shmc_publish(section, text, strlen(text)), "");
    else if (strcmp(verb, "begin") == 0)
        begin(i, text, strlen(text) + 1);
    else if (strcmp(verb, "commit") == 0)
        answer(shmc_commit(section, strtoul(text, NULL, 10)), "");
    else if (strcmp(verb, "get") == 0)
        read_newest(i, -1);
    else if (strcmp(verb, "next") == 0)
        read_newest(i, atoi(text));
    else if (strcmp(verb, "raw") == 0)
        write_raw(i, text, strlen(text) + 1);
    else if (strcmp(verb, "rawget") == 0)
        answer(shmc_raw_read(section, 0, value, 64), value);
    else if (strcmp(verb, "view") == 0)
        view(i);
    else if (strcmp(verb, "look") == 0)
        look(i);
    else if (strcmp(verb, "follow") == 0)
        follow(i, atoi(text));
    else if (strcmp(verb, "any") == 0)
        answer(shmc_wait_any(&section, 1, atoi(text)), "");
    else if (strcmp(verb, "count") == 0)
        count(i, (unsigned)atoi(text));
    else if (strcmp(verb, "watch") == 0)
        watch(i);
    else if (strcmp(verb, "size") == 0)
        show_size();
    else if (strcmp(verb, "sections") == 0)
        count_sections();
    else if (!obey_many(verb, section, i, text))
        answer(-ENOSYS, verb);
}

int main(int argc, char **argv) {
    char error[512] = "", line[4096], verb[32], name[SHMC_NAME_BYTES];
    struct shmc_options options = {.size = sizeof options,
                                   .worker = argc > 1 ? argv[1] : NULL,
                                   .timeout_ms = 10000,
                                   .error = error,
                                   .error_bytes = sizeof error};
    if (options.worker != NULL && strcmp(options.worker, "-") == 0) {
        options.worker = NULL;
        options.flags = SHMC_ANONYMOUS;
    }
    int r = shmc_attach(&segment, &options);
    answer(r, error);
    while (r == 0 && fgets(line, sizeof line, stdin) != NULL) {
        int at = 0;
        line[strcspn(line, "\n")] = '\0';
        if (sscanf(line, "%31s %63s %n", verb, name, &at) < 2) {
            answer(-EINVAL, line);
            continue;
        }
        int i = find(name);
        if (i < 0)
            answer(i, shmc_last_error(segment));
        else
            obey(verb, i, line + at);
    }
    shmc_detach(segment);
    return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
