/* SPDX-License-Identifier: Apache-2.0
 *
 * The library's conversations with a manager that says anything: every call ends with a result and
 * one line of text, keeps no descriptor, and takes no lease that the segment doesn't know of.
 */
#include "client.h"
#include "core/memfd.h"
#include "fuzz_segment.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PART_BYTES (4 * SHM_PAGE)

static struct input *script;
static int server;
static bool memfd;     /* the manager serves that backend */
static bool anonymous; /* the client claims no name */

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t bytes);

static unsigned descriptors(void) {
    unsigned n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

static size_t size_of(enum protocol_type type) {
    switch (type) {
    case PROTOCOL_HELLO:
        return sizeof(struct protocol_hello);
    case PROTOCOL_WAITING:
    case PROTOCOL_REFUSED:
        return sizeof(struct protocol_refused);
    case PROTOCOL_GRANT:
        return sizeof(struct protocol_grant);
    case PROTOCOL_LEASED:
        return sizeof(struct protocol_ack);
    case PROTOCOL_PART:
        return sizeof(struct protocol_map);
    case PROTOCOL_REPLY:
        return sizeof(struct protocol_head) + 40;
    default:
        return sizeof(struct protocol_head);
    }
}

/* What a manager would say at that point, to begin with. */
static void make_right(union protocol_message *m, enum protocol_type type) {
    if (type == PROTOCOL_HELLO) {
        m->hello.abi = SHM_ABI;
        m->hello.key = 1;
        m->hello.segment_id = 77;
        m->hello.backend = memfd ? SHM_BACKEND_MEMFD : SHM_BACKEND_SYSV;
    } else if (type == PROTOCOL_PART) {
        m->map.part = 1 + take_below(script, 2);
        m->map.bytes = PART_BYTES;
    } else if (type == PROTOCOL_GRANT) {
        strcpy(m->grant.worker, anonymous ? "" : "driver");
        m->grant.worker_index = anonymous ? SHM_NONE : 0;
        m->grant.attachment = 1;
        m->grant.worker_epoch = m->grant.attachment_epoch = 7;
    } else if (type == PROTOCOL_LEASED) {
        m->ack.attachment = 1;
        m->ack.attachment_epoch = 7;
    } else {
        strcpy(m->refused.text, "no");
    }
}

static int some_memory(void) {
    int fd = -1;
    if (memfd && take_below(script, 4) != 0)
        MUST(memfd_make("part", PART_BYTES, &fd) == 0);
    else
        fd = memfd_create("lease", MFD_CLOEXEC);
    return fd;
}

/* 0: nothing was said; the conversation ends there. */
static bool say_something(int socket) {
    static const enum protocol_type types[] = {
        PROTOCOL_HELLO, PROTOCOL_GRANT, PROTOCOL_LEASED, PROTOCOL_WAITING, PROTOCOL_REFUSED,
        PROTOCOL_REPLY, PROTOCOL_DONE,  PROTOCOL_CLAIM,  PROTOCOL_PART,
    };
    union protocol_message m;
    memset(&m, 0, sizeof(struct protocol_refused));
    enum protocol_type type = types[take_below(script, sizeof types / sizeof *types)];
    size_t bytes = size_of(type);
    make_right(&m, type);
    protocol_fill(&m.head, type, bytes, take_below(script, 2) == 0 ? 0 : -(int)take(script, 1));
    for (uint32_t n = take_below(script, 4); n > 0; n--)
        ((uint8_t *)&m)[take(script, 2) % bytes] = (uint8_t)take(script, 1);
    int fd = take_below(script, 2) != 0 ? some_memory() : -1;
    struct iovec part = {.iov_base = &m, .iov_len = bytes};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) { /* sometimes two, of which there is room for one */
        unsigned n = 1 + take_below(script, 2);
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(n * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n * sizeof(int));
        int fds[2] = {fd, fd};
        memcpy(CMSG_DATA(c), fds, n * sizeof(int));
    }
    sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (fd >= 0)
        close(fd);
    return input_left(script);
}

/* Instead of a server: all that it will ever say lies ready, and then it hangs up. */
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t bytes) {
    (void)address;
    (void)bytes;
    int pair[2];
    MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    for (int i = 0; i < 12 && say_something(pair[1]); i++)
        ;
    dup3(pair[0], fd, O_CLOEXEC);
    close(pair[0]);
    shutdown(pair[1], SHUT_WR);
    dup3(pair[1], server, O_CLOEXEC); /* open until the next, or the client's sends would fail */
    close(pair[1]);
    return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    segment_make();
    server = memfd_create("server", MFD_CLOEXEC);
    MUST(server >= 0);
    unsetenv("SHMC_LEASE");
    return 0;
}

static void ask(void) {
    char error[ERROR_BYTES] = "";
    char *reply = NULL;
    struct shmc_options options = {.size = sizeof options,
                                   .key = 1,
                                   .runtime_dir = "/nowhere",
                                   .error = error,
                                   .error_bytes = sizeof error};
    int r = shmc_manager(&options, "status", &reply);
    MUST(r >= 0 || error[0] != '\0');
    free(reply);
}

static void take_standing(bool waits) {
    struct error error = {0};
    struct mapping mapping = {
        .directory = segment_clean, .base = segment_victim.memory, .standing = {.fd = -1}};
    struct shmc segment = {.now = &mapping, .error = &error};
    struct settings settings = {.key = 1,
                                .worker = anonymous ? NULL : "driver",
                                .runtime_dir = "/nowhere",
                                .flags =
                                    (waits ? SHMC_LEASE_FD : 0) | (anonymous ? SHMC_ANONYMOUS : 0),
                                .deadline_ns = waits ? UINT64_MAX : 0};
    int r = standing_take(&segment, &settings);
    MUST(r <= 0);
    MUST(r < 0 ? error.text[0] != '\0' : standing_holds(&mapping));
    MUST(r < 0 || strcmp(mapping.standing.worker, anonymous ? "" : "driver") == 0);
    MUST(r < 0 || standing_is(&mapping));
    if (r == 0)
        standing_check(&segment, &mapping);
    standing_drop(&mapping.standing);
    MUST(mapping.standing.map == NULL && mapping.standing.fd < 0);
}

/* Header and bells from a manager that may send anything for them. */
static void take_parts(void) {
    struct error error = {0};
    struct mapping mapping = {.bells = {.id = -1}};
    struct shmc segment = {.now = &mapping, .error = &error};
    struct settings settings = {.key = 1, .runtime_dir = "/nowhere"};
    uint64_t bytes = 0;
    int r = parts_open(&segment, &settings, &bytes);
    MUST(r <= 0 && parts_are(&mapping) == (r == 0));
    MUST(r == 0 || r == -EOPNOTSUPP || error.text[0] != '\0');
    MUST(r < 0 || (bytes == PART_BYTES && mapping.base[bytes - 1] == 0));
    if (mapping.bells.base != NULL)
        MUST(mapping.bells.capacity == PART_BYTES / SHM_LINE - 1);
    mapping_close(&mapping);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    struct input input = {data, data + bytes};
    script = &input;
    uint32_t mode = take_below(&input, 6);
    memfd = mode == 4;
    anonymous = mode == 5;
    unsigned before = descriptors();
    segment_victim.fixes = false;
    if (mode == 3)
        damage_begin(&segment_victim, &input);
    if (mode == 0)
        ask();
    else if (mode == 4)
        take_parts();
    else
        take_standing(mode == 2 || mode == 5);
    if (mode == 3)
        damage_end();
    MUST(descriptors() == before);
    return 0;
}
