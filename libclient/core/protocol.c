/* SPDX-License-Identifier: Apache-2.0
 *
 * Packing, checking, sending and receiving the socket's messages.
 */
#include "protocol.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void protocol_fill(struct protocol_head *head, enum protocol_type type, size_t bytes, int result) {
    *head = (struct protocol_head){.magic = PROTOCOL_MAGIC,
                                   .version = PROTOCOL_VERSION,
                                   .type = (uint16_t)type,
                                   .bytes = (uint32_t)bytes,
                                   .result = result};
}

static bool ended(const char *text, size_t bytes) {
    return memchr(text, '\0', bytes) != NULL;
}

static bool fits(const union protocol_message *m, size_t bytes) {
    switch (m->head.type) {
    case PROTOCOL_HELLO:
        return bytes == sizeof m->hello;
    case PROTOCOL_CLAIM:
        return bytes == sizeof m->claim && ended(m->claim.worker, sizeof m->claim.worker);
    case PROTOCOL_WAITING:
    case PROTOCOL_REFUSED:
        return bytes == sizeof m->refused && ended(m->refused.text, sizeof m->refused.text);
    case PROTOCOL_GRANT:
        return bytes == sizeof m->grant && ended(m->grant.worker, sizeof m->grant.worker);
    case PROTOCOL_ACK:
    case PROTOCOL_LEASED:
        return bytes == sizeof m->ack;
    case PROTOCOL_REQUEST:
        return bytes == sizeof m->request && ended(m->request.text, sizeof m->request.text);
    case PROTOCOL_REPLY:
        return bytes >= sizeof m->head && bytes <= sizeof m->piece;
    case PROTOCOL_DONE:
        return bytes == sizeof m->head;
    default:
        return false;
    }
}

int protocol_check(const union protocol_message *message, size_t bytes) {
    if (bytes < sizeof message->head || message->head.magic != PROTOCOL_MAGIC)
        return -EBADMSG;
    if (message->head.version != PROTOCOL_VERSION)
        return -EPROTONOSUPPORT;
    return message->head.bytes == bytes && fits(message, bytes) ? 0 : -EBADMSG;
}

int protocol_send(int socket, const union protocol_message *message, int fd) {
    struct iovec part = {.iov_base = (void *)(uintptr_t)message, .iov_len = message->head.bytes};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    if (fd >= 0) {
        header.msg_control = control.bytes;
        header.msg_controllen = sizeof control.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&header);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    ssize_t n;
    do
        n = sendmsg(socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

/* The room for one descriptor is, rounded up, room for two: what comes beside the first is not for
 * us, and would stay open. */
static int take_descriptor(struct msghdr *header) {
    int first = -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = 0; CMSG_LEN(at + sizeof first) <= c->cmsg_len; at += sizeof first) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + at, sizeof fd);
            if (first < 0)
                first = fd;
            else
                close(fd);
        }
    }
    return first;
}

int protocol_receive(int socket, union protocol_message *ret, int *fd) {
    struct iovec part = {.iov_base = ret, .iov_len = sizeof *ret};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    if (fd != NULL) {
        *fd = -1;
        header.msg_control = control.bytes;
        header.msg_controllen = sizeof control.bytes;
    }
    ssize_t n;
    do
        n = recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    if (fd != NULL)
        *fd = take_descriptor(&header);
    int error = n == 0                                ? -ECONNRESET
                : (header.msg_flags & MSG_TRUNC) != 0 ? -EBADMSG
                                                      : protocol_check(ret, (size_t)n);
    if (error < 0 && fd != NULL && *fd >= 0) {
        close(*fd);
        *fd = -1;
    }
    return error;
}

int protocol_address(struct sockaddr_un *ret, const char *runtime_dir, uint32_t key) {
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    int n = snprintf(ret->sun_path, sizeof ret->sun_path, "%s/%08x.sock", runtime_dir, key);
    return n < 0 || (size_t)n >= sizeof ret->sun_path ? -ENAMETOOLONG : 0;
}
