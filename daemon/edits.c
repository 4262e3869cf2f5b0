/* SPDX-License-Identifier: Apache-2.0
 *
 * Watching the table.
 */
#include "edits.h"
#include "identity.h"
#include "journal.h"
#include "made_rows.h"
#include "manager.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>

#define AGAIN_US 30000

struct edits {
    sd_event_source *inotify, *timer;
    const char *name; /* of the table in its directory */
    int64_t file;     /* identity_of() the one that was read last */
};

static bool differs(struct manager *m) {
    return m->verdict.passing || m->table_db == NULL ||
           table_db_changed(m->table_db, m->verdict.version);
}

void edits_look(struct manager *m) {
    if (m->table.auto_apply && differs(m))
        apply_table(m, EDITS_WHO, false, NULL);
}

void edits_retry(struct manager *m) {
    if (m->table.auto_apply && m->verdict.outcome == VERDICT_PENDING)
        apply_table(m, EDITS_WHO, false, NULL);
}

int edits_check(struct manager *m, const char *who, const struct table *table) {
    struct edits *edits = m->edits;
    const int64_t file = identity_of(AT_FDCWD, m->config.table);
    const bool by_itself = edits != NULL && strcmp(who, EDITS_WHO) == 0;
    if (by_itself && file != edits->file && made_first(table) == 0 && made_first(&m->table) > 0) {
        m->verdict.outcome = VERDICT_REJECTED;
        snprintf(m->verdict.error, sizeof m->verdict.error,
                 "%.300s is another file than before, and has no sections: what runs goes on; "
                 "shmtool table revert brings its rows back, shmtool reload applies the empty one",
                 m->config.table);
        return -EINVAL;
    }
    if (edits != NULL)
        edits->file = file;
    return 0;
}

/* ---- watching */

static int on_time(sd_event_source *source, uint64_t usec, void *userdata) {
    (void)source;
    (void)usec;
    edits_look(userdata);
    return 0;
}

/* Of the directory's other files none matters, nor does the -shm, into which readers write. */
static bool matters(const struct edits *edits, const struct inotify_event *event) {
    const size_t n = strlen(edits->name);
    return event->len == 0 ||
           (strncmp(event->name, edits->name, n) == 0 && strcmp(event->name + n, "-shm") != 0);
}

static int on_event(sd_event_source *source, const struct inotify_event *event, void *userdata) {
    (void)source;
    struct manager *m = userdata;
    if (!matters(m->edits, event))
        return 0;
    edits_look(m);
    sd_event_source_set_time_relative(m->edits->timer, AGAIN_US);
    sd_event_source_set_enabled(m->edits->timer, SD_EVENT_ONESHOT);
    return 0;
}

static int watch(struct manager *m) {
    struct edits *edits = m->edits;
    char dir[PATH_MAX];
    snprintf(dir, sizeof dir, "%s", m->config.table);
    char *slash = strrchr(dir, '/'); /* the path is absolute */
    slash[slash == dir] = '\0';
    int r = sd_event_add_time_relative(m->event, &edits->timer, CLOCK_MONOTONIC, AGAIN_US, 1000,
                                       on_time, m);
    if (r >= 0)
        r = sd_event_add_inotify(m->event, &edits->inotify, dir,
                                 IN_MODIFY | IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_TO |
                                     IN_MOVED_FROM | IN_ONLYDIR,
                                 on_event, m);
    return r;
}

void edits_open(struct manager *m) {
    m->edits = calloc(1, sizeof *m->edits);
    int r = m->edits == NULL ? -ENOMEM : 0;
    if (r == 0) {
        m->edits->name = strrchr(m->config.table, '/') + 1;
        m->edits->file = identity_of(AT_FDCWD, m->config.table);
        r = watch(m);
    }
    if (r < 0)
        journal(LOG_WARNING, JOURNAL_TROUBLE,
                "%s: its directory can't be watched (%s): edits are found within a second",
                m->config.table, strerror(-r));
}

void edits_close(struct manager *m) {
    if (m->edits == NULL)
        return;
    sd_event_source_disable_unref(m->edits->inotify);
    sd_event_source_disable_unref(m->edits->timer);
    free(m->edits);
    m->edits = NULL;
}
