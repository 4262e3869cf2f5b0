/* SPDX-License-Identifier: Apache-2.0
 *
 * Waiting in a segment without a daemon: its doorbells ring.
 */
#include "private_fixture.h"

#include <time.h>

static const struct shmc_private_spec spec = SPEC(.name = "count", .owner = "web", .bytes = 64);

static int publish_until_seen(const shmc_private *memory, int at) {
    static shmc *segment;
    static shmc_section *count;
    struct shmc_section_info info = {0};
    if (at == 0) {
        segment = attached(memory, "web");
        count = opened(segment, "count");
    }
    for (int number = 1; info.wakes == 0; number++) {
        const struct timespec moment = {.tv_nsec = 5000000};
        int r = shmc_publish(count, &number, sizeof number);
        if (r == 0)
            r = shmc_section_info(count, &info);
        if (r < 0)
            return r;
        nanosleep(&moment, NULL); /* so that the reader sleeps again */
    }
    return 0;
}

/* Sleepers are woken, and not just look again by themselves. */
START_TEST(woken) {
    int number;
    shmc_private *memory = make(SHMC_STRATEGY_AUTO, &spec, 1);
    shmc *segment = attached(memory, NULL);
    shmc_section *count = opened(segment, "count");
    struct pollfd readable = {.events = POLLIN};
    const struct child child = start(memory, publish_until_seen);
    ck_assert_int_eq(write(child.to, "", 1), 1);
    struct pollfd heard = {.fd = child.from, .events = POLLIN};
    do
        shmc_next(count, &number, sizeof number, 200, NULL);
    while (poll(&heard, 1, 0) == 0);
    ck_assert_int_eq(hear(child.from), 0);
    readable.fd = shmc_fd(count);
    ck_assert_int_ge(readable.fd, 0);
    while (shmc_next(count, &number, sizeof number, 0, NULL) >= 0)
        ;
    ck_assert_int_eq(step(&child), 0); /* publishes once more */
    ck_assert_int_eq(poll(&readable, 1, PATIENCE_MS), 1);
    end(&child, 0);
    shmc_close(count);
    shmc_detach(segment);
    shmc_private_destroy(memory);
}
END_TEST

UNIT_MAIN("private_waits", woken)
