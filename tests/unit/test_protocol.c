/* SPDX-License-Identifier: Apache-2.0
 *
 * The socket's messages.
 */
#include "core/protocol.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
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
    memset(m.claim.worker, 'x', sizeof m.claim.worker); /* no end */
    ck_assert_int_eq(protocol_check(&m, bytes), -EBADMSG);
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
          a_second_descriptor_does_not_stay, bad_messages_are_told_apart,
          too_long_a_packet_is_refused, an_address_has_its_length)
