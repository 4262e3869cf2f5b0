/* SPDX-License-Identifier: Apache-2.0
 *
 * A snapshot's doorbell: a writer that may die between any two of its accesses and has successors,
 * and two sleepers on the head.  When a publish has returned nobody sleeps on an older head; what a
 * writer left undone by dying, its successor's first publish does.
 *
 * Bounds: VERSIONS publishes, CRASHES deaths.  The full barrier behind the head's store is modelled
 * by its absence: without it the doorbell may be looked at before the head is stored.  A writer has
 * that barrier of its own, or it relies on the sleepers': then it may stand between the two, and a
 * sleeper's barrier doesn't return before the head is out.  Mutant 6 has neither.
 */
#ifndef MUTANT
#define MUTANT 0 /* of 8 */
#endif
#ifndef VERSIONS
#define VERSIONS 4
#endif
#ifndef CRASHES
#define CRASHES 2
#endif
#define SLEEPERS 2

byte head, crashes;
bool want;
bool between; /* the writer has looked at the doorbell, and its head isn't out yet */
bool asleep[SLEEPERS];
byte expected[SLEEPERS];

/* One access of the writer's; it may die before each. */
#define STEP(what) \
    if \
    :: what \
    :: crashes < CRASHES -> d_step { crashes++; between = false }; goto take_over \
    fi

active proctype writer() {
    bool rung, again, silent, early;
take_over:
    silent = MUTANT == 5;
    do
    :: head == VERSIONS -> break
    :: head < VERSIONS ->
        rung = want;
        if
        :: rung && MUTANT != 1 -> STEP(want = false)
        :: else
        fi;
        early = MUTANT == 6;
        again = MUTANT == 6 && want;
        if
        :: MUTANT != 6 -> d_step { again = want; between = true; early = true }
        :: true
        fi;
        STEP(d_step { head++; between = false });
        if
        :: rung && MUTANT == 1 -> STEP(want = false)
        :: else
        fi;
        if
        :: !early && MUTANT != 2 -> STEP(again = want)
        :: else
        fi;
        if
        :: (rung && MUTANT != 3 || again || !silent) && MUTANT != 4 ->
            STEP(d_step { asleep[0] = false; asleep[1] = false })
        :: else
        fi;
        silent = true;
        assert(!asleep[0] || expected[0] == head);
        assert(!asleep[1] || expected[1] == head)
    od
}

proctype sleeper(byte me) {
    byte last, now;
    do
    :: last == VERSIONS -> break
    :: last < VERSIONS ->
        if
        :: MUTANT != 7 -> want = true
        :: else
        fi;
        MUTANT == 8 || !between;
        now = head;
        if
        :: now == last ->
            atomic { /* the kernel compares and puts to sleep in one */
                if
                :: head == now -> asleep[me] = true; expected[me] = now
                :: else
                fi
            }
            /* By the bound, too, which it must not need. */
            !asleep[me] || head == VERSIONS;
            asleep[me] = false
        :: else
        fi;
        last = head
    od
}

init {
    atomic { run sleeper(0); run sleeper(1) }
}
