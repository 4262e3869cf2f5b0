/* SPDX-License-Identifier: Apache-2.0
 *
 * A directory of the test program's own, which goes with it whatever its tests do: each runs in a
 * process of its own, that a failed assertion ends on the spot.
 */
#ifndef SHM_TESTS_TEMP_DIR_H
#define SHM_TESTS_TEMP_DIR_H

#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char temp_dir[] = "/tmp/shm-unit-XXXXXX";
static pid_t temp_dir_maker;

__attribute__((constructor)) static void temp_dir_make(void) {
    if (mkdtemp(temp_dir) == NULL)
        abort();
    temp_dir_maker = getpid();
}

static int temp_dir_remove_one(const char *path, const struct stat *stat, int type,
                               struct FTW *where) {
    (void)stat;
    (void)type;
    (void)where;
    return remove(path);
}

__attribute__((destructor)) static void temp_dir_remove(void) {
    if (getpid() == temp_dir_maker)
        nftw(temp_dir, temp_dir_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A path in it; the text lives until the fourth next call. */
static inline const char *temp_path(const char *name) {
    static char paths[4][PATH_MAX];
    static unsigned at;
    char *path = paths[at++ % 4];
    snprintf(path, PATH_MAX, "%s/%s", temp_dir, name);
    return path;
}

#endif
