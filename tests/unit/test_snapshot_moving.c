/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads that read, view and sleep while the section goes from place to place at full speed.  In
 * a sanitizer's build this is where ThreadSanitizer sees a move.
 */
#include "core/futex.h"
#include "snapshot_fixture.h"
#include "unit.h"

#include <errno.h>
#include <pthread.h>

#define SIZE      1024u
#define MOVES     60u
#define PUBLISHES 200u /* between two moves */
#define LAST      ((uint64_t)MOVES * PUBLISHES)

/* A place for each move, none of which is reused; and what the directory says of each: while the
 * section moves there, and behind that. */
static struct fixture places[MOVES];
static struct snapshot moving[MOVES], settled[MOVES];
static const struct snapshot *directory;

static void look_up(struct snapshot_reader *reader) {
    const struct snapshot *now = __atomic_load_n(&directory, __ATOMIC_ACQUIRE);
    if (reader->snapshot != now)
        snapshot_reader_init(reader, now);
}

static bool still(const struct snapshot_reader *reader) {
    shared_fence_acquire();
    return reader->snapshot == __atomic_load_n(&directory, __ATOMIC_ACQUIRE);
}

static void set_directory(const struct snapshot *snapshot) {
    __atomic_store_n(&directory, snapshot, __ATOMIC_RELEASE);
}

static void *write_values(void *unused) {
    static struct snapshot_writer writer;
    uint64_t value[SIZE / 8];
    (void)unused;
    ck_assert_int_eq(snapshot_take_over(&writer, &settled[0], 1), 0);
    for (uint64_t version = 1; version <= LAST; version++) {
        const uint64_t at = version % PUBLISHES, move = version / PUBLISHES;
        const size_t bytes = VALUE_LEAST + version % 100 * 8;
        if (at == 0 && move < MOVES)
            set_directory(&moving[move]);
        if (at == move % 7 && move > 0 && move < MOVES)
            snapshot_move(&writer, &moving[move]);
        value_make(value, bytes, version, 1);
        ck_assert_int_eq(snapshot_publish(&writer, value, bytes), 0);
        if (at == 50 && move > 0) {
            ck_assert(snapshot_left(moving[move].before));
            set_directory(&settled[move]);
        }
    }
    return NULL;
}

/* The version that is the newest now, from `last` on; `none`: there may be no value yet. */
static uint64_t read_newest(struct snapshot_reader *reader, uint64_t last, bool none) {
    struct snapshot_value value = {0};
    uint64_t data[SIZE / 8];
    const ssize_t n = snapshot_read(reader, data, sizeof data, &value);
    if ((n == -ENODATA && none) || !still(reader))
        return last;
    ck_assert_int_ge(n, 0);
    ck_assert(value_whole(data, (size_t)n, value.version));
    ck_assert_uint_ge(value.version, last);
    return value.version;
}

static void *read_values(void *unused) {
    struct snapshot_reader reader = {0};
    (void)unused;
    for (uint64_t last = 0; last < LAST; last = read_newest(&reader, last, last == 0))
        look_up(&reader);
    return NULL;
}

static void *view_values(void *unused) {
    struct snapshot_reader reader = {0};
    struct snapshot_value value = {0};
    const void *data;
    uint64_t last = 0;
    (void)unused;
    while (last < LAST) {
        look_up(&reader);
        if (snapshot_view(&reader, &data, &value) < 0)
            continue;
        const bool whole = value_whole(data, value.length, value.version);
        if (!snapshot_valid(&reader, &value))
            continue;
        ck_assert(whole);
        last = value.version;
    }
    return NULL;
}

static void *sleep_for_values(void *unused) {
    struct snapshot_reader reader = {0};
    uint64_t last = 0;
    (void)unused;
    while (last < LAST) {
        look_up(&reader);
        if (snapshot_wait(&reader, last, UINT64_MAX, 0) == 0)
            last = read_newest(&reader, last, false);
    }
    return NULL;
}

/* Takes the versions one by one, as long as they are there. */
static void *follow(void *unused) {
    struct snapshot_reader reader = {0};
    struct snapshot_value value = {0};
    uint64_t data[SIZE / 8], next = 1, found = 0;
    (void)unused;
    while (next <= LAST) {
        look_up(&reader);
        const ssize_t n = snapshot_read_version(&reader, next, data, sizeof data, &value);
        if (n == -ENODATA)
            continue;
        if (n >= 0) {
            ck_assert(value_whole(data, (size_t)n, next));
            found++;
        }
        next = n == -ESTALE && value.version > next + 1 ? value.version - 1 : next + 1;
    }
    ck_assert_uint_gt(found, 0);
    return NULL;
}

START_TEST(a_section_on_the_move) {
    void *(*const bodies[])(void *) = {write_values, read_values, view_values, sleep_for_values,
                                       follow};
    enum { THREADS = sizeof bodies / sizeof *bodies };
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < MOVES; i++) {
        fixture_make(&places[i], SIZE, 2 + i % 4, SHM_SECTION_STAMP_NONE);
        settled[i] = places[i].snapshot;
        settled[i].bell = places[0].snapshot.bell;
        moving[i] = settled[i];
        moving[i].before = i > 0 ? &settled[i - 1] : NULL;
    }
    set_directory(&settled[0]);
    for (unsigned i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, bodies[i], NULL), 0);
    for (unsigned i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    for (unsigned i = 0; i < MOVES; i++)
        fixture_free(&places[i]);
}
END_TEST

UNIT_MAIN("snapshot on the move", a_section_on_the_move)
