#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What `shmtool doctor` says of a manager in another PID namespace, whose number is somebody else's
# here.
# Usage: test_doctor_apart.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"
[ "$(id -u)" -eq 0 ] || { echo "it takes root to make the namespace"; exit 77; }
apart=(unshare --pid --mount --fork --kill-child=KILL --mount-proc)
"${apart[@]}" true 2>/dev/null || { echo "there is no unshare --pid here"; exit 77; }
unset SHM_STATE_DIR

doctor() { shmtool doctor -S "$work/state" "$@"; }
chmod 755 "$work"
make_table
chown -R 65533 "$work/state" "$work/run"
"${apart[@]}" setpriv --reuid 65533 --regid 65533 --clear-groups "$build/daemon/shm-manager" \
    --key "$SHMC_KEY" --state-dir "$work/state" --runtime-dir "$SHMC_RUNTIME_DIR" \
    >>"$work/manager.log" 2>&1 &
manager=$!
shmtool status --wait 30000 >/dev/null
number=$(shmtool status --json | sed -nE 's/.*"pid": ?([0-9]+).*/\1/p')
[ "$(stat -c %u "/proc/$number" 2>/dev/null)" != 65533 ] || { echo "its number is its own here"; exit 77; }

ok 'its number is said to be none of here' says 0 'manager: pid [0-9]+ \(of another PID namespace\) serves' doctor
ok 'its user may own the table' says 0 '^0 wrong' doctor
ok 'which --fix leaves to it' says 0 '^0 wrong, 0 fixed' doctor --fix
ok 'it does' test "$(stat -c %u "$work/state/sections.db")" -eq 65533
chown 65534 "$work/state/sections.db"
ok 'and nobody else' says 1 'WRONG +table: .* belongs to uid 65534, who so controls' doctor
ok '--fix gives it back' says 0 "fixed +table: .* was uid 65534's, and is uid 65533's now" doctor --fix
ok 'its user may attach' says 0 'ok +group: uid 65533 may attach, also as a worker' \
    setpriv --reuid 65533 --regid 65532 --clear-groups shmtool doctor -S "$work/state"
