/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding, starting and asking the keeper.
 */
#include "keeping.h"
#include "core/packet.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_S 5 /* it answers at once where it is let run; less than the watchdog */
#define TRIES      3 /* of one that hangs up */
#define LISTENER   3 /* where the keeper expects its socket */

static int make_address(struct keeping *k, const char *runtime_dir, uint32_t key,
                        struct sockaddr_un *address) {
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    int n =
        snprintf(address->sun_path, sizeof address->sun_path, "%s/%08x.keeper", runtime_dir, key);
    if (n < 0 || (size_t)n >= sizeof address->sun_path)
        return -ENAMETOOLONG;
    memcpy(k->path, address->sun_path, sizeof k->path);
    return 0;
}

/* With systemd it is root who listens. */
static int check_peer(const struct keeping *k, char *error, size_t error_bytes) {
    struct ucred who;
    socklen_t bytes = sizeof who;
    if (getsockopt(k->fd, SOL_SOCKET, SO_PEERCRED, &who, &bytes) == 0 &&
        (who.uid == geteuid() || who.uid == 0))
        return 0;
    snprintf(error, error_bytes, "%s: the keeper there belongs to uid %u, not to us: remove it",
             k->path, who.uid);
    return -EPERM;
}

static int connect_to(struct keeping *k, const struct sockaddr_un *address) {
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    k->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (k->fd < 0)
        return -errno;
    setsockopt(k->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(k->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    return connect(k->fd, (const struct sockaddr *)address, sizeof *address) < 0 ? -errno : 0;
}

/* One that is about to end still has connections made, and hangs up: -EPIPE. */
static int await_answer(const struct keeping *k) {
    struct keeper_message behind_all = {.position = UINT32_MAX};
    int fd = -1;
    int r = keeping_ask(k, KEEPER_GET, &behind_all, -1, &fd);
    if (fd >= 0)
        close(fd);
    return r == -ENOENT ? 0 : r;
}

static int try_find(struct keeping *k, const struct sockaddr_un *address, char *error,
                    size_t error_bytes) {
    int r = connect_to(k, address);
    if (r == 0) {
        r = check_peer(k, error, error_bytes);
        if (r < 0)
            return r;
        r = await_answer(k);
    }
    if (r < 0)
        snprintf(error, error_bytes, "%s: the keeper can't be reached: %s", k->path, strerror(-r));
    return r;
}

int keeping_find(struct keeping *ret, const char *runtime_dir, uint32_t key, char *error,
                 size_t error_bytes) {
    struct sockaddr_un address;
    struct keeping k = {.fd = -1};
    int r = make_address(&k, runtime_dir, key, &address);
    if (r < 0) {
        snprintf(error, error_bytes, "%s: too long for a socket's address: use a shorter one",
                 runtime_dir);
        return r;
    }
    r = -EPIPE;
    for (int try = 0; r == -EPIPE && try < TRIES; try++) {
        r = try_find(&k, &address, error, error_bytes);
        if (r < 0)
            keeping_close(&k);
    }
    if (r == 0)
        *ret = k;
    return r == -ECONNREFUSED ? -ENOENT : r;
}

/* ---- starting one */

static int find_program(char path[PATH_MAX]) {
    static const char name[] = "shm-keeper";
    ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - sizeof name - 1);
    if (n < 0)
        return -errno;
    path[n] = '\0';
    char *slash = strrchr(path, '/');
    if (slash == NULL)
        return -ENOENT;
    memcpy(slash + 1, name, sizeof name); /* beside us, also when we were replaced */
    return access(path, X_OK) < 0 ? -errno : 0;
}

static int listen_at(const struct sockaddr_un *address) {
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    unlink(address->sun_path); /* nobody listens there, and no other manager serves this key */
    if (bind(fd, (const struct sockaddr *)address, sizeof *address) < 0 ||
        chmod(address->sun_path, 0600) < 0 || listen(fd, 8) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

/* In the child: nothing of the manager's but the socket goes along, not even its stderr, whose
 * reader may wait for the end. */
__attribute__((noreturn)) static void become_keeper(const char *program, int listener) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    if (fork() != 0)
        _exit(0);
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    if (listener == LISTENER)
        fcntl(LISTENER, F_SETFD, 0);
    else
        dup2(listener, LISTENER);
    close_range(LISTENER + 1, ~0u, 0);
    if (chdir("/") < 0)
        _exit(126);
    char *const argv[] = {(char *)(uintptr_t)program, NULL}, *const environment[] = {NULL};
    execve(program, argv, environment);
    _exit(127);
}

static int spawn(const struct sockaddr_un *address) {
    char program[PATH_MAX];
    int r = find_program(program);
    if (r < 0)
        return r;
    int listener = listen_at(address);
    if (listener < 0)
        return listener;
    pid_t child = fork();
    if (child == 0)
        become_keeper(program, listener);
    r = child < 0 ? -errno : 0;
    close(listener);
    while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
    return r;
}

int keeping_start(struct keeping *ret, const char *runtime_dir, uint32_t key, char *error,
                  size_t error_bytes) {
    int r = keeping_find(ret, runtime_dir, key, error, error_bytes);
    if (r != -ENOENT)
        return r;
    struct keeping k;
    struct sockaddr_un address;
    r = make_address(&k, runtime_dir, key, &address);
    if (r == 0)
        r = spawn(&address);
    if (r < 0) {
        snprintf(error, error_bytes,
                 "shm-keeper, which holds the memory, can't be started: %s (it belongs beside "
                 "shm-manager; with systemd: systemctl enable --now shm-keeper.socket)",
                 strerror(-r));
        return r;
    }
    r = keeping_find(ret, runtime_dir, key, error, error_bytes);
    ret->started = r == 0;
    return r;
}

/* ---- asking */

void keeping_close(struct keeping *k) {
    if (k->fd >= 0)
        close(k->fd);
    k->fd = -1;
}

bool keeping_lost(const struct keeping *k) {
    struct pollfd look = {.fd = k->fd, .events = POLLIN | POLLRDHUP};
    return k->fd < 0 || poll(&look, 1, 0) > 0; /* it never speaks unasked */
}

int keeping_ask(const struct keeping *k, enum keeper_op op, struct keeper_message *m, int fd,
                int *got) {
    struct keeper_message answer;
    int came = -1;
    m->magic = KEEPER_MAGIC;
    m->version = KEEPER_VERSION;
    m->op = (uint16_t)op;
    m->result = 0;
    int r = packet_send(k->fd, m, sizeof *m, fd, 0);
    ssize_t n = r < 0 ? r : packet_receive(k->fd, &answer, sizeof answer, &came, 0);
    if (n == -EAGAIN) {
        shutdown(k->fd,
                 SHUT_RDWR); /* an answer that comes late is no answer to the next question */
        r = -ETIMEDOUT;
    } else if (n != sizeof answer || answer.magic != KEEPER_MAGIC || answer.op != op)
        r = -EPIPE;
    else
        r = answer.result;
    if (r == 0 && got != NULL && came < 0)
        r = -EPIPE;
    if (came >= 0 && (r < 0 || got == NULL))
        close(came);
    if (r == 0) {
        *m = answer;
        if (got != NULL)
            *got = came;
    }
    return r;
}

int keeping_header(const char *runtime_dir, uint32_t key, int *fd, uint64_t *bytes) {
    char error[512];
    struct keeping k;
    int r = keeping_find(&k, runtime_dir, key, error, sizeof error);
    if (r < 0)
        return r;
    for (uint32_t i = 0; r == 0; i++) {
        struct keeper_message m = {.position = i};
        r = keeping_ask(&k, KEEPER_GET, &m, -1, fd);
        if (r == 0 && m.kind == KEEPER_HEADER) {
            *bytes = m.bytes;
            break;
        }
        if (r == 0)
            close(*fd);
    }
    keeping_close(&k);
    return r;
}
