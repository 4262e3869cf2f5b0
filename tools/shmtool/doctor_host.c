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

void look_at_kernel(struct doctor *doctor) {
    uint64_t bytes = table_bytes(doctor), page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t max = kernel_number("shmmax"), all = kernel_number("shmall");
    char remedy[128];
    unsigned wrong = doctor->count[WRONG];
    if (kernel_number("shm_rmid_forced") == 1)
        found(
            doctor, WRONG, "kernel.shm_rmid_forced", "sysctl -w kernel.shm_rmid_forced=0",
            "it is 1: the kernel removes a segment when its last process detaches, and all values "
            "with it");
    snprintf(remedy, sizeof remedy, "sysctl -w kernel.shmmax=%lu, or a smaller segment.size",
             bytes);
    if (max < bytes)
        found(doctor, WRONG, "kernel.shmmax", remedy,
              "it is %lu, and the table wants a segment of %lu bytes", max, bytes);
    snprintf(remedy, sizeof remedy, "sysctl -w kernel.shmall=%lu, or a smaller segment.size",
             2 * (bytes / page + 1));
    if (all < bytes / page)
        found(doctor, WRONG, "kernel.shmall", remedy,
              "it is %lu pages in all, and the table wants a segment of %lu", all, bytes / page);
    if (doctor->count[WRONG] == wrong)
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

void look_at_groups(struct doctor *doctor) {
    const char *name = doctor->table.group_name[0] ? doctor->table.group_name : "shm-workers";
    const struct group *group = getgrnam(name);
    char *end, remedy[160];
    unsigned long number = strtoul(name, &end, 10);
    bool by_number = *name && !*end;
    if (!group && !by_number) {
        snprintf(remedy, sizeof remedy, "systemd-sysusers, or groupadd --system %s", name);
        found(doctor, REMARK, "group", remedy,
              "there is no group '%s' here: only root, the manager's user and its group may attach",
              name);
        return;
    }
    if (geteuid() == 0) {
        found(doctor, FINE, "group", "", "'%s' exists; you are root, and may attach anyway", name);
        return;
    }
    snprintf(remedy, sizeof remedy, "usermod -aG %s USER as root, and log in anew", name);
    if (in_group(group ? group->gr_gid : (gid_t)number))
        found(doctor, FINE, "group", "", "you are in '%s', whose members may attach", name);
    else
        found(doctor, REMARK, "group", remedy,
              "you are not in '%s': unless the manager runs as you, you may not attach", name);
}

/* ---- segments */

/* One under our key that is not for us says so in IPC_STAT, or by what stands in it. */
static void look_inside(struct doctor *doctor, int id, const struct shmid_ds *stat) {
    struct directory directory;
    const char *field = "";
    char remedy[64];
    void *base;
    int r = sysv_attach(id, false, &base);
    if (r < 0) {
        found(doctor, WRONG, "segment", "become a member of its group", "shmid %d: %s", id,
              strerror(-r));
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
    else if (!doctor->status && !directory_manager_alive(&directory, NULL, NULL))
        found(doctor, REMARK, "segment", "start the manager: it adopts it with all values",
              "shmid %d is whole, and no manager serves it; readers and workers go on", id);
    else
        found(doctor, FINE, "segment", "", "shmid %d, %lu bytes, ABI %u", id,
              directory.header.segment_bytes, directory.header.abi);
    sysv_detach(base);
}

void look_at_segment(struct doctor *doctor) {
    struct shmid_ds stat;
    int id, r = sysv_find(doctor->key, &id);
    if (r == 0)
        r = sysv_stat(id, &stat);
    if (r == -ENOENT) {
        found(doctor, doctor->status ? WRONG : REMARK, "segment",
              doctor->status ? "restart the manager; are you in its IPC namespace?" : "",
              "there is none with key 0x%08x", doctor->key);
        return;
    }
    if (r < 0) {
        found(doctor, WRONG, "segment", "become a member of its group", "key 0x%08x: %s",
              doctor->key, strerror(-r));
        return;
    }
    if (stat.shm_perm.cuid > SYSTEM_UID_MAX && access("/run/systemd/system", F_OK) == 0)
        found(doctor, REMARK, "segment", "RemoveIPC=no in logind.conf, or a system user",
              "uid %u made it: systemd-logind removes what such a user leaves when it logs out",
              stat.shm_perm.cuid);
    look_inside(doctor, id, &stat);
}

struct found_segment {
    int id;
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

static bool has_segment(const struct found_segment *all, size_t n, uint64_t segment_id) {
    for (size_t i = 0; i < n; i++)
        if (all[i].magic == SHM_MAGIC && all[i].segment_id == segment_id)
            return true;
    return false;
}

static void judge_orphan(struct doctor *doctor, const struct found_segment *s, bool has_owner) {
    char remedy[96], size[TEXT_BYTES];
    snprintf(remedy, sizeof remedy, "ipcrm -m %d, if nobody needs its values", s->id);
    if (s->magic == SHM_MAGIC && s->key != doctor->key && !s->served && s->nattch == 0)
        found(doctor, REMARK, "orphan", remedy,
              "segment 0x%08x (shmid %d, %s) has no manager, and nobody is attached", s->key, s->id,
              text_bytes(size, s->bytes));
    if (s->magic != SHM_BELLS_MAGIC || has_owner || s->nattch != 0)
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
        judge_orphan(doctor, &all[i], has_segment(all, n, all[i].segment_id));
}
