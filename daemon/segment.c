/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding, making, adopting and rebuilding the segment.
 */
#include "segment.h"
#include "core/crc32c.h"
#include "core/futex.h"
#include "core/process.h"
#include "core/shared.h"
#include "core/snapshot.h"
#include "core/sysv.h"
#include "memory.h"
#include "state_db.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define FAIL(result, ...) (snprintf(error, error_bytes, __VA_ARGS__), (result))

/* Everything one attempt at opening needs to know. */
struct attempt {
    struct segment *segment;
    const struct segment_wish *wish;
    struct layout *layout;
    char *error;
    size_t error_bytes;
};

static uint64_t random_id(void) {
    uint64_t id = 0;
    while (id == 0)
        if (getrandom(&id, sizeof id, 0) != sizeof id)
            id = clock_real_ns();
    return id;
}

/* With kernel.shm_rmid_forced a segment goes when the last process detaches, so nothing would
 * survive a restart.  /proc/sys may be hidden from us, so it is tried out. */
static bool removal_is_forced(void) {
    int id;
    void *base;
    struct shmid_ds stat;
    if (sysv_create(IPC_PRIVATE, SHM_PAGE, 0600, &id) < 0)
        return false;
    if (sysv_attach(id, true, &base) == 0)
        sysv_detach(base);
    bool gone = sysv_stat(id, &stat) < 0;
    if (!gone)
        sysv_remove(id);
    return gone;
}

static int attach(struct segment *s, int id, char *error, size_t error_bytes) {
    struct shmid_ds stat;
    int r = sysv_attach(id, true, &s->base);
    if (r == 0)
        r = sysv_stat(id, &stat);
    if (r < 0)
        return FAIL(r, "shmid %d can't be attached: %s", id, strerror(-r));
    s->id = id;
    s->bytes = stat.shm_segsz / SHM_PAGE * SHM_PAGE;
    r = image_open(&s->image, s->base, s->bytes);
    return r < 0 ? FAIL(r, "no address space for the segment's shadow (%llu bytes)",
                        (unsigned long long)s->bytes)
                 : 0;
}

/* ---- bells */

static uint64_t bells_bytes(const struct shm_header *h) {
    return layout_round(((uint64_t)h->bells_capacity + 1) * SHM_LINE, SHM_PAGE);
}

static bool bells_fit(const struct shm_bells *bells, const struct shm_header *h) {
    struct shm_bells copy;
    shared_copy_from(&copy, bells, sizeof copy);
    return copy.magic == SHM_BELLS_MAGIC && copy.abi == SHM_ABI &&
           copy.capacity == h->bells_capacity && copy.segment_id == h->segment_id;
}

/* The bells that the header names, if they are ours and fit. */
static bool bells_find(struct segment *s, int id) {
    const struct shm_header *h = image_header(&s->image);
    struct shmid_ds stat;
    void *base;
    if (id < 0 || sysv_stat(id, &stat) < 0 || stat.shm_perm.cuid != geteuid() ||
        sysv_removed(&stat) || stat.shm_segsz < bells_bytes(h) || sysv_attach(id, true, &base) < 0)
        return false;
    if (!bells_fit(base, h)) {
        sysv_detach(base);
        return false;
    }
    s->bells = base;
    s->bell_id = id;
    return true;
}

static int bells_make(struct segment *s, char *error, size_t error_bytes) {
    const struct shm_header *h = image_header(&s->image);
    int id;
    void *base;
    int r = sysv_create(IPC_PRIVATE, bells_bytes(h), 0600, &id);
    if (r < 0)
        return FAIL(r, "no memory for the doorbells (%llu bytes): %s",
                    (unsigned long long)bells_bytes(h), strerror(-r));
    r = sysv_attach(id, true, &base);
    if (r < 0) {
        sysv_remove(id);
        return FAIL(r, "the doorbells can't be attached: %s", strerror(-r));
    }
    s->bells = base;
    s->bell_id = id;
    *s->bells = (struct shm_bells){.magic = SHM_BELLS_MAGIC,
                                   .abi = SHM_ABI,
                                   .capacity = h->bells_capacity,
                                   .segment_id = h->segment_id};
    return 0;
}

static int bells_open(struct segment *s, char *error, size_t error_bytes) {
    s->bell_id = -1;
    int r = 0;
    if (!bells_find(s, (int)(image_header(&s->image)->bell_id - 1)))
        r = bells_make(s, error, error_bytes);
    if (r == 0)
        image_bell(&s->image, s->bell_id);
    return r;
}

/* ---- a new one */

/* Writes the constant lines.  Clients compare them with the copy that they made at attach, so that
 * a rebuilt header must be the one that was destroyed. */
static void identify(struct segment *s, const struct segment_wish *wish,
                     const struct layout *layout, uint64_t segment_id, uint64_t created_real_ns) {
    struct image_identity identity = {.key = wish->key,
                                      .backend = SHM_BACKEND_SYSV,
                                      .segment_id = segment_id,
                                      .created_real_ns = created_real_ns};
    process_boot_id(identity.boot_id);
    image_create(&s->image, layout, &identity);
    state_db_remember(wish->state, "segment_id", (int64_t)segment_id);
    state_db_remember(wish->state, "created_real_ns", (int64_t)created_real_ns);
}

static const char *create_remedy(int result) {
    switch (result) {
    case -EINVAL:
        return "it is larger than kernel.shmmax: raise that, or lower segment.size";
    case -ENOSPC:
        return "kernel.shmmni or kernel.shmall is reached: see ipcs -l, or lower segment.size";
    case -ENOMEM:
        return "there is no memory for it: lower segment.size";
    case -EEXIST:
        return "somebody made one under this key just now: try again, or choose another key";
    default:
        return strerror(-result);
    }
}

static int make(const struct attempt *a) {
    char *error = a->error;
    size_t error_bytes = a->error_bytes;
    const struct segment_wish *wish = a->wish;
    if (removal_is_forced())
        return FAIL(-EINVAL, "kernel.shm_rmid_forced is 1, so that memory goes with its last user: "
                             "sysctl -w kernel.shm_rmid_forced=0");
    int r = layout_init(a->layout, wish->bytes);
    if (r < 0)
        return FAIL(r, "segment.size %llu can't be used: it must be at least 1 MiB",
                    (unsigned long long)wish->bytes);
    int id;
    r = sysv_create(wish->key, wish->bytes, 0600, &id);
    if (r < 0)
        return FAIL(r, "a segment of %llu bytes under key 0x%08x can't be made: %s",
                    (unsigned long long)wish->bytes, wish->key, create_remedy(r));
    r = attach(a->segment, id, error, error_bytes);
    if (r < 0) {
        sysv_remove(id);
        return r;
    }
    identify(a->segment, wish, a->layout, random_id(), clock_real_ns());
    /* A segment that follows another of this key goes on counting where that one was. */
    a->layout->generation = state_db_generation(wish->state);
    return bells_open(a->segment, error, error_bytes);
}

/* ---- one that is there */

static bool page_is_zero(const void *page) {
    static const uint8_t zero[SHM_PAGE];
    return memcmp(page, zero, sizeof zero) == 0;
}

/* A manager was killed between creating and revealing: ours, of the right size, without magic,
 * nobody else attached. */
static bool half_made(const struct segment *s, const struct segment_wish *wish,
                      const struct shm_header *found) {
    struct shmid_ds stat;
    struct shm_header whole = *found;
    whole.magic = SHM_MAGIC;
    return sysv_stat(s->id, &stat) == 0 && stat.shm_nattch <= 1 && stat.shm_segsz == wish->bytes &&
           (page_is_zero(s->base) ||
            (whole.abi == SHM_ABI && whole.crc == CRC32C_OF((const struct shm_header *)&whole)));
}

/* The directory can't be trusted: the placement that state.db kept says what stood where.  The
 * sections' memory is not touched. */
static int rebuild(const struct attempt *a, const char *field, uint64_t seen) {
    char *error = a->error;
    size_t error_bytes = a->error_bytes;
    struct segment *s = a->segment;
    int r = state_db_placement(a->wish->state, a->layout);
    if (r < 0 || a->layout->segment_bytes != s->bytes)
        return FAIL(-EBADMSG,
                    "shmid %d is ours but damaged (%s), and state.db has no placement for it: "
                    "remove it (ipcrm -m %d), its data can't be found again",
                    s->id, field, s->id);
    uint64_t known = state_db_generation(a->wish->state);
    /* Beyond every generation seen, but not beyond reason. */
    a->layout->generation = seen > known && seen < known + (UINT64_C(1) << 32) ? seen : known;
    uint64_t id = (uint64_t)state_db_recall(a->wish->state, "segment_id", 0);
    uint64_t created = (uint64_t)state_db_recall(a->wish->state, "created_real_ns", 0);
    uint32_t bell = ((const struct shm_header *)s->base)->bell_id;
    identify(s, a->wish, a->layout, id, created);
    image_adopt_records(&s->image, a->layout);
    image_bell(&s->image, (int)(bell - 1)); /* bells_open() finds out whether those are ours */
    s->rebuilt = true;
    return 0;
}

static int adopt(const struct attempt *a) {
    char *error = a->error;
    size_t error_bytes = a->error_bytes;
    struct segment *s = a->segment;
    struct directory directory;
    const char *field = "";
    int r = directory_open(&directory, s->base, s->bytes, &field);
    const struct shm_header *h = &directory.header;
    if (r == -EPROTONOSUPPORT)
        return FAIL(r,
                    "the segment under key 0x%08x (shmid %d) has ABI %u, this manager has %u (%s): "
                    "start the manager that made it, or remove it (ipcrm -m %d)",
                    a->wish->key, s->id, h->abi, SHM_ABI, field, s->id);
    bool known = state_db_recall(a->wish->state, "shmid", -1) == s->id;
    if (r == -EAGAIN && !known && half_made(s, a->wish, h))
        return -EAGAIN;
    if (r < 0 && !known)
        return FAIL(-EPERM,
                    "shmid %d under key 0x%08x is not a segment of ours (%s): remove it "
                    "(ipcrm -m %d), or choose another key (--key)",
                    s->id, a->wish->key, field, s->id);
    uint64_t generation = directory_generation(&directory);
    if (r == 0)
        r = directory_load(&directory, a->layout, &field);
    if (r == 0)
        r = layout_check(a->layout, error, error_bytes);
    if (r == -ENOMEM) /* says nothing about the directory */
        return FAIL(r, "no memory to read the directory of shmid %d", s->id);
    s->adopted = true;
    if (r == 0)
        image_adopt(&s->image, &directory, a->layout);
    else if ((r = rebuild(a, field, generation)) < 0)
        return r;
    return bells_open(s, error, error_bytes);
}

static int refuse_foreign(const struct attempt *a, int id, const struct shmid_ds *stat) {
    char *error = a->error;
    size_t error_bytes = a->error_bytes;
    if (stat == NULL)
        return FAIL(-EPERM,
                    "shmid %d under key 0x%08x belongs to somebody else, who lets nobody look at "
                    "it: choose another key (--key), or let root remove it (ipcrm -m %d)",
                    id, a->wish->key, id);
    return FAIL(
        -EPERM,
        "shmid %d under key 0x%08x belongs to uid %u and was made by process %d, not by this "
        "manager: remove it (ipcrm -m %d), or choose another key (--key)",
        id, a->wish->key, stat->shm_perm.cuid, stat->shm_cpid, id);
}

/* One attempt; -EAGAIN: a half-made one was cleared away, or went as we looked. */
static int try_open(const struct attempt *a) {
    int id;
    int r = sysv_find(a->wish->key, &id);
    if (r == -ENOENT)
        return make(a);
    struct shmid_ds stat;
    if (r == 0)
        r = sysv_stat(id, &stat);
    if (r == -EIDRM)
        return -EAGAIN;
    if (r < 0)
        return refuse_foreign(a, id, NULL);
    if (stat.shm_perm.cuid != geteuid())
        return refuse_foreign(a, id, &stat);
    r = attach(a->segment, id, a->error, a->error_bytes);
    if (r == 0)
        r = adopt(a);
    if (r == -EAGAIN)
        sysv_remove(id);
    return r;
}

int segment_open(struct segment *ret, const struct segment_wish *wish, struct layout *layout,
                 char *error, size_t error_bytes) {
    int r = -EAGAIN;
    for (int try = 0; r == -EAGAIN && try < 10; try++) {
        *ret = (struct segment){.id = -1, .bell_id = -1};
        struct attempt a = {ret, wish, layout, error, error_bytes};
        r = try_open(&a);
        if (r < 0) {
            layout_clear(layout);
            segment_close(ret);
        }
    }
    return r;
}

void segment_reveal(struct segment *s, struct state_db *state) {
    image_reveal(&s->image);
    /* From here on a zeroed header is damage, and not one that was never finished. */
    state_db_remember(state, "shmid", s->id);
}

void segment_close(struct segment *s) {
    image_close(&s->image);
    sysv_detach(s->bells);
    sysv_detach(s->base);
    *s = (struct segment){.id = -1, .bell_id = -1};
}

int segment_destroy(struct segment *s) {
    image_state(&s->image, SHM_STATE_REPLACED);
    sysv_remove(s->bell_id);
    int r = s->removed ? 0 : sysv_remove(s->id);
    segment_close(s);
    return r;
}

static int permit(int id, uint32_t mode, gid_t group) {
    struct shmid_ds stat;
    int r = sysv_stat(id, &stat);
    if (r < 0)
        return r;
    stat.shm_perm.mode = (unsigned short)mode;
    stat.shm_perm.gid = group;
    return shmctl(id, IPC_SET, &stat) == 0 ? 0 : -errno;
}

int segment_permit(struct segment *s, const struct segment_wish *wish, char *error,
                   size_t error_bytes) {
    int r = permit(s->id, wish->mode, wish->group);
    if (r == 0) /* whoever may read may ring: the bells are writable for the same people */
        r = permit(s->bell_id, wish->mode == 0664 ? 0666 : 0660, wish->group);
    if (r < 0)
        return FAIL(r, "the segment's mode and group can't be set: %s", strerror(-r));
    if (wish->lock_memory && shmctl(s->id, SHM_LOCK, NULL) < 0)
        return FAIL(-errno,
                    "the segment can't be locked into memory: %s (raise LimitMEMLOCK, or set "
                    "segment.lock_memory to 0)",
                    strerror(errno));
    return 0;
}

/* ---- its sections */

static bool is_new(const struct shm_section *section, const struct layout *next) {
    return section->state == SHM_PLACE_LIVE && section->incarnation == next->generation;
}

static int reserve(struct segment *s, const struct layout *next, char *error, size_t error_bytes) {
    struct memory_range *ranges = calloc(next->sections_used + 1, sizeof *ranges);
    if (ranges == NULL)
        return -ENOMEM;
    size_t n = 0;
    uint64_t wanted = 0;
    for (uint32_t i = 0; i < next->sections_used; i++) {
        const struct shm_section *section = &next->sections[i];
        if (!is_new(section, next))
            continue;
        uint64_t from = section->offset / SHM_PAGE * SHM_PAGE;
        uint64_t to = layout_round(section->offset + section->bytes, SHM_PAGE);
        ranges[n++] = (struct memory_range){(uint8_t *)s->base + from, to - from};
        wanted += to - from;
    }
    uint64_t room = memory_available();
    int r = wanted > room ? -ENOMEM : memory_touch(ranges, n);
    free(ranges);
    if (r < 0)
        return FAIL(-ENOMEM,
                    "the new sections need %llu bytes of memory, and %llu can be had: make them "
                    "smaller, or give the machine (or the manager's cgroup) more",
                    (unsigned long long)wanted, (unsigned long long)room);
    return 0;
}

int segment_prepare(struct segment *s, const struct layout *next, char *error, size_t error_bytes) {
    int r = reserve(s, next, error, error_bytes);
    for (uint32_t i = 0; r == 0 && i < next->sections_used; i++) {
        const struct shm_section *section = &next->sections[i];
        if (!is_new(section, next))
            continue;
        uint8_t *memory = (uint8_t *)s->base + section->offset;
        memset(memory, 0, section->bytes); /* it may have been another section's */
        if (section->kind == SHM_KIND_SNAPSHOT)
            snapshot_format((uint8_t *)s->base + section->ctl_off, section);
        memset((struct shm_bell *)(void *)s->bells + 1 + section->bell_index, 0,
               sizeof(struct shm_bell));
    }
    return r;
}

void segment_wake(const struct segment *s, const struct shm_section *section) {
    if (section->kind != SHM_KIND_SNAPSHOT)
        return;
    const uint8_t *control = (const uint8_t *)s->base + section->ctl_off;
    futex_wake((const uint32_t *)(const void *)(control + offsetof(struct shm_snapshot, head)));
}

unsigned segment_mend_controls(struct segment *s, const struct layout *layout) {
    unsigned mended = 0;
    for (uint32_t i = 0; i < layout->sections_used; i++) {
        const struct shm_section *section = &layout->sections[i];
        if (section->state != SHM_PLACE_LIVE || section->kind != SHM_KIND_SNAPSHOT)
            continue;
        struct snapshot bound;
        const char *field;
        void *control = (uint8_t *)s->base + section->ctl_off;
        if (snapshot_bind(&bound, control, section, NULL, &field) == 0)
            continue;
        struct shm_snapshot fresh = {0};
        snapshot_format(&fresh, section);
        shared_copy_to(control, &fresh.control, sizeof fresh.control);
        mended++;
    }
    return mended;
}

void segment_look(struct segment *s) {
    struct shmid_ds stat;
    if (s->removed)
        return;
    int r = sysv_stat(s->id, &stat);
    if (r == 0 ? !sysv_removed(&stat) : r != -EIDRM) /* another error says nothing */
        return;
    s->removed = true;
    image_state(&s->image, SHM_STATE_REPLACED);
}
