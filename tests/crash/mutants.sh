#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# mutants.sh PROGRAM...: each is the kill test of a snapshot with one step taken out or displaced
# (libclient/core/mutant.h), and must find a violation.
all=0
caught=0
for program; do
    "$program" --points 40000 >mutant.$$.out 2>&1
    status=$?
    violation=$(grep -m 1 '^violation: ' mutant.$$.out)
    rm -f mutant.$$.out
    if [ "$status" -eq 77 ]; then
        echo "skipped: this process may not trace its children"
        exit 77
    fi
    all=$((all + 1))
    if [ "$status" -eq 1 ] && [ -n "$violation" ]; then
        caught=$((caught + 1))
        echo "${program##*/}: caught: ${violation#violation: }"
    else
        echo "${program##*/}: NOT caught (exit status $status)"
    fi
done
echo "figure: mutants.all $all mutants"
echo "figure: mutants.caught $caught mutants"
[ "$all" -gt 0 ] && [ "$caught" -eq "$all" ]
