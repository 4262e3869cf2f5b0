#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Slots on a live manager; the cases are client_slots.c's.  Usage: test_slots.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"

export SHM_TEST_SHMTOOL=$build/tools/shmtool SHM_TEST_TABLE=$work/state/sections.db
unset SHMC_LEASE
start_manager
edit_table <<'SQL'
INSERT INTO section(name, owner, kind, size, count) VALUES ('board', 'driver', 'slots', 64, 4),
    ('moves', 'driver', 'slots', 64, 4);
INSERT INTO section(name, owner, kind, size, count, shared) VALUES ('pool', 'driver', 'slots', 64, 4, 1);
INSERT INTO section(name, owner, kind, size, count, pregrab) VALUES ('first', 'driver', 'slots', 64, 4, 1);
INSERT INTO section(name, owner, kind, size, count, clear) VALUES ('brief', 'driver', 'slots', 64, 4, 'free');
INSERT INTO worker(name) VALUES ('grabber');
SQL

failed=0
for name in $("$build/tests/system/client_slots" --list); do
    status=0
    (cd "$work" && exec "$build/tests/system/client_slots" "$name") || status=$?
    case $status in
    0) echo "ok $name" ;;
    77) echo "skip $name" ;;
    *) echo "not ok $name (status $status)" && failed=1 ;;
    esac
done
exit $failed
