#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# mutants.sh SIM KILL_PUBLISH: for each step of the protocols that can be taken out
# (libclient/core/mutant.h), finds out whether the simulator notices; and for those that show after
# a kill alone, whether the kill test does so as well.
sim=$1
kill_publish=$2
all=0
caught=0
swept=0
swept_caught=0
names=$(sed -n 's/^ *X(\([A-Z_]*\)).*/\1/p' "$(dirname "$0")/../../libclient/core/mutant.h")
output=$(mktemp) || exit 1
trap 'rm -f "$output"' EXIT

# Does PROGRAM with NAME taken out fail, and say why?
finds() {
    name=$1
    shift
    "$@" --mutant "$name" >"$output" 2>&1
    status=$?
    violation=$(grep -am 1 '^violation: ' "$output")
    [ "$status" -eq 1 ] && [ -n "$violation" ]
}

# Most are found soon, each in one of the worlds.
sim_finds() {
    case $1 in
        LANE_*) worlds=queue ;;
        SLOT_*) worlds=slots ;;
        *) worlds="snapshot move directory" ;;
    esac
    for n in 5000 50000 500000; do
        for world in $worlds; do
            schedules=$n
            [ "$world" != directory ] || schedules=$((n / 10))
            finds "$1" "$sim" --world "$world" --schedules "$schedules" && return
        done
    done
    return 1
}

for name in $names; do
    all=$((all + 1))
    if sim_finds "$name"; then
        caught=$((caught + 1))
        echo "$name: caught: ${violation#violation: }"
    else
        echo "$name: NOT caught (exit status $status)"
        cat "$output"
    fi
done

for name in HEAD_EARLY NOT_DIRTIED TAKES_CURRENT NOT_ZEROED SILENT_SUCCESSOR NO_SECOND_CHECK \
    FOLLOWS_AHEAD; do
    swept=$((swept + 1))
    if finds "$name" "$kill_publish" --points 40000; then
        swept_caught=$((swept_caught + 1))
        echo "$name: caught after a kill: ${violation#violation: }"
    elif [ "$status" -eq 77 ]; then
        swept=0
        echo "no kill tests: this process may not trace its children"
        break
    else
        echo "$name: NOT caught after a kill (exit status $status)"
    fi
done

echo "figure: mutants.all $all mutants"
echo "figure: mutants.caught $caught mutants"
echo "figure: mutants.swept_caught $swept_caught mutants"
[ "$all" -gt 0 ] && [ "$caught" -eq "$all" ] && [ "$swept_caught" -eq "$swept" ]
