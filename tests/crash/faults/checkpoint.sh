#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A checkpoint, killed and failed at each system call of saving and of restoring.  What is saved
# afterwards is the one before or the one that was being made, each value whole; the next save makes
# up for all of it, and leaves no chunk behind that nothing refers to.  A restore that was killed or
# failed gives each section its whole value or leaves it empty, and changes nothing that is saved.
# In the default run a sample of the calls that only read; all of them with SHM_SOAK.
# Usage: checkpoint.sh FAULTS-CHECKPOINT
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
now=$work/now/state.db

again() {
    rm -rf "$work/now"
    cp -r "$work/before" "$work/now"
}
calls() {
    grep -oE '^[a-z0-9_]+\(' "$1" | sort | uniq -c | tr -d '('
}
violation() {
    violations=$((violations + 1))
    echo "violation: $1"
    sed 's/^/    /' "$work/errors" | tail -n 3
}

saved_right() { # POINT
    local left
    left=$("$program" "$now" look 2>&1) || :
    [ "$left" = "$old" ] || [ "$left" = "$new" ] || violation "$1: saved is $left"
    "$program" "$now" save 2 >"$work/errors" 2>&1 || violation "$1: can't save any more"
    left=$("$program" "$now" look 2>&1) || :
    [ "$left" = "$new" ] || violation "$1: the next one saved $left"
    left=$("$program" "$now" rest 2>&1) || :
    [ "$left" = "$all" ] || violation "$1: there are $left, and not $all"
}
restored_right() { # POINT
    local value left
    # A restore that was killed printed nothing, one whose start failed said why.
    while read -r value; do
        [[ "$value" = *' none' ]] || grep -qF "$value;" <<<"$values" ||
            violation "$1: restored $value"
    done < <(grep refused "$work/out" | tr ';' '\n' | sed 's/^ //; / refused/d')
    left=$("$program" "$now" look 2>&1) || :
    [ "$left" = "$new" ] || violation "$1: saved is now $left"
    left=$("$program" "$now" restore 2>&1) || :
    [ "$left" = "$values" ] || violation "$1: the next one restored $left"
}

try() { # CHECK NAME N ACTION VERB...
    local check=$1 name=$2 n=$3 action=$4
    shift 4
    again
    { strace -qq -o "$work/trace" -e trace="$name" -e inject="$name:$action:when=$n" \
        "$program" "$now" "$@" >"$work/out" 2>"$work/errors" || :; } 2>/dev/null # bash's "Killed"
    points=$((points + 1))
    "$check" "$* $name $n $action"
}

# One moment between two writes is as good as another, so the calls that only read are sampled.
sweep() { # CHECK VERB...
    local check=$1 count name first n step kind
    shift
    again
    strace -qq -o "$work/all" "$program" "$now" "$@" >/dev/null
    while read -r count name; do
        step=1
        case $name in
        pwrite64 | fdatasync | fsync | unlink | ftruncate | write) kind=writes ;;
        openat | pread64 | fcntl | newfstatat | fstat | close | lseek | read | mmap) kind=reads ;;
        *) continue ;;
        esac
        first=$(calls "$work/early" | awk -v name="$name" '$2 == name { print $1 }')
        [ "$kind" = writes ] || [ -n "${SHM_SOAK-}" ] || step=$(((count - ${first:-0}) / 12 + 1))
        for ((n = ${first:-0} + 1; n <= count; n += step)); do
            try "$check" "$name" "$n" signal=KILL "$@"
            case $name in
            pwrite64 | ftruncate | write)
                try "$check" "$name" "$n" error=ENOSPC "$@"
                [ -z "${SHM_SOAK-}" ] || try "$check" "$name" "$n" error=EIO "$@"
                ;;
            mmap) try "$check" "$name" "$n" error=ENOMEM "$@" ;;
            close | lseek | newfstatat | fstat) ;;
            *) try "$check" "$name" "$n" error=EIO "$@" ;;
            esac
        done
    done < <(calls "$work/all")
}

mkdir "$work/before"
"$program" "$work/before/state.db" save 1
again
old=$("$program" "$now" look)
"$program" "$now" save 2
new=$("$program" "$now" look)
all=$("$program" "$now" rest)
values=$("$program" "$now" restore)
if [ "$old" = "$new" ] || [[ "$old$new" == *damaged* ]]; then
    echo "nothing to be told apart: $old, $new"
    exit 1
fi
sweep saved_right save 2
echo "saving: $points points"
rm -rf "$work/before"
cp -r "$work/now" "$work/before"
"$program" "$work/before/state.db" save 2
sweep restored_right restore
echo "figure: kill_points.checkpoint $points points"
echo "figure: violations.checkpoint $violations violations"
[ "$violations" -eq 0 ] && [ "$points" -gt 200 ]
