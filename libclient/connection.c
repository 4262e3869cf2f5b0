/* SPDX-License-Identifier: Apache-2.0
 *
 * A conversation with the manager, each step of which ends at the caller's deadline.
 */
#include "client.h"

#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CROWDED_NS 2000000 /* until a full backlog is tried again */

static int wait_ready(int socket, short events, uint64_t deadline_ns) {
    for (;;) {
        uint64_t now = clock_mono_ns();
        if (now >= deadline_ns)
            return -ETIMEDOUT;
        uint64_t left = deadline_ns - now;
        struct timespec timeout = {.tv_sec = 3600};
        if (left < UINT64_C(3600000000000))
            timeout = (struct timespec){.tv_sec = (time_t)(left / 1000000000),
                                        .tv_nsec = (long)(left % 1000000000)};
        struct pollfd wait = {.fd = socket, .events = events};
        int n = ppoll(&wait, 1, &timeout, NULL);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
    }
}

static int connect_to(int socket, const struct sockaddr_un *address, uint64_t deadline_ns) {
    for (;;) {
        if (connect(socket, (const struct sockaddr *)address, sizeof *address) == 0)
            return 0;
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return -errno;
        /* The manager's backlog is full, and nothing tells when it isn't. */
        if (clock_mono_ns() + CROWDED_NS >= deadline_ns)
            return -ETIMEDOUT;
        nanosleep(&(struct timespec){.tv_nsec = CROWDED_NS}, NULL);
    }
}

/* The key of the one socket that is there; 0: there is none, or more than one. */
static uint32_t only_key(const char *runtime_dir) {
    uint32_t only = 0, key;
    unsigned count = 0;
    DIR *dir = opendir(runtime_dir);
    if (dir == NULL)
        return 0;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        int end = 0;
        if (sscanf(entry->d_name, "%8x.sock%n", &key, &end) == 1 && end == 13 &&
            entry->d_name[end] == '\0' && count++ == 0)
            only = key;
    }
    closedir(dir);
    return count == 1 ? only : 0;
}

const char *connection_remedy(const struct settings *settings, char ret[REMEDY_BYTES]) {
    uint32_t key = only_key(settings->runtime_dir);
    if (key != 0 && key != settings->key)
        snprintf(ret, REMEDY_BYTES, "the manager in %.100s has key 0x%08x: set SHMC_KEY to that",
                 settings->runtime_dir, key);
    else
        snprintf(ret, REMEDY_BYTES,
                 "start it (systemctl start shm-manager), or set SHMC_KEY and SHMC_RUNTIME_DIR as "
                 "it was started");
    return ret;
}

bool connection_there(const struct settings *settings) {
    struct sockaddr_un address;
    return protocol_address(&address, settings->runtime_dir, settings->key) == 0 &&
           access(address.sun_path, F_OK) == 0;
}

static int not_connected(struct error *error, const struct settings *settings, const char *path,
                         int code) {
    char remedy[REMEDY_BYTES];
    if (code == -EACCES)
        return error_set(error, code,
                         "the manager's socket %s: uid %u may not connect; become a member of its "
                         "group (shm-workers), and log in anew",
                         path, geteuid());
    if (code == -ETIMEDOUT)
        return error_set(error, code, "the manager at %s took no connection in the time given",
                         path);
    return error_set(error, -ENOTCONN, "no manager answers at %s (%s); %s", path, strerror(-code),
                     connection_remedy(settings, remedy));
}

/* Anybody may have been there first, where the directory lets them. */
static int check_server(int socket, const struct settings *settings, const char *path,
                        struct error *error) {
    struct ucred peer;
    socklen_t length = sizeof peer;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
        return error_set(error, -errno, "the manager's socket %s: %s", path, strerror(errno));
    if (settings_trust(settings, peer.uid))
        return 0;
    if (peer.uid == UID_UNKNOWN)
        return error_set(error, -EPERM,
                         "the socket %s is somebody's whom your user namespace doesn't know, and "
                         "others may write in %s: chmod go-w it, or use another directory",
                         path, settings->runtime_dir);
    return error_set(error, -EPERM,
                     "the socket %s is uid %u's, who is neither root nor the owner of %s: it isn't "
                     "the manager's; remove it, or use another directory",
                     path, peer.uid, settings->runtime_dir);
}

int connection_open(int *ret, const struct settings *settings, uint64_t deadline_ns,
                    struct protocol_hello *hello, struct error *error) {
    struct sockaddr_un address;
    if (protocol_address(&address, settings->runtime_dir, settings->key) < 0)
        return error_set(error, -EINVAL, "runtime_dir '%s' is too long for a socket's path",
                         settings->runtime_dir);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_set(error, -errno, "no socket to be had: %s", strerror(errno));
    int r = connect_to(fd, &address, deadline_ns);
    if (r < 0) {
        close(fd);
        return not_connected(error, settings, address.sun_path, r);
    }
    union protocol_message message;
    r = check_server(fd, settings, address.sun_path, error);
    if (r == 0)
        r = connection_receive(fd, &message, NULL, deadline_ns, error);
    if (r == 0 && message.head.type == PROTOCOL_REFUSED)
        r = error_set(error, message.head.result < 0 ? message.head.result : -ENOTCONN,
                      "the manager at %s: %s", address.sun_path, refused_text(&message.refused));
    else if (r == 0 && message.head.type != PROTOCOL_HELLO)
        r = error_set(error, -EPROTONOSUPPORT, "%s says no hello: it isn't a shm-manager's socket",
                      address.sun_path);
    else if (r == 0 && message.hello.key != settings->key)
        r = error_set(error, -ENOTCONN, "the manager at %s serves key 0x%08x, not 0x%08x",
                      address.sun_path, message.hello.key, settings->key);
    if (r < 0) {
        close(fd);
        return r;
    }
    *hello = message.hello;
    *ret = fd;
    return 0;
}

static int broken(struct error *error, int code) {
    switch (code) {
    case -ETIMEDOUT:
        return error_set(error, code, "the manager did not answer in the time given");
    case -EPROTONOSUPPORT:
        return error_set(error, code,
                         "the manager speaks another version of the protocol than %u, which this "
                         "library (%s) speaks: install the library that belongs to the manager",
                         PROTOCOL_VERSION, SHM_VERSION);
    case -EBADMSG:
        return error_set(error, -EPROTONOSUPPORT,
                         "the manager's answer makes no sense: is that socket a shm-manager's?");
    default:
        return error_set(error, -ENOTCONN, "the manager ended the connection (%s); is it running?",
                         strerror(-code));
    }
}

int connection_send(int socket, union protocol_message *message, enum protocol_type type,
                    size_t bytes, uint64_t deadline_ns, struct error *error) {
    protocol_fill(&message->head, type, bytes, 0);
    int r;
    while ((r = protocol_send(socket, message, -1)) == -EAGAIN) {
        r = wait_ready(socket, POLLOUT, deadline_ns);
        if (r < 0)
            break;
    }
    return r < 0 ? broken(error, r) : 0;
}

int connection_receive(int socket, union protocol_message *ret, int *fd, uint64_t deadline_ns,
                       struct error *error) {
    int r;
    while ((r = protocol_receive(socket, ret, fd)) == -EAGAIN) {
        r = wait_ready(socket, POLLIN, deadline_ns);
        if (r < 0)
            break;
    }
    return r < 0 ? broken(error, r) : 0;
}
