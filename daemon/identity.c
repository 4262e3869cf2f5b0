/* SPDX-License-Identifier: Apache-2.0
 *
 * Inode number and birth.
 */
#include "identity.h"

#include <fcntl.h>
#include <sys/stat.h>

int64_t identity_of(int dir_fd, const char *path) {
    struct statx found;
    if (statx(dir_fd, path, AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &found) < 0)
        return 0;
    uint64_t born =
        (found.stx_mask & STATX_BTIME) == 0
            ? 0
            : (uint64_t)found.stx_btime.tv_sec * UINT64_C(1000000000) + found.stx_btime.tv_nsec;
    return (int64_t)((found.stx_ino ^ born) >> 1);
}
