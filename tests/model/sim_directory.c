/* SPDX-License-Identifier: Apache-2.0
 *
 * A header arena: a manager that makes it, publishes one directory after the other, grants and ends
 * a worker's lease in between, and may die at any access once the segment is there; a new manager
 * that adopts it then; and processes that look up sections and the worker meanwhile.
 *
 * What must hold: whatever is found is what the manager that published this generation put there; a
 * miss is one in a generation in force; nothing is ever called damaged; a worker's record goes
 * together with its word; a new manager finds the generation in force, and can go on from it.
 */
#include "sim.h"

#include "core/crc32c.h"
#include "core/image.h"
#include "core/plan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define BYTES           (UINT64_C(4) << 20)
#define DIRECTORY_BYTES 2048u /* room for four sections */
#define GENERATIONS     7u
#define MANAGERS        4u
#define TRIES           60u
#define OPTIONAL        1u /* the section that only every other generation has */
#define EPOCHS          64u

static uint8_t *region;

/* What a manager publishes as a generation; no two put the same there. */
static struct layout layouts[GENERATIONS][MANAGERS];

/* The schedule that runs. */
static uint64_t newest;
static unsigned managers_n, published_by[GENERATIONS];
static uint32_t holders[EPOCHS]; /* pid that was granted the worker's epoch */

static struct role {
    unsigned number;
    unsigned edits;
    struct image image;
} roles[MANAGERS];

/* ---- managers */

static struct shm_worker worker_next(const struct role *role, struct shm_worker record) {
    uint64_t epoch = lease_word_epoch(record.word);
    switch (lease_word_state(record.word)) {
    case SHM_LEASE_FREE:
        epoch++;
        record.pid = (uint32_t)epoch * 16 + role->number;
        record.attachment = record.pid + 1;
        record.since_real_ns = record.pid + 2;
        record.word = lease_word(epoch, SHM_LEASE_GRANTED);
        break;
    case SHM_LEASE_GRANTED:
        record.word = lease_word(epoch, SHM_LEASE_LEASED);
        break;
    default:
        record.word = lease_word(epoch, SHM_LEASE_FREE);
    }
    return record;
}

/* As the daemon does it: how a lease ended stands there before the word says that it did. */
static void change_worker(struct role *role) {
    struct shm_worker record = image_get_worker(&role->image, 0);
    if (lease_word_epoch(record.word) + 1 == EPOCHS)
        return;
    if (lease_word_state(record.word) == SHM_LEASE_LEASED) {
        record.previous_pid = record.pid;
        record.end_detail = record.pid + 3;
        record.ended_real_ns = record.pid + 4;
        image_worker(&role->image, 0, &record);
    }
    record = worker_next(role, record);
    image_worker(&role->image, 0, &record);
}

static void edit(struct role *role) {
    for (unsigned n = sim_below(8); n > 0; n--)
        change_worker(role);
    if (newest + 1 == GENERATIONS)
        return;
    const int r = image_publish(&role->image, &layouts[newest + 1][role->number], 1);
    if (r < 0)
        violation("a publish gives error %d", r);
}

static void serve(struct role *role) {
    uint64_t where = 0;
    while (role->edits > 0 && !violated()) {
        role->edits--;
        edit(role);
    }
    const size_t wrong = image_repair(&role->image, &where);
    if (wrong > 0)
        violation("%zu bytes are wrong, at %" PRIu64, wrong, where);
}

static void succeed(struct process *dead);

static void mortal(struct process *process) {
    if (managers_n < MANAGERS && sim_below(4) > 0) {
        process->dies_in = 1 + sim_below(500);
        process->died = succeed;
    }
}

static void make(struct process *process) {
    struct role *role = process->argument;
    const struct image_identity identity = {
        .key = 1, .backend = SHM_BACKEND_SYSV, .segment_id = 77, .created_real_ns = 5};
    image_create(&role->image, &layouts[1][role->number], &identity);
    edit(role);
    image_reveal(&role->image);
    mortal(process);
    serve(role);
}

static void adopt(struct process *process) {
    struct role *role = process->argument;
    struct directory directory;
    struct layout layout;
    const char *field = "";
    int r = directory_open(&directory, region, BYTES, &field);
    if (r == 0)
        r = directory_load(&directory, &layout, &field);
    if (r < 0) {
        violation("a new manager gets error %d, %s", r, field);
        return;
    }
    if (layout.generation != newest)
        violation("a new manager finds generation %" PRIu64 ", not %" PRIu64, layout.generation,
                  newest);
    image_adopt(&role->image, &directory, &layout);
    layout_clear(&layout);
    mortal(process);
    serve(role);
}

static struct process *manager_add(const char *name, void (*run)(struct process *)) {
    struct role *role = &roles[managers_n];
    role->number = managers_n++;
    role->edits = 1 + sim_below(4);
    if (image_open(&role->image, region, BYTES) < 0)
        abort();
    return process_add(name, run, role);
}

static void succeed(struct process *dead) {
    thread_join(&manager_add("successor", adopt)->thread, &dead->thread);
}

static void stored(size_t offset, uint64_t value) {
    const struct role *role = current->argument;
    const size_t word = layouts[1][0].workers_off + offsetof(struct shm_worker, word);
    if (offset == word && lease_word_state(value) == SHM_LEASE_GRANTED)
        holders[lease_word_epoch(value)] = (uint32_t)lease_word_epoch(value) * 16 + role->number;
    if (offset != offsetof(struct shm_header, generation))
        return;
    if (value == newest + 1 && value < GENERATIONS)
        published_by[newest = value] = role->number;
    else if (value != newest)
        violation("the generation goes from %" PRIu64 " to %" PRIu64, newest, value);
}

/* ---- those who look */

static bool await_segment(struct directory *directory) {
    const char *field;
    for (unsigned try = 0; try < TRIES; try++) {
        const int r = directory_open(directory, region, BYTES, &field);
        if (r == 0)
            return true;
        if (r != -EAGAIN) {
            violation("opening gives error %d, %s", r, field);
            return false;
        }
    }
    return false;
}

static bool check_generation(uint64_t generation, uint64_t last) {
    if (generation < last || generation > newest || generation == 0)
        violation("generation %" PRIu64 " is found after %" PRIu64 ", and %" PRIu64
                  " is the newest",
                  generation, last, newest);
    return !violated();
}

static const struct layout *published(uint64_t generation) {
    return &layouts[generation][published_by[generation]];
}

static bool has_optional(uint64_t generation) {
    return layouts[generation][0].sections[OPTIONAL].state != SHM_PLACE_FREE;
}

static void check_miss(uint32_t slot, uint64_t last) {
    bool absent = false;
    for (uint64_t g = last; g <= newest && slot == OPTIONAL; g++)
        absent = absent || (g > 0 && !has_optional(g));
    if (!absent)
        violation("section %u isn't found since generation %" PRIu64, slot, last);
}

static void look_up(struct process *process) {
    struct directory directory;
    struct shm_section found;
    const char *field = "";
    uint64_t last = 0, generation;
    (void)process;
    if (!await_segment(&directory))
        return;
    for (unsigned n = 2 + sim_below(4); n > 0 && !violated(); n--) {
        const uint32_t slot = sim_below(3);
        const struct shm_section *known = &layouts[2][0].sections[slot];
        uint32_t hint = sim_below(4);
        const int r = sim_below(2) == 0
                          ? directory_find(&directory, known->name, &found, &generation, &field)
                          : directory_find_id(&directory, known->section_id, &hint, &found,
                                              &generation, &field);
        if (r == -ENOENT) {
            check_miss(slot, last);
        } else if (r < 0) {
            violation("section %u gives error %d, %s", slot, r, field);
        } else if (check_generation(generation, last)) {
            if (memcmp(&found, &published(generation)->sections[slot], sizeof found) != 0)
                violation("section %u is not that of generation %" PRIu64, slot, generation);
            last = generation;
        }
    }
}

static void load(struct process *process) {
    struct directory directory;
    const char *field = "";
    uint64_t last = 0;
    (void)process;
    if (!await_segment(&directory))
        return;
    for (unsigned n = 1 + sim_below(2); n > 0 && !violated(); n--) {
        struct layout layout;
        const int r = directory_load(&directory, &layout, &field);
        if (r < 0) {
            violation("loading gives error %d, %s", r, field);
            return;
        }
        const size_t bytes = layout.sections_used * sizeof *layout.sections;
        if (check_generation(layout.generation, last) &&
            memcmp(layout.sections, published(layout.generation)->sections, bytes) != 0)
            violation("what is loaded is not generation %" PRIu64, layout.generation);
        last = layout.generation;
        layout_clear(&layout);
    }
}

static void watch_worker(struct process *process) {
    struct directory directory;
    struct shm_worker record;
    uint64_t last = 0;
    (void)process;
    if (!await_segment(&directory))
        return;
    for (unsigned n = 3 + sim_below(8); n > 0 && !violated(); n--) {
        const int r = directory_worker(&directory, 0, &record);
        if (r < 0) {
            violation("the worker gives error %d", r);
            return;
        }
        const uint64_t epoch = lease_word_epoch(record.word);
        const enum shm_lease_state state = lease_word_state(record.word);
        const uint32_t pid = holders[epoch];
        const bool right =
            state == SHM_LEASE_FREE
                ? epoch == 0 || (record.previous_pid == pid && record.end_detail == pid + 3 &&
                                 record.ended_real_ns == pid + 4)
                : record.pid == pid && record.attachment == pid + 1 &&
                      record.since_real_ns == pid + 2;
        if (!right)
            violation("the worker's record is not that of epoch %" PRIu64 ", state %u", epoch,
                      (unsigned)state);
        if (epoch < last)
            violation("the worker's epoch goes from %" PRIu64 " to %" PRIu64, last, epoch);
        last = epoch;
    }
}

/* ---- the world */

static void plan_first(struct layout *ret) {
    struct table_worker workers[] = {{.name = "driver", .instances = 1},
                                     {.name = "grabber", .instances = 1}};
    struct table_section rows[] = {
        {.id = 1, .name = "alerts", .owner = "driver", .size = 100, .count = 4},
        {.id = 2, .name = "camera", .owner = "grabber", .size = 20000, .count = 4},
        {.id = 3, .name = "temps", .owner = "driver", .size = 1000, .count = 4},
    };
    for (size_t i = 0; i < 3; i++)
        rows[i].kind = SHM_KIND_SNAPSHOT;
    const struct table table = {.key = 1,
                                .size = BYTES,
                                .backend = SHM_BACKEND_SYSV,
                                .mode = 0660,
                                .workers = workers,
                                .workers_n = 2,
                                .sections = rows,
                                .sections_n = 3};
    struct layout empty;
    struct plan plan;
    if (layout_init(&empty, BYTES) < 0 ||
        plan_make(&plan, &empty, &table, &(struct plan_facts){0}) < 0)
        abort();
    *ret = plan.next;
    /* An adoption looks at all of these. */
    ret->attachments_capacity = 4;
    ret->directories[0].bytes = ret->directories[1].bytes = DIRECTORY_BYTES;
}

/* Each differs from all others, in some descriptors, in how many there are, and some directories
 * stand elsewhere. */
static void vary(struct layout *layout, uint64_t generation, unsigned manager) {
    layout->generation = generation;
    for (uint32_t i = 0; i < layout->sections_used; i++) {
        struct shm_section *section = &layout->sections[i];
        if (i == OPTIONAL && generation / 2 % 2 == 0)
            *section = (struct shm_section){0};
        else if (i + 1 < layout->sections_used || generation > 3)
            section->stale_ms = generation * 100 + manager;
        if (section->state != SHM_PLACE_FREE)
            section->crc = CRC32C_OF((const struct shm_section *)section);
    }
    if (generation >= 4) /* the even one outgrew its place */
        layout->directories[0].offset = BYTES - SHM_PAGE;
}

static void open_directory(void) {
    struct layout first;
    region = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (region == MAP_FAILED)
        abort();
    memory_open(region, BYTES);
    plan_first(&first);
    for (uint64_t generation = 1; generation < GENERATIONS; generation++) {
        for (unsigned manager = 0; manager < MANAGERS; manager++) {
            struct layout *layout = &layouts[generation][manager];
            if (layout_copy(layout, &first) < 0)
                abort();
            vary(layout, generation, manager);
        }
    }
    layout_clear(&first);
}

static void schedule(void) {
    static const unsigned stale[] = {0, 4, 32, 128};
    memory_reset(NULL, 0, stale[sim_below(4)]);
    newest = 0;
    managers_n = 0;
    memset(holders, 0, sizeof holders);
    manager_add("manager", make);
    process_add("finder 1", look_up, NULL);
    process_add("watcher", watch_worker, NULL);
    if (sim_below(2) == 0)
        process_add("finder 2", look_up, NULL);
    if (sim_below(4) == 0)
        process_add("loader", load, NULL);
    process_run_all();
    for (unsigned i = 0; i < managers_n; i++)
        image_close(&roles[i].image);
}

static void describe(size_t offset, char *to, size_t bytes) {
    const struct layout *layout = &layouts[newest > 0 ? newest : 1][0];
    const char *what = "header";
    size_t from = 0;
    if (offset >= layout->workers_off) {
        what = "records";
        from = layout->workers_off;
    }
    for (unsigned i = 0; i < 2; i++) {
        if (offset < layout->directories[i].offset)
            continue;
        if (offset - layout->directories[i].offset < layout->directories[i].bytes) {
            what = i == 0 ? "even directory" : "odd directory";
            from = layout->directories[i].offset;
        }
    }
    snprintf(to, bytes, "%s+%zu",
             offset == offsetof(struct shm_header, generation) ? "generation" : what,
             offset - from);
}

const struct world directory_world = {
    .name = "directory",
    .open = open_directory,
    .schedule = schedule,
    .describe = describe,
    .stored = stored,
};
