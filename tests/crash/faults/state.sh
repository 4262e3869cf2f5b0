#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# state.db's steps, killed and failed at each system call: what is found afterwards is what was
# there before the step, or what is there behind it; never something else, and never damage.
# Usage: state.sh FAULTS-STATE
set -euo pipefail
program=$1
command -v strace >/dev/null || { echo 'skipped: no strace'; exit 77; }
base=${TMPDIR:-/tmp}
[ ! -w /dev/shm ] || base=/dev/shm
work=$(mktemp -d "$base/shm-faults.XXXXXX")
trap 'rm -rf "$work"' EXIT
strace -qq -o "$work/early" "$program" 2>/dev/null || :
[ -s "$work/early" ] || { echo 'skipped: strace can trace nothing here'; exit 77; }
points=0 violations=0

# The state before a step, as files in $work/before.
before() {
    rm -rf "$work/before"
    mkdir "$work/before"
    "$program" "$work/before/state.db" prepare
}

look() {
    "$program" "$work/now/state.db" look 2>&1
}

again() {
    rm -rf "$work/now"
    cp -r "$work/before" "$work/now"
}

# Every call that touches the database: those of the program's start open other files.
calls() {
    grep -oE '^[a-z0-9_]+\(' "$1" | sort | uniq -c | tr -d '('
}

try() {
    local name=$1 n=$2 action=$3 left
    shift 3
    again
    strace -qq -o "$work/trace" -e trace="$name" -e inject="$name:$action:when=$n" \
        "$program" "$work/now/state.db" "$@" >/dev/null 2>"$work/errors" || :
    points=$((points + 1))
    left=$(look) || :
    if [ "$left" != "$old" ] && [ "$left" != "$new" ]; then
        violations=$((violations + 1))
        echo "violation: $* $name $n $action: $left"
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
    strace -qq -o "$work/all" "$program" "$work/now/state.db" "$@"
    new=$(look)
    [ "$old" != "$new" ] || { echo "the step '$*' changes nothing"; exit 1; }
    while read -r count name; do
        # Between two writes one moment is as good as another.
        case $name in
        pwrite64 | fdatasync | fsync | unlink | ftruncate | write) kills=yes ;;
        openat | pread64 | fcntl | close | newfstatat | fstat | lseek | read) kills=${SHM_SOAK-} ;;
        *) continue ;;
        esac
        first=$(calls "$work/early" | awk -v name="$name" '$2 == name { print $1 }')
        for ((n = ${first:-0} + 1; n <= count; n++)); do
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
