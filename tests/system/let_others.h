/* SPDX-License-Identifier: Apache-2.0
 *
 * In a test's loop that waits for somebody else's doing.
 */
#ifndef SHM_TESTS_LET_OTHERS_H
#define SHM_TESTS_LET_OTHERS_H

#include <time.h>

/* Lets others run.  Not by sched_yield(): Linux 6.18 puts who yields again and again so far back
 * that who comes new is put behind, and waits for minutes while somebody else keeps the processor.
 */
static inline void let_others(void) {
    nanosleep(&(struct timespec){.tv_nsec = 10000}, NULL);
}

#endif
