/* SPDX-License-Identifier: Apache-2.0
 *
 * The reader's side of header and directory.
 */
#include "directory.h"
#include "crc32c.h"
#include "futex.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TRIES                                                                                      \
    1000 /* copies that a flip may spoil in a row before the directory counts as damaged */

/* Lines 0 and 1: all that never changes. */
#define CONSTANT_BYTES offsetof(struct shm_header, generation)

static bool table_fits(uint64_t off, uint64_t count, uint64_t each, uint64_t end) {
    return off % SHM_LINE == 0 && off <= end && count <= (end - off) / each;
}

static const char *check_geometry(const struct shm_header *h) {
    if (h->header_bytes < sizeof *h || h->header_bytes > SHM_PAGE)
        return "header.header_bytes";
    if (h->arena_start % SHM_PAGE != 0 || h->arena_start > h->segment_bytes)
        return "header.arena_start";
    if (!table_fits(h->workers_off, h->workers_capacity, sizeof(struct shm_worker), h->arena_start))
        return "header.workers_off";
    if (h->attachments_capacity > SHM_ATTACHMENTS_MAX + 1 ||
        !table_fits(h->attachments_off, h->attachments_capacity, sizeof(struct shm_attachment),
                    h->arena_start))
        return "header.attachments_off";
    return NULL;
}

int directory_open(struct directory *ret, const void *base, uint64_t bytes, const char **field) {
    *ret = (struct directory){.base = base, .bytes = bytes};
    *field = "segment size";
    if (bytes < SHM_PAGE)
        return -EBADMSG;
    /* Pairs with image_reveal(): the magic is stored last, with release. */
    uint64_t magic = ACQUIRE64(OPEN_RELAXED, &directory_shared(ret)->magic);
    shared_copy_from(&ret->header, base, CONSTANT_BYTES);
    *field = "header.magic";
    if (magic == 0)
        return -EAGAIN;
    const struct shm_header *h = &ret->header;
    if (magic != SHM_MAGIC || h->magic != SHM_MAGIC)
        return -EBADMSG;
    /* Whose ABI it is comes before its checksum: another one may sum other bytes. */
    *field = "header.abi";
    if (h->abi != SHM_ABI)
        return -EPROTONOSUPPORT;
    *field = "header.crc";
    if (h->crc != CRC32C_OF((const struct shm_header *)h))
        return -EBADMSG;
    *field = "header.byte_order";
    if (h->byte_order != SHM_BYTE_ORDER)
        return -EPROTONOSUPPORT;
    *field = "header.incompatible";
    if ((h->incompatible & ~SHM_INCOMPATIBLE_KNOWN) != 0)
        return -EPROTONOSUPPORT;
    *field = "header.page_bytes";
    if (h->page_bytes != SHM_PAGE)
        return -EPROTONOSUPPORT;
    *field = "header.segment_bytes";
    if (h->segment_bytes > bytes || h->segment_bytes % SHM_PAGE != 0)
        return -EBADMSG;
    *field = check_geometry(h);
    return *field == NULL ? 0 : -EBADMSG;
}

int directory_recheck(const struct directory *directory, const char **field) {
    struct shm_header now;
    shared_copy_from(&now, directory->base, CONSTANT_BYTES);
    *field = "header";
    return memcmp(&now, &directory->header, CONSTANT_BYTES) == 0 ? 0 : -EBADMSG;
}

int directory_bell_id(const struct directory *directory) {
    /* Unsigned: it may be any number, INT_MIN too. */
    return (int)(shared_load_acquire32(&directory_shared(directory)->bell_id) - 1);
}

bool directory_manager_alive(const struct directory *directory, uint64_t *age_ns, uint32_t *pid) {
    const struct shm_header *h = directory_shared(directory);
    uint64_t beat = shared_load_acquire64(&h->heartbeat_mono_ns);
    uint64_t interval = shared_load_relaxed32(&h->heartbeat_interval_ms) * UINT64_C(1000000);
    /* Some milliseconds are nothing to a heartbeat, and each read asks. */
    uint64_t now = clock_read_ns(CLOCK_MONOTONIC_COARSE);
    uint64_t age = beat == 0 || beat > now ? 0 : now - beat;
    if (age_ns != NULL)
        *age_ns = age;
    if (pid != NULL)
        *pid = shared_load_relaxed32(&h->manager_pid);
    return beat != 0 && age < 3 * interval && directory_state(directory) == SHM_STATE_SERVING;
}

/* The directory of one generation, its place and head checked. */
struct view {
    const uint8_t *at;
    struct shm_directory head;
};

static bool inside(const struct directory *directory, uint64_t offset, uint64_t bytes,
                   uint64_t unit) {
    const struct shm_header *h = &directory->header;
    return offset % unit == 0 && offset >= h->arena_start && offset <= h->segment_bytes &&
           bytes <= h->segment_bytes - offset;
}

static int view_open(const struct directory *directory, uint64_t generation, struct view *ret,
                     const char **field) {
    const struct shm_directory_place *shared =
        &directory_shared(directory)->directories[generation & 1];
    uint64_t offset = shared_load_relaxed64(&shared->offset);
    uint64_t bytes = shared_load_relaxed64(&shared->bytes);
    *field = "header.directories";
    if (!inside(directory, offset, bytes, SHM_PAGE) || bytes < sizeof(struct shm_directory))
        return -EBADMSG;
    ret->at = directory->base + offset;
    shared_copy_from(&ret->head, ret->at, sizeof ret->head);
    const struct shm_directory *d = &ret->head;
    *field = "directory.crc";
    if (d->crc != CRC32C_OF(d))
        return -EBADMSG;
    *field = "directory.generation";
    if (d->generation != generation)
        return -EBADMSG;
    *field = "directory.capacity";
    if (d->index_count > d->slots_used || d->slots_used > d->capacity ||
        d->arenas_used > d->arenas_capacity ||
        d->workers_used > directory->header.workers_capacity ||
        !table_fits(d->index_off, d->capacity, sizeof(uint32_t), bytes) ||
        !table_fits(d->sections_off, d->capacity, sizeof(struct shm_section), bytes) ||
        !table_fits(d->arenas_off, d->arenas_capacity, sizeof(struct shm_arena), bytes))
        return -EBADMSG;
    return 0;
}

static const struct shm_section *view_section(const struct view *view, uint32_t slot) {
    return (const struct shm_section *)(const void *)(view->at + view->head.sections_off) + slot;
}

static uint32_t view_index(const struct view *view, uint32_t at) {
    return shared_load_relaxed32((const uint32_t *)(const void *)(view->at + view->head.index_off) +
                                 at);
}

static bool text_ok(const char *text) {
    return memchr(text, '\0', SHM_NAME_BYTES) != NULL;
}

static int check_section(const struct directory *directory, const struct shm_section *s,
                         const char **field) {
    *field = "section.crc";
    if (s->crc != CRC32C_OF(s))
        return -EBADMSG;
    *field = "section.name";
    if (!text_ok(s->name) || !text_ok(s->owner) || !text_ok(s->format) || s->name[0] == '\0')
        return -EBADMSG;
    *field = "section.offset";
    if (!inside(directory, s->offset, s->bytes, SHM_LINE))
        return -EBADMSG;
    *field = "section.ctl_off";
    if (s->ctl_off < s->offset || s->ctl_off - s->offset > s->bytes)
        return -EBADMSG;
    *field = "section.bell_index";
    return s->bell_index < directory->header.bells_capacity ? 0 : -EBADMSG;
}

/* The descriptor at a place of the index. */
static int view_get(const struct directory *directory, const struct view *view, uint32_t at,
                    struct shm_section *ret, const char **field) {
    uint32_t slot = view_index(view, at);
    *field = "directory.index";
    if (slot >= view->head.slots_used)
        return -EBADMSG;
    shared_copy_from(ret, view_section(view, slot), sizeof *ret);
    int r = check_section(directory, ret, field);
    if (r < 0)
        return r;
    *field = "section.state";
    return layout_place_in_force(ret->state) ? 0 : -EBADMSG;
}

/* A miss is an answer only if the index is whole. */
static int view_index_ok(const struct view *view, const char **field) {
    const uint8_t *index = view->at + view->head.index_off;
    uint64_t bytes = view->head.index_count * sizeof(uint32_t), n;
    uint32_t crc = 0;
    for (uint64_t at = 0; at < bytes; at += n) {
        uint8_t copy[1024];
        n = bytes - at < sizeof copy ? bytes - at : sizeof copy;
        shared_copy_from(copy, index + at, n);
        crc = crc32c_more(crc, copy, n);
    }
    *field = "directory.index";
    return crc == view->head.index_crc ? -ENOENT : -EBADMSG;
}

static int view_find(const struct directory *directory, const struct view *view, const char *name,
                     struct shm_section *ret, const char **field) {
    uint32_t low = 0, high = view->head.index_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct shm_section found;
        int r = view_get(directory, view, middle, &found, field);
        if (r < 0)
            return r;
        int order = strcmp(name, found.name);
        if (order == 0) {
            *ret = found;
            return 0;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return view_index_ok(view, field);
}

/* A section that isn't there is an answer only if each that the index lists is whole. */
static int view_miss(const struct directory *directory, const struct view *view,
                     const char **field) {
    for (uint32_t at = 0; at < view->head.index_count; at++) {
        struct shm_section found;
        int r = view_get(directory, view, at, &found, field);
        if (r < 0)
            return r;
    }
    return view_index_ok(view, field);
}

/* 1: the section is in force in that slot; 0: it isn't; -EBADMSG. */
static int view_has_id(const struct directory *directory, const struct view *view, uint32_t slot,
                       uint64_t section_id, struct shm_section *ret, const char **field) {
    if (slot >= view->head.slots_used ||
        shared_load_relaxed64(&view_section(view, slot)->section_id) != section_id)
        return 0;
    shared_copy_from(ret, view_section(view, slot), sizeof *ret);
    if (ret->state == SHM_PLACE_FREE)
        return 0;
    int r = check_section(directory, ret, field);
    return r < 0 ? r : layout_place_in_force(ret->state) && ret->section_id == section_id;
}

static int view_find_id(const struct directory *directory, const struct view *view,
                        uint64_t section_id, uint32_t *slot, struct shm_section *ret,
                        const char **field) {
    int r = view_has_id(directory, view, *slot, section_id, ret, field);
    for (uint32_t at = 0; r == 0 && at < view->head.slots_used; at++) {
        r = view_has_id(directory, view, at, section_id, ret, field);
        if (r > 0)
            *slot = at;
    }
    return r > 0 ? 0 : r < 0 ? r : view_miss(directory, view, field);
}

/* By name, or by id when `name` is NULL. */
static int find(const struct directory *directory, const char *name, uint64_t section_id,
                uint32_t *slot, struct shm_section *ret, uint64_t *generation, const char **field) {
    for (int try = 0; try < TRIES; try++) {
        uint64_t before = directory_generation(directory);
        int r = directory_recheck(directory, field);
        if (r < 0)
            return r;
        struct view view;
        struct shm_section found;
        r = view_open(directory, before, &view, field);
        if (r == 0)
            r = name != NULL ? view_find(directory, &view, name, &found, field)
                             : view_find_id(directory, &view, section_id, slot, &found, field);
        /* Whatever was copied, also a miss and a wrong checksum, counts only if no flip came
         * meanwhile: pairs with the release fence before the idle directory is filled. */
        STEP(FIND_UNFENCED, shared_fence_acquire());
        if (directory_generation(directory) != before && !MUTANT(FIND_UNCHECKED))
            continue;
        if (r == 0) {
            *ret = found;
            *generation = before;
        }
        return r;
    }
    *field = "header.generation";
    return -EBADMSG;
}

int directory_find(const struct directory *directory, const char *name, struct shm_section *ret,
                   uint64_t *generation, const char **field) {
    return find(directory, name, 0, NULL, ret, generation, field);
}

int directory_find_id(const struct directory *directory, uint64_t section_id, uint32_t *slot,
                      struct shm_section *ret, uint64_t *generation, const char **field) {
    return find(directory, NULL, section_id, slot, ret, generation, field);
}

/* What was copied counts if its generation is still in force: the fence as in find(). */
static int conclude(const struct directory *directory, uint64_t generation, int r) {
    shared_fence_acquire();
    return directory_generation(directory) == generation ? r : -EAGAIN;
}

int directory_section(const struct directory *directory, uint64_t generation, uint32_t slot,
                      struct shm_section *ret, const char **field) {
    struct view view;
    struct shm_section found;
    int r = view_open(directory, generation, &view, field);
    if (r == 0 && slot >= view.head.slots_used)
        r = -ENOENT;
    if (r == 0) {
        shared_copy_from(&found, view_section(&view, slot), sizeof found);
        r = found.state == SHM_PLACE_FREE ? -ENOENT : check_section(directory, &found, field);
    }
    r = conclude(directory, generation, r);
    if (r == 0)
        *ret = found;
    return r;
}

uint32_t directory_workers_used(const struct directory *directory) {
    for (int try = 0; try < TRIES; try++) {
        struct view view;
        const char *field;
        const uint64_t generation = directory_generation(directory);
        int r = view_open(directory, generation, &view, &field);
        r = conclude(directory, generation, r);
        if (r != -EAGAIN)
            return r < 0 ? 0 : view.head.workers_used;
    }
    return 0;
}

int directory_arena(const struct directory *directory, uint64_t generation, uint32_t index,
                    struct shm_arena *ret, const char **field) {
    struct view view;
    struct shm_arena found;
    int r = view_open(directory, generation, &view, field);
    if (r == 0 && index >= view.head.arenas_used)
        r = -ERANGE;
    if (r == 0) {
        shared_copy_from(&found, view.at + view.head.arenas_off + index * sizeof found,
                         sizeof found);
        *field = "arena.crc";
        if (found.state == SHM_PLACE_FREE)
            r = -ENOENT;
        else if (found.crc != CRC32C_OF(&found) || found.bytes % SHM_PAGE != 0 ||
                 !inside(directory, found.offset, found.bytes, SHM_PAGE))
            r = -EBADMSG;
    }
    r = conclude(directory, generation, r);
    if (r == 0)
        *ret = found;
    return r;
}

static int load_sections(const struct directory *directory, const struct view *view,
                         struct layout *layout, const char **field) {
    uint32_t n = view->head.slots_used;
    layout->sections = calloc(n + 1, sizeof *layout->sections);
    if (layout->sections == NULL)
        return -ENOMEM;
    layout->sections_used = n;
    shared_copy_from(layout->sections, view_section(view, 0), n * sizeof *layout->sections);
    for (uint32_t i = 0; i < n; i++) {
        const struct shm_section *s = &layout->sections[i];
        int r = s->state == SHM_PLACE_FREE ? 0 : check_section(directory, s, field);
        if (r < 0)
            return r;
    }
    return 0;
}

static int load_arenas(const struct view *view, struct layout *layout, const char **field) {
    uint32_t n = view->head.arenas_used;
    layout->arenas = calloc(n + 1, sizeof *layout->arenas);
    if (layout->arenas == NULL)
        return -ENOMEM;
    layout->arenas_used = n;
    shared_copy_from(layout->arenas, view->at + view->head.arenas_off, n * sizeof *layout->arenas);
    *field = "arena.crc";
    for (uint32_t i = 0; i < n; i++)
        if (layout->arenas[i].state != SHM_PLACE_FREE &&
            layout->arenas[i].crc != CRC32C_OF(&layout->arenas[i]))
            return -EBADMSG;
    return 0;
}

static int load_workers(const struct directory *directory, const struct view *view,
                        struct layout *layout) {
    uint32_t n = view->head.workers_used;
    layout->workers = calloc(n + 1, sizeof *layout->workers);
    if (layout->workers == NULL)
        return -ENOMEM;
    layout->workers_used = n;
    for (uint32_t i = 0; i < n; i++) {
        struct shm_worker record;
        if (directory_worker(directory, i, &record) == 0)
            memcpy(layout->workers[i], record.name, SHM_NAME_BYTES);
    }
    return 0;
}

static int load_once(const struct directory *directory, uint64_t generation, struct layout *layout,
                     const char **field) {
    const struct shm_header *h = &directory->header;
    struct view view;
    int r = view_open(directory, generation, &view, field);
    if (r < 0)
        return r;
    *layout = (struct layout){
        .generation = generation,
        .segment_bytes = h->segment_bytes,
        .arena_start = h->arena_start,
        .workers_off = h->workers_off,
        .workers_capacity = h->workers_capacity,
        .attachments_off = h->attachments_off,
        .attachments_capacity = h->attachments_capacity,
        .bells_capacity = h->bells_capacity,
    };
    shared_copy_from(layout->directories, directory_shared(directory)->directories,
                     sizeof layout->directories);
    r = load_sections(directory, &view, layout, field);
    if (r == 0)
        r = load_arenas(&view, layout, field);
    if (r == 0)
        r = load_workers(directory, &view, layout);
    if (r == 0)
        r = view_index_ok(&view, field) == -ENOENT ? 0 : -EBADMSG;
    return r;
}

int directory_load(const struct directory *directory, struct layout *ret, const char **field) {
    for (int try = 0; try < TRIES; try++) {
        uint64_t before = directory_generation(directory);
        struct layout layout = {0};
        int r = directory_recheck(directory, field);
        if (r == 0)
            r = load_once(directory, before, &layout, field);
        shared_fence_acquire(); /* as in find() */
        bool same = directory_generation(directory) == before;
        if (r == 0 && same) {
            *ret = layout;
            return 0;
        }
        layout_clear(&layout);
        if (same)
            return r;
    }
    *field = "header.generation";
    return -EBADMSG;
}

/* A record is consistent when its word is the same on both sides of the copy: the manager writes
 * the fields that a state makes valid before it stores that state, with release. */
#define COPY_RECORD(from, to)                                                                      \
    for (int try = 0;; try++) {                                                                    \
        uint64_t before = ACQUIRE64(RECORD_READ_RELAXED, &(from)->word);                           \
        shared_copy_from((to), (from), sizeof *(to));                                              \
        STEP(RECORD_READ_UNFENCED, shared_fence_acquire());                                        \
        (to)->word = before;                                                                       \
        if (MUTANT(RECORD_UNCHECKED) || shared_load_relaxed64(&(from)->word) == before)            \
            break;                                                                                 \
        if (try == TRIES)                                                                          \
            return -EBADMSG;                                                                       \
    }

int directory_worker(const struct directory *directory, uint32_t index, struct shm_worker *ret) {
    const struct shm_worker *shared = directory_worker_shared(directory, index);
    if (shared == NULL)
        return -ENOENT;
    struct shm_worker copy;
    COPY_RECORD(shared, &copy)
    if (copy.name[0] == '\0')
        return -ENOENT;
    if (!text_ok(copy.name) || copy.name_crc != crc32c(copy.name, sizeof copy.name))
        return -EBADMSG;
    *ret = copy;
    return 0;
}

int directory_attachment(const struct directory *directory, uint32_t index,
                         struct shm_attachment *ret) {
    const struct shm_attachment *shared = directory_attachment_shared(directory, index);
    if (shared == NULL)
        return -ENOENT;
    struct shm_attachment copy;
    COPY_RECORD(shared, &copy)
    *ret = copy;
    return 0;
}
