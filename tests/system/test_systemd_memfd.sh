#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The memfd backend as a service: the keeper's unit holds the memory over restart, crash and stop of
# the manager's, and either is replaced by the other.
# Usage: test_systemd_memfd.sh BUILD-DIRECTORY
# shellcheck source=tests/system/box.sh
. "$(dirname "$0")/box.sh"
table=/var/lib/shm-manager/sections.db

box_up
box_install
box_users
inside systemd-run --quiet --wait shmtool table init --if-missing --table "$table"
inside sqlite3 "$table" "UPDATE segment SET backend = 'memfd'"
ok "service and sockets are enabled by the service" \
    inside systemctl enable --quiet --now shm-manager.service shm-manager.socket
ok "the table is filled" box_table /var/lib/shm-manager
ok "and applied" inside systemctl reload shm-manager
ok "the keeper runs in a unit of its own" active shm-keeper.service
ok "no complaint" says 1 '' journal_says shm-manager "manager's own unit"
ok "the memory is the kernel's to protect" says 0 'kernel \(memfd\)' as plant shmtool status
ok "sections are filled" load fill
sums >"$work/before"
ok "there is something to sum" [ "$(wc -l <"$work/before")" -eq 40 ]
load_begin

pid=$(main_pid shm-manager) keeper=$(main_pid shm-keeper)
ok "a restart under load" inside systemctl restart shm-manager.service
for _ in {1..5}; do
    pid=$(main_pid shm-manager)
    inside systemctl kill --kill-who=main --signal=KILL shm-manager.service
    await 30 follows shm-manager.service "$pid"
done
ok "crashes under load" diff "$work/before" <(sums)
ok "the keeper is the same" [ "$(main_pid shm-keeper)" = "$keeper" ]
inside systemctl kill --kill-who=main --signal=KILL shm-keeper.service
replaced() { follows shm-keeper.service "$keeper" && journal_says shm-manager 'a new one holds'; }
ok "a keeper that is killed is replaced" await 30 replaced
pid=$(main_pid shm-manager)
inside systemctl kill --kill-who=main --signal=KILL shm-manager.service
ok "and the manager behind it" await 30 follows shm-manager.service "$pid"
ok "every byte is there" diff "$work/before" <(sums)
ok "no operation failed" load_end

ok "both stop" inside systemctl stop shm-manager.socket shm-manager.service
ok "the keeper stays" active shm-keeper.service
ok "and start again" inside systemctl start shm-manager.socket shm-manager.service
ok "with every byte" diff "$work/before" <(sums)
gone() { ! active shm-keeper.service; }
ok "destroy ends it" inside shmtool destroy --yes
ok "and the keeper" await 30 gone
ok "which can be asked for again" inside systemctl start shm-manager.socket shm-manager.service
ok "for a new segment" says 0 'kept40' as plant shmtool list
box_down
