#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A checkpoint, killed and failed at each system call of saving and of restoring.  What is saved
# afterwards is the one before or the one that was being made, each value whole; the next save makes
# up for all of it, and leaves no chunk behind that nothing refers to.  A restore that was killed or
# failed gives each section its whole value or leaves it empty, and changes nothing that is saved.
# In the default run a sample of the calls that only read; all of them with SHM_SOAK.
# Usage: checkpoint.sh FAULTS-CHECKPOINT
# shellcheck source=tests/crash/faults/traced.sh
. "$(dirname "$0")/traced.sh"

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
    local check=$1
    shift
    inject "$@"
    "$check" "$*"
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
        first=$(early "$name")
        [ "$kind" = writes ] || [ -n "${SHM_SOAK-}" ] || step=$(((count - first) / 12 + 1))
        for ((n = first + 1; n <= count; n += step)); do
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
