/* SPDX-License-Identifier: Apache-2.0
 *
 * To be a worker that one isn't, or isn't any more.
 */
#include "core/crc32c.h"
#include "core/lease.h"
#include "hostile.h"

#include <fcntl.h>
#include <sys/mman.h>

static void claim_without_group(void) {
    CHECK_IS(try_attach("spare", 0), -EACCES);
    union protocol_message m = {.claim = {.worker = "crowd"}};
    int socket = call_manager();
    send_as(socket, &m, PROTOCOL_CLAIM, sizeof m.claim);
    refused(socket, -EACCES, "is not in the segment's group");
}

static void claim_of_another_user(void) {
    CHECK_IS(try_attach("driver", 0), -EACCES);
    CHECK_SAYS(refusal, "worker 'driver' may only be user '65521'");
}

static void claim_what_is_held(void) {
    CHECK_IS(try_attach("spare", 50), -EBUSY);
    CHECK_SAYS(refusal, "is held by process");
    CHECK_IS(refusal_holder, victim_pid());
}

/* Names come from anybody, and stand in the log. */
static void claim_strange_names(void) {
    static const char *const names[] = {"nobody",    "driver\nmanager: all is lost",
                                        "../driver", "%s%n%s",
                                        "driver#1",  "crowd#41",
                                        "crowd#0",   "\x1b[2Jdriver",
                                        " "};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        union protocol_message m = {0};
        int fd = -1, socket = call_manager();
        memcpy(m.claim.worker, names[i], strlen(names[i]));
        send_as(socket, &m, PROTOCOL_CLAIM, sizeof m.claim);
        take_message(socket, &m, &fd);
        CHECK(fd < 0 && m.head.type == PROTOCOL_REFUSED);
        CHECK(m.head.result == -ENOENT || m.head.result == -EACCES);
        CHECK(strpbrk(m.refused.text, "\n\x1b") == NULL);
        close(socket);
    }
}

/* The numbers of a lease are no secret: they stand in the header. */
static void borrow_numbers(void) {
    const int denied = on_memfd() ? -EACCES : -EOPNOTSUPP;
    shmc *segment = attach(NULL, 0);
    struct protocol_map arena = arena_of("temps", NULL);
    arena.writable = 1;
    CHECK_IS(fetch(&arena, NULL), denied);
    const uint64_t epoch = lease_epoch(segment, "driver", &arena.attachment);
    for (arena.attachment_epoch = 0; arena.attachment_epoch < 50; arena.attachment_epoch++)
        CHECK_IS(fetch(&arena, NULL), denied);
    arena.attachment_epoch = epoch;
    CHECK_IS(fetch(&arena, NULL), denied);
    shmc_detach(segment);
}

static void acknowledge_anothers(void) {
    shmc *segment = attach(NULL, 0);
    struct protocol_ack ack = {0};
    ack.attachment_epoch = lease_epoch(segment, "driver", &ack.attachment);
    shmc_detach(segment);
    union protocol_message m = {.ack = ack};
    int fd = -1, socket = call_manager();
    send_as(socket, &m, PROTOCOL_ACK, sizeof m.ack);
    refused(socket, -EBADMSG, "makes no sense here");
    socket = call_manager();
    m = (union protocol_message){.claim = {.worker = "crowd"}};
    send_as(socket, &m, PROTOCOL_CLAIM, sizeof m.claim);
    take_message(socket, &m, &fd);
    CHECK(m.head.type == PROTOCOL_GRANT && fd >= 0);
    m = (union protocol_message){.ack = ack};
    send_as(socket, &m, PROTOCOL_ACK, sizeof m.ack);
    refused(socket, -EBADMSG, "another lease than yours");
    close(fd);
}

/* As if `shmtool run` had left us the victim's lease.  sysv: it fools the library of the forger's
 * own process, which could as well attach for writing without it. */
static void forge_inherited(void) {
    char text[200];
    shmc *segment = attach(NULL, 0);
    struct shmc_worker_info info;
    struct lease_record forged = {.magic = LEASE_MAGIC, .worker = "driver"};
    CHECK_IS(shmc_inspect_worker(segment, "driver", &info), 0);
    forged.worker_epoch = info.epoch;
    forged.attachment_epoch = lease_epoch(segment, "driver", &forged.attachment);
    forged.crc = CRC32C_OF((const struct lease_record *)&forged);
    shmc_detach(segment);
    int fd = memfd_create("forged", 0);
    CHECK(fd >= 0 && write(fd, &forged, sizeof forged) == sizeof forged);
    snprintf(text, sizeof text, "0x%08x:driver:%u:%llu:%d", real_key(), forged.attachment,
             (unsigned long long)forged.attachment_epoch, fd);
    CHECK(setenv("SHMC_LEASE", text, 1) == 0);
    CHECK_IS(try_attach("driver", 0), on_memfd() ? -EACCES : 0);
    unsetenv("SHMC_LEASE");
}

/* ---- the lease's own file */

static void lease_file(void) {
    char path[32];
    struct flock lock = {.l_type = F_WRLCK};
    shmc *segment = attach("mallory", SHMC_LEASE_FD);
    int fd = shmc_lease_fd(segment);
    CHECK(fd >= 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    REFUSED(write(fd, "x", 1), EBADF);
    REFUSED(ftruncate(fd, 1 << 30), EINVAL);
    REFUSED(fallocate(fd, 0, 0, 1 << 30), EBADF); /* or /run would be full */
    REFUSED(open(path, O_RDWR | O_CLOEXEC), EACCES);
    REFUSED(open(path, O_WRONLY | O_TRUNC | O_CLOEXEC), EACCES);
    REFUSED(mmap(NULL, SHM_PAGE, PROT_WRITE, MAP_SHARED, fd, 0), EACCES);
    REFUSED(fcntl(fd, F_OFD_SETLK, &lock), EBADF);
    REFUSED(fchmod(fd, 0666), EPERM);
    REFUSED(fchown(fd, geteuid(), (gid_t)-1), EPERM);
    shmc_detach(segment);
}

static void leases_directory(void) {
    char path[256], other[300];
    snprintf(path, sizeof path, "%s", beside_socket(".leases"));
    REFUSED(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), EACCES);
    snprintf(other, sizeof other, "%s/1.1", path);
    REFUSED(open(other, O_RDONLY | O_CLOEXEC), EACCES);
    REFUSED(open(other, O_RDWR | O_CREAT | O_CLOEXEC, 0600), EACCES);
    REFUSED(unlink(other), EACCES);
    REFUSED(rename(other, path), EACCES);
    CHECK(rmdir(path) < 0 && rename(path, other) < 0);
}

/* ---- over, and not taken for over */

static void successor(int from, int to) {
    char order;
    shmc *segment = attach("mallory", 0);
    CHECK_IS(shmc_publish(open_section(segment, "bait"), "successor", 9), 0);
    say(to, 's');
    CHECK(read(from, &order, 1) >= 0);
    shmc_detach(segment);
}

static void bait_is(const char *wanted) {
    char value[64] = "";
    shmc *segment = attach(NULL, 0);
    CHECK_IS(shmc_read(open_section(segment, "bait"), value, sizeof value, NULL), strlen(wanted));
    CHECK(memcmp(value, wanted, strlen(wanted)) == 0);
    shmc_detach(segment);
}

/* Given up by its own lock, and locked again when another has it. */
static void take_up_again(void) {
    struct flock none = {.l_type = F_UNLCK}, lock = {.l_type = F_RDLCK};
    shmc *segment = attach("mallory", SHMC_LEASE_FD);
    shmc_section *section = open_section(segment, "bait");
    CHECK_IS(shmc_publish(section, "mine", 4), 0);
    CHECK(fcntl(shmc_lease_fd(segment), F_OFD_SETLK, &none) == 0);
    struct child child = start_child(successor);
    CHECK_IS(hear(child.from), 's');
    CHECK(fcntl(shmc_lease_fd(segment), F_OFD_SETLK, &lock) == 0);
    CHECK_IS(shmc_publish(section, "mine", 4), -EKEYREVOKED);
    bait_is("successor");
    CHECK_IS(try_attach("mallory", 0), -EBUSY);
    CHECK_IS(refusal_holder, child.pid);
    shmc_detach(segment);
    CHECK_IS(end_child(&child, 0), 0);
}

/* A name that anybody may have goes to another user, and the last one has kept the mapping.  sysv:
 * it is the same memory for all. */
static void keep_what_was_mapped(void) {
    struct flock none = {.l_type = F_UNLCK};
    shmc *segment = attach("heir", SHMC_LEASE_FD);
    void *data;
    size_t bytes;
    CHECK_IS(shmc_raw_writable(open_section(segment, "heirloom"), &data, &bytes), 0);
    memcpy(data, "mallory's", 10);
    CHECK(fcntl(shmc_lease_fd(segment), F_OFD_SETLK, &none) == 0);
    victim_succeeds();
    memcpy(data, "mallory's", 10);
    CHECK_IS(victim_has_what_it_wrote(), on_memfd());
    shmc_detach(segment);
}

/* sysv: the section is elsewhere now, but whoever is in the group may map that, too. */
static void write_there_all_the_same(shmc *segment) {
    struct shm_section bait;
    uint8_t *now = extent_of(segment, "bait", &bait);
    const uintptr_t page = (uintptr_t)now / SHM_PAGE * SHM_PAGE;
    CHECK(mprotect((void *)page, (uintptr_t)now + bait.bytes - page, PROT_READ | PROT_WRITE) == 0);
    memset(now + sizeof(struct shm_snapshot) + SHM_LINE, 'x', 9);
    memset(now + sizeof(struct shm_snapshot) + (bait.bytes - sizeof(struct shm_snapshot)) / 4 +
               SHM_LINE,
           'x', 9);
    char value[64] = "";
    CHECK_IS(shmc_read(open_section(segment, "bait"), value, sizeof value, NULL), 9);
    CHECK(memcmp(value, "xxxxxxxxx", 9) == 0);
}

/* What it still has mapped reaches nobody: not what it was about to publish, nor stray stores. */
static void write_after_revocation(void) {
    struct shm_section bait;
    shmc *segment = attach("mallory", SHMC_LEASE_FD);
    shmc_section *section = open_section(segment, "bait");
    CHECK_IS(shmc_publish(section, "mine", 4), 0);
    uint8_t *old = extent_of(segment, "bait", &bait);
    struct protocol_map map = arena_of("bait", NULL);
    map.attachment_epoch = lease_epoch(segment, "mallory", &map.attachment);
    CHECK_IS(root_requests("revoke mallory"), 0);
    memset(old, 0xff, bait.bytes);
    CHECK_IS(shmc_publish(section, "again", 5), -EKEYREVOKED);
    bait_is("mine");
    struct child child = start_child(successor);
    CHECK_IS(hear(child.from), 's');
    memset(old, 0x55, bait.bytes);
    CHECK_IS(shmc_publish(section, "again", 5), -EKEYREVOKED);
    bait_is("successor");
    map.writable = 1;
    CHECK(fetch(&map, NULL) < 0);
    map.incarnation = arena_of("bait", NULL).incarnation;
    CHECK_IS(fetch(&map, NULL), on_memfd() ? -EACCES : -EOPNOTSUPP);
    if (!on_memfd())
        write_there_all_the_same(segment);
    CHECK_IS(end_child(&child, 0), 0);
    shmc_detach(segment);
}

/* The table gives the worker to another user while it is held. */
static void outstay_the_table(void) {
    shmc *segment = attach("mallory", 0);
    shmc_section *section = open_section(segment, "bait");
    CHECK_IS(shmc_publish(section, "mine", 4), 0);
    CHECK_IS(root_edits("UPDATE worker SET user = '65521' WHERE name = 'mallory'"), 0);
    CHECK_IS(shmc_publish(section, "again", 5), -EKEYREVOKED);
    bait_is("mine");
    CHECK_IS(try_attach("mallory", 0), -EACCES);
    CHECK_IS(root_edits("UPDATE worker SET user = '65523' WHERE name = 'mallory'"), 0);
    shmc_detach(segment);
}

const struct attack lease_attacks[] = {
    {"claim_without_group", OUTSIDER, DENIED, claim_without_group},
    {"claim_of_another_user", READER, DENIED, claim_of_another_user},
    {"claim_what_is_held", READER, DENIED, claim_what_is_held},
    {"claim_strange_names", READER, DENIED, claim_strange_names},
    {"borrow_lease_numbers", READER, DENIED, borrow_numbers},
    {"acknowledge_anothers_lease", READER, DENIED, acknowledge_anothers},
    {"forge_inherited_lease", READER, OPEN, forge_inherited},
    {"lease_file", WORKER, DENIED, lease_file},
    {"leases_directory", WORKER, DENIED, leases_directory},
    {"take_lease_up_again", WORKER, DENIED, take_up_again},
    {"outstay_the_table", WORKER, DENIED, outstay_the_table},
    {"keep_what_was_mapped", READER, OPEN, keep_what_was_mapped},
    {"write_after_revocation", WORKER, OPEN, write_after_revocation},
    {0}};
