/* SPDX-License-Identifier: Apache-2.0
 *
 * No memory: each allocation of a create, an attach and a reload fails in turn.  Each says so,
 * leaves nothing behind, and changes nothing.
 */
#include "private_fixture.h"

#include <stddef.h>

/* The library's own calls come here, too.  The n-th from now on fails. */
static unsigned long left = ~0UL;

static bool fails(void) {
    return left != ~0UL && left-- == 0;
}

#define PUBLIC __attribute__((visibility("default")))
void *__libc_calloc(size_t n, size_t bytes);
void *__libc_realloc(void *at, size_t bytes);
PUBLIC void *calloc(size_t n, size_t bytes);
PUBLIC void *realloc(void *at, size_t bytes);
PUBLIC void *reallocarray(void *at, size_t n, size_t bytes);

static void *refuse(void) {
    errno = ENOMEM;
    return NULL;
}

void *calloc(size_t n, size_t bytes) {
    return fails() ? refuse() : __libc_calloc(n, bytes);
}

void *realloc(void *at, size_t bytes) {
    return fails() ? refuse() : __libc_realloc(at, bytes);
}

void *reallocarray(void *at, size_t n, size_t bytes) {
    size_t all;
    if (__builtin_mul_overflow(n, bytes, &all))
        return refuse();
    return realloc(at, all);
}

static unsigned long descriptors_and_maps(void) {
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    unsigned long n = 0;
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL)
        n += strstr(line, "[heap]") == NULL;
    if (maps != NULL)
        fclose(maps);
    const int fd = dup(0);
    close(fd);
    return n * 1000 + (unsigned long)fd;
}

static int start_with(shmc_section *section, shmc_section *before, void *argument) {
    int number = 1;
    (void)argument;
    if (before != NULL)
        number += number_in(before);
    return shmc_publish(section, &number, sizeof number);
}

static struct shmc_private_spec specs[] = {
    SPEC(.name = "count", .owner = "web", .bytes = 64, .init = start_with),
    SPEC(.name = "bytes", .kind = SHMC_RAW, .bytes = 100)};

/* False: it made fewer allocations than that.  (Some it can do without.) */
static bool try_create(unsigned long n) {
    shmc_private *memory = NULL;
    left = n;
    const int r = shmc_private_create(&memory, specs, 2, NULL);
    const bool spared = left != ~0UL;
    left = ~0UL;
    if (r == 0)
        shmc_private_destroy(memory);
    ck_assert_msg(r == 0 || (r == -ENOMEM && !spared), "allocation %lu: %d", n, r);
    return !spared;
}

START_TEST(create) {
    try_create(~0UL - 1); /* what is allocated once and for all */
    const unsigned long before = descriptors_and_maps();
    unsigned long n = 0;
    while (try_create(n))
        n++;
    ck_assert_uint_ge(n, 10);
    ck_assert_uint_eq(descriptors_and_maps(), before);
}
END_TEST

START_TEST(attach_and_open) {
    shmc_private *memory = make(SHMC_STRATEGY_AUTO, specs, 2);
    shmc_detach(attached(memory, "web"));
    const unsigned long before = descriptors_and_maps();
    bool spared = false;
    unsigned long n = 0;
    for (; !spared; n++) {
        shmc *segment = NULL;
        shmc_section *section = NULL;
        left = n;
        int r = attach(&segment, memory, "web", 0);
        if (r == 0)
            r = shmc_open(&section, segment, "count", NULL);
        spared = left != ~0UL;
        left = ~0UL;
        ck_assert_msg(r == 0 || (r == -ENOMEM && !spared), "allocation %lu: %d", n, r);
        shmc_close(section);
        shmc_detach(segment);
    }
    ck_assert_uint_ge(n, 3);
    ck_assert_uint_eq(descriptors_and_maps(), before);
    shmc_private_destroy(memory);
}
END_TEST

/* The value says how many reloads there were. */
START_TEST(reload) {
    struct shmc_private_spec next[2];
    shmc_private *memory = make(SHMC_STRATEGY_AUTO, specs, 2);
    shmc *segment = attached(memory, NULL);
    int done = 1;
    bool spared = false;
    unsigned long n = 0;
    memcpy(next, specs, sizeof next);
    for (; !spared; n++) {
        next[0].bytes = done % 2 != 0 ? 128 : 64;
        left = n;
        const int r = shmc_private_reload(memory, next, 2);
        spared = left != ~0UL;
        left = ~0UL;
        ck_assert_msg(r == 0 || (r == -ENOMEM && !spared), "allocation %lu: %d: %s", n, r,
                      shmc_private_last_error(memory));
        done += r == 0;
        shmc_section *count = opened(segment, "count");
        ck_assert_int_eq(number_in(count), done);
        shmc_close(count);
    }
    ck_assert_uint_ge(n, 10);
    ck_assert_int_eq(shmc_private_reap(memory), 0);
    struct shmc_section_info *all;
    size_t sections;
    ck_assert_int_eq(shmc_sections(segment, &all, &sections), 0);
    ck_assert_uint_eq(sections, 2); /* nothing of the reloads that failed */
    free(all);
    shmc_detach(segment);
    shmc_private_destroy(memory);
}
END_TEST

UNIT_MAIN("private_memory", create, attach_and_open, reload)
