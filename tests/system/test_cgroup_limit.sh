#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The limits of a cgroup v2 tree, which few machines let a test set: the manager sees files of ours
# in the place of the tree.  A table that asks for more than the least of the limits above it leave
# is refused before anything is touched, and what runs goes on.
# Where a limit can be set in earnest: test_full_memory.sh.
# Usage: test_cgroup_limit.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"
own=/plant.slice/shm-manager.service
printf '0::%s\n' $own >"$work/cgroup"
# shellcheck disable=SC2016 # the other shell's variables
below='mount -t tmpfs none /sys/fs/cgroup && mkdir -p "/sys/fs/cgroup$1" &&
    mount --bind "$2" /proc/$$/cgroup && shift 2 && exec "$@"'
in_cgroup=(unshare --mount --propagation private bash -c "$below" - "$own" "$work/cgroup")
if ! "${in_cgroup[@]}" grep -qx "0::$own" /proc/self/cgroup 2>/dev/null; then
    echo "skipped: nothing can be mounted on /sys/fs/cgroup and /proc"
    exit 77
fi

sql() { sqlite3 "$work/state/sections.db" "$1"; }
wish() { sql "INSERT INTO section(name, owner, size, kind) VALUES('$1', '$1', $2, 'raw')"; }
drop() { sql "DELETE FROM section WHERE name = '$1'; DELETE FROM worker WHERE name = '$1'"; }
layout() { shmtool list | awk '{ print $1, $2, $3, $4 }'; }

start_below() {
    make_table
    "${in_cgroup[@]}" "$build/daemon/shm-manager" --key "$SHMC_KEY" --state-dir "$work/state" \
        --runtime-dir "$SHMC_RUNTIME_DIR" >>"$work/manager.log" 2>&1 &
    manager=$!
    shmtool status --wait 30000 >/dev/null
    tree=/proc/$manager/root/sys/fs/cgroup
}
limit() { # CGROUP MAX CURRENT
    echo "$2" >"$tree$1/memory.max"
    echo "$3" >"$tree$1/memory.current"
}
# CASE BYTES: the table as it is now is refused, as so many can be had, and all is as it was.
refused() {
    ok "$on: $1: refused" says 1 \
        "^shmtool reload: the new sections need [0-9]+ bytes of memory, and $2 can be had: make them" \
        shmtool reload
    ok "$on: $1: the manager lives on" kill -0 "$manager"
    ok "$on: $1: with the layout before" diff "$work/layout" <(layout)
    ok "$on: $1: a worker publishes" answers publish published
    ok "$on: $1: a reader reads" await 30 answers 'read temps' 'read alive'
}

for on in sysv memfd; do
    rm -f "$work"/state/*
    SHM_TEST_BACKEND=$on
    start_below
    edit_table <<<"INSERT INTO section(name, owner, size) VALUES('temps', 'driver', 64), ('brief', 'driver', 64)"
    layout >"$work/layout"
    coproc talk { exec "$build/tests/system/attached"; }
    child=$!
    children+=("$child")
    ok "$on: somebody is attached" answers publish published

    limit "$own" 4000000 2500000
    wish big 3000000
    refused "the own cgroup's limit" 1500000
    limit "$own" 4000000 5000000
    refused "a cgroup that is over its limit" 0
    limit "$own" max 2500000
    limit "${own%/*}" 9000000 8000000
    refused "the limit of the one above" 1000000
    limit "${own%/*}" max 1
    limit "" 7000000 6300000
    refused "a container's, at the root" 700000
    limit "$own" 8000000 7400000
    refused "the least of them" 600000
    limit "$own" nonsense 0
    limit "" max max
    ok "$on: without a limit it is applied" says 0 'add +big' shmtool reload
    drop big
    ok "$on: and taken back" says 0 'remove +big' shmtool reload
    end_child "$child"
    wait "$child" 2>/dev/null || :
    shmtool destroy --yes >/dev/null
    wait "$manager" || :
    manager=''
done
