/* SPDX-License-Identifier: Apache-2.0
 *
 * A live manager in this process, and clients that say anything in any order: every answer is a
 * message of the protocol, and when they have gone the manager holds nothing of theirs.  With
 * SHM_TEST_BACKEND=memfd it has memory to hand out.
 */
#include "fuzz.h"
#include "made_rows.h"
#include "manager.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLIENTS 3
#define STEPS   40

static struct manager manager;
static struct sockaddr_un address;
static int clients[CLIENTS] = {-1, -1, -1};
static struct protocol_grant granted[CLIENTS]; /* attachment 0 = nothing */
static bool of_memfds;

/* What the journal's lines are written to. */
static ssize_t look_at_lines(void *cookie, const char *text, size_t bytes) {
    static const char prefix[] = "shm-manager: ";
    static size_t column;
    (void)cookie;
    for (size_t i = 0; i < bytes; i++) {
        MUST(text[i] == '\n' || (text[i] >= ' ' && text[i] <= '~'));
        MUST(column >= sizeof prefix - 1 || text[i] == prefix[column]);
        column = text[i] == '\n' ? 0 : column + 1;
    }
    return (ssize_t)bytes;
}

static void fill_table(const char *path) {
    char error[512];
    sqlite3 *sql;
    MUST(table_db_create(path, error, sizeof error) == 0);
    MUST(sqlite3_open(path, &sql) == SQLITE_OK);
    MUST(sqlite3_exec(sql,
                      "UPDATE segment SET size = 1048576;"
                      "INSERT INTO section(name, owner, size) VALUES('temps', 'driver', 100),"
                      "('camera', 'grabber#1', 100);"
                      "UPDATE worker SET user = '12345' WHERE name = 'grabber';"
                      "UPDATE worker SET may_create = 65536 WHERE name = 'driver';"
                      "INSERT INTO worker(name, instances, may_create) VALUES('web', 2, 32768)",
                      NULL, NULL, NULL) == SQLITE_OK);
    MUST(!of_memfds ||
         sqlite3_exec(sql, "UPDATE segment SET backend = 'memfd'", NULL, NULL, NULL) == SQLITE_OK);
    sqlite3_close(sql);
}

static void end_manager(void) {
    manager.destroyed = true;
    manager_stop(&manager);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    struct config config = {.key_given = true, .key = 0x40000000u | (uint32_t)getpid()};
    const char *directory = fuzz_directory();
    snprintf(config.state_dir, sizeof config.state_dir, "%s", directory);
    snprintf(config.runtime_dir, sizeof config.runtime_dir, "%s", directory);
    snprintf(config.table, sizeof config.table, "%s/sections.db", directory);
    snprintf(config.state, sizeof config.state, "%s/state.db", directory);
    of_memfds =
        getenv("SHM_TEST_BACKEND") != NULL && strcmp(getenv("SHM_TEST_BACKEND"), "sysv") != 0;
    fill_table(config.table);
    stderr = fopencookie(NULL, "w", (cookie_io_functions_t){.write = look_at_lines});
    MUST(stderr != NULL && setvbuf(stderr, NULL, _IOLBF, 0) == 0);
    MUST(manager_start(&manager, &config) == 0);
    MUST(manager.verdict.outcome == VERDICT_APPLIED); /* or it would have nothing to give */
    atexit(end_manager);
    MUST(protocol_address(&address, directory, config.key) == 0);
    return 0;
}

static void serve(void) {
    for (int i = 0; i < 100 && sd_event_run(manager.event, 0) > 0; i++)
        ;
}

static void hang_up(int i) {
    if (clients[i] >= 0)
        close(clients[i]);
    clients[i] = -1;
    granted[i].attachment = 0;
}

static void call(int i) {
    if (clients[i] >= 0)
        return;
    clients[i] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    MUST(clients[i] >= 0);
    MUST(connect(clients[i], (const struct sockaddr *)&address, sizeof address) == 0);
}

/* A part's descriptor allows what its message says, and only a worker's own arena is to be written.
 */
static void look_at_part(const struct protocol_map *map, int fd) {
    bool held = false;
    for (int i = 0; i < CLIENTS; i++)
        held |= granted[i].attachment != 0 && granted[i].attachment == map->attachment;
    MUST(of_memfds && map->part >= PROTOCOL_PART_HEADER && map->part <= PROTOCOL_PART_ARENA);
    MUST((fcntl(fd, F_GETFL) & O_ACCMODE) == (map->writable != 0 ? O_RDWR : O_RDONLY));
    MUST(map->part != PROTOCOL_PART_HEADER || map->writable == 0);
    MUST(map->part != PROTOCOL_PART_ARENA || map->writable == 0 || held);
}

/* Takes what came: it must be well formed, and a descriptor comes with a grant or a part alone. */
static void hear(int i, bool keep_lease, int *lease) {
    union protocol_message m;
    for (int n = 0; n < 20; n++) {
        int fd = -1;
        int r = protocol_receive(clients[i], &m, &fd);
        MUST(r == 0 || r == -EAGAIN || r == -ECONNRESET);
        if (r < 0)
            return;
        MUST((fd >= 0) == (m.head.type == PROTOCOL_GRANT || m.head.type == PROTOCOL_PART));
        if (m.head.type == PROTOCOL_PART)
            look_at_part(&m.map, fd);
        if (m.head.type == PROTOCOL_GRANT) {
            granted[i] = m.grant;
            MUST(strncmp(m.grant.worker, "grabber", 7) != 0 || getuid() == 0);
        }
        MUST(m.head.type != PROTOCOL_REFUSED ||
             (m.head.result < 0 && m.refused.text[0] != '\0' && one_line(m.refused.text)));
        if (m.head.type == PROTOCOL_GRANT && keep_lease && *lease < 0)
            *lease = fd;
        else if (fd >= 0)
            close(fd);
    }
}

static void choose_arena(struct input *input, int i, struct protocol_map *map) {
    const struct layout *layout = &manager.layout;
    map->index = take_below(input, layout->arenas_used + 1);
    map->incarnation =
        map->index < layout->arenas_used ? layout->arenas[map->index].incarnation : take(input, 1);
    map->writable = take_below(input, 2);
    map->attachment = granted[i].attachment;
    map->attachment_epoch = granted[i].attachment_epoch;
}

/* Under one of a few names, for whoever was granted a lease last. */
static size_t make_request(struct input *input, int i, union protocol_message *m) {
    static const char *const names[] = {"made", "Made", "temps", "new", "more", "", "a b", "#"};
    const char *name = names[take_below(input, 8)];
    if (take_below(input, 3) == 0) {
        strcpy(m->drop.name, name);
        m->drop.attachment = granted[i].attachment;
        m->drop.attachment_epoch = granted[i].attachment_epoch;
        return sizeof m->drop;
    }
    strcpy(m->create.name, name);
    strcpy(m->create.format, take_below(input, 4) == 0 ? "made/1" : "");
    strcpy(m->create.read_group, take_below(input, 8) == 0 ? "0" : "");
    m->create.size = UINT64_C(1) << take_below(input, 64);
    m->create.kind = take_below(input, 4);
    m->create.count = take_below(input, 4);
    m->create.stamp = take_below(input, 4);
    m->create.notify = take_below(input, 4);
    m->create.stale_ms = take_below(input, 4);
    m->create.flags = take_below(input, 9);
    m->create.attachment = granted[i].attachment;
    m->create.attachment_epoch = granted[i].attachment_epoch;
    return sizeof m->create;
}

static size_t make_message(struct input *input, int i, union protocol_message *m) {
    static const char *const workers[] = {"driver", "grabber", "web",    "web#1",
                                          "web#3",  "nobody",  "driver", ""};
    static const char *const verbs[] = {"status",    "plan",    "history",  "history 3",
                                        "history x", "reload",  "",         "status ",
                                        "histor\n",  "Destroy", "history 0"};
    memset(m, 0, sizeof(struct protocol_refused));
    size_t bytes = sizeof m->head;
    uint32_t kind = take_below(input, 10);
    enum protocol_type type = (enum protocol_type)take_below(input, PROTOCOL_DROP + 2);
    if (of_memfds && kind == 6) {
        kind = 7;
        type = PROTOCOL_MAP;
    }
    if (kind < 3) {
        type = PROTOCOL_CLAIM;
        bytes = sizeof m->claim;
        strcpy(m->claim.worker, workers[take_below(input, 8)]);
        m->claim.flags = take_below(input, 2);
    } else if (kind < 5) {
        type = PROTOCOL_ACK;
        bytes = sizeof m->ack;
        m->ack.attachment = granted[i].attachment;
        m->ack.attachment_epoch = granted[i].attachment_epoch;
    } else if (kind < 7) {
        type = PROTOCOL_REQUEST;
        bytes = sizeof m->request;
        strcpy(m->request.text, verbs[take_below(input, 11)]);
    } else if (kind > 7) {
        bytes = make_request(input, i, m);
        type = bytes == sizeof m->drop ? PROTOCOL_DROP : PROTOCOL_CREATE;
    } else if (type == PROTOCOL_MAP) {
        bytes = sizeof m->map;
        m->map.part = take_below(input, 5);
        if (of_memfds)
            choose_arena(input, i, &m->map);
    } else {
        bytes = take_below(input, sizeof(struct protocol_refused) + 1);
    }
    protocol_fill(&m->head, type, bytes, 0);
    if (take_below(input, 4) == 0 && bytes > 0)
        for (uint32_t n = take_below(input, 4); n > 0; n--)
            ((uint8_t *)m)[take(input, 2) % bytes] = (uint8_t)take(input, 1);
    /* The one verb that would end this. */
    if (bytes == sizeof m->request && strncmp(m->request.text, "destroy", 7) == 0)
        m->request.text[0] = 'D';
    return bytes;
}

static void speak(struct input *input, int i) {
    union protocol_message m;
    size_t bytes = make_message(input, i, &m);
    send(clients[i], &m, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* With the leases went what was to last as long; nobody has more than he may. */
static void look_at_made(void) {
    const struct table *t = &manager.table;
    made_look(&manager);
    for (size_t i = made_first(t); i < t->sections_n; i++) {
        const struct table_worker *worker = table_worker(t, t->sections[i].owner);
        MUST(!t->sections[i].transient && worker != NULL);
        MUST(made_used(t, worker) <= worker->may_create);
        MUST(layout_section_by_id(&manager.layout, t->sections[i].id) != SHM_NONE);
    }
}

static void part(int *lease) {
    for (int i = 0; i < CLIENTS; i++)
        hang_up(i);
    if (*lease >= 0)
        close(*lease);
    serve();
    leases_rescan(&manager);
    MUST(manager.server.clients == NULL && manager.server.clients_n == 0);
    MUST(manager.leases.first == NULL);
    handout_look(&manager);
    MUST(manager.debts == NULL);
    look_at_made();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    struct input input = {data, data + bytes};
    int lease = -1;
    for (int n = 0; n < STEPS && input_left(&input); n++) {
        uint32_t what = take_below(&input, 16);
        int i = (int)(what / 4) % CLIENTS;
        call(i);
        if (what % 4 < 2)
            speak(&input, i);
        if (what % 4 != 1)
            serve();
        if (what % 4 == 2)
            hear(i, take_below(&input, 2) != 0, &lease);
        else if (what == 15)
            hang_up(i);
    }
    serve();
    part(&lease);
    return 0;
}
