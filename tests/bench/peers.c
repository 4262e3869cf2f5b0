/* SPDX-License-Identifier: Apache-2.0
 *
 * What else there is on a Debian machine: the System V and POSIX queues, Unix sockets and pipes,
 * which pass on every value, and LMDB and iceoryx, which like a snapshot keep the newest.  All
 * poll, as what they are compared with does; those that pass on every value can sleep, too.  The
 * queues take a large value in pieces.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECE    8000 /* the kernel's default for a message is 8192 */
#define PACKET   ((size_t)65536)
#define SOCK_BUF (4 << 20)

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* ---- System V: one queue, a type for each way */

static bool asleep; /* calls wait in the kernel */

static int unless_asleep(int flag) {
    return asleep ? 0 : flag;
}

struct piece {
    long type;
    char bytes[PIECE];
};

static enum side side;
static int queue = -1;

/* The left one makes it, and tells the right one which it is. */
static bool sysv_open(const struct bench *bench) {
    side = bench->side;
    if (side == LEFT)
        queue = msgget(IPC_PRIVATE, 0600);
    pair_give(queue);
    pair_meet();
    if (side == RIGHT)
        queue = (int)pair_given(LEFT);
    pair_meet();
    return queue >= 0;
}

static void sysv_send(const uint8_t *value, size_t bytes) {
    struct piece piece;
    piece.type = 1 + side;
    for (size_t at = 0; at < bytes; at += PIECE) {
        size_t n = least(PIECE, bytes - at);
        memcpy(piece.bytes, value + at, n);
        while (msgsnd(queue, &piece, n, unless_asleep(IPC_NOWAIT)) < 0) {
            if (errno != EAGAIN)
                bench_die("msgsnd: %s", strerror(errno));
            bench_relax();
        }
    }
}

static void sysv_receive(uint8_t *value, size_t bytes) {
    struct piece piece;
    for (size_t at = 0; at < bytes;) {
        ssize_t n = msgrcv(queue, &piece, PIECE, 1 + !side, unless_asleep(IPC_NOWAIT));
        if (n < 0 && errno != ENOMSG)
            bench_die("msgrcv: %s", strerror(errno));
        if (n < 0) {
            bench_relax();
            continue;
        }
        memcpy(value + at, piece.bytes, (size_t)n);
        at += (size_t)n;
    }
}

static void sysv_close(void) {
    if (side == LEFT && queue >= 0)
        msgctl(queue, IPC_RMID, NULL);
    queue = -1;
}

/* ---- POSIX message queues */

static mqd_t ways[2] = {-1, -1};

static mqd_t mqueue_make(enum side from, pid_t pid) {
    char name[64];
    struct mq_attr attributes = {.mq_maxmsg = 10, .mq_msgsize = 8192};
    snprintf(name, sizeof name, "/shm-bench-%d-%d", (int)pid, from);
    return mq_open(name, O_RDWR | O_CREAT | unless_asleep(O_NONBLOCK), 0600, &attributes);
}

static void mqueue_unlink(pid_t pid) {
    char name[64];
    for (int from = 0; from < 2; from++) {
        snprintf(name, sizeof name, "/shm-bench-%d-%d", (int)pid, from);
        mq_unlink(name);
    }
}

static bool mqueue_open(const struct bench *bench) {
    side = bench->side;
    pid_t pid = side == LEFT ? getpid() : getppid();
    for (int from = 0; from < 2; from++)
        ways[from] = mqueue_make((enum side)from, pid);
    pair_meet();
    mqueue_unlink(pid);
    return ways[0] >= 0 && ways[1] >= 0;
}

static void mqueue_send(const uint8_t *value, size_t bytes) {
    for (size_t at = 0; at < bytes; at += PIECE)
        while (mq_send(ways[side], (const char *)value + at, least(PIECE, bytes - at), 0) < 0) {
            if (errno != EAGAIN)
                bench_die("mq_send: %s", strerror(errno));
            bench_relax();
        }
}

static void mqueue_receive(uint8_t *value, size_t bytes) {
    char piece[8192];
    for (size_t at = 0; at < bytes;) {
        ssize_t n = mq_receive(ways[!side], piece, sizeof piece, NULL);
        if (n < 0 && errno != EAGAIN)
            bench_die("mq_receive: %s", strerror(errno));
        if (n < 0) {
            bench_relax();
            continue;
        }
        memcpy(value + at, piece, (size_t)n);
        at += (size_t)n;
    }
}

static void mqueue_close(void) {
    for (int from = 0; from < 2; from++) {
        if (ways[from] >= 0)
            mq_close(ways[from]);
        ways[from] = -1;
    }
}

/* ---- Unix sockets and pipes, made before the second process */

static int pairs[2][2], pipes[2][2]; /* pipes: by the side that sends */

void peers_prepare(void) {
    const int types[2] = {SOCK_SEQPACKET, SOCK_STREAM};
    for (int i = 0; i < 2; i++) {
        if (socketpair(AF_UNIX, types[i] | SOCK_CLOEXEC, 0, pairs[i]) < 0)
            bench_die("socketpair: %s", strerror(errno));
        for (int j = 0; j < 2; j++)
            if (setsockopt(pairs[i][j], SOL_SOCKET, SO_SNDBUFFORCE, &(int){SOCK_BUF}, sizeof(int)) <
                0)
                setsockopt(pairs[i][j], SOL_SOCKET, SO_SNDBUF, &(int){SOCK_BUF}, sizeof(int));
    }
    for (int from = 0; from < 2; from++)
        if (pipe2(pipes[from], O_CLOEXEC) < 0)
            bench_die("pipe: %s", strerror(errno));
}

static bool socket_open(const struct bench *bench) {
    side = bench->side;
    return true;
}

static void socket_send(int fd, const uint8_t *value, size_t bytes) {
    for (size_t at = 0; at < bytes;) {
        ssize_t n = send(fd, value + at, least(PACKET, bytes - at),
                         unless_asleep(MSG_DONTWAIT) | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            bench_die("send: %s", strerror(errno));
        if (n < 0)
            bench_relax();
        else
            at += (size_t)n;
    }
}

static void socket_receive(int fd, uint8_t *value, size_t bytes) {
    for (size_t at = 0; at < bytes;) {
        ssize_t n = recv(fd, value + at, bytes - at, unless_asleep(MSG_DONTWAIT));
        if (n == 0 || (n < 0 && errno != EAGAIN))
            bench_die("recv: %s", n == 0 ? "closed" : strerror(errno));
        if (n < 0)
            bench_relax();
        else
            at += (size_t)n;
    }
}

static void packet_send(const uint8_t *value, size_t bytes) {
    socket_send(pairs[0][side], value, bytes);
}

static void packet_receive(uint8_t *value, size_t bytes) {
    socket_receive(pairs[0][side], value, bytes);
}

static void stream_send(const uint8_t *value, size_t bytes) {
    socket_send(pairs[1][side], value, bytes);
}

static void stream_receive(uint8_t *value, size_t bytes) {
    socket_receive(pairs[1][side], value, bytes);
}

static void socket_close(void) {
}

static bool pipe_open(const struct bench *bench) {
    side = bench->side;
    return fcntl(pipes[side][1], F_SETFL, unless_asleep(O_NONBLOCK)) == 0 &&
           fcntl(pipes[!side][0], F_SETFL, unless_asleep(O_NONBLOCK)) == 0;
}

static void pipe_send(const uint8_t *value, size_t bytes) {
    for (size_t at = 0; at < bytes;) {
        ssize_t n = write(pipes[side][1], value + at, bytes - at);
        if (n < 0 && errno != EAGAIN)
            bench_die("write: %s", strerror(errno));
        if (n < 0)
            bench_relax();
        else
            at += (size_t)n;
    }
}

static void pipe_receive(uint8_t *value, size_t bytes) {
    for (size_t at = 0; at < bytes;) {
        ssize_t n = read(pipes[!side][0], value + at, bytes - at);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            bench_die("read: %s", n == 0 ? "closed" : strerror(errno));
        if (n < 0)
            bench_relax();
        else
            at += (size_t)n;
    }
}

static void pipe_close(void) {
}

void peers_end(void) {
#ifdef BENCH_ICEORYX
    iceoryx_end();
#endif
}

/* ---- the list */

/* Both forms: one that polls, and one that sleeps. */
#define CHANNEL(symbol, prefix, opens)                                                             \
    static bool symbol##_busy_open(const struct bench *bench) {                                    \
        asleep = false;                                                                            \
        return opens##_open(bench);                                                                \
    }                                                                                              \
    static bool symbol##_asleep_open(const struct bench *bench) {                                  \
        asleep = true;                                                                             \
        return opens##_open(bench);                                                                \
    }                                                                                              \
    const struct channel channel_##symbol = {                                                      \
        .name = #symbol,                                                                           \
        .every = true,                                                                             \
        .open = symbol##_busy_open,                                                                \
        .send = prefix##_send,                                                                     \
        .receive = prefix##_receive,                                                               \
        .close = opens##_close,                                                                    \
    };                                                                                             \
    const struct channel channel_##symbol##_asleep = {                                             \
        .name = #symbol,                                                                           \
        .every = true,                                                                             \
        .asleep = true,                                                                            \
        .open = symbol##_asleep_open,                                                              \
        .send = prefix##_send,                                                                     \
        .receive = prefix##_receive,                                                               \
        .close = opens##_close,                                                                    \
    }

CHANNEL(sysv, sysv, sysv);
CHANNEL(mqueue, mqueue, mqueue);
CHANNEL(seqpacket, packet, socket);
CHANNEL(stream, stream, socket);
CHANNEL(pipe, pipe, pipe);

#define PEER_MEASURE(peer, called, to, in, prefix)                                                 \
    {                                                                                              \
        .name = #peer "." called, .limit = (to), .unit = (in),                                     \
        .run = {prefix##_left, prefix##_right}, .channel = &channel_##peer                         \
    }
/* A queue with less room than a value takes can't send to somebody who does nothing. */
#define NEWEST(peer)                                                                               \
    PEER_MEASURE(peer, "send", NULL, "ns", send),                                                  \
        PEER_MEASURE(peer, "receive", "memcpy-dirty", "ns", receive)
#define PEER(peer)                                                                                 \
    PEER_MEASURE(peer, "latency", "flag+memcpy", "ns", latency),                                   \
        PEER_MEASURE(peer, "fresh-reads", NULL, "1/s", flood)

/* The library's own as a channel like the others, for comparison. */
const struct measure peer_measures[] = {
    NEWEST(library), PEER(sysv),    PEER(mqueue), PEER(seqpacket), PEER(stream),
#ifdef BENCH_LMDB
    NEWEST(lmdb),    PEER(lmdb),
#endif
#ifdef BENCH_ICEORYX
    NEWEST(iceoryx), PEER(iceoryx),
#endif
    {.name = NULL},
};
