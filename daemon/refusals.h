/* SPDX-License-Identifier: Apache-2.0
 *
 * What is logged of refused claims: the first few of a worker and uid, then how many there were
 * besides.  A worker that is started again and again by its supervisor, or somebody who means
 * harm, fills no journal.
 */
#ifndef SHM_DAEMON_REFUSALS_H
#define SHM_DAEMON_REFUSALS_H

#include <shm-manager/layout.h>
#include <sys/types.h>

#define REFUSALS_ROWS      64 /* the last is for whatever finds no other */
#define REFUSALS_EACH      3
#define REFUSALS_PERIOD_NS UINT64_C(10000000000)

struct refusals {
    struct refusal {
        char worker[SHM_NAME_BYTES];
        uid_t uid;
        uint64_t since_ns; /* of CLOCK_MONOTONIC; 0: the row is free */
        unsigned said, left_out;
    } rows[REFUSALS_ROWS];
};

/* Logs one, or counts it. */
void refusals_say(struct refusals *refusals, const char *worker, uid_t uid, unsigned pid,
                  const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Says what was left out in periods that are over. */
void refusals_look(struct refusals *refusals, uint64_t now_ns);

#endif
