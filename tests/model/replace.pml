/* SPDX-License-Identifier: Apache-2.0
 *
 * A segment that is replaced by another while somebody publishes (reload --force) and somebody
 * reads: a manager that may die between any two of its steps, or find that it can't, and the next
 * one, which goes on from there or goes back.
 *
 * The new segment gets its values beside the old one (STAGED), state.db decides, and only then it
 * is found under the key (NEW; with memfd that is the same memory).  A place is its head: the
 * number of the value that it names.  That leases are claimed anew is no part of this: there is one
 * writer.
 *
 * Bounds: VALUES publishes, ATTEMPTS to replace, CRASHES deaths of the manager.  Sequentially
 * consistent: the manager's barrier behind the old header's state makes it so.
 */
#ifndef MUTANT
#define MUTANT 0 /* of 8 */
#endif
#ifndef VALUES
#define VALUES 4
#endif
#ifndef ATTEMPTS
#define ATTEMPTS 2
#endif
#ifndef CRASHES
#define CRASHES 3
#endif

#define OLD    0
#define STAGED 1
#define NEW    2

byte head[3];
bool replaced; /* the old header says so */
bool decided;  /* state.db */
bool found;    /* the new one, under the key */
byte done;     /* the newest publish that has returned */

/* What both do at the beginning of a call: who is bound to the old one waits for what comes. */
inline follow(at) {
    do
    :: at == OLD && replaced ->
        if
        :: found || MUTANT == 6 -> at = NEW
        :: !replaced -> break
        fi
    :: else -> break
    od
}

active proctype writer() {
    byte value = 0, at = OLD;
    do
    :: value < VALUES ->
        value++;
again:
        follow(at);
        head[at] = value;
        if
        :: at == OLD && replaced && MUTANT != 1 -> goto again /* too late to be copied, perhaps */
        :: else
        fi;
        done = value
    :: break
    od
}

active proctype reader() {
    byte at = OLD, last = 0, before = 0, value = 0;
    do
    :: true ->
        before = done;
again:
        follow(at);
        value = head[at];
        if
        :: at == OLD && replaced && MUTANT != 7 -> goto again
        :: else
        fi;
        assert(value >= before && value >= last);
        last = value
    :: break
    od
}

/* One step; the manager may die before each. */
#define STEP(what) \
    if \
    :: what \
    :: crashes < CRASHES -> crashes++; goto start \
    fi

active proctype manager() {
    byte attempts = 0, crashes = 0;
start:
    if
    :: decided && MUTANT != 5 -> goto succeed
    :: else -> replaced = false /* nothing was changed */
    fi;
    if
    :: attempts < ATTEMPTS -> attempts++
    :: goto out
    fi;
    if
    :: MUTANT == 2 -> STEP(head[STAGED] = head[OLD]); STEP(replaced = true)
    :: MUTANT == 8 -> STEP(head[STAGED] = head[OLD])
    :: else -> STEP(replaced = true); STEP(head[STAGED] = head[OLD])
    fi;
    if
    :: MUTANT == 4 -> head[NEW] = head[STAGED]; found = true
    :: else
    fi;
    if
    :: STEP(decided = true)
    :: replaced = false; goto start /* it can't: who reads comes back */
    fi;
succeed:
    if
    :: !found || MUTANT == 3 -> STEP(head[NEW] = head[STAGED]); STEP(found = true; replaced = true)
    :: else
    fi;
    STEP(skip); /* it dies behind it */
out:
    skip
}
