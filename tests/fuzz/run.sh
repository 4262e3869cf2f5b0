#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs one fuzzer from its kept inputs, for some seconds (with SHM_SOAK as many as that says, or
# 600).  What it finds new is thrown away; what makes it fail is kept, and shown.
# Usage: run.sh NAME FUZZER
set -euo pipefail
name=$1 fuzzer=$2
[ -x "$fuzzer" ] || { echo "skipped: no clang with libFuzzer (libclang-rt-14-dev)"; exit 77; }
corpus=$(cd "$(dirname "$0")" && pwd)/corpus/$name
name=$name${SHM_TEST_BACKEND:+_$SHM_TEST_BACKEND}

if [ "$(id -u)" -eq 0 ] && [ -z "${SHM_TEST_ALONE-}" ] && unshare --ipc true 2>/dev/null; then
    SHM_TEST_ALONE=1 exec unshare --ipc "$0" "$@"
fi
seconds=4 seed=1 # a check finds the same today and tomorrow; a soak looks elsewhere each time
if [ -n "${SHM_SOAK-}" ]; then
    seconds=600 seed=0
    [ "$SHM_SOAK" -le 1 ] 2>/dev/null || seconds=$SHM_SOAK
fi
base=${TMPDIR:-/tmp}
[ ! -w /dev/shm ] || base=/dev/shm
work=$(mktemp -d "$base/shm-fuzz.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/new" "$work/tmp"
# Sanitizers as old as clang 14's can't place their shadow under all of today's randomisation.
wrap=()
setarch -R true 2>/dev/null && wrap=(setarch -R)
artifacts=$PWD/fuzz-$name-
status=0 executions=0
fuzz() { # SECONDS
    TMPDIR=$work/tmp ASAN_OPTIONS=detect_stack_use_after_return=1:allocator_may_return_null=1 \
        "${wrap[@]}" "$fuzzer" -max_total_time="$1" -seed="$seed" -timeout=60 -rss_limit_mb=2048 \
        -max_len=4096 -print_funcs=0 -print_final_stats=1 -artifact_prefix="$artifacts" \
        "$work/new" "$corpus" >"$work/log" 2>&1 || status=$?
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log")
}
fuzz "$seconds"
# A machine that stalls gets another chance.
[ "$status" -ne 0 ] || [ "${executions:-0}" -ge 50 ] || fuzz 60
echo "figure: fuzz.$name.executions ${executions:-0} executions"
if [ "$status" -ne 0 ]; then
    tail -n 60 "$work/log"
    echo "not ok $name: replay it with: $fuzzer ${artifacts}*"
    exit 1
fi
if [ "${executions:-0}" -lt 50 ]; then
    tail -n 20 "$work/log"
    echo "not ok $name: hardly anything was executed"
    exit 1
fi
echo "ok $name: no violation"
