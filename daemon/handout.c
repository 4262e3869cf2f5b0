/* SPDX-License-Identifier: Apache-2.0
 *
 * Handing out the parts of a segment that is made of descriptors, to whom the table lets have them.
 * A descriptor that its receiver doesn't take stays in flight at the cost of our uid, also behind a
 * connection that we closed: so there is one a connection, and a limit for each user.
 */
#include "core/writers.h"
#include "manager.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_FLIGHT_MAX 64u /* of one uid */

/* A connection that has ended, kept for what it says is still in flight: that its process is gone
 * says nothing, as a child may have the other end, and pids of other namespaces say less. */
struct debt {
    uid_t uid;
    int fd;
    struct debt *next;
};

struct why {
    char text[PROTOCOL_TEXT_BYTES];
};

#define REFUSE(why, code, ...) (snprintf((why)->text, sizeof(why)->text, __VA_ARGS__), (code))

/* ---- in flight */

/* What the kernel still keeps for the other end to take. */
static bool waits_there(int fd) {
    int bytes = 0;
    return ioctl(fd, SIOCOUTQ, &bytes) == 0 && bytes > 0;
}

static bool untaken(const struct client *c) {
    return c->handed && waits_there(c->fd);
}

bool handout_abandon(struct client *c) {
    struct debt *debt = untaken(c) ? malloc(sizeof *debt) : NULL;
    if (debt == NULL)
        return false;
    shutdown(c->fd, SHUT_RDWR);
    *debt = (struct debt){.uid = c->peer.uid, .fd = c->fd, .next = c->manager->debts};
    c->manager->debts = debt;
    return true;
}

static void settle_debt(struct debt **at) {
    struct debt *debt = *at;
    *at = debt->next;
    close(debt->fd);
    free(debt);
}

void handout_look(struct manager *m) {
    for (struct debt **at = &m->debts; *at != NULL;)
        if (waits_there((*at)->fd))
            at = &(*at)->next;
        else
            settle_debt(at);
}

void handout_close(struct manager *m) {
    while (m->debts != NULL)
        settle_debt(&m->debts);
}

static unsigned in_flight(struct manager *m, uid_t uid) {
    unsigned n = 0;
    for (const struct client *c = m->server.clients; c != NULL; c = c->next)
        n += c->peer.uid == uid && untaken(c);
    handout_look(m);
    for (const struct debt *debt = m->debts; debt != NULL; debt = debt->next)
        n += debt->uid == uid;
    return n;
}

/* ---- who may have what */

/* A class is 0, for all who may attach, or a group. */
static bool in_class(const struct client *c, uint32_t class) {
    return class == 0 || c->peer.uid == 0 || c->peer.uid == geteuid() ||
           peer_in_group(&c->peer, (gid_t) class - 1);
}

static int not_writer(const struct client *c, uint32_t index, const struct shm_arena *arena,
                      const char *owner, struct why *why) {
    switch (arena->writers) {
    case SHM_WRITERS_CLASS:
        if (!in_class(c, arena->write_class))
            return REFUSE(why, -EACCES,
                          "uid %u is not in the group (gid %u) that may write this: see "
                          "section.write_group in the table, add it (usermod -aG) and log in anew",
                          c->peer.uid, arena->write_class - 1);
        return REFUSE(why, -EACCES,
                      "arena %u can be written by who holds an attachment, and that isn't you",
                      index);
    case SHM_WRITERS_INSTANCES:
        return REFUSE(why, -EACCES,
                      "arena %u can be written by the instances of worker '%.*s' alone, and you "
                      "are none",
                      index, (int)strcspn(owner, "#"), owner);
    default:
        return REFUSE(
            why, -EACCES,
            "arena %u can be written by the holder of worker '%s' alone, and that isn't you", index,
            owner);
    }
}

static int may_write(const struct client *c, const struct protocol_map *map,
                     const struct shm_arena *arena, struct why *why) {
    const struct layout *layout = &c->manager->layout;
    const struct lease *lease = attach_lease(c, map->attachment, map->attachment_epoch);
    const char *owner =
        arena->owner_index < layout->workers_used ? layout->workers[arena->owner_index] : "";
    const struct writers_who who = {.worker = lease == NULL ? SHM_NONE : lease->worker,
                                    .name = lease == NULL ? "" : lease->record.worker,
                                    .in_class = in_class(c, arena->write_class)};
    if (lease != NULL && writers_allow(arena, owner, &who))
        return 0;
    return not_writer(c, map->index, arena, owner[0] == '\0' ? "?" : owner, why);
}

static int may_read_class(const struct client *c, const struct shm_arena *arena, struct why *why) {
    const gid_t group = (gid_t)arena->read_class - 1;
    if (in_class(c, arena->read_class))
        return 0;
    return REFUSE(why, -EACCES,
                  "uid %u is not in the group (gid %u) that may read this: see section.read_group "
                  "in the table, add it (usermod -aG) and log in anew",
                  c->peer.uid, group);
}

/* The arena of that name, if it is in the directory in force. */
static const struct shm_arena *find_arena(const struct manager *m, const struct protocol_map *map) {
    const struct layout *layout = &m->layout;
    if (map->index >= layout->arenas_used ||
        layout->arenas[map->index].incarnation != map->incarnation ||
        layout->arenas[map->index].state == SHM_PLACE_FREE)
        return NULL;
    return &layout->arenas[map->index];
}

/* The end of a lease may change the layout: before an arena is pointed at. */
static void look_at_holder(struct manager *m, const struct protocol_map *map) {
    const struct shm_arena *arena = find_arena(m, map);
    if (arena != NULL && map->writable != 0)
        leases_of_worker(m, arena->owner_index);
}

static int judge(const struct client *c, const struct protocol_map *map,
                 const struct shm_arena *arena, struct why *why) {
    if (segment_backend(&c->manager->segment) != SHM_BACKEND_MEMFD)
        return REFUSE(why, -EOPNOTSUPP, "this segment is attached by shmget: it has no parts");
    if (map->part < PROTOCOL_PART_HEADER || map->part > PROTOCOL_PART_ARENA)
        return REFUSE(why, -EINVAL, "a segment has no part %u", map->part);
    if (untaken(c))
        return REFUSE(why, -EPROTO, "take what was sent before you ask for more");
    int r = attach_may_read(c, why->text, sizeof why->text);
    if (r < 0)
        return r;
    if (in_flight(c->manager, c->peer.uid) >= IN_FLIGHT_MAX)
        return REFUSE(why, -EUSERS,
                      "uid %u has %u descriptors that were sent and not taken: end those processes",
                      c->peer.uid, IN_FLIGHT_MAX);
    if (map->part != PROTOCOL_PART_ARENA)
        return 0;
    if (arena == NULL)
        return REFUSE(why, -EAGAIN, "there is no such arena any more: look the section up again");
    return map->writable != 0 ? may_write(c, map, arena, why) : may_read_class(c, arena, why);
}

void handout_map(struct client *c, const struct protocol_map *map) {
    const struct segment *segment = &c->manager->segment;
    if (map->part == PROTOCOL_PART_ARENA)
        look_at_holder(c->manager, map);
    const struct shm_arena *arena = find_arena(c->manager, map);
    struct why why = {0};
    union protocol_message message = {.map = *map};
    bool writable = map->part == PROTOCOL_PART_BELLS ||
                    (map->part == PROTOCOL_PART_ARENA && map->writable != 0);
    int fd = -1, r = judge(c, map, arena, &why);
    if (r == 0) {
        r = segment_share(segment, (enum segment_part)map->part, arena, map->index, writable, &fd,
                          &message.map.bytes);
        if (r < 0)
            snprintf(why.text, sizeof why.text, "no descriptor can be made: %s", strerror(-r));
    }
    if (r < 0) {
        server_refuse(c, r, 0, why.text);
        return;
    }
    protocol_fill(&message.head, PROTOCOL_PART, sizeof message.map, 0);
    message.map.writable = writable;
    r = protocol_send(c->fd, &message, fd);
    close(fd);
    c->handed = true;
    if (r < 0)
        server_drop(c);
    else
        server_expect(c, SERVER_SILENCE_MS);
}
