#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# test_queue_kills.sh BUILD-DIRECTORY BACKEND [SEED]: a minute of torture of a queue (10 with
# SHM_SOAK, or as many seconds as it says), and less of it on other backends than sysv.
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"

export SHM_TEST_BACKEND=$2
case $2 in
sysv) seconds=60 name=torture.queue ;;
*) seconds=10 name=torture.queue_$2 ;;
esac
if [ -n "${SHM_SOAK-}" ]; then
    seconds=600
    [ "$SHM_SOAK" -le 1 ] 2>/dev/null || seconds=$SHM_SOAK
fi

start_manager
edit_table <<'SQL'
INSERT INTO worker(name) VALUES ('first'), ('second');
INSERT INTO worker(name, instances) VALUES ('jobs', 2);
INSERT INTO section(name, owner, kind, size, count) VALUES ('queue', 'jobs', 'queue', 8192, 8);
SQL
ok "the backend is $2" says 0 "\($2\)" shmtool status
end_manager TERM # the torture has one of its own, to kill

status=0
"$build/tests/torture/torture_queue" "$build/daemon/shm-manager" "$work/state" "$seconds" \
    "${@:3}" >"$work/torture.log" 2>>"$work/manager.log" || status=$?
sed "s/^figure: torture\.queue\./figure: $name./; s/^figure: violations\.torture\.queue /figure: violations.$name /" \
    "$work/torture.log"
start_manager
ok 'every message was received once' [ "$status" -eq 0 ]
