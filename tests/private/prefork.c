/* SPDX-License-Identifier: Apache-2.0
 *
 * prefork anon|devzero|sysv-private
 *
 * A prefork server, as an example and a test: a master that owns the segment, workers that attach
 * to it and answer requests, and clients that check each answer.
 *
 *     config  snapshot, the master's: what the workers answer by
 *     hits    raw, shared: counters that all add to
 *     jobs    a queue: what the workers leave for the loggers, who compete
 *
 * While the clients go on, the master reloads: the configuration's section gets another size, so
 * that its value is carried over by its init, and the others stay as they are; then it publishes
 * the next configuration, starts new workers, and ends the old ones gracefully.  In between it
 * kills workers.  No request may fail but those that a killed worker had accepted, none may be
 * answered by half a configuration, and the counters must have all of them.
 */
#include "prefork.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <shmclient.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORKERS     3
#define LOGGERS     2
#define CHILDREN    (WORKERS + LOGGERS)
#define CLIENTS     2
#define RELOADS     (getenv("SHM_SOAK") != NULL ? 2000 : 40)
#define REQUESTS    150 /* at least, between one step of the master and the next */
#define PATIENCE_MS 60000

struct config {
    uint64_t serial;
    uint64_t factor;
};

struct hits {
    uint64_t answered, logged;
};

static shmc_private *memory;
static struct address address;
static int listener;
static struct clients *clients;

static shmc *segment; /* the master's */
static shmc_section *config, *hits, *jobs;
static pid_t children[CHILDREN]; /* the workers, then the loggers */
static uint64_t kills;

static _Noreturn void fail(const char *what, const char *why) {
    printf("prefork: %s: %s\n", what, why);
    fflush(stdout);
    kill(0, SIGKILL); /* of this process group, which is our own */
    abort();
}

static void must(int r, const char *what) {
    if (r < 0)
        fail(what, segment != NULL && shmc_last_error(segment)[0] != '\0' ? shmc_last_error(segment)
                                                                          : strerror(-r));
}

/* ---- a worker */

static volatile sig_atomic_t leaving;

static void leave(int signal) {
    (void)signal;
    leaving = 1;
}

/* A child's attachment. */
struct place {
    shmc *segment;
    shmc_section *config, *hits, *jobs;
    struct hits *counters;
};

/* A worker or a logger is one of several of that name, as many as the spec says. */
static int take_place(struct place *place, const char *name, int ready) {
    const struct shmc_options options = {
        .size = sizeof options, .worker = name, .timeout_ms = PATIENCE_MS};
    void *counters;
    size_t bytes;
    int r = shmc_private_attach(&place->segment, memory, &options);
    if (r == 0)
        r = shmc_open(&place->config, place->segment, "config", NULL);
    if (r == 0)
        r = shmc_open(&place->hits, place->segment, "hits", NULL);
    if (r == 0)
        r = shmc_open(&place->jobs, place->segment, "jobs", NULL);
    if (r == 0)
        r = shmc_raw_writable(place->hits, &counters, &bytes);
    if (r < 0)
        return r;
    place->counters = counters;
    return write(ready, "", 1) == 1 ? 0 : -EPIPE;
}

static void leave_place(struct place *place) {
    shmc_close(place->config);
    shmc_close(place->hits);
    shmc_close(place->jobs);
    shmc_detach(place->segment);
}

static int serve(int fd, const struct place *place) {
    struct request request;
    struct config now;
    if (recv(fd, &request, sizeof request, MSG_WAITALL) != sizeof request)
        return 0; /* a client that went */
    const ssize_t n = shmc_read(place->config, &now, sizeof now, NULL);
    if (n != sizeof now || now.factor != factor_of(now.serial))
        return n < 0 ? (int)n : -EBADMSG;
    const struct answer answer = {request.number, request.number * now.factor, now.serial};
    __atomic_add_fetch(&place->counters->answered, 1, __ATOMIC_SEQ_CST);
    int r = shmc_queue_send(place->jobs, 1, &request, sizeof request, 0, PATIENCE_MS);
    if (r < 0)
        return r;
    return send(fd, &answer, sizeof answer, MSG_NOSIGNAL) == sizeof answer ? 0 : -errno;
}

static int work(int ready) {
    struct pollfd waiting = {.fd = listener, .events = POLLIN};
    struct place place = {0};
    sigset_t none;
    sigemptyset(&none);
    int r = take_place(&place, "web", ready);
    while (r == 0 && !leaving) {
        if (ppoll(&waiting, 1, NULL, &none) < 0)
            continue; /* asked to leave */
        const int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue; /* another worker was quicker */
        r = serve(fd, &place);
        close(fd);
    }
    if (r == 0)
        leave_place(&place);
    return r;
}

/* ---- a logger */

static bool asked_to_leave(void) {
    sigset_t pending;
    return sigpending(&pending) == 0 && sigismember(&pending, SIGTERM) == 1;
}

/* What it has counted and not acknowledged when it is killed comes again. */
static int write_log(int ready) {
    struct place place = {0};
    const void *data;
    size_t bytes;
    int r = take_place(&place, "logger", ready);
    while (r == 0 && !asked_to_leave()) {
        r = shmc_queue_peek(place.jobs, 0, &data, &bytes, 0, 50, NULL);
        if (r == 0 && bytes != sizeof(struct request))
            return -EBADMSG;
        if (r == 0) {
            __atomic_add_fetch(&place.counters->logged, 1, __ATOMIC_SEQ_CST);
            r = shmc_queue_ack(place.jobs);
        } else if (r == -ETIMEDOUT) {
            r = 0;
        }
    }
    if (r == 0)
        leave_place(&place);
    return r;
}

/* ---- the master */

static pid_t start_child(int (*life)(int ready)) {
    int ready[2];
    char byte;
    if (pipe2(ready, O_CLOEXEC) < 0)
        fail("a pipe", strerror(errno));
    const pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        const int r = life(ready[1]);
        if (r < 0)
            printf("child %d: %s\n", getpid(), strerror(-r));
        fflush(stdout);
        _exit(r < 0);
    }
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1)
        fail("a child", "it doesn't get ready");
    close(ready[0]);
    return pid;
}

static void start(int which) {
    children[which] = start_child(which < WORKERS ? work : write_log);
}

static void end_child(pid_t pid) {
    int status;
    kill(pid, SIGTERM);
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail("a child", "it doesn't end well");
}

/* The clients must get on. */
static void await_requests(void) {
    const struct timespec moment = {.tv_nsec = 1000000};
    const uint64_t since = __atomic_load_n(&clients->answered, __ATOMIC_SEQ_CST);
    for (int i = 0; __atomic_load_n(&clients->answered, __ATOMIC_SEQ_CST) < since + REQUESTS; i++) {
        if (i > PATIENCE_MS)
            fail("the clients", "no answers any more");
        nanosleep(&moment, NULL);
    }
}

static void publish(uint64_t serial) {
    const struct config next = {serial, factor_of(serial)};
    must(shmc_publish(config, &next, sizeof next), "publishing the configuration");
}

/* The configuration goes along; the first one is 1. */
static int carry(shmc_section *section, shmc_section *before, void *unused) {
    struct config value = {1, factor_of(1)};
    (void)unused;
    if (before != NULL) {
        const ssize_t n = shmc_read(before, &value, sizeof value, NULL);
        if (n < 0)
            return (int)n;
    }
    return shmc_publish(section, &value, sizeof value);
}

static int refuse(shmc_section *section, shmc_section *before, void *unused) {
    const int r = carry(section, before, unused);
    return r < 0 ? r : -ECANCELED;
}

#define SPECS 3
static struct shmc_private_spec specs[SPECS] = {
    {.size = sizeof *specs, .name = "config", .bytes = sizeof(struct config), .init = carry},
    {.size = sizeof *specs,
     .name = "hits",
     .owner = "web#1",
     .kind = SHMC_RAW,
     .bytes = sizeof(struct hits),
     .flags = SHMC_PRIVATE_SHARED,
     .instances = 2 * WORKERS}, /* the old and the new */
    {.size = sizeof *specs,
     .name = "jobs",
     .owner = "logger",
     .kind = SHMC_QUEUE,
     .bytes = 4096,
     .count = 2 * WORKERS,
     .instances = 2 * LOGGERS},
};

static void check_one_left(void) {
    struct shmc_section_info *all;
    size_t n;
    must(shmc_private_reap(memory), "reaping");
    must(shmc_sections(segment, &all, &n), "the sections");
    if (n != SPECS)
        fail("behind a reload", "what was replaced is still there");
    free(all);
}

static void reload(uint64_t serial) {
    pid_t old[CHILDREN];
    memcpy(old, children, sizeof old);
    specs[0].bytes = sizeof(struct config) + serial % 2 * 64;
    if (shmc_private_reload(memory, specs, SPECS) < 0)
        fail("reloading", shmc_private_last_error(memory));
    shmc_close(config);
    must(shmc_open(&config, segment, "config", NULL), "the configuration");
    publish(serial);
    for (int i = 0; i < CHILDREN; i++)
        start(i);
    await_requests(); /* old and new together */
    for (int i = 0; i < CHILDREN; i++)
        end_child(old[i]);
    check_one_left();
}

/* The init refuses: nothing may come of it. */
static void fail_to_reload(void) {
    specs[0].bytes += 8;
    specs[0].init = refuse;
    if (shmc_private_reload(memory, specs, SPECS) != -ECANCELED)
        fail("a reload that can't be", "it is done");
    specs[0].bytes -= 8;
    specs[0].init = carry;
}

static void kill_child(int which) {
    kill(children[which], SIGKILL);
    waitpid(children[which], NULL, 0);
    kills++;
    must(shmc_private_reap(memory), "reaping"); /* maybe another child was in its way before */
    start(which);
}

static void run(void) {
    for (int i = 0; i < CHILDREN; i++)
        start(i);
    for (int i = 1; i <= RELOADS; i++) {
        await_requests();
        if (i % 2 == 0)
            kill_child(i / 2 % CHILDREN);
        if (i % 4 == 0)
            fail_to_reload();
        await_requests();
        reload((uint64_t)i + 1);
    }
    await_requests();
}

/* ---- the scene */

static void listen_somewhere(void) {
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    address.name.sun_family = AF_UNIX;
    address.bytes = sizeof address.name;
    /* Without a name it gets one of its own that no file has. */
    if (listener < 0 ||
        bind(listener, (const struct sockaddr *)&address.name, sizeof(sa_family_t)) < 0 ||
        listen(listener, 64) < 0 ||
        getsockname(listener, (struct sockaddr *)&address.name, &address.bytes) < 0)
        fail("a socket", strerror(errno));
}

static void make_segment(const char *strategy) {
    static const char *const names[] = {"auto", "anon", "devzero", "sysv-private"};
    const struct shmc_options options = {.size = sizeof options, .worker = "master"};
    char error[256] = "no such strategy";
    struct shmc_private_options how = {
        .size = sizeof how, .error = error, .error_bytes = sizeof error};
    while ((unsigned)how.strategy < 4 && strcmp(names[how.strategy], strategy) != 0)
        how.strategy++;
    if (shmc_private_create(&memory, specs, SPECS, &how) < 0)
        fail("the segment", error);
    must(shmc_private_attach(&segment, memory, &options), "attaching");
    must(shmc_open(&config, segment, "config", NULL), "the configuration");
    must(shmc_open(&hits, segment, "hits", NULL), "the counters");
    must(shmc_open(&jobs, segment, "jobs", NULL), "the queue");
}

static void start_clients(pid_t ret[CLIENTS]) {
    clients =
        mmap(NULL, sizeof *clients, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (clients == MAP_FAILED)
        fail("memory", strerror(errno));
    for (int i = 0; i < CLIENTS; i++) {
        ret[i] = fork();
        if (ret[i] == 0)
            client_run(&address, clients);
    }
}

static void await_loggers(void) {
    const struct timespec moment = {.tv_nsec = 1000000};
    struct shmc_queue_stat stat = {.messages = 1};
    for (int i = 0; stat.messages > 0; i++) {
        must(shmc_queue_stat(jobs, &stat, NULL, NULL), "the queue");
        if (i > PATIENCE_MS)
            fail("the loggers", "jobs stay in the queue");
        nanosleep(&moment, NULL);
    }
}

static void end_all(const pid_t of_clients[CLIENTS]) {
    __atomic_store_n(&clients->over, 1, __ATOMIC_SEQ_CST);
    for (int i = 0; i < CLIENTS; i++)
        waitpid(of_clients[i], NULL, 0);
    for (int i = 0; i < WORKERS; i++)
        end_child(children[i]);
    await_loggers();
    for (int i = WORKERS; i < CHILDREN; i++)
        end_child(children[i]);
}

/* Who is killed has done one thing that nobody knows of, or one that comes again. */
static bool agree(uint64_t a, uint64_t b) {
    return (a < b ? b - a : a - b) <= kills;
}

static int report(const char *strategy) {
    struct hits counted;
    if (shmc_raw_read(hits, 0, &counted, sizeof counted) != sizeof counted)
        fail("the counters", shmc_last_error(segment));
    const bool kept = counted.answered >= clients->answered &&
                      agree(counted.answered, clients->answered) &&
                      agree(counted.answered, counted.logged);
    const uint64_t failures = clients->wrong + (clients->cut_off > kills) + !kept;
    printf("%llu answered, %llu cut off by %llu kills, %llu counted, %llu logged\n",
           (unsigned long long)clients->answered, (unsigned long long)clients->cut_off,
           (unsigned long long)kills, (unsigned long long)counted.answered,
           (unsigned long long)counted.logged);
    printf("figure: prefork.%s.requests %llu requests\n", strategy,
           (unsigned long long)clients->answered);
    printf("figure: prefork.%s.reloads %d reloads\n", strategy, RELOADS);
    printf("figure: prefork.%s.failures %llu requests\n", strategy, (unsigned long long)failures);
    return failures == 0 ? 0 : 1;
}

int main(int argc, char **argv) {
    const char *strategy = argc > 1 ? argv[1] : "auto";
    const struct sigaction leaving_action = {.sa_handler = leave};
    pid_t of_clients[CLIENTS];
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    setpgid(0, 0);
    sigprocmask(SIG_BLOCK, &term, NULL); /* taken where they wait alone */
    sigaction(SIGTERM, &leaving_action, NULL);
    listen_somewhere();
    make_segment(strategy);
    start_clients(of_clients);
    run();
    end_all(of_clients);
    const int result = report(strategy);
    shmc_close(config);
    shmc_close(hits);
    shmc_close(jobs);
    shmc_detach(segment);
    shmc_private_destroy(memory);
    return result;
}
