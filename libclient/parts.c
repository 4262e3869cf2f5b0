/* SPDX-License-Identifier: Apache-2.0
 *
 * A segment that is made of memfds: its parts come from the manager as descriptors, the header and
 * the bells at attach, an arena when it is first used, and are mapped at the offsets that they
 * have under System V.  The header's object is as large as the segment and lies beneath them all.
 */
#include "client.h"
#include "core/memfd.h"

#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_NS 5000000
#define HASTE_NS UINT64_C(50000000)   /* for one part, where there is another way */
#define AGAIN_NS UINT64_C(100000000)  /* behind a failure, until there the next one asks */
#define VAIN_NS  UINT64_C(1000000000) /* behind one, until there a list waits for no more */

static uint64_t patience(uint64_t deadline_ns) {
    uint64_t least = clock_mono_ns() + CONNECTION_PATIENCE_NS;
    return deadline_ns > least ? deadline_ns : least;
}

/* ---- asking */

/* What came: its descriptor, checked; `map` has its size. */
static int take_part(shmc *segment, const struct settings *settings,
                     const union protocol_message *message, int fd, struct protocol_map *map) {
    if (message->head.type == PROTOCOL_REFUSED)
        return error_set(segment->error,
                         message->head.result < 0 ? message->head.result : -ENOTCONN, "%s",
                         refused_text(&message->refused));
    if (message->head.type != PROTOCOL_PART || message->map.part != map->part)
        return error_set(segment->error, -EPROTONOSUPPORT,
                         "the manager answered a request for memory by message %u; restart it",
                         message->head.type);
    if (fd < 0)
        return error_set(segment->error, -EMFILE,
                         "memory was sent, and there was no descriptor free to take it with; raise "
                         "RLIMIT_NOFILE (ulimit -n)");
    uid_t owner;
    if (message->map.bytes < SHM_PAGE || message->map.bytes % SHM_PAGE != 0 ||
        memfd_check(fd, message->map.bytes, &owner) < 0 || !settings_trust(settings, owner))
        return error_set(segment->error, -EPERM,
                         "what the manager at %s sent is no sealed memory of its own",
                         settings->runtime_dir);
    map->bytes = message->map.bytes;
    return 0;
}

/* Asks for a part, and takes it. */
static int ask(shmc *segment, const struct settings *settings, int socket, struct protocol_map *map,
               int *fd, uint64_t deadline_ns) {
    union protocol_message message = {.map = *map};
    int came = -1;
    int r = connection_send(socket, &message, PROTOCOL_MAP, sizeof message.map, deadline_ns,
                            segment->error);
    if (r == 0)
        r = connection_receive(socket, &message, &came, deadline_ns, segment->error);
    if (r < 0)
        return r;
    r = take_part(segment, settings, &message, came, map);
    if (r < 0 && came >= 0)
        close(came);
    if (r == 0)
        *fd = came;
    return r;
}

static int check_hello(const shmc *segment, const struct protocol_hello *hello) {
    if (hello->backend != SHM_BACKEND_MEMFD)
        return -EOPNOTSUPP;
    if (hello->abi == SHM_ABI)
        return 0;
    return error_set(segment->error, -EPROTONOSUPPORT,
                     "the manager has ABI %u, this library (%s) ABI %u: install the library that "
                     "belongs to the manager",
                     hello->abi, SHM_VERSION, SHM_ABI);
}

/* ---- attaching */

static int map_failed(shmc *segment, const struct settings *settings, int code) {
    return error_set(segment->error, code, "shared memory 0x%08x (memfd) can't be mapped: %s%s",
                     settings->key, strerror(-code),
                     code == -ENOMEM ? " (raise RLIMIT_AS, ulimit -v)" : "");
}

/* Twice: what an arena covered is shown again from the second. */
static int map_header(shmc *segment, const struct settings *settings, int fd, uint64_t bytes) {
    void *base, *spare;
    int r = memfd_map(fd, bytes, false, NULL, &base);
    if (r < 0)
        return map_failed(segment, settings, r);
    r = memfd_map(fd, bytes, false, NULL, &spare);
    if (r < 0) {
        munmap(base, bytes);
        return map_failed(segment, settings, r);
    }
    madvise(base, bytes, MADV_DONTDUMP);
    madvise(spare, bytes, MADV_DONTDUMP);
    segment->now->base = base;
    segment->now->parts.spare = spare;
    segment->now->parts.bytes = bytes;
    return 0;
}

static int take_header(shmc *segment, const struct settings *settings, int socket,
                       uint64_t deadline_ns) {
    struct protocol_map map = {.part = PROTOCOL_PART_HEADER};
    int fd, r = ask(segment, settings, socket, &map, &fd, deadline_ns);
    if (r < 0)
        return r;
    r = map_header(segment, settings, fd, map.bytes);
    close(fd);
    return r;
}

/* Without bells there is no less to read, only later. */
static void take_bells(shmc *segment, const struct settings *settings, int socket,
                       uint64_t deadline_ns) {
    struct protocol_map map = {.part = PROTOCOL_PART_BELLS};
    struct bells *bells = &segment->now->bells;
    void *base;
    int fd;
    if (ask(segment, settings, socket, &map, &fd, deadline_ns) < 0)
        return;
    if (memfd_map(fd, map.bytes, true, NULL, &base) == 0) {
        madvise(base, map.bytes, MADV_DONTDUMP);
        bells->base = base;
        bells->capacity = (uint32_t)(map.bytes / SHM_LINE - 1);
        segment->now->parts.bells_bytes = map.bytes;
    }
    close(fd);
}

int parts_open(shmc *segment, const struct settings *settings, uint64_t *bytes) {
    uint64_t deadline_ns = settings->deadline_ns;
    if (deadline_ns == 0)
        deadline_ns = clock_mono_ns() + CONNECTION_PATIENCE_NS;
    struct protocol_hello hello;
    int socket, r = connection_open(&socket, settings, deadline_ns, &hello, segment->error);
    if (r < 0)
        return r;
    r = check_hello(segment, &hello);
    if (r == 0)
        r = take_header(segment, settings, socket, deadline_ns);
    if (r == 0) {
        segment->now->parts.deadline_ns = settings->deadline_ns;
        segment->now->id = -1;
        *bytes = segment->now->parts.bytes;
        take_bells(segment, settings, socket, deadline_ns);
    }
    close(socket);
    return r;
}

void parts_close(struct mapping *mapping) {
    struct parts *parts = &mapping->parts;
    munmap(mapping->base, parts->bytes);
    munmap(parts->spare, parts->bytes);
    parts->spare = NULL;
}

/* ---- arenas */

static bool same_arena(const struct range *range, uint32_t index, const struct shm_arena *arena) {
    return range->index == index && range->incarnation == arena->incarnation &&
           range->offset == arena->offset && range->bytes == arena->bytes;
}

/* The header's object shows again where an arena was: without a descriptor of it, a second mapping
 * of those pages is made from the spare one. */
static int uncover(const shmc *segment, const struct range *range) {
    uint8_t *at = segment->now->base + range->offset;
    void *from = (uint8_t *)segment->now->parts.spare + range->offset;
    if (mremap(from, 0, range->bytes, MREMAP_MAYMOVE | MREMAP_FIXED, at) == MAP_FAILED)
        return -errno;
    madvise(at, range->bytes, MADV_DONTDUMP);
    return 0;
}

/* Those that stand where this one does went; the newer mapping covers them. */
static void forget_covered(struct ranges *ranges, const struct shm_arena *arena) {
    for (size_t i = ranges->n; i-- > 0;) {
        const struct range *range = &ranges->at[i];
        if (range->offset < arena->offset + arena->bytes &&
            arena->offset < range->offset + range->bytes)
            ranges->at[i] = ranges->at[--ranges->n];
    }
}

static int map_arena(shmc *segment, const struct shm_arena *arena, uint32_t index, int fd,
                     bool writable) {
    struct ranges *ranges = &segment->now->ranges;
    uint8_t *at = segment->now->base + arena->offset;
    int r = memfd_map(fd, arena->bytes, writable, at, NULL);
    if (r < 0)
        return r;
    /* As with System V: the own arena is dumped and not forked, all else is not dumped. */
    madvise(at, arena->bytes, writable ? MADV_DODUMP : MADV_DONTDUMP);
    if (writable)
        madvise(at, arena->bytes, MADV_DONTFORK);
    forget_covered(ranges, arena);
    ranges->at[ranges->n++] = (struct range){.offset = arena->offset,
                                             .bytes = arena->bytes,
                                             .incarnation = arena->incarnation,
                                             .index = index,
                                             .ours = writable,
                                             .writable = writable};
    return 0;
}

/* One part of a running segment. */
static int fetch_once(shmc *segment, struct protocol_map *map, int *fd, uint64_t deadline_ns) {
    const struct settings settings = {.key = segment->home.key,
                                      .runtime_dir = segment->home.runtime_dir,
                                      .deadline_ns = deadline_ns};
    struct protocol_hello hello;
    int socket, r = connection_open(&socket, &settings, deadline_ns, &hello, segment->error);
    if (r < 0)
        return r;
    if (hello.backend != SHM_BACKEND_MEMFD ||
        hello.segment_id != segment->now->directory.header.segment_id)
        r = directory_replaced(&segment->now->directory)
                ? -EAGAIN
                : error_set(segment->error, -EIDRM,
                            "the segment was replaced or destroyed; detach and attach anew");
    if (r == 0)
        r = ask(segment, &settings, socket, map, fd, deadline_ns);
    close(socket);
    return r;
}

/* The manager may be on its way back, or go in the midst of it. */
static int fetch(shmc *segment, struct protocol_map *map, int *fd) {
    struct parts *parts = &segment->now->parts;
    if (parts->hasty && clock_mono_ns() - parts->away_ns < AGAIN_NS)
        return -ENOTCONN;
    const uint64_t deadline_ns =
        parts->hasty ? clock_mono_ns() + HASTE_NS : patience(parts->deadline_ns);
    const struct protocol_map question = *map;
    int r;
    while ((r = fetch_once(segment, map, fd, deadline_ns)) == -ENOTCONN && !parts->hasty &&
           clock_mono_ns() + PAUSE_NS < deadline_ns) {
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
        *map = question;
    }
    if (r != -ENOTCONN && r != -ETIMEDOUT)
        return r;
    parts->away_ns = clock_mono_ns();
    return parts->hasty ? -ENOTCONN : r;
}

static int fetch_arena(shmc *segment, const struct shm_arena *arena, uint32_t index,
                       bool writable) {
    const struct standing *standing = &segment->now->standing;
    struct protocol_map map = {.part = PROTOCOL_PART_ARENA,
                               .index = index,
                               .incarnation = arena->incarnation,
                               .writable = writable};
    if (writable) {
        map.attachment = standing->attachment;
        map.attachment_epoch = standing->attachment_epoch;
    }
    int fd, r = fetch(segment, &map, &fd);
    if (r < 0)
        return r;
    if (map.bytes == arena->bytes)
        r = map_arena(segment, arena, index, fd, writable);
    else
        r = error_set(segment->error, -EBADMSG, "arena %u has %llu bytes, and not %llu", index,
                      (unsigned long long)map.bytes, (unsigned long long)arena->bytes);
    close(fd);
    return r;
}

/* What was ours before is left as it is mapped: a thread may be in the middle of a publish there,
 * which reaches nobody. */
static int revoked(shmc *segment) {
    char who[STANDING_BYTES];
    int r = standing_check(segment, segment->now);
    return r < 0 ? r
                 : error_set(segment->error, -EBADMSG,
                             "%s: its record in the header is damaged; a running manager repairs "
                             "it within about a second",
                             standing_text(&segment->now->standing, who));
}

static int take_arena(shmc *segment, const struct shm_arena *arena, uint32_t index, bool writable,
                      uint64_t generation) {
    int r = ranges_reserve(&segment->now->ranges);
    if (r < 0)
        return error_set(segment->error, r, "no memory for another arena");
    r = fetch_arena(segment, arena, index, writable);
    if (r == -EACCES && writable &&
        !standing_holds(segment->now)) /* it has a successor's memory by now */
        r = revoked(segment);
    /* The manager knows of a newer directory than we looked at. */
    if (r == -EAGAIN && directory_generation(&segment->now->directory) == generation &&
        !directory_replaced(&segment->now->directory))
        return error_set(segment->error, -EBADMSG,
                         "the manager knows no arena %u, which the directory names; restart it",
                         index);
    return r;
}

int parts_reach(shmc *segment, uint32_t index, uint64_t generation) {
    struct ranges *ranges = &segment->now->ranges;
    struct shm_arena arena;
    const char *field;
    int r = directory_arena(&segment->now->directory, generation, index, &arena, &field);
    if (r < 0)
        return r == -EAGAIN ? r
                            : error_set(segment->error, -EBADMSG,
                                        "the segment's header is damaged (arena %u); a running "
                                        "manager repairs it within about a second",
                                        index);
    const bool ours = mapping_owns(segment->now, &arena);
    if (ours && !standing_holds(segment->now))
        return revoked(segment);
    for (size_t i = 0; i < ranges->n; i++)
        if (same_arena(&ranges->at[i], index, &arena))
            return 0;
    return take_arena(segment, &arena, index, ours, generation);
}

bool parts_waited(const shmc *segment) {
    return clock_mono_ns() - segment->now->parts.away_ns < VAIN_NS;
}

int parts_write(shmc *segment, uint32_t index, const struct shm_arena *arena) {
    return take_arena(segment, arena, index, true, directory_generation(&segment->now->directory));
}

/* Lets go of arenas that are no longer there. */
static int prune(shmc *segment, uint64_t generation) {
    struct ranges *ranges = &segment->now->ranges;
    for (size_t i = ranges->n; i-- > 0;) {
        struct range range = ranges->at[i];
        struct shm_arena arena;
        const char *field;
        if (range.writable && !standing_holds(segment->now)) /* see revoked() */
            continue;
        int r = directory_arena(&segment->now->directory, generation, range.index, &arena, &field);
        if (r == -EAGAIN || r == -EBADMSG)
            return r;
        if (r == 0 && same_arena(&range, range.index, &arena))
            continue;
        r = uncover(segment, &range);
        if (r < 0)
            return r;
        ranges->at[i] = ranges->at[--ranges->n];
    }
    return 0;
}

int parts_update(shmc *segment, uint64_t generation) {
    struct ranges *ranges = &segment->now->ranges;
    bool first = ranges->generation == 0;
    int r = prune(segment, generation);
    segment->now->parts.hasty = !first;
    /* A worker has what is its own from the beginning, so that it needs no manager later. */
    for (uint32_t index = 0; r == 0 && standing_is(segment->now); index++) {
        struct shm_arena arena;
        const char *field;
        r = directory_arena(&segment->now->directory, generation, index, &arena, &field);
        if (r == -ERANGE)
            break;
        if (r == -ENOENT || (r == 0 && (!mapping_owns(segment->now, &arena) ||
                                        !layout_place_in_force(arena.state)))) {
            r = 0;
            continue;
        }
        if (r == 0)
            r = parts_reach(segment, index, generation);
        if (r < 0 && r != -EAGAIN && !first)
            r = 0; /* who uses it asks again, and is told */
    }
    segment->now->parts.hasty = false;
    return r == -ERANGE ? 0 : r;
}
