/* SPDX-License-Identifier: Apache-2.0
 *
 * The socket's messages.
 */
#include "core/protocol.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static union protocol_message claim(void) {
    union protocol_message m = {0};
    protocol_fill(&m.head, PROTOCOL_CLAIM, sizeof m.claim, 0);
    strcpy(m.claim.worker, "cam");
    return m;
}

START_TEST(a_message_comes_as_it_was_sent) {
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    union protocol_message sent = claim(), got;
    ck_assert_int_eq(protocol_send(pair[0], &sent, -1), 0);
    ck_assert_int_eq(protocol_receive(pair[1], &got, NULL), 0);
    ck_assert_str_eq(got.claim.worker, "cam");
    ck_assert_int_eq(protocol_receive(pair[1], &got, NULL), -EAGAIN);
    close(pair[0]);
    ck_assert_int_eq(protocol_receive(pair[1], &got, NULL), -ECONNRESET);
    close(pair[1]);
}
END_TEST

START_TEST(a_descriptor_is_taken_only_when_asked_for) {
    int pair[2], fd;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    union protocol_message sent = claim(), got;
    ck_assert_int_eq(protocol_send(pair[0], &sent, 1), 0);
    ck_assert_int_eq(protocol_receive(pair[1], &got, &fd), 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    close(fd);
    int before = dup(0);
    close(before);
    ck_assert_int_eq(protocol_send(pair[0], &sent, 1), 0);
    ck_assert_int_eq(protocol_receive(pair[1], &got, NULL), 0);
    int after = dup(0);
    ck_assert_int_eq(before, after); /* nothing was installed */
    close(after);
    close(pair[0]);
    close(pair[1]);
}
END_TEST

START_TEST(a_second_descriptor_does_not_stay) {
    int pair[2], fd;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    union protocol_message sent = claim(), got;
    struct iovec part = {.iov_base = &sent, .iov_len = sent.head.bytes};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    *CMSG_FIRSTHDR(&message) = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(2 * sizeof(int))};
    memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), pair, 2 * sizeof(int));
    ck_assert_int_gt(sendmsg(pair[0], &message, 0), 0);
    int before = dup(0);
    close(before);
    ck_assert_int_eq(protocol_receive(pair[1], &got, &fd), 0);
    ck_assert_int_eq(fd, before);
    close(fd);
    int after = dup(0);
    ck_assert_int_eq(after, before);
    int next = dup(0);
    ck_assert_int_eq(next, before + 1);
    close(after);
    close(next);
    close(pair[0]);
    close(pair[1]);
}
END_TEST

START_TEST(bad_messages_are_told_apart) {
    union protocol_message m = claim();
    size_t bytes = sizeof m.claim;
    ck_assert_int_eq(protocol_check(&m, bytes), 0);
    ck_assert_int_eq(protocol_check(&m, bytes - 1), -EBADMSG);
    ck_assert_int_eq(protocol_check(&m, 0), -EBADMSG);
    m.head.version = 2;
    ck_assert_int_eq(protocol_check(&m, bytes), -EPROTONOSUPPORT);
    m = claim();
    m.head.magic ^= 1;
    ck_assert_int_eq(protocol_check(&m, bytes), -EBADMSG);
    m = claim();
    m.head.type = 99;
    ck_assert_int_eq(protocol_check(&m, bytes), -EBADMSG);
    m = claim();
    m.head.bytes++;
    ck_assert_int_eq(protocol_check(&m, bytes), -EBADMSG);
    m = claim();
    m.head.result = INT32_MIN; /* nobody's errno, and has no negative */
    ck_assert_int_eq(protocol_check(&m, bytes), -EBADMSG);
    m.head.result = 1;
    ck_assert_int_eq(protocol_check(&m, bytes), -EBADMSG);
    m = claim();
    memset(m.claim.worker, 'x', sizeof m.claim.worker); /* no end */
    ck_assert_int_eq(protocol_check(&m, bytes), -EBADMSG);
}
END_TEST

/* Each type has its size, and the texts in it end. */
START_TEST(each_type_has_its_shape) {
    static const struct {
        enum protocol_type type;
        size_t bytes, text_at, text_bytes;
    } types[] = {
#define TYPE(type, name) {type, sizeof(struct name), 0, 0}
#define TEXT(type, name, text, bytes)                                                              \
    { type, sizeof(struct name), offsetof(struct name, text), bytes }
        TYPE(PROTOCOL_HELLO, protocol_hello),
        TEXT(PROTOCOL_CLAIM, protocol_claim, worker, SHM_NAME_BYTES),
        TEXT(PROTOCOL_WAITING, protocol_refused, text, PROTOCOL_TEXT_BYTES),
        TEXT(PROTOCOL_REFUSED, protocol_refused, text, PROTOCOL_TEXT_BYTES),
        TEXT(PROTOCOL_GRANT, protocol_grant, worker, SHM_NAME_BYTES),
        TYPE(PROTOCOL_ACK, protocol_ack),
        TYPE(PROTOCOL_LEASED, protocol_ack),
        TYPE(PROTOCOL_MAP, protocol_map),
        TYPE(PROTOCOL_PART, protocol_map),
        TEXT(PROTOCOL_REQUEST, protocol_request, text, PROTOCOL_REQUEST_BYTES),
        TYPE(PROTOCOL_DONE, protocol_head),
        TEXT(PROTOCOL_CREATE, protocol_create, name, SHM_NAME_BYTES),
        TEXT(PROTOCOL_CREATE, protocol_create, format, SHM_NAME_BYTES),
        TEXT(PROTOCOL_CREATE, protocol_create, read_group, SHM_NAME_BYTES),
        TEXT(PROTOCOL_DROP, protocol_drop, name, SHM_NAME_BYTES),
#undef TYPE
#undef TEXT
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        union protocol_message m = {0};
        for (int more = -1; more <= 1; more++) {
            const size_t bytes = types[i].bytes + (size_t)more;
            protocol_fill(&m.head, types[i].type, bytes, 0);
            ck_assert_msg(protocol_check(&m, bytes) == (more == 0 ? 0 : -EBADMSG),
                          "type %d with %d bytes more", types[i].type, more);
        }
        if (types[i].text_bytes == 0)
            continue;
        protocol_fill(&m.head, types[i].type, types[i].bytes, 0);
        memset((char *)&m + types[i].text_at, 'x', types[i].text_bytes);
        ck_assert_msg(protocol_check(&m, types[i].bytes) == -EBADMSG,
                      "type %d with a text without an end", types[i].type);
    }
}
END_TEST

START_TEST(a_piece_has_any_size) {
    union protocol_message m = {0};
    const size_t right[] = {sizeof m.head, sizeof m.head + 1, sizeof m.piece};
    for (size_t i = 0; i < 3; i++) {
        protocol_fill(&m.head, PROTOCOL_REPLY, right[i], 0);
        ck_assert_int_eq(protocol_check(&m, right[i]), 0);
    }
    protocol_fill(&m.head, PROTOCOL_REPLY, sizeof m.piece + 1, 0);
    ck_assert_int_eq(protocol_check(&m, sizeof m.piece + 1), -EBADMSG);
    protocol_fill(&m.head, PROTOCOL_REPLY, sizeof m.head - 1, 0);
    ck_assert_int_eq(protocol_check(&m, sizeof m.head - 1), -EBADMSG);
}
END_TEST

/* What comes with a message that is refused isn't kept. */
START_TEST(a_bad_message_leaves_no_descriptor) {
    int pair[2], fd = 77;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    union protocol_message sent = claim(), got;
    sent.head.magic ^= 1;
    int before = dup(0);
    close(before);
    ck_assert_int_eq(protocol_send(pair[0], &sent, 1), 0);
    ck_assert_int_eq(protocol_receive(pair[1], &got, &fd), -EBADMSG);
    ck_assert_int_eq(fd, -1);
    int after = dup(0);
    ck_assert_int_eq(after, before);
    close(after);
    fd = 77;
    ck_assert_int_eq(protocol_send(pair[0], &sent, -1), 0);
    ck_assert_int_eq(protocol_receive(pair[1], &got, &fd), -EBADMSG);
    ck_assert_int_eq(fd, -1);
    close(pair[0]);
    close(pair[1]);
}
END_TEST

/* That credentials come unasked is no reason to take them for a descriptor. */
START_TEST(other_ancillary_data_is_passed_over) {
    int pair[2], fd = 77, on = 1;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    ck_assert_int_eq(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
    union protocol_message sent = claim(), got;
    ck_assert_int_eq(protocol_send(pair[0], &sent, -1), 0);
    ck_assert_int_eq(protocol_receive(pair[1], &got, &fd), 0);
    ck_assert_int_eq(fd, -1);
    ck_assert_str_eq(got.claim.worker, "cam");
    close(pair[0]);
    close(pair[1]);
}
END_TEST

START_TEST(a_peer_that_is_gone_or_does_not_read) {
    int pair[2], r;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    union protocol_message sent = claim();
    for (int i = 0; (r = protocol_send(pair[0], &sent, -1)) == 0; i++)
        ck_assert_int_lt(i, 100000);
    ck_assert_int_eq(r, -EAGAIN);
    close(pair[1]);
    ck_assert_int_eq(protocol_send(pair[0], &sent, -1), -ECONNRESET); /* unread ones are lost */
    ck_assert_int_eq(protocol_send(pair[0], &sent, -1), -EPIPE);      /* and no signal */
    close(pair[0]);
}
END_TEST

START_TEST(too_long_a_packet_is_refused) {
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    static char garbage[sizeof(union protocol_message) + 1];
    union protocol_message got;
    ck_assert_int_eq(send(pair[0], garbage, sizeof garbage, 0), (ssize_t)sizeof garbage);
    ck_assert_int_eq(protocol_receive(pair[1], &got, NULL), -EBADMSG);
    close(pair[0]);
    close(pair[1]);
}
END_TEST

START_TEST(an_address_has_its_length) {
    struct sockaddr_un address;
    ck_assert_int_eq(protocol_address(&address, "/run/shm-manager", 0x53484d31), 0);
    ck_assert_str_eq(address.sun_path, "/run/shm-manager/53484d31.sock");
    char longer[128];
    memset(longer, 'x', sizeof longer);
    longer[127] = '\0';
    ck_assert_int_eq(protocol_address(&address, longer, 1), -ENAMETOOLONG);
}
END_TEST

UNIT_MAIN("protocol", a_message_comes_as_it_was_sent, a_descriptor_is_taken_only_when_asked_for,
          a_second_descriptor_does_not_stay, bad_messages_are_told_apart, each_type_has_its_shape,
          a_piece_has_any_size, a_bad_message_leaves_no_descriptor,
          other_ancillary_data_is_passed_over, a_peer_that_is_gone_or_does_not_read,
          too_long_a_packet_is_refused, an_address_has_its_length)
