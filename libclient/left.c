/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that was left behind while no manager served it, so that nobody could say so in its
 * header: removed (ipcrm), or lost to a new one, as its manager and its keeper ended at once.  The
 * kernel tells of the first; of the second the link RUNTIME-DIR/KEY.segment, which names the
 * segment that is served.  As long as the manager's pulse beats nobody asks.
 */
#include "client.h"
#include "core/sysv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ASK_NS    UINT64_C(1000000000) /* system calls, once for all of an attachment's sections */
#define OFTEN_NS  UINT64_C(10000000)
#define SELDOM_NS UINT64_C(100000000)
#define PACE_MAX  255u

static bool is_removed(const struct mapping *mapping) {
    struct shmid_ds found;
    int r = sysv_stat(mapping->id, &found);
    return r == -EIDRM || (r == 0 && sysv_removed(&found));
}

static bool has_successor(const shmc *segment, const struct mapping *mapping) {
    const struct settings settings = {.key = segment->home.key,
                                      .runtime_dir = segment->home.runtime_dir};
    char path[sizeof(((struct sockaddr_un *)NULL)->sun_path) + 32], text[32], *end;
    struct stat link;
    snprintf(path, sizeof path, "%s/%08x.segment", settings.runtime_dir, settings.key);
    if (lstat(path, &link) < 0 || !settings_trust(&settings, link.st_uid))
        return false;
    ssize_t n = readlink(path, text, sizeof text - 1);
    if (n <= 0)
        return false;
    text[n] = '\0';
    uint64_t served = strtoull(text, &end, 16);
    return *end == '\0' && served != mapping->directory.header.segment_id;
}

static void ask(shmc *segment, const struct mapping *mapping, uint64_t now) {
    uint32_t *state = (uint32_t *)segment->page, alive = HANDLE_ALIVE;
    uint64_t asked = __atomic_load_n(&segment->asked_ns, __ATOMIC_RELAXED);
    if (now - asked < ASK_NS || !__atomic_compare_exchange_n(&segment->asked_ns, &asked, now, false,
                                                             __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        return; /* or another thread asks */
    if (directory_replaced(&mapping->directory))
        return; /* its header says what became of it */
    if (parts_are(mapping) ? has_successor(segment, mapping) : is_removed(mapping))
        __atomic_compare_exchange_n(state, &alive, HANDLE_LEFT, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED);
}

/* A clock for each publish would cost what a small one does. */
static void set_pace(shmc_section *section, uint64_t now) {
    uint64_t since = now - __atomic_exchange_n(&section->looked_ns, now, __ATOMIC_RELAXED);
    uint32_t pace = __atomic_load_n(&section->pace, __ATOMIC_RELAXED);
    if (since < OFTEN_NS)
        pace = 2 * pace + 1 < PACE_MAX ? 2 * pace + 1 : PACE_MAX;
    else if (since > SELDOM_NS)
        pace = 0;
    __atomic_store_n(&section->pace, pace, __ATOMIC_RELAXED);
    __atomic_store_n(&section->calls_left, pace, __ATOMIC_RELAXED);
}

void left_look(shmc_section *section) {
    uint64_t now = clock_read_ns(CLOCK_MONOTONIC_COARSE);
    set_pace(section, now);
    if (private_is(section->mapping)) /* whose sections' writers nobody else watches */
        tenancy_worker_ended(&section->mapping->tenancy, section->descriptor.owner_index);
    else if (!directory_manager_alive(&section->mapping->directory, NULL, NULL))
        ask(section->segment, section->mapping, now);
}
