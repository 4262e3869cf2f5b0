/* SPDX-License-Identifier: Apache-2.0
 *
 * Cases about slots: grabbed by several processes and threads, put, got by readers, handed on, and
 * free again when their holder is killed.
 */
#include "cases.h"

#include <pthread.h>

#define SLOTS 4

static void leave(shmc *segment, shmc_section *section) {
    shmc_close(section);
    shmc_detach(segment);
}

static void hold_one(int from, int to) {
    shmc *segment = attach("grabber", 0);
    shmc_section *board = open_section(segment, "board");
    CHECK_IS(shmc_slot_grab(board, 0), 0);
    CHECK_IS(shmc_slot_put(board, 0, "his", 3), 0);
    say(to, 'h');
    hear(from);
}

static void what_is_put_is_got(void) {
    shmc *writer = attach("driver", 0), *reader = attach(NULL, 0);
    shmc_section *out = open_section(writer, "board"), *in = open_section(reader, "board");
    char buffer[64];
    struct shmc_slot info;
    CHECK_IS(shmc_num_slots(in), SLOTS);
    CHECK_IS(shmc_num_free(in), SLOTS);
    CHECK_IS(shmc_slot_size(in), 64);
    for (int i = 0; i < SLOTS; i++)
        CHECK_IS(shmc_slot_grab(out, 0), i);
    CHECK_IS(shmc_slot_grab(out, 0), -ENOSPC);
    CHECK_SAYS(shmc_last_error(writer), "all of its 4 slots are in use");
    CHECK_IS(shmc_num_free(in), 0);
    CHECK_IS(shmc_slot_get(in, 2, buffer, sizeof buffer, &info), -ENODATA);
    CHECK_SAYS(shmc_last_error(reader), "nothing was put into slot 2");
    CHECK(info.in_use && info.held && !info.has_data && info.pid == getpid());
    CHECK_SAYS(info.worker, "driver");
    for (int i = 1; i <= 100; i++) {
        memset(buffer, 'a' + i % 26, sizeof buffer);
        CHECK_IS(shmc_slot_put(out, 2, buffer, (size_t)i % 65), 0);
        CHECK_IS(shmc_slot_get(in, 2, buffer, sizeof buffer, &info), i % 65);
        CHECK(i % 65 == 0 || buffer[i % 65 - 1] == 'a' + i % 26);
        CHECK(info.version == (unsigned)i && info.age_ns < UINT64_C(60000000000));
    }
    CHECK_IS(shmc_slot_put(out, 2, buffer, 65), -EMSGSIZE);
    CHECK_IS(shmc_slot_put(out, 2, buffer, 10), 0);
    CHECK_IS(shmc_slot_get(in, 2, buffer, 9, &info), -EMSGSIZE);
    CHECK_IS(info.length, 10);
    CHECK_IS(shmc_slot_put(out, 4, "x", 1), -EINVAL);
    CHECK_SAYS(shmc_last_error(writer), "has no slot 4: they are 0 to 3");
    CHECK_IS(shmc_slot_get(in, -1, buffer, 9, NULL), -EINVAL);
    CHECK_IS(shmc_slot_grab(in, 0), -EACCES);
    CHECK_IS(shmc_slot_put(in, 0, "x", 1), -EACCES);
    CHECK_IS(shmc_publish(out, "x", 1), -EPROTOTYPE);
    CHECK_IS(shmc_slot_fgrab(out, 1, 0x80), -EINVAL);
    CHECK_IS(shmc_slot_release(out, 1), 0);
    CHECK_IS(shmc_slot_release(out, 1), -ENOENT);
    CHECK_IS(shmc_num_free(in), 1);
    CHECK_IS(shmc_slot_put(out, 1, "again", 5), 0); /* which grabs it */
    CHECK_IS(shmc_num_free(in), 0);
    void *data;
    size_t bytes;
    CHECK_IS(shmc_slot_ptr(out, 1, &data, &bytes), -EPROTOTYPE);
    leave(writer, out);
    AWAIT(shmc_num_free(in) == SLOTS);
    CHECK_IS(shmc_slot_get(in, 1, buffer, sizeof buffer, &info), 5);
    CHECK(!info.in_use && !info.held && info.has_data);
    leave(reader, in);
}

static void who_is_killed_holds_nothing(void) {
    shmc *segment = attach("driver", 0);
    shmc_section *board = open_section(segment, "board");
    struct child child = start_child(hold_one);
    char buffer[64], text[64];
    struct shmc_slot info;
    CHECK_IS(hear(child.from), 'h');
    CHECK_IS(shmc_slot_fgrab(board, 0, 0), -EBUSY);
    snprintf(text, sizeof text, "slot 0 is held by process %d", (int)child.pid);
    CHECK_SAYS(shmc_last_error(segment), text);
    CHECK_IS(shmc_slot_put(board, 0, "mine", 4), -EBUSY);
    CHECK_IS(shmc_slot_release(board, 0), -EBUSY);
    CHECK_IS(shmc_slot_get(board, 0, buffer, sizeof buffer, &info), 3);
    CHECK(info.pid == child.pid && info.held);
    CHECK_SAYS(info.worker, "grabber");
    const uint64_t grabs = info.grabs, version = info.version;
    end_child(&child, SIGKILL);
    AWAIT(shmc_slot_fgrab(board, 0, 0) == 0);
    CHECK_IS(shmc_slot_get(board, 0, buffer, sizeof buffer, &info), -ENODATA);
    CHECK_IS(shmc_slot_put(board, 0, "mine", 4), 0);
    CHECK_IS(shmc_slot_get(board, 0, buffer, sizeof buffer, &info), 4);
    CHECK(info.grabs == grabs + 1 && info.version == version + 1);
    leave(segment, board);
}

static uint64_t ticket;
static void take_it(int from, int to) {
    shmc *segment = attach("grabber", 0);
    shmc_section *board = open_section(segment, "board");
    char buffer[64];
    CHECK_IS(shmc_slot_take(board, 1, ticket), -ESTALE);
    CHECK_IS(shmc_slot_take(board, 0, 7), -EINVAL);
    CHECK_IS(shmc_slot_take(board, 0, ticket), 0);
    CHECK_IS(shmc_slot_get(board, 0, buffer, sizeof buffer, NULL), 4);
    CHECK_IS(shmc_slot_put(board, 0, "child's", 7), 0);
    say(to, 't');
    hear(from);
    leave(segment, board);
}

static void a_slot_is_handed_to_a_child(void) {
    shmc *segment = attach("driver", 0);
    shmc_section *board = open_section(segment, "board");
    char buffer[64];
    CHECK_IS(shmc_slot_offer(board, 0, &ticket), -ENOENT);
    CHECK_IS(shmc_slot_grab(board, 0), 0);
    CHECK_IS(shmc_slot_put(board, 0, "ours", 4), 0);
    CHECK_IS(shmc_slot_offer(board, 0, &ticket), 0);
    struct child child = start_child(take_it);
    CHECK_IS(hear(child.from), 't');
    CHECK_IS(shmc_slot_get(board, 0, buffer, sizeof buffer, NULL), 7);
    CHECK_IS(shmc_slot_put(board, 0, "x", 1), -EBUSY);
    CHECK_IS(shmc_slot_take(board, 0, ticket), -ESTALE);
    end_child(&child, 0);
    AWAIT(shmc_num_free(board) == SLOTS);
    leave(segment, board);
}

static shmc *inherited;
static shmc_section *inherited_board;
static void use_inherited(int from, int to) {
    char buffer[64];
    (void)from;
    CHECK_IS(shmc_slot_grab(inherited_board, 0), -ECHILD);
    CHECK_IS(shmc_slot_put(inherited_board, 0, "x", 1), -ECHILD);
    CHECK_IS(shmc_slot_get(inherited_board, 0, buffer, sizeof buffer, NULL), -ECHILD);
    CHECK_IS(shmc_slot_release(inherited_board, 0), -ECHILD);
    CHECK_IS(shmc_num_free(inherited_board), -ECHILD);
    shmc_close(inherited_board);
    shmc_detach(inherited);
    say(to, 'o');
}

static void a_child_has_none_of_its_parents(void) {
    inherited = attach("driver", 0);
    inherited_board = open_section(inherited, "board");
    CHECK_IS(shmc_slot_grab(inherited_board, 0), 0);
    struct child child = start_child(use_inherited);
    CHECK_IS(hear(child.from), 'o');
    CHECK_IS(end_child(&child, 0), 0);
    CHECK_IS(shmc_slot_put(inherited_board, 0, "x", 1), 0);
    shmc_detach(inherited);
    CHECK_IS(shmc_slot_put(inherited_board, 0, "x", 1), -EBADF);
    shmc_close(inherited_board);
}

static int count_slots(shmc_section *section, const struct shmc_slot *slot, void *argument) {
    int *seen = argument;
    (void)section;
    seen[0]++;
    seen[1] += slot->stays;
    return slot->slot == seen[2] ? 77 : 0;
}

static void what_stays_outlives_its_holder(void) {
    shmc *segment = attach("driver", 0);
    shmc_section *board = open_section(segment, "board");
    char buffer[64];
    struct shmc_slot info;
    CHECK_IS(shmc_slot_grab(board, SHMC_SLOT_STAYS), 0);
    CHECK_IS(shmc_slot_grab(board, 0), 1);
    CHECK_IS(shmc_slot_put(board, 0, "stays", 5), 0);
    int seen[3] = {0, 0, 99};
    CHECK_IS(shmc_slot_each(board, 0, count_slots, seen), 0);
    CHECK(seen[0] == SLOTS && seen[1] == 1);
    CHECK_IS(shmc_slot_each(board, SHMC_SLOT_IN_USE, count_slots, seen), 0);
    CHECK(seen[0] == SLOTS + 2);
    seen[2] = 1;
    CHECK_IS(shmc_slot_each(board, 0, count_slots, seen), 77);
    shmc_close(board); /* what is held stays held */
    board = open_section(segment, "board");
    CHECK_IS(shmc_num_free(board), SLOTS - 2);
    CHECK_IS(shmc_slot_put(board, 1, "y", 1), 0);
    leave(segment, board);
    segment = attach("grabber", 0);
    board = open_section(segment, "board");
    AWAIT(shmc_num_free(board) == SLOTS - 1);
    CHECK_IS(shmc_slot_get(board, 0, buffer, sizeof buffer, &info), 5);
    CHECK(info.in_use && !info.held && info.stays);
    CHECK_IS(shmc_slot_fgrab(board, 0, 0), 0);
    CHECK_IS(shmc_slot_get(board, 0, buffer, sizeof buffer, &info), 5);
    CHECK(info.held && info.stays);
    CHECK_IS(shmc_slot_put(board, 0, "more", 4), 0);
    CHECK_IS(shmc_slot_release(board, 0), 0);
    CHECK_IS(shmc_num_free(board), SLOTS);
    leave(segment, board);
}

static void add_to_shared(int from, int to) {
    shmc *segment = attach("grabber", 0);
    shmc_section *pool = open_section(segment, "pool");
    void *data;
    size_t bytes;
    hear(from);
    CHECK_IS(shmc_slot_ptr(pool, 0, &data, &bytes), 0);
    for (int i = 0; i < 10000; i++)
        __atomic_fetch_add((uint64_t *)data, 1, __ATOMIC_RELAXED);
    say(to, 'a');
    hear(from);
}

static void a_shared_slot_is_written_by_all(void) {
    shmc *segment = attach("driver", 0), *reader = attach(NULL, 0);
    shmc_section *pool = open_section(segment, "pool"), *in = open_section(reader, "pool");
    void *data;
    size_t bytes;
    uint64_t value = 0;
    struct child child = start_child(add_to_shared);
    CHECK_IS(shmc_slot_grab(pool, SHMC_SLOT_STAYS), 0);
    CHECK_IS(shmc_slot_put(pool, 0, &value, sizeof value), 0);
    CHECK_IS(shmc_slot_ptr(in, 0, &data, &bytes), -EACCES);
    CHECK_IS(shmc_slot_ptr(pool, 0, &data, &bytes), 0);
    CHECK_IS(bytes, 64);
    say(child.to, 'g');
    for (int i = 0; i < 10000; i++)
        __atomic_fetch_add((uint64_t *)data, 1, __ATOMIC_RELAXED);
    CHECK_IS(hear(child.from), 'a');
    CHECK_IS(shmc_slot_get(in, 0, &value, sizeof value, NULL), 8);
    CHECK_IS(value, 20000);
    end_child(&child, SIGKILL);
    CHECK_IS(shmc_slot_release(pool, 0), 0);
    CHECK_IS(shmc_num_free(in), SLOTS);
    leave(reader, in);
    leave(segment, pool);
}

static uint64_t *count_in_place;
static void count_by_the_inherited(int from, int to) {
    (void)from;
    for (int i = 0; i < 10000; i++)
        __atomic_fetch_add(count_in_place, 1, __ATOMIC_RELAXED);
    say(to, 'c');
}

/* Also when it is forked behind an edit. */
static void a_child_writes_where_its_parent_says(void) {
    shmc *segment = attach("driver", 0), *reader = attach(NULL, 0);
    shmc_section *pool = open_section(segment, "pool"), *in = open_section(reader, "pool");
    shmc_section *board = open_section(segment, "board");
    void *data;
    size_t bytes;
    uint64_t value = 0;
    CHECK_IS(shmc_slot_inherit(board), -EPROTOTYPE);
    CHECK_IS(shmc_slot_inherit(in), -EACCES);
    CHECK_IS(shmc_slot_inherit(pool), 0);
    CHECK_IS(shmc_slot_put(pool, 0, &value, sizeof value), 0);
    CHECK_IS(shmc_slot_ptr(pool, 0, &data, &bytes), 0);
    count_in_place = data;
    struct child child = start_child(count_by_the_inherited);
    CHECK_IS(hear(child.from), 'c');
    CHECK_IS(end_child(&child, 0), 0);
    edit_table("INSERT INTO section(name, owner, kind, size, count, shared) VALUES"
               " ('pool.2', 'driver', 'slots', 8192, 8, 1)");
    CHECK_IS(shmc_num_free(pool), SLOTS - 1); /* the edit was seen */
    child = start_child(count_by_the_inherited);
    CHECK_IS(hear(child.from), 'c');
    CHECK_IS(end_child(&child, 0), 0);
    CHECK_IS(shmc_slot_get(in, 0, &value, sizeof value, NULL), 8);
    CHECK_IS(value, 20000);
    CHECK_IS(shmc_slot_release(pool, 0), 0);
    shmc_close(board);
    leave(reader, in);
    leave(segment, pool);
    edit_table("DELETE FROM section WHERE name = 'pool.2'");
}

/* As Apache's PREGRAB, and with values that go when their slot comes free. */
static void columns_are_kept_to(void) {
    shmc *segment = attach("driver", 0);
    shmc_section *first = open_section(segment, "first"), *brief = open_section(segment, "brief");
    char buffer[64];
    CHECK_IS(shmc_slot_put(first, 1, "x", 1), -ENOENT);
    CHECK_SAYS(shmc_last_error(segment), "slot 1 isn't in use; grab it first");
    CHECK_IS(shmc_slot_get(first, 1, buffer, sizeof buffer, NULL), -ENOENT);
    CHECK_IS(shmc_slot_fgrab(first, 1, 0), 0);
    CHECK_IS(shmc_slot_get(first, 1, buffer, sizeof buffer, NULL), -ENODATA);
    CHECK_IS(shmc_slot_put(first, 1, "x", 1), 0);
    CHECK_IS(shmc_slot_get(first, 1, buffer, sizeof buffer, NULL), 1);
    CHECK_IS(shmc_slot_release(first, 1), 0);
    CHECK_IS(shmc_slot_get(first, 1, buffer, sizeof buffer, NULL), -ENOENT);
    CHECK_IS(shmc_slot_put(brief, 0, "y", 1), 0);
    CHECK_IS(shmc_slot_get(brief, 0, buffer, sizeof buffer, NULL), 1);
    CHECK_IS(shmc_slot_release(brief, 0), 0);
    CHECK_IS(shmc_slot_get(brief, 0, buffer, sizeof buffer, NULL), -ENODATA);
    shmc_close(first);
    shmc_close(brief);
    shmc_detach(segment);
}

/* Who has no name holds slots as a worker does. */
static void hold_without_a_name(int from, int to) {
    shmc *segment = attach(NULL, SHMC_ANONYMOUS);
    shmc_section *board = open_section(segment, "board");
    CHECK_IS(shmc_slot_fgrab(board, 3, 0), 0);
    CHECK_IS(shmc_slot_put(board, 3, "anonymous", 9), 0);
    say(to, 'h');
    hear(from);
}

static void the_anonymous_hold_slots(void) {
    shmc *reader = attach(NULL, 0);
    shmc_section *board = open_section(reader, "board");
    char buffer[64];
    struct shmc_slot info;
    struct child child = start_child(hold_without_a_name);
    CHECK_IS(hear(child.from), 'h');
    CHECK_IS(shmc_slot_get(board, 3, buffer, sizeof buffer, &info), 9);
    CHECK(info.held && info.pid == child.pid && info.worker[0] == '\0');
    end_child(&child, SIGKILL);
    AWAIT(shmc_slot_get(board, 3, buffer, sizeof buffer, &info) == 9 && !info.in_use);
    shmc_close(board);
    shmc_detach(reader);
}

/* What is open goes along, and so do values and what stays. */
static void they_go_to_another_place(void) {
    shmc *segment = attach("driver", 0);
    shmc_section *moves = open_section(segment, "moves");
    char buffer[64];
    struct shmc_slot info;
    CHECK_IS(shmc_num_slots(moves), SLOTS);
    CHECK_IS(shmc_slot_grab(moves, SHMC_SLOT_STAYS), 0);
    CHECK_IS(shmc_slot_grab(moves, 0), 1);
    CHECK_IS(shmc_slot_put(moves, 0, "stays", 5), 0);
    CHECK_IS(shmc_slot_put(moves, 1, "left", 4), 0);
    shmc_close(moves);
    shmc_detach(segment);
    segment = attach("driver", 0);
    moves = open_section(segment, "moves");
    AWAIT(shmc_num_free(moves) == SLOTS - 1);
    edit_table("UPDATE section SET count = 100, size = 200 WHERE name = 'moves'");
    AWAIT(shmc_num_slots(moves) == 100);
    CHECK_IS(shmc_slot_size(moves), 200);
    CHECK_IS(shmc_slot_get(moves, 0, buffer, sizeof buffer, &info), 5);
    CHECK(memcmp(buffer, "stays", 5) == 0 && info.stays && !info.held);
    CHECK_IS(shmc_slot_get(moves, 1, buffer, sizeof buffer, &info), 4);
    CHECK(!info.in_use);
    CHECK_IS(shmc_slot_put(moves, 99, "there", 5), 0);
    CHECK_IS(shmc_slot_grab(moves, 0), 1);
    CHECK_IS(shmc_slot_get(moves, 1, buffer, sizeof buffer, &info), -ENODATA);
    shmc_close(moves);
    shmc_detach(segment);
}

/* Each thread grabs, puts and releases, and finds nothing of another's in what it holds. */
#define ROUNDS 3000
static shmc *shared_segment;
static void *grab_and_put(void *argument) {
    shmc_section *board = open_section(shared_segment, "board");
    uint64_t value[8], got[8];
    (void)argument;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        const int slot = shmc_slot_grab(board, 0);
        if (slot == -ENOSPC)
            continue;
        CHECK(slot >= 0);
        words_fill(value, 0, 8, (uint64_t)(uintptr_t)value ^ round);
        CHECK_IS(shmc_slot_put(board, slot, value, sizeof value), 0);
        CHECK_IS(shmc_slot_get(board, slot, got, sizeof got, NULL), sizeof got);
        CHECK(memcmp(value, got, sizeof got) == 0);
        CHECK_IS(shmc_slot_release(board, slot), 0);
    }
    shmc_close(board);
    return NULL;
}

static void threads_have_slots_of_their_own(void) {
    pthread_t threads[SLOTS + 1];
    shared_segment = attach("driver", 0);
    for (int i = 0; i <= SLOTS; i++)
        CHECK_IS(pthread_create(&threads[i], NULL, grab_and_put, NULL), 0);
    for (int i = 0; i <= SLOTS; i++)
        pthread_join(threads[i], NULL);
    shmc_section *board = open_section(shared_segment, "board");
    CHECK_IS(shmc_num_free(board), SLOTS);
    leave(shared_segment, board);
}

/* What shmtool, which is $SHM_TEST_SHMTOOL, says to that. */
static const char *tool_says(const char *arguments) {
    static char output[8192];
    char command[512];
    snprintf(command, sizeof command, "%s %s 2>&1", getenv("SHM_TEST_SHMTOOL"), arguments);
    FILE *pipe = popen(command, "r");
    CHECK(pipe != NULL);
    output[fread(output, 1, sizeof output - 1, pipe)] = '\0';
    pclose(pipe);
    return output;
}

static void shmtool_shows_them(void) {
    shmc *segment = attach("driver", 0);
    shmc_section *board = open_section(segment, "board");
    char wanted[64];
    uint64_t given;
    CHECK_IS(shmc_slot_grab(board, 0), 0);
    CHECK_IS(shmc_slot_grab(board, SHMC_SLOT_STAYS), 1);
    CHECK_IS(shmc_slot_grab(board, 0), 2);
    CHECK_IS(shmc_slot_put(board, 1, "something", 9), 0);
    CHECK_IS(shmc_slot_offer(board, 2, &given), 0);
    const char *said = tool_says("slots board");
    CHECK_SAYS(said, "held, stays");
    CHECK_SAYS(said, "offered");
    CHECK_SAYS(said, "3 of 4 in use");
    snprintf(wanted, sizeof wanted, "%d  driver", (int)getpid());
    CHECK_SAYS(said, wanted);
    CHECK_SAYS(tool_says("slots board --json"), "\"stays\": true");
    CHECK_SAYS(tool_says("slots board 1"), "something");
    CHECK_SAYS(tool_says("slots board 1 --json"), "\"value\": \"something\"");
    CHECK_SAYS(tool_says("slots board 1 --hex"), "73 6f 6d 65");
    CHECK_SAYS(tool_says("slots board 0"), "nothing was put into slot 0");
    CHECK_SAYS(tool_says("slots board 4"), "has no slot 4: they are 0 to 3");
    CHECK_SAYS(tool_says("slots board one"), "'one' is no slot");
    CHECK_SAYS(tool_says("slots bord"), "did you mean 'board'?");
    CHECK_SAYS(tool_says("list board"), "3 of 4 used");
    CHECK_IS(shmc_slot_release(board, 0), 0);
    said = tool_says("slots board --every 0.05 --count 2");
    CHECK_SAYS(said, "2 of 4 in use");
    CHECK_SAYS(strstr(said, "2 of 4 in use") + 1, "2 of 4 in use");
    CHECK_IS(shmc_slot_release(board, 1), 0);
    leave(segment, board);
}

CASES_MAIN({"what_is_put_is_got", what_is_put_is_got},
           {"who_is_killed_holds_nothing", who_is_killed_holds_nothing},
           {"a_slot_is_handed_to_a_child", a_slot_is_handed_to_a_child},
           {"a_child_has_none_of_its_parents", a_child_has_none_of_its_parents},
           {"what_stays_outlives_its_holder", what_stays_outlives_its_holder},
           {"a_shared_slot_is_written_by_all", a_shared_slot_is_written_by_all},
           {"a_child_writes_where_its_parent_says", a_child_writes_where_its_parent_says},
           {"threads_have_slots_of_their_own", threads_have_slots_of_their_own},
           {"columns_are_kept_to", columns_are_kept_to},
           {"the_anonymous_hold_slots", the_anonymous_hold_slots},
           {"they_go_to_another_place", they_go_to_another_place},
           {"shmtool_shows_them", shmtool_shows_them})
