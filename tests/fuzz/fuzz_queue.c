/* SPDX-License-Identifier: Apache-2.0
 *
 * A queue with any bytes changed, also while it is received from or sent to: by a hostile sender in
 * his lane, by a hostile receiver in the claims, and anywhere, under a descriptor that may be wrong
 * as well.  Nothing outside its memory is touched, no call goes on for ever, what comes is a
 * message that was asked for or -EBADMSG, once for each lane; and whatever is done in one lane, the
 * messages of the other come whole, each once, in their order.
 */
#include "core/crc32c.h"
#include "core/queue.h"
#include "fuzz.h"

#include <errno.h>
#include <string.h>

#define SIZE  512u /* of a lane's payload */
#define COUNT 2u
#define OURS  1u /* the lane that nobody damages, where the sender of the other is hostile */
#define SENT  6u /* messages that stand in it */
/* A call looks at so many records that it makes fewer accesses; more is going on for ever. */
#define ACCESSES 2000000u

enum { SENDER = 1, OTHER, DEAD, RECEIVER, ATTACHMENTS };

static uint8_t *memory, *right;
static struct queue_geometry geometry;
static struct shm_bell bell;
static struct shm_section section;
static struct shm_attachment records[ATTACHMENTS];
static const struct attachments attachments = {.at = records, .capacity = ATTACHMENTS};

static struct target lane_targets[8], claims_targets[4], all_targets[16];
static struct victim lane_victim, claims_victim, victim;

static struct attachment who(uint32_t index) {
    return (struct attachment){index, index == DEAD ? 4 : 5};
}

static struct shm_lane *lane_at(uint32_t lane) {
    return (struct shm_lane *)(void *)(memory + sizeof(struct shm_control) +
                                       lane * geometry.stride);
}

/* So that more than the checksums is tried. */
static void fix(void) {
    struct shm_control *control = (struct shm_control *)(void *)memory;
    control->crc = CRC32C_OF((const struct shm_control *)control);
    for (uint32_t i = 0; i < COUNT; i++) {
        lane_at(i)->crc = crc32c(lane_at(i), offsetof(struct shm_lane, crc));
        struct shm_record *record = (struct shm_record *)(void *)(lane_at(i) + 1);
        for (uint32_t k = 0; k < geometry.records; k++, record++)
            record->crc = CRC32C_OF((const struct shm_record *)record);
    }
}

/* ---- a queue in use */

static struct queue bind_right(void) {
    struct queue queue;
    const char *field;
    MUST(queue_bind(&queue, memory, &section, &bell, &attachments, &field) == 0);
    return queue;
}

static void text_of(char text[40], unsigned number) {
    memset(text, 0, 40);
    snprintf(text, 40, "message %03u of a sender with manners", number);
}

static void send_some(const struct queue *queue, uint32_t sender) {
    struct queue_sender s;
    char text[40];
    void *private = calloc(1, queue_sender_bytes(queue));
    MUST(private != NULL);
    MUST(queue_sender_open(&s, queue, who(sender), private, NULL, NULL) == 0);
    MUST(s.index == (sender == OTHER ? OURS : 0));
    for (unsigned i = 1; i <= SENT; i++) {
        text_of(text, i);
        MUST(queue_send(&s, 1 + i % 3, text, sizeof text) == 0);
    }
    free(private);
}

/* One that was received, and one whose receiver died. */
static void take_some(const struct queue *queue) {
    struct queue_receiver r;
    struct queue_message message;
    const char *field;
    void *private = calloc(1, queue_receiver_bytes(queue));
    MUST(private != NULL);
    queue_receiver_init(&r, queue, who(RECEIVER), private);
    MUST(queue_take(&r, (struct queue_want){0}, SIZE, &message, &field) == 0);
    MUST(message.lane == 0 && queue_done(&r, &message) == 0);
    r.who = who(DEAD);
    r.turn = 0;
    MUST(queue_take(&r, (struct queue_want){0}, SIZE, &message, &field) == 0);
    MUST(message.lane == 0);
    free(private);
}

static void aim(void) {
    const size_t lane = sizeof(struct shm_control);
    const size_t ring = lane + sizeof(struct shm_lane);
    const struct target at_lane[] = {
        {lane, SHM_LINE},
        {lane + offsetof(struct shm_lane, sent), 8},
        {lane + offsetof(struct shm_lane, owner), 2 * SHM_LINE},
        {lane + offsetof(struct shm_lane, moving), 8},
        {ring + sizeof(struct shm_record), sizeof(struct shm_record)},
        {ring + 2 * sizeof(struct shm_record), (SENT - 1) * sizeof(struct shm_record)},
        {ring, geometry.records * sizeof(struct shm_record)},
        {lane, geometry.stride},
    };
    const struct target at_claims[] = {
        {geometry.lanes_bytes, SHM_LINE},
        {geometry.lanes_bytes + sizeof(struct shm_claims), (SENT + 2) * sizeof(uint64_t)},
        {geometry.lanes_bytes + geometry.claims_stride, geometry.claims_stride},
        {geometry.lanes_bytes, COUNT * geometry.claims_stride},
    };
    memcpy(lane_targets, at_lane, sizeof at_lane);
    memcpy(claims_targets, at_claims, sizeof at_claims);
    memcpy(all_targets, at_lane, sizeof at_lane);
    memcpy(all_targets + 8, at_claims, sizeof at_claims);
    all_targets[12] = (struct target){0, SHM_LINE};
    all_targets[13] = (struct target){lane + geometry.stride, geometry.stride};
    all_targets[14] = (struct target){0, geometry.bytes};
    lane_victim = (struct victim){
        .memory = memory, .right = right, .targets = lane_targets, .targets_n = 8, .fix = fix};
    claims_victim = lane_victim;
    claims_victim.targets = claims_targets;
    claims_victim.targets_n = 4;
    victim = lane_victim;
    victim.targets = all_targets;
    victim.targets_n = 15;
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    MUST(queue_geometry(&geometry, SIZE, COUNT));
    section = (struct shm_section){.section_id = 7,
                                   .incarnation = 3,
                                   .bytes = geometry.bytes,
                                   .claims_off = geometry.lanes_bytes,
                                   .size = SIZE,
                                   .count = COUNT,
                                   .kind = SHM_KIND_QUEUE,
                                   .state = SHM_PLACE_LIVE};
    for (uint32_t i = 1; i < ATTACHMENTS; i++)
        records[i].word = 5 << 8 | (i == DEAD ? SHM_LEASE_FREE : SHM_LEASE_LEASED);
    /* On the heap, so that the byte behind it is out of bounds. */
    MUST((memory = aligned_alloc(SHM_LINE, geometry.bytes)) != NULL);
    MUST((right = malloc(geometry.bytes)) != NULL);
    memset(memory, 0, geometry.bytes);
    queue_format(memory, &section);
    const struct queue queue = bind_right();
    send_some(&queue, SENDER);
    send_some(&queue, OTHER);
    take_some(&queue);
    memcpy(right, memory, geometry.bytes);
    aim();
    return 0;
}

/* ---- receiving */

static struct queue_want take_want(struct input *input) {
    struct queue_want want = {.type = (int64_t)take_below(input, 8) - 4};
    if (take_below(input, 16) == 0)
        want.type = (int64_t)take_number(input, 0);
    want.except = want.type > 0 && take_below(input, 4) == 0;
    return want;
}

static bool is_wanted(struct queue_want want, int64_t type) {
    if (want.except)
        return type != want.type;
    return want.type == 0 ||
           (want.type > 0 ? type == want.type : want.type == INT64_MIN || type <= -want.type);
}

/* What any call may say of a message. */
static void check_message(const struct queue *queue, struct queue_want want,
                          const struct queue_message *message) {
    volatile uint8_t sum = 0;
    const uint8_t *data = message->data;
    const uint8_t *payloads = (const uint8_t *)(lane_at(message->lane) + 1) +
                              geometry.records * sizeof(struct shm_record);
    MUST(message->lane < queue->section.count && message->type > 0);
    MUST(is_wanted(want, message->type));
    MUST(message->length <= queue->geometry.max_message);
    MUST(data >= payloads && data + message->length <= payloads + geometry.data_bytes);
    for (uint32_t i = 0; i < message->length; i++)
        sum = (uint8_t)(sum + data[i]);
}

/* Each lane is said to be bad once. */
static void check_damage(unsigned *bad, const struct queue_message *message, const char *field) {
    MUST(field != NULL && message->lane < COUNT && (*bad & 1u << message->lane) == 0);
    *bad |= 1u << message->lane;
}

static int look_closer(void *context, const struct queue_message *message) {
    check_message(context, (struct queue_want){0}, message);
    return 0;
}

static void look_around(const struct queue *queue, struct queue_receiver *r, unsigned *bad) {
    struct queue_message message;
    const char *field = NULL;
    int e = queue_each(r, (struct queue_want){0}, look_closer, (void *)(uintptr_t)queue, &message,
                       &field);
    MUST(e == 0 || e == -EBADMSG);
    if (e < 0)
        check_damage(bad, &message, field);
    MUST(queue_count(queue) <= COUNT * geometry.records);
    for (uint32_t i = 0; i < COUNT; i++) {
        struct queue_lane_stat stat;
        queue_lane_stat(queue, i, &stat);
        MUST(stat.messages <= geometry.records && stat.taken <= geometry.records);
        MUST(stat.bytes <= (uint64_t)geometry.records * geometry.max_message);
    }
}

static void receive(const struct queue *queue, struct input *input) {
    struct queue_receiver r;
    struct queue_message message;
    char *buffer = malloc(SIZE), *private = calloc(1, queue_receiver_bytes(queue));
    const size_t room = take_below(input, SIZE);
    unsigned bad = 0;
    MUST(buffer != NULL && private != NULL);
    queue_receiver_init(&r, queue, who(take_below(input, 8) == 0 ? 0 : RECEIVER), private);
    for (unsigned i = 0; i < 24; i++) {
        const struct queue_want want = take_want(input);
        const bool truncate = take_below(input, 2) != 0;
        const char *field = NULL;
        ssize_t n;
        if (i % 8 == 7)
            look_around(queue, &r, &bad);
        if (i % 3 == 2) {
            n = queue_take(&r, want, room, &message, &field);
            if (n == 0) {
                check_message(queue, want, &message);
                MUST(message.length <= room);
                const int end = take_below(input, 2) != 0 ? queue_done(&r, &message)
                                                          : queue_abandon(&r, &message);
                MUST(end == 0 || end == -ESTALE);
            }
        } else {
            n = queue_receive(&r, want, buffer, room, truncate, &message, &field);
            MUST(n <= (ssize_t)room);
            if (n >= 0)
                check_message(queue, want, &message);
        }
        MUST(n >= 0 || n == -EAGAIN || n == -EBADMSG || n == -EACCES || n == -E2BIG);
        MUST(n != -EACCES || r.who.index == 0);
        MUST(n != -E2BIG || message.length > room);
        if (n == -EBADMSG)
            check_damage(&bad, &message, field);
    }
    free(private);
    free(buffer);
}

/* All that the sender with manners sent. */
static void receive_ours(const struct queue *queue) {
    struct queue_receiver r;
    struct queue_message message;
    char text[40], buffer[SIZE];
    void *private = calloc(1, queue_receiver_bytes(queue));
    unsigned bad = 0, ours = 0;
    ssize_t n;
    MUST(private != NULL);
    queue_receiver_init(&r, queue, who(RECEIVER), private);
    for (unsigned i = 0; ours < SENT; i++) {
        const char *field = NULL;
        MUST(i < 100000);
        n = queue_receive(&r, (struct queue_want){0}, buffer, sizeof buffer, false, &message,
                          &field);
        if (n == -EBADMSG)
            check_damage(&bad, &message, field);
        else
            MUST(n >= 0); /* there is one of ours */
        if (n < 0 || message.lane != OURS)
            continue;
        text_of(text, ++ours);
        MUST(n == (ssize_t)sizeof text && memcmp(buffer, text, sizeof text) == 0);
        MUST(message.id == ours && message.type == 1 + ours % 3 && !message.redelivered);
        MUST(message.sender.index == OTHER && message.sender.epoch == 5);
    }
    MUST((bad & 1u << OURS) == 0);
    free(private);
}

/* ---- sending */

static void send_one(struct queue_sender *s, struct input *input) {
    static const uint8_t value[2 * SIZE];
    const size_t bytes = take_below(input, SIZE);
    void *data;
    int e;
    if (take_below(input, 3) != 0) {
        e = queue_send(s, 1, value, bytes);
    } else {
        e = queue_reserve(s, bytes, &data);
        if (e == 0) {
            memset(data, 7, bytes);
            e = queue_commit(s, 2, bytes);
        }
    }
    MUST(e == 0 || e == -EAGAIN || e == -EBADMSG || e == -ESTALE || e == -EMSGSIZE);
    MUST(e != -EMSGSIZE || bytes > geometry.max_message);
}

/* Takes the lane over, or the next, or none; whatever stands in claims and records. */
static void send_over(const struct queue *queue, struct input *input) {
    struct queue_sender s;
    const char *field = NULL;
    uint32_t lane = COUNT;
    void *private = calloc(1, queue_sender_bytes(queue));
    MUST(private != NULL);
    /* Who sent there has gone; what he left is what it is. */
    if (take_below(input, 2) != 0)
        records[SENDER].word = 6 << 8 | SHM_LEASE_LEASED;
    const int e =
        queue_sender_open(&s, queue, (struct attachment){RECEIVER, 5}, private, &lane, &field);
    /* -ESTALE: a lane's owner word says that the manager sealed it. */
    MUST(e == 0 || e == -EUSERS || e == -ESTALE ||
         (e == -EBADMSG && lane < COUNT && field != NULL));
    for (unsigned i = 0; e == 0 && i < 3 * geometry.records; i++)
        send_one(&s, input);
    if (e == 0)
        queue_sender_close(&s);
    records[SENDER].word = 5 << 8 | SHM_LEASE_LEASED;
    free(private);
}

/* ---- descriptors */

static void damage_descriptor(struct input *input, struct shm_section *s) {
    switch (take_below(input, 16)) {
    case 0: /* never more than there is: the directory sees to that */
        s->bytes = sizeof(struct shm_control) +
                   take(input, 2) % (geometry.bytes - sizeof(struct shm_control));
        break;
    case 1:
        s->size = take_number(input, s->size);
        break;
    case 2:
        s->count = (uint32_t)take_number(input, s->count);
        break;
    case 3:
        s->claims_off = take_number(input, s->claims_off);
        break;
    case 4:
        s->flags = (uint32_t)take(input, 4);
        break;
    default:
        break;
    }
}

enum course { HOSTILE_SENDER, RECEIVES, SENDS, HOSTILE_RECEIVER, COURSES };

/* volatile: what is looked at behind the jump */
static volatile bool ended;

static void run_course(enum course course, const struct queue *queue, struct input *input) {
    ended = false;
    if (sigsetjmp(damage_jump, 0) == 0) {
        damage_limit(ACCESSES);
        if (course == HOSTILE_SENDER)
            receive_ours(queue);
        else if (course == RECEIVES)
            receive(queue, input);
        else
            send_over(queue, input);
        ended = true;
    }
    damage_limit(0);
    MUST(ended);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    struct input input = {data, data + bytes};
    const enum course course = (enum course)take_below(&input, COURSES);
    struct victim *chosen = course == HOSTILE_SENDER     ? &lane_victim
                            : course == HOSTILE_RECEIVER ? &claims_victim
                                                         : &victim;
    struct shm_section found = section;
    struct queue queue;
    const char *field = NULL;
    chosen->fixes = take_below(&input, 2) != 0;
    if (course == RECEIVES || course == SENDS)
        damage_descriptor(&input, &found);
    bell = (struct shm_bell){0};
    damage_begin(chosen, &input);
    const int r = queue_bind(&queue, memory, &found, &bell, &attachments, &field);
    MUST(r == 0 || (r == -EBADMSG && field != NULL));
    MUST(r == 0 || course == RECEIVES || course == SENDS);
    if (r == 0) {
        MUST(queue.section.count == COUNT && queue.geometry.bytes <= found.bytes);
        run_course(course, &queue, &input);
    }
    damage_end();
    memcpy(memory, right, geometry.bytes);
    return 0;
}
