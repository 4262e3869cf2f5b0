/* SPDX-License-Identifier: Apache-2.0
 *
 * A symbolic link as a word on disk, which is replaced as a whole.
 */
#ifndef SHM_DAEMON_LINK_H
#define SHM_DAEMON_LINK_H

#include <limits.h>
#include <stdbool.h>

/* What it says; false: there is none. */
bool link_read(const char *path, char ret[PATH_MAX]);

/* Makes it say that, unless it does already. */
int link_set(const char *path, const char *to);

#endif
