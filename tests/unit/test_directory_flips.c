/* SPDX-License-Identifier: Apache-2.0
 *
 * The directory is flipped, or a record or the header written, between two accesses of a reader:
 * the reader's own code, with the hook of core/shared.h.  It must look again, give up at some time,
 * and give nothing away that does not belong together.
 */
#define SHM_SHARED_HOOK
#include "core/directory.c"

#include "directory_fixture.h"

#include <stdio.h>

/* What happens before each access to a word, and how often it still shall. */
static const volatile void *watched;
static unsigned times;
static void (*event)(struct fixture *f);
static struct fixture fixture;

void shared_hook(enum shared_access access, const volatile void *address, size_t bytes) {
    (void)access;
    (void)bytes;
    if (address == NULL || address != watched || times == 0)
        return;
    times--;
    watched = NULL; /* the event's own accesses don't count */
    event(&fixture);
    watched = address;
}

static void arm(const void *word, unsigned n, void (*what)(struct fixture *f)) {
    watched = word;
    times = n;
    event = what;
}

static struct shm_header *header(void) {
    return (void *)fixture.memory;
}

static struct shm_section *shared_section(uint32_t slot) {
    const struct shm_directory_place *place = &header()->directories[header()->generation & 1];
    struct shm_directory *head = (void *)(fixture.memory + place->offset);
    return (struct shm_section *)(void *)((uint8_t *)head + head->sections_off) + slot;
}

/* A flip: the same sections, and one that says of which generation it is. */
static void flip(struct fixture *f) {
    f->table.sections[0].stale_ms = f->layout.generation + 1;
    publish(f);
}

static struct directory begin(void) {
    struct directory d;
    watched = NULL;
    setup(&fixture);
    flip(&fixture);
    reveal(&fixture, &d);
    return d;
}

static void end(void) {
    watched = NULL;
    teardown(&fixture);
}

START_TEST(a_flip_in_between_is_noticed) {
    struct directory d = begin();
    struct shm_section s;
    struct shm_arena a;
    struct layout layout;
    uint64_t generation;
    uint32_t slot = 0;
    const char *field = "";
    /* Before the first look, between the two, or in a row over several tries. */
    for (unsigned flips = 1; flips < 8; flips++) {
        arm(&header()->generation, flips, flip);
        ck_assert_int_eq(directory_find(&d, "temps", &s, &generation, &field), 0);
        ck_assert_uint_eq(s.stale_ms, generation);
        ck_assert_uint_eq(times, 0);
        arm(&header()->generation, flips, flip);
        ck_assert_int_eq(directory_find_id(&d, 1, &slot, &s, &generation, &field), 0);
        ck_assert_uint_eq(s.stale_ms, generation);
        arm(&header()->generation, flips, flip);
        ck_assert_int_eq(directory_load(&d, &layout, &field), 0);
        ck_assert_uint_eq(layout.sections[0].stale_ms, layout.generation);
        layout_clear(&layout);
    }
    arm(&header()->generation, 1, flip);
    ck_assert_int_eq(directory_arena(&d, fixture.layout.generation, 0, &a, &field), -EAGAIN);
    ck_assert_int_eq(directory_arena(&d, fixture.layout.generation, 0, &a, &field), 0);
    end();
}
END_TEST

/* The generation alone, as no manager changes it. */
static void forge(struct fixture *f) {
    (void)f;
    header()->generation += 2;
}

START_TEST(flips_without_an_end_are_damage) {
    struct directory d = begin();
    struct shm_section s = {.stale_ms = 77};
    struct layout layout = {.generation = 77};
    uint64_t generation = 77;
    const char *field = "";
    arm(&header()->generation, UINT32_MAX, forge);
    ck_assert_int_eq(directory_find(&d, "temps", &s, &generation, &field), -EBADMSG);
    ck_assert_str_eq(field, "header.generation");
    ck_assert_uint_eq(s.stale_ms, 77);
    ck_assert_uint_eq(generation, 77);
    field = "";
    ck_assert_int_eq(directory_load(&d, &layout, &field), -EBADMSG);
    ck_assert_str_eq(field, "header.generation");
    ck_assert_uint_eq(layout.generation, 77);
    end();
}
END_TEST

static void take_word(struct fixture *f) {
    struct shm_worker worker = image_get_worker(&f->image, 0);
    worker.word += 1 << 8;
    worker.pid = (uint32_t)lease_word_epoch(worker.word);
    image_worker(&f->image, 0, &worker);
}

START_TEST(a_record_is_read_again_when_its_word_changed) {
    struct directory d = begin();
    struct shm_worker w = {.pid = 77};
    const struct shm_worker *shared = (const void *)(fixture.memory + fixture.layout.workers_off);
    for (unsigned n = 1; n < 8; n++) {
        arm(&shared->word, n, take_word);
        ck_assert_int_eq(directory_worker(&d, 0, &w), 0);
        ck_assert_uint_eq(w.pid, lease_word_epoch(w.word));
        ck_assert_uint_eq(w.word, image_get_worker(&fixture.image, 0).word);
    }
    w.pid = 77;
    arm(&shared->word, UINT32_MAX, take_word);
    ck_assert_int_eq(directory_worker(&d, 0, &w), -EBADMSG);
    ck_assert_uint_eq(w.pid, 77);
    end();
}
END_TEST

static void take_attachment(struct fixture *f) {
    struct shm_attachment attachment = image_get_attachment(&f->image, 1);
    attachment.word += 1 << 8;
    attachment.pid = (uint32_t)lease_word_epoch(attachment.word);
    image_attachment(&f->image, 1, &attachment);
}

START_TEST(so_is_an_attachment) {
    struct directory d = begin();
    struct shm_attachment a = {.pid = 77};
    const struct shm_attachment *shared =
        (const struct shm_attachment *)(const void *)(fixture.memory +
                                                      fixture.layout.attachments_off) +
        1;
    arm(&shared->word, 3, take_attachment);
    ck_assert_int_eq(directory_attachment(&d, 1, &a), 0);
    ck_assert_uint_eq(a.pid, lease_word_epoch(a.word));
    a.pid = 77;
    arm(&shared->word, UINT32_MAX, take_attachment);
    ck_assert_int_eq(directory_attachment(&d, 1, &a), -EBADMSG);
    ck_assert_uint_eq(a.pid, 77);
    end();
}
END_TEST

static void lose_magic(struct fixture *f) {
    (void)f;
    if (times == 0) /* the load of the magic was the first, the copy is the second */
        header()->magic = 1;
}

static void another_id(struct fixture *f) {
    (void)f;
    shared_section(0)->section_id = 2;
    shared_section(0)->crc = CRC32C_OF((const struct shm_section *)shared_section(0));
}

/* Damage between the look that lets a reader copy, and the copy. */
START_TEST(what_counts_is_what_was_copied) {
    struct directory d = begin();
    struct directory opened;
    struct shm_section s;
    uint64_t generation;
    uint32_t slot = 0;
    const char *field = "";
    arm(shared_section(0), 1, another_id); /* the copy; the look was at section_id's own address */
    ck_assert_int_eq(directory_find_id(&d, 1, &slot, &s, &generation, &field), -ENOENT);
    ck_assert_uint_eq(times, 0);
    watched = NULL;
    header()->magic = SHM_MAGIC;
    ck_assert_int_eq(directory_recheck(&d, &field), 0);
    arm(header(), 2, lose_magic);
    ck_assert_int_eq(directory_open(&opened, fixture.memory, BYTES, &field), -EBADMSG);
    ck_assert_str_eq(field, "header.magic");
    ck_assert_int_eq(directory_recheck(&d, &field), -EBADMSG);
    ck_assert_int_eq(directory_find(&d, "temps", &s, &generation, &field), -EBADMSG);
    ck_assert_str_eq(field, "header");
    struct layout layout;
    ck_assert_int_eq(directory_load(&d, &layout, &field), -EBADMSG);
    end();
}
END_TEST

UNIT_MAIN("directory flips", a_flip_in_between_is_noticed, flips_without_an_end_are_damage,
          a_record_is_read_again_when_its_word_changed, so_is_an_attachment,
          what_counts_is_what_was_copied)
