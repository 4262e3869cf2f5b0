/* SPDX-License-Identifier: Apache-2.0
 *
 * A client of the prefork server: a connection for each request, whose answer is checked.
 */
#include "prefork.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* 1: an answer; 0: cut off; or a negative errno. */
static int ask(const struct address *address, const struct request *request,
               struct answer *answer) {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int r = 0;
    if (connect(fd, (const struct sockaddr *)&address->name, address->bytes) < 0 ||
        send(fd, request, sizeof *request, MSG_NOSIGNAL) < 0)
        r = errno == EPIPE || errno == ECONNRESET ? 0 : -errno;
    else {
        const ssize_t n = recv(fd, answer, sizeof *answer, MSG_WAITALL);
        r = n == sizeof *answer ? 1 : n >= 0 || errno == ECONNRESET ? 0 : -errno;
    }
    close(fd);
    return r;
}

static void count(uint64_t *counter) {
    __atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST);
}

void client_run(const struct address *address, struct clients *clients) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct request request = {.number = (uint64_t)getpid() << 32};
    while (__atomic_load_n(&clients->over, __ATOMIC_SEQ_CST) == 0) {
        struct answer answer = {0};
        request.number++;
        const int r = ask(address, &request, &answer);
        if (r == 0) {
            count(&clients->cut_off);
        } else if (r < 0 || answer.number != request.number || answer.serial == 0 ||
                   answer.result != request.number * factor_of(answer.serial)) {
            printf("request %llx: %s, answered %llx by configuration %llu\n",
                   (unsigned long long)request.number, r < 0 ? strerror(-r) : "wrong",
                   (unsigned long long)answer.result, (unsigned long long)answer.serial);
            fflush(stdout);
            count(&clients->wrong);
        } else {
            count(&clients->answered);
        }
    }
    _exit(0);
}
