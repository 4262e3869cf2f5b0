/* SPDX-License-Identifier: Apache-2.0
 *
 * Header and directory in plain memory, as the manager makes them: three sections of two owners.
 */
#ifndef SHM_TESTS_DIRECTORY_FIXTURE_H
#define SHM_TESTS_DIRECTORY_FIXTURE_H

#include "core/crc32c.h"
#include "core/directory.h"
#include "core/image.h"
#include "core/plan.h"
#include "unit.h"

#include <string.h>
#include <sys/mman.h>

#define BYTES (UINT64_C(4) << 20)

struct fixture {
    uint8_t *memory;
    struct image image;
    struct layout layout;
    struct table table;
};

static inline void add(struct fixture *f, const char *name, const char *owner, uint64_t size) {
    struct table *t = &f->table;
    t->sections = realloc(t->sections, (t->sections_n + 1) * sizeof *t->sections);
    struct table_section s = {
        .id = t->sections_n + 1, .kind = SHM_KIND_SNAPSHOT, .size = size, .count = 4};
    strcpy(s.name, name);
    strcpy(s.owner, owner);
    t->sections[t->sections_n++] = s;
    for (size_t i = 0; i < t->workers_n; i++)
        if (strcmp(t->workers[i].name, owner) == 0)
            return;
    t->workers = realloc(t->workers, (t->workers_n + 1) * sizeof *t->workers);
    struct table_worker w = {.instances = 1};
    strcpy(w.name, owner);
    t->workers[t->workers_n++] = w;
}

static inline void publish_held(struct fixture *f, const bool *worker_held) {
    struct plan plan;
    const struct plan_facts facts = {.worker_held = worker_held};
    int r = plan_make(&plan, &f->layout, &f->table, &facts);
    ck_assert_msg(r == 0, "%s", plan.error);
    if (plan.changes_n == 0)
        plan.next.generation++;
    ck_assert_int_eq(image_publish(&f->image, &plan.next, 1), 0);
    layout_clear(&f->layout);
    f->layout = plan.next;
    plan.next = (struct layout){0};
    plan_clear(&plan);
}

static inline void publish(struct fixture *f) {
    publish_held(f, NULL);
}

static inline void setup(struct fixture *f) {
    *f = (struct fixture){0};
    f->memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    f->table = (struct table){.key = 1, .size = BYTES, .backend = SHM_BACKEND_SYSV, .mode = 0660};
    ck_assert_int_eq(layout_init(&f->layout, BYTES), 0);
    ck_assert_int_eq(image_open(&f->image, f->memory, BYTES), 0);
    struct image_identity identity = {.key = 1, .backend = SHM_BACKEND_SYSV, .segment_id = 77};
    image_create(&f->image, &f->layout, &identity);
    add(f, "temps", "driver", 1000);
    add(f, "camera", "grabber", 20000);
    add(f, "alerts", "driver", 100);
    publish(f);
}

static inline void open_directory(const struct fixture *f, struct directory *d) {
    const char *field;
    ck_assert_int_eq(directory_open(d, f->memory, BYTES, &field), 0);
}

/* As a reader finds it. */
static inline void reveal(struct fixture *f, struct directory *d) {
    image_reveal(&f->image);
    open_directory(f, d);
}

static inline void teardown(struct fixture *f) {
    image_close(&f->image);
    layout_clear(&f->layout);
    table_clear(&f->table);
    munmap(f->memory, BYTES);
}

#endif
