/* SPDX-License-Identifier: Apache-2.0
 *
 * The snapshot protocol: a writer that may die between any two of its accesses, its successors, a
 * reader that takes the newest and a follower that takes one version after the other.
 *
 * Bounds: VERSIONS publishes, CRASHES deaths, BUFS buffers, values of two words.  Sequentially
 * consistent; the orders are the simulator's and relacy's part.  The hint is here as what it can do
 * at most, whoever wrote it: the second oldest buffer is taken and not the oldest.
 */
#ifndef MUTANT
#define MUTANT 0 /* of 8 */
#endif
#ifndef BUFS
#define BUFS 3
#endif
#ifndef VERSIONS
#define VERSIONS 3
#endif
#ifndef CRASHES
#define CRASHES 1
#endif

#define KEPT (BUFS - 2) /* versions before the newest that can be had, with a hint */
#define NONE 15
#define WORD(v) ((v) * 4 + epoch)

/* Words of a value say the version and the writer. */
byte seq[BUFS], first[BUFS], second[BUFS];
byte head = BUFS - 1; /* version * 8 + buffer: one word */
byte who[VERSIONS + 1];
byte epoch, crashes;

#define VERSION(h) ((h) / 8)
#define BUFFER(h)  ((h) % 8)

/* One store of the writer's; it may die before each. */
#define STORE(what) \
    if \
    :: what \
    :: crashes < CRASHES -> crashes++; goto take_over \
    fi

inline publish_head() {
    d_step { head = (newest + 1) * 8 + index; who[newest + 1] = epoch }
}

active proctype writer() {
    byte newest, index, i, oldest, next;
    byte version[BUFS]; /* that a buffer holds */

take_over:
    skip;
    d_step {
        epoch++;
        newest = VERSION(head);
        i = 0
    }
    do
    :: i == BUFS -> break
    :: i < BUFS ->
        if
        :: seq[i] > 2 * newest && MUTANT != 4 -> STORE(seq[i] = 0)
        :: else
        fi;
        d_step { version[i] = seq[i] / 2; i++ }
    od;
    do
    :: newest == VERSIONS -> break
    :: newest < VERSIONS ->
        d_step {
            oldest = NONE;
            next = NONE;
            i = 0;
            do
            :: i == BUFS -> break
            :: i < BUFS && i == BUFFER(head) -> i++
            :: i < BUFS && i != BUFFER(head) ->
                if
                :: oldest == NONE || version[i] < version[oldest] -> next = oldest; oldest = i
                :: else ->
                    if
                    :: next == NONE || version[i] < version[next] -> next = i
                    :: else
                    fi
                fi;
                i++
            od;
            i = 0
        }
        if
        :: index = oldest
        :: next != NONE -> index = next
        :: MUTANT == 3 -> index = BUFFER(head)
        fi;
        if
        :: MUTANT != 1 -> STORE(seq[index] = 2 * newest + 1)
        :: else
        fi;
        version[index] = 0;
        if
        :: MUTANT == 2 -> STORE(publish_head())
        :: else
        fi;
        STORE(first[index] = WORD(newest + 1));
        STORE(second[index] = WORD(newest + 1));
        if
        :: MUTANT == 8 -> STORE(publish_head())
        :: else
        fi;
        STORE(seq[index] = 2 * newest + 2);
        STORE(publish_head());
        d_step { newest++; version[index] = newest }
    od
}

#define EVEN(s) ((s) % 2 == 0)
#define RIGHT(s, v) (MUTANT == 6 && EVEN(s) || MUTANT != 6 && (s) == 2 * (v))

inline copy(v, at) {
    got = false;
    if
    :: RIGHT(seq[at], v) ->
        a = first[at];
        b = second[at];
        if
        :: RIGHT(seq[at], v) || MUTANT == 5 -> got = true
        :: else
        fi
    :: else
    fi
}

active proctype reader() {
    byte h, a, b, last;
    bool got;
    do
    :: h = head;
       if
       :: VERSION(h) == 0
       :: else ->
            copy(VERSION(h), BUFFER(h));
            d_step {
                if
                :: got ->
                    assert(a == b && a == VERSION(h) * 4 + who[VERSION(h)]);
                    assert(VERSION(h) >= last);
                    last = VERSION(h)
                :: else
                fi;
                h = 0; a = 0; b = 0; got = false
            }
       fi;
       if
       :: last == VERSIONS -> break
       :: last < VERSIONS
       fi
    od
}

active proctype follower() {
    byte h, a, b, i, u = 1;
    bool got;
    do
    :: u > VERSIONS -> break
    :: u <= VERSIONS ->
        h = head;
        if
        :: u > VERSION(h) && MUTANT != 7
        :: else ->
            i = 0;
            do
            :: i < BUFS && seq[i] != 2 * u -> i++
            :: i < BUFS && seq[i] == 2 * u -> break
            :: i == BUFS -> break
            od;
            got = false;
            if
            :: i < BUFS -> copy(u, i)
            :: else
            fi;
            d_step {
                if
                :: got ->
                    assert(a == b && a == u * 4 + who[u]);
                    u++
                :: !got && u <= VERSION(h) -> /* overwritten, and nothing else */
                    assert(u + KEPT <= VERSION(head));
                    u++
                :: else
                fi;
                a = 0; b = 0; i = 0; got = false
            }
        fi;
        h = 0
    od
}
