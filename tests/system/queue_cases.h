/* SPDX-License-Identifier: Apache-2.0
 *
 * What the cases about queues share.  A case's messages are numbers.
 */
#ifndef SHM_TESTS_QUEUE_CASES_H
#define SHM_TESTS_QUEUE_CASES_H

#include "cases.h"

/* One who sends. */
static inline shmc *anonymous(void) {
    return attach(NULL, SHMC_ANONYMOUS);
}

static inline void send_number(shmc_section *out, uint64_t number, int timeout_ms) {
    CHECK_IS(shmc_queue_send(out, 1, &number, sizeof number, 0, timeout_ms), 0);
}

static inline uint64_t receive_number(shmc_section *in, int timeout_ms,
                                      struct shmc_message *about) {
    uint64_t number;
    CHECK_IS(shmc_queue_receive(in, 0, &number, sizeof number, 0, timeout_ms, about),
             sizeof number);
    return number;
}

static inline void is_empty(shmc_section *in) {
    CHECK_IS(shmc_queue_receive(in, 0, NULL, 0, 0, 0, NULL), -EAGAIN);
}

static inline uint32_t lanes_held(shmc_section *section) {
    struct shmc_queue_stat stat;
    CHECK_IS(shmc_queue_stat(section, &stat, NULL, NULL), 0);
    return stat.lanes_held;
}

#endif
