/* SPDX-License-Identifier: Apache-2.0
 *
 * Opened sections, and how they follow the table: a section object is bound to a place by one
 * generation of the directory, and looked up anew when it sees another.  It follows the row's id,
 * so that a rename is nothing to it.
 */
#include "queue.h"

#include <stdlib.h>
#include <string.h>

static const char *const kind_names[] = {"?", "raw", "snapshot", "slots", "queue"};

static const char *kind_name(uint32_t kind) {
    return kind_names[kind < sizeof kind_names / sizeof *kind_names ? kind : 0];
}

int section_wrong_kind(shmc_section *section, enum shmc_kind kind) {
    return error_set(section->segment->error, -EPROTOTYPE,
                     "section '%s' is a %s, and this call is for a %s: use that kind's calls",
                     section->name, kind_name(section->descriptor.kind), kind_name(kind));
}

/* ---- looking it up */

static int check_expected(const shmc_section *section, const struct shm_section *found) {
    struct error *error = section->segment->error;
    if (section->wanted_kind != 0 && found->kind != (uint32_t)section->wanted_kind)
        return error_set(error, -EPROTOTYPE,
                         "section '%s' is a %s, expected is a %s: mend the table or "
                         "the program",
                         section->name, kind_name(found->kind), kind_name(section->wanted_kind));
    if (section->wants_format && strcmp(found->format, section->wanted_format) != 0)
        return error_set(
            error, -EPROTOTYPE,
            "section '%s' has the format '%s', expected is '%s': mend the table or the "
            "program",
            section->name, found->format, section->wanted_format);
    if (found->size < section->wanted_size)
        return error_set(error, -EPROTOTYPE,
                         "section '%s' has a size of %llu bytes, expected are %llu: raise it in "
                         "the table",
                         section->name, (unsigned long long)found->size,
                         (unsigned long long)section->wanted_size);
    return 0;
}

static int find(const shmc_section *section, uint32_t *slot, struct shm_section *found,
                uint64_t *generation) {
    const shmc *segment = section->segment;
    const char *name = section->name, *field = "";
    bool opened = section->descriptor.section_id != 0;
    int r = opened ? directory_find_id(&segment->now->directory, section->descriptor.section_id,
                                       slot, found, generation, &field)
                   : directory_find(&segment->now->directory, name, found, generation, &field);
    if (r == -EBADMSG)
        return error_set(segment->error, r,
                         "section '%s': the segment's header is damaged (%s); a running manager "
                         "repairs it within about a second",
                         name, field);
    if (r < 0 && opened)
        return error_set(segment->error, -EIDRM,
                         "section '%s' was removed from the table; close it", name);
    if (r < 0)
        return error_set(segment->error, r,
                         "the segment has no section '%s'; add it to the table (shmtool list shows "
                         "what there is)",
                         name);
    if (directory_state(&segment->now->directory) == SHM_STATE_REPLACED)
        return error_set(segment->error, -EIDRM,
                         "section '%s': the segment was replaced or destroyed; detach and attach "
                         "anew",
                         name);
    return 0;
}

/* Where a section is: its place, and while it is moving the place before. */
struct found {
    struct shm_section section, before;
    bool moving;
    uint64_t generation;
    struct snapshot snapshot, snapshot_before;
    struct slots slots;
};

static int find_before(const shmc_section *section, struct found *found) {
    shmc *segment = section->segment;
    const struct shm_section *now = &found->section, *before = &found->before;
    const char *field = "section.old_slot";
    found->moving = now->state == SHM_PLACE_MOVING;
    if (!found->moving)
        return 0;
    int r = directory_section(&segment->now->directory, found->generation, now->old_slot,
                              &found->before, &field);
    if (r == -EAGAIN)
        return r;
    if (r == 0 && now->kind == SHM_KIND_SNAPSHOT && before->section_id == now->section_id &&
        before->incarnation == now->incarnation && before->state == SHM_PLACE_QUARANTINED &&
        before->ctl_off == now->old_ctl_off)
        return 0;
    return error_set(segment->error, -EBADMSG,
                     "section '%s' is moving, and the place before is damaged (%s); a running "
                     "manager repairs it within about a second",
                     section->name, field);
}

/* Two generations on the place may be another's, or nobody's: that is no damage. */
static int control_damaged(const shmc_section *section, uint64_t generation, const char *field) {
    const shmc *segment = section->segment;
    shared_fence_acquire(); /* the control line was read before the generation is */
    if (directory_generation(&segment->now->directory) != generation)
        return -EAGAIN;
    return error_set(segment->error, -EBADMSG,
                     "section '%s': its control line is damaged (%s); a running manager repairs it",
                     section->name, field);
}

static int bind_snapshot(const shmc_section *section, const struct shm_section *found,
                         uint64_t generation, struct snapshot *ret) {
    shmc *segment = section->segment;
    const char *field;
    int r =
        mapping_bind(segment->now, found, mapping_bell(segment, found->bell_index), ret, &field);
    return r == 0 ? 0 : control_damaged(section, generation, field);
}

static int bind_slots(const shmc_section *section, struct found *found) {
    shmc *segment = section->segment;
    const struct attachments attachments = mapping_attachments(segment->now);
    const char *field;
    if (slots_bind(&found->slots, segment->now->base + found->section.ctl_off, &found->section,
                   &attachments, &field) == 0)
        return 0;
    return control_damaged(section, found->generation, field);
}

static int check_raw(const shmc_section *section, const struct shm_section *found) {
    if (found->size <= found->offset + found->bytes - found->ctl_off)
        return 0;
    return error_set(section->segment->error, -EBADMSG,
                     "section '%s': its descriptor is damaged (size)", section->name);
}

/* Its arena is one that we may write, and is mapped so; a queue's claims have another. */
static bool is_writable(const shmc *segment, const struct shm_section *section) {
    const uint64_t bytes =
        section->kind == SHM_KIND_QUEUE ? section->claims_off - section->offset : section->bytes;
    return mapping_writable(segment, section->offset, bytes);
}

static bool may_write(const shmc *segment, const struct found *found) {
    return standing_is(segment->now) && is_writable(segment, &found->section) &&
           (!found->moving || is_writable(segment, &found->before));
}

static bool may_receive(const shmc *segment, const struct shm_section *section) {
    return section->kind == SHM_KIND_QUEUE && standing_is(segment->now) &&
           mapping_writable(segment, section->claims_off,
                            section->offset + section->bytes - section->claims_off);
}

/* A signal handler that interrupts this finds the object unbound, and then the lock taken. */
static void rebind(shmc_section *section, const struct found *found) {
    __atomic_store_n(&section->bound, false, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    mapping_take(section);
    if (found->section.incarnation != section->descriptor.incarnation) {
        section->last = (struct snapshot_value){0};
        section->stale_said = 0;
    }
    section->descriptor = found->section;
    section->own = may_write(section->segment, found);
    section->receives = may_receive(section->segment, &found->section);
    section->snapshot = found->snapshot;
    section->before = found->snapshot_before;
    section->snapshot.before = found->moving ? &section->before : NULL;
    if (section->writer != NULL && !writer_follow(section->writer, &section->snapshot)) {
        writer_release(section->segment, section->writer);
        section->writer = NULL;
    }
    section->slots = found->slots;
    if (section->holding != NULL && !holding_suits(section->holding, &section->slots)) {
        holding_release(section->segment, section->holding);
        section->holding = NULL;
    }
    snapshot_reader_init(&section->reader, &section->snapshot);
    section->generation = found->generation;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    __atomic_store_n(&section->bound, true, __ATOMIC_RELAXED);
}

static int bind_places(const shmc_section *section, struct found *found) {
    if (found->section.kind == SHM_KIND_RAW)
        return check_raw(section, &found->section);
    if (found->section.kind == SHM_KIND_SLOTS)
        return bind_slots(section, found);
    if (found->section.kind != SHM_KIND_SNAPSHOT)
        return 0;
    int r = bind_snapshot(section, &found->section, found->generation, &found->snapshot);
    if (r == 0 && found->moving)
        r = bind_snapshot(section, &found->before, found->generation, &found->snapshot_before);
    return r;
}

/* A writer whose new place can't be had, as the manager has gone since it was made, goes on in the
 * place before, where he is bound: nobody takes that while he hasn't left it. */
static bool may_stay(const shmc_section *section, const struct found *found) {
    return found->moving && section->bound && section->own &&
           section->descriptor.incarnation == found->before.incarnation &&
           section->descriptor.ctl_off == found->before.ctl_off;
}

static int reach(const shmc_section *section, const struct found *found) {
    shmc *segment = section->segment;
    segment->now->parts.hasty = may_stay(section, found) && !section->insists;
    int r = mapping_reach(segment, &found->section, found->generation);
    segment->now->parts.hasty = false;
    if (r == 0 && found->moving)
        r = mapping_reach(segment, &found->before, found->generation);
    return r;
}

static int look_up(shmc_section *section) {
    shmc *segment = section->segment;
    struct found found = {0};
    int r = find(section, &section->slot, &found.section, &found.generation);
    if (r == 0)
        r = check_expected(section, &found.section);
    if (r == 0)
        r = find_before(section, &found);
    if (r == 0)
        r = reach(section, &found);
    if (r == 0)
        r = bind_places(section, &found);
    if (r == 0)
        r = mapping_update(segment, found.generation);
    if (r == 0)
        rebind(section, &found);
    else if (r != -EBADMSG && r != -EAGAIN && !(r == -ENOTCONN && may_stay(section, &found)))
        section->bound = false;
    return r;
}

int section_resolve(shmc_section *section) {
    shmc *segment = section->segment;
    if (lock_take(&segment->lock) < 0)
        return error_note(section, -EBUSY, NOTE_BUSY, 0, 0);
    int r;
    do {
        r = successor_follow(segment);
        if (r < 0) /* what it is bound to is nobody's place any more */
            section->bound = false;
        else
            r = look_up(section);
    } while (r == -EAGAIN); /* the table changed while it was read */
    lock_release(&segment->lock);
    return r;
}

/* A kind that many may write: its arena is made writable when somebody does. */
static bool is_many(const struct shm_section *section) {
    return section->kind == SHM_KIND_SLOTS || section->kind == SHM_KIND_QUEUE ||
           (section->flags & SHM_SECTION_SHARED) != 0;
}

int section_not_ours(const shmc_section *section) {
    const struct standing *standing = &section->mapping->standing;
    const char *what = standing->worker[0] != '\0' ? "worker "
                       : standing->attachment != 0 ? "anonymous"
                                                   : "a reader";
    return error_set(section->segment->error, -EACCES,
                     "section '%s' belongs to worker '%s', and this process is %s%s: attach as its "
                     "owner",
                     section->name, section->descriptor.owner, what, standing->worker);
}

int section_ready_to_write(shmc_section *section, enum shmc_kind kind) {
    shmc *segment = section->segment;
    int r;
    do {
        r = section_ready(section, kind);
        if (r < 0 && !((r == -EBADMSG || r == -ENOTCONN) && section->bound &&
                       section->descriptor.kind == (uint32_t)kind))
            return r;
        if (section->mapping->standing.lost)
            return standing_check(segment, section->mapping);
        if (!section->own && !is_many(&section->descriptor))
            return section_not_ours(section);
        r = section->own ? 0 : mapping_write(segment, section, section->descriptor.arena_index);
    } while (r == -EAGAIN);
    if (r < 0)
        return r;
    return standing_holds(section->mapping) ? 0 : standing_check(segment, section->mapping);
}

/* ---- opening and closing */

static int read_expected(shmc_section *section, const struct shmc_expect *expect) {
    struct error *error = section->segment->error;
    struct shmc_expect copy = {0};
    int r = options_copy(&copy, sizeof copy, expect, "expect", "shmc_expect", error);
    if (r < 0)
        return r;
    if (copy.reserved != 0 || (unsigned)copy.kind > SHMC_QUEUE)
        return error_set(error, -EINVAL, "expect.kind is %u; it takes an enum shmc_kind",
                         (unsigned)copy.kind);
    if (copy.format != NULL && strlen(copy.format) >= SHMC_NAME_BYTES)
        return error_set(error, -EINVAL, "expect.format is '%.80s'; a format has at most %d bytes",
                         copy.format, SHMC_NAME_BYTES - 1);
    section->wanted_kind = copy.kind;
    section->wanted_size = copy.min_size;
    section->wants_format = copy.format != NULL;
    if (copy.format != NULL)
        strcpy(section->wanted_format, copy.format);
    return 0;
}

static shmc_section *section_new(shmc *segment, const char *name) {
    shmc_section *section = calloc(1, sizeof *section);
    if (section == NULL)
        return NULL;
    section->segment = segment;
    section->slot = SHM_NONE;
    strcpy(section->name, name); /* its length was checked */
    if (lock_take(&segment->lock) < 0) {
        free(section);
        return NULL;
    }
    mapping_take(section);
    lock_release(&segment->lock);
    return section;
}

int shmc_open(shmc_section **ret, shmc *segment, const char *name,
              const struct shmc_expect *expect) {
    int r = handle_usable(segment);
    if (r < 0)
        return r;
    if (name == NULL || name[0] == '\0' || strlen(name) >= SHMC_NAME_BYTES)
        return error_set(segment->error, name == NULL ? -EINVAL : -ENOENT,
                         "no section can be named '%.80s'; a name has 1 to %d characters",
                         name == NULL ? "" : name, SHMC_NAME_BYTES - 1);
    shmc_section *section = section_new(segment, name);
    if (section == NULL)
        return error_set(segment->error, -ENOMEM, "section '%s': no memory", name);
    r = expect == NULL ? 0 : read_expected(section, expect);
    if (r == 0)
        r = section_resolve(section);
    if (r < 0) {
        error_keep(segment->error, section);
        mapping_leave(section);
        free(section);
        return r;
    }
    __atomic_add_fetch(&segment->references, 1, __ATOMIC_RELAXED);
    *ret = section;
    return 0;
}

void shmc_close(shmc_section *section) {
    if (section == NULL)
        return;
    shmc *segment = section->segment;
    shmc_abort(section);
    event_forget(section);
    queue_forget(section);
    if (section->writer != NULL)
        writer_release(segment, section->writer);
    if (section->holding != NULL)
        holding_release(segment, section->holding);
    if (handle_state(segment) != HANDLE_FORKED)
        error_keep(segment->error, section);
    mapping_leave(section);
    free(section);
    handle_release(segment);
}

shmc_section *section_double(const shmc_section *section) {
    shmc_section *twin = section_new(section->segment, section->name);
    if (twin != NULL) {
        twin->descriptor = section->descriptor; /* its id, by which it is found */
        twin->slot = section->slot;
    }
    return twin;
}

void section_free_double(shmc_section *section) {
    queue_forget(section);
    error_keep(section->segment->error, section);
    mapping_leave(section);
    free(section);
}
