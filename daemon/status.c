/* SPDX-License-Identifier: Apache-2.0
 *
 * Replies as JSON.
 */
#include "core/directory.h"
#include "manager.h"
#include "table_json.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *text_of(json_t *object) {
    char *text = object == NULL ? NULL : json_dumps(object, JSON_COMPACT);
    json_decref(object);
    return text;
}

static json_int_t count_sections(const struct layout *layout) {
    json_int_t n = 0;
    for (uint32_t i = 0; i < layout->sections_used; i++)
        n += layout_place_in_force(layout->sections[i].state);
    return n;
}

static json_int_t count_workers(const struct layout *layout) {
    json_int_t n = 0;
    for (uint32_t i = 0; i < layout->workers_used; i++)
        n += layout->workers[i][0] != '\0';
    return n;
}

/* Workers, or who has no name. */
static json_int_t count_leased(const struct leases *leases, bool anonymous) {
    json_int_t n = 0;
    for (const struct lease *l = leases->first; l != NULL; l = l->next)
        n += l->state == SHM_LEASE_LEASED && (l->record.worker[0] == '\0') == anonymous;
    return n;
}

static json_int_t arena_bytes(const struct layout *layout) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < layout->arenas_used; i++)
        if (layout->arenas[i].state != SHM_PLACE_FREE)
            bytes += layout->arenas[i].bytes;
    return (json_int_t)bytes;
}

/* Where our pid is a number; 0: not known. */
static json_int_t pid_namespace(void) {
    struct stat space;
    return stat("/proc/self/ns/pid", &space) == 0 ? (json_int_t)space.st_ino : 0;
}

static json_t *manager_json(const struct manager *m) {
    return json_pack("{s:i, s:I, s:s, s:I, s:s, s:s, s:s, s:s}", "pid", (int)getpid(),
                     "pid_namespace", pid_namespace(), "version", SHM_VERSION, "since_ns",
                     (json_int_t)m->since_real_ns, "table", m->config.table, "state",
                     m->config.state, "runtime", m->config.runtime_dir, "socket", m->server.path);
}

static json_t *segment_json(const struct manager *m) {
    char key[16], mode[8];
    snprintf(key, sizeof key, "0x%08x", m->key);
    snprintf(mode, sizeof mode, "%04o", m->table.mode);
    return json_pack("{s:s, s:i, s:s, s:s, s:I, s:I, s:s, s:s, s:b}", "key", key, "id",
                     m->segment.id, "backend",
                     table_word(TABLE_BACKENDS, segment_backend(&m->segment)), "protection",
                     segment_protection(&m->segment), "bytes", (json_int_t)m->layout.segment_bytes,
                     "arena_bytes", arena_bytes(&m->layout), "mode", mode, "group",
                     m->table.group_name, "removed", m->segment.removed);
}

static json_t *verdict_json(const struct manager *m) {
    static const char *const outcomes[] = {"applied", "rejected", "unreadable", "pending"};
    const struct verdict *v = &m->verdict;
    bool differs = m->table_db == NULL || table_db_changed(m->table_db, v->version);
    return json_pack("{s:s, s:s?, s:b, s:b}", "outcome", outcomes[v->outcome], "error",
                     v->outcome == VERDICT_APPLIED ? NULL : v->error, "differs", differs,
                     "auto_apply", m->table.auto_apply);
}

/* Which sections are on their way to another place, and whose publish they wait for. */
static json_t *moving_json(const struct manager *m) {
    json_t *moving = json_array();
    for (uint32_t i = 0; i < m->layout.sections_used; i++) {
        const struct shm_section *section = &m->layout.sections[i];
        if (section->state != SHM_PLACE_MOVING)
            continue;
        const struct lease *lease = leases_peek(m, section->owner_index);
        json_array_append_new(
            moving,
            json_pack("{s:s, s:s, s:I}", "section", section->name, "waits_for", section->owner,
                      "pid", lease == NULL ? (json_int_t)0 : (json_int_t)lease->record.pid));
    }
    return moving;
}

char *status_reply(struct manager *m) {
    return text_of(json_pack(
        "{s:b, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:{s:I, s:I}, s:{s:I, s:I, s:I}}",
        "ok", 1, "manager", manager_json(m), "segment", segment_json(m), "generation",
        (json_int_t)m->layout.generation, "sections", count_sections(&m->layout), "workers",
        count_workers(&m->layout), "leased", count_leased(&m->leases, false), "anonymous",
        count_leased(&m->leases, true), "table", verdict_json(m), "checkpoint", checkpoint_json(m),
        "moving", moving_json(m), "clients", "connected", (json_int_t)m->server.clients_n,
        "waiting", (json_int_t)server_waiting(&m->server), "counters", "grants",
        (json_int_t)m->leases.grants, "refused", (json_int_t)m->leases.refused, "repairs",
        (json_int_t)m->repairs));
}

char *plan_reply(const struct plan *plan, int result) {
    if (result < 0)
        return text_of(json_pack("{s:b, s:i, s:s, s:I}", "ok", 0, "errno", -result, "error",
                                 plan->error, "waits", (json_int_t)plan->waits));
    json_t *changes = json_array();
    for (size_t i = 0; i < plan->changes_n; i++) {
        const struct plan_change *c = &plan->changes[i];
        json_array_append_new(changes,
                              json_pack("{s:s, s:s, s:s}", "action", plan_action_name(c->action),
                                        "name", c->name, "what", c->what));
    }
    return text_of(json_pack("{s:b, s:I, s:o, s:I, s:I}", "ok", 1, "generation",
                             (json_int_t)plan->next.generation, "changes", changes, "used_before",
                             (json_int_t)plan->used_before, "used_after",
                             (json_int_t)plan->used_after));
}

char *history_reply(struct manager *m, unsigned limit, bool changes) {
    json_t *history = NULL;
    int r = state_db_history(m->state, limit, &history);
    if (r == 0 && changes)
        r = state_db_history_changes(m->state, history);
    if (r < 0) {
        json_decref(history);
        return plain_reply(r, "the history in state.db can't be read");
    }
    json_object_set_new(history, "ok", json_true());
    return text_of(history);
}

int table_reply(struct manager *m, const char *when, char **ret, char *error, size_t error_bytes) {
    json_t *table;
    if (*when != '\0') {
        int r = state_db_table_at(m->state, when, &table, error, error_bytes);
        if (r < 0)
            return r;
    } else {
        table = table_json(&m->table);
        json_object_set_new(table, "generation", json_integer((json_int_t)m->layout.generation));
    }
    json_object_set_new(table, "ok", json_true());
    *ret = text_of(table);
    return 0;
}

char *plain_reply(int result, const char *error) {
    if (result == 0)
        return text_of(json_pack("{s:b}", "ok", 1));
    return text_of(json_pack("{s:b, s:i, s:s}", "ok", 0, "errno", -result, "error", error));
}

static unsigned count_stale(const struct stale *stale) {
    unsigned n = 0;
    for (uint32_t i = 0; i < stale->slots; i++)
        n += stale->marks[i].stale;
    return n;
}

void status_line(const struct manager *m, char *line, size_t bytes) {
    const struct verdict *v = &m->verdict;
    unsigned stale = count_stale(&m->stale);
    unsigned moving = moves_count(&m->layout);
    const json_int_t anonymous = count_leased(&m->leases, true);
    char late[64] = "", others[48] = "";
    if (anonymous > 0)
        snprintf(others, sizeof others, ", and %lld anonymous", (long long)anonymous);
    if (stale > 0)
        snprintf(late, sizeof late, " (%u stale)", stale);
    if (moving > 0)
        snprintf(late + strlen(late), sizeof late - strlen(late), " (%u moving)", moving);
    snprintf(line, bytes,
             "generation %llu; %lld sections%s; %lld of %lld workers attached%s%s%s%s%s%s",
             (unsigned long long)m->layout.generation, (long long)count_sections(&m->layout), late,
             (long long)count_leased(&m->leases, false), (long long)count_workers(&m->layout),
             others, m->segment.removed ? "; the segment was removed, restart the manager" : "",
             m->checkpoint.error[0] != '\0' ? "; checkpoint: " : "", m->checkpoint.error,
             v->outcome == VERDICT_APPLIED    ? ""
             : v->outcome == VERDICT_REJECTED ? "; table rejected: "
             : v->outcome == VERDICT_PENDING  ? "; table pending: "
                                              : "; table not readable: ",
             v->outcome == VERDICT_APPLIED ? "" : v->error);
}
