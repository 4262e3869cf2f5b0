/* SPDX-License-Identifier: Apache-2.0
 *
 * Segments without a daemon: one is made, and children live in it, a step at a time.
 */
#ifndef SHM_TESTS_PRIVATE_FIXTURE_H
#define SHM_TESTS_PRIVATE_FIXTURE_H

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <shmclient.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SPEC(...)                                                                                  \
    { .size = sizeof(struct shmc_private_spec), __VA_ARGS__ }
#define PATIENCE_MS 60000

static char error[512];

static inline shmc_private *make(enum shmc_strategy strategy, const struct shmc_private_spec *specs,
                                 size_t n) {
    const struct shmc_private_options options = {
        .size = sizeof options, .strategy = strategy, .error = error, .error_bytes = sizeof error};
    shmc_private *memory = NULL;
    const int r = shmc_private_create(&memory, specs, n, &options);
    ck_assert_msg(r == 0, "%d: %s", r, error);
    return memory;
}

static inline int attach(shmc **ret, const shmc_private *memory, const char *worker,
                         int timeout_ms) {
    const struct shmc_options options = {.size = sizeof options,
                                         .worker = worker,
                                         .timeout_ms = timeout_ms,
                                         .error = error,
                                         .error_bytes = sizeof error};
    return shmc_private_attach(ret, memory, &options);
}

static inline shmc *attached(const shmc_private *memory, const char *worker) {
    shmc *segment = NULL;
    const int r = attach(&segment, memory, worker, 0);
    ck_assert_msg(r == 0, "%d: %s", r, error);
    return segment;
}

/* With an attachment, and no worker's name. */
static inline shmc *nameless(const shmc_private *memory) {
    const struct shmc_options options = {.size = sizeof options,
                                         .flags = SHMC_ANONYMOUS,
                                         .error = error,
                                         .error_bytes = sizeof error};
    shmc *segment = NULL;
    const int r = shmc_private_attach(&segment, memory, &options);
    ck_assert_msg(r == 0, "%d: %s", r, error);
    return segment;
}

static inline shmc_section *opened(shmc *segment, const char *name) {
    shmc_section *section = NULL;
    const int r = shmc_open(&section, segment, name, NULL);
    ck_assert_msg(r == 0, "%d: %s", r, shmc_last_error(segment));
    return section;
}

static inline int number_in(shmc_section *section) {
    int number = -1;
    const ssize_t n = shmc_read(section, &number, sizeof number, NULL);
    return n < 0 ? (int)n : number;
}

/* ---- children, who do a step at a time */

struct child {
    pid_t pid;
    int to, from;
};

static inline void say(int fd, int answer) {
    if (write(fd, &answer, sizeof answer) != sizeof answer)
        _exit(2);
}

static inline int hear(int fd) {
    int answer = 0;
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    ck_assert_int_eq(poll(&ready, 1, PATIENCE_MS), 1);
    ck_assert_int_eq(read(fd, &answer, sizeof answer), sizeof answer);
    return answer;
}

/* `life` answers 0, and what it does then, at each step, until it is told to quit. */
static inline struct child start(const shmc_private *memory,
                                 int (*life)(const shmc_private *memory, int step)) {
    int to[2], from[2];
    ck_assert_int_eq(pipe2(to, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(from, O_CLOEXEC), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        char byte;
        close(to[1]);
        close(from[0]);
        for (int step = 0; read(to[0], &byte, 1) == 1 && byte != 'q'; step++)
            say(from[1], life(memory, step));
        _exit(0);
    }
    close(to[0]);
    close(from[1]);
    return (struct child){pid, to[1], from[0]};
}

static inline int step(const struct child *child) {
    ck_assert_int_eq(write(child->to, "", 1), 1);
    return hear(child->from);
}

static inline void end(const struct child *child, int signal) {
    if (signal != 0)
        kill(child->pid, signal);
    else /* the end of its input may be held by a later child as well */
        ck_assert_int_eq(write(child->to, "q", 1), 1);
    close(child->to);
    waitpid(child->pid, NULL, 0);
    close(child->from);
}

static inline int in_child(const shmc_private *memory, int (*life)(const shmc_private *, int)) {
    const struct child child = start(memory, life);
    const int answer = step(&child);
    end(&child, 0);
    return answer;
}

/* Becomes 'web', and publishes in 'count' what follows. */
static inline int web(const shmc_private *memory, int at) {
    static shmc *segment;
    static shmc_section *count;
    if (at == 0) {
        const int r = attach(&segment, memory, "web", PATIENCE_MS);
        return r < 0 ? r : shmc_open(&count, segment, "count", NULL);
    }
    return shmc_publish(count, &at, sizeof at);
}

static inline int try_web(const shmc_private *memory, int at) {
    shmc *segment;
    (void)at;
    return attach(&segment, memory, "web", 0);
}

#endif
