/* SPDX-License-Identifier: Apache-2.0
 *
 * Why there is no place: what is free, and for whom the rest is kept.
 */
#include "place_parts.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

__attribute__((format(printf, 2, 3))) static int refuse(const struct placer *placer,
                                                        const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(placer->error, placer->error_bytes, format, args);
    va_end(args);
    return -ENOSPC;
}

/* What was left before, and can be used as soon as one worker has gone. */
static bool waits_for(const struct placer *placer, const struct shm_section *section) {
    return section->state == SHM_PLACE_QUARANTINED && !layout_is_of_many(section) &&
           section->retired_gen < placer->next->generation &&
           section->owner_index < placer->next->workers_used;
}

/* What this edit removes is kept for those who read there under the generation before it. */
static void say_removed(const struct placer *placer, char *text, size_t text_bytes) {
    const struct layout *running = placer->running, *next = placer->next;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < running->sections_used && i < next->sections_used; i++)
        if (layout_place_in_force(running->sections[i].state) &&
            next->sections[i].state == SHM_PLACE_RETIRED)
            bytes += next->sections[i].bytes;
    if (bytes > 0)
        snprintf(text, text_bytes,
                 ", and %llu more once what this edit removes has gone: remove that first",
                 (unsigned long long)bytes);
}

/* Says how much comes free with the worker for whom most of it is kept. */
static void say_kept(const struct placer *placer, char *text, size_t text_bytes) {
    const struct layout *next = placer->next;
    const struct shm_section *largest = NULL;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < next->sections_used; i++)
        if (waits_for(placer, &next->sections[i]) &&
            (largest == NULL || next->sections[i].bytes > largest->bytes))
            largest = &next->sections[i];
    text[0] = '\0';
    if (largest == NULL) {
        say_removed(placer, text, text_bytes);
        return;
    }
    for (uint32_t i = 0; i < next->sections_used; i++)
        if (waits_for(placer, &next->sections[i]) &&
            next->sections[i].owner_index == largest->owner_index)
            bytes += next->sections[i].bytes;
    snprintf(text, text_bytes, ", and %llu more come free when worker '%s' ends",
             (unsigned long long)bytes, next->workers[largest->owner_index]);
}

int place_refuse_room(const struct placer *placer, const char *what, uint64_t bytes) {
    char kept[SHM_NAME_BYTES + 96];
    struct gaps gaps =
        gaps_between(&placer->taken, placer->next->arena_start, placer->next->segment_bytes);
    struct span gap;
    uint64_t all = 0, largest = 0;
    while (gaps_next(&gaps, &gap)) {
        all += gap.bytes;
        if (gap.bytes > largest)
            largest = gap.bytes;
    }
    say_kept(placer, kept, sizeof kept);
    return refuse(placer,
                  "%s: no room for %llu bytes: %llu are free in the segment, %llu of them in one "
                  "piece%s (remove sections, or make a larger segment: UPDATE segment SET size = "
                  "...)",
                  what, (unsigned long long)bytes, (unsigned long long)all,
                  (unsigned long long)largest, kept);
}

int place_refuse_section(const struct placer *placer, const struct shm_section *section) {
    char what[SHM_NAME_BYTES + 16];
    snprintf(what, sizeof what, "section '%s'", section->name);
    return place_refuse_room(placer, what, section->bytes);
}

int place_refuse_taken(const struct placer *placer, const struct shm_section *section,
                       const struct shm_section *taken) {
    const bool left = taken->state == SHM_PLACE_RETIRED || taken->state == SHM_PLACE_QUARANTINED;
    return refuse(placer,
                  "section '%s': at offset %llu it would overlap %ssection '%s'%s (UPDATE section "
                  "SET offset = NULL WHERE name = '%s' leaves the place to the manager)",
                  section->name, (unsigned long long)section->offset,
                  left ? "the place before of " : "", taken->name,
                  left ? ", which isn't free yet" : "", section->name);
}

int place_refuse_pin(const struct placer *placer, const struct shm_section *section,
                     const struct span *taken) {
    char what[SHM_NAME_BYTES + 32] = "the directory of sections";
    if (taken == NULL)
        snprintf(what, sizeof what, "the header, which ends at %u", placer->next->arena_start);
    else if (taken->index != SPAN_DIRECTORY) {
        const uint32_t owner = placer->next->arenas[taken->index].owner_index;
        snprintf(what, sizeof what, "the arena of worker '%s'",
                 owner < placer->next->workers_used ? placer->next->workers[owner] : "?");
    }
    return refuse(placer,
                  "section '%s': at offset %llu its %llu bytes would overlap %s (UPDATE section "
                  "SET offset = NULL WHERE name = '%s' leaves the place to the manager)",
                  section->name, (unsigned long long)section->offset,
                  (unsigned long long)section->bytes, what, section->name);
}
