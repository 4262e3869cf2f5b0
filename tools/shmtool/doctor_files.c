/* SPDX-License-Identifier: Apache-2.0
 *
 * doctor: the table and the runtime directory.
 */
#include "doctor.h"

#include "table_db.h"

#include <errno.h>
#include <libgen.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

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

static void look_at_rights(struct doctor *doctor, const struct stat *st) {
    const char *path = doctor->table_path;
    char remedy[PATH_BYTES + 64];
    snprintf(remedy, sizeof remedy, "chmod o-w %s", path);
    if (st->st_mode & S_IWOTH)
        found(doctor, WRONG, "table", remedy,
              "%s may be written by everybody: who writes it "
              "controls the segment",
              path);
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
    if (stat(path, &st) < 0) {
        found(doctor, errno == ENOENT ? REMARK : WRONG, "table",
              errno == ENOENT ? "shmtool table init (or start the manager)" : "", "%s: %s", path,
              strerror(errno));
        return;
    }
    look_at_rights(doctor, &st);
    if (access(path, R_OK) < 0) {
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

static int try_connect(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int r = connect(fd, (const struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
    close(fd);
    return r;
}

void look_at_runtime(struct doctor *doctor) {
    char path[PATH_BYTES];
    if (!look_at_directory(doctor, "runtime directory", doctor->runtime_dir, 0755))
        return;
    snprintf(path, sizeof path, "%.4000s/%08x.sock", doctor->runtime_dir, doctor->key);
    int r = try_connect(path);
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
