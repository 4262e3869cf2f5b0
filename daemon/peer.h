/* SPDX-License-Identifier: Apache-2.0
 *
 * Who is at the other end of a connection: uid, groups and process as the kernel had them at
 * connect.  The name service is never asked about a peer.
 */
#ifndef SHM_DAEMON_PEER_H
#define SHM_DAEMON_PEER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PEER_GROUPS_MAX 1024

struct peer {
    uid_t uid;
    gid_t gid;
    uint32_t pid; /* 0: another PID namespace */
    uint64_t pid_start;
    int pidfd; /* -1: none to be had */
    gid_t *groups;
    unsigned groups_n;
};

/* 0, or a negative errno.  Without `SO_PEERPIDFD` (before Linux 6.5), or with the environment's
 * SHM_NO_PEERPIDFD set, pidfd_open() is used. */
int peer_get(struct peer *ret, int socket);
void peer_clear(struct peer *peer);

bool peer_in_group(const struct peer *peer, gid_t gid);

#endif
