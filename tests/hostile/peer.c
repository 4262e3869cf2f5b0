/* SPDX-License-Identifier: Apache-2.0
 *
 * Talking to the manager, and finding things in the segment, without the library.
 */
#include "answer.h"
#include "core/directory.h"
#include "core/sysv.h"
#include "hostile.h"

#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>

uint32_t real_key(void) {
    return (uint32_t)strtoul(getenv("SHMC_KEY"), NULL, 0);
}

const char *beside_socket(const char *suffix) {
    static char path[200];
    snprintf(path, sizeof path, "%s/%08x%s", getenv("SHMC_RUNTIME_DIR"), real_key(), suffix);
    return path;
}

int try_call(void) {
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && protocol_address(&address, getenv("SHMC_RUNTIME_DIR"), real_key()) == 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    int error = -errno;
    close(fd);
    return error;
}

void take_message(int socket, union protocol_message *m, int *fd) {
    struct pollfd wait = {.fd = socket, .events = POLLIN};
    CHECK_IS(poll(&wait, 1, PATIENCE_MS), 1);
    CHECK_IS(protocol_receive(socket, m, fd), 0);
}

int call_manager(void) {
    union protocol_message hello;
    int fd = try_call();
    CHECK(fd >= 0);
    take_message(fd, &hello, NULL);
    CHECK_IS(hello.head.type, PROTOCOL_HELLO);
    return fd;
}

void send_bytes(int socket, const void *bytes, size_t n) {
    CHECK(send(socket, bytes, n, MSG_NOSIGNAL) == (ssize_t)n);
}

void send_as(int socket, union protocol_message *m, enum protocol_type type, size_t bytes) {
    protocol_fill(&m->head, type, bytes, 0);
    send_bytes(socket, m, bytes);
}

void refused(int socket, int result, const char *says) {
    union protocol_message m;
    struct pollfd wait = {.fd = socket, .events = POLLRDHUP};
    int fd = -1;
    take_message(socket, &m, &fd);
    CHECK(fd < 0);
    CHECK_IS(m.head.type, PROTOCOL_REFUSED);
    CHECK_IS(m.head.result, result);
    CHECK_SAYS(m.refused.text, says);
    CHECK_IS(poll(&wait, 1, PATIENCE_MS), 1); /* and that was all */
    close(socket);
}

void request_refused(const char *text, int result, const char *says) {
    union protocol_message m = {0};
    int socket = call_manager();
    snprintf(m.request.text, sizeof m.request.text, "%s", text);
    send_as(socket, &m, PROTOCOL_REQUEST, sizeof m.request);
    refused(socket, result, says);
}

int fetch(const struct protocol_map *wanted, uint64_t *bytes) {
    union protocol_message m = {.map = *wanted};
    int fd = -1, socket = call_manager();
    send_as(socket, &m, PROTOCOL_MAP, sizeof m.map);
    take_message(socket, &m, &fd);
    close(socket);
    return answer_part(&m, fd, bytes);
}

uint8_t *attach_all(bool writable) {
    int id;
    void *base;
    CHECK_IS(sysv_find(real_key(), &id), 0);
    CHECK_IS(sysv_attach(id, writable, &base), 0);
    return base;
}

static void find_section(const uint8_t *base, const char *name, struct shm_section *section,
                         struct shm_arena *arena) {
    struct shm_header header;
    struct shm_directory head;
    memcpy(&header, base, sizeof header);
    const uint8_t *at = base + header.directories[header.generation & 1].offset;
    memcpy(&head, at, sizeof head);
    for (uint32_t i = 0; i < head.slots_used; i++) {
        memcpy(section, at + head.sections_off + i * sizeof *section, sizeof *section);
        if (section->state != SHM_PLACE_LIVE || strcmp(section->name, name) != 0)
            continue;
        memcpy(arena, at + head.arenas_off + section->arena_index * sizeof *arena, sizeof *arena);
        return;
    }
    fprintf(stderr, "there is no section %s\n", name);
    exit(1);
}

struct protocol_map arena_of(const char *name, struct shm_section *section) {
    struct shm_section ours;
    struct shm_arena arena;
    struct shmc_segment_info info;
    shmc *segment = attach(NULL, 0);
    CHECK_IS(shmc_segment(segment, &info), 0);
    find_section(info.base, name, section == NULL ? &ours : section, &arena);
    const struct protocol_map map = {.part = PROTOCOL_PART_ARENA,
                                     .index =
                                         section == NULL ? ours.arena_index : section->arena_index,
                                     .incarnation = arena.incarnation};
    shmc_detach(segment);
    return map;
}

uint8_t *extent_of(shmc *segment, const char *name, struct shm_section *ret) {
    struct shmc_segment_info info;
    struct shm_arena arena;
    CHECK_IS(shmc_segment(segment, &info), 0);
    find_section(info.base, name, ret, &arena);
    return (uint8_t *)(uintptr_t)info.base + ret->offset;
}

uint64_t lease_epoch(shmc *segment, const char *worker, uint32_t *attachment) {
    struct shmc_worker_info info;
    struct shmc_segment_info about;
    struct shm_attachment record;
    CHECK_IS(shmc_inspect_worker(segment, worker, &info), 0);
    CHECK_IS(shmc_segment(segment, &about), 0);
    const struct shm_header *h = about.base;
    memcpy(&record,
           (const uint8_t *)about.base + h->attachments_off + info.attachment * sizeof record,
           sizeof record);
    *attachment = info.attachment;
    return lease_word_epoch(record.word);
}
