/* SPDX-License-Identifier: Apache-2.0
 *
 * Making memfds, and seeing to it that the keeper has them too.
 */
#include "objects.h"
#include "core/futex.h"
#include "core/memfd.h"
#include "journal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the keeper */

static int hold(const struct memory *memory, const struct object *object) {
    struct keeper_message m = object->name;
    return keeping_ask(&memory->keeper, KEEPER_HOLD, &m, object->fd, NULL);
}

static int hold_all(const struct memory *memory) {
    int r = hold(memory, &memory->header);
    if (r == 0 && memory->bells.fd >= 0)
        r = hold(memory, &memory->bells);
    for (size_t i = 0; r == 0 && i < memory->arenas_n; i++)
        r = hold(memory, &memory->arenas[i]);
    return r;
}

/* In our own unit it would end with us. */
int objects_start_keeper(struct memory *memory, char *error, size_t error_bytes) {
    int r = keeping_start(&memory->keeper, memory->runtime_dir, memory->key, error, error_bytes);
    if (r < 0)
        memory->keeper.fd = -1;
    else if (memory->keeper.started && getenv("INVOCATION_ID") != NULL)
        journal(LOG_WARNING, JOURNAL_TROUBLE,
                "the keeper of the segment's memory runs in the manager's own unit, and would end "
                "with it: systemctl enable --now shm-keeper.socket");
    return r;
}

int objects_replace_keeper(struct memory *memory, char *error, size_t error_bytes) {
    keeping_close(&memory->keeper);
    int r = objects_start_keeper(memory, error, error_bytes);
    if (r < 0)
        return r;
    r = hold_all(memory);
    memory->keeper_hung_ns = r == -ETIMEDOUT ? clock_mono_ns() : 0;
    if (r < 0) {
        snprintf(error, error_bytes, "%s: the keeper can't hold the segment's memory: %s",
                 memory->keeper.path, strerror(-r));
        keeping_close(&memory->keeper);
    }
    return r;
}

int objects_keep(struct memory *memory, const struct object *object, char *error,
                 size_t error_bytes) {
    int r = hold(memory, object);
    if (r == 0)
        return 0;
    if (r == -ETIMEDOUT) { /* its answer may come, and be taken for another's */
        keeping_close(&memory->keeper);
        memory->keeper_hung_ns = clock_mono_ns();
    } else if (r == -EPIPE || r == -ECONNRESET || r == -EBADF) {
        r = objects_replace_keeper(memory, error, error_bytes);
        if (r < 0)
            return r;
        r = hold(memory, object);
    }
    if (r < 0)
        snprintf(error, error_bytes, "%s: the keeper can't hold more memory: %s",
                 memory->keeper.path, strerror(-r));
    return r;
}

void objects_forget(const struct memory *memory, const struct object *object) {
    struct keeper_message m = object->name;
    keeping_ask(&memory->keeper, KEEPER_DROP, &m, -1, NULL);
}

/* ---- objects */

int objects_make(struct object *ret, const char *what, const struct keeper_message *name) {
    int fd, r = memfd_make(what, name->bytes, &fd);
    if (r == 0)
        *ret = (struct object){.name = *name, .fd = fd};
    return r;
}

void objects_close(struct object *object) {
    if (object->fd >= 0)
        close(object->fd);
    object->fd = -1;
}

int objects_add(struct memory *memory, const struct object *object) {
    if (memory->arenas_n == memory->arenas_room) {
        size_t room = 2 * memory->arenas_room + 16;
        struct object *more = reallocarray(memory->arenas, room, sizeof *more);
        if (more == NULL)
            return -ENOMEM;
        memory->arenas = more;
        memory->arenas_room = room;
    }
    memory->arenas[memory->arenas_n++] = *object;
    return 0;
}

static bool is_arena(const struct object *o, uint32_t index, const struct shm_arena *arena) {
    return o->name.index == index && o->name.incarnation == arena->incarnation &&
           o->name.bytes == arena->bytes;
}

/* Most stand at their own index. */
struct object *objects_find(const struct memory *memory, uint32_t index,
                            const struct shm_arena *arena) {
    if (index < memory->arenas_n && is_arena(&memory->arenas[index], index, arena))
        return &memory->arenas[index];
    for (size_t i = 0; i < memory->arenas_n; i++)
        if (is_arena(&memory->arenas[i], index, arena))
            return &memory->arenas[i];
    return NULL;
}

int objects_take(struct memory *memory, uint32_t position) {
    struct object o = {.name = {.position = position}, .fd = -1};
    int r = keeping_ask(&memory->keeper, KEEPER_GET, &o.name, -1, &o.fd);
    if (r < 0)
        return r;
    /* What can't be looked at isn't left out: a new segment would take its place. */
    uid_t owner;
    r = memfd_check(o.fd, o.name.bytes, &owner);
    if (r == 0 && owner != geteuid())
        r = -EPERM;
    if (r < 0) {
        close(o.fd);
        return r;
    }
    r = objects_add(memory, &o);
    if (r < 0)
        close(o.fd);
    return r;
}

/* The header of that segment, or the first. */
static uint64_t choose_id(const struct memory *memory, uint64_t segment_id) {
    uint64_t first = 0;
    for (size_t i = memory->arenas_n; i-- > 0;) {
        const struct keeper_message *name = &memory->arenas[i].name;
        if (name->kind == KEEPER_HEADER && name->segment_id == segment_id)
            return segment_id;
        if (name->kind == KEEPER_HEADER)
            first = name->segment_id;
    }
    return first;
}

void objects_choose(struct memory *memory, uint64_t segment_id) {
    const uint64_t id = choose_id(memory, segment_id);
    size_t kept = 0;
    for (size_t i = 0; i < memory->arenas_n; i++) {
        struct object o = memory->arenas[i];
        const bool ours = o.name.segment_id == id;
        if (ours && o.name.kind == KEEPER_ARENA) {
            memory->arenas[kept++] = o;
        } else if (ours && o.name.kind == KEEPER_HEADER && memory->header.fd < 0) {
            memory->header = o;
        } else if (ours && o.name.kind == KEEPER_BELLS && memory->bells.fd < 0) {
            memory->bells = o;
        } else {
            objects_forget(memory, &o);
            objects_close(&o);
        }
    }
    memory->arenas_n = kept;
}
