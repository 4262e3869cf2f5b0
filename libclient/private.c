/* SPDX-License-Identifier: Apache-2.0
 *
 * A segment without a manager: making it, and its end.  It has the header, records, directories and
 * arenas of any other, made by the same planner and written by the same hand; who does that is its
 * creator.  All that children need of it is in memory that they inherit.
 */
#include "private.h"

#include "core/crc32c.h"
#include "core/process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#define BYTES_DEFAULT (UINT64_C(64) << 20)
#define ROOM_FACTOR   4u /* for what reloads add beside what is there */

_Static_assert((int)SHMC_STRATEGY_AUTO == INHERITED_AUTO &&
                   (int)SHMC_STRATEGY_ANON == INHERITED_ANON &&
                   (int)SHMC_STRATEGY_DEVZERO == INHERITED_DEVZERO &&
                   (int)SHMC_STRATEGY_SYSV_PRIVATE == INHERITED_SYSV,
               "shmclient.h and core/inherited.h differ");

static bool is_creator(const shmc_private *memory) {
    return __atomic_load_n(memory->creator, __ATOMIC_RELAXED) != 0;
}

/* ---- the end */

static void unmap(void *at, uint64_t bytes) {
    if (at != NULL)
        munmap(at, bytes);
}

/* What is the creator's alone isn't mapped in a child. */
static void release(shmc_private *memory) {
    const bool creator = memory->creator != NULL && is_creator(memory);
    if (creator) {
        image_close(&memory->image);
        unmap(memory->memory, memory->bytes);
    }
    private_forget(memory);
    layout_clear(&memory->layout);
    unmap(memory->master, memory->bytes + memory->bells_bytes);
    unmap((void *)(uintptr_t)memory->creator, SHM_PAGE);
    if (creator && tenancy_is_there(&memory->tenancy)) /* in a child attachments need it */
        close(memory->tenancy.fd);
    free(memory);
}

void shmc_private_destroy(shmc_private *memory) {
    if (memory == NULL)
        return;
    if (is_creator(memory))
        image_state(&memory->image, SHM_STATE_REPLACED);
    release(memory);
}

/* ---- the beginning */

static int read_options(const struct shmc_private_options *options,
                        struct shmc_private_options *ret, struct error *error) {
    *ret = (struct shmc_private_options){0};
    int r = options == NULL
                ? 0
                : options_copy(ret, sizeof *ret, options, "options", "shmc_private_options", error);
    if (r < 0)
        return r;
    if ((unsigned)ret->strategy > SHMC_STRATEGY_SYSV_PRIVATE || ret->reserved != 0)
        return error_set(error, -EINVAL,
                         "options.strategy is %u; it takes an enum shmc_strategy, 0 for any",
                         (unsigned)ret->strategy);
    if (ret->bytes != 0 && (ret->bytes < TABLE_SEGMENT_MIN || ret->bytes > TABLE_SEGMENT_MAX))
        return error_set(error, -EINVAL,
                         "options.bytes is %llu; it must be from %llu to %llu, or 0",
                         (unsigned long long)ret->bytes, (unsigned long long)TABLE_SEGMENT_MIN,
                         (unsigned long long)TABLE_SEGMENT_MAX);
    return 0;
}

static uint64_t bytes_for(uint64_t specs) {
    const uint64_t least = BYTES_DEFAULT + ROOM_FACTOR * specs;
    return layout_round(specs > BYTES_DEFAULT / ROOM_FACTOR ? least : BYTES_DEFAULT, SHM_PAGE);
}

static int make_memory(shmc_private *memory, enum shmc_strategy wanted) {
    const uint64_t bytes = memory->bytes + memory->bells_bytes;
    memory->strategy = (enum inherited_strategy)wanted;
    int r = inherited_choose(&memory->strategy, bytes, &memory->master);
    if (r == 0)
        return 0;
    return error_set(&memory->error, r, "%llu bytes of shared memory can't be had (%s): %s%s",
                     (unsigned long long)bytes, inherited_name(memory->strategy), strerror(-r),
                     r == -ENOMEM ? "; lower options.bytes, or raise RLIMIT_AS (ulimit -v)" : "");
}

static int map_own(shmc_private *memory) {
    void *at;
    int r = inherited_map(memory->master, memory->bytes, PROT_READ | PROT_WRITE, &at);
    if (r == 0)
        memory->memory = at;
    if (r == 0 && madvise(at, memory->bytes, MADV_DONTFORK) < 0)
        r = -errno;
    if (r == 0)
        r = image_open(&memory->image, memory->memory, memory->bytes);
    if (r == 0 && madvise(memory->image.shadow, memory->bytes, MADV_DONTFORK) < 0)
        r = -errno;
    return r == 0 ? 0
                  : error_set(&memory->error, r,
                              "the segment's %llu bytes can't be mapped: %s; lower options.bytes, "
                              "or raise RLIMIT_AS (ulimit -v)",
                              (unsigned long long)memory->bytes, strerror(-r));
}

static int make_leases(shmc_private *memory) {
    int r = tenancy_make(&memory->tenancy);
    switch (r) {
    case 0:
        return 0;
    case -ENOENT:
        return error_set(&memory->error, r,
                         "/proc isn't mounted, and a private segment's leases need it: mount it");
    case -EMFILE:
    case -ENFILE:
        return error_set(&memory->error, r,
                         "no descriptor is free for the leases: raise RLIMIT_NOFILE (ulimit -n)");
    default:
        return error_set(&memory->error, r,
                         "no file can carry the leases: %s; allow memfd_create(), or give /dev/shm "
                         "or /tmp a file system that isn't an overlay",
                         strerror(-r));
    }
}

/* The header and an empty directory. */
static int make_segment(shmc_private *memory) {
    const struct layout *layout = &memory->layout;
    struct image_identity identity = {
        .key = 0, .backend = SHM_BACKEND_PRIVATE, .created_real_ns = clock_real_ns()};
    struct shm_bells bells = {.magic = SHM_BELLS_MAGIC, .abi = SHM_ABI};
    void *at;
    while (identity.segment_id == 0)
        if (getrandom(&identity.segment_id, sizeof identity.segment_id, GRND_NONBLOCK) < 0)
            identity.segment_id = identity.created_real_ns;
    process_boot_id(identity.boot_id); /* where it can't be had, 0 */
    image_create(&memory->image, layout, &identity);
    bells.capacity = layout->bells_capacity;
    bells.segment_id = identity.segment_id;
    int r = inherited_map((uint8_t *)memory->master + memory->bytes, SHM_PAGE,
                          PROT_READ | PROT_WRITE, &at);
    if (r < 0)
        return error_set(&memory->error, r, "the doorbells can't be mapped: %s", strerror(-r));
    shared_copy_to(at, &bells, sizeof bells);
    munmap(at, SHM_PAGE);
    memory->tenancy.workers = (void *)(memory->memory + layout->workers_off);
    memory->tenancy.workers_n = layout->workers_capacity;
    memory->tenancy.attachments = (void *)(memory->memory + layout->attachments_off);
    memory->tenancy.attachments_n = layout->attachments_capacity;
    return 0;
}

static int make_all(shmc_private *memory, const struct shmc_private_options *options,
                    struct private_row *rows, size_t n) {
    const uint64_t specs = private_bytes(rows, n);
    memory->bytes = options->bytes != 0 ? options->bytes / SHM_PAGE * SHM_PAGE : bytes_for(specs);
    int r = specs == 0 && n > 0 ? -EINVAL : layout_init(&memory->layout, memory->bytes);
    if (r < 0)
        return error_set(&memory->error, r,
                         "the specs take more memory than any segment has: "
                         "lower their bytes");
    memory->bells_bytes =
        layout_round((memory->layout.bells_capacity + UINT64_C(1)) * SHM_LINE, SHM_PAGE);
    r = make_memory(memory, options->strategy);
    if (r == 0)
        r = map_own(memory);
    if (r == 0)
        r = make_leases(memory);
    if (r == 0)
        r = make_segment(memory);
    return r;
}

static shmc_private *new_memory(void) {
    shmc_private *memory = calloc(1, sizeof *memory);
    uint32_t *creator =
        mmap(NULL, SHM_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == NULL || creator == MAP_FAILED ||
        madvise(creator, SHM_PAGE, MADV_WIPEONFORK) < 0) {
        free(memory);
        if (creator != MAP_FAILED)
            munmap(creator, SHM_PAGE);
        return NULL;
    }
    *creator = 1;
    memory->creator = creator;
    memory->tenancy.fd = -1;
    memory->next_id = 1;
    return memory;
}

static int create(shmc_private *memory, const struct shmc_private_spec *specs, size_t n,
                  const struct shmc_private_options *options) {
    struct private_row *rows;
    int r = private_read(memory, specs, n, &rows);
    if (r < 0)
        return r;
    r = make_all(memory, options, rows, n);
    if (r == 0) {
        image_reveal(&memory->image);
        r = private_reload(memory, rows, n);
    }
    free(rows);
    return r;
}

int shmc_private_create(shmc_private **ret, const struct shmc_private_spec *specs, size_t n,
                        const struct shmc_private_options *options) {
    struct shmc_private_options copy;
    struct settings none = {0};
    shmc_private *memory = new_memory();
    if (memory == NULL)
        return -ENOMEM;
    int r = read_options(options, &copy, &memory->error);
    if (r == 0)
        r = create(memory, specs, n, &copy);
    if (r == 0) {
        *ret = memory;
        return 0;
    }
    const struct shmc_options report = {.error = copy.error, .error_bytes = copy.error_bytes};
    settings_report(&report, &none, &memory->error);
    release(memory);
    return r;
}

/* ---- in between */

static int check_creator(shmc_private *memory) {
    return is_creator(memory) ? 0
                              : error_set(&memory->error, -ECHILD,
                                          "this process has the segment from its parent, and only "
                                          "the creator may change it");
}

int shmc_private_reload(shmc_private *memory, const struct shmc_private_spec *specs, size_t n) {
    struct private_row *rows;
    int r = check_creator(memory);
    if (r == 0)
        r = private_tidy(memory); /* room for the new */
    if (r == 0)
        r = private_read(memory, specs, n, &rows);
    if (r < 0)
        return r;
    r = private_reload(memory, rows, n);
    free(rows);
    return r;
}

int shmc_private_reap(shmc_private *memory) {
    const struct tenancy *tenancy = &memory->tenancy;
    int r = check_creator(memory), n = 0;
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < memory->layout.workers_used; i++)
        tenancy_worker_ended(tenancy, i);
    for (uint32_t i = 1; i < tenancy->attachments_n; i++)
        n += tenancy_attachment_ended(tenancy, i);
    r = private_tidy(memory);
    return r < 0 ? r : n;
}

enum shmc_strategy shmc_private_strategy(const shmc_private *memory) {
    return (enum shmc_strategy)memory->strategy;
}

const char *shmc_private_last_error(const shmc_private *memory) {
    return memory->error.text;
}
