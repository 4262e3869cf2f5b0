/* SPDX-License-Identifier: Apache-2.0
 *
 * A slot: two processes that grab it, put values, hand it on or release it, and may die between any
 * two of their accesses, to come again under their attachment's next epoch; and a reader.
 *
 * Who stores to the slot holds it.  What the head names is whole.  What the reader takes as a value
 * is one that was put, whole, and was put in the grab of the holder whom the reader is told, if
 * there is one who lives; and versions don't go back.
 *
 * Bounds: ROUNDS grabs in all, CRASHES deaths, READS; the first process alone hands on; values of
 * two words.  Sequentially consistent; the orders are the simulator's part.
 */
#ifndef MUTANT
#define MUTANT 0 /* of 12 */
#endif
#if MUTANT == 9 /* seen without deaths, when one comes twice and nothing is handed on */
#define CRASHES 0
#define OFFERS  0
#endif
#if MUTANT == 1 || MUTANT == 4 /* seen without deaths, and much sooner */
#define CRASHES 0
#endif
#ifndef ROUNDS
#define ROUNDS 3
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef OFFERS
#define OFFERS 1
#endif
#ifndef READS
#define READS 1
#endif

#define FREE    0
#define HELD    1
#define OFFERED 2
#define OWNER(who, epoch, state, empty) (((who) * 4 + (epoch)) * 8 + (state) * 2 + (empty))
#define WHO(o)   ((o) / 32)
#define EPOCH(o) ((o) / 8 % 4)
#define STATE(o) ((o) / 2 % 4)
#define EMPTY(o) ((o) % 2)

#define MOST 8 /* grabs, and versions */

short owner, ticket;
byte head, grabs, crashes, rounds; /* head: version * 2 + buffer */
byte seq[2], first[2], second[2];
byte epoch[3];

/* What only those who watch know. */
byte grab;
short had_by[MOST + 1]; /* a bit for each */
byte value_of[MOST + 1], put_in[MOST + 1];

#define ME    (me * 4 + e)
#define MINE  (STATE(owner) == HELD && WHO(owner) == me && EPOCH(owner) == e)
#define VALUE (next * 16 + ME)

/* One access; it may die before each. */
#define STEP(what) \
    if \
    :: what \
    :: crashes < CRASHES -> crashes++; goto dead \
    fi

#define STORE(what) STEP(d_step { assert(MINE); what })

inline swap(from, to) {
    atomic {
        done = owner == from || MUTANT == 5;
        if
        :: done -> owner = to
        :: else
        fi
    }
}

inline take(from, to) {
    atomic {
        swap(from, to);
        if
        :: done -> had_by[grab] = had_by[grab] | 1 << ME
        :: else
        fi
    }
}

inline grab_it(from, to) {
    atomic {
        swap(from, to);
        if
        :: done -> grab++; had_by[grab] = 1 << ME
        :: else
        fi
    }
}

inline forget() {
    next = 0; index = 0; word = 0; from = 0; to = 0; done = false; gone = false; fresh = false
}

inline put_value() {
    d_step {
        index = (MUTANT == 3 -> head % 2 : 1 - head % 2);
        next = (MUTANT == 12 && fresh -> 1 : head / 2 + 1)
    }
    if
    :: MUTANT == 7 && EMPTY(word) -> STEP(d_step { owner = word - 1; word = word - 1 })
    :: else
    fi;
    if
    :: MUTANT != 1 -> STORE(seq[index] = 2 * next - 1)
    :: else
    fi;
    if
    :: MUTANT == 2 -> STORE(head = next * 2 + index; value_of[next] = VALUE; put_in[next] = grab)
    :: else
    fi;
    STORE(first[index] = VALUE);
    STORE(second[index] = VALUE);
    STORE(seq[index] = 2 * next);
    STORE(head = next * 2 + index; value_of[next] = VALUE; put_in[next] = grab);
    fresh = false;
    if
    :: EMPTY(word) -> STEP(d_step { assert(owner == word); owner = word - 1; word = word - 1 })
    :: else
    fi
}

proctype holder(byte me) {
    byte e, next, index;
    short word, to, from;
    bool done, fresh, gone;
begin:
    e = epoch[me];
    do
    :: rounds >= ROUNDS -> break
    :: rounds < ROUNDS && ticket != 0 && crashes < CRASHES && me == 1 -> crashes++; goto dead
    :: atomic { /* takes what is handed on */
           rounds < ROUNDS && ticket != 0 -> rounds++; from = ticket; ticket = 0; done = false
       };
        if
        :: MUTANT == 11 -> from = owner
        :: else
        fi;
        word = OWNER(me, e, HELD, EMPTY(from));
        STEP(take(from, word));
        goto held
    :: atomic { rounds < ROUNDS -> rounds++ };
        d_step { done = false; from = owner };
        d_step {
            gone = STATE(from) == FREE || EPOCH(from) != epoch[WHO(from)] || MUTANT == 10;
            word = OWNER(me, e, HELD, (MUTANT == 6 -> 0 : 1))
        }
        if
        :: gone ->
            STEP(grab_it(from, word))
        :: else
        fi;
        if
        :: done -> STORE(grabs++); fresh = true
        :: else
        fi;
held:
        if
        :: done ->
            if
            :: put_value()
            :: me == 1 -> skip
            fi;
            if
            :: STEP(d_step { assert(owner == word); owner = EMPTY(word) })
            :: OFFERS && me == 1 ->
                to = OWNER(me, e, OFFERED, EMPTY(word));
                STEP(d_step { assert(owner == word); owner = to });
                ticket = to
            :: skip /* keeps it, and ends or goes on */
            fi
        :: else
        fi;
        d_step { forget() }
    od;
    goto over;
dead:
    skip;
    d_step {
        forget();
        epoch[me]++ /* the manager, who has asked the lock */
    }
    goto begin;
over:
    skip
}

active proctype reader() {
    byte g, h, a, b, reads, last;
    short o;
    bool lives;
    do
    :: reads == READS -> break
    :: reads < READS ->
        d_step {
            reads++;
            g = grabs;
            /* What the head names is whole at any time. */
            h = head % 2;
            assert(head / 2 == 0 || seq[h] == head / 2 * 2 && first[h] == value_of[head / 2] &&
                                    second[h] == value_of[head / 2]);
            h = 0
        }
        o = owner;
        lives = STATE(o) != FREE && EPOCH(o) == epoch[WHO(o)];
        if
        :: !EMPTY(o) ->
            h = head;
            if
            :: h / 2 > 0 && seq[h % 2] == h / 2 * 2 ->
                a = first[h % 2];
                b = second[h % 2];
                if
                :: seq[h % 2] == h / 2 * 2 || MUTANT == 4 ->
                    if
                    :: owner == o || MUTANT == 8 ->
                        if
                        :: grabs == g || MUTANT == 8 || MUTANT == 9 ->
                            d_step {
                                assert(a == b && a == value_of[h / 2]);
                                assert(h / 2 >= last);
                                assert(!lives || (had_by[put_in[h / 2]] >> (o / 8) & 1) == 1);
                                last = h / 2
                            }
                        :: else
                        fi
                    :: else
                    fi
                :: else
                fi
            :: else
            fi
        :: else
        fi;
        d_step { g = 0; o = 0; h = 0; a = 0; b = 0; lives = false }
    od
}

init {
    atomic { run holder(1); run holder(2) }
}
