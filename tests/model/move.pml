/* SPDX-License-Identifier: Apache-2.0
 *
 * A section that moves from A to B while it is written: a writer that may die between any two of
 * its accesses, its successors, a manager that may die likewise and grants the lease, and a reader
 * or a sleeper.  A is given to another section in the end.
 *
 * Generation 0: the section is at A; 1: it moves from A to B; 2: it is at B; 3: so, and A is
 * another's.  A place has its head (a version), the mark that it was left, and the value that the
 * head names; how a value gets into a buffer is snapshot.pml's part, when sleepers ring is
 * bell.pml's: here each publish wakes those in its place.
 *
 * Bounds: VERSIONS publishes, CRASHES deaths of the writer and MANAGER_CRASHES of the manager.
 * Sequentially consistent; the orders are the simulator's part.
 */
#ifndef MUTANT
#define MUTANT 0 /* of 15 */
#endif
#ifndef VERSIONS
#define VERSIONS 3
#endif
#ifndef CRASHES
#define CRASHES 2
#endif
#ifndef MANAGER_CRASHES
#define MANAGER_CRASHES 2
#endif

#define A       0
#define B       1
#define NOWHERE 2
#define OTHER   15 /* what another section's words look like */

byte head[2], value[2];
bool moved[2];
byte generation, newest, crashes, manager_crashes;
bool held, granted, forgotten;
byte asleep = NOWHERE, expected;
bool finished;

/* One access of the writer's; it may die before each. */
#define STEP(what) \
    if \
    :: what \
    :: crashes < CRASHES -> d_step { crashes++; held = false; g = 0; next = 0; left = false; place = 0 }; goto next_writer \
    fi

inline wake(p) {
    if
    :: asleep == p -> asleep = NOWHERE
    :: else
    fi
}

/* The writer's publish is one store here; nothing may be lost or given twice, and somebody must
 * look there. */
inline publish_at(p, v) {
    d_step {
        assert(p == A && generation <= 1 || p == B && generation >= 1);
        assert(p != A || head[B] == 0 || generation == 0);
        assert(v == newest + 1);
        head[p] = v;
        value[p] = v;
        newest = v
    }
}

inline mark_left() {
    d_step {
        assert(generation < 3);
        moved[A] = true
    }
}

active proctype writer() {
    byte g, next, place;
    bool left;

next_writer:
    if
    :: granted -> granted = false
    :: finished && !granted -> goto over
    fi;
look_up:
    g = generation;
    /* The take-over. */
    place = (g == 0 -> A : B);
    next = head[place] + 1;
    if
    :: g == 1 && next == 1 && MUTANT != 5 -> next = head[A] + 1
    :: else
    fi;
    left = false;
    if
    :: g == 1 ->
        left = moved[A];
        if
        :: left && MUTANT != 15 -> STEP(wake(A))
        :: else
        fi;
        left = !left || MUTANT == 9;
    :: else
    fi;
    if
    :: g != generation && MUTANT != 12 -> goto look_up
    :: else
    fi;
    do
    :: newest >= VERSIONS -> break
    :: newest < VERSIONS ->
        if
        :: true /* it hasn't looked */
        :: g != generation ->
            d_step {
                if
                :: g == 0 ->
                    assert(generation == 1); /* nobody ends a move for a live writer */
                    left = true;
                    place = B;
                    if
                    :: MUTANT == 5 -> next = 1
                    :: else
                    fi
                :: else
                fi;
                g = generation
            }
        fi;
        if
        :: MUTANT == 1 && left && place == B -> STEP(mark_left()); STEP(wake(A)); left = false
        :: else
        fi;
        STEP(publish_at(place, next));
        if
        :: left && place == B ->
            if
            :: MUTANT != 2 -> STEP(mark_left())
            :: else
            fi;
            if
            :: MUTANT != 3 -> STEP(wake(A))
            :: else
            fi;
            left = false
        :: else
        fi;
        STEP(wake(place));
        d_step {
            /* It has returned: nobody sleeps on something older. */
            assert(asleep == NOWHERE || forgotten || asleep == place && expected == next);
            next++
        }
    od;
    skip;
    d_step { held = false; g = 0; next = 0; left = false; place = 0 };
    goto next_writer;
over:
    skip
}

/* One of the manager's; it may die before each, and another starts again. */
#define MANAGE(what) \
    if \
    :: what \
    :: manager_crashes < MANAGER_CRASHES -> manager_crashes++; goto start \
    fi

inline carry() {
    if
    :: head[B] == 0 && head[A] != 0 ->
        if
        :: MUTANT == 7 -> MANAGE(head[B] = head[A])
        :: else
        fi;
        MANAGE(value[B] = value[A]);
        MANAGE(head[B] = value[B])
    :: else
    fi
}

inline format() {
    if
    :: MUTANT != 14 -> MANAGE(d_step { head[B] = 0; value[B] = 0 })
    :: else
    fi
}

/* Behind the flip: whoever sleeps in the old place looks the section up again. */
inline leave() {
    if
    :: MUTANT != 13 -> MANAGE(moved[A] = true); MANAGE(d_step { wake(A); forgotten = false })
    :: else -> forgotten = false
    fi
}

inline reuse() {
    MANAGE(d_step { head[A] = OTHER; value[A] = OTHER; moved[A] = false })
}

active proctype manager() {
start:
    do
    :: !held && newest < VERSIONS -> d_step { held = true; granted = true }
    :: generation == 0 ->
        format();
        MANAGE(generation = 1)
    :: generation == 0 && !held ->
        format();
        carry();
        MANAGE(d_step { generation = 2; forgotten = true });
        leave()
    :: generation == 1 ->
        if
        :: moved[A]
        :: !moved[A] && (!held || MUTANT == 6) -> carry()
        :: MUTANT == 10
        fi;
        if
        :: MUTANT == 11 -> reuse()
        :: else
        fi;
        MANAGE(d_step { generation = 2; forgotten = true });
        leave()
    :: generation == 2 ->
        MANAGE(d_step { generation = 3; head[A] = OTHER; value[A] = OTHER; moved[A] = false })
    :: generation == 3 && !held && newest == VERSIONS -> break
    od;
    assert(head[B] == newest);
    finished = true
}

inline place_of(g, p) {
    if
    :: g == 0 -> p = A
    :: g > 1 || MUTANT == 8 -> p = B
    :: else ->
        if
        :: head[B] == 0 -> p = A
        :: else -> p = B
        fi
    fi
}

/* Copies the newest value, and counts it if the generation still holds. */
inline read_once() {
    g = generation;
    place_of(g, p);
    h = head[p];
    v = value[p];
    d_step {
        if
        :: g == generation ->
            assert(v >= h && v <= newest);
            assert(h >= last);
            last = h
        :: else
        fi;
        g = 0; p = 0; h = 0; v = 0
    }
}

/* Sleeps until there is something else than `last`, or the section must be looked up again. */
inline sleep_once() {
    g = generation;
    place_of(g, p);
    d_step { h = head[p]; m = moved[p] };
    if
    :: h == last && (!m || MUTANT == 4) ->
        d_step {
            if
            :: head[p] == h && moved[p] == m -> asleep = p; expected = h
            :: else
            fi
        };
        asleep == NOWHERE || finished;
        d_step { asleep = NOWHERE; expected = 0 }
    :: else
    fi;
    d_step {
        if
        :: g == generation && h > last -> last = h
        :: else
        fi;
        g = 0; p = 0; h = 0; m = false
    }
}

/* One or the other: neither changes anything that the other could see. */
active proctype looker() {
    byte g, p, h, v, last;
    bool m;
    if
    :: true ->
        do
        :: last == VERSIONS -> break
        :: last < VERSIONS -> read_once()
        od
    :: true ->
        do
        :: last == VERSIONS -> break
        :: last < VERSIONS -> sleep_once()
        od
    fi
}
