#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Whose value a checkpoint has: a section's that was renamed, and not that of whoever has its id in a
# table that was made anew.
# Usage: test_checkpoint_names.sh BUILD-DIRECTORY
# On a disk each commit would wait for it.
[ -n "${TMPDIR-}" ] || [ ! -w /dev/shm ] || export TMPDIR=/dev/shm
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"

make_table() { :; } # new_table does
db=$work/state/sections.db
value_is() { [ "$(shmtool get "$1")" = "$2" ]; }
empty() { says 1 'nothing was published yet' shmtool get "$1"; }
saved_as() {
    [ "$(sqlite3 -cmd '.timeout 5000' "$work/state/state.db" 'SELECT name FROM saved WHERE stage = 0')" = "$1" ]
}
# The next manager has a new segment, and what was saved.
stop() {
    shmtool destroy --yes >/dev/null
    wait "$manager" || :
    manager=''
}
new_table() { # NAME: of the section with the first id
    rm -f "$db" "$db"-*
    shmtool table init --table "$db" >/dev/null
    sqlite3 "$db" "UPDATE segment SET backend = '${SHM_TEST_BACKEND-sysv}';
        INSERT INTO section(name, owner, size, persist) VALUES ('$1', 'driver', 64, 1)"
}

new_table temps
start_manager
printf one | shmtool put temps
stop
start_manager
ok 'a value comes back' value_is temps one

# A rename, by id.
edit_table <<<"UPDATE section SET name = 'heat' WHERE name = 'temps'"
ok 'renamed it has not changed' says 0 '^0 section\(s\) saved' shmtool checkpoint
ok 'but is saved by its new name' saved_as heat
stop
start_manager
ok 'by which it comes back' value_is heat one
printf two | shmtool put heat
ok 'a newer one is saved' says 0 '^1 section\(s\) saved' shmtool checkpoint
edit_table <<<"UPDATE section SET name = 'warmth' WHERE name = 'heat'"
end_manager KILL
ok 'killed before it looked at names' saved_as heat
if on_sysv; then
    ipcrm -M "$SHMC_KEY"
    start_manager
    ok 'the next manager knows them of what ran' value_is warmth two
else
    start_manager
fi
ok 'who renames it then' says 0 '^[01] section\(s\) saved' shmtool checkpoint
ok 'saves it so' saved_as warmth
stop

# Another section with its id.
new_table cam
start_manager
ok 'a value of another section is not restored' grep -q \
    "section 'cam': not restored, and left empty: what was saved is of section 'warmth', which had its id (1) then" "$work/manager.log"
ok 'as status says' says 0 "section 'cam': not restored, .*: if that is this one, name it so again" shmtool status
ok 'and the section is empty' empty cam
for again in once twice; do
    stop
    start_manager
    ok "not $again does it come in later" empty cam
done
ok 'but it stays saved' saved_as warmth
stop
new_table warmth
start_manager
ok 'and comes back to its section' value_is warmth two
