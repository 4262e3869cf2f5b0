/* SPDX-License-Identifier: Apache-2.0
 *
 * To write what is another's: by mapping, by remapping, by a file that the kernel offers.
 */
#include "hostile.h"

#include <fcntl.h>
#include <sys/shm.h>
#include <sys/uio.h>

#define MAP_BYTES SHM_PAGE

static const struct protocol_map the_header = {.part = PROTOCOL_PART_HEADER};

static int header_fd(void) {
    int fd = fetch(&the_header, NULL);
    CHECK(fd >= 0);
    return fd;
}

static int arena_fd(void) {
    struct protocol_map map = arena_of("temps", NULL);
    int fd = fetch(&map, NULL);
    CHECK(fd >= 0);
    return fd;
}

static void mapping_refused(int fd) {
    REFUSED(mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), EACCES);
    REFUSED(mmap(NULL, MAP_BYTES, PROT_WRITE, MAP_SHARED_VALIDATE, fd, 0), EACCES);
}

/* sysv: any member of the group; the manager mends what is constant (scribble_header). */
static void map_header(void) {
    if (on_memfd())
        mapping_refused(header_fd());
    else
        shmdt(attach_all(true));
}

static void map_arena(void) {
    if (on_memfd())
        mapping_refused(arena_fd());
    else
        shmdt(attach_all(true));
}

/* An outsider gets nothing, to read either. */
static void attach_uninvited(void) {
    CHECK_IS(try_attach(NULL, 0), -EACCES);
    CHECK_SAYS(refusal, on_memfd() ? "is not in the segment's group" : "become a member");
    if (on_memfd()) {
        CHECK_IS(fetch(&the_header, NULL), -EACCES);
        CHECK_IS(fetch(&(struct protocol_map){.part = PROTOCOL_PART_BELLS}, NULL), -EACCES);
        CHECK_IS(fetch(&(struct protocol_map){.part = PROTOCOL_PART_ARENA}, NULL), -EACCES);
        return;
    }
    int id = shmget((key_t)real_key(), 0, 0);
    CHECK(id >= 0);
    REFUSED(shmat(id, NULL, SHM_RDONLY), EACCES);
    REFUSED(shmat(id, NULL, 0), EACCES);
    REFUSED(shmctl(id, IPC_STAT, &(struct shmid_ds){0}), EACCES);
}

static void read_secret(void) {
    shmc *segment = attach(NULL, 0);
    shmc_section *section = NULL;
    CHECK_IS(shmc_open(&section, segment, "secret", NULL), -EACCES);
    CHECK_SAYS(shmc_last_error(segment), "is not in the group");
    struct protocol_map map = arena_of("secret", NULL);
    CHECK_IS(fetch(&map, NULL), -EACCES);
    shmc_detach(segment);
}

/* ---- through the library's mapping */

static uint8_t *victims_bytes(const char *worker, shmc **segment) {
    struct shm_section section;
    *segment = attach(worker, 0);
    open_section(*segment, "temps");
    return extent_of(*segment, "temps", &section);
}

static uint8_t *header_of(shmc *segment) {
    struct shmc_segment_info info;
    CHECK_IS(shmc_segment(segment, &info), 0);
    return (uint8_t *)(uintptr_t)info.base;
}

static uint8_t *page_of(uint8_t *at) {
    return (uint8_t *)((uintptr_t)at & ~(uintptr_t)(SHM_PAGE - 1));
}

static void store_faults(uint8_t *at) {
    int status;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL);
        prctl(PR_SET_DUMPABLE, 0);
        *(volatile uint8_t *)at = 1;
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFSIGNALED(status));
    CHECK_IS(WTERMSIG(status), SIGSEGV);
}

static void stray_store_reader(void) {
    shmc *segment;
    store_faults(victims_bytes(NULL, &segment));
    store_faults(header_of(segment));
}

static void stray_store_worker(void) {
    shmc *segment;
    store_faults(victims_bytes("mallory", &segment));
    store_faults(header_of(segment));
}

static void upgrade_as_reader(void) {
    shmc *segment;
    uint8_t *page = page_of(victims_bytes(NULL, &segment));
    REFUSED(mprotect(page, SHM_PAGE, PROT_READ | PROT_WRITE), EACCES);
    REFUSED(mprotect(header_of(segment), SHM_PAGE, PROT_WRITE), EACCES);
}

/* sysv: a worker has it mapped writable beneath; the library keeps honest ones from it only. */
static void upgrade_as_worker(void) {
    shmc *segment;
    uint8_t *page = page_of(victims_bytes("mallory", &segment));
    if (!on_memfd()) {
        CHECK(mprotect(page, SHM_PAGE, PROT_READ | PROT_WRITE) == 0);
        CHECK(mprotect(page, SHM_PAGE, PROT_READ) == 0);
        return;
    }
    REFUSED(mprotect(page, SHM_PAGE, PROT_READ | PROT_WRITE), EACCES);
    REFUSED(mprotect(header_of(segment), SHM_PAGE, PROT_WRITE), EACCES);
}

static void remove_pages(void) {
    shmc *segment;
    uint8_t *page = page_of(victims_bytes(NULL, &segment));
    REFUSED(madvise(page, SHM_PAGE, MADV_REMOVE), EACCES);
    REFUSED(madvise(header_of(segment), SHM_PAGE, MADV_REMOVE), EACCES);
}

/* ---- through /proc */

static void proc_self_mem(void) {
    shmc *segment;
    uint8_t *at = victims_bytes(NULL, &segment);
    int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0);
    REFUSED(pwrite(fd, "x", 1, (off_t)(uintptr_t)at), EIO);
    REFUSED(pwrite(fd, "x", 1, (off_t)(uintptr_t)header_of(segment)), EIO);
    struct iovec from = {.iov_base = (char[]){"x"}, .iov_len = 1},
                 to = {.iov_base = at, .iov_len = 1};
    REFUSED(process_vm_writev(getpid(), &from, 1, &to, 1, 0), EFAULT);
}

static void proc_map_files(void) {
    shmc *segment;
    char path[100], line[300];
    unsigned long start = (uintptr_t)page_of(victims_bytes(NULL, &segment)), end = 0, from;
    FILE *maps = fopen("/proc/self/maps", "re");
    CHECK(maps != NULL);
    while (fgets(line, sizeof line, maps) != NULL)
        if (sscanf(line, "%lx-%lx", &from, &end) == 2 && from <= start && start < end)
            break;
    fclose(maps);
    snprintf(path, sizeof path, "/proc/self/map_files/%lx-%lx", from, end);
    CHECK(open(path, O_RDWR | O_CLOEXEC) < 0 && (errno == EPERM || errno == EACCES));
}

/* Another's process is as good as its memory. */
static void proc_of_others(void) {
    static const char *const files[] = {"mem", "maps", "fd", "map_files", "environ"};
    char path[64];
    for (size_t i = 0; i < 2 * sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "/proc/%d/%s", i % 2 == 0 ? manager_pid() : victim_pid(),
                 files[i / 2]);
        CHECK(open(path, O_RDONLY | O_CLOEXEC) < 0 && (errno == EACCES || errno == EPERM));
    }
    for (int fd = 0; fd < 64; fd++) {
        snprintf(path, sizeof path, "/proc/%d/fd/%d", manager_pid(), fd);
        REFUSED(open(path, O_RDWR | O_CLOEXEC), EACCES);
    }
}

/* ---- stores that sysv can't stop */

/* The manager has a shadow of all that it wrote, compares, and mends. */
static void scribble_header(void) {
    if (on_memfd()) {
        mapping_refused(header_fd());
        return;
    }
    shmc *reader = attach(NULL, 0);
    struct shmc_section_info info;
    uint8_t *base = attach_all(true);
    struct shm_header before;
    memcpy(&before, base, sizeof before);
    memset(base, 0xff, 192); /* identity, geometry, the commit word */
    AWAIT(memcmp(base, &before, 128) == 0 && shmc_inspect(reader, "temps", &info) == 0);
    struct shm_header after;
    memcpy(&after, base, sizeof after);
    CHECK_IS(after.generation, before.generation);
    shmc_detach(reader);
}

/* The victim's next publish is whole again; what a reader is given until then is a value of the
 * victim's length, or an error. */
static void scribble_value(void) {
    struct shm_section section;
    if (on_memfd()) {
        mapping_refused(arena_fd());
        return;
    }
    arena_of("temps", &section);
    uint8_t *base = attach_all(true), value[VALUE_BYTES];
    shmc *reader = attach(NULL, 0);
    shmc_section *temps = open_section(reader, "temps");
    memset(base + section.ctl_off + sizeof(struct shm_snapshot), 0xff,
           section.offset + section.bytes - section.ctl_off - sizeof(struct shm_snapshot));
    ssize_t n = shmc_read(temps, value, sizeof value, NULL);
    CHECK(n == -EAGAIN || n == -EBADMSG || n == -ENODATA || n == sizeof value);
    victim_goes_on();
    CHECK_IS(shmc_read(temps, value, sizeof value, NULL), sizeof value);
}

const struct attack memory_attacks[] = {{"attach_uninvited", OUTSIDER, DENIED, attach_uninvited},
                                        {"read_secret", READER, NONE, read_secret},
                                        {"map_header_writable", READER, OPEN, map_header},
                                        {"map_arena_writable", READER, OPEN, map_arena},
                                        {"stray_store_reader", READER, DENIED, stray_store_reader},
                                        {"stray_store_worker", WORKER, DENIED, stray_store_worker},
                                        {"mprotect_as_reader", READER, DENIED, upgrade_as_reader},
                                        {"mprotect_as_worker", WORKER, OPEN, upgrade_as_worker},
                                        {"madvise_remove", READER, DENIED, remove_pages},
                                        {"proc_self_mem", READER, DENIED, proc_self_mem},
                                        {"proc_self_map_files", READER, DENIED, proc_map_files},
                                        {"proc_of_others", READER, DENIED, proc_of_others},
                                        {"scribble_header", READER, OPEN, scribble_header},
                                        {"scribble_value", READER, OPEN, scribble_value},
                                        {0}};
