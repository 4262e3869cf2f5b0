/* SPDX-License-Identifier: Apache-2.0
 *
 * The keeper, spoken to by hand: nonsense ends a connection and nothing else.  Run by test_memfd.sh
 * beside a manager whose memory it holds.
 */
#include "../../daemon/keeper.h"
#include "cases.h"
#include "core/memfd.h"
#include "core/packet.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define ANOTHER UINT64_C(4711) /* a segment that isn't the manager's */

static int call(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/%s.keeper", getenv("SHMC_RUNTIME_DIR"),
             getenv("SHMC_KEY") + 2);
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
    return fd;
}

static struct keeper_message message(enum keeper_op op, uint32_t index) {
    return (struct keeper_message){.magic = KEEPER_MAGIC,
                                   .version = KEEPER_VERSION,
                                   .op = (uint16_t)op,
                                   .kind = KEEPER_ARENA,
                                   .segment_id = ANOTHER,
                                   .index = index,
                                   .bytes = 4096};
}

/* Its result; *m becomes the answer, *fd its descriptor. */
static int ask(int keeper, struct keeper_message *m, int send_fd, int *fd) {
    CHECK_IS(packet_send(keeper, m, sizeof *m, send_fd, 0), 0);
    CHECK_IS(packet_receive(keeper, m, sizeof *m, fd, 0), sizeof *m);
    return m->result;
}

static int some_memory(void) {
    int fd;
    CHECK_IS(memfd_make("kept", 4096, &fd), 0);
    return fd;
}

static unsigned held(int keeper) {
    for (uint32_t i = 0;; i++) {
        struct keeper_message m = message(KEEPER_GET, 0);
        int fd;
        m.position = i;
        int r = ask(keeper, &m, -1, &fd);
        CHECK(r == 0 || r == -ENOENT);
        CHECK((fd >= 0) == (r == 0));
        if (r < 0)
            return i;
        close(fd);
    }
}

static void own_nonsense_ends_a_connection(void) {
    struct keeper_message m = message(KEEPER_GET, 0);
    for (size_t bytes = 1; bytes <= 2 * sizeof m; bytes += 7) {
        char garbage[2 * sizeof m] = "nonsense";
        int keeper = call(), fd = some_memory();
        CHECK_IS(packet_send(keeper, garbage, bytes, fd, 0), 0);
        CHECK_IS(packet_receive(keeper, &m, sizeof m, NULL, 0), -ECONNRESET);
        close(keeper);
        close(fd);
    }
    m = message(KEEPER_GET, 0);
    m.version++;
    int keeper = call();
    CHECK_IS(packet_send(keeper, &m, sizeof m, -1, 0), 0);
    CHECK_IS(packet_receive(keeper, &m, sizeof m, NULL, 0), -ECONNRESET);
    close(keeper);
}

static void own_what_is_held_comes_back(void) {
    struct stat sent, got;
    int keeper = call(), fd, memory = some_memory(), other = some_memory();
    unsigned before = held(keeper);
    CHECK(before > 3); /* header, bells, arenas */
    struct keeper_message m = message(KEEPER_HOLD, 1);
    CHECK_IS(ask(keeper, &m, -1, &fd), -EBADF);
    m = message(KEEPER_HOLD, 1);
    CHECK_IS(ask(keeper, &m, memory, &fd), 0);
    m = message(KEEPER_HOLD, 1); /* in its place */
    CHECK_IS(ask(keeper, &m, other, &fd), 0);
    CHECK_IS(held(keeper), before + 1);
    m = message(KEEPER_GET, 0);
    m.position = before;
    CHECK_IS(ask(keeper, &m, -1, &fd), 0);
    CHECK(m.segment_id == ANOTHER && m.index == 1 && m.bytes == 4096);
    CHECK(fstat(other, &sent) == 0 && fstat(fd, &got) == 0 && sent.st_ino == got.st_ino);
    close(fd);
    m = message(KEEPER_DROP, 2);
    CHECK_IS(ask(keeper, &m, -1, &fd), -ENOENT);
    m = message(KEEPER_DROP, 1);
    CHECK_IS(ask(keeper, &m, memory, &fd), 0); /* a descriptor that it has no use for */
    m = message((enum keeper_op)99, 0);
    CHECK_IS(ask(keeper, &m, memory, &fd), -EINVAL);
    CHECK_IS(held(keeper), before);
    close(keeper);
    close(memory);
    close(other);
}

/* Who never reads is hung up on, and who comes in crowds is turned away. */
static void own_a_crowd_is_turned_away(void) {
    struct keeper_message m = message(KEEPER_GET, 0);
    int deaf = call(), crowd[20], ended = 0;
    struct pollfd hung = {.fd = deaf, .events = POLLRDHUP};
    while (packet_send(deaf, &m, sizeof m, -1, MSG_DONTWAIT) == 0 || poll(&hung, 1, 1) == 0)
        ;
    for (int i = 0; i < 20; i++)
        crowd[i] = call();
    for (int i = 19; i >= 0; i--) {
        struct pollfd wait = {.fd = crowd[i], .events = POLLRDHUP};
        ended += poll(&wait, 1, i == 19 ? PATIENCE_MS : 0) > 0;
    }
    CHECK(ended >= 12);
    for (int i = 0; i < 20; i++)
        close(crowd[i]);
    close(deaf);
    int keeper;
    do { /* it hears of their end one after the other */
        keeper = call();
        m = message(KEEPER_GET, 0);
        hung.fd = keeper;
        if (packet_send(keeper, &m, sizeof m, -1, 0) == 0 &&
            packet_receive(keeper, &m, sizeof m, NULL, 0) == sizeof m)
            break;
        close(keeper);
    } while (true);
    close(keeper);
}

CASES_MAIN({"own_nonsense_ends_a_connection", own_nonsense_ends_a_connection},
           {"own_what_is_held_comes_back", own_what_is_held_comes_back},
           {"own_a_crowd_is_turned_away", own_a_crowd_is_turned_away})
