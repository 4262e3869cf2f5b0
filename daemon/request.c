/* SPDX-License-Identifier: Apache-2.0
 *
 * What shmc_manager() asks for.
 */
#include "core/futex.h"
#include "journal.h"
#include "manager.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool may_manage(const struct client *c) {
    const struct manager *m = c->manager;
    return c->peer.uid == 0 || c->peer.uid == geteuid() ||
           (m->admins != (gid_t)-1 && peer_in_group(&c->peer, m->admins));
}

static void refuse_to_manage(struct client *c, const char *verb) {
    char text[PROTOCOL_TEXT_BYTES];
    snprintf(text, sizeof text,
             "'%s' takes root, the manager's user (uid %u) or a member of group shm-admin, and you "
             "are uid %u",
             verb, geteuid(), c->peer.uid);
    server_refuse(c, -EPERM, 0, text);
}

const char *request_peer(const struct client *c, char text[PEER_TEXT_BYTES]) {
    if (c->peer.pid == 0)
        snprintf(text, PEER_TEXT_BYTES, "uid %u in another PID namespace", c->peer.uid);
    else
        snprintf(text, PEER_TEXT_BYTES, "uid %u pid %u", c->peer.uid, c->peer.pid);
    return text;
}

/* "--force" or nothing; anything else was refused. */
static bool forced(struct client *c, const char *argument, bool *force) {
    *force = strcmp(argument, "--force") == 0;
    if (*force || *argument == '\0')
        return true;
    server_refuse(c, -EINVAL, 0, "plan and reload take nothing, or --force");
    return false;
}

static void reload(struct client *c, const char *argument) {
    char who[PEER_TEXT_BYTES];
    bool force;
    struct plan plan = {0};
    if (!forced(c, argument, &force))
        return;
    int r = apply_table(c->manager, request_peer(c, who), force, &plan);
    server_reply(c, r < 0 ? plain_reply(r, c->manager->verdict.error) : plan_reply(&plan, 0), r);
    plan_clear(&plan);
}

static void plan(struct client *c, const char *argument) {
    bool force;
    struct plan plan = {0};
    if (!forced(c, argument, &force))
        return;
    int r = apply_plan(c->manager, force, &plan);
    server_reply(c, plan_reply(&plan, r), r);
    plan_clear(&plan);
}

static void destroy(struct client *c) {
    struct manager *m = c->manager;
    char who[PEER_TEXT_BYTES];
    m->destroyed = true;
    journal(LOG_NOTICE, JOURNAL_STOPPED, "the segment is destroyed, as %s asked",
            request_peer(c, who));
    server_reply(c, plain_reply(0, NULL), 0);
    sd_event_exit(m->event, 0);
}

static void take_back(struct client *c, const char *worker) {
    char who[PEER_TEXT_BYTES], error[PROTOCOL_TEXT_BYTES];
    struct manager *m = c->manager;
    int r = revoke_worker(m, request_peer(c, who), worker, error, sizeof error);
    server_reply(c, plain_reply(r, r < 0 ? error : NULL), r);
}

/* "NAME", or "--force NAME". */
static void drop(struct client *c, const char *argument) {
    char who[PEER_TEXT_BYTES], error[PROTOCOL_TEXT_BYTES];
    const bool force = strncmp(argument, "--force ", 8) == 0;
    int r = made_drop_named(c->manager, request_peer(c, who), argument + (force ? 8 : 0), force,
                            error, sizeof error);
    server_reply(c, plain_reply(r, r < 0 ? error : NULL), r);
}

static void history(struct client *c, const char *argument) {
    char *end = (char *)(uintptr_t)argument;
    unsigned long n = *argument == '\0' ? 20 : strtoul(argument, &end, 10);
    const bool changes = strcmp(end, " --diff") == 0;
    if ((*end != '\0' && !changes) || n == 0 || n > 1000)
        server_refuse(c, -EINVAL, 0,
                      "history takes a number of edits from 1 to 1000, and then --diff or nothing");
    else
        server_reply(c, history_reply(c->manager, (unsigned)n, changes), 0);
}

static void table(struct client *c, const char *when) {
    char *reply, error[PROTOCOL_TEXT_BYTES];
    int r = table_reply(c->manager, when, &reply, error, sizeof error);
    if (r < 0)
        server_refuse(c, r, 0, error);
    else
        server_reply(c, reply, 0);
}

static void answer(struct client *c, const char *text) {
    char verb[PROTOCOL_REQUEST_BYTES];
    snprintf(verb, sizeof verb, "%s", text);
    char *argument = verb + strcspn(verb, " ");
    if (*argument != '\0')
        *argument++ = '\0';
    bool manages = strcmp(verb, "reload") == 0 || strcmp(verb, "destroy") == 0 ||
                   strcmp(verb, "checkpoint") == 0 || strcmp(verb, "revoke") == 0 ||
                   strcmp(verb, "drop") == 0;
    if (manages && !may_manage(c))
        refuse_to_manage(c, verb);
    else if (strcmp(verb, "status") == 0)
        server_reply(c, status_reply(c->manager), 0);
    else if (strcmp(verb, "history") == 0)
        history(c, argument);
    else if (strcmp(verb, "table") == 0)
        table(c, argument);
    else if (strcmp(verb, "plan") == 0)
        plan(c, argument);
    else if (strcmp(verb, "reload") == 0)
        reload(c, argument);
    else if (strcmp(verb, "checkpoint") == 0)
        checkpoint_ask(c, argument);
    else if (strcmp(verb, "revoke") == 0)
        take_back(c, argument);
    else if (strcmp(verb, "drop") == 0)
        drop(c, argument);
    else if (strcmp(verb, "destroy") == 0)
        destroy(c);
    else
        server_refuse(c, -EINVAL, 0,
                      "the manager knows no such request: status, table, plan, history, reload, "
                      "checkpoint, revoke, drop, destroy");
}

/* Who may end the manager needn't be kept from using it up. */
void request_handle(struct client *c, const union protocol_message *message) {
    struct account *account = c->account; /* outlives the client */
    const uint64_t from_ns = clock_mono_ns();
    const bool free = may_manage(c);
    const uint64_t rest_ns = free ? 0 : account_rest(account, from_ns);
    if (rest_ns > 0) {
        server_postpone(c, message, rest_ns);
        return;
    }
    if (message->head.type == PROTOCOL_CREATE)
        made_create(c, &message->create);
    else if (message->head.type == PROTOCOL_DROP)
        made_drop(c, &message->drop);
    else
        answer(c, message->request.text);
    const uint64_t now_ns = clock_mono_ns();
    if (!free)
        account_charge(account, now_ns, now_ns - from_ns);
}
