/* SPDX-License-Identifier: Apache-2.0
 *
 * Cases about a process and its lane: threads, signal handlers, forks, lanes that run out, what is
 * left behind, and no memory.  Queue of the table: 'jobs' (4 lanes of 4096 bytes) of worker
 * 'runner'.
 */
#include "queue_cases.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/time.h>

/* ---- one lane for each process */

#define THREADS  4
#define MESSAGES 5000
static shmc *shared_segment;

static void *send_many(void *argument) {
    const uint64_t thread = *(const uint64_t *)argument;
    shmc_section *out = open_section(shared_segment, "jobs");
    for (uint64_t i = 0; i < MESSAGES; i++)
        send_number(out, thread << 32 | i, PATIENCE_MS);
    shmc_close(out);
    return NULL;
}

static void threads_share_a_lane(void) {
    pthread_t threads[THREADS];
    uint64_t names[THREADS], next[THREADS] = {0};
    shmc *segment = attach("runner", 0);
    shmc_section *in = open_section(segment, "jobs");
    shared_segment = anonymous();
    for (uint64_t i = 0; i < THREADS; i++) {
        names[i] = i;
        CHECK(pthread_create(&threads[i], NULL, send_many, &names[i]) == 0);
    }
    for (unsigned i = 0; i < THREADS * MESSAGES; i++) {
        const uint64_t number = receive_number(in, PATIENCE_MS, NULL), thread = number >> 32;
        CHECK(thread < THREADS && (uint32_t)number == next[thread]);
        next[thread]++;
        CHECK(i % 1000 != 0 || lanes_held(in) == 1);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    is_empty(in);
    CHECK_IS(lanes_held(in), 0); /* the last object that sent was closed */
    shmc_detach(shared_segment);
    shmc_close(in);
    shmc_detach(segment);
}

static shmc_section *interrupted;
static atomic_uint sent_by_handler, busy_in_handler;
static void send_in_handler(int signal) {
    const uint64_t number = UINT64_MAX;
    (void)signal;
    int r = shmc_queue_send(interrupted, 2, &number, sizeof number, 0, 0);
    CHECK(r == 0 || r == -EBUSY || r == -EAGAIN);
    atomic_fetch_add(r == 0 ? &sent_by_handler : &busy_in_handler, 1);
}

static void handlers_may_send(void) {
    shmc *segment = attach("runner", 0), *sender = anonymous();
    shmc_section *in = open_section(segment, "jobs");
    const struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
    unsigned received = 0, came = 0;
    uint64_t number;
    interrupted = open_section(sender, "jobs");
    send_number(interrupted, 0, 0);
    CHECK_IS(receive_number(in, 0, NULL), 0);
    signal(SIGALRM, send_in_handler);
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
    for (uint64_t i = 0; i < 100000 || atomic_load(&sent_by_handler) == 0; i++) {
        send_number(interrupted, i, PATIENCE_MS);
        while (shmc_queue_receive(in, 2, &number, sizeof number, 0, 0, NULL) > 0)
            came++;
        CHECK_IS(shmc_queue_receive(in, 1, &number, sizeof number, 0, 0, NULL), sizeof number);
        CHECK_IS(number, i);
        received++;
    }
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    while (shmc_queue_receive(in, 0, &number, sizeof number, 0, 0, NULL) > 0)
        came++;
    CHECK(received > 0 && came == atomic_load(&sent_by_handler));
    shmc_close(interrupted);
    shmc_detach(sender);
    shmc_close(in);
    shmc_detach(segment);
}

static void children_attach_for_themselves(void) {
    shmc *segment = attach("runner", 0), *sender = anonymous();
    shmc_section *in = open_section(segment, "jobs"), *out = open_section(sender, "jobs");
    const void *data;
    size_t bytes;
    void *room;
    send_number(out, 1, 0);
    CHECK_IS(shmc_queue_peek(in, 0, &data, &bytes, 0, 0, NULL), 0);
    CHECK_IS(shmc_queue_reserve(out, 8, &room, 0, 0), 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK_IS(shmc_queue_send(out, 1, "x", 1, 0, -1), -ECHILD);
        CHECK_IS(shmc_queue_commit(out, 1, 1), -ECHILD);
        CHECK_IS(shmc_queue_receive(in, 0, NULL, 0, 0, -1, NULL), -ECHILD);
        CHECK_IS(shmc_queue_ack(in), -ECHILD);
        CHECK_IS(shmc_queue_look(in, 0, NULL, 0, 0, NULL), -ECHILD);
        shmc_queue_cancel(out);
        shmc_close(in);
        shmc_close(out);
        shmc_detach(sender);
        shmc_detach(segment);
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_IS(status, 0);
    memcpy(room, "go on", 6);
    CHECK_IS(shmc_queue_commit(out, 1, 6), 0); /* what the child closed is its own */
    CHECK_IS(shmc_queue_ack(in), 0);
    CHECK_IS(lanes_held(in), 1);
    CHECK_IS(shmc_queue_receive(in, 0, NULL, 0, SHMC_TRUNCATE, 0, NULL), 0);
    shmc_detach(sender);
    CHECK_IS(shmc_queue_send(out, 1, "x", 1, 0, -1), -EBADF);
    CHECK_IS(lanes_held(in), 0);
    shmc_close(out);
    shmc_detach(segment);
    CHECK_IS(shmc_queue_receive(in, 0, NULL, 0, 0, -1, NULL), -EBADF);
    shmc_close(in);
}

static void hold_a_lane(int from, int to) {
    shmc *segment = anonymous();
    shmc_section *out = open_section(segment, "jobs");
    send_number(out, (uint64_t)getpid(), 0);
    say(to, 'h');
    hear(from);
}

static void lanes_run_out(void) {
    struct child children[4];
    char pid[16];
    shmc *segment = attach("runner", 0), *sender = anonymous();
    shmc_section *in = open_section(segment, "jobs"), *out = open_section(sender, "jobs");
    for (unsigned i = 0; i < 4; i++) {
        children[i] = start_child(hold_a_lane);
        CHECK_IS(hear(children[i].from), 'h');
    }
    CHECK_IS(lanes_held(in), 4);
    CHECK_IS(shmc_queue_send(out, 1, "x", 1, 0, -1), -EUSERS);
    CHECK_SAYS(shmc_last_error(sender), "queue 'jobs': all 4 lanes are held (by processes ");
    CHECK_SAYS(shmc_last_error(sender), "raise its count in the table");
    for (unsigned i = 0; i < 4; i++) {
        snprintf(pid, sizeof pid, "%d", children[i].pid);
        CHECK_SAYS(shmc_last_error(sender), pid);
    }
    /* What a dead sender sent is there, and its lane is the next one's. */
    end_child(&children[2], SIGKILL);
    AWAIT(shmc_queue_send(out, 1, &(uint64_t){5}, 8, 0, 0) == 0);
    uint64_t sum = 0, wanted = 5;
    for (unsigned i = 0; i < 5; i++)
        sum += receive_number(in, 0, NULL);
    for (unsigned i = 0; i < 4; i++)
        wanted += (uint64_t)children[i].pid;
    CHECK_IS(sum, wanted);
    is_empty(in);
    for (unsigned i = 0; i < 4; i++)
        if (i != 2)
            end_child(&children[i], SIGKILL);
    AWAIT(lanes_held(in) == 1);
    shmc_close(out);
    shmc_close(in);
    shmc_detach(sender);
    shmc_detach(segment);
}

/* ---- nothing is left, and nothing is there */

static unsigned long size_of_all(void) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    CHECK(file != NULL && fscanf(file, "%lu", &pages) == 1);
    fclose(file);
    return pages;
}

static void come_and_go(void) {
    const void *data;
    size_t bytes;
    void *room;
    shmc *segment = attach("runner", 0), *sender = anonymous();
    shmc_section *in = open_section(segment, "jobs"), *out = open_section(sender, "jobs");
    CHECK(shmc_fd(in) >= 0 && shmc_fd(out) >= 0);
    send_number(out, 1, 0);
    CHECK_IS(shmc_queue_peek(in, 0, &data, &bytes, 0, 0, NULL), 0);
    CHECK_IS(shmc_queue_reserve(out, 8, &room, 0, 0), 0);
    CHECK_IS(shmc_queue_look(out, 0, NULL, 0, 0, NULL), -ENOMSG);
    CHECK_IS(shmc_queue_ack(in), 0);
    shmc_close(in);
    shmc_close(out);
    shmc_detach(sender);
    shmc_detach(segment);
}

static void what_comes_goes_again(void) {
    come_and_go(); /* what libraries keep for ever, they have then */
    come_and_go();
    const unsigned long pages = size_of_all();
    for (unsigned i = 0; i < 100; i++)
        come_and_go();
    AWAIT(size_of_all() <= pages + 64 || SANITIZED); /* a thread's stack goes a little later */
}

static void is_said(shmc_section *in, shmc *segment, shmc_section *out, shmc *sender,
                    const char *receive, const char *send) {
    struct rlimit before, none;
    CHECK(getrlimit(RLIMIT_AS, &before) == 0);
    none = before;
    none.rlim_cur = 4096; /* what there is stays */
    CHECK(setrlimit(RLIMIT_AS, &none) == 0);
    CHECK_IS(shmc_queue_send(out, 1, "x", 1, 0, -1), -ENOMEM);
    CHECK_SAYS(shmc_last_error(sender), send);
    CHECK_IS(shmc_queue_receive(in, 0, NULL, 0, 0, -1, NULL), -ENOMEM);
    CHECK_SAYS(shmc_last_error(segment), receive);
    CHECK(setrlimit(RLIMIT_AS, &before) == 0);
}

static void no_memory_is_said_and_passes(void) {
    struct shmc_queue_stat stat;
    if (SANITIZED) {
        printf("a sanitizer's memory has no limit\n");
        exit(SKIPPED);
    }
    shmc *segment = attach("runner", 0), *sender = anonymous();
    shmc_section *in = open_section(segment, "jobs"), *out = open_section(sender, "jobs");
    is_said(in, segment, out, sender, "no memory for it", "no memory for it");
    send_number(out, 1, 0);
    CHECK_IS(receive_number(in, 0, NULL), 1);
    shmc_close(in);
    shmc_close(out);
    in = open_section(segment, "jobs");
    out = open_section(sender, "jobs");
    CHECK_IS(shmc_queue_stat(in, &stat, NULL, NULL), 0);
    CHECK_IS(shmc_queue_stat(out, &stat, NULL, NULL), 0);
    is_said(in, segment, out, sender, "section 'jobs': no memory to receive from it",
            "section 'jobs': no memory to send to it");
    send_number(out, 3, 0);
    CHECK_IS(receive_number(in, 0, NULL), 3);
    shmc_close(in);
    shmc_close(out);
    shmc_detach(sender);
    shmc_detach(segment);
}

CASES_MAIN({"threads_share_a_lane", threads_share_a_lane}, {"handlers_may_send", handlers_may_send},
           {"children_attach_for_themselves", children_attach_for_themselves},
           {"lanes_run_out", lanes_run_out}, {"what_comes_goes_again", what_comes_goes_again},
           {"no_memory_is_said_and_passes", no_memory_is_said_and_passes})
