/* SPDX-License-Identifier: Apache-2.0
 *
 * Random tables, edits, and what is so beside them: who holds what, and how far a move has got.
 */
#ifndef SHM_TESTS_PLAN_EDITS_H
#define SHM_TESTS_PLAN_EDITS_H

#include "plan_fixture.h"

static unsigned seed, state;
static bool crowded; /* many small sections, so that the directories must grow */

static unsigned pick(unsigned n) {
    return (unsigned)rand_r(&state) % n;
}

/* ---- what is so beside the layout, anew before each plan */

static bool held[OWNERS_MAX], lingers[OWNERS_MAX], moved[ROWS_MAX];
static uint64_t value_bytes[ROWS_MAX];
static bool force, attached;
static uint64_t attached_since;
static uint32_t entered[ROWS_MAX];
static uint64_t messages[ROWS_MAX];

static void pick_facts(void) {
    force = pick(3) == 0;
    attached = pick(12) == 0;
    attached_since = pick((unsigned)running.generation + 1);
    for (uint32_t i = 0; i < running.workers_used; i++) {
        held[i] = running.workers[i][0] != '\0' && pick(4) == 0;
        lingers[i] = running.workers[i][0] != '\0' && (held[i] || pick(6) == 0);
    }
    for (uint32_t i = 0; i < running.sections_used; i++) {
        const struct shm_section *s = &running.sections[i];
        moved[i] = s->state == SHM_PLACE_MOVING && pick(2);
        const bool slots = s->kind == SHM_KIND_SLOTS && (s->flags & SHM_SECTION_SHARED) == 0;
        value_bytes[i] =
            (s->kind == SHM_KIND_SNAPSHOT || slots) && pick(2) ? pick((unsigned)s->size + 1) : 0;
        entered[i] = (slots || s->kind == SHM_KIND_QUEUE) && pick(4) == 0 ? 4711 : 0;
        messages[i] = s->kind == SHM_KIND_QUEUE && pick(4) == 0 ? 3 : 0;
    }
}

static struct plan_facts facts(void) {
    return (struct plan_facts){.worker_held = held,
                               .worker_lingers = lingers,
                               .moved = moved,
                               .value_bytes = value_bytes,
                               .attached = attached,
                               .attached_since = attached_since,
                               .entered = entered,
                               .messages = messages,
                               .force = force};
}

/* ---- edits.  The legal ones leave a table that is right by itself. */

static const char *const owners[] = {"alpha", "beta", "gamma", "web#1", "web#2"};

static const char *pick_owner(void) {
    const char *owner = owners[pick(5)];
    if (owner[0] == 'w')
        worker("web")->instances = 2;
    else
        worker(owner);
    return owner;
}

static void pick_pin(struct table_section *row) {
    row->pinned = true;
    row->offset = (uint64_t)pick((unsigned)(table.size / SHM_PAGE / 2)) * SHM_PAGE;
    if (row->offset + layout_section_bytes(row->kind, row->size, row->count, row->shared) >
        table.size)
        row->pinned = false;
}

/* What many write; the receivers of some queues are a worker's instances, whose number changes. */
static void make_shared(struct table_section *row) {
    static const enum shm_kind kinds[] = {SHM_KIND_RAW, SHM_KIND_SLOTS, SHM_KIND_QUEUE};
    row->kind = kinds[pick(3)];
    row->size = 1 + row->size % (pick(8) == 0 ? 60000 : 3000);
    row->shared = row->kind == SHM_KIND_RAW || (row->kind == SHM_KIND_SLOTS && pick(2));
    row->count = row->kind == SHM_KIND_RAW ? 0 : 1 + pick(3);
    row->write_class = pick(3);
    if (row->kind == SHM_KIND_QUEUE && pick(2)) {
        worker("pool")->instances = pick(2) ? 1 : 3;
        strcpy(row->owner, "pool");
    }
}

static void edit_add(void) {
    static unsigned serial;
    char name[SHM_NAME_BYTES];
    snprintf(name, sizeof name, "s%u", serial++);
    const uint64_t size = 1 + pick(crowded ? 200 : pick(4) == 0 ? 200000 : 3000);
    const char *owner = pick_owner();
    struct table_section *row =
        pick(3) == 0 ? add_raw(name, owner, size) : add(name, owner, size / 4 + 1);
    row->persist = pick(2);
    if (row->kind == SHM_KIND_SNAPSHOT) {
        row->count = 2 + pick(5);
        row->stamp = (enum table_stamp)pick(3);
    }
    if (pick(crowded ? 30 : 4) == 0)
        make_shared(row);
    if (row->kind == SHM_KIND_QUEUE)
        row->persist = false;
    if (!crowded && pick(6) == 0)
        pick_pin(row);
}

static void edit_remove(void) {
    if (table.sections_n > 0)
        drop(pick((unsigned)table.sections_n));
}

/* In its place. */
static void edit_manners(struct table_section *row) {
    switch (pick(6)) {
    case 0:
        row->stale_ms = pick(1000);
        break;
    case 1:
        snprintf(row->format, sizeof row->format, "f/%u", pick(9));
        break;
    case 2:
        row->notify = (enum table_notify)pick(3);
        break;
    case 3:
        row->size = layout_round(row->size, SHM_LINE) - pick(SHM_LINE);
        break;
    case 4:
        row->stamp = (enum table_stamp)pick(3);
        break;
    default:
        snprintf(row->name, sizeof row->name, "r%llu-%u", (unsigned long long)row->id, pick(9));
    }
}

/* Somewhere else. */
static void edit_place(struct table_section *row) {
    switch (pick(9)) {
    case 7:
        row->write_class = pick(3);
        break;
    case 8:
        make_shared(row);
        break;
    case 0:
        row->size = 1 + pick(crowded ? 200 : 3000);
        break;
    case 1:
        row->size += SHM_LINE;
        break;
    case 2:
        row->count = 2 + pick(5);
        break;
    case 3:
        row->read_class = pick(3);
        break;
    case 4:
        if (row->pinned)
            row->pinned = false;
        else if (!crowded)
            pick_pin(row);
        break;
    case 5:
        snprintf(row->owner, sizeof row->owner, "%s", pick_owner());
        break;
    default:
        if (pick(2))
            row->kind = row->kind == SHM_KIND_RAW ? SHM_KIND_SNAPSHOT : SHM_KIND_RAW;
        else
            row->shared = !row->shared;
    }
}

static void edit_change(void) {
    if (table.sections_n == 0)
        return;
    struct table_section *row = &table.sections[pick((unsigned)table.sections_n)];
    const struct table_section before = *row;
    (pick(3) == 0 ? edit_manners : edit_place)(row);
    const bool raw = row->kind == SHM_KIND_RAW;
    row->count = raw ? 0 : row->count < 2 ? 4 : row->count;
    row->shared = row->shared && (raw || row->kind == SHM_KIND_SLOTS);
    if (!row->shared && row->kind != SHM_KIND_SLOTS && row->kind != SHM_KIND_QUEUE)
        row->write_class = 0;
    if (raw || row->kind == SHM_KIND_QUEUE || row->stamp == TABLE_STAMP_NONE)
        row->stale_ms = 0;
    if (row->kind == SHM_KIND_QUEUE)
        row->persist = false;
    const uint64_t bytes =
        layout_round(layout_section_bytes(row->kind, row->size, row->count, row->shared), SHM_PAGE);
    if (bytes > table.size || (row->pinned && row->offset > table.size - bytes) ||
        (strcmp(row->owner, "pool") == 0 && row->kind != SHM_KIND_QUEUE))
        *row = before;
}

/* Something that is to be refused whatever runs; false: there is no row to spoil. */
static bool edit_wrong(void) {
    if (table.sections_n == 0)
        return false;
    struct table_section *row = &table.sections[pick((unsigned)table.sections_n)];
    if (pick(2))
        row->kind = SHM_KIND_QUEUE, row->count = 4, row->persist = true;
    else
        row->name[0] = '9';
    return true;
}

#endif
