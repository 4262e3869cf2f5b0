/* SPDX-License-Identifier: Apache-2.0
 *
 * A torture's children: its manager, and others that it kills.
 */
#ifndef SHM_TESTS_TORTURE_PROCESSES_H
#define SHM_TESTS_TORTURE_PROCESSES_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

/* As fork(); the child goes with us. */
static inline pid_t start_child(void) {
    const pid_t pid = fork();
    if (pid < 0) {
        perror("fork");
        exit(1);
    }
    if (pid == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return pid;
}

/* The key and the runtime directory come from the environment. */
static inline pid_t start_manager(const char *program, const char *state_directory) {
    const pid_t pid = start_child();
    if (pid > 0)
        return pid;
    dup2(STDERR_FILENO, STDOUT_FILENO); /* its log is not this program's output */
    execl(program, program, "--key", getenv("SHMC_KEY"), "--state-dir", state_directory,
          "--runtime-dir", getenv("SHMC_RUNTIME_DIR"), (char *)NULL);
    _exit(127);
}

/* True: it ended by itself, or by that signal. */
static inline bool reap(pid_t pid, int signal) {
    int status;
    if (waitpid(pid, &status, 0) != pid)
        return false;
    return WIFSIGNALED(status) ? WTERMSIG(status) == signal : WEXITSTATUS(status) == 0;
}

/* The fourth of PROGRAM SHM-MANAGER STATE-DIRECTORY SECONDS [SEED], or a random one; it is printed.
 */
static inline uint64_t first_seed(int argc, char **argv) {
    uint64_t seed = 0;
    if (argc > 4)
        seed = strtoull(argv[4], NULL, 10);
    else if (getrandom(&seed, sizeof seed, 0) < 0)
        exit(2);
    printf("seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    return seed;
}

#endif
