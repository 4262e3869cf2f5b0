#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Sections marked persist, as a service: their bytes over a shutdown, a power cut, and the change
# from one backend to the other, each with its own memory gone.
# Usage: test_systemd_checkpoint.sh BUILD-DIRECTORY
# shellcheck source=tests/system/box.sh
. "$(dirname "$0")/box.sh"
table=/var/lib/shm-manager/sections.db
sql() { inside sqlite3 "$table" "$1"; }
values() { load sums | sed -E 's/ at [0-9]+ incarnation [0-9]+//'; }
came_back() { # WHAT
    values >"$work/after"
    ok "$1: every byte of what persists is there" diff "$work/before" "$work/after"
    ok "and said" await 30 journal_says shm-manager '40 section\(s\) restored from the checkpoint'
    bytes=$((bytes + $(sed 's/.*: \([0-9]*\) bytes .*/\1/' "$work/after" | awk '{ n += $1 } END { print n }')))
}
bytes=0

box_up
box_install
box_users
ok "service and socket are enabled" \
    inside systemctl enable --quiet --now shm-manager.service shm-manager.socket
box_table /var/lib/shm-manager
sql "UPDATE section SET persist = 1 WHERE name LIKE 'kept%'"
ok "the table is applied" inside systemctl reload shm-manager
ok "sections are filled" load fill
values >"$work/before"
ok "there is something to sum" [ "$(wc -l <"$work/before")" -eq 40 ]

box_down
box_up
ok "the service starts with the machine" await 30 active shm-manager
came_back "shut down and up"
box_cut
box_up
ok "the service starts with the machine" await 30 active shm-manager
came_back "the power cut"

sql "UPDATE segment SET backend = 'memfd'"
ok "the segment is destroyed" inside shmtool destroy --yes
ok "and made by the other backend" inside systemctl start shm-manager.service
ok "which has it" says 0 'kernel \(memfd\)' as plant shmtool status
came_back "from sysv to memfd"
box_down
box_up
ok "the service starts with the machine" await 30 active shm-manager
came_back "memfd shut down and up"
ok "the hardened service saves as asked" says 0 '^0 section\(s\) saved .*, 40 had not changed' \
    inside shmtool checkpoint
echo "figure: unit.bytes_restored $bytes bytes"
box_down
