#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A manager that many want something of, or that can't take a connection: others are served, and it
# keeps to its share of the processor.
# Usage: test_crowds.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"

# ---- a machine without descriptors

can_trace() {
    command -v strace >/dev/null && strace -qq -o /dev/null true 2>/dev/null
}
# strace passes on neither TERM nor its own death.
end_traced() {
    local pid
    pid=$(pgrep -P "$manager")
    kill "$pid"
    wait "$manager" || :
    manager=''
}
failed_accepts() { grep -c 'ENFILE' "$work/trace"; }
seconds_of_them() {
    perl -ne '/^(?:\d+ +)?(\d+\.\d+) .*ENFILE/ or next; $first //= $1; $last = $1;
              END { printf "%d\n", $last - $first }' "$work/trace"
}

if can_trace; then
    set_backend
    strace -f -qq -ttt -o "$work/trace" -e trace=accept4 -e inject=accept4:error=ENFILE:when=1..12 \
        "$build/daemon/shm-manager" --key "$SHMC_KEY" --state-dir "$work/state" \
        --runtime-dir "$SHMC_RUNTIME_DIR" >>"$work/manager.log" 2>&1 &
    manager=$!
    ok 'who comes while the machine has no descriptor is served when it has' \
        await 60 shmtool status --wait 10000
    ok 'it was tried again' test "$(failed_accepts)" -eq 12
    ok 'with pauses between' test "$(seconds_of_them)" -ge 1
    ok 'and said once' test "$(grep -c 'no connection can be taken' "$work/manager.log")" -eq 1
    ok 'with the remedy' grep -q 'Too many open files in system.*sysctl fs.file-max' "$work/manager.log"
    end_traced
else
    echo 'left out: nothing can be traced here'
fi
