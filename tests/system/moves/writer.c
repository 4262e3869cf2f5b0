/* SPDX-License-Identifier: Apache-2.0
 *
 * A writer: publishes at full speed in whatever sections are its worker's at the time, until it is
 * killed or the board says stop.  It knows the version that each publish gets, or one was lost.
 */
#include "moves.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LOOK_AGAIN 64u /* rounds until a section that wasn't ours is asked for again */

struct output {
    shmc_section *handle;
    bool ours, raw;
    uint64_t size, incarnation, version; /* of the newest that was published */
    unsigned rounds;
};

static uint64_t value[LARGEST / 8];
static char self[16];
static shmc *segment;
static uint64_t random_state;

/* Others' sections are left alone until they are ours. */
static bool open_ours(struct output *output, unsigned section, struct shmc_section_info *info) {
    char name[16];
    if (output->handle != NULL && shmc_section_info(output->handle, info) == -EIDRM) {
        shmc_close(output->handle);
        output->handle = NULL;
    }
    name_section(name, section);
    if (output->handle == NULL &&
        (shmc_inspect(segment, name, info) < 0 || strcmp(info->owner, self) != 0))
        return false;
    if (output->handle == NULL)
        output->handle = open_section(segment, section);
    return output->handle != NULL && shmc_section_info(output->handle, info) == 0 && info->own;
}

/* Is it ours, and what is its newest version?  As long as it is, nobody else publishes there. */
static void look(struct output *output, unsigned section) {
    struct shmc_section_info info;
    struct shmc_value newest;
    output->ours = false;
    output->rounds = 0;
    if (!open_ours(output, section, &info))
        return;
    output->raw = info.kind == SHMC_RAW;
    output->size = info.size;
    output->incarnation = info.incarnation;
    output->ours = output->raw;
    if (output->raw)
        return;
    const ssize_t n = shmc_read(output->handle, value, sizeof value, &newest);
    if (n == -EIDRM || n == -EPROTOTYPE || manager_away((int)n))
        return;
    if (n < 0 && n != -ENODATA)
        violate(OTHER, "the owner can't read %s: %zd (%s)", info.name, n, shmc_last_error(segment));
    const unsigned long long done = atomic_load(&board->progress[section].done);
    if (incarnation_of(done) == newest.incarnation && version_of(done) > newest.version)
        violate(LOST, "the owner of %s finds version %llu; %llu was published", info.name,
                (unsigned long long)newest.version, (unsigned long long)version_of(done));
    output->ours = true;
    output->incarnation = newest.incarnation;
    output->version = newest.version;
}

/* In place: filled where it will be read, so that the section may move in the midst of it. */
static int publish_in_place(const struct output *output, unsigned section, uint64_t version) {
    void *data;
    size_t room;
    int r = shmc_begin(output->handle, &data, &room);
    if (r < 0)
        return r;
    const uint64_t random = random_next(&random_state);
    size_t bytes = 8 + (random >> 8) % (room - 7) / 8 * 8;
    value_fill(data, bytes, section, output->incarnation, version);
    if (random % 8 == 0) {
        shmc_abort(output->handle);
        return -ECANCELED;
    }
    if (random % 8 == 1)
        let_others();
    r = shmc_commit(output->handle, bytes);
    if (r == -EMSGSIZE)
        shmc_abort(output->handle);
    atomic_fetch_add(&board->in_place, r == 0);
    return r;
}

static int publish(struct output *output, unsigned section) {
    struct progress *progress = &board->progress[section];
    const uint64_t random = random_next(&random_state), version = output->version + 1;
    const unsigned long long place = place_of(output->incarnation, version);
    int r;
    atomic_store(&progress->begun, place);
    if (random % 4 == 0) {
        r = publish_in_place(output, section, version);
    } else {
        const size_t words = output->size / 8;
        const size_t bytes = 8 * (random % 4 == 1 ? words : 1 + (random >> 8) % words);
        value_fill(value, bytes, section, output->incarnation, version);
        r = shmc_publish(output->handle, value, bytes);
    }
    if (r == 0) {
        output->version = version;
        atomic_store(&progress->done, place);
        atomic_fetch_add(&board->publishes, 1);
    }
    return r;
}

/* Its bytes say nothing of when they were written, so it gets the same ones each time. */
static int write_raw(const struct output *output, unsigned section) {
    if (random_next(&random_state) % 16 != 0)
        return 0;
    raw_fill(value, output->size, section, output->incarnation);
    const ssize_t n = shmc_raw_write(output->handle, 0, value, output->size);
    if (n < 0)
        return (int)n;
    atomic_store(&board->progress[section].done, place_of(output->incarnation, 1));
    atomic_fetch_add(&board->raw_writes, 1);
    return 0;
}

static void write_once(struct output *output, unsigned section) {
    char name[16];
    if (!output->ours && output->rounds++ % LOOK_AGAIN == 0)
        look(output, section);
    if (!output->ours)
        return;
    const int r = output->raw ? write_raw(output, section) : publish(output, section);
    if (r == 0 || r == -ECANCELED)
        return;
    name_section(name, section);
    if (r != -EMSGSIZE && r != -EACCES && r != -EIDRM && r != -EPROTOTYPE &&
        !(r == -EINVAL && output->raw) && !manager_away(r))
        violate(OTHER, "publish in %s: %d (%s)", name, r, shmc_last_error(segment));
    look(output, section);
}

void write_until_stopped(unsigned worker, uint64_t seed) {
    static struct output outputs[SECTIONS_MAX];
    random_state = seed;
    name_worker(self, worker);
    segment = attach(self);
    if (segment == NULL)
        return;
    while (!atomic_load(&board->stop)) {
        for (unsigned i = 0; i < board->sections; i++)
            write_once(&outputs[i], i);
        if (random_next(&random_state) % 16 == 0)
            let_others();
    }
    for (unsigned i = 0; i < board->sections; i++)
        shmc_close(outputs[i].handle);
    shmc_detach(segment);
}
