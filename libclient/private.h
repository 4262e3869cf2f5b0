/* SPDX-License-Identifier: Apache-2.0
 *
 * A segment without a manager: what its creator knows, and what of that the children inherit.
 */
#ifndef SHM_PRIVATE_H
#define SHM_PRIVATE_H

#include "client.h"
#include "core/image.h"
#include "core/inherited.h"
#include "core/plan.h"
#include "core/table.h"

/* Sections that a reload left, and who was attached then and may go on with them. */
struct private_left {
    struct private_left *next;
    uint64_t *ids;
    size_t ids_n;
    struct attachment *who;
    size_t who_n;
};

struct shmc_private {
    /* In children as in the creator. */
    const uint32_t *creator; /* is this the creator?  The kernel wipes it in a child */
    enum inherited_strategy strategy;
    void *master;   /* segment and bells, mapped without access */
    uint64_t bytes; /* of the segment */
    uint64_t bells_bytes;
    struct tenancy tenancy; /* records: the creator's alone */
    struct error error;

    /* In the creator alone. */
    uint8_t *memory; /* the segment, writable */
    struct image image;
    struct layout layout; /* that runs */
    uint64_t next_id;
    struct private_left *left;
};

/* A spec that was checked. */
struct private_row {
    struct table_section row; /* id 0: it is new, or not as it was */
    uint32_t before;          /* slot of the section of that name that runs; SHM_NONE */
    uint32_t instances;
    int (*init)(shmc_section *section, shmc_section *before, void *argument);
    void *argument;
};

/* ---- private_specs.c */

/* How many instances that owner's worker has now; 1: none with a number. */
uint32_t private_instances(const struct layout *layout, const char *owner);

/* A row as that section is. */
void private_row_of(const struct shm_section *section, struct table_section *ret);

/* Reads and checks specs; the caller frees *ret.  All that is said names the spec. */
int private_read(shmc_private *memory, const struct shmc_private_spec *specs, size_t n,
                 struct private_row **ret);

/* What the specs take at the least, for a segment that is to be made; 0: too much. */
uint64_t private_bytes(const struct private_row *rows, size_t n);

/* ---- private_plan.c */

int private_reload(shmc_private *memory, struct private_row *rows, size_t n);

/* Removes what was left, and nobody is attached to any more. */
int private_tidy(shmc_private *memory);
void private_forget(shmc_private *memory);

/* ---- private_attach.c */

/* Attaches the creator as one who may write everything, for what the specs' init does. */
int private_attach_whole(shmc **ret, shmc_private *memory);

#endif
