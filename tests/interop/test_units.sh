#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Does systemd accept the installed units, users and directories?
. "$(dirname "$0")/harness.sh"
command -v systemd-analyze >/dev/null || { echo "no systemd-analyze here"; exit 77; }
install_tree
prefix=$root$(sed -n 's/^CMAKE_INSTALL_PREFIX:[A-Z]*=//p' "$build/CMakeCache.txt")
units=$prefix/lib/systemd/system

# The programs are not where the unit will find them one day, but below $root.
mkdir "$work/units"
sed "s,${prefix#"$root"}/,$prefix/,g" "$units/shm-manager.service" \
    >"$work/units/shm-manager.service"
sed "s,${prefix#"$root"}/,$prefix/,g" "$units/shm-keeper.service" >"$work/units/shm-keeper.service"
cp "$units/shm-manager.socket" "$units/shm-keeper.socket" "$work/units"
verify() {
    MANPATH=$prefix/share/man systemd-analyze verify --recursive-errors=one \
        "$(command -v man >/dev/null && echo --man=yes || echo --man=no)" \
        "$work"/units/* 2>&1 | tee "$work/said"
    [ ! -s "$work/said" ]
}
ok "the units" verify

exposure() {
    systemd-analyze security --offline=true --threshold=6 --no-pager \
        "$work/units/$1.service" >"$work/security" && tail -n 1 "$work/security"
}
ok "they expose little" exposure shm-manager
ok "the keeper less" exposure shm-keeper

if [ "$(id -u)" -ne 0 ]; then
    echo "the users and directories were left out: making them takes root"
    exit 0
fi
host=$work/host
mkdir -p "$host/etc"
users() {
    systemd-sysusers --root="$host" "$prefix/lib/sysusers.d/shm-manager.conf" &&
        grep -q '^shm-manager:' "$host/etc/passwd" && grep -q '^shm-workers:' "$host/etc/group" &&
        grep -q '^shm-admin:' "$host/etc/group"
}
ok "the users" users
directories() {
    local id
    id=$(sed -n 's/^shm-manager:[^:]*:\([0-9]*\):.*/\1/p' "$host/etc/passwd")
    systemd-tmpfiles --root="$host" --create "$prefix/lib/tmpfiles.d/shm-manager.conf" &&
        [ "$(stat -c '%a %u' "$host/run/shm-manager")" = "755 $id" ] &&
        [ "$(stat -c '%a %u' "$host/var/lib/shm-manager")" = "2750 0" ] &&
        [ "$(stat -c '%a %u' "$host/etc/shm-manager/sections.d")" = "755 0" ]
}
ok "the directories" directories
