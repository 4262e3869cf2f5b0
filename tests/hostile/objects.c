/* SPDX-License-Identifier: Apache-2.0
 *
 * What can be tried with a descriptor that was handed out, or with the System V object: to open it
 * anew, to change its size, its rights, its seals, to lock it, to remove it.
 */
#include "core/sysv.h"
#include "hostile.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/file.h>
#include <sys/shm.h>

static struct parts {
    int fd[2]; /* header, the victim's arena */
    uint64_t bytes[2];
} got;

static void take_parts(void) {
    struct protocol_map header = {.part = PROTOCOL_PART_HEADER}, arena = arena_of("temps", NULL);
    got.fd[0] = fetch(&header, &got.bytes[0]);
    got.fd[1] = fetch(&arena, &got.bytes[1]);
    CHECK(got.fd[0] >= 0 && got.fd[1] >= 0);
}

#define EACH_PART(fd, bytes)                                                                       \
    take_parts();                                                                                  \
    for (int i = 0, fd = got.fd[0]; i < 2; i++, fd = got.fd[1])                                    \
        for (uint64_t bytes = got.bytes[i]; bytes != 0; bytes = 0)

static void write_descriptor(void) {
    EACH_PART(fd, bytes) {
        REFUSED(write(fd, "x", 1), EBADF);
        REFUSED(pwrite(fd, "x", 1, (off_t)bytes - 1), EBADF);
    }
}

static void reopen(void) {
    char path[32];
    EACH_PART(fd, bytes) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        REFUSED(open(path, O_RDWR | O_CLOEXEC), EACCES);
        REFUSED(open(path, O_WRONLY | O_CLOEXEC), EACCES);
        REFUSED(open(path, O_RDONLY | O_TRUNC | O_CLOEXEC), EACCES);
        snprintf(path, sizeof path, "/dev/fd/%d", fd);
        REFUSED(open(path, O_RDWR | O_CLOEXEC), EACCES);
        CHECK_IS(fcntl(fd, F_SETFL, O_RDWR), 0); /* which is ignored */
        REFUSED(write(fd, "x", 1), EBADF);
    }
}

static void truncate_it(void) {
    char path[32];
    EACH_PART(fd, bytes) {
        REFUSED(ftruncate(fd, 0), EINVAL);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        REFUSED(truncate(path, 0), EACCES);
    }
}

static void grow_it(void) {
    EACH_PART(fd, bytes) {
        REFUSED(ftruncate(fd, (off_t)bytes * 2), EINVAL);
        REFUSED(fallocate(fd, 0, (off_t)bytes, SHM_PAGE), EBADF);
    }
}

static void punch(void) {
    EACH_PART(fd, bytes) {
        REFUSED(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes), EBADF);
        REFUSED(fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, (off_t)bytes), EBADF);
    }
}

static void add_seals(void) {
    EACH_PART(fd, bytes) {
        REFUSED(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EPERM);
        REFUSED(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), EPERM);
    }
}

static int segment_id(void) {
    int id = shmget((key_t)real_key(), 0, 0);
    CHECK(id >= 0);
    return id;
}

static void change_rights(void) {
    if (!on_memfd()) {
        struct shmid_ds stat;
        CHECK(shmctl(segment_id(), IPC_STAT, &stat) == 0);
        stat.shm_perm.uid = geteuid();
        stat.shm_perm.mode = 0666;
        REFUSED(shmctl(segment_id(), IPC_SET, &stat), EPERM);
        return;
    }
    EACH_PART(fd, bytes) {
        REFUSED(fchmod(fd, 0666), EPERM);
        REFUSED(fchown(fd, geteuid(), (gid_t)-1), EPERM);
    }
}

/* memfd: nothing stands under the key, and nothing has a name. */
static void remove_it(void) {
    char path[32];
    if (!on_memfd()) {
        REFUSED(shmctl(segment_id(), IPC_RMID, NULL), EPERM);
        return;
    }
    REFUSED(shmget((key_t)real_key(), 0, 0), ENOENT);
    EACH_PART(fd, bytes) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        CHECK(unlink(path) < 0 && (errno == EPERM || errno == EACCES));
    }
}

static void name_it(void) {
    char path[32];
    EACH_PART(fd, bytes) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        CHECK(linkat(AT_FDCWD, path, AT_FDCWD, "/dev/shm/stolen", AT_SYMLINK_FOLLOW) < 0);
        CHECK(errno == ENOENT || errno == EXDEV || errno == EPERM);
    }
}

static void execute_it(void) {
    EACH_PART(fd, bytes) {
        REFUSED(fexecve(fd, (char *[]){(char[]){"x"}, NULL}, (char *[]){NULL}), EACCES);
    }
}

/* A lock on what was handed out holds up nobody. */
static void lock_out(void) {
    struct flock all = {.l_type = F_WRLCK}, shared = {.l_type = F_RDLCK};
    if (!on_memfd()) {
        REFUSED(shmctl(segment_id(), SHM_LOCK, NULL), EPERM);
        return;
    }
    EACH_PART(fd, bytes) {
        REFUSED(fcntl(fd, F_OFD_SETLKW, &all), EBADF);
        REFUSED(fcntl(fd, F_SETLKW, &all), EBADF);
        CHECK(fcntl(fd, F_OFD_SETLK, &shared) == 0);
        CHECK(flock(fd, LOCK_EX | LOCK_NB) == 0);
    }
    victim_goes_on();
    CHECK_IS(root_edits("UPDATE section SET stale_ms = 1000 WHERE name = 'bait'"), 0);
    CHECK_IS(root_edits("UPDATE section SET stale_ms = 0 WHERE name = 'bait'"), 0);
    shmc_detach(attach("mallory", 0));
}

static void take_file_lease(void) {
    EACH_PART(fd, bytes) {
        REFUSED(fcntl(fd, F_SETLEASE, F_RDLCK), EACCES);
        REFUSED(fcntl(fd, F_SETLEASE, F_WRLCK), EACCES);
    }
}

/* ---- bells: everybody rings them, and nobody takes them away */

static int bells_fd(uint64_t *bytes) {
    int fd = fetch(&(struct protocol_map){.part = PROTOCOL_PART_BELLS}, bytes);
    CHECK(fd >= 0);
    return fd;
}

static int bells_id(void) {
    shmc *segment = attach(NULL, 0);
    struct shmc_segment_info info;
    CHECK_IS(shmc_segment(segment, &info), 0);
    int id = (int)((const struct shm_header *)info.base)->bell_id - 1;
    shmc_detach(segment);
    return id;
}

static void resize_bells(void) {
    uint64_t bytes;
    if (!on_memfd()) {
        REFUSED(shmctl(bells_id(), IPC_RMID, NULL), EPERM);
        return;
    }
    int fd = bells_fd(&bytes);
    REFUSED(ftruncate(fd, 0), EPERM);
    REFUSED(ftruncate(fd, (off_t)bytes * 2), EPERM);
    REFUSED(fallocate(fd, 0, (off_t)bytes, SHM_PAGE), EPERM);
}

static void seal_bells(void) {
    uint64_t bytes;
    int fd = bells_fd(&bytes);
    REFUSED(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), EPERM);
    REFUSED(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EPERM);
    REFUSED(fchmod(fd, 0), EPERM);
}

static uint8_t *map_bells(uint64_t *bytes) {
    void *at;
    if (on_memfd()) {
        int fd = bells_fd(bytes);
        at = mmap(NULL, *bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        CHECK(at != MAP_FAILED);
        close(fd);
        return at;
    }
    struct shmid_ds stat;
    int id = bells_id();
    CHECK(shmctl(id, IPC_STAT, &stat) == 0);
    CHECK_IS(sysv_attach(id, true, &at), 0);
    *bytes = stat.shm_segsz;
    return at;
}

/* Any bytes in the bells, and pages taken away under them, cost time and nothing else. */
static void spoil_bells(void) {
    uint64_t bytes, head = SHM_LINE;
    uint8_t *bells = map_bells(&bytes), constant[SHM_LINE];
    memcpy(constant, bells, head);
    for (unsigned seed = 1; seed <= 40; seed++) {
        for (uint64_t i = head; i < bytes; i++)
            bells[i] = (uint8_t)(seed < 20 ? (unsigned)rand() : seed % 3 * 127);
        victim_goes_on();
    }
    memset(bells, 0xff, head);
    victim_goes_on();
    CHECK(madvise(bells, bytes, MADV_REMOVE) == 0);
    victim_goes_on();
    memcpy(bells, constant, head);
}

const struct attack object_attacks[] = {{"write_descriptor", READER, NONE, write_descriptor},
                                        {"reopen_through_proc", READER, NONE, reopen},
                                        {"truncate", READER, NONE, truncate_it},
                                        {"grow", READER, NONE, grow_it},
                                        {"punch_holes", READER, NONE, punch},
                                        {"add_seals", READER, NONE, add_seals},
                                        {"change_rights", READER, DENIED, change_rights},
                                        {"remove", READER, DENIED, remove_it},
                                        {"give_it_a_name", READER, NONE, name_it},
                                        {"execute", READER, NONE, execute_it},
                                        {"lock_out", READER, DENIED, lock_out},
                                        {"take_file_lease", READER, NONE, take_file_lease},
                                        {"resize_bells", READER, DENIED, resize_bells},
                                        {"seal_bells", READER, NONE, seal_bells},
                                        {"spoil_bells", READER, DENIED, spoil_bells},
                                        {0}};
