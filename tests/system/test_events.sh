#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What becomes of a segment: the table of shm-manager(8), line by line, but for what takes a system
# (system.systemd_events) and stray stores (system.bad_input).
# Usage: test_events.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"

attach_all() {
    coproc talk { exec "$build/tests/system/attached"; }
    attached=$!
    children+=("$attached")
}
detach_all() {
    local status=0
    eval "exec ${talk[1]}>&-"
    wait "$attached" || status=$?
    children=()
    return "$status"
}
# The manager's pulse may be behind for a moment on a machine that stood still.
goes_on() { answers publish published && await 30 answers 'read temps' 'read alive'; }
stays() { [ "$(shmtool get kept)" = persistent ] && [ "$(version_of kept)" -eq "${1-1}" ]; }
value_is() { [ "$(shmtool get "$1")" = "$2" ]; }
new_keeper() { grep -q 'a new one holds' "$work/manager.log" && keeper_pid; }
version_of() { shmtool list "$1" --json | sed -n 's/.*"version": *\([0-9]*\).*/\1/p' | head -n 1; }

start_manager
edit_table <<'SQL'
INSERT INTO section(name, owner, size) VALUES ('temps', 'driver', 64), ('brief', 'guest', 64);
INSERT INTO section(name, owner, size, persist) VALUES ('kept', 'keeper', 64, 1), ('gone', 'keeper', 64, 1);
SQL
printf 1st | shmtool put brief
for section in kept gone; do printf persistent | shmtool put "$section"; done
attach_all
ok 'a process is attached' goes_on

end_manager KILL
ok 'killed: who is attached goes on' answers publish published
printf 2nd | shmtool put brief --wait 30000 &
waiting=$!
start_manager
ok 'who wants to be a worker waits for the next manager' wait "$waiting"
ok 'with its value' value_is brief 2nd
ok 'and who was attached is known to it' goes_on
ok 'what persists is as it was' stays

end_manager TERM
ok 'stopped: who is attached goes on' answers publish published
ok 'a worker is told that no manager answers' says 3 'no manager answers at|so no manager' shmtool put brief
if on_sysv; then
    ok 'readers attach as ever' value_is brief 2nd
    ok 'what persists is there' stays
else
    ok 'so is a reader' says 3 'so no manager' shmtool get brief
fi
start_manager
ok 'as it was' stays

ok 'a worker ended: its readers see it' answers 'read brief' 'read gone'
before=$(version_of brief)
printf 3rd | shmtool put brief
ok 'its successor goes on with the next version' test "$(version_of brief)" -eq $((before + 1))
ok 'what persists needs no writer' stays

sqlite3 "$work/state/sections.db" "UPDATE section SET size = 32 WHERE name = 'temps'"
ok 'an edit is refused' says 1 "its size can't shrink from 64 to 32" shmtool reload
ok 'which who is attached does not notice' goes_on
ok 'nor what persists' stays
shmtool table revert >/dev/null

edit_table <<<"DELETE FROM section WHERE name IN ('brief', 'gone')"
ok 'a section is removed: so its readers are told' answers 'read brief' 'EIDRM unknown'
ok 'and the others go on' goes_on
edit_table <<<"INSERT INTO section(name, owner, size) VALUES ('brief', 'guest', 64);
    INSERT INTO section(name, owner, size, persist) VALUES ('gone', 'keeper', 64, 1)"
ok 'of the same name comes a new one' test "$(version_of brief)" -eq 0
ok 'also of what persists' test "$(version_of gone)" -eq 0

# ---- the memory goes, and no manager tells who is attached

is_told() { answers "$1" "$2" >/dev/null; }
told() { # CASE wait|poll
    ok "$1: a reader that does $2 is told" answers "$2" EIDRM
    ok "$1: the writer is told" await 30 is_told publish EIDRM
    ok "$1: and the reader" await 30 is_told 'read temps' 'EIDRM unknown'
    ok "$1: again and again" answers publish EIDRM
    ok "$1: both end" detach_all
}
came_back() { # CASE
    ok "$1: the next manager has a new one" says 1 'nothing was published yet' shmtool get temps
    ok "$1: what persists has come back" stays
    ok "$1: but not what was removed" test "$(version_of gone)" -eq 0
    attach_all
    ok "$1: where they attach anew" goes_on
}
if on_sysv; then
    ipcrm -m "$(segment_id)"
    told 'ipcrm' wait
    ok 'ipcrm: nobody else comes to it' says 3 'somebody removed it' shmtool get temps
    end_manager TERM
    start_manager
    came_back 'ipcrm'
    end_manager KILL
    ok 'killed: who is attached goes on' answers publish published
    ipcrm -m "$(segment_id)"
    told 'killed, and ipcrm' poll
    start_manager
    came_back 'killed, and ipcrm'
else
    kill -KILL "$(keeper_pid)"
    ok 'the keeper is killed: who is attached goes on' goes_on
    ok 'as ever' await 30 new_keeper
    ok 'with what persists' stays
    kill -STOP "$manager" # or it would start another keeper
    kill -KILL "$(keeper_pid)"
    end_manager KILL
    ok 'both are killed: who is attached goes on' answers publish published
    start_manager
    told 'both killed' poll
    came_back 'both killed'
fi
detach_all

attach_all
ok 'attached anew' goes_on
shmtool destroy --yes >/dev/null
ok 'destroyed: the writer is told' answers publish EIDRM
ok 'and the reader' answers 'read temps' 'EIDRM unknown'
start_manager
ok 'the next start, at once, makes it anew, empty' says 1 'nothing was published yet' shmtool get temps
ok 'but for what persists' stays
ok 'with the same table' test "$(shmtool list --json | grep -c '"name"')" -ge 1
