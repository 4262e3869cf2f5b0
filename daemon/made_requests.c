/* SPDX-License-Identifier: Apache-2.0
 *
 * What workers ask for: a section, and its end.  And what an administrator may ask about them.
 */
#include "core/process.h"
#include "journal.h"
#include "made_rows.h"
#include "manager.h"
#include "resolve.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define FLAGS                                                                                      \
    (PROTOCOL_CREATE_EXCLUSIVE | PROTOCOL_CREATE_TRANSIENT | PROTOCOL_CREATE_PERSIST |             \
     PROTOCOL_CREATE_SHARED | PROTOCOL_CREATE_PREGRAB | PROTOCOL_CREATE_CLEAR |                    \
     PROTOCOL_CREATE_RESTART)

/* Who asks, and what he is told. */
struct asking {
    struct client *client;
    struct manager *manager;
    const struct lease *lease;
    const struct table_worker *worker;
    char text[PROTOCOL_TEXT_BYTES];
};

#define REFUSE(asking, code, ...)                                                                  \
    (snprintf((asking)->text, sizeof(asking)->text, __VA_ARGS__), (code))

static int identify(struct asking *a, uint32_t attachment, uint64_t epoch) {
    struct manager *m = a->manager;
    if (m->segment.removed)
        return REFUSE(
            a, -EIDRM,
            "somebody removed the segment (ipcrm): restart the manager to have a new one");
    leases_rescan(m); /* an end may change the layout, and the table */
    a->lease = attach_lease(a->client, attachment, epoch);
    a->worker = a->lease == NULL ? NULL : table_worker(&m->table, a->lease->record.worker);
    if (a->worker == NULL)
        return REFUSE(a, -EACCES,
                      "only the holder of a worker's lease makes or drops sections, and that isn't "
                      "you: attach as a worker");
    return 0;
}

static void conclude(struct asking *a, int result) {
    struct client *c = a->client;
    const char *worker = a->worker == NULL ? "?" : a->worker->name;
    char process[PROCESS_TEXT_BYTES];
    if (result == 0) {
        server_reply(c, strdup(""), 0);
        return;
    }
    refusals_say(&a->manager->refusals, worker, c->peer.uid, c->peer.pid,
                 "%s (uid %u) was refused: %s", process_text(c->peer.pid, process), c->peer.uid,
                 a->text);
    server_refuse(c, result, 0, a->text);
}

static int publish(struct asking *a, const char *what, struct table *table, uint64_t given_up) {
    const struct lease_record *record = &a->lease->record;
    char who[SHM_NAME_BYTES + 48];
    snprintf(who, sizeof who, "worker '%s' pid %u", record->worker, record->pid);
    return made_publish(a->manager, who, what, table, given_up, a->text, sizeof a->text);
}

/* ---- create */

static void put_text(char to[SHM_NAME_BYTES], const char *from) {
    memcpy(to, from, strnlen(from, SHM_NAME_BYTES - 1)); /* the rest is zero */
}

static struct table_section row_of(const struct protocol_create *create, const char *owner) {
    const uint32_t flags = create->flags;
    const enum shm_kind kind = (enum shm_kind)create->kind;
    struct table_section row = {.kind = kind,
                                .size = create->size,
                                .count = create->count == 0 ? table_count(kind) : create->count,
                                .persist = (flags & PROTOCOL_CREATE_PERSIST) != 0,
                                .transient = (flags & PROTOCOL_CREATE_TRANSIENT) != 0,
                                .shared = (flags & PROTOCOL_CREATE_SHARED) != 0,
                                .pregrab = (flags & PROTOCOL_CREATE_PREGRAB) != 0,
                                .clear = (flags & PROTOCOL_CREATE_CLEAR) != 0 ? TABLE_CLEAR_FREE
                                         : (flags & PROTOCOL_CREATE_RESTART) != 0
                                             ? TABLE_CLEAR_RESTART
                                             : TABLE_CLEAR_NEVER,
                                .stale_ms = create->stale_ms,
                                .stamp = (enum table_stamp)create->stamp,
                                .notify = (enum table_notify)create->notify};
    put_text(row.name, create->name);
    put_text(row.owner, owner);
    put_text(row.format, create->format);
    put_text(row.read_group, create->read_group);
    put_text(row.write_group, create->write_group);
    return row;
}

static const struct table_section *find_name(const struct table *table, const char *name) {
    for (size_t i = 0; i < table->sections_n; i++)
        if (strcasecmp(table->sections[i].name, name) == 0)
            return &table->sections[i];
    return NULL;
}

/* 1: it is there, as it is wanted; 0: it isn't there. */
static int look_for(struct asking *a, const struct table_section *row, bool exclusive) {
    const struct table_section *found = find_name(&a->manager->table, row->name);
    if (found == NULL)
        return 0;
    if (!made_is(found->id))
        return REFUSE(a, -EEXIST,
                      "section '%s': the table has a section '%s', of worker '%s': choose another "
                      "name",
                      row->name, found->name, found->owner);
    if (strcmp(found->owner, row->owner) != 0 || strcmp(found->name, row->name) != 0)
        return REFUSE(a, -EEXIST,
                      "section '%s': worker '%s' made a section '%s': choose another name",
                      row->name, found->owner, found->name);
    if (exclusive)
        return REFUSE(a, -EEXIST, "section '%s' is there already: you made it before", row->name);
    if (!made_same(found, row))
        return REFUSE(a, -EEXIST,
                      "section '%s' is there already, made with other options: shmc_drop() it "
                      "first, or choose another name",
                      row->name);
    return 1;
}

static int look_up_groups(struct asking *a, struct table_section *row) {
    struct table one = {.sections = row, .sections_n = 1};
    return resolve_groups(&one, a->text, sizeof a->text);
}

static int append(struct asking *a, struct table_section *row) {
    struct manager *m = a->manager;
    struct table table = {0};
    char what[SHM_NAME_BYTES + 64];
    int r = made_next_id(m, &row->id);
    if (r < 0)
        return REFUSE(a, r, "section '%s' can't be written down in %.200s: %s", row->name,
                      m->config.state, strerror(-r));
    r = made_table(m, &table);
    if (r == 0)
        r = made_append(&table, row);
    if (r == 0) {
        snprintf(what, sizeof what, "created '%s', %llu bytes", row->name,
                 (unsigned long long)made_charge(row));
        r = publish(a, what, &table, 0);
    } else {
        snprintf(a->text, sizeof a->text, "out of memory");
    }
    table_clear(&table);
    return r;
}

static int create_section(struct asking *a, const struct protocol_create *create) {
    const struct manager *m = a->manager;
    int r = identify(a, create->attachment, create->attachment_epoch);
    if (r < 0)
        return r;
    struct table_section row = row_of(create, a->lease->record.worker);
    if ((create->flags & ~FLAGS) != 0)
        return REFUSE(a, -EINVAL, "options.flags 0x%x has bits that this manager doesn't know",
                      create->flags);
    if ((create->flags & PROTOCOL_CREATE_CLEAR) != 0 &&
        (create->flags & PROTOCOL_CREATE_RESTART) != 0)
        return REFUSE(a, -EINVAL,
                      "options.flags has SHMC_CREATE_CLEAR and SHMC_CREATE_CLEAR_RESTART: choose "
                      "one");
    r = made_check(&m->table, &row, a->text, sizeof a->text);
    if (r == 0)
        r = look_for(a, &row, (create->flags & PROTOCOL_CREATE_EXCLUSIVE) != 0);
    if (r != 0)
        return r < 0 ? r : 0;
    r = made_allow(&m->table, a->worker, &row, a->text, sizeof a->text);
    if (r == 0)
        r = look_up_groups(a, &row);
    return r == 0 ? append(a, &row) : r;
}

void made_create(struct client *c, const struct protocol_create *create) {
    struct asking a = {.client = c, .manager = c->manager};
    conclude(&a, create_section(&a, create));
}

/* ---- drop */

static int not_made(const char *name, const struct table_section *found, int code, char *error,
                    size_t error_bytes) {
    if (found == NULL)
        snprintf(error, error_bytes, "there is no section '%s' (shmtool list)",
                 table_name_ok(name, false) ? name : "?");
    else
        snprintf(error, error_bytes,
                 "section '%s' wasn't made at run time: its row is in the table (shmtool table rm "
                 "%s)",
                 found->name, found->name);
    return found == NULL ? -ENOENT : code;
}

static const struct table_section *find_exactly(const struct table *table, const char *name) {
    const struct table_section *found = find_name(table, name);
    return found != NULL && strcmp(found->name, name) == 0 ? found : NULL;
}

/* The table in force without it. */
static int table_without(const struct manager *m, const struct table_section *row,
                         struct table *ret) {
    int r = made_table(m, ret);
    if (r == 0)
        made_remove(ret, (size_t)(row - m->table.sections));
    return r;
}

static int drop_section(struct asking *a, const struct protocol_drop *drop) {
    const struct manager *m = a->manager;
    struct table table = {0};
    char what[SHM_NAME_BYTES + 16];
    int r = identify(a, drop->attachment, drop->attachment_epoch);
    if (r < 0)
        return r;
    const struct table_section *row = find_exactly(&m->table, drop->name);
    if (row == NULL || !made_is(row->id))
        return not_made(drop->name, row, -EACCES, a->text, sizeof a->text);
    if (strcmp(row->owner, a->lease->record.worker) != 0)
        return REFUSE(a, -EACCES, "section '%s' is worker '%s's, and you are worker '%s'",
                      row->name, row->owner, a->lease->record.worker);
    snprintf(what, sizeof what, "dropped '%s'", row->name);
    const uint64_t id = row->id;
    r = table_without(m, row, &table);
    if (r < 0)
        return REFUSE(a, r, "out of memory");
    r = publish(a, what, &table, id);
    table_clear(&table);
    return r;
}

void made_drop(struct client *c, const struct protocol_drop *drop) {
    struct asking a = {.client = c, .manager = c->manager};
    conclude(&a, drop_section(&a, drop));
}

int made_drop_named(struct manager *m, const char *who, const char *name, bool force, char *error,
                    size_t error_bytes) {
    struct table table = {0};
    char what[SHM_NAME_BYTES + 16];
    leases_rescan(m); /* as in identify() */
    const struct table_section *row = find_exactly(&m->table, name);
    if (row == NULL || !made_is(row->id))
        return not_made(name, row, -EINVAL, error, error_bytes);
    const uint32_t worker = layout_worker(&m->layout, row->owner);
    if (!force && worker != SHM_NONE && leases_peek(m, worker) != NULL) {
        snprintf(error, error_bytes,
                 "section '%s': worker '%s' holds it (end that worker, or shmtool drop --force "
                 "%s)",
                 row->name, row->owner, row->name);
        return -EBUSY;
    }
    snprintf(what, sizeof what, "dropped '%s'", row->name);
    int r = table_without(m, row, &table);
    if (r < 0)
        snprintf(error, error_bytes, "out of memory");
    else
        r = made_publish(m, who, what, &table, 0, error, error_bytes);
    table_clear(&table);
    return r;
}
