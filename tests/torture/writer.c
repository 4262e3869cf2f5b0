/* SPDX-License-Identifier: Apache-2.0
 *
 * A writer: takes its section over from whoever was killed before it, and publishes until it is
 * killed itself, or until the board says stop.
 */
#include "torture.h"

#include <time.h>

static uint64_t value[LARGEST / 8], life;

/* What the predecessor was told to have published is there; what it had begun may be. */
static uint64_t take_over(shmc_section *section, unsigned index) {
    struct progress *progress = &board->sections[index];
    const unsigned long long done = atomic_load(&progress->done);
    const unsigned long long begun = atomic_load(&progress->begun);
    struct shmc_section_info info;
    const int r = shmc_section_info(section, &info);
    if (r < 0) {
        violate("info of %s: %d", section_names[index], r);
        return begun;
    }
    if (info.version < done || info.version > begun)
        violate("a successor in %s finds version %llu; %llu was published, %llu begun",
                section_names[index], (unsigned long long)info.version, done, begun);
    atomic_store(&progress->done, info.version);
    return info.version;
}

/* In place: filled word by word where it will be read, so that a kill comes in the midst of it. */
static int publish_in_place(shmc_section *section, unsigned index, uint64_t version, bool commit) {
    void *data;
    size_t room;
    const int r = shmc_begin(section, &data, &room);
    if (r < 0)
        return r;
    if (room < value_bytes(index, version))
        violate("%s: room for %zu", section_names[index], room);
    value_fill(data, index, version, life);
    if (commit)
        return shmc_commit(section, value_bytes(index, version));
    shmc_abort(section);
    atomic_fetch_add(&board->sections[index].aborts, 1);
    return 0;
}

static int publish(shmc_section *section, unsigned index, uint64_t version, uint64_t random) {
    if (random % 3 == 0)
        return publish_in_place(section, index, version, true);
    value_fill(value, index, version, life);
    return shmc_publish(section, value, value_bytes(index, version));
}

/* At full speed for a while, then with pauses in which readers fall asleep. */
static void pace(uint64_t random) {
    if (random % 512 < 500)
        return;
    if (random % 512 < 508)
        let_others();
    else
        nanosleep(&(struct timespec){.tv_nsec = (long)(random >> 32) % 3000000}, NULL);
}

void write_until_killed(unsigned index, uint64_t own_life, uint64_t seed) {
    struct progress *progress = &board->sections[index];
    shmc *segment = attach(section_names[index]);
    shmc_section *section = open_section(segment, index);
    if (section == NULL)
        return;
    life = own_life;
    uint64_t version = take_over(section, index);
    while (!atomic_load(&board->stop)) {
        const uint64_t random = random_next(&seed);
        int r = 0;
        if (random % 16 == 1)
            r = publish_in_place(section, index, version + 1, false);
        if (r == 0) {
            atomic_store(&progress->lives[++version % LIVES_KEPT], life);
            atomic_store(&progress->begun, version);
            r = publish(section, index, version, random >> 8);
        }
        if (r < 0) {
            violate("publish of %s: %d (%s)", section_names[index], r, shmc_last_error(segment));
            break;
        }
        atomic_store(&progress->done, version);
        atomic_fetch_add(&progress->publishes, 1);
        pace(random >> 16);
    }
    shmc_close(section);
    shmc_detach(segment);
}
