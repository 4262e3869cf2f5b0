/* SPDX-License-Identifier: Apache-2.0
 *
 * Reloads of a segment without a daemon: what stays, what is carried over, and what is left.
 */
#include "private_fixture.h"

#include <sys/mman.h>
#include <time.h>

static int carry(shmc_section *section, shmc_section *before, void *argument) {
    int *calls = argument;
    int number = -1;
    ++*calls;
    if (before != NULL)
        number = number_in(before);
    number = number < 0 ? 0 : number;
    return shmc_publish(section, &number, sizeof number);
}

static int carry_and_fail(shmc_section *section, shmc_section *before, void *argument) {
    int calls = 0;
    (void)argument;
    const int r = carry(section, before, &calls);
    return r < 0 ? r : -EIO;
}

START_TEST(reloads_carry_over) {
    int calls = 0, other_calls = 0;
    struct shmc_private_spec specs[] = {
        SPEC(.name = "count", .owner = "web", .bytes = 64, .init = carry, .argument = &calls),
        SPEC(.name = "more", .bytes = 64, .init = carry, .argument = &other_calls)};
    shmc_private *memory = make(SHMC_STRATEGY_AUTO, specs, 1);
    ck_assert_int_eq(calls, 1);
    const struct child old = start(memory, web), early = start(memory, web);
    ck_assert_int_eq(step(&old), 0);
    for (int i = 1; i <= 3; i++)
        ck_assert_int_eq(step(&old), 0);
    /* The same again, and a new one beside it. */
    ck_assert_int_eq(shmc_private_reload(memory, specs, 2), 0);
    ck_assert_int_eq(calls, 1);
    ck_assert_int_eq(other_calls, 1);
    ck_assert_int_eq(step(&old), 0);
    shmc *segment = attached(memory, NULL);
    shmc_section *count = opened(segment, "count");
    ck_assert_int_eq(number_in(count), 4);
    /* A larger one. */
    specs[0].bytes = 128;
    ck_assert_int_eq(shmc_private_reload(memory, specs, 2), 0);
    ck_assert_int_eq(calls, 2);
    ck_assert_int_eq(step(&old), 0); /* he goes on with what he has */
    ck_assert_int_eq(number_in(count), 5);
    shmc_section *larger = opened(segment, "count");
    ck_assert_int_eq(number_in(larger), 4); /* as it was then */
    end(&old, SIGKILL);
    ck_assert_int_eq(step(&early), 0); /* forked before both, finds the new */
    ck_assert_int_eq(step(&early), 0);
    ck_assert_int_eq(number_in(larger), 1);
    ck_assert_int_eq(number_in(count), 5);
    end(&early, 0);
    shmc_close(count);
    shmc_close(larger);
    shmc_detach(segment);
    shmc_private_destroy(memory);
}
END_TEST

static size_t sections_now(shmc *segment) {
    struct shmc_section_info *all;
    size_t n;
    ck_assert_int_eq(shmc_sections(segment, &all, &n), 0);
    free(all);
    return n;
}

START_TEST(a_reload_that_fails_changes_nothing) {
    int calls = 0;
    struct shmc_private_spec specs[] = {
        SPEC(.name = "count", .owner = "web", .bytes = 64, .init = carry, .argument = &calls),
        SPEC(.name = "more", .bytes = 64, .init = carry_and_fail)};
    shmc_private *memory = make(SHMC_STRATEGY_AUTO, specs, 1);
    const struct child child = start(memory, web);
    shmc *segment = attached(memory, NULL);
    shmc_section *count = opened(segment, "count");
    ck_assert_int_eq(step(&child), 0);
    ck_assert_int_eq(step(&child), 0);
    specs[0].bytes = 128;
    ck_assert_int_eq(shmc_private_reload(memory, specs, 2), -EIO);
    ck_assert_str_eq(shmc_private_last_error(memory),
                     "spec 'more': its init answered -5 (EIO), and nothing was changed");
    ck_assert_uint_eq(sections_now(segment), 1);
    ck_assert_int_eq(step(&child), 0);
    ck_assert_int_eq(number_in(count), 2);
    specs[1].bytes = 0;
    ck_assert_int_eq(shmc_private_reload(memory, specs, 2), -EINVAL);
    specs[1].bytes = UINT64_C(1) << 32;
    ck_assert_int_eq(shmc_private_reload(memory, specs, 2), -ENOSPC);
    ck_assert_int_eq(step(&child), 0);
    ck_assert_int_eq(number_in(count), 3);
    end(&child, 0);
    shmc_close(count);
    shmc_detach(segment);
    shmc_private_destroy(memory);
}
END_TEST

START_TEST(what_was_left_goes) {
    struct shmc_private_spec specs[] = {SPEC(.name = "count", .owner = "web", .bytes = 4096),
                                        SPEC(.name = "other", .bytes = 4096)};
    shmc_private *memory = make(SHMC_STRATEGY_AUTO, specs, 2);
    shmc *segment = attached(memory, NULL);
    const struct child child = start(memory, web);
    ck_assert_int_eq(step(&child), 0);
    ck_assert_int_eq(step(&child), 0);
    ck_assert_int_eq(shmc_private_reload(memory, &specs[1], 1), 0);
    shmc_section *none;
    ck_assert_int_eq(shmc_open(&none, segment, "count", NULL), -ENOENT);
    ck_assert_int_eq(step(&child), 0);
    ck_assert_uint_eq(sections_now(segment), 2); /* old.1 */
    shmc_detach(segment);
    ck_assert_int_eq(shmc_private_reap(memory), 0);
    segment = attached(memory, NULL);
    ck_assert_uint_eq(sections_now(segment), 2);
    end(&child, SIGKILL);
    ck_assert_int_eq(shmc_private_reap(memory), 1);
    ck_assert_uint_eq(sections_now(segment), 1);
    shmc_detach(segment);
    shmc_private_destroy(memory);
}
END_TEST

START_TEST(many_reloads) {
    struct shmc_private_spec specs[] = {SPEC(.name = "count", .owner = "web", .bytes = 100000),
                                        SPEC(.name = "other", .bytes = 4096)};
    struct shmc_private_options options = {.size = sizeof options, .bytes = UINT64_C(4) << 20};
    shmc_private *memory;
    ck_assert_int_eq(shmc_private_create(&memory, specs, 2, &options), 0);
    for (int i = 0; i < 200; i++) {
        shmc *segment = attached(memory, "web");
        shmc_section *count = opened(segment, "count");
        ck_assert_int_eq(shmc_publish(count, &i, sizeof i), 0);
        specs[0].bytes = i % 2 == 0 ? 100001 : 100000;
        ck_assert_int_eq(shmc_private_reload(memory, specs, i % 3 == 1 ? 2 : 1), 0);
        ck_assert_int_eq(shmc_publish(count, &i, sizeof i), -EIDRM); /* its own reload */
        shmc_close(count);
        shmc_detach(segment);
    }
    shmc *segment = attached(memory, NULL);
    ck_assert_int_eq(shmc_private_reap(memory), 0);
    ck_assert_uint_le(sections_now(segment), 2);
    shmc_detach(segment);
    shmc_private_destroy(memory);
}
END_TEST

/* ---- a creator that is killed in the midst of it */

#define KILLS 40

static uint32_t *reloads; /* in memory of all */

static int whole(const shmc_private *memory, int at) {
    (void)at;
    shmc *segment = attached(memory, "web");
    shmc_section *count = opened(segment, "count");
    const int before = number_in(count);
    int number = before + 1;
    int r = before < 1 ? -EBADMSG : shmc_publish(count, &number, sizeof number);
    if (r == 0 && number_in(count) != number)
        r = -EIO;
    shmc_close(count);
    shmc_detach(segment);
    return r;
}

/* Each reload brings a number along, and adds one to it. */
static int add_one(shmc_section *section, shmc_section *before, void *argument) {
    int number = 0;
    (void)argument;
    if (before != NULL)
        number = number_in(before);
    number++;
    return shmc_publish(section, &number, sizeof number);
}

static _Noreturn void reload_for_ever(int ready) {
    struct shmc_private_spec specs[] = {
        SPEC(.name = "count", .owner = "web", .bytes = 64, .init = add_one)};
    shmc_private *memory = make(SHMC_STRATEGY_AUTO, specs, 1);
    const struct child child = start(memory, whole);
    if (write(ready, &child, sizeof child) != sizeof child)
        _exit(1);
    for (;;) {
        specs[0].bytes = specs[0].bytes == 64 ? 10000 : 64;
        if (shmc_private_reload(memory, specs, 1) < 0)
            _exit(1);
        __atomic_add_fetch(reloads, 1, __ATOMIC_SEQ_CST);
    }
}

static void kill_in_the_midst(int which) {
    int ready[2], status;
    struct child child;
    char path[64];
    const uint32_t enough = *reloads + 1 + (uint32_t)which % 4;
    ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
    const pid_t pid = fork();
    if (pid == 0)
        reload_for_ever(ready[1]);
    close(ready[1]);
    ck_assert_int_eq(read(ready[0], &child, sizeof child), sizeof child);
    close(ready[0]);
    /* The creator's ends of the child's pipes, before it goes. */
    snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, child.to);
    child.to = open(path, O_WRONLY | O_CLOEXEC);
    snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, child.from);
    child.from = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert(child.to >= 0 && child.from >= 0);
    const struct timespec moment = {.tv_nsec = 100000 + which * 7919};
    for (int i = 0; __atomic_load_n(reloads, __ATOMIC_SEQ_CST) < enough; i++) {
        ck_assert_int_lt(i, 100000);
        nanosleep(&moment, NULL);
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(step(&child), 0);
    ck_assert_int_eq(step(&child), 0);
    ck_assert_int_eq(write(child.to, "q", 1), 1);
    close(child.to);
    close(child.from);
}

START_TEST(killed_in_a_reload) {
    reloads =
        mmap(NULL, sizeof *reloads, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert(reloads != MAP_FAILED);
    for (int i = 0; i < KILLS; i++)
        kill_in_the_midst(i);
    munmap(reloads, sizeof *reloads);
}
END_TEST

UNIT_MAIN("private_reload", reloads_carry_over, a_reload_that_fails_changes_nothing,
          what_was_left_goes, many_reloads, killed_in_a_reload)
