/* SPDX-License-Identifier: Apache-2.0
 *
 * Making the segment, and its checksums right again after a change.
 */
#include "fuzz_segment.h"
#include "core/crc32c.h"
#include "core/snapshot.h"

#include <string.h>
#include <sys/mman.h>

struct victim segment_victim;
struct directory segment_clean;
struct layout segment_layout;

static struct target targets[16];
static size_t targets_n;

static void add_section(struct table *t, const char *name, const char *owner, uint64_t size) {
    struct table_section *s = &t->sections[t->sections_n++];
    *s = (struct table_section){
        .id = t->sections_n, .kind = SHM_KIND_SNAPSHOT, .size = size, .count = 3};
    snprintf(s->name, sizeof s->name, "%s", name);
    snprintf(s->owner, sizeof s->owner, "%s", owner);
}

void segment_table(struct table *ret) {
    *ret = (struct table){.key = 1,
                          .size = SEGMENT_BYTES,
                          .backend = SHM_BACKEND_SYSV,
                          .mode = 0660,
                          .workers = calloc(2, sizeof *ret->workers),
                          .workers_n = 2,
                          .sections = calloc(8, sizeof *ret->sections)};
    MUST(ret->workers != NULL && ret->sections != NULL);
    strcpy(ret->workers[0].name, "driver");
    strcpy(ret->workers[1].name, "grabber");
    ret->workers[0].instances = ret->workers[1].instances = 1;
    add_section(ret, "temps", "driver", 100);
    add_section(ret, "camera", "grabber", 700);
    add_section(ret, "alerts", "driver", 10);
}

static void publish(struct image *image) {
    struct table table;
    struct plan plan;
    segment_table(&table);
    MUST(plan_make(&plan, &segment_layout, &table, &(struct plan_facts){0}) == 0);
    plan.next.generation = segment_layout.generation + 1;
    MUST(image_publish(image, &plan.next, 1) == 0);
    layout_clear(&segment_layout);
    segment_layout = plan.next;
    plan.next = (struct layout){0};
    plan_clear(&plan);
    table_clear(&table);
}

static void add_target(uint64_t offset, uint64_t bytes) {
    targets[targets_n++] = (struct target){.offset = offset, .bytes = bytes};
}

/* What a manager that was taken over by somebody hostile would write: wrong, and well summed. */
static void fix(void) {
    uint8_t *memory = segment_victim.memory;
    struct shm_header *h = (struct shm_header *)(void *)memory;
    h->crc = CRC32C_OF((const struct shm_header *)h);
    for (int i = 0; i < 2; i++) {
        uint8_t *at = memory + segment_layout.directories[i].offset;
        struct shm_directory *d = (struct shm_directory *)(void *)at;
        struct shm_directory right;
        layout_directory_offsets(layout_directory_capacity(segment_layout.directories[i].bytes),
                                 &right);
        struct shm_section *sections = (struct shm_section *)(void *)(at + right.sections_off);
        struct shm_arena *arenas = (struct shm_arena *)(void *)(at + right.arenas_off);
        for (uint32_t n = 0; n < 3; n++)
            sections[n].crc = CRC32C_OF((const struct shm_section *)&sections[n]);
        for (uint32_t n = 0; n < 2; n++)
            arenas[n].crc = CRC32C_OF((const struct shm_arena *)&arenas[n]);
        uint32_t listed = d->index_count < right.capacity ? d->index_count : right.capacity;
        d->index_crc = crc32c(at + right.index_off, listed * sizeof(uint32_t));
        d->crc = CRC32C_OF((const struct shm_directory *)d);
    }
    struct shm_worker *w = (struct shm_worker *)(void *)(memory + segment_layout.workers_off);
    for (int i = 0; i < 2; i++)
        w[i].name_crc = crc32c(w[i].name, sizeof w[i].name);
    for (uint32_t i = 0; i < 3; i++) {
        struct shm_control *c =
            (struct shm_control *)(void *)(memory + segment_layout.sections[i].ctl_off);
        c->crc = CRC32C_OF((const struct shm_control *)c);
    }
}

static void list_targets(void) {
    add_target(0, 128);
    add_target(128, sizeof(struct shm_header) - 128);
    add_target(segment_layout.workers_off, 3 * sizeof(struct shm_worker));
    add_target(segment_layout.attachments_off, 3 * sizeof(struct shm_attachment));
    for (int i = 0; i < 2; i++) {
        uint64_t at = segment_layout.directories[i].offset;
        struct shm_directory d;
        layout_directory_offsets(layout_directory_capacity(segment_layout.directories[i].bytes),
                                 &d);
        add_target(at, sizeof d);
        add_target(at + d.index_off, 4 * sizeof(uint32_t));
        add_target(at + d.sections_off, 3 * sizeof(struct shm_section));
        add_target(at + d.arenas_off, 2 * sizeof(struct shm_arena));
    }
    for (uint32_t i = 0; i < 3; i++)
        add_target(segment_layout.sections[i].offset, segment_layout.sections[i].bytes);
}

void segment_make(void) {
    uint8_t *memory =
        mmap(NULL, SEGMENT_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *right = malloc(SEGMENT_BYTES);
    struct image image;
    MUST(memory != MAP_FAILED && right != NULL);
    MUST(layout_init(&segment_layout, SEGMENT_BYTES) == 0);
    MUST(image_open(&image, memory, SEGMENT_BYTES) == 0);
    struct image_identity identity = {.key = 1, .backend = SHM_BACKEND_SYSV, .segment_id = 77};
    image_create(&image, &segment_layout, &identity);
    publish(&image);
    publish(&image);
    for (uint32_t i = 0; i < segment_layout.sections_used; i++)
        snapshot_format(memory + segment_layout.sections[i].ctl_off, &segment_layout.sections[i]);
    struct shm_worker worker = image_get_worker(&image, 0);
    worker.word = lease_word(7, SHM_LEASE_LEASED);
    worker.attachment = 1;
    image_worker(&image, 0, &worker);
    struct shm_attachment attachment = {.word = lease_word(7, SHM_LEASE_LEASED)};
    image_attachment(&image, 1, &attachment);
    image_state(&image, SHM_STATE_SERVING);
    image_reveal(&image);
    image_close(&image);
    memcpy(right, memory, SEGMENT_BYTES);
    list_targets();
    const char *field;
    MUST(directory_open(&segment_clean, memory, SEGMENT_BYTES, &field) == 0);
    segment_victim = (struct victim){
        .memory = memory, .right = right, .targets = targets, .targets_n = targets_n, .fix = fix};
}
