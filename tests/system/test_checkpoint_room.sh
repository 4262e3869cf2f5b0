#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The disk that a checkpoint took is given back when what it saved is gone.
# Usage: test_checkpoint_room.sh BUILD-DIRECTORY
# On a disk each commit would wait for it.
[ -n "${TMPDIR-}" ] || [ ! -w /dev/shm ] || export TMPDIR=/dev/shm
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"

state_bytes() { stat -c %s "$work/state/state.db"; }
publish() {
    head -c 12000000 /dev/zero | tr '\0' "$1" | shmtool put big
}

start_manager
edit_table <<<"INSERT INTO section(name, owner, size, persist, count) VALUES('big', 'driver', 12000000, 1, 2);
    INSERT INTO section(name, owner, size, persist) VALUES('small', 'driver', 64, 1)"
publish x
printf stays | shmtool put small
ok 'much is saved' says 0 '^2 section\(s\) saved' shmtool checkpoint
ok 'and takes room' test "$(state_bytes)" -gt 12000000
edit_table <<<"DELETE FROM section WHERE name = 'big'"
ok 'what is gone is forgotten by the next' says 0 '^0 section\(s\) saved' shmtool checkpoint
ok 'and by the one behind that, at last' says 0 '^0 section\(s\) saved' shmtool checkpoint
ok 'its room is given back' test "$(state_bytes)" -lt 3000000
shmtool destroy --yes >/dev/null
{ wait "$manager"; } 2>/dev/null || :
start_manager
ok 'what is left is whole' test "$(shmtool get small)" = stays
