/* SPDX-License-Identifier: Apache-2.0
 *
 * Stale and fresh again, for the journal.  Readers find out by themselves, from each value's time;
 * this is for whoever looks at the plant afterwards.  What is remembered is not kept over a
 * restart: a new manager says once more what it finds stale.
 */
#include "stale.h"
#include "core/directory.h"
#include "core/restored.h"
#include "journal.h"
#include "manager.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGES_MAX 50u /* a look; a network that is down makes everything stale at once */

#define MS_NS UINT64_C(1000000)

static int reserve(struct stale *stale, uint32_t slots) {
    if (slots <= stale->slots)
        return 0;
    struct stale_mark *marks = reallocarray(stale->marks, slots, sizeof *marks);
    if (marks == NULL)
        return -ENOMEM;
    memset(marks + stale->slots, 0, (slots - stale->slots) * sizeof *marks);
    stale->marks = marks;
    stale->slots = slots;
    return 0;
}

/* The newest value's version and time; false when there is none, or none that can be read now. */
static bool newest(const struct manager *m, const struct shm_section *section,
                   struct snapshot_value *ret) {
    struct segment_place place;
    struct snapshot_reader reader;
    const void *data;
    if (segment_place(&m->segment, &m->layout, section, &place) < 0)
        return false;
    snapshot_reader_init(&reader, &place.now);
    return snapshot_view(&reader, &data, ret) == 0 && ret->mono_ns != 0;
}

static void say(struct manager *m, const struct shm_section *section, const struct stale_mark *mark,
                const struct snapshot_value *value, uint64_t now_ns) {
    if (!mark->stale) {
        journal_section(LOG_NOTICE, JOURNAL_FRESH, section->name, section->owner,
                        "section '%s': fresh again, with version %llu, after %.1f s", section->name,
                        (unsigned long long)value->version,
                        (double)(now_ns - mark->since_ns) / 1e9);
        return;
    }
    const struct lease *lease = leases_peek(m, section->owner_index);
    char who[96] = "which nobody holds";
    if (lease != NULL)
        snprintf(who, sizeof who, "which process %u holds", lease->record.pid);
    journal_section(LOG_WARNING, JOURNAL_STALE, section->name, section->owner,
                    "section '%s': stale; its newest value, version %llu, is %.1f s old (stale_ms "
                    "is %llu); its writer is worker '%s', %s",
                    section->name, (unsigned long long)value->version,
                    (double)snapshot_age(value) / 1e9, (unsigned long long)section->stale_ms,
                    section->owner, who);
}

/* True when it changed sides. */
static bool look(struct manager *m, const struct shm_section *section, struct stale_mark *mark,
                 struct snapshot_value *value, uint64_t now_ns) {
    if (!newest(m, section, value))
        return false;
    uint64_t age_ns = snapshot_age(value);
    bool stale = age_ns / MS_NS >= section->stale_ms;
    /* As readers see it: a value that came in time, though late for this look, was never stale. */
    mark->due_ns = stale ? 0 : now_ns - age_ns + section->stale_ms * MS_NS;
    if (stale == mark->stale)
        return false;
    mark->stale = stale;
    if (stale)
        mark->since_ns = now_ns - age_ns;
    return true;
}

void stale_look(struct manager *m, uint64_t now_ns) {
    const struct layout *layout = &m->layout;
    unsigned changes = 0;
    if (reserve(&m->stale, layout->sections_used) < 0)
        return; /* the next look may find memory */
    for (uint32_t i = 0; i < layout->sections_used; i++) {
        const struct shm_section *section = &layout->sections[i];
        struct stale_mark *mark = &m->stale.marks[i];
        struct snapshot_value value;
        if (section->stale_ms == 0 || section->kind != SHM_KIND_SNAPSHOT ||
            !layout_place_in_force(section->state)) {
            *mark = (struct stale_mark){0};
            continue;
        }
        if (mark->section_id != section->section_id || mark->incarnation != section->incarnation)
            *mark = (struct stale_mark){.section_id = section->section_id,
                                        .incarnation = section->incarnation};
        if (mark->stale_ms != section->stale_ms)
            mark->due_ns = 0;
        mark->stale_ms = section->stale_ms;
        if (now_ns < mark->due_ns || !look(m, section, mark, &value, now_ns))
            continue;
        if (changes++ < MESSAGES_MAX)
            say(m, section, mark, &value, now_ns);
    }
    if (changes > MESSAGES_MAX)
        journal(LOG_WARNING, JOURNAL_STALE,
                "%u more sections became stale, or fresh again, in the same second (shmtool check)",
                changes - MESSAGES_MAX);
}

void stale_clear(struct stale *stale) {
    free(stale->marks);
    *stale = (struct stale){0};
}
