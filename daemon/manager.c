/* SPDX-License-Identifier: Apache-2.0
 *
 * Start, run, stop.
 */
#include "manager.h"
#include "carry.h"
#include "core/futex.h"
#include "core/process.h"
#include "core/sysv.h"
#include "elsewhere.h"
#include "journal.h"
#include "mend.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define FAIL(result, ...) (journal(LOG_ERR, JOURNAL_TROUBLE, __VA_ARGS__), (result))

/* ---- one manager a key, whatever its directories */

/* Anybody can have made one first, and hold the manager off for ever. */
static int refuse_foreign_lock(const struct manager *m, int id) {
    struct semid_ds stat;
    union {
        struct semid_ds *stat;
    } argument = {&stat};
    uid_t creator;
    if (id >= 0 && semctl(id, 0, IPC_STAT, argument) == 0)
        creator = stat.sem_perm.cuid;
    else if (sysv_creator(SYSV_SEMAPHORE, m->key, &id, &creator) < 0)
        return 0;
    if (creator == geteuid())
        return 0;
    return FAIL(
        -EPERM,
        "key 0x%08x: its lock (semaphore %d) was made by uid %u, not by this manager's user: "
        "remove it (ipcrm -s %d), or choose another key (--key)",
        m->key, id, creator, id);
}

/* A System V semaphore under the same key, raised with SEM_UNDO: the kernel lowers it when its
 * holder dies.  A second manager finds it raised, and GETPID names the first. */
static int take_lock(struct manager *m) {
    struct sembuf take[] = {{0, 0, IPC_NOWAIT}, {0, 1, SEM_UNDO | IPC_NOWAIT}};
    int id = -1;
    for (int try = 0; try < 10; try++) {
        id = semget((key_t)m->key, 1, IPC_CREAT | 0644);
        int error = id < 0 ? -errno : 0;
        int r = error == 0 || error == -EACCES ? refuse_foreign_lock(m, id) : 0;
        if (r < 0)
            return r;
        if (error < 0)
            return FAIL(error, "key 0x%08x: its lock (a semaphore) can't be made: %s (ipcs -s)",
                        m->key, strerror(-error));
        if (semop(id, take, 2) == 0) {
            m->lock = id; /* only now is it ours to drop */
            return 0;
        }
        if (errno != EIDRM && errno != EINVAL)
            break;
    }
    if (errno == EAGAIN)
        return FAIL(-EBUSY,
                    "key 0x%08x is served already, by the manager with pid %d: stop that one, or "
                    "choose another key (--key)",
                    m->key, semctl(id, 0, GETPID));
    return FAIL(-errno, "key 0x%08x: its lock can't be taken: %s", m->key, strerror(errno));
}

static void drop_lock(struct manager *m) {
    struct sembuf drop = {0, -1, SEM_UNDO | IPC_NOWAIT};
    if (m->lock < 0)
        return;
    if (m->destroyed)
        semctl(m->lock, 0, IPC_RMID);
    else
        semop(m->lock, &drop, 1);
    m->lock = -1;
}

/* ---- start */

static int make_directory(const char *path, mode_t mode) {
    struct stat found;
    if ((mkdir(path, mode) < 0 && errno != EEXIST) || stat(path, &found) < 0)
        return FAIL(-errno,
                    "%s: can't be made: %s (give another with --state-dir or --runtime-dir)", path,
                    strerror(errno));
    /* Who owns it could put another socket, or another table, where the manager's is. */
    if (found.st_uid != 0 && found.st_uid != geteuid())
        return FAIL(-EPERM,
                    "%s: belongs to uid %u, not to root or this manager's user: remove it, or give "
                    "another with --state-dir or --runtime-dir",
                    path, found.st_uid);
    if ((found.st_mode & S_IWOTH) != 0 && (found.st_mode & S_ISVTX) == 0)
        return FAIL(-EPERM, "%s: everybody may write there: chmod o-w %s", path, path);
    return 0;
}

static int open_state(struct manager *m) {
    char error[512] = "";
    int r = make_directory(m->config.state_dir, 0750);
    if (r == 0)
        r = make_directory(m->config.runtime_dir, 0755);
    if (r < 0)
        return r;
    r = state_db_open(&m->state, m->config.state, error, sizeof error);
    if (r < 0)
        return FAIL(r, "%s", error);
    if (error[0] != '\0')
        journal(LOG_WARNING, JOURNAL_TROUBLE, "%s", error);
    return 0;
}

static int open_segment(struct manager *m, const struct table *table) {
    char error[512] = "";
    struct segment_wish wish = {.key = m->key,
                                .runtime_dir = m->config.runtime_dir,
                                .backend = table->backend,
                                .bytes = table->size,
                                .state = m->state};
    int r = segment_open(&m->segment, &wish, &m->layout, error, sizeof error);
    if (r < 0)
        return FAIL(r, "%s", error);
    image_manager(&m->segment.image, (uint32_t)getpid(), process_start((uint32_t)getpid()),
                  image_header(&m->segment.image)->manager_epoch + 1, MANAGER_TICK_MS);
    state_db_settle(m->state, m->segment.adopted && !m->segment.rebuilt ? m->layout.generation : 0);
    journal(LOG_INFO, JOURNAL_SEGMENT, "segment 0x%08x (%s, %llu bytes) %s", m->key,
            m->segment.name, (unsigned long long)m->segment.bytes,
            m->segment.rebuilt   ? "adopted; its directory was damaged and is rebuilt"
            : m->segment.adopted ? "adopted, with all its data"
                                 : "made");
    return 0;
}

static void look_at_segment(struct manager *m);

static int on_hang_up(sd_event_source *source, int fd, uint32_t events, void *userdata) {
    (void)source;
    (void)fd;
    (void)events;
    look_at_segment(userdata);
    return 0;
}

/* What is watched may be another behind a look. */
static void look_at_segment(struct manager *m) {
    sd_event_source_disable_unref(m->watch);
    m->watch = NULL;
    segment_look(&m->segment);
    /* A duplicate: the other may be closed at any time, and its number be somebody else's then. */
    int watched = segment_watched(&m->segment);
    int fd = watched < 0 ? -1 : fcntl(watched, F_DUPFD_CLOEXEC, 3);
    if (fd < 0) /* the next tick looks */
        return;
    if (sd_event_add_io(m->event, &m->watch, fd, EPOLLRDHUP, on_hang_up, m) < 0)
        close(fd);
    else
        sd_event_source_set_io_fd_own(m->watch, true);
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata) {
    struct manager *m = userdata;
    uint64_t where = 0;
    size_t wrong = image_repair(&m->segment.image, &where);
    image_heartbeat(&m->segment.image, clock_mono_ns(), clock_real_ns());
    if (wrong > 0) {
        m->repairs++;
        journal(LOG_WARNING, JOURNAL_REPAIRED,
                "somebody wrote into the header (%zu bytes, one at offset %llu); it is mended; the "
                "last to attach or detach was process %u",
                wrong, (unsigned long long)where, segment_last_user(&m->segment));
    }
    unsigned controls = segment_mend_controls(&m->segment, &m->layout);
    if (controls > 0)
        journal(LOG_WARNING, JOURNAL_REPAIRED,
                "the control lines of %u section(s) were damaged; "
                "they are mended",
                controls);
    leases_rescan(m);
    made_look(m);
    moves_look(m);
    if (m->turns_in > 0 && --m->turns_in == 0)
        for (uint32_t i = 0; i < m->layout.workers_used; i++)
            attach_turn(m, i);
    mend_heads(m, SHM_NONE);
    edits_look(m);
    handout_look(m);
    stale_look(m, clock_mono_ns());
    refusals_look(&m->refusals, clock_mono_ns());
    bool removed = m->segment.removed;
    look_at_segment(m);
    if (m->segment.removed && !removed)
        journal(LOG_ERR, JOURNAL_REMOVED,
                "somebody removed the segment 0x%08x (ipcrm): who is attached is told so (-EIDRM); "
                "restart the manager to have a new one",
                m->key);
    manager_notify_status(m);
    sd_event_source_set_time(source, usec + MANAGER_TICK_MS * UINT64_C(1000));
    return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int on_reload(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
    (void)source;
    char who[64];
    snprintf(who, sizeof who, "SIGHUP from pid %u", info->ssi_pid);
    sd_notify(0, "RELOADING=1");
    apply_table(userdata, who, false, NULL);
    sd_notify(0, "READY=1");
    return 0;
}

static int add_events(struct manager *m) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    int r = sd_event_add_signal(m->event, NULL, SIGTERM, NULL, NULL);
    if (r >= 0)
        r = sd_event_add_signal(m->event, NULL, SIGINT, NULL, NULL);
    if (r >= 0)
        r = sd_event_add_signal(m->event, NULL, SIGHUP, on_reload, m);
    if (r >= 0)
        r = sd_event_add_time_relative(m->event, &m->tick, CLOCK_MONOTONIC, 0, 10000, on_tick, m);
    if (r >= 0)
        r = sd_event_set_watchdog(m->event, true);
    return r < 0 ? FAIL(r, "the event loop can't be set up: %s", strerror(-r)) : 0;
}

static gid_t admin_group(void) {
    const struct group *group = getgrnam("shm-admin");
    return group == NULL ? (gid_t)-1 : group->gr_gid;
}

/* With everything open: leases, layout, header, socket. */
static int serve(struct manager *m, struct table *table) {
    char error[512] = "";
    /* Somebody's last manager may have been carrying a queue. */
    if (m->segment.adopted)
        carry_done(&m->segment, &m->layout);
    int r = leases_open(m, error, sizeof error);
    if (r == 0 && m->segment.adopted)
        carry_undo(&m->segment, &m->layout);
    if (r == 0 && (r = apply_start(m, table)) < 0)
        snprintf(error, sizeof error, "%s", m->verdict.error);
    if (r == 0) {
        leases_relate(m);
        image_heartbeat(&m->segment.image, clock_mono_ns(), clock_real_ns());
        image_state(&m->segment.image, SHM_STATE_SERVING);
        segment_reveal(&m->segment, m->state);
        if ((r = checkpoint_open(m)) < 0)
            snprintf(error, sizeof error, "no timer for checkpoints: %s", strerror(-r));
    }
    if (r == 0) {
        dismiss(m, "the start"); /* who came under another table */
        r = server_open(m, error, sizeof error);
    }
    if (r == 0)
        edits_open(m);
    return r < 0 ? FAIL(r, "%s", error) : 0;
}

static void raise_limits(void) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

static int start(struct manager *m, struct table *table) {
    char error[512] = "";
    int r = sd_event_new(&m->event);
    if (r < 0)
        return FAIL(r, "no event loop: %s", strerror(-r));
    if ((r = open_state(m)) < 0)
        return r;
    if ((r = apply_choose(m, table)) < 0)
        return r;
    m->key = m->config.key_given ? m->config.key : table->key;
    if ((r = take_lock(m)) < 0)
        return r;
    if ((r = elsewhere_ask(m, error, sizeof error)) < 0)
        return FAIL(r, "%s", error);
    if ((r = open_segment(m, table)) < 0 || (r = serve(m, table)) < 0)
        return r;
    return add_events(m);
}

int manager_start(struct manager *m, const struct config *config) {
    struct table table = {0};
    *m = (struct manager){.config = *config,
                          .since_real_ns = clock_real_ns(),
                          .lock = -1,
                          .segment = {.id = -1, .bell_id = -1},
                          .leases = {.dir_fd = -1},
                          .server = {.fd = -1},
                          .admins = admin_group()};
    raise_limits();
    int r = start(m, &table);
    table_clear(&table);
    if (r < 0) {
        manager_stop(m);
        return r;
    }
    journal(LOG_INFO, JOURNAL_STARTED, "serving key 0x%08x at %s (pid %d, generation %llu)", m->key,
            m->server.path, getpid(), (unsigned long long)m->layout.generation);
    return 0;
}

void manager_notify_status(struct manager *m) {
    char line[sizeof m->status_line];
    status_line(m, line, sizeof line);
    if (strcmp(line, m->status_line) == 0)
        return;
    memcpy(m->status_line, line, sizeof line);
    sd_notifyf(0, "STATUS=%s", line);
}

int manager_run(struct manager *m) {
    manager_notify_status(m); /* who sees the unit active sees this, too */
    sd_notify(0, "READY=1");
    int r = sd_event_loop(m->event);
    sd_notify(0, "STOPPING=1");
    if (!m->destroyed)
        journal(LOG_INFO, JOURNAL_LEFT,
                "ended; segment 0x%08x stays, with its values and leases, for the next start (to "
                "remove it: shmtool destroy, while a manager runs)",
                m->key);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

void manager_stop(struct manager *m) {
    sd_event_source_disable_unref(m->watch);
    edits_close(m);
    server_close(m);
    handout_close(m);
    checkpoint_close(m);
    leases_close(m);
    refusals_look(&m->refusals, UINT64_MAX); /* all that is still untold */
    /* One that nobody has seen yet would be made anew anyway, and its bells found by nobody. */
    bool blank = m->segment.base != NULL && image_header(&m->segment.image)->generation == 0;
    if (m->segment.base != NULL && (m->destroyed || (blank && !m->segment.adopted))) {
        segment_destroy(&m->segment);
    } else if (m->segment.base != NULL) {
        if (!blank && !m->segment.removed)
            image_state(&m->segment.image, SHM_STATE_STOPPED);
        segment_close(&m->segment);
    }
    sd_event_source_disable_unref(m->arrivals);
    sd_event_source_disable_unref(m->tick);
    table_db_close(m->table_db);
    state_db_close(m->state);
    stale_clear(&m->stale);
    layout_clear(&m->layout);
    table_clear(&m->table);
    free(m->worker_uids);
    drop_lock(m);
    sd_event_unref(m->event);
    *m = (struct manager){.lock = -1};
}
