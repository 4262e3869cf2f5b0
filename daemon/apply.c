/* SPDX-License-Identifier: Apache-2.0
 *
 * From the table to the segment: read, plan, remember the intent, prepare the memory, flip,
 * remember that it is done.  Whole or not at all.
 */
#include "apply_parts.h"
#include "attempt.h"
#include "carry.h"
#include "core/futex.h"
#include "edits.h"
#include "journal.h"
#include "made_rows.h"
#include "manager.h"
#include "resolve.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

void wanted_clear(struct wanted *w) {
    table_clear(&w->table);
    free(w->uids);
    *w = (struct wanted){0};
}

static int resolve(struct wanted *w, char *error, size_t bytes) {
    w->uids = calloc(w->table.workers_n + 1, sizeof *w->uids);
    if (w->uids == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < w->table.workers_n; i++) {
        int r = resolve_user(&w->table.workers[i], &w->uids[i], error, bytes);
        if (r < 0)
            return r;
    }
    w->group = resolve_group(w->table.group_name, &w->group_missing);
    return resolve_groups(&w->table, error, bytes);
}

static int open_table(const struct manager *m, struct table_db **ret, struct verdict *v) {
    v->outcome = VERDICT_UNREADABLE;
    v->passing = true;
    return table_db_open(ret, m->config.table, v->error, sizeof v->error);
}

static int load_table(struct table_db *db, struct table *ret, struct verdict *v) {
    v->version = table_db_version(db);
    int r = table_db_load(db, ret, v->error, sizeof v->error);
    v->outcome = r == -EINVAL ? VERDICT_REJECTED : VERDICT_UNREADABLE;
    v->passing = r < 0 && r != -EINVAL;
    return r;
}

/* A connection whose file or log was replaced goes on reading the old ones.  And a second one
 * beside it would cut the -shm that both find by its name, as this process's own locks don't stop
 * it: a SIGBUS for the first. */
static void drop_replaced(struct manager *m) {
    if (m->table_db == NULL || !table_db_replaced(m->table_db))
        return;
    table_db_close(m->table_db);
    m->table_db = NULL;
}

/* The connection stays otherwise: who is the last to close one has the file alone for a moment, and
 * an editor's shell would find it locked. */
int apply_read(struct manager *m, struct table *ret) {
    drop_replaced(m);
    if (m->table_db == NULL) {
        int r = open_table(m, &m->table_db, &m->verdict);
        if (r < 0)
            return r;
    }
    return load_table(m->table_db, ret, &m->verdict);
}

/* What no plan can change while the segment runs. */
static int check_running(const struct manager *m, const struct table *t, char *error,
                         size_t bytes) {
    if (!m->config.key_given && t->key != m->key) {
        snprintf(error, bytes,
                 "segment: key is 0x%08x and the segment that runs has 0x%08x: set it back, or "
                 "shmtool destroy and start again",
                 t->key, m->key);
        return -EINVAL;
    }
    return 0;
}

static int make_plan(struct manager *m, struct table *table, bool force, struct plan *plan) {
    struct moves moves;
    leases_rescan(m); /* an end may change the layout */
    int r = made_add(m, table, plan->error, sizeof plan->error);
    if (r == 0)
        r = moves_gather(m, table, force, &moves);
    if (r < 0)
        return r;
    r = plan_make(plan, &m->layout, table, &moves.facts);
    moves_clear(&moves);
    return r;
}

int apply_plan(struct manager *m, bool force, struct plan *plan) {
    struct wanted w = {0};
    struct table_db *db = NULL; /* with the manager's own, the edit would count as seen */
    struct verdict v;
    drop_replaced(m);
    int r = open_table(m, &db, &v);
    if (r == 0)
        r = load_table(db, &w.table, &v);
    table_db_close(db);
    if (r == 0)
        r = check_running(m, &w.table, v.error, sizeof v.error);
    if (r == 0)
        r = resolve(&w, v.error, sizeof v.error);
    if (r < 0)
        snprintf(plan->error, sizeof plan->error, "%s", v.error);
    else
        r = make_plan(m, &w.table, force, plan);
    wanted_clear(&w);
    return r;
}

static void describe(const struct plan *plan, char *text, size_t bytes) {
    size_t at = (size_t)snprintf(text, bytes, plan->changes_n == 0 ? "a fresh directory" : "");
    for (size_t i = 0; i < plan->changes_n && at < bytes; i++) {
        if (i == 8) {
            snprintf(text + at, bytes - at, ", and %zu more", plan->changes_n - i);
            return;
        }
        at += (size_t)snprintf(text + at, bytes - at, "%s%s '%s'", i == 0 ? "" : ", ",
                               plan_action_name(plan->changes[i].action), plan->changes[i].name);
    }
}

static struct segment_wish wish_of(const struct manager *m, const struct wanted *w) {
    return (struct segment_wish){.key = m->key,
                                 .bytes = w->table.size,
                                 .runtime_dir = m->config.runtime_dir,
                                 .mode = w->table.mode,
                                 .group = w->group,
                                 .lock_memory = w->table.lock_memory,
                                 .state = m->state};
}

/* The flip and what is remembered around it. */
int apply_publish(struct manager *m, const char *who, const char *what, struct layout *next,
                  const struct table *table, char *error, size_t error_bytes) {
    int64_t edit;
    uint64_t where;
    const uint64_t now_ns = clock_real_ns();
    layout_stamp(next, now_ns);
    int r = state_db_intend(m->state, who, what, next, table, &edit);
    if (r == 0) {
        /* What nobody has published yet isn't damaged, and its magic is stored last. */
        if (image_header(&m->segment.image)->generation != 0)
            m->repairs += image_repair(&m->segment.image, &where) > 0;
        r = image_publish(&m->segment.image, next, now_ns);
    }
    if (r < 0) {
        snprintf(error, error_bytes, "the edit can't be written down in %.300s: %s",
                 m->config.state, strerror(-r));
        return r;
    }
    r = state_db_done(m->state, edit);
    if (r < 0) /* the generation in the header will tell the next manager */
        journal(LOG_WARNING, JOURNAL_TROUBLE, "%s: %s", m->config.state, strerror(-r));
    layout_clear(&m->layout);
    m->layout = *next;
    *next = (struct layout){.generation = m->layout.generation};
    leases_relate(m);
    segment_wake_left(&m->segment, &m->layout);
    journal(LOG_INFO, JOURNAL_APPLIED, "generation %llu: %s",
            (unsigned long long)m->layout.generation, what);
    return 0;
}

/* The edit is in force: what can't be locked now isn't locked. */
static void lock_memory(struct manager *m, const struct table *table) {
    char error[256];
    if ((table->lock_memory || m->table.lock_memory) &&
        segment_lock(&m->segment, &m->layout, table->lock_memory, error, sizeof error) < 0)
        journal(LOG_WARNING, JOURNAL_TROUBLE, "%s", error);
}

int apply_layout(struct manager *m, const char *who, const char *what, struct layout *next,
                 const struct table *table, char *error, size_t error_bytes) {
    struct relocation *replaced;
    int r = segment_prepare(&m->segment, &m->layout, next, &replaced, error, error_bytes);
    if (r == 0) {
        if (!m->segment.adopted && image_header(&m->segment.image)->generation == 0)
            checkpoint_restore(m, next);
        r = apply_publish(m, who, what, next, table, error, error_bytes);
        m->verdict.passing = r < 0; /* state.db may have room later */
    }
    if (r == 0)
        carry_done(&m->segment, &m->layout);
    else
        carry_undo(&m->segment, &m->layout);
    segment_settle(&m->segment, &m->layout); /* as it is now, whatever became of it */
    segment_leave(replaced, r == 0 ? &m->layout : NULL);
    if (r == 0)
        lock_memory(m, table);
    return r;
}

static int carry_out(struct manager *m, const char *who, const struct wanted *w,
                     struct plan *plan) {
    char what[512];
    struct verdict *v = &m->verdict;
    describe(plan, what, sizeof what);
    if (plan->next.segment_bytes == m->layout.segment_bytes)
        return apply_layout(m, who, what, &plan->next, &w->table, v->error, sizeof v->error);
    const struct edit edit = {who, what, &plan->next, &w->table, wish_of(m, w)};
    return replace_segment(m, &edit, v->error, sizeof v->error);
}

static bool same_workers(const struct table *a, const struct table *b) {
    for (size_t i = 0; i < a->workers_n && i < b->workers_n; i++) {
        const struct table_worker *x = &a->workers[i], *y = &b->workers[i];
        if (strcmp(x->name, y->name) != 0 || strcmp(x->user, y->user) != 0 ||
            x->instances != y->instances || x->may_create != y->may_create)
            return false;
    }
    return a->workers_n == b->workers_n;
}

static bool same_segment(const struct table *a, const struct table *b) {
    return a->key == b->key && a->size == b->size && a->mode == b->mode &&
           a->lock_memory == b->lock_memory && a->auto_apply == b->auto_apply &&
           strcmp(a->group_name, b->group_name) == 0;
}

/* Rows that change nothing in the segment (a worker's user, say) are remembered all the same. */
static int remember(struct manager *m, const char *who, const struct table *table) {
    struct table good = {0};
    bool same = state_db_good_table(m->state, &good) == 0 && same_segment(&good, table) &&
                same_workers(&good, table);
    table_clear(&good);
    if (same)
        return 0;
    int64_t edit;
    int r = state_db_intend(m->state, who, "no section changes", &m->layout, table, &edit);
    return r < 0 ? r : state_db_done(m->state, edit);
}

static void take_group(struct manager *m, const struct wanted *w) {
    if (w->group_missing && !m->group_missing)
        journal(LOG_NOTICE, JOURNAL_TROUBLE,
                "there is no group '%s' on this host: only root, uid %u and gid %u may attach",
                w->table.group_name, geteuid(), w->group);
    m->group = w->group;
    m->group_missing = w->group_missing;
}

int apply_wanted(struct manager *m, const char *who, bool force, struct wanted *w,
                 struct plan *plan) {
    struct verdict *v = &m->verdict;
    v->outcome = VERDICT_REJECTED;
    v->passing = false;
    int r = check_running(m, &w->table, v->error, sizeof v->error);
    if (r == 0)
        r = resolve(w, v->error, sizeof v->error);
    if (r < 0)
        return r;
    r = make_plan(m, &w->table, force, plan);
    if (r < 0) {
        snprintf(v->error, sizeof v->error, "%s", r == -ENOMEM ? "out of memory" : plan->error);
        return r;
    }
    struct segment_wish wish = wish_of(m, w);
    r = segment_permit(&m->segment, &wish, v->error, sizeof v->error);
    if (r < 0)
        return r;
    if (image_header(&m->segment.image)->generation == 0) /* new, or rebuilt */
        plan->next.generation = m->layout.generation + 1;
    if (plan->next.generation != m->layout.generation)
        r = carry_out(m, who, w, plan);
    else
        r = remember(m, who, &w->table);
    if (r < 0)
        return r;
    take_group(m, w);
    if (m->table.lock_memory != w->table.lock_memory)
        lock_memory(m, &w->table);
    table_clear(&m->table);
    free(m->worker_uids);
    m->table = w->table;
    m->worker_uids = w->uids;
    *w = (struct wanted){0};
    v->outcome = VERDICT_APPLIED;
    v->error[0] = '\0';
    m->told = *v;
    return 0;
}

/* What is said over and over (the table can't be read, it still waits) is told once. */
void apply_refuse(struct manager *m, const char *who, int r) {
    struct verdict *v = &m->verdict;
    if ((r == -EBUSY || v->passing) && v->outcome == VERDICT_REJECTED && m->table.auto_apply)
        v->outcome = VERDICT_PENDING;
    const bool again = v->outcome == m->told.outcome && strcmp(v->error, m->told.error) == 0;
    m->told = *v;
    if (again && v->outcome != VERDICT_REJECTED && strcmp(who, EDITS_WHO) == 0)
        return;
    if (v->outcome == VERDICT_PENDING) {
        state_db_pending(m->state, who, v->error);
        journal(LOG_NOTICE, JOURNAL_PENDING, "table pending: %s", v->error);
    } else {
        state_db_rejected(m->state, who, v->error);
        journal(LOG_ERR, JOURNAL_REJECTED, "table rejected: %s", v->error);
    }
}

static int read_and_apply(struct manager *m, const char *who, bool force, struct plan *plan) {
    struct wanted w = {0};
    int r = apply_read(m, &w.table);
    if (r == 0)
        r = edits_check(m, who, &w.table);
    if (r == 0) {
        attempt_begin(m, ATTEMPT_RUNNING, &w.table);
        r = apply_wanted(m, who, force, &w, plan);
        attempt_end(m);
    }
    wanted_clear(&w);
    return r;
}

int apply_table(struct manager *m, const char *who, bool force, struct plan *plan) {
    struct plan own = {0};
    int r = read_and_apply(m, who, force, plan != NULL ? plan : &own);
    if (r < 0)
        apply_refuse(m, who, r);
    else
        dismiss(m, who);
    plan_clear(&own);
    manager_notify_status(m);
    return r;
}
