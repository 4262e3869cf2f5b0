/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots: a number of items, each with at most one writer at a time, who grabbed it.  Who that is
 * says the slot's owner word, which changes by compare-and-swap alone and names an attachment and
 * its epoch: a slot whose holder is gone is free without anybody's doing.
 *
 * A value is put as a snapshot's is published, into the one of two buffers that the head doesn't
 * name:  sequence odd; bytes; sequence even; head.  Versions go on over all grabs.  A slot that was
 * just grabbed is EMPTY, by the same compare-and-swap, and stays so until its holder's first value
 * is there: what the head names until then is of somebody before.
 *
 * In a `shared` section there is one bare buffer, which everybody writes in place: nothing here
 * promises a whole value then, and grabbing only says that a slot is in use.
 */
#ifndef SHM_CORE_SLOTS_H
#define SHM_CORE_SLOTS_H

#include "attachments.h"

#include <shm-manager/layout.h>
#include <stdbool.h>
#include <sys/types.h>

/* A section's memory, with its constants checked. */
struct slots {
    uint8_t *items; /* mapped read-only in a reader */
    uint64_t stride;
    uint64_t buffer_bytes; /* from one buffer to the next */
    uint64_t size;         /* largest value; shared: bytes of the buffer */
    uint64_t section_id;
    uint64_t incarnation;
    uint32_t count;
    uint32_t flags;                 /* SHM_SECTION_* of the descriptor */
    struct attachments attachments; /* whose epochs tell who is there */
};

#define SLOTS_LAPS_MAX 100000u /* then a get gives up with -EAGAIN */

/* Copies the control line once and compares it with the descriptor: 0, or -EBADMSG and which field.
 */
int slots_bind(struct slots *ret, void *memory, const struct shm_section *section,
               const struct attachments *attachments, const char **field);

/* What is known of a slot. */
struct slot_look {
    struct attachment holder; /* index 0: nobody holds it, or he is gone */
    uint64_t word;            /* the owner word as it was found */
    uint64_t grabs, since_real_ns;
    uint32_t pid;  /* of who grabbed it last, or was handed it */
    bool in_use;   /* held, or it stays */
    bool offered;  /* its holder hands it on */
    bool stays;    /* in use until it is released, whoever lives */
    bool sealed;   /* the manager is taking it to another place */
    bool has_data; /* with slots_get() and slots_look(): a value counts, and what follows is its */
    uint64_t version, length, mono_ns, real_ns; /* shared: 0, the buffer's bytes, 0, 0 */
};

/* ---- readers: nothing is written, nobody is waited for.  `index` is below count. */

/* All but the bytes.  A value that changes all the time or is damaged counts as none. */
void slots_look(const struct slots *slots, uint32_t index, struct slot_look *ret);

/* Copies the value; its length.  -ENODATA: nothing was put since it was grabbed, or ever, or it
 * went with its holder (SHM_SECTION_CLEAR); -ENOENT: not in use, in a section of slots that are
 * grabbed before they are used (SHM_SECTION_PREGRAB); -EMSGSIZE (ret->length says how much it
 * takes); -EAGAIN: lapped SLOTS_LAPS_MAX times; -EBADMSG.  Of a shared slot the first bytes, as
 * many as there are and fit.  *ret is filled in whatever the answer is.
 *
 * The value is whole, and by the holder that *ret names, by one who handed it on to him, or, where
 * nobody holds it, by the last one who put something. */
ssize_t slots_get(const struct slots *slots, uint32_t index, void *to, size_t bytes,
                  struct slot_look *ret);

/* Slots that could be grabbed.  O(count). */
uint32_t slots_free(const struct slots *slots);

/* Where the bytes of a shared slot stand. */
void *slots_shared_data(const struct slots *slots, uint32_t index);

/* ---- holders: one object per section and process, shared by its threads */

/* One slot, as this process knows it. */
struct slot_mine {
    uint32_t state;  /* enum slot_state; of a shared section's unused */
    uint32_t buffer; /* that the head names */
    uint64_t word;   /* the owner word */
    uint64_t next;   /* version that the next put gets */
};
enum slot_state { SLOT_UNKNOWN, SLOT_MINE, SLOT_BUSY };

struct slots_holder {
    struct attachment who;
    uint32_t pid;
    struct slot_mine *mine; /* `count` of them, zeroed at first */
};

/* Each: -EAGAIN: the manager has sealed a slot; the section is to be looked up again.  -EBUSY with
 * *by: somebody who lives holds it; with *by all 0: another thread of this process is at it, or
 * this signal handler interrupted one.  -EBADMSG: somebody wrote over the owner word. */

/* Grabs the lowest slot that is free, with these SHM_OWNER_STAYS: its index, or -ENOSPC.  O(index).
 */
int slots_grab(const struct slots *slots, struct slots_holder *holder, uint32_t flags);

/* Grabs that one; 0 also when it is held already, whose flags then are added.  One that stays and
 * whose holder is gone is taken with its value.  In a shared section whoever holds it may remain:
 * it is in use, which is all that matters there; but one that doesn't stay goes with its holder, so
 * -EBUSY unless it shall stay. */
int slots_fgrab(const struct slots *slots, struct slots_holder *holder, uint32_t index,
                uint32_t flags, struct attachment *by);

/* Of a holder, or for one that is gone whose slot stays; in a shared section, anybody's that stays.
 * -ENOENT: it isn't in use. */
int slots_release(const struct slots *slots, struct slots_holder *holder, uint32_t index,
                  struct attachment *by);

/* The value, whole.  -EMSGSIZE; -ENOENT: not known to be this process's: fgrab it first. */
int slots_put(const struct slots *slots, struct slots_holder *holder, uint32_t index,
              const void *data, size_t bytes);

/* Hands a slot on: whoever has its ticket may take it, until its holder releases or grabs it again,
 * or is gone and another grabs it.  -ENOENT: not held. */
int slots_offer(const struct slots *slots, struct slots_holder *holder, uint32_t index,
                uint64_t *ticket);

/* -ESTALE: the slot isn't what the ticket says any more; -EINVAL: that is none. */
int slots_take(const struct slots *slots, struct slots_holder *holder, uint32_t index,
               uint64_t ticket);

/* ---- the manager: slots_carry.c */

/* Keeps everybody from grabbing any, so that they can go to another place.  -EBUSY: somebody holds
 * one, *by; none is sealed then. */
int slots_seal(const struct slots *slots, struct attachment *by);
void slots_unseal(const struct slots *slots);

/* Puts a value into a slot of a place that nobody else uses yet, whose memory was zeroed: look's
 * version, length and times (mono_ns may be SHM_MONO_EARLIER_BOOT).  With look->stays it is in use,
 * by nobody. */
void slots_restore(const struct slots *slots, uint32_t index, const struct slot_look *look,
                   const void *data);

/* All values and what stays, as bytes that can be kept: at most so many. */
size_t slots_image_room(const struct slots *slots);

/* Their number; SLOTS_IMAGE_EMPTY: there is nothing to keep; -EAGAIN: a holder was too quick. */
#define SLOTS_IMAGE_EMPTY 16
ssize_t slots_image_take(const struct slots *slots, void *to);

/* Into such a place.  `reboot`: its monotonic times mean nothing any more.  -EBADMSG: it is no
 * image of such a section, and nothing was put. */
int slots_image_put(const struct slots *slots, const void *image, size_t bytes, bool reboot);

#endif
