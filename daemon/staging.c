/* SPDX-License-Identifier: Apache-2.0
 *
 * A System V segment's successor.  The key belongs to what runs, and no segment can be given
 * another's; so the new one is made whole under a key of its own, which state.db knows before it
 * exists.  Once state.db says that it is the one, the old one is removed, and the new one copied to
 * where that was: again from the beginning, if a manager ends in the midst of it.
 */
#include "backend_sysv.h"
#include "core/shared.h"
#include "memory.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define FAIL(result, ...) ATTEMPT_FAIL(a, result, __VA_ARGS__)
#define TRIES             16
#define MAGIC_BYTES       sizeof(uint64_t)

/* ---- making it */

/* Its bytes are there twice, for a moment. */
static int check_room(const struct attempt *a) {
    const struct layout *next = a->layout;
    uint64_t bytes = next->arena_start;
    for (uint32_t i = 0; i < next->sections_used; i++)
        bytes += next->sections[i].bytes;
    const uint64_t room = memory_available();
    if (bytes <= room / 2)
        return 0;
    return FAIL(-ENOMEM,
                "a new segment takes %llu bytes of memory on its way, and %llu can be had: make "
                "the sections smaller, or give the machine (or the manager's cgroup) more",
                (unsigned long long)(2 * bytes), (unsigned long long)room);
}

static int create(const struct attempt *a, int *id) {
    int r = -EEXIST;
    for (int try = 0; r == -EEXIST && try < TRIES; try++) {
        uint32_t key = 0;
        if (getrandom(&key, sizeof key, 0) != sizeof key || key == 0 || key == a->wish->key)
            continue;
        r = state_db_remember(a->wish->state, "staging", key);
        if (r < 0)
            return FAIL(r, "the new segment can't be written down in state.db: %s", strerror(-r));
        r = sysv_create(key, a->wish->bytes, 0600, id);
    }
    return r == 0 ? 0
                  : FAIL(r, "a segment of %llu bytes can't be made beside the one that runs: %s",
                         (unsigned long long)a->wish->bytes, backend_sysv_remedy(r));
}

int staging_make(const struct attempt *a) {
    int id, r = check_room(a);
    if (r == 0)
        r = create(a, &id);
    if (r < 0)
        return r;
    a->segment->id = id; /* so that it goes, whatever comes */
    return backend_sysv_attach(a, id);
}

struct state_number staging_decided(const struct segment *successor) {
    (void)successor;
    return (struct state_number){"replacing", 1};
}

/* ---- to the key */

static bool page_is_zero(const uint8_t *page) {
    static const uint8_t zero[SHM_PAGE];
    return memcmp(page, zero, sizeof zero) == 0;
}

/* Is that segment, of our user, one of which state.db knows that it can go? */
static bool may_go(struct state_db *state, int id, const void *base) {
    return state_db_recall(state, "shmid", -1) == id ||
           state_db_recall(state, "making", -1) == id || page_is_zero(base);
}

/* Makes room under the key.  1: the staged one's copy is there already, whole. */
static int clear_key(const struct attempt *a, const struct shm_header *staged, int *id) {
    struct shmid_ds stat;
    struct shm_header found;
    struct segment before = {.bell_id = -1};
    int r = sysv_find(a->wish->key, id);
    if (r == -ENOENT)
        return 0;
    if (r == 0)
        r = sysv_stat(*id, &stat);
    if (r < 0 || stat.shm_perm.cuid != geteuid())
        return backend_sysv_refuse(a, *id, r < 0 ? NULL : &stat);
    r = sysv_attach(*id, true, &before.base);
    if (r < 0)
        return FAIL(r, "shmid %d can't be attached: %s", *id, strerror(-r));
    before.id = *id;
    shared_copy_from(&found, before.base, sizeof found);
    if (found.magic == SHM_MAGIC && found.segment_id == staged->segment_id)
        r = 1;
    else if (!may_go(a->wish->state, *id, before.base))
        r = FAIL(-EPERM,
                 "shmid %d under key 0x%08x is not the segment that was replaced: remove it "
                 "(ipcrm -m %d)",
                 *id, a->wish->key, *id);
    else
        r = backend_sysv_remove(&before);
    sysv_detach(before.bells);
    sysv_detach(before.base);
    return r;
}

static void copy_range(uint8_t *to, const uint8_t *from, uint64_t offset, uint64_t bytes) {
    shared_copy_to(to + offset, from + offset, bytes);
}

/* All that is used, but the magic: to read the rest would be to have it. */
static void copy_used(uint8_t *to, const uint8_t *from, const struct layout *layout) {
    copy_range(to, from, MAGIC_BYTES, layout->arena_start - MAGIC_BYTES);
    for (int i = 0; i < 2; i++)
        copy_range(to, from, layout->directories[i].offset, layout->directories[i].bytes);
    for (uint32_t i = 0; i < layout->sections_used; i++)
        if (layout->sections[i].state != SHM_PLACE_FREE)
            copy_range(to, from, layout->sections[i].offset, layout->sections[i].bytes);
}

static int fill_key(const struct attempt *a, const struct directory *staged, int staged_id,
                    int *id) {
    struct layout layout;
    struct shmid_ds stat;
    const char *field = "";
    void *base;
    int r = directory_load(staged, &layout, &field);
    if (r < 0)
        return FAIL(r, "the segment that was staged (shmid %d) can't be read (%s)", staged_id,
                    r == -EBADMSG ? field : strerror(-r));
    r = sysv_create(a->wish->key, staged->bytes, 0600, id);
    if (r == 0) {
        state_db_remember(a->wish->state, "making", *id);
        r = sysv_attach(*id, true, &base);
    }
    if (r == 0) {
        copy_used(base, staged->base, &layout);
        if (sysv_stat(staged_id, &stat) == 0)
            r = backend_sysv_permit(*id, stat.shm_perm.mode & 0777, stat.shm_perm.gid);
        /* Pairs with the acquire load in directory_open(). */
        shared_store_release64(base, SHM_MAGIC);
        sysv_detach(base);
    }
    layout_clear(&layout);
    return r < 0 ? FAIL(r, "the new segment can't be made under key 0x%08x: %s", a->wish->key,
                        backend_sysv_remedy(r))
                 : 0;
}

/* The staged one's copy is under the key then, and *id is its. */
static int take_key(const struct attempt *a, const void *base, uint64_t bytes, int staged_id,
                    int *id) {
    struct directory staged;
    const char *field = "";
    int r = directory_open(&staged, base, bytes, &field);
    if (r < 0)
        return FAIL(r, "the segment that was staged (shmid %d) is damaged (%s)", staged_id, field);
    r = clear_key(a, &staged.header, id);
    if (r == 0)
        r = fill_key(a, &staged, staged_id, id);
    if (r < 0)
        return r;
    const struct state_number done[] = {{"shmid", *id}, {"replacing", 0}};
    r = state_db_remember_all(a->wish->state, done, 2);
    if (r < 0)
        return FAIL(r, "the new segment can't be written down in state.db: %s", strerror(-r));
    if (sysv_remove(staged_id) == 0)
        state_db_remember(a->wish->state, "staging", 0);
    return 0;
}

int staging_succeed(const struct attempt *a, struct segment *before) {
    struct segment *s = a->segment;
    void *staged = s->base;
    int id;
    int r = take_key(a, staged, s->bytes, s->id, &id);
    if (r == 0)
        r = backend_sysv_attach(a, id);
    if (r < 0)
        return r;
    image_rebase(&s->image, s->base);
    sysv_detach(staged);
    (void)before; /* it went with its bells, but for who is attached */
    return 0;
}

void staging_abandon(struct segment *s, struct state_db *state) {
    if (s->id < 0)
        return;
    backend_sysv_remove(s);
    state_db_remember(state, "staging", 0);
}

/* ---- the next manager's */

static int find_staged(struct state_db *state, int *id, struct shmid_ds *stat) {
    const uint32_t key = (uint32_t)state_db_recall(state, "staging", 0);
    if (key == 0)
        return -ENOENT;
    int r = sysv_find(key, id);
    if (r == 0)
        r = sysv_stat(*id, stat);
    return r < 0 || stat->shm_perm.cuid != geteuid() ? -ENOENT : 0;
}

int staging_finish(const struct attempt *a) {
    struct shmid_ds stat;
    void *base;
    int staged_id, id;
    if (state_db_recall(a->wish->state, "replacing", 0) == 0 ||
        find_staged(a->wish->state, &staged_id, &stat) < 0)
        return -ENOENT;
    int r = sysv_attach(staged_id, true, &base);
    if (r < 0)
        return FAIL(r, "the segment that was staged (shmid %d) can't be attached: %s", staged_id,
                    strerror(-r));
    r = take_key(a, base, stat.shm_segsz, staged_id, &id);
    sysv_detach(base);
    return r < 0 ? r : backend_sysv_attach(a, id);
}

void staging_clear(struct state_db *state, const void *served) {
    struct segment left = {.bell_id = -1};
    struct shm_header of_left, of_served = {0};
    struct shmid_ds stat;
    if (state_db_recall(state, "staging", 0) == 0)
        return;
    if (find_staged(state, &left.id, &stat) == 0 && sysv_attach(left.id, true, &left.base) == 0) {
        shared_copy_from(&of_left, left.base, sizeof of_left);
        if (served != NULL)
            shared_copy_from(&of_served, served, sizeof of_served);
        /* Of one that is done with, the bells are those of the segment that is served. */
        if (of_left.bell_id != 0 && of_left.bell_id == of_served.bell_id)
            sysv_remove(left.id);
        else
            backend_sysv_remove(&left);
        sysv_detach(left.bells);
        sysv_detach(left.base);
    }
    const struct state_number none[] = {{"staging", 0}, {"replacing", 0}};
    state_db_remember_all(state, none, 2);
}
