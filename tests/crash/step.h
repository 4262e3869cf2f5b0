/* SPDX-License-Identifier: Apache-2.0
 *
 * Stepping a process: one instruction, or one system call, at a time.
 */
#ifndef SHM_TESTS_STEP_H
#define SHM_TESTS_STEP_H

#include <stdbool.h>
#include <sys/types.h>

#define SKIPPED 77 /* ctest's SKIP_RETURN_CODE: this machine doesn't let us trace */

enum step { STEP_DONE, STEP_PAUSED, STEP_ENDED };

/* Forks, on one processor with us; the child runs `run`, and is there when that raises SIGSTOP.
 * 0: it may not be traced; -1: it ended before. */
pid_t step_start(void (*run)(void *), void *argument);

/* One instruction further.  Paused: none; it has raised SIGSTOP.  *call: it was a system call,
 * which has returned; NULL: nobody wants to know. */
enum step step_instruction(pid_t pid, bool *call);

/* Can it tell them from other instructions here? */
bool step_knows_calls(void);

/* To the return of its next system call. */
enum step step_call(pid_t pid);

void step_kill(pid_t pid);

#endif
