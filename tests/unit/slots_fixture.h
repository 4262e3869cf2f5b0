/* SPDX-License-Identifier: Apache-2.0
 *
 * What the slots' tests share: a section and the attachments of those who hold its slots, in memory
 * that threads and forked processes see.  Its values are the snapshot fixture's.
 */
#ifndef SHM_TESTS_SLOTS_FIXTURE_H
#define SHM_TESTS_SLOTS_FIXTURE_H

#include "core/geometry.h"
#include "core/shared.h"
#include "core/slots.h"
#include "snapshot_fixture.h"

#define SLOTS_ATTACHMENTS 16u

struct slots_fixture {
    struct shm_section section;
    struct slots slots;
    void *memory;
    struct shm_attachment *attachments; /* behind the section */
    size_t bytes;                       /* of both */
};

/* Binds `ret` to a section at `memory`, whose attachments stand behind it. */
static inline void slots_fixture_bind(struct slots_fixture *ret, void *memory) {
    const char *field = NULL;
    ret->memory = memory;
    ret->attachments = (void *)((uint8_t *)memory + ret->section.bytes);
    const struct attachments attachments = {.at = ret->attachments, .capacity = SLOTS_ATTACHMENTS};
    if (slots_bind(&ret->slots, memory, &ret->section, &attachments, &field) < 0)
        fixture_fail(field);
}

static inline void slots_fixture_make(struct slots_fixture *ret, uint64_t size, uint32_t count,
                                      uint32_t flags) {
    struct slots_geometry g;
    if (!slots_geometry(&g, size, count, (flags & SHM_SECTION_SHARED) != 0))
        fixture_fail("no geometry");
    *ret = (struct slots_fixture){
        .section = {.section_id = 7,
                    .incarnation = 3,
                    .bytes = g.bytes,
                    .size = size,
                    .count = count,
                    .kind = SHM_KIND_SLOTS,
                    .state = SHM_PLACE_LIVE,
                    .flags = flags,
                    .bell_index = 5},
    };
    ret->bytes = ret->section.bytes + SLOTS_ATTACHMENTS * sizeof(struct shm_attachment);
    void *memory =
        mmap(NULL, ret->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        fixture_fail("no memory");
    slots_format(memory, &ret->section);
    slots_fixture_bind(ret, memory);
}

static inline void slots_fixture_free(struct slots_fixture *fixture) {
    munmap(fixture->memory, fixture->bytes);
}

/* Somebody has the attachment of that index: of epoch 1, or the next one. */
static inline struct attachment slots_fixture_attach(const struct slots_fixture *fixture,
                                                     uint32_t index) {
    uint64_t *word = &fixture->attachments[index].word;
    const uint64_t epoch = (shared_load_relaxed64(word) >> 8) + 1;
    shared_store_release64(word, epoch << 8 | SHM_LEASE_LEASED);
    return (struct attachment){index, (uint32_t)epoch};
}

/* His lease has ended.  Release, as the manager's store of the word. */
static inline void slots_fixture_end(const struct slots_fixture *fixture, uint32_t index) {
    uint64_t *word = &fixture->attachments[index].word;
    shared_store_release64(word, ((shared_load_relaxed64(word) >> 8) + 1) << 8);
}

/* A process that holds slots: what it knows of them is in memory of its own. */
static inline void slots_fixture_holder(const struct slots_fixture *fixture,
                                        struct slots_holder *ret, uint32_t index) {
    free(ret->mine);
    *ret = (struct slots_holder){
        .who = slots_fixture_attach(fixture, index),
        .pid = 1000 + index,
        .mine = calloc(fixture->section.count, sizeof *ret->mine),
    };
    if (ret->mine == NULL)
        fixture_fail("no memory");
}

#endif
