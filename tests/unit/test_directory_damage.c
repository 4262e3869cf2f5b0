/* SPDX-License-Identifier: Apache-2.0
 *
 * A directory whose checksums are right and whose content is not: each field that a reader computes
 * with is refused by its name, and what is left out or out of range is a miss.
 */
#include "directory_fixture.h"

#include "core/futex.h"

#include <errno.h>
#include <stdio.h>

/* What a case may damage, in place. */
struct victim {
    struct shm_header *header;
    struct shm_directory_place *place; /* of the directory in force, in the header */
    struct shm_directory *head;
    uint32_t *index;
    struct shm_section *temps; /* slot 0, and the last of the index */
    struct shm_arena *arena;
};

static struct victim victim_of(struct fixture *f) {
    struct shm_header *header = (void *)f->memory;
    struct shm_directory_place *place = &header->directories[header->generation & 1];
    uint8_t *at = f->memory + place->offset;
    struct shm_directory *head = (void *)at;
    return (struct victim){.header = header,
                           .place = place,
                           .head = head,
                           .index = (void *)(at + head->index_off),
                           .temps = (void *)(at + head->sections_off),
                           .arena = (void *)(at + head->arenas_off)};
}

/* Whoever damages with intent makes the sums agree. */
static void seal(const struct victim *v) {
    v->header->crc = CRC32C_OF((const struct shm_header *)v->header);
    v->head->crc = CRC32C_OF((const struct shm_directory *)v->head);
    v->temps->crc = CRC32C_OF((const struct shm_section *)v->temps);
    v->arena->crc = CRC32C_OF((const struct shm_arena *)v->arena);
}

typedef void breaker(const struct victim *v);
struct damage {
    const char *what;
    breaker *breaker;
    const char *field;
    int result;
};

#define DAMAGE(name, code, wrong, error)                                                           \
    static void break_##name(const struct victim *v) {                                             \
        code;                                                                                      \
    }                                                                                              \
    static const struct damage name = {#name, break_##name, wrong, error};
#define BAD(name, code, wrong) DAMAGE(name, code, wrong, -EBADMSG)

DAMAGE(byte_order, v->header->byte_order ^= 1, "header.byte_order", -EPROTONOSUPPORT)
DAMAGE(page_bytes, v->header->page_bytes = 16384, "header.page_bytes", -EPROTONOSUPPORT)
BAD(magic, v->header->magic ^= 1, "header.magic")
BAD(more_than_mapped, v->header->segment_bytes += SHM_PAGE, "header.segment_bytes")
BAD(half_a_page, v->header->segment_bytes -= 64, "header.segment_bytes")
BAD(header_small, v->header->header_bytes = 128, "header.header_bytes")
BAD(header_large, v->header->header_bytes = SHM_PAGE + 64, "header.header_bytes")
BAD(arena_start_odd, v->header->arena_start += 64, "header.arena_start")
BAD(arena_start_far, v->header->arena_start = 2 * BYTES, "header.arena_start")
BAD(workers_odd, v->header->workers_off += 8, "header.workers_off")
BAD(workers_far, v->header->workers_off = v->header->arena_start + 64, "header.workers_off")
BAD(workers_many, v->header->workers_capacity = UINT32_MAX, "header.workers_off")
BAD(attachments_many, v->header->attachments_capacity = 16386, "header.attachments_off")
BAD(attachments_odd, v->header->attachments_off += 8, "header.attachments_off")
static const struct damage *const headers[] = {
    &byte_order,       &page_bytes,     &magic,        &more_than_mapped,
    &half_a_page,      &header_small,   &header_large, &arena_start_odd,
    &arena_start_far,  &workers_odd,    &workers_far,  &workers_many,
    &attachments_many, &attachments_odd};

BAD(place_odd, v->place->offset += 64, "header.directories")
BAD(place_low, v->place->offset = 0, "header.directories")
BAD(place_far, v->place->offset = 2 * BYTES, "header.directories")
BAD(place_long, v->place->bytes = BYTES, "header.directories")
BAD(place_short, v->place->bytes = 8, "header.directories")
BAD(index_count, v->head->index_count = v->head->slots_used + 1, "directory.capacity")
BAD(slots_used, v->head->slots_used = v->head->capacity + 1, "directory.capacity")
BAD(arenas_used, v->head->arenas_used = v->head->arenas_capacity + 1, "directory.capacity")
BAD(workers_used, v->head->workers_used = v->header->workers_capacity + 1, "directory.capacity")
BAD(index_off, v->head->index_off += 4, "directory.capacity")
BAD(sections_off, v->head->sections_off = (uint32_t)v->place->bytes, "directory.capacity")
BAD(arenas_off, v->head->arenas_off = (uint32_t)v->place->bytes + 64, "directory.capacity")
BAD(other_generation, v->head->generation += 2, "directory.generation")
static const struct damage *const directories[] = {
    &place_odd,    &place_low,  &place_far,       &place_long,   &place_short,
    &index_count,  &slots_used, &arenas_used,     &workers_used, &index_off,
    &sections_off, &arenas_off, &other_generation};

BAD(name_endless, memset(v->temps->name, 'x', SHM_NAME_BYTES), "section.name")
BAD(name_empty, v->temps->name[0] = '\0', "section.name")
BAD(owner_endless, memset(v->temps->owner, 'x', SHM_NAME_BYTES), "section.name")
BAD(format_endless, memset(v->temps->format, 'x', SHM_NAME_BYTES), "section.name")
BAD(offset_odd, v->temps->offset += 8, "section.offset")
BAD(offset_low, v->temps->offset = SHM_LINE, "section.offset")
BAD(offset_far, v->temps->offset = 2 * BYTES, "section.offset")
BAD(bytes_long, v->temps->bytes = BYTES, "section.offset")
BAD(control_before, v->temps->ctl_off -= SHM_LINE, "section.ctl_off")
BAD(control_behind, v->temps->ctl_off += v->temps->bytes + SHM_LINE, "section.ctl_off")
BAD(bell, v->temps->bell_index = v->header->bells_capacity, "section.bell_index")
static const struct damage *const sections[] = {
    &name_endless, &name_empty, &owner_endless,  &format_endless, &offset_odd, &offset_low,
    &offset_far,   &bytes_long, &control_before, &control_behind, &bell};

BAD(retired, v->temps->state = SHM_PLACE_RETIRED, "section.state")
BAD(index_far, v->index[2] = v->head->slots_used, "directory.index")

BAD(arena_odd, v->arena->offset += 64, "arena.crc")
BAD(arena_bytes_odd, v->arena->bytes += 64, "arena.crc")
BAD(arena_low, v->arena->offset = 0, "arena.crc")
BAD(arena_far, v->arena->offset = 2 * BYTES, "arena.crc")
BAD(arena_long, v->arena->bytes = BYTES, "arena.crc")
static const struct damage *const arenas[] = {&arena_odd, &arena_bytes_odd, &arena_low, &arena_far,
                                              &arena_long};

#define N(array) (sizeof(array) / sizeof *(array))

static void begin(struct fixture *f, struct directory *d) {
    setup(f);
    reveal(f, d);
}

static struct victim begin_damaged(struct fixture *f, struct directory *d,
                                   const struct damage *damage) {
    begin(f, d);
    const struct victim v = victim_of(f);
    damage->breaker(&v);
    seal(&v);
    return v;
}

/* The field by its address, as the call that sets it is an argument as well. */
static void expect(const struct damage *damage, int result, const char *const *field) {
    ck_assert_msg(result == damage->result, "%s: %d, not %d", damage->what, result, damage->result);
    ck_assert_msg(strcmp(*field, damage->field) == 0, "%s: '%s', not '%s'", damage->what, *field,
                  damage->field);
}

START_TEST(a_header_is_refused_by_its_field) {
    for (size_t i = 0; i < N(headers); i++) {
        struct fixture f;
        struct directory d;
        const char *field = "";
        begin_damaged(&f, &d, headers[i]);
        expect(headers[i], directory_open(&d, f.memory, BYTES, &field), &field);
        teardown(&f);
    }
}
END_TEST

/* Found by name, by id, and loaded as a whole. */
static void expect_everywhere(const struct damage *damage) {
    struct fixture f;
    struct directory d;
    struct shm_section s;
    struct layout layout;
    uint64_t generation;
    uint32_t slot = 0;
    const char *field = "";
    begin_damaged(&f, &d, damage);
    expect(damage, directory_find(&d, "temps", &s, &generation, &field), &field);
    field = "";
    expect(damage, directory_find_id(&d, 1, &slot, &s, &generation, &field), &field);
    field = "";
    expect(damage, directory_load(&d, &layout, &field), &field);
    teardown(&f);
}

START_TEST(a_directory_is_refused_by_its_field) {
    for (size_t i = 0; i < N(directories); i++)
        expect_everywhere(directories[i]);
}
END_TEST

START_TEST(a_section_is_refused_by_its_field) {
    for (size_t i = 0; i < N(sections); i++)
        expect_everywhere(sections[i]);
}
END_TEST

START_TEST(an_arena_is_refused_by_its_field) {
    for (size_t i = 0; i < N(arenas); i++) {
        struct fixture f;
        struct directory d;
        struct shm_arena found = {.bytes = 7};
        const char *field = "";
        begin_damaged(&f, &d, arenas[i]);
        const uint64_t generation = f.layout.generation;
        expect(arenas[i], directory_arena(&d, generation, 0, &found, &field), &field);
        ck_assert_uint_eq(found.bytes, 7);
        teardown(&f);
    }
}
END_TEST

START_TEST(a_sum_that_is_wrong_is_found) {
    struct fixture f;
    struct directory d;
    struct shm_section s;
    struct shm_arena a;
    struct layout layout;
    uint64_t generation;
    uint32_t slot = 0;
    const char *field = "";
    begin(&f, &d);
    const struct victim v = victim_of(&f);
    v.arena->read_class ^= 1;
    ck_assert_int_eq(directory_arena(&d, f.layout.generation, 0, &a, &field), -EBADMSG);
    ck_assert_str_eq(field, "arena.crc");
    ck_assert_int_eq(directory_load(&d, &layout, &field), -EBADMSG);
    ck_assert_str_eq(field, "arena.crc");
    v.arena->read_class ^= 1;
    v.temps->stale_ms ^= 1;
    ck_assert_int_eq(directory_find_id(&d, 1, &slot, &s, &generation, &field), -EBADMSG);
    ck_assert_str_eq(field, "section.crc");
    ck_assert_int_eq(directory_find(&d, "temps", &s, &generation, &field), -EBADMSG);
    v.temps->stale_ms ^= 1;
    v.head->reserved ^= 1;
    ck_assert_int_eq(directory_find(&d, "temps", &s, &generation, &field), -EBADMSG);
    ck_assert_str_eq(field, "directory.crc");
    teardown(&f);
}
END_TEST

/* A miss is an answer only when all that the index lists is whole. */
START_TEST(a_damaged_index_is_no_miss) {
    static const struct damage *const damages[] = {&retired, &index_far};
    for (size_t i = 0; i < N(damages); i++) {
        struct fixture f;
        struct directory d;
        struct shm_section s;
        uint64_t generation;
        uint32_t slot = SHM_NONE;
        const char *field = "";
        begin_damaged(&f, &d, damages[i]);
        expect(damages[i], directory_find(&d, "temps", &s, &generation, &field), &field);
        field = "";
        expect(damages[i], directory_find_id(&d, 99, &slot, &s, &generation, &field), &field);
        teardown(&f);
    }
    struct fixture f;
    struct directory d;
    struct layout layout;
    const char *field = "";
    begin(&f, &d);
    const struct victim v = victim_of(&f);
    const uint32_t first = v.index[0];
    v.index[0] = v.index[1];
    v.index[1] = first; /* all there, and in the wrong order */
    ck_assert_int_eq(directory_load(&d, &layout, &field), -EBADMSG);
    ck_assert_str_eq(field, "directory.index");
    teardown(&f);
}
END_TEST

START_TEST(an_id_is_found_wherever_it_is) {
    struct fixture f;
    struct directory d;
    struct shm_section s;
    uint64_t generation;
    const char *field;
    begin(&f, &d);
    const uint32_t guesses[] = {0, 1, 2, 3, SHM_NONE};
    for (size_t i = 0; i < N(guesses); i++) {
        uint32_t slot = guesses[i];
        ck_assert_int_eq(directory_find_id(&d, 2, &slot, &s, &generation, &field), 0);
        ck_assert_uint_eq(slot, 1);
        ck_assert_str_eq(s.name, "camera");
        ck_assert_uint_eq(generation, f.layout.generation);
    }
    uint32_t slot = 0;
    ck_assert_int_eq(directory_find_id(&d, 99, &slot, &s, &generation, &field), -ENOENT);
    ck_assert_uint_eq(slot, 0);
    /* Removed: its descriptor stays for a generation, and is no answer. */
    add(&f, "last", "late", 64);
    publish(&f);
    memmove(&f.table.sections[1], &f.table.sections[2], 2 * sizeof *f.table.sections);
    f.table.sections_n = 3;
    publish(&f);
    slot = 1;
    ck_assert_int_eq(directory_find_id(&d, 2, &slot, &s, &generation, &field), -ENOENT);
    ck_assert_int_eq(directory_find(&d, "camera", &s, &generation, &field), -ENOENT);
    /* Then it is free, with zeroes for an id; so it is in what is loaded. */
    f.table.sections[0].stale_ms = 5;
    publish(&f);
    slot = 1;
    ck_assert_int_eq(directory_find_id(&d, 0, &slot, &s, &generation, &field), -ENOENT);
    struct layout layout;
    ck_assert_int_eq(directory_load(&d, &layout, &field), 0);
    ck_assert_uint_eq(layout.sections[1].state, SHM_PLACE_FREE);
    ck_assert_uint_eq(layout.arenas_used, 3);
    ck_assert_uint_eq(layout.arenas[1].state, SHM_PLACE_FREE);
    layout_clear(&layout);
    teardown(&f);
}
END_TEST

START_TEST(arenas_are_found_by_their_index) {
    struct fixture f;
    struct directory d;
    struct shm_arena a;
    const char *field;
    begin(&f, &d);
    const uint64_t now = f.layout.generation;
    for (uint32_t i = 0; i < f.layout.arenas_used; i++) {
        ck_assert_int_eq(directory_arena(&d, now, i, &a, &field), 0);
        ck_assert_mem_eq(&a, &f.layout.arenas[i], sizeof a);
    }
    ck_assert_int_eq(directory_arena(&d, now, f.layout.arenas_used, &a, &field), -ERANGE);
    ck_assert_int_eq(directory_arena(&d, now - 1, 0, &a, &field), -EAGAIN);
    ck_assert_int_eq(directory_arena(&d, now + 1, 0, &a, &field), -EAGAIN);
    victim_of(&f).arena->state = SHM_PLACE_FREE;
    ck_assert_int_eq(directory_arena(&d, now, 0, &a, &field), -ENOENT);
    teardown(&f);
}
END_TEST

/* More names than are summed at once. */
START_TEST(a_miss_among_many) {
    struct fixture f;
    struct directory d;
    struct shm_section s;
    uint64_t generation;
    const char *field;
    setup(&f);
    for (int i = 0; i < 400; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%03d", i);
        add(&f, name, "driver", 64);
    }
    publish(&f);
    reveal(&f, &d);
    ck_assert_int_eq(directory_find(&d, "s399", &s, &generation, &field), 0);
    ck_assert_int_eq(directory_find(&d, "s400", &s, &generation, &field), -ENOENT);
    const struct victim v = victim_of(&f);
    v.index[300] ^= 1; /* far from the search's way */
    ck_assert_int_eq(directory_find(&d, "a", &s, &generation, &field), -EBADMSG);
    ck_assert_str_eq(field, "directory.index");
    teardown(&f);
}
END_TEST

START_TEST(records_are_checked) {
    struct fixture f;
    struct directory d;
    struct shm_worker w;
    struct shm_attachment a = {.word = lease_word(9, SHM_LEASE_LEASED), .pid = 4711}, found;
    const char *field;
    begin(&f, &d);
    const uint32_t capacity = f.layout.workers_capacity;
    ck_assert_int_eq(directory_worker(&d, capacity, &w), -ENOENT);
    ck_assert_int_eq(directory_worker(&d, f.layout.workers_used, &w), -ENOENT);
    ck_assert_int_eq(directory_attachment(&d, capacity, &found), -ENOENT);
    ck_assert_uint_eq(directory_worker_word(&d, capacity), 0);
    ck_assert_uint_eq(directory_attachment_word(&d, capacity), 0);
    image_attachment(&f.image, 3, &a);
    image_attachment(&f.image, 2, &a);
    ck_assert_int_eq(directory_attachment(&d, 3, &found), 0);
    ck_assert_mem_eq(&found, &a, sizeof a);
    ck_assert_uint_eq(directory_attachment_word(&d, 2), a.word);
    ck_assert_uint_eq(directory_worker_word(&d, 0), 0);
    ck_assert_uint_eq(image_get_attachment(&f.image, 3).pid, 4711);
    struct shm_worker *records = (void *)(f.memory + f.layout.workers_off);
    records[0].name[0] ^= 1;
    ck_assert_int_eq(directory_worker(&d, 0, &w), -EBADMSG);
    struct layout layout; /* a record that can't be read is a hole, and the directory is whole */
    ck_assert_int_eq(directory_load(&d, &layout, &field), 0);
    ck_assert_str_eq(layout.workers[0], "");
    layout_clear(&layout);
    memset(records[0].name, 'x', SHM_NAME_BYTES);
    records[0].name_crc = crc32c(records[0].name, SHM_NAME_BYTES);
    ck_assert_int_eq(directory_worker(&d, 0, &w), -EBADMSG);
    teardown(&f);
}
END_TEST

START_TEST(a_young_heartbeat_means_alive) {
    struct fixture f;
    struct directory d;
    uint64_t age;
    uint32_t pid;
    begin(&f, &d);
    image_manager(&f.image, 4711, 1, 1, 1000);
    ck_assert(!directory_manager_alive(&d, &age, &pid)); /* it never beat */
    ck_assert_uint_eq(age, 0);
    const uint64_t now = clock_mono_ns();
    image_heartbeat(&f.image, now, 1);
    ck_assert(directory_manager_alive(&d, NULL, NULL));
    image_heartbeat(&f.image, now + UINT64_C(3600000000000), 1); /* as no clock of ours can say */
    ck_assert(directory_manager_alive(&d, &age, &pid));
    ck_assert_uint_eq(age, 0);
    ck_assert_uint_eq(pid, 4711);
    image_heartbeat(&f.image, now - UINT64_C(3100000000), 1);
    ck_assert(!directory_manager_alive(&d, &age, NULL));
    ck_assert_uint_ge(age, UINT64_C(2900000000));
    image_heartbeat(&f.image, now, 1);
    image_state(&f.image, SHM_STATE_STOPPED);
    ck_assert(!directory_manager_alive(&d, NULL, NULL));
    ck_assert_uint_eq(directory_state(&d), SHM_STATE_STOPPED);
    ck_assert_int_eq(directory_bell_id(&d), -1);
    image_bell(&f.image, 0);
    ck_assert_int_eq(directory_bell_id(&d), 0);
    teardown(&f);
}
END_TEST

UNIT_MAIN("directory damage", a_header_is_refused_by_its_field, a_directory_is_refused_by_its_field,
          a_section_is_refused_by_its_field, an_arena_is_refused_by_its_field,
          a_sum_that_is_wrong_is_found, a_damaged_index_is_no_miss, an_id_is_found_wherever_it_is,
          arenas_are_found_by_their_index, a_miss_among_many, records_are_checked,
          a_young_heartbeat_means_alive)
