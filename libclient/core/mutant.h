/* SPDX-License-Identifier: Apache-2.0
 *
 * Steps that the tests take out of the protocols, one at a time, to prove that they would notice:
 * tests/crash compiles these sources again with -DSHM_MUTANT=N.  In every other build MUTANT() is
 * the constant 0 and nothing is left of it.
 */
#ifndef SHM_CORE_MUTANT_H
#define SHM_CORE_MUTANT_H

enum mutant {
    MUTANT_HEAD_EARLY = 1,   /* the head names a buffer that isn't filled yet */
    MUTANT_NOT_DIRTIED,      /* a buffer is filled under the sequence of its old value */
    MUTANT_TAKES_CURRENT,    /* the writer fills the buffer that the head names */
    MUTANT_NOT_ZEROED,       /* a successor leaves the dead writer's unpublished value */
    MUTANT_SILENT_SUCCESSOR, /* its first publish doesn't wake */
    MUTANT_NO_SECOND_CHECK,  /* a reader doesn't look at the sequence again */
    MUTANT_FOLLOWS_AHEAD,    /* a follower looks for a version beyond the head's */
};

#ifdef SHM_MUTANT
#define MUTANT(name) (SHM_MUTANT == MUTANT_##name)
#else
#define MUTANT(name) 0
#endif

#endif
