/* SPDX-License-Identifier: Apache-2.0
 *
 * Sections whose newest value has become older than their stale_ms, and those that are fresh again:
 * one message for each change.
 */
#ifndef SHM_DAEMON_STALE_H
#define SHM_DAEMON_STALE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct manager;

/* What is remembered of a section, by its slot in the layout. */
struct stale_mark {
    uint64_t section_id, incarnation; /* whose it is; another one's is forgotten */
    uint64_t stale_ms;                /* that due_ns was reckoned with */
    uint64_t due_ns;                  /* of CLOCK_MONOTONIC: it can't be stale before */
    uint64_t since_ns;                /* time of the value that was found stale */
    bool stale;
};

struct stale {
    struct stale_mark *marks;
    uint32_t slots;
};

/* One look at all sections.  A section is read only when it may have become stale by then, so that
 * thousands of them cost a comparison each. */
void stale_look(struct manager *manager, uint64_t now_ns);

void stale_clear(struct stale *stale);

#endif
