/* SPDX-License-Identifier: Apache-2.0
 *
 * A section that exists, and what its row says now: what of it changes in its place, what takes
 * another place, and what can't be while a worker holds it.
 */
#include "crc32c.h"
#include "plan_parts.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t flags_of(const struct table_section *row) {
    static const uint32_t stamps[] = {0, SHM_SECTION_STAMP_COARSE, SHM_SECTION_STAMP_NONE};
    static const uint32_t notifies[] = {0, SHM_SECTION_NOTIFY_ALWAYS, SHM_SECTION_NOTIFY_NEVER};
    static const uint32_t clears[] = {0, SHM_SECTION_CLEAR, SHM_SECTION_CLEAR_RESTART};
    return stamps[row->stamp] | notifies[row->notify] | clears[row->clear] |
           (row->pregrab ? SHM_SECTION_PREGRAB : 0) | (row->persist ? SHM_SECTION_PERSIST : 0) |
           (row->shared ? SHM_SECTION_SHARED : 0) | (row->pinned ? SHM_SECTION_PINNED : 0) |
           (row->transient ? SHM_SECTION_TRANSIENT : 0);
}

/* What comes from the row and needs no place. */
void plan_fill_section(struct shm_section *section, const struct table_section *row) {
    plan_put_text(section->name, row->name);
    plan_put_text(section->owner, row->owner);
    plan_put_text(section->format, row->format);
    section->section_id = row->id;
    section->size = row->size;
    section->stale_ms = row->stale_ms;
    section->kind = row->kind;
    section->flags = flags_of(row);
    section->count = row->count;
    section->read_class = row->read_class;
    section->write_class = row->write_class;
}

/* ---- what it says of a change */

static const char *stamp_word(uint32_t flags) {
    return table_word(TABLE_STAMPS, (flags & SHM_SECTION_STAMP_COARSE) != 0 ? TABLE_STAMP_COARSE
                                    : (flags & SHM_SECTION_STAMP_NONE) != 0 ? TABLE_STAMP_NONE
                                                                            : TABLE_STAMP_PRECISE);
}

static const char *notify_word(uint32_t flags) {
    return table_word(TABLE_NOTIFIES, (flags & SHM_SECTION_NOTIFY_ALWAYS) != 0 ? TABLE_NOTIFY_ALWAYS
                                      : (flags & SHM_SECTION_NOTIFY_NEVER) != 0
                                          ? TABLE_NOTIFY_NEVER
                                          : TABLE_NOTIFY_DEMAND);
}

/* The table's group was looked up: its number is all that the layout has. */
static void note_group(struct plan_change *change, const char *column, uint32_t from, uint32_t to) {
    char text[2][24] = {"NULL", "NULL"};
    if (from == to)
        return;
    if (from != 0)
        snprintf(text[0], sizeof text[0], "%u", from - 1);
    if (to != 0)
        snprintf(text[1], sizeof text[1], "%u", to - 1);
    plan_note(change, "%s %s -> %s", column, text[0], text[1]);
}

static const char *clear_word(uint32_t flags) {
    return table_word(TABLE_CLEARS, (flags & SHM_SECTION_CLEAR) != 0           ? TABLE_CLEAR_FREE
                                    : (flags & SHM_SECTION_CLEAR_RESTART) != 0 ? TABLE_CLEAR_RESTART
                                                                               : TABLE_CLEAR_NEVER);
}

static void note_manners(struct plan_change *change, const struct shm_section *from,
                         const struct shm_section *to) {
    const uint32_t differs = from->flags ^ to->flags;
    if (from->stale_ms != to->stale_ms)
        plan_note(change, "stale_ms %llu -> %llu", (unsigned long long)from->stale_ms,
                  (unsigned long long)to->stale_ms);
    if (strcmp(from->format, to->format) != 0)
        plan_note(change, "format '%s' -> '%s'", from->format, to->format);
    if (strcmp(stamp_word(from->flags), stamp_word(to->flags)) != 0)
        plan_note(change, "stamp %s -> %s", stamp_word(from->flags), stamp_word(to->flags));
    if (strcmp(notify_word(from->flags), notify_word(to->flags)) != 0)
        plan_note(change, "notify %s -> %s", notify_word(from->flags), notify_word(to->flags));
    if ((differs & SHM_SECTION_PREGRAB) != 0)
        plan_note(change, "pregrab %d -> %d", (from->flags & SHM_SECTION_PREGRAB) != 0,
                  (to->flags & SHM_SECTION_PREGRAB) != 0);
    if (strcmp(clear_word(from->flags), clear_word(to->flags)) != 0)
        plan_note(change, "clear %s -> %s", clear_word(from->flags), clear_word(to->flags));
    if ((differs & SHM_SECTION_PERSIST) != 0)
        plan_note(change, "persist %d -> %d", (from->flags & SHM_SECTION_PERSIST) != 0,
                  (to->flags & SHM_SECTION_PERSIST) != 0);
    if ((differs & SHM_SECTION_PINNED) == 0)
        return;
    if (to->ctl_off == 0) /* goes to another place, which is said behind this */
        plan_note(change, (to->flags & SHM_SECTION_PINNED) != 0 ? "pinned" : "no longer pinned");
    else
        plan_note(change,
                  (to->flags & SHM_SECTION_PINNED) != 0 ? "pinned where it is, at %llu"
                                                        : "no longer pinned, stays at %llu",
                  (unsigned long long)to->offset);
}

void plan_note_section(struct plan_change *change, const struct shm_section *from,
                       const struct shm_section *to) {
    const uint32_t differs = from->flags ^ to->flags;
    if (strcmp(from->name, to->name) != 0)
        plan_note(change, "renamed from '%s'", from->name);
    if (from->size != to->size)
        plan_note(change, "size %llu -> %llu", (unsigned long long)from->size,
                  (unsigned long long)to->size);
    if (from->kind != to->kind)
        plan_note(change, "kind %s -> %s, begins empty", table_word(TABLE_KINDS, from->kind),
                  table_word(TABLE_KINDS, to->kind));
    else if ((differs & SHM_SECTION_SHARED) != 0)
        plan_note(change, "shared %d -> %d, begins empty", (from->flags & SHM_SECTION_SHARED) != 0,
                  (to->flags & SHM_SECTION_SHARED) != 0);
    if (strcmp(from->owner, to->owner) != 0)
        plan_note(change, "owner %s -> %s", from->owner, to->owner);
    if (from->count != to->count && from->kind == to->kind)
        plan_note(change, "count %u -> %u", from->count, to->count);
    if (from->incarnation != to->incarnation && from->kind == to->kind &&
        to->kind == SHM_KIND_QUEUE)
        plan_note(change, "begins empty");
    note_group(change, "read_group", from->read_class, to->read_class);
    note_group(change, "write_group", from->write_class, to->write_class);
    note_manners(change, from, to);
}

/* ---- what differs */

struct difference {
    bool anew;    /* what stands there means nothing to the other kind */
    bool divided; /* slots or a queue, otherwise */
    bool owner;   /* another one writes it */
    bool place;   /* it can't be where it is */
    bool smaller;
    bool renamed;
};

bool plan_begins_anew(const struct shm_section *section, const struct table_section *row) {
    const bool shared = (section->flags & SHM_SECTION_SHARED) != 0;
    return section->kind != (uint32_t)row->kind || shared != row->shared;
}

bool plan_divided(const struct shm_section *section, const struct table_section *row) {
    return plan_of_items(row->kind) && !plan_begins_anew(section, row) &&
           (section->size != row->size || section->count != row->count);
}

static struct difference compare(const struct planner *planner, const struct shm_section *section,
                                 const struct table_section *row) {
    struct difference d = {
        .anew = plan_begins_anew(section, row),
        .divided = plan_divided(section, row),
        .owner = strcmp(section->owner, row->owner) != 0 ||
                 section->owner_index != plan_find_owner(planner, row),
        .renamed = strcmp(section->name, row->name) != 0,
    };
    d.smaller = !d.anew && row->size < section->size && row->kind != SHM_KIND_QUEUE;
    d.place =
        d.anew || d.divided || d.owner || section->count != row->count ||
        section->read_class != row->read_class || section->write_class != row->write_class ||
        section->bytes != layout_section_bytes(row->kind, row->size, row->count, row->shared) ||
        (row->pinned && row->offset != section->offset);
    return d;
}

/* ---- what is refused */

/* `what` can't be, as somebody may be writing there. */
__attribute__((format(printf, 3, 4))) static int wait_for(const struct planner *planner,
                                                          uint32_t slot, const char *what, ...) {
    const struct shm_section *section = &planner->next->sections[slot];
    char text[256], occupant[PLAN_OCCUPANT_BYTES];
    va_list args;
    va_start(args, what);
    vsnprintf(text, sizeof text, what, args);
    va_end(args);
    return plan_wait(planner,
                     "section '%s': %s while %s `shmtool reload`, or `shmtool reload --force`)",
                     section->name, text, plan_occupant(planner, section, slot, occupant));
}

static int refuse_held(const struct planner *planner, uint32_t slot, const char *what,
                       const char *from, const char *to) {
    return wait_for(planner, slot, "%s can't change from %s to %s", what, from, to);
}

/* What would be taken away from its holder. */
static int check_taken(const struct planner *planner, uint32_t slot,
                       const struct table_section *row, const struct difference *d) {
    const struct shm_section *section = &planner->next->sections[slot];
    const bool shared = (section->flags & SHM_SECTION_SHARED) != 0;
    if (section->kind != (uint32_t)row->kind)
        return refuse_held(planner, slot, "its kind", table_word(TABLE_KINDS, section->kind),
                           table_word(TABLE_KINDS, row->kind));
    if (shared != row->shared)
        return refuse_held(planner, slot, "shared", row->shared ? "0" : "1",
                           row->shared ? "1" : "0");
    if (d->owner)
        return refuse_held(planner, slot, "its owner", section->owner, row->owner);
    if (d->smaller)
        return wait_for(planner, slot, "its size can't shrink from %llu to %llu",
                        (unsigned long long)section->size, (unsigned long long)row->size);
    if (d->renamed)
        return wait_for(planner, slot, "it can't be renamed to '%s'", row->name);
    if (d->place && plan_of_items(section->kind))
        return wait_for(planner, slot, "it can't go to another place");
    return 0;
}

static int check_held(const struct planner *planner, uint32_t slot, const struct table_section *row,
                      const struct difference *d) {
    const struct shm_section *section = &planner->next->sections[slot];
    if (!planner->facts->force) {
        int r = check_taken(planner, slot, row, d);
        if (r < 0)
            return r;
    }
    /* Its holder has the address, and nothing tells it to go. */
    if (!d->place || section->kind != SHM_KIND_RAW || d->anew || d->owner)
        return 0;
    if (layout_is_of_many(section))
        return plan_wait(planner,
                         "section '%s': it can't go to another place while somebody is attached "
                         "who may write it in place (end them all, then `shmtool reload`)",
                         section->name);
    return plan_wait(planner,
                     "section '%s': it can't go to another place while worker '%s' holds its "
                     "lease, who writes a raw section in place (end that worker, then "
                     "`shmtool reload`)",
                     section->name, section->owner);
}

int plan_check_value(const struct planner *planner, uint32_t slot,
                     const struct shm_section *section, const struct table_section *row) {
    const struct plan_facts *facts = planner->facts;
    const uint64_t bytes =
        facts == NULL || facts->value_bytes == NULL ? 0 : facts->value_bytes[slot];
    if (row->size >= bytes)
        return 0;
    return plan_refuse(planner,
                       "section '%s': size %llu is too small for its newest value, which has %llu "
                       "bytes (UPDATE section SET size = %llu WHERE name = '%s', or let its worker "
                       "publish a shorter one first)",
                       section->name, (unsigned long long)row->size, (unsigned long long)bytes,
                       (unsigned long long)bytes, row->name);
}

int plan_check_messages(const struct planner *planner, const struct shm_section *section,
                        uint32_t slot, const struct table_section *row) {
    const struct plan_facts *facts = planner->facts;
    if (row->kind != SHM_KIND_QUEUE || facts == NULL || facts->messages == NULL ||
        facts->messages[slot] == 0 || facts->force)
        return 0;
    return plan_wait(planner,
                     "section '%s': its size or count can't change while %llu messages are in it "
                     "(have them received, then `shmtool reload`, or `shmtool reload --force`)",
                     section->name, (unsigned long long)facts->messages[slot]);
}

/* The value is read from the place before until it stands in the new one. */
static int check_pin(const struct planner *planner, const struct shm_section *section,
                     const struct table_section *row) {
    const uint64_t bytes = layout_section_bytes(row->kind, row->size, row->count, row->shared);
    if (!row->pinned || row->offset >= section->offset + section->bytes ||
        section->offset >= row->offset + bytes)
        return 0;
    return plan_refuse(planner,
                       "section '%s': at offset %llu its %llu bytes would overlap its own place "
                       "before, at %llu (UPDATE section SET offset = NULL WHERE name = '%s' leaves "
                       "the place to the manager)",
                       section->name, (unsigned long long)row->offset, (unsigned long long)bytes,
                       (unsigned long long)section->offset, row->name);
}

static int check_moving(const struct planner *planner, const struct shm_section *section) {
    if (section->state != SHM_PLACE_MOVING)
        return 0;
    return plan_wait(planner,
                     "section '%s': it is still moving, with the next publish of worker '%s', and "
                     "can't go elsewhere before that (wait for it, or end that worker; then "
                     "`shmtool reload`)",
                     section->name, section->owner);
}

static int check_change(const struct planner *planner, uint32_t slot,
                        const struct table_section *row, const struct difference *d) {
    const struct shm_section *section = &planner->next->sections[slot];
    int r = d->place ? check_moving(planner, section) : 0;
    if (r == 0 && plan_occupied(planner, section, slot))
        r = check_held(planner, slot, row, d);
    if (r == 0 && d->divided)
        r = plan_check_messages(planner, section, slot, row);
    if (r == 0 && d->smaller)
        r = plan_check_value(planner, slot, section, row);
    return r == 0 && d->place ? check_pin(planner, section, row) : r;
}

/* ---- what becomes of it */

int plan_leave(struct planner *planner, uint32_t slot, enum leaving leaving) {
    const struct shm_section *section = &planner->next->sections[slot];
    if (planner->left_n == planner->left_room) {
        const size_t room = planner->left_room * 2 + 16;
        struct left *left = reallocarray(planner->left, room, sizeof *left);
        if (left == NULL)
            return -ENOMEM;
        planner->left = left;
        planner->left_room = room;
    }
    struct left *left = &planner->left[planner->left_n++];
    *left = (struct left){.place = *section, .slot = slot};
    left->place.state = leaving == LEAVE_FREE ? SHM_PLACE_RETIRED : SHM_PLACE_QUARANTINED;
    struct fresh *about = &planner->fresh_about[planner->fresh_n];
    *about = (struct fresh){
        .change = planner->plan->changes_n, .from = section->offset, .leaving = leaving};
    if (!layout_is_of_many(section))
        memcpy(about->holder, section->owner, sizeof about->holder);
    planner->fresh[planner->fresh_n++] = slot;
    return 0;
}

/* What the row says, before it has its place. */
static struct shm_section changed_section(const struct planner *planner, uint32_t slot,
                                          const struct table_section *row,
                                          const struct difference *d) {
    const uint64_t generation = planner->next->generation;
    const bool occupied = plan_occupied(planner, &planner->next->sections[slot], slot);
    struct shm_section changed = planner->next->sections[slot];
    /* Of a damaged one nothing can be brought along; and who is in slots or a queue that are taken
     * shall find that they are others. */
    const bool anew = d->anew || d->divided || changed.state == SHM_PLACE_BAD ||
                      (occupied && plan_of_items(changed.kind));
    plan_fill_section(&changed, row);
    if (!d->place)
        return changed;
    changed.state = occupied && !anew && !d->owner ? SHM_PLACE_MOVING : SHM_PLACE_LIVE;
    changed.incarnation = anew ? generation : changed.incarnation;
    changed.owner_index = plan_find_owner(planner, row);
    changed.bytes = layout_section_bytes(row->kind, row->size, row->count, row->shared);
    changed.offset = row->pinned ? row->offset : 0;
    changed.ctl_off = changed.claims_off = 0;
    changed.claims_arena = 0;
    return changed;
}

static enum leaving leaving_of(const struct planner *planner, uint32_t slot,
                               const struct shm_section *changed) {
    const struct shm_section *section = &planner->next->sections[slot];
    return changed->state == SHM_PLACE_MOVING      ? LEAVE_MOVING
           : plan_occupied(planner, section, slot) ? LEAVE_TAKEN
           : plan_latecomers(planner, section)     ? LEAVE_LATE
                                                   : LEAVE_FREE;
}

int plan_change_section(struct planner *planner, uint32_t slot, const struct table_section *row) {
    struct shm_section *section = &planner->next->sections[slot];
    const struct difference d = compare(planner, section, row);
    int r = check_change(planner, slot, row, &d);
    if (r < 0)
        return r;
    struct shm_section changed = changed_section(planner, slot, row, &d);
    if (memcmp(&changed, section, sizeof changed) == 0)
        return 0;
    if (d.place)
        r = plan_leave(planner, slot, leaving_of(planner, slot, &changed));
    struct plan_change *change =
        r < 0 ? NULL : plan_add_change(planner, d.place ? PLAN_MOVE : PLAN_CHANGE, row->name);
    if (change == NULL)
        return -ENOMEM;
    plan_note_section(change, section, &changed);
    changed.changed_gen = planner->next->generation;
    changed.crc = CRC32C_OF((const struct shm_section *)&changed);
    *section = changed;
    return 0;
}

/* Somebody lingers, as the facts say; but the section's holder has stopped writing it. */
static bool given_up(const struct planner *planner, uint32_t slot) {
    const bool *given_up = planner->facts->given_up;
    return given_up != NULL && given_up[slot];
}

/* He lingers, but hasn't the lease any more that it was to last as long as. */
static bool lapsed(const struct planner *planner, const struct shm_section *section) {
    const bool *held = planner->facts->worker_held;
    return (section->flags & SHM_SECTION_TRANSIENT) != 0 &&
           (held == NULL || !held[section->owner_index]);
}

int plan_remove_section(struct planner *planner, uint32_t slot) {
    const struct shm_section *section = &planner->next->sections[slot];
    const bool lingers = plan_occupied(planner, section, slot) && !given_up(planner, slot);
    const bool kept = lingers || plan_latecomers(planner, section);
    if (lingers && !planner->facts->force && !lapsed(planner, section))
        return wait_for(planner, slot, "it can't be removed");
    struct plan_change *change = plan_add_change(planner, PLAN_REMOVE, section->name);
    if (change == NULL)
        return -ENOMEM;
    plan_note(change, "at %llu, %llu bytes", (unsigned long long)section->offset,
              (unsigned long long)section->bytes);
    if (lingers && layout_is_of_many(section))
        plan_note(change, "taken from who writes it");
    else if (lingers)
        plan_note(change, "taken from worker '%s'", section->owner);
    if (section->state == SHM_PLACE_MOVING && !lingers)
        layout_leave(planner->next, section->old_slot, SHM_PLACE_RETIRED);
    layout_leave(planner->next, slot, kept ? SHM_PLACE_QUARANTINED : SHM_PLACE_RETIRED);
    return 0;
}
