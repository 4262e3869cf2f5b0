/* SPDX-License-Identifier: Apache-2.0
 *
 * A queue in a segment without a daemon: lanes of the dead are taken, and what a receiver had when
 * it was killed comes again.
 */
#include "private_fixture.h"

#define LANES 2

static struct shmc_private_spec plain[] = {SPEC(.name = "jobs", .owner = "boss", .bytes = 1024,
                                                .kind = SHMC_QUEUE, .count = LANES,
                                                .instances = 2)};

/* Sends its step, as type 1 + step. */
static int sender(const shmc_private *memory, int at) {
    static shmc *segment;
    static shmc_section *jobs;
    if (at == 0) {
        segment = nameless(memory);
        jobs = opened(segment, "jobs");
    }
    return shmc_queue_send(jobs, 1 + at, &at, sizeof at, 0, PATIENCE_MS);
}

/* Waits for a message, without an end, and has it until it is killed. */
static int receiver(const shmc_private *memory, int at) {
    static shmc *segment;
    static shmc_section *jobs;
    struct shmc_message info = {0};
    const void *data;
    size_t bytes;
    if (at == 0) {
        segment = attached(memory, "boss");
        jobs = opened(segment, "jobs");
    }
    const int r = shmc_queue_peek(jobs, 0, &data, &bytes, 0, PATIENCE_MS, &info);
    return r < 0 ? r : (int)info.type;
}

static int take(shmc_section *jobs, struct shmc_message *info) {
    int number = -1;
    const ssize_t n = shmc_queue_receive(jobs, 0, &number, sizeof number, 0, 0, info);
    return n < 0 ? (int)n : number;
}

START_TEST(sent_and_received) {
    for (int strategy = SHMC_STRATEGY_ANON; strategy <= SHMC_STRATEGY_SYSV_PRIVATE; strategy++) {
        struct shmc_message info;
        shmc_private *memory = make((enum shmc_strategy)strategy, plain, 1);
        shmc *boss = attached(memory, "boss");
        shmc_section *jobs = opened(boss, "jobs");
        ck_assert_int_eq(take(jobs, &info), -EAGAIN);
        const struct child one = start(memory, sender), two = start(memory, sender);
        ck_assert_int_eq(step(&one), 0);
        ck_assert_int_eq(step(&two), 0);
        ck_assert_int_eq(step(&one), 0);
        ck_assert_int_eq(take(jobs, &info), 0);
        ck_assert_int_eq(info.pid, one.pid);
        ck_assert_int_eq(take(jobs, &info), 0);
        ck_assert_int_eq(info.pid, two.pid);
        ck_assert_int_eq(take(jobs, &info), 1);
        ck_assert_int_eq(take(jobs, &info), -EAGAIN);
        /* It doesn't wait for the dead, nor for who tells of them. */
        const struct child three = start(memory, sender);
        ck_assert_int_eq(step(&three), -EUSERS);
        ck_assert_int_eq(step(&two), 0);
        end(&two, SIGKILL);
        ck_assert_int_eq(step(&three), 0);
        ck_assert_int_eq(take(jobs, &info), 1);
        ck_assert_int_eq(take(jobs, &info), 1);
        ck_assert_int_eq(info.pid, three.pid);
        end(&one, 0);
        end(&three, 0);
        shmc_close(jobs);
        shmc_detach(boss);
        shmc_private_destroy(memory);
    }
}
END_TEST

START_TEST(a_receiver_is_killed) {
    struct shmc_message info;
    shmc_private *memory = make(SHMC_STRATEGY_AUTO, plain, 1);
    const struct child first = start(memory, receiver);
    ck_assert_int_eq(write(first.to, "", 1), 1); /* sleeps until there is something */
    const struct child one = start(memory, sender);
    ck_assert_int_eq(step(&one), 0);
    ck_assert_int_eq(hear(first.from), 1);
    shmc *boss = attached(memory, "boss"); /* another instance */
    shmc_section *jobs = opened(boss, "jobs");
    ck_assert_int_eq(take(jobs, &info), -EAGAIN);
    end(&first, SIGKILL);
    ck_assert_int_eq(take(jobs, &info), 0);
    ck_assert(info.redelivered);
    ck_assert_int_eq(take(jobs, &info), -EAGAIN);
    end(&one, 0);
    shmc_close(jobs);
    shmc_detach(boss);
    shmc_private_destroy(memory);
}
END_TEST

/* What waits in a queue that gets another size is sent anew in it, by the caller's init. */
static int move_jobs(shmc_section *section, shmc_section *before, void *argument) {
    int *moved = argument, value;
    struct shmc_message info;
    for (size_t i = 0; before != NULL; i++) {
        const ssize_t n = shmc_queue_look(before, i, &value, sizeof value, 0, &info);
        if (n == -ENOMSG)
            break;
        const int r = n < 0 ? (int)n : shmc_queue_send(section, info.type, &value, (size_t)n, 0, 0);
        if (r < 0)
            return r;
        ++*moved;
    }
    return 0;
}

START_TEST(a_reload_brings_jobs_along) {
    int moved = 0;
    struct shmc_message info;
    shmc_private *memory = make(SHMC_STRATEGY_AUTO, plain, 1);
    const struct child one = start(memory, sender);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(step(&one), 0);
    ck_assert_int_eq(shmc_private_reload(memory, plain, 1), 0); /* stays */
    struct shmc_private_spec larger = plain[0];
    larger.bytes *= 2;
    larger.init = move_jobs;
    larger.argument = &moved;
    ck_assert_int_eq(shmc_private_reload(memory, &larger, 1), 0);
    ck_assert_int_eq(moved, 3);
    shmc *boss = attached(memory, "boss");
    shmc_section *jobs = opened(boss, "jobs");
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(take(jobs, &info), i);
        ck_assert_int_eq(info.type, 1 + i);
    }
    ck_assert_int_eq(take(jobs, &info), -EAGAIN);
    end(&one, 0);
    shmc_close(jobs);
    shmc_detach(boss);
    shmc_private_destroy(memory);
}
END_TEST

/* As many as there were at least; where there were none, no reload makes some. */
START_TEST(instances_over_reloads) {
    static const uint32_t instances[] = {3, 0, 2};
    struct shmc_private_spec specs[] = {plain[0],
                                        SPEC(.name = "config", .bytes = 8, .instances = 0)};
    struct shmc_message info;
    shmc_private *memory = make(SHMC_STRATEGY_AUTO, specs, 2);
    for (int i = 0; i < 3; i++) {
        shmc *segment = nameless(memory);
        shmc_section *jobs = opened(segment, "jobs");
        ck_assert_int_eq(shmc_queue_send(jobs, 1, &i, sizeof i, 0, 0), 0);
        shmc_close(jobs);
        shmc_detach(segment);
        specs[0].instances = instances[i];
        ck_assert_int_eq(shmc_private_reload(memory, specs, 2), 0);
        shmc *bosses[3];
        for (int k = 0; k < 3; k++)
            bosses[k] = attached(memory, "boss");
        jobs = opened(bosses[2], "jobs");
        ck_assert_int_eq(take(jobs, &info), i);
        ck_assert_int_eq(take(jobs, &info), -EAGAIN);
        shmc_close(jobs);
        for (int k = 0; k < 3; k++)
            shmc_detach(bosses[k]);
    }
    specs[1].instances = 2;
    specs[1].owner = "master#1";
    ck_assert_int_eq(shmc_private_reload(memory, specs, 2), -EINVAL);
    ck_assert_ptr_nonnull(strstr(shmc_private_last_error(memory), "'master' had no instances"));
    shmc_private_destroy(memory);
}
END_TEST

UNIT_MAIN("private_queue", sent_and_received, a_receiver_is_killed, a_reload_brings_jobs_along,
          instances_over_reloads)
