/* SPDX-License-Identifier: Apache-2.0
 *
 * Heads of sections that somebody wrote over, set right by the manager.
 */
#include "mend.h"
#include "journal.h"
#include "manager.h"

#include <stdlib.h>

static void mend_head(struct manager *m, const struct shm_section *section) {
    struct segment_place place;
    uint64_t version;
    if (segment_place(&m->segment, &m->layout, section, &place) < 0 ||
        !snapshot_mend(&place.now, &version))
        return;
    segment_wake(&m->segment, &m->layout, section);
    if (version > 0)
        journal_section(LOG_WARNING, JOURNAL_REPAIRED, section->name, section->owner,
                        "section '%s': somebody wrote over its head; its newest whole value, "
                        "version %llu, is back",
                        section->name, (unsigned long long)version);
    else
        journal_section(LOG_WARNING, JOURNAL_REPAIRED, section->name, section->owner,
                        "section '%s': somebody wrote over its head and all of its values; it is "
                        "empty",
                        section->name);
}

/* Not while a section is moving, as two places count then, and the end of the move drops the one
 * before. */
void mend_heads(struct manager *m, uint32_t worker) {
    bool *lingers = leases_lingering(m);
    for (uint32_t i = 0; lingers != NULL && i < m->layout.sections_used; i++) {
        const struct shm_section *section = &m->layout.sections[i];
        if (section->state == SHM_PLACE_LIVE && section->kind == SHM_KIND_SNAPSHOT &&
            (worker == SHM_NONE || section->owner_index == worker) &&
            !lingers[section->owner_index])
            mend_head(m, section);
    }
    free(lingers);
}
