#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# test_units.sh BUILD-DIRECTORY: the unit tests under memcheck; the slow ones with SHM_SOAK only.
# Each test is a forked process, whose leaks count when it ends.
set -euo pipefail
# shellcheck source=tests/valgrind/memcheck.sh
. "$(dirname "$0")/memcheck.sh"
cd "$1/tests/unit"

# What valgrind 3.19 doesn't know makes these fail: futex_waitv(), pidfd_open(), shmat() without the
# right to, mremap() that doubles a mapping, a page fault on purpose; and it runs one thread at a
# time, which starves the others where one spins.
never=' test_checkpoint_take test_futex test_inherited test_process test_sysv test_snapshot_moving test_snapshot_threads '
# Four seconds and more each; AddressSanitizer's builds run them all.
slow=' test_allocation test_directory test_directory_damage test_directory_flips test_layout
    test_made_rows test_plan_move test_queue_carry test_queue_damage test_queue_room
    test_snapshot_courtesy test_snapshot_wake test_tenancy test_plan_place test_plan_random test_queue_threads
    test_slots_threads test_snapshot test_snapshot_between test_snapshot_mend test_span test_state_checkpoint test_state_db test_state_known
    test_state_past test_table_db test_table_file test_table_schema '
[ -z "${SHM_SOAK-}" ] || slow=' '

programs=()
for program in test_*; do
    case "$never$slow" in *[[:space:]]"$program"[[:space:]]*) continue ;; esac
    if [ -x "$program" ] && [ -f "$program" ]; then
        programs+=("$program")
    fi
done
[ "${#programs[@]}" -ge 10 ] || { echo "not ok: only ${#programs[@]} programs in $PWD"; exit 1; }

check() {
    local log
    log=$(mktemp)
    if CK_TIMEOUT_MULTIPLIER=10 "${memcheck[@]}" "./$1" >"$log" 2>&1; then
        echo "ok $1"
        rm -f "$log"
    else
        cat "$log"
        echo "not ok $1"
        rm -f "$log"
        return 1
    fi
}
failed=0
for program in "${programs[@]}"; do
    check "$program" || failed=$((failed + 1))
done
echo "figure: valgrind.units ${#programs[@]} programs"
[ "$failed" -eq 0 ]
