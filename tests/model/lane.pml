/* SPDX-License-Identifier: Apache-2.0
 *
 * A queue's lane: a sender that may die between any two of its accesses, with a successor or for
 * good, and two receivers that compete, may give back what they took, and may die over it.  Nobody
 * wants messages 1 and 2 until all others were received, but for one receiver once, so that the
 * sender has to append them again to get room.
 *
 * Each message that was committed is received once; none is taken while an older one that its
 * receiver wants was never taken by anybody; no record is used again before nobody can take it;
 * what a successor finds is what it could have left itself; and nobody waits for ever, which would
 * be an invalid end state.
 *
 * Bounds: MESSAGES through a ring of RECORDS, CRASHES deaths of the sender and DEATHS of receivers.
 * Sequentially consistent; the orders are the simulator's and relacy's part, when sleepers ring is
 * queue_bell.pml's.
 */
#ifndef MUTANT
#define MUTANT 0 /* of 18 */
#endif
#if MUTANT == 12 || MUTANT == 16 /* seen without deaths, with more messages than records */
#define MESSAGES 5
#define CRASHES  0
#define DEATHS   0
#endif
#ifndef MESSAGES
#define MESSAGES 4
#endif
#ifndef RECORDS
#define RECORDS 4
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef DEATHS
#define DEATHS 1
#endif

#define AT(p)      ((p) % RECORDS)
#define GONE(p)    (128 + (p)) /* the sequence of a record that was appended again */
#define FIRST      (sent > RECORDS -> sent - RECORDS + 1 : 1)
#define NOBODY     255

/* A claim is one word: whose position, what became of it, and who says so. */
#define NONE  0
#define TAKEN 1
#define DONE  2
#define CLAIM(p, state, who) ((p) * 32 + (state) * 8 + (who))
#define POSITION(c) ((c) / 32)
#define STATE(c)    ((c) / 8 % 4)
#define WHO(c)      ((c) % 8)
#define ME          (me * 4 + epoch[me])
#define DEAD(c)     (epoch[WHO(c) / 4] != WHO(c) % 4)

/* Can a claim that was `c` be made one for position p? */
#define FREE(c, p) \
    (POSITION(c) < (p) || POSITION(c) == (p) && \
     (STATE(c) == NONE || STATE(c) == TAKEN && DEAD(c) && MUTANT != 3))
#define IS_DONE(c, p) (POSITION(c) == (p) && STATE(c) == DONE)

byte sent, moving;
byte seq[RECORDS], id[RECORDS];
short claim[RECORDS];
byte epoch[2];
bool alive;

/* What no process knows. */
byte newest, received, crashes, deaths;
bool over; /* no sender comes any more */
bool got[MESSAGES + 1], touched[MESSAGES + 1], early;

#define OTHERS    (received - got[1] - got[2] == newest - (newest > 2 -> 2 : newest) && \
                   (newest == MESSAGES || over))
#define WANTED(i) ((i) > 2 || any)

/* ---- the sender */

/* One access; it may die before each. */
#define STEP(what) \
    if \
    :: what \
    :: crashes < CRASHES -> \
        d_step { crashes++; p = 0; reclaimed = 0; alive = false }; \
        if \
        :: goto take_over \
        :: goto finished \
        fi \
    fi

/* Nobody needs what stood there any more. */
#define WRITE_SEQ(n) d_step { \
        assert(seq[AT(n)] == 0 || seq[AT(n)] == n || seq[AT(n)] > 128 || \
               IS_DONE(claim[AT(n)], seq[AT(n)])); \
        seq[AT(n)] = n \
    }

#define HELD     (sent + 1 - reclaimed)
#define FULL     (HELD + 1 + (MUTANT != 12) > RECORDS)
#define PAST(p)  (MUTANT == 16 && (p) <= sent || IS_DONE(claim[AT(p)], p))
#define IS_DONE_AT(p) ((p) <= sent && IS_DONE(claim[AT(p)], p))
#define WORTH_IT (IS_DONE_AT(reclaimed + 1) || IS_DONE_AT(reclaimed + 2) || \
                  IS_DONE_AT(reclaimed + 3))

active proctype sender() {
    byte p, reclaimed;

take_over:
    alive = true;
    /* Was one being appended again?  If it was committed, the one before goes. */
    if
    :: moving != 0 ->
        if
        :: sent > moving && id[AT(sent)] == id[AT(moving)] && MUTANT != 5 ->
            STEP(seq[AT(moving)] = GONE(moving))
        :: else
        fi;
        STEP(moving = 0)
    :: else
    fi;
    skip;
    d_step {
        p = FIRST;
        do
        :: p > sent -> break
        :: p <= sent && reclaimed == 0 && (IS_DONE(claim[AT(p)], p) || seq[AT(p)] == GONE(p) ||
                                           seq[AT(p)] == p + RECORDS && MUTANT != 13) -> p++
        :: else ->
            assert(seq[AT(p)] == p || IS_DONE(claim[AT(p)], p));
            reclaimed = (reclaimed == 0 -> p : reclaimed);
            p++
        od;
        reclaimed = (reclaimed == 0 -> sent + 1 : reclaimed);
        p = 0
    }
    do
    :: newest == MESSAGES -> break
    :: newest < MESSAGES && !FULL ->
        p = sent + 1;
        STEP(WRITE_SEQ(p));
        if
        :: MUTANT == 18 -> STEP(d_step { sent = p; newest++ })
        :: else
        fi;
        STEP(id[AT(p)] = newest + (MUTANT == 18 -> 0 : 1));
        if
        :: MUTANT != 18 -> STEP(d_step { sent = p; newest++ })
        :: else
        fi;
        p = 0
    :: newest < MESSAGES && reclaimed <= sent && PAST(reclaimed) -> reclaimed++
    :: newest < MESSAGES && FULL && !PAST(reclaimed) && WORTH_IT && MUTANT != 11 &&
       FREE(claim[AT(reclaimed)], reclaimed) ->
        /* Stores first, and then looks for the other's store. */
        STEP(moving = reclaimed);
        if
        :: FREE(claim[AT(reclaimed)], reclaimed) || MUTANT == 6 ->
            p = sent + 1;
            if
            :: MUTANT == 7 -> STEP(seq[AT(reclaimed)] = GONE(reclaimed))
            :: else
            fi;
            STEP(WRITE_SEQ(p));
            STEP(id[AT(p)] = id[AT(reclaimed)]);
            STEP(sent = p);
            if
            :: MUTANT == 8 -> STEP(moving = 0)
            :: else
            fi;
            if
            :: MUTANT != 7 -> STEP(seq[AT(reclaimed)] = GONE(reclaimed))
            :: else
            fi;
            d_step { reclaimed++; p = 0 }
        :: else
        fi;
        STEP(moving = 0)
    od;
finished:
    over = true
}

/* ---- a receiver */

/* The record that is being appended again can't be taken, but for one whose sender died before he
 * had done so. */
#define APPENDED(p) (sent > (p) && id[AT(sent)] == id[AT(p)] && seq[AT(sent)] == sent)
#define CANDIDATE(p) (seq[AT(p)] == (p) && !(moving == (p) && APPENDED(p)))

/* As it is now, without steps between: what a sleeper is woken for. */
#define TAKABLE(p) \
    ((p) <= sent && CANDIDATE(p) && FREE(claim[AT(p)], p) && (moving != (p) || !alive) && \
     (id[AT(p)] > 2 || OTHERS))

/* The oldest that it wants and nobody has.  Taken by somebody, or being appended again: which of
 * the two, is looked at again. */
inline look_at_all() {
    do
    :: p <= (MUTANT == 9 -> last : sent) ->
        d_step { c = claim[AT(p)]; i = id[AT(p)]; take = CANDIDATE(p) };
        if
        :: MUTANT == 15 -> c = claim[AT(p)]
        :: else
        fi;
        if
        :: POSITION(c) == p && STATE(c) == TAKEN && WANTED(i) && moving == p && alive ->
            p = NOBODY; best = 0
        :: else ->
            d_step {
                if
                :: take && WANTED(i) &&
                   (FREE(c, p) || MUTANT == 15 && POSITION(c) != p ||
                    MUTANT == 4 && STATE(c) == TAKEN && POSITION(c) == p) &&
                   i < best_id && !(MUTANT == 10 && best != 0) ->
                    best = p; best_id = i; best_claim = c
                :: else
                fi;
                p++; i = 0; c = 0; take = false
            }
        fi
    :: else -> break
    od
}

proctype receiver(byte me) {
    byte p, last, best, best_id, i, newest_taken, newest_of_any;
    short c, best_claim;
    bool any, take;

look:
    if
    :: over && received == newest -> goto finished
    :: TAKABLE(FIRST) || TAKABLE(FIRST + 1) || TAKABLE(FIRST + 2) || TAKABLE(FIRST + 3) ->
        any = OTHERS
    :: me == 0 && sent > 0 && !early && received < newest -> d_step { early = true; any = true }
    fi;
    d_step { best_id = NOBODY; p = FIRST; last = (MUTANT == 9 -> sent : 0) };
    if
    :: me == 0 -> look_at_all()
    :: me == 1 -> atomic { look_at_all() } /* one of them who does it slowly is enough */
    fi;
    skip;
    p = 0; last = 0;
    if
    :: best == 0 -> d_step { best_id = 0; best_claim = 0; any = false; i = 0; c = 0; take = false }; goto look
    :: else
    fi;
    atomic {
        if
        :: MUTANT == 1 -> best_claim = claim[AT(best)]
        :: else
        fi;
        if
        :: claim[AT(best)] == best_claim || MUTANT == 2 -> claim[AT(best)] = CLAIM(best, TAKEN, ME)
        :: else -> d_step { best = 0; best_id = 0; best_claim = 0; any = false }; goto look
        fi;
        best_claim = 0
    }
    /* Stored; now what the sender stored.  Who waits for it keeps the claim: would he give it back,
     * somebody else might have passed over the record by then. */
    do
    :: moving != best || MUTANT == 17 -> take = true; break
    :: moving == best && !alive -> take = !APPENDED(best); break
    :: moving == best && alive && MUTANT == 14 -> break
    od;
    if
    :: take -> take = seq[AT(best)] == best
    :: else
    fi;
    if
    :: !take ->
        d_step {
            if
            :: claim[AT(best)] == CLAIM(best, TAKEN, ME) -> claim[AT(best)] = CLAIM(best, NONE, ME)
            :: else
            fi;
            best = 0; best_id = 0; any = false
        }
        goto look
    :: else
    fi;
    skip;
    d_step {
        assert(id[AT(best)] == best_id);
        /* Unless somebody had it before, it comes in its turn. */
        assert(touched[best_id] || best_id > (best_id > 2 -> newest_taken : newest_of_any));
        touched[best_id] = true;
        newest_taken = (best_id > newest_taken -> best_id : newest_taken);
        newest_of_any = (any && best_id > newest_of_any -> best_id : newest_of_any);
        take = false
    }
    if
    :: atomic {
            assert(claim[AT(best)] == CLAIM(best, TAKEN, ME));
            assert(seq[AT(best)] == best && id[AT(best)] == best_id);
            claim[AT(best)] = CLAIM(best, DONE, ME);
            assert(!got[best_id]);
            got[best_id] = true;
            received++
        }
    :: me == 0 && deaths < DEATHS -> d_step { deaths++; epoch[me]++ }
    :: me == 1 && deaths < DEATHS -> d_step { deaths++; claim[AT(best)] = CLAIM(best, NONE, ME) }
    fi;
    d_step { best = 0; best_id = 0; any = false };
    goto look;
finished:
    skip
}

init {
    atomic { run receiver(0); run receiver(1) }
}
