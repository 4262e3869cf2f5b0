#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs `bench` on a manager of its own.  Usage: run.sh BUILD-DIRECTORY [OPTIONS OF bench]
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"
shift

start_manager
for bytes in 64 1024 10240 65536 1048576; do
    for side in left right; do
        echo "INSERT INTO section(name, owner, size, stamp) VALUES
            ('$side-$bytes', '$side', $bytes, 'none');"
        echo "INSERT INTO section(name, owner, size, stamp, notify) VALUES
            ('unrung-$side-$bytes', '$side', $bytes, 'none', 'never');"
        echo "INSERT INTO section(name, owner, size) VALUES
            ('stamped-$side-$bytes', '$side', $bytes);"
    done
done | { cat
    for bytes in 64 1024; do
        echo "INSERT INTO section(name, owner, kind, size, count, stamp) VALUES
            ('slots-$bytes', 'left', 'slots', $bytes, 16, 'none'),
            ('stamped-slots-$bytes', 'left', 'slots', $bytes, 16, 'precise');"
        echo "INSERT INTO section(name, owner, kind, size, count, stamp) VALUES
            ('queue-left-$bytes', 'left', 'queue', 262144, 2, 'none'),
            ('queue-right-$bytes', 'right', 'queue', 262144, 2, 'none');"
    done
    echo "INSERT INTO worker(name) VALUES ('third');"; } | edit_table

# iceoryx has a daemon, of which a machine has one.
roudi_runs() {
    grep -q 'RouDi is ready' "$work/roudi.log"
}
case " $* " in
*' --peers '*)
    if command -v iox-roudi >/dev/null && [ ! -e /dev/shm/iceoryx_mgmt ]; then
        iox-roudi -m off >"$work/roudi.log" 2>&1 &
        children+=($!)
        if await 10 roudi_runs; then export BENCH_ROUDI=yes; fi
    fi
    ;;
esac

"$build/tests/bench/bench" "$@"
