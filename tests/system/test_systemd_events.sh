#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What becomes of a segment, in a real systemd: the lines of the table of shm-manager(8) that take
# one, with values that are marked persist and others that aren't, and somebody attached.
# Restart, crash, hang and upgrade under load: test_systemd_load.sh.  Without systemd: test_events.sh.
# On the backend that SHM_BACKEND names, else sysv.
# Usage: test_systemd_events.sh BUILD-DIRECTORY
# shellcheck source=tests/system/box.sh
. "$(dirname "$0")/box.sh"
backend=${SHM_BACKEND-sysv}
table=/var/lib/shm-manager/sections.db
units=(shm-manager.socket shm-manager.service)
memfd() { [ "$backend" = memfd ]; }

# ---- values: the first twenty persist

# shellcheck disable=SC2016 # the other shell's variables
look() {
    as plant bash -c 'for i in {01..40}; do
        echo "kept$i $({ shmtool get "kept$i" || echo none; } 2>/dev/null | sha256sum)"; done'
}
fill() {
    load fill
    look >"$work/before"
}
stay() { diff "$work/before" <(look); }
saved_came_back() { diff <(head -n 20 "$work/before") <(head -n 20 "$work/after"); }
others_are_gone() { [ -z "$(tail -n 20 "$work/before" | sort | comm -12 - <(sort "$work/after"))" ]; }
came_back() { # CASE
    look >"$work/after"
    ok "$1: what persists has come back" saved_came_back
    ok "$1: and nothing else" others_are_gone
}

# ---- somebody who is attached

begin_attached() {
    coproc talk { as plant attached; }
    attached=$!
    await 30 answers publish published
}
notices_nothing() { # CASE
    ok "$1: who is attached notices nothing" answers publish published
}
is_told() { # CASE
    ok "$1: the writer is told" await 30 answers publish EIDRM
    ok "$1: and the reader" await 30 answers 'read temps' 'EIDRM unknown'
}
end_attached() {
    local status=0
    eval "exec ${talk[1]}>&-"
    wait "$attached" || status=$?
    return "$status"
}

# ---- the service

enable() { inside systemctl enable --quiet --now "${units[@]}"; }
serves() { as plant shmtool status --wait 60000 >/dev/null; }
runs_again() { # CASE
    ok "$1: it starts" inside systemctl start "${units[@]}"
    ok "$1: and serves" serves
}
keeper_is() { [ "$(property shm-keeper ActiveState)" = "$1" ]; }
is_inactive() { [ "$(property "$1" ActiveState)" = inactive ]; }
install_all() {
    box_install
    install "$build/tests/system/attached" "$box_root/usr/local/bin/"
}

box_up
install_all
box_users
inside shmtool table init --table "$table" >/dev/null
inside sqlite3 "$table" "UPDATE segment SET backend = '$backend'"
ok "service and sockets are enabled" enable
box_table /var/lib/shm-manager
inside sqlite3 "$table" "UPDATE section SET persist = 1 WHERE name BETWEEN 'kept01' AND 'kept20';
    INSERT INTO section(name, owner, size) VALUES ('temps', 'driver', 64), ('brief', 'guest', 64)"
ok "the table is applied" inside systemctl reload shm-manager
ok "by backend $backend" says 0 "\($backend\)" as plant shmtool status
fill
ok "there are values" [ "$(grep -vc "$(echo none | sha256sum)" "$work/before")" -eq 40 ]
ok "somebody attaches" begin_attached

# ---- stop
ok "stop" inside systemctl stop "${units[@]}"
notices_nothing stop
ok "stop: who wants to be a worker is told" says 3 'no manager answers|so no manager' \
    as plant shmtool run --worker kept -- true
if memfd; then
    ok "stop: so is a reader" says 3 'so no manager' as plant shmtool get kept01
else
    ok "stop: a reader reads" says 0 '' as plant shmtool get kept01 -o /dev/null
fi
runs_again stop
ok "stop: all stays" stay
notices_nothing "start"

# ---- the manager and what holds its memory
if memfd; then
    keeper=$(main_pid shm-keeper)
    inside kill -KILL "$keeper"
    ok "the keeper is killed: another holds the memory" await 90 follows shm-keeper "$keeper"
    notices_nothing "the keeper is killed"
    ok "the keeper is killed: all stays" stay
    case="manager and keeper at once"
    pid=$(main_pid shm-manager)
    ok "$case: what persists is saved" inside shmtool checkpoint
    # One that is stopped can't give the memory to another keeper in between.
    inside kill -STOP "$pid"
    inside kill -KILL "$(main_pid shm-keeper)" "$pid"
else
    ok "no keeper runs" keeper_is inactive
    case="ipcrm, and the manager is killed"
    pid=$(main_pid shm-manager)
    ok "$case: what persists is saved" inside shmtool checkpoint
    inside kill -STOP "$pid"
    inside ipcrm -M 0x53484d31
    inside kill -KILL "$pid"
fi
ok "$case: the manager comes again" await 90 follows shm-manager "$pid"
ok "$case: and serves" serves
came_back "$case"
is_told "$case"
ok "$case: they detach" end_attached
fill
ok "$case: and attach anew" begin_attached

# ---- destroy
ok "destroy" inside shmtool destroy --yes
is_told destroy
ok "destroy: they detach" end_attached
runs_again destroy
came_back destroy
fill

# ---- disable, and reboots
begin_attached
ok "disable" inside systemctl disable --quiet shm-manager.service
notices_nothing disable
ok "disable: all stays" stay
ok "disable: it serves on" serves
end_attached
box_down
box_up
ok "disable: the service does not start at the next boot" is_inactive shm-manager.service
ok "disable: nor do its sockets" is_inactive shm-manager.socket
ok "disable: nor the keeper's" is_inactive shm-keeper.socket
ok "reboot: it is enabled again" enable
came_back reboot
fill
ok "what persists is saved" inside shmtool checkpoint
box_cut
box_up
ok "power cut: it starts by itself" await 90 active shm-manager
came_back "power cut"
fill

# ---- removal of what was installed, as shm-manager.service(7) has it
remove_files() {
    local file
    sed -n 's,^-- [A-Z][a-z-]*: /proc/[0-9]*/root,,p' "$work/install.log" | while read -r file; do
        [ -d "$box_root$file" ] || rm "$box_root$file"
    done
    inside systemctl daemon-reload
}
is_removed() { ! inside which shmtool >/dev/null && [ "$(property shm-manager LoadState)" = not-found ]; }
begin_attached
inside systemctl disable --quiet --now "${units[@]}"
remove_files
ok "removal: nothing is left to start" is_removed
notices_nothing removal
if memfd; then
    ok "removal: the keeper stays" inside kill -0 "$(main_pid shm-keeper)"
else
    ok "removal: the segment stays" says 0 '^0x53484d31 ' inside ipcs -m
fi
install_all
ok "removal: installed and enabled again" enable
ok "removal: all stays" stay
notices_nothing "installed again"
ok "purge: destroyed" inside shmtool destroy --yes
is_told purge
end_attached
inside systemctl disable --quiet --now "${units[@]}"
inside systemctl stop shm-keeper.socket
remove_files
inside rm -r /var/lib/shm-manager /run/shm-manager
ok "purge: nothing is left to start" is_removed
ok "purge: no memory is left" says 1 '' inside sh -c 'ipcs -m | grep -E "^0x[0-9a-f]+ .* shm-mana"'
ok "purge: nor a keeper" await 30 keeper_is inactive
install_all
ok "purge: installed and enabled again" enable
ok "purge: it begins with an empty table" says 0 'generation 1; 0 sections' \
    inside systemctl status --no-pager --lines 0 shm-manager.service
box_down
