/* SPDX-License-Identifier: Apache-2.0
 *
 * --check: what would the table do?  It changes nothing and needs no manager.
 */
#include "core/directory.h"
#include "core/memfd.h"
#include "core/sysv.h"
#include "keeping.h"
#include "made_rows.h"
#include "manager.h"
#include "resolve.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int map_sysv(uint32_t key, void **base, uint64_t *bytes) {
    int id;
    struct shmid_ds stat;
    if (sysv_find(key, &id) < 0 || sysv_stat(id, &stat) < 0 || sysv_attach(id, false, base) < 0)
        return -ENOENT;
    *bytes = stat.shm_segsz;
    return 0;
}

static int map_memfd(const char *runtime_dir, uint32_t key, void **base, uint64_t *bytes) {
    int fd, r = keeping_header(runtime_dir, key, &fd, bytes);
    if (r < 0)
        return r;
    r = memfd_check(fd, *bytes, NULL);
    if (r == 0)
        r = memfd_map(fd, *bytes, false, NULL, base);
    close(fd);
    return r;
}

/* What runs, as far as we may look; an empty layout when nothing does. */
static int running(const struct config *config, const struct table *table, struct layout *ret,
                   struct directory *directory) {
    const uint32_t key = config->key_given ? config->key : table->key;
    void *base;
    const char *field;
    uint64_t bytes;
    *directory = (struct directory){0};
    if (map_sysv(key, &base, &bytes) < 0 && map_memfd(config->runtime_dir, key, &base, &bytes) < 0)
        return layout_init(ret, table->size);
    int r = directory_open(directory, base, bytes, &field);
    if (r == 0)
        r = directory_load(directory, ret, &field);
    if (r == 0)
        return 0;
    munmap(base, bytes); /* which detaches, too */
    *directory = (struct directory){0};
    return layout_init(ret, table->size);
}

static bool *held_in(const struct directory *directory, const struct layout *layout) {
    bool *held = calloc(layout->workers_used + 1, sizeof *held);
    for (uint32_t i = 0; held != NULL && i < layout->workers_used; i++)
        held[i] = lease_word_state(directory_worker_word(directory, i)) != SHM_LEASE_FREE;
    return held;
}

static bool moves_from(const struct layout *layout, uint32_t slot) {
    for (uint32_t i = 0; i < layout->sections_used; i++)
        if (layout->sections[i].state == SHM_PLACE_MOVING && layout->sections[i].old_slot == slot)
            return true;
    return false;
}

/* The leases that were taken back are the manager's to know, who keeps what their holders may still
 * write as long as they have not gone. */
static bool *lingers_in(const struct layout *layout) {
    bool *lingers = calloc(layout->workers_used + 1, sizeof *lingers);
    for (uint32_t i = 0; lingers != NULL && i < layout->sections_used; i++) {
        const struct shm_section *section = &layout->sections[i];
        if (section->state == SHM_PLACE_QUARANTINED &&
            section->owner_index < layout->workers_used && !moves_from(layout, i))
            lingers[section->owner_index] = true;
    }
    return lingers;
}

/* Against what runs. */
static int plan_beside(struct plan *plan, const struct layout *layout,
                       const struct directory *directory, const struct table *table) {
    bool *held = held_in(directory, layout), *lingers = lingers_in(layout);
    struct plan_facts facts = {.backend = (enum shm_backend)directory->header.backend,
                               .worker_held = held,
                               .worker_lingers = lingers};
    int r = held == NULL || lingers == NULL ? -ENOMEM : plan_make(plan, layout, table, &facts);
    if (r == -ENOMEM)
        snprintf(plan->error, sizeof plan->error, "out of memory");
    free(held);
    free(lingers);
    return r;
}

static void print_text(const struct plan *plan, int result) {
    if (result < 0) {
        printf("%s: %s\n", result == -EBUSY ? "pending" : "rejected", plan->error);
        return;
    }
    for (size_t i = 0; i < plan->changes_n; i++)
        printf("%-7s %s: %s\n", plan_action_name(plan->changes[i].action), plan->changes[i].name,
               plan->changes[i].what);
    printf("%zu change(s), %llu bytes in arenas before and %llu after\n", plan->changes_n,
           (unsigned long long)plan->used_before, (unsigned long long)plan->used_after);
}

static int make_plan(const struct config *config, struct plan *plan) {
    struct table table = {0};
    struct table_db *db = NULL;
    int r = table_db_open(&db, config->table, plan->error, sizeof plan->error);
    if (r == 0)
        r = table_db_load(db, &table, plan->error, sizeof plan->error);
    table_db_close(db);
    if (r < 0)
        return r;
    struct layout layout = {0};
    struct directory directory;
    r = resolve_groups(&table, plan->error, sizeof plan->error);
    if (r < 0) {
        table_clear(&table);
        return r;
    }
    r = running(config, &table, &layout, &directory);
    if (r == 0)
        r = made_keep(&table, &layout, plan->error, sizeof plan->error);
    if (r == 0)
        r = plan_beside(plan, &layout, &directory, &table);
    else if (plan->error[0] == '\0')
        snprintf(plan->error, sizeof plan->error, "segment.size %llu is too small",
                 (unsigned long long)table.size);
    if (directory.base != NULL)
        munmap((void *)(uintptr_t)directory.base, directory.bytes);
    layout_clear(&layout);
    table_clear(&table);
    return r;
}

int manager_check(const struct config *config) {
    struct plan plan = {0};
    int r = make_plan(config, &plan);
    if (config->json) {
        char *text = plan_reply(&plan, r);
        puts(text == NULL ? "{}" : text);
        free(text);
    } else {
        print_text(&plan, r);
    }
    plan_clear(&plan);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
