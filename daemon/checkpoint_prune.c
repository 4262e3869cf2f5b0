/* SPDX-License-Identifier: Apache-2.0
 *
 * What is saved of sections that are gone, are not to be saved any more, or have another name.  It
 * is looked for once for each generation of the directory.
 */
#include "checkpoint.h"
#include "manager.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct pruning {
    struct manager *manager;
    struct checkpoint_places places;
    struct saved_value *orphans, *renamed;
    size_t orphans_n, renamed_n;
};

static int note(struct saved_value **values, size_t *n, const struct saved_value *value) {
    struct saved_value *more = reallocarray(*values, *n + 1, sizeof *more);
    if (more == NULL)
        return -ENOMEM;
    *values = more;
    more[(*n)++] = *value;
    return 0;
}

/* A value whose section was renamed is that section's: by its name a restore knows it. */
static int look_at_row(const struct saved_value *value, int64_t id, bool intact, void *where) {
    (void)id;
    struct pruning *p = where;
    const struct layout *layout = &p->manager->layout;
    const uint32_t slot = checkpoint_place(&p->places, value->section_id);
    if (slot == SHM_NONE)
        return note(&p->orphans, &p->orphans_n, value);
    if (!intact || strcmp(value->name, layout->sections[slot].name) == 0)
        return 0;
    const struct checkpoint_mark *mark = checkpoint_mark(&p->manager->checkpoint, layout, slot);
    if (mark == NULL)
        return -ENOMEM;
    return mark->known ? note(&p->renamed, &p->renamed_n, value) : 0;
}

static int rename_row(const struct pruning *p, struct saved_value *value) {
    const uint32_t slot = checkpoint_place(&p->places, value->section_id);
    const char *name = p->manager->layout.sections[slot].name;
    memset(value->name, 0, sizeof value->name); /* all of it is summed */
    memcpy(value->name, name, strnlen(name, sizeof value->name - 1));
    return state_save_rename(p->manager->state, value);
}

int checkpoint_prune(struct manager *m, bool *open) {
    struct checkpoint_run *run = &m->checkpoint.run;
    struct pruning p = {.manager = m};
    if (run->glob[0] != '\0' || m->checkpoint.pruned_gen == m->layout.generation)
        return 0;
    int r = checkpoint_places_sort(&p.places, &m->layout);
    if (r == 0)
        r = state_saved_each(m->state, look_at_row, &p);
    if (r == 0 && p.orphans_n + p.renamed_n > 0 && !*open) {
        r = state_save_begin(m->state);
        *open = r == 0;
    }
    for (size_t i = 0; r == 0 && i < p.orphans_n; i++)
        r = state_save_forget(m->state, p.orphans[i].section_id);
    for (size_t i = 0; r == 0 && i < p.renamed_n; i++)
        r = rename_row(&p, &p.renamed[i]);
    run->forgotten += (unsigned)p.orphans_n;
    free(p.orphans);
    free(p.renamed);
    free(p.places.at);
    return r;
}
