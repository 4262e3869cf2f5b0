/* SPDX-License-Identifier: Apache-2.0
 *
 * A server that forks its workers before they are needed, and its clients.
 */
#ifndef SHM_TESTS_PREFORK_H
#define SHM_TESTS_PREFORK_H

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

/* What a client sends, and what it gets: all of it, or the end of the file. */
struct request {
    uint64_t number;
};
struct answer {
    uint64_t number; /* the request's */
    uint64_t result; /* number times the factor of that configuration */
    uint64_t serial; /* of the configuration that the worker had */
};

/* So that a mix of two is noticed. */
static inline uint64_t factor_of(uint64_t serial) {
    return serial * UINT64_C(0x9e3779b97f4a7c15) | 1;
}

/* What the clients tell, in memory of all. */
struct clients {
    uint64_t answered;
    uint64_t cut_off; /* a worker was killed behind its accept() */
    uint64_t wrong;
    uint32_t over; /* they shall end */
};

struct address {
    struct sockaddr_un name;
    socklen_t bytes;
};

/* Asks until it is over. */
_Noreturn void client_run(const struct address *address, struct clients *clients);

#endif
