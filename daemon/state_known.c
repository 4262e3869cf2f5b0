/* SPDX-License-Identifier: Apache-2.0
 *
 * What the items in force are known to say, as this process wrote them itself: an edit that changes
 * one row of thousands need not look at all the others in the file again.  It is known only from an
 * edit's done row to the next intent; whatever goes wrong in between, the items are read.  It takes
 * some 800 bytes for each section.
 */
#include "state_parts.h"

#include <stdlib.h>
#include <string.h>

/* The array goes on being used; NULL: no memory, and it is as it was. */
static void *keep(void *array, const void *from, size_t n, size_t bytes) {
    void *grown = reallocarray(array, n + 1, bytes);
    if (grown != NULL && n > 0)
        memcpy(grown, from, n * bytes);
    return grown;
}

static bool keep_layout(struct layout *to, const struct layout *from) {
    struct layout kept = *from;
    kept.sections = keep(to->sections, from->sections, from->sections_used, sizeof *to->sections);
    if (kept.sections == NULL)
        return false;
    to->sections = kept.sections;
    kept.arenas = keep(to->arenas, from->arenas, from->arenas_used, sizeof *to->arenas);
    if (kept.arenas == NULL)
        return false;
    to->arenas = kept.arenas;
    kept.workers = keep(to->workers, from->workers, from->workers_used, sizeof *to->workers);
    if (kept.workers == NULL)
        return false;
    *to = kept;
    return true;
}

static bool keep_table(struct table *to, const struct table *from) {
    struct table kept = *from;
    kept.workers = keep(to->workers, from->workers, from->workers_n, sizeof *to->workers);
    if (kept.workers == NULL)
        return false;
    to->workers = kept.workers;
    kept.sections = keep(to->sections, from->sections, from->sections_n, sizeof *to->sections);
    if (kept.sections == NULL)
        return false;
    *to = kept;
    return true;
}

void state_known_intend(struct state_db *db, const struct layout *layout, const struct table *table,
                        int64_t edit) {
    struct state_known *known = &db->known;
    known->in_force = false;
    known->edit =
        keep_layout(&known->layout, layout) && keep_table(&known->table, table) ? edit : 0;
}

void state_known_done(struct state_db *db, int64_t edit) {
    db->known.in_force = edit == db->known.edit;
}

void state_known_forget(struct state_db *db) {
    layout_clear(&db->known.layout);
    table_clear(&db->known.table);
    db->known = (struct state_known){0};
}
