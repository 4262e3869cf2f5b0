/* SPDX-License-Identifier: Apache-2.0
 *
 * Cases about queues whose people come and go: waits and signals, deaths, two receivers, edits, bad
 * memory.  Queues of the table: 'jobs' (4 lanes of 4096 bytes) and 'tiny' (1 lane of 256) of worker
 * 'runner', 'pool' (8 lanes) of worker 'crew' with 2 instances.
 */
#include "queue_cases.h"

#include <pthread.h>
#include <shm-manager/layout.h>
#include <stdatomic.h>
#include <sys/shm.h>
#include <sys/time.h>

/* ---- waits */

static void send_later(int from, int to) {
    shmc *segment = anonymous();
    shmc_section *out = open_section(segment, "jobs");
    say(to, 'r');
    CHECK_IS(hear(from), 'g');
    send_number(out, 7, 0);
    CHECK_IS(hear(from), 'e');
    shmc_close(out);
    shmc_detach(segment);
}

static void a_receiver_waits_for_a_message(void) {
    shmc *segment = attach("runner", 0);
    shmc_section *in = open_section(segment, "jobs");
    struct child child = start_child(send_later);
    struct shmc_message about;
    CHECK_IS(hear(child.from), 'r');
    is_empty(in);
    say(child.to, 'g');
    CHECK_IS(receive_number(in, -1, &about), 7);
    CHECK_IS(about.pid, child.pid);
    say(child.to, 'e');
    CHECK_IS(end_child(&child, 0), 0);
    shmc_close(in);
    shmc_detach(segment);
}

static void fill_and_wait(int from, int to) {
    shmc *segment = anonymous();
    shmc_section *out = open_section(segment, "tiny");
    uint64_t n = 0;
    while (shmc_queue_send(out, 1, &n, sizeof n, 0, 0) == 0)
        n++;
    say(to, (char)n);
    send_number(out, n, -1);
    say(to, 'd');
    CHECK_IS(hear(from), 'e');
    shmc_close(out);
    shmc_detach(segment);
}

static void a_sender_waits_for_room(void) {
    shmc *segment = attach("runner", 0);
    shmc_section *in = open_section(segment, "tiny");
    struct child child = start_child(fill_and_wait);
    struct shmc_lane_stat lane;
    struct shmc_queue_stat stat;
    size_t n = 1;
    const uint64_t sent = (uint64_t)hear(child.from);
    AWAIT(shmc_queue_stat(in, &stat, &lane, &n) == 0 && lane.waiting);
    CHECK_IS(receive_number(in, 0, NULL), 0);
    CHECK_IS(hear(child.from), 'd');
    for (uint64_t i = 1; i <= sent; i++)
        CHECK_IS(receive_number(in, 0, NULL), i);
    is_empty(in);
    say(child.to, 'e');
    CHECK_IS(end_child(&child, 0), 0);
    shmc_close(in);
    shmc_detach(segment);
}

static atomic_uint alarms;
static void count_alarm(int signal) {
    (void)signal;
    atomic_fetch_add(&alarms, 1);
}

static void signals_end_a_wait_where_asked(void) {
    shmc *segment = attach("runner", 0), *sender = anonymous();
    shmc_section *in = open_section(segment, "tiny"), *out = open_section(sender, "tiny");
    const struct itimerval often = {{0, 5000}, {0, 5000}}, never = {{0, 0}, {0, 0}};
    uint64_t n = 0;
    signal(SIGALRM, count_alarm);
    is_empty(in);
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
    CHECK_IS(shmc_queue_receive(in, 0, &n, sizeof n, 0, 300, NULL), -ETIMEDOUT);
    CHECK(atomic_load(&alarms) > 0);
    CHECK_IS(shmc_queue_receive(in, 0, &n, sizeof n, SHMC_INTERRUPTIBLE, -1, NULL), -EINTR);
    CHECK_SAYS(shmc_last_error(segment), "section 'tiny': a signal ended the wait");
    while (shmc_queue_send(out, 1, &n, sizeof n, 0, 0) == 0)
        n++;
    CHECK_IS(shmc_queue_send(out, 1, &n, sizeof n, 0, 300), -ETIMEDOUT);
    CHECK_IS(shmc_queue_send(out, 1, &n, sizeof n, SHMC_INTERRUPTIBLE, -1), -EINTR);
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    for (uint64_t i = 0; i < n; i++)
        CHECK_IS(receive_number(in, 0, NULL), i);
    shmc_close(in);
    shmc_close(out);
    shmc_detach(sender);
    shmc_detach(segment);
}

/* ---- receivers */

static void peek_and_hold(int from, int to) {
    const void *data;
    size_t bytes;
    shmc *segment = attach("crew#1", 0);
    shmc_section *in = open_section(segment, "pool");
    CHECK_IS(shmc_queue_peek(in, 0, &data, &bytes, 0, PATIENCE_MS, NULL), 0);
    say(to, 'p');
    hear(from);
}

static void what_a_dead_receiver_had_comes_again(void) {
    shmc *segment = attach("crew#2", 0), *sender = anonymous();
    shmc_section *in = open_section(segment, "pool"), *out = open_section(sender, "pool");
    struct shmc_message about;
    send_number(out, 1, 0);
    struct child child = start_child(peek_and_hold);
    CHECK_IS(hear(child.from), 'p');
    send_number(out, 2, 0);
    CHECK_IS(receive_number(in, 0, NULL), 2);
    is_empty(in);
    end_child(&child, SIGKILL);
    CHECK_IS(receive_number(in, PATIENCE_MS, &about), 1);
    CHECK(about.redelivered && about.id == 1);
    shmc_close(out);
    shmc_close(in);
    shmc_detach(sender);
    shmc_detach(segment);
}

#define SHARED 4000
static shmc *shared_segment;

static void take_all(int from, int to) {
    static char got[SHARED];
    uint64_t number;
    shmc *segment = attach("crew#1", 0);
    shmc_section *in = open_section(segment, "pool");
    (void)from;
    say(to, 'r');
    for (;;) {
        ssize_t n = shmc_queue_receive(in, 0, &number, sizeof number, 0, PATIENCE_MS, NULL);
        CHECK_IS(n, sizeof number);
        if (number == UINT64_MAX)
            break;
        CHECK(number < SHARED && got[number] == 0);
        got[number] = 1;
    }
    shmc_close(in);
    shmc_detach(segment);
    for (size_t at = 0; at < sizeof got; at += 1000)
        CHECK(write(to, got + at, 1000) == 1000);
}

static void *send_shared(void *argument) {
    shmc_section *out = open_section(shared_segment, "pool");
    (void)argument;
    for (uint64_t i = 0; i < SHARED; i++)
        send_number(out, i, PATIENCE_MS);
    for (unsigned i = 0; i < 2; i++)
        send_number(out, UINT64_MAX, PATIENCE_MS);
    AWAIT(lanes_held(out) == 1);
    shmc_close(out);
    return NULL;
}

static void two_receivers_share_the_messages(void) {
    static char got[SHARED], theirs[SHARED];
    pthread_t thread;
    uint64_t number;
    unsigned mine = 0;
    shmc *segment = attach("crew#2", 0);
    shmc_section *in = open_section(segment, "pool");
    struct child child = start_child(take_all);
    CHECK_IS(hear(child.from), 'r');
    shared_segment = anonymous();
    CHECK(pthread_create(&thread, NULL, send_shared, NULL) == 0);
    while ((number = receive_number(in, PATIENCE_MS, NULL)) != UINT64_MAX) {
        CHECK(number < SHARED && got[number] == 0);
        got[number] = 1;
        mine++;
    }
    pthread_join(thread, NULL);
    for (size_t at = 0; at < sizeof theirs;) {
        ssize_t n = read(child.from, theirs + at, sizeof theirs - at);
        CHECK(n > 0);
        at += (size_t)n;
    }
    CHECK_IS(end_child(&child, 0), 0);
    for (unsigned i = 0; i < SHARED; i++)
        CHECK_IS(got[i] + theirs[i], 1);
    printf("# %u of %d here\n", mine, SHARED);
    shmc_close(in);
    shmc_detach(segment);
    shmc_detach(shared_segment);
}

/* ---- a table that changes */

static void wait_for_good(int from, int to) {
    shmc *segment = attach("mover", 0);
    shmc_section *in = open_section(segment, "moody");
    char buffer[8];
    (void)from;
    say(to, 'w');
    CHECK_IS(shmc_queue_receive(in, 0, buffer, sizeof buffer, 0, -1, NULL), 3);
    say(to, 'm');
    CHECK_IS(shmc_queue_receive(in, 0, buffer, sizeof buffer, 0, -1, NULL), -EIDRM);
    CHECK_SAYS(shmc_last_error(segment), "was removed from the table");
    say(to, 'i');
    shmc_close(in);
    shmc_detach(segment);
}

static void edits_come_while_somebody_waits(void) {
    edit_table("INSERT INTO section(name, owner, kind, size, count) VALUES('moody', 'mover', "
               "'queue', 1024, 2);");
    shmc *sender = anonymous();
    shmc_section *out = open_section(sender, "moody");
    struct child child = start_child(wait_for_good);
    CHECK_IS(hear(child.from), 'w');
    edit_table("UPDATE section SET notify = 'always' WHERE name = 'moody';");
    edit_table("INSERT INTO section(name, owner, size) VALUES('beside', 'driver', 64);");
    CHECK_IS(shmc_queue_send(out, 1, "one", 3, 0, 0), 0);
    CHECK_IS(hear(child.from), 'm');
    shmc_close(out);
    edit_table_by("reload", "DELETE FROM section WHERE name = 'beside';");
    edit_table_by("reload --force", "DELETE FROM section WHERE name = 'moody';");
    CHECK_IS(hear(child.from), 'i');
    CHECK_IS(end_child(&child, 0), 0);
    shmc_detach(sender);
    edit_table("DELETE FROM worker WHERE name = 'mover';");
}

/* Goes elsewhere with what is in it, under one who waits and one who sends; or waits for who is in
 * it.
 */
#define ELSEWHERE (UINT64_C(32) << 20)

static void wait_through(int from, int to) {
    shmc *segment = attach("mover", 0);
    shmc_section *in = open_section(segment, "moody");
    (void)from;
    for (uint64_t i = 1;; i++) {
        uint64_t number;
        CHECK_IS(shmc_queue_receive(in, 0, &number, sizeof number, 0, -1, NULL), sizeof number);
        if (number == UINT64_MAX)
            break;
        CHECK_IS(number, i);
        say(to, 'n');
    }
    shmc_close(in);
    shmc_detach(segment);
}

static int try_reload(void) {
    struct shmc_options options = {.size = sizeof options, .timeout_ms = PATIENCE_MS};
    return shmc_manager(&options, "reload", NULL);
}

static uint64_t offset_of(shmc_section *section) {
    struct shmc_section_info info;
    CHECK_IS(shmc_section_info(section, &info), 0);
    return info.offset;
}

static void a_queue_moves_with_its_messages(void) {
    uint64_t number = 1;
    edit_table("INSERT INTO section(name, owner, kind, size, count) VALUES('moody', 'mover', "
               "'queue', 1024, 2);");
    shmc *sender = anonymous();
    shmc_section *out = open_section(sender, "moody");
    for (; number <= 3; number++)
        send_number(out, number, 0);
    shmc_close(out);
    out = open_section(sender, "moody"); /* without a lane */
    edit_table("UPDATE section SET offset = 33554432 WHERE name = 'moody';");
    CHECK_IS(offset_of(out), ELSEWHERE);
    struct child child = start_child(wait_through);
    for (unsigned i = 0; i < 3; i++)
        CHECK_IS(hear(child.from), 'n');
    /* He waits, and it goes back. */
    edit_table("UPDATE section SET offset = NULL, count = 8 WHERE name = 'moody';");
    CHECK(offset_of(out) != ELSEWHERE);
    send_number(out, number++, 0);
    CHECK_IS(hear(child.from), 'n');
    /* Now we are in it. */
    pid_t pid = fork();
    if (pid == 0) {
        execlp("sqlite3", "sqlite3", getenv("SHM_TEST_TABLE"),
               "UPDATE section SET count = 4 WHERE name = 'moody';", (char *)NULL);
        _exit(127);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK_IS(try_reload(), -EBUSY);
    send_number(out, number++, 0);
    CHECK_IS(hear(child.from), 'n');
    shmc_close(out);
    out = open_section(sender, "moody");
    AWAIT(try_reload() == 0);
    send_number(out, number++, PATIENCE_MS);
    CHECK_IS(hear(child.from), 'n');
    send_number(out, UINT64_MAX, PATIENCE_MS);
    CHECK_IS(end_child(&child, 0), 0);
    shmc_close(out);
    shmc_detach(sender);
    edit_table_by("reload --force", "DELETE FROM section WHERE name = 'moody';"
                                    "DELETE FROM worker WHERE name = 'mover';");
}

static void wait_for_number(int from, int to) {
    shmc *segment = attach("runner", 0);
    shmc_section *in = open_section(segment, "jobs");
    const void *data;
    size_t bytes;
    (void)from;
    CHECK_IS(shmc_queue_peek(in, 0, &data, &bytes, 0, -1, NULL), 0);
    say(to, 'p');
    /* What is peeked stays readable, and its place is gone: by force a queue begins anew. */
    CHECK_IS(hear(from), 'g');
    CHECK(bytes == sizeof(uint64_t) && *(const uint64_t *)data == 5);
    CHECK_IS(shmc_queue_ack(in), -EIDRM);
    say(to, 'a');
    CHECK_IS(receive_number(in, -1, NULL), 7);
    shmc_close(in);
    shmc_detach(segment);
}

static void all_go_along_to_a_segment_of_another_size(void) {
    struct shmc_segment_info info;
    void *room;
    shmc *reader = attach(NULL, 0), *sender = anonymous();
    shmc_section *looks = open_section(reader, "jobs"), *out = open_section(sender, "jobs");
    send_number(out, 5, 0);
    shmc_close(out);
    shmc_detach(sender);
    uint64_t number;
    CHECK_IS(shmc_queue_look(looks, 0, &number, sizeof number, 0, NULL), sizeof number);
    edit_table("UPDATE segment SET size = 100663296;"); /* nobody holds anything */
    AWAIT(shmc_segment(reader, &info) == 0 && info.bytes == 100663296);
    CHECK_IS(shmc_queue_look(looks, 0, &number, sizeof number, 0, NULL), sizeof number);
    CHECK_IS(number, 5);
    sender = anonymous();
    out = open_section(sender, "jobs");
    struct child child = start_child(wait_for_number);
    CHECK_IS(hear(child.from), 'p');
    CHECK_IS(shmc_queue_reserve(out, 8, &room, 0, 0), 0);
    edit_table_by("reload --force", "UPDATE segment SET size = 67108864;");
    memset(room, 'r', 8); /* it is memory still */
    CHECK_IS(shmc_queue_commit(out, 1, 8), -EIDRM);
    say(child.to, 'g');
    CHECK_IS(hear(child.from), 'a');
    send_number(out, 7, PATIENCE_MS);
    CHECK_IS(end_child(&child, 0), 0);
    CHECK_IS(shmc_queue_look(looks, 0, &number, sizeof number, 0, NULL), -ENOMSG);
    shmc_close(out);
    shmc_close(looks);
    shmc_detach(sender);
    shmc_detach(reader);
}

static void ask_manager(const char *request) {
    char error[512] = "";
    struct shmc_options options = {.size = sizeof options,
                                   .timeout_ms = PATIENCE_MS,
                                   .error = error,
                                   .error_bytes = sizeof error};
    if (shmc_manager(&options, request, NULL) < 0) {
        fprintf(stderr, "%s: %s\n", request, error);
        exit(1);
    }
}

static void wait_until_revoked(int from, int to) {
    const void *data;
    size_t bytes;
    shmc *segment = attach("runner", 0);
    shmc_section *in = open_section(segment, "jobs"), *waits = open_section(segment, "jobs");
    (void)from;
    CHECK_IS(shmc_queue_peek(in, 0, &data, &bytes, 0, PATIENCE_MS, NULL), 0);
    say(to, 'p');
    CHECK_IS(shmc_queue_receive(waits, 0, NULL, 0, 0, -1, NULL), -EKEYREVOKED);
    CHECK_SAYS(shmc_last_error(segment), "was taken back");
    CHECK_IS(shmc_queue_ack(in), -EKEYREVOKED);
    shmc_close(in);
    shmc_close(waits);
    shmc_detach(segment);
}

static void what_a_revoked_receiver_had_comes_again(void) {
    struct shmc_message about;
    shmc *sender = anonymous();
    shmc_section *out = open_section(sender, "jobs");
    send_number(out, 4, 0);
    struct child child = start_child(wait_until_revoked);
    CHECK_IS(hear(child.from), 'p');
    ask_manager("revoke runner");
    shmc *segment = attach("runner", 0);
    shmc_section *in = open_section(segment, "jobs");
    CHECK_IS(receive_number(in, PATIENCE_MS, &about), 4);
    CHECK(about.redelivered);
    CHECK_IS(end_child(&child, 0), 0);
    is_empty(in);
    shmc_close(out);
    shmc_close(in);
    shmc_detach(sender);
    shmc_detach(segment);
}

/* ---- bad memory */

static void a_bad_lane_is_named_and_the_others_go_on(void) {
    only_on_sysv("nobody else's lane can be written");
    shmc *segment = attach("runner", 0), *first = anonymous(), *second = anonymous();
    shmc_section *in = open_section(segment, "jobs");
    shmc_section *bad = open_section(first, "jobs"), *good = open_section(second, "jobs");
    struct shmc_section_info info;
    struct shmc_queue_stat stat;
    struct shmc_lane_stat lanes[4];
    size_t n = 4;
    uint64_t number;
    send_number(bad, 1, 0);
    send_number(good, 2, 0);
    CHECK_IS(shmc_section_info(in, &info), 0);
    const int id = shmget((key_t)strtoul(getenv("SHMC_KEY"), NULL, 0), 0, 0);
    uint8_t *base = shmat(id, NULL, 0);
    CHECK((void *)base != (void *)-1);
    struct shm_lane *lane =
        (struct shm_lane *)(void *)(base + info.offset + sizeof(struct shm_control));
    struct shm_record *record = (struct shm_record *)(lane + 1);
    struct shm_record *at = &record[(lane->sent & (lane->records - 1))];
    if (at->seq != lane->sent)
        at = &record[(lane->sent - 1) & (lane->records - 1)];
    CHECK_IS(at->seq, lane->sent);
    const struct shm_record before = *at;
    at->len ^= 0x10000;
    CHECK_IS(shmc_queue_receive(in, 0, &number, sizeof number, 0, 0, NULL), -EBADMSG);
    CHECK_SAYS(shmc_last_error(segment), "queue 'jobs': lane 0 is damaged");
    CHECK_IS(receive_number(in, 0, NULL), 2);
    is_empty(in);
    CHECK_IS(shmc_queue_stat(in, &stat, lanes, &n), 0);
    CHECK(stat.lanes_bad == 1 && lanes[0].bad && lanes[0].trouble[0] != '\0' && !lanes[1].bad);
    send_number(good, 3, 0);
    CHECK_IS(receive_number(in, 0, NULL), 3);
    *at = before;
    shmc_close(in);
    in = open_section(segment, "jobs"); /* looks anew */
    CHECK_IS(receive_number(in, 0, NULL), 1);
    shmdt(base);
    shmc_close(bad);
    shmc_close(good);
    shmc_close(in);
    shmc_detach(first);
    shmc_detach(second);
    shmc_detach(segment);
}

CASES_MAIN({"a_receiver_waits_for_a_message", a_receiver_waits_for_a_message},
           {"a_sender_waits_for_room", a_sender_waits_for_room},
           {"signals_end_a_wait_where_asked", signals_end_a_wait_where_asked},
           {"what_a_dead_receiver_had_comes_again", what_a_dead_receiver_had_comes_again},
           {"two_receivers_share_the_messages", two_receivers_share_the_messages},
           {"a_queue_moves_with_its_messages", a_queue_moves_with_its_messages},
           {"all_go_along_to_a_segment_of_another_size", all_go_along_to_a_segment_of_another_size},
           {"what_a_revoked_receiver_had_comes_again", what_a_revoked_receiver_had_comes_again},
           {"edits_come_while_somebody_waits", edits_come_while_somebody_waits},
           {"a_bad_lane_is_named_and_the_others_go_on", a_bad_lane_is_named_and_the_others_go_on})
