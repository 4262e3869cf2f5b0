#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What a table of many sections costs: start, reload, list, and opening them by name.  What is not
# to be true is said on the way: how many there are, and that all of them can be opened.
# Usage: sections.sh BUILD-DIRECTORY [HOW-MANY]
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"
many=${2-10000}
renice -n -20 -p $$ >/dev/null 2>&1 || : # as far as it is allowed

# Runs a command three times, and says the median of its times in milliseconds.
timed() {
    local name=$1 i started times=()
    shift
    for i in 1 2 3; do
        [ -z "${prepare-}" ] || "$prepare" "$i"
        started=${EPOCHREALTIME/./}
        "$@" >"$work/output" || { cat "$work/output"; return 1; }
        times+=($((${EPOCHREALTIME/./} - started)))
    done
    printf '%s\n' "${times[@]}" | sort -n | awk -v name="$name" \
        'NR == 2 { printf "figure: bench.sections.%s %.1f ms\n", name, $1 / 1000 }'
}

change_one() {
    sqlite3 "$work/state/sections.db" \
        "UPDATE section SET stale_ms = 1000 + $1 WHERE name = 's$((many / 2))'"
}

change_all() {
    sqlite3 "$work/state/sections.db" "UPDATE section SET stale_ms = 2000 + $1"
}

without_manager() {
    shmtool destroy --yes >/dev/null
    wait "$manager"
    manager=''
}

killed_manager() {
    kill -9 "$manager"
    wait "$manager" 2>/dev/null || :
    manager=''
}

start_manager
sqlite3 "$work/state/sections.db" <<SQL
UPDATE segment SET auto_apply = 0;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $many)
INSERT INTO section(name, owner, size) SELECT 's' || i, 'driver' || (i % 100), 64 FROM n;
SQL
started=${EPOCHREALTIME/./}
shmtool reload >/dev/null
echo "figure: bench.sections.reload-added $(((${EPOCHREALTIME/./} - started) / 1000)) ms"
ok "there are $many" test "$(shmtool list | tail -n +2 | wc -l)" -eq "$many"

prepare=change_one timed reload-one shmtool reload
prepare=change_all timed reload-all shmtool reload
prepare='' timed list shmtool list
"$build/tests/bench/bench" --open s "$many"
prepare=without_manager timed start start_manager
prepare=killed_manager timed adopt start_manager
ok "there are still $many" test "$(shmtool list | tail -n +2 | wc -l)" -eq "$many"
