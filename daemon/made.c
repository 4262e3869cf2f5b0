/* SPDX-License-Identifier: Apache-2.0
 *
 * Which sections were made at run time, how they change, and the end of those that were to last as
 * long as a lease.
 */
#include "made.h"
#include "journal.h"
#include "made_rows.h"
#include "manager.h"
#include "resolve.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IDS_AT_ONCE 256 /* for each write of where they go on */

struct rows {
    struct table_section *at;
    size_t n;
};

static bool is_held(const struct manager *m, const char *worker) {
    const uint32_t index = layout_worker(&m->layout, worker);
    return index != SHM_NONE && leases_peek(m, index) != NULL;
}

/* ---- found again by a manager that starts */

static const struct table_section *find_id(const struct table *table, uint64_t id) {
    for (size_t i = made_first(table); i < table->sections_n; i++)
        if (table->sections[i].id == id)
            return &table->sections[i];
    return NULL;
}

/* What runs is what its directory says; only a group's name stands elsewhere. */
static int recall_running(const struct manager *m, const struct table *good, struct rows *ret) {
    int r = made_of_layout(&m->layout, &ret->at, &ret->n);
    for (size_t i = 0; r == 0 && i < ret->n; i++) {
        const struct table_section *known = find_id(good, ret->at[i].id);
        if (known == NULL)
            continue;
        memcpy(ret->at[i].read_group, known->read_group, sizeof known->read_group);
        memcpy(ret->at[i].write_group, known->write_group, sizeof known->write_group);
    }
    return r;
}

/* A segment that is made anew gets what the last one had, as far as it goes in there. */
static bool fits(const struct table *wanted, struct table_section *row) {
    char why[512];
    struct table one = {.sections = row, .sections_n = 1};
    int r = made_check(wanted, row, why, sizeof why);
    if (r == 0 && made_charge(row) > wanted->size) {
        snprintf(why, sizeof why, "section '%s': the segment is too small for it", row->name);
        r = -EINVAL;
    }
    if (r < 0)
        journal(LOG_WARNING, JOURNAL_TROUBLE, "made at run time, and dropped: %s", why);
    else if (resolve_groups(&one, why, sizeof why) < 0) /* then nobody else reads it */
        journal(LOG_WARNING, JOURNAL_TROUBLE, "made at run time: %s", why);
    return r == 0;
}

static int recall_saved(const struct table *wanted, const struct table *good, struct rows *ret) {
    const size_t from = made_first(good);
    ret->at = calloc(good->sections_n - from + 1, sizeof *ret->at);
    if (ret->at == NULL)
        return -ENOMEM;
    for (size_t i = from; i < good->sections_n; i++) {
        struct table_section row = good->sections[i];
        if (fits(wanted, &row))
            ret->at[ret->n++] = row;
    }
    return 0;
}

/* Those whose lease ended while no manager ran are gone. */
static void drop_lapsed(const struct manager *m, struct rows *rows) {
    size_t kept = 0;
    for (size_t i = 0; i < rows->n; i++)
        if (!rows->at[i].transient || is_held(m, rows->at[i].owner))
            rows->at[kept++] = rows->at[i];
    rows->n = kept;
}

static int recall(const struct manager *m, const struct table *wanted, struct rows *ret) {
    struct table good = {0};
    int r = state_db_good_table(m->state, &good);
    if (r == -ENOENT || r == -EBADMSG || m->segment.adopted) /* it may be damaged or gone */
        r = 0;
    if (r == 0)
        r = m->segment.adopted ? recall_running(m, &good, ret) : recall_saved(wanted, &good, ret);
    table_clear(&good);
    if (r == 0)
        drop_lapsed(m, ret);
    return r;
}

/* ---- beside people's table */

int made_add(struct manager *m, struct table *wanted, char *error, size_t error_bytes) {
    struct rows recalled = {0}, rows = {0};
    int r = 0;
    if (m->table.size != 0) {
        const size_t from = made_first(&m->table);
        rows = (struct rows){m->table.sections + from, m->table.sections_n - from};
    } else {
        r = recall(m, wanted, &recalled);
        rows = recalled;
    }
    if (r < 0)
        snprintf(error, error_bytes, "%.300s: what was made at run time can't be read: %s",
                 m->config.state, strerror(-r));
    else
        r = made_merge(wanted, rows.at, rows.n, error, error_bytes);
    free(recalled.at);
    return r;
}

int made_table(const struct manager *m, struct table *ret) {
    const struct table *from = &m->table;
    void *workers = calloc(from->workers_n + 1, sizeof *from->workers);
    void *sections = calloc(from->sections_n + 1, sizeof *from->sections);
    if (workers == NULL || sections == NULL) {
        free(workers);
        free(sections);
        return -ENOMEM;
    }
    if (from->workers_n > 0)
        memcpy(workers, from->workers, from->workers_n * sizeof *from->workers);
    if (from->sections_n > 0)
        memcpy(sections, from->sections, from->sections_n * sizeof *from->sections);
    *ret = *from;
    ret->workers = workers;
    ret->sections = sections;
    return 0;
}

int made_next_id(struct manager *m, uint64_t *ret) {
    struct made *made = &m->made;
    if (made->next_id == made->ids_end) {
        uint64_t from = (uint64_t)state_db_recall(m->state, "made_ids", 0);
        if (from < SHM_SECTION_ID_MADE)
            from = SHM_SECTION_ID_MADE;
        for (uint32_t i = 0; i < m->layout.sections_used; i++) /* a state.db may be new, or old */
            if (m->layout.sections[i].section_id >= from)
                from = m->layout.sections[i].section_id + 1;
        int r = state_db_remember(m->state, "made_ids", (int64_t)(from + IDS_AT_ONCE));
        if (r < 0)
            return r;
        made->next_id = from;
        made->ids_end = from + IDS_AT_ONCE;
    }
    *ret = made->next_id++;
    return 0;
}

/* ---- what is in force changes */

static int plan(struct manager *m, const struct table *table, uint64_t given_up, struct plan *ret) {
    struct moves moves;
    const uint32_t slot = given_up == 0 ? SHM_NONE : layout_section_by_id(&m->layout, given_up);
    bool *left = calloc(m->layout.sections_used + 1, sizeof *left);
    int r = left == NULL ? -ENOMEM : moves_gather(m, table, true, &moves);
    if (r == 0) {
        if (slot != SHM_NONE)
            left[slot] = true;
        moves.facts.given_up = left;
        r = plan_make(ret, &m->layout, table, &moves.facts);
        moves_clear(&moves);
    }
    free(left);
    return r < 0 && ret->full ? -ENOSPC : r;
}

int made_publish(struct manager *m, const char *who, const char *what, struct table *table,
                 uint64_t given_up, char *error, size_t error_bytes) {
    struct plan next = {0};
    int r = plan(m, table, given_up, &next);
    if (r < 0)
        snprintf(error, error_bytes, "%s", r == -ENOMEM ? "out of memory" : next.error);
    else if (next.next.generation != m->layout.generation)
        r = apply_layout(m, who, what, &next.next, table, error, error_bytes);
    plan_clear(&next);
    if (r < 0)
        return r;
    table_clear(&m->table);
    m->table = *table;
    *table = (struct table){0};
    manager_notify_status(m);
    return 0;
}

/* ---- with a lease */

/* `worker` SHM_NONE: any. */
static bool has_lapsed(const struct manager *m, const struct shm_section *section,
                       uint32_t worker) {
    return layout_place_in_force(section->state) && made_is(section->section_id) &&
           (section->flags & SHM_SECTION_TRANSIENT) != 0 &&
           (worker == SHM_NONE || section->owner_index == worker) &&
           leases_peek(m, section->owner_index) == NULL;
}

static bool any_lapsed(const struct manager *m, uint32_t worker) {
    for (uint32_t i = 0; i < m->layout.sections_used; i++)
        if (has_lapsed(m, &m->layout.sections[i], worker))
            return true;
    return false;
}

/* Takes their rows out; in one line, for the history. */
static void take_out(const struct manager *m, uint32_t worker, struct table *table, char *what,
                     size_t bytes) {
    size_t at = 0, n = 0;
    what[0] = '\0';
    for (size_t i = made_first(table), kept = i;; i++) {
        if (i == table->sections_n) {
            table->sections_n = kept;
            break;
        }
        const struct table_section *row = &table->sections[i];
        const uint32_t slot = row->transient ? layout_section_by_id(&m->layout, row->id) : SHM_NONE;
        if (slot == SHM_NONE || !has_lapsed(m, &m->layout.sections[slot], worker))
            table->sections[kept++] = *row;
        else if (n++ < 8 && at < bytes)
            at += (size_t)snprintf(what + at, bytes - at, "%s '%s'", n == 1 ? "dropped" : ",",
                                   row->name);
    }
    if (n > 8 && at < bytes)
        at += (size_t)snprintf(what + at, bytes - at, ", and %zu more", n - 8);
    if (at < bytes)
        snprintf(what + at, bytes - at, ", as the lease that %s to last as long as is over",
                 n == 1 ? "it was" : "they were");
}

static void look(struct manager *m, uint32_t worker) {
    struct table table = {0};
    char what[900], error[512] = "out of memory";
    if (!any_lapsed(m, worker))
        return;
    int r = made_table(m, &table);
    if (r == 0) {
        take_out(m, worker, &table, what, sizeof what);
        r = made_publish(m, "the manager", what, &table, 0, error, sizeof error);
    }
    table_clear(&table);
    if (r < 0 && !m->made.stuck) /* once: it is tried again every second */
        journal(LOG_WARNING, JOURNAL_TROUBLE,
                "sections whose worker's lease is over can't be dropped yet: %s", error);
    m->made.stuck = r < 0;
}

void made_look(struct manager *m) {
    look(m, SHM_NONE);
}

void made_before_grant(struct manager *m, uint32_t worker) {
    look(m, worker);
}
