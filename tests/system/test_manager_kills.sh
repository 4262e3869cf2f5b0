#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The manager killed with -9 under load, 50 times (1,000 with SHM_SOAK).
# Usage: test_manager_kills.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"

start_manager
edit_table <<'SQL'
INSERT INTO section(name, owner, size) VALUES ('load1', 'load1', 20000), ('load2', 'load2', 20000),
    ('load3', 'load3', 20000), ('load4', 'load4', 20000), ('still', 'still', 100);
SQL
kill "$manager"
wait "$manager" || :
manager=''
kills=50
[ -z "${SHM_SOAK-}" ] || kills=1000
ok 'no publish, read, value, lease or directory suffers' "$build/tests/system/manager_kills" \
    "$build/daemon/shm-manager" "$work" "$SHMC_KEY" "$kills" 2>>"$work/manager.log"
start_manager
