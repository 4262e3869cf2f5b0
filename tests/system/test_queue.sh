#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Queues through the library, on a live manager, which is also killed in the midst of it.
# The cases are client_queue*.c beside this; each runs in a process of its own.
# Usage: test_queue.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"

export SHM_TEST_TABLE=$work/state/sections.db
unset SHMC_LEASE
start_manager
edit_table <<'SQL'
INSERT INTO section(name, owner, size) VALUES ('temps', 'driver', 4096);
INSERT INTO section(name, owner, kind, size, count) VALUES
    ('jobs', 'runner', 'queue', 4096, 4), ('tiny', 'runner', 'queue', 256, 1),
    ('pool', 'crew', 'queue', 16384, 8);
UPDATE worker SET instances = 2 WHERE name = 'crew';
SQL

for program in client_queue client_queue_life; do
    for name in $("$build/tests/system/$program" --list); do
        status=0
        (cd "$work" && exec "$build/tests/system/$program" "$name") || status=$?
        case $status in
        0) echo "ok $program $name" ;;
        77) echo "skip $program $name" ;;
        *) echo "not ok $program $name (status $status)" && failed=1 ;;
        esac
    done
done

# ---- a manager that comes and goes under the traffic

"$build/tests/system/client_queue_traffic" >"$work/traffic.log" 2>&1 &
traffic=$!
children+=("$traffic")
await 60 grep -q '^flowing' "$work/traffic.log"
for _ in 1 2 3; do
    end_manager KILL
    sleep 0.2
    start_manager
done
kill -TERM "$traffic"
status=0
wait "$traffic" || status=$?
cat "$work/traffic.log"
if [ "$status" -ne 0 ]; then
    echo "not ok traffic goes on without a manager (status $status)"
    failed=1
fi

exit $failed
