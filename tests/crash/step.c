/* SPDX-License-Identifier: Apache-2.0
 *
 * Stepping a worker.  Both sides run on one processor: handing over to the other side then costs a
 * switch, and not an interrupt to another core, which makes it four times as fast.
 */
#include "crash.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static void pin(void) {
    cpu_set_t allowed, one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof allowed, &allowed) < 0)
        return;
    for (size_t cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &allowed))
            CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
}

static int wait_for(pid_t pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            fixture_fail("waitpid");
    return status;
}

pid_t worker_start(struct world *world) {
    *world->stage = (struct stage){0};
    pin();
    fflush(NULL);
    const pid_t pid = fork();
    if (pid < 0)
        fixture_fail("fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        worker_run(world);
    }
    const int status = wait_for(pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
        return 0;
    if (!WIFSTOPPED(status) || ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_EXITKILL) < 0)
        fixture_fail("the worker doesn't stop");
    return pid;
}

bool worker_step(pid_t pid) {
    if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) < 0)
        fixture_fail("the worker can't be stepped");
    const int status = wait_for(pid);
    if (WIFSTOPPED(status) && WSTOPSIG(status) != SIGTRAP) {
        fprintf(stderr, "kill_publish: the worker got signal %d\n", WSTOPSIG(status));
        worker_kill(pid);
        return false;
    }
    return WIFSTOPPED(status);
}

void worker_kill(pid_t pid) {
    kill(pid, SIGKILL);
    wait_for(pid);
}
