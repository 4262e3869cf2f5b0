/* SPDX-License-Identifier: Apache-2.0
 *
 * A client has its time from when it is expected to do something, however long the manager has
 * been busy by then.
 */
#include "core/futex.h"
#include "manager.h"
#include "unit.h"

#include <unistd.h>

#define EXPECT_MS 60000

static struct manager manager;
static struct client client;
static uint64_t before_us;

static uint64_t now_us(void) {
    return clock_mono_ns() / 1000;
}

/* The event loop's own clock stands still meanwhile. */
static int be_busy(sd_event_source *source, void *userdata) {
    (void)source;
    (void)userdata;
    const uint64_t since = now_us();
    while (now_us() < since + 20000)
        usleep(1000);
    before_us = now_us();
    server_expect(&client, EXPECT_MS);
    return 0;
}

static void begin(void) {
    ck_assert_int_ge(sd_event_new(&manager.event), 0);
    client = (struct client){.manager = &manager, .fd = -1};
}

static void end(void) {
    server_expect(&client, 0);
    ck_assert_ptr_null(client.timer);
    sd_event_unref(manager.event);
}

START_TEST(time_counts_from_now) {
    sd_event_source *defer = NULL;
    uint64_t at = 0;
    begin();
    ck_assert_int_ge(sd_event_add_defer(manager.event, &defer, be_busy, NULL), 0);
    ck_assert_int_gt(sd_event_run(manager.event, 0), 0);
    ck_assert_int_ge(sd_event_source_get_time(client.timer, &at), 0);
    ck_assert_uint_ge(at, before_us + EXPECT_MS * UINT64_C(1000));
    sd_event_source_unref(defer);
    end();
}
END_TEST

UNIT_MAIN("server_expect", time_counts_from_now)
