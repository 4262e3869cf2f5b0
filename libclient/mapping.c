/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the segment is in this process: found by its key, checked before it is trusted, mapped
 * read-only but for what the directory says is ours.
 */
#include "client.h"
#include "core/sysv.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A segment is what somebody made under a number that everybody knows. */
static int refuse_creator(const shmc *segment, const struct settings *settings, uid_t creator) {
    /* Anybody can make one under a key, so that the directory says nothing here. */
    if (creator == UID_UNKNOWN)
        return error_set(segment->error, -EPERM,
                         "shared memory 0x%08x (shmid %d) was made by somebody whom your user "
                         "namespace doesn't know (uid %u): attach from the manager's, or use "
                         "backend memfd",
                         settings->key, segment->now->id, creator);
    if (settings_trust(settings, creator))
        return 0;
    return error_set(segment->error, -EPERM,
                     "shared memory 0x%08x (shmid %d) was made by uid %u, who is neither root nor "
                     "the owner of %s: set SHMC_RUNTIME_DIR to the manager's --runtime-dir; if it "
                     "is, the memory is somebody else's: use another key",
                     settings->key, segment->now->id, creator, settings->runtime_dir);
}

static int check_creator(const shmc *segment, const struct settings *settings,
                         const struct shmid_ds *found) {
    return refuse_creator(segment, settings, found->shm_perm.cuid);
}

static int gone(const shmc *segment, const struct settings *settings) {
    if (settings->memory != NULL)
        return error_set(segment->error, -EIDRM,
                         "the private segment was destroyed by its creator");
    return error_set(segment->error, -ENOENT,
                     "shared memory 0x%08x (shmid %d) was removed or replaced: is the manager "
                     "running? (systemctl start shm-manager)",
                     settings->key, segment->now->id);
}

static int refused(const shmc *segment, const struct settings *settings, int error) {
    if (error == -EIDRM)
        return gone(segment, settings);
    uid_t creator;
    int id;
    if (error == -EACCES && sysv_creator(SYSV_SEGMENT, settings->key, &id, &creator) == 0 &&
        id == segment->now->id && refuse_creator(segment, settings, creator) < 0)
        return -EPERM;
    if (error == -EACCES)
        return error_set(segment->error, error,
                         "shared memory 0x%08x (shmid %d): uid %u may not %s it; become a member "
                         "of its group (shm-workers), and log in anew",
                         settings->key, segment->now->id, geteuid(),
                         settings_write(settings) ? "write" : "read");
    if (error == -ENOMEM)
        return error_set(segment->error, error,
                         "shared memory 0x%08x (shmid %d): no address space for all of it; raise "
                         "RLIMIT_AS (ulimit -v)",
                         settings->key, segment->now->id);
    return error_set(segment->error, error, "shared memory 0x%08x (shmid %d) can't be attached: %s",
                     settings->key, segment->now->id, strerror(-error));
}

/* Twice: before attaching, so as not to map what is foreign, and after it, as the id may have been
 * taken for another segment in between. */
static int check_identity(const shmc *segment, const struct settings *settings,
                          struct shmid_ds *found) {
    int r = sysv_stat(segment->now->id, found);
    if (r < 0)
        return refused(segment, settings, r);
    if (sysv_removed(found) || (uint32_t)found->shm_perm.__key != settings->key)
        return gone(segment, settings);
    return check_creator(segment, settings, found);
}

static int attach_sysv(shmc *segment, const struct settings *settings, uint64_t *bytes) {
    char remedy[REMEDY_BYTES];
    int r = sysv_find(settings->key, &segment->now->id);
    if (r == -ENOENT)
        return error_set(segment->error, r, "no shared memory under key 0x%08x, so no manager; %s",
                         settings->key, connection_remedy(settings, remedy));
    if (r < 0)
        return refused(segment, settings, r);
    struct shmid_ds found;
    r = check_identity(segment, settings, &found);
    if (r < 0)
        return r;
    void *base;
    r = sysv_attach(segment->now->id, settings_write(settings), &base);
    if (r < 0)
        return refused(segment, settings, r);
    segment->now->base = base;
    r = check_identity(segment, settings, &found);
    segment->now->creator = found.shm_perm.cuid;
    *bytes = found.shm_segsz / SHM_PAGE * SHM_PAGE;
    return r;
}

/* What nobody has under the key, or somebody whom we don't trust, may be made of memfds: that is
 * the manager's to say. */
static int attach(shmc *segment, const struct settings *settings, uint64_t *bytes) {
    char why[ERROR_BYTES];
    int r = attach_sysv(segment, settings, bytes);
    if (r != -ENOENT && r != -EPERM && r != -EACCES)
        return r;
    memcpy(why, segment->error->text, sizeof why);
    sysv_detach(segment->now->base);
    segment->now->base = NULL;
    int other = parts_open(segment, settings, bytes);
    if (other == -EOPNOTSUPP && r == -ENOENT)
        return error_set(
            segment->error, r,
            "no shared memory under key 0x%08x is here, and its manager serves it in %s, with "
            "backend sysv: somebody removed it (restart the manager), or the manager "
            "has another IPC namespace (share it, --ipc, or use backend memfd)",
            settings->key, settings->runtime_dir);
    if (other == -ENOENT || (other == -ENOTCONN && !connection_there(settings)) ||
        (other < 0 && r != -ENOENT))
        return error_set(segment->error, r, "%s", why);
    return other;
}

static int open_directory(shmc *segment, const struct settings *settings, uint64_t bytes) {
    const char *field = "";
    int r = directory_open(&segment->now->directory, segment->now->base, bytes, &field);
    switch (r) {
    case 0:
        return directory_state(&segment->now->directory) == SHM_STATE_REPLACED
                   ? gone(segment, settings)
                   : 0;
    case -EAGAIN:
        return error_set(segment->error, r,
                         "shared memory 0x%08x is being made at this moment; wait with timeout_ms",
                         settings->key);
    case -EPROTONOSUPPORT:
        return error_set(segment->error, r,
                         "shared memory 0x%08x (%s) has ABI %u, this library (%s) needs ABI %u: "
                         "install the library that belongs to the manager",
                         settings->key, field, segment->now->directory.header.abi, SHM_VERSION,
                         SHM_ABI);
    default:
        return error_set(segment->error, r,
                         "shared memory 0x%08x (shmid %d) is damaged at %s; a running manager "
                         "repairs it within about a second",
                         settings->key, segment->now->id, field);
    }
}

/* Everything read-only and left out of core dumps; a dump shall have what tells whose segment it
 * was, though. */
static int guard(shmc *segment) {
    const struct directory *directory = &segment->now->directory;
    int r =
        parts_are(segment->now) ? 0 : sysv_protect(segment->now->base, 0, directory->bytes, false);
    if (r < 0 || madvise(segment->now->base, directory->header.arena_start, MADV_DODUMP) == 0)
        return r;
    return -errno;
}

int mapping_open(shmc *segment, const struct settings *settings) {
    uint64_t bytes = 0;
    segment->now->bells.id = -1;
    int r = settings->memory != NULL ? private_open(segment, settings, &bytes)
                                     : attach(segment, settings, &bytes);
    if (r == 0)
        r = open_directory(segment, settings, bytes);
    if (r == 0) {
        r = guard(segment);
        if (r < 0)
            error_set(segment->error, r, "shared memory 0x%08x can't be protected: %s",
                      settings->key, strerror(-r));
    }
    if (r < 0)
        mapping_close(segment->now);
    return r;
}

void mapping_close(struct mapping *mapping) {
    struct bells *bells = &mapping->bells;
    struct ranges *ranges = &mapping->ranges;
    if (private_is(mapping))
        private_leave(mapping, false);
    if (mapping->shut)
        munmap(mapping->base, mapping->directory.bytes);
    else if (parts_are(mapping))
        parts_close(mapping);
    else
        sysv_detach(mapping->base);
    mapping->base = NULL;
    if (mapping->parts.bells_bytes > 0)
        munmap(bells->base, mapping->parts.bells_bytes);
    for (unsigned i = 0; i < bells->kept_n; i++)
        sysv_detach(bells->kept[i]);
    if (ranges->at != NULL)
        munmap(ranges->at, ranges->room * sizeof *ranges->at);
    *bells = (struct bells){.id = -1};
    *ranges = (struct ranges){0};
    mapping->parts = (struct parts){0};
}

int mapping_reach(shmc *segment, const struct shm_section *section, uint64_t generation) {
    if (!parts_are(segment->now))
        return 0;
    int r = parts_reach(segment, section->arena_index, generation);
    if (r == 0 && section->kind == SHM_KIND_QUEUE)
        r = parts_reach(segment, section->claims_arena, generation);
    return r;
}

bool mapping_shows(shmc *segment, const struct mapping *mapping, const struct shm_section *section,
                   uint64_t generation) {
    if (!parts_are(mapping))
        return true;
    if (lock_take(&segment->lock) < 0)
        return false;
    segment->now->parts.hasty = parts_waited(segment);
    bool shows = mapping == segment->now && mapping_reach(segment, section, generation) == 0;
    segment->now->parts.hasty = false;
    lock_release(&segment->lock);
    return shows;
}

/* ---- doorbells */

/* A shmid from the header is a number like any other. */
static bool bells_ok(const shmc *segment, const void *base, const struct shmid_ds *found,
                     uint32_t *capacity) {
    struct shm_bells head;
    uid_t creator = found->shm_perm.cuid;
    if (creator != segment->now->creator && creator != 0 && creator != geteuid())
        return false;
    shared_copy_from(&head, base, sizeof head);
    *capacity = head.capacity;
    return head.magic == SHM_BELLS_MAGIC && head.abi == SHM_ABI &&
           head.segment_id == segment->now->directory.header.segment_id &&
           head.capacity <= found->shm_segsz / SHM_LINE - 1;
}

/* Without bells there is no less to read, only later. */
static void open_bells(shmc *segment, int id) {
    struct bells *bells = &segment->now->bells;
    struct shmid_ds found;
    void *base;
    uint32_t capacity;
    bells->id = id;
    bells->base = NULL;
    if (bells->kept_n == BELLS_KEPT || sysv_attach(id, true, &base) < 0)
        return;
    if (sysv_stat(id, &found) < 0 || found.shm_segsz < SHM_PAGE ||
        !bells_ok(segment, base, &found, &capacity)) {
        sysv_detach(base);
        return;
    }
    madvise(base, found.shm_segsz, MADV_DONTDUMP);
    bells->kept[bells->kept_n++] = base;
    bells->base = base;
    bells->capacity = capacity;
}

struct shm_bell *mapping_bell(shmc *segment, uint32_t index) {
    struct bells *bells = &segment->now->bells;
    int id = parts_are(segment->now) ? -1 : directory_bell_id(&segment->now->directory);
    if (id >= 0 && id != bells->id)
        open_bells(segment, id);
    if (bells->base == NULL || index >= bells->capacity)
        return NULL;
    return (struct shm_bell *)(void *)(bells->base + (size_t)(index + 1) * SHM_LINE);
}

/* ---- places */

/* The bytes from the section's first to its extent's end are in the segment: the directory checked
 * that.  What is inside is checked here. */
int mapping_bind(const struct mapping *mapping, const struct shm_section *section,
                 struct shm_bell *bell, struct snapshot *ret, const char **field) {
    struct shm_section extent = *section;
    extent.bytes = section->offset + section->bytes - section->ctl_off;
    *field = "section.bytes";
    if (section->ctl_off % SHM_LINE != 0 || extent.bytes < sizeof(struct shm_snapshot))
        return -EBADMSG;
    return snapshot_bind(ret, mapping->base + section->ctl_off, &extent, bell, field);
}
