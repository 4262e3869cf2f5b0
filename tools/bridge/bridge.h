/* SPDX-License-Identifier: Apache-2.0
 *
 * What the bridge's two files share: which way, between what, and how long.
 */
#ifndef SHM_TOOLS_BRIDGE_H
#define SHM_TOOLS_BRIDGE_H

#include <shmclient.h>

enum { ENDED = 0, FAILED = 1, MISUSED = 2, STUCK = 3 }; /* exit statuses */

struct bridge {
    const char *section; /* its name */
    uint32_t key;        /* of the kernel's queue */
    bool out;            /* from the section into the kernel's queue */
    bool create;         /* the kernel's queue, */
    unsigned mode;       /* with these permissions */
    bool drain;          /* end when the source is empty */
    uint64_t count;      /* end after so many; 0: never */
    struct shmc_options options;
};

/* Moves messages until it is told to end; the exit status. */
int bridge_run(const struct bridge *bridge);

/* One line to standard error. */
void bridge_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
