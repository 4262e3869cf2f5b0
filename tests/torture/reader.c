/* SPDX-License-Identifier: Apache-2.0
 *
 * Readers of all sorts: each checks every word of each value, that versions only rise, that nothing
 * which was published stays unseen, and that what was missed adds up.
 */
#include "torture.h"

#include <errno.h>
#include <stdio.h>

static uint64_t buffer[LARGEST / 8];

struct reader {
    enum role role;
    unsigned section;
    shmc_section *handle;
    uint64_t first, last; /* versions that it got */
    uint64_t got, missed;
    uint64_t random;
};

static const char *const role_names[ROLES] = {"read", "view", "next", "follow", "wait_any"};

static unsigned long long done(const struct reader *reader) {
    return atomic_load(&board->sections[reader->section].done);
}

static void violated(const struct reader *reader, const char *what, uint64_t version) {
    violate("%s of %s: %s (version %llu, before %llu, published %llu)", role_names[reader->role],
            section_names[reader->section], what, (unsigned long long)version,
            (unsigned long long)reader->last, done(reader));
}

/* A value came: `published` was the newest that its writer knew of before. */
static void check_value(struct reader *reader, const uint64_t *value, size_t bytes,
                        const struct shmc_value *about, unsigned long long published) {
    char what[128], text[160];
    const bool steps = reader->role == NEXT || reader->role == FOLLOW || reader->role == ANY;
    const unsigned long long begun = atomic_load(&board->sections[reader->section].begun);
    if (!value_whole(value, bytes, reader->section, about->version, what))
        violated(reader, what, about->version);
    if (about->version > begun)
        violated(reader, "nobody published that", about->version);
    if (reader->role != FOLLOW && about->version < published)
        violated(reader, "it is older than what was published before", about->version);
    if (about->version < reader->last || (steps && about->version == reader->last))
        violated(reader, "versions went back", about->version);
    const uint64_t between =
        reader->last == 0 || about->version == reader->last ? 0 : about->version - reader->last - 1;
    if (about->missed != between) {
        snprintf(text, sizeof text, "%llu missed, not %llu", (unsigned long long)about->missed,
                 (unsigned long long)between);
        violated(reader, text, about->version);
    }
    if (reader->got++ == 0)
        reader->first = about->version;
    reader->missed += about->missed;
    reader->last = about->version;
    atomic_fetch_add(&board->reads[reader->role], 1);
}

/* No value: only when there is none, or as long as the writer comes round all the time. */
static void check_none(struct reader *reader, int result, unsigned long long published) {
    if (result == -ENODATA && published == 0)
        return;
    if (result == -EAGAIN && (reader->role == READ || reader->role == VIEW))
        atomic_fetch_add(&board->laps, 1);
    else if (result != -ETIMEDOUT && result != -EAGAIN)
        violate("%s of %s: %d", role_names[reader->role], section_names[reader->section], result);
    else if (published > reader->last)
        violated(reader, "it says that there is nothing new", published);
}

static void read_once(struct reader *reader) {
    struct shmc_value about;
    const unsigned long long published = done(reader);
    const ssize_t n = shmc_read(reader->handle, buffer, sizeof buffer, &about);
    if (n < 0)
        check_none(reader, (int)n, published);
    else
        check_value(reader, buffer, (size_t)n, &about, published);
}

/* What is read in place counts only if it was valid to the end. */
static void view_once(struct reader *reader) {
    struct shmc_value about;
    const void *data;
    size_t bytes;
    char what[128] = "";
    const unsigned long long published = done(reader);
    const int r = shmc_view(reader->handle, &data, &bytes, &about);
    if (r < 0) {
        check_none(reader, r, published);
        return;
    }
    const bool whole = value_whole(data, bytes, reader->section, about.version, what);
    const int valid = shmc_valid(reader->handle);
    if (valid < 0)
        violate("valid of %s: %d", section_names[reader->section], valid);
    if (valid == 1 && !whole)
        violated(reader, what, about.version);
    if (valid == 0)
        atomic_fetch_add(&board->laps, 1);
    if (about.version < published || about.version < reader->last)
        violated(reader, "it is older than what was published before", about.version);
    reader->last = about.version;
    atomic_fetch_add(&board->reads[VIEW], valid == 1);
}

/* False: there was nothing newer in that time. */
static bool step_once(struct reader *reader, int timeout_ms) {
    struct shmc_value about;
    const unsigned long long published = done(reader);
    const ssize_t n = reader->role == FOLLOW
                          ? shmc_follow(reader->handle, buffer, sizeof buffer, timeout_ms, &about)
                          : shmc_next(reader->handle, buffer, sizeof buffer, timeout_ms, &about);
    if (n < 0)
        check_none(reader, (int)n, published);
    else
        check_value(reader, buffer, (size_t)n, &about, published);
    return n >= 0;
}

/* A follower now and then looks away, so that it misses some. */
static void step(struct reader *reader) {
    const uint64_t random = random_next(&reader->random);
    if (random % 64 == 0)
        shmc_set_spin(reader->handle, (unsigned)(random >> 32) % 100);
    step_once(reader, random % 4 == 0 ? 0 : (int)(random >> 8 & 0xffff) % 200);
}

/* One sleeper for all sections. */
static void wait_any(struct reader readers[SECTIONS]) {
    shmc_section *handles[SECTIONS];
    for (unsigned i = 0; i < SECTIONS; i++)
        handles[i] = readers[i].handle;
    const int r = shmc_wait_any(handles, SECTIONS, 200);
    if (r >= (int)SECTIONS || (r < 0 && r != -ETIMEDOUT))
        violate("wait_any: %d", r);
    for (unsigned i = 0; i < SECTIONS; i++) /* the one that it named, and what else there is */
        if (!step_once(&readers[i], 0) && r == (int)i)
            violated(&readers[i], "wait_any named it, and there was nothing", 0);
}

/* Nobody writes any more: what is left, and the sum. */
static void finish(struct reader *reader) {
    if (reader->role == READ || reader->role == VIEW)
        return;
    while (step_once(reader, 0))
        continue;
    if (reader->last != done(reader))
        violated(reader, "it doesn't get to the last version", reader->last);
    if (reader->got > 0 && reader->got + reader->missed != reader->last - reader->first + 1)
        violated(reader, "got and missed don't add up to the versions", reader->last);
    atomic_fetch_add(&board->missed, reader->missed);
}

void read_until_stopped(enum role role, unsigned section, uint64_t seed) {
    struct reader readers[SECTIONS];
    const unsigned n = role == ANY ? SECTIONS : 1;
    shmc *segment = attach(NULL);
    for (unsigned i = 0; i < n; i++) {
        readers[i] = (struct reader){.role = role, .random = seed};
        readers[i].section = role == ANY ? i : section;
        readers[i].handle = open_section(segment, readers[i].section);
        if (readers[i].handle == NULL)
            return;
    }
    while (!atomic_load(&board->stop)) {
        if (role == ANY)
            wait_any(readers);
        else if (role == READ)
            read_once(readers);
        else if (role == VIEW)
            view_once(readers);
        else
            step(readers);
        if (random_next(&seed) % 32 == 0)
            let_others();
    }
    while (!atomic_load(&board->ended))
        let_others();
    for (unsigned i = 0; i < n; i++)
        finish(&readers[i]);
    shmc_detach(segment);
}
