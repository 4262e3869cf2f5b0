/* SPDX-License-Identifier: Apache-2.0
 *
 * The manager's conversation with the keeper: short, and never waited for longer than a moment.
 */
#ifndef SHM_DAEMON_KEEPING_H
#define SHM_DAEMON_KEEPING_H

#include "keeper.h"

#include <stdbool.h>
#include <stddef.h>

struct keeping {
    int fd;
    bool started; /* by us */
    char path[108];
};

/* Connects to the keeper of a key: -ENOENT when there is none, -EPERM when it is somebody else's
 * (`error` says whose), -ETIMEDOUT. */
int keeping_find(struct keeping *ret, const char *runtime_dir, uint32_t key, char *error,
                 size_t error_bytes);

/* The same, and starts one where there is none. */
int keeping_start(struct keeping *ret, const char *runtime_dir, uint32_t key, char *error,
                  size_t error_bytes);

/* The header's object of a segment that may run without a manager: -ENOENT. */
int keeping_header(const char *runtime_dir, uint32_t key, int *fd, uint64_t *bytes);

void keeping_close(struct keeping *keeping);

/* Has it hung up? */
bool keeping_lost(const struct keeping *keeping);

/* Asks, with a descriptor when fd >= 0; *message becomes the answer, and *got (NULL: none is
 * expected) its descriptor.  The answer's result, or -EPIPE, -ETIMEDOUT. */
int keeping_ask(const struct keeping *keeping, enum keeper_op op, struct keeper_message *message,
                int fd, int *got);

#endif
