/* SPDX-License-Identifier: Apache-2.0
 *
 * Which file or directory it is, whatever its name.
 */
#ifndef SHM_DAEMON_IDENTITY_H
#define SHM_DAEMON_IDENTITY_H

#include <stdint.h>

/* Of a path below dir_fd, or of dir_fd itself with ""; 0: unknown.  A file system may use a number
 * again at once, but not at the same time. */
int64_t identity_of(int dir_fd, const char *path);

#endif
