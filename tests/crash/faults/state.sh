#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# state.db's steps, killed and failed at each system call: what is found afterwards is what was
# there before the step, or what is there behind it; never something else, and never damage.
# Usage: state.sh FAULTS-STATE
# shellcheck source=tests/crash/faults/traced.sh
. "$(dirname "$0")/traced.sh"

# The state before a step, as files in $work/before.
before() {
    rm -rf "$work/before"
    mkdir "$work/before"
    "$program" "$work/before/state.db" prepare
}

look() {
    "$program" "$now" look 2>&1
}

try() {
    local left
    inject "$@"
    left=$(look) || :
    if [ "$left" != "$old" ] && [ "$left" != "$new" ]; then
        violations=$((violations + 1))
        echo "violation: $*: $left"
        echo "    neither: $old"
        echo "    nor:     $new"
    fi
}

# A step: its system calls, one after the other.
sweep() {
    local count name first n kills
    again
    old=$(look)
    again
    strace -qq -o "$work/all" "$program" "$now" "$@"
    new=$(look)
    [ "$old" != "$new" ] || { echo "the step '$*' changes nothing"; exit 1; }
    while read -r count name; do
        # Between two writes one moment is as good as another.
        case $name in
        pwrite64 | fdatasync | fsync | unlink | ftruncate | write) kills=yes ;;
        openat | pread64 | fcntl | close | newfstatat | fstat | lseek | read) kills=${SHM_SOAK-} ;;
        *) continue ;;
        esac
        first=$(early "$name")
        for ((n = first + 1; n <= count; n++)); do
            [ -z "$kills" ] || try "$name" "$n" signal=KILL "$@"
            case $name in
            pwrite64 | ftruncate | write) try "$name" "$n" error=ENOSPC "$@" ;;
            fdatasync | fsync | unlink | pread64 | openat | fcntl) try "$name" "$n" error=EIO "$@" ;;
            esac
        done
    done < <(calls "$work/all")
}

before
sweep intend
"$program" "$work/before/state.db" intend
sweep 'done'
sweep settle 2
sweep settle 1
before
sweep rejected
echo "figure: faults.state.points $points points"
echo "figure: violations.faults_state $violations violations"
[ "$violations" -eq 0 ] && [ "$points" -gt 100 ]
