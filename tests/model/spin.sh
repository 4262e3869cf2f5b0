#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# spin.sh: searches all states of each model here, which must have no error, and of each of its
# mutants, which must have one.  How much of the world is in a model, its own first lines say.
command -v spin >/dev/null || {
    echo "skipped: no spin here; apt-get install spin"
    exit 77
}
here=$(cd "$(dirname "$0")" && pwd) || exit 1
directory=$(mktemp -d) || exit 1
trap 'rm -rf "$directory"' EXIT
cd "$directory" || exit 1
all=0
caught=0
wrong=0

# Searches the model named $3 with the definitions that follow; its report is in ./report.  Most
# mutants are found sooner than a compiler is through that optimizes, or a large table of states
# ($2: the power of 2 of its places) is there.
search() {
    optimize=$1
    places=$2
    model=$3
    shift 3
    spin "$@" -a "$here/$model.pml" && cc "$optimize" -w -DSAFETY -DMEMLIM=2500 -o pan pan.c &&
        ./pan -m200000 "-w$places" >report && grep -q 'errors: ' report && ! grep -q 'max search depth' report
}

states() {
    sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' report
}

for model in snapshot bell queue_bell lane slots move replace; do
    if search -O2 25 "$model" && grep -q 'errors: 0' report; then
        echo "figure: model.$model.states $(states) states"
    else
        wrong=$((wrong + 1))
        echo "$model: WRONG, or not searched through:"
        cat report
    fi
    mutants=$(sed -n 's,^#define MUTANT 0 /\* of \([0-9]*\) \*/,\1,p' "$here/$model.pml")
    for mutant in $(seq "$mutants"); do
        all=$((all + 1))
        if search -O0 20 "$model" "-DMUTANT=$mutant" && ! grep -q 'errors: 0' report; then
            caught=$((caught + 1))
            echo "$model, mutant $mutant: caught after $(states) states: $(grep -m 1 '^pan:1:' report)"
        else
            echo "$model, mutant $mutant: NOT caught"
            cat report
        fi
    done
done
echo "figure: mutants.spin_all $all mutants"
echo "figure: mutants.spin_caught $caught mutants"
echo "figure: errors.spin $wrong errors"
[ "$wrong" -eq 0 ] && [ "$all" -gt 0 ] && [ "$caught" -eq "$all" ]
