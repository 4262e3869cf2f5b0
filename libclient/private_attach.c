/* SPDX-License-Identifier: Apache-2.0
 *
 * Attaching to a segment without a manager.  Its memory is mapped once more from the mapping that
 * was inherited, read-only but for the own arenas, as any segment is; the lease is taken and not
 * given, so that header's records are mapped writable as well, elsewhere.
 */
#include "private.h"

#include "core/writers.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- its memory */

static int map_failed(shmc *segment, int code) {
    return error_set(segment->error, code, "the private segment can't be mapped: %s%s",
                     strerror(-code), code == -ENOMEM ? " (raise RLIMIT_AS, ulimit -v)" : "");
}

int private_open(shmc *segment, const struct settings *settings, uint64_t *bytes) {
    const shmc_private *memory = settings->memory;
    struct mapping *mapping = segment->now;
    void *base, *bells;
    int r = inherited_map(memory->master, memory->bytes, PROT_READ, &base);
    if (r < 0)
        return map_failed(segment, r);
    r = inherited_map((uint8_t *)memory->master + memory->bytes, memory->bells_bytes,
                      PROT_READ | PROT_WRITE, &bells);
    if (r < 0) {
        munmap(base, memory->bytes);
        return map_failed(segment, r);
    }
    mapping->base = base;
    mapping->id = -1;
    mapping->creator = geteuid();
    mapping->bells.base = bells;
    mapping->bells.capacity = (uint32_t)(memory->bells_bytes / SHM_LINE - 1);
    mapping->parts.bells_bytes = memory->bells_bytes;
    mapping->tenancy = memory->tenancy;
    mapping->tenancy.workers = NULL;
    mapping->inherited = memory->bytes;
    *bytes = memory->bytes;
    return 0;
}

/* In a child the own arenas aren't there, and something else may be in their place. */
static void unmap(const struct mapping *mapping, bool child) {
    uint64_t from = 0;
    while (from < mapping->inherited) {
        uint64_t to = mapping->inherited, next = to;
        for (size_t i = 0; child && i < mapping->ranges.n; i++) {
            const struct range *range = &mapping->ranges.at[i];
            if (range->offset >= from && range->offset < to) {
                to = range->offset;
                next = range->offset + range->bytes;
            }
        }
        if (from < to)
            munmap(mapping->base + from, to - from);
        from = next;
    }
}

void private_leave(struct mapping *mapping, bool child) {
    struct tenancy *tenancy = &mapping->tenancy;
    unmap(mapping, child);
    if (!child && tenancy->workers != NULL) {
        tenancy_release(tenancy, &mapping->tenant);
        munmap(mapping->records, mapping->directory.header.arena_start);
    }
    mapping->base = NULL;
    mapping->inherited = 0;
    tenancy->workers = NULL;
    mapping->standing.map = NULL;
}

/* ---- the lease */

static int map_records(shmc *segment, const struct settings *settings) {
    struct mapping *mapping = segment->now;
    const struct shm_header *header = &mapping->directory.header;
    void *records;
    int r = inherited_map(settings->memory->master, header->arena_start, PROT_READ | PROT_WRITE,
                          &records);
    if (r == 0 && madvise(records, header->arena_start, MADV_DONTFORK) < 0) {
        r = -errno;
        munmap(records, header->arena_start);
    }
    if (r < 0)
        return map_failed(segment, r);
    uint8_t *at = records;
    mapping->records = records;
    mapping->tenancy.workers = (struct shm_worker *)(void *)(at + header->workers_off);
    mapping->tenancy.workers_n = header->workers_capacity;
    mapping->tenancy.attachments = (struct shm_attachment *)(void *)(at + header->attachments_off);
    mapping->tenancy.attachments_n = header->attachments_capacity;
    return 0;
}

static int refused(shmc *segment, int code) {
    switch (code) {
    case -EBADF:
        return error_set(segment->error, code,
                         "the private segment's descriptor %d was closed in this process: attach "
                         "before you close what you inherited, or leave that one open",
                         segment->now->tenancy.fd);
    case -EUSERS:
        return error_set(segment->error, code,
                         "the private segment has %u attachments, and all are held: create it with "
                         "larger options.bytes (one for each 16384 bytes)",
                         segment->now->tenancy.attachments_n - 1);
    default:
        return error_set(segment->error, code, "no lease can be had of the private segment: %s",
                         strerror(-code));
    }
}

/* Takes that worker's name, if it is still his. */
static int take_name(shmc *segment, struct settings *settings, uint32_t index, const char *name) {
    struct mapping *mapping = segment->now;
    struct shm_worker record;
    int r = tenancy_take(&mapping->tenancy, index, &mapping->tenant);
    if (r == -EBUSY && directory_worker(&mapping->directory, index, &record) == 0) {
        settings->holder = (pid_t)record.pid;
        return error_set(segment->error, r,
                         "worker '%s' is held by process %u: end it, or wait with timeout_ms", name,
                         record.pid);
    }
    if (r < 0)
        return refused(segment, r);
    if (directory_worker(&mapping->directory, index, &record) == 0 &&
        strcmp(record.name, name) == 0)
        return 0;
    tenancy_release(&mapping->tenancy, &mapping->tenant);
    return error_set(segment->error, -EAGAIN, "worker '%s' was removed by a reload; try again",
                     name);
}

static bool is_wanted(const char *name, const char *wanted) {
    return strcmp(name, wanted) == 0 ||
           (strchr(wanted, '#') == NULL && writers_same_worker(name, wanted));
}

/* That worker, or the first of its instances that is free. */
static int take_worker(shmc *segment, struct settings *settings) {
    struct mapping *mapping = segment->now;
    const uint32_t n = directory_workers_used(&mapping->directory);
    int r = -ENOENT;
    for (uint32_t i = 0; i < n; i++) {
        struct shm_worker record;
        if (directory_worker(&mapping->directory, i, &record) < 0 ||
            !is_wanted(record.name, settings->worker))
            continue;
        r = take_name(segment, settings, i, record.name);
        if (r == 0)
            memcpy(mapping->standing.worker, record.name, sizeof record.name);
        if (r != -EBUSY && r != -EAGAIN)
            return r;
    }
    if (r == -ENOENT)
        error_set(segment->error, r,
                  "the private segment has no worker '%s': no spec has that owner",
                  settings->worker);
    return r;
}

/* Readers have a lease, too: it says that somebody may be where a reload left something. */
int private_take(shmc *segment, struct settings *settings) {
    struct mapping *mapping = segment->now;
    const struct tenant *tenant = &mapping->tenant;
    int r = map_records(segment, settings);
    if (r == 0 && settings->worker != NULL)
        r = take_worker(segment, settings);
    else if (r == 0 && (r = tenancy_take(&mapping->tenancy, SHM_NONE, &mapping->tenant)) < 0)
        refused(segment, r);
    if (r < 0 || !settings_write(settings))
        return r;
    struct standing *standing = &mapping->standing;
    standing->worker_index = tenant->worker;
    standing->worker_epoch = tenant->worker_epoch;
    standing->attachment = tenant->attachment;
    standing->attachment_epoch = tenant->attachment_epoch;
    standing->fd = -1;
    return 0;
}

static bool ended(void *context, uint32_t attachment) {
    return tenancy_attachment_ended(context, attachment);
}

struct attachments private_attachments(const struct mapping *mapping) {
    return (struct attachments){.at = mapping->tenancy.attachments,
                                .capacity = mapping->tenancy.attachments_n,
                                .ended = ended,
                                .context = (void *)(uintptr_t)&mapping->tenancy};
}

/* ---- the call */

static int read_options(struct settings *ret, const struct shmc_options *options,
                        struct shmc_options *copy, struct error *error) {
    int r = settings_who(ret, options, copy, error);
    if (r < 0)
        return r;
    if (copy->key != 0 || copy->runtime_dir != NULL || (copy->flags & SHMC_LEASE_FD) != 0)
        return error_set(error, -EINVAL,
                         "a private segment has no key and no runtime_dir, and no lease that exec "
                         "could pass on: leave them, and SHMC_LEASE_FD, out of the options");
    return 0;
}

int shmc_private_attach(shmc **ret, const shmc_private *memory,
                        const struct shmc_options *options) {
    struct error error = {0};
    struct settings settings = {0};
    struct shmc_options copy;
    int r = read_options(&settings, options, &copy, &error);
    settings.memory = memory;
    settings.runtime_dir = "";
    if (r == 0)
        return handle_attach(ret, &settings, &copy);
    settings_report(&copy, &settings, &error);
    return r;
}

int private_attach_whole(shmc **ret, shmc_private *memory) {
    struct settings settings = {.memory = memory, .runtime_dir = "", .flags = SHMC_ANONYMOUS};
    const struct shmc_options options = {.error = memory->error.text,
                                         .error_bytes = sizeof memory->error.text};
    shmc *segment;
    int r = handle_attach(&segment, &settings, &options);
    if (r < 0)
        return r;
    const uint64_t from = segment->now->directory.header.arena_start;
    r = ranges_reserve(&segment->now->ranges);
    if (r == 0 &&
        mprotect(segment->now->base + from, memory->bytes - from, PROT_READ | PROT_WRITE) < 0)
        r = -errno;
    if (r < 0) {
        shmc_detach(segment);
        return error_set(&memory->error, r, "the private segment can't be mapped: %s",
                         strerror(-r));
    }
    segment->now->whole = true;
    segment->now->ranges.at[segment->now->ranges.n++] = (struct range){
        .offset = from, .bytes = memory->bytes - from, .ours = true, .writable = true};
    *ret = segment;
    return 0;
}
