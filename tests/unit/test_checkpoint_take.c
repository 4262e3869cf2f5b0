/* SPDX-License-Identifier: Apache-2.0
 *
 * What a checkpoint takes out of a section while its owner writes as fast as it can, or has left
 * nonsense: a whole value, or none, and in bounded time.
 */
#include "checkpoint.h"
#include "core/crc32c.h"
#include "manager.h"
#include "snapshot_fixture.h"
#include "unit.h"

#include <errno.h>
#include <pthread.h>

static struct fixture fixture;
static struct manager manager;
static struct shm_section section;
static bool stop;

static void begin(uint64_t size, uint32_t count) {
    fixture_make(&fixture, size, count, SHM_SECTION_PERSIST);
    section = fixture.section;
    manager.segment.base = fixture.memory;
    /* Where bell_index is counted from. */
    manager.segment.bells = (void *)(fixture.snapshot.bell - 1 - section.bell_index);
}

static void *publish_all_the_time(void *unused) {
    (void)unused;
    struct snapshot_writer writer;
    uint64_t value[16384];
    ck_assert_int_eq(snapshot_take_over(&writer, &fixture.snapshot, 1), 0);
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        const size_t bytes = section.size - writer.next % 5 * 8;
        value_make(value, bytes, writer.next, 1);
        ck_assert_int_eq(snapshot_publish(&writer, value, bytes), 0);
    }
    return NULL;
}

static void take_beside_a_writer(uint64_t size, uint32_t count) {
    begin(size, count);
    pthread_t writer;
    ck_assert_int_eq(pthread_create(&writer, NULL, publish_all_the_time, NULL), 0);
    struct checkpoint_mark mark = {0};
    struct checkpoint_value value;
    unsigned taken = 0;
    uint64_t longest_ns = 0, end_ns = clock_mono_ns() + UINT64_C(60000000000);
    while (taken < 300 && clock_mono_ns() < end_ns) {
        const uint64_t from_ns = clock_mono_ns();
        int r = checkpoint_take(&manager, &section, &mark, &value);
        const uint64_t took_ns = clock_mono_ns() - from_ns;
        longest_ns = took_ns > longest_ns ? took_ns : longest_ns;
        ck_assert_msg(r == 1 || r == 0 || r == -EAGAIN, "%d", r);
        if (r != 1)
            continue;
        taken++;
        ck_assert(value_whole((const void *)value.data, value.about.bytes, value.about.version));
        ck_assert_uint_eq(value.about.data_crc, crc32c(value.data, value.about.bytes));
        ck_assert_uint_gt(value.about.version, mark.version);
        ck_assert_uint_ne(value.about.real_ns, 0);
        mark = (struct checkpoint_mark){.known = true, .version = value.about.version};
        checkpoint_value_clear(&value);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    pthread_join(writer, NULL);
    ck_assert_uint_eq(taken, 300);
    ck_assert_uint_lt(longest_ns, UINT64_C(30000000000));
    fixture_free(&fixture);
}

START_TEST(a_small_value_is_whole) {
    take_beside_a_writer(64, 2);
}
END_TEST

START_TEST(a_large_value_is_whole) {
    take_beside_a_writer(100000, 2);
}
END_TEST

START_TEST(nonsense_is_refused) {
    begin(1000, 2);
    struct checkpoint_mark mark = {0};
    struct checkpoint_value value;
    ck_assert_int_eq(checkpoint_take(&manager, &section, &mark, &value), 0);
    struct snapshot_writer writer;
    ck_assert_int_eq(snapshot_take_over(&writer, &fixture.snapshot, 1), 0);
    ck_assert_int_eq(snapshot_publish(&writer, "value", 5), 0);
    ck_assert_int_eq(checkpoint_take(&manager, &section, &mark, &value), 1);
    ck_assert_uint_eq(value.about.bytes, 5);
    checkpoint_value_clear(&value);
    struct shm_buffer *buffer = (void *)fixture.snapshot.buffers;
    const struct {
        uint64_t *word, value;
    } nonsense[] = {{&buffer->len, 1001},
                    {&buffer->len, UINT64_MAX},
                    {&buffer->seq, 3},
                    {&buffer->seq, 200},
                    {&fixture.snapshot.shared->head, UINT64_C(77) << 56 | 2},
                    {&fixture.snapshot.shared->control.stride, 1}};
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
        const uint64_t right = *nonsense[i].word;
        *nonsense[i].word = nonsense[i].value;
        ck_assert_msg(checkpoint_take(&manager, &section, &mark, &value) == -EBADMSG, "%zu", i);
        ck_assert_ptr_null(value.data);
        *nonsense[i].word = right;
    }
    fixture_free(&fixture);
}
END_TEST

static void *write_all_the_time(void *unused) {
    (void)unused;
    for (unsigned n = 1; !__atomic_load_n(&stop, __ATOMIC_RELAXED); n++)
        for (size_t i = 0; i < section.size / 8; i++)
            __atomic_store_n((uint64_t *)fixture.memory + i, n, __ATOMIC_RELAXED);
    return NULL;
}

START_TEST(raw_bytes_are_as_they_are) {
    begin(100000, 2);
    section.kind = SHM_KIND_RAW;
    section.flags |= SHM_SECTION_SHARED; /* so anybody may be writing */
    section.size = 100000;
    memset(fixture.memory, 0, section.size);
    struct checkpoint_mark mark = {0};
    struct checkpoint_value value;
    ck_assert_int_eq(checkpoint_take(&manager, &section, &mark, &value), 0); /* blank */
    ((uint8_t *)fixture.memory)[section.size - 1] = 7;
    ck_assert_int_eq(checkpoint_take(&manager, &section, &mark, &value), 1);
    ck_assert(value.about.bytes == section.size && value.data[section.size - 1] == 7);
    mark = (struct checkpoint_mark){.known = true, .data_crc = value.about.data_crc};
    checkpoint_value_clear(&value);
    ck_assert_int_eq(checkpoint_take(&manager, &section, &mark, &value), 0); /* known */
    memset(fixture.memory, 0, section.size);
    ck_assert_int_eq(checkpoint_take(&manager, &section, &mark, &value), 1); /* zeros, on purpose */
    checkpoint_value_clear(&value);
    pthread_t writer;
    ck_assert_int_eq(pthread_create(&writer, NULL, write_all_the_time, NULL), 0);
    for (int i = 0; i < 300; i++) {
        int r = checkpoint_take(&manager, &section, &mark, &value);
        ck_assert(r == 0 || r == 1);
        if (r == 1)
            ck_assert_uint_eq(value.about.data_crc, crc32c(value.data, section.size));
        checkpoint_value_clear(&value);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    pthread_join(writer, NULL);
    fixture_free(&fixture);
}
END_TEST

START_TEST(only_some_are_wanted) {
    begin(64, 2);
    ck_assert(checkpoint_wants(&section));
    section.flags = 0;
    ck_assert(!checkpoint_wants(&section));
    section.flags = SHM_SECTION_PERSIST;
    section.state = SHM_PLACE_RETIRED;
    ck_assert(!checkpoint_wants(&section));
    section.state = SHM_PLACE_LIVE;
    section.kind = SHM_KIND_QUEUE;
    ck_assert(!checkpoint_wants(&section));
    fixture_free(&fixture);
}
END_TEST

UNIT_MAIN("checkpoint_take", a_small_value_is_whole, a_large_value_is_whole, nonsense_is_refused,
          raw_bytes_are_as_they_are, only_some_are_wanted)
