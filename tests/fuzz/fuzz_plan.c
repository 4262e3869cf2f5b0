/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables of any content, one after the other, over what runs: table_check() says no in one line, or
 * the planner makes a layout that holds together, the same each time, or says no in one line.
 */
#include "core/layout.h"
#include "core/plan.h"
#include "fuzz.h"

#include <errno.h>
#include <string.h>

#define WORKERS  4
#define SECTIONS 8

static void take_name(struct input *input, char ret[SHM_NAME_BYTES], bool owner) {
    static const char *const names[] = {"a", "b", "cam", "CAM", "temps", "a#1", "b#2", "x.y-z_9"};
    uint32_t kind = take_below(input, 12);
    memset(ret, 0, SHM_NAME_BYTES);
    if (kind == 11)
        take_bytes(input, ret, SHM_NAME_BYTES - 1);
    else if (kind == 10)
        memset(ret, 'n', SHM_NAME_BYTES - 1 - take_below(input, 2));
    else
        snprintf(ret, SHM_NAME_BYTES, "%s",
                 names[owner ? kind % 2 + (kind > 7 ? 5 : 0) : kind % 8]);
}

static void take_section(struct input *input, struct table_section *s, uint64_t id) {
    uint8_t flags = (uint8_t)take(input, 1);
    *s = (struct table_section){.id = flags & 1 ? take_number(input, id) : id,
                                .kind = SHM_KIND_SNAPSHOT,
                                .size = take(input, 2),
                                .count = 4,
                                .pinned = (flags & 2) != 0,
                                .shared = (flags & 4) != 0,
                                .persist = (flags & 8) != 0};
    take_name(input, s->name, false);
    take_name(input, s->owner, true);
    if (flags & 16)
        s->kind = (enum shm_kind)take_below(input, 6);
    if (s->kind == SHM_KIND_RAW)
        s->count = 0;
    if (flags & 32) {
        s->size = take_number(input, s->size);
        s->count = (uint32_t)take_number(input, s->count);
    }
    if (flags & 2)
        s->offset = flags & 64 ? take_number(input, 1u << 20) : take(input, 1) * SHM_PAGE * 8;
    if (flags & 128) {
        s->stale_ms = take_number(input, 100);
        s->stamp = (enum table_stamp)take_below(input, 4);
        s->notify = (enum table_notify)take_below(input, 4);
        take_name(input, s->format, false);
    }
}

static void take_table(struct input *input, struct table *t) {
    struct table_worker *workers = t->workers;
    struct table_section *sections = t->sections;
    *t = (struct table){.key = 1,
                        .size = UINT64_C(2) << 20,
                        .backend = SHM_BACKEND_SYSV,
                        .mode = 0660,
                        .workers = workers,
                        .workers_n = 2,
                        .sections = sections,
                        .sections_n = take_below(input, SECTIONS + 1)};
    memset(workers, 0, WORKERS * sizeof *workers);
    strcpy(workers[0].name, "a");
    strcpy(workers[1].name, "b");
    workers[0].instances = 1 + take_below(input, 3);
    workers[1].instances = 1 + take_below(input, 3);
    if (take_below(input, 16) == 0) {
        t->workers_n = take_below(input, WORKERS + 1);
        t->size = take_number(input, t->size);
        t->key = (uint32_t)take_number(input, 1);
        t->mode = (uint32_t)take_number(input, 0660);
        for (size_t i = 0; i < t->workers_n; i++) {
            take_name(input, workers[i].name, true);
            workers[i].instances = (uint32_t)take_number(input, 1);
        }
    }
    for (size_t i = 0; i < t->sections_n; i++)
        take_section(input, &sections[i], i + 1);
}

static bool same_bytes(const void *a, const void *b, size_t bytes) {
    return bytes == 0 || memcmp(a, b, bytes) == 0;
}

static bool same(const struct layout *a, const struct layout *b) {
    return a->generation == b->generation && a->sections_used == b->sections_used &&
           a->arenas_used == b->arenas_used && a->workers_used == b->workers_used &&
           memcmp(a->directories, b->directories, sizeof a->directories) == 0 &&
           same_bytes(a->sections, b->sections, a->sections_used * sizeof *a->sections) &&
           same_bytes(a->arenas, b->arenas, a->arenas_used * sizeof *a->arenas);
}

/* By index of the running layout, which has more only when a table was very odd. */
struct so_far {
    bool held[64], lingers[64], moved[64];
    uint64_t value_bytes[64];
};

static struct plan_facts take_facts(struct input *input, const struct layout *running,
                                    struct so_far *so_far) {
    const uint64_t bits = take(input, 1), more = take(input, 1);
    for (unsigned i = 0; i < 64; i++) {
        so_far->held[i] = bits >> (i % 8) & 1;
        so_far->lingers[i] = more >> (i % 4) & 1;
        so_far->moved[i] = more >> (4 + i % 3) & 1;
        so_far->value_bytes[i] = (bits ^ i) & 63;
    }
    const bool slots = running->sections_used <= 64, workers = running->workers_used <= 64;
    return (struct plan_facts){.worker_held = workers ? so_far->held : NULL,
                               .worker_lingers = workers ? so_far->lingers : NULL,
                               .moved = slots ? so_far->moved : NULL,
                               .value_bytes = slots ? so_far->value_bytes : NULL,
                               .force = more >> 7};
}

static void go_on(struct layout *running, struct plan *plan, int r) {
    char error[512] = "";
    MUST(r == 0 || r == -EINVAL || r == -EBUSY);
    MUST(r == 0 ? true : one_line(plan->error) && plan->error[0] != '\0');
    MUST(layout_check(&plan->next, error, sizeof error) == 0);
    MUST(r == 0 || same(&plan->next, running));
    layout_clear(running);
    *running = plan->next;
    plan->next = (struct layout){0};
    plan_clear(plan);
}

/* What was waited for is over, or somebody is made to leave. */
static void settle(struct layout *running, struct input *input) {
    struct plan plan;
    struct so_far so_far;
    const struct plan_facts facts = take_facts(input, running, &so_far);
    const uint32_t worker = take_below(input, 4);
    if (running->generation == 0)
        return;
    go_on(running, &plan,
          worker == 0 ? plan_settle(&plan, running, &facts)
                      : plan_evict(&plan, running, worker - 1, &facts));
}

static void edit(struct layout *running, const struct table *table, struct input *input) {
    struct plan plan, again;
    char error[512] = "";
    struct so_far so_far;
    const struct plan_facts facts = take_facts(input, running, &so_far);
    if (table_check(table, error, sizeof error) < 0) {
        MUST(one_line(error) && error[0] != '\0');
        return;
    }
    int r = plan_make(&plan, running, table, &facts);
    MUST(plan_make(&again, running, table, &facts) == r && same(&plan.next, &again.next));
    plan_clear(&again);
    go_on(running, &plan, r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    struct input input = {data, data + bytes};
    struct layout running;
    struct table table = {.workers = calloc(WORKERS, sizeof *table.workers),
                          .sections = calloc(SECTIONS, sizeof *table.sections)};
    MUST(table.workers != NULL && table.sections != NULL);
    MUST(layout_init(&running, UINT64_C(2) << 20) == 0);
    for (int i = 0; i < 6 && input_left(&input); i++) {
        take_table(&input, &table);
        edit(&running, &table, &input);
        if (take_below(&input, 4) == 0)
            settle(&running, &input);
    }
    layout_clear(&running);
    table_clear(&table);
    return 0;
}
