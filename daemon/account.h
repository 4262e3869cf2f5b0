/* SPDX-License-Identifier: Apache-2.0
 *
 * What each user takes of the manager: connections, and the time that its requests cost.  Who took
 * much waits, so that all his requests together take no more than about a fifth of the manager's
 * time; a request now and then never waits.
 */
#ifndef SHM_DAEMON_ACCOUNT_H
#define SHM_DAEMON_ACCOUNT_H

#include <stdint.h>
#include <sys/types.h>

struct account {
    struct account *next;
    uid_t uid;
    unsigned clients;
    uint64_t rests_until_ns; /* of CLOCK_MONOTONIC; earlier, a credit apart, nothing is done */
};

/* The user's, made when there is none; NULL: no memory.  Accounts that are settled go meanwhile. */
struct account *account_of(struct account **all, uid_t uid, uint64_t now_ns);

/* How long the next request has to wait; 0: not at all. */
uint64_t account_rest(const struct account *account, uint64_t now_ns);

/* A request was answered, and took so long. */
void account_charge(struct account *account, uint64_t now_ns, uint64_t took_ns);

/* Whoever has the most connections; NULL: nobody has any. */
struct account *account_largest(struct account *all);

void accounts_clear(struct account **all);

#endif
