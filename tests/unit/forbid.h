/* SPDX-License-Identifier: Apache-2.0
 *
 * System calls that fail in this process from now on, as in a container that forbids them.
 */
#ifndef SHM_TESTS_FORBID_H
#define SHM_TESTS_FORBID_H

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a child finds: 0, or -r of the call. */
static inline int in_child(int (*what)(void)) {
    int status;
    const pid_t pid = fork();
    if (pid == 0)
        _exit(what());
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* From here on that program judges each system call.  False: not to be had here. */
static inline bool forbid_by(unsigned short instructions, struct sock_filter *code) {
    const struct sock_fprog program = {instructions, code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* That one system call fails from here on, with EPERM; as above. */
static inline bool forbid(int call) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    return forbid_by(sizeof code / sizeof *code, code);
}

/* A test has a process of its own, which may lose what a sanitizer needs at its end. */
static inline int apart(int (*what)(void)) {
#ifdef __SANITIZE_ADDRESS__
    return in_child(what);
#else
    return what();
#endif
}

#endif
