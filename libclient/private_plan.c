/* SPDX-License-Identifier: Apache-2.0
 *
 * Changing what is in a segment without a manager.  New sections are published under names of their
 * own ("new.ID"), filled, and then renamed all at once, with what they take the places of
 * ("old.ID"): so an init writes by the same calls as anybody, and one that fails has been seen by
 * nobody.  The old ones stay for who was attached then.
 */
#include "private.h"

#include "core/geometry.h"
#include "core/process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- a table of what is there, and of what is wanted */

struct wanted {
    struct table table;
    size_t room; /* of sections, and of workers */
};

static int wanted_begin(struct wanted *wanted, const shmc_private *memory, size_t more) {
    const size_t room = memory->layout.sections_used + more + 1;
    *wanted = (struct wanted){.room = room,
                              .table = {.key = 1,
                                        .size = memory->bytes,
                                        .backend = SHM_BACKEND_SYSV, /* says nothing here */
                                        .mode = 0660}};
    wanted->table.sections = calloc(room, sizeof *wanted->table.sections);
    wanted->table.workers = calloc(room, sizeof *wanted->table.workers);
    if (wanted->table.sections != NULL && wanted->table.workers != NULL)
        return 0;
    table_clear(&wanted->table);
    return -ENOMEM;
}

/* Instances of one worker are the most that anybody asks for. */
static void want_worker(struct wanted *wanted, const char *owner, uint32_t instances) {
    struct table *table = &wanted->table;
    struct table_worker worker = {.instances = instances};
    const size_t n = strcspn(owner, "#");
    memcpy(worker.name, owner, n);
    if (owner[n] == '#') {
        const unsigned long number = strtoul(owner + n + 1, NULL, 10);
        worker.instances = number > instances ? (uint32_t)number : instances;
    }
    size_t i = 0;
    while (i < table->workers_n && strcmp(table->workers[i].name, worker.name) < 0)
        i++;
    struct table_worker *at = &table->workers[i];
    if (i < table->workers_n && strcmp(at->name, worker.name) == 0) {
        if (at->instances < worker.instances)
            at->instances = worker.instances;
        return;
    }
    memmove(at + 1, at, (table->workers_n - i) * sizeof *at);
    *at = worker;
    table->workers_n++;
}

/* In the order of ids. */
static void want(struct wanted *wanted, const struct table_section *row, uint32_t instances) {
    struct table *table = &wanted->table;
    const size_t i = table_first(table, row->id);
    struct table_section *at = &table->sections[i];
    memmove(at + 1, at, (table->sections_n - i) * sizeof *at);
    *at = *row;
    table->sections_n++;
    want_worker(wanted, row->owner, instances);
}

static void want_as_it_is(struct wanted *wanted, const struct layout *layout,
                          const struct shm_section *section, const char *name) {
    struct table_section row;
    private_row_of(section, &row);
    memset(row.name, 0, sizeof row.name);
    strcpy(row.name, name);
    want(wanted, &row, private_instances(layout, section->owner));
}

static void want_new(struct wanted *wanted, const struct private_row *new, const char *name) {
    struct table_section row = new->row;
    memset(row.name, 0, sizeof row.name);
    strcpy(row.name, name);
    want(wanted, &row, new->instances);
}

static void temporary_name(char ret[SHM_NAME_BYTES], const char *prefix, uint64_t id) {
    memset(ret, 0, SHM_NAME_BYTES);
    snprintf(ret, SHM_NAME_BYTES, "%s%llu", prefix, (unsigned long long)id);
}

/* ---- making it so */

static uint8_t *place(const shmc_private *memory, uint64_t offset) {
    return memory->memory + offset;
}

/* Zeroes by giving the memory back, but at the edges, which may be a neighbour's. */
static void give_back(const shmc_private *memory, const struct shm_section *section, bool clear) {
    const uint64_t end = section->offset + section->bytes;
    const uint64_t from = layout_round(section->offset, SHM_PAGE), to = end / SHM_PAGE * SHM_PAGE;
    const bool whole = from < to;
    if (whole && madvise(place(memory, from), to - from, MADV_REMOVE) < 0 && clear)
        shared_clear(place(memory, from), to - from);
    if (!clear)
        return;
    shared_clear(place(memory, section->offset), (whole ? from : end) - section->offset);
    if (whole)
        shared_clear(place(memory, to), end - to);
}

static void prepare(const shmc_private *memory, const struct layout *next) {
    /* As in segment_prepare(): who reads there by an older generation finds that it is one. */
    shared_fence_release();
    for (uint32_t i = 0; i < next->sections_used; i++) {
        const struct shm_section *section = &next->sections[i];
        if (!layout_place_in_force(section->state) || section->incarnation != next->generation)
            continue;
        give_back(memory, section, true);
        geometry_format(place(memory, section->ctl_off), section);
    }
}

static void give_back_left(const shmc_private *memory) {
    const struct layout *layout = &memory->layout;
    for (uint32_t i = 0; i < layout->sections_used; i++) {
        const struct shm_section *section = &layout->sections[i];
        if (section->state != SHM_PLACE_RETIRED || section->retired_gen != layout->generation)
            continue;
        if (section->kind == SHM_KIND_SNAPSHOT)
            snapshot_leave((struct shm_snapshot *)(void *)place(memory, section->ctl_off));
        give_back(memory, section, false);
    }
}

static int refuse_full(shmc_private *memory) {
    return error_set(&memory->error, -ENOSPC,
                     "the specs need more than the segment's %llu bytes of address space: create "
                     "it with larger options.bytes",
                     (unsigned long long)memory->bytes);
}

static int refuse(shmc_private *memory, const struct plan *plan, int code) {
    if (plan->full)
        return refuse_full(memory);
    return error_set(&memory->error, code, "%s",
                     code == -ENOMEM ? "no memory to plan the segment" : plan->error);
}

/* What stays, stays where it is: nobody would bring its data along. */
static bool moves(const struct layout *running, const struct layout *next) {
    for (uint32_t i = 0; i < running->sections_used && i < next->sections_used; i++) {
        const struct shm_section *from = &running->sections[i], *to = &next->sections[i];
        if (layout_place_in_force(from->state) && layout_place_in_force(to->state) &&
            from->section_id == to->section_id &&
            (from->ctl_off != to->ctl_off || from->claims_off != to->claims_off))
            return true;
    }
    return false;
}

/* What is removed is what nobody writes any more: `given_up` is all of it. */
static int apply(shmc_private *memory, const struct table *table) {
    struct layout *running = &memory->layout;
    bool *held = calloc(running->workers_used + 1, sizeof *held);
    bool *given_up = calloc(running->sections_used + 1, sizeof *given_up);
    struct plan plan = {0};
    int r = held == NULL || given_up == NULL ? -ENOMEM : 0;
    for (uint32_t i = 0; r == 0 && i < running->workers_used; i++) {
        tenancy_worker_ended(&memory->tenancy, i);
        held[i] = lease_word_state(shared_load_acquire64(&memory->tenancy.workers[i].word)) ==
                  SHM_LEASE_LEASED;
    }
    for (uint32_t i = 0; r == 0 && i < running->sections_used; i++)
        given_up[i] = table_section(table, running->sections[i].section_id) == NULL;
    const struct plan_facts facts = {.worker_held = held, .given_up = given_up, .force = true};
    if (r == 0)
        r = plan_make(&plan, running, table, &facts);
    if (r == 0 && moves(running, &plan.next)) {
        snprintf(plan.error, sizeof plan.error, "a section would have to go to another place");
        r = -EINVAL;
    }
    if (r == 0 && plan.next.generation != running->generation) {
        const uint64_t now_ns = clock_real_ns();
        layout_stamp(&plan.next, now_ns);
        prepare(memory, &plan.next);
        r = image_publish(&memory->image, &plan.next, now_ns);
        if (r == 0) {
            layout_clear(running);
            *running = plan.next;
            plan.next = (struct layout){0};
            give_back_left(memory);
        }
    }
    if (r < 0)
        r = refuse(memory, &plan, r);
    plan_clear(&plan);
    free(held);
    free(given_up);
    return r;
}

/* ---- filling what is new */

static int failed(shmc_private *memory, const char *name, int r, const char *what) {
    char errno_name[32];
    snprintf(errno_name, sizeof errno_name, "%s",
             strerrorname_np(-r) == NULL ? "no errno" : strerrorname_np(-r));
    return error_set(&memory->error, r, "spec '%s': %s %d (%s), and nothing was changed", name,
                     what, r, errno_name);
}

static int fill(shmc_private *memory, shmc *segment, const struct private_row *row) {
    char name[SHM_NAME_BYTES];
    shmc_section *section, *before = NULL;
    if (row->init == NULL)
        return 0;
    temporary_name(name, "new.", row->row.id);
    int r = shmc_open(&section, segment, name, NULL);
    if (r < 0)
        return failed(memory, row->row.name, r, "opening it gave");
    if (row->before != SHM_NONE)
        r = shmc_open(&before, segment, row->row.name, NULL);
    if (r < 0) {
        shmc_close(section);
        return failed(memory, row->row.name, r, "opening the one before gave");
    }
    r = row->init(section, before, row->argument);
    shmc_close(section);
    shmc_close(before);
    return r < 0 ? failed(memory, row->row.name, r, "its init answered") : 0;
}

static int fill_all(shmc_private *memory, const struct private_row *rows, const bool *is_new,
                    size_t n) {
    shmc *segment;
    int r = private_attach_whole(&segment, memory);
    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < n; i++)
        if (is_new[i])
            r = fill(memory, segment, &rows[i]);
    shmc_detach(segment);
    return r;
}

/* ---- what was left */

/* The creator knows of his reload, and isn't waited for. */
static bool is_creators(const struct shm_attachment *record, uint64_t start) {
    return start != 0 && shared_load_relaxed64(&record->pid_start) == start &&
           shared_load_relaxed32(&record->pid) == (uint32_t)getpid();
}

/* All who are attached now; the flip was before this, so that who comes later finds the new. */
static void note_attached(const shmc_private *memory, struct private_left *left) {
    const struct tenancy *tenancy = &memory->tenancy;
    const uint64_t start = process_start((uint32_t)getpid());
    for (uint32_t i = 1; i < tenancy->attachments_n; i++) {
        const uint64_t word = shared_load_acquire64(&tenancy->attachments[i].word);
        if (lease_word_state(word) == SHM_LEASE_LEASED &&
            !is_creators(&tenancy->attachments[i], start) && !tenancy_attachment_ended(tenancy, i))
            left->who[left->who_n++] = (struct attachment){i, (uint32_t)lease_word_epoch(word)};
    }
}

static bool is_left(struct private_left *left, const struct attachments *attachments) {
    for (size_t i = left->who_n; i-- > 0;)
        if (!attachments_live(attachments, left->who[i].index, left->who[i].epoch, 32))
            left->who[i] = left->who[--left->who_n];
    return left->who_n == 0;
}

static void free_left(struct private_left *left) {
    free(left->ids);
    free(left->who);
    free(left);
}

void private_forget(shmc_private *memory) {
    for (struct private_left *left; (left = memory->left) != NULL; free_left(left))
        memory->left = left->next;
}

static bool is_old(const struct shm_section *section) {
    return layout_place_in_force(section->state) && strncmp(section->name, "old.", 4) == 0;
}

static bool is_among(const struct private_left *left, uint64_t id) {
    for (; left != NULL; left = left->next)
        for (size_t i = 0; i < left->ids_n; i++)
            if (left->ids[i] == id)
                return true;
    return false;
}

static void look_who_left(shmc_private *memory) {
    const struct tenancy *tenancy = &memory->tenancy;
    const struct attachments attachments = {.at = tenancy->attachments,
                                            .capacity = tenancy->attachments_n};
    for (uint32_t i = 1; i < tenancy->attachments_n; i++)
        tenancy_attachment_ended(tenancy, i);
    for (struct private_left **at = &memory->left; *at != NULL;) {
        struct private_left *left = *at;
        if (!is_left(left, &attachments)) {
            at = &left->next;
            continue;
        }
        *at = left->next;
        free_left(left);
    }
}

static bool is_done_with(const shmc_private *memory, const struct shm_section *section) {
    return is_old(section) && !is_among(memory->left, section->section_id);
}

int private_tidy(shmc_private *memory) {
    const struct layout *layout = &memory->layout;
    struct wanted wanted;
    size_t done_with = 0;
    if (memory->left != NULL)
        look_who_left(memory);
    for (uint32_t i = 0; i < layout->sections_used; i++)
        done_with += is_done_with(memory, &layout->sections[i]);
    if (done_with == 0)
        return 0;
    int r = wanted_begin(&wanted, memory, 0);
    if (r < 0)
        return error_set(&memory->error, r, "no memory to look what is left");
    for (uint32_t i = 0; i < layout->sections_used; i++) {
        const struct shm_section *section = &layout->sections[i];
        if (layout_place_in_force(section->state) && !is_done_with(memory, section))
            want_as_it_is(&wanted, layout, section, section->name);
    }
    r = apply(memory, &wanted.table);
    table_clear(&wanted.table);
    return r;
}

/* ---- the reload */

static const struct private_row *row_of(const struct private_row *rows, size_t n, uint64_t id) {
    for (size_t i = 0; i < n; i++)
        if (rows[i].row.id == id)
            return &rows[i];
    return NULL;
}

/* All that runs, and what is new beside it. */
static int add_new(shmc_private *memory, const struct private_row *rows, const bool *is_new,
                   size_t n) {
    struct wanted wanted;
    char name[SHM_NAME_BYTES];
    int r = wanted_begin(&wanted, memory, n);
    if (r < 0)
        return error_set(&memory->error, r, "no memory for %zu specs", n);
    for (uint32_t i = 0; i < memory->layout.sections_used; i++) {
        const struct shm_section *section = &memory->layout.sections[i];
        if (layout_place_in_force(section->state) && strncmp(section->name, "new.", 4) != 0)
            want_as_it_is(&wanted, &memory->layout, section, section->name);
    }
    for (size_t i = 0; is_new != NULL && i < n; i++)
        if (is_new[i]) {
            temporary_name(name, "new.", rows[i].row.id);
            want_new(&wanted, &rows[i], name);
        }
    r = apply(memory, &wanted.table);
    table_clear(&wanted.table);
    return r;
}

/* The specs by their names, and what isn't among them any more by one that tells nobody. */
static int exchange(shmc_private *memory, const struct private_row *rows, size_t n,
                    struct private_left *left) {
    struct wanted wanted;
    char name[SHM_NAME_BYTES];
    int r = wanted_begin(&wanted, memory, n);
    if (r < 0)
        return error_set(&memory->error, r, "no memory for %zu specs", n);
    for (size_t i = 0; i < n; i++)
        want_new(&wanted, &rows[i], rows[i].row.name);
    for (uint32_t i = 0; i < memory->layout.sections_used; i++) {
        const struct shm_section *section = &memory->layout.sections[i];
        if (!layout_place_in_force(section->state) || row_of(rows, n, section->section_id) != NULL)
            continue;
        if (!is_old(section))
            left->ids[left->ids_n++] = section->section_id;
        temporary_name(name, "old.", section->section_id);
        want_as_it_is(&wanted, &memory->layout, section, name);
    }
    r = apply(memory, &wanted.table);
    table_clear(&wanted.table);
    return r;
}

/* With room for all, so that nothing can fail behind the exchange. */
static struct private_left *new_left(const shmc_private *memory) {
    struct private_left *left = calloc(1, sizeof *left);
    if (left == NULL)
        return NULL;
    left->ids = calloc(memory->layout.sections_used + 1, sizeof *left->ids);
    left->who = calloc(memory->tenancy.attachments_n, sizeof *left->who);
    if (left->ids != NULL && left->who != NULL)
        return left;
    free_left(left);
    return NULL;
}

static int reload(shmc_private *memory, struct private_row *rows, bool *is_new, size_t n) {
    bool some = false;
    for (size_t i = 0; i < n; i++) {
        is_new[i] = rows[i].row.id == 0;
        some = some || is_new[i];
        if (is_new[i])
            rows[i].row.id = memory->next_id++;
    }
    int r = some ? add_new(memory, rows, is_new, n) : 0;
    if (r == 0 && some)
        r = fill_all(memory, rows, is_new, n);
    struct private_left *left = r < 0 ? NULL : new_left(memory);
    if (left != NULL)
        r = exchange(memory, rows, n, left);
    else if (r == 0)
        r = error_set(&memory->error, -ENOMEM, "no memory for %zu specs", n);
    if (r < 0) {
        char why[ERROR_BYTES];
        if (left != NULL)
            free_left(left);
        memcpy(why, memory->error.text, sizeof why);
        add_new(memory, rows, NULL, 0); /* takes the new ones away again */
        return error_set(&memory->error, r, "%s", why);
    }
    if (left->ids_n == 0) {
        free_left(left);
        return 0;
    }
    note_attached(memory, left);
    left->next = memory->left;
    memory->left = left;
    return 0;
}

int private_reload(shmc_private *memory, struct private_row *rows, size_t n) {
    const uint64_t bytes = private_bytes(rows, n);
    if (bytes > memory->bytes || (bytes == 0 && n > 0))
        return refuse_full(memory);
    bool *is_new = calloc(n + 1, sizeof *is_new);
    if (is_new == NULL)
        return error_set(&memory->error, -ENOMEM, "no memory for %zu specs", n);
    int r = reload(memory, rows, is_new, n);
    free(is_new);
    if (r == 0)
        private_tidy(memory); /* what fails of that is done the next time */
    return r;
}
