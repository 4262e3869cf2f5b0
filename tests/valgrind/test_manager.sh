#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# test_manager.sh BUILD-DIRECTORY: a manager, workers and shmtool, each under memcheck: tables that
# are applied and refused, values, a worker that is killed, requests of each sort, and the end.
set -euo pipefail
# shellcheck source=tests/valgrind/memcheck.sh
. "$(dirname "$0")/memcheck.sh"
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"

programs=0
# STATUS COMMAND...: under memcheck, and with that exit status.
checked() {
    local status=$1 code=0
    shift
    programs=$((programs + 1))
    "${memcheck[@]}" --log-file="$work/memcheck.%p" "$@" >"$work/out" 2>&1 || code=$?
    cat "$work"/memcheck.*[0-9]
    rm "$work"/memcheck.*[0-9]
    [ "$code" -eq "$status" ] && return
    echo "gave $code (not $status): $*"
    cat "$work/out"
    return 1
}
# The manager's own report, once it has ended with 0.
manager_ends() {
    wait "$manager" || { echo "the manager gave $?"; cat "$work/manager.log"; return 1; }
    manager=''
    ! grep -E '^==[0-9]+==' "$work/manager.log"
}
start_checked() {
    programs=$((programs + 1))
    "${memcheck[@]}" "$build/daemon/shm-manager" --key "$SHMC_KEY" --state-dir "$work/state" \
        --runtime-dir "$SHMC_RUNTIME_DIR" >>"$work/manager.log" 2>&1 &
    manager=$!
    shmtool status --wait 60000 >/dev/null
}
tool=$build/tools/shmtool

start_checked
sqlite3 "$work/state/sections.db" <<'SQL'
INSERT INTO section(name, owner, size, stale_ms) VALUES ('temps', 'driver', 4096, 500),
    ('cam', 'grabber', 65536, 0);
INSERT INTO section(name, owner, kind, size) VALUES ('bytes', 'driver', 'raw', 8192);
SQL
ok 'a plan' checked 0 "$tool" plan
ok 'a reload' checked 0 "$tool" reload
head -c 4000 /dev/urandom >"$work/value"
ok 'a value is put' checked 0 "$tool" put temps --in "$work/value"
ok 'a value is got' checked 0 "$tool" get temps --out "$work/got"
ok 'and it is the same' cmp "$work/value" "$work/got"
ok 'a raw section' checked 0 "$tool" put bytes --in "$work/value"
ok 'a worker that runs a command' checked 0 "$tool" run --worker grabber -- true
"${memcheck[@]}" --log-file="$work/memcheck.killed" "$tool" run --worker grabber -- \
    "$tool" get temps -f >"$work/out" 2>&1 &
children+=("$!")
ok 'a worker is there' await 60 sh -c "shmtool workers grabber | grep -q $!"
ok 'and is killed' kill -9 "$!"
for verb in status list workers doctor diff history 'table show' 'table dump' 'check temps'; do
    # shellcheck disable=SC2086 # words
    ok "$verb" checked "$(shmtool $verb >/dev/null 2>&1 && echo 0 || echo $?)" "$tool" $verb
done
sqlite3 "$work/state/sections.db" "UPDATE section SET size = 16700000 WHERE name = 'cam'"
ok 'a refusal' checked 1 "$tool" reload
ok 'a revert' checked 0 "$tool" table revert
sqlite3 "$work/state/sections.db" "DELETE FROM section WHERE name = 'cam'"
ok 'a removal' checked 0 "$tool" reload
kill -TERM "$manager"
ok 'a manager that stops' manager_ends
start_checked
ok 'a value that it adopted' checked 0 "$tool" get temps --out "$work/got"
ok 'and it is still the same' cmp "$work/value" "$work/got"
ok 'the end of it' checked 0 "$tool" destroy --yes
ok 'and of its manager' manager_ends
echo "figure: valgrind.programs $programs programs"
