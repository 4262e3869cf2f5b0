/* SPDX-License-Identifier: Apache-2.0
 *
 * Accepting, reading and writing.
 */
#include "server.h"
#include "core/futex.h"
#include "journal.h"
#include "manager.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define FULL_SAID_NS UINT64_C(60000000000)
#define PAUSE_US     100000

/* Nothing is under way. */
static bool is_idle(const struct client *client) {
    return client->lease == NULL && !client->waiting && client->postponed == NULL &&
           client->reply == NULL && client->checkpoint == NULL;
}

/* ---- a client's end */

void server_drop(struct client *client) {
    struct manager *m = client->manager;
    for (struct client **at = &m->server.clients; *at != NULL; at = &(*at)->next)
        if (*at == client) {
            *at = client->next;
            m->server.clients_n--;
            client->account->clients--;
            break;
        }
    sd_event_source_disable_unref(client->io);
    sd_event_source_disable_unref(client->timer);
    checkpoint_disown(client);
    if (!handout_abandon(client))
        close(client->fd);
    struct lease *lease = client->lease;
    peer_clear(&client->peer);
    free(client->postponed);
    free(client->reply);
    free(client);
    if (lease != NULL)
        leases_disown(m, lease);
}

static void send_refusal(int fd, enum protocol_type type, int result, uint32_t holder,
                         const char *text) {
    union protocol_message message = {0};
    protocol_fill(&message.head, type, sizeof message.refused, result);
    message.refused.holder = holder;
    snprintf(message.refused.text, sizeof message.refused.text, "%s", text);
    protocol_send(fd, &message, -1); /* who doesn't read it misses it */
}

void server_refuse(struct client *client, int result, uint32_t holder, const char *text) {
    client->manager->leases.refused++;
    send_refusal(client->fd, PROTOCOL_REFUSED, result, holder, text);
    server_drop(client);
}

static int on_silence(sd_event_source *source, uint64_t usec, void *userdata) {
    (void)source;
    (void)usec;
    server_drop(userdata);
    return 0;
}

/* From now, and not from when the event loop last looked at the clock: an edit of many sections may
 * have taken longer since then than the client has. */
void server_expect(struct client *client, unsigned ms) {
    sd_event_source_disable_unref(client->timer);
    client->timer = NULL;
    if (ms > 0)
        sd_event_add_time(client->manager->event, &client->timer, CLOCK_MONOTONIC,
                          clock_mono_ns() / 1000 + ms * UINT64_C(1000), 10000, on_silence, client);
}

/* ---- replies */

static int send_piece(struct client *client) {
    union protocol_message message;
    size_t rest = client->reply_bytes - client->reply_sent;
    size_t piece = rest < PROTOCOL_PIECE_BYTES ? rest : PROTOCOL_PIECE_BYTES;
    protocol_fill(&message.head, piece > 0 ? PROTOCOL_REPLY : PROTOCOL_DONE,
                  sizeof message.head + piece, client->reply_result);
    memcpy(message.piece.text, client->reply + client->reply_sent, piece);
    int r = protocol_send(client->fd, &message, -1);
    if (r == 0)
        client->reply_sent += piece;
    return r < 0 ? r : piece > 0 ? 1 : 0;
}

/* Sends as much as the client takes; then it may ask for something else. */
static void continue_reply(struct client *client) {
    int r;
    while ((r = send_piece(client)) > 0)
        ;
    if (r == -EAGAIN) {
        sd_event_source_set_io_events(client->io, EPOLLOUT);
        return;
    }
    if (r < 0) {
        server_drop(client);
        return;
    }
    free(client->reply);
    client->reply = NULL;
    sd_event_source_set_io_events(client->io, EPOLLIN);
    server_expect(client, SERVER_SILENCE_MS);
}

void server_reply(struct client *client, char *reply, int result) {
    if (reply == NULL) {
        server_refuse(client, -ENOMEM, 0, "the manager is out of memory");
        return;
    }
    client->reply = reply;
    client->reply_bytes = strlen(reply);
    client->reply_sent = 0;
    client->reply_result = result;
    server_expect(client, SERVER_SILENCE_MS);
    continue_reply(client);
}

/* ---- messages */

static void on_claim(struct client *client, const struct protocol_claim *claim) {
    memcpy(client->worker, claim->worker, sizeof client->worker);
    client->waiting = (claim->flags & PROTOCOL_CLAIM_WAIT) != 0;
    attach_claim(client);
}

static void dispatch(struct client *client, const union protocol_message *message) {
    const bool idle = is_idle(client);
    const uint16_t type = message->head.type;
    if (type == PROTOCOL_CLAIM && idle)
        on_claim(client, &message->claim);
    else if ((type == PROTOCOL_REQUEST || type == PROTOCOL_CREATE || type == PROTOCOL_DROP) && idle)
        request_handle(client, message);
    else if (type == PROTOCOL_MAP && idle)
        handout_map(client, &message->map);
    else if (type == PROTOCOL_ACK && client->lease != NULL)
        attach_acknowledge(client, &message->ack);
    else
        server_refuse(client, -EBADMSG, 0, "that message makes no sense here");
}

static int on_postponed(sd_event_source *source, uint64_t usec, void *userdata) {
    (void)source;
    (void)usec;
    struct client *client = userdata;
    union protocol_message *request = client->postponed;
    client->postponed = NULL;
    sd_event_source_set_io_events(client->io, EPOLLIN);
    dispatch(client, request);
    free(request);
    return 0;
}

void server_postpone(struct client *client, const union protocol_message *request, uint64_t ns) {
    server_expect(client, 0);
    client->postponed = malloc(request->head.bytes);
    if (client->postponed != NULL)
        memcpy(client->postponed, request, request->head.bytes);
    if (client->postponed == NULL ||
        sd_event_add_time_relative(client->manager->event, &client->timer, CLOCK_MONOTONIC,
                                   ns / 1000, 10000, on_postponed, client) < 0)
        server_refuse(client, -ENOMEM, 0, "the manager is out of memory");
    else
        sd_event_source_set_io_events(client->io, 0);
}

static int on_client(sd_event_source *source, int fd, uint32_t events, void *userdata) {
    (void)source;
    struct client *client = userdata;
    if (client->reply != NULL && (events & EPOLLOUT) != 0) {
        continue_reply(client);
        return 0;
    }
    union protocol_message message;
    int r = protocol_receive(fd, &message, NULL);
    if (r == 0)
        dispatch(client, &message);
    else if (r == -EPROTONOSUPPORT)
        server_refuse(client, r, 0, "this manager speaks protocol version 1: use its own library");
    else if (r == -EBADMSG)
        server_refuse(client, r, 0, "that was not a message of shm-manager's protocol");
    else if (r != -EAGAIN)
        server_drop(client);
    return 0;
}

/* ---- accepting */

/* The oldest connection of whoever has the most, and more than `account`; first of those that have
 * asked for nothing.  Not in the midst of a grant or a checkpoint, which end by themselves. */
static struct client *dispensable(const struct server *server, const struct account *account) {
    const struct account *largest = account_largest(server->accounts);
    struct client *silent = NULL, *asking = NULL;
    if (largest == NULL || largest->clients <= account->clients + 1)
        return NULL;
    for (struct client *c = server->clients; c != NULL; c = c->next) {
        if (c->account != largest || c->lease != NULL || c->checkpoint != NULL)
            continue;
        if (is_idle(c))
            silent = c;
        else
            asking = c;
    }
    return silent != NULL ? silent : asking;
}

/* NULL: there is room for one more; else why there is none. */
static const char *make_room(struct server *server, const struct account *account) {
    static const char full[] = "the manager has as many connections as it takes: try again";
    if (account == NULL)
        return "the manager is out of memory";
    if (account->clients >= SERVER_CLIENTS_PER_UID)
        return "your user has as many connections as the manager takes from one: close some";
    if (server->clients_n < SERVER_CLIENTS_MAX)
        return NULL;
    struct client *client = dispensable(server, account);
    if (client == NULL)
        return full;
    send_refusal(client->fd, PROTOCOL_REFUSED, -EAGAIN, 0, full);
    server_drop(client);
    return NULL;
}

static int send_hello(const struct client *client) {
    const struct manager *m = client->manager;
    union protocol_message message = {0};
    protocol_fill(&message.head, PROTOCOL_HELLO, sizeof message.hello, 0);
    message.hello.abi = SHM_ABI;
    message.hello.key = m->key;
    message.hello.manager_pid = (uint32_t)getpid();
    message.hello.backend = segment_backend(&m->segment);
    message.hello.segment_id = image_header(&m->segment.image)->segment_id;
    return protocol_send(client->fd, &message, -1);
}

static void welcome(struct manager *m, int fd, struct peer *peer, struct account *account) {
    struct client *client = calloc(1, sizeof *client);
    if (client == NULL) {
        peer_clear(peer);
        close(fd);
        return;
    }
    *client = (struct client){
        .manager = m, .fd = fd, .peer = *peer, .account = account, .next = m->server.clients};
    m->server.clients = client;
    m->server.clients_n++;
    account->clients++;
    server_expect(client, SERVER_SILENCE_MS);
    if (sd_event_add_io(m->event, &client->io, fd, EPOLLIN, on_client, client) < 0 ||
        send_hello(client) < 0)
        server_drop(client);
}

static void say_full(struct server *server, int error) {
    uint64_t now_ns = clock_mono_ns();
    if (server->full_said_ns != 0 && now_ns - server->full_said_ns <= FULL_SAID_NS)
        return;
    server->full_said_ns = now_ns;
    if (error == EMFILE)
        journal(LOG_WARNING, JOURNAL_TROUBLE,
                "no descriptor is left for another connection (%u are open): raise LimitNOFILE "
                "(ulimit -n)",
                server->clients_n);
    else
        journal(LOG_WARNING, JOURNAL_TROUBLE,
                "no connection can be taken (%s): new ones wait until this machine has more (%s)",
                strerror(error),
                error == ENFILE ? "descriptors: sysctl fs.file-max" : "memory for sockets");
}

/* Gives the spare descriptor for the answer that there is no other.  False: there is no spare. */
static bool turn_away(struct server *server) {
    if (server->spare < 0)
        return false;
    close(server->spare);
    int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        send_refusal(fd, PROTOCOL_REFUSED, -EAGAIN, 0,
                     "it has no descriptor left for another connection: try again, or raise its "
                     "LimitNOFILE");
        close(fd);
    }
    server->spare = fcntl(server->fd, F_DUPFD_CLOEXEC, 3);
    return fd >= 0;
}

static int on_pause_over(sd_event_source *source, uint64_t usec, void *userdata) {
    (void)source;
    (void)usec;
    struct server *server = userdata;
    if (server->spare < 0)
        server->spare = fcntl(server->fd, F_DUPFD_CLOEXEC, 3);
    return sd_event_source_set_enabled(server->io, SD_EVENT_ON);
}

/* A connection that can't be taken is announced again and again: looks away for a moment. */
static void pause_listening(struct server *server) {
    sd_event_source_set_enabled(server->io, SD_EVENT_OFF);
    sd_event_source_set_time_relative(server->pause, PAUSE_US);
    sd_event_source_set_enabled(server->pause, SD_EVENT_ONESHOT);
}

static void not_accepted(struct server *server, int error) {
    if (error == EAGAIN || error == EINTR || error == ECONNABORTED) /* it went again */
        return;
    say_full(server, error);
    if (error != EMFILE || !turn_away(server))
        pause_listening(server);
}

static int on_connect(sd_event_source *source, int listener, uint32_t events, void *userdata) {
    (void)source;
    (void)events;
    struct manager *m = userdata;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        not_accepted(&m->server, errno);
        return 0;
    }
    struct peer peer;
    const char *problem = "the manager can't see who you are";
    if (peer_get(&peer, fd) == 0) {
        struct account *account = account_of(&m->server.accounts, peer.uid, clock_mono_ns());
        problem = make_room(&m->server, account);
        if (problem == NULL) {
            welcome(m, fd, &peer, account);
            return 0;
        }
        peer_clear(&peer);
    }
    send_refusal(fd, PROTOCOL_REFUSED, -EUSERS, 0, problem);
    close(fd);
    return 0;
}

/* ---- listening */

static int listen_here(struct server *server, const struct sockaddr_un *address, char *error,
                       size_t error_bytes) {
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int r = fd < 0 ? -errno : 0;
    unlink(address->sun_path); /* the lock says that no other manager serves this key */
    if (r == 0 && bind(fd, (const struct sockaddr *)address, sizeof *address) < 0)
        r = -errno;
    /* Everybody may connect; who may do what is decided by the peer's uid and groups. */
    if (r == 0 && (chmod(address->sun_path, 0666) < 0 || listen(fd, 128) < 0))
        r = -errno;
    struct stat found;
    if (r == -EADDRINUSE && lstat(address->sun_path, &found) == 0)
        snprintf(
            error, error_bytes,
            "%s: can't listen there: it belongs to uid %u, and this manager may not remove it: "
            "remove it, or give another --runtime-dir",
            address->sun_path, found.st_uid);
    else if (r < 0)
        snprintf(error, error_bytes, "%s: can't listen there: %s", address->sun_path, strerror(-r));
    if (r < 0) {
        if (fd >= 0)
            close(fd);
        return r;
    }
    server->fd = fd;
    return 0;
}

int server_open(struct manager *m, char *error, size_t error_bytes) {
    struct server *server = &m->server;
    struct sockaddr_un address;
    server->fd = server->spare = -1;
    int r = protocol_address(&address, m->config.runtime_dir, m->key);
    if (r < 0) {
        snprintf(error, error_bytes, "%s: too long for a socket's address: use a shorter one",
                 m->config.runtime_dir);
        return r;
    }
    memcpy(server->path, address.sun_path, sizeof server->path);
    for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + sd_listen_fds(0); fd++)
        if (sd_is_socket_unix(fd, SOCK_SEQPACKET, 1, address.sun_path, 0) > 0)
            server->fd = fd;
    server->activated = server->fd >= 0;
    if (!server->activated && sd_listen_fds(0) > 0)
        journal(
            LOG_WARNING, JOURNAL_TROUBLE,
            "systemd passed a socket that is not %s, where clients of this key look: name it in "
            "the socket unit's ListenSequentialPacket= (an instance: the key in eight hex "
            "digits)",
            server->path);
    if (!server->activated && (r = listen_here(server, &address, error, error_bytes)) < 0)
        return r;
    server->spare = fcntl(server->fd, F_DUPFD_CLOEXEC, 3);
    r = server->spare < 0
            ? -errno
            : sd_event_add_io(m->event, &server->io, server->fd, EPOLLIN, on_connect, m);
    if (r >= 0)
        r = sd_event_add_time_relative(m->event, &server->pause, CLOCK_MONOTONIC, PAUSE_US, 10000,
                                       on_pause_over, server);
    if (r >= 0)
        r = sd_event_source_set_enabled(server->pause, SD_EVENT_OFF);
    if (r < 0)
        snprintf(error, error_bytes, "%s: %s", server->path, strerror(-r));
    return r < 0 ? r : 0;
}

void server_close(struct manager *m) {
    struct server *server = &m->server;
    while (server->clients != NULL)
        server_drop(server->clients);
    accounts_clear(&server->accounts);
    sd_event_source_disable_unref(server->io);
    sd_event_source_disable_unref(server->pause);
    server->io = server->pause = NULL;
    if (server->fd < 0)
        return;
    close(server->fd);
    if (server->spare >= 0)
        close(server->spare);
    if (!server->activated)
        unlink(server->path);
    server->fd = server->spare = -1;
}

unsigned server_waiting(const struct server *server) {
    unsigned n = 0;
    for (const struct client *c = server->clients; c != NULL; c = c->next)
        n += c->waiting;
    return n;
}
