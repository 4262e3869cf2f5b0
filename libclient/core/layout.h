/* SPDX-License-Identifier: Apache-2.0
 *
 * A directory in private memory: what stands where in a segment.  The planner makes one from
 * another, the manager writes it out (directory.h), state.db keeps a copy.  It is made of the
 * ABI's own structures, so that nothing has to be translated.
 */
#ifndef SHM_CORE_LAYOUT_H
#define SHM_CORE_LAYOUT_H

#include <shm-manager/layout.h>
#include <stdbool.h>

struct layout {
    uint64_t generation; /* 0 = nothing was ever published */
    uint64_t segment_bytes;
    uint32_t arena_start; /* first byte behind header, worker and attachment records */
    uint32_t workers_off, workers_capacity;
    uint32_t attachments_off, attachments_capacity;
    uint32_t bells_capacity;
    struct shm_directory_place directories[2]; /* {0, 0} = not placed yet */
    struct shm_section *sections;              /* by slot; state FREE = a hole */
    uint32_t sections_used;
    struct shm_arena *arenas; /* by index; state FREE = a hole */
    uint32_t arenas_used;
    char (*workers)[SHM_NAME_BYTES]; /* by index; "" = a hole */
    uint32_t workers_used;
    bool forced; /* of a plan: it may take what somebody is in; kept nowhere */
};

/* An empty layout for a segment of so many bytes, its fixed tables sized; -EINVAL when that is too
 * small to hold them. */
int layout_init(struct layout *ret, uint64_t segment_bytes);

/* A deep copy; -ENOMEM.  `ret` is overwritten, not freed. */
int layout_copy(struct layout *ret, const struct layout *from);

/* Frees the arrays and zeroes the rest. */
void layout_clear(struct layout *layout);

/* Index of the worker record of that name, or SHM_NONE. */
uint32_t layout_worker(const struct layout *layout, const char *name);

/* Slot of the LIVE or MOVING section of that name or id, or SHM_NONE. */
uint32_t layout_section(const struct layout *layout, const char *name);
uint32_t layout_section_by_id(const struct layout *layout, uint64_t section_id);

/* What this generation changed says when: before it is written down anywhere. */
void layout_stamp(struct layout *layout, uint64_t real_ns);

/* A place is left: RETIRED, or QUARANTINED while somebody may still write there. */
void layout_leave(struct layout *layout, uint32_t slot, enum shm_place state);

/* A section that was MOVING has arrived, and its place before is RETIRED. */
void layout_arrive(struct layout *layout, uint32_t slot);

/* Bytes of a directory with room for so many sections and arenas, a multiple of SHM_PAGE. */
uint64_t layout_directory_bytes(uint32_t sections, uint32_t arenas);

/* How many sections (and as many arenas) fit a directory of so many bytes. */
uint32_t layout_directory_capacity(uint64_t bytes);

/* Fills in capacity, arenas_capacity and the offsets of a directory with that capacity. */
void layout_directory_offsets(uint32_t capacity, struct shm_directory *ret);

/* Bytes that a section of this kind needs, control block included, a multiple of SHM_LINE; 0 when
 * that overflows or the kind isn't known. */
uint64_t layout_section_bytes(uint32_t kind, uint64_t size, uint32_t count, bool shared);

/* Do many write such a section, each of them what is his for the moment?  Then it stands in arenas
 * of its own, whose writers are others than an owner's. */
static inline bool layout_of_many(uint32_t kind, bool shared) {
    return kind == SHM_KIND_SLOTS || kind == SHM_KIND_QUEUE || (kind == SHM_KIND_RAW && shared);
}
static inline bool layout_is_of_many(const struct shm_section *section) {
    return layout_of_many(section->kind, (section->flags & SHM_SECTION_SHARED) != 0);
}

/* A queue's claims begin behind so many of its bytes; 0: the section has none. */
uint64_t layout_claims_at(const struct shm_section *section);

/* Is the arena for its owner's sections, and for none that many write? */
bool layout_arena_of_owner(const struct layout *layout, uint32_t index);

/* A worker's record by the name in a section's owner: of a queue, the first one of all its worker's
 * instances. */
bool layout_record_owns(const char *record, const struct shm_section *section);

/* Does it hold together: everything inside the segment, aligned, without overlap, states, indices
 * and checksums right?  0, or -EBADMSG and what is wrong.  (Used on whatever was read from the
 * shared memory or from state.db, and by the tests on every plan.) */
int layout_check(const struct layout *layout, char *error, size_t error_bytes);

static inline uint64_t layout_round(uint64_t value, uint64_t unit) {
    return (value + unit - 1) / unit * unit;
}

static inline bool layout_place_in_force(uint32_t state) {
    return state == SHM_PLACE_LIVE || state == SHM_PLACE_MOVING;
}

#endif
