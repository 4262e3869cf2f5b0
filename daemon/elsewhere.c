/* SPDX-License-Identifier: Apache-2.0
 *
 * The link STATE-DIR/KEY.leases, and what is held where it leads.  The directory's inode number
 * stands in state.db: one of the same name that was made anew knows nothing of the leases before
 * it.
 */
#include "elsewhere.h"
#include "core/process.h"
#include "identity.h"
#include "journal.h"
#include "link.h"
#include "manager.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define IDENTITY "leases_directory"

/* Where the leases are, and what links there. */
static bool make_paths(const struct manager *m, char leases[PATH_MAX], char link[PATH_MAX]) {
    return m->config.state_dir[0] != '\0' &&
           snprintf(leases, PATH_MAX, "%s/%08x.leases", m->config.runtime_dir, m->key) < PATH_MAX &&
           snprintf(link, PATH_MAX, "%s/%08x.leases", m->config.state_dir, m->key) < PATH_MAX;
}

/* Under two names, as /run and /var/run, it is one. */
static bool same_directory(const char *a, const char *b) {
    struct stat one, other;
    return strcmp(a, b) == 0 || (stat(a, &one) == 0 && stat(b, &other) == 0 &&
                                 one.st_dev == other.st_dev && one.st_ino == other.st_ino);
}

static bool is_held(int dir_fd, const char *file, uint64_t segment_id, struct lease_record *ret) {
    int keep;
    if (lease_open(dir_fd, file, ret, &keep) < 0)
        return false;
    bool held = ret->segment_id == segment_id && lease_held(keep) != 0;
    close(keep);
    return held;
}

static int refuse(const struct lease_record *held, const char *there, const char *remedy,
                  char *error, size_t error_bytes) {
    char process[PROCESS_TEXT_BYTES], who[LEASES_WHO_BYTES];
    snprintf(error, error_bytes, "%s is held by %s (uid %u), whose lease is in %s: %s",
             leases_who(held, who), process_text(held->pid, process), held->uid, there, remedy);
    return -EBUSY;
}

int elsewhere_ask(struct manager *m, char *error, size_t error_bytes) {
    char ours[PATH_MAX], link[PATH_MAX], there[PATH_MAX], remedy[PATH_MAX + 64];
    uint64_t segment_id = (uint64_t)state_db_recall(m->state, "segment_id", 0);
    struct lease_record held;
    if (!make_paths(m, ours, link) || !link_read(link, there) || same_directory(ours, there))
        return 0;
    DIR *dir = opendir(there);
    const struct dirent *e;
    bool found = false;
    while (dir != NULL && !found && (e = readdir(dir)) != NULL)
        found = is_held(dirfd(dir), e->d_name, segment_id, &held);
    if (dir != NULL)
        closedir(dir);
    if (!found)
        return 0;
    char *slash = strrchr(there, '/');
    snprintf(remedy, sizeof remedy, "start with --runtime-dir %.*s, or end that process first",
             slash == NULL ? 0 : (int)(slash - there), there);
    return refuse(&held, there, remedy, error, error_bytes);
}

/* Could the leases from before all be asked, here or there? */
static bool could_ask(const struct manager *m, const char *ours, const char *link) {
    char there[PATH_MAX];
    int64_t before = state_db_recall(m->state, IDENTITY, 0), now = 0;
    if (!link_read(link, there))
        return false;
    if (strcmp(ours, there) == 0)
        now = identity_of(m->leases.dir_fd, "");
    else {
        int fd = open(there, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
            return false;
        now = identity_of(fd, "");
        close(fd);
    }
    return before == 0 || before == now;
}

static bool is_found(const struct manager *m, uint32_t attachment) {
    for (const struct lease *l = m->leases.first; l != NULL; l = l->next)
        if (l->record.attachment == attachment)
            return true;
    return false;
}

static int refuse_lost(const struct lease_record *held, char *error, size_t error_bytes) {
    return refuse(held, "another directory, or in one that was removed",
                  "start with the --runtime-dir of before, or end that process first", error,
                  error_bytes);
}

static int look_for_nameless(const struct manager *m, char *error, size_t error_bytes) {
    for (uint32_t i = 1; i < m->segment.image.attachments_used; i++) {
        const struct shm_attachment a = image_get_attachment(&m->segment.image, i);
        const struct lease_record held = {.pid = a.pid, .uid = a.uid};
        if (lease_word_state(a.word) == SHM_LEASE_LEASED && a.worker == SHM_NONE &&
            process_alive(a.pid, a.pid_start) == 1 && !is_found(m, i))
            return refuse_lost(&held, error, error_bytes);
    }
    return 0;
}

static int look_for_holders(struct manager *m, char *error, size_t error_bytes) {
    for (uint32_t i = 0; i < m->layout.workers_used; i++) {
        struct shm_worker w = image_get_worker(&m->segment.image, i);
        struct lease_record held = {.pid = w.pid, .uid = w.uid};
        if (lease_word_state(w.word) != SHM_LEASE_LEASED ||
            process_alive(w.pid, w.pid_start) != 1 || leases_of_worker(m, i) != NULL)
            continue;
        memcpy(held.worker, m->layout.workers[i], SHM_NAME_BYTES);
        return refuse_lost(&held, error, error_bytes);
    }
    return look_for_nameless(m, error, error_bytes);
}

static void remember(struct manager *m, const char *ours, const char *link) {
    int64_t identity = identity_of(m->leases.dir_fd, "");
    if (state_db_recall(m->state, IDENTITY, 0) != identity)
        state_db_remember(m->state, IDENTITY, identity);
    int r = link_set(link, ours);
    if (r < 0)
        journal(
            LOG_WARNING, JOURNAL_TROUBLE,
            "%s: the link to where the leases are can't be made: %s; the next manager would not "
            "notice another --runtime-dir",
            link, strerror(-r));
}

int elsewhere_settle(struct manager *m, char *error, size_t error_bytes) {
    char ours[PATH_MAX], link[PATH_MAX];
    if (!make_paths(m, ours, link))
        return 0;
    int r = could_ask(m, ours, link) ? 0 : look_for_holders(m, error, error_bytes);
    if (r == 0)
        remember(m, ours, link);
    return r;
}
