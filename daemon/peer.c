/* SPDX-License-Identifier: Apache-2.0
 *
 * SO_PEERCRED and its relatives.
 */
#include "peer.h"
#include "core/process.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

static int get_pidfd(int socket, uint32_t pid) {
    int fd;
    socklen_t length = sizeof fd;
    if (getenv("SHM_NO_PEERPIDFD") == NULL &&
        getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &fd, &length) == 0)
        return fd;
    return pid == 0 ? -1 : (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
}

static int get_groups(struct peer *peer, int socket) {
    gid_t groups[PEER_GROUPS_MAX];
    socklen_t length = sizeof groups;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups, &length) < 0)
        return errno == ENODATA ? 0 : -errno; /* ENODATA: the kernel kept none */
    peer->groups = malloc(length + 1);
    if (peer->groups == NULL)
        return -ENOMEM;
    peer->groups_n = length / (socklen_t)sizeof *groups;
    for (unsigned i = 0; i < peer->groups_n; i++)
        peer->groups[i] = groups[i];
    return 0;
}

int peer_get(struct peer *ret, int socket) {
    struct ucred credentials;
    socklen_t length = sizeof credentials;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0)
        return -errno;
    struct peer peer = {.uid = credentials.uid,
                        .gid = credentials.gid,
                        .pid = (uint32_t)credentials.pid,
                        .pidfd = -1};
    int r = get_groups(&peer, socket);
    if (r < 0)
        return r;
    peer.pidfd = get_pidfd(socket, peer.pid);
    peer.pid_start = process_start(peer.pid);
    *ret = peer;
    return 0;
}

void peer_clear(struct peer *peer) {
    free(peer->groups);
    if (peer->pidfd >= 0)
        close(peer->pidfd);
    *peer = (struct peer){.pidfd = -1};
}

bool peer_in_group(const struct peer *peer, gid_t gid) {
    if (peer->gid == gid) /* SO_PEERGROUPS leaves the primary group out */
        return true;
    for (unsigned i = 0; i < peer->groups_n; i++)
        if (peer->groups[i] == gid)
            return true;
    return false;
}
