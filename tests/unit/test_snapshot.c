/* SPDX-License-Identifier: Apache-2.0
 *
 * The snapshot, call by call, in one thread: what each returns, and what stands in the shared
 * memory afterwards.
 */
#include "unit.h"

#include "core/crc32c.h"
#include "snapshot_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#define SIZE  200u
#define COUNT 4u

static struct fixture fixture;
static struct snapshot_writer writer;
static struct snapshot_reader reader;

static void begin_with(uint64_t size, uint32_t count, uint32_t flags) {
    fixture_make(&fixture, size, count, flags);
    ck_assert_int_eq(snapshot_take_over(&writer, &fixture.snapshot, 11), 0);
    snapshot_reader_init(&reader, &fixture.snapshot);
}

static struct shm_snapshot *shared(void) {
    return fixture.snapshot.shared;
}

static struct shm_buffer *buffer(uint32_t index) {
    return (void *)(fixture.snapshot.buffers + index * fixture.snapshot.stride);
}

static void publish(uint64_t version, size_t bytes) {
    uint64_t value[SIZE / 8];
    value_make(value, bytes, version, 1);
    ck_assert_int_eq(snapshot_publish(&writer, value, bytes), 0);
    ck_assert_uint_eq(snapshot_version(&fixture.snapshot), version);
}

static void check_newest(uint64_t version) {
    uint64_t value[SIZE / 8];
    struct snapshot_value found;
    const ssize_t n = snapshot_read(&reader, value, sizeof value, &found);
    ck_assert_int_ge(n, 0);
    ck_assert_uint_eq(found.version, version);
    ck_assert_uint_eq(found.length, (size_t)n);
    ck_assert(value_whole(value, (size_t)n, version));
}

/* ---- the control line */

START_TEST(format_says_the_constants) {
    begin_with(SIZE, COUNT, SHM_SECTION_STAMP_NONE | SHM_SECTION_NOTIFY_ALWAYS);
    const struct shm_control *control = &shared()->control;
    ck_assert_uint_eq(control->magic, SHM_CONTROL_SNAPSHOT);
    ck_assert_uint_eq(control->count, COUNT);
    ck_assert_uint_eq(control->bell_index, 5);
    ck_assert_uint_eq(control->section_id, 7);
    ck_assert_uint_eq(control->incarnation, 3);
    ck_assert_uint_eq(control->stride, 320);
    ck_assert_uint_eq(control->flags, SHM_SECTION_STAMP_NONE);
    ck_assert_uint_eq(control->crc, CRC32C_OF(control));
    ck_assert_uint_eq(fixture.snapshot.room, 256);
    ck_assert_uint_eq(fixture.snapshot.size, SIZE);
    ck_assert_uint_eq(fixture.snapshot.flags, fixture.section.flags);
}
END_TEST

/* Space beyond what `size` needs is room to grow in. */
START_TEST(format_uses_all_the_space) {
    struct shm_section section = {.bytes = 8192, .size = 100, .count = 3};
    const char *field = NULL;
    _Alignas(64) static uint8_t memory[8192];
    snapshot_format(memory, &section);
    section.size = 2560;
    ck_assert_int_eq(snapshot_bind(&fixture.snapshot, memory, &section, NULL, &field), 0);
    section.size = 2561;
    ck_assert_int_eq(snapshot_bind(&fixture.snapshot, memory, &section, NULL, &field), -EBADMSG);
    ck_assert_str_eq(field, "size");
}
END_TEST

static void check_bind_refuses(const struct shm_control *control, const char *expected) {
    const char *field = "nothing";
    struct snapshot snapshot;
    shared()->control = *control;
    if (strcmp(expected, "control.crc") != 0)
        shared()->control.crc = CRC32C_OF(&shared()->control);
    const int r = snapshot_bind(&snapshot, fixture.memory, &fixture.section, NULL, &field);
    ck_assert_int_eq(r, -EBADMSG);
    ck_assert_str_eq(field, expected);
}

START_TEST(bind_names_the_damaged_field) {
    begin_with(SIZE, COUNT, 0);
    const struct shm_control good = shared()->control;
#define DAMAGED(field, value)                                                                      \
    do {                                                                                           \
        struct shm_control bad = good;                                                             \
        bad.field = (value);                                                                       \
        check_bind_refuses(&bad, "control." #field);                                               \
    } while (0)
    DAMAGED(magic, SHM_CONTROL_QUEUE);
    DAMAGED(crc, good.crc ^ 1);
    DAMAGED(abi, SHM_ABI + 1);
    DAMAGED(count, COUNT - 1);
    DAMAGED(bell_index, 6);
    DAMAGED(section_id, 8);
    DAMAGED(incarnation, 4);
    DAMAGED(buf_off, good.buf_off + 8);
    DAMAGED(buf_off, sizeof(struct shm_control));
    DAMAGED(buf_off, fixture.section.bytes + 64);
    DAMAGED(stride, good.stride + 8);
    DAMAGED(stride, good.stride + 64);
    DAMAGED(stride, 0);
    DAMAGED(stride, UINT64_MAX - 63);
#undef DAMAGED
    /* Both say the same, and it is no number of buffers. */
    struct shm_control bad = good;
    bad.count = fixture.section.count = SHM_COUNT_MIN - 1;
    check_bind_refuses(&bad, "control.count");
    bad.count = fixture.section.count = SHM_COUNT_MAX + 1;
    check_bind_refuses(&bad, "control.count");
}
END_TEST

/* ---- publishing and reading */

START_TEST(nothing_is_there_at_first) {
    uint64_t value[SIZE / 8];
    struct snapshot_value found;
    const void *data;
    begin_with(SIZE, COUNT, 0);
    ck_assert_uint_eq(snapshot_version(&fixture.snapshot), 0);
    ck_assert_int_eq(snapshot_read(&reader, value, sizeof value, &found), -ENODATA);
    ck_assert_uint_eq(found.version, 0);
    ck_assert_int_eq(snapshot_read(&reader, value, sizeof value, NULL), -ENODATA);
    ck_assert_int_eq(snapshot_view(&reader, &data, &found), -ENODATA);
    ck_assert(!snapshot_valid(&reader, &found));
    ck_assert_int_eq(snapshot_read_version(&reader, 1, value, sizeof value, &found), -ENODATA);
}
END_TEST

START_TEST(newest_value_is_read) {
    begin_with(SIZE, COUNT, 0);
    for (uint64_t version = 1; version < 50; version++) {
        publish(version, VALUE_LEAST + version % 20 * 8);
        check_newest(version);
    }
    ck_assert_uint_eq(reader.laps, 0);
}
END_TEST

/* On both sides of what glibc may copy around the cache. */
START_TEST(large_values_are_whole) {
    static uint64_t value[8192], got[8192];
    begin_with(sizeof value, 2, SHM_SECTION_STAMP_NONE);
    const size_t sizes[] = {16376, 16384, 16392, 40960, 65536};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const size_t bytes = sizes[i];
        struct snapshot_value about;
        value_make(value, bytes, snapshot_version(&fixture.snapshot) + 1, 1);
        ck_assert_int_eq(snapshot_publish(&writer, value, bytes), 0);
        ck_assert_int_eq(snapshot_read(&reader, got, sizeof got, &about), (ssize_t)bytes);
        ck_assert(value_whole(got, bytes, about.version));
    }
}
END_TEST

START_TEST(sizes_have_limits) {
    char value[SIZE + 1] = "abc";
    struct snapshot_value found;
    begin_with(SIZE, COUNT, 0);
    ck_assert_int_eq(snapshot_publish(&writer, value, SIZE + 1), -EMSGSIZE);
    ck_assert_uint_eq(snapshot_version(&fixture.snapshot), 0);
    ck_assert_int_eq(snapshot_publish(&writer, value, SIZE), 0);
    memset(value, 'x', sizeof value);
    ck_assert_int_eq(snapshot_read(&reader, value, SIZE - 1, &found), -EMSGSIZE);
    ck_assert_uint_eq(found.length, SIZE);
    ck_assert_uint_eq(found.version, 1);
    ck_assert_int_eq(value[0], 'x');
    ck_assert_int_eq(snapshot_read(&reader, NULL, 0, &found), -EMSGSIZE);
    ck_assert_int_eq(snapshot_read(&reader, value, SIZE, &found), SIZE);
    ck_assert_str_eq(value, "abc");
    ck_assert_int_eq(value[SIZE], 'x');
    ck_assert_int_eq(snapshot_publish(&writer, NULL, 0), 0);
    ck_assert_int_eq(snapshot_read(&reader, NULL, 0, &found), 0);
    ck_assert_uint_eq(found.version, 2);
}
END_TEST

static void check_stamps(uint32_t flags, bool stamped, uint64_t slack_ns) {
    struct snapshot_value found;
    char byte;
    begin_with(SIZE, COUNT, flags);
    const uint64_t mono = clock_mono_ns(), real = clock_real_ns();
    ck_assert_int_eq(snapshot_publish(&writer, "x", 1), 0);
    ck_assert_int_eq(snapshot_read(&reader, &byte, 1, &found), 1);
    ck_assert_uint_eq(found.epoch, 11);
    if (!stamped) {
        ck_assert_uint_eq(found.mono_ns | found.real_ns, 0);
        return;
    }
    ck_assert_uint_ge(found.mono_ns + slack_ns, mono);
    ck_assert_uint_le(found.mono_ns, clock_mono_ns());
    ck_assert_uint_ge(found.real_ns + slack_ns, real);
    ck_assert_uint_le(found.real_ns, clock_real_ns());
}

START_TEST(values_are_stamped_as_the_table_says) {
    check_stamps(0, true, 0);
    check_stamps(SHM_SECTION_STAMP_COARSE, true, 50000000);
    check_stamps(SHM_SECTION_STAMP_NONE, false, 0);
}
END_TEST

START_TEST(last_values_stay_readable) {
    const uint32_t counts[] = {2, 3, 4, 8, 256};
    uint64_t value[SIZE / 8];
    struct snapshot_value found;
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        begin_with(SIZE, counts[c], 0);
        for (uint64_t newest = 1; newest < 600; newest++) {
            publish(newest, SIZE);
            const uint64_t kept = newest < counts[c] ? newest : counts[c];
            for (uint64_t version = newest - kept + 1; version <= newest; version++) {
                ck_assert_int_eq(
                    snapshot_read_version(&reader, version, value, sizeof value, &found), SIZE);
                ck_assert(value_whole(value, SIZE, version));
                ck_assert_uint_eq(found.version, version);
            }
            const ssize_t gone = snapshot_read_version(&reader, newest - kept, value, SIZE, &found);
            ck_assert_int_eq(gone, newest == kept ? -EINVAL : -ESTALE);
            ck_assert_uint_eq(found.version, newest);
            ck_assert_int_eq(snapshot_read_version(&reader, newest + 1, value, SIZE, &found),
                             -ENODATA);
        }
        ck_assert_int_eq(snapshot_read_version(&reader, 599, value, 8, &found), -EMSGSIZE);
        ck_assert_uint_eq(found.length, SIZE);
        fixture_free(&fixture);
    }
}
END_TEST

START_TEST(view_is_valid_until_lapped) {
    struct snapshot_value found;
    const void *data;
    begin_with(SIZE, 3, 0);
    publish(1, SIZE);
    ck_assert_int_eq(snapshot_view(&reader, &data, &found), 0);
    ck_assert(value_whole(data, found.length, 1));
    ck_assert(snapshot_valid(&reader, &found));
    publish(2, SIZE);
    publish(3, SIZE);
    ck_assert(snapshot_valid(&reader, &found));
    publish(4, SIZE);
    ck_assert(!snapshot_valid(&reader, &found));
    found.buffer = 3;
    ck_assert(!snapshot_valid(&reader, &found));
}
END_TEST

/* ---- in place */

START_TEST(in_place_is_seen_at_commit) {
    void *data;
    size_t room;
    begin_with(SIZE, COUNT, 0);
    publish(1, SIZE);
    ck_assert_int_eq(snapshot_begin(&writer, &data, &room), 0);
    ck_assert_uint_eq(room, SIZE);
    value_make(data, 48, 2, 1);
    check_newest(1);
    ck_assert_int_eq(snapshot_commit(&writer, SIZE + 1), -EMSGSIZE);
    ck_assert_int_eq(snapshot_commit(&writer, 48), 0);
    check_newest(2);
    ck_assert_int_eq(snapshot_commit(&writer, 48), -EINVAL);
}
END_TEST

START_TEST(begun_section_is_busy) {
    void *data;
    size_t room;
    begin_with(SIZE, COUNT, 0);
    ck_assert_int_eq(snapshot_begin(&writer, &data, &room), 0);
    ck_assert_int_eq(snapshot_begin(&writer, &data, &room), -EBUSY);
    ck_assert_int_eq(snapshot_publish(&writer, "x", 1), -EBUSY);
    snapshot_abort(&writer);
    ck_assert_int_eq(snapshot_publish(&writer, "x", 1), 0);
}
END_TEST

START_TEST(abort_leaves_nothing_behind) {
    uint64_t value[SIZE / 8];
    void *data;
    size_t room;
    begin_with(SIZE, 2, 0);
    publish(1, SIZE);
    publish(2, SIZE);
    ck_assert_int_eq(snapshot_begin(&writer, &data, &room), 0);
    snapshot_abort(&writer);
    snapshot_abort(&writer);
    ck_assert_uint_eq(shared()->aborted, 1);
    ck_assert_uint_eq(buffer(0)->seq & 1, 0);
    check_newest(2);
    ck_assert_int_eq(snapshot_read_version(&reader, 1, value, SIZE, NULL), -ESTALE);
    publish(3, SIZE);
    check_newest(3);
}
END_TEST

static uint8_t *guarded;
static int nested = 1;

/* Comes while publish copies from the guarded page. */
static void on_fault(int signal) {
    (void)signal;
    nested = snapshot_publish(&writer, "x", 1);
    mprotect(guarded, SHM_PAGE, PROT_READ | PROT_WRITE);
}

START_TEST(signal_handler_finds_it_busy) {
    const struct sigaction action = {.sa_handler = on_fault};
    begin_with(SIZE, COUNT, 0);
    guarded = mmap(NULL, SHM_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    sigaction(SIGSEGV, &action, NULL);
    ck_assert_int_eq(snapshot_publish(&writer, guarded, SIZE), 0);
    ck_assert_int_eq(nested, -EBUSY);
    ck_assert_uint_eq(snapshot_version(&fixture.snapshot), 1);
}
END_TEST

static void *publish_beside(void *result) {
    *(int *)result = snapshot_publish(&writer, "x", 1);
    return NULL;
}

START_TEST(other_thread_finds_it_busy) {
    void *data;
    size_t room;
    pthread_t thread;
    int result = 1;
    begin_with(SIZE, COUNT, 0);
    ck_assert_int_eq(snapshot_begin(&writer, &data, &room), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, publish_beside, &result), 0);
    pthread_join(thread, NULL);
    ck_assert_int_eq(result, -EBUSY);
    ck_assert_int_eq(snapshot_commit(&writer, 0), 0);
    ck_assert_int_eq(snapshot_publish(&writer, "x", 1), 0);
}
END_TEST

/* ---- taking over */

START_TEST(successor_goes_on) {
    begin_with(SIZE, COUNT, 0);
    void *data;
    size_t room;
    for (uint64_t version = 1; version < 10; version++)
        publish(version, SIZE);
    ck_assert_int_eq(snapshot_begin(&writer, &data, &room), 0);
    snapshot_abort(&writer);
    const uint64_t wakes = shared()->wakes;
    ck_assert_int_eq(snapshot_take_over(&writer, &fixture.snapshot, 12), 0);
    ck_assert_uint_eq(shared()->epoch, 12);
    check_newest(9);
    publish(10, SIZE);
    ck_assert_uint_eq(shared()->wakes, wakes + 1);
    ck_assert_uint_eq(shared()->aborted, 1);
    publish(11, SIZE);
    ck_assert_uint_eq(shared()->wakes, wakes + 1);
    check_newest(11);
}
END_TEST

/* Finished, but the head doesn't say so: it never happened, also not as the successor's version. */
START_TEST(unpublished_value_is_never_found) {
    uint64_t value[SIZE / 8];
    begin_with(SIZE, COUNT, 0);
    publish(1, SIZE);
    const uint64_t head = shared()->head;
    publish(2, SIZE);
    shared()->head = head;
    ck_assert_int_eq(snapshot_read_version(&reader, 2, value, SIZE, NULL), -ENODATA);
    ck_assert_int_eq(snapshot_take_over(&writer, &fixture.snapshot, 12), 0);
    ck_assert_uint_eq(buffer(1)->seq, 0);
    check_newest(1);
    for (uint64_t version = 2; version < 4; version++) {
        value_make(value, SIZE, version, 2);
        ck_assert_int_eq(snapshot_publish(&writer, value, SIZE), 0);
    }
    ck_assert_int_eq(snapshot_read_version(&reader, 2, value, SIZE, NULL), SIZE);
    ck_assert_uint_eq(value[1], 2);
}
END_TEST

START_TEST(nonsense_head_is_refused) {
    const uint64_t heads[] = {UINT64_C(4) << SHM_HEAD_BUFFER_SHIFT | 2,
                              SHM_VERSION_MAX << SHM_HEAD_VERSION_SHIFT};
    begin_with(SIZE, COUNT, 0);
    for (size_t i = 0; i < 2; i++) {
        shared()->head = heads[i];
        ck_assert_int_eq(snapshot_take_over(&writer, &fixture.snapshot, 12), -EBADMSG);
    }
}
END_TEST

/* The futex is the low half of the head: nothing may hang on its being different. */
START_TEST(low_half_wraps) {
    begin_with(SIZE, COUNT, 0);
    const uint64_t start = (UINT64_C(1) << 31) - 4;
    shared()->head = start << SHM_HEAD_VERSION_SHIFT;
    ck_assert_int_eq(snapshot_take_over(&writer, &fixture.snapshot, 12), 0);
    for (uint64_t version = start + 1; version < start + 10; version++) {
        publish(version, SIZE);
        check_newest(version);
        ck_assert_int_eq(snapshot_wait(&reader, version - 1, 0, 0), 0);
        ck_assert_int_eq(snapshot_wait(&reader, version, 0, 0), -ETIMEDOUT);
    }
}
END_TEST

UNIT_MAIN("snapshot", format_says_the_constants, format_uses_all_the_space,
          bind_names_the_damaged_field, nothing_is_there_at_first, newest_value_is_read,
          large_values_are_whole, sizes_have_limits, values_are_stamped_as_the_table_says,
          last_values_stay_readable, view_is_valid_until_lapped, in_place_is_seen_at_commit,
          begun_section_is_busy, abort_leaves_nothing_behind, signal_handler_finds_it_busy,
          other_thread_finds_it_busy, successor_goes_on, unpublished_value_is_never_found,
          nonsense_head_is_refused, low_half_wraps)
