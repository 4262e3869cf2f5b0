/* SPDX-License-Identifier: Apache-2.0
 *
 * Readers of all sorts: each checks every word of each value, that versions only rise, that nothing
 * which was published stays unseen, and that what was missed adds up.
 */
#include "moves.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>

struct input {
    enum role role;
    unsigned section;
    shmc_section *handle;
    bool raw;                   /* when it was looked at last */
    uint64_t incarnation, last; /* that it got */
};

static const char *const role_names[ROLES] = {"read", "view", "next", "follow", "wait_any"};
static uint64_t buffer[LARGEST / 8];
static shmc *segment;
static uint64_t random_state;

static void violated(enum wrong wrong, const struct input *input, const char *what,
                     const struct shmc_value *about) {
    char name[16];
    const unsigned long long done = atomic_load(&board->progress[input->section].done);
    name_section(name, input->section);
    violate(wrong,
            "%s of %s: %s (version %llu of incarnation %llu, before %llu of %llu; published "
            "%llu of %llu)",
            role_names[input->role], name, what, (unsigned long long)about->version,
            (unsigned long long)about->incarnation, (unsigned long long)input->last,
            (unsigned long long)input->incarnation, (unsigned long long)version_of(done),
            (unsigned long long)incarnation_of(done));
}

/* Its section may have been removed, and be there again. */
static bool opened(struct input *input) {
    if (input->handle == NULL)
        input->handle = open_section(segment, input->section);
    return input->handle != NULL;
}

/* `published`: the newest that its writer knew of before. */
static void check_order(struct input *input, const struct shmc_value *about,
                        unsigned long long published, bool step) {
    const unsigned long long begun = atomic_load(&board->progress[input->section].begun);
    if (about->incarnation != input->incarnation) {
        input->incarnation = about->incarnation;
        input->last = 0;
    }
    if (incarnation_of(begun) == about->incarnation && about->version > version_of(begun))
        violated(WRONG_READ, input, "nobody published that", about);
    if (input->role != FOLLOW && incarnation_of(published) == about->incarnation &&
        about->version < version_of(published))
        violated(LOST, input, "it is older than what was published before", about);
    if (about->version < input->last || (step && about->version == input->last))
        violated(WRONG_READ, input, "versions went back", about);
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
        violated(WRONG_READ, input, what, about);
    if (!first && about->missed != between)
        violated(WRONG_READ, input, "what was missed doesn't add up", about);
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
            violated(LOST, input, "it says that there is nothing new", about);
    } else if (r == -EPROTOTYPE) {
        input->raw = true;
    } else if (r != -EAGAIN && !manager_away(r)) {
        violated(OTHER, input, shmc_last_error(segment), about);
    }
}

/* Every word of a raw section is right at any time, and none is lost on its way elsewhere. */
static void raw_once(struct input *input) {
    struct shmc_section_info before, after;
    char what[128] = "it was written, and is empty";
    const unsigned long long done = atomic_load(&board->progress[input->section].done);
    const int r = shmc_section_info(input->handle, &before);
    input->raw = r == 0 ? before.kind == SHMC_RAW : input->raw;
    if (r < 0)
        check_none(input, r, &(struct shmc_value){0}, 0);
    if (r < 0 || !input->raw)
        return;
    const ssize_t n = shmc_raw_read(input->handle, 0, buffer, before.size);
    if (n < 0 || shmc_section_info(input->handle, &after) < 0 ||
        after.incarnation != before.incarnation)
        return;
    const struct shmc_value about = {.incarnation = after.incarnation};
    if (!raw_right(buffer, (size_t)n, input->section, after.incarnation, what))
        violated(WRONG_READ, input, what, &about);
    else if (incarnation_of(done) == after.incarnation && buffer[0] == 0)
        violated(LOST, input, what, &about);
    atomic_fetch_add(&board->raw_reads, 1);
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
        violated(WRONG_READ, input, what, &about);
    check_order(input, &about, published, false);
    atomic_fetch_add(&board->reads[VIEW], valid == 1);
}

/* False: there was nothing newer in that time. */
static bool take_once(struct input *input, int timeout_ms) {
    struct shmc_value about;
    if (!opened(input))
        return false;
    if (input->raw) {
        raw_once(input);
        return false;
    }
    const unsigned long long published = atomic_load(&board->progress[input->section].done);
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
static void wait_any(struct input inputs[SECTIONS_MAX]) {
    static shmc_section *handles[SECTIONS_MAX];
    static unsigned of[SECTIONS_MAX];
    unsigned n = 0;
    for (unsigned i = 0; i < board->sections; i++)
        if (opened(&inputs[i]) && !inputs[i].raw) {
            of[n] = i;
            handles[n++] = inputs[i].handle;
        }
    const int r = n == 0 ? -EIDRM : shmc_wait_any(handles, n, 100);
    if (r >= (int)n ||
        (r < 0 && r != -ETIMEDOUT && r != -EIDRM && r != -EPROTOTYPE && !manager_away(r)))
        violate(OTHER, "wait_any: %d (%s)", r, shmc_last_error(segment));
    if (r >= 0 && r < (int)n)
        take_once(&inputs[of[r]], 0);
    for (unsigned i = 0; i < board->sections; i++) /* and one that is gone is found */
        take_once(&inputs[i], 0);
}

/* Nobody writes any more: what is left is what was published last. */
static void finish(struct input *input) {
    struct shmc_value about = {0};
    const bool steps = input->role == NEXT || input->role == FOLLOW || input->role == ANY;
    const unsigned long long done = atomic_load(&board->progress[input->section].done);
    const unsigned long long begun = atomic_load(&board->progress[input->section].begun);
    unsigned long long away;
    do {
        away = atomic_load(&board->away);
        while (take_once(input, 0) && steps)
            continue;
    } while (away != atomic_load(&board->away));
    if (!opened(input) || input->raw)
        return;
    ssize_t n;
    do
        n = shmc_read(input->handle, buffer, sizeof buffer, &about);
    while (manager_away((int)n));
    if (n < 0 ? n != -ENODATA
              : incarnation_of(done) == about.incarnation && begun == done &&
                    about.version != version_of(done))
        violated(LOST, input, "the last publish isn't what is found", &about);
    if (n >= 0 && steps && input->incarnation == about.incarnation && input->last != about.version)
        violated(LOST, input, "it doesn't get to the last version", &about);
}

void read_until_stopped(enum role role, uint64_t seed) {
    static struct input inputs[SECTIONS_MAX];
    random_state = seed;
    segment = attach(NULL);
    if (segment == NULL)
        return;
    for (unsigned i = 0; i < board->sections; i++)
        inputs[i] = (struct input){.role = role, .section = i};
    while (!atomic_load(&board->stop)) {
        const uint64_t random = random_next(&random_state);
        struct input *input = &inputs[random % board->sections];
        if (role == ANY)
            wait_any(inputs);
        else if (!take_once(input, (int)(random >> 8 & 0xffff) % 100) && input->handle == NULL)
            let_others();
        if (input->handle != NULL && random % 64 == 0)
            shmc_set_spin(input->handle, (unsigned)(random >> 32) % 100);
    }
    while (!atomic_load(&board->ended))
        poll(NULL, 0, 1);
    for (unsigned i = 0; i < board->sections; i++)
        finish(&inputs[i]);
    for (unsigned i = 0; i < board->sections; i++)
        shmc_close(inputs[i].handle);
    shmc_detach(segment);
}
