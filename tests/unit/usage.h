/* SPDX-License-Identifier: Apache-2.0
 *
 * What a process has, to be compared with what it has later: a leak shows in one of these.
 */
#ifndef SHM_TESTS_USAGE_H
#define SHM_TESTS_USAGE_H

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

struct usage {
    long bytes; /* resident, its own */
    unsigned descriptors, threads, mappings;
};

static inline unsigned usage_entries(const char *path) {
    DIR *list = opendir(path);
    unsigned n = 0;
    while (list != NULL && readdir(list) != NULL)
        n++;
    if (list != NULL)
        closedir(list);
    return n;
}

static inline struct usage usage_now(void) {
    long all, resident = 0, shared = 0;
    struct usage usage = {.descriptors = usage_entries("/proc/self/fd"),
                          .threads = usage_entries("/proc/self/task")};
    FILE *file = fopen("/proc/self/statm", "re");
    if (file != NULL) {
        const bool read = fscanf(file, "%ld %ld %ld", &all, &resident, &shared) == 3;
#ifdef __SANITIZE_ADDRESS__ /* keeps what was freed, and looks for leaks itself */
        resident = shared = 0;
#endif
        if (read)
            usage.bytes = (resident - shared) * sysconf(_SC_PAGESIZE);
        fclose(file);
    }
    file = fopen("/proc/self/maps", "re");
    for (int c; file != NULL && (c = fgetc(file)) != EOF;)
        usage.mappings += c == '\n';
    if (file != NULL)
        fclose(file);
    return usage;
}

/* System V segments that this process made, and that are there. */
static inline unsigned usage_sysv(void) {
    FILE *list = fopen("/proc/sysvipc/shm", "re");
    char line[512];
    unsigned n = 0;
    while (list != NULL && fgets(line, sizeof line, list) != NULL) {
        int key, pid;
        n += sscanf(line, "%d %*d %*o %*u %d", &key, &pid) == 2 && pid == getpid();
    }
    if (list != NULL)
        fclose(list);
    return n;
}

#endif
