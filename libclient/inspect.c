/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking around: the segment, its sections and its workers, as structures of the public API.
 */
#include "queue.h"

#include "core/restored.h"

#include <stdlib.h>
#include <string.h>

/* ---- sections */

static bool bind_place(shmc *segment, const struct mapping *mapping,
                       const struct shm_section *found, uint64_t generation, struct snapshot *ret) {
    const char *field;
    return found->kind == SHM_KIND_SNAPSHOT && mapping_shows(segment, mapping, found, generation) &&
           mapping_bind(mapping, found, NULL, ret, &field) == 0;
}

/* The place before of one that is moving. */
static bool bind_before(shmc *segment, const struct mapping *mapping,
                        const struct shm_section *found, uint64_t generation,
                        struct snapshot *ret) {
    struct shm_section before;
    const char *field;
    return directory_section(&mapping->directory, generation, found->old_slot, &before, &field) ==
               0 &&
           before.ctl_off == found->old_ctl_off &&
           bind_place(segment, mapping, &before, generation, ret);
}

static void add_value(shmc *segment, const struct mapping *mapping, const struct shm_section *found,
                      uint64_t generation, struct shmc_section_info *ret) {
    struct snapshot snapshot, before;
    struct snapshot_reader reader;
    struct snapshot_value value;
    const void *data;
    if (!bind_place(segment, mapping, found, generation, &snapshot))
        return;
    if (ret->moving) {
        if (!bind_before(segment, mapping, found, generation, &before))
            return;
        snapshot.before = &before;
    }
    const struct shm_snapshot *counters =
        ret->moving && shared_load_relaxed64(&snapshot.shared->head) == 0 ? before.shared
                                                                          : snapshot.shared;
    ret->aborted = shared_load_relaxed64(&counters->aborted);
    ret->wakes = shared_load_relaxed64(&counters->wakes);
    ret->wake_errors = shared_load_relaxed64(&counters->wake_errors);
    snapshot_reader_init(&reader, &snapshot);
    if (snapshot_view(&reader, &data, &value) < 0)
        return;
    ret->version = value.version;
    ret->length = value.length;
    ret->real_ns = value.real_ns;
    ret->age_ns = snapshot_age(&value);
    ret->stale = stale_by(found->stale_ms, ret->age_ns);
}

static enum shmc_alive look_at_worker(const struct mapping *mapping, uint32_t index) {
    if (private_is(mapping)) /* nobody else has looked */
        tenancy_worker_ended(&mapping->tenancy, index);
    return alive_worker(mapping, index);
}

/* What a queue has of all that: as `version` counts what was ever sent, its rate is that of
 * messages. */
static void add_queue(shmc *segment, const struct mapping *mapping, const struct shm_section *found,
                      uint64_t generation, struct shmc_section_info *ret) {
    struct queue place;
    struct shmc_queue_stat stat;
    const char *field;
    if (!mapping_shows(segment, mapping, found, generation) ||
        queue_place(&place, mapping, found, NULL, &field) < 0)
        return;
    queue_sum(mapping, &place, &stat, NULL, 0);
    ret->version = stat.sent;
    ret->length = stat.bytes;
    ret->messages = stat.messages;
    ret->real_ns = stat.oldest_real_ns;
    if (stat.oldest_real_ns == 0)
        return;
    const uint64_t now = clock_real_ns();
    ret->age_ns = now > stat.oldest_real_ns ? now - stat.oldest_real_ns : 0;
    ret->stale = stale_by(found->stale_ms, ret->age_ns);
}

static void add_slots(shmc *segment, const struct mapping *mapping, const struct shm_section *found,
                      uint64_t generation, struct shmc_section_info *ret) {
    const struct attachments attachments = mapping_attachments(mapping);
    struct slots slots;
    const char *field;
    if (mapping_shows(segment, mapping, found, generation) &&
        slots_bind(&slots, mapping->base + found->ctl_off, found, &attachments, &field) == 0)
        ret->messages = slots.count - slots_free(&slots);
}

static void describe(shmc *segment, const struct mapping *mapping, const struct shm_section *found,
                     uint64_t generation, struct shmc_section_info *ret) {
    const struct standing *standing = &mapping->standing;
    *ret = (struct shmc_section_info){
        .kind = (enum shmc_kind)found->kind,
        .writer = look_at_worker(mapping, found->owner_index),
        .section_id = found->section_id,
        .incarnation = found->incarnation,
        .generation = found->changed_gen,
        .offset = found->offset,
        .bytes = found->bytes,
        .size = found->size,
        .count = found->count,
        .persist = (found->flags & SHM_SECTION_PERSIST) != 0,
        .shared = (found->flags & SHM_SECTION_SHARED) != 0,
        .pinned = (found->flags & SHM_SECTION_PINNED) != 0,
        .own = standing->worker[0] != '\0' && found->owner_index == standing->worker_index,
        .moving = found->state == SHM_PLACE_MOVING,
        .made = found->section_id >= SHM_SECTION_ID_MADE,
        .transient = (found->flags & SHM_SECTION_TRANSIENT) != 0,
        .stale_ms = found->stale_ms,
        .age_ns = UINT64_MAX,
    };
    memcpy(ret->name, found->name, sizeof ret->name);
    memcpy(ret->owner, found->owner, sizeof ret->owner);
    memcpy(ret->format, found->format, sizeof ret->format);
    if (found->kind == SHM_KIND_SLOTS)
        add_slots(segment, mapping, found, generation, ret);
    else if (found->kind == SHM_KIND_QUEUE)
        add_queue(segment, mapping, found, generation, ret);
    else
        add_value(segment, mapping, found, generation, ret);
}

static int damaged(const shmc *segment, int code, const char *field) {
    if (code != -EBADMSG)
        return error_set(segment->error, code, "the directory can't be read: %s", strerror(-code));
    return error_set(segment->error, code,
                     "the segment's header is damaged (%s); a running manager repairs it within "
                     "about a second",
                     field);
}

static int load(const shmc *segment, const struct mapping *mapping, struct layout *ret) {
    const char *field = "";
    int r = directory_load(&mapping->directory, ret, &field);
    return r < 0 ? damaged(segment, r, field) : 0;
}

static int inspect(shmc *segment, const struct mapping *mapping, const char *name,
                   struct shmc_section_info *ret) {
    uint64_t generation;
    do {
        struct shm_section found;
        const char *field = "";
        int r = directory_find(&mapping->directory, name, &found, &generation, &field);
        if (r == -ENOENT)
            return error_set(segment->error, r,
                             "the segment has no section '%.63s'; shmtool list shows what there is",
                             name);
        if (r < 0)
            return damaged(segment, r, field);
        describe(segment, mapping, &found, generation, ret);
        shared_fence_acquire(); /* all was copied before the generation is looked at */
    } while (directory_generation(&mapping->directory) != generation);
    return 0;
}

int shmc_inspect(shmc *segment, const char *name, struct shmc_section_info *ret) {
    struct mapping *mapping;
    int r = mapping_borrow(segment, &mapping);
    if (r < 0)
        return r;
    r = inspect(segment, mapping, name, ret);
    mapping_return(segment, mapping);
    return r;
}

int shmc_section_info(shmc_section *section, struct shmc_section_info *ret) {
    int r = handle_usable(section->segment);
    if (r < 0)
        return r;
    do {
        r = section_resolve(section);
        if (r < 0)
            return r;
        describe(section->segment, section->mapping, &section->descriptor, section->generation,
                 ret);
        shared_fence_acquire(); /* as in shmc_inspect() */
    } while (!section_settled(section));
    return 0;
}

static int by_section_name(const void *a, const void *b) {
    return strcmp(((const struct shmc_section_info *)a)->name,
                  ((const struct shmc_section_info *)b)->name);
}

static int list_sections(shmc *segment, const struct mapping *mapping, const struct layout *layout,
                         struct shmc_section_info **ret, size_t *n) {
    size_t count = 0;
    struct shmc_section_info *all = calloc(layout->sections_used + 1, sizeof *all);
    if (all == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < layout->sections_used; i++)
        if (layout_place_in_force(layout->sections[i].state))
            describe(segment, mapping, &layout->sections[i], layout->generation, &all[count++]);
    qsort(all, count, sizeof *all, by_section_name);
    *ret = all;
    *n = count;
    return 0;
}

static int sections(shmc *segment, const struct mapping *mapping, struct shmc_section_info **ret,
                    size_t *n) {
    for (;;) {
        struct layout layout;
        struct shmc_section_info *all;
        size_t count;
        int r = load(segment, mapping, &layout);
        if (r < 0)
            return r;
        r = list_sections(segment, mapping, &layout, &all, &count);
        uint64_t generation = layout.generation;
        layout_clear(&layout);
        if (r < 0)
            return damaged(segment, r, "");
        shared_fence_acquire(); /* as in shmc_inspect() */
        if (directory_generation(&mapping->directory) == generation) {
            *ret = all;
            *n = count;
            return 0;
        }
        free(all);
    }
}

int shmc_sections(shmc *segment, struct shmc_section_info **ret, size_t *n) {
    struct mapping *mapping;
    int r = mapping_borrow(segment, &mapping);
    if (r < 0)
        return r;
    r = sections(segment, mapping, ret, n);
    mapping_return(segment, mapping);
    return r;
}

/* ---- workers */

static void describe_worker(const struct mapping *mapping, uint32_t index,
                            const struct shm_worker *record, struct shmc_worker_info *ret) {
    enum shm_lease_state state = lease_word_state(record->word);
    bool somebody = state == SHM_LEASE_LEASED || state == SHM_LEASE_GRANTED;
    *ret = (struct shmc_worker_info){
        .state = look_at_worker(mapping, index),
        .granted = state == SHM_LEASE_GRANTED,
        .epoch = lease_word_epoch(record->word),
        .pid = (pid_t)(somebody ? record->pid : record->previous_pid),
        .uid = record->uid,
        .since_real_ns = record->since_real_ns,
        .ended_real_ns = record->ended_real_ns,
        .end_reason = record->end_reason,
        .end_detail = record->end_detail,
        .attachment = record->attachment,
    };
    memcpy(ret->name, record->name, sizeof ret->name);
}

static int by_worker_name(const void *a, const void *b) {
    return strcmp(((const struct shmc_worker_info *)a)->name,
                  ((const struct shmc_worker_info *)b)->name);
}

static int workers(const shmc *segment, const struct mapping *mapping,
                   struct shmc_worker_info **ret, size_t *n) {
    struct layout layout;
    int r = load(segment, mapping, &layout);
    if (r < 0)
        return r;
    uint32_t used = layout.workers_used;
    layout_clear(&layout);
    struct shmc_worker_info *all = calloc(used + 1, sizeof *all);
    if (all == NULL)
        return damaged(segment, -ENOMEM, "");
    size_t count = 0;
    for (uint32_t i = 0; i < used; i++) {
        struct shm_worker record;
        if (directory_worker(&mapping->directory, i, &record) == 0)
            describe_worker(mapping, i, &record, &all[count++]);
    }
    qsort(all, count, sizeof *all, by_worker_name);
    *ret = all;
    *n = count;
    return 0;
}

int shmc_workers(shmc *segment, struct shmc_worker_info **ret, size_t *n) {
    struct mapping *mapping;
    int r = mapping_borrow(segment, &mapping);
    if (r < 0)
        return r;
    r = workers(segment, mapping, ret, n);
    mapping_return(segment, mapping);
    return r;
}

int shmc_inspect_worker(shmc *segment, const char *name, struct shmc_worker_info *ret) {
    struct shmc_worker_info *all = NULL;
    size_t n = 0;
    int r = shmc_workers(segment, &all, &n);
    if (r < 0)
        return r;
    r = -ENOENT;
    for (size_t i = 0; i < n && r < 0; i++)
        if (strcmp(all[i].name, name) == 0) {
            *ret = all[i];
            r = 0;
        }
    free(all);
    if (r < 0)
        error_set(segment->error, r, "the segment has no worker '%.63s'; add it to the table",
                  name);
    return r;
}

/* ---- who has no name */

static int attachments(const shmc *segment, const struct mapping *mapping,
                       struct shmc_attachment_info **ret, size_t *n) {
    const uint32_t capacity = mapping->directory.header.attachments_capacity;
    struct shmc_attachment_info *all = calloc(capacity + 1, sizeof *all);
    if (all == NULL)
        return damaged(segment, -ENOMEM, "");
    size_t count = 0;
    for (uint32_t i = 1; i < capacity; i++) {
        struct shm_attachment record;
        if (directory_attachment(&mapping->directory, i, &record) < 0 || record.worker != SHM_NONE)
            continue;
        const enum shm_lease_state state = lease_word_state(record.word);
        if (state != SHM_LEASE_LEASED && state != SHM_LEASE_GRANTED)
            continue;
        all[count++] = (struct shmc_attachment_info){.attachment = i,
                                                     .granted = state == SHM_LEASE_GRANTED,
                                                     .epoch = lease_word_epoch(record.word),
                                                     .pid = (pid_t)record.pid,
                                                     .uid = record.uid,
                                                     .since_real_ns = record.since_real_ns};
    }
    *ret = all;
    *n = count;
    return 0;
}

int shmc_attachments(shmc *segment, struct shmc_attachment_info **ret, size_t *n) {
    struct mapping *mapping;
    int r = mapping_borrow(segment, &mapping);
    if (r < 0)
        return r;
    r = attachments(segment, mapping, ret, n);
    mapping_return(segment, mapping);
    return r;
}

/* ---- the segment */

static uint64_t arena_bytes(const struct layout *layout) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < layout->arenas_used; i++)
        if (layout->arenas[i].state != SHM_PLACE_FREE)
            bytes += layout->arenas[i].bytes;
    return bytes;
}

static uint32_t count_sections(const struct layout *layout) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < layout->sections_used; i++)
        n += layout_place_in_force(layout->sections[i].state);
    return n;
}

static uint32_t count_workers(const struct layout *layout) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < layout->workers_used; i++)
        n += layout->workers[i][0] != '\0';
    return n;
}

static int describe_segment(const shmc *segment, const struct mapping *mapping,
                            struct shmc_segment_info *ret) {
    struct layout layout;
    int r = load(segment, mapping, &layout);
    if (r < 0)
        return r;
    const struct shm_header *header = &mapping->directory.header;
    struct shmc_segment_info info = {
        .key = header->key,
        .id = mapping->id,
        .abi = header->abi,
        .backend = header->backend,
        .protection = private_is(mapping)  ? "cooperative (private)"
                      : parts_are(mapping) ? "kernel (memfd)"
                                           : "cooperative (sysv)",
        .bytes = header->segment_bytes,
        .arena_bytes = arena_bytes(&layout),
        .generation = layout.generation,
        .sections = count_sections(&layout),
        .workers = count_workers(&layout),
        .state = directory_state(&mapping->directory),
        .created_real_ns = header->created_real_ns,
        .base = mapping->base,
    };
    uint32_t pid;
    info.manager_alive = directory_manager_alive(&mapping->directory, &info.heartbeat_age_ns, &pid);
    info.manager_pid = (pid_t)pid;
    layout_clear(&layout);
    *ret = info;
    return 0;
}

int shmc_segment(const shmc *segment, struct shmc_segment_info *ret) {
    struct mapping *mapping;
    int r = mapping_borrow(segment, &mapping);
    if (r < 0)
        return r;
    r = describe_segment(segment, mapping, ret);
    mapping_return(segment, mapping);
    return r;
}
