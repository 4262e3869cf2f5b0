#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Each system call of the manager killed at and failed in turn, and each allocation of manager and
# library failed in turn: a sample of them, evenly taken; with SHM_SOAK all calls, and 20,000
# allocations.
# Usage: test_faults.sh BUILD-DIRECTORY

# On a disk each commit would wait for it.
[ -n "${TMPDIR-}" ] || [ ! -w /dev/shm ] || export TMPDIR=/dev/shm
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"

faults=$build/tests/crash/faults
[ -x "$faults/faults_manager" ] || { echo 'skipped: not built here (sanitizers)'; exit 77; }
command -v strace >/dev/null || { echo 'skipped: no strace'; exit 77; }
strace -qq -o /dev/null true 2>/dev/null || { echo 'skipped: nothing can be traced'; exit 77; }
calls=250 allocations=100 starvings=40
on_sysv || calls=70 allocations=30 starvings=10
[ -z "${SHM_SOAK-}" ] || calls=0 allocations=20000 starvings=1000000

starved=0
# Runs a command again and again, with one allocation failing, and with all from one on: it either
# does what it does with memory, or fails in one line; a crash is neither.
starve() {
    local all step n on status
    FAULTS_MALLOC_COUNT=$work/count LD_PRELOAD=$faults/libfaults_malloc.so "$@" >"$work/right"
    all=$(<"$work/count")
    step=$(((all + starvings - 1) / starvings))
    for ((n = 1; n <= all; n += step)); do
        for on in once on; do
            status=0
            FAULTS_MALLOC=$n FAULTS_MALLOC_ON=$on LD_PRELOAD=$faults/libfaults_malloc.so \
                "$@" >"$work/out" 2>"$work/err" || status=$?
            starved=$((starved + 1))
            if [ "$status" -eq 0 ]; then
                same_output && continue
            elif [ "$status" -lt 126 ] && [ "$(wc -l <"$work/err")" -eq 1 ]; then
                continue
            fi
            echo "allocation $n ($on) of '$*': status $status"
            diff "$work/right" "$work/out" || :
            cat "$work/err"
            return 1
        done
    done
}

# But for the ages, and the columns' widths.
same_output() {
    local ages='s/ +[0-9.]+ (ns|us|ms|s|min|h)\b//g; s/ +/ /g'
    diff -q <(sed -E "$ages" "$work/right") <(sed -E "$ages" "$work/out") >/dev/null
}

stop_manager() {
    kill "$manager"
    wait "$manager" || :
    manager=''
}

start_manager
edit_table <<'SQL'
INSERT INTO section(name, owner, size, persist) VALUES ('still', 'still', 64, 1), ('cam', 'cam', 64, 1);
UPDATE worker SET may_create = 65536;
SQL
printf 'forty-two' | shmtool put cam
# The manager hears of a process's end a moment later, and what is compared shall not change.
cam_is_free() { shmtool list cam | grep -q ' gone '; }
ok 'who put it has gone' await 30 cam_is_free
ok 'list does without each of its allocations, or says why not' starve shmtool list
ok 'get does' starve shmtool get cam
put() { printf 'forty-two' | "$@"; }
ok 'put does' starve put shmtool put cam
ok 'and what was put is there' [ "$(shmtool get cam)" = forty-two ]
ok 'reload does' starve shmtool reload
ok 'who put it last, too' await 30 cam_is_free
ok 'status does' starve shmtool workers
echo "figure: faults.allocations $starved allocations"

stop_manager
ok 'nobody loses anything by an allocation that fails in the manager' \
    "$faults/faults_manager" "$build/daemon/shm-manager" "$work" "$SHMC_KEY" "$allocations" \
    "$faults/libfaults_malloc.so"
ok 'no system call that fails, or is the last, costs anybody anything' \
    "$faults/faults_manager" "$build/daemon/shm-manager" "$work" "$SHMC_KEY" "$calls"

# Neither the table nor the last good one can be read: an empty one would take all away.
refuses_without_table() {
    local status=0
    "$build/daemon/shm-manager" --key "$SHMC_KEY" --state-dir "$work/state" \
        --runtime-dir "$SHMC_RUNTIME_DIR" 2>"$work/err" || status=$?
    [ "$status" -eq 1 ] && grep -q 'the sections that run .* are in neither' "$work/err"
}
sqlite3 "$work/state/sections.db" ".backup '$work/kept.db'" # with what is still in its log
rm "$work/state/state.db" "$work/state/sections.db"*
echo 'no database' >"$work/state/sections.db"
ok 'a manager that knows no table takes nothing away' refuses_without_table
mv "$work/kept.db" "$work/state/sections.db"
start_manager
ok 'and all is there when the table is' [ "$(shmtool get cam | wc -c)" -gt 0 ]
