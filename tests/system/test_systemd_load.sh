#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Whatever happens to the installed service, what runs goes on: no operation of attached workers and
# readers fails, who comes meanwhile only waits, and no byte of a section changes.  30 kills; 100 with
# SHM_SOAK.  On the backend that SHM_BACKEND names, else sysv.
# Usage: test_systemd_load.sh BUILD-DIRECTORY
# shellcheck source=tests/system/box.sh
. "$(dirname "$0")/box.sh"
backend=${SHM_BACKEND-sysv} kills=30
[ -z "${SHM_SOAK-}" ] || kills=100

box_up
box_install
box_users
inside shmtool table init --table /var/lib/shm-manager/sections.db >/dev/null
inside sqlite3 /var/lib/shm-manager/sections.db "UPDATE segment SET backend = '$backend'"
inside systemctl enable --quiet --now shm-manager.socket shm-manager.service
box_table /var/lib/shm-manager
inside systemctl reload shm-manager
ok "the backend is $backend" says 0 "\($backend\)" as plant shmtool status
load fill
sums >"$work/before"
load_begin

# After each event the same sections stand at the same place with the same bytes.
same() { # CASE...
    ok "after $*: the same sections, and every byte" diff "$work/before" <(sums)
}
restarts() { property shm-manager NRestarts; }
leases() { as plant shmtool workers | awk '$1 ~ /^load/ { print $1, $2, $3, $(NF - 1) }'; }
leases >"$work/leases"

# ---- reload
table() { inside sqlite3 /var/lib/shm-manager/sections.db "$1"; }
table "INSERT INTO section(name, owner, size) VALUES('late', 'late', 4096)"
ok "a section is added" inside systemctl reload shm-manager
ok "and is there" says 0 '^late ' as plant shmtool list
table "DELETE FROM section WHERE name = 'late'"
ok "and taken away" inside systemctl reload shm-manager
same reloads

# ---- restart
for round in 1 2 3 4 5; do
    pid=$(main_pid shm-manager)
    ok "restart $round" inside systemctl restart shm-manager
    ok "is another process" follows shm-manager "$pid"
done
same restarts

# ---- kill -9
for ((round = 1; round <= kills; round++)); do
    pid=$(main_pid shm-manager)
    begin=${EPOCHREALTIME/./}
    inside systemctl kill --kill-who=main --signal=KILL shm-manager
    await 90 follows shm-manager "$pid" || ok "kill $round: it comes back" false
    echo $(((${EPOCHREALTIME/./} - begin) / 1000)) >>"$work/times"
done
ok "it came back from $kills kills" [ "$(restarts)" -eq "$kills" ]
echo "figure: unit.$backend.kills $kills kills"
sort -n "$work/times" | sed -n "$(((kills + 1) / 2))s/.*/figure: unit.$backend.back_after_kill_median & ms/p;
    \$s/.*/figure: unit.$backend.back_after_kill_max & ms/p"
same "$kills kills"

# ---- a manager that hangs
if [ -z "${SHM_SOAK-}" ]; then # the unit's own 15 s are long
    printf '[Service]\nWatchdogSec=2s\nTimeoutAbortSec=1s\n' \
        >"$box_root/etc/systemd/system/shm-manager.service.d/hurry.conf"
    inside systemctl daemon-reload
fi
inside systemctl restart shm-manager
pid=$(main_pid shm-manager)
inside kill -STOP "$pid"
ok "the watchdog ends a manager that was stopped" await 90 follows shm-manager "$pid"
ok "and says so" await 30 journal_says shm-manager 'Watchdog timeout'
same "the watchdog"

# ---- stop and start
ok "the service stops" says 0 '' inside systemctl stop shm-manager.service
ok "while the socket stays, the next client starts it" says 0 generation as plant shmtool status
ok "and it runs" active shm-manager
inside systemctl stop shm-manager.socket shm-manager.service
ok "both stop" [ "$(property shm-manager ActiveState)" = inactive ]
ok "and start" inside systemctl start shm-manager.socket shm-manager.service
same "stop and start"

# ---- systemd itself, and an upgrade
ok "systemd reexecutes" inside systemctl daemon-reexec
same "a daemon-reexec"
program=$(inside readlink "/proc/$(main_pid shm-manager)/exe")
inode=$(inside stat -c %i "$program")
find "$box_root/${program%/sbin/*}"/{sbin,bin,lib} -name '*shm*' -type f -exec touch -d @0 {} +
box_install
ok "an upgrade puts another program there" [ "$(inside stat -c %i "$program")" != "$inode" ]
inside systemctl try-restart shm-manager
runs_new() { [ "$(inside stat -L -c %i "/proc/$(main_pid shm-manager)/exe")" = "$(inside stat -c %i "$program")" ]; }
ok "which runs" runs_new
same "an upgrade"
ok "the leases are those of the beginning" diff "$work/leases" <(leases)
ok "no operation failed in all this" load_end
awk -v on="$backend" '/ failures$/ {
    print "figure: unit." on ".operations_under_events", $1 + $3 + $5 + $7, "operations"
    print "figure: violations.unit_operations_" on, $9, "violations" }' "$work/load"

# ---- reboots
bytes=$(sed 's/.*: \([0-9]*\) bytes .*/\1/' "$work/before" | awk '{ n += $1 } END { print n }')
echo "figure: unit.$backend.bytes_compared $bytes bytes"
places() { sed 's/ incarnation.*//' "$1"; }
for how in box_down box_cut; do
    $how
    box_up
    ok "$how: the service starts with the machine" await 30 active shm-manager
    load fill
    sums >"$work/after"
    ok "the same layout, from the same table" diff <(places "$work/before") <(places "$work/after")
    load_begin
    ok "workers attach again, and go on" load_end
done
ok "the history of edits outlives them" says 0 '^ +[0-9]+ .* auto_apply +applied +2 ' inside shmtool history
