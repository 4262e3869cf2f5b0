/* SPDX-License-Identifier: Apache-2.0
 *
 * Sections that many write: which arenas they stand in, who may write those, and when an edit of
 * them has to wait.
 */
#include "plan_fixture.h"

static struct table_section *add_many(const char *name, const char *owner, enum shm_kind kind,
                                      uint32_t count) {
    struct table_section *row = add(name, owner, 1000);
    row->kind = kind;
    row->count = count;
    row->shared = kind == SHM_KIND_RAW;
    return row;
}

/* s, q and r are x's, and z is x's alone. */
static void start_with_many(void) {
    start(MIB);
    add_many("s", "x", SHM_KIND_SLOTS, 4);
    add_many("q", "x", SHM_KIND_QUEUE, 2);
    add_many("r", "x", SHM_KIND_RAW, 0);
    add("z", "x", 1000);
}

static const struct shm_arena *claims(const char *name) {
    return &running.arenas[section(name)->claims_arena];
}

START_TEST(each_stands_alone) {
    static const char *const names[] = {"s", "q", "r", "z"};
    start_with_many();
    table.sections[0].write_class = 1001;
    table.sections[1].read_class = 7;
    apply("worker x: record 0 added; add s: at 94208, 8768 bytes; add q: at 106496, 12288 bytes; "
          "add r: at 118784, 1024 bytes; add z: at 81920, 4544 bytes");
    for (size_t i = 0; i < 4; i++) {
        const struct shm_section *s = section(names[i]);
        ck_assert_uint_eq(arena(names[i])->writers, i < 3 ? SHM_WRITERS_CLASS : SHM_WRITERS_OWNER);
        ck_assert_uint_eq(arena(names[i])->offset, s->offset);
        ck_assert_uint_eq(arena(names[i])->owner_index, 0);
        ck_assert_uint_eq(arena(names[i])->write_class, i == 0 ? 1001 : 0);
        ck_assert_uint_eq(s->write_class, i == 0 ? 1001 : 0);
        for (size_t j = 0; j < i; j++)
            ck_assert_ptr_ne(arena(names[i]), arena(names[j]));
    }
    ck_assert_uint_eq(arena("q")->offset + arena("q")->bytes, section("q")->claims_off);
    ck_assert_uint_eq(claims("q")->offset, section("q")->claims_off);
    ck_assert_uint_eq(claims("q")->offset + claims("q")->bytes,
                      section("q")->offset + section("q")->bytes);
    ck_assert_uint_eq(claims("q")->writers, SHM_WRITERS_OWNER);
    ck_assert_uint_eq(claims("q")->read_class, 7);
    ck_assert_uint_eq(section("s")->claims_off | section("s")->claims_arena, 0);
    add("y", "x", 100); /* into the one that is x's own */
    add_many("t", "x", SHM_KIND_RAW, 0);
    apply(NULL);
    ck_assert_ptr_eq(arena("y"), arena("z"));
    ck_assert_ptr_ne(arena("t"), arena("r"));
    stop();
}
END_TEST

/* All instances receive, or one. */
START_TEST(receivers_are_instances) {
    start(MIB);
    worker("pool")->instances = 3;
    add_many("all", "pool", SHM_KIND_QUEUE, 2);
    add_many("one", "pool#2", SHM_KIND_QUEUE, 2);
    apply(NULL);
    ck_assert_str_eq(running.workers[section("all")->owner_index], "pool#1");
    ck_assert_uint_eq(claims("all")->writers, SHM_WRITERS_INSTANCES);
    ck_assert_uint_eq(claims("all")->owner_index, section("all")->owner_index);
    ck_assert_str_eq(running.workers[section("one")->owner_index], "pool#2");
    ck_assert_uint_eq(claims("one")->writers, SHM_WRITERS_OWNER);
    worker("pool")->instances = 4;
    apply("worker pool#4: record 3 added");
    drop(1);
    worker("pool")->instances = 1;
    apply("worker pool: record 4 added; move all: from 81920 to 106496 (12288 "
          "bytes), now; remove one: at 94208, 12288 bytes; worker pool#1: record 0 removed; worker "
          "pool#2: record 1 removed; worker pool#3: record 2 removed; worker pool#4: record 3 "
          "removed");
    ck_assert_str_eq(running.workers[section("all")->owner_index], "pool");
    ck_assert_uint_eq(claims("all")->writers, SHM_WRITERS_OWNER);
    table.sections[0].kind = SHM_KIND_SLOTS;
    worker("pool")->instances = 2;
    refused("section 'all': its owner 'pool' has 2 instances, and it must name one (UPDATE section "
            "SET owner = 'pool#1' WHERE name = 'all')");
    stop();
}
END_TEST

START_TEST(pins_are_whole) {
    start_with_many();
    table.sections[1].pinned = true;
    table.sections[1].offset = 500 * SHM_PAGE / 4;
    apply(NULL);
    ck_assert_uint_eq(section("q")->offset, 512000);
    ck_assert_uint_eq(section("q")->claims_off, 512000 + 8192);
    struct table_section *row = add("p", "x", 1000);
    row->pinned = true;
    row->offset = 512000 + 8192;
    refused("section 'p': at offset 520192 its 4544 bytes would overlap the arena of worker 'x' "
            "(UPDATE section SET offset = NULL WHERE name = 'p' leaves the place to the manager)");
    stop();
}
END_TEST

#define WAITS(name, what)                                                                          \
    not_made(&facts, -EBUSY,                                                                       \
             "section '" name "': " what " while somebody is attached who may write it (end them " \
             "all, then `shmtool reload`, or `shmtool reload --force`)")

#define WAITS_WITH(change, ...)                                                                    \
    do {                                                                                           \
        const struct table_section before = *row;                                                  \
        change;                                                                                    \
        WAITS(__VA_ARGS__);                                                                        \
        *row = before;                                                                             \
    } while (0)

START_TEST(edits_wait_for_all) {
    start_with_many();
    apply(NULL);
    const struct plan_facts facts = {.attached = true, .attached_since = running.generation};
    struct table_section *row = &table.sections[0];
    WAITS_WITH(row->count = 8, "s", "it can't go to another place");
    WAITS_WITH(row->size = 10, "s", "its size can't shrink from 1000 to 10");
    WAITS_WITH(row->write_class = 5, "s", "it can't go to another place");
    WAITS_WITH(row->read_class = 5, "s", "it can't go to another place");
    WAITS_WITH(row->shared = true, "s", "shared can't change from 0 to 1");
    WAITS_WITH(row->kind = SHM_KIND_QUEUE, "s", "its kind can't change from slots to queue");
    WAITS_WITH(strcpy(row->name, "other"), "s", "it can't be renamed to 'other'");
    row = &table.sections[2];
    row->size = 5000;
    not_made(&facts, -EBUSY,
             "section 'r': it can't go to another place while somebody is attached who may write "
             "it in place (end them all, then `shmtool reload`)");
    row->size = 1000;
    drop(1);
    WAITS("q", "it can't be removed");
    table.sections[2].stale_ms = 10; /* z is not many's */
    table.sections[2].size = 2000;
    WAITS("q", "it can't be removed");
    stop();
}
END_TEST

START_TEST(force_takes) {
    start_with_many();
    apply(NULL);
    struct plan_facts facts = {
        .attached = true, .attached_since = running.generation, .force = true};
    table.sections[0].count = 8;
    table.sections[1].write_class = 5;
    apply_with(&facts, "move s: count 4 -> 8, from 94208 to 122880 (17472 bytes), "
                       "now, taken from who writes it; move q: begins empty, write_group NULL -> "
                       "4, from 106496 to 143360 (12288 bytes), now, taken from who writes it");
    ck_assert_uint_eq(section("s")->incarnation, running.generation);
    const uint32_t old = running.sections_used - 1;
    ck_assert_uint_eq(running.sections[old].state, SHM_PLACE_QUARANTINED);
    settle(&facts, "");
    /* Who came behind it doesn't know the place. */
    facts.attached_since = running.generation;
    settle(&facts, "remove s: left by all at last: at 94208, 8768 bytes; remove q: left by all at "
                   "last: at 106496, 12288 bytes");
    stop();
}
END_TEST

START_TEST(what_nobody_is_in_moves) {
    start_with_many();
    apply(NULL);
    const uint64_t incarnation = section("s")->incarnation;
    table.sections[0].write_class = 5;
    table.sections[1].count = 3;
    apply("move s: write_group NULL -> 4, from 94208 to 122880 (8768 bytes), now; move q: count 2 "
          "-> 3, begins empty, from 106496 to 135168 (12288 bytes), now");
    ck_assert_uint_eq(section("s")->incarnation, incarnation);
    ck_assert_uint_eq(section("q")->incarnation, running.generation);
    ck_assert_uint_ne(section("q")->claims_off, 0);
    table.size = 2 * MIB;
    table.sections[1].size = 500;
    apply(NULL);
    ck_assert_uint_eq(section("s")->incarnation, incarnation);
    ck_assert_uint_eq(section("q")->incarnation, running.generation);
    stop();
}
END_TEST

/* Where slots and queues tell who is in them, nobody else is waited for; but who comes late, and
 * looked before, must not find another's place. */
START_TEST(edits_wait_for_who_is_in_it) {
    uint32_t entered[4] = {0};
    uint64_t messages[4] = {0}, value_bytes[4] = {0};
    start_with_many();
    apply(NULL);
    struct plan_facts facts = {.attached = true,
                               .attached_since = running.generation,
                               .entered = entered,
                               .messages = messages,
                               .value_bytes = value_bytes};
    struct table_section *row = &table.sections[0];
    row->count = 8;
    entered[0] = 4711;
    not_made(
        &facts, -EBUSY,
        "section 's': it can't go to another place while process 4711 is in it (have it leave, "
        "then `shmtool reload`, or `shmtool reload --force`)");
    entered[0] = 0;
    value_bytes[0] = 600;
    row->size = 599;
    refused_with(&facts, "section 's': size 599 is too small for its newest value, which has 600 "
                         "bytes (UPDATE section SET size = 600 WHERE name = 's', or let its worker "
                         "publish a shorter one first)");
    row->size = 600;
    apply_with(&facts, "move s: size 1000 -> 600, count 4 -> 8, from 94208 to 122880 (10816 "
                       "bytes), now");
    ck_assert_uint_eq(section("s")->incarnation, running.generation);
    ck_assert_uint_eq(running.sections[running.sections_used - 1].state, SHM_PLACE_QUARANTINED);
    row = &table.sections[1];
    row->count = 3;
    messages[1] = 2;
    not_made(&facts, -EBUSY,
             "section 'q': its size or count can't change while 2 messages are in it (have them "
             "received, then `shmtool reload`, or `shmtool reload --force`)");
    row->count = 2;
    row->write_class = 7; /* with them */
    apply_with(&facts, "move q: write_group NULL -> 6, from 106496 to 135168 (12288 bytes), now");
    ck_assert_uint_lt(section("q")->incarnation, running.generation);
    table.sections[2].size = 5000; /* of whom nobody can tell */
    not_made(&facts, -EBUSY,
             "section 'r': it can't go to another place while somebody is attached who may write "
             "it in place (end them all, then `shmtool reload`)");
    stop();
}
END_TEST

/* Another segment brings them along likewise. */
START_TEST(a_new_segment_asks_the_same) {
    uint32_t entered[4] = {4711};
    uint64_t messages[4] = {0, 2};
    start_with_many();
    apply(NULL);
    struct plan_facts facts = {
        .attached = true, .attached_since = 1, .entered = entered, .messages = messages};
    table.size = 2 * MIB;
    table.sections[1].count = 3;
    not_made(&facts, -EBUSY,
             "section 'q': its size or count can't change while 2 messages are in it (have them "
             "received, then `shmtool reload`, or `shmtool reload --force`)");
    facts.force = true;
    apply_with(&facts, NULL);
    ck_assert_uint_eq(section("s")->incarnation, running.generation);
    ck_assert_uint_eq(section("q")->incarnation, running.generation);
    ck_assert_uint_lt(section("r")->incarnation, running.generation);
    stop();
}
END_TEST

/* What he wrote there names a lease that is over. */
START_TEST(who_is_evicted_leaves_what_is_many_s) {
    struct plan plan;
    start_with_many();
    apply(NULL);
    const bool held[] = {true};
    const struct plan_facts facts = {.worker_held = held, .attached = true};
    const struct shm_section s = *section("s"), q = *section("q"), z = *section("z");
    ck_assert_int_eq(plan_evict(&plan, &running, 0, &facts), 0);
    adopt(&plan);
    ck_assert_uint_eq(section("s")->offset, s.offset);
    ck_assert_uint_eq(section("q")->offset, q.offset);
    ck_assert_uint_eq(claims("q")->state, SHM_PLACE_LIVE);
    ck_assert_uint_ne(section("z")->offset, z.offset);
    stop();
}
END_TEST

UNIT_MAIN("plan_many", each_stands_alone, receivers_are_instances, pins_are_whole,
          edits_wait_for_all, force_takes, what_nobody_is_in_moves, edits_wait_for_who_is_in_it,
          a_new_segment_asks_the_same, who_is_evicted_leaves_what_is_many_s)
