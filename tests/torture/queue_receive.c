/* SPDX-License-Identifier: Apache-2.0
 *
 * A receiver of the queue's torture, one of two: checks every word of each message, that nobody has
 * received it before, and that those of a lane come in order, unless somebody had them before.
 */
#include "queue.h"

#include <errno.h>

static unsigned self;
static shmc *segment;
static shmc_section *section;

/* The last one of each lane and type (receivers ask for all types, or for some). */
static struct { uint64_t name, id; } last[LANES][TYPES + 1];

/* A lane is one sender's, and then another's. */
static void check_order(const struct shmc_message *info, uint64_t name) {
    const uint64_t before = last[info->lane][info->type].name;
    if (info->id <= last[info->lane][info->type].id ||
        (name >> 32 == before >> 32 && name < before))
        violate("message %u/%u of type %lld comes behind %u/%u in lane %u", (unsigned)(name >> 32),
                (unsigned)name, (long long)info->type, (unsigned)(before >> 32), (unsigned)before,
                info->lane);
    last[info->lane][info->type].name = name;
    last[info->lane][info->type].id = info->id;
}

/* False: it is none of ours. */
static bool check(const uint64_t *words, size_t bytes, const struct shmc_message *info,
                  uint64_t *name) {
    char what[128] = "";
    *name = bytes < 8 ? UINT64_MAX : __atomic_load_n(&words[0], __ATOMIC_RELAXED);
    const uint64_t index = *name >> 32, number = *name & UINT32_MAX;
    if (info->lane >= LANES || index >= STREAMS || number >= NUMBERS ||
        bytes != 8 * message_words(*name) || info->type != message_type(*name) ||
        !words_right(words, 1, bytes / 8, *name, what)) {
        violate("a message isn't whole: %zu bytes, type %lld, name %llx %s", bytes,
                (long long)info->type, (unsigned long long)*name, what);
        return false;
    }
    const unsigned fate = atomic_load(&board->streams[index].fate[number]);
    if (fate != SENDING && fate != SENT)
        violate("message %u/%llu comes, and was refused", (unsigned)index,
                (unsigned long long)number);
    if (atomic_load(&board->streams[index].received[number]) != 0)
        violate("message %u/%llu comes again", (unsigned)index, (unsigned long long)number);
    if (info->redelivered)
        atomic_fetch_add(&board->again, 1);
    else
        check_order(info, *name);
    return true;
}

static void received(uint64_t name) {
    if (atomic_fetch_add(&board->streams[name >> 32].received[name & UINT32_MAX], 1) != 0)
        violate("message %u/%u was received twice", (unsigned)(name >> 32), (unsigned)name);
}

static int receive_one(int64_t type, int timeout_ms) {
    uint64_t words[WORDS_MAX], name;
    struct shmc_message info;
    atomic_store(&board->receivers[self].receiving, 1);
    const ssize_t n = shmc_queue_receive(section, type, words, sizeof words, 0, timeout_ms, &info);
    if (n >= 0 && check(words, (size_t)n, &info, &name))
        received(name);
    atomic_store(&board->receivers[self].receiving, 0);
    return (int)n;
}

/* What it is about to acknowledge, it says before. */
static int peek_one(int64_t type, int timeout_ms, bool ack) {
    struct shmc_message info;
    const void *data;
    size_t bytes;
    uint64_t name;
    const int r = shmc_queue_peek(section, type, &data, &bytes, 0, timeout_ms, &info);
    if (r < 0)
        return r;
    atomic_fetch_add(ack ? &board->peeks : &board->given_back, 1);
    if (!check(data, bytes, &info, &name))
        return -EBADMSG;
    if (!ack)
        return shmc_queue_abandon(section);
    atomic_store(&board->receivers[self].acking, name + 1);
    const int done = shmc_queue_ack(section);
    if (name % 8 == 0)
        let_others(); /* now and then somebody is killed who has it, and has told nobody */
    if (done == 0)
        received(name);
    atomic_store(&board->receivers[self].acking, 0);
    return done;
}

/* For a while all types, for a while all but the last one, which gets in its senders' way then, and
 * is put behind the others. */
static int64_t choose_type(uint64_t random) {
    static bool picky;
    if (random % 128 == 0)
        picky = !picky;
    if (!picky)
        return random >> 8 & 7 ? 0 : TYPES;
    return random >> 8 & 1 ? 1 - (int64_t)TYPES : 1 + (int64_t)(random >> 9 & 1);
}

static int receive_some(uint64_t random, int timeout_ms) {
    const int64_t type = choose_type(random >> 16);
    const unsigned way = (unsigned)(random >> 32) % 16;
    /* Without waiting, so that who is killed over it has hardly ever taken one that nobody knows.
     */
    return way < 8 ? receive_one(type, 0) : peek_one(type, timeout_ms, way < 14);
}

static bool empty(void) {
    struct shmc_queue_stat stat = {0};
    const int r = shmc_queue_stat(section, &stat, NULL, NULL);
    if (r < 0)
        violate("stat: %d (%s)", r, shmc_last_error(segment));
    atomic_store(&board->relocated, stat.relocated);
    atomic_store(&board->takeovers, stat.takeovers);
    return r < 0 || stat.messages == 0;
}

/* What is left can be received as soon as the leases of those who had taken it are seen to end. */
static bool gave_up(void) {
    static uint64_t end_ns;
    if (end_ns == 0)
        end_ns = now_ns() + PATIENCE_MS * UINT64_C(1000000);
    if (now_ns() < end_ns)
        return false;
    violate("receiver %u: nobody gets what is left in the queue", self);
    return true;
}

void receive_until_killed(unsigned receiver, uint64_t seed) {
    char worker[16];
    self = receiver;
    snprintf(worker, sizeof worker, "jobs#%u", receiver + 1);
    section = open_queue(worker, 0, &segment);
    while (section != NULL) {
        const bool ended = atomic_load(&board->ended);
        const uint64_t random = random_next(&seed);
        const int r = ended ? receive_one(0, 50)
                            : receive_some(random, random % 4 == 0 ? 0 : (int)(random >> 8) & 0x7f);
        if (r < 0 && r != -EAGAIN && r != -ETIMEDOUT) {
            violate("receiver %u: %d (%s)", self, r, shmc_last_error(segment));
            break;
        }
        if (r < 0 && ended && (empty() || gave_up()))
            break;
        if (r == -EAGAIN || (random >> 32) % 16 == 0)
            let_others();
    }
    shmc_close(section);
    shmc_detach(segment);
}
