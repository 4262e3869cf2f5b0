/* SPDX-License-Identifier: Apache-2.0
 *
 * Cases about managers that misbehave: the library's side of the socket, against a fake one in a
 * runtime directory of its own.  The segment is the real manager's.
 */
#include "cases.h"

#include "core/protocol.h"

#include <sys/shm.h>
#include <sys/stat.h>

static char directory[64], error[512];
static pid_t holder;
static uint64_t segment_id;

/* What the fake manager does with a connection that it has accepted; it closes it then. */
static void (*behave)(int client);

static void send_message(int client, union protocol_message *m, enum protocol_type type,
                         size_t bytes, int result, int fd) {
    protocol_fill(&m->head, type, bytes, result);
    /* A client that has come to its deadline hangs up. */
    int r = protocol_send(client, m, fd);
    CHECK(r == 0 || r == -EPIPE || r == -ECONNRESET);
}

static void say_hello(int client, uint32_t abi, uint32_t key, uint64_t id) {
    union protocol_message m = {
        .hello = {.abi = abi,
                  .key = key,
                  .backend = on_memfd() ? SHM_BACKEND_MEMFD : SHM_BACKEND_SYSV,
                  .segment_id = id}};
    send_message(client, &m, PROTOCOL_HELLO, sizeof m.hello, 0, -1);
}

static uint32_t real_key(void) {
    return (uint32_t)strtoul(getenv("SHMC_KEY"), NULL, 0);
}

static void hello(int client) {
    say_hello(client, SHM_ABI, real_key(), segment_id);
}

static void await_message(int client) {
    union protocol_message m;
    struct pollfd wait = {.fd = client, .events = POLLIN};
    CHECK_IS(poll(&wait, 1, PATIENCE_MS), 1);
    CHECK_IS(protocol_receive(client, &m, NULL), 0);
}

static void await_end(int client) {
    struct pollfd wait = {.fd = client, .events = POLLIN};
    poll(&wait, 1, PATIENCE_MS);
}

static void serve(int from, int to) {
    struct sockaddr_un address;
    int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    CHECK(listener >= 0 && protocol_address(&address, directory, real_key()) == 0);
    unlink(address.sun_path);
    CHECK(bind(listener, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(listen(listener, 8) == 0);
    say(to, 'l');
    (void)from;
    for (;;) {
        int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        CHECK(client >= 0);
        behave(client);
        close(client);
    }
}

static void find_segment_id(void) {
    struct shmc_segment_info info;
    shmc *reader = attach(NULL, 0);
    CHECK_IS(shmc_segment(reader, &info), 0);
    memcpy(&segment_id, (const uint8_t *)info.base + offsetof(struct shm_header, segment_id), 8);
    shmc_detach(reader);
}

/* One attach as a worker to a manager that behaves so. */
static int attach_once(void (*behaviour)(int client), int timeout_ms) {
    shmc *segment = NULL;
    struct shmc_options options = {.size = sizeof options,
                                   .worker = "driver",
                                   .runtime_dir = directory,
                                   .timeout_ms = timeout_ms,
                                   .holder = &holder,
                                   .error = error,
                                   .error_bytes = sizeof error};
    snprintf(directory, sizeof directory, "rude.XXXXXX");
    CHECK(mkdtemp(directory) != NULL);
    find_segment_id();
    behave = behaviour;
    error[0] = '\0';
    struct child child = start_child(serve);
    CHECK_IS(hear(child.from), 'l');
    int r = shmc_attach(&segment, &options);
    CHECK(r < 0 && segment == NULL);
    CHECK(WIFSIGNALED(end_child(&child, SIGKILL)));
    return r;
}

/* On a busy machine the fake one may be too slow for a short time. */
static int attach_to(void (*behaviour)(int client), int timeout_ms) {
    int r;
    while ((r = attach_once(behaviour, timeout_ms)) == -ETIMEDOUT && timeout_ms > 0 &&
           timeout_ms < PATIENCE_MS)
        timeout_ms *= 2;
    return r;
}

/* ---- before the claim */

static void hang_up(int client) {
    (void)client;
}

static void mumble(int client) {
    CHECK(send(client, "hello?", 6, 0) == 6);
    await_end(client);
}

static void speak_another_version(int client) {
    union protocol_message m = {.hello = {.abi = SHM_ABI, .key = real_key()}};
    protocol_fill(&m.head, PROTOCOL_HELLO, sizeof m.hello, 0);
    m.head.version = PROTOCOL_VERSION + 1;
    CHECK_IS(protocol_send(client, &m, -1), 0);
    await_end(client);
}

static void have_another_abi(int client) {
    say_hello(client, SHM_ABI + 1, real_key(), segment_id);
    await_end(client);
}

static void have_another_key(int client) {
    say_hello(client, SHM_ABI, real_key() + 1, segment_id);
    await_end(client);
}

static void have_another_segment(int client) {
    say_hello(client, SHM_ABI, real_key(), segment_id + 1);
    await_end(client);
}

static void greetings(void) {
    CHECK_IS(attach_to(hang_up, 0), -ENOTCONN);
    CHECK_SAYS(error, "ended the connection");
    CHECK_IS(attach_to(mumble, 0), -EPROTONOSUPPORT);
    CHECK_SAYS(error, "makes no sense");
    CHECK_IS(attach_to(speak_another_version, 0), -EPROTONOSUPPORT);
    CHECK_SAYS(error, "another version of the protocol");
    CHECK_IS(attach_to(have_another_abi, 0), -EPROTONOSUPPORT);
    CHECK_SAYS(error, "the manager has ABI 2");
    CHECK_IS(attach_to(have_another_key, 0), -ENOTCONN);
    CHECK_SAYS(error, "serves key");
    if (on_memfd()) /* there it is the manager that says which segment it is */
        return;
    CHECK_IS(attach_to(have_another_segment, 0), -EAGAIN);
    CHECK_SAYS(error, "serves another segment");
}

static void keep_silent(int client) {
    await_end(client);
}

static void silence(void) {
    uint64_t before = now_ns();
    CHECK_IS(attach_once(keep_silent, 0), -ETIMEDOUT);
    CHECK(now_ns() - before < UINT64_C(15000000000));
    before = now_ns();
    CHECK_IS(attach_once(keep_silent, 200), -ETIMEDOUT);
    CHECK(now_ns() - before < UINT64_C(4500000000));
    CHECK_SAYS(error, "did not answer in the time given");
    /* The next try meets one that dies in the midst; the time runs out over it. */
    CHECK_IS(attach_to(hang_up, 100), -ENOTCONN);
}

/* ---- behind it */

static void refuse(int client) {
    union protocol_message m = {.refused = {.text = "not on a Sunday"}};
    hello(client);
    await_message(client);
    send_message(client, &m, PROTOCOL_REFUSED, sizeof m.refused, -EACCES, -1);
    await_end(client);
}

static void let_wait_and_die(int client) {
    union protocol_message m = {.refused = {.holder = 4711, .text = "process 4711 has it"}};
    hello(client);
    await_message(client);
    send_message(client, &m, PROTOCOL_WAITING, sizeof m.refused, -EBUSY, -1);
}

static void let_wait(int client) {
    let_wait_and_die(client);
    await_end(client);
}

static void grant_with(int client, int fd, const char *worker) {
    union protocol_message m = {.grant = {.worker_index = 0, .attachment = 1}};
    hello(client);
    await_message(client);
    snprintf(m.grant.worker, sizeof m.grant.worker, "%s", worker);
    m.grant.worker_epoch = m.grant.attachment_epoch = UINT64_C(1) << 40;
    send_message(client, &m, PROTOCOL_GRANT, sizeof m.grant, 0, fd);
}

static void grant_nothing(int client) {
    grant_with(client, -1, "driver");
    await_end(client);
}

static int some_file(void) {
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}

static void grant_another(int client) {
    int fd = some_file();
    grant_with(client, fd, "grabber");
    close(fd);
    await_end(client);
}

static void grant_and_die(int client) {
    int fd = some_file();
    grant_with(client, fd, "driver");
    close(fd);
    await_message(client);
}

static void grant_but_lie(int client) {
    union protocol_message m = {.ack = {.attachment = 1}};
    grant_and_die(client);
    send_message(client, &m, PROTOCOL_LEASED, sizeof m.ack, 0, -1);
    await_end(client);
}

static void claims(void) {
    CHECK_IS(attach_to(refuse, 0), -EACCES);
    CHECK_SAYS(error, "not on a Sunday");
    only_on_sysv("the memory comes before the claim there, and this manager has none");
    CHECK_IS(attach_to(let_wait, 100), -EBUSY);
    CHECK_SAYS(error, "process 4711 has it");
    CHECK_IS(holder, 4711);
    CHECK_IS(attach_to(let_wait_and_die, 100), -ENOTCONN);
    CHECK_IS(attach_to(grant_nothing, 0), -EMFILE);
    CHECK_IS(attach_to(grant_another, 0), -EPROTONOSUPPORT);
    CHECK_SAYS(error, "asked for worker 'driver', granted 'grabber'");
    CHECK_IS(attach_to(grant_and_die, 0), -ENOTCONN);
    CHECK_IS(attach_to(grant_but_lie, 0), -EAGAIN);
    CHECK_SAYS(error, "the shared memory doesn't say so");
}

/* ---- requests */

static void answer_endlessly(int client) {
    union protocol_message m;
    struct pollfd wait = {.fd = client, .events = POLLOUT};
    memset(&m, ' ', sizeof m);
    hello(client);
    await_message(client);
    for (int r = 0; r != -EPIPE && r != -ECONNRESET;) {
        protocol_fill(&m.head, PROTOCOL_REPLY, sizeof m.piece, 0);
        r = protocol_send(client, &m, -1);
        if (r == -EAGAIN)
            poll(&wait, 1, PATIENCE_MS);
    }
}

static void answer_half(int client) {
    union protocol_message m = {.piece = {.text = "{"}};
    hello(client);
    await_message(client);
    send_message(client, &m, PROTOCOL_REPLY, sizeof m.head + 1, 0, -1);
}

static int ask(void (*behaviour)(int client), int timeout_ms, char **reply) {
    struct shmc_options options = {.size = sizeof options,
                                   .runtime_dir = directory,
                                   .timeout_ms = timeout_ms,
                                   .error = error,
                                   .error_bytes = sizeof error};
    snprintf(directory, sizeof directory, "rude.XXXXXX");
    CHECK(mkdtemp(directory) != NULL);
    behave = behaviour;
    struct child child = start_child(serve);
    CHECK_IS(hear(child.from), 'l');
    int r = shmc_manager(&options, "status", reply);
    end_child(&child, SIGKILL);
    return r;
}

static void replies(void) {
    char *reply = NULL;
    CHECK_IS(ask(answer_half, 0, &reply), -ENOTCONN);
    free(reply);
    CHECK_IS(ask(answer_endlessly, PATIENCE_MS, NULL), -EMSGSIZE);
    CHECK_SAYS(error, "reply can't be taken");
    CHECK_IS(ask(keep_silent, 100, NULL), -ETIMEDOUT);
    CHECK_IS(shmc_manager(NULL, "dance", &reply), -EINVAL);
    free(reply);
    CHECK_IS(shmc_manager(NULL, NULL, NULL), -EINVAL);
}

/* ---- another's segment under our key */

static void foreign_segments_are_refused(void) {
    uint32_t key = real_key() ^ 0x1000;
    int id = shmget((key_t)key, 8192, IPC_CREAT | IPC_EXCL | 0666);
    CHECK(id >= 0);
    shmc *segment = NULL;
    struct shmc_options options = {
        .size = sizeof options, .key = key, .error = error, .error_bytes = sizeof error};
    int empty = shmc_attach(&segment, &options);
    CHECK_SAYS(error, "is being made at this moment");
    void *at = shmat(id, NULL, 0);
    CHECK(at != (void *)-1);
    memset(at, 'x', 8192);
    int garbage = shmc_attach(&segment, &options);
    CHECK_SAYS(error, "is damaged at header.magic");
    *(struct shm_header *)at = (struct shm_header){.magic = SHM_MAGIC, .abi = SHM_ABI + 6};
    int newer = shmc_attach(&segment, &options);
    CHECK_SAYS(error, "has ABI 7");
    shmdt(at);
    int foreign = -EPERM;
    if (geteuid() == 0) { /* made by nobody else than we, but we are somebody else then */
        CHECK(shmctl(id, IPC_RMID, NULL) == 0);
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            CHECK(setuid(65533) == 0);
            exit(shmget((key_t)key, 8192, IPC_CREAT | IPC_EXCL | 0666) >= 0 ? 0 : 1);
        }
        int status;
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
        foreign = shmc_attach(&segment, &options);
        CHECK_SAYS(error, "was made by uid 65533");
        id = shmget((key_t)key, 0, 0);
    }
    CHECK(shmctl(id, IPC_RMID, NULL) == 0);
    CHECK_IS(empty, -EAGAIN);
    CHECK_IS(garbage, -EBADMSG);
    CHECK_IS(newer, -EPROTONOSUPPORT);
    CHECK_IS(foreign, -EPERM);
}

/* ---- between what was looked up and what is there */

static int call_manager(void) {
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && protocol_address(&address, getenv("SHMC_RUNTIME_DIR"), real_key()) == 0);
    CHECK(connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

/* The first arena that comes is given away before it gets to who asked for it. */
static void give_away(const union protocol_message *m) {
    static bool done;
    if (done || m->head.type != PROTOCOL_PART || m->map.part != PROTOCOL_PART_ARENA)
        return;
    done = true;
    edit_table("UPDATE section SET size = 1000000 WHERE name = 'passing'");
    edit_table("UPDATE section SET format = 'later' WHERE name = 'passing'");
}

static void relay(int client) {
    struct pollfd ends[2] = {{.fd = client, .events = POLLIN},
                             {.fd = call_manager(), .events = POLLIN}};
    int r = 0;
    while (r == 0) {
        CHECK(poll(ends, 2, PATIENCE_MS) > 0);
        const int from = ends[0].revents == 0;
        union protocol_message m;
        int fd = -1;
        r = protocol_receive(ends[from].fd, &m, &fd);
        if (r == 0 && from == 1)
            give_away(&m);
        if (r == 0)
            r = protocol_send(ends[!from].fd, &m, fd);
        if (fd >= 0)
            close(fd);
    }
    close(ends[1].fd);
}

static void places_given_away(void) {
    shmc *segment = NULL;
    struct shmc_section_info info;
    if (!on_memfd()) {
        printf("only on memfd: memory comes from the manager there\n");
        exit(SKIPPED);
    }
    edit_table("INSERT INTO section(name, owner, size) VALUES('passing', 'passer', 64)");
    snprintf(directory, sizeof directory, "rude.XXXXXX");
    CHECK(mkdtemp(directory) != NULL);
    behave = relay;
    struct child child = start_child(serve);
    CHECK_IS(hear(child.from), 'l');
    struct shmc_options options = {
        .size = sizeof options, .runtime_dir = directory, .timeout_ms = PATIENCE_MS};
    CHECK_IS(shmc_attach(&segment, &options), 0);
    shmc_section *section = open_section(segment, "passing");
    CHECK_IS(shmc_section_info(section, &info), 0);
    CHECK_IS(info.size, 1000000);
    shmc_close(section);
    shmc_detach(segment);
    CHECK(WIFSIGNALED(end_child(&child, SIGKILL)));
    edit_table("DELETE FROM section WHERE name = 'passing'");
}

CASES_MAIN({"greetings", greetings}, {"silence", silence}, {"claims", claims}, {"replies", replies},
           {"foreign_segments_are_refused", foreign_segments_are_refused},
           {"places_given_away", places_given_away})
