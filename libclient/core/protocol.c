/* SPDX-License-Identifier: Apache-2.0
 *
 * Packing, checking, sending and receiving the socket's messages.
 */
#include "protocol.h"
#include "packet.h"

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
    case PROTOCOL_MAP:
    case PROTOCOL_PART:
        return bytes == sizeof m->map;
    case PROTOCOL_CREATE:
        return bytes == sizeof m->create && ended(m->create.name, sizeof m->create.name) &&
               ended(m->create.format, sizeof m->create.format) &&
               ended(m->create.read_group, sizeof m->create.read_group) &&
               ended(m->create.write_group, sizeof m->create.write_group);
    case PROTOCOL_DROP:
        return bytes == sizeof m->drop && ended(m->drop.name, sizeof m->drop.name);
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

/* As the kernel has them. */
static bool is_errno(int32_t result) {
    return result <= 0 && result >= -4095;
}

int protocol_check(const union protocol_message *message, size_t bytes) {
    if (bytes < sizeof message->head || message->head.magic != PROTOCOL_MAGIC)
        return -EBADMSG;
    if (message->head.version != PROTOCOL_VERSION)
        return -EPROTONOSUPPORT;
    if (message->head.bytes != bytes || !is_errno(message->head.result))
        return -EBADMSG;
    return fits(message, bytes) ? 0 : -EBADMSG;
}

int protocol_send(int socket, const union protocol_message *message, int fd) {
    return packet_send(socket, message, message->head.bytes, fd, MSG_DONTWAIT);
}

int protocol_receive(int socket, union protocol_message *ret, int *fd) {
    ssize_t n = packet_receive(socket, ret, sizeof *ret, fd, MSG_DONTWAIT);
    int error = n == -EMSGSIZE ? -EBADMSG : n < 0 ? (int)n : protocol_check(ret, (size_t)n);
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
