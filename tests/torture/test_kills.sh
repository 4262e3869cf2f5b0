#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# test_kills.sh BUILD-DIRECTORY BACKEND [SEED]: some seconds of torture (10 minutes with SHM_SOAK, or
# as many seconds as it says), while the table is edited, so that directories are flipped all the
# time.
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"

backend=$2 name=torture
case $backend in
sysv) seconds=20 ;;
*) seconds=10 name=torture.$backend ;;
esac
if [ -n "${SHM_SOAK-}" ]; then
    seconds=600
    [ "$SHM_SOAK" -le 1 ] 2>/dev/null || seconds=$SHM_SOAK
fi

start_manager
if [ "$backend" != sysv ]; then
    sqlite3 "$work/state/sections.db" "UPDATE segment SET backend = '$backend'"
    shmtool destroy --yes
    wait "$manager"
    start_manager
fi
ok "the backend is $backend" says 0 "\($backend\)" shmtool status
edit_table <<'SQL'
INSERT INTO section(name, owner, size, count) VALUES ('small', 'small', 64, 4),
    ('page', 'page', 4096, 2), ('middle', 'middle', 10240, 3), ('large', 'large', 262144, 4);
SQL
end_manager TERM # the torture has one of its own, to kill

"$build/tests/torture/torture" "$build/daemon/shm-manager" "$work/state" "$seconds" "${@:3}" \
    >"$work/torture.log" 2>>"$work/manager.log" &
torture=$!
children+=("$torture")
edits=0
while kill -0 "$torture" 2>/dev/null; do
    sqlite3 -cmd '.timeout 30000' "$work/state/sections.db" \
        "UPDATE section SET persist = 1 - persist" 2>>"$work/manager.log" && edits=$((edits + 1))
    sleep 0.2
done
status=0
wait "$torture" || status=$?
sed "s/^figure: torture\./figure: $name./; s/^figure: violations\.torture /figure: violations.$name /" \
    "$work/torture.log"
echo "figure: $name.edits $edits edits"
[ "$edits" -gt $((seconds / 2)) ] || { echo "not ok: only $edits edits" && status=1; }
start_manager
ok 'nobody was told anything wrong' [ "$status" -eq 0 ]
