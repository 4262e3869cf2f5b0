/* SPDX-License-Identifier: Apache-2.0
 *
 * To use the manager up: connections, descriptors in flight, memory, claims, wake-ups.  Others are
 * served meanwhile, and all of it is back afterwards.
 */
#include "hostile.h"

#include <linux/futex.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define STORM     3000
#define TOO_MANY  300 /* connections; a user may have 256 */
#define PER_USER  256
#define GREEDY    80 /* descriptors untaken; a user may have 64 */
#define IN_FLIGHT 64
#define UNREAD    40 /* peers that don't read */
#define HANG_UP_S 30 /* the manager waits 5 */

static int sockets[TOO_MANY];

static void others_are_served(void) {
    CHECK_IS(root_requests("status"), 0);
    CHECK_IS(root_attaches(), 0);
    victim_goes_on();
}

/* The manager hangs up on all of them. */
static void await_hang_up(int n) {
    uint64_t end_ns = now_ns() + HANG_UP_S * UINT64_C(1000000000);
    for (int i = 0; i < n; i++) {
        struct pollfd wait = {.fd = sockets[i], .events = POLLRDHUP};
        CHECK_IS(poll(&wait, 1, now_ns() < end_ns ? HANG_UP_S * 1000 : 0), 1);
    }
    CHECK(now_ns() < end_ns);
}

static void close_all(int n) {
    for (int i = 0; i < n; i++)
        close(sockets[i]);
}

static void connect_storm(void) {
    for (int i = 0; i < STORM; i++) {
        int fd = try_call();
        CHECK(fd >= 0);
        if (i % 3 == 0)
            send_bytes(fd, "?", 1);
        close(fd);
        if (i % 1000 == 0)
            others_are_served();
    }
}

static bool is_refused(int fd) {
    union protocol_message m;
    take_message(fd, &m, NULL);
    if (m.head.type == PROTOCOL_HELLO)
        return false;
    CHECK_IS(m.head.type, PROTOCOL_REFUSED);
    CHECK_IS(m.head.result, -EUSERS);
    CHECK_SAYS(m.refused.text, "your user has as many connections");
    return true;
}

static void hold_connections(void) {
    int served = 0;
    for (int i = 0; i < TOO_MANY; i++) {
        sockets[i] = try_call();
        CHECK(sockets[i] >= 0);
        served += !is_refused(sockets[i]);
    }
    CHECK_IS(served, PER_USER);
    others_are_served();
    await_hang_up(TOO_MANY); /* who says nothing isn't kept for ever */
    shmc_detach(attach(NULL, 0));
    close_all(TOO_MANY);
}

/* To wait for a name has no end, but it counts. */
static void wait_in_crowds(void) {
    for (int i = 0; i < PER_USER; i++) {
        union protocol_message m = {.claim = {.worker = "spare", .flags = PROTOCOL_CLAIM_WAIT}};
        sockets[i] = call_manager();
        send_as(sockets[i], &m, PROTOCOL_CLAIM, sizeof m.claim);
        take_message(sockets[i], &m, NULL);
        CHECK_IS(m.head.type, PROTOCOL_WAITING);
    }
    int fd = try_call();
    CHECK(fd >= 0 && is_refused(fd));
    close(fd);
    others_are_served();
    close_all(PER_USER);
}

/* Asks on and on, and takes no answer. */
static void never_read(void) {
    union protocol_message m = {.request = {.text = "history 1000"}};
    protocol_fill(&m.head, PROTOCOL_REQUEST, sizeof m.request, 0);
    for (int i = 0; i < UNREAD; i++) {
        sockets[i] = call_manager();
        while (send(sockets[i], &m, sizeof m.request, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
            ;
        CHECK(errno == EAGAIN || errno == EPIPE || errno == ECONNRESET);
    }
    others_are_served();
    await_hang_up(UNREAD);
    close_all(UNREAD);
}

/* ---- descriptors that nobody takes, which the manager's user is charged for */

static int ask_for_header(void) {
    union protocol_message m = {.map = {.part = PROTOCOL_PART_HEADER}};
    int fd = call_manager();
    send_as(fd, &m, PROTOCOL_MAP, sizeof m.map);
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    CHECK_IS(poll(&wait, 1, PATIENCE_MS), 1);
    return fd;
}

static void no_more_for_us(void) {
    CHECK_IS(fetch(&(struct protocol_map){.part = PROTOCOL_PART_HEADER}, NULL), -EUSERS);
}

static void leave_in_flight(void) {
    int sent = 0;
    for (int i = 0; i < GREEDY; i++)
        sockets[i] = ask_for_header();
    no_more_for_us();
    others_are_served();
    await_hang_up(GREEDY);
    no_more_for_us(); /* behind a closed connection they are in flight as before */
    for (int i = 0; i < GREEDY; i++) {
        union protocol_message m;
        int fd = -1;
        take_message(sockets[i], &m, &fd);
        sent += m.head.type == PROTOCOL_PART && fd >= 0;
        if (fd >= 0)
            close(fd);
        close(sockets[i]);
    }
    CHECK_IS(sent, IN_FLIGHT);
    AWAIT(fetch(&(struct protocol_map){.part = PROTOCOL_PART_BELLS}, NULL) >= 0);
}

/* Who connected is gone, and a child of his has what he didn't take. */
static void leave_with(int from, int to) {
    char end;
    for (int i = 0; i < IN_FLIGHT; i++)
        sockets[i] = ask_for_header();
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid > 0)
        _exit(0);
    await_hang_up(IN_FLIGHT);
    say(to, 'h');
    CHECK(read(from, &end, 1) >= 0);
    _exit(0);
}

static void leave_with_a_child(void) {
    struct child child = start_child(leave_with);
    CHECK_IS(hear(child.from), 'h');
    pause_ms(1500); /* the manager looks once a second who is gone */
    no_more_for_us();
    others_are_served();
    end_child(&child, 0);
    AWAIT(fetch(&(struct protocol_map){.part = PROTOCOL_PART_BELLS}, NULL) >= 0);
}

static void hoard_grants(void) {
    union protocol_message m;
    int n = 0;
    for (;; n++) {
        m = (union protocol_message){.claim = {.worker = "crowd"}};
        sockets[n] = call_manager();
        send_as(sockets[n], &m, PROTOCOL_CLAIM, sizeof m.claim);
        struct pollfd wait = {.fd = sockets[n], .events = POLLIN};
        CHECK_IS(poll(&wait, 1, PATIENCE_MS), 1);
        CHECK(recv(sockets[n], &m, sizeof m, MSG_PEEK) > 0); /* leaves the descriptor there */
        if (m.head.type == PROTOCOL_REFUSED)
            break;
        CHECK_IS(m.head.type, PROTOCOL_GRANT);
        CHECK(n < 40);
    }
    CHECK_IS(m.head.result, -EUSERS);
    CHECK_SAYS(m.refused.text, "leases that were sent and not taken");
    CHECK_IS(n, 16);
    others_are_served();
    close_all(n + 1);
}

/* ---- memory */

/* Arenas that are gone stay gone for who still has them. */
static void hoard_old_arenas(void) {
    struct stat stat;
    int fds[5];
    for (int i = 0; i < 5; i++) {
        CHECK_IS(root_edits("INSERT INTO section(name, owner, size) "
                            "VALUES('brief', 'brief', 1000000)"),
                 0);
        struct protocol_map map = arena_of("brief", NULL);
        fds[i] = fetch(&map, NULL);
        CHECK(fds[i] >= 0 && fstat(fds[i], &stat) == 0);
        CHECK_IS(root_edits("DELETE FROM section WHERE name = 'brief'"), 0);
        CHECK_IS(root_edits("INSERT INTO section(name, owner, size) VALUES('tick', 'brief', 64)"),
                 0);
        CHECK_IS(root_edits("DELETE FROM section WHERE name = 'tick'"), 0);
    }
    for (int i = 0; i < 5; i++) {
        CHECK(fstat(fds[i], &stat) == 0);
        CHECK_IS(stat.st_blocks, 0);
    }
    CHECK_IS(root_edits("DELETE FROM worker WHERE name = 'brief'"), 0);
}

/* To read where nothing is makes pages: they are given back.  sysv: at most segment.size. */
static void touch_holes(void) {
    struct shmc_segment_info info;
    shmc *segment = attach(NULL, 0);
    CHECK_IS(shmc_segment(segment, &info), 0);
    const volatile uint8_t *base = info.base;
    for (uint64_t at = info.bytes / 2; at < info.bytes; at += SHM_PAGE)
        CHECK_IS(base[at], 0);
    others_are_served();
    if (on_memfd()) {
        struct stat stat;
        int fd = fetch(&(struct protocol_map){.part = PROTOCOL_PART_HEADER}, NULL);
        CHECK(fd >= 0);
        AWAIT(fstat(fd, &stat) == 0 && (uint64_t)stat.st_blocks * 512 < info.bytes / 4);
    }
    shmc_detach(segment);
}

/* ---- wake-ups */

static void sleeper(int from, int to) {
    static char value[VALUE_BYTES];
    (void)from;
    shmc *segment = attach(NULL, 0);
    shmc_section *temps = open_section(segment, "temps");
    CHECK_IS(shmc_read(temps, value, sizeof value, NULL), sizeof value);
    say(to, 'r');
    CHECK_IS(shmc_next(temps, value, sizeof value, PATIENCE_MS, NULL), sizeof value);
    say(to, 'w');
}

/* Who waits there to be requeued makes the kernel refuse to wake those behind it. */
static void park(int from, int to) {
    struct shm_section section;
    static uint32_t target;
    shmc *segment = attach(NULL, 0);
    open_section(segment, "temps");
    const uint8_t *extent = extent_of(segment, "temps", &section);
    const struct shm_snapshot *snapshot =
        (const void *)(extent + (section.ctl_off - section.offset));
    (void)from;
    say(to, 'p');
    for (;;)
        syscall(SYS_futex, &snapshot->head, FUTEX_WAIT_REQUEUE_PI, (uint32_t)snapshot->head, NULL,
                &target, 0);
}

static void park_on_futex(void) {
    struct child parked[4];
    for (int i = 0; i < 4; i++) {
        parked[i] = start_child(park);
        CHECK_IS(hear(parked[i].from), 'p');
    }
    for (int i = 0; i < 5; i++) {
        struct child asleep = start_child(sleeper);
        CHECK_IS(hear(asleep.from), 'r');
        victim_goes_on();
        uint64_t before = now_ns();
        CHECK_IS(hear(asleep.from), 'w');
        CHECK(now_ns() - before < UINT64_C(10000000000));
        CHECK_IS(end_child(&asleep, 0), 0);
    }
    for (int i = 0; i < 4; i++)
        end_child(&parked[i], SIGKILL);
}

const struct attack flood_attacks[] = {
    {"connect_storm", OUTSIDER, DENIED, connect_storm},
    {"hold_connections_open", READER, DENIED, hold_connections},
    {"wait_in_crowds", READER, DENIED, wait_in_crowds},
    {"never_read_answers", READER, DENIED, never_read},
    {"leave_descriptors_in_flight", READER, NONE, leave_in_flight},
    {"leave_them_with_a_child", READER, NONE, leave_with_a_child},
    {"hoard_grants", READER, DENIED, hoard_grants},
    {"hoard_old_arenas", READER, NONE, hoard_old_arenas},
    {"touch_holes", READER, OPEN, touch_holes},
    {"park_on_futexes", READER, DENIED, park_on_futex},
    {0}};
