/* SPDX-License-Identifier: Apache-2.0
 *
 * shm-keeper: holds memfds for the manager, and gives them back to the manager's uid.  It knows
 * nothing of what they are.  Descriptor 3 is the socket that it listens on, from systemd or from a
 * manager that was started by hand.  It ends when it holds nothing and nobody is connected, and
 * (by hand) when its socket is gone, so that nobody will ever ask again.
 */
#include "keeper.h"
#include "core/packet.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LISTENER 3
#define PEERS    8
#define LOOK_MS  5000 /* is the socket still there? */

struct held {
    struct keeper_message name;
    int fd;
};

static struct held *held;
static uint32_t held_n, held_room;

static bool same(const struct keeper_message *a, const struct keeper_message *b) {
    return a->segment_id == b->segment_id && a->kind == b->kind && a->index == b->index &&
           a->incarnation == b->incarnation;
}

static int drop(const struct keeper_message *name) {
    for (uint32_t i = 0; i < held_n; i++)
        if (same(&held[i].name, name)) {
            close(held[i].fd);
            held[i] = held[--held_n];
            return 0;
        }
    return -ENOENT;
}

static int hold(const struct keeper_message *name, int fd) {
    if (fd < 0)
        return -EBADF;
    if (held_n == held_room) {
        uint32_t room = held_room == 0 ? 64 : 2 * held_room;
        struct held *more = reallocarray(held, room, sizeof *more);
        if (more == NULL)
            return -ENOMEM;
        held = more;
        held_room = room;
    }
    drop(name);
    held[held_n++] = (struct held){*name, fd};
    return 0;
}

/* Answers in place; *fd is the descriptor that came, and then the one to send (-1: none). */
static void handle(struct keeper_message *m, int *fd) {
    int came = *fd;
    *fd = -1;
    if (m->op == KEEPER_HOLD) {
        m->result = hold(m, came);
        if (m->result == 0)
            return;
    } else if (m->op == KEEPER_DROP) {
        m->result = drop(m);
    } else if (m->op == KEEPER_FORGET) {
        while (held_n > 0)
            close(held[--held_n].fd);
        m->result = 0;
    } else if (m->op == KEEPER_GET && m->position < held_n) {
        uint32_t position = m->position;
        *m = held[position].name;
        m->op = KEEPER_GET;
        m->position = position;
        m->result = 0;
        *fd = held[position].fd;
    } else {
        m->result = m->op == KEEPER_GET ? -ENOENT : -EINVAL;
    }
    if (came >= 0)
        close(came);
}

/* False: the connection has ended, or should. */
static bool serve(int peer) {
    struct keeper_message m;
    int fd;
    ssize_t n = packet_receive(peer, &m, sizeof m, &fd, MSG_DONTWAIT);
    if (n == -EAGAIN)
        return true;
    if (n != sizeof m || m.magic != KEEPER_MAGIC || m.version != KEEPER_VERSION) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    handle(&m, &fd);
    return packet_send(peer, &m, sizeof m, fd, MSG_DONTWAIT) == 0;
}

static void welcome(struct pollfd *peers, unsigned *n) {
    struct ucred who;
    socklen_t bytes = sizeof who;
    int fd = accept4(LISTENER, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (*n < PEERS && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &bytes) == 0 &&
        (who.uid == geteuid() || who.uid == 0))
        peers[(*n)++] = (struct pollfd){.fd = fd, .events = POLLIN};
    else
        close(fd);
}

static bool reachable(const struct sockaddr_un *address) {
    struct stat stat;
    return lstat(address->sun_path, &stat) == 0 || errno != ENOENT;
}

static void run(const struct sockaddr_un *address, bool by_hand) {
    struct pollfd all[1 + PEERS] = {{.fd = LISTENER, .events = POLLIN}};
    unsigned n = 0;
    for (;;) {
        int ready = poll(all, n + 1, by_hand ? LOOK_MS : -1);
        if (ready == 0 && n == 0 && !reachable(address))
            return;
        for (unsigned i = n; ready > 0 && i >= 1; i--)
            if (all[i].revents != 0 && !serve(all[i].fd)) {
                close(all[i].fd);
                all[i] = all[n--];
                if (n == 0 && held_n == 0)
                    return;
            }
        if (ready > 0 && all[0].revents != 0)
            welcome(all + 1, &n);
    }
}

int main(void) {
    struct sockaddr_un address = {0};
    socklen_t bytes = sizeof address - 1;
    int listens = 0;
    socklen_t size = sizeof listens;
    struct rlimit files;
    if (getsockopt(LISTENER, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0 || !listens ||
        getsockname(LISTENER, (struct sockaddr *)&address, &bytes) < 0) {
        fputs("shm-keeper: it is started by shm-manager, or by systemd (shm-keeper.socket)\n",
              stderr);
        return 2;
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    bool by_hand = getenv("LISTEN_FDS") == NULL;
    run(&address, by_hand);
    if (by_hand)
        unlink(address.sun_path);
    return 0;
}
