/* SPDX-License-Identifier: Apache-2.0
 *
 * Files, by name.
 */
#include "scratch.h"
#include "sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (4u << 20)

char scratch_directory[64];
static pid_t owner;

static int drop(const char *path, const struct stat *stat, int type, struct FTW *walk) {
    (void)stat;
    (void)type;
    (void)walk;
    return remove(path);
}

static void drop_all(void) {
    if (getpid() == owner) /* and not a child's exit */
        nftw(scratch_directory, drop, 8, FTW_DEPTH | FTW_PHYS);
}

void scratch_open(void) {
    const char *base = getenv("TMPDIR");
    if (base == NULL)
        base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(scratch_directory, sizeof scratch_directory, "%.40s/shm-kill.XXXXXX", base);
    if (mkdtemp(scratch_directory) == NULL)
        sweep_fail(scratch_directory, -errno);
    owner = getpid();
    atexit(drop_all);
}

static DIR *open_directory(void) {
    DIR *directory = opendir(scratch_directory);
    if (directory == NULL)
        sweep_fail(scratch_directory, -errno);
    return directory;
}

/* The next regular file's name; NULL: that was all. */
static const char *next_file(DIR *directory) {
    const struct dirent *entry;
    while ((entry = readdir(directory)) != NULL)
        if (entry->d_type == DT_REG)
            return entry->d_name;
    closedir(directory);
    return NULL;
}

static void save(struct scratch_files *files, const char *name, int in) {
    const size_t i = files->n;
    if (i == SCRATCH_FILES_MAX)
        sweep_fail(name, -E2BIG);
    const int fd = openat(in, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || strlen(name) >= sizeof files->names[0])
        sweep_fail(name, -errno);
    snprintf(files->names[i], sizeof files->names[0], "%s", name);
    files->data[i] = malloc(FILE_MAX);
    const ssize_t n = files->data[i] == NULL ? -1 : read(fd, files->data[i], FILE_MAX);
    if (n < 0 || n == FILE_MAX)
        sweep_fail(name, -EFBIG);
    files->bytes[i] = (size_t)n;
    files->n++;
    close(fd);
}

void scratch_save(struct scratch_files *files) {
    const char *name;
    for (size_t i = 0; i < files->n; i++)
        free(files->data[i]);
    *files = (struct scratch_files){0};
    DIR *directory = open_directory();
    while ((name = next_file(directory)) != NULL)
        save(files, name, dirfd(directory));
}

void scratch_restore(const struct scratch_files *files) {
    const char *name;
    DIR *directory = open_directory();
    const int in = dup(dirfd(directory));
    while ((name = next_file(directory)) != NULL)
        unlinkat(in, name, 0);
    for (size_t i = 0; i < files->n; i++) {
        const int fd = openat(in, files->names[i], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0 || write(fd, files->data[i], files->bytes[i]) != (ssize_t)files->bytes[i])
            sweep_fail(files->names[i], -errno);
        close(fd);
    }
    close(in);
}
