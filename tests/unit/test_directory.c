/* SPDX-License-Identifier: Apache-2.0
 *
 * Header and directory in plain memory: the manager's image of it against the reader's view.
 */
#include "directory_fixture.h"

#include "core/shared.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

START_TEST(it_is_not_there_before_it_is_revealed) {
    struct fixture f;
    struct directory d;
    const char *field;
    setup(&f);
    ck_assert_int_eq(directory_open(&d, f.memory, BYTES, &field), -EAGAIN);
    reveal(&f, &d);
    teardown(&f);
}
END_TEST

START_TEST(names_are_found_and_misses_are_misses) {
    struct fixture f;
    struct directory d;
    struct shm_section s;
    const char *field;
    uint64_t generation;
    setup(&f);
    reveal(&f, &d);
    for (size_t i = 0; i < f.table.sections_n; i++) {
        const struct table_section *row = &f.table.sections[i];
        ck_assert_int_eq(directory_find(&d, row->name, &s, &generation, &field), 0);
        ck_assert_uint_eq(s.section_id, row->id);
        ck_assert_str_eq(s.owner, row->owner);
        ck_assert_uint_eq(generation, f.layout.generation);
    }
    ck_assert_int_eq(directory_find(&d, "nobody", &s, &generation, &field), -ENOENT);
    ck_assert_int_eq(directory_find(&d, "", &s, &generation, &field), -ENOENT);
    teardown(&f);
}
END_TEST

START_TEST(what_was_published_is_loaded_again) {
    struct fixture f;
    struct directory d;
    const char *field;
    struct layout found;
    setup(&f);
    image_reveal(&f.image);
    add(&f, "more", "late", 5000);
    publish(&f);
    open_directory(&f, &d);
    ck_assert_int_eq(directory_load(&d, &found, &field), 0);
    char error[256];
    ck_assert_msg(layout_check(&found, error, sizeof error) == 0, "%s", error);
    ck_assert_uint_eq(found.generation, f.layout.generation);
    ck_assert_uint_eq(found.sections_used, f.layout.sections_used);
    ck_assert_mem_eq(found.sections, f.layout.sections,
                     found.sections_used * sizeof *found.sections);
    ck_assert_mem_eq(found.arenas, f.layout.arenas, found.arenas_used * sizeof *found.arenas);
    ck_assert_uint_eq(found.workers_used, f.layout.workers_used);
    ck_assert_mem_eq(found.workers, f.layout.workers, found.workers_used * sizeof *found.workers);
    layout_clear(&found);
    teardown(&f);
}
END_TEST

/* Whatever bit is flipped, a reader gets the right descriptor or -EBADMSG (or says that the ABI is
 * another), never a wrong one and never a false miss; and the repair mends it. */
START_TEST(no_flipped_bit_gives_a_wrong_answer) {
    struct fixture f;
    struct directory clean;
    struct shm_section right, s;
    const char *field;
    uint64_t generation, where;
    setup(&f);
    reveal(&f, &clean);
    ck_assert_int_eq(directory_find(&clean, "temps", &right, &generation, &field), 0);
    const struct shm_directory_place *place = &f.layout.directories[f.layout.generation & 1];
    const uint64_t ranges[][2] = {{0, sizeof(struct shm_header)},
                                  {place->offset, sizeof(struct shm_directory) + 64},
                                  {right.offset, 0}};
    unsigned flips = 0;
    for (int r = 0; r < 2; r++)
        for (uint64_t bit = 0; bit < ranges[r][1] * 8; bit++) {
            struct directory d;
            uint8_t *byte = f.memory + ranges[r][0] + bit / 8;
            *byte ^= (uint8_t)(1u << bit % 8);
            int opened = directory_open(&d, f.memory, BYTES, &field);
            ck_assert(opened == 0 || opened == -EBADMSG || opened == -EPROTONOSUPPORT);
            int found = directory_find(&clean, "temps", &s, &generation, &field);
            ck_assert_msg(found == 0 || found == -EBADMSG, "bit %llu of range %d: %d",
                          (unsigned long long)bit, r, found);
            if (found == 0)
                ck_assert_mem_eq(&s, &right, sizeof s);
            int missed = directory_find(&clean, "nobody", &s, &generation, &field);
            ck_assert(missed == -ENOENT || missed == -EBADMSG);
            image_repair(&f.image, &where);
            ck_assert_int_eq(directory_find(&clean, "temps", &s, &generation, &field), 0);
            flips++;
        }
    printf("figure: directory.flips %u flips\n", flips);
    teardown(&f);
}
END_TEST

START_TEST(zeroes_over_everything_are_mended) {
    struct fixture f;
    struct directory d;
    struct shm_section s;
    const char *field;
    uint64_t generation, where;
    setup(&f);
    image_reveal(&f.image);
    struct shm_worker worker = image_get_worker(&f.image, 0);
    worker.word = lease_word(5, SHM_LEASE_LEASED);
    worker.pid = 4711;
    image_worker(&f.image, 0, &worker);
    memset(f.memory, 0, f.layout.arena_start);
    ck_assert_uint_gt(image_repair(&f.image, &where), 0);
    ck_assert_uint_eq(image_repair(&f.image, &where), 0);
    open_directory(&f, &d);
    ck_assert_int_eq(directory_find(&d, "camera", &s, &generation, &field), 0);
    struct shm_worker found;
    ck_assert_int_eq(directory_worker(&d, 0, &found), 0);
    ck_assert_uint_eq(found.pid, 4711);
    ck_assert_uint_eq(found.word, lease_word(5, SHM_LEASE_LEASED));
    teardown(&f);
}
END_TEST

START_TEST(an_adopted_image_goes_on_like_the_one_before) {
    struct fixture f;
    struct directory d;
    const char *field;
    uint64_t where;
    setup(&f);
    image_reveal(&f.image);
    image_close(&f.image); /* the manager dies */
    layout_clear(&f.layout);
    open_directory(&f, &d);
    ck_assert_int_eq(directory_load(&d, &f.layout, &field), 0);
    ck_assert_int_eq(image_open(&f.image, f.memory, BYTES), 0);
    image_adopt(&f.image, &d, &f.layout);
    ck_assert_uint_eq(image_repair(&f.image, &where), 0); /* nothing differs */
    for (int i = 0; i < 5; i++) {
        char name[16];
        snprintf(name, sizeof name, "new%d", i);
        add(&f, name, "driver", 64);
        publish(&f);
        struct shm_section s;
        uint64_t generation;
        ck_assert_int_eq(directory_find(&d, name, &s, &generation, &field), 0);
        ck_assert_uint_eq(generation, f.layout.generation);
    }
    teardown(&f);
}
END_TEST

START_TEST(an_adopted_image_has_the_attachments) {
    struct fixture f;
    struct directory d;
    uint64_t where;
    setup(&f);
    image_reveal(&f.image);
    const struct shm_attachment given = {.word = lease_word(3, SHM_LEASE_LEASED), .pid = 4711};
    image_attachment(&f.image, 7, &given);
    open_directory(&f, &d);
    image_close(&f.image);
    ck_assert_int_eq(image_open(&f.image, f.memory, BYTES), 0);
    image_adopt(&f.image, &d, &f.layout);
    memset(f.memory + f.layout.attachments_off, 0, 8 * sizeof given);
    ck_assert_uint_gt(image_repair(&f.image, &where), 0);
    struct shm_attachment found;
    ck_assert_int_eq(directory_attachment(&d, 7, &found), 0);
    ck_assert_mem_eq(&found, &given, sizeof given);
    teardown(&f);
}
END_TEST

/* What the idle directory says of itself is believed no further than it reaches. */
START_TEST(a_forged_idle_directory_is_not_followed) {
    struct fixture f;
    struct directory d;
    const char *field;
    uint64_t where;
    setup(&f);
    image_reveal(&f.image);
    add(&f, "more", "late", 64);
    publish(&f);
    const struct shm_directory_place *idle = &f.layout.directories[1 - (f.layout.generation & 1)];
    struct shm_directory *head = (void *)(f.memory + idle->offset);
    head->arenas_used = UINT32_MAX;
    head->crc = CRC32C_OF((const struct shm_directory *)head);
    open_directory(&f, &d);
    image_close(&f.image);
    ck_assert_int_eq(image_open(&f.image, f.memory, BYTES), 0);
    image_adopt(&f.image, &d, &f.layout);
    ck_assert_uint_eq(image_repair(&f.image, &where), 0);
    add(&f, "again", "late", 64); /* it is filled anew */
    publish(&f);
    struct shm_section s;
    uint64_t generation;
    ck_assert_int_eq(directory_find(&d, "again", &s, &generation, &field), 0);
    ck_assert_uint_eq(image_repair(&f.image, &where), 0);
    teardown(&f);
}
END_TEST

START_TEST(an_image_without_a_directory_is_repaired) {
    struct fixture f = {.memory = NULL};
    uint64_t where = 7;
    f.memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_int_eq(layout_init(&f.layout, BYTES), 0);
    ck_assert_int_eq(image_open(&f.image, f.memory, BYTES), 0);
    image_create(&f.image, &f.layout, &(struct image_identity){.key = 1, .segment_id = 77});
    image_reveal(&f.image);
    ck_assert_uint_eq(image_repair(&f.image, &where), 0);
    f.memory[offsetof(struct shm_header, segment_bytes)] ^= 1;
    ck_assert_uint_eq(image_repair(&f.image, &where), sizeof(uint64_t));
    ck_assert_uint_eq(where, offsetof(struct shm_header, segment_bytes));
    teardown(&f);
}
END_TEST

START_TEST(another_abi_is_told_apart_from_damage) {
    struct fixture f;
    struct directory d;
    const char *field;
    setup(&f);
    image_reveal(&f.image);
    struct shm_header *h = (struct shm_header *)(void *)f.memory;
    h->abi = 2;
    ck_assert_int_eq(directory_open(&d, f.memory, BYTES, &field), -EPROTONOSUPPORT);
    ck_assert_uint_eq(d.header.abi, 2);
    h->abi = SHM_ABI;
    h->incompatible = 8;
    ck_assert_int_eq(directory_open(&d, f.memory, BYTES, &field), -EBADMSG); /* by its checksum */
    h->crc = CRC32C_OF((const struct shm_header *)h);
    ck_assert_int_eq(directory_open(&d, f.memory, BYTES, &field), -EPROTONOSUPPORT);
    ck_assert_int_eq(directory_open(&d, f.memory, 64, &field), -EBADMSG);
    teardown(&f);
}
END_TEST

struct racer {
    const uint8_t *memory;
    uint32_t *stop;
    uint64_t finds, wrong;
};

/* Finds names while the other thread flips: every answer must be right for its generation. */
static void *race(void *argument) {
    struct racer *r = argument;
    struct directory d;
    const char *field;
    if (directory_open(&d, r->memory, BYTES, &field) < 0)
        return NULL;
    while (shared_load_acquire32(r->stop) == 0) {
        struct shm_section s;
        uint64_t generation;
        int found = directory_find(&d, "temps", &s, &generation, &field);
        r->wrong += found != 0 || strcmp(s.name, "temps") != 0 || s.stale_ms != generation;
        r->finds++;
    }
    return NULL;
}

START_TEST(finding_and_flipping_at_once) {
    struct fixture f;
    uint32_t stop = 0;
    setup(&f);
    f.table.sections[0].stale_ms = f.layout.generation + 1;
    publish(&f);
    image_reveal(&f.image);
    struct racer racers[2];
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        racers[i] = (struct racer){.memory = f.memory, .stop = &stop};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < 2000; i++) {
        f.table.sections[0].stale_ms = f.layout.generation + 1;
        publish(&f);
    }
    shared_store_release32(&stop, 1);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_uint_eq(racers[i].wrong, 0);
        ck_assert_uint_gt(racers[i].finds, 0);
    }
    teardown(&f);
}
END_TEST

/* Both places of a section that is moving: one is listed, and leads to the other. */
START_TEST(the_place_before_is_found) {
    static const bool held[] = {true, true};
    struct fixture f;
    struct directory d;
    struct shm_section old, s, before = {.bytes = 7};
    struct layout found;
    uint64_t generation;
    const char *field;
    char error[256];
    setup(&f);
    image_reveal(&f.image);
    ck_assert_int_eq(directory_open(&d, f.memory, BYTES, &field), 0);
    ck_assert_int_eq(directory_find(&d, "temps", &old, &generation, &field), 0);
    f.table.sections[0].size = 5000;
    publish_held(&f, held);
    ck_assert_int_eq(directory_section(&d, generation, 0, &before, &field), -EAGAIN);
    ck_assert_int_eq(directory_find(&d, "temps", &s, &generation, &field), 0);
    ck_assert_uint_eq(s.state, SHM_PLACE_MOVING);
    ck_assert_uint_ne(s.ctl_off, old.ctl_off);
    ck_assert_uint_eq(s.old_ctl_off, old.ctl_off);
    ck_assert_int_eq(directory_section(&d, generation, 99, &before, &field), -ENOENT);
    ck_assert_uint_eq(before.bytes, 7);
    ck_assert_int_eq(directory_section(&d, generation, s.old_slot, &before, &field), 0);
    ck_assert_uint_eq(before.state, SHM_PLACE_QUARANTINED);
    ck_assert_uint_eq(before.ctl_off, old.ctl_off);
    ck_assert_uint_eq(before.bytes, old.bytes);
    ck_assert_uint_eq(before.section_id, old.section_id);
    ck_assert_uint_eq(before.incarnation, s.incarnation);
    uint32_t slot = SHM_NONE;
    ck_assert_int_eq(directory_find_id(&d, 1, &slot, &s, &generation, &field), 0);
    ck_assert_uint_eq(slot, 0);
    ck_assert_int_eq(directory_load(&d, &found, &field), 0);
    ck_assert_msg(layout_check(&found, error, sizeof error) == 0, "%s", error);
    layout_clear(&found);
    /* a slot that nobody has any more, and one that somebody wrote over */
    f.table.sections_n = 1;
    publish(&f);
    f.table.sections[0].stale_ms = 5;
    publish(&f);
    generation = f.layout.generation;
    ck_assert_int_eq(directory_section(&d, generation, 1, &before, &field), -ENOENT);
    const struct shm_directory *head =
        (const void *)((const uint8_t *)f.memory + f.layout.directories[generation & 1].offset);
    struct shm_section *shared = (void *)(uintptr_t)((const uint8_t *)head + head->sections_off);
    shared[s.old_slot].bytes ^= 64;
    ck_assert_int_eq(directory_section(&d, generation, s.old_slot, &before, &field), -EBADMSG);
    ck_assert_str_eq(field, "section.crc");
    teardown(&f);
}
END_TEST

UNIT_MAIN("directory", the_place_before_is_found, it_is_not_there_before_it_is_revealed,
          names_are_found_and_misses_are_misses, what_was_published_is_loaded_again,
          no_flipped_bit_gives_a_wrong_answer, zeroes_over_everything_are_mended,
          an_adopted_image_goes_on_like_the_one_before, an_adopted_image_has_the_attachments,
          a_forged_idle_directory_is_not_followed, an_image_without_a_directory_is_repaired,
          another_abi_is_told_apart_from_damage, finding_and_flipping_at_once)
