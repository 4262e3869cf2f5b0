/* SPDX-License-Identifier: Apache-2.0
 *
 * Placing is first fit by address, with some slack in each new arena, so that the owner's next
 * section finds room there and the number of arenas stays small.  Everything is done in the order
 * of section ids, so that the same input gives the same output.
 */
#include "place.h"
#include "crc32c.h"
#include "place_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DIRECTORY_BYTES_PER_ENTRY UINT64_C(65536)
#define DIRECTORY_ENTRIES_MIN     64u
#define DIRECTORY_ENTRIES_MAX     1024u
#define SLACK_FRACTION            8 /* a new arena has an eighth more than it needs */

/* The first gap of at least `least` bytes; `gap` is cut to `most`. */
static bool find_gap(const struct placer *placer, const struct spans *taken, uint64_t least,
                     uint64_t most, struct span *gap) {
    struct gaps gaps = gaps_between(taken, placer->next->arena_start, placer->next->segment_bytes);
    while (gaps_next(&gaps, gap))
        if (gap->bytes >= least) {
            if (gap->bytes > most)
                gap->bytes = most;
            return true;
        }
    return false;
}

/* The array has room for two arenas for each new section. */
static uint32_t add_arena(struct placer *placer, const struct shm_section *of,
                          enum shm_writers writers, uint64_t offset, uint64_t bytes) {
    struct layout *next = placer->next;
    while (placer->hole < next->arenas_used && next->arenas[placer->hole].state != SHM_PLACE_FREE)
        placer->hole++;
    const uint32_t index = placer->hole++;
    if (index == next->arenas_used)
        next->arenas_used++;
    struct shm_arena *arena = &next->arenas[index];
    *arena = (struct shm_arena){
        .offset = offset,
        .bytes = bytes,
        .incarnation = next->generation,
        .owner_index = of->owner_index,
        .state = SHM_PLACE_LIVE,
        .read_class = of->read_class,
        .writers = writers,
        .write_class = writers == SHM_WRITERS_CLASS ? of->write_class : 0,
    };
    arena->crc = CRC32C_OF(arena);
    spans_add(&placer->taken, (struct span){offset, bytes, index});
    return index;
}

static void put_section(struct shm_section *section, uint32_t arena_index, uint64_t offset) {
    section->arena_index = arena_index;
    section->offset = offset;
    section->ctl_off = offset;
}

/* Where its claims begin, a queue goes on in another arena. */
static void take(struct spans *spans, const struct shm_section *section, uint32_t slot,
                 void (*add)(struct spans *, struct span)) {
    const uint64_t end = section->offset + section->bytes;
    const uint64_t middle = section->claims_off == 0 ? end : section->claims_off;
    add(spans, (struct span){section->offset, middle - section->offset, slot});
    if (middle < end)
        add(spans, (struct span){middle, end - middle, slot});
}

/* One writer and the same readers.  (In a queue's claims, which may have one writer, too, there is
 * no gap.) */
static bool belongs(const struct shm_arena *arena, const struct shm_section *section) {
    return arena->state == SHM_PLACE_LIVE && arena->writers == SHM_WRITERS_OWNER &&
           !layout_is_of_many(section) && arena->owner_index == section->owner_index &&
           arena->read_class == section->read_class;
}

/* ---- sections that many write: whole pages, and nothing else on them */

/* Who receives: the owner, or any of its instances. */
static enum shm_writers receivers(const struct placer *placer, const struct shm_section *section) {
    const char *record = placer->next->workers[section->owner_index];
    return strchr(record, '#') != NULL && strchr(section->owner, '#') == NULL
               ? SHM_WRITERS_INSTANCES
               : SHM_WRITERS_OWNER;
}

static void put_alone(struct placer *placer, struct shm_section *section, uint64_t offset) {
    const uint64_t bytes = layout_round(section->bytes, SHM_PAGE);
    const uint64_t claims = layout_claims_at(section), first = claims == 0 ? bytes : claims;
    put_section(section, add_arena(placer, section, SHM_WRITERS_CLASS, offset, first), offset);
    if (claims == 0)
        return;
    section->claims_off = offset + claims;
    section->claims_arena =
        add_arena(placer, section, receivers(placer, section), section->claims_off, bytes - claims);
}

static int place_alone(struct placer *placer, struct shm_section *section) {
    const uint64_t bytes = layout_round(section->bytes, SHM_PAGE);
    struct span gap;
    if (!find_gap(placer, &placer->taken, bytes, bytes, &gap))
        return place_refuse_section(placer, section);
    put_alone(placer, section, gap.offset);
    return 0;
}

/* ---- pinned sections */

/* Into an arena of the owner's that is there already; what else stands in it must leave room. */
static int pin_within(struct placer *placer, struct shm_section *section, uint32_t arena_index) {
    const struct span *taken = spans_overlap(&placer->sections, section->offset, section->bytes);
    if (taken != NULL)
        return place_refuse_taken(placer, section, &placer->next->sections[taken->index]);
    put_section(section, arena_index, section->offset);
    return 0;
}

static int pin_section(struct placer *placer, uint32_t slot) {
    struct layout *next = placer->next;
    struct shm_section *section = &next->sections[slot];
    const uint64_t bytes = layout_round(section->bytes, SHM_PAGE);
    const struct span *taken = spans_overlap(&placer->taken, section->offset, bytes);
    if (section->offset < next->arena_start)
        return place_refuse_pin(placer, section, NULL);
    if (taken == NULL && layout_is_of_many(section))
        put_alone(placer, section, section->offset);
    else if (taken == NULL)
        put_section(section, add_arena(placer, section, SHM_WRITERS_OWNER, section->offset, bytes),
                    section->offset);
    else if (taken->index != SPAN_DIRECTORY && taken->offset <= section->offset &&
             taken->offset + taken->bytes >= section->offset + section->bytes &&
             belongs(&next->arenas[taken->index], section)) {
        int r = pin_within(placer, section, taken->index);
        if (r < 0)
            return r;
    } else
        return place_refuse_pin(placer, section, taken);
    take(&placer->sections, section, slot, spans_add);
    return 0;
}

/* ---- directories */

static uint64_t directory_bytes(const struct layout *next, uint64_t before, uint32_t entries) {
    uint64_t bytes = before;
    if (bytes == 0) {
        uint64_t initial = next->segment_bytes / DIRECTORY_BYTES_PER_ENTRY;
        if (initial < DIRECTORY_ENTRIES_MIN)
            initial = DIRECTORY_ENTRIES_MIN;
        if (initial > DIRECTORY_ENTRIES_MAX)
            initial = DIRECTORY_ENTRIES_MAX;
        bytes = layout_directory_bytes((uint32_t)initial, (uint32_t)initial);
    }
    while (layout_directory_capacity(bytes) < entries)
        bytes *= 2;
    return bytes;
}

/* Its new place is written to the header before the flip.  If the manager is killed in between,
 * what was in force still is, with this place in it: so it keeps clear of all that was in force,
 * also of what this plan drops. */
static int place_directory(struct placer *placer, unsigned which, uint32_t entries) {
    struct shm_directory_place *place = &placer->next->directories[which];
    const uint64_t bytes = directory_bytes(placer->next, place->bytes, entries);
    if (bytes == place->bytes)
        return 0;
    const struct layout *running = placer->running;
    struct spans taken = {0};
    if (spans_reserve(&taken, placer->taken.n + running->arenas_used) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < placer->taken.n; i++)
        spans_append(&taken, placer->taken.at[i]);
    for (uint32_t i = 0; i < running->arenas_used; i++)
        if (running->arenas[i].state == SHM_PLACE_RETIRED)
            spans_append(&taken, (struct span){running->arenas[i].offset, running->arenas[i].bytes,
                                               SHM_NONE});
    spans_sort(&taken);
    struct span gap;
    const bool found = find_gap(placer, &taken, bytes, bytes, &gap);
    spans_clear(&taken);
    if (!found)
        return place_refuse_room(placer, "the directory of sections", bytes);
    *place = (struct shm_directory_place){gap.offset, bytes};
    spans_add(&placer->taken, (struct span){gap.offset, bytes, SPAN_DIRECTORY});
    return 0;
}

static int place_directories(struct placer *placer, uint32_t fresh_arenas) {
    const struct layout *next = placer->next;
    uint32_t arenas = fresh_arenas;
    for (uint32_t i = 0; i < next->arenas_used; i++)
        if (next->arenas[i].state != SHM_PLACE_FREE)
            arenas++;
    if (arenas < next->arenas_used)
        arenas = next->arenas_used;
    const uint32_t entries = next->sections_used > arenas ? next->sections_used : arenas;
    const unsigned idle = next->generation & 1;
    int r = place_directory(placer, idle, entries);
    /* The other one is in force now, and follows when it is idle. */
    if (r == 0 && next->directories[!idle].bytes == 0)
        r = place_directory(placer, !idle, entries);
    return r;
}

/* ---- the others, owner by owner */

struct fresh {
    uint32_t owner_index, read_class, slot;
};

static int by_owner(const void *a, const void *b) {
    const struct fresh *x = a, *y = b;
    if (x->owner_index != y->owner_index)
        return x->owner_index < y->owner_index ? -1 : 1;
    if (x->read_class != y->read_class)
        return x->read_class < y->read_class ? -1 : 1;
    return x->slot < y->slot ? -1 : x->slot > y->slot;
}

static struct shm_section *section_of(const struct placer *placer, const struct fresh *fresh) {
    return &placer->next->sections[fresh->slot];
}

/* What is free within the arenas that a section may stand in, by arena index. */
static int owners_gaps(const struct placer *placer, const struct shm_section *section,
                       struct spans *ret) {
    const struct layout *next = placer->next;
    for (uint32_t i = 0; i < next->arenas_used; i++) {
        const struct shm_arena *arena = &next->arenas[i];
        if (!belongs(arena, section))
            continue;
        struct gaps gaps =
            gaps_between(&placer->sections, arena->offset, arena->offset + arena->bytes);
        struct span gap;
        while (gaps_next(&gaps, &gap)) {
            if (spans_reserve(ret, 1) < 0)
                return -ENOMEM;
            gap.index = i;
            spans_append(ret, gap);
        }
    }
    return 0;
}

static bool fill_gap(struct spans *gaps, struct shm_section *section) {
    for (size_t i = 0; i < gaps->n; i++) {
        struct span *gap = &gaps->at[i];
        if (gap->bytes < section->bytes)
            continue;
        put_section(section, gap->index, gap->offset);
        gap->offset += section->bytes;
        gap->bytes -= section->bytes;
        return true;
    }
    return false;
}

/* All in one new arena; where the segment is too much in pieces for that, in two. */
static int place_run(struct placer *placer, const struct fresh *fresh, size_t n) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += section_of(placer, &fresh[i])->bytes;
    bytes = layout_round(bytes, SHM_PAGE);
    const uint64_t roomy = bytes + layout_round(bytes / SLACK_FRACTION + 1, SHM_PAGE);
    struct span gap;
    if (!find_gap(placer, &placer->taken, roomy, roomy, &gap) &&
        !find_gap(placer, &placer->taken, bytes, roomy, &gap)) {
        if (n == 1)
            return place_refuse_section(placer, section_of(placer, fresh));
        int r = place_run(placer, fresh, n / 2);
        return r < 0 ? r : place_run(placer, fresh + n / 2, n - n / 2);
    }
    const uint32_t arena =
        add_arena(placer, section_of(placer, fresh), SHM_WRITERS_OWNER, gap.offset, gap.bytes);
    uint64_t offset = gap.offset;
    for (size_t i = 0; i < n; i++) {
        put_section(section_of(placer, &fresh[i]), arena, offset);
        offset += section_of(placer, &fresh[i])->bytes;
    }
    return 0;
}

static int place_owner(struct placer *placer, struct fresh *fresh, size_t n) {
    struct spans gaps = {0};
    int r = owners_gaps(placer, section_of(placer, fresh), &gaps);
    size_t left = 0;
    for (size_t i = 0; r == 0 && i < n; i++)
        if (!fill_gap(&gaps, section_of(placer, &fresh[i])))
            fresh[left++] = fresh[i];
    spans_clear(&gaps);
    return r < 0 || left == 0 ? r : place_run(placer, fresh, left);
}

static int place_others(struct placer *placer, struct fresh *fresh, size_t n) {
    if (n > 1)
        qsort(fresh, n, sizeof *fresh, by_owner);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && fresh[end].owner_index == fresh[i].owner_index &&
                          fresh[end].read_class == fresh[i].read_class;
             end++)
            ;
        int r = place_owner(placer, &fresh[i], end - i);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- all of it */

static int gather(struct placer *placer, size_t n) {
    struct layout *next = placer->next;
    struct shm_arena *arenas =
        reallocarray(next->arenas, next->arenas_used + 2 * n + 1, sizeof *arenas);
    if (arenas == NULL)
        return -ENOMEM;
    next->arenas = arenas;
    if (spans_reserve(&placer->taken, next->arenas_used + 2 * n + 4) < 0 ||
        spans_reserve(&placer->sections, 2 * (size_t)next->sections_used) < 0)
        return -ENOMEM;
    /* A directory that moves doesn't leave its old place to anything in this plan: it is in the
     * header until the flip. */
    for (int i = 0; i < 2; i++)
        if (next->directories[i].bytes > 0)
            spans_append(&placer->taken, (struct span){next->directories[i].offset,
                                                       next->directories[i].bytes, SPAN_DIRECTORY});
    for (uint32_t i = 0; i < next->arenas_used; i++)
        if (next->arenas[i].state != SHM_PLACE_FREE)
            spans_append(&placer->taken,
                         (struct span){next->arenas[i].offset, next->arenas[i].bytes, i});
    for (uint32_t i = 0; n > 0 && i < next->sections_used; i++)
        if (next->sections[i].ctl_off != 0) /* else free, or not placed yet */
            take(&placer->sections, &next->sections[i], i, spans_append);
    spans_sort(&placer->taken);
    spans_sort(&placer->sections);
    return 0;
}

/* `fresh` gets those that are their owners' alone; *arenas is how many there may be more. */
static int place_pinned(struct placer *placer, const uint32_t *slots, size_t n, struct fresh *fresh,
                        size_t *ret, uint32_t *arenas) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        const struct shm_section *section = &placer->next->sections[slots[i]];
        if ((section->flags & SHM_SECTION_PINNED) != 0) {
            r = pin_section(placer, slots[i]);
            continue;
        }
        *arenas += section->kind == SHM_KIND_QUEUE ? 2 : 1; /* each its own, at the most */
        if (!layout_is_of_many(section))
            fresh[(*ret)++] = (struct fresh){section->owner_index, section->read_class, slots[i]};
    }
    return r;
}

static int place_all(struct placer *placer, const uint32_t *slots, size_t n) {
    struct fresh *fresh = calloc(n + 1, sizeof *fresh);
    if (fresh == NULL)
        return -ENOMEM;
    size_t owned = 0;
    uint32_t arenas = 0;
    int r = gather(placer, n);
    if (r == 0)
        r = place_pinned(placer, slots, n, fresh, &owned, &arenas);
    if (r == 0)
        r = place_directories(placer, arenas);
    if (r == 0)
        r = place_others(placer, fresh, owned);
    free(fresh);
    for (size_t i = 0; r == 0 && i < n; i++) {
        struct shm_section *section = &placer->next->sections[slots[i]];
        if ((section->flags & SHM_SECTION_PINNED) == 0 && layout_is_of_many(section))
            r = place_alone(placer, section);
    }
    return r;
}

int place_sections(struct layout *next, const struct layout *running, const uint32_t *slots,
                   size_t n, char *error, size_t error_bytes) {
    struct placer placer = {
        .next = next, .running = running, .error = error, .error_bytes = error_bytes};
    int r = place_all(&placer, slots, n);
    spans_clear(&placer.taken);
    spans_clear(&placer.sections);
    return r;
}
