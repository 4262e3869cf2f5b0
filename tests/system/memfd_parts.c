/* SPDX-License-Identifier: Apache-2.0
 *
 * What the memfd backend hands out, and to whom, on the segment of test_memfd.sh.  The first word
 * of a case says who must run it: `own` the manager's user, `reader` and `trusted` another user
 * in the segment's group (and in that of section 'secret'), `outsider` one in neither.
 */
#include "answer.h"
#include "core/packet.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define GREEDY 80 /* connections; the manager leaves 64 descriptors of a user untaken */

/* ---- as a client of one's own making */

static int call(void) {
    struct sockaddr_un address;
    union protocol_message hello;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    uint32_t key = (uint32_t)strtoul(getenv("SHMC_KEY"), NULL, 0);
    CHECK(fd >= 0 && protocol_address(&address, getenv("SHMC_RUNTIME_DIR"), key) == 0);
    CHECK(connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(packet_receive(fd, &hello, sizeof hello, NULL, 0) > 0);
    CHECK_IS(hello.head.type, PROTOCOL_HELLO);
    CHECK_IS(hello.hello.backend, SHM_BACKEND_MEMFD);
    return fd;
}

static void request(int socket, const struct protocol_map *wanted) {
    union protocol_message m = {.map = *wanted};
    protocol_fill(&m.head, PROTOCOL_MAP, sizeof m.map, 0);
    CHECK_IS(packet_send(socket, &m, m.head.bytes, -1, 0), 0);
}

/* The descriptor, or the error of a refusal. */
static int answer(int socket, uint64_t *bytes) {
    union protocol_message m;
    int fd = -1;
    CHECK(packet_receive(socket, &m, sizeof m, &fd, 0) > 0);
    return answer_part(&m, fd, bytes);
}

static int fetch(const struct protocol_map *wanted, uint64_t *bytes) {
    int socket = call();
    request(socket, wanted);
    int fd = answer(socket, bytes);
    close(socket);
    return fd;
}

/* Opens, reads and closes. */
static ssize_t read_once(shmc *segment, const char *name) {
    char text[64];
    shmc_section *section = open_section(segment, name);
    ssize_t n = shmc_read(section, text, sizeof text, NULL);
    shmc_close(section);
    return n;
}

static const struct protocol_map the_header = {.part = PROTOCOL_PART_HEADER};

/* The arena of a section, from the directory. */
static struct protocol_map arena_of(const char *name) {
    uint64_t bytes;
    struct shm_header header;
    struct shm_directory head;
    int fd = fetch(&the_header, &bytes);
    CHECK(fd >= 0 && pread(fd, &header, sizeof header, 0) == sizeof header);
    uint64_t at = header.directories[header.generation & 1].offset;
    CHECK(pread(fd, &head, sizeof head, (off_t)at) == sizeof head);
    for (uint32_t i = 0; i < head.slots_used; i++) {
        struct shm_section section;
        struct shm_arena arena;
        CHECK(pread(fd, &section, sizeof section,
                    (off_t)(at + head.sections_off + i * sizeof section)) == sizeof section);
        if (section.state != SHM_PLACE_LIVE || strcmp(section.name, name) != 0)
            continue;
        CHECK(pread(fd, &arena, sizeof arena,
                    (off_t)(at + head.arenas_off + section.arena_index * sizeof arena)) ==
              sizeof arena);
        close(fd);
        return (struct protocol_map){.part = PROTOCOL_PART_ARENA,
                                     .index = section.arena_index,
                                     .incarnation = arena.incarnation};
    }
    fprintf(stderr, "there is no section %s\n", name);
    exit(1);
}

static uint64_t attachment_epoch(uint32_t attachment) {
    struct shm_header header;
    uint64_t bytes, word;
    int fd = fetch(&the_header, &bytes);
    CHECK(fd >= 0 && pread(fd, &header, sizeof header, 0) == sizeof header);
    CHECK(pread(fd, &word, sizeof word,
                (off_t)(header.attachments_off + attachment * sizeof(struct shm_attachment))) ==
          sizeof word);
    close(fd);
    return word >> 8;
}

/* ---- what it costs */

static unsigned entries(const char *directory) {
    unsigned n = 0;
    DIR *dir = opendir(directory);
    CHECK(dir != NULL);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

static unsigned mappings(void) {
    unsigned n = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    CHECK(maps != NULL);
    for (int c; (c = getc(maps)) != EOF;)
        n += c == '\n';
    fclose(maps);
    return n;
}

static void own_cost_grows_with_arenas(void) {
    char name[16];
    unsigned fds = entries("/proc/self/fd"), before = mappings();
    shmc *segment = attach(NULL, 0);
    unsigned attached = mappings();
    CHECK_IS(entries("/proc/self/fd"), fds);
    static shmc_section *sections[1000];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "many%04d", i + 1);
        sections[i] = open_section(segment, name);
    }
    unsigned opened = mappings();
    CHECK_IS(entries("/proc/self/fd"), fds);
    printf("figure: memfd.mappings_of_attach %u mappings\n", attached - before);
    printf("figure: memfd.mappings_of_1000_sections %u mappings\n", opened - attached);
    CHECK(SANITIZED || attached - before <= 12);
    CHECK(SANITIZED || opened - attached <= 6); /* one arena, and the heap for the objects */
    for (int i = 0; i < 1000; i++)
        shmc_close(sections[i]);
    shmc_detach(segment);
}

/* ---- who may have what */

static void outsider_is_refused(void) {
    CHECK_IS(try_attach(NULL, 0), -EACCES);
    CHECK_SAYS(refusal, "is not in the segment's group");
    CHECK_IS(fetch(&the_header, NULL), -EACCES);
    CHECK_IS(fetch(&(struct protocol_map){.part = PROTOCOL_PART_BELLS}, NULL), -EACCES);
    CHECK_IS(fetch(&(struct protocol_map){.part = PROTOCOL_PART_ARENA}, NULL), -EACCES);
}

static void outsider_cannot_ask_the_keeper(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/%s.keeper", getenv("SHMC_RUNTIME_DIR"),
             getenv("SHMC_KEY") + 2);
    CHECK(fd >= 0 && access(address.sun_path, F_OK) == 0);
    CHECK(connect(fd, (struct sockaddr *)&address, sizeof address) < 0);
    CHECK_IS(errno, EACCES);
}

#define DENIED(call, error)                                                                        \
    do {                                                                                           \
        errno = 0;                                                                                 \
        CHECK((call) < 0);                                                                         \
        CHECK_IS(errno, error);                                                                    \
    } while (0)

/* All that one can try with a descriptor that was handed out to read. */
static void is_read_only(int fd, uint64_t bytes) {
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    DENIED(open(path, O_RDWR), EACCES);
    DENIED(open(path, O_WRONLY | O_TRUNC), EACCES);
    CHECK(mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
    CHECK_IS(errno, EACCES);
    void *at = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(at != MAP_FAILED);
    DENIED(mprotect(at, SHM_PAGE, PROT_READ | PROT_WRITE), EACCES);
    DENIED(madvise(at, SHM_PAGE, MADV_REMOVE), EACCES);
    DENIED(write(fd, "x", 1), EBADF);
    DENIED(ftruncate(fd, 0), EINVAL);
    DENIED(ftruncate(fd, (off_t)bytes * 2), EINVAL);
    DENIED(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SHM_PAGE), EBADF);
    DENIED(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EPERM);
    DENIED(fchmod(fd, 0666), EPERM);
    DENIED(fchown(fd, geteuid(), (gid_t)-1), EPERM);
    munmap(at, bytes);
    close(fd);
}

static void reader_cannot_write(void) {
    uint64_t bytes;
    int fd = fetch(&the_header, &bytes);
    CHECK(fd >= 0);
    is_read_only(fd, bytes);
    const struct protocol_map arena = arena_of("temps");
    fd = fetch(&arena, &bytes);
    CHECK(fd >= 0);
    is_read_only(fd, bytes);
}

/* The numbers of a lease are no secret: they stand in the header. */
static void reader_cannot_borrow_a_lease(void) {
    struct shmc_worker_info info;
    shmc *segment = attach(NULL, 0);
    CHECK_IS(shmc_inspect_worker(segment, "driver", &info), 0);
    CHECK(info.state == SHMC_ALIVE && info.uid != geteuid());
    struct protocol_map arena = arena_of("temps");
    arena.writable = 1;
    CHECK_IS(fetch(&arena, NULL), -EACCES);
    arena.attachment = info.attachment;
    for (arena.attachment_epoch = 0; arena.attachment_epoch < 100; arena.attachment_epoch++)
        CHECK_IS(fetch(&arena, NULL), -EACCES);
    shmc_detach(segment);
}

/* Bells are for everybody to ring, and for nobody to take away. */
static void reader_cannot_end_the_bells(void) {
    uint64_t bytes;
    int fd = fetch(&(struct protocol_map){.part = PROTOCOL_PART_BELLS}, &bytes);
    CHECK(fd >= 0);
    DENIED(ftruncate(fd, 0), EPERM);
    DENIED(ftruncate(fd, (off_t)bytes * 2), EPERM);
    DENIED(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), EPERM);
    close(fd);
}

static void reader_reads_what_all_may(void) {
    shmc *segment = attach(NULL, 0);
    shmc_section *section = NULL;
    CHECK_IS(read_once(segment, "temps"), 5);
    CHECK_IS(shmc_open(&section, segment, "secret", NULL), -EACCES);
    CHECK_SAYS(shmc_last_error(segment), "is not in the group");
    struct shmc_section_info info;
    CHECK_IS(shmc_inspect(segment, "secret", &info), 0);
    CHECK_IS(info.version, 0);
    shmc_detach(segment);
}

static void trusted_reads_the_rest(void) {
    shmc *segment = attach(NULL, 0);
    CHECK_IS(read_once(segment, "secret"), 6);
    shmc_detach(segment);
}

static void own_arena_alone_is_writable(void) {
    struct shmc_worker_info info;
    shmc *segment = attach("grabber", 0);
    CHECK_IS(shmc_inspect_worker(segment, "grabber", &info), 0);
    struct protocol_map mine = arena_of("cam"), other = arena_of("temps");
    mine.attachment = other.attachment = info.attachment;
    mine.attachment_epoch = other.attachment_epoch = attachment_epoch(info.attachment);
    mine.writable = other.writable = 1;
    CHECK_IS(fetch(&other, NULL), -EACCES);
    uint64_t bytes;
    int fd = fetch(&mine, &bytes);
    CHECK(fd >= 0);
    CHECK(mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED);
    DENIED(ftruncate(fd, (off_t)bytes * 2), EPERM);
    DENIED(ftruncate(fd, 0), EPERM);
    close(fd);
    shmc_detach(segment);
    CHECK_IS(fetch(&mine, NULL), -EACCES); /* the lease is over */
}

/* ---- who asks for too much */

static void reader_takes_before_it_asks(void) {
    int socket = call();
    request(socket, &the_header);
    struct pollfd wait = {.fd = socket, .events = POLLIN};
    CHECK_IS(poll(&wait, 1, PATIENCE_MS), 1);
    request(socket, &the_header);
    wait.events = POLLRDHUP; /* it has made up its mind */
    CHECK_IS(poll(&wait, 1, PATIENCE_MS), 1);
    int fd = answer(socket, NULL);
    CHECK(fd >= 0);
    close(fd);
    CHECK_IS(answer(socket, NULL), -EPROTO);
    close(socket);
}

/* Descriptors that nobody takes: there is an end to them, and it is this user's alone. */
static void reader_cannot_leave_too_much_in_flight(void) {
    int sockets[GREEDY];
    unsigned sent = 0;
    for (int i = 0; i < GREEDY; i++) {
        struct pollfd wait = {.fd = sockets[i] = call(), .events = POLLIN};
        request(sockets[i], &the_header);
        CHECK_IS(poll(&wait, 1, PATIENCE_MS), 1);
    }
    CHECK_IS(try_attach(NULL, 0), -EUSERS);
    CHECK_SAYS(refusal, "sent and not taken");
    for (int i = 0; i < GREEDY; i++) {
        int fd = answer(sockets[i], NULL);
        sent += fd >= 0;
        CHECK(fd >= 0 || fd == -EUSERS);
        if (fd >= 0)
            close(fd);
        close(sockets[i]);
    }
    CHECK_IS(sent, 64);
    shmc_detach(attach(NULL, 0));
}

/* Touching what is not there costs the manager nothing that lasts. */
static void own_holes_are_given_back(void) {
    uint64_t bytes;
    struct stat stat;
    int fd = fetch(&the_header, &bytes);
    volatile const uint8_t *at = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(fd >= 0 && at != MAP_FAILED && fstat(fd, &stat) == 0);
    blkcnt_t before = stat.st_blocks;
    for (uint64_t i = bytes / 2; i < bytes / 2 + (4 << 20); i += SHM_PAGE)
        (void)at[i];
    CHECK(fstat(fd, &stat) == 0 && stat.st_blocks > before);
    AWAIT(fstat(fd, &stat) == 0 && stat.st_blocks <= before + 128);
    close(fd);
}

/* An arena that is dropped is gone for who still maps it, too. */
static void own_dropped_arenas_are_given_back(void) {
    uint64_t bytes;
    struct stat stat;
    edit_table("INSERT INTO section(name, owner, size) VALUES('brief', 'brief', 100000)");
    struct protocol_map arena = arena_of("brief");
    int fd = fetch(&arena, &bytes);
    CHECK(fd >= 0 && fstat(fd, &stat) == 0 && stat.st_blocks > 0);
    shmc *segment = attach(NULL, 0);
    shmc_section *section = open_section(segment, "brief");
    edit_table("DELETE FROM section WHERE name = 'brief'");
    edit_table("INSERT INTO section(name, owner, size) VALUES('brief2', 'brief', 100000)");
    CHECK(fstat(fd, &stat) == 0);
    CHECK_IS(stat.st_blocks, 0);
    char text[8];
    CHECK_IS(shmc_read(section, text, sizeof text, NULL), -EIDRM);
    shmc_close(section);
    CHECK_IS(read_once(segment, "brief2"), -ENODATA);
    CHECK_IS(fetch(&arena, NULL), -EAGAIN);
    edit_table("DELETE FROM section WHERE name = 'brief2'");
    shmc_detach(segment);
    close(fd);
}

/* While there is no manager; whoever started it hears when it begins to wait. */
static void alone_waits(void) {
    CHECK_IS(try_attach(NULL, 0), -ENOTCONN);
    puts("waiting");
    fflush(stdout);
    shmc *segment = attach(NULL, 0);
    CHECK_IS(read_once(segment, "temps"), 5);
    shmc_detach(segment);
}

/* The manager goes when it has attached, and is waited for once, and not for each section. */
static void alone_lists(void) {
    struct shmc_section_info one, *all;
    size_t n;
    shmc *segment = attach(NULL, 0);
    puts("attached");
    fflush(stdout);
    CHECK(getchar() == 'g');
    uint64_t before = now_ns();
    CHECK_IS(shmc_inspect(segment, "temps", &one), 0);
    uint64_t one_ns = now_ns() - before;
    CHECK_IS(one.version, 0);
    CHECK_IS(shmc_sections(segment, &all, &n), 0);
    uint64_t all_ns = now_ns() - before - one_ns;
    CHECK(n > 1000 && all_ns < 3 * one_ns);
    free(all);
    shmc_detach(segment);
}

CASES_MAIN({"alone_waits", alone_waits}, {"alone_lists", alone_lists},
           {"own_cost_grows_with_arenas", own_cost_grows_with_arenas},
           {"outsider_is_refused", outsider_is_refused},
           {"outsider_cannot_ask_the_keeper", outsider_cannot_ask_the_keeper},
           {"reader_cannot_write", reader_cannot_write},
           {"reader_cannot_borrow_a_lease", reader_cannot_borrow_a_lease},
           {"reader_cannot_end_the_bells", reader_cannot_end_the_bells},
           {"reader_reads_what_all_may", reader_reads_what_all_may},
           {"trusted_reads_the_rest", trusted_reads_the_rest},
           {"own_arena_alone_is_writable", own_arena_alone_is_writable},
           {"reader_takes_before_it_asks", reader_takes_before_it_asks},
           {"reader_cannot_leave_too_much_in_flight", reader_cannot_leave_too_much_in_flight},
           {"own_holes_are_given_back", own_holes_are_given_back},
           {"own_dropped_arenas_are_given_back", own_dropped_arenas_are_given_back})
