/* SPDX-License-Identifier: Apache-2.0
 *
 * Clients: the messages that libclient/lease.c sends, but without ever waiting for an answer, since
 * the manager may be this same process, or one that is stepped by it.
 */
#include "core/lease.h"
#include "office_parts.h"
#include "scenery.h"
#include "scratch.h"
#include "sweep.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

void client_claim_as(struct office_client *c, const char *worker) {
    struct sockaddr_un address;
    union protocol_message message = {.claim = {.flags = PROTOCOL_CLAIM_WAIT}};
    const uint32_t key = ((const struct shm_header *)(const void *)office_segment)->key;
    *c = (struct office_client){.state = CLIENT_CLAIMS};
    c->socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->socket < 0 || protocol_address(&address, scratch_directory, key) < 0 ||
        connect(c->socket, (const struct sockaddr *)&address, sizeof address) < 0)
        sweep_fail("connecting", -errno);
    protocol_fill(&message.head, PROTOCOL_CLAIM, sizeof message.claim, 0);
    memcpy(message.claim.worker, worker, strlen(worker));
    const int r = protocol_send(c->socket, &message, -1);
    if (r < 0)
        sweep_fail("claiming", r);
}

void client_claim(struct office_client *c) {
    client_claim_as(c, office_anonymous ? "" : "cam");
}

/* Keeps a lease by a mapping; or lets a process do so that does nothing else. */
static void keep(struct office_client *c, int fd, bool hand_on) {
    int ready[2];
    if (!hand_on) {
        if (lease_map(fd, &c->map) < 0)
            sweep_fail("mapping the lease", -errno);
        return;
    }
    if (pipe(ready) < 0 || (c->holder = fork()) < 0)
        sweep_fail("a holder", -errno);
    if (c->holder == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(c->socket);
        close(ready[0]);
        const int r = lease_map(fd, &c->map);
        if (write(ready[1], &r, sizeof r) == sizeof r && r == 0)
            for (;;)
                pause();
        _exit(1);
    }
    int r = -EPIPE;
    close(fd);
    close(ready[1]);
    if (read(ready[0], &r, sizeof r) != sizeof r || r < 0)
        sweep_fail("a holder's lease", r);
    close(ready[0]);
}

static void acknowledge(struct office_client *c) {
    union protocol_message message = {
        .ack = {.attachment = c->grant.attachment, .attachment_epoch = c->grant.attachment_epoch}};
    protocol_fill(&message.head, PROTOCOL_ACK, sizeof message.ack, 0);
    if (protocol_send(c->socket, &message, -1) < 0)
        c->state = CLIENT_CUT_OFF;
}

static void take(struct office_client *c, const union protocol_message *message, int fd,
                 bool hand_on) {
    switch (message->head.type) {
    case PROTOCOL_GRANT:
        c->grant = message->grant;
        c->state = CLIENT_GRANTED;
        keep(c, fd, hand_on);
        acknowledge(c);
        break;
    case PROTOCOL_LEASED:
        c->state = CLIENT_LEASED;
        break;
    case PROTOCOL_WAITING:
        c->state = CLIENT_WAITS;
        break;
    case PROTOCOL_REFUSED:
        c->state = CLIENT_REFUSED;
        break;
    default:
        break;
    }
}

static void look(struct office_client *c, bool hand_on) {
    if (c->state == CLIENT_NONE)
        return;
    for (;;) {
        union protocol_message message;
        int fd = -1;
        const int r = protocol_receive(c->socket, &message, &fd);
        if (r == -EAGAIN)
            return;
        if (r < 0) {
            if (c->state != CLIENT_LEASED && c->state != CLIENT_REFUSED)
                c->state = CLIENT_CUT_OFF;
            return;
        }
        take(c, &message, fd, hand_on);
    }
}

void client_look(struct office_client *c) {
    look(c, false);
}

void client_hand_on(struct office_client *c) {
    look(c, true);
}

void client_drop(struct office_client *c) {
    if (c->state == CLIENT_NONE)
        return;
    close(c->socket);
    lease_unmap(c->map);
    if (c->holder > 0) {
        kill(c->holder, SIGKILL);
        waitpid(c->holder, NULL, 0);
    }
    *c = (struct office_client){.state = CLIENT_NONE};
}

bool client_holds(const struct office_client *c) {
    if (c->state != CLIENT_LEASED)
        return false;
    return office_anonymous
               ? office_attachment(c->grant.attachment).word ==
                     lease_word(c->grant.attachment_epoch, SHM_LEASE_LEASED)
               : office_record().word == lease_word(c->grant.worker_epoch, SHM_LEASE_LEASED);
}

bool client_answered(const struct manager *manager, const void *client) {
    (void)manager;
    struct office_client *c = (struct office_client *)(uintptr_t)client;
    client_look(c);
    return c->state != CLIENT_CLAIMS;
}

bool client_leased(const struct manager *manager, const void *client) {
    client_answered(manager, client);
    const struct office_client *c = client;
    return c->state == CLIENT_LEASED || c->state == CLIENT_REFUSED || c->state == CLIENT_CUT_OFF;
}
