#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What becomes of a segment: the table of shm-manager(8), line by line, but for the reboot (which
# system.systemd_load and system.systemd_checkpoint make) and stray stores (system.bad_input).
# Usage: test_events.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"

attach_all() {
    coproc ATTACHED { exec "$build/tests/system/attached"; }
    attached=$ATTACHED_PID
    children+=("$attached")
}
detach_all() {
    local status=0
    eval "exec ${ATTACHED[1]}>&-"
    wait "$attached" || status=$?
    children=()
    return "$status"
}
gives() { # LINE ANSWER
    local answer
    echo "$1" >&"${ATTACHED[1]}"
    read -r -t 10 answer <&"${ATTACHED[0]}"
    [ "$answer" = "$2" ] || { echo "$1 gave: $answer"; return 1; }
}
goes_on() { gives publish published && gives 'read temps' "read ${1-alive}"; }
stays() { [ "$(shmtool get kept)" = persistent ] && [ "$(version_of kept)" -eq "${1-1}" ]; }
value_is() { [ "$(shmtool get "$1")" = "$2" ]; }
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
ok 'killed: who is attached goes on' gives publish published
printf 2nd | shmtool put brief --wait 20000 &
waiting=$!
start_manager
ok 'who wants to be a worker waits for the next manager' wait "$waiting"
ok 'with its value' value_is brief 2nd
ok 'and who was attached is known to it' goes_on
ok 'what persists is as it was' stays

end_manager TERM
ok 'stopped: who is attached goes on' gives publish published
ok 'a worker is told that no manager answers' says 3 'no manager answers at' shmtool put brief
ok 'readers attach as ever' value_is brief 2nd
ok 'what persists is there' stays
start_manager
ok 'as it was' stays

ok 'a worker ended: its readers see it' gives 'read brief' 'read gone'
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
ok 'a section is removed: so its readers are told' gives 'read brief' 'EIDRM unknown'
ok 'and the others go on' goes_on
edit_table <<<"INSERT INTO section(name, owner, size) VALUES ('brief', 'guest', 64);
    INSERT INTO section(name, owner, size, persist) VALUES ('gone', 'keeper', 64, 1)"
ok 'of the same name comes a new one' test "$(version_of brief)" -eq 0
ok 'also of what persists' test "$(version_of gone)" -eq 0

ipcrm -m "$(segment_id)"
ok 'ipcrm: who is attached goes on with the old memory' goes_on
ok 'nobody else comes to it' says 3 'somebody removed it' shmtool get temps
end_manager TERM
start_manager
ok 'the next manager has a new one' says 1 'nothing was published yet' shmtool get temps
ok 'what persists has come back' stays
ok 'but not what was removed' test "$(version_of gone)" -eq 0
ok 'of which the old hear nothing' gives publish published
ok 'and end' detach_all

attach_all
ok 'attached anew' goes_on
shmtool destroy --yes >/dev/null
ok 'destroyed: the writer is told' gives publish EIDRM
ok 'and the reader' gives 'read temps' 'EIDRM unknown'
start_manager
ok 'the next start, at once, makes it anew, empty' says 1 'nothing was published yet' shmtool get temps
ok 'but for what persists' stays
ok 'with the same table' test "$(shmtool list --json | grep -c '"name"')" -ge 1
