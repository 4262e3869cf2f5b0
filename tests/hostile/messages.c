/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes on the socket that no library sends.
 */
#include "hostile.h"

#include <fcntl.h>
#include <sys/socket.h>

#define DESCRIPTORS 200 /* in one message; the kernel takes 253 */

/* Sent as they are, they are refused as no message. */
static void no_message(const void *bytes, size_t n) {
    int socket = call_manager();
    send_bytes(socket, bytes, n);
    refused(socket, -EBADMSG, "");
}

static union protocol_message a_claim(void) {
    union protocol_message m = {.claim = {.worker = "crowd"}};
    protocol_fill(&m.head, PROTOCOL_CLAIM, sizeof m.claim, 0);
    return m;
}

static void half(void) {
    union protocol_message m = a_claim();
    for (size_t n = 1; n < sizeof m.claim; n += n < 20 ? 1 : 13)
        no_message(&m, n);
}

static void oversized(void) {
    static uint8_t bytes[150000];
    union protocol_message m = a_claim();
    memcpy(bytes, &m, sizeof m.claim);
    no_message(bytes, sizeof m.claim + 1);
    no_message(bytes, sizeof m + 1);
    no_message(bytes, sizeof bytes);
}

static void wrong_length(void) {
    static const uint32_t lengths[] = {0, 1, 16, 4096, INT32_MAX, UINT32_MAX};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        union protocol_message m = a_claim();
        m.head.bytes = lengths[i];
        no_message(&m, sizeof m.claim);
    }
}

static void unended_texts(void) {
    union protocol_message m = a_claim();
    memset(m.claim.worker, 'a', sizeof m.claim.worker);
    no_message(&m, sizeof m.claim);
    memset(&m, 'a', sizeof m);
    protocol_fill(&m.head, PROTOCOL_REQUEST, sizeof m.request, 0);
    no_message(&m, sizeof m.request);
}

static void other_versions(void) {
    for (unsigned version = 0; version < 300; version += 17) {
        union protocol_message m = a_claim();
        m.head.version = (uint16_t)version;
        int socket = call_manager();
        send_bytes(socket, &m, sizeof m.claim);
        refused(socket, -EPROTONOSUPPORT, "speaks protocol version 1");
    }
}

/* What only a manager says, and what isn't due. */
static void out_of_turn(void) {
    static const struct {
        enum protocol_type type;
        size_t bytes;
    } messages[] = {{PROTOCOL_HELLO, sizeof(struct protocol_hello)},
                    {PROTOCOL_WAITING, sizeof(struct protocol_refused)},
                    {PROTOCOL_GRANT, sizeof(struct protocol_grant)},
                    {PROTOCOL_ACK, sizeof(struct protocol_ack)},
                    {PROTOCOL_LEASED, sizeof(struct protocol_ack)},
                    {PROTOCOL_REFUSED, sizeof(struct protocol_refused)},
                    {PROTOCOL_REPLY, sizeof(struct protocol_head)},
                    {PROTOCOL_DONE, sizeof(struct protocol_head)},
                    {PROTOCOL_PART, sizeof(struct protocol_map)}};
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
        union protocol_message m = {0};
        int socket = call_manager();
        send_as(socket, &m, messages[i].type, messages[i].bytes);
        refused(socket, -EBADMSG, "makes no sense here");
    }
}

/* A second claim while the first is granted, and none is acknowledged. */
static void claim_twice(void) {
    union protocol_message m = a_claim();
    int fd = -1, socket = call_manager();
    send_bytes(socket, &m, sizeof m.claim);
    take_message(socket, &m, &fd);
    CHECK(m.head.type == PROTOCOL_GRANT && fd >= 0);
    m = a_claim();
    send_bytes(socket, &m, sizeof m.claim);
    refused(socket, -EBADMSG, "makes no sense here");
    close(fd);
}

static void send_random(bool with_head) {
    static union protocol_message m;
    for (unsigned i = 0; i < 1000; i++) {
        int socket = call_manager();
        size_t n = 1 + (unsigned)rand() % 500;
        for (size_t at = 0; at < n; at++)
            ((uint8_t *)&m)[at] = (uint8_t)rand();
        if (with_head)
            protocol_fill(&m.head, (enum protocol_type)(rand() % 16), n, rand());
        /* Who is hung up on can't send, which is as good. */
        for (unsigned times = 0; times < 1 + i % 3; times++)
            CHECK(send(socket, &m, n, MSG_NOSIGNAL) == (ssize_t)n || errno == EPIPE ||
                  errno == ECONNRESET);
        close(socket);
    }
}

static void random_bytes(void) {
    send_random(false);
}

static void random_messages(void) {
    send_random(true);
}

/* Parts that there aren't, arenas by numbers that point anywhere. */
static void parts_at_random(void) {
    static const uint32_t numbers[] = {0, 1, 2, 3, 4, 100, 1u << 20, INT32_MAX, UINT32_MAX};
    for (unsigned i = 0; i < 400; i++) {
        struct protocol_map map = {.part = numbers[(unsigned)rand() % 9],
                                   .index = numbers[(unsigned)rand() % 9],
                                   .incarnation = numbers[(unsigned)rand() % 9],
                                   .writable = (unsigned)rand() % 3,
                                   .attachment = numbers[(unsigned)rand() % 9],
                                   .attachment_epoch = numbers[(unsigned)rand() % 9]};
        int fd = fetch(&map, NULL);
        if (fd < 0) {
            CHECK(fd == -EINVAL || fd == -EAGAIN || fd == -EACCES || fd == -EOPNOTSUPP);
            continue;
        }
        CHECK(map.part == PROTOCOL_PART_BELLS || (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY);
        close(fd);
    }
}

/* ---- with something beside the bytes */

static ssize_t send_with(int socket, const union protocol_message *m, int type, const void *data,
                         size_t bytes) {
    static _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(DESCRIPTORS * sizeof(int))];
    struct iovec part = {.iov_base = (void *)(uintptr_t)m, .iov_len = m->head.bytes};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control,
                            .msg_controllen = CMSG_SPACE(bytes)};
    memset(control, 0, sizeof control);
    struct cmsghdr *c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(bytes);
    memcpy(CMSG_DATA(c), data, bytes);
    return sendmsg(socket, &header, MSG_NOSIGNAL);
}

/* The manager takes no descriptors, however many come. */
static void descriptors(void) {
    int fds[DESCRIPTORS];
    for (int i = 0; i < DESCRIPTORS; i++)
        fds[i] = i % 3;
    for (int i = 0; i < 50; i++) {
        union protocol_message m = {.request = {.text = "status"}};
        int socket = call_manager();
        protocol_fill(&m.head, PROTOCOL_REQUEST, sizeof m.request, 0);
        CHECK(send_with(socket, &m, SCM_RIGHTS, fds, sizeof fds) > 0);
        take_message(socket, &m, NULL);
        CHECK_IS(m.head.type, PROTOCOL_REPLY);
        close(socket);
    }
}

static void credentials(void) {
    const struct ucred forged[] = {{.pid = getpid(), .uid = 0, .gid = 0},
                                   {.pid = getpid(), .uid = MANAGER_UID, .gid = MANAGER_UID},
                                   {.pid = getpid(), .uid = geteuid(), .gid = SECRET_GROUP},
                                   {.pid = victim_pid(), .uid = geteuid(), .gid = getegid()}};
    union protocol_message m = {.request = {.text = "destroy"}};
    int socket = call_manager();
    protocol_fill(&m.head, PROTOCOL_REQUEST, sizeof m.request, 0);
    for (size_t i = 0; i < sizeof forged / sizeof *forged; i++)
        REFUSED(send_with(socket, &m, SCM_CREDENTIALS, &forged[i], sizeof *forged), EPERM);
    const struct ucred own = {.pid = getpid(), .uid = geteuid(), .gid = getegid()};
    CHECK(send_with(socket, &m, SCM_CREDENTIALS, &own, sizeof own) > 0);
    refused(socket, -EPERM, "and you are uid");
}

const struct attack message_attacks[] = {
    {"half_messages", READER, DENIED, half},
    {"oversized_messages", READER, DENIED, oversized},
    {"wrong_lengths", READER, DENIED, wrong_length},
    {"texts_without_an_end", READER, DENIED, unended_texts},
    {"other_protocol_versions", READER, DENIED, other_versions},
    {"messages_out_of_turn", READER, DENIED, out_of_turn},
    {"claim_twice", READER, DENIED, claim_twice},
    {"random_bytes", OUTSIDER, DENIED, random_bytes},
    {"random_messages", READER, DENIED, random_messages},
    {"parts_at_random", READER, DENIED, parts_at_random},
    {"descriptors_to_the_manager", READER, DENIED, descriptors},
    {"forged_credentials", READER, DENIED, credentials},
    {0}};
