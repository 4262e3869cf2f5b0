/* SPDX-License-Identifier: Apache-2.0
 *
 * One section: a writer that may die at any access, up to three successors, readers that copy and
 * one that looks in place, a follower, two sleepers, and now and then somebody who plays with the
 * doorbell.  The kernel refuses some of them the barrier.
 *
 * What must hold: a value is whole, and by the writer that published its version; a process never
 * sees the version go back; nothing is found before it was published; a follower misses only what
 * was overwritten; when a publish has returned nobody sleeps for what it published (or not for
 * long).
 */
#include "sim.h"

#include "sim_values.h"
#include "snapshot_fixture.h"

#include <errno.h>
#include <inttypes.h>

#define SIZE     40u
#define VERSIONS 64u
#define WRITERS  4u
#define WRAP     ((UINT64_C(1) << 31) - 3) /* the futex, the head's low half, wraps two later */
#define DEADLINE UINT64_C(1000000000000)

static const struct variant {
    uint32_t count, flags;
    uint64_t base; /* version that is there at the start */
} variants[] = {
    {2, SHM_SECTION_STAMP_NONE, 0},    {3, SHM_SECTION_STAMP_NONE, 0},
    {4, SHM_SECTION_STAMP_NONE, 0},    {2, SHM_SECTION_NOTIFY_ALWAYS, 0},
    {3, SHM_SECTION_NOTIFY_ALWAYS, 0}, {3, SHM_SECTION_STAMP_NONE, WRAP},
};
#define VARIANTS (sizeof variants / sizeof *variants)

static struct section {
    struct fixture fixture; /* its memory is the image that schedules begin with */
    struct snapshot snapshot;
} sections[VARIANTS];

static uint8_t region[4096] __attribute__((aligned(4096)));

/* The schedule that runs. */
static const struct variant *variant;
static struct snapshot *snapshot;
static uint64_t newest, head;
static uint32_t who[VERSIONS]; /* epoch of the writer that published version `base + i` */
static bool hinted, hostile;
static unsigned writers_n;

static struct role {
    struct snapshot_writer writer;
    uint32_t epoch;
    unsigned publishes;
} roles[WRITERS];

/* ---- the writers */

/* Who has no barrier that reaches the writers looks again soon by itself. */
static bool polls(const struct process *process) {
    return process->refused &&
           process->wake_at <= sim_now_ns() + SNAPSHOT_POLL_MS * UINT64_C(1000000);
}

static void check_sleepers(void) {
    const struct process *process;
    for (unsigned i = 0; (process = process_at(i)) != NULL; i++)
        if (process->state == PROCESS_ASLEEP &&
            process->futex == (uint32_t *)&snapshot->shared->head &&
            process->expected != (uint32_t)head && !hostile && !polls(process))
            violation("%s sleeps on although version %" PRIu64 " was published", process->name,
                      newest);
}

static void publish(struct role *role) {
    uint64_t value[SIZE / 8];
    void *data;
    size_t room;
    const uint64_t version = newest + 1;
    const size_t bytes = VALUE_LEAST + version % 3 * 8;
    const unsigned how = sim_below(8);
    value_make(value, bytes, version, role->epoch);
    if (how == 0 && snapshot_begin(&role->writer, &data, &room) == 0) {
        shared_copy_to(data, value, bytes - 8);
        snapshot_abort(&role->writer);
    }
    if (how < 2) {
        snapshot_begin(&role->writer, &data, &room);
        shared_copy_to(data, value, bytes);
        snapshot_commit(&role->writer, bytes);
    } else if (snapshot_publish(&role->writer, value, bytes) < 0) {
        violation("a publish fails");
    }
    if (newest != version)
        violation("version %" PRIu64 " was not published", version);
    check_sleepers();
}

static void write_values(struct process *process) {
    struct role *role = process->argument;
    const int r = snapshot_take_over(&role->writer, snapshot, role->epoch);
    if (r < 0)
        violation("a take-over gives error %d", r);
    while (r == 0 && role->publishes > 0) {
        role->publishes--;
        publish(role);
    }
}

static void succeed(struct process *dead);

static struct process *writer_add(const char *name, unsigned publishes) {
    struct role *role = &roles[writers_n++];
    role->epoch = 100 + writers_n;
    role->publishes = publishes;
    struct process *process = process_add(name, write_values, role);
    if (writers_n < WRITERS && sim_below(4) > 0) {
        process->dies_in = 1 + sim_below(30 * publishes + 10);
        process->died = succeed;
    }
    return process;
}

/* The kernel told of the death, and all that the dead did comes before. */
static void succeed(struct process *dead) {
    thread_join(&writer_add("successor", 1 + sim_below(4))->thread, &dead->thread);
}

static void stored(size_t offset, uint64_t value) {
    const uint8_t *at = region + offset;
    if (at == (uint8_t *)&snapshot->bell->hint)
        hinted = true;
    if (at != (uint8_t *)&snapshot->shared->head)
        return;
    const uint64_t version = (value >> SHM_HEAD_VERSION_SHIFT) & SHM_VERSION_MAX;
    if (version != newest + 1 || version - variant->base >= VERSIONS) {
        violation("the head goes from version %" PRIu64 " to %" PRIu64, newest, version);
        return;
    }
    head = value;
    newest = version;
    who[version - variant->base] = ((struct role *)current->argument)->epoch;
}

/* ---- those who look */

static bool check_value(const uint64_t *data, ssize_t n, const struct snapshot_value *value,
                        uint64_t least) {
    const struct values_known known = {.newest = newest, .base = variant->base, .who = who};
    return values_check(&known, data, n, value, least);
}

static void read_values(struct process *process) {
    struct snapshot_reader reader;
    struct snapshot_value value;
    uint64_t data[SIZE / 8], last = variant->base;
    (void)process;
    snapshot_reader_init(&reader, snapshot);
    for (unsigned reads = 2 + sim_below(6); reads > 0; reads--) {
        const ssize_t n = snapshot_read(&reader, data, sizeof data, &value);
        if (n == -ENODATA && last == 0)
            continue;
        if (!check_value(data, n, &value, last))
            return;
        last = value.version;
    }
}

/* Keeps what it looks at for a while. */
static void view_values(struct process *process) {
    struct snapshot_reader reader;
    struct snapshot_value value;
    const void *at;
    uint64_t data[SIZE / 8], last = variant->base;
    (void)process;
    snapshot_reader_init(&reader, snapshot);
    for (unsigned views = 2 + sim_below(4); views > 0; views--) {
        const int r = snapshot_view(&reader, &at, &value);
        if (r == -ENODATA && last == 0)
            continue;
        if (r < 0 || value.length > sizeof data) {
            violation("a view gives error %d, length %" PRIu64, r, value.length);
            return;
        }
        shared_copy_from(data, at, value.length);
        if (snapshot_valid(&reader, &value) &&
            !check_value(data, (ssize_t)value.length, &value, last))
            return;
        last = value.version;
    }
}

static void follow(struct process *process) {
    struct snapshot_reader reader;
    struct snapshot_value value;
    uint64_t data[SIZE / 8], next = variant->base + 1;
    (void)process;
    snapshot_reader_init(&reader, snapshot);
    for (unsigned looks = 4 + sim_below(8); looks > 0; looks--) {
        const ssize_t n = snapshot_read_version(&reader, next, data, sizeof data, &value);
        if (n == -ENODATA)
            continue;
        if (n != -ESTALE) {
            if (!check_value(data, n, &value, next))
                return;
            if (value.version != next)
                violation("version %" PRIu64 " is found for %" PRIu64, value.version, next);
            next++;
            continue;
        }
        /* A lapped reader may have had a newer one spared in its place. */
        const uint64_t kept = variant->count - 1 - (hinted && variant->count > 2);
        if (next + kept > newest)
            violation("version %" PRIu64 " is missing, and the newest is %" PRIu64, next, newest);
        next = value.version > next + kept ? value.version - kept : next + 1;
    }
}

static void sleep_for_values(struct process *process) {
    struct snapshot_reader reader;
    struct snapshot_value value;
    uint64_t data[SIZE / 8], last = variant->base;
    snapshot_reader_init(&reader, snapshot);
    for (unsigned waits = 1 + sim_below(5); waits > 0; waits--) {
        process->futex_calls = 0;
        const int r = snapshot_wait(&reader, last, DEADLINE, sim_below(4) == 0 ? 1000 : 0);
        const unsigned polls = process->refused ? SHM_SLEEP_BOUND_MS / SNAPSHOT_POLL_MS : 0;
        if (process->futex_calls > SNAPSHOT_EMPTY_WAKES + 1 + polls)
            violation("sleeps %u times for nothing", process->futex_calls);
        if (r == -ETIMEDOUT)
            continue;
        const ssize_t n = r == 0 ? snapshot_read(&reader, data, sizeof data, &value) : r;
        if (!check_value(data, n, &value, last + 1))
            return;
        last = value.version;
    }
}

/* Whoever may attach can do this. */
static void play(struct process *process) {
    struct shm_bell *bell = snapshot->bell;
    (void)process;
    for (unsigned rounds = 24; rounds > 0; rounds--) {
        const unsigned what = sim_below(8);
        if (what == 0)
            shared_store_relaxed32(&bell->want, sim_below(2));
        else if (what == 1)
            shared_store_relaxed64(&bell->hint, newest << 8 | sim_below(4));
        else
            futex_wake((const uint32_t *)&snapshot->shared->head);
    }
}

/* ---- the world */

static void open_sections(void) {
    memory_open(region, sizeof region);
    for (size_t i = 0; i < VARIANTS; i++) {
        struct section *section = &sections[i];
        fixture_make(&section->fixture, SIZE, variants[i].count, variants[i].flags);
        if (variants[i].base > 0)
            fixture_put_base(&section->fixture, variants[i].base);
        struct fixture copy = section->fixture;
        memcpy(region, copy.memory, copy.bytes);
        fixture_bind(&copy, region);
        section->snapshot = copy.snapshot;
    }
}

static void schedule(void) {
    static const unsigned stale[] = {0, 16, 64, 128};
    const unsigned chosen = sim_below(VARIANTS);
    struct section *section = &sections[chosen];
    memory_reset(section->fixture.memory, section->fixture.bytes, stale[sim_below(4)]);
    variant = &variants[chosen];
    snapshot = &section->snapshot;
    newest = variant->base;
    head = newest << SHM_HEAD_VERSION_SHIFT;
    who[0] = 0;
    hinted = false;
    hostile = sim_below(8) == 0;
    writers_n = 0;
    writer_add("writer", 1 + sim_below(6));
    process_add("reader 1", read_values, NULL);
    process_add("follower", follow, NULL);
    process_add("sleeper 1", sleep_for_values, NULL);
    if (sim_below(2) == 0)
        process_add("viewer", view_values, NULL);
    if (sim_below(2) == 0)
        process_add("reader 2", read_values, NULL);
    if (sim_below(4) == 0)
        process_add("sleeper 2", sleep_for_values, NULL);
    if (hostile) {
        hinted = true;
        process_add("hostile", play, NULL);
    }
    process_run_all();
}

static void describe(size_t offset, char *to, size_t bytes) {
    const uint8_t *at = region + offset, *buffers = snapshot->buffers;
    const size_t in = at >= buffers ? (size_t)(at - buffers) : 0;
    if (at >= (uint8_t *)snapshot->bell)
        snprintf(to, bytes, "bell+%zu", (size_t)(at - (uint8_t *)snapshot->bell));
    else if (at >= buffers)
        snprintf(to, bytes, "buffer %zu %s+%zu", in / snapshot->stride,
                 in % snapshot->stride == 0 ? "seq" : "", in % snapshot->stride);
    else
        snprintf(to, bytes, "%s+%zu", at == (uint8_t *)&snapshot->shared->head ? "head" : "control",
                 offset);
}

const struct world snapshot_world = {
    .name = "snapshot",
    .open = open_sections,
    .schedule = schedule,
    .describe = describe,
    .stored = stored,
};
