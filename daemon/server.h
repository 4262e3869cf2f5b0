/* SPDX-License-Identifier: Apache-2.0
 *
 * The socket and its clients.  A client has one thing under way at a time, a limit on how long it
 * may keep silent, and can harm nobody but itself.
 */
#ifndef SHM_DAEMON_SERVER_H
#define SHM_DAEMON_SERVER_H

#include "account.h"
#include "core/protocol.h"
#include "peer.h"

#include <systemd/sd-event.h>

#define SERVER_CLIENTS_MAX     1024u
#define SERVER_CLIENTS_PER_UID 256u
#define SERVER_SILENCE_MS      5000 /* for the next message, or for taking a reply */

struct manager;
struct lease;

struct client {
    struct manager *manager;
    struct client *next;
    int fd;
    struct peer peer;
    struct account *account; /* of peer.uid */
    sd_event_source *io, *timer;
    bool waiting;                      /* a claim that waits for the holder to go */
    char worker[SHM_NAME_BYTES];       /* that it claimed */
    struct lease *lease;               /* granted, not yet acknowledged */
    unsigned crowded;                  /* how often its claim had to wait for others' */
    bool handed;                       /* a part was sent */
    char *checkpoint;                  /* the pattern of one that it asked for; NULL: none */
    union protocol_message *postponed; /* a request that has to wait; NULL: none */
    char *reply;                       /* under way */
    size_t reply_bytes, reply_sent;
    int reply_result;
};

struct server {
    int fd;
    int spare; /* given up for a moment to say that there is no other */
    uint64_t full_said_ns;
    bool activated; /* the socket is the service manager's */
    char path[108];
    sd_event_source *io, *pause;
    struct client *clients; /* the newest first */
    unsigned clients_n;
    struct account *accounts;
};

int server_open(struct manager *manager, char *error, size_t error_bytes);
void server_close(struct manager *manager);

/* Ends a connection. */
void server_drop(struct client *client);

/* Sends a refusal and ends the connection. */
void server_refuse(struct client *client, int result, uint32_t holder, const char *text);

/* Sends `reply` (which it frees) piece by piece, then `result`. */
void server_reply(struct client *client, char *reply, int result);

/* Has the client's request handled later; it says nothing else meanwhile. */
void server_postpone(struct client *client, const union protocol_message *request, uint64_t ns);

/* Restarts or stops the clock of a client's silence. */
void server_expect(struct client *client, unsigned ms);

unsigned server_waiting(const struct server *server);

/* ---- attach.c */

/* A claim came, or one that waits may have its turn. */
void attach_claim(struct client *client);

/* The acknowledgement of a grant. */
void attach_acknowledge(struct client *client, const struct protocol_ack *ack);

/* The lease of those numbers, if it is acknowledged and the peer is its holder; NULL. */
const struct lease *attach_lease(const struct client *client, uint32_t attachment, uint64_t epoch);

/* May the peer attach, by the segment's group and mode?  0, or -EACCES and why. */
int attach_may_read(const struct client *client, char *text, size_t bytes);

/* A worker's lease has ended: whoever waits for it is next. */
void attach_turn(struct manager *manager, uint32_t worker);

/* ---- handout.c: parts of a segment that has them as descriptors */

void handout_map(struct client *client, const struct protocol_map *map);

/* A connection ends.  True: its descriptor is kept, as long as something sent over it isn't
 * taken. */
bool handout_abandon(struct client *client);

/* What was taken, or gone with its receiver, is owed no more. */
void handout_look(struct manager *manager);
void handout_close(struct manager *manager);

/* ---- request.c: REQUEST, CREATE and DROP, which cost the peer's user their time */
void request_handle(struct client *client, const union protocol_message *message);

/* For the history and the journal. */
#define PEER_TEXT_BYTES 64
const char *request_peer(const struct client *client, char text[PEER_TEXT_BYTES]);

/* ---- made_requests.c */
void made_create(struct client *client, const struct protocol_create *create);
void made_drop(struct client *client, const struct protocol_drop *drop);

#endif
