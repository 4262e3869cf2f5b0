#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# wrong.sh DIRECTORY SHM-MANAGER: each kill sweep with something wrong in what it sweeps, or with a
# step of libclient/core/mutant.h taken out.  It must notice.  (kill_publish's turn is in
# tests/model/mutants.sh.)
programs=$1
manager=$2
all=0
caught=0
output=$(mktemp) || exit 1
trap 'rm -f "$output"' EXIT

# must_notice SWEEP PROGRAM ARGUMENT...
must_notice() {
    sweep=$1
    program=$2
    shift 2
    all=$((all + 1))
    "$programs/$program" "$@" >"$output" 2>&1
    status=$?
    if [ "$status" -eq 77 ]; then
        cat "$output"
        exit 77
    fi
    violation=$(grep -am 1 "^violation: $sweep" "$output")
    if [ "$status" -eq 1 ] && [ -n "$violation" ]; then
        caught=$((caught + 1))
        echo "$program $*: caught: ${violation#violation: }"
    else
        echo "$program $*: NOT caught (exit status $status)"
        cat "$output"
    fi
}

must_notice flip kill_flip_mutants --mutant FLIP_EARLY
must_notice flip kill_flip_mutants --mutant FILLS_IN_FORCE
must_notice flip kill_flip_mutants --mutant ADOPTS_HALF
for mutant in NEW_AT_ZERO COUNTS_ANEW MOVED_EARLY LEAVES_UNMARKED MARKS_TWICE FOLLOWS_LEFT_AHEAD \
    CARRY_HEAD_EARLY; do
    must_notice move kill_move_mutants --mutant $mutant
done
must_notice queue kill_queue --wrong sends_twice
must_notice queue kill_queue --wrong drops
for mutant in SENT_EARLY RECLAIMS_TAKEN MOVES_TAKEN MOVED_STAYS MOVE_NOT_ENDED ADOPTS_NOTHING \
    SUCCESSOR_SKIPS SILENT_TAKE_OVER CLAIM_ANY_SEQ TAKES_TAKEN MOVED_TWICE WALKS_PART; do
    must_notice queue kill_queue_mutants --seed 3 --mutant LANE_$mutant # one that is soon there
done
for mutant in SLOT_TAKES_CURRENT SLOT_HEAD_EARLY SLOT_FILLED_EARLY SLOT_GRABBED_FULL \
    SLOT_FORGETS_HEAD SLOT_GRABS_LIVE SLOT_GRABS_STAYING; do
    must_notice slots kill_slots_mutants --mutant $mutant
done
must_notice grant kill_grant_mutants grant --mutant RECORD_WORD_EARLY
must_notice grant kill_grant grant --wrong unlocked
must_notice anonymous kill_grant_mutants anonymous --mutant RECORD_WORD_EARLY
must_notice anonymous kill_grant anonymous --wrong unlocked
must_notice anonymous kill_grant anonymous --wrong stuck
must_notice handover kill_grant handover --wrong unlocked
must_notice handover kill_grant handover --wrong stuck
must_notice state kill_state --wrong unsafe
must_notice adopt kill_adopt --wrong forgetful
must_notice attach kill_attach "$manager" --wrong hands_on
must_notice private kill_private --wrong unlocked

echo "figure: kill_wrongs.all $all variants"
echo "figure: kill_wrongs.caught $caught variants"
[ "$caught" -eq "$all" ]
