/* SPDX-License-Identifier: Apache-2.0
 *
 * What the client's test programs share.  A program has named cases, each run by
 * `PROGRAM CASE` in a process of its own, on the manager of $SHMC_KEY and $SHMC_RUNTIME_DIR; it
 * exits with 0, or with 1 and a line that says which expectation failed, or with 77 and a line that
 * says what this machine lacks.
 */
#ifndef SHM_TESTS_CASES_H
#define SHM_TESTS_CASES_H

#include "play.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <shmclient.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 30000 /* for what must come; a miss fails the test */
#define SKIPPED     77

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

#define CHECK_IS(value, wanted)                                                                    \
    do {                                                                                           \
        long long is_ = (long long)(value), wanted_ = (long long)(wanted);                         \
        if (is_ != wanted_) {                                                                      \
            fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #value, is_,      \
                    wanted_);                                                                      \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

#define CHECK_SAYS(text, part)                                                                     \
    do {                                                                                           \
        const char *text_ = (text);                                                                \
        if (strstr(text_, (part)) == NULL) {                                                       \
            fprintf(stderr, "%s:%d: \"%s\" doesn't say \"%s\"\n", __FILE__, __LINE__, text_,       \
                    (part));                                                                       \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* With $SHM_TEST_BACKEND. */
static inline int on_memfd(void) {
    const char *backend = getenv("SHM_TEST_BACKEND");
    return backend != NULL && strcmp(backend, "memfd") == 0;
}

static inline void only_on_sysv(const char *why) {
    if (!on_memfd())
        return;
    printf("not on memfd: %s\n", why);
    exit(SKIPPED);
}

static inline void pause_ms(long ms) {
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

/* Looks every few milliseconds until the condition holds; fails after PATIENCE_MS. */
#define AWAIT(condition)                                                                           \
    do {                                                                                           \
        uint64_t end_ = now_ns() + PATIENCE_MS * UINT64_C(1000000);                                \
        while (!(condition)) {                                                                     \
            if (now_ns() > end_) {                                                                 \
                fprintf(stderr, "%s:%d: never came: %s\n", __FILE__, __LINE__, #condition);        \
                exit(1);                                                                           \
            }                                                                                      \
            pause_ms(2);                                                                           \
        }                                                                                          \
    } while (0)

/* Attaches, or says why not; a reader with worker NULL. */
static inline shmc *attach(const char *worker, unsigned flags) {
    char error[512] = "";
    shmc *segment = NULL;
    struct shmc_options options = {.size = sizeof options,
                                   .worker = worker,
                                   .flags = flags,
                                   .timeout_ms = PATIENCE_MS,
                                   .error = error,
                                   .error_bytes = sizeof error};
    int r = shmc_attach(&segment, &options);
    if (r < 0) {
        fprintf(stderr, "can't attach as %s: %s (%s)\n", worker == NULL ? "a reader" : worker,
                strerror(-r), error);
        exit(1);
    }
    return segment;
}

/* One try; the error's text and the holder in static memory. */
static char refusal[512];
static pid_t refusal_holder;
static inline int try_attach(const char *worker, int timeout_ms) {
    shmc *segment = NULL;
    struct shmc_options options = {.size = sizeof options,
                                   .worker = worker,
                                   .timeout_ms = timeout_ms,
                                   .holder = &refusal_holder,
                                   .error = refusal,
                                   .error_bytes = sizeof refusal};
    refusal[0] = '\0';
    refusal_holder = 0;
    int r = shmc_attach(&segment, &options);
    shmc_detach(segment);
    return r;
}

/* The same, for longer where the manager had no time to say anything in that time. */
static inline int try_attach_within(const char *worker, int timeout_ms) {
    int r;
    while ((r = try_attach(worker, timeout_ms)) == -ETIMEDOUT && timeout_ms < PATIENCE_MS)
        timeout_ms *= 2;
    return r;
}

static inline shmc_section *open_section(shmc *segment, const char *name) {
    shmc_section *section = NULL;
    int r = shmc_open(&section, segment, name, NULL);
    if (r < 0) {
        fprintf(stderr, "can't open: %s\n", shmc_last_error(segment));
        exit(1);
    }
    return section;
}

/* Changes the table by SQL, and waits until it is applied; $SHM_TEST_TABLE is its file. */
static inline void edit_table_by(const char *request, const char *sql) {
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        execlp("sqlite3", "sqlite3", getenv("SHM_TEST_TABLE"), sql, (char *)NULL);
        _exit(127);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_IS(status, 0);
    char error[512] = "";
    struct shmc_options options = {.size = sizeof options,
                                   .timeout_ms = PATIENCE_MS,
                                   .error = error,
                                   .error_bytes = sizeof error};
    char *reply = NULL;
    if (shmc_manager(&options, request, &reply) < 0) {
        fprintf(stderr, "%s: %s: %s\n", request, error, reply == NULL ? "" : reply);
        exit(1);
    }
    free(reply);
}

static inline void edit_table(const char *sql) {
    edit_table_by("reload", sql);
}

/* A child and two pipes: it says bytes, and ends when it is told to, or when its parent does. */
struct child {
    pid_t pid;
    int from, to;
};

static inline struct child start_child(void (*run)(int from, int to)) {
    struct child child;
    int up[2], down[2];
    CHECK(pipe2(up, O_CLOEXEC) == 0 && pipe2(down, O_CLOEXEC) == 0);
    child.pid = fork();
    CHECK(child.pid >= 0);
    if (child.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(up[0]);
        close(down[1]);
        run(down[0], up[1]);
        exit(0);
    }
    close(up[1]);
    close(down[0]);
    child.from = up[0];
    child.to = down[1];
    return child;
}

static inline char hear(int fd) {
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    char said = '\0';
    CHECK_IS(poll(&wait, 1, PATIENCE_MS), 1);
    return read(fd, &said, 1) == 1 ? said : '\0';
}

static inline void say(int fd, char what) {
    CHECK(write(fd, &what, 1) == 1);
}

/* Ends it if a signal is given, and returns its wait status. */
static inline int end_child(struct child *child, int signal) {
    int status;
    if (signal != 0)
        kill(child->pid, signal);
    close(child->from);
    close(child->to);
    CHECK(waitpid(child->pid, &status, 0) == child->pid);
    return status;
}

struct test_case {
    const char *name;
    void (*run)(void);
};

static inline int run_case(const struct test_case *cases, size_t n, int argc, char **argv) {
    for (size_t i = 0; i < n; i++) {
        if (argc == 2 && strcmp(argv[1], "--list") == 0)
            puts(cases[i].name);
        else if (argc > 1 && strcmp(argv[1], cases[i].name) == 0) {
            alarm(120); /* none hangs for ever */
            cases[i].run();
            return 0;
        }
    }
    return argc == 2 && strcmp(argv[1], "--list") == 0 ? 0 : 2;
}

#define CASES_MAIN(...)                                                                            \
    int main(int argc, char **argv) {                                                              \
        const struct test_case cases[] = {__VA_ARGS__};                                            \
        return run_case(cases, sizeof cases / sizeof *cases, argc, argv);                          \
    }

#endif
