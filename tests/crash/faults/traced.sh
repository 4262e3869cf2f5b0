# shellcheck shell=bash disable=SC2034 # the sourcing scripts use the variables
# SPDX-License-Identifier: Apache-2.0
#
# For the scripts beside it, which source it with their program in $1: a directory of the test's
# own, with `before`, the files that each point starts from, and `now`, its copy of them.
set -euo pipefail
program=$1
command -v strace >/dev/null || { echo 'skipped: no strace'; exit 77; }
base=${TMPDIR:-/tmp}
[ ! -w /dev/shm ] || base=/dev/shm
work=$(mktemp -d "$base/shm-faults.XXXXXX")
trap 'rm -rf "$work"' EXIT
now=$work/now/state.db
points=0 violations=0

# What is called before main() is no point.
strace -qq -o "$work/early" "$program" 2>/dev/null || :
[ -s "$work/early" ] || { echo 'skipped: strace can trace nothing here'; exit 77; }

again() {
    rm -rf "$work/now"
    cp -r "$work/before" "$work/now"
}

# How often each call is in a log.
calls() {
    grep -oE '^[a-z0-9_]+\(' "$1" | sort | uniq -c | tr -d '('
}

# How often it is called before main().
early() { # NAME
    calls "$work/early" | awk -v name="$1" '$2 == name { n = $1 } END { print n + 0 }'
}

inject() { # NAME N ACTION VERB...
    local name=$1 n=$2 action=$3
    shift 3
    again
    { strace -qq -o "$work/trace" -e trace="$name" -e inject="$name:$action:when=$n" \
        "$program" "$now" "$@" >"$work/out" 2>"$work/errors" || :; } 2>/dev/null # bash's "Killed"
    points=$((points + 1))
}
