/* SPDX-License-Identifier: Apache-2.0
 *
 * doctor: the kernel's settings, limits, groups, and System V segments.
 */
#include "doctor.h"

#include "core/directory.h"
#include "core/sysv.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/resource.h>
#include <unistd.h>

#define SYSTEM_UID_MAX 999 /* above it logind removes what a user leaves behind */
#define FEW_FILES      256
#define NO_GROUP       ((gid_t)-1)

static uint64_t table_bytes(const struct doctor *doctor) {
    return doctor->table.size ? doctor->table.size : UINT64_C(64) << 20;
}

/* A number from /proc/sys/kernel; UINT64_MAX when it can't be read or is beyond. */
static uint64_t kernel_number(const char *name) {
    char path[128], text[32] = "";
    snprintf(path, sizeof path, "/proc/sys/kernel/%s", name);
    FILE *from = fopen(path, "re");
    if (!from)
        return UINT64_MAX;
    bool got = fgets(text, sizeof text, from) != NULL;
    fclose(from);
    return got ? strtoull(text, NULL, 10) : UINT64_MAX;
}

static bool set_kernel(const char *name, uint64_t value) {
    char path[128];
    snprintf(path, sizeof path, "/proc/sys/kernel/%s", name);
    FILE *to = fopen(path, "we");
    if (!to)
        return false;
    fprintf(to, "%lu\n", value);
    return fclose(to) == 0 && kernel_number(name) == value;
}

/* A setting that stands in the way: set as it should be, or said. */
static void mend_kernel(struct doctor *doctor, const char *name, uint64_t value,
                        const char *wrong) {
    char topic[64], remedy[192];
    uint64_t was = kernel_number(name);
    snprintf(topic, sizeof topic, "kernel.%s", name);
    if (doctor->tool->fix && set_kernel(name, value)) {
        snprintf(remedy, sizeof remedy, "write kernel.%s = %lu into /etc/sysctl.d/ too", name,
                 value);
        found(doctor, FIXED, topic, remedy, "it was %lu, and is %lu until the next boot", was,
              value);
        return;
    }
    snprintf(remedy, sizeof remedy, "sysctl -w kernel.%s=%lu%s, or --fix as root", name, value,
             value == 0 ? "" : " (or a smaller segment.size)");
    found(doctor, WRONG, topic, remedy, "it is %lu: %s", was, wrong);
}

void look_at_kernel(struct doctor *doctor) {
    uint64_t bytes = table_bytes(doctor), page = (uint64_t)sysconf(_SC_PAGESIZE);
    unsigned before = doctor->count[WRONG] + doctor->count[FIXED];
    char wrong[128];
    if (doctor->table.backend == SHM_BACKEND_MEMFD) {
        found(doctor, FINE, "kernel", "", "it needs no System V memory (backend memfd)");
        return;
    }
    if (kernel_number("shm_rmid_forced") == 1)
        mend_kernel(doctor, "shm_rmid_forced", 0,
                    "the kernel removes a segment when its last process detaches, and all values "
                    "with it");
    snprintf(wrong, sizeof wrong, "the table wants a segment of %lu bytes", bytes);
    if (kernel_number("shmmax") < bytes)
        mend_kernel(doctor, "shmmax", bytes, wrong);
    snprintf(wrong, sizeof wrong, "so many pages in all, and the table wants a segment of %lu",
             bytes / page);
    if (kernel_number("shmall") < bytes / page)
        mend_kernel(doctor, "shmall", 2 * (bytes / page + 1), wrong);
    if (doctor->count[WRONG] + doctor->count[FIXED] == before)
        found(doctor, FINE, "kernel", "", "System V memory is as it must be");
}

void look_at_limits(struct doctor *doctor) {
    struct rlimit space = {RLIM_INFINITY, RLIM_INFINITY}, files = space, locked = space;
    unsigned wrong = doctor->count[WRONG];
    getrlimit(RLIMIT_AS, &space);
    getrlimit(RLIMIT_NOFILE, &files);
    getrlimit(RLIMIT_MEMLOCK, &locked);
    if (space.rlim_cur < 2 * table_bytes(doctor))
        found(doctor, WRONG, "address space", "ulimit -v unlimited",
              "RLIMIT_AS is %lu, which leaves no room for a segment of %lu bytes", space.rlim_cur,
              table_bytes(doctor));
    if (files.rlim_max < FEW_FILES)
        found(doctor, WRONG, "open files", "LimitNOFILE=65536, or ulimit -Hn 65536",
              "RLIMIT_NOFILE is at most %lu; a manager started from here could serve few workers",
              files.rlim_max);
    if (doctor->table.lock_memory && locked.rlim_cur < table_bytes(doctor) && geteuid() != 0)
        found(doctor, REMARK, "locked memory", "LimitMEMLOCK=infinity, or ulimit -l unlimited",
              "the table locks the segment's memory, and RLIMIT_MEMLOCK is %lu", locked.rlim_cur);
    if (doctor->count[WRONG] == wrong)
        found(doctor, FINE, "limits", "", "there is room for the segment");
}

/* ---- groups */

static bool in_group(gid_t gid) {
    gid_t groups[1024];
    int n = getgroups(1024, groups);
    bool in = getegid() == gid || getgid() == gid;
    for (int i = 0; i < n && !in; i++)
        in = groups[i] == gid;
    return in;
}

/* As the kernel decides it, which shows owners and mode of a segment to everybody: 4 = may read, 2
 * = may write; -1: there is none under the key. */
static int segment_rights(uint32_t key, gid_t *group) {
    FILE *from = fopen("/proc/sysvipc/shm", "re");
    char line[512];
    int rights = -1;
    while (from && rights < 0 && fgets(line, sizeof line, from)) {
        int found_key;
        unsigned mode, uid, gid, cuid, cgid;
        if (sscanf(line, "%d %*d %o %*u %*d %*d %*u %u %u %u %u", &found_key, &mode, &uid, &gid,
                   &cuid, &cgid) != 6 ||
            (uint32_t)found_key != key)
            continue;
        bool own = geteuid() == uid || geteuid() == cuid;
        rights = (int)(own ? mode >> 6 : in_group(gid) || in_group(cgid) ? mode >> 3 : mode) & 6;
        *group = gid;
    }
    if (from)
        fclose(from);
    return rights;
}

static bool of_memfds(const struct doctor *doctor) {
    return doctor->status && strcmp(field_text(doctor->status, "segment", "backend"), "memfd") == 0;
}

/* As the manager decides it, where the kernel shows nothing; its own user may all. */
static int manager_rights(const struct doctor *doctor, gid_t group) {
    uid_t uid;
    if (in_group(group) || (manager_uid(doctor, &uid) && uid == geteuid()))
        return 6;
    return strcmp(field_text(doctor->status, "segment", "mode"), "0664") == 0 ? 4 : 0;
}

static void look_at_standing(struct doctor *doctor, const char *name, gid_t group) {
    char remedy[160];
    gid_t owner = group;
    int rights =
        of_memfds(doctor) ? manager_rights(doctor, group) : segment_rights(doctor->key, &owner);
    snprintf(remedy, sizeof remedy, "usermod -aG %s USER as root, and log in anew", name);
    if (rights == 6 || (rights < 0 && in_group(group)))
        found(doctor, FINE, "group", "", "uid %u may attach, also as a worker", geteuid());
    else if (rights == 4)
        found(doctor, REMARK, "group", remedy,
              "uid %u may read, and be no worker: it is not in the segment's group (gid %u)",
              geteuid(), owner);
    else if (rights >= 0)
        found(doctor, WRONG, "group", remedy,
              "uid %u may not attach: it is not in the segment's group (gid %u)", geteuid(), owner);
    else if (group != NO_GROUP)
        found(doctor, REMARK, "group", remedy,
              "you are not in '%s': unless the manager runs as you, you may not attach", name);
}

void look_at_groups(struct doctor *doctor) {
    const char *name = doctor->table.group_name[0] ? doctor->table.group_name
                       : doctor->status            ? field_text(doctor->status, "segment", "group")
                                                   : "shm-workers";
    const struct group *group = getgrnam(name);
    char *end, remedy[160];
    unsigned long number = strtoul(name, &end, 10);
    bool by_number = *name && !*end;
    if (!group && !by_number) {
        snprintf(remedy, sizeof remedy, "systemd-sysusers, or groupadd --system %s", name);
        found(doctor, REMARK, "group", remedy,
              "there is no group '%s' here: only root, the manager's user and its group may attach",
              name);
    } else if (geteuid() == 0) {
        found(doctor, FINE, "group", "", "'%s' exists; you are root, and may attach anyway", name);
        return;
    }
    if (geteuid() != 0)
        look_at_standing(doctor, name,
                         group       ? group->gr_gid
                         : by_number ? (gid_t)number
                                     : NO_GROUP);
}

/* ---- segments */

/* One under our key that is not for us says so in IPC_STAT, or by what stands in it. */
static void look_inside(struct doctor *doctor, int id, const struct shmid_ds *stat) {
    struct directory directory;
    const char *field = "";
    char remedy[64];
    void *base;
    uint64_t age_ns;
    uint32_t pid;
    int r = sysv_attach(id, false, &base);
    if (r < 0) {
        found(doctor, WRONG, "segment", r == -ENOMEM ? "ulimit -v unlimited" : "", "shmid %d: %s",
              id, strerror(-r));
        return;
    }
    r = directory_open(&directory, base, stat->shm_segsz, &field);
    snprintf(remedy, sizeof remedy, "ipcrm -m %d, if nobody needs it; or another key", id);
    if (r == -EPROTONOSUPPORT && directory.header.magic == SHM_MAGIC)
        found(doctor, WRONG, "segment",
              "use the version that made it, or shmtool destroy with that one",
              "shmid %d is of ABI %u, and this program knows %u (%s)", id, directory.header.abi,
              SHM_ABI, field);
    else if (r == -EAGAIN || directory.header.magic != SHM_MAGIC)
        found(doctor, WRONG, "segment", remedy,
              "shmid %d has our key and is no shm-manager's (uid %u made it)", id,
              stat->shm_perm.cuid);
    else if (r < 0)
        found(doctor, WRONG, "segment", "start the manager: it mends it",
              "the header of shmid %d is damaged (%s)", id, field);
    else if (!doctor->status && directory_manager_alive(&directory, &age_ns, &pid))
        found(doctor, REMARK, "segment", "is --runtime-dir (SHMC_RUNTIME_DIR) that manager's?",
              "shmid %d was served %lu ms ago, by process %u, which doesn't answer in %s", id,
              age_ns / 1000000, pid, doctor->runtime_dir);
    else if (!doctor->status)
        found(doctor, REMARK, "segment", "start the manager: it adopts it with all values",
              "shmid %d is whole, and no manager serves it; readers and workers go on", id);
    else
        found(doctor, FINE, "segment", "", "shmid %d, %lu bytes, ABI %u", id,
              directory.header.segment_bytes, directory.header.abi);
    sysv_detach(base);
}

/* Of memfds, which only the manager hands out: whether it does is the thing to know. */
static void look_at_parts(struct doctor *doctor) {
    shmc *segment = NULL;
    char error[512];
    if (attach_quietly(doctor->tool, &segment, error, sizeof error) < 0)
        found(doctor, WRONG, "segment", "", "the manager hands no part of it to uid %u: %s",
              geteuid(), error);
    else
        found(doctor, FINE, "segment", "", "memfd, %lu bytes",
              field_number(doctor->status, "segment", "bytes"));
    shmc_detach(segment);
}

/* Whom it doesn't let in may not know either what it holds. */
static bool look_at_keeper(struct doctor *doctor) {
    char path[PATH_BYTES];
    if (doctor->table.backend != SHM_BACKEND_MEMFD || !keeper_there(doctor->tool, path))
        return false;
    found(doctor, REMARK, "segment", "start the manager: it adopts it with all values",
          "no manager serves it; what %s holds stays, and only who is attached goes on", path);
    return true;
}

void look_at_segment(struct doctor *doctor) {
    struct shmid_ds stat;
    if (of_memfds(doctor)) {
        look_at_parts(doctor);
        return;
    }
    int id, r = sysv_find(doctor->key, &id);
    if (r == -ENOENT && !doctor->status && look_at_keeper(doctor))
        return;
    if (r == 0)
        r = sysv_stat(id, &stat);
    if (r == -ENOENT) {
        found(doctor, doctor->status ? WRONG : REMARK, "segment",
              doctor->status ? "restart the manager; are you in its IPC namespace?" : "",
              "there is none with key 0x%08x", doctor->key);
        return;
    }
    if (r == -EACCES) /* and look_at_groups() said so */
        return;
    if (r < 0) {
        found(doctor, WRONG, "segment", "", "key 0x%08x: %s", doctor->key, strerror(-r));
        return;
    }
    if (stat.shm_perm.cuid > SYSTEM_UID_MAX && access("/run/systemd/system", F_OK) == 0)
        found(doctor, REMARK, "segment", "RemoveIPC=no in logind.conf, or a system user",
              "uid %u made it: systemd-logind removes what such a user leaves when it logs out",
              stat.shm_perm.cuid);
    look_inside(doctor, id, &stat);
}

struct found_segment {
    int id, bell_id;
    uint32_t key, cuid;
    uint64_t magic, segment_id, bytes, nattch;
    bool served;
};

/* Doorbells can be read where their segment can't, so that only one's own are judged. */
static bool peek(struct found_segment *s) {
    struct directory directory;
    const char *field;
    void *base;
    if (s->bytes < sizeof(struct shm_header) || (geteuid() != 0 && s->cuid != geteuid()) ||
        sysv_attach(s->id, false, &base) < 0)
        return false;
    memcpy(&s->magic, base, sizeof s->magic);
    if (s->magic == SHM_MAGIC && directory_open(&directory, base, s->bytes, &field) == 0) {
        s->segment_id = directory.header.segment_id;
        s->bell_id = directory_bell_id(&directory);
        s->served = directory_manager_alive(&directory, NULL, NULL);
    } else if (s->magic == SHM_BELLS_MAGIC) {
        s->segment_id = ((const struct shm_bells *)base)->segment_id;
    }
    sysv_detach(base);
    return s->magic == SHM_MAGIC || s->magic == SHM_BELLS_MAGIC;
}

static size_t list_segments(struct found_segment *ret, size_t room) {
    FILE *from = fopen("/proc/sysvipc/shm", "re");
    char line[512];
    size_t n = 0;
    if (!from)
        return 0;
    while (n < room && fgets(line, sizeof line, from)) {
        struct found_segment s = {0};
        int key;
        if (sscanf(line, "%d %d %*o %lu %*d %*d %lu %*u %*u %u", &key, &s.id, &s.bytes, &s.nattch,
                   &s.cuid) != 5)
            continue;
        s.key = (uint32_t)key;
        if (peek(&s))
            ret[n++] = s;
    }
    fclose(from);
    return n;
}

/* Does a segment name these doorbells?  One whose header was damaged has others since; one that
 * can't be read, as another ABI's, may. */
static bool are_rung(const struct found_segment *all, size_t n, const struct found_segment *bells) {
    for (size_t i = 0; i < n; i++)
        if (all[i].magic == SHM_MAGIC &&
            (all[i].segment_id == 0 ||
             (all[i].segment_id == bells->segment_id && all[i].bell_id == bells->id)))
            return true;
    return false;
}

static void judge_orphan(struct doctor *doctor, const struct found_segment *s, bool rung) {
    char remedy[96], size[TEXT_BYTES];
    snprintf(remedy, sizeof remedy, "ipcrm -m %d, if nobody needs its values", s->id);
    if (s->magic == SHM_MAGIC && s->key != doctor->key && !s->served && s->nattch == 0)
        found(doctor, REMARK, "orphan", remedy,
              "segment 0x%08x (shmid %d, %s) has no manager, and nobody is attached", s->key, s->id,
              text_bytes(size, s->bytes));
    if (s->magic != SHM_BELLS_MAGIC || rung || s->nattch != 0)
        return;
    if (doctor->tool->fix && sysv_remove(s->id) == 0)
        found(doctor, FIXED, "orphan", "",
              "doorbells (shmid %d) of a segment that is gone are "
              "removed",
              s->id);
    else
        found(doctor, REMARK, "orphan", "shmtool doctor --fix",
              "doorbells (shmid %d) of a segment that is gone", s->id);
}

/* Segments that a manager with another key left, and doorbells whose segment is gone. */
void look_at_orphans(struct doctor *doctor) {
    static struct found_segment all[1024];
    size_t n = list_segments(all, sizeof all / sizeof *all);
    for (size_t i = 0; i < n; i++)
        judge_orphan(doctor, &all[i], are_rung(all, n, &all[i]));
}
