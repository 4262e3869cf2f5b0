/* SPDX-License-Identifier: Apache-2.0
 *
 * doctor: the table and the runtime directory.
 */
#include "doctor.h"

#include "table_db.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <pwd.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define SERVICE_USER "shm-manager" /* and its group */

/* A directory that should be there, and that not everybody may write. */
static bool look_at_directory(struct doctor *doctor, const char *topic, const char *path,
                              mode_t mode) {
    char remedy[PATH_BYTES + 64];
    struct stat st;
    if (stat(path, &st) < 0 && errno == ENOENT) {
        /* Those of the service belong to its own users, as systemd-tmpfiles knows. */
        bool service = strcmp(path, SHM_STATE_DIR) == 0 || strcmp(path, SHM_RUNTIME_DIR) == 0;
        if (doctor->tool->fix && !service && mkdir(path, mode) == 0) {
            found(doctor, FIXED, topic, "", "%s was not there, and is made", path);
            return true;
        }
        snprintf(remedy, sizeof remedy,
                 service ? "systemd-tmpfiles --create" : "mkdir %s, or --fix", path);
        found(doctor, WRONG, topic, remedy, "%s does not exist", path);
        return false;
    }
    if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
        found(doctor, WRONG, topic, "", "%s: %s", path,
              S_ISDIR(st.st_mode) ? strerror(errno) : "is no directory");
        return false;
    }
    snprintf(remedy, sizeof remedy, "chmod o-w %s", path);
    if ((st.st_mode & (S_IWOTH | S_ISVTX)) == S_IWOTH)
        found(doctor, WRONG, topic, remedy,
              "%s may be written by everybody, who can put another "
              "file in place of those in it",
              path);
    return true;
}

/* ---- the table */

static bool of_service(const char *path) {
    return strncmp(path, SHM_STATE_DIR "/", sizeof SHM_STATE_DIR) == 0;
}

/* Who, besides root, may own the table: the user of the manager that reads it. */
static uid_t manager_user(const struct doctor *doctor) {
    uid_t uid;
    const struct passwd *account;
    if (manager_uid(doctor, &uid))
        return uid;
    if (!of_service(doctor->table_path))
        return geteuid();
    account = getpwnam(SERVICE_USER);
    return account ? account->pw_uid : 0;
}

/* By descriptor, and no second name of another file: in a directory of somebody else's a path may
 * be anything by the time that root changes what it leads to. */
static bool set_file(const char *file, uid_t uid, gid_t gid, mode_t add, mode_t remove) {
    struct stat st;
    int fd = open(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT;
    bool done = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1 &&
                fchown(fd, uid, gid) == 0 && fchmod(fd, (st.st_mode & 07777 & ~remove) | add) == 0;
    close(fd);
    return done;
}

/* The database and its log. */
static bool set_rights(const char *path, uid_t uid, gid_t gid, mode_t add, mode_t remove) {
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    bool done = true;
    for (size_t i = 0; done && i < sizeof suffixes / sizeof *suffixes; i++) {
        char file[PATH_BYTES + 8];
        snprintf(file, sizeof file, "%s%s", path, suffixes[i]);
        done = set_file(file, uid, gid, add, remove);
    }
    return done;
}

static void look_at_owner(struct doctor *doctor, const struct stat *st) {
    const char *path = doctor->table_path;
    char remedy[PATH_BYTES + 64];
    uid_t user = manager_user(doctor), right = of_service(path) ? 0 : user;
    bool sure = doctor->status || of_service(path); /* by hand it may be somebody else's manager */
    if (st->st_uid == 0 || st->st_uid == user)
        return;
    if (doctor->tool->fix && sure && set_rights(path, right, (gid_t)-1, 0, 0)) {
        found(doctor, FIXED, "table", "", "%s was uid %u's, and is uid %u's now", path, st->st_uid,
              right);
        return;
    }
    snprintf(remedy, sizeof remedy, "chown %u %s", right, path);
    found(doctor, sure ? WRONG : REMARK, "table", remedy,
          "%s belongs to uid %u, who so controls the segment; it should be root's, or that of the "
          "manager's user",
          path, st->st_uid);
}

/* As it is installed: 0640, root's, and the manager's group's. */
static void look_at_group(struct doctor *doctor, const struct stat *st) {
    const char *path = doctor->table_path;
    char remedy[2 * PATH_BYTES + 64];
    const struct group *group = getgrnam(SERVICE_USER);
    if (!of_service(path) || !group || st->st_uid == manager_user(doctor) ||
        st->st_mode & S_IROTH || (st->st_gid == group->gr_gid && st->st_mode & S_IRGRP))
        return;
    if (doctor->tool->fix && set_rights(path, (uid_t)-1, group->gr_gid, S_IRGRP, 0)) {
        found(doctor, FIXED, "table", "", "%s was not readable for group %s, and is now", path,
              SERVICE_USER);
        return;
    }
    snprintf(remedy, sizeof remedy, "chgrp %s %s; chmod g+r %s", SERVICE_USER, path, path);
    found(doctor, WRONG, "table", remedy, "%s (mode %04o, group %u) can't be read by the manager",
          path, st->st_mode & 07777, st->st_gid);
}

static void look_at_rights(struct doctor *doctor, const struct stat *st) {
    const char *path = doctor->table_path;
    char remedy[PATH_BYTES + 64];
    look_at_owner(doctor, st);
    look_at_group(doctor, st);
    snprintf(remedy, sizeof remedy, "chmod o-w %s", path);
    if (st->st_mode & S_IWOTH && doctor->tool->fix &&
        set_rights(path, (uid_t)-1, (gid_t)-1, 0, S_IWOTH))
        found(doctor, FIXED, "table", "look at its rows: shmtool diff",
              "%s could be written by everybody, and can't now", path);
    else if (st->st_mode & S_IWOTH)
        found(doctor, WRONG, "table", remedy,
              "%s may be written by everybody: who writes it controls the segment", path);
    snprintf(remedy, sizeof remedy, "chmod g-w %s", path);
    if (st->st_mode & S_IWGRP)
        found(doctor, REMARK, "table", remedy,
              "%s may be written by its group (%u), which so controls the segment", path,
              st->st_gid);
}

/* Is the database right as it is read here?  Without its log when `alone`. */
static bool is_sound(const char *path, bool alone) {
    char uri[PATH_BYTES + 32];
    sqlite3 *db = NULL;
    sqlite3_stmt *check = NULL;
    bool sound = false;
    if (strpbrk(path, "?#%")) /* they mean something in a URI */
        return !alone;
    snprintf(uri, sizeof uri, "file:%s%s", path, alone ? "?immutable=1" : "");
    if (sqlite3_open_v2(uri, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &check, NULL) == SQLITE_OK &&
        sqlite3_step(check) == SQLITE_ROW)
        sound = strcmp((const char *)sqlite3_column_text(check, 0), "ok") == 0;
    sqlite3_finalize(check);
    sqlite3_close(db);
    return sound;
}

static bool set_aside(const char *path, const char *suffix, bool *any) {
    char from[PATH_BYTES + 8], to[PATH_BYTES + 64];
    snprintf(from, sizeof from, "%s%s", path, suffix);
    snprintf(to, sizeof to, "%s.stale-%ld", from, (long)time(NULL));
    if (rename(from, to) == 0)
        return *any = true;
    return errno == ENOENT;
}

/* A database that was moved over one in use finds the other's log, and is read with that.  Without
 * the log it is whole: then the log is to blame, and is put aside. */
static bool look_at_log(struct doctor *doctor) {
    const char *path = doctor->table_path;
    bool any = false;
    if (is_sound(path, false) || !is_sound(path, true))
        return false;
    if (doctor->tool->fix && set_aside(path, "-wal", &any) && set_aside(path, "-shm", &any)) {
        if (any && is_sound(path, false)) {
            found(doctor, FIXED, "table", "",
                  "the log beside %s belonged to a file that was there "
                  "before; it is put aside (*.stale-*)",
                  path);
            return false;
        }
    }
    found(
        doctor, WRONG, "table", "close the programs that have it open, then: shmtool doctor --fix",
        "%s can't be read with the -wal and -shm beside it, which belong to a file that was there "
        "before (it was moved there, and not by .restore or shmtool table import)",
        path);
    return true;
}

void look_at_table(struct doctor *doctor) {
    const char *path = doctor->table_path;
    char dir[PATH_BYTES], error[512] = "";
    struct stat st;
    struct table_db *db = NULL;
    strcpy(dir, path);
    if (!look_at_directory(doctor, "table's directory", dirname(dir), 0750))
        return;
    bool seen = stat(path, &st) == 0;
    if (!seen && errno != EACCES) {
        found(doctor, errno == ENOENT ? REMARK : WRONG, "table",
              errno == ENOENT ? "shmtool table init (or start the manager)" : "", "%s: %s", path,
              strerror(errno));
        return;
    }
    if (seen)
        look_at_rights(doctor, &st);
    if (!seen || access(path, R_OK) < 0) {
        found(doctor, REMARK, "table", "", "%s: you may not read it, which only editors need to",
              path);
        return;
    }
    if (look_at_log(doctor))
        return;
    int r = table_db_open(&db, path, error, sizeof error);
    if (r == 0)
        r = table_db_load(db, &doctor->table, error, sizeof error);
    table_db_close(db);
    if (r < 0)
        found(doctor, WRONG, "table", "", "%s", error);
    else
        found(doctor, FINE, "table", "", "%s: %zu sections, %zu workers", path,
              doctor->table.sections_n, doctor->table.workers_n);
}

/* ---- the runtime directory */

static void socket_path(const struct doctor *doctor, char path[PATH_BYTES]) {
    snprintf(path, PATH_BYTES, "%.4000s/%08x.sock", doctor->runtime_dir, doctor->key);
}

/* *owner is who listens there. */
static int try_connect(const char *path, uid_t *owner) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ucred peer;
    socklen_t bytes = sizeof peer;
    if (strlen(path) >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int r = connect(fd, (const struct sockaddr *)&address, sizeof address) < 0 ||
                    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) < 0
                ? -errno
                : 0;
    close(fd);
    if (r == 0)
        *owner = peer.uid;
    return r;
}

bool manager_uid(const struct doctor *doctor, uid_t *ret) {
    char path[PATH_BYTES];
    struct stat process;
    if (!doctor->status)
        return false;
    snprintf(path, sizeof path, "/proc/%lu", field_number(doctor->status, "manager", "pid"));
    if (shares_pids(doctor->status) && stat(path, &process) == 0) {
        *ret = process.st_uid;
        return true;
    }
    socket_path(doctor, path);
    return try_connect(path, ret) == 0;
}

void look_at_runtime(struct doctor *doctor) {
    char path[PATH_BYTES];
    uid_t owner;
    if (!look_at_directory(doctor, "runtime directory", doctor->runtime_dir, 0755))
        return;
    socket_path(doctor, path);
    int r = try_connect(path, &owner);
    if (r == -ECONNREFUSED && doctor->tool->fix && unlink(path) == 0)
        found(doctor, FIXED, "socket", "", "%s was left by a manager that is gone; it is removed",
              path);
    else if (r == -ECONNREFUSED)
        found(doctor, WRONG, "socket", "start a manager, which replaces it, or --fix",
              "%s is there, and nobody listens", path);
    else if (r == -EACCES)
        found(doctor, WRONG, "socket", "become a member of the segment's group",
              "%s: you may not "
              "connect",
              path);
    else if (r == -ENOENT)
        found(doctor, REMARK, "socket", "", "%s is not there; a manager with key 0x%08x makes it",
              path, doctor->key);
    else if (r < 0 && r != -EAGAIN)
        found(doctor, WRONG, "socket", "", "%s: %s", path, strerror(-r));
    else
        found(doctor, FINE, "socket", "", "%s", path);
}
