/* SPDX-License-Identifier: Apache-2.0
 *
 * What must hold at each kill point.  Everything is tried on a copy of the shared memory, so that
 * the successor of one point leaves nothing to the next.
 *
 * What was published, and by whom, is known from the head of the real memory alone: it goes up by
 * one at the instruction that publishes.  Values say their version and their writer's epoch
 * themselves, so that a value which was finished and not published can be told from the
 * successor's of the same version.
 */
#include "crash.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>

#define SIZE_MAX_WORDS (16384 / 8)

__attribute__((format(printf, 2, 3))) static void violation(struct world *world, const char *format,
                                                            ...) {
    va_list arguments;
    world->violations++;
    fprintf(stderr, "violation: variant %s, point %" PRIu64 ", writer %u: ", world->variant->name,
            world->point, world->epoch);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

static struct shm_snapshot *shared(struct fixture *fixture) {
    return fixture->snapshot.shared;
}

/* ---- the world */

static void copy_make(struct world *world) {
    world->copy = world->real;
    void *memory = aligned_alloc(SHM_LINE, world->real.bytes);
    if (memory == NULL)
        fixture_fail("no memory");
    memcpy(memory, world->real.memory, world->real.bytes);
    fixture_bind(&world->copy, memory);
}

/* The first value, at a version that no writer counts up to in a test. */
static void put_base(struct world *world) {
    const uint64_t base = world->variant->base;
    struct shm_buffer *buffer = (void *)world->real.snapshot.buffers;
    buffer->len = world_length(world, base);
    value_make((uint64_t *)(void *)(buffer + 1), buffer->len, base, 0);
    buffer->seq = 2 * base;
    shared(&world->real)->head = base << SHM_HEAD_VERSION_SHIFT;
}

void world_make(struct world *world, const struct variant *variant) {
    world->variant = variant;
    fixture_make(&world->real, variant->size, variant->count, variant->flags);
    if (variant->base > 0)
        put_base(world);
    copy_make(world);
    world->stage = mmap(NULL, SHM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    world->who = calloc(VERSIONS_MAX, sizeof *world->who);
    if (world->stage == MAP_FAILED || world->who == NULL)
        fixture_fail("no memory");
    world->newest = variant->base;
    world->epoch = 0;
    world->asleep_at = UINT64_MAX;
    for (unsigned i = 0; i < SLOW_READERS; i++) {
        world->slow[i] = (struct slow_reader){0};
        snapshot_reader_init(&world->slow[i].reader, &world->copy.snapshot);
    }
}

void world_free(struct world *world) {
    fixture_free(&world->real);
    free(world->copy.memory);
    munmap(world->stage, SHM_PAGE);
    free(world->who);
}

/* ---- values */

/* Beyond `newest` it's the successor's. */
static uint32_t writer_of(const struct world *world, uint64_t version) {
    return version > world->newest ? SUCCESSOR : world->who[version - world->variant->base];
}

static bool value_right(const struct world *world, const uint64_t *data, size_t bytes,
                        const struct snapshot_value *value) {
    return bytes == value->length && bytes == world_length(world, value->version) &&
           value_whole(data, bytes, value->version) &&
           value_at(data, 1) == writer_of(world, value->version) &&
           value->epoch == writer_of(world, value->version);
}

static void check_reader(struct world *world, uint64_t newest, const char *when) {
    uint64_t data[SIZE_MAX_WORDS];
    struct snapshot_reader reader;
    struct snapshot_value value;
    snapshot_reader_init(&reader, &world->copy.snapshot);
    const ssize_t n = snapshot_read(&reader, data, sizeof data, &value);
    if (newest == 0 && n == -ENODATA)
        return;
    if (n < 0)
        violation(world, "%s, a reader gets error %zd", when, n);
    else if (value.version != newest)
        violation(world, "%s, a reader gets version %" PRIu64 ", not %" PRIu64, when, value.version,
                  newest);
    else if (!value_right(world, data, (size_t)n, &value))
        violation(world, "%s, a reader gets a wrong value of version %" PRIu64, when, newest);
    else if (reader.laps > 0)
        violation(world, "%s, a reader is held up", when);
}

/* Is this version found when it must be, and is it the right one when it is found? */
static void check_version(struct world *world, uint64_t version, uint64_t newest,
                          const char *when) {
    const struct variant *variant = world->variant;
    const uint64_t kept = variant->count - 1 - variant->hints;
    uint64_t data[SIZE_MAX_WORDS];
    struct snapshot_reader reader;
    struct snapshot_value value;
    snapshot_reader_init(&reader, &world->copy.snapshot);
    const ssize_t n = snapshot_read_version(&reader, version, data, sizeof data, &value);
    if (version > newest ? n == -ENODATA : n == -ESTALE && version + kept <= newest)
        return;
    if (n < 0)
        violation(world, "%s, version %" PRIu64 " of %" PRIu64 " gives error %zd", when, version,
                  newest, n);
    else if (version > newest)
        violation(world, "%s, version %" PRIu64 " is found, but the newest is %" PRIu64, when,
                  version, newest);
    else if (!value_right(world, data, (size_t)n, &value))
        violation(world, "%s, version %" PRIu64 " of %" PRIu64 " has a wrong value", when, version,
                  newest);
}

static void check_versions(struct world *world, uint64_t newest, const char *when) {
    const uint64_t back = world->variant->count + 2;
    uint64_t first = world->variant->base > 0 ? world->variant->base : 1;
    if (newest > first + back)
        first = newest - back;
    for (uint64_t version = first; version <= newest + 2; version++)
        check_version(world, version, newest, when);
}

/* A follower takes the first buffer with its version's sequence: there must not be another one. */
static void check_twins(struct world *world, const char *when) {
    const struct snapshot *snapshot = &world->copy.snapshot;
    uint64_t sequences[SHM_COUNT_MAX];
    for (uint32_t i = 0; i < snapshot->count; i++) {
        const struct shm_buffer *buffer = (void *)(snapshot->buffers + i * snapshot->stride);
        sequences[i] = buffer->seq;
        for (uint32_t j = 0; j < i && sequences[i] > 0; j++)
            if (sequences[j] == sequences[i])
                violation(world, "%s, version %" PRIu64 " stands in two buffers", when,
                          sequences[i] / 2);
    }
}

/* A view that is still valid must still show what it showed. */
static void check_slow(struct world *world, const char *when) {
    for (unsigned i = 0; i < SLOW_READERS; i++) {
        struct slow_reader *slow = &world->slow[i];
        if (!slow->holds || !snapshot_valid(&slow->reader, &slow->value))
            continue;
        if (!value_right(world, slow->data, slow->value.length, &slow->value))
            violation(world, "%s, a slow reader's valid version %" PRIu64 " has changed", when,
                      slow->value.version);
    }
}

/* Lets go of what isn't valid any more, and takes the newest now and then. */
static void renew_slow(struct world *world) {
    for (unsigned i = 0; i < SLOW_READERS; i++) {
        struct slow_reader *slow = &world->slow[i];
        if (slow->holds && !snapshot_valid(&slow->reader, &slow->value))
            slow->holds = false;
        if (!slow->holds && world->newest > 0 && world_random(world) % 32 == 0)
            slow->holds = snapshot_view(&slow->reader, &slow->data, &slow->value) == 0;
    }
}

/* ---- the successor */

static void check_successor(struct world *world) {
    static struct snapshot_writer writer;
    struct snapshot *snapshot = &world->copy.snapshot;
    uint64_t data[SIZE_MAX_WORDS];
    const uint64_t wakes = shared(&world->copy)->wakes;
    const unsigned publishes = world->point % 16 == 0 ? world->variant->count + 1 : 2;
    const int r = snapshot_take_over(&writer, snapshot, SUCCESSOR);
    if (r < 0) {
        violation(world, "a successor gets error %d", r);
        return;
    }
    check_reader(world, world->newest, "after a take-over");
    for (uint64_t version = world->newest + 1; version <= world->newest + publishes; version++) {
        const size_t bytes = world_length(world, version);
        value_make(data, bytes, version, SUCCESSOR);
        const int published = snapshot_publish(&writer, data, bytes);
        if (published < 0)
            violation(world, "a successor's publish gives error %d", published);
        check_reader(world, version, "after a successor's publish");
        check_twins(world, "after a successor's publish");
        check_slow(world, "after a successor's publish");
    }
    check_versions(world, world->newest + publishes, "after a successor's publishes");
    /* Whoever slept when the worker died: nobody else would wake him. */
    if ((world->variant->flags & SHM_SECTION_NOTIFY_NEVER) == 0 &&
        shared(&world->copy)->wakes == wakes)
        violation(world, "a successor wakes nobody");
}

/* ---- what goes on in the real memory */

static void observe_head(struct world *world) {
    const uint64_t newest = snapshot_version(&world->copy.snapshot);
    if (newest == world->newest + 1 && newest - world->variant->base < VERSIONS_MAX) {
        world->who[newest - world->variant->base] = world->epoch;
        world->newest = newest;
    } else if (newest != world->newest) {
        violation(world, "the head goes from version %" PRIu64 " to %" PRIu64, world->newest,
                  newest);
        world->newest = newest;
    }
}

/* A reader that sleeps must be woken by the time that the next publish has returned. */
static void observe_sleeper(struct world *world) {
    if (!world->variant->sleepers)
        return;
    if (world->asleep_at != UINT64_MAX && world->stage->returned > world->asleep_at) {
        if (shared(&world->copy)->wakes == world->asleep_wakes)
            violation(world, "a reader asleep since version %" PRIu64 " isn't woken",
                      world->asleep_at);
        world->asleep_at = UINT64_MAX;
    }
    if (world->asleep_at == UINT64_MAX && world_random(world) % 64 == 0) {
        shared_store_release32(&world->real.snapshot.bell->want, 1);
        world->asleep_at = world->newest;
        world->asleep_wakes = shared(&world->copy)->wakes;
    }
}

static void give_hint(struct world *world) {
    const struct snapshot_value *value = &world->slow[0].value;
    if (!world->variant->hints || world_random(world) % 64 != 0)
        return;
    const uint64_t wild = world_random(world);
    shared_store_release64(&world->real.snapshot.bell->hint,
                           wild % 8 == 0 ? wild : value->version << 8 | value->buffer);
}

void world_check(struct world *world) {
    memcpy(world->copy.memory, world->real.memory, world->real.bytes);
    observe_head(world);
    check_reader(world, world->newest, "at the kill");
    check_versions(world, world->newest, "at the kill");
    check_slow(world, "at the kill");
    renew_slow(world);
    observe_sleeper(world);
    give_hint(world);
    check_successor(world);
}
