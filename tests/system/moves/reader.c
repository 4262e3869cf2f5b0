/* SPDX-License-Identifier: Apache-2.0
 *
 * Readers of all sorts: each checks every word of each value, that versions only rise, that nothing
 * which was published stays unseen, and that what was missed adds up.
 */
#include "moves.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>

struct input {
    enum role role;
    unsigned section;
    shmc_section *handle;
    uint64_t incarnation, last; /* that it got */
};

static const char *const role_names[ROLES] = {"read", "view", "next", "follow", "wait_any"};
static uint64_t buffer[LARGEST / 8];
static shmc *segment;
static uint64_t random_state;

static void violated(const struct input *input, const char *what, const struct shmc_value *about) {
    const unsigned long long done = atomic_load(&board->sections[input->section].done);
    violate("%s of s%02u: %s (version %llu of incarnation %llu, before %llu of %llu; published "
            "%llu of %llu)",
            role_names[input->role], input->section, what, (unsigned long long)about->version,
            (unsigned long long)about->incarnation, (unsigned long long)input->last,
            (unsigned long long)input->incarnation, (unsigned long long)version_of(done),
            (unsigned long long)incarnation_of(done));
}

/* Its section may have been removed, and be there again. */
static bool opened(struct input *input) {
    char name[16];
    if (input->handle != NULL)
        return true;
    name_section(name, input->section);
    const int r = shmc_open(&input->handle, segment, name, NULL);
    if (r == 0)
        return true;
    if (r != -ENOENT && !manager_away(r))
        violate("open %s: %d (%s)", name, r, shmc_last_error(segment));
    input->handle = NULL;
    return false;
}

/* `published`: the newest that its writer knew of before. */
static void check_order(struct input *input, const struct shmc_value *about,
                        unsigned long long published, bool step) {
    const unsigned long long begun = atomic_load(&board->sections[input->section].begun);
    if (about->incarnation != input->incarnation) {
        input->incarnation = about->incarnation;
        input->last = 0;
    }
    if (incarnation_of(begun) == about->incarnation && about->version > version_of(begun))
        violated(input, "nobody published that", about);
    if (input->role != FOLLOW && incarnation_of(published) == about->incarnation &&
        about->version < version_of(published))
        violated(input, "it is older than what was published before", about);
    if (about->version < input->last || (step && about->version == input->last))
        violated(input, "versions went back", about);
    input->last = about->version;
}

static void check_value(struct input *input, const uint64_t *value, size_t bytes,
                        const struct shmc_value *about, unsigned long long published) {
    char what[128];
    const bool step = input->role == NEXT || input->role == FOLLOW || input->role == ANY;
    const bool first = about->incarnation != input->incarnation || input->last == 0;
    const uint64_t between =
        first || about->version <= input->last ? 0 : about->version - input->last - 1;
    if (!value_whole(value, bytes, input->section, about->incarnation, about->version, what))
        violated(input, what, about);
    if (!first && about->missed != between)
        violated(input, "what was missed doesn't add up", about);
    check_order(input, about, published, step);
    atomic_fetch_add(&board->missed, first ? 0 : about->missed);
    atomic_fetch_add(&board->reads[input->role], 1);
}

/* No value: when there is none yet, or nothing newer, or as its writer was faster. */
static void check_none(struct input *input, int r, const struct shmc_value *about,
                       unsigned long long published) {
    const bool same = incarnation_of(published) == about->incarnation;
    if (r == -EIDRM) {
        shmc_close(input->handle);
        input->handle = NULL;
    } else if (r == -ENODATA || (r == -ETIMEDOUT && about->incarnation != 0)) {
        if (same && version_of(published) > (r == -ENODATA ? 0 : input->last) &&
            (r == -ENODATA || input->incarnation == about->incarnation))
            violated(input, "it says that there is nothing new", about);
    } else if (r != -EAGAIN && !manager_away(r)) {
        violate("%s of s%02u: %d (%s)", role_names[input->role], input->section, r,
                shmc_last_error(segment));
    }
}

static void view_once(struct input *input, unsigned long long published) {
    struct shmc_value about;
    const void *data;
    size_t bytes;
    char what[128] = "";
    const int r = shmc_view(input->handle, &data, &bytes, &about);
    if (r < 0) {
        check_none(input, r, &about, published);
        return;
    }
    const bool whole =
        value_whole(data, bytes, input->section, about.incarnation, about.version, what);
    const int valid = shmc_valid(input->handle);
    if (valid == 1 && !whole)
        violated(input, what, &about);
    check_order(input, &about, published, false);
    atomic_fetch_add(&board->reads[VIEW], valid == 1);
}

/* False: there was nothing newer in that time. */
static bool take_once(struct input *input, int timeout_ms) {
    struct shmc_value about;
    if (!opened(input))
        return false;
    const unsigned long long published = atomic_load(&board->sections[input->section].done);
    ssize_t n;
    switch (input->role) {
    case VIEW:
        view_once(input, published);
        return false;
    case READ:
        n = shmc_read(input->handle, buffer, sizeof buffer, &about);
        break;
    case FOLLOW:
        n = shmc_follow(input->handle, buffer, sizeof buffer, timeout_ms, &about);
        break;
    default:
        n = shmc_next(input->handle, buffer, sizeof buffer, timeout_ms, &about);
    }
    if (n < 0)
        check_none(input, (int)n, &about, published);
    else
        check_value(input, buffer, (size_t)n, &about, published);
    return n >= 0;
}

/* One sleeper for all sections that there are. */
static void wait_any(struct input inputs[SECTIONS]) {
    shmc_section *handles[SECTIONS];
    unsigned of[SECTIONS], n = 0;
    for (unsigned i = 0; i < SECTIONS; i++)
        if (opened(&inputs[i])) {
            of[n] = i;
            handles[n++] = inputs[i].handle;
        }
    const int r = n == 0 ? -EIDRM : shmc_wait_any(handles, n, 100);
    if (r >= (int)n || (r < 0 && r != -ETIMEDOUT && r != -EIDRM && !manager_away(r)))
        violate("wait_any: %d (%s)", r, shmc_last_error(segment));
    if (r >= 0 && r < (int)n)
        take_once(&inputs[of[r]], 0);
    for (unsigned i = 0; i < SECTIONS; i++) /* and one that is gone is found */
        take_once(&inputs[i], 0);
}

/* Nobody writes any more: what is left is what was published last. */
static void finish(struct input *input) {
    struct shmc_value about = {0};
    const bool steps = input->role == NEXT || input->role == FOLLOW || input->role == ANY;
    const unsigned long long done = atomic_load(&board->sections[input->section].done);
    const unsigned long long begun = atomic_load(&board->sections[input->section].begun);
    unsigned long long away;
    do {
        away = atomic_load(&board->away);
        while (take_once(input, 0) && steps)
            continue;
    } while (away != atomic_load(&board->away));
    if (!opened(input))
        return;
    ssize_t n;
    do
        n = shmc_read(input->handle, buffer, sizeof buffer, &about);
    while (manager_away((int)n));
    if (n < 0 ? n != -ENODATA
              : incarnation_of(done) == about.incarnation && begun == done &&
                    about.version != version_of(done))
        violated(input, "the last publish isn't what is found", &about);
    if (n >= 0 && steps && input->incarnation == about.incarnation && input->last != about.version)
        violated(input, "it doesn't get to the last version", &about);
}

void read_until_stopped(enum role role, uint64_t seed) {
    static struct input inputs[SECTIONS];
    random_state = seed;
    segment = attach(NULL);
    if (segment == NULL)
        return;
    for (unsigned i = 0; i < SECTIONS; i++)
        inputs[i] = (struct input){.role = role, .section = i};
    while (!atomic_load(&board->stop)) {
        const uint64_t random = random_next(&random_state);
        struct input *input = &inputs[random % SECTIONS];
        if (role == ANY)
            wait_any(inputs);
        else if (!take_once(input, (int)(random >> 8 & 0xffff) % 100) && input->handle == NULL)
            sched_yield();
        if (input->handle != NULL && random % 64 == 0)
            shmc_set_spin(input->handle, (unsigned)(random >> 32) % 100);
    }
    while (!atomic_load(&board->ended))
        poll(NULL, 0, 1);
    for (unsigned i = 0; i < SECTIONS; i++)
        finish(&inputs[i]);
    for (unsigned i = 0; i < SECTIONS; i++)
        shmc_close(inputs[i].handle);
    shmc_detach(segment);
}
