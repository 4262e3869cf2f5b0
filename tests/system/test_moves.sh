#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Sections that move: the library's cases (client_moves.c), and then the soak (moves/): 200 sections with
# workers and readers at full speed, 20 edits per second, right and wrong ones, half of them applied by
# the manager itself and half by reload, and kills, for 30 s (MOVES_SECONDS; an hour with SHM_SOAK, or
# that many seconds).  SHM_TEST_SEED repeats edits.
# Usage: test_moves.sh BUILD-DIRECTORY
[ ! -w /dev/shm ] || export TMPDIR=/dev/shm # commits wait for no disk, or the edits would come late
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"

export SHM_TEST_TABLE=$work/state/sections.db
unset SHMC_LEASE
start_manager
edit_table <<'SQL'
INSERT INTO section(name, owner, size) VALUES ('grows', 'driver', 4096), ('free', 'driver', 4096),
    ('shrinks', 'driver', 4096), ('begun', 'driver', 4096), ('followed', 'driver', 4096),
    ('slept', 'driver', 4096), ('viewed', 'driver', 4096), ('taken', 'driver', 4096),
    ('lost', 'driver', 4096), ('alone', 'driver', 4096), ('shared', 'driver', 4096), ('signalled', 'driver', 4096),
    ('other', 'grabber', 4096);
SQL
for name in $("$build/tests/system/client_moves" --list); do
    ok "$name" "$build/tests/system/client_moves" "$name"
done
shmtool destroy --yes >/dev/null
end_manager TERM
rm "$work"/state/*

seconds=${MOVES_SECONDS-30}
if [ -n "${SHM_SOAK-}" ]; then
    seconds=3600
    [ "$SHM_SOAK" -le 1 ] 2>/dev/null || seconds=$SHM_SOAK
fi
start_manager
end_manager TERM
ok 'moves cost no value' "$build/tests/system/moves" "$build/daemon/shm-manager" "$work" "$SHMC_KEY" \
    "$seconds" 200 20 ${SHM_TEST_SEED:+"$SHM_TEST_SEED"} 2>>"$work/manager.log"
start_manager
