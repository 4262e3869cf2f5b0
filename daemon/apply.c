/* SPDX-License-Identifier: Apache-2.0
 *
 * From the table to the segment: read, plan, remember the intent, prepare the memory, flip,
 * remember that it is done.  Whole or not at all.
 */
#include "core/futex.h"
#include "include.h"
#include "journal.h"
#include "made_rows.h"
#include "manager.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

/* A table and what has to be looked up for it. */
struct wanted {
    struct table table;
    uid_t *uids; /* by worker; (uid_t)-1 = any */
    gid_t group;
    bool group_missing;
};

static void wanted_clear(struct wanted *w) {
    table_clear(&w->table);
    free(w->uids);
    *w = (struct wanted){0};
}

static int resolve_user(const struct table_worker *worker, uid_t *uid, char *error, size_t bytes) {
    *uid = (uid_t)-1;
    if (worker->user[0] == '\0')
        return 0;
    char *end;
    unsigned long number = strtoul(worker->user, &end, 10);
    if (*end == '\0' && number < UINT32_MAX) {
        *uid = (uid_t)number;
        return 0;
    }
    const struct passwd *account = getpwnam(worker->user);
    if (account == NULL) {
        snprintf(error, bytes,
                 "worker '%s': there is no account '%s' on this host: make it, or change "
                 "worker.user",
                 worker->name, worker->user);
        return -EINVAL;
    }
    *uid = account->pw_uid;
    return 0;
}

/* A segment whose group doesn't exist (a manager that somebody runs by hand) is for the manager's
 * own group. */
static gid_t resolve_group(const char *name, bool *missing) {
    *missing = false;
    char *end;
    unsigned long number = strtoul(name, &end, 10);
    if (*name != '\0' && *end == '\0' && number < UINT32_MAX)
        return (gid_t)number;
    const struct group *group = *name == '\0' ? NULL : getgrnam(name);
    if (group != NULL)
        return group->gr_gid;
    *missing = true;
    return getegid();
}

/* Who may read what, by number, as the kernel knows a peer's groups. */
int apply_readers(struct table *table, char *error, size_t bytes) {
    for (size_t i = 0; i < table->sections_n; i++) {
        struct table_section *section = &table->sections[i];
        bool missing = false;
        section->read_class = 0;
        if (section->read_group[0] != '\0')
            section->read_class = (uint32_t)resolve_group(section->read_group, &missing) + 1;
        if (missing) {
            snprintf(error, bytes,
                     "section '%s': there is no group '%s' on this host: make it (groupadd), or "
                     "change section.read_group",
                     section->name, section->read_group);
            return -EINVAL;
        }
    }
    return 0;
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
    return apply_readers(&w->table, error, bytes);
}

static int read_table(struct manager *m, struct table *ret) {
    struct verdict *v = &m->verdict;
    /* A connection whose file was replaced goes on reading the old one: open it anew each time. */
    table_db_close(m->table_db);
    m->table_db = NULL;
    v->outcome = VERDICT_UNREADABLE;
    int r = table_db_open(&m->table_db, m->config.table, v->error, sizeof v->error);
    if (r < 0)
        return r;
    v->version = table_db_version(m->table_db);
    r = table_db_load(m->table_db, ret, v->error, sizeof v->error);
    if (r == -EINVAL)
        v->outcome = VERDICT_REJECTED;
    return r;
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
    struct verdict before = m->verdict;
    int r = read_table(m, &w.table);
    if (r == 0)
        r = check_running(m, &w.table, m->verdict.error, sizeof m->verdict.error);
    if (r == 0)
        r = resolve(&w, m->verdict.error, sizeof m->verdict.error);
    if (r < 0)
        snprintf(plan->error, sizeof plan->error, "%s", m->verdict.error);
    else
        r = make_plan(m, &w.table, force, plan);
    m->verdict = before;
    wanted_clear(&w);
    return r;
}

static void describe(const struct plan *plan, char *text, size_t bytes) {
    size_t at = 0;
    text[0] = '\0';
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
int apply_publish(struct manager *m, const char *who, const char *what, const struct layout *next,
                  const struct table *table, char *error, size_t error_bytes) {
    int64_t edit;
    uint64_t where;
    struct layout copy = {0};
    int r = layout_copy(&copy, next);
    if (r == 0)
        r = state_db_intend(m->state, who, what, next, table, &edit);
    if (r == 0) {
        /* What nobody has published yet isn't damaged, and its magic is stored last. */
        if (image_header(&m->segment.image)->generation != 0)
            m->repairs += image_repair(&m->segment.image, &where) > 0;
        r = image_publish(&m->segment.image, next, clock_real_ns());
    }
    if (r < 0) {
        layout_clear(&copy);
        snprintf(error, error_bytes, "the edit can't be written down in %.300s: %s",
                 m->config.state, strerror(-r));
        return r;
    }
    r = state_db_done(m->state, edit);
    if (r < 0) /* the generation in the header will tell the next manager */
        journal(LOG_WARNING, JOURNAL_TROUBLE, "%s: %s", m->config.state, strerror(-r));
    layout_clear(&m->layout);
    m->layout = copy;
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
    }
    segment_settle(&m->segment, &m->layout); /* as it is now, whatever became of it */
    segment_leave(replaced, r == 0 ? &m->layout : NULL);
    if (r == 0)
        lock_memory(m, table);
    return r;
}

static int carry_out(struct manager *m, const char *who, const struct wanted *w,
                     struct plan *plan) {
    char what[512] = "a fresh directory";
    struct verdict *v = &m->verdict;
    if (plan->changes_n > 0)
        describe(plan, what, sizeof what);
    return apply_layout(m, who, what, &plan->next, &w->table, v->error, sizeof v->error);
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

static int apply_wanted(struct manager *m, const char *who, bool force, struct wanted *w,
                        struct plan *plan) {
    struct verdict *v = &m->verdict;
    v->outcome = VERDICT_REJECTED;
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
    return 0;
}

static void reject(struct manager *m, const char *who) {
    state_db_rejected(m->state, who, m->verdict.error);
    journal(LOG_ERR, JOURNAL_REJECTED, "table rejected: %s", m->verdict.error);
}

int apply_table(struct manager *m, const char *who, bool force, struct plan *plan) {
    struct wanted w = {0};
    struct plan own = {0};
    int r = read_table(m, &w.table);
    if (r == 0)
        r = apply_wanted(m, who, force, &w, plan != NULL ? plan : &own);
    if (r < 0)
        reject(m, who);
    else
        dismiss(m, who);
    plan_clear(&own);
    wanted_clear(&w);
    manager_notify_status(m);
    return r;
}

/* ---- at start */

static void empty_table(struct manager *m, struct table *ret) {
    *ret = (struct table){.key = m->config.key_given ? m->config.key : SHM_DEFAULT_KEY,
                          .size = UINT64_C(64) << 20,
                          .backend = SHM_BACKEND_SYSV,
                          .mode = 0660,
                          .auto_apply = true};
    snprintf(ret->group_name, sizeof ret->group_name, "shm-workers");
}

/* The file is gone, but there was a table once: what it said is not taken for unsaid. */
static int keep_good_table(struct manager *m, struct table *ret) {
    struct table good = {0};
    bool lost = state_db_good_table(m->state, &good) == 0 && made_first(&good) > 0;
    table_clear(&good);
    if (!lost)
        return 0;
    table_clear(ret);
    m->verdict.outcome = VERDICT_REJECTED;
    snprintf(m->verdict.error, sizeof m->verdict.error,
             "%.300s was gone, and an empty one was made: the last good table goes on; shmtool "
             "table revert brings its rows back, shmtool reload applies the empty one",
             m->config.table);
    return -EINVAL;
}

int apply_choose(struct manager *m, struct table *ret) {
    char error[512];
    bool made = table_db_create(m->config.table, error, sizeof error) == 0;
    if (made)
        journal(LOG_INFO, JOURNAL_APPLIED, "%s: made an empty table (shmtool table example)",
                m->config.table);
    include_files(&m->config);
    int r = read_table(m, ret);
    if (r == 0 && made)
        r = keep_good_table(m, ret);
    if (r == 0)
        return 0;
    reject(m, "start");
    r = state_db_good_table(m->state, ret);
    if (r == -ENOENT) {
        empty_table(m, ret);
        r = 0;
    }
    if (r < 0) /* there may be one, with another key */
        journal(LOG_ERR, JOURNAL_TROUBLE, "%s: the last good table can't be read: %s",
                m->config.state, strerror(-r));
    return r;
}

static bool anything_runs(const struct layout *layout) {
    for (uint32_t i = 0; i < layout->sections_used; i++)
        if (layout_place_in_force(layout->sections[i].state))
            return true;
    return false;
}

/* The last good table; an empty one where there never was one, but not if that takes away what
 * runs.
 */
static int fall_back(struct manager *m, struct table *ret) {
    int r = state_db_good_table(m->state, ret);
    if (r == -ENOENT && !anything_runs(&m->layout)) {
        empty_table(m, ret);
        return 0;
    }
    if (r < 0) {
        char why[sizeof m->verdict.error];
        memcpy(why, m->verdict.error, sizeof why);
        snprintf(m->verdict.error, sizeof m->verdict.error,
                 "no good table is known (%s), and what runs is left as it is: mend the table: "
                 "%.350s",
                 strerror(-r), why);
    }
    return r;
}

static bool has_section(const struct table *table, const char *name) {
    for (size_t i = 0; i < table->sections_n; i++)
        if (strcmp(table->sections[i].name, name) == 0)
            return true;
    return false;
}

/* Does the segment run what neither this state directory nor its table ever heard of?  With a wrong
 * --state-dir or --key everything would be taken away. */
static bool runs_a_strangers(const struct manager *m, const struct table *table) {
    const struct layout *layout = &m->layout;
    uint64_t id = image_header(&m->segment.image)->segment_id;
    if (state_db_recall(m->state, "segment_id", 0) == (int64_t)id)
        return false;
    for (uint32_t i = 0; i < layout->sections_used; i++)
        if (layout_place_in_force(layout->sections[i].state) &&
            has_section(table, layout->sections[i].name))
            return false;
    return anything_runs(layout);
}

static int refuse_strangers(struct manager *m) {
    snprintf(m->verdict.error, sizeof m->verdict.error,
             "the sections that run under key 0x%08x are in neither %.150s nor %.150s: give the "
             "--state-dir (or --key) that belongs to them, or remove the segment (ipcrm -M 0x%08x)",
             m->key, m->config.table, m->config.state, m->key);
    return -EPERM;
}

/* One that was adopted without a state.db is ours from here on. */
static void remember_segment(struct manager *m) {
    const struct shm_header *h = image_header(&m->segment.image);
    if (state_db_recall(m->state, "segment_id", 0) == (int64_t)h->segment_id)
        return;
    state_db_remember(m->state, "segment_id", (int64_t)h->segment_id);
    state_db_remember(m->state, "created_real_ns", (int64_t)h->created_real_ns);
}

int apply_start(struct manager *m, struct table *table) {
    if (runs_a_strangers(m, table))
        return refuse_strangers(m);
    struct wanted w = {.table = *table};
    struct plan plan = {0};
    struct verdict bad = m->verdict;
    bool was_bad = bad.error[0] != '\0';
    *table = (struct table){0};
    int r = 0;
    if (was_bad) {
        table_clear(&w.table);
        r = fall_back(m, &w.table);
    }
    if (r == 0)
        r = apply_wanted(m, "start", false, &w, &plan);
    if (r < 0 && !was_bad) {
        /* Right by itself, but it can't follow what runs: the last good one stays. */
        reject(m, "start");
        bad = m->verdict;
        was_bad = true;
        plan_clear(&plan);
        wanted_clear(&w);
        r = fall_back(m, &w.table);
        if (r == 0)
            r = apply_wanted(m, "start", false, &w, &plan);
    }
    if (r == 0)
        remember_segment(m);
    if (was_bad && r == 0)
        m->verdict = bad;
    plan_clear(&plan);
    wanted_clear(&w);
    return r;
}
