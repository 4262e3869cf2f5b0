/* SPDX-License-Identifier: Apache-2.0
 *
 * Steps that the tests take out of the protocols, one at a time, to prove that they would notice:
 * tests/crash and tests/model compile these sources again with SHM_MUTANTS, and say at run time
 * which it is.  In every other build MUTANT() is the constant 0 and nothing is left of it.
 *
 * Not here, as taking them out alone changes nothing: the release store of a buffer's even sequence
 * and the acquire load that pairs with it (the head's order covers both), a reader's first look at
 * the sequence (the second would do), and in image.c the fences behind the idle directory's head
 * and before its last store (the first fence and the flip cover them), and the order of the store
 * by which a carried value is named (its sequence's covers it); of slots the same of sequence and
 * head; and a reader's look at how often a slot was grabbed, which takes too much luck to miss
 * (slots.pml has it).  They are kept because each argument rests on code in another place.
 */
#ifndef SHM_CORE_MUTANT_H
#define SHM_CORE_MUTANT_H

#define SHM_MUTANTS_ALL(X)                                                                         \
    /* the writer */                                                                               \
    X(HEAD_EARLY)        /* the head names a buffer that isn't filled yet */                       \
    X(NOT_DIRTIED)       /* a buffer is filled under the sequence of its old value */              \
    X(DIRTY_UNFENCED)    /* no fence between the odd sequence and the value */                     \
    X(TAKES_CURRENT)     /* the writer fills the buffer that the head names */                     \
    X(HEAD_RELAXED)      /* the head's store orders nothing */                                     \
    X(HEAD_NO_BARRIER)   /* nobody sees to a full barrier between head and doorbell */             \
    X(BELL_CLEARED_LATE) /* the doorbell is cleared behind the head's store */                     \
    X(BELL_ONE_LOOK)     /* and not looked at again there */                                       \
    X(BELL_LOOK_LOST)    /* what the first look found is forgotten */                              \
    X(NOT_WOKEN)         /* who rang isn't woken */                                                \
    X(SILENT_SUCCESSOR)  /* a successor's first publish doesn't wake */                            \
    X(NOT_ZEROED)        /* it leaves the dead writer's unpublished value */                       \
    X(FORGETS_CURRENT)   /* it doesn't know which buffer the head names */                         \
    X(REUSES_VERSION)    /* it counts from the head's version, not from the next */                \
    /* the readers */                                                                              \
    X(NEWEST_RELAXED)  /* the head's load orders nothing */                                        \
    X(FOLLOW_RELAXED)  /* a follower's neither */                                                  \
    X(FOLLOWS_AHEAD)   /* a follower looks for a version beyond the head's */                      \
    X(ANY_EVEN)        /* any even sequence will do */                                             \
    X(NO_SECOND_CHECK) /* a reader doesn't look at the sequence again */                           \
    X(CHECK_UNFENCED)  /* no fence between the value and that look */                              \
    /* the sleepers */                                                                             \
    X(RINGS_UNORDERED) /* no barrier between setting the doorbell and looking at the head */       \
    X(TRUSTS_UNHEARD)  /* who couldn't have it relies on being woken all the same */               \
    X(WAKES_BLINDLY)   /* who wakes up doesn't look whether there is something newer */            \
    X(NEVER_PLAIN)     /* empty wake-ups aren't counted */                                         \
    X(SLEEPS_UNBOUND)  /* a sleep lasts to the deadline */                                         \
    /* a move */                                                                                   \
    X(NEW_AT_ZERO)        /* the new place counts before anything was published there */           \
    X(COUNTS_ANEW)        /* the writer counts from 1 there */                                     \
    X(MOVED_EARLY)        /* the old place is marked as left before there is a value in the new */ \
    X(MOVED_RELAXED)      /* the mark's store orders nothing */                                    \
    X(LEFT_RELAXED)       /* nor does its load */                                                  \
    X(LEFT_UNMARKED)      /* sleepers there are woken, and it isn't marked */                      \
    X(LEFT_UNWOKEN)       /* it is marked, and they aren't woken */                                \
    X(LEAVES_UNMARKED)    /* a successor doesn't mark what its predecessor left */                 \
    X(LEAVES_ASLEEP)      /* nor wakes whom that one didn't */                                     \
    X(MARKS_TWICE)        /* it marks what was marked, and may be somebody else's */               \
    X(TAKEN_UNCHECKED)    /* nor looks at the generation again behind its take-over */             \
    X(FOLLOWS_NEW_ONLY)   /* a follower doesn't look in the old place */                           \
    X(FOLLOWS_LEFT_AHEAD) /* a follower looks beyond the head of the old place */                  \
    X(SLEEPS_ON_LEFT)     /* a sleeper doesn't look at the mark */                                 \
    X(STAYS_WHERE_LEFT)   /* it doesn't look the section up again for it */                        \
    X(CARRY_HEAD_EARLY)   /* the manager names a value before it has brought it */                 \
    X(CARRIES_HELD)       /* it does so while somebody may publish */                              \
    X(FINISHES_EARLY)     /* it takes the old place away before it was left */                     \
    X(REUSE_UNFENCED) /* no fence between the flip and new bytes in the space that it gave up */   \
    X(REUSES_EARLY)   /* and gives it to others before all can know */                             \
    /* the directory */                                                                            \
    X(REVEAL_RELAXED)     /* the magic's store orders nothing */                                   \
    X(OPEN_RELAXED)       /* nor does its load */                                                  \
    X(FILL_UNFENCED)      /* no fence before the idle directory is filled */                       \
    X(FILLS_IN_FORCE)     /* it isn't the idle one */                                              \
    X(FLIP_EARLY)         /* the generation is stored before the directory is filled */            \
    X(FLIP_RELAXED)       /* its store orders nothing */                                           \
    X(GENERATION_RELAXED) /* nor does its load */                                                  \
    X(FIND_UNFENCED)      /* no fence between a copy and the second look at the generation */      \
    X(FIND_UNCHECKED)     /* which is left out */                                                  \
    X(ADOPTS_HALF)        /* a new manager doesn't know what the idle directory holds */           \
    /* a queue's sender */                                                                         \
    X(LANE_SENT_EARLY)         /* a message is committed before its record is written */           \
    X(LANE_SENT_RELAXED)       /* the commit's store orders nothing */                             \
    X(LANE_SENT_NO_BARRIER)    /* no full barrier between commit and doorbell */                   \
    X(LANE_RECEIVER_NOT_WOKEN) /* a receiver who rang isn't woken */                               \
    X(LANE_RING_UNCOUNTED)     /* nor finds another number to sleep on */                          \
    X(LANE_RECLAIMS_TAKEN)     /* a record is used again while somebody has it */                  \
    X(LANE_REUSED_UNFENCED)    /* no fence between the look at a claim and the next use */         \
    X(LANE_MOVING_UNFENCED)    /* no full barrier between saying what is moved and that look */    \
    X(LANE_MOVES_TAKEN)        /* what somebody has is appended again */                           \
    X(LANE_MOVED_STAYS)        /* the old record isn't marked as gone */                           \
    X(LANE_WAITS_UNSAID)       /* a sender sleeps for room without saying so */                    \
    X(LANE_WAITS_UNFENCED)     /* no full barrier between saying so and looking again */           \
    X(LANE_MOVE_NOT_ENDED)     /* a successor leaves the old one of what was appended again */     \
    X(LANE_ADOPTS_NOTHING)     /* it takes all places for free */                                  \
    X(LANE_SUCCESSOR_SKIPS)    /* it leaves a number out */                                        \
    X(LANE_SILENT_TAKE_OVER)   /* it doesn't ring for what its predecessor committed */            \
    /* a receiver */                                                                               \
    X(LANE_LOOK_RELAXED)         /* the load of the commit word orders nothing */                  \
    X(LANE_CLAIM_ANY_SEQ)        /* a claim counts whichever record it is of */                    \
    X(LANE_TAKES_TAKEN)          /* it takes what somebody has */                                  \
    X(LANE_TAKES_UNSWAPPED)      /* it stores its claim without comparing */                       \
    X(LANE_TAKES_BLINDLY)        /* it doesn't look whether the record was moved meanwhile */      \
    X(LANE_MOVED_TWICE)          /* it takes both of what a dead sender appended again */          \
    X(LANE_RECORD_COPY_UNFENCED) /* no fence between a record's copy and the next look */          \
    X(LANE_WALKS_PART)           /* it doesn't look for what was appended again */                 \
    X(LANE_WALKS_ONCE)           /* nor again, when that was done meanwhile */                     \
    X(LANE_NOT_RUNG)             /* it sleeps without ringing */                                   \
    X(LANE_SENDER_NOT_KICKED)    /* it doesn't wake a sender who waits for room */                 \
    /* worker records */                                                                           \
    X(RECORD_UNFENCED)      /* no fence between a word and the fields of the next state */         \
    X(RECORD_WORD_EARLY)    /* the word is stored before its fields */                             \
    X(RECORD_WORD_RELAXED)  /* its store orders nothing */                                         \
    X(RECORD_READ_RELAXED)  /* nor does its load */                                                \
    X(RECORD_READ_UNFENCED) /* no fence between the copy and the second look at the word */        \
    X(RECORD_UNCHECKED)     /* which is left out */                                                \
    /* slots */                                                                                    \
    X(SLOT_TAKES_CURRENT)    /* the holder fills the buffer that the head names */                 \
    X(SLOT_NOT_DIRTIED)      /* a buffer is filled under the sequence of its old value */          \
    X(SLOT_DIRTY_UNFENCED)   /* no fence between the odd sequence and the value */                 \
    X(SLOT_HEAD_EARLY)       /* the head names a buffer that isn't filled yet */                   \
    X(SLOT_FILLED_EARLY)     /* a slot isn't empty any more before its first value is there */     \
    X(SLOT_CHECK_UNFENCED)   /* no fence between the value and the second look at its sequence */  \
    X(SLOT_NO_SECOND_CHECK)  /* which is left out */                                               \
    X(SLOT_HOLDER_UNCHECKED) /* a reader doesn't look at the owner again */                        \
    X(SLOT_OWNER_RELAXED)    /* an owner word is newer than what is known of whom it names */      \
    X(SLOT_GRAB_PLAIN)       /* owner words are looked at and then stored */                       \
    X(SLOT_GRABS_LIVE)       /* what somebody holds is free */                                     \
    X(SLOT_GRABS_STAYING)    /* so is what stays */                                                \
    X(SLOT_GRABBED_FULL)     /* a slot isn't empty behind a grab */                                \
    X(SLOT_FORGETS_HEAD)     /* its holder counts from 1 */                                        \
    X(SLOT_TAKEN_BLINDLY)    /* who takes a slot doesn't mind what the ticket says */

#define SHM_MUTANT_ENUM(name) MUTANT_##name,
#define SHM_MUTANT_NAME(name) #name,

enum mutant { MUTANT_NONE, SHM_MUTANTS_ALL(SHM_MUTANT_ENUM) };

#ifdef SHM_MUTANTS
extern enum mutant shm_mutant;
#define MUTANT(name) (shm_mutant == MUTANT_##name)
#else
#define MUTANT(name) 0
#endif

/* A step that a mutant lacks, and a load and a store whose order it lacks. */
#define STEP(name, call) (MUTANT(name) ? (void)0 : (void)(call))
#define ACQUIRE64(name, from)                                                                      \
    (MUTANT(name) ? shared_load_relaxed64(from) : shared_load_acquire64(from))
#define RELEASE64(name, to, value)                                                                 \
    (MUTANT(name) ? shared_store_relaxed64(to, value) : shared_store_release64(to, value))

#endif
