/* SPDX-License-Identifier: Apache-2.0
 *
 * Cases about the library as a guest: what it maps and lets go again, faults and core dumps.
 */
#include "cases.h"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>

static unsigned entries(const char *path) {
    unsigned n = 0;
    DIR *dir = opendir(path);
    CHECK(dir != NULL);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

/* Lines of /proc/self/maps that have `part`. */
static unsigned maps(const char *part) {
    unsigned n = 0;
    char line[1024];
    FILE *file = fopen("/proc/self/maps", "re");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL)
        n += strstr(line, part) != NULL;
    fclose(file);
    return n;
}

/* ---- nothing is left */

static void once(const char *worker) {
    char buffer[64];
    shmc *segment = attach(worker, worker == NULL ? 0 : SHMC_LEASE_FD);
    shmc_section *section = open_section(segment, "other");
    if (worker != NULL)
        CHECK_IS(shmc_publish(section, "abc", 3), 0);
    shmc_read(section, buffer, sizeof buffer, NULL);
    CHECK(shmc_fd(section) >= 0);
    int r = try_attach("nobody", 0);
    if (r != -ENOENT)
        fprintf(stderr, "nobody: %s\n", refusal);
    CHECK_IS(r, -ENOENT);
    shmc_close(section);
    shmc_detach(segment);
}

static void attach_and_detach_leave_nothing(void) {
    once("driver"); /* what libraries keep for ever, they have then */
    once(NULL);
    unsigned fds = entries("/proc/self/fd"), tasks = entries("/proc/self/task");
    unsigned segments = maps("SYSV"), leases = maps(".leases/");
    for (int i = 0; i < 1000; i++)
        once(i % 4 == 0 ? "driver" : NULL);
    CHECK_IS(entries("/proc/self/fd"), fds);
    CHECK_IS(maps("SYSV"), segments);
    CHECK_IS(maps(".leases/"), leases);
    CHECK_IS(segments + leases, 0);
    AWAIT(entries("/proc/self/task") == tasks);
}

static void children_inherit_no_lease(void) {
    unsigned fds = entries("/proc/self/fd");
    shmc *segment = attach("driver", 0);
    CHECK_IS(entries("/proc/self/fd"), fds); /* a lease is no descriptor */
    CHECK_IS(maps(".leases/"), 1);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK_IS(maps(".leases/"), 0);
        shmc_detach(segment);
        CHECK_IS(maps("SYSV"), 0);
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_IS(status, 0);
    CHECK_IS(try_attach("driver", 0), -EBUSY);
    shmc_detach(segment);
}

static void sections_outlive_a_detach_as_husks(void) {
    char buffer[64];
    const void *data;
    size_t bytes;
    void *room;
    shmc *segment = attach("driver", 0);
    shmc_section *section = open_section(segment, "temps"), *raw = open_section(segment, "bytes");
    CHECK_IS(shmc_publish(section, "abc", 3), 0);
    CHECK_IS(shmc_view(section, &data, &bytes, NULL), 0);
    CHECK(shmc_fd(section) >= 0);
    CHECK_IS(shmc_begin(section, &room, &bytes), 0);
    shmc_detach(segment);
    CHECK_IS(shmc_publish(section, "abc", 3), -EBADF);
    CHECK_IS(shmc_commit(section, 3), -EBADF);
    CHECK_IS(shmc_read(section, buffer, sizeof buffer, NULL), -EBADF);
    CHECK_IS(shmc_next(section, buffer, sizeof buffer, -1, NULL), -EBADF);
    CHECK_IS(shmc_wait_any(&section, 1, -1), -EBADF);
    CHECK_IS(shmc_valid(section), -EBADF);
    CHECK_IS(shmc_fd(section), -EBADF);
    CHECK_IS(shmc_raw(raw, &data, &bytes), -EBADF);
    shmc_abort(section);
    shmc_close(section);
    shmc_close(raw);
    shmc_detach(NULL);
    shmc_close(NULL);
}

/* ---- faults */

static void store(int from, int to) {
    struct shmc_segment_info info;
    struct shmc_section_info section;
    const char *name = getenv("CASE_SECTION");
    (void)from;
    signal(SIGSEGV, SIG_DFL); /* not a sanitizer's */
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    shmc *segment = attach("driver", 0);
    CHECK_IS(shmc_segment(segment, &info), 0);
    CHECK_IS(shmc_inspect(segment, name == NULL ? "bytes" : name, &section), 0);
    uint64_t offset = name == NULL ? 64 : section.offset + 100;
    volatile char *at = (volatile char *)(uintptr_t)info.base + offset;
    char before = *at;
    *at = 'x';
    *at = before;
    say(to, 'w');
    shmc_detach(segment);
}

static void stray_stores_fault_in_their_author(void) {
    const char *const sections[] = {"cam", "theirs", "bytes", NULL};
    for (size_t i = 0; i < 4; i++) {
        if (sections[i] == NULL)
            unsetenv("CASE_SECTION"); /* the header */
        else
            setenv("CASE_SECTION", sections[i], 1);
        struct child child = start_child(store);
        bool wrote = hear(child.from) == 'w';
        int status = end_child(&child, 0);
        if (sections[i] != NULL && strcmp(sections[i], "bytes") == 0)
            CHECK(wrote && status == 0);
        else
            CHECK(!wrote && WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    }
}

/* ---- core dumps */

static void dump_core(const char *worker, int to) {
    shmc *segment = attach(worker, 0);
    struct shmc_segment_info info;
    volatile char sum = 0;
    CHECK_IS(shmc_segment(segment, &info), 0);
    CHECK(info.bytes >= (64u << 20));
    for (uint64_t at = 0; at < info.bytes; at += 4096) /* all of it is there, to be dumped */
        sum = (char)(sum + ((const char *)info.base)[at]);
    setrlimit(RLIMIT_CORE, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY});
    prctl(PR_SET_DUMPABLE, 1);
    say(to, 'r');
    signal(SIGABRT, SIG_DFL);
    abort();
}

static void reader_dumps(int from, int to) {
    (void)from;
    dump_core(NULL, to);
}

static void worker_dumps(int from, int to) {
    hear(from);
    dump_core("driver", to);
}

static void in_a_directory_for_core(void) {
    char pattern[256] = "";
    FILE *file = fopen("/proc/sys/kernel/core_pattern", "re");
    if (SANITIZED) {
        puts("a sanitizer's memory is no subject for core dumps");
        exit(SKIPPED);
    }
    if (file == NULL || fgets(pattern, sizeof pattern, file) == NULL ||
        strcmp(pattern, "core\n") != 0) {
        printf("core dumps don't go to the file `core` here, but to: %s\n", pattern);
        exit(SKIPPED);
    }
    fclose(file);
    CHECK(mkdir("core.d", 0700) == 0 || errno == EEXIST);
    CHECK(chdir("core.d") == 0);
    setrlimit(RLIMIT_CORE, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY});
    struct rlimit limit;
    getrlimit(RLIMIT_CORE, &limit);
    if (limit.rlim_cur != RLIM_INFINITY) {
        puts("core dumps are limited here");
        exit(SKIPPED);
    }
}

static off_t core_bytes(void) {
    struct stat dumped;
    DIR *dir = opendir(".");
    off_t bytes = -1;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (strncmp(entry->d_name, "core", 4) == 0 && stat(entry->d_name, &dumped) == 0) {
            bytes = dumped.st_blocks * 512;
            unlink(entry->d_name);
        }
    closedir(dir);
    return bytes;
}

static void core_dumps_leave_the_segment_out(void) {
    in_a_directory_for_core();
    struct child child = start_child(reader_dumps);
    CHECK_IS(hear(child.from), 'r');
    int status = end_child(&child, 0);
    CHECK(WIFSIGNALED(status) && WCOREDUMP(status));
    off_t bytes = core_bytes();
    printf("figure: core_dump.reader_of_64_mib %.1f MiB\n", (double)bytes / (1 << 20));
    CHECK(bytes > 0 && bytes < (8 << 20));
}

static uint64_t follow_a_dumping_worker(void) {
    struct child child = start_child(worker_dumps);
    say(child.to, 'g');
    CHECK_IS(hear(child.from), 'r');
    uint64_t before = now_ns();
    shmc *segment = attach("driver", 0);
    uint64_t took = now_ns() - before;
    shmc_detach(segment);
    int status = end_child(&child, 0);
    CHECK(WIFSIGNALED(status) && WCOREDUMP(status));
    core_bytes();
    return took;
}

/* The least of several counts: other work on the machine makes it longer, and nothing makes it
 * shorter than the dump. */
static void a_dumping_worker_is_followed_at_once(void) {
    in_a_directory_for_core();
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < 5 || (i < 30 && least >= 20000000); i++) {
        uint64_t took = follow_a_dumping_worker();
        least = took < least ? took : least;
    }
    printf("figure: lease.free_after_core_dump_best %.1f ms\n", (double)least / 1e6);
    CHECK(least < 20000000);
}

CASES_MAIN({"attach_and_detach_leave_nothing", attach_and_detach_leave_nothing},
           {"children_inherit_no_lease", children_inherit_no_lease},
           {"sections_outlive_a_detach_as_husks", sections_outlive_a_detach_as_husks},
           {"stray_stores_fault_in_their_author", stray_stores_fault_in_their_author},
           {"core_dumps_leave_the_segment_out", core_dumps_leave_the_segment_out},
           {"a_dumping_worker_is_followed_at_once", a_dumping_worker_is_followed_at_once})
