/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker that shares this machine's state: CPU times, memory, load and the table of processes,
 * read from /proc several times a second and published as JSON (format "system/1").  Readers always
 * see a whole picture, also when this program is killed in the midst of the next one.
 *
 * The section: shmtool table add system system 256K format=system/1 stale_ms=2000
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <shmclient.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ATTACH_MS 10000
#define TABLE_MAX 4096 /* processes */
#define FLAGS     (JSON_COMPACT | JSON_REAL_PRECISION(9))

static const char *worker = "system", *name = "system";
static double hz = 5;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...) {
    va_list arguments;
    fprintf(stderr, "%s[%d]: ", worker, getpid());
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

/* ---- the figures */

static json_t *read_cpus(void) {
    static const char *const fields[] = {"user",   "nice", "system",  "idle",
                                         "iowait", "irq",  "softirq", "steal"};
    json_t *cpus = json_array();
    FILE *file = fopen("/proc/stat", "re");
    char line[1024], cpu[16];
    long long t[8];
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "%15s %lld %lld %lld %lld %lld %lld %lld %lld", cpu, t, t + 1, t + 2,
                   t + 3, t + 4, t + 5, t + 6, t + 7) != 9 ||
            strncmp(cpu, "cpu", 3) != 0 || !isdigit((unsigned char)cpu[3]))
            continue;
        json_t *object = json_pack("{s:s}", "name", cpu);
        for (int i = 0; i < 8; i++)
            json_object_set_new(object, fields[i], json_integer(t[i]));
        json_array_append_new(cpus, object);
    }
    if (file)
        fclose(file);
    return cpus;
}

static json_t *read_memory(void) {
    static const char *const wanted = " MemTotal MemFree MemAvailable SwapTotal SwapFree ";
    json_t *memory = json_object();
    FILE *file = fopen("/proc/meminfo", "re");
    char line[256], key[64], padded[72];
    long long kib;
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "%63[^:]: %lld kB", key, &kib) != 2)
            continue;
        snprintf(padded, sizeof padded, " %s ", key);
        if (strstr(wanted, padded))
            json_object_set_new(memory, key, json_integer(kib));
    }
    if (file)
        fclose(file);
    return memory;
}

/* One line of the table; NULL when the process has gone meanwhile. */
static json_t *read_process(const char *pid, long page_kib) {
    char path[64], text[1024], state;
    long long ppid, utime, stime, threads, vsize, rss;
    snprintf(path, sizeof path, "/proc/%.16s/stat", pid);
    FILE *file = fopen(path, "re");
    size_t n = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file)
        fclose(file);
    text[n] = '\0';
    char *comm = strchr(text, '('), *end = strrchr(text, ')'); /* comm may hold both */
    if (!comm || !end ||
        sscanf(end,
               ") %c %lld %*d %*d %*d %*d %*u %*u %*u %*u %*u %lld %lld %*d %*d %*d %*d %lld %*d"
               " %*u %lld %lld",
               &state, &ppid, &utime, &stime, &threads, &vsize, &rss) != 7)
        return NULL;
    *end = '\0';
    for (char *p = comm; *p; p++)
        if (*p & 0x80) /* any bytes at all; JSON wants UTF-8 */
            *p = '?';
    return json_pack("{s:i, s:s, s:s#, s:I, s:I, s:I, s:I, s:I, s:I}", "pid", atoi(pid), "comm",
                     comm + 1, "state", &state, 1, "ppid", (json_int_t)ppid, "utime",
                     (json_int_t)utime, "stime", (json_int_t)stime, "threads", (json_int_t)threads,
                     "vsize_kib", (json_int_t)(vsize / 1024), "rss_kib",
                     (json_int_t)(rss * page_kib));
}

static json_t *read_processes(void) {
    json_t *processes = json_array();
    long page_kib = sysconf(_SC_PAGESIZE) / 1024;
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    while (proc && (entry = readdir(proc)) && json_array_size(processes) < TABLE_MAX)
        if (isdigit((unsigned char)*entry->d_name))
            json_array_append_new(processes, read_process(entry->d_name, page_kib));
    if (proc)
        closedir(proc);
    return processes;
}

static json_t *look(void) {
    double load[3] = {0};
    char host[65] = "";
    struct timespec up;
    gethostname(host, sizeof host - 1);
    clock_gettime(CLOCK_BOOTTIME, &up);
    if (getloadavg(load, 3) != 3)
        load[0] = load[1] = load[2] = 0;
    return json_pack("{s:s, s:s, s:i, s:i, s:f, s:[f,f,f], s:o, s:o, s:o}", "format", "system/1",
                     "host", host, "pid", getpid(), "clock_ticks", (int)sysconf(_SC_CLK_TCK),
                     "uptime_s", (double)up.tv_sec + (double)up.tv_nsec / 1e9, "load", load[0],
                     load[1], load[2], "memory_kib", read_memory(), "cpus", read_cpus(),
                     "processes", read_processes());
}

/* ---- sharing them */

/* Writes the text straight into the section: nobody sees it before the commit. */
static int publish(shmc_section *section) {
    json_t *picture = look();
    void *text;
    size_t room, length;
    int r = shmc_begin(section, &text, &room);
    if (r < 0) {
        json_decref(picture);
        return r;
    }
    while ((length = json_dumpb(picture, text, room, FLAGS)) > room) {
        json_t *processes = json_object_get(picture, "processes");
        size_t n = json_array_size(processes);
        if (n == 0)
            break;
        for (size_t keep = n / 2; n > keep; n--) /* too many for the section: the first half */
            json_array_remove(processes, n - 1);
        json_object_set_new(picture, "truncated", json_true());
    }
    json_decref(picture);
    if (length == 0 || length > room) {
        shmc_abort(section);
        return -EMSGSIZE;
    }
    return shmc_commit(section, length);
}

/* Says at once why it has to wait, then waits for the manager, the table or another holder. */
static shmc *attach(void) {
    char error[512] = "";
    shmc *segment;
    struct shmc_options options = {
        .size = sizeof options, .worker = worker, .error = error, .error_bytes = sizeof error};
    int r = shmc_attach(&segment, &options);
    if (r == -EBUSY || r == -ENOENT || r == -ENOTCONN || r == -EAGAIN) {
        say("waiting up to %d s: %s", ATTACH_MS / 1000, error);
        options.timeout_ms = ATTACH_MS;
        r = shmc_attach(&segment, &options);
    }
    if (r < 0)
        say("%s", error);
    return r < 0 ? NULL : segment;
}

/* Publishes at a steady pace until a signal ends it. */
static int serve(shmc *segment, shmc_section *section) {
    struct timespec next, now;
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    sigprocmask(SIG_BLOCK, &ending, NULL);
    clock_gettime(CLOCK_MONOTONIC, &next);
    for (;;) {
        int r = publish(section);
        if (r < 0) {
            say("section '%s': %s", name,
                r == -EMSGSIZE ? "too small for this machine; enlarge it"
                               : shmc_last_error(segment));
            return EXIT_FAILURE;
        }
        long long step = (long long)(1e9 / hz), left;
        next.tv_sec += (next.tv_nsec + step) / 1000000000;
        next.tv_nsec = (next.tv_nsec + step) % 1000000000;
        clock_gettime(CLOCK_MONOTONIC, &now);
        left = (next.tv_sec - now.tv_sec) * 1000000000LL + next.tv_nsec - now.tv_nsec;
        if (left < 0) /* late: skip, don't hurry after */
            left = 0, next = now;
        struct timespec pause = {left / 1000000000, left % 1000000000};
        int signal_number = sigtimedwait(&ending, NULL, &pause);
        if (signal_number > 0) {
            say("ending by %s", strsignal(signal_number));
            return EXIT_SUCCESS;
        }
    }
}

static void parse(int argc, char **argv) {
    static const struct option options[] = {{"hz", required_argument, NULL, 'z'},
                                            {"worker", required_argument, NULL, 'w'},
                                            {"section", required_argument, NULL, 's'},
                                            {0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'z')
            hz = atof(optarg);
        else if (option == 'w')
            worker = optarg;
        else if (option == 's')
            name = optarg;
        else
            hz = 0;
    }
    if (!(hz >= 0.1 && hz <= 1000) || optind < argc) {
        fprintf(stderr, "usage: system [--hz 0.1...1000] [--worker NAME] [--section NAME]\n");
        exit(2);
    }
}

int main(int argc, char **argv) {
    parse(argc, argv);
    shmc *segment = attach();
    if (!segment)
        return EXIT_FAILURE;
    struct shmc_expect expect = {
        .size = sizeof expect, .kind = SHMC_SNAPSHOT, .format = "system/1", .min_size = 16384};
    shmc_section *section;
    int status = EXIT_FAILURE;
    if (shmc_open(&section, segment, name, &expect) < 0) {
        say("%s", shmc_last_error(segment));
    } else {
        say("publishing into section '%s', %g times a second", name, hz);
        status = serve(segment, section);
        shmc_close(section);
    }
    shmc_detach(segment);
    return status;
}
