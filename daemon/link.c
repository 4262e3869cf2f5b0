/* SPDX-License-Identifier: Apache-2.0
 *
 * The one that is new is made beside the other and renamed, so that nobody finds none.
 */
#include "link.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool link_read(const char *path, char ret[PATH_MAX]) {
    ssize_t n = readlink(path, ret, PATH_MAX - 1);
    ret[n < 0 ? 0 : n] = '\0';
    return n > 0;
}

int link_set(const char *path, const char *to) {
    char now[PATH_MAX], fresh[PATH_MAX + 8];
    if (link_read(path, now) && strcmp(now, to) == 0)
        return 0;
    snprintf(fresh, sizeof fresh, "%s.new", path);
    unlink(fresh); /* of a manager that was killed in here */
    return symlink(to, fresh) < 0 || rename(fresh, path) < 0 ? -errno : 0;
}
