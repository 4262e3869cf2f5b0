/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker that reads one section and writes another: from the machine's state (system.c) it
 * derives alerts and publishes them as JSON (format "alerts/1").  It sits in an epoll loop, as a
 * program with other things to do would: a descriptor for signals, one for new values.
 *
 * The section: shmtool table add alerts watcher 16K format=alerts/1
 */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <shmclient.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define ATTACH_MS 10000
#define TICK_MS   500 /* how soon it is noticed that nothing comes any more */
#define PIDS_MAX  4194304

static const char gone[] = "its writer is gone", stale[] = "its value is stale";
static double memory_percent = 10, cpu_percent = 80;
static const char *worker = "watcher", *source_name = "system", *alerts_name = "alerts";

struct watcher {
    shmc *segment;
    shmc_section *source, *alerts;
    char *text; /* the value, as it was read */
    size_t room;
    json_t *before;  /* the value before it */
    double before_s; /* and its time */
    json_t *found;   /* alerts of the newest value */
    struct shmc_value value;
    const char *trouble; /* why there is no newer value; NULL: none */
};

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...) {
    va_list arguments;
    fprintf(stderr, "%s[%d]: ", worker, getpid());
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

/* ---- from a value to alerts */

static double number(const json_t *object, const char *name) {
    return json_number_value(json_object_get(object, name));
}

static void alert(json_t *alerts, const char *kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void alert(json_t *alerts, const char *kind, const char *format, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    json_array_append_new(alerts, json_pack("{s:s, s:s}", "kind", kind, "text", text));
}

static void check_machine(json_t *alerts, const json_t *now) {
    const json_t *memory = json_object_get(now, "memory_kib");
    double total = number(memory, "MemTotal"), available = number(memory, "MemAvailable");
    double load = json_number_value(json_array_get(json_object_get(now, "load"), 0));
    size_t cores = json_array_size(json_object_get(now, "cpus"));
    if (total > 0 && available < total * memory_percent / 100)
        alert(alerts, "memory", "%.0f of %.0f MiB are available", available / 1024, total / 1024);
    if (cores > 0 && load > (double)cores)
        alert(alerts, "load", "load %.2f on %zu cores", load, cores);
}

static double ticks(const json_t *process) {
    return number(process, "utime") + number(process, "stime");
}

/* Who used much of a core since the value before?  Both tables are sorted by pid. */
static void check_processes(json_t *alerts, const json_t *now, const json_t *before,
                            double seconds) {
    const json_t *processes = json_object_get(now, "processes");
    const json_t *earlier = json_object_get(before, "processes");
    double second_ticks = number(now, "clock_ticks");
    size_t n = json_array_size(processes), m = json_array_size(earlier);
    if (seconds <= 0 || second_ticks <= 0)
        return;
    for (size_t i = 0, j = 0; i < n; i++) {
        const json_t *process = json_array_get(processes, i);
        while (j < m && number(json_array_get(earlier, j), "pid") < number(process, "pid"))
            j++;
        const json_t *then = json_array_get(earlier, j);
        if (!then || number(then, "pid") != number(process, "pid"))
            continue;
        double percent = (ticks(process) - ticks(then)) / second_ticks / seconds * 100;
        const char *comm = json_string_value(json_object_get(process, "comm"));
        if (percent > cpu_percent && percent < 100000)
            alert(alerts, "process", "%s (pid %.0f) used %.0f %% of a core", comm ? comm : "?",
                  number(process, "pid"), percent);
    }
}

/* ---- into the own section */

static int publish(struct watcher *watcher) {
    json_t *alerts = watcher->found ? json_copy(watcher->found) : json_array();
    void *text;
    size_t room, length;
    if (watcher->trouble)
        alert(alerts, "source", "section '%s': %s", source_name, watcher->trouble);
    uint64_t age = watcher->value.age_ns;
    json_t *object =
        json_pack("{s:s, s:i, s:{s:s, s:I, s:I, s:I}, s:o}", "format", "alerts/1", "pid", getpid(),
                  "source", "section", source_name, "version", (json_int_t)watcher->value.version,
                  "missed", (json_int_t)watcher->value.missed, "age_ms",
                  age == UINT64_MAX ? -1 : (json_int_t)(age / 1000000), "alerts", alerts);
    int r = shmc_begin(watcher->alerts, &text, &room);
    while (r == 0 && (length = json_dumpb(object, text, room, JSON_COMPACT)) > room) {
        if (json_array_remove(alerts, json_array_size(alerts) - 1) < 0)
            break;
    }
    if (r == 0)
        r = shmc_commit(watcher->alerts, length);
    json_decref(object);
    return r;
}

/* ---- from the other's section */

static int digest(struct watcher *watcher, size_t length) {
    json_t *now = json_loadb(watcher->text, length, 0, NULL);
    double now_s = (double)watcher->value.real_ns / 1e9;
    watcher->trouble = now ? NULL : "the value is no JSON";
    json_decref(watcher->found);
    watcher->found = json_array();
    if (now) {
        check_machine(watcher->found, now);
        check_processes(watcher->found, now, watcher->before, now_s - watcher->before_s);
    }
    json_decref(watcher->before);
    watcher->before = now;
    watcher->before_s = now_s;
    return publish(watcher);
}

static int grow(struct watcher *watcher) {
    char *text = realloc(watcher->text, watcher->value.length);
    if (!text)
        return -ENOMEM;
    watcher->text = text;
    watcher->room = watcher->value.length;
    return 0;
}

/* What is wrong with the source is an alert too, said once. */
static int set_trouble(struct watcher *watcher, const char *trouble) {
    if (watcher->trouble == trouble)
        return 0;
    say("section '%s': %s", source_name, trouble);
    watcher->trouble = trouble;
    return publish(watcher);
}

/* Takes what there is.  Value, age and writer come in one answer, also when there is no news. */
static int take(struct watcher *watcher) {
    for (;;) {
        ssize_t r = shmc_next(watcher->source, watcher->text, watcher->room, 0, &watcher->value);
        if (r == -EMSGSIZE)
            r = grow(watcher);
        else if (r >= 0)
            r = digest(watcher, (size_t)r);
        else if (r == -ETIME)
            r = set_trouble(watcher, watcher->value.writer == SHMC_GONE ? gone : stale);
        else if (r == -EAGAIN || r == -ENODATA)
            return watcher->value.writer == SHMC_GONE ? set_trouble(watcher, gone) : 0;
        if (r < 0)
            return (int)r;
    }
}

static int watch(int epoll, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static int serve(struct watcher *watcher) {
    struct epoll_event event;
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    sigprocmask(SIG_BLOCK, &ending, NULL);
    int signals = signalfd(-1, &ending, SFD_CLOEXEC), epoll = epoll_create1(EPOLL_CLOEXEC);
    int r = signals < 0 || epoll < 0 || watch(epoll, signals) < 0 ||
                    watch(epoll, shmc_fd(watcher->source)) < 0
                ? -errno
                : take(watcher);
    while (r == 0) {
        int n = epoll_wait(epoll, &event, 1, TICK_MS);
        if (n > 0 && event.data.fd == signals)
            break;
        if (n >= 0 || errno == EINTR)
            r = take(watcher);
        else
            r = -errno;
    }
    close(epoll);
    close(signals);
    return r;
}

/* ---- attaching */

static shmc *attach(void) {
    char error[512] = "";
    pid_t holder = 0;
    shmc *segment;
    struct shmc_options options = {.size = sizeof options,
                                   .worker = worker,
                                   .timeout_ms = ATTACH_MS,
                                   .holder = &holder,
                                   .error = error,
                                   .error_bytes = sizeof error};
    say("attaching, for up to %d s", ATTACH_MS / 1000);
    int r = shmc_attach(&segment, &options);
    if (r == -EBUSY)
        say("process %d is this worker: %s", holder, error);
    else if (r < 0)
        say("%s", error);
    return r < 0 ? NULL : segment;
}

static int run(struct watcher *watcher) {
    struct shmc_expect system = {
        .size = sizeof system, .kind = SHMC_SNAPSHOT, .format = "system/1"};
    struct shmc_expect alerts = {
        .size = sizeof alerts, .kind = SHMC_SNAPSHOT, .format = "alerts/1", .min_size = 1024};
    int r = shmc_open(&watcher->source, watcher->segment, source_name, &system);
    if (r == 0)
        r = shmc_open(&watcher->alerts, watcher->segment, alerts_name, &alerts);
    if (r < 0)
        return r;
    say("watching section '%s', publishing into '%s'", source_name, alerts_name);
    return serve(watcher);
}

static void parse(int argc, char **argv) {
    static const struct option options[] = {
        {"memory", required_argument, NULL, 'm'}, {"cpu", required_argument, NULL, 'c'}, {0}};
    int option, wrong = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'm')
            memory_percent = atof(optarg);
        else if (option == 'c')
            cpu_percent = atof(optarg);
        else
            wrong = 1;
    }
    if (wrong || optind < argc) {
        fprintf(stderr, "usage: watcher [--memory PERCENT] [--cpu PERCENT]\n");
        exit(2);
    }
}

int main(int argc, char **argv) {
    struct watcher watcher = {0};
    parse(argc, argv);
    watcher.segment = attach();
    if (!watcher.segment)
        return EXIT_FAILURE;
    int r = run(&watcher);
    if (r < 0)
        say("%s",
            *shmc_last_error(watcher.segment) ? shmc_last_error(watcher.segment) : strerror(-r));
    else
        say("ending");
    shmc_close(watcher.alerts);
    shmc_close(watcher.source);
    shmc_detach(watcher.segment);
    json_decref(watcher.before);
    json_decref(watcher.found);
    free(watcher.text);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
