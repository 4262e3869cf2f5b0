#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Sections made and dropped at run time, while workers and manager are killed with -9, for 5 s (half an
# hour with SHM_SOAK).  SHM_TEST_SEED repeats who does what.  Usage: test_made_kills.sh BUILD-DIRECTORY

# On a disk each commit would wait for it.
[ -n "${TMPDIR-}" ] || [ ! -w /dev/shm ] || export TMPDIR=/dev/shm
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"

start_manager
edit_table <<'SQL'
INSERT INTO worker(name, may_create) VALUES ('w0', 524288), ('w1', 524288), ('w2', 524288), ('w3', 524288);
SQL
end_manager TERM
seconds=5
[ -z "${SHM_SOAK-}" ] || seconds=1800
ok 'what was made is there, what was dropped is not' "$build/tests/system/made_kills" \
    "$build/daemon/shm-manager" "$work" "$SHMC_KEY" "$seconds" ${SHM_TEST_SEED:+"$SHM_TEST_SEED"} \
    2>>"$work/manager.log"
left() { sqlite3 "$work/state/state.db" "SELECT count(*) FROM item WHERE kind = 'section'"; }
ok 'nothing of it is left in state.db' [ "$(left)" -eq 0 ]
start_manager
