/* SPDX-License-Identifier: Apache-2.0
 *
 * A manager that a test starts, kills and starts again.
 */
#ifndef SHM_TESTS_MANAGING_H
#define SHM_TESTS_MANAGING_H

#include "failures.h"
#include "play.h"

#include <poll.h>
#include <shmclient.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Its program, its key, and the directory that holds state and run. */
struct managing {
    const char *program, *directory;
    uint32_t key;
};

/* It ends with its parent. */
static inline pid_t managing_start(const struct managing *managing) {
    pid_t child = fork();
    if (child == 0) {
        char state[256], run[256], number[32];
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        snprintf(state, sizeof state, "%s/state", managing->directory);
        snprintf(run, sizeof run, "%s/run", managing->directory);
        snprintf(number, sizeof number, "0x%08x", managing->key);
        execl(managing->program, managing->program, "--key", number, "--state-dir", state,
              "--runtime-dir", run, NULL);
        _exit(127);
    }
    return child;
}

/* Attaches to its segment, or counts a failure and returns NULL. */
static inline shmc *managing_attach(const struct managing *managing, struct failures *failures,
                                    const char *worker, int patience_ms) {
    char run[256];
    snprintf(run, sizeof run, "%s/run", managing->directory);
    return failures_attach(failures, (struct shmc_options){.size = sizeof(struct shmc_options),
                                                           .worker = worker,
                                                           .key = managing->key,
                                                           .runtime_dir = run,
                                                           .timeout_ms = patience_ms});
}

/* Asks until that very manager answers; how long it took, in ns; 0: it never did. */
static inline uint64_t managing_await(const struct managing *managing, pid_t manager,
                                      uint64_t patience_ns) {
    uint64_t start = now_ns();
    char run[256], pid[32];
    snprintf(run, sizeof run, "%s/run", managing->directory);
    snprintf(pid, sizeof pid, "\"pid\":%d,", manager);
    while (now_ns() - start < patience_ns) {
        char *reply = NULL;
        struct shmc_options options = {
            .size = sizeof options, .key = managing->key, .runtime_dir = run, .timeout_ms = 0};
        bool answered = shmc_manager(&options, "status", &reply) == 0 && strstr(reply, pid) != NULL;
        free(reply);
        if (answered)
            return now_ns() - start;
        poll(NULL, 0, 1);
    }
    return 0;
}

#endif
