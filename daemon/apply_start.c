/* SPDX-License-Identifier: Apache-2.0
 *
 * Which table runs at start: the one in the file, the last good one when that is bad, or an empty
 * one where there never was any.
 */
#include "apply_parts.h"
#include "attempt.h"
#include "include.h"
#include "journal.h"
#include "made_rows.h"
#include "manager.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    int r = apply_read(m, ret);
    if (r == 0 && made)
        r = keep_good_table(m, ret);
    if (r == 0)
        return 0;
    apply_refuse(m, "start", r);
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

/* What the table asks for; -EINVAL, -EBUSY: it can't follow what runs, and the verdict says why. */
static int apply_own(struct manager *m, struct table *table) {
    struct wanted w = {.table = *table};
    struct plan plan = {0};
    *table = (struct table){0};
    int r = attempt_check(m, &w.table);
    if (r == 0) {
        attempt_begin(m, ATTEMPT_START, &w.table);
        r = apply_wanted(m, "start", false, &w, &plan);
        attempt_end(m);
    }
    plan_clear(&plan);
    wanted_clear(&w);
    return r;
}

static int apply_good(struct manager *m) {
    struct wanted w = {0};
    struct plan plan = {0};
    int r = fall_back(m, &w.table);
    if (r == 0)
        r = apply_wanted(m, "start", false, &w, &plan);
    plan_clear(&plan);
    wanted_clear(&w);
    return r;
}

int apply_start(struct manager *m, struct table *table) {
    if (runs_a_strangers(m, table))
        return refuse_strangers(m);
    const bool told = m->verdict.error[0] != '\0'; /* it couldn't be read */
    const int own = told ? -EINVAL : apply_own(m, table);
    int r = own;
    if (own < 0 && m->segment.removed) /* in the midst of being replaced: the next start goes on */
        return own;
    if (own < 0) { /* right by itself, perhaps, but it can't follow what runs */
        const struct verdict bad = m->verdict;
        r = apply_good(m);
        const struct verdict failed = m->verdict;
        m->verdict = bad;
        if (!told)
            apply_refuse(m, "start", own);
        if (r < 0)
            m->verdict = failed;
    }
    if (r == 0)
        remember_segment(m);
    return r;
}
