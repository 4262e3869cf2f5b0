#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# More than one segment: instances of shm-manager@ beside the service, by key and by name; workers
# as units, from the example.
# Usage: test_systemd_keys.sh BUILD-DIRECTORY
# shellcheck source=tests/system/box.sh
. "$(dirname "$0")/box.sh"

box_up
box_install
box_users
start() { # UNIT: service and socket
    inside systemctl enable --quiet --now "$1.socket" "$1.service"
}
unit() { echo "shm-manager${key:+@$key}"; }

# ---- three at once
for key in '' 0000beef 0000cafe; do
    ok "$(unit) starts" start "$(unit)"
    ok "$(unit) has a table of its own" box_table "/var/lib/shm-manager${key:+/$key}"
    ok "$(unit) applies it" inside systemctl reload "$(unit)"
    ok "$(unit) has sections that are filled" load fill
    sums >"$work/before$key"
    load_begin
done
owners() {
    [ "$(inside stat -c '%U:%G %a' /var/lib/shm-manager/0000beef{,/sections.db,/state} \
        /run/shm-manager/0000beef.{sock,leases} | tr '\n' ' ')" = "root:shm-manager 2750 \
root:shm-manager 640 shm-manager:shm-manager 700 root:root 666 shm-manager:shm-manager 700 " ]
}
ok "files belong to whom they should" owners
mkdir -p "$box_root/etc/shm-manager/0000beef/sections.d"
echo "INSERT INTO section(name, owner, size) VALUES('filed', 'f', 64) ON CONFLICT DO NOTHING;" \
    >"$box_root/etc/shm-manager/0000beef/sections.d/10-filed.sql"
ok "an instance has its own files of rows" inside systemctl restart shm-manager@0000beef
ok "which it applies" says 0 filed as plant shmtool --key 0xbeef list filed
ok "to its own table" says 1 '' as plant shmtool --key 0xcafe list filed
socket_of() { as plant shmtool --key "0x$1" status --json | grep -q "\"runtime\": *\"/run/shm-manager\""; }
ok "a client finds an instance by the key alone" socket_of beef

key=0000beef
pid=$(main_pid "$(unit)")
others="$(main_pid shm-manager) $(main_pid shm-manager@0000cafe)"
inside systemctl kill --kill-who=main --signal=KILL "$(unit)"
ok "one is killed, and comes back" await 90 follows "$(unit)" "$pid"
inside sqlite3 /var/lib/shm-manager/0000beef/sections.db "UPDATE section SET owner = 'x' WHERE name = 'load1'"
ok "one refuses its table" says 1 '' inside systemctl reload "$(unit)"
ok "and says why" await 30 journal_says "$(unit)" "section 'load1'"
ok "the others apply theirs" inside systemctl reload shm-manager.service shm-manager@0000cafe.service
ok "one stops" inside systemctl stop "$(unit).socket" "$(unit).service"
ok "the others are as they were" \
    [ "$(main_pid shm-manager) $(main_pid shm-manager@0000cafe)" = "$others" ]
ok "and it starts again" inside systemctl start "$(unit).socket" "$(unit).service"
for key in '' 0000beef 0000cafe; do
    ok "$(unit): every byte is there" diff "$work/before$key" <(sums)
    ok "$(unit): no operation failed" load_end
done
exposure() {
    inside systemd-analyze security --no-pager --threshold=10 "$1" >"$work/security" &&
        sed -nE 's/.*exposure level for .*: ([0-9.]+) .*/figure: unit.exposure_of_instance \1 score/p' \
            "$work/security"
}
ok "an instance exposes as little as the service" exposure shm-manager@0000beef.service

# ---- by another name
override() { # UNIT LINE...
    local unit=$1
    shift
    mkdir -p "$box_root/etc/systemd/system/$unit.d"
    printf '%s\n' "$@" >"$box_root/etc/systemd/system/$unit.d/override.conf"
}
override shm-manager@plant.socket '[Socket]' ListenSequentialPacket= \
    ListenSequentialPacket=/run/shm-manager/000000aa.sock
override shm-manager@plant.service '[Service]' Environment=SHMC_KEY=0xaa
inside systemctl daemon-reload
ok "a name takes two drop-ins" start shm-manager@plant
ok "and serves its key" says 0 '^generation' as plant shmtool --key 0xaa status
ok "through its socket unit" says 1 '' journal_says shm-manager@plant 'systemd passed'
ok "with a table of its own" inside test -e /var/lib/shm-manager/plant/sections.db
ok "it reloads" inside systemctl reload shm-manager@plant

# ---- mistakes
ok "a name without them fails" says 1 '' start shm-manager@mistake
ok "and says what is missing" \
    await 30 journal_says shm-manager@mistake '0xmistake: a key is a number'
inside systemctl stop shm-manager@mistake.socket shm-manager@mistake.service
ok "a key that isn't of eight digits is served" start shm-manager@77
ok "though not through its socket, which is said" await 30 journal_says shm-manager@77 \
    'systemd passed a socket that is not /run/shm-manager/00000077.sock'
ok "a key twice is refused" says 1 '' inside systemctl start shm-manager@000000aa.service
ok "naming who has it" await 30 journal_says shm-manager@000000aa \
    "key 0x000000aa is served already, by the manager with pid $(main_pid shm-manager@plant)"
inside systemctl stop shm-manager@000000aa.socket shm-manager@000000aa.service

# ---- workers as units
example=$(inside find / -xdev -path '*/doc/shm-manager/examples/shm-worker@.service')
inside cp "$example" /etc/systemd/system/
mkdir -p "$box_root/usr/local/lib/shm-workers"
for worker in temp-driver valve-driver; do
    inside ln -s /usr/local/bin/box_load "/usr/local/lib/shm-workers/$worker"
done
inside sqlite3 /var/lib/shm-manager/sections.db "INSERT INTO section(name, owner, size) VALUES
    ('temp-driver', 'temp-driver', 64), ('valve-driver', 'valve-driver', 64);"
inside systemctl reload shm-manager
inside systemctl daemon-reload
ok "the example verifies" says 0 '^$' inside systemd-analyze verify --man=no \
    /etc/systemd/system/shm-worker@temp-driver.service
ok "workers start as units" \
    inside systemctl enable --quiet --now shm-worker@temp-driver shm-worker@valve-driver
leased() { as plant shmtool workers "$1" | grep -q "leased *$(main_pid "shm-worker@$1") "; }
for worker in temp-driver valve-driver; do
    ok "$worker holds its lease" await 30 leased $worker
done
pid=$(main_pid shm-worker@temp-driver)
inside systemctl kill --signal=KILL shm-worker@temp-driver
ok "one is killed, and comes back" await 90 follows shm-worker@temp-driver "$pid"
ok "with its lease" await 30 leased temp-driver
pid=$(main_pid shm-worker@valve-driver)
inside systemctl stop shm-manager.socket shm-manager.service
ok "workers outlast the manager" [ "$(main_pid shm-worker@valve-driver)" = "$pid" ]
inside systemctl restart shm-worker@temp-driver
inside systemctl start shm-manager.socket shm-manager.service
ok "one that was started without it has waited" await 90 leased temp-driver
box_down
