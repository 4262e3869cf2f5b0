/* SPDX-License-Identifier: Apache-2.0
 *
 * The memfds that a segment is made of, and the keeper that holds them as well.
 */
#ifndef SHM_DAEMON_OBJECTS_H
#define SHM_DAEMON_OBJECTS_H

#include "keeping.h"

#include <shm-manager/layout.h>

struct object {
    struct keeper_message name;
    int fd;
    uint64_t offset; /* of an arena */
    bool listed;
};

struct memory {
    struct keeping keeper;
    char *runtime_dir;
    uint32_t key;
    uint64_t segment_id;
    uint64_t keeper_hung_ns;
    struct object header, bells;
    struct object *arenas;
    size_t arenas_n, arenas_room;
};

/* Starts a keeper where there is none.  Failures of what has an `error` are a line in it. */
int objects_start_keeper(struct memory *memory, char *error, size_t error_bytes);

/* It died: a new one gets all that we have. */
int objects_replace_keeper(struct memory *memory, char *error, size_t error_bytes);

/* Has the keeper hold an object, also if it has to be replaced for that; or drop it. */
int objects_keep(struct memory *memory, const struct object *object, char *error,
                 size_t error_bytes);
void objects_forget(const struct memory *memory, const struct object *object);

/* Takes the keeper's object at a position, whatever it is, among the arenas; -ENOENT: that was all.
 */
int objects_take(struct memory *memory, uint32_t position);

/* Of all that was taken, keeps what belongs to the segment of that id, or to the first where there
 * is none; the keeper drops the rest: a successor, or what had one. */
void objects_choose(struct memory *memory, uint64_t segment_id);

int objects_make(struct object *ret, const char *what, const struct keeper_message *name);
void objects_close(struct object *object);

/* An arena's; -ENOMEM. */
int objects_add(struct memory *memory, const struct object *object);
struct object *objects_find(const struct memory *memory, uint32_t index,
                            const struct shm_arena *arena);

#endif
