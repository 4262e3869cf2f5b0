/* SPDX-License-Identifier: Apache-2.0
 *
 * A queue's two doorbells: receivers sleep for a message (want, ring), a sender sleeps for room
 * (waiting, kick), and the sender may die between any two of its accesses.  Nobody may sleep for
 * ever: that would be an invalid end state.
 *
 * Bounds: MESSAGES through a ring of ROOM, two receivers, CRASHES deaths of the sender.  A successor
 * clears `waiting`, and rings once at its take-over: at its first message would be too late for a
 * receiver when there is none (mutant 5).  Barriers are modelled by their absence (mutants 6 to 8).
 */
#ifndef MUTANT
#define MUTANT 0 /* of 8 */
#endif
#ifndef MESSAGES
#define MESSAGES 4
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#define ROOM 2
#define SENDER 2

byte sent, done, crashes, ring, kick;
bool want, waiting;
bool asleep[3];

/* One access of the sender's; it may die before each. */
#define STEP(what) \
    if \
    :: what \
    :: crashes < CRASHES -> crashes++; goto take_over \
    fi

#define FULL (sent - done == ROOM)

/* The kernel compares and puts to sleep in one. */
inline sleep_on(who, word, value) {
    atomic {
        if
        :: word == value -> asleep[who] = true
        :: else
        fi
    }
    !asleep[who]
}

#define WAKE_RECEIVERS d_step { asleep[0] = false; asleep[1] = false }

active proctype sender() {
    byte k;
    bool rung;
take_over:
    asleep[SENDER] = false; /* who died doesn't sleep */
    waiting = false;
    if
    :: crashes > 0 && MUTANT != 5 -> STEP(ring++); STEP(WAKE_RECEIVERS)
    :: else
    fi;
    do
    :: sent == MESSAGES -> break
    :: sent < MESSAGES && FULL ->
        k = kick;
        if
        :: MUTANT == 7 && FULL -> waiting = true; sleep_on(SENDER, kick, k)
        :: MUTANT != 7 ->
            STEP(waiting = true);
            if
            :: FULL -> sleep_on(SENDER, kick, k)
            :: else
            fi
        :: else
        fi;
        waiting = false
    :: sent < MESSAGES && !FULL ->
        rung = MUTANT == 6 && want;
        STEP(sent++);
        if
        :: MUTANT != 6 -> STEP(rung = want)
        :: else
        fi;
        if
        :: rung ->
            STEP(want = false);
            if
            :: MUTANT != 1 -> STEP(ring++)
            :: else
            fi;
            if
            :: MUTANT != 2 -> STEP(WAKE_RECEIVERS)
            :: else
            fi
        :: else
        fi
    od
}

proctype receiver(byte me) {
    byte r;
    bool stuck;
    do
    :: done == MESSAGES -> break
    :: done < MESSAGES ->
        r = ring;
        if
        :: MUTANT != 3 -> want = true
        :: else
        fi;
        if
        :: MUTANT == 8 -> stuck = waiting
        :: else
        fi;
        if
        :: atomic { sent > done -> done++ }
            if
            :: MUTANT != 8 -> stuck = waiting /* behind the full barrier */
            :: else
            fi;
            if
            :: stuck && MUTANT != 4 -> kick++; asleep[SENDER] = false
            :: else
            fi;
            /* The last one tells the other that there is nothing to come. */
            if
            :: done == MESSAGES -> ring++; WAKE_RECEIVERS
            :: else
            fi
        :: done == MESSAGES -> break
        :: sent == done && done < MESSAGES -> sleep_on(me, ring, r)
        fi
    od
}

init {
    atomic { run receiver(0); run receiver(1) }
}
