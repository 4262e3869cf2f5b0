/* SPDX-License-Identifier: Apache-2.0
 *
 * A section that is held moves with its writer's next publish.  The manager sees that by the place
 * before, and drops it then; where nobody holds the section, it copies the newest value itself.
 * Both change the layout, and are published as any edit.
 */
#include "moves.h"
#include "carry.h"
#include "journal.h"
#include "manager.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is known */

/* Nobody publishes, and nobody is granted the section meanwhile: the manager may copy.  A value
 * that can't be had whole or doesn't fit stays where it is, until the next writer's. */
static bool carried(const struct manager *m, const struct shm_section *section) {
    struct segment_place place;
    return segment_place(&m->segment, &m->layout, section, &place) == 0 &&
           segment_value_fits(&place) && snapshot_carry(&place.now) == 0;
}

/* Marked by its writer, and there is something in its place: a mark alone is easily made. */
static bool left(const struct manager *m, const struct shm_section *section) {
    struct segment_place place;
    if (segment_place(&m->segment, &m->layout, section, &place) < 0 ||
        !snapshot_left(&place.before))
        return false;
    place.now.before = NULL;
    return snapshot_version(&place.now) > 0;
}

static void find_moved(const struct manager *m, struct moves *moves) {
    for (uint32_t i = 0; i < m->layout.sections_used; i++) {
        const struct shm_section *section = &m->layout.sections[i];
        if (section->state == SHM_PLACE_MOVING)
            moves->moved[i] =
                moves->held[section->owner_index] ? left(m, section) : carried(m, section);
    }
}

/* Who is in slots and queues, and what: for edits alone. */
static void look_into(const struct manager *m, const struct table *table, struct moves *moves) {
    for (uint32_t i = 0; i < m->layout.sections_used; i++) {
        const struct shm_section *section = &m->layout.sections[i];
        if (!layout_place_in_force(section->state))
            continue;
        const uint32_t attachment = carry_entered(&m->segment, section);
        if (attachment != 0)
            moves->entered[i] = image_get_attachment(&m->segment.image, attachment).pid;
        if (attachment != 0 && moves->entered[i] == 0) /* of another PID namespace */
            moves->entered[i] = UINT32_MAX;
        const struct table_section *row = table_section(table, section->section_id);
        if (row != NULL && plan_divided(section, row))
            moves->messages[i] = carry_messages(&m->segment, section);
        if (row != NULL && row->size < section->size)
            moves->value_bytes[i] = carry_longest(&m->segment, section, row->count);
    }
}

/* Only where the table asks for less room than there is. */
static void measure(const struct manager *m, const struct table *table, struct moves *moves) {
    for (uint32_t i = 0; i < m->layout.sections_used; i++) {
        const struct shm_section *section = &m->layout.sections[i];
        struct segment_place place;
        if (!layout_place_in_force(section->state) || section->kind != SHM_KIND_SNAPSHOT)
            continue;
        const struct table_section *row = table_section(table, section->section_id);
        if (row != NULL && row->size < section->size &&
            segment_place(&m->segment, &m->layout, section, &place) == 0)
            moves->value_bytes[i] = segment_value_bytes(&place);
    }
}

int moves_gather(struct manager *m, const struct table *table, bool force, struct moves *ret) {
    *ret = (struct moves){.held = leases_held(m), .lingers = leases_lingering(m)};
    ret->moved = calloc(m->layout.sections_used + 1, sizeof *ret->moved);
    ret->value_bytes = calloc(m->layout.sections_used + 1, sizeof *ret->value_bytes);
    ret->entered = calloc(m->layout.sections_used + 1, sizeof *ret->entered);
    ret->messages = calloc(m->layout.sections_used + 1, sizeof *ret->messages);
    if (ret->held == NULL || ret->lingers == NULL || ret->moved == NULL ||
        ret->value_bytes == NULL || ret->entered == NULL || ret->messages == NULL) {
        moves_clear(ret);
        return -ENOMEM;
    }
    find_moved(m, ret);
    if (table != NULL) {
        look_into(m, table, ret);
        measure(m, table, ret);
    }
    uint64_t since;
    const bool attached = leases_attached(m, &since);
    ret->facts = (struct plan_facts){.worker_held = ret->held,
                                     .worker_lingers = ret->lingers,
                                     .moved = ret->moved,
                                     .value_bytes = ret->value_bytes,
                                     .attached = attached,
                                     .attached_since = since,
                                     .entered = ret->entered,
                                     .messages = ret->messages,
                                     .nameless = leases_nameless(m),
                                     .backend = segment_backend(&m->segment),
                                     .force = force};
    return 0;
}

void moves_clear(struct moves *moves) {
    free(moves->held);
    free(moves->lingers);
    free(moves->moved);
    free(moves->value_bytes);
    free(moves->entered);
    free(moves->messages);
    *moves = (struct moves){0};
}

unsigned moves_count(const struct layout *layout) {
    unsigned n = 0;
    for (uint32_t i = 0; i < layout->sections_used; i++)
        n += layout->sections[i].state == SHM_PLACE_MOVING;
    return n;
}

/* ---- arrival */

static bool anything_waits(const struct layout *layout) {
    for (uint32_t i = 0; i < layout->sections_used; i++)
        if (layout->sections[i].state == SHM_PLACE_MOVING ||
            layout->sections[i].state == SHM_PLACE_QUARANTINED)
            return true;
    return false;
}

/* In one line, for the history. */
static void describe(const struct plan *plan, char *text, size_t bytes) {
    size_t at = 0;
    for (size_t i = 0; i < plan->changes_n && i < 8 && at < bytes; i++) {
        const struct plan_change *c = &plan->changes[i];
        const bool moved = c->action == PLAN_MOVE;
        at += (size_t)snprintf(text + at, bytes - at, "%s%s '%s'%s", i == 0 ? "" : ", ",
                               moved ? "moved" : "freed what", c->name, moved ? "" : " had left");
    }
    if (plan->changes_n > 8 && at < bytes)
        snprintf(text + at, bytes - at, ", and %zu more", plan->changes_n - 8);
}

static int settle(struct manager *m, const struct moves *moves, char *error, size_t bytes) {
    struct plan plan;
    char what[512];
    int r = plan_settle(&plan, &m->layout, &moves->facts);
    if (r < 0) {
        snprintf(error, bytes, "%s", r == -ENOMEM ? "out of memory" : plan.error);
    } else if (plan.changes_n > 0) {
        describe(&plan, what, sizeof what);
        r = apply_publish(m, "the manager", what, &plan.next, &m->table, error, bytes);
        segment_settle(&m->segment, &m->layout);
        moves_soon(m); /* an edit may have waited for it */
    }
    plan_clear(&plan);
    return r;
}

void moves_look(struct manager *m) {
    struct moves moves;
    char error[512] = "out of memory";
    if (!anything_waits(&m->layout))
        return;
    int r = moves_gather(m, NULL, false, &moves);
    if (r == 0) {
        r = settle(m, &moves, error, sizeof error);
        moves_clear(&moves);
    }
    if (r < 0 && !m->moves_stuck) /* once: it is tried again every second */
        journal(LOG_WARNING, JOURNAL_TROUBLE,
                "sections that have moved can't be told yet, and are as they were: %s", error);
    m->moves_stuck = r < 0;
}

static int on_soon(sd_event_source *source, void *userdata) {
    (void)source;
    made_look(userdata);
    moves_look(userdata);
    edits_retry(userdata);
    return 0;
}

void moves_soon(struct manager *m) {
    if (m->arrivals == NULL && sd_event_add_defer(m->event, &m->arrivals, on_soon, m) < 0)
        return; /* the next tick looks */
    sd_event_source_set_enabled(m->arrivals, SD_EVENT_ONESHOT);
}

void moves_before_grant(struct manager *m, uint32_t worker) {
    for (uint32_t i = 0; i < m->layout.sections_used; i++)
        if (m->layout.sections[i].state == SHM_PLACE_MOVING &&
            m->layout.sections[i].owner_index == worker) {
            moves_look(m);
            return;
        }
}
