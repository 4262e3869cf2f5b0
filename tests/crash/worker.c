/* SPDX-License-Identifier: Apache-2.0
 *
 * The writer that is stepped.  Whatever isn't the library's is done before the first marker.
 */
#include "crash.h"

#include <signal.h>
#include <unistd.h>

#define PUBLISHES 3u

struct batch {
    unsigned n;
    uint64_t first;
    uint64_t *values[PUBLISHES];
};

static void batch_make(struct batch *ret, const struct world *world) {
    ret->n = world->variant->size > LARGE ? 1 : PUBLISHES;
    ret->first = snapshot_version(&world->real.snapshot) + 1;
    for (unsigned i = 0; i < ret->n; i++) {
        ret->values[i] = malloc(world->variant->size);
        if (ret->values[i] == NULL)
            fixture_fail("no memory");
        value_make(ret->values[i], world_length(world, ret->first + i), ret->first + i,
                   world->epoch);
    }
}

static void fill(void *to, const uint64_t *from, size_t bytes) {
    uint64_t *words = to;
    for (size_t i = 0; i < bytes / 8; i++)
        shared_store_relaxed64(&words[i], from[i]);
}

static void publish(const struct world *world, struct snapshot_writer *writer,
                    const uint64_t *value, size_t bytes) {
    void *data;
    size_t room;
    if (world->variant->aborts && snapshot_begin(writer, &data, &room) == 0) {
        fill(data, value, bytes / 2);
        snapshot_abort(writer);
    }
    if (!world->variant->in_place) {
        snapshot_publish(writer, value, bytes);
    } else if (snapshot_begin(writer, &data, &room) == 0) {
        fill(data, value, bytes);
        snapshot_commit(writer, bytes);
    }
}

void worker_run(void *argument) {
    static struct snapshot_writer writer;
    struct world *world = argument;
    struct stage *stage = world->stage;
    struct batch batch;
    batch_make(&batch, world);
    raise(SIGSTOP);
    shared_store_release32(&stage->stepped, 1);
    if (snapshot_take_over(&writer, &world->real.snapshot, world->epoch) < 0)
        _exit(1);
    for (unsigned i = 0; i < batch.n; i++) {
        publish(world, &writer, batch.values[i], world_length(world, batch.first + i));
        shared_store_release64(&stage->returned, batch.first + i);
    }
    shared_store_release32(&stage->over, 1);
    _exit(0);
}
