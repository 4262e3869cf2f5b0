#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The library on a live manager: leases, fork and exec, values, waits, faults and leaks.  The cases are
# the client_*.c beside this; each runs in a process of its own.  Usage: test_client.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"

export SHM_TEST_TABLE=$work/state/sections.db SHM_TEST_LIBRARY=$build/libclient/libshmclient.so
unset SHMC_LEASE
start_manager
edit_table <<'SQL'
INSERT INTO section(name, owner, size) VALUES
    ('temps', 'driver', 4096), ('other', 'driver', 4096), ('cam', 'grabber', 65536),
    ('fresh', 'driver', 64);
INSERT INTO section(name, owner, size, stale_ms) VALUES ('quick', 'driver', 64, 150);
INSERT INTO section(name, owner, size, format) VALUES ('formed', 'driver', 1000, 'temps/2');
INSERT INTO section(name, owner, size, count) VALUES ('deep', 'driver', 64, 4);
INSERT INTO section(name, owner, kind, size) VALUES
    ('bytes', 'driver', 'raw', 8192), ('theirs', 'grabber', 'raw', 8192);
INSERT INTO section(name, owner, kind, size, shared) VALUES ('common', 'grabber', 'raw', 8192, 1);
INSERT INTO worker(name, instances) VALUES ('prefork', 2);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
INSERT INTO section(name, owner, size) SELECT printf('many%04d', i), 'bulk', 64 FROM n;
SQL

failed=0
for program in client_lease client_anonymous client_rude client_values client_waits client_life client_unload; do
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
exit $failed
