/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots and queues: many may write there, each by an attachment of his own.  Who may not, is kept
 * out; who may, and writes what he likes where he may, costs others nothing but his lane or slot.
 */
#include "hostile.h"

#include "core/crc32c.h"
#include "core/geometry.h"
#include "core/lease.h"

#define LANE_BYTES 4096 /* of 'pit' and the others: section.size */
#define SLOT_BYTES 64
#define TEXT_BYTES 100

/* ---- who may not */

static int denied(void) {
    return on_memfd() ? -EACCES : -EOPNOTSUPP;
}

/* The library refuses, and so does the manager, whatever numbers are said. */
static void kept_out(shmc *segment, const char *queue, const char *slots, const char *says) {
    shmc_section *q = open_section(segment, queue), *s = open_section(segment, slots);
    CHECK_IS(shmc_queue_send(q, 1, "x", 1, 0, 0), -EACCES);
    CHECK_SAYS(shmc_last_error(segment), says);
    CHECK_IS(shmc_slot_grab(s, 0), -EACCES);
    CHECK_SAYS(shmc_last_error(segment), says);
    CHECK_IS(shmc_slot_put(s, 0, "x", 1), -EACCES);
    shmc_close(s);
    shmc_close(q);
}

static void without_attachment(void) {
    shmc *segment = attach(NULL, 0);
    kept_out(segment, "pit", "bench", "reader");
    struct protocol_map lanes = arena_of("pit", NULL), slots = arena_of("bench", NULL);
    lanes.writable = slots.writable = 1;
    CHECK_IS(fetch(&lanes, NULL), denied());
    CHECK_IS(fetch(&slots, NULL), denied());
    /* Others' numbers stand in the header. */
    lanes.attachment_epoch = lease_epoch(segment, "driver", &lanes.attachment);
    CHECK_IS(fetch(&lanes, NULL), denied());
    shmc_detach(segment);
}

/* The numbers of this process's own attachment. */
static void own_numbers(shmc *segment, struct protocol_map *map) {
    struct shmc_attachment_info *all;
    size_t n;
    CHECK_IS(shmc_attachments(segment, &all, &n), 0);
    for (size_t i = 0; i < n; i++)
        if (all[i].pid == getpid()) {
            map->attachment = all[i].attachment;
            map->attachment_epoch = all[i].epoch;
        }
    CHECK(map->attachment != 0);
    free(all);
}

static void outside_write_group(void) {
    shmc *segment = attach(NULL, SHMC_ANONYMOUS);
    kept_out(segment, "guarded", "guarded.slots", "write_group");
    struct protocol_map map = arena_of("guarded", NULL);
    map.writable = 1;
    own_numbers(segment, &map);
    CHECK_IS(fetch(&map, NULL), denied());
    shmc_detach(segment);
}

static void claims_of_another(void) {
    char text[TEXT_BYTES];
    struct shm_section section;
    shmc *segment = attach("mallory", 0);
    shmc_section *jobs = open_section(segment, "jobs");
    CHECK_IS(shmc_queue_send(jobs, 1, "x", 1, 0, PATIENCE_MS), 0);
    CHECK_IS(shmc_queue_receive(jobs, 0, text, sizeof text, 0, 0, NULL), -EACCES);
    CHECK_SAYS(shmc_last_error(segment), "driver");
    struct protocol_map lanes = arena_of("jobs", &section), map = lanes;
    const struct shm_header *header;
    struct shmc_segment_info about;
    CHECK_IS(shmc_segment(segment, &about), 0);
    header = about.base;
    struct shm_directory head;
    struct shm_arena claims;
    const uint8_t *at =
        (const uint8_t *)about.base + header->directories[header->generation & 1].offset;
    memcpy(&head, at, sizeof head);
    memcpy(&claims, at + head.arenas_off + section.claims_arena * sizeof claims, sizeof claims);
    map.index = section.claims_arena;
    map.incarnation = claims.incarnation;
    map.writable = lanes.writable = 1;
    map.attachment_epoch = lease_epoch(segment, "mallory", &map.attachment);
    CHECK_IS(fetch(&map, NULL), denied());
    lanes.attachment = map.attachment;
    lanes.attachment_epoch = map.attachment_epoch;
    const int fd = fetch(&lanes, NULL); /* which he may write as any sender */
    CHECK(on_memfd() ? fd >= 0 : fd == -EOPNOTSUPP);
    shmc_detach(segment);
}

/* An attachment without a name is nobody's worker. */
static void nameless_as_owner(void) {
    shmc *segment = attach(NULL, SHMC_ANONYMOUS);
    struct protocol_map map = arena_of("temps", NULL);
    map.writable = 1;
    own_numbers(segment, &map);
    CHECK_IS(fetch(&map, NULL), denied());
    CHECK_IS(shmc_publish(open_section(segment, "bait"), "x", 1), -EACCES);
    CHECK_IS(shmc_drop(segment, "victims"), -EACCES);
    shmc_detach(segment);
}

/* ---- who may: two with manners beside him, who do a thing each time that they are told to */

static struct child sender, receiver, holder;
static shmc *mallory;
static struct shm_section section; /* his */
static uint8_t *extent;

static void text_of(char text[TEXT_BYTES], uint32_t n) {
    memset(text, 'a' + (int)(n % 26), TEXT_BYTES);
    memcpy(text, &n, sizeof n);
}

static void be_sender(int from, int to) {
    char text[TEXT_BYTES];
    uint32_t n;
    shmc *segment = attach(NULL, SHMC_ANONYMOUS);
    shmc_section *pit = open_section(segment, "pit");
    say(to, 's');
    while (read(from, &n, sizeof n) == sizeof n) {
        text_of(text, n);
        const int r = shmc_queue_send(pit, 7, text, sizeof text, 0, 0);
        say(to, r == 0 ? 'k' : r == -EAGAIN ? 'f' : r == -EBADMSG ? 'b' : '?');
    }
    shmc_detach(segment);
}

/* All that comes until the message of that number does. */
static void receive_until(shmc *segment, pid_t from, uint32_t n) {
    static char buffer[LANE_BYTES];
    char text[TEXT_BYTES];
    shmc_section *pit = open_section(segment, "pit");
    text_of(text, n);
    for (unsigned i = 0; i < 1000; i++) {
        struct shmc_message about;
        const ssize_t r = shmc_queue_receive(pit, 0, buffer, sizeof buffer, 0, PATIENCE_MS, &about);
        if (r == -EBADMSG) {
            CHECK_SAYS(shmc_last_error(segment), "lane 0");
            continue;
        }
        CHECK(r >= 0 && r <= LANE_BYTES / 2);
        if (about.pid != from || about.lane == 0)
            continue;
        CHECK_IS(r, sizeof text);
        CHECK(memcmp(buffer, text, sizeof text) == 0); /* each once, in its order */
        shmc_close(pit);
        return;
    }
    CHECK(false);
}

static void be_receiver(int from, int to) {
    uint32_t n;
    shmc *segment = attach("heir", 0);
    say(to, 'r');
    while (read(from, &n, sizeof n) == sizeof n) {
        receive_until(segment, sender.pid, n);
        say(to, 'k');
    }
    shmc_detach(segment);
}

static char told(const struct child *child, uint32_t n) {
    CHECK(write(child->to, &n, sizeof n) == sizeof n);
    return hear(child->from);
}

static void pass_one(void) {
    static uint32_t n;
    n++;
    CHECK_IS(told(&sender, n), 'k');
    CHECK_IS(told(&receiver, n), 'k');
}

/* ---- in his lane */

static struct shm_lane *lane;
static struct shm_record *records;
static struct queue_geometry geometry;

/* One that is right in all respects. */
static struct shm_record *put_record(uint64_t seq) {
    struct shm_record *record = &records[seq & (geometry.records - 1)];
    *record = (struct shm_record){
        .seq = seq, .id = seq, .len = 8, .type = 1, .send_ns = 1, .attachment = 1, .pid = 1};
    record->crc = CRC32C_OF((const struct shm_record *)record);
    return record;
}

static void begin_lane(void) {
    mallory = attach(NULL, SHMC_ANONYMOUS);
    shmc_section *pit = open_section(mallory, "pit");
    CHECK_IS(shmc_queue_send(pit, 1, "mine", 4, 0, PATIENCE_MS), 0); /* the lowest lane */
    extent = extent_of(mallory, "pit", &section);
    CHECK(queue_geometry(&geometry, section.size, section.count));
    lane = (struct shm_lane *)(void *)(extent + (section.ctl_off - section.offset) +
                                       sizeof(struct shm_control));
    records = (struct shm_record *)(void *)(lane + 1);
    sender = start_child(be_sender);
    CHECK_IS(hear(sender.from), 's');
    receiver = start_child(be_receiver);
    CHECK_IS(hear(receiver.from), 'r');
    pass_one();
}

static void end_lane(void) {
    pass_one();
    CHECK_IS(end_child(&receiver, 0), 0); /* it has the other's pipes, too */
    CHECK_IS(end_child(&sender, 0), 0);
    shmc_detach(mallory);
}

static const uint64_t values[] = {
    0,          1,          2,          63,         64,        LANE_BYTES,
    2049,       1u << 31,   UINT32_MAX, 1ull << 32, INT64_MAX, UINT64_MAX,
    1ull << 63, 1ull << 62, 3ull << 8,  0x20001ull, ~1ull,     UINT64_MAX - 63,
    1ull << 55};

static void own_lane_lines(void) {
    struct shm_lane right;
    begin_lane();
    memcpy(&right, lane, sizeof right);
    for (size_t at = 0; at < sizeof right; at += 8)
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
            memcpy((uint8_t *)lane + at, &values[i], 8);
            if (i % 2 == 0)
                lane->crc = crc32c(lane, offsetof(struct shm_lane, crc));
            pass_one();
            memcpy(lane, &right, sizeof right);
        }
    memset(lane, 0xff, sizeof *lane);
    pass_one();
    memcpy(lane, &right, sizeof right);
    end_lane();
}

static void own_records(void) {
    begin_lane();
    uint64_t seq = lane->sent;
    for (size_t at = 0; at < sizeof(struct shm_record); at += 4)
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
            struct shm_record *record = put_record(++seq);
            memcpy((uint8_t *)record + at, &values[i], at % 8 == 0 ? 8 : 4);
            if (i % 2 == 0)
                record->crc = CRC32C_OF((const struct shm_record *)record);
            __atomic_store_n(&lane->sent, seq, __ATOMIC_RELEASE);
            pass_one();
            put_record(seq); /* or the receiver has got no further than that */
        }
    end_lane();
}

/* While the receiver is at it. */
static void own_lane_racing(void) {
    static uint8_t right[1 << 14];
    begin_lane();
    const size_t bytes = sizeof *lane + geometry.records * sizeof *records;
    CHECK(bytes <= sizeof right);
    memcpy(right, lane, bytes);
    for (uint32_t round = 0; round < 300; round++) {
        const uint32_t n = 1000000 + round;
        CHECK_IS(told(&sender, n), 'k');
        CHECK(write(receiver.to, &n, sizeof n) == sizeof n);
        struct pollfd wait = {.fd = receiver.from, .events = POLLIN};
        for (unsigned i = 0; i < 300 && poll(&wait, 1, 0) == 0; i++) {
            for (unsigned k = 0; k < 40; k++)
                ((uint8_t *)lane)[(unsigned)rand() % (sizeof *lane + 8 * sizeof *records)] =
                    (uint8_t)rand();
            put_record((unsigned)rand() % 8);
            lane->sent = (unsigned)rand() % 16;
        }
        CHECK_IS(hear(receiver.from), 'k');
        memcpy(lane, right, bytes);
    }
    end_lane();
}

/* ---- in the claims, as the queue's receiver */

static void take_the_rest(shmc_section *queue) {
    char text[TEXT_BYTES];
    while (shmc_queue_receive(queue, 0, text, sizeof text, SHMC_TRUNCATE, 0, NULL) != -EAGAIN)
        ;
}

static void own_claims(void) {
    static uint8_t right[1 << 14];
    char text[TEXT_BYTES];
    mallory = attach("heir", 0);
    shmc_section *pit = open_section(mallory, "pit");
    take_the_rest(pit);
    extent = extent_of(mallory, "pit", &section);
    CHECK(queue_geometry(&geometry, section.size, section.count));
    uint8_t *claims = extent + (section.claims_off - section.offset);
    const size_t bytes = section.count * geometry.claims_stride;
    CHECK(bytes <= sizeof right);
    memcpy(right, claims, bytes);
    sender = start_child(be_sender);
    CHECK_IS(hear(sender.from), 's');
    for (uint32_t round = 0; round < 600; round++) {
        for (unsigned i = 0; i < 1 + round % 40; i++)
            claims[(unsigned)rand() % (round % 2 == 0 ? geometry.claims_stride : bytes)] =
                (uint8_t)rand();
        if (round % 50 == 0)
            memset(claims, (int)round, bytes);
        const char said = told(&sender, round);
        CHECK(said == 'k' || said == 'f' || said == 'b');
    }
    CHECK_IS(end_child(&sender, 0), 0);
    /* Whoever comes next sends, and is received. */
    memcpy(claims, right, bytes);
    sender = start_child(be_sender);
    CHECK_IS(hear(sender.from), 's');
    AWAIT(told(&sender, 4242) == 'k' ||
          shmc_queue_receive(pit, 0, text, sizeof text, SHMC_TRUNCATE, 0, NULL) == -EAGAIN);
    CHECK_IS(end_child(&sender, 0), 0);
    take_the_rest(pit);
    shmc_detach(mallory);
}

/* ---- in his slot */

static void be_holder(int from, int to) {
    char text[TEXT_BYTES], found[SLOT_BYTES];
    uint32_t n;
    shmc *segment = attach(NULL, SHMC_ANONYMOUS), *reader = attach(NULL, 0);
    shmc_section *mine = open_section(segment, "bench"), *all = open_section(reader, "bench");
    struct shmc_slot about;
    CHECK_IS(shmc_slot_grab(mine, 0), 1);
    say(to, 'h');
    while (read(from, &n, sizeof n) == sizeof n) {
        text_of(text, n);
        CHECK_IS(shmc_slot_put(mine, 1, text, SLOT_BYTES), 0);
        CHECK_IS(shmc_slot_get(all, 1, found, sizeof found, &about), SLOT_BYTES);
        CHECK(memcmp(found, text, SLOT_BYTES) == 0 && about.held && about.pid == getpid());
        const ssize_t r = shmc_slot_get(all, 0, found, sizeof found, &about);
        CHECK((r >= 0 && r <= SLOT_BYTES) || r == -EBADMSG || r == -ENODATA || r == -EAGAIN);
        CHECK(shmc_num_free(all) <= shmc_num_slots(all));
        say(to, 'k');
    }
    shmc_detach(reader);
    shmc_detach(segment);
}

static void own_slot(void) {
    static const uint64_t some[] = {
        0,          1,          3,          SLOT_BYTES + 1,       UINT32_MAX,
        UINT64_MAX, 1ull << 63, 1ull << 56, 0x0000000700010200ull};
    static uint8_t right[1 << 12];
    uint32_t n = 0;
    mallory = attach(NULL, SHMC_ANONYMOUS);
    shmc_section *bench = open_section(mallory, "bench");
    CHECK_IS(shmc_slot_grab(bench, 0), 0);
    for (int i = 0; i < 3; i++)
        CHECK_IS(shmc_slot_put(bench, 0, "mallory's", 10), 0);
    extent = extent_of(mallory, "bench", &section);
    uint8_t *slot = extent + (section.ctl_off - section.offset) + sizeof(struct shm_control);
    struct slots_geometry g;
    CHECK(slots_geometry(&g, section.size, section.count, false) && g.stride <= sizeof right);
    memcpy(right, slot, g.stride);
    holder = start_child(be_holder);
    CHECK_IS(hear(holder.from), 'h');
    for (size_t at = 0; at < g.stride; at += 8)
        for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
            memcpy(slot + at, &some[i], 8);
            CHECK_IS(told(&holder, ++n), 'k');
            memcpy(slot + at, right + at, 8);
        }
    memset(slot, 0xff, g.stride);
    CHECK_IS(told(&holder, ++n), 'k');
    CHECK_IS(end_child(&holder, 0), 0);
    memcpy(slot, right, g.stride);
    CHECK_IS(shmc_slot_release(bench, 0), 0);
    shmc_detach(mallory);
}

/* ---- to have them all */

/* As many attachments as there are for one user; others get theirs. */
static void hoard_attachments(void) {
    unsigned n = 0;
    void *map;
    for (;; n++) {
        union protocol_message m = {0};
        int lease = -1, socket = call_manager();
        send_as(socket, &m, PROTOCOL_CLAIM, sizeof m.claim);
        take_message(socket, &m, &lease);
        if (m.head.type == PROTOCOL_REFUSED) {
            CHECK_IS(m.head.result, -EUSERS);
            CHECK_SAYS(m.refused.text, "anonymous attachments, and may have");
            close(socket);
            break;
        }
        CHECK_IS(m.head.type, PROTOCOL_GRANT);
        CHECK(lease >= 0 && lease_map(lease, &map) == 0);
        m.ack = (struct protocol_ack){.attachment = m.grant.attachment,
                                      .attachment_epoch = m.grant.attachment_epoch};
        send_as(socket, &m, PROTOCOL_ACK, sizeof m.ack);
        take_message(socket, &m, NULL);
        CHECK_IS(m.head.type, PROTOCOL_LEASED);
        close(socket);
    }
    CHECK(n > 100);
    CHECK_IS(root_attaches(), 0);
    victim_goes_on();
    shmc_detach(attach("crowd", 0)); /* a worker still comes */
    CHECK_IS(root_sends(), 0);       /* and another user without a name */
}

const struct attack many_attacks[] = {
    {"write_without_attachment", READER, DENIED, without_attachment},
    {"write_outside_write_group", READER, DENIED, outside_write_group},
    {"claims_of_another", WORKER, DENIED, claims_of_another},
    {"nameless_as_owner", READER, DENIED, nameless_as_owner},
    {"own_lane_lines", READER, DENIED, own_lane_lines},
    {"own_records", READER, DENIED, own_records},
    {"own_lane_racing", READER, DENIED, own_lane_racing},
    {"own_claims", READER, DENIED, own_claims},
    {"own_slot", READER, DENIED, own_slot},
    {"hoard_attachments", READER, DENIED, hoard_attachments},
    {0}};
