/* SPDX-License-Identifier: Apache-2.0
 *
 * Saved values come back: into a segment that was made anew, before anybody can see it.  Each by
 * itself: one that is damaged, or fits its section no longer, leaves that section empty and stays
 * saved until the section has a value of its own.
 */
#include "checkpoint.h"
#include "core/process.h"
#include "core/restored.h"
#include "core/slots.h"
#include "journal.h"
#include "manager.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct checkpoint_mark *checkpoint_mark(struct checkpoint *c, const struct layout *layout,
                                        uint32_t slot) {
    if (layout->sections_used > c->slots) {
        struct checkpoint_mark *marks =
            reallocarray(c->marks, layout->sections_used, sizeof *marks);
        if (marks == NULL)
            return NULL;
        memset(marks + c->slots, 0, (layout->sections_used - c->slots) * sizeof *marks);
        c->marks = marks;
        c->slots = layout->sections_used;
    }
    const struct shm_section *section = &layout->sections[slot];
    struct checkpoint_mark *mark = &c->marks[slot];
    if (mark->section_id != section->section_id || mark->incarnation != section->incarnation)
        *mark = (struct checkpoint_mark){.section_id = section->section_id,
                                         .incarnation = section->incarnation};
    return mark;
}

static int by_id(const void *a, const void *b) {
    const uint64_t x = ((const struct checkpoint_place *)a)->section_id;
    const uint64_t y = ((const struct checkpoint_place *)b)->section_id;
    return x < y ? -1 : x > y;
}

int checkpoint_places_sort(struct checkpoint_places *ret, const struct layout *layout) {
    *ret = (struct checkpoint_places){.at = calloc(layout->sections_used + 1, sizeof *ret->at)};
    if (ret->at == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < layout->sections_used; i++)
        if (checkpoint_wants(&layout->sections[i]))
            ret->at[ret->n++] = (struct checkpoint_place){layout->sections[i].section_id, i};
    qsort(ret->at, ret->n, sizeof *ret->at, by_id);
    return 0;
}

uint32_t checkpoint_place(const struct checkpoint_places *places, uint64_t section_id) {
    const struct checkpoint_place key = {.section_id = section_id};
    const struct checkpoint_place *found =
        places->n == 0 ? NULL : bsearch(&key, places->at, places->n, sizeof key, by_id);
    return found == NULL ? SHM_NONE : found->slot;
}

struct restoring {
    struct manager *manager;
    const struct layout *layout;
    struct layout before; /* what ran last, once it was looked for */
    bool looked;
    struct checkpoint_places places;
    uint8_t boot_id[16];
};

__attribute__((format(printf, 3, 4))) static void refuse(struct checkpoint *c, const char *name,
                                                         const char *format, ...) {
    char why[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    if (c->refused < CHECKPOINT_REFUSED_MAX)
        snprintf(c->why[c->refused], sizeof c->why[0],
                 "section '%s': not restored, and left empty: %s", name, why);
    c->refused++;
}

/* Was it given its name while a manager ran, and not saved since?  In a table that was made anew
 * the ids begin again. */
static bool was_renamed(struct restoring *restoring, const struct shm_section *section,
                        const struct saved_value *v) {
    struct layout *before = &restoring->before;
    if (!restoring->looked && state_db_placement(restoring->manager->state, before) < 0)
        *before = (struct layout){0};
    restoring->looked = true;
    const uint32_t slot = layout_section_by_id(before, v->section_id);
    return slot != SHM_NONE && before->sections[slot].incarnation == v->incarnation &&
           strcmp(before->sections[slot].name, section->name) == 0;
}

/* Is it still the section that it was saved of?  Says why not. */
static bool fits(struct restoring *restoring, const struct shm_section *section,
                 const struct saved_value *v) {
    struct checkpoint *c = &restoring->manager->checkpoint;
    if (strcmp(v->name, section->name) != 0 && !was_renamed(restoring, section, v))
        refuse(c, section->name,
               "what was saved is of section '%s', which had its id (%llu) then: if that is this "
               "one, name it so again, and begin anew (shmtool destroy, and a start)",
               v->name, (unsigned long long)v->section_id);
    else if (v->kind != section->kind)
        refuse(c, section->name, "what was saved is of another kind (%s)",
               table_word(TABLE_KINDS, v->kind) == NULL ? "?" : table_word(TABLE_KINDS, v->kind));
    else if (strcmp(v->format, section->format) != 0)
        refuse(c, section->name, "what was saved has the format '%s', and the table says '%s'",
               v->format, section->format);
    else if (section->kind != SHM_KIND_SLOTS && v->bytes > section->size)
        refuse(c, section->name, "what was saved has %llu bytes, and its size is %llu",
               (unsigned long long)v->bytes, (unsigned long long)section->size);
    else
        return true;
    return false;
}

/* The bytes.  A disk that fails once may not fail again. */
static int load(struct checkpoint *c, struct state_db *state, const struct shm_section *section,
                const struct saved_value *v, int64_t id, void *to) {
    int r = state_saved_data(state, id, v, to);
    if (r < 0)
        r = state_saved_data(state, id, v, to);
    if (r == 0)
        return 0;
    memset(to, 0, v->bytes);
    if (r == -EBADMSG)
        refuse(c, section->name, "what was saved is damaged (its bytes don't have their checksum)");
    else
        refuse(c, section->name, "what was saved can't be read from state.db: %s", strerror(-r));
    return r;
}

/* Is it a time of this boot? */
static bool same_boot(const struct restoring *restoring, const struct saved_value *v) {
    return memcmp(v->boot_id, restoring->boot_id, sizeof v->boot_id) == 0;
}

static bool damaged(struct restoring *restoring, const struct shm_section *section,
                    const char *field) {
    refuse(&restoring->manager->checkpoint, section->name, "the section is damaged (%s)", field);
    return false;
}

static bool restore_snapshot(struct restoring *restoring, const struct shm_section *section,
                             const struct saved_value *v, int64_t id) {
    struct manager *m = restoring->manager;
    struct snapshot snapshot;
    const char *field;
    void *memory = (uint8_t *)m->segment.base + section->ctl_off;
    if (snapshot_bind(&snapshot, memory, section, NULL, &field) < 0)
        return damaged(restoring, section, field);
    if (load(&m->checkpoint, m->state, section, v, id, restored_room(&snapshot)) < 0)
        return false;
    const bool known = same_boot(restoring, v) || v->mono_ns == 0;
    restored_publish(&snapshot, v->bytes, known ? v->mono_ns : SHM_MONO_EARLIER_BOOT, v->real_ns);
    return true;
}

/* Checked as a whole before anything of it is in the section. */
static bool restore_slots(struct restoring *restoring, const struct shm_section *section,
                          const struct saved_value *v, int64_t id) {
    struct manager *m = restoring->manager;
    struct slots slots;
    const char *field;
    if (checkpoint_slots(&m->segment, section, &slots, &field) < 0)
        return damaged(restoring, section, field);
    int r = v->bytes > slots_image_room(&slots) ? -EBADMSG : 0;
    void *image = r < 0 ? NULL : malloc(v->bytes + 1);
    if (r == 0 && image == NULL)
        r = -ENOMEM;
    const bool loaded = r == 0 && load(&m->checkpoint, m->state, section, v, id, image) == 0;
    if (loaded)
        r = slots_image_put(&slots, image, v->bytes, !same_boot(restoring, v));
    free(image);
    if (r == -ENOMEM)
        refuse(&m->checkpoint, section->name, "the manager is out of memory");
    else if (r < 0)
        refuse(&m->checkpoint, section->name,
               "what was saved are more slots, longer ones, or such of another 'shared' than the "
               "table says");
    return loaded && r == 0;
}

static void restore_one(struct restoring *restoring, const struct shm_section *section,
                        const struct saved_value *v, int64_t id, struct checkpoint_mark *mark) {
    struct manager *m = restoring->manager;
    bool restored;
    if (!fits(restoring, section, v))
        return;
    if (section->kind == SHM_KIND_SNAPSHOT)
        restored = restore_snapshot(restoring, section, v, id);
    else if (section->kind == SHM_KIND_SLOTS)
        restored = restore_slots(restoring, section, v, id);
    else
        restored = load(&m->checkpoint, m->state, section, v, id,
                        (uint8_t *)m->segment.base + section->ctl_off) == 0;
    if (!restored)
        return;
    mark->known = section->kind != SHM_KIND_RAW || v->bytes == section->size;
    mark->version = 1;
    mark->data_crc = v->data_crc;
    m->checkpoint.restored++;
}

static int restore_row(const struct saved_value *value, int64_t id, bool intact, void *where) {
    struct restoring *restoring = where;
    struct checkpoint *c = &restoring->manager->checkpoint;
    const uint32_t slot = checkpoint_place(&restoring->places, value->section_id);
    if (slot == SHM_NONE) { /* no such section, or not marked any more */
        if (!intact)
            refuse(c, "?", "what was saved is damaged, and doesn't say of which section it was");
        return 0;
    }
    struct checkpoint_mark *mark = checkpoint_mark(c, restoring->layout, slot);
    if (mark == NULL)
        return -ENOMEM;
    const struct shm_section *section = &restoring->layout->sections[slot];
    if (intact)
        restore_one(restoring, section, value, id, mark);
    else
        refuse(c, section->name, "what was saved is damaged (what was noted about it)");
    return 0;
}

void checkpoint_restore(struct manager *m, const struct layout *layout) {
    struct checkpoint *c = &m->checkpoint;
    struct restoring restoring = {.manager = m, .layout = layout};
    if (process_boot_id(restoring.boot_id) < 0) /* then no saved value is of this one */
        memset(restoring.boot_id, 0xff, sizeof restoring.boot_id);
    int r = checkpoint_places_sort(&restoring.places, layout);
    bool ready = r == 0;
    for (int try = 0; ready && try < 2; try++) { /* a disk that fails once may not fail again */
        c->restored = c->refused = 0;
        if (c->slots > 0)
            memset(c->marks, 0, c->slots * sizeof *c->marks);
        r = state_saved_each(m->state, restore_row, &restoring);
        ready = r < 0;
    }
    free(restoring.places.at);
    layout_clear(&restoring.before);
    if (r < 0)
        refuse(c, "*", "what was saved can't be read from state.db: %s", strerror(-r));
}
