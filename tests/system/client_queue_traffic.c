/* SPDX-License-Identifier: Apache-2.0
 *
 * Traffic in the queue 'pool' until SIGTERM: two senders and two receivers, each a process of its
 * own. At the end each message was received once, and each receiver had those of a sender in order.
 * With the argument "restless" senders leave their lane again and again, so that the queue can go
 * elsewhere meanwhile; with "forced" it is taken elsewhere while they are in it, and begins anew,
 * so that messages are lost, but none comes twice, and nobody is disturbed; with "gone" there is
 * one sender, in 'tiny', until the segment is gone.
 */
#include "cases.h"

#include <stdatomic.h>

#define SENDERS   2
#define RECEIVERS 2
#define LANES     16 /* at most */

static bool restless, forced;
static volatile sig_atomic_t ended;
static void on_term(int signal) {
    (void)signal;
    ended = 1;
}

/* Says how many it sent. */
static void send_on(unsigned who, int to) {
    shmc *segment = attach(NULL, SHMC_ANONYMOUS);
    shmc_section *out = open_section(segment, "pool");
    uint64_t n = 0;
    for (; !ended; n++) {
        const uint64_t message[2] = {who, n};
        CHECK_IS(shmc_queue_send(out, who + 1, message, sizeof message, 0, PATIENCE_MS), 0);
        if (n % 64 == 0)
            let_others();
        if (restless && n % 3 == 0) {
            shmc_close(out);
            pause_ms(1); /* nobody can be kept out by who is never out himself */
            out = open_section(segment, "pool");
        }
    }
    shmc_close(out);
    shmc_detach(segment);
    CHECK(write(to, &n, sizeof n) == sizeof n);
}

/* Says how many it received of each. */
static void receive_on(unsigned who, int to) {
    char name[16];
    uint64_t count[SENDERS] = {0}, last[SENDERS] = {0}, ids[LANES] = {0}, message[2];
    struct shmc_message about;
    snprintf(name, sizeof name, "crew#%u", who + 1);
    shmc *segment = attach(name, 0);
    shmc_section *in = open_section(segment, "pool");
    for (;;) {
        const ssize_t n =
            shmc_queue_receive(in, 0, message, sizeof message, 0, PATIENCE_MS, &about);
        CHECK_IS(n, sizeof message);
        const uint64_t from = message[0];
        if (from == SENDERS)
            break;
        /* A sender who leaves his lane goes on in any, and the order over lanes is disturbed while
         * the manager seals one after the other; that of a lane isn't. */
        CHECK(from < SENDERS && (restless || count[from] == 0 || message[1] > last[from]));
        CHECK(about.lane < LANES && (forced || about.id > ids[about.lane]));
        ids[about.lane] = about.id;
        last[from] = message[1];
        if (count[from]++ == 0 && from == 0)
            puts("flowing"), fflush(stdout);
    }
    shmc_close(in);
    shmc_detach(segment);
    CHECK(write(to, count, sizeof count) == sizeof count);
}

static pid_t start(void (*run)(unsigned who, int to), unsigned who, int pipe_ends[2]) {
    CHECK(pipe2(pipe_ends, O_CLOEXEC) == 0);
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        run(who, pipe_ends[1]);
        exit(0);
    }
    close(pipe_ends[1]);
    return pid;
}

static void finish(pid_t pid) {
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_IS(status, 0);
}

/* The handle says that the segment is gone when it asks, once a second. */
static int until_gone(void) {
    shmc *segment = attach(NULL, SHMC_ANONYMOUS);
    shmc_section *out = open_section(segment, "tiny");
    int r;
    puts("flowing");
    fflush(stdout);
    const uint64_t end_ns = now_ns() + PATIENCE_MS * UINT64_C(1000000);
    do {
        CHECK(now_ns() < end_ns);
        r = shmc_queue_send(out, 1, "x", 1, 0, 0);
        let_others();
    } while (r == 0 || r == -EAGAIN);
    CHECK_IS(r, -EIDRM);
    CHECK_SAYS(shmc_last_error(segment), "detach and attach anew");
    shmc_close(out);
    shmc_detach(segment);
    puts("ok who sends is told that the segment is gone");
    return 0;
}

int main(int argc, char **argv) {
    pid_t senders[SENDERS], receivers[RECEIVERS];
    int said[SENDERS][2], heard[RECEIVERS][2];
    uint64_t sent[SENDERS], received[SENDERS] = {0}, total = 0;
    sigset_t none;
    const struct sigaction action = {.sa_handler = on_term};
    sigset_t term;
    alarm(240);
    if (argc > 1 && strcmp(argv[1], "gone") == 0)
        return until_gone();
    restless = argc > 1 && strcmp(argv[1], "restless") == 0;
    forced = argc > 1 && strcmp(argv[1], "forced") == 0;
    sigemptyset(&none);
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigaction(SIGTERM, &action, NULL);
    for (unsigned i = 0; i < RECEIVERS; i++)
        receivers[i] = start(receive_on, i, heard[i]);
    for (unsigned i = 0; i < SENDERS; i++)
        senders[i] = start(send_on, i, said[i]);
    sigprocmask(SIG_BLOCK, &term, NULL);
    while (!ended)
        sigsuspend(&none);
    for (unsigned i = 0; i < SENDERS; i++) {
        kill(senders[i], SIGTERM);
        CHECK(read(said[i][0], &sent[i], sizeof sent[i]) == sizeof sent[i]);
        finish(senders[i]);
    }
    /* Behind all others: each receiver takes one and ends. */
    shmc *segment = attach(NULL, SHMC_ANONYMOUS);
    shmc_section *out = open_section(segment, "pool");
    for (unsigned i = 0; i < RECEIVERS; i++) {
        const uint64_t last[2] = {SENDERS, 0};
        CHECK_IS(shmc_queue_send(out, 1, last, sizeof last, 0, PATIENCE_MS), 0);
    }
    for (unsigned i = 0; i < RECEIVERS; i++) {
        uint64_t count[SENDERS];
        CHECK(read(heard[i][0], count, sizeof count) == sizeof count);
        finish(receivers[i]);
        for (unsigned j = 0; j < SENDERS; j++)
            received[j] += count[j];
    }
    for (unsigned i = 0; i < SENDERS; i++) {
        CHECK(received[i] <= sent[i] && (forced || received[i] == sent[i]));
        total += sent[i];
    }
    shmc_close(out);
    shmc_detach(segment);
    printf("ok %s\nfigure: queue.%s %llu messages\n",
           restless ? "a queue moves under its traffic"
           : forced ? "a queue is taken elsewhere under its traffic"
                    : "traffic goes on without a manager",
           restless ? "moved"
           : forced ? "forced"
                    : "traffic",
           (unsigned long long)total);
    return 0;
}
