/* SPDX-License-Identifier: Apache-2.0
 *
 * The processes, files and names that the manager and the victim stand on.
 */
#include "hostile.h"
#include "keeper.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/ipc.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>

/* ---- processes */

static void trace(void) {
    REFUSED(ptrace(PTRACE_ATTACH, manager_pid(), NULL, NULL), EPERM);
    REFUSED(ptrace(PTRACE_SEIZE, victim_pid(), NULL, NULL), EPERM);
}

static void process_memory(void) {
    char byte = 'x';
    static char target;
    struct iovec from = {.iov_base = &byte, .iov_len = 1}, to = {.iov_base = &target, .iov_len = 1};
    REFUSED(process_vm_writev(victim_pid(), &from, 1, &to, 1, 0), EPERM);
    REFUSED(process_vm_readv(victim_pid(), &from, 1, &to, 1, 0), EPERM);
    REFUSED(process_vm_writev(manager_pid(), &from, 1, &to, 1, 0), EPERM);
}

static void signals(void) {
    const int all[] = {0, SIGTERM, SIGKILL, SIGSTOP, SIGHUP, SIGABRT, SIGRTMIN};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        REFUSED(kill(manager_pid(), all[i]), EPERM);
        REFUSED(kill(victim_pid(), all[i]), EPERM);
    }
    union sigval value = {0};
    REFUSED(sigqueue(manager_pid(), SIGTERM, value), EPERM);
}

static void steal_descriptors(void) {
    const pid_t of[] = {manager_pid(), victim_pid()};
    for (int i = 0; i < 2; i++) {
        int pidfd = (int)syscall(SYS_pidfd_open, of[i], 0);
        CHECK(pidfd >= 0);
        for (int fd = 0; fd < 32; fd++)
            REFUSED(syscall(SYS_pidfd_getfd, pidfd, fd, 0), EPERM);
        REFUSED(syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0), EPERM);
        close(pidfd);
    }
}

static void limits(void) {
    const struct rlimit none = {0};
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(0, &cpus);
    REFUSED(prlimit(manager_pid(), RLIMIT_NOFILE, &none, NULL), EPERM);
    REFUSED(prlimit(victim_pid(), RLIMIT_AS, &none, NULL), EPERM);
    REFUSED(sched_setaffinity(manager_pid(), sizeof cpus, &cpus), EPERM);
    REFUSED(setpriority(PRIO_PROCESS, (id_t)manager_pid(), 19), EPERM);
}

/* ---- files */

static void runtime_directory(void) {
    char socket_path[256], path[256];
    snprintf(socket_path, sizeof socket_path, "%s", beside_socket(".sock"));
    REFUSED(unlink(socket_path), EACCES);
    REFUSED(chmod(socket_path, 0), EPERM);
    REFUSED(chmod(getenv("SHMC_RUNTIME_DIR"), 0777), EPERM);
    snprintf(path, sizeof path, "%s", beside_socket(".keeper"));
    REFUSED(unlink(path), on_memfd() ? EACCES : ENOENT);
    snprintf(path, sizeof path, "%s/mine", getenv("SHMC_RUNTIME_DIR"));
    REFUSED(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600), EACCES);
    REFUSED(rename(socket_path, path), EACCES);
    REFUSED(symlink("/etc/passwd", path), EACCES);
    REFUSED(mkdir(path, 0777), EACCES);
    REFUSED(mknod(path, S_IFIFO | 0666, 0), EACCES);
}

/* The link by which those who are attached notice that another segment is served. */
static void pretend_successor(void) {
    char path[256], fresh[264];
    snprintf(path, sizeof path, "%s", beside_socket(".segment"));
    snprintf(fresh, sizeof fresh, "%s.new", path);
    REFUSED(unlink(path), on_memfd() ? EACCES : ENOENT);
    REFUSED(symlink("0000000000000001", path), on_memfd() ? EEXIST : EACCES);
    REFUSED(symlink("0000000000000001", fresh), EACCES);
    REFUSED(rename(beside_socket(".sock"), path), EACCES);
}

/* To be there in the manager's stead, or before the next. */
static void listen_in_its_place(void) {
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && protocol_address(&address, getenv("SHMC_RUNTIME_DIR"), real_key()) == 0);
    REFUSED(bind(fd, (struct sockaddr *)&address, sizeof address), EADDRINUSE);
    CHECK(protocol_address(&address, getenv("SHMC_RUNTIME_DIR"), real_key() + 1) == 0);
    REFUSED(bind(fd, (struct sockaddr *)&address, sizeof address), EACCES);
    close(fd);
}

static void tables(void) {
    char path[300];
    snprintf(path, sizeof path, "%s", getenv("SHM_TEST_TABLE"));
    REFUSED(open(path, O_RDWR | O_CLOEXEC), EACCES);
    REFUSED(open(path, O_RDONLY | O_CLOEXEC), EACCES);
    REFUSED(unlink(path), EACCES);
    strcat(path, "-journal");
    REFUSED(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666), EACCES);
    snprintf(path, sizeof path, "%s/../state/state.db", getenv("SHMC_RUNTIME_DIR"));
    REFUSED(open(path, O_RDWR | O_CLOEXEC), EACCES);
    REFUSED(open(path, O_RDONLY | O_CLOEXEC), EACCES);
    REFUSED(unlink(path), EACCES);
}

static int sqlite(const char *sql) {
    int status;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 2);
        execlp("sqlite3", "sqlite3", getenv("SHM_TEST_TABLE"), sql, (char *)NULL);
        _exit(127);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* A trigger would run as whoever edits the table next.  Who may write it can plant one; the
 * manager then takes nothing from that table, and what ran goes on. */
static void plant_trigger(void) {
    static const char trigger[] = "CREATE TRIGGER bait AFTER UPDATE ON section BEGIN "
                                  "DELETE FROM worker; END";
    static const char *const planted[][2] = {
        {trigger, "DROP TRIGGER bait"},
        {"CREATE VIEW bait AS SELECT * FROM section", "DROP VIEW bait"},
        {"CREATE TABLE bait(x)", "DROP TABLE bait"},
        {"CREATE INDEX bait ON section(size)", "DROP INDEX bait"}};
    CHECK(sqlite(trigger) != 0 && sqlite("SELECT 1 FROM section") != 0);
    for (size_t i = 0; i < sizeof planted / sizeof *planted; i++) {
        CHECK(root_edits(planted[i][0]) < 0);
        victim_goes_on();
        CHECK_IS(root_edits(planted[i][1]), 0);
    }
}

/* ---- the keeper */

static void ask_the_keeper(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", beside_socket(".keeper"));
    CHECK(fd >= 0 && access(address.sun_path, F_OK) == 0);
    REFUSED(connect(fd, (struct sockaddr *)&address, sizeof address), EACCES);
    REFUSED(open(address.sun_path, O_RDWR | O_CLOEXEC), EACCES);
    close(fd);
}

/* By the manager's user, whom it lets in: bytes that no manager sends. */
void pester_keeper(void) {
    static uint8_t bytes[2 * sizeof(struct keeper_message)];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", beside_socket(".keeper"));
    become(MANAGER_UID, MANAGER_UID, NULL, 0);
    for (unsigned i = 0; i < 500; i++) {
        struct keeper_message m = {
            .magic = KEEPER_MAGIC, .version = KEEPER_VERSION, .op = (uint16_t)(5 + rand() % 1000)};
        size_t n = i % 2 == 0 ? sizeof m : 1 + (unsigned)rand() % (sizeof bytes - 1);
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
        for (size_t at = 0; at < sizeof bytes; at++)
            bytes[at] = (uint8_t)rand();
        if (i % 2 == 0)
            memcpy(bytes, &m, sizeof m);
        int r = packet_send(fd, bytes, n, i % 3 == 0 ? 0 : -1, 0);
        CHECK(r == 0 || r == -EPIPE || r == -ECONNRESET);
        close(fd);
    }
}

/* ---- names of System V */

static void second_manager(void) {
    struct sembuf down = {.sem_op = -1, .sem_flg = IPC_NOWAIT},
                  up = {.sem_op = 1, .sem_flg = IPC_NOWAIT};
    int id = semget((key_t)real_key(), 0, 0);
    CHECK(id >= 0);
    REFUSED(semop(id, &down, 1), EACCES);
    REFUSED(semop(id, &up, 1), EACCES);
    REFUSED(semctl(id, 0, SETVAL, 0), EACCES);
    REFUSED(semctl(id, 0, IPC_RMID), EPERM);
    REFUSED(semget((key_t)real_key(), 1, IPC_CREAT | IPC_EXCL | 0666), EEXIST);
}

/* memfd: the key is free for System V, and who attaches isn't misled by what stands there. */
static void squat_key(void) {
    if (!on_memfd()) {
        REFUSED(shmget((key_t)real_key(), SHM_PAGE, IPC_CREAT | IPC_EXCL | 0666), EEXIST);
        return;
    }
    for (int mode = 0600; mode <= 0666; mode += 066) {
        int id = shmget((key_t)real_key(), SHM_PAGE, IPC_CREAT | IPC_EXCL | mode);
        CHECK(id >= 0);
        CHECK_IS(root_requests("status"), 0);
        CHECK_IS(root_attaches(), 0);
        victim_goes_on();
        CHECK(shmctl(id, IPC_RMID, NULL) == 0);
    }
}

const struct attack host_attacks[] = {{"ptrace", READER, DENIED, trace},
                                      {"process_vm_writev", READER, DENIED, process_memory},
                                      {"signals", READER, DENIED, signals},
                                      {"steal_descriptors", READER, DENIED, steal_descriptors},
                                      {"limits_of_others", READER, DENIED, limits},
                                      {"runtime_directory", READER, DENIED, runtime_directory},
                                      {"pretend_successor", READER, DENIED, pretend_successor},
                                      {"listen_in_its_place", READER, DENIED, listen_in_its_place},
                                      {"databases", WORKER, DENIED, tables},
                                      {"plant_a_trigger", WORKER, DENIED, plant_trigger},
                                      {"ask_the_keeper", WORKER, NONE, ask_the_keeper},
                                      {"second_manager", READER, DENIED, second_manager},
                                      {"squat_the_key", READER, DENIED, squat_key},
                                      {0}};
