/* SPDX-License-Identifier: Apache-2.0
 *
 * kill_flip [--seed N] [--mutant NAME]
 *
 * A manager adopts a segment and publishes a directory, one instruction at a time.  At each place
 * (sweep.h; here the places are the changes of header, records and directories, and the check is
 * made on a copy of them) a reader must find the old or the new directory whole, and so must one
 * that had looked at the header before; a new manager must adopt that one, and be able to publish a
 * further one.  Four in five managers really are killed somewhere, and the next publishes another
 * edit over what they left.
 */
#include "scenery.h"
#include "sweep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define POINTS   120000u
#define ENTRIES  6u /* the first directories are small, so that they move when they have grown */
#define SECTIONS 4u

enum { OLD, NEXT, FURTHER_OLD, FURTHER_NEXT, LAYOUTS, PREVIOUS = LAYOUTS };

static struct table table;
static struct layout layouts[LAYOUTS + 1]; /* and what the manager before wanted to publish */
static uint8_t *real, *copy, *before;
static struct watched watched;
static struct directory reader; /* of the copy, since the beginning */
static uint64_t newest;         /* generation that was seen in force */

static void check(void);
static void prepare(void);
static void act(void);
static bool changed(void);

static struct sweep sweep = {
    .name = "flip", .prepare = prepare, .act = act, .changed = changed, .check = check};

/* ---- the manager */

static void act(void) {
    struct image image;
    char error[256];
    if (scenery_adopt(&image, real, &layouts[OLD], &layouts[PREVIOUS], error, sizeof error) < 0) {
        printf("violation: flip: at a manager's start: %s\n", error);
        fflush(stdout);
        _Exit(1);
    }
    sweep_begin();
    image_publish(&image, &layouts[NEXT], sweep.points);
    sweep_end();
}

/* ---- what it starts from */

static void make_first(void) {
    struct layout first;
    struct image image;
    if (layout_init(&first, SCENERY_BYTES) < 0 || image_open(&image, real, SCENERY_BYTES) < 0)
        sweep_fail("a segment", -1);
    const uint64_t bytes = layout_directory_bytes(ENTRIES, ENTRIES);
    first.directories[0] = (struct shm_directory_place){first.arena_start, bytes};
    first.directories[1] = (struct shm_directory_place){first.arena_start + bytes, bytes};
    image_create(&image, &first, &(struct image_identity){.key = 1, .segment_id = 7});
    scenery_table(&table);
    for (unsigned i = 0; i < SECTIONS; i++)
        scenery_edit(&table);
    scenery_plan(&layouts[OLD], &first, &table);
    image_publish(&image, &layouts[OLD], 1);
    image_reveal(&image);
    image_close(&image);
    layout_clear(&first);
    newest = layouts[OLD].generation;
}

static void plan(int to, int from) {
    bool changes;
    do { /* edits may cancel one another */
        layout_clear(&layouts[to]);
        scenery_edit(&table);
        changes = scenery_plan(&layouts[to], &layouts[from], &table);
    } while (!changes);
}

/* All that a publish may write. */
static void watch(void) {
    watched_clear(&watched);
    watched_add(&watched, real, sizeof(struct shm_header));
    watched_add(&watched, real + layouts[OLD].workers_off,
                layouts[OLD].arena_start - layouts[OLD].workers_off);
    for (int i = 0; i < 2; i++)
        for (int l = OLD; l <= NEXT; l++)
            watched_add(&watched, real + layouts[l].directories[i].offset,
                        layouts[l].directories[i].bytes);
}

static void prepare(void) {
    const char *field;
    layout_clear(&layouts[PREVIOUS]);
    if (layouts[NEXT].generation == newest) {
        layout_clear(&layouts[OLD]);
        layouts[OLD] = layouts[NEXT];
    } else {
        layouts[PREVIOUS] = layouts[NEXT];
    }
    layouts[NEXT] = (struct layout){0};
    plan(NEXT, OLD);
    plan(FURTHER_NEXT, NEXT);
    plan(FURTHER_OLD, OLD);
    watch();
    memcpy(copy, real, SCENERY_BYTES);
    memcpy(before, real, SCENERY_BYTES);
    if (directory_open(&reader, copy, SCENERY_BYTES, &field) < 0)
        sweep_fail(field, -1);
}

/* ---- each place */

static bool changed(void) {
    return watched_changed(&watched);
}

/* The successors at other places wrote where their directories were, too. */
static void take_copy(void) {
    memcpy(copy, real, layouts[OLD].arena_start);
    for (int l = 0; l < LAYOUTS; l++)
        for (int i = 0; i < 2; i++) {
            const struct shm_directory_place *place = &layouts[l].directories[i];
            memcpy(copy + place->offset, real + place->offset, place->bytes);
        }
}

static void check_names(const struct layout *layout) {
    const char *field;
    struct directory directory;
    struct layout found = {0};
    if (directory_open(&directory, copy, SCENERY_BYTES, &field) < 0 ||
        directory_load(&directory, &found, &field) < 0 || !scenery_same(&found, layout))
        sweep_violation(&sweep, "a new manager publishes something else than it should");
    layout_clear(&found);
}

static void check_manager(const struct layout *in_force) {
    const struct layout *further = &layouts[in_force == &layouts[OLD] ? FURTHER_OLD : FURTHER_NEXT];
    struct image image;
    char error[256];
    const struct layout *next = in_force == &layouts[OLD] ? &layouts[NEXT] : NULL;
    if (scenery_adopt(&image, copy, in_force, next, error, sizeof error) < 0) {
        sweep_violation(&sweep, "%s", error);
        return;
    }
    image_publish(&image, further, sweep.points);
    const struct layout *both[] = {in_force, further};
    const struct layout *found = scenery_read(copy, both, 2, error, sizeof error);
    if (found != further)
        sweep_violation(&sweep, "behind a new manager's flip: %s",
                        found == NULL ? error : "the old directory is in force");
    else
        check_names(further);
    image_close(&image);
}

static void check(void) {
    const struct layout *both[] = {&layouts[OLD], &layouts[NEXT]};
    char error[256];
    take_copy();
    const struct layout *found = scenery_read(copy, both, 2, error, sizeof error);
    if (found == NULL) {
        sweep_violation(&sweep, "%s", error);
        return;
    }
    if (found->generation < newest)
        sweep_violation(&sweep, "the generation goes back");
    newest = found->generation;
    if (scenery_look(&reader, both, 2, error, sizeof error) != found)
        sweep_violation(&sweep, "who had looked before: %s", error);
    check_manager(found);
}

/* The rest of the segment is nobody's to write here. */
static void check_rest(void) {
    for (int l = OLD; l <= NEXT; l++)
        for (uint32_t i = 0; i < layouts[l].sections_used; i++) {
            const struct shm_section *s = &layouts[l].sections[i];
            if (layout_place_in_force(s->state) &&
                memcmp(before + s->offset, real + s->offset, s->bytes) != 0)
                sweep_violation(&sweep, "section '%s' was written to", s->name);
        }
}

static void *memory(int how) {
    void *at = mmap(NULL, SCENERY_BYTES, PROT_READ | PROT_WRITE, how | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        sweep_fail("memory", -1);
    return at;
}

int main(int argc, char **argv) {
    (void)argc;
    sweep_options(argv + 1);
    real = memory(MAP_SHARED);
    copy = memory(MAP_PRIVATE);
    before = memory(MAP_PRIVATE);
    make_first();
    uint64_t length = 1;
    for (uint64_t round = 0; !sweep_failed(&sweep); round++) {
        const uint64_t start = sweep.points;
        if (start >= sweep_budget(POINTS))
            break;
        sweep_step(&sweep, round % 5 == 0 ? UINT64_MAX : start + 1 + sweep_random() % length);
        check_rest();
        length = round % 5 == 0 ? sweep.points - start + 1 : length;
    }
    return sweep_report(&sweep);
}
