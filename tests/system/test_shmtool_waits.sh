#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# shmtool's --wait across a restart of the manager, and what check says meanwhile.  Under memfd nobody
# attaches without one.
# Usage: test_shmtool_waits.sh BUILD-DIRECTORY
export SHM_TEST_BACKEND=${SHM_TEST_BACKEND-memfd}
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"
export SHM_STATE_DIR=$work/state

start_manager
edit_table <<<"INSERT INTO section(name, owner, size) VALUES('temps', 'driver', 64)"

# NAME COMMAND...: begun without a manager, it does what it should when there is one.
outlasts() {
    local name=$1
    shift
    end_manager TERM
    "$@" <<<"$name" >"$work/out" 2>&1 &
    waiting=$!
    children=("$waiting")
    await 60 test -d "/proc/$waiting" && await 60 looked_once
    start_manager
    ok "$name waits for a manager" wait "$waiting"
    children=()
}
# It sleeps: between two looks, or until it is let in.
looked_once() {
    grep -q '^State:.S' "/proc/$waiting/status" || [ ! -d "/proc/$waiting" ]
}

outlasts put shmtool put temps --wait 60000
ok 'and has written' test "$(shmtool get temps)" = put
outlasts run shmtool run --worker 'dri*' --wait 60000 -- shmtool get temps
ok 'and has run' grep -q put "$work/out"
outlasts history shmtool history --wait 60000
ok 'and tells of the edit' grep -q "add 'temps'" "$work/out"
outlasts status shmtool status --wait 60000
ok 'and has the answer' grep -q '^manager .*pid' "$work/out"

end_manager TERM
ok 'what waits for nobody ends' says 3 'no manager answers' shmtool history --wait 50
ok 'as status does' says 3 'no manager answers' shmtool status --wait 50
if ! on_sysv; then
    ok 'check says what is known' says 2 \
        "^SHM CRITICAL - no manager serves key $SHMC_KEY; what .*\.keeper holds stays: start it" shmtool check
    ok 'as JSON, too' says 2 '"text": "no manager serves key' shmtool check --json
    ok 'which is unknown to whom that is nothing' says 3 '^SHM UNKNOWN - ' shmtool check --ignore manager
fi
start_manager
