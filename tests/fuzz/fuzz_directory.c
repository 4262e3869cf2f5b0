/* SPDX-License-Identifier: Apache-2.0
 *
 * Header and directory with any bytes changed, also while they are read: every call ends, reads
 * nothing outside the segment, and without forged checksums returns what is right or an error.
 */
#include "core/crc32c.h"
#include "core/snapshot.h"
#include "fuzz_segment.h"

#include <errno.h>
#include <string.h>

static const char *const names[] = {"temps", "camera", "alerts", "nobody", ""};

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    segment_make();
    return 0;
}

static const struct shm_section *right_section(const char *name) {
    uint32_t slot = layout_section(&segment_layout, name);
    return slot == SHM_NONE ? NULL : &segment_layout.sections[slot];
}

static void check_found(const struct directory *d, const struct shm_section *found,
                        const char *name) {
    uint64_t end = d->header.segment_bytes;
    MUST(memchr(found->name, '\0', SHM_NAME_BYTES) != NULL);
    MUST(memchr(found->owner, '\0', SHM_NAME_BYTES) != NULL);
    MUST(memchr(found->format, '\0', SHM_NAME_BYTES) != NULL);
    MUST(name == NULL || strcmp(found->name, name) == 0);
    MUST(found->offset <= end && found->bytes <= end - found->offset);
    const struct shm_section *right = name == NULL ? NULL : right_section(name);
    if (segment_victim.fixes || name == NULL)
        return;
    /* Nobody forged a checksum: what was found is what was published, in either generation. */
    MUST(right != NULL && memcmp(found, right, sizeof *found) == 0);
}

static void find_all(const struct directory *d) {
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct shm_section found;
        uint64_t generation = 0;
        const char *field = NULL;
        int r = directory_find(d, names[i], &found, &generation, &field);
        MUST(r == 0 || r == -ENOENT || r == -EBADMSG);
        if (r == 0)
            check_found(d, &found, names[i]);
        MUST(r != -EBADMSG || field != NULL);
    }
    for (uint64_t id = 0; id < 5; id++) {
        struct shm_section found;
        uint64_t generation;
        const char *field;
        uint32_t slot = id % 2 == 0 ? SHM_NONE : (uint32_t)id;
        int r = directory_find_id(d, id, &slot, &found, &generation, &field);
        MUST(r == 0 || r == -ENOENT || r == -EBADMSG);
        if (r == 0)
            check_found(d, &found, NULL);
        MUST(r < 0 || found.section_id == id);
    }
}

static void look_at_records(const struct directory *d) {
    struct shm_worker worker;
    struct shm_attachment attachment;
    struct shm_arena arena;
    const char *field;
    uint64_t age;
    uint32_t pid;
    directory_recheck(d, &field);
    directory_manager_alive(d, &age, &pid);
    directory_bell_id(d);
    uint64_t generation = directory_generation(d);
    for (uint32_t i = 0; i < 6; i++) {
        int r = directory_arena(d, generation, i, &arena, &field);
        MUST(r < 0 || (arena.offset <= d->header.segment_bytes &&
                       arena.bytes <= d->header.segment_bytes - arena.offset));
        if (directory_worker(d, i, &worker) == 0)
            MUST(memchr(worker.name, '\0', SHM_NAME_BYTES) != NULL);
        directory_attachment(d, i, &attachment);
        directory_worker_word(d, i);
        directory_attachment_word(d, i);
    }
    directory_worker(d, SHM_NONE, &worker);
    directory_attachment(d, SHM_NONE, &attachment);
}

/* What an adopting manager does with it. */
static void load(const struct directory *d) {
    struct layout layout;
    const char *field = NULL;
    char error[256];
    int r = directory_load(d, &layout, &field);
    MUST(r == 0 || r == -EBADMSG || r == -ENOMEM);
    if (r < 0)
        return;
    if (layout_check(&layout, error, sizeof error) == 0) {
        struct table table;
        struct plan plan;
        segment_table(&table);
        table.sections_n--;
        r = plan_make(&plan, &layout, &table, &(struct plan_facts){0});
        MUST(r == 0 || one_line(plan.error));
        MUST(layout_check(&plan.next, error, sizeof error) == 0);
        plan_clear(&plan);
        table_clear(&table);
        struct image image;
        MUST(image_open(&image, segment_victim.memory, SEGMENT_BYTES) == 0);
        image_adopt(&image, d, &layout);
        image_close(&image);
    } else {
        MUST(one_line(error));
    }
    layout_clear(&layout);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    struct input input = {data, data + bytes};
    struct directory d = {0};
    const char *field = NULL;
    segment_victim.fixes = take_below(&input, 2) != 0;
    bool reopen = take_below(&input, 2) != 0;
    damage_begin(&segment_victim, &input);
    int r = directory_open(&d, segment_victim.memory, SEGMENT_BYTES, &field);
    MUST(r == 0 || r == -EBADMSG || r == -EAGAIN || r == -EPROTONOSUPPORT);
    MUST(r == 0 || field != NULL);
    if (r < 0 || !reopen)
        d = segment_clean;
    find_all(&d);
    look_at_records(&d);
    load(&d);
    damage_end();
    return 0;
}
