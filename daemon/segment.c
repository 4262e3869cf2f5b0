/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding, making, adopting and rebuilding the segment; how its memory is had is a backend's part.
 */
#include "segment.h"
#include "backend.h"
#include "core/crc32c.h"
#include "core/futex.h"
#include "core/process.h"
#include "relocate.h"
#include "state_db.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#define FAIL(result, ...) ATTEMPT_FAIL(a, result, __VA_ARGS__)

static uint64_t random_id(void) {
    uint64_t id = 0;
    while (id == 0)
        if (getrandom(&id, sizeof id, 0) != sizeof id)
            id = clock_real_ns();
    return id;
}

static int open_image(const struct attempt *a) {
    struct segment *s = a->segment;
    int r = image_open(&s->image, s->base, s->bytes);
    return r < 0 ? FAIL(r,
                        "no address space for the segment's shadow (%llu bytes): raise RLIMIT_AS "
                        "(ulimit -v, LimitAS=), or lower segment.size",
                        (unsigned long long)s->bytes)
                 : 0;
}

static int open_bells(const struct attempt *a) {
    struct segment *s = a->segment;
    int r = s->backend->bells(a);
    if (r == 0)
        image_bell(&s->image, s->bell_id);
    return r;
}

/* ---- a new one */

/* Writes the constant lines.  Clients compare them with the copy that they made at attach, so that
 * a rebuilt header must be the one that was destroyed. */
static void identify(const struct attempt *a, uint64_t segment_id, uint64_t created_real_ns) {
    struct segment *s = a->segment;
    struct image_identity identity = {.key = a->wish->key,
                                      .backend = s->backend->id,
                                      .segment_id = segment_id,
                                      .created_real_ns = created_real_ns};
    process_boot_id(identity.boot_id);
    image_create(&s->image, a->layout, &identity);
}

static void remember(const struct attempt *a) {
    const struct shm_header *h = image_header(&a->segment->image);
    state_db_remember(a->wish->state, "segment_id", (int64_t)h->segment_id);
    state_db_remember(a->wish->state, "created_real_ns", (int64_t)h->created_real_ns);
}

static int make(const struct attempt *a) {
    const struct segment_wish *wish = a->wish;
    int r = layout_init(a->layout, wish->bytes);
    if (r < 0)
        return FAIL(r, "segment.size %llu can't be used: it must be at least 1 MiB",
                    (unsigned long long)wish->bytes);
    r = a->segment->backend->make(a);
    if (r < 0)
        return r;
    r = open_image(a);
    if (r < 0) {
        a->segment->backend->remove(a->segment);
        return r;
    }
    identify(a, a->segment_id, clock_real_ns());
    remember(a);
    /* A segment that follows another of this key goes on counting where that one was. */
    a->layout->generation = state_db_generation(wish->state);
    return open_bells(a);
}

/* ---- one that is there */

static bool page_is_zero(const void *page) {
    static const uint8_t zero[SHM_PAGE];
    return memcmp(page, zero, sizeof zero) == 0;
}

/* A manager was killed between creating and revealing: ours, without magic, used by nobody. */
static bool half_made(const struct attempt *a, const struct shm_header *found) {
    struct shm_header whole = *found;
    whole.magic = SHM_MAGIC;
    return a->segment->backend->unused(a) &&
           (a->segment->backend->begun(a) || page_is_zero(a->segment->base) ||
            (whole.abi == SHM_ABI && whole.crc == CRC32C_OF((const struct shm_header *)&whole)));
}

/* The directory can't be trusted: the placement that state.db kept says what stood where.  The
 * sections' memory is not touched. */
static int rebuild(const struct attempt *a, const char *field, uint64_t seen) {
    struct segment *s = a->segment;
    int r = state_db_placement(a->wish->state, a->layout);
    if (r < 0 || a->layout->segment_bytes != s->bytes)
        return FAIL(-EBADMSG,
                    "%s is ours but damaged (%s), and state.db has no placement for it: remove it "
                    "(%s), its data can't be found again",
                    s->name, field, s->removal);
    uint64_t known = state_db_generation(a->wish->state);
    /* Beyond every generation seen, but not beyond reason. */
    a->layout->generation = seen > known && seen < known + (UINT64_C(1) << 32) ? seen : known;
    uint64_t id = (uint64_t)state_db_recall(a->wish->state, "segment_id", 0);
    uint64_t created = (uint64_t)state_db_recall(a->wish->state, "created_real_ns", 0);
    uint32_t bell = ((const struct shm_header *)s->base)->bell_id;
    identify(a, id, created);
    remember(a);
    image_adopt_records(&s->image, a->layout);
    image_bell(&s->image, (int)(bell - 1)); /* open_bells() finds out whether those are ours */
    s->rebuilt = true;
    return 0;
}

static int adopt(const struct attempt *a) {
    struct segment *s = a->segment;
    struct directory directory;
    const char *field = "";
    int r = directory_open(&directory, s->base, s->bytes, &field);
    const struct shm_header *h = &directory.header;
    if (r == -EPROTONOSUPPORT)
        return FAIL(r,
                    "the segment under key 0x%08x (%s) has ABI %u, this manager has %u (%s): "
                    "start the manager that made it, or remove it (%s)",
                    a->wish->key, s->name, h->abi, SHM_ABI, field, s->removal);
    bool known = s->backend->known(a);
    if (r == -EAGAIN && !known && half_made(a, h))
        return -EAGAIN;
    if (r < 0 && !known)
        return FAIL(-EPERM,
                    "%s under key 0x%08x is not a segment of ours (%s): remove it (%s), or choose "
                    "another key (--key)",
                    s->name, a->wish->key, field, s->removal);
    uint64_t generation = directory_generation(&directory);
    if (r == 0)
        r = directory_load(&directory, a->layout, &field);
    if (r == 0)
        r = layout_check(a->layout, a->error, a->error_bytes);
    if (r == -ENOMEM) /* says nothing about the directory */
        return FAIL(r, "no memory to read the directory of %s", s->name);
    s->adopted = true;
    if (r == 0)
        image_adopt(&s->image, &directory, a->layout);
    else if ((r = rebuild(a, field, generation)) < 0)
        return r;
    r = s->backend->arenas == NULL ? 0 : s->backend->arenas(a);
    return r < 0 ? r : open_bells(a);
}

/* -ENOENT: there is none; -EAGAIN: a half-made one was cleared away, or went as we looked. */
static int open_one(const struct attempt *a, const struct backend *backend) {
    struct segment *s = a->segment;
    *s = (struct segment){.backend = backend, .id = -1, .bell_id = -1};
    int r = backend->find(a);
    if (r == 0)
        r = open_image(a);
    if (r == 0)
        r = adopt(a);
    if (r == -EAGAIN && s->base != NULL)
        backend->remove(s);
    if (r < 0) {
        layout_clear(a->layout);
        segment_close(s);
    }
    return r;
}

/* What runs goes on, also when the table says another backend by now; but what somebody else has
 * under the key is in nobody's way there. */
static int try_open(const struct attempt *a) {
    const bool memfd = a->wish->backend == SHM_BACKEND_MEMFD;
    const struct backend *wanted = memfd ? &backend_memfd : &backend_sysv;
    int r = open_one(a, wanted);
    if (r == -ENOENT) {
        r = open_one(a, memfd ? &backend_sysv : &backend_memfd);
        if (r == -EPERM || r == -ENAMETOOLONG)
            r = -ENOENT;
    }
    if (r != -ENOENT)
        return r;
    *a->segment = (struct segment){.backend = wanted, .id = -1, .bell_id = -1};
    r = make(a);
    if (r < 0) {
        layout_clear(a->layout);
        segment_close(a->segment);
    }
    return r;
}

int segment_open(struct segment *ret, const struct segment_wish *wish, struct layout *layout,
                 char *error, size_t error_bytes) {
    int r = -EAGAIN;
    for (int try = 0; r == -EAGAIN && try < 10; try++) {
        struct attempt a = {ret, wish, layout, random_id(), error, error_bytes};
        r = try_open(&a);
    }
    return r;
}

void segment_reveal(struct segment *s, struct state_db *state) {
    image_reveal(&s->image);
    /* From here on a zeroed header is damage, and not one that was never finished. */
    s->backend->revealed(s, state);
}

/* ---- one that takes the place of another */

int segment_beside(struct segment *ret, const struct segment *before,
                   const struct segment_wish *wish, struct layout *next, char *error,
                   size_t error_bytes) {
    struct segment s = {.backend = before->backend, .id = -1, .bell_id = -1};
    const struct attempt attempt = {&s, wish, next, random_id(), error, error_bytes}, *a = &attempt;
    const struct layout nothing = {0};
    struct relocation *left = NULL;
    int r = s.backend->beside(a);
    if (r == 0)
        r = open_image(a);
    if (r == 0) {
        identify(a, a->segment_id, clock_real_ns());
        r = open_bells(a);
    }
    if (r == 0)
        r = segment_prepare(&s, &nothing, next, &left, error, error_bytes);
    if (r == 0)
        r = segment_permit(&s, wish, error, error_bytes);
    if (r < 0)
        segment_abandon(&s, wish->state);
    else
        *ret = s;
    return r;
}

int segment_bring(struct segment *before, const struct segment *successor,
                  const struct layout *running, struct layout *next, char *error,
                  size_t error_bytes) {
    return relocate_succeed(before, successor, running, next, error, error_bytes);
}

int segment_decide(const struct segment *successor, struct state_db *state, char *error,
                   size_t error_bytes) {
    const struct shm_header *h = image_header(&successor->image);
    const struct state_number numbers[] = {{"segment_id", (int64_t)h->segment_id},
                                           {"created_real_ns", (int64_t)h->created_real_ns},
                                           successor->backend->decided(successor)};
    int r = state_db_remember_all(state, numbers, sizeof numbers / sizeof *numbers);
    if (r < 0)
        snprintf(error, error_bytes, "the new segment can't be written down in state.db: %s",
                 strerror(-r));
    return r;
}

int segment_succeed(struct segment *successor, struct segment *before,
                    const struct segment_wish *wish, char *error, size_t error_bytes) {
    const struct attempt a = {successor, wish, NULL, 0, error, error_bytes};
    return successor->backend->succeed(&a, before);
}

void segment_abandon(struct segment *s, struct state_db *state) {
    s->backend->abandon(s, state);
    segment_close(s);
}

void segment_close(struct segment *s) {
    image_close(&s->image);
    if (s->backend != NULL)
        s->backend->close(s);
    *s = (struct segment){.id = -1, .bell_id = -1};
}

int segment_destroy(struct segment *s) {
    image_state(&s->image, SHM_STATE_REPLACED);
    int r = s->backend->remove(s);
    segment_close(s);
    return r;
}

int segment_permit(struct segment *s, const struct segment_wish *wish, char *error,
                   size_t error_bytes) {
    return s->backend->permit(s, wish, error, error_bytes);
}

int segment_lock(struct segment *s, const struct layout *layout, bool lock, char *error,
                 size_t error_bytes) {
    if (s->backend->lock == NULL)
        return 0;
    if (lock)
        return s->backend->lock(s, layout, error, error_bytes);
    s->backend->unlock(s);
    return 0;
}

void segment_settle(struct segment *s, const struct layout *layout) {
    if (s->backend->settle != NULL)
        s->backend->settle(s, layout);
}

void segment_look(struct segment *s) {
    if (s->removed)
        return;
    s->backend->look(s);
    if (s->removed)
        image_state(&s->image, SHM_STATE_REPLACED);
}

int segment_watched(const struct segment *s) {
    return s->backend->watched == NULL ? -1 : s->backend->watched(s);
}

uint32_t segment_last_user(const struct segment *s) {
    return s->backend->last_user(s);
}

int segment_share(const struct segment *s, enum segment_part part, const struct shm_arena *arena,
                  uint32_t index, bool writable, int *fd, uint64_t *bytes) {
    if (s->backend->share == NULL)
        return -EOPNOTSUPP;
    return s->backend->share(s, part, arena, index, writable, fd, bytes);
}

enum shm_backend segment_backend(const struct segment *s) {
    return s->backend->id;
}

const char *segment_protection(const struct segment *s) {
    return s->backend->protection;
}
