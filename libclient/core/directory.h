/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading the header and the directory out of a segment that anybody may have damaged: copied
 * once, checked, then used.  A reader is never wrong about what it returns: what was copied counts
 * only when the generation is the same behind it as before it.
 */
#ifndef SHM_CORE_DIRECTORY_H
#define SHM_CORE_DIRECTORY_H

#include "layout.h"
#include "mutant.h"
#include "shared.h"

/* A mapped segment and a checked copy of its constant lines. */
struct directory {
    const uint8_t *base;
    uint64_t bytes; /* mapped */
    struct shm_header header;
};

/* Checks the header of a mapping.  -EAGAIN: its magic isn't there yet (being made);
 * -EPROTONOSUPPORT: another ABI, byte order, page size or unknown incompatible feature;
 * -EBADMSG: damaged.  On failures *field names what was wrong ("header.abi"), and ret->header is
 * the copy as it was found. */
int directory_open(struct directory *ret, const void *base, uint64_t bytes, const char **field);

/* The constant lines once more, as they are now: 0, or -EBADMSG and the field. */
int directory_recheck(const struct directory *directory, const char **field);

static inline const struct shm_header *directory_shared(const struct directory *directory) {
    return (const struct shm_header *)(const void *)directory->base;
}

/* Generation in force; one load, with acquire: everything of that generation is visible behind it.
 * It pairs with the flip's release store in image_publish(). */
static inline uint64_t directory_generation(const struct directory *directory) {
    return ACQUIRE64(GENERATION_RELAXED, &directory_shared(directory)->generation);
}

/* enum shm_state; the id of the bell segment (-1 = none). */
static inline uint32_t directory_state(const struct directory *directory) {
    return shared_load_acquire32(&directory_shared(directory)->state);
}
int directory_bell_id(const struct directory *directory);

/* Has the segment been replaced by another, which is found as this one was?  False, too, when it
 * was just removed. */
static inline bool directory_replaced(const struct directory *directory) {
    return directory_state(directory) == SHM_STATE_REPLACED &&
           shared_load_relaxed64(&directory_shared(directory)->successor) != 0;
}

/* Is the manager's heartbeat young (less than 3 intervals old)?  *age_ns and *pid may be NULL. */
bool directory_manager_alive(const struct directory *directory, uint64_t *age_ns, uint32_t *pid);

/* The descriptor of a name.  -ENOENT: there is none; -EBADMSG: the directory is damaged, *field
 * says where.  *generation is the one under which it holds. */
int directory_find(const struct directory *directory, const char *name, struct shm_section *ret,
                   uint64_t *generation, const char **field);

/* The descriptor of a section_id, whatever its name is now.  *slot is where it was found before
 * (SHM_NONE: not known), and is set to where it is.  Like directory_find() it allocates nothing, as
 * a signal handler may publish. */
int directory_find_id(const struct directory *directory, uint64_t section_id, uint32_t *slot,
                      struct shm_section *ret, uint64_t *generation, const char **field);

/* An arena of that generation's directory.  -ENOENT: the index is unused; -ERANGE: there are no
 * more; -EAGAIN: the generation isn't in force any more; -EBADMSG. */
int directory_arena(const struct directory *directory, uint64_t generation, uint32_t index,
                    struct shm_arena *ret, const char **field);

/* A descriptor of that generation's directory by its slot, whatever its state.  -ENOENT: the slot
 * is unused, or there is none; -EAGAIN: the generation isn't in force any more; -EBADMSG. */
int directory_section(const struct directory *directory, uint64_t generation, uint32_t slot,
                      struct shm_section *ret, const char **field);

/* The whole directory as a layout; RETIRED and QUARANTINED places included.  -EBADMSG, -ENOMEM. */
int directory_load(const struct directory *directory, struct layout *ret, const char **field);

/* How many worker records are in use or free; 0: the directory is damaged. */
uint32_t directory_workers_used(const struct directory *directory);

/* Worker and attachment records, consistent; -ENOENT: index out of range or unused; -EBADMSG. */
int directory_worker(const struct directory *directory, uint32_t index, struct shm_worker *ret);
int directory_attachment(const struct directory *directory, uint32_t index,
                         struct shm_attachment *ret);

/* NULL when the index is out of range. */
static inline const struct shm_worker *directory_worker_shared(const struct directory *directory,
                                                               uint32_t index) {
    const struct shm_header *h = &directory->header;
    if (index >= h->workers_capacity)
        return NULL;
    return (const struct shm_worker *)(const void *)(directory->base + h->workers_off) + index;
}

static inline const struct shm_attachment *
directory_attachment_shared(const struct directory *directory, uint32_t index) {
    const struct shm_header *h = &directory->header;
    if (index >= h->attachments_capacity)
        return NULL;
    return (const struct shm_attachment *)(const void *)(directory->base + h->attachments_off) +
           index;
}

/* The commit words alone, with acquire; 0 when the index is out of range. */
static inline uint64_t directory_worker_word(const struct directory *directory, uint32_t index) {
    const struct shm_worker *shared = directory_worker_shared(directory, index);
    return shared == NULL ? 0 : shared_load_acquire64(&shared->word);
}
static inline uint64_t directory_attachment_word(const struct directory *directory,
                                                 uint32_t index) {
    const struct shm_attachment *shared = directory_attachment_shared(directory, index);
    return shared == NULL ? 0 : shared_load_acquire64(&shared->word);
}

static inline uint64_t lease_word(uint64_t epoch, enum shm_lease_state state) {
    return epoch << 8 | (uint64_t)state;
}
static inline uint64_t lease_word_epoch(uint64_t word) {
    return word >> 8;
}
static inline enum shm_lease_state lease_word_state(uint64_t word) {
    return (enum shm_lease_state)(word & 0xff);
}

#endif
