/* SPDX-License-Identifier: Apache-2.0
 *
 * After a kill, on a copy of the memory: two receivers take all that there is; a successor and
 * another sender fill their lanes first; and the account must be exact.
 */
#include "account.h"
#include "core/shared.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CHECKED   (ACCOUNT_NUMBERS - 256) /* numbers from here on are the checks' own */
#define TAKEN_MAX 256u

struct account *account;
struct scene real;

static struct scene copy;
static size_t place_bytes;
static uint64_t low = 1;             /* below it all are received, or never were sent */
static bool seen[ACCOUNT_NUMBERS];   /* it is in the queue, though that wasn't said yet */
static bool missed[ACCOUNT_NUMBERS]; /* it is no more */
static uint8_t bytes[256 * 8 + ACCOUNT_BYTES];
static uint64_t taken[TAKEN_MAX]; /* by the last drain */
static uint32_t taken_lane[TAKEN_MAX];
static unsigned taken_n;

/* ---- messages */

static uint64_t mixed(uint64_t number, uint64_t i) {
    uint64_t x = number * UINT64_C(0x9e3779b97f4a7c15) + i;
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    return x ^ x >> 31;
}

int64_t message_type(uint64_t number) {
    const uint64_t random = mixed(number, 1);
    return random % 2 == 0 ? 1 : 1 + (int64_t)(random / 2 % ACCOUNT_TYPES);
}

/* Now and then the largest that a lane takes; most need one line. */
size_t message_bytes(uint64_t number) {
    const uint64_t random = mixed(number, 2);
    if (random % 32 == 0)
        return ACCOUNT_BYTES / 2;
    return 8 + (random >> 8) % (random % 4 == 0 ? 120 : 40);
}

/* Bytes of which no two messages of a time have the same; made beforehand, as what the process does
 * to fill and to compare them is stepped through as well. */
static const uint8_t *bytes_of(uint64_t number) {
    return bytes + number % 256 * 8;
}

void message_fill(void *to, uint64_t number) {
    memcpy(to, &number, sizeof number);
    memcpy((uint8_t *)to + sizeof number, bytes_of(number), message_bytes(number) - sizeof number);
}

static bool message_right(const void *data, size_t n, int64_t type, uint64_t number) {
    return number > 0 && number < ACCOUNT_NUMBERS && n == message_bytes(number) &&
           type == message_type(number) &&
           memcmp((const uint8_t *)data + sizeof number, bytes_of(number), n - sizeof number) == 0;
}

uint64_t message_number(const struct queue_message *message, const void *data, size_t n) {
    uint64_t number = 0;
    if (n < sizeof number)
        return 0;
    memcpy(&number, data, sizeof number);
    if (!message_right(data, n, message->type, number) || account->fate[number] != SENT)
        return 0;
    return number;
}

/* ---- the memory */

static void *memory(size_t n) {
    void *at = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        sweep_fail("memory", -errno);
    return at;
}

static void scene_open(struct scene *scene, const struct shm_section *section) {
    const char *field = NULL;
    scene->place = memory(place_bytes);
    for (unsigned i = 1; i < ATTACHMENTS; i++)
        scene->place->attachments[i].word = UINT64_C(1) << 8 | SHM_LEASE_LEASED;
    queue_format(scene->place->memory, section);
    const struct attachments attachments = {scene->place->attachments, ATTACHMENTS, NULL, NULL};
    const int r = queue_bind(&scene->queue, scene->place->memory, section, &scene->place->bell,
                             &attachments, &field);
    if (r < 0)
        sweep_fail(field, r);
}

void account_open(void) {
    struct queue_geometry geometry;
    struct shm_section section = {.section_id = 7,
                                  .incarnation = 3,
                                  .kind = SHM_KIND_QUEUE,
                                  .state = SHM_PLACE_LIVE,
                                  .flags = SHM_SECTION_STAMP_COARSE,
                                  .size = ACCOUNT_BYTES,
                                  .count = ACCOUNT_LANES};
    if (!queue_geometry(&geometry, section.size, section.count))
        sweep_fail("geometry", -EINVAL);
    section.bytes = geometry.bytes;
    section.claims_off = geometry.lanes_bytes;
    place_bytes = sizeof(struct place) + geometry.bytes;
    scene_open(&real, &section);
    scene_open(&copy, &section);
    account = memory(sizeof *account);
    account->next = 1;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)mixed(i, 3);
}

void account_watch(struct watched *watched) {
    const struct queue_geometry *geometry = &real.queue.geometry;
    watched_clear(watched);
    watched_add(watched, &real.place->bell, sizeof real.place->bell);
    watched_add(watched, real.place->memory, geometry->lanes_bytes);
    watched_add(watched, real.queue.claims, ACCOUNT_LANES * geometry->claims_stride);
}

struct attachment account_attachment(const struct scene *scene, unsigned index) {
    return (struct attachment){index, (uint32_t)(scene->place->attachments[index].word >> 8)};
}

void account_end_lease(struct scene *scene) {
    uint64_t *word = &scene->place->attachments[STEPPED].word;
    shared_store_release64(word, *word + (1 << 8));
}

static void take_copy(void) {
    memcpy(copy.place, real.place, place_bytes);
    account_end_lease(&copy);
}

/* ---- what is tried on the copy */

static void *private(unsigned i, size_t n) {
    static void *blocks[4];
    if (blocks[i] == NULL && (blocks[i] = malloc(n)) == NULL)
        sweep_fail("memory", -ENOMEM);
    return memset(blocks[i], 0, n);
}

static void receiver_open(struct queue_receiver *ret, unsigned index) {
    queue_receiver_init(ret, &copy.queue, account_attachment(&copy, index),
                        private(index == OTHER, queue_receiver_bytes(&copy.queue)));
}

static void note_taken(struct sweep *sweep, const struct queue_message *message, const void *data,
                       size_t n, const char *when) {
    uint64_t number = 0;
    memcpy(&number, data, sizeof number);
    if (!message_right(data, n, message->type, number))
        sweep_violation(sweep, "%s: a message isn't whole (%zu bytes)", when, n);
    for (unsigned i = taken_n; i-- > 0;)
        if (taken[i] == number)
            sweep_violation(sweep, "%s: message %" PRIu64 " comes twice", when, number);
    if (taken_n == TAKEN_MAX) {
        sweep_violation(sweep, "%s: there is no end of messages", when);
        return;
    }
    taken[taken_n] = number;
    taken_lane[taken_n++] = message->lane;
}

/* All of them, the two in turn; first those of a type, if there is one. */
static void drain(struct sweep *sweep, int64_t type, const char *when) {
    struct queue_receiver receivers[2];
    struct queue_message message;
    uint8_t data[ACCOUNT_BYTES];
    uint64_t last[ACCOUNT_LANES] = {0};
    const char *field = NULL;
    ssize_t n = 0;
    receiver_open(&receivers[0], SUCCESSOR);
    receiver_open(&receivers[1], OTHER);
    taken_n = 0;
    for (unsigned i = 0; n != -EAGAIN || type != 0; i++) {
        if (n == -EAGAIN) {
            type = 0;
            memset(last, 0, sizeof last);
        }
        n = queue_receive(&receivers[i % 2], (struct queue_want){.type = type}, data, sizeof data,
                          false, &message, &field);
        if (n == -EAGAIN)
            continue;
        if (n < 8 || message.lane >= ACCOUNT_LANES) {
            sweep_violation(sweep, "%s: a receiver gets %zd (%s)", when, n, field ? field : "");
            return;
        }
        const unsigned before = taken_n;
        note_taken(sweep, &message, data, (size_t)n, when);
        if (taken_n == before || sweep_failed(sweep))
            return;
        if (taken[before] < last[message.lane])
            sweep_violation(sweep, "%s: message %" PRIu64 " comes behind %" PRIu64, when,
                            taken[before], last[message.lane]);
        last[message.lane] = taken[before];
    }
}

static bool was_taken(uint64_t number) {
    for (unsigned i = 0; i < taken_n; i++)
        if (taken[i] == number)
            return true;
    return false;
}

/* One that should be there, or gone. */
static void check_message(struct sweep *sweep, uint64_t number, bool *gone, const char *when) {
    const bool there = was_taken(number);
    const char *wrong = NULL;
    *gone = false;
    switch (account->fate[number]) {
    case UNSENT:
        wrong = there ? "was never sent, and comes" : NULL;
        break;
    case SENDING:
        wrong = seen[number] && !there ? "is lost again" : NULL;
        seen[number] |= there;
        break;
    case SENT:
        if (number == account->held)
            wrong = there ? "is another's, and comes" : NULL;
        else
            wrong = there && missed[number] ? "was received, and comes again" : NULL;
        *gone = !there && number != account->held;
        missed[number] |= *gone;
        break;
    default:
        wrong = there ? "was received, and comes again" : NULL;
    }
    if (wrong != NULL)
        sweep_violation(sweep, "%s: message %" PRIu64 " %s", when, number, wrong);
}

static void check_all(struct sweep *sweep, const char *when) {
    unsigned gone_n = 0;
    uint64_t last = 0;
    bool gone;
    for (uint64_t number = low; number < account->next; number++) {
        check_message(sweep, number, &gone, when);
        gone_n += gone;
        last = gone ? number : last;
    }
    if (gone_n > account->taking)
        sweep_violation(sweep,
                        "%s: %u messages are lost, the last one is %" PRIu64 "; %u are "
                        "being received",
                        when, gone_n, last, account->taking);
    for (unsigned i = 0; i < taken_n; i++)
        if (taken[i] >= account->next && taken[i] < CHECKED)
            sweep_violation(sweep, "%s: message %" PRIu64 " comes from nowhere", when, taken[i]);
}

/* Until its lane is full: how many it could send, from number `first` on. */
static unsigned fill(struct sweep *sweep, struct queue_sender *sender, uint64_t first,
                     const char *when) {
    uint8_t data[ACCOUNT_BYTES];
    unsigned n = 0;
    for (; n < 64; n++) {
        message_fill(data, first + n);
        const int r = queue_send(sender, message_type(first + n), data, message_bytes(first + n));
        if (r == -EAGAIN)
            return n;
        if (r < 0) {
            sweep_violation(sweep, "%s: a sender gets %d", when, r);
            return n;
        }
    }
    sweep_violation(sweep, "%s: a lane has no end", when);
    return n;
}

/* An empty lane takes one of the largest. */
static void check_room(struct sweep *sweep, struct queue_sender *sender, const char *when) {
    void *data;
    const int r = queue_reserve(sender, ACCOUNT_BYTES / 2, &data);
    if (r < 0)
        sweep_violation(sweep, "%s: an empty lane has no room: %d", when, r);
}

static bool sender_open(struct sweep *sweep, struct queue_sender *ret, unsigned index,
                        const char *when) {
    uint32_t lane = 0;
    const char *field = NULL;
    const int r = queue_sender_open(ret, &copy.queue, account_attachment(&copy, index),
                                    private(2 + (index == OTHER), queue_sender_bytes(&copy.queue)),
                                    &lane, &field);
    if (r < 0)
        sweep_violation(sweep, "%s: a sender finds no lane: %d (%s)", when, r, field ? field : "");
    return r == 0;
}

static void check_senders(struct sweep *sweep) {
    static const char when[] = "with a successor";
    struct queue_sender successor, other;
    const uint32_t ring = copy.place->bell.ring;
    if (!sender_open(sweep, &successor, SUCCESSOR, when) ||
        !sender_open(sweep, &other, OTHER, when))
        return;
    if (ring == copy.place->bell.ring && copy.place->bell.want != 0)
        sweep_violation(sweep, "%s: who sleeps isn't woken", when);
    const unsigned n = fill(sweep, &successor, CHECKED, when);
    const unsigned m = fill(sweep, &other, CHECKED + 64, when);
    drain(sweep, 0, when);
    check_all(sweep, when);
    for (unsigned i = 0; i < 128; i++)
        if (was_taken(CHECKED + i) != (i < 64 ? i < n : i - 64 < m))
            sweep_violation(sweep, "%s: its message %u of %u and %u is lost, or doubled", when, i,
                            n, m);
    if (account->held == 0) {
        check_room(sweep, &successor, when);
        check_room(sweep, &other, when);
    }
    queue_sender_close(&successor);
    queue_sender_close(&other);
}

void account_check(struct sweep *sweep) {
    take_copy();
    drain(sweep, (int64_t)(sweep_random() % (ACCOUNT_TYPES + 1)), "at the kill");
    check_all(sweep, "at the kill");
    take_copy();
    check_senders(sweep);
}

uint32_t account_relocated(void) {
    struct queue_lane_stat stat;
    uint32_t n = 0;
    for (uint32_t i = 0; i < ACCOUNT_LANES; i++) {
        queue_lane_stat(&real.queue, i, &stat);
        n += stat.relocated;
    }
    return n;
}

void account_settle(struct sweep *sweep) {
    account_check(sweep);
    account->taking = 0;
    for (uint64_t number = low; number < account->next; number++) {
        if (account->fate[number] == SENDING)
            account->fate[number] = seen[number] ? SENT : UNSENT;
        else if (missed[number])
            account->fate[number] = RECEIVED;
        seen[number] = missed[number] = false;
    }
    while (low < account->next && (account->fate[low] == RECEIVED || account->fate[low] == UNSENT))
        low++;
}
