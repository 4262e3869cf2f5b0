/* SPDX-License-Identifier: Apache-2.0
 *
 * A queue of one or two lanes: senders and competing receivers, each of which may die at any access
 * and has a successor under its attachment's next epoch, who takes what it wants, some of it, or
 * gives it back.  The lanes begin empty, nearly full, or with records in front that nobody took.
 *
 * What must hold: a message is received whole, at most once, and not before it was sent; of what
 * nobody had taken before, of one lane and type, none is taken in front of an older one; nobody
 * sleeps to the bound for what was there long ago; and when all is over, those who come then find
 * each message that was sent and not received, once, and can send.
 */
#include "sim.h"

#include "core/mutant.h"
#include "queue_fixture.h"
#include "snapshot_fixture.h"

#include <errno.h>
#include <inttypes.h>

#define SIZE      1024u
#define RECORDS   16u
#define LANES     2u
#define PEOPLE    4u
#define ROLES     9u
#define IDS       128u
#define WAITS     3u /* of one receiver, who may have to poll */
#define LONG_NS   UINT64_C(50000000)
#define UNWANTED  2 /* a type */
#define VALUE_MAX 48u

static const struct variant {
    uint32_t lanes;
    unsigned unwanted, sent; /* what stands in the first lane at the start, in this order */
    unsigned received;       /* of those that are sent */
    uint64_t base;           /* records that went through before */
} variants[] = {
    {1, 0, 0, 0, 0},   {2, 0, 0, 0, 0},   {2, 0, 0, 0, (UINT64_C(1) << 32) - 4},
    {1, 1, 14, 14, 0}, {1, 2, 12, 11, 0}, {1, 0, 14, 0, 0},
    {2, 1, 13, 13, 8}, {1, 3, 11, 6, 0},
};
#define VARIANTS (sizeof variants / sizeof *variants)

static struct queue_fixture fixtures[VARIANTS];
static void *images[VARIANTS];
static uint8_t region[32768] __attribute__((aligned(4096)));

/* What only those who watch know of a message. */
struct truth {
    uint64_t serial; /* 0: there is none */
    int64_t type;
    uint64_t sent_ns;
    unsigned received;
    bool taken; /* ever */
};

/* The schedule that runs. */
static const struct variant *variant;
static struct queue_fixture *fixture;
static struct queue *queue;
static struct truth truths[LANES][IDS]; /* by id, less the base */
static uint64_t sent[LANES], done_ns[LANES];
static uint64_t serials;
static unsigned unrung; /* senders who died, and nobody has taken their lane yet */
static uint64_t rung_ns;
static bool receiver_died;

static struct role {
    struct attachment who;
    unsigned rounds;
    bool sends;
    struct queue_sender sender;
    struct queue_receiver receiver;
    uint64_t memory[64];
} roles[ROLES];
static unsigned roles_n;

static struct shm_lane *lane_of(unsigned lane) {
    return (struct shm_lane *)(void *)(queue->lanes + lane * queue->geometry.stride);
}

static struct shm_record *record_of(unsigned lane, uint64_t seq) {
    return (struct shm_record *)(void *)(lane_of(lane) + 1) + seq % RECORDS;
}

static struct truth *truth_of(unsigned lane, uint64_t id) {
    static struct truth none;
    const uint64_t at = id - variant->base;
    if (at >= IDS) {
        violation("lane %u: message %" PRIu64 " has no such number", lane, id);
        return &none;
    }
    return &truths[lane][at];
}

/* ---- what the memory says */

static uint64_t serial_of(unsigned lane, const struct shm_record *record) {
    uint64_t serial;
    const uint8_t *payload = (uint8_t *)(record_of(lane, 0) + RECORDS);
    memcpy(&serial, payload + record->pos % SIZE, sizeof serial);
    return serial;
}

static void committed(unsigned lane, uint64_t seq) {
    const struct shm_record *record = record_of(lane, seq);
    if (record->seq != seq)
        violation("lane %u: record %" PRIu64 " is sent and isn't there", lane, seq);
    struct truth *truth = truth_of(lane, record->id);
    if (record->id == seq)
        *truth = (struct truth){
            .serial = serial_of(lane, record),
            .type = record->type,
            .sent_ns = current != NULL ? sim_now_ns() : 0,
        };
    else if (truth->received > 0)
        violation("lane %u: message %" PRIu64 " is sent again behind its receipt", lane,
                  record->id);
}

static void sent_stored(unsigned lane, uint64_t value) {
    if (value <= sent[lane] || value > sent[lane] + RECORDS)
        violation("lane %u goes from %" PRIu64 " to %" PRIu64, lane, sent[lane], value);
    while (sent[lane] < value && !violated())
        committed(lane, ++sent[lane]);
}

/* Somebody takes a message: an older one of its type that nobody ever had goes first. */
static void taken(unsigned lane, const struct shm_record *record) {
    struct truth *truth = truth_of(lane, record->id);
    for (uint64_t id = variant->base + 1; id < record->id; id++) {
        const struct truth *older = truth_of(lane, id);
        if (!truth->taken && older->serial != 0 && older->type == truth->type && !older->taken)
            violation("lane %u: message %" PRIu64 " is taken before %" PRIu64, lane, record->id,
                      id);
    }
    truth->taken = true;
}

static void claim_stored(unsigned lane, unsigned index, uint64_t word) {
    const struct shm_record *record = record_of(lane, index);
    const unsigned state = word >> SHM_CLAIM_STATE_SHIFT & 3;
    if ((uint32_t)record->seq != (uint32_t)(word >> SHM_CLAIM_SEQ_SHIFT))
        return; /* it was appended again meanwhile, and will be given back */
    if (state == SHM_CLAIM_TAKEN && lane_of(lane)->moving != record->seq)
        taken(lane, record);
    else /* whose move was given up in between, or who gives it back */
        truth_of(lane, record->id)->taken = true;
    if (state != SHM_CLAIM_DONE)
        return;
    done_ns[lane] = sim_now_ns();
    if (truth_of(lane, record->id)->received++ > 0)
        violation("lane %u: message %" PRIu64 " is received twice", lane, record->id);
}

static void stored(size_t offset, uint64_t value) {
    const size_t lanes = (size_t)(queue->lanes - region), claims = (size_t)(queue->claims - region);
    if (offset >= claims) {
        const size_t lane = (offset - claims) / queue->geometry.claims_stride;
        const size_t in = (offset - claims) % queue->geometry.claims_stride;
        if (lane < variant->lanes && in >= sizeof(struct shm_claims))
            claim_stored((unsigned)lane, (unsigned)(in - sizeof(struct shm_claims)) / 8, value);
    } else if (offset >= lanes) {
        const size_t lane = (offset - lanes) / queue->geometry.stride;
        if (lane < variant->lanes &&
            (offset - lanes) % queue->geometry.stride == offsetof(struct shm_lane, sent))
            sent_stored((unsigned)lane, value);
    }
}

/* ---- senders */

static size_t length_of(uint64_t serial) {
    return VALUE_LEAST + serial % 3 * 8;
}

static int send_one(struct queue_sender *sender, int64_t type, unsigned how) {
    uint64_t value[2][VALUE_MAX / 8];
    struct queue_item items[2];
    void *data;
    for (unsigned i = 0; i < 2; i++) {
        const uint64_t serial = serials + 1 + i;
        value_make(value[i], length_of(serial), serial, 1);
        items[i] = (struct queue_item){type, value[i], length_of(serial)};
    }
    int r;
    if (how == 0) {
        r = (int)queue_send_batch(sender, items, 2);
        serials += 2;
        return r > 0 ? 0 : r;
    }
    if (how > 2) {
        r = queue_send(sender, type, value[0], items[0].bytes);
        serials += r == 0;
        return r;
    }
    r = queue_reserve(sender, VALUE_MAX, &data);
    if (r < 0)
        return r;
    shared_copy_to(data, value[0], items[0].bytes);
    if (how == 2) {
        queue_cancel(sender);
        return 0;
    }
    serials++;
    return queue_commit(sender, type, items[0].bytes);
}

/* Woken so often for nothing (what another one took, or gave back, or who took a lane over rang),
 * one sleeps plainly for once. */
static bool slept_plainly(unsigned empty_before) {
    return empty_before + current->futex_calls >= QUEUE_EMPTY_WAKES;
}

/* It slept on although there was room: receivers had been through long ago. */
static void check_woken_for_room(const struct role *role, uint64_t began_ns) {
    const uint64_t now = sim_now_ns(), done = done_ns[role->sender.index];
    if (!receiver_died && now - began_ns > LONG_NS && now - done > LONG_NS)
        violation("a sender sleeps on although there is room");
}

static void send_messages(struct process *process) {
    struct role *role = process->argument;
    memset(role->memory, 0, sizeof role->memory);
    const int opened = queue_sender_open(&role->sender, queue, role->who, role->memory, NULL, NULL);
    if (opened < 0) {
        if (opened != -EUSERS)
            violation("taking a lane gives error %d", opened);
        return;
    }
    if (unrung > 0) {
        unrung--;
        rung_ns = sim_now_ns();
    }
    for (; role->rounds > 0 && !violated(); role->rounds--) {
        const int64_t type = sim_below(4) == 0 ? UNWANTED : 1;
        int r = send_one(&role->sender, type, sim_below(8));
        for (unsigned waits = 0; r == -EAGAIN && waits < 2; waits++) {
            const uint64_t began_ns = sim_now_ns();
            const unsigned empty = role->sender.empty_wakes;
            process->futex_calls = 0;
            r = queue_wait_room(&role->sender, VALUE_MAX, UINT64_MAX, sim_below(4) == 0 ? 1000 : 0);
            if (r == 0) {
                if (!slept_plainly(empty))
                    check_woken_for_room(role, began_ns);
                r = send_one(&role->sender, type, 8);
            } else if (r == -ETIMEDOUT) {
                r = -EAGAIN;
            }
        }
        if (r < 0 && r != -EAGAIN)
            violation("sending gives error %d", r);
    }
    if (sim_below(2) == 0)
        queue_sender_close(&role->sender);
}

/* ---- receivers */

static void check_message(const struct queue_message *message, const uint64_t *data, size_t n) {
    const struct truth *truth = truth_of(message->lane, message->id);
    if (truth->serial == 0 || truth->type != message->type)
        violation("lane %u: message %" PRIu64 " wasn't sent", message->lane, message->id);
    else if (n != length_of(truth->serial) || !value_whole(data, n, truth->serial))
        violation("lane %u: message %" PRIu64 " is torn", message->lane, message->id);
}

/* 0: one was received, or given back. */
static int receive_one(struct role *role, struct queue_want want, unsigned how) {
    struct queue_message message;
    uint64_t data[VALUE_MAX / 8];
    const char *field = NULL;
    int r = queue_take(&role->receiver, want, sizeof data, &message, &field);
    if (r == -EBADMSG)
        violation("lane %u is damaged: %s", message.lane, field);
    if (r < 0)
        return r;
    const size_t n = queue_copy(&message, data, sizeof data);
    check_message(&message, data, n);
    r = how == 0 ? queue_abandon(&role->receiver, &message) : queue_done(&role->receiver, &message);
    if (r < 0)
        violation("lane %u: message %" PRIu64 " was taken, and isn't ours", message.lane,
                  message.id);
    return 0;
}

/* It was there long ago, nobody had it, and still it was slept for. */
static void check_woken(const struct queue_message *message, uint64_t began_ns) {
    const struct truth *truth = truth_of(message->lane, message->id);
    const uint64_t now = sim_now_ns();
    if (unrung == 0 && !truth->taken && now - began_ns > LONG_NS &&
        now - truth->sent_ns > LONG_NS && now - rung_ns > LONG_NS)
        violation("a receiver sleeps on although message %" PRIu64 " was sent", message->id);
}

static void receive_messages(struct process *process) {
    struct role *role = process->argument;
    static const struct queue_want wants[] = {{0, false},  {0, false},  {1, false},      {1, false},
                                              {-1, false}, {-2, false}, {UNWANTED, true}};
    const struct queue_want want = wants[sim_below(sizeof wants / sizeof *wants)];
    unsigned waits = 0;
    queue_receiver_init(&role->receiver, queue, role->who, role->memory);
    for (; role->rounds > 0 && !violated(); role->rounds--) {
        int r = receive_one(role, want, sim_below(6));
        if (r == -EAGAIN && sim_below(2) == 0 && waits < WAITS) {
            waits++;
            struct queue_message message;
            const uint64_t began_ns = sim_now_ns();
            const unsigned empty = role->receiver.empty_wakes;
            process->futex_calls = 0;
            r = queue_wait_message(&role->receiver, want, UINT64_MAX, sim_below(4) == 0 ? 1000 : 0,
                                   &message, NULL);
            if (r == 0 && !slept_plainly(empty))
                check_woken(&message, began_ns);
        }
        if (r < 0 && r != -EAGAIN && r != -ETIMEDOUT)
            violation("receiving gives error %d", r);
    }
}

/* ---- who dies, and who comes after */

static void succeed(struct process *dead);

static struct process *role_add(const char *name, bool sends, struct attachment who) {
    struct role *role = &roles[roles_n++];
    role->who = who;
    role->sends = sends;
    role->rounds = sends ? 1 + sim_below(6) : 2 + sim_below(10);
    struct process *process = process_add(name, sends ? send_messages : receive_messages, role);
    if (roles_n + PEOPLE <= ROLES && sim_below(3) > 0) {
        process->dies_in = 1 + sim_below(sends ? 250 : 400);
        process->died = succeed;
    }
    return process;
}

/* The manager learns of it, counts the attachment on, and grants it to the next. */
static void end_and_go_on(struct process *process) {
    const struct role *role = process->argument;
    shared_store_release64(&fixture->people[role->who.index].word,
                           (uint64_t)role->who.epoch << 8 | SHM_LEASE_LEASED);
    (role->sends ? send_messages : receive_messages)(process);
}

static void succeed(struct process *dead) {
    const struct role *role = dead->argument;
    if (role->sends)
        unrung++;
    else
        receiver_died = true;
    struct process *next = role_add("successor", role->sends,
                                    (struct attachment){role->who.index, role->who.epoch + 1});
    next->run = end_and_go_on;
    next->dies_in += next->dies_in > 0 ? 2 : 0; /* not before it is granted */
    thread_join(&next->thread, &dead->thread);
}

/* ---- when all is over */

static void check_rest(void) {
    static struct role last;
    uint64_t expected = 0;
    for (uint32_t i = 1; i <= PEOPLE; i++)
        queue_fixture_dies(fixture, (struct attachment){i, 1000});
    for (unsigned lane = 0; lane < variant->lanes; lane++)
        for (unsigned i = 0; i < IDS; i++)
            expected += truths[lane][i].serial != 0 && truths[lane][i].received == 0;
    if (queue_count(queue) != expected)
        violation("%" PRIu64 " messages are counted, and %" PRIu64 " are there", queue_count(queue),
                  expected);
    last.who = queue_fixture_person(fixture, PEOPLE + 1, 1);
    queue_receiver_init(&last.receiver, queue, last.who, last.memory);
    for (unsigned pass = 0; pass < 2 && !violated(); pass++) {
        struct queue_message message;
        uint64_t data[VALUE_MAX / 8];
        const struct queue_want any = {0};
        ssize_t n;
        while ((n = queue_receive(&last.receiver, any, data, sizeof data, false, &message, NULL)) >=
               0) {
            struct truth *truth = truth_of(message.lane, message.id);
            if (pass == 0)
                check_message(&message, data, (size_t)n);
            if (pass == 0 && truth->received++ > 0)
                violation("lane %u: message %" PRIu64 " is received twice, at last", message.lane,
                          message.id);
            expected -= pass == 0;
        }
        if (n != -EAGAIN || expected != 0)
            violation("%" PRIu64 " messages are lost; error %zd", expected, n);
        /* And whoever comes can send a whole lane full. */
        struct queue_sender sender;
        uint64_t memory[64];
        for (unsigned lane = 0; lane < variant->lanes && pass == 0; lane++) {
            const struct attachment who = queue_fixture_person(fixture, PEOPLE + 2 + lane, 1);
            int r = queue_sender_open(&sender, queue, who, memory, NULL, NULL);
            for (unsigned i = 0; r == 0 && i < RECORDS - 1; i++)
                r = queue_send(&sender, 1, data, VALUE_LEAST);
            if (r < 0)
                violation("at last, sending gives error %d", r);
        }
    }
}

/* ---- the world */

static void put_first(struct queue_sender *sender, int64_t type) {
    uint64_t value[VALUE_MAX / 8];
    serials++;
    value_make(value, length_of(serials), serials, 1);
    if (queue_send(sender, type, value, length_of(serials)) < 0)
        queue_fixture_fail("the first messages");
}

static void fill_first(const struct variant *v) {
    struct role first = {.who = queue_fixture_person(fixture, PEOPLE + 1, 1)};
    struct queue_message message;
    uint64_t data[VALUE_MAX / 8];
    for (unsigned lane = 0; lane < v->lanes; lane++)
        lane_of(lane)->sent = v->base;
    for (unsigned lane = 0; lane < v->lanes && v->base > 0; lane++)
        for (uint64_t seq = v->base < RECORDS ? 1 : v->base - RECORDS + 1; seq <= v->base; seq++)
            ((uint64_t *)(void *)(queue->claims + lane * queue->geometry.claims_stride +
                                  sizeof(struct shm_claims)))[seq % RECORDS] =
                seq << SHM_CLAIM_SEQ_SHIFT | (uint64_t)SHM_CLAIM_DONE << SHM_CLAIM_STATE_SHIFT;
    if (queue_sender_open(&first.sender, queue, first.who, first.memory, NULL, NULL) < 0)
        queue_fixture_fail("the first sender");
    for (unsigned i = 0; i < v->unwanted; i++)
        put_first(&first.sender, UNWANTED);
    for (unsigned i = 0; i < v->sent; i++)
        put_first(&first.sender, 1);
    queue_sender_close(&first.sender);
    queue_receiver_init(&first.receiver, queue, first.who, first.memory);
    for (unsigned i = 0; i < v->received; i++)
        if (queue_receive(&first.receiver, (struct queue_want){1, false}, data, sizeof data, false,
                          &message, NULL) < 0)
            queue_fixture_fail("the first receipts");
}

/* With all their steps. */
static void open_queues(void) {
#ifdef SHM_MUTANTS
    const enum mutant without = shm_mutant;
    shm_mutant = MUTANT_NONE;
#endif
    memory_open(region, sizeof region);
    for (size_t i = 0; i < VARIANTS; i++) {
        fixture = &fixtures[i];
        queue_fixture_make(fixture, SIZE, variants[i].lanes, 0);
        images[i] = fixture->memory;
        memcpy(region, images[i], fixture->bytes);
        queue_fixture_bind(fixture, region);
        queue = &fixture->queue;
        serials = 0;
        fill_first(&variants[i]);
        for (uint32_t j = 1; j <= PEOPLE; j++)
            queue_fixture_person(fixture, j, 1);
        memcpy(images[i], region, fixture->bytes);
        memset(region, 0, sizeof region);
    }
#ifdef SHM_MUTANTS
    shm_mutant = without;
#endif
}

/* What stands there at the start. */
static void know_first(void) {
    memset(truths, 0, sizeof truths);
    memset(done_ns, 0, sizeof done_ns);
    serials = 1000;
    for (unsigned lane = 0; lane < variant->lanes; lane++) {
        sent[lane] = variant->base;
        while (sent[lane] < lane_of(lane)->sent)
            committed(lane, ++sent[lane]);
    }
    for (unsigned i = 0; i < variant->received; i++) {
        struct truth *truth = truth_of(0, variant->base + 1 + variant->unwanted + i);
        truth->received = 1;
        truth->taken = true;
    }
}

static void schedule(void) {
    static const unsigned stale[] = {0, 16, 64, 128};
    const unsigned chosen = sim_below(VARIANTS);
    variant = &variants[chosen];
    fixture = &fixtures[chosen];
    queue = &fixture->queue;
    memory_reset(images[chosen], fixture->bytes, stale[sim_below(4)]);
    know_first();
    unrung = 0;
    rung_ns = 0;
    receiver_died = false;
    roles_n = 0;
    for (uint32_t i = 1; i <= variant->lanes; i++)
        role_add(i == 1 ? "sender 1" : "sender 2", true, (struct attachment){i, 1});
    role_add("receiver 1", false, (struct attachment){3, 1});
    if (sim_below(3) > 0)
        role_add("receiver 2", false, (struct attachment){4, 1});
    process_run_all();
    if (!violated())
        check_rest();
}

static void describe(size_t offset, char *to, size_t bytes) {
    static const char *const words[] = {"owner",     "reclaimed", "waiting",
                                        "takeovers", "high",      "moving"};
    const size_t lanes = (size_t)(queue->lanes - region), claims = (size_t)(queue->claims - region);
    if (offset >= fixture->section.bytes) {
        snprintf(to, bytes, "bell, people+%zu", offset - fixture->section.bytes);
        return;
    }
    if (offset >= claims) {
        const size_t in = (offset - claims) % queue->geometry.claims_stride;
        snprintf(to, bytes, "lane %zu claim %zu", (offset - claims) / queue->geometry.claims_stride,
                 in / 8 - sizeof(struct shm_claims) / 8);
        return;
    }
    const size_t lane = (offset - lanes) / queue->geometry.stride;
    const size_t in = (offset - lanes) % queue->geometry.stride;
    const size_t record = (in - sizeof(struct shm_lane)) / sizeof(struct shm_record);
    if (in == offsetof(struct shm_lane, sent))
        snprintf(to, bytes, "lane %zu sent", lane);
    else if (in >= 128 && in < 176)
        snprintf(to, bytes, "lane %zu %s", lane, words[in / 8 - 16]);
    else if (in >= sizeof(struct shm_lane) && record < RECORDS)
        snprintf(to, bytes, "lane %zu record %zu+%zu", lane, record, in % 64);
    else
        snprintf(to, bytes, "lane %zu+%zu", lane, in);
}

const struct world queue_world = {
    .name = "queue",
    .open = open_queues,
    .schedule = schedule,
    .describe = describe,
    .stored = stored,
};
