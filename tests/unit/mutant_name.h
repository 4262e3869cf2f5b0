/* SPDX-License-Identifier: Apache-2.0
 *
 * --mutant NAME: which step of libclient/core/mutant.h a program goes without that was built with
 * SHM_MUTANTS.
 */
#ifndef SHM_TESTS_MUTANT_NAME_H
#define SHM_TESTS_MUTANT_NAME_H

#include "core/mutant.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#ifdef SHM_MUTANTS
enum mutant shm_mutant;

static inline bool mutant_set(const char *name) {
    static const char *const names[] = {SHM_MUTANTS_ALL(SHM_MUTANT_NAME)};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0)
            shm_mutant = (enum mutant)(i + 1);
    if (shm_mutant == MUTANT_NONE)
        fprintf(stderr, "--mutant %s: not in libclient/core/mutant.h\n", name);
    return shm_mutant != MUTANT_NONE;
}
#else
static inline bool mutant_set(const char *name) {
    fprintf(stderr, "--mutant %s: only the program that is built with SHM_MUTANTS has it\n", name);
    return false;
}
#endif

#endif
