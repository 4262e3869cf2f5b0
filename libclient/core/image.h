/* SPDX-License-Identifier: Apache-2.0
 *
 * The manager's hand on the header arena: everything that it writes there goes first into a shadow,
 * a private mapping of the same shape, and then into the segment.  The shadow is what the memory
 * ought to be, and so can mend what a stray store destroyed.
 */
#ifndef SHM_CORE_IMAGE_H
#define SHM_CORE_IMAGE_H

#include "directory.h"

struct image {
    uint8_t *shared;
    uint8_t *shadow; /* same offsets; sparse */
    uint64_t bytes;
    uint32_t workers_used;     /* records that were ever written, for the repair */
    uint32_t attachments_used; /* the same */
};

/* Maps a shadow for a segment; -ENOMEM. */
int image_open(struct image *ret, void *shared, uint64_t bytes);
void image_close(struct image *image);

/* The header as it ought to be. */
const struct shm_header *image_header(const struct image *image);

struct image_identity {
    uint32_t key;
    uint32_t backend;
    uint64_t segment_id;
    uint64_t created_real_ns;
    uint8_t boot_id[16];
};

/* Writes header lines and tables of a new segment, but not the magic. */
void image_create(struct image *image, const struct layout *layout,
                  const struct image_identity *identity);

/* Stores the magic: from here on it is a segment. */
void image_reveal(struct image *image);

/* Takes over what stands in the segment as right: header, records, both directories as far as they
 * hold. */
void image_adopt(struct image *image, const struct directory *directory,
                 const struct layout *layout);

/* Only the worker and attachment records, as they stand. */
void image_adopt_records(struct image *image, const struct layout *layout);

/* Publishes a layout whose generation follows the one in force: fills the idle directory, then
 * flips.  -ENOMEM: nothing was touched. */
int image_publish(struct image *image, const struct layout *next, uint64_t real_ns);

/* The words of line 2 and 3 that change by themselves. */
void image_state(struct image *image, enum shm_state state);

/* REPLACED, by the segment of that id. */
void image_replaced(struct image *image, uint64_t successor);
void image_bell(struct image *image, int bell_id);
void image_manager(struct image *image, uint32_t pid, uint64_t start, uint64_t epoch,
                   uint32_t interval_ms);
void image_heartbeat(struct image *image, uint64_t mono_ns, uint64_t real_ns);

/* A record: its fields, then its word with release.  The name of a worker isn't touched. */
void image_worker(struct image *image, uint32_t index, const struct shm_worker *record);
void image_attachment(struct image *image, uint32_t index, const struct shm_attachment *record);

/* What the manager last wrote there. */
struct shm_worker image_get_worker(const struct image *image, uint32_t index);
struct shm_attachment image_get_attachment(const struct image *image, uint32_t index);

/* The segment's bytes have gone to another address. */
void image_rebase(struct image *image, void *shared);

/* Compares the segment with the shadow and mends it; returns the number of bytes that were wrong,
 * and where the first stood. */
size_t image_repair(struct image *image, uint64_t *where);

#endif
