/* SPDX-License-Identifier: Apache-2.0
 *
 * Four senders and two receivers that compete on a real manager's queue, killed with -9 at random,
 * and the manager now and then: every message is received once, but for those that a killed
 * receiver had taken, which are named; and those of a sender in their order.
 *
 *     torture_queue SHM-MANAGER STATE-DIRECTORY SECONDS [SEED]
 *
 * The key and the runtime directory come from the environment; the manager's table has the section
 * "queue", whose owner "jobs" has two instances, and the workers "first" and "second".
 */
#include "processes.h"
#include "queue.h"

#include <inttypes.h>
#include <poll.h>
#include <sys/mman.h>

#define MANAGER_EACH 60 /* that many kills of others for one of the manager's */
#define NAMES_SHOWN  20u

struct board *board;

static const char *program, *state_directory;
static uint64_t seed;
static pid_t manager, senders[STREAMS], receivers[RECEIVERS];
static unsigned sender_kills, receiver_kills, manager_kills;
static unsigned unknown; /* messages that receivers may have been taking as they were killed */

/* ---- messages */

shmc_section *open_queue(const char *worker, uint32_t flags, shmc **segment) {
    shmc_section *ret = NULL;
    *segment =
        failures_attach(&board->failures, (struct shmc_options){.size = sizeof(struct shmc_options),
                                                                .worker = worker,
                                                                .flags = flags,
                                                                .timeout_ms = PATIENCE_MS});
    const int r = *segment == NULL ? -1 : shmc_open(&ret, *segment, "queue", NULL);
    if (r < 0 && *segment != NULL)
        violate("open the queue: %d (%s)", r, shmc_last_error(*segment));
    return ret;
}

int64_t message_type(uint64_t name) {
    return 1 + (int64_t)(value_word(name, 1) >> 32) % TYPES;
}

size_t message_words(uint64_t name) {
    const uint64_t random = value_word(name, 2) >> 32;
    return 1 + random / 8 % (random % 8 == 0 ? WORDS_MAX : 6);
}

void message_fill(uint64_t *to, uint64_t name) {
    to[0] = name;
    words_fill(to, 1, message_words(name), name);
}

/* ---- processes */

static void start_sender(unsigned stream) {
    const uint64_t own = random_next(&seed);
    senders[stream] = start_child();
    if (senders[stream] == 0) {
        send_until_killed(stream, own);
        _exit(0);
    }
}

static void start_receiver(unsigned receiver) {
    const uint64_t own = random_next(&seed);
    receivers[receiver] = start_child();
    if (receivers[receiver] == 0) {
        receive_until_killed(receiver, own);
        _exit(0);
    }
}

static void kill_child(pid_t pid, const char *who) {
    kill(pid, SIGKILL);
    if (!reap(pid, SIGKILL))
        violate("%s ended by itself", who);
}

static void kill_sender(unsigned stream) {
    kill_child(senders[stream], "a sender");
    sender_kills++;
    start_sender(stream);
}

/* What it was about to acknowledge is named; or it took one that nobody knows. */
static void kill_receiver(unsigned receiver) {
    kill_child(receivers[receiver], "a receiver");
    receiver_kills++;
    const uint64_t acking = atomic_exchange(&board->receivers[receiver].acking, 0);
    if (acking != 0)
        atomic_store(&board->streams[(acking - 1) >> 32].named[(acking - 1) & UINT32_MAX], 1);
    unknown += atomic_exchange(&board->receivers[receiver].receiving, 0);
    start_receiver(receiver);
}

static void torture(double seconds) {
    const uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
    while (now_ns() < end && atomic_load(&board->failures.n) == 0) {
        const uint64_t random = random_next(&seed);
        poll(NULL, 0, (int)(random >> 8 & 0xffff) % 60 * (random % 8 != 0));
        if ((random >> 32) % 3 == 0)
            kill_receiver((unsigned)(random >> 40) % RECEIVERS);
        else
            kill_sender((unsigned)(random >> 40) % STREAMS);
        if (random_next(&seed) % MANAGER_EACH == 0) {
            kill_child(manager, "the manager");
            manager_kills++;
            manager = start_manager(program, state_directory);
        }
    }
}

static void stop_all(void) {
    atomic_store(&board->stop, true);
    for (unsigned i = 0; i < STREAMS; i++)
        if (!reap(senders[i], 0))
            violate("the sender of stream %u came to a bad end", i);
    atomic_store(&board->ended, true);
    for (unsigned i = 0; i < RECEIVERS; i++)
        if (!reap(receivers[i], 0))
            violate("receiver %u came to a bad end", i);
    kill(manager, SIGTERM);
    if (!reap(manager, 0))
        violate("the manager came to a bad end");
}

/* ---- the account */

struct sum {
    uint64_t messages, by_dead;
};

static void account(struct stream *stream, unsigned index, struct sum *sum) {
    const unsigned end = atomic_load(&stream->next);
    for (unsigned number = 0; number < end; number++) {
        const unsigned fate = atomic_load(&stream->fate[number]);
        const unsigned received = atomic_load(&stream->received[number]);
        const bool named = atomic_load(&stream->named[number]) != 0;
        sum->messages += received;
        if (received > 0 || fate != SENT)
            continue;
        if (!named && unknown-- == 0) {
            violate("message %u/%u is lost", index, number);
            return;
        }
        if (sum->by_dead++ < NAMES_SHOWN)
            printf("taken by a receiver that was killed: message %u of stream %u%s\n", number,
                   index, named ? ", which it was acknowledging" : "");
    }
}

static int report(uint64_t first, unsigned seconds) {
    struct sum sum = {0};
    for (unsigned i = 0; i < STREAMS && atomic_load(&board->failures.n) == 0; i++)
        account(&board->streams[i], i, &sum);
    const unsigned kills = sender_kills + receiver_kills;
    if (kills < seconds * 2 || sum.messages < kills)
        violate("hardly anything happened: %u kills, %" PRIu64 " messages", kills, sum.messages);
    if (atomic_load(&board->batches) == 0 || atomic_load(&board->in_place) == 0 ||
        atomic_load(&board->peeks) == 0 || atomic_load(&board->given_back) == 0)
        violate("one of the ways to send and to receive was never gone");
    if (atomic_load(&board->relocated) == 0 || atomic_load(&board->takeovers) == 0)
        violate("no message was put behind others, or no lane was taken over");
    printf("figure: torture.queue.messages %" PRIu64 " messages\n", sum.messages);
    printf("figure: torture.queue.taken_by_dead %" PRIu64 " messages\n", sum.by_dead);
    printf("figure: torture.queue.again %llu messages\n", atomic_load(&board->again));
    printf("figure: torture.queue.relocated %llu messages\n", atomic_load(&board->relocated));
    printf("figure: torture.queue.takeovers %llu lanes\n", atomic_load(&board->takeovers));
    printf("figure: torture.queue.kills %u kills\n", kills);
    printf("figure: torture.queue.receiver_kills %u kills\n", receiver_kills);
    printf("figure: torture.queue.manager_kills %u kills\n", manager_kills);
    printf("figure: violations.torture.queue %llu violations\n", atomic_load(&board->failures.n));
    if (atomic_load(&board->failures.n) == 0)
        return 0;
    printf("violation: %s\nseed %" PRIu64 "\n", board->failures.first, first);
    return 1;
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: torture_queue SHM-MANAGER STATE-DIRECTORY SECONDS [SEED]\n");
        return 2;
    }
    program = argv[1];
    state_directory = argv[2];
    const unsigned seconds = (unsigned)strtoul(argv[3], NULL, 10);
    const uint64_t first = seed = first_seed(argc, argv);
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (board == MAP_FAILED)
        return 2;
    manager = start_manager(program, state_directory);
    for (unsigned i = 0; i < STREAMS; i++)
        start_sender(i);
    for (unsigned i = 0; i < RECEIVERS; i++)
        start_receiver(i);
    torture(seconds);
    stop_all();
    return report(first, seconds);
}
