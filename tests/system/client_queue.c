/* SPDX-License-Identifier: Apache-2.0
 *
 * Cases about queues: sending, receiving by type, in place, in batches, full and empty ones, and
 * what is counted.  Queues of the table: 'jobs' (4 lanes of 4096 bytes), 'tiny' (1 lane of 256),
 * both of worker 'runner'.
 */
#include "queue_cases.h"

#define LANES 4

static void send_text(shmc_section *out, int64_t type, const char *text) {
    CHECK_IS(shmc_queue_send(out, type, text, strlen(text), 0, 0), 0);
}

/* The next one of that type has to be this. */
static void receive_text(shmc_section *in, int64_t type, unsigned flags, const char *text) {
    char buffer[256];
    ssize_t n = shmc_queue_receive(in, type, buffer, sizeof buffer, flags, 0, NULL);
    CHECK_IS(n, strlen(text));
    CHECK(memcmp(buffer, text, (size_t)n) == 0);
}

struct ends {
    shmc *sender, *receiver;
    shmc_section *out, *in;
};

static struct ends both_ends(const char *name) {
    struct ends ends = {.sender = anonymous(), .receiver = attach("runner", 0)};
    ends.out = open_section(ends.sender, name);
    ends.in = open_section(ends.receiver, name);
    return ends;
}

static void close_ends(struct ends *ends) {
    is_empty(ends->in);
    shmc_close(ends->out);
    shmc_close(ends->in);
    shmc_detach(ends->sender);
    shmc_detach(ends->receiver);
}

static void what_is_sent_is_received(void) {
    struct ends ends = both_ends("jobs");
    struct shmc_message about;
    char text[2048], buffer[2048];
    uint64_t id = 0;
    for (unsigned i = 0; i < 2000; i++) {
        const size_t bytes = i * 37 % 2049;
        memset(text, 'a' + (int)(i % 26), bytes);
        CHECK_IS(shmc_queue_send(ends.out, i + 1, text, bytes, 0, 0), 0);
        CHECK_IS(shmc_queue_receive(ends.in, 0, buffer, sizeof buffer, 0, 0, &about), bytes);
        CHECK(memcmp(buffer, text, bytes) == 0);
        CHECK(about.type == i + 1 && about.length == bytes && about.pid == getpid());
        CHECK(!about.redelivered && !about.truncated && about.worker[0] == '\0');
        CHECK(about.real_ns > 0 && about.age_ns < UINT64_C(100000000000));
        CHECK(id == 0 || about.id == id + 1);
        id = about.id;
    }
    CHECK_IS(shmc_queue_receive(ends.in, 0, buffer, sizeof buffer, 0, 0, NULL), -EAGAIN);
    CHECK_SAYS(shmc_last_error(ends.receiver), "section 'jobs': no such message");
    CHECK_IS(shmc_queue_receive(ends.in, 0, buffer, sizeof buffer, 0, 20, NULL), -ETIMEDOUT);
    close_ends(&ends);
}

static void types_are_as_msgrcv_has_them(void) {
    struct ends ends = both_ends("jobs");
    send_text(ends.out, 3, "three");
    send_text(ends.out, 1, "one");
    send_text(ends.out, 2, "two");
    send_text(ends.out, 1, "one again");
    send_text(ends.out, 9, "nine");
    receive_text(ends.in, 2, 0, "two");
    receive_text(ends.in, -3, 0, "one");
    receive_text(ends.in, 3, SHMC_EXCEPT, "one again");
    CHECK_IS(shmc_queue_receive(ends.in, -2, NULL, 0, 0, 0, NULL), -EAGAIN);
    CHECK_IS(shmc_queue_receive(ends.in, 7, NULL, 0, 0, 0, NULL), -EAGAIN);
    receive_text(ends.in, INT64_MIN, 0, "three");
    receive_text(ends.in, 0, 0, "nine");
    send_text(ends.out, INT64_MAX, "last");
    receive_text(ends.in, INT64_MAX, 0, "last");
    close_ends(&ends);
}

static void what_is_too_long_stays(void) {
    struct ends ends = both_ends("jobs");
    struct shmc_message about = {0};
    char buffer[8];
    send_text(ends.out, 1, "0123456789");
    CHECK_IS(shmc_queue_receive(ends.in, 0, buffer, 8, 0, 0, &about), -E2BIG);
    CHECK_IS(about.length, 10);
    CHECK_SAYS(shmc_last_error(ends.receiver), "the message has 10 bytes, the buffer given 8");
    CHECK_IS(shmc_queue_receive(ends.in, 0, buffer, 8, 0, 1000, &about), -E2BIG);
    CHECK_IS(shmc_queue_receive(ends.in, 0, buffer, 8, SHMC_TRUNCATE, 0, &about), 8);
    CHECK(memcmp(buffer, "01234567", 8) == 0 && about.truncated && about.length == 10);
    send_text(ends.out, 1, "whole");
    CHECK_IS(shmc_queue_receive(ends.in, 0, buffer, 8, SHMC_TRUNCATE, 0, &about), 5);
    CHECK(!about.truncated);
    close_ends(&ends);
}

static void mistakes_are_named(void) {
    struct ends ends = both_ends("jobs");
    shmc *reader = attach(NULL, 0);
    shmc_section *looks = open_section(reader, "jobs"), *temps = open_section(reader, "temps");
    char text[4096] = "";
    void *room;
    const void *data;
    size_t bytes;
    CHECK_IS(shmc_queue_send(ends.out, 0, text, 1, 0, 0), -EINVAL);
    CHECK_SAYS(shmc_last_error(ends.sender), "type 0");
    CHECK_IS(shmc_queue_send(ends.out, -1, text, 1, 0, 0), -EINVAL);
    CHECK_IS(shmc_queue_send(ends.out, 1, text, 1, SHMC_TRUNCATE, 0), -EINVAL);
    CHECK_IS(shmc_queue_send(ends.out, 1, text, 2049, 0, 0), -EMSGSIZE);
    CHECK_SAYS(shmc_last_error(ends.sender), "2049 bytes");
    CHECK_IS(shmc_queue_reserve(ends.out, 2049, &room, 0, -1), -EMSGSIZE);
    CHECK_IS(shmc_queue_receive(ends.in, 0, text, 1, 0x80, 0, NULL), -EINVAL);
    CHECK_IS(shmc_queue_receive(ends.in, -1, text, 1, SHMC_EXCEPT, 0, NULL), -EINVAL);
    CHECK_IS(shmc_queue_commit(ends.out, 1, 0), -EINVAL);
    CHECK_IS(shmc_queue_ack(ends.in), -EINVAL);
    CHECK_IS(shmc_queue_abandon(ends.in), -EINVAL);
    shmc_queue_cancel(ends.out);
    CHECK_IS(shmc_queue_send(looks, 1, text, 1, 0, 0), -EACCES);
    CHECK_SAYS(shmc_last_error(reader), "jobs");
    CHECK_IS(shmc_queue_receive(looks, 0, text, 1, 0, 0, NULL), -EACCES);
    CHECK_IS(shmc_queue_receive(ends.out, 0, text, 1, 0, 0, NULL), -EACCES);
    CHECK_IS(shmc_queue_peek(ends.out, 0, &data, &bytes, 0, 0, NULL), -EACCES);
    CHECK_IS(shmc_queue_send(temps, 1, text, 1, 0, 0), -EPROTOTYPE);
    CHECK_SAYS(shmc_last_error(reader), "is a snapshot, and this call is for a queue");
    CHECK_IS(shmc_read(looks, text, sizeof text, NULL), -EPROTOTYPE);
    shmc_close(temps);
    shmc_close(looks);
    shmc_detach(reader);
    close_ends(&ends);
}

static void in_place_is_the_same(void) {
    struct ends ends = both_ends("jobs");
    shmc_section *other = open_section(ends.sender, "jobs");
    void *room;
    CHECK_IS(shmc_queue_reserve(ends.out, 100, &room, 0, 0), 0);
    memcpy(room, "in place", 8);
    is_empty(ends.in);
    CHECK_IS(shmc_queue_send(other, 1, "x", 1, 0, 0), -EBUSY);
    CHECK_SAYS(shmc_last_error(ends.sender), "is reserved");
    CHECK_IS(shmc_queue_send(ends.out, 1, "x", 1, 0, 0), -EBUSY);
    CHECK_IS(shmc_queue_reserve(ends.out, 1, &room, 0, 0), -EBUSY);
    CHECK_IS(shmc_queue_commit(ends.out, 5, 101), -EINVAL);
    CHECK_IS(shmc_queue_commit(ends.out, 0, 8), -EINVAL);
    CHECK_IS(shmc_queue_commit(ends.out, 5, 8), 0);
    send_text(other, 1, "x");
    receive_text(ends.in, 5, 0, "in place");
    receive_text(ends.in, 0, 0, "x");
    CHECK_IS(shmc_queue_reserve(ends.out, 100, &room, 0, 0), 0);
    shmc_queue_cancel(ends.out);
    CHECK_IS(shmc_queue_commit(ends.out, 1, 1), -EINVAL);
    CHECK_IS(shmc_queue_reserve(ends.out, 100, &room, 0, 0), 0);
    shmc_close(ends.out); /* cancels */
    send_text(other, 1, "goes on");
    receive_text(ends.in, 0, 0, "goes on");
    ends.out = other;
    close_ends(&ends);
}

static void what_is_peeked_stays_until_done(void) {
    struct ends ends = both_ends("jobs");
    shmc_section *other = open_section(ends.receiver, "jobs");
    struct shmc_message about;
    const void *data;
    size_t bytes;
    uint64_t id;
    send_text(ends.out, 1, "first");
    send_text(ends.out, 1, "second");
    CHECK_IS(shmc_queue_peek(ends.in, 0, &data, &bytes, 0, 0, &about), 0);
    CHECK(bytes == 5 && memcmp(data, "first", 5) == 0 && !about.redelivered);
    id = about.id;
    CHECK_IS(shmc_queue_peek(ends.in, 0, &data, &bytes, 0, 0, &about), -EBUSY);
    CHECK_IS(shmc_queue_receive(ends.in, 0, NULL, 0, SHMC_TRUNCATE, 0, &about), -EBUSY);
    receive_text(other, 0, 0, "second"); /* nobody else has it meanwhile */
    is_empty(other);
    CHECK_IS(shmc_queue_abandon(ends.in), 0);
    CHECK_IS(shmc_queue_peek(other, 0, &data, &bytes, 0, 0, &about), 0);
    CHECK(bytes == 5 && about.id == id && about.redelivered);
    shmc_close(other); /* abandons */
    CHECK_IS(shmc_queue_peek(ends.in, 0, &data, &bytes, 0, 0, &about), 0);
    CHECK(bytes == 5 && about.id == id);
    CHECK_IS(shmc_queue_ack(ends.in), 0);
    CHECK_IS(shmc_queue_ack(ends.in), -EINVAL);
    close_ends(&ends);
}

static void batches_go_and_come(void) {
    enum { N = 20 };
    struct ends ends = both_ends("jobs");
    char texts[N][16], buffers[N][16];
    struct shmc_outgoing outgoing[N];
    struct shmc_incoming incoming[N];
    for (unsigned i = 0; i < N; i++) {
        snprintf(texts[i], sizeof texts[i], "message %u", i);
        outgoing[i] = (struct shmc_outgoing){i % 2 + 1, texts[i], strlen(texts[i])};
        incoming[i] = (struct shmc_incoming){.buffer = buffers[i], .room = sizeof buffers[i]};
    }
    CHECK_IS(shmc_queue_send_batch(ends.out, outgoing, N, 0, 0), N);
    CHECK_IS(shmc_queue_receive_batch(ends.in, 2, incoming, N, 0, 0), N / 2);
    CHECK(incoming[0].message.type == 2 && memcmp(buffers[0], "message 1", 9) == 0);
    CHECK_IS(shmc_queue_receive_batch(ends.in, 0, incoming, 3, 0, 0), 3);
    CHECK(incoming[2].message.length == 9 && memcmp(buffers[2], "message 4", 9) == 0);
    CHECK_IS(shmc_queue_receive_batch(ends.in, 0, incoming, N, 0, 0), N / 2 - 3);
    CHECK_IS(shmc_queue_receive_batch(ends.in, 0, incoming, N, 0, 0), -EAGAIN);
    CHECK_IS(shmc_queue_receive_batch(ends.in, 0, incoming, N, 0, 10), -ETIMEDOUT);
    outgoing[N - 1].type = 0;
    CHECK_IS(shmc_queue_send_batch(ends.out, outgoing, N, 0, 0), -EINVAL);
    CHECK_IS(shmc_queue_send_batch(ends.out, outgoing, 0, 0, 0), 0);
    close_ends(&ends);
}

static void a_full_lane_says_so(void) {
    struct ends ends = both_ends("tiny");
    struct shmc_queue_stat stat;
    char text[100], buffer[100];
    unsigned sent = 0;
    memset(text, 't', sizeof text);
    while (shmc_queue_send(ends.out, 1, text, sizeof text, 0, 0) == 0)
        CHECK(++sent <= 2);
    CHECK_IS(sent, 2);
    CHECK_IS(shmc_queue_send(ends.out, 1, text, sizeof text, 0, 0), -EAGAIN);
    CHECK_SAYS(shmc_last_error(ends.sender), "section 'tiny': its lane is full");
    CHECK_IS(shmc_queue_send(ends.out, 1, text, sizeof text, 0, 30), -ETIMEDOUT);
    CHECK_IS(shmc_queue_stat(ends.out, &stat, NULL, NULL), 0);
    CHECK(stat.messages == 2 && stat.bytes == 200 && stat.refused == 3);
    CHECK(stat.blocked_ns >= 10000000 && /* of 30 ms, less what isn't sleep */
          stat.high_messages == 2 && stat.high_bytes >= 200);
    CHECK_IS(shmc_queue_receive(ends.in, 0, buffer, sizeof buffer, 0, 0, NULL), 100);
    CHECK_IS(shmc_queue_send(ends.out, 1, text, sizeof text, 0, 0), 0);
    for (unsigned i = 0; i < 2; i++)
        CHECK_IS(shmc_queue_receive(ends.in, 0, buffer, sizeof buffer, 0, 0, NULL), 100);
    close_ends(&ends);
}

/* A type that nobody asks for is put aside, and comes when somebody does. */
static void nobody_wants_it_and_it_is_in_nobodys_way(void) {
    struct ends ends = both_ends("tiny");
    char buffer[64];
    send_text(ends.out, 99, "unwanted");
    for (unsigned i = 0; i < 500; i++) {
        snprintf(buffer, sizeof buffer, "message %u with some bytes behind it", i);
        send_text(ends.out, 1, buffer);
        receive_text(ends.in, 1, 0, buffer);
    }
    struct shmc_queue_stat stat;
    CHECK_IS(shmc_queue_stat(ends.in, &stat, NULL, NULL), 0);
    CHECK(stat.messages == 1 && stat.relocated > 0);
    receive_text(ends.in, 0, 0, "unwanted");
    close_ends(&ends);
}

static void anybody_may_look(void) {
    struct ends ends = both_ends("jobs");
    shmc *reader = attach(NULL, 0);
    shmc_section *looks = open_section(reader, "jobs");
    struct shmc_message about = {0};
    char buffer[64];
    CHECK_IS(shmc_queue_look(looks, 0, buffer, sizeof buffer, 0, &about), -ENOMSG);
    send_text(ends.out, 4, "a");
    send_text(ends.out, 5, "bc");
    send_text(ends.out, 6, "def");
    CHECK_IS(shmc_queue_look(looks, 2, buffer, sizeof buffer, 0, &about), 3);
    CHECK(memcmp(buffer, "def", 3) == 0 && about.type == 6 && about.pid == getpid());
    CHECK_IS(shmc_queue_look(looks, 1, buffer, 1, 0, &about), -E2BIG);
    CHECK_IS(about.length, 2);
    CHECK_IS(shmc_queue_look(looks, 1, buffer, 1, SHMC_TRUNCATE, &about), 1);
    CHECK_IS(shmc_queue_look(looks, 3, buffer, sizeof buffer, 0, &about), -ENOMSG);
    receive_text(ends.in, 5, 0, "bc");
    CHECK_IS(shmc_queue_look(looks, 1, buffer, sizeof buffer, 0, &about), 3);
    receive_text(ends.in, 0, 0, "a");
    receive_text(ends.in, 0, 0, "def");
    shmc_close(looks);
    shmc_detach(reader);
    close_ends(&ends);
}

static void everything_is_counted(void) {
    struct ends ends = both_ends("jobs");
    struct shmc_queue_stat before, stat;
    struct shmc_lane_stat lanes[LANES];
    size_t n = LANES;
    CHECK_IS(shmc_queue_stat(ends.in, &before, NULL, NULL), 0);
    CHECK(before.lanes == LANES && before.lanes_held == 0 && before.lanes_bad == 0);
    CHECK(before.message_bytes == 2048 && before.lane_bytes == 4096);
    CHECK(before.changed_generation > 0 && before.changed_real_ns > 0);
    for (unsigned i = 0; i < 5; i++)
        send_text(ends.out, 1, "seven b");
    receive_text(ends.in, 0, 0, "seven b");
    CHECK_IS(shmc_queue_stat(ends.in, &stat, lanes, &n), 0);
    CHECK_IS(n, LANES);
    CHECK(stat.messages == 4 && stat.bytes == 28 && stat.lanes_held == 1);
    CHECK(stat.sent == before.sent + 5 && stat.received == before.received + 1);
    CHECK(stat.sent_bytes == before.sent_bytes + 35 && stat.high_messages >= 5);
    CHECK(stat.last_send_pid == getpid() && stat.last_receive_pid == getpid());
    CHECK(stat.last_send_real_ns > 0 && stat.last_receive_real_ns > 0);
    CHECK(stat.oldest_real_ns > 0 && stat.oldest_real_ns <= stat.last_send_real_ns);
    CHECK(lanes[0].held && !lanes[0].bad && lanes[0].pid == getpid() && lanes[0].messages == 4);
    CHECK(!lanes[1].held && lanes[1].messages == 0);
    for (unsigned i = 0; i < 4; i++)
        receive_text(ends.in, 0, 0, "seven b");
    n = 1;
    CHECK_IS(shmc_queue_stat(ends.out, &stat, lanes, &n), 0);
    CHECK(n == LANES && stat.messages == 0 && stat.oldest_real_ns == 0);
    close_ends(&ends);
}

/* ---- descriptors */

static bool readable(int fd, int timeout_ms) {
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    return poll(&poll_fd, 1, timeout_ms) == 1;
}

static void descriptors_tell_of_messages_and_of_room(void) {
    struct ends ends = both_ends("tiny");
    const int in = shmc_fd(ends.in), out = shmc_fd(ends.out);
    char text[100] = "", buffer[100];
    CHECK(in >= 0 && out >= 0);
    is_empty(ends.in);
    for (unsigned i = 0; i < 50; i++) {
        CHECK(!readable(in, 0));
        CHECK_IS(shmc_queue_send(ends.out, 1, text, 100, 0, 0), 0);
        CHECK(readable(in, PATIENCE_MS));
        CHECK_IS(shmc_queue_receive(ends.in, 0, buffer, 100, 0, 0, NULL), 100);
        is_empty(ends.in);
    }
    while (shmc_queue_send(ends.out, 1, text, 100, 0, 0) == 0)
        ;
    CHECK(!readable(out, 0));
    CHECK_IS(shmc_queue_receive(ends.in, 0, buffer, 100, 0, 0, NULL), 100);
    CHECK(readable(out, PATIENCE_MS));
    CHECK_IS(shmc_queue_send(ends.out, 1, text, 100, 0, 0), 0);
    for (unsigned i = 0; i < 2; i++)
        CHECK_IS(shmc_queue_receive(ends.in, 0, buffer, 100, 0, 0, NULL), 100);
    close_ends(&ends);
}

/* What nobody asked for doesn't keep a loop busy. */
static void descriptors_tell_of_the_type_that_was_asked_for(void) {
    struct ends ends = both_ends("jobs");
    const int in = shmc_fd(ends.in);
    CHECK_IS(shmc_queue_receive(ends.in, 5, NULL, 0, 0, 0, NULL), -EAGAIN);
    CHECK_IS(shmc_queue_receive(ends.in, 5, NULL, 0, 0, 0, NULL), -EAGAIN);
    send_text(ends.out, 1, "of another type");
    CHECK(!readable(in, 50));
    send_text(ends.out, 5, "of that");
    CHECK(readable(in, PATIENCE_MS));
    receive_text(ends.in, 5, 0, "of that");
    CHECK_IS(shmc_queue_receive(ends.in, 5, NULL, 0, 0, 0, NULL), -EAGAIN);
    CHECK(!readable(in, 0));
    CHECK_IS(shmc_queue_receive(ends.in, -4, NULL, 0, 0, 0, NULL), -E2BIG);
    CHECK_IS(shmc_queue_receive(ends.in, 7, NULL, 0, 0, 0, NULL), -EAGAIN);
    CHECK_IS(shmc_queue_receive(ends.in, 1, NULL, 0, 0, 0, NULL), -E2BIG);
    receive_text(ends.in, 1, 0, "of another type");
    close_ends(&ends);
}

static void descriptors_tell_of_the_end(void) {
    edit_table("INSERT INTO section(name, owner, kind, size) VALUES('brief', 'runner', 'queue', "
               "1024);");
    shmc *segment = attach("runner", 0);
    shmc_section *in = open_section(segment, "brief");
    const int fd = shmc_fd(in);
    CHECK_IS(shmc_queue_receive(in, 0, NULL, 0, 0, 0, NULL), -EAGAIN);
    CHECK(!readable(fd, 0));
    edit_table_by("reload --force", "DELETE FROM section WHERE name = 'brief';");
    CHECK(readable(fd, PATIENCE_MS));
    CHECK_IS(shmc_queue_receive(in, 0, NULL, 0, 0, 0, NULL), -EIDRM);
    shmc_close(in);
    shmc_detach(segment);
}

CASES_MAIN({"what_is_sent_is_received", what_is_sent_is_received},
           {"types_are_as_msgrcv_has_them", types_are_as_msgrcv_has_them},
           {"what_is_too_long_stays", what_is_too_long_stays},
           {"mistakes_are_named", mistakes_are_named},
           {"in_place_is_the_same", in_place_is_the_same},
           {"what_is_peeked_stays_until_done", what_is_peeked_stays_until_done},
           {"batches_go_and_come", batches_go_and_come},
           {"a_full_lane_says_so", a_full_lane_says_so},
           {"nobody_wants_it_and_it_is_in_nobodys_way", nobody_wants_it_and_it_is_in_nobodys_way},
           {"anybody_may_look", anybody_may_look}, {"everything_is_counted", everything_is_counted},
           {"descriptors_tell_of_messages_and_of_room", descriptors_tell_of_messages_and_of_room},
           {"descriptors_tell_of_the_type_that_was_asked_for",
            descriptors_tell_of_the_type_that_was_asked_for},
           {"descriptors_tell_of_the_end", descriptors_tell_of_the_end})
