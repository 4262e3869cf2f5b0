/* SPDX-License-Identifier: Apache-2.0
 *
 * The checkpoint as state.db keeps it: the values of sections marked `persist`, in chunks.
 * What is being saved is staged, over as many transactions as it takes, so that none is long; the
 * last of them makes all of it the checkpoint in force.  Until then, and whatever fails or is
 * killed, the one before stands.
 */
#ifndef SHM_DAEMON_STATE_CHECKPOINT_H
#define SHM_DAEMON_STATE_CHECKPOINT_H

#include "state_db.h"

/* SQLite takes no value beyond SQLITE_MAX_LENGTH (1e9 bytes), and a step writes a few of these. */
#ifndef CHECKPOINT_CHUNK_BYTES
#define CHECKPOINT_CHUNK_BYTES (UINT64_C(1) << 20)
#endif

/* All but its bytes.  Without padding, as a checksum is made of it. */
struct saved_value {
    char name[SHM_NAME_BYTES]; /* of the section, when it was saved */
    char format[SHM_NAME_BYTES];
    uint8_t boot_id[16]; /* of mono_ns */
    uint64_t section_id;
    uint64_t incarnation; /* that the version counts in */
    uint64_t version;     /* raw: 0 */
    uint64_t bytes;
    uint64_t mono_ns;
    uint64_t real_ns;
    uint32_t kind;     /* enum shm_kind */
    uint32_t data_crc; /* of its bytes */
};

/* ---- saving: each call but these two stands between them */
int state_save_begin(struct state_db *db);
int state_save_end(struct state_db *db, int result); /* commits, or with a failure undoes */

/* A number for the chunks of one more value, that no other has; or a negative errno. */
int64_t state_save_id(struct state_db *db);
int state_save_chunk(struct state_db *db, int64_t id, uint64_t index, const void *data,
                     size_t bytes);

/* All its chunks are there: stages the value. */
int state_save_value(struct state_db *db, int64_t id, const struct saved_value *value);

/* What is staged takes the place of what was saved of the same sections. */
int state_save_flip(struct state_db *db, uint64_t real_ns);
int state_save_forget(struct state_db *db, uint64_t section_id);

/* The section has another name: `value` as it is saved, but for that. */
int state_save_rename(struct state_db *db, const struct saved_value *value);

/* What was staged and never came to a flip. */
int state_save_drop(struct state_db *db);

/* Removes chunks that no value has, up to so many bytes; a chunk counts as a page at least.  1:
 * there may be more of them. */
int state_save_sweep(struct state_db *db, uint64_t bytes);

/* Makes the file smaller when most of it is unused, by up to so many bytes.  1: there is more. */
int state_save_shrink(struct state_db *db, uint64_t bytes);

/* ---- what is saved */

/* Each value in force, in the order of sections; `intact`: its row agrees with its checksum.  Stops
 * at a negative result of `take`, and returns it. */
int state_saved_each(struct state_db *db,
                     int (*take)(const struct saved_value *value, int64_t id, bool intact,
                                 void *where),
                     void *where);

/* Copies a value's bytes to where value->bytes have room.  -EBADMSG: chunks are missing, or not as
 * long or not what was saved; what was copied is not to be used. */
int state_saved_data(struct state_db *db, int64_t id, const struct saved_value *value, void *to);

/* When the checkpoint in force was made; 0: there is none. */
uint64_t state_saved_when(struct state_db *db);

#endif
