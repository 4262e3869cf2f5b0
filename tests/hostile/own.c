/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker may write any bytes in its own arena.  Readers and the manager, which look at them all
 * the time, give an error or a value of a length that there can be, and go on.
 */
#include "hostile.h"

#include <fcntl.h>
#include <linux/falloc.h>

#define BAIT_BYTES 2000
#define CANARY     0xc5

static shmc *mallory;
static struct shm_section bait;
static uint8_t *extent; /* of the section 'bait' */
static struct shm_snapshot *snapshot;
static struct child reader;

/* ---- a reader that looks whenever it is told to */

static void fits(ssize_t n) {
    CHECK(n <= BAIT_BYTES);
    if (n < 0)
        CHECK(n == -EBADMSG || n == -EAGAIN || n == -ENODATA || n == -ETIMEDOUT || n == -EIDRM);
}

static void read_all_ways(shmc *segment, shmc_section *section) {
    static uint8_t value[BAIT_BYTES + 64];
    struct shmc_value about;
    struct shmc_section_info info;
    shmc_section *anew = NULL;
    const void *data;
    size_t bytes = 0;
    memset(value + BAIT_BYTES, CANARY, 64);
    fits(shmc_read(section, value, BAIT_BYTES, &about));
    fits(shmc_next(section, value, BAIT_BYTES, 0, &about));
    fits(shmc_follow(section, value, BAIT_BYTES, 0, &about));
    int r = shmc_view(section, &data, &bytes, &about);
    fits(r);
    if (r == 0) {
        CHECK(bytes <= BAIT_BYTES);
        memcpy(value, data, bytes);
        CHECK(shmc_valid(section) <= 1);
    }
    r = shmc_open(&anew, segment, "bait", NULL);
    CHECK(r == 0 || r == -EBADMSG);
    if (r == 0)
        fits(shmc_read(anew, value, BAIT_BYTES, NULL));
    shmc_close(anew);
    CHECK_IS(shmc_inspect(segment, "bait", &info), 0);
    for (size_t i = 0; i < 64; i++)
        CHECK_IS(value[BAIT_BYTES + i], CANARY);
}

static void be_reader(int from, int to) {
    char order;
    shmc *segment = attach(NULL, 0);
    shmc_section *section = open_section(segment, "bait");
    say(to, 'r');
    while (read(from, &order, 1) == 1) {
        read_all_ways(segment, section);
        say(to, 'k');
    }
    shmc_detach(segment);
}

static void look(void) {
    say(reader.to, 'g');
    CHECK_IS(hear(reader.from), 'k');
}

/* ---- the arena, as it was and will be again */

static uint8_t *saved;

static void begin(void) {
    mallory = attach("mallory", 0);
    shmc_section *section = open_section(mallory, "bait");
    for (int i = 0; i < 6; i++)
        CHECK_IS(shmc_publish(section, "bait", 4), 0);
    extent = extent_of(mallory, "bait", &bait);
    snapshot = (struct shm_snapshot *)(void *)(extent + (bait.ctl_off - bait.offset));
    CHECK_IS(snapshot->control.magic, SHM_CONTROL_SNAPSHOT);
    saved = malloc(bait.bytes);
    CHECK(saved != NULL);
    memcpy(saved, extent, bait.bytes);
    reader = start_child(be_reader);
    CHECK_IS(hear(reader.from), 'r');
    look();
}

static void restore(void) {
    memcpy(extent, saved, bait.bytes);
}

static void finish(void) {
    look();
    /* The manager reads it too, and saves what is others'. */
    int r = root_requests("checkpoint");
    CHECK(r == 0 || r == -EAGAIN);
    CHECK_IS(root_requests("checkpoint temps"), 0);
    restore();
    look();
    CHECK_IS(end_child(&reader, 0), 0);
    CHECK_IS(root_requests("checkpoint"), 0);
    shmc_detach(mallory);
}

/* ---- field by field */

static void spoil(uint8_t *field, size_t bytes) {
    static const uint64_t values[] = {0,          1,           2,          63,          64,
                                      BAIT_BYTES, 2049,        4096,       UINT32_MAX,  1u << 31,
                                      INT64_MAX,  UINT64_MAX,  1ull << 63, 1ull << 56,  7ull << 56,
                                      12,         ~0ull << 56, ~1ull,      0x7fffffff8, 13};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        memcpy(field, &values[i], bytes);
        look();
    }
    for (size_t bit = 0; bit < 8 * bytes; bit += 3) {
        memcpy(field, saved + (field - extent), bytes);
        field[bit / 8] ^= (uint8_t)(1u << bit % 8);
        look();
    }
    memcpy(field, saved + (field - extent), bytes);
}

static void own_control(void) {
    begin();
    for (size_t at = 0; at < sizeof(struct shm_control); at += 4)
        spoil((uint8_t *)&snapshot->control + at, 4);
    memset(&snapshot->control, 0xff, sizeof snapshot->control);
    finish();
}

static void own_head(void) {
    begin();
    spoil((uint8_t *)&snapshot->head, 8);
    spoil((uint8_t *)&snapshot->epoch, 8);
    /* Versions that jump, and buffers that there aren't. */
    for (uint64_t i = 0; i < 200; i++) {
        snapshot->head = i << 56 | (UINT64_C(1) << (i % 56)) << 1;
        look();
    }
    snapshot->head = ~UINT64_C(0);
    finish();
}

static void own_buffers(void) {
    begin();
    for (unsigned i = 0; i < snapshot->control.count; i++) {
        struct shm_buffer *buffer = (void *)((uint8_t *)snapshot + snapshot->control.buf_off +
                                             i * snapshot->control.stride);
        for (size_t at = 0; at < 40; at += 8)
            spoil((uint8_t *)buffer + at, 8);
    }
    finish();
}

/* A value that says to be longer than there can be, whole in every other respect. */
static void own_length(void) {
    begin();
    struct shm_buffer *buffer =
        (void *)((uint8_t *)snapshot + snapshot->control.buf_off +
                 (snapshot->head >> SHM_HEAD_BUFFER_SHIFT) * snapshot->control.stride);
    shmc *segment = attach(NULL, 0);
    shmc_section *section = open_section(segment, "bait");
    static uint8_t value[1 << 20];
    for (uint64_t bytes = snapshot->control.stride - SHM_LINE + 1; bytes != 0; bytes *= 2) {
        buffer->len = bytes;
        CHECK_IS(shmc_read(section, value, sizeof value, NULL), -EBADMSG);
    }
    shmc_detach(segment);
    finish();
}

static void own_random(void) {
    begin();
    for (unsigned seed = 1; seed <= 300; seed++) {
        for (unsigned i = 0; i < 1 + seed % 50; i++)
            extent[(unsigned)rand() % (seed % 2 == 0 ? 512 : bait.bytes)] = (uint8_t)rand();
        look();
        if (seed % 20 == 0)
            restore();
    }
    for (uint64_t i = 0; i < bait.bytes; i++)
        extent[i] = (uint8_t)rand();
    finish();
}

/* While readers are in the midst of it. */
static void own_racing(void) {
    begin();
    say(reader.to, 'g');
    for (unsigned round = 0; round < 400; round++) {
        struct pollfd wait = {.fd = reader.from, .events = POLLIN};
        for (unsigned i = 0; i < 2000 && poll(&wait, 1, 0) == 0; i++)
            memset(extent, (int)(i + round), (unsigned)rand() % bait.bytes);
        restore();
        CHECK_IS(hear(reader.from), 'k');
        say(reader.to, 'g');
    }
    CHECK_IS(hear(reader.from), 'k');
    finish();
}

/* ---- while the manager looks: it copies values out, to save them and to move them */

/* A child has the arena as well, though the library wouldn't have it so. */
static void scribble(int from, int to) {
    (void)from;
    say(to, 's');
    for (unsigned i = 0;; i++) {
        memset(extent + (unsigned)rand() % bait.bytes / 2, (int)i, (unsigned)rand() % 512);
        if (i % 8 == 0)
            memcpy(extent, saved, bait.bytes);
    }
}

static struct child start_scribbling(void) {
    const uintptr_t from = (uintptr_t)extent & ~(uintptr_t)(SHM_PAGE - 1);
    CHECK(madvise((void *)from, (uintptr_t)extent - from + bait.bytes, MADV_DOFORK) == 0);
    struct child child = start_child(scribble);
    CHECK_IS(hear(child.from), 's');
    return child;
}

static void own_racing_the_manager(void) {
    begin();
    struct child child = start_scribbling();
    for (int i = 0; i < 30; i++) {
        int r = root_requests("checkpoint");
        CHECK(r == 0 || r == -EAGAIN);
        CHECK_IS(root_requests("checkpoint temps"), 0);
        look();
    }
    end_child(&child, SIGKILL);
    finish();
}

static void own_racing_revocation(void) {
    for (int i = 0; i < 5; i++) {
        begin();
        struct child child = start_scribbling();
        CHECK_IS(root_requests("revoke mallory"), 0);
        look();
        end_child(&child, SIGKILL);
        CHECK_IS(end_child(&reader, 0), 0);
        shmc_detach(mallory);
        free(saved);
    }
    begin(); /* the next holder publishes, and is read */
    finish();
}

/* ---- its pages: they stay, but for what they hold */

static void own_holes(void) {
    begin();
    CHECK(madvise((void *)((uintptr_t)extent & ~4095ull), bait.bytes, MADV_REMOVE) == 0);
    look();
    finish();
}

static void own_size_and_seals(void) {
    uint64_t bytes;
    shmc *segment = attach("mallory", 0);
    struct protocol_map map = arena_of("bait", NULL), other = arena_of("temps", NULL);
    map.writable = other.writable = 1;
    map.attachment_epoch = lease_epoch(segment, "mallory", &map.attachment);
    other.attachment = map.attachment;
    other.attachment_epoch = map.attachment_epoch;
    int fd = fetch(&map, &bytes);
    CHECK(fd >= 0);
    REFUSED(ftruncate(fd, 0), EPERM);
    REFUSED(ftruncate(fd, (off_t)bytes * 2), EPERM);
    REFUSED(fallocate(fd, 0, (off_t)bytes, SHM_PAGE), EPERM);
    REFUSED(pwrite(fd, "x", 1, (off_t)bytes), EPERM);
    REFUSED(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EPERM);
    REFUSED(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), EPERM);
    REFUSED(fchmod(fd, 0), EPERM);
    CHECK_IS(fetch(&other, NULL), -EACCES); /* with a lease of one's own, another's arena */
    close(fd);
    shmc_detach(segment);
    CHECK_IS(fetch(&map, NULL), -EACCES); /* which is over */
}

void hold_garbage(void) {
    become(MALLORY_UID, MALLORY_UID, (gid_t[]){GROUP}, 1);
    mallory = attach("mallory", 0);
    open_section(mallory, "bait");
    extent = extent_of(mallory, "bait", &bait);
    for (uint64_t i = 0; i < bait.bytes; i++)
        extent[i] = (uint8_t)rand();
    puts("holding");
    fflush(stdout);
    while (getchar() != EOF)
        ;
    shmc_detach(mallory);
}

const struct attack own_attacks[] = {
    {"own_control_line", WORKER, DENIED, own_control},
    {"own_head", WORKER, DENIED, own_head},
    {"own_buffers", WORKER, DENIED, own_buffers},
    {"own_length", WORKER, DENIED, own_length},
    {"own_random_bytes", WORKER, DENIED, own_random},
    {"own_bytes_racing", WORKER, DENIED, own_racing},
    {"own_bytes_racing_the_manager", WORKER, DENIED, own_racing_the_manager},
    {"own_bytes_racing_revocation", WORKER, NONE, own_racing_revocation},
    {"own_holes", WORKER, DENIED, own_holes},
    {"own_size_and_seals", WORKER, NONE, own_size_and_seals},
    {0}};
