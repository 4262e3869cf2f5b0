/* SPDX-License-Identifier: Apache-2.0
 *
 * What /proc and a pidfd tell about a process.
 */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <shm-manager/layout.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Reads a small file whole; the bytes read, NUL-terminated. */
static ssize_t read_file(const char *path, char *buffer, size_t bytes) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, buffer, bytes - 1);
    int error = errno;
    close(fd);
    if (n < 0)
        return -error;
    buffer[n] = '\0';
    return n;
}

/* Reads /proc/PID/stat; the name in parentheses may itself hold parentheses and spaces, so the
 * fields behind it count from the last one. */
static char *read_stat(uint32_t pid, char *buffer, size_t bytes, char **name) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    if (pid == 0 || read_file(path, buffer, bytes) <= 0)
        return NULL;
    *name = strchr(buffer, '(');
    char *end = strrchr(buffer, ')');
    if (*name == NULL || end == NULL || end < *name || end[1] != ' ')
        return NULL;
    *end = '\0';
    ++*name;
    return end + 2;
}

uint64_t process_start(uint32_t pid) {
    char buffer[1024], *name;
    char *field = read_stat(pid, buffer, sizeof buffer, &name);
    for (int n = 3; field != NULL && n < 22; n++) {
        field = strchr(field, ' ');
        if (field != NULL)
            field++;
    }
    return field == NULL ? 0 : strtoull(field, NULL, 10);
}

int process_alive(uint32_t pid, uint64_t start) {
    if (pid == 0)
        return -ESRCH;
    char buffer[1024], *name;
    const char *state = read_stat(pid, buffer, sizeof buffer, &name);
    if (state == NULL)
        return access("/proc/self/stat", R_OK) == 0 ? 0 : -ENOENT;
    if (*state == 'Z' || *state == 'X')
        return 0;
    return start == 0 || process_start(pid) == start;
}

void process_name(uint32_t pid, char ret[32]) {
    char buffer[1024], *name;
    if (read_stat(pid, buffer, sizeof buffer, &name) == NULL)
        strcpy(ret, "?");
    else
        snprintf(ret, 32, "%s", name);
}

const char *process_text(uint32_t pid, char text[PROCESS_TEXT_BYTES]) {
    if (pid == 0)
        return strcpy(text, "a process of another PID namespace");
    snprintf(text, PROCESS_TEXT_BYTES, "process %u", pid);
    return text;
}

int process_boot_id(uint8_t ret[16]) {
    char text[64];
    ssize_t n = read_file("/proc/sys/kernel/random/boot_id", text, sizeof text);
    if (n < 0)
        return (int)n;
    unsigned digits = 0;
    for (const char *c = text; *c != '\0' && digits < 32; c++) {
        if (*c == '-')
            continue;
        char digit[2] = {*c, '\0'};
        char *end;
        unsigned long value = strtoul(digit, &end, 16);
        if (*end != '\0')
            return -EBADMSG;
        uint8_t *byte = &ret[digits / 2];
        *byte = (uint8_t)(digits % 2 ? *byte | value : value << 4);
        digits++;
    }
    return digits == 32 ? 0 : -EBADMSG;
}

/* The kernel's struct pidfd_info as of Linux 6.15; older headers lack it. */
struct pidfd_info_615 {
    uint64_t mask;
    uint64_t cgroup_id;
    uint32_t pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
    int32_t exit_code;
};
#define PIDFD_INFO_EXIT_615 (UINT64_C(1) << 3)
#define PIDFD_GET_INFO_615  _IOWR(0xFF, 11, struct pidfd_info_615)

uint32_t process_end(int pidfd, uint32_t *detail) {
    *detail = 0;
    struct pidfd_info_615 info = {.mask = PIDFD_INFO_EXIT_615};
    if (pidfd < 0 || ioctl(pidfd, PIDFD_GET_INFO_615, &info) < 0)
        return SHM_END_UNKNOWN;
    if ((info.mask & PIDFD_INFO_EXIT_615) == 0)
        return SHM_END_RELEASED;
    if (WIFSIGNALED(info.exit_code)) {
        *detail = (uint32_t)WTERMSIG(info.exit_code);
        return SHM_END_KILLED;
    }
    *detail = (uint32_t)WEXITSTATUS(info.exit_code);
    return SHM_END_EXITED;
}
