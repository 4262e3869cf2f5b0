/* SPDX-License-Identifier: Apache-2.0
 *
 * What the module's files share: a slotmem, the segment that it is in, and its file.
 *
 * A slotmem is a section of kind slots, shared, whose slots stay in use until they are released.
 * Each generation of httpd, from one reading of its configuration to the next, makes its own, as
 * the children of the one before go on with theirs.  What ap_slotmem_provider_t's dptr gives is
 * inherited: children use it without any call of this library, as another user, whoever lives.
 */
#ifndef SLOTMEM_SHM_H
#define SLOTMEM_SHM_H

#include <ap_slotmem.h>
#include <shmclient.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#pragma GCC visibility push(default)
APLOG_USE_MODULE(slotmem_shm);
#pragma GCC visibility pop

struct place;

struct ap_slotmem_instance_t {
    const char *identity; /* the file that httpd's own module would have; NULL: none */
    const char *persist;  /* where it is kept over restarts; NULL: nowhere */
    char name[SHMC_NAME_BYTES];
    apr_size_t size;
    unsigned num;
    ap_slotmem_type_t type;
    struct place *place;
    shmc_section *section; /* of the process opened_by */
    pid_t opened_by;
    uint8_t *base; /* the first slot's bytes; in all children */
    size_t stride;
    struct ap_slotmem_instance_t *next;
};

static inline uint8_t *slotmem_at(const ap_slotmem_instance_t *slotmem, unsigned id) {
    return slotmem->base + id * slotmem->stride;
}

static inline bool slotmem_is_pregrab(const ap_slotmem_instance_t *slotmem) {
    return (slotmem->type & AP_SLOTMEM_TYPE_PREGRAB) != 0;
}

/* ---- segment.c */

enum segment_kind { SEGMENT_AUTO, SEGMENT_MANAGER, SEGMENT_PRIVATE };

/* What the configuration says. */
struct slotmem_settings {
    enum segment_kind segment;
    uint32_t key; /* 0: the library's own choice, as of what follows that is NULL */
    const char *runtime_dir;
    const char *worker;
};
extern struct slotmem_settings slotmem_settings;

/* Makes the section of a slotmem whose name, size, num and type are set, all zeroes, and fills in
 * the rest of it. */
apr_status_t segment_make(ap_slotmem_instance_t *slotmem);

/* The section as this process may use it, with the lock that all calls of this file take; an error
 * is logged.  shmc_section objects are for one thread at a time. */
int segment_enter(ap_slotmem_instance_t *slotmem);
void segment_leave(void);

/* Is it in use?  Or a negative errno. */
int segment_in_use(ap_slotmem_instance_t *slotmem, unsigned id);

/* In a child that is still the user that httpd was started by: attaches where only that may. */
void segment_enter_child(ap_slotmem_instance_t *slotmems);

/* The generation is over: its memory goes when the last child has that uses it. */
void segment_retire(ap_slotmem_instance_t *slotmems);

/* Looks whether it has, for all generations before this one. */
void segment_look(void);

/* ---- persist.c: httpd's files, as 2.4.71 writes them */

/* Fills a new slotmem from its file.  APR_ENOENT: there is none; otherwise, it is refused, and the
 * slotmem is as it was. */
apr_status_t persist_read(ap_slotmem_instance_t *slotmem, apr_pool_t *pool);

/* Replaces the file, whole or not at all. */
apr_status_t persist_write(ap_slotmem_instance_t *slotmem, apr_pool_t *pool);

#endif
