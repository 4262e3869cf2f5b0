/* SPDX-License-Identifier: Apache-2.0
 *
 * Stepping a process by ptrace.  Both sides run on one processor: handing over to the other side
 * then costs a switch, and not an interrupt to another core, which makes it four times as fast.
 */
#include "step.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define SYSTEM_CALL (SIGTRAP | 0x80) /* what PTRACE_O_TRACESYSGOOD makes of SIGTRAP */

static void fail(const char *what) {
    printf("%s: %s\n", what, strerror(errno)); /* stderr may be a manager's, and gone */
    exit(2);
}

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
            fail("waitpid");
    return status;
}

pid_t step_start(void (*run)(void *), void *argument) {
    pin();
    fflush(NULL);
    const pid_t pid = fork();
    if (pid < 0)
        fail("fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
            _exit(SKIPPED);
        run(argument);
        _exit(1);
    }
    const int status = wait_for(pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
        return 0;
    if (!WIFSTOPPED(status))
        return -1;
    if (ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD) < 0)
        fail("the process can't be stepped");
    return pid;
}

#ifdef __x86_64__
#define SYSCALL_CODE 0x050f

bool step_knows_calls(void) {
    return true;
}

static bool is_system_call(pid_t pid) {
    const long at = ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, regs.rip), NULL);
    const long code = ptrace(PTRACE_PEEKTEXT, pid, at, NULL);
    return (code & 0xffff) == SYSCALL_CODE;
}
#else
bool step_knows_calls(void) {
    return false;
}

static bool is_system_call(pid_t pid) {
    (void)pid;
    return false;
}
#endif

static enum step go_on(pid_t pid, enum __ptrace_request how, int expected) {
    int status;
    do { /* a child's end is no news to it */
        if (ptrace(how, pid, NULL, NULL) < 0)
            fail("the process can't be stepped");
        status = wait_for(pid);
    } while (WIFSTOPPED(status) && WSTOPSIG(status) == SIGCHLD);
    if (!WIFSTOPPED(status))
        return STEP_ENDED;
    if (WSTOPSIG(status) == expected)
        return STEP_DONE;
    if (WSTOPSIG(status) == SIGSTOP)
        return STEP_PAUSED;
    printf("the stepped process got signal %d\n", WSTOPSIG(status));
    step_kill(pid);
    return STEP_ENDED;
}

enum step step_instruction(pid_t pid, bool *call) {
    const bool calls = call != NULL && is_system_call(pid);
    const enum step step = go_on(pid, PTRACE_SINGLESTEP, SIGTRAP);
    if (call != NULL)
        *call = calls && step == STEP_DONE;
    return step;
}

enum step step_call(pid_t pid) {
    const enum step entry = go_on(pid, PTRACE_SYSCALL, SYSTEM_CALL);
    return entry == STEP_DONE ? go_on(pid, PTRACE_SYSCALL, SYSTEM_CALL) : entry;
}

void step_kill(pid_t pid) {
    kill(pid, SIGKILL);
    wait_for(pid);
}
