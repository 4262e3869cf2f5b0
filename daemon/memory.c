/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking for memory, and taking it at a child's risk.
 */
#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <shm-manager/layout.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static uint64_t meminfo_available(void) {
    FILE *file = fopen("/proc/meminfo", "re");
    char line[128];
    unsigned long long kib, found = ULLONG_MAX;
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
            found = kib * 1024;
    if (file != NULL)
        fclose(file);
    return found;
}

/* A cgroup's number; "max" and a missing file are no limit. */
static uint64_t cgroup_number(const char *cgroup, const char *file) {
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/%s", cgroup, file);
    FILE *f = fopen(path, "re");
    unsigned long long value = ULLONG_MAX;
    if (f != NULL && fscanf(f, "%llu", &value) != 1)
        value = ULLONG_MAX;
    if (f != NULL)
        fclose(f);
    return value;
}

static uint64_t cgroup_room(const char *cgroup) {
    uint64_t max = cgroup_number(cgroup, "memory.max");
    uint64_t current = cgroup_number(cgroup, "memory.current");
    if (max == ULLONG_MAX || current == ULLONG_MAX)
        return UINT64_MAX;
    return current < max ? max - current : 0;
}

static uint64_t cgroup_available(void) {
    char line[PATH_MAX] = "";
    FILE *file = fopen("/proc/self/cgroup", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "0::", 3) == 0)
            break;
    if (file != NULL)
        fclose(file);
    if (strncmp(line, "0::/", 4) != 0)
        return UINT64_MAX;
    char *path = line + 3;
    path[strcspn(path, "\n")] = '\0';
    uint64_t least = UINT64_MAX;
    for (;;) {
        uint64_t room = cgroup_room(path);
        least = room < least ? room : least;
        char *slash = strrchr(path, '/');
        if (slash == NULL) /* the root has been looked at: a container's is limited, too */
            return least;
        *slash = '\0';
    }
}

uint64_t memory_available(void) {
    uint64_t host = meminfo_available(), group = cgroup_available();
    return host < group ? host : group;
}

static void touch(const struct memory_range *range) {
    if (madvise(range->at, range->bytes, MADV_POPULATE_WRITE) == 0 || errno != EINVAL)
        return;
    uint8_t *bytes = range->at; /* before Linux 5.14 */
    for (size_t i = 0; i < range->bytes; i += SHM_PAGE)
        __atomic_fetch_or(&bytes[i], 0, __ATOMIC_RELAXED);
}

/* Says so to the kernel, populates, and ends without running anything of its parent's. */
__attribute__((noreturn)) static void touch_and_exit(const struct memory_range *ranges, size_t n) {
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0)
        (void)!write(fd, "1000", 4);
    for (size_t i = 0; i < n; i++) {
        errno = 0;
        touch(&ranges[i]);
        if (errno == ENOMEM || errno == EFAULT)
            _exit(EXIT_FAILURE);
    }
    _exit(EXIT_SUCCESS);
}

int memory_touch(const struct memory_range *ranges, size_t n) {
    if (n == 0)
        return 0;
    pid_t child = fork();
    if (child < 0)
        return -errno;
    if (child == 0)
        touch_and_exit(ranges, n);
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS ? 0 : -ENOMEM;
}
