/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory by memfd: an object for the header, one for the bells and one for each arena, mapped at
 * the same offsets as by System V, and held by the keeper beside us.  The header's object is as
 * large as the segment, sparse, with the arenas mapped over it: so a directory may stand anywhere.
 */
#include "backend.h"
#include "core/futex.h"
#include "core/memfd.h"
#include "core/shared.h"
#include "journal.h"
#include "link.h"
#include "objects.h"
#include "state_db.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FAIL(result, ...)  ATTEMPT_FAIL(a, result, __VA_ARGS__)
#define HEADER_SLACK_BYTES UINT64_C(65536)       /* that a look lets pass */
#define KEEPER_PAUSE_NS    UINT64_C(20000000000) /* until one that hangs is asked again */

static int map_at(const struct segment *s, const struct object *object) {
    return memfd_map(object->fd, object->name.bytes, true, (uint8_t *)s->base + object->offset,
                     NULL);
}

/* The header's object shows again where an arena was. */
static void uncover(const struct segment *s, const struct object *object) {
    void *at = (uint8_t *)s->base + object->offset;
    if (mmap(at, object->name.bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE,
             s->memory->header.fd, (off_t)object->offset) == MAP_FAILED)
        journal(LOG_ERR, JOURNAL_TROUBLE, "an arena can't be unmapped: %s", strerror(errno));
}

/* ---- opening */

static int begin(const struct attempt *a) {
    struct segment *s = a->segment;
    struct memory *memory = calloc(1, sizeof *memory);
    if (memory != NULL)
        memory->runtime_dir = strdup(a->wish->runtime_dir);
    if (memory == NULL || memory->runtime_dir == NULL) {
        free(memory);
        return FAIL(-ENOMEM, "out of memory");
    }
    memory->key = a->wish->key;
    memory->keeper.fd = memory->header.fd = memory->bells.fd = -1;
    s->memory = memory;
    s->id = s->bell_id = -1;
    snprintf(s->name, sizeof s->name, "memfd");
    snprintf(s->removal, sizeof s->removal, "shmtool destroy");
    return 0;
}

static int map_header(const struct attempt *a) {
    struct segment *s = a->segment;
    const struct object *header = &s->memory->header;
    s->memory->segment_id = header->name.segment_id;
    s->bytes = header->name.bytes;
    int r = memfd_map(header->fd, s->bytes, true, NULL, &s->base);
    return r < 0 ? FAIL(r, "no address space for the segment (%llu bytes)",
                        (unsigned long long)s->bytes)
                 : 0;
}

/* Alone, or beside what the keeper has already. */
static int make_header(const struct attempt *a, bool alone) {
    int r = begin(a);
    if (r < 0)
        return r;
    struct memory *memory = a->segment->memory;
    r = objects_start_keeper(memory, a->error, a->error_bytes);
    if (r < 0)
        return r;
    struct keeper_message name = {
        .kind = KEEPER_HEADER, .segment_id = a->segment_id, .bytes = a->wish->bytes};
    if (alone)
        keeping_ask(&memory->keeper, KEEPER_FORGET, &(struct keeper_message){0}, -1, NULL);
    r = objects_make(&memory->header, "shm-manager", &name);
    if (r < 0)
        return FAIL(r, "no memory for the segment: %s", strerror(-r));
    r = map_header(a);
    return r < 0 ? r : objects_keep(memory, &memory->header, a->error, a->error_bytes);
}

static int make(const struct attempt *a) {
    return make_header(a, true);
}

static int beside(const struct attempt *a) {
    return make_header(a, false);
}

static struct state_number decided(const struct segment *s) {
    return (struct state_number){"memfd", (int64_t)s->memory->segment_id};
}

/* Who has it mapped keeps it. */
static void forget_all(const struct memory *memory) {
    if (memory->header.fd >= 0)
        objects_forget(memory, &memory->header);
    if (memory->bells.fd >= 0)
        objects_forget(memory, &memory->bells);
    for (size_t i = 0; i < memory->arenas_n; i++)
        objects_forget(memory, &memory->arenas[i]);
}

static void abandon(struct segment *s, struct state_db *state) {
    (void)state;
    if (s->memory != NULL)
        forget_all(s->memory);
}

static int find(const struct attempt *a) {
    int r = begin(a);
    if (r < 0)
        return r;
    struct memory *memory = a->segment->memory;
    r = keeping_find(&memory->keeper, a->wish->runtime_dir, a->wish->key, a->error, a->error_bytes);
    if (r < 0) {
        memory->keeper.fd = -1;
        return r;
    }
    for (uint32_t i = 0; r == 0; i++)
        r = objects_take(memory, i);
    if (r != -ENOENT)
        return FAIL(r, "%s: the keeper doesn't hand over what it holds: %s", memory->keeper.path,
                    strerror(-r));
    objects_choose(memory, (uint64_t)state_db_recall(a->wish->state, "memfd", 0));
    return memory->header.fd < 0 ? -ENOENT : map_header(a);
}

static bool known(const struct attempt *a) {
    return (uint64_t)state_db_recall(a->wish->state, "memfd", 0) == a->segment->memory->segment_id;
}

/* Nobody is handed anything before it is revealed. */
static bool never_shown(const struct attempt *a) {
    (void)a;
    return true;
}

static int bells(const struct attempt *a) {
    struct segment *s = a->segment;
    struct memory *memory = s->memory;
    const struct shm_header *h = image_header(&s->image);
    const struct shm_bells wanted = {.magic = SHM_BELLS_MAGIC,
                                     .abi = SHM_ABI,
                                     .capacity = h->bells_capacity,
                                     .segment_id = h->segment_id};
    struct keeper_message name = {.kind = KEEPER_BELLS, .segment_id = memory->segment_id};
    name.bytes = layout_round(((uint64_t)h->bells_capacity + 1) * SHM_LINE, SHM_PAGE);
    if (memory->bells.fd >= 0 && memory->bells.name.bytes != name.bytes)
        objects_close(&memory->bells);
    bool made = memory->bells.fd < 0;
    int r = made ? objects_make(&memory->bells, "shm-manager-bells", &name) : 0;
    void *base = NULL;
    if (r == 0)
        r = memfd_map(memory->bells.fd, name.bytes, true, NULL, &base);
    if (r < 0)
        return FAIL(r, "no memory for the doorbells (%llu bytes): %s",
                    (unsigned long long)name.bytes, strerror(-r));
    s->bells = base;
    s->bell_id = 0;
    /* Anybody may have written there; the line is constant. */
    shared_copy_to(s->bells, &wanted, sizeof wanted);
    return made ? objects_keep(memory, &memory->bells, a->error, a->error_bytes) : 0;
}

/* ---- arenas */

static int make_arena(struct segment *s, uint32_t index, const struct shm_arena *arena, char *error,
                      size_t error_bytes) {
    struct memory *memory = s->memory;
    struct object o;
    const struct keeper_message name = {.kind = KEEPER_ARENA,
                                        .segment_id = memory->segment_id,
                                        .index = index,
                                        .incarnation = arena->incarnation,
                                        .bytes = arena->bytes};
    int r = objects_make(&o, "shm-manager-arena", &name);
    if (r == 0) {
        o.offset = arena->offset;
        r = map_at(s, &o);
        if (r == 0)
            r = objects_add(memory, &o);
        if (r < 0)
            close(o.fd);
    }
    if (r < 0) {
        snprintf(error, error_bytes, "no memory object for %llu bytes: %s%s",
                 (unsigned long long)arena->bytes, strerror(-r),
                 r == -EMFILE ? " (raise LimitNOFILE)" : "");
        return r;
    }
    return objects_keep(memory, &memory->arenas[memory->arenas_n - 1], error, error_bytes);
}

static bool in_use(const struct shm_arena *arena) {
    return arena->state != SHM_PLACE_FREE;
}

static int prepare(struct segment *s, const struct layout *next, char *error, size_t error_bytes) {
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < next->arenas_used; i++)
        if (in_use(&next->arenas[i]) && objects_find(s->memory, i, &next->arenas[i]) == NULL)
            r = make_arena(s, i, &next->arenas[i], error, error_bytes);
    return r;
}

/* The memory goes at once, also where a reader still maps it: with System V its space would be
 * somebody else's now. */
static void drop_arena(struct segment *s, size_t at) {
    struct memory *memory = s->memory;
    struct object *o = &memory->arenas[at];
    if (o->offset != 0)
        uncover(s, o);
    memfd_punch(o->fd, 0, o->name.bytes);
    objects_forget(memory, o);
    close(o->fd);
    *o = memory->arenas[--memory->arenas_n];
}

static void settle(struct segment *s, const struct layout *layout) {
    struct memory *memory = s->memory;
    size_t before = memory->arenas_n;
    for (size_t i = 0; i < memory->arenas_n; i++)
        memory->arenas[i].listed = false;
    for (uint32_t i = 0; i < layout->arenas_used; i++) {
        struct object *o =
            in_use(&layout->arenas[i]) ? objects_find(memory, i, &layout->arenas[i]) : NULL;
        if (o != NULL)
            o->listed = true;
    }
    for (size_t i = memory->arenas_n; i-- > 0;)
        if (!memory->arenas[i].listed)
            drop_arena(s, i);
    if (memory->arenas_n == before)
        return;
    /* What stays may stand where one that went did. */
    for (size_t i = 0; i < memory->arenas_n; i++)
        if (map_at(s, &memory->arenas[i]) < 0)
            journal(LOG_ERR, JOURNAL_TROUBLE, "an arena can't be mapped: %s", strerror(errno));
}

/* Those of the layout that was adopted. */
static int arenas(const struct attempt *a) {
    struct segment *s = a->segment;
    unsigned lost = 0;
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < a->layout->arenas_used; i++) {
        const struct shm_arena *arena = &a->layout->arenas[i];
        if (!in_use(arena))
            continue;
        struct object *o = objects_find(s->memory, i, arena);
        if (o == NULL) {
            lost++;
            r = make_arena(s, i, arena, a->error, a->error_bytes);
            continue;
        }
        o->offset = arena->offset;
        r = map_at(s, o);
        if (r < 0)
            return FAIL(r, "an arena can't be mapped: %s", strerror(-r));
    }
    if (r == 0)
        settle(s, a->layout);
    if (r == 0 && lost > 0)
        journal(LOG_ERR, JOURNAL_TROUBLE,
                "the keeper had no memory for %u arena(s): their sections begin empty", lost);
    return r;
}

/* ---- all the rest */

/* Which segment is served, for those whose own has nobody left who could tell them in its header.
 */
static int link_path(const struct memory *memory, char path[PATH_MAX]) {
    int n = snprintf(path, PATH_MAX, "%s/%08x.segment", memory->runtime_dir, memory->key);
    return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static void set_link(const struct memory *memory) {
    char path[PATH_MAX], now[32];
    int r = link_path(memory, path);
    snprintf(now, sizeof now, "%016llx", (unsigned long long)memory->segment_id);
    if (r == 0)
        r = link_set(path, now);
    if (r < 0)
        journal(LOG_WARNING, JOURNAL_TROUBLE,
                "%s: can't be made: %s; who is attached to an earlier segment won't be told", path,
                strerror(-r));
}

static void revealed(const struct segment *s, struct state_db *state) {
    state_db_remember(state, "memfd", (int64_t)s->memory->segment_id);
    set_link(s->memory);
}

static int succeed(const struct attempt *a, struct segment *before) {
    set_link(a->segment->memory);
    forget_all(before->memory);
    return 0;
}

static int refuse_lock(char *error, size_t error_bytes) {
    int r = -errno;
    snprintf(error, error_bytes,
             "the segment can't be locked into memory: %s (raise LimitMEMLOCK, or set "
             "segment.lock_memory to 0)",
             strerror(-r));
    return r;
}

/* Who may attach is asked with each request.  There is no object to lock, but what is mapped here:
 * whether that is allowed shows with the first page. */
static int permit(struct segment *s, const struct segment_wish *wish, char *error,
                  size_t error_bytes) {
    return wish->lock_memory && mlock(s->base, SHM_PAGE) < 0 ? refuse_lock(error, error_bytes) : 0;
}

static int lock_range(const struct segment *s, uint64_t from, uint64_t to) {
    from = from / SHM_PAGE * SHM_PAGE;
    return mlock((uint8_t *)s->base + from, to - from);
}

/* Slack and holes are left out: to lock is to touch. */
static int lock(struct segment *s, const struct layout *layout, char *error, size_t error_bytes) {
    int r = lock_range(s, 0, layout->arena_start);
    for (int i = 0; r == 0 && i < 2; i++)
        r = lock_range(s, layout->directories[i].offset,
                       layout->directories[i].offset + layout->directories[i].bytes);
    for (uint32_t i = 0; r == 0 && i < layout->sections_used; i++)
        if (layout_place_in_force(layout->sections[i].state))
            r = lock_range(s, layout->sections[i].offset,
                           layout->sections[i].offset + layout->sections[i].bytes);
    return r < 0 ? refuse_lock(error, error_bytes) : 0;
}

static void unlock(struct segment *s) {
    munlock(s->base, s->bytes);
}

/* Whoever may read the header may touch all of its object, where there is nothing: those pages are
 * given back. */
static void trim_header(const struct segment *s) {
    const struct shm_header *h = image_header(&s->image);
    struct shm_directory_place first = h->directories[0], second = h->directories[1];
    struct stat stat;
    if (fstat(s->memory->header.fd, &stat) < 0 || first.bytes == 0 || second.bytes == 0 ||
        (uint64_t)stat.st_blocks * 512 <=
            h->arena_start + first.bytes + second.bytes + HEADER_SLACK_BYTES)
        return;
    if (first.offset > second.offset) {
        first = h->directories[1];
        second = h->directories[0];
    }
    const uint64_t used[][2] = {{0, h->arena_start},
                                {first.offset, first.offset + first.bytes},
                                {second.offset, second.offset + second.bytes},
                                {s->bytes, s->bytes}};
    for (size_t i = 0; i < 3; i++)
        if (used[i][1] < used[i + 1][0])
            memfd_punch(s->memory->header.fd, used[i][1], used[i + 1][0] - used[i][1]);
}

static void look(struct segment *s) {
    char error[512];
    uint64_t hung_ns = s->memory->keeper_hung_ns;
    if (hung_ns != 0 && clock_mono_ns() - hung_ns < KEEPER_PAUSE_NS)
        return;
    if (keeping_lost(&s->memory->keeper)) {
        if (objects_replace_keeper(s->memory, error, sizeof error) == 0)
            journal(LOG_WARNING, JOURNAL_TROUBLE,
                    "the keeper was gone; a new one holds the segment's memory");
        else
            journal(LOG_ERR, JOURNAL_TROUBLE,
                    "the keeper is gone, and the memory would not outlive this manager: %s", error);
    }
    trim_header(s);
}

static int watched(const struct segment *s) {
    return s->memory->keeper.fd;
}

static uint32_t last_user(const struct segment *s) {
    (void)s;
    return 0;
}

static int share(const struct segment *s, enum segment_part part, const struct shm_arena *arena,
                 uint32_t index, bool writable, int *fd, uint64_t *bytes) {
    const struct memory *memory = s->memory;
    const struct object *o = part == SEGMENT_HEADER  ? &memory->header
                             : part == SEGMENT_BELLS ? &memory->bells
                                                     : objects_find(memory, index, arena);
    if (o == NULL)
        return -ENOENT;
    *bytes = o->name.bytes;
    return memfd_reopen(o->fd, writable, fd);
}

static int remove_all(struct segment *s) {
    char path[PATH_MAX];
    if (link_path(s->memory, path) == 0)
        unlink(path);
    return keeping_ask(&s->memory->keeper, KEEPER_FORGET, &(struct keeper_message){0}, -1, NULL);
}

static void close_all(struct segment *s) {
    struct memory *memory = s->memory;
    if (s->base != NULL)
        munmap(s->base, s->bytes);
    if (memory == NULL)
        return;
    if (s->bells != NULL)
        munmap(s->bells, memory->bells.name.bytes);
    objects_close(&memory->header);
    objects_close(&memory->bells);
    while (memory->arenas_n > 0)
        objects_close(&memory->arenas[--memory->arenas_n]);
    keeping_close(&memory->keeper);
    free(memory->arenas);
    free(memory->runtime_dir);
    free(memory);
}

const struct backend backend_memfd = {.id = SHM_BACKEND_MEMFD,
                                      .protection = "kernel (memfd)",
                                      .find = find,
                                      .make = make,
                                      .known = known,
                                      .unused = never_shown,
                                      .begun = never_shown,
                                      .bells = bells,
                                      .arenas = arenas,
                                      .prepare = prepare,
                                      .settle = settle,
                                      .share = share,
                                      .permit = permit,
                                      .lock = lock,
                                      .unlock = unlock,
                                      .beside = beside,
                                      .decided = decided,
                                      .succeed = succeed,
                                      .abandon = abandon,
                                      .revealed = revealed,
                                      .look = look,
                                      .watched = watched,
                                      .last_user = last_user,
                                      .remove = remove_all,
                                      .close = close_all};
