/* SPDX-License-Identifier: Apache-2.0
 *
 * A checkpoint made, and restored, by the manager's own code on memory of this process: to be
 * killed in, and to have its system calls failed; and the look at what was left.
 *
 *     faults_checkpoint PATH save N     the values of version N (1 or 2), as a manager that stops
 *     faults_checkpoint PATH restore    puts what is saved into fresh sections, and prints them
 *     faults_checkpoint PATH look       prints what is saved, in one line
 *     faults_checkpoint PATH rest       prints how many chunks and rows are there in all
 *
 * Between the versions one value grows over several chunks and steps, one becomes empty, one stays,
 * the raw bytes change, and one section goes.
 */
#include "core/crc32c.h"
#include "core/plan.h"
#include "core/snapshot.h"
#include "manager.h"
#include "state_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MEMORY (UINT64_C(64) << 20)
#define BIG    ((size_t)5 * CHECKPOINT_CHUNK_BYTES) /* more than a step writes */

static struct manager manager;
static uint8_t *pattern; /* what all values are pieces of */

static void die(const char *what, int result) {
    fprintf(stderr, "faults_checkpoint: %s: %s\n", what, strerror(-result));
    exit(1);
}

/* ---- sections */

static void add(struct table *t, const char *name, enum shm_kind kind, uint64_t size) {
    struct table_section *row = &t->sections[t->sections_n++];
    *row = (struct table_section){.id = t->sections_n,
                                  .kind = kind,
                                  .size = size,
                                  .count = kind == SHM_KIND_RAW ? 0 : 2,
                                  .persist = true};
    snprintf(row->name, sizeof row->name, "%s", name);
    snprintf(row->owner, sizeof row->owner, "alpha");
}

static void make_sections(bool all) {
    static struct table_worker worker = {.name = "alpha", .instances = 1};
    static struct table_section sections[5];
    struct table t = {.key = 1,
                      .size = MEMORY,
                      .backend = SHM_BACKEND_SYSV,
                      .mode = 0660,
                      .workers = &worker,
                      .workers_n = 1,
                      .sections = sections};
    struct layout layout;
    struct plan plan;
    add(&t, "grows", SHM_KIND_SNAPSHOT, BIG);
    add(&t, "empties", SHM_KIND_SNAPSHOT, 1000);
    add(&t, "stays", SHM_KIND_SNAPSHOT, 1000);
    add(&t, "raw", SHM_KIND_RAW, 10000);
    if (all)
        add(&t, "goes", SHM_KIND_SNAPSHOT, 1000);
    int r = layout_init(&layout, MEMORY);
    if (r == 0)
        r = plan_make(&plan, &layout, &t, &(struct plan_facts){0});
    if (r < 0)
        die("plan", r);
    layout_clear(&layout);
    manager.layout = plan.next;
    plan.next = (struct layout){0};
    plan_clear(&plan);
    manager.segment.base = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    manager.segment.bells = calloc(manager.layout.bells_capacity + 1, sizeof(struct shm_bell));
    if (manager.segment.base == MAP_FAILED || manager.segment.bells == NULL)
        die("memory", -ENOMEM);
    for (uint32_t i = 0; i < manager.layout.sections_used; i++) {
        const struct shm_section *section = &manager.layout.sections[i];
        if (section->kind == SHM_KIND_SNAPSHOT)
            snapshot_format((uint8_t *)manager.segment.base + section->ctl_off, section);
    }
}

static uint8_t *find(const char *name, struct snapshot *snapshot, const struct shm_section **ret) {
    const struct shm_section *section =
        &manager.layout.sections[layout_section(&manager.layout, name)];
    uint8_t *memory = (uint8_t *)manager.segment.base + section->ctl_off;
    const char *field;
    if (section->kind == SHM_KIND_SNAPSHOT &&
        snapshot_bind(snapshot, memory, section, NULL, &field) < 0)
        die(field, -EBADMSG);
    *ret = section;
    return memory;
}

/* Publishes version 1, and then 2 when asked for. */
static void publish(const char *name, int version, size_t first, size_t second) {
    const struct shm_section *section;
    struct snapshot snapshot;
    struct snapshot_writer writer;
    find(name, &snapshot, &section);
    int r = snapshot_take_over(&writer, &snapshot, 1);
    if (r == 0)
        r = snapshot_publish(&writer, pattern + 1, first);
    if (r == 0 && version == 2)
        r = snapshot_publish(&writer, pattern + 2, second);
    if (r < 0)
        die(name, r);
}

static void fill(int version) {
    const struct shm_section *raw;
    publish("grows", version, 3000, BIG - 7);
    publish("empties", version, 900, 0);
    publish("stays", 1, 800, 0);
    if (version == 1)
        publish("goes", 1, 700, 0);
    uint8_t *memory = find("raw", NULL, &raw);
    memcpy(memory, pattern + 2 + version, raw->size);
}

/* ---- verbs */

static int save(int version) {
    make_sections(version == 1);
    fill(version);
    int r = sd_event_new(&manager.event);
    if (r >= 0)
        r = checkpoint_open(&manager);
    if (r < 0)
        die("open", r);
    checkpoint_close(&manager);
    sd_event_unref(manager.event);
    return 0;
}

static int restore(void) {
    make_sections(true);
    checkpoint_restore(&manager, &manager.layout);
    static const char *const names[] = {"grows", "empties", "stays", "goes", "raw"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct shm_section *section;
        struct snapshot snapshot;
        struct snapshot_reader reader;
        struct snapshot_value value = {0};
        const void *data = find(names[i], &snapshot, &section);
        uint64_t bytes = section->size;
        if (section->kind == SHM_KIND_SNAPSHOT) {
            snapshot_reader_init(&reader, &snapshot);
            if (snapshot_view(&reader, &data, &value) < 0) {
                printf("%s none; ", names[i]);
                continue;
            }
            bytes = value.length;
        }
        printf("%s %llu %08x; ", names[i], (unsigned long long)bytes, crc32c(data, bytes));
    }
    printf("%u refused\n", manager.checkpoint.refused);
    free(manager.checkpoint.marks);
    return 0;
}

static int print_saved(const struct saved_value *value, int64_t id, bool intact, void *where) {
    (void)where;
    uint8_t *data = malloc(value->bytes + 1);
    int r = data == NULL ? -ENOMEM : state_saved_data(manager.state, id, value, data);
    printf("%s %llu v%llu %08x %s; ", value->name, (unsigned long long)value->bytes,
           (unsigned long long)value->version, value->data_crc,
           !intact  ? "damaged row"
           : r == 0 ? "whole"
                    : strerror(-r));
    free(data);
    return 0;
}

static int look(void) {
    int r = state_saved_each(manager.state, print_saved, NULL);
    if (r < 0)
        die("look", r);
    puts("");
    return 0;
}

static int rest(void) {
    printf("%lld chunks, %lld rows\n",
           (long long)state_number(manager.state, "SELECT count(*) FROM chunk", NULL, -1),
           (long long)state_number(manager.state, "SELECT count(*) FROM saved", NULL, -1));
    return 0;
}

int main(int argc, char **argv) {
    char error[512] = "";
    if (argc < 3) {
        fprintf(stderr, "usage: faults_checkpoint PATH save N|restore|look|rest\n");
        return 2;
    }
    pattern = malloc(BIG + 16384);
    if (pattern == NULL)
        return 1;
    for (size_t i = 0; i < BIG + 16384; i++)
        pattern[i] = (uint8_t)(i * 7 + i / 251);
    int r = state_db_open(&manager.state, argv[1], error, sizeof error);
    if (r < 0 || error[0] != '\0') {
        fprintf(stderr, "faults_checkpoint: %s\n", error);
        return 1;
    }
    if (strcmp(argv[2], "save") == 0 && argc > 3)
        r = save(atoi(argv[3]));
    else if (strcmp(argv[2], "restore") == 0)
        r = restore();
    else
        r = strcmp(argv[2], "rest") == 0 ? rest() : look();
    layout_clear(&manager.layout);
    free(manager.segment.bells);
    free(pattern);
    state_db_close(manager.state);
    return r;
}
