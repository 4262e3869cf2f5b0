#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A table that asks for more memory than there is (on the machine, or within the manager's cgroup)
# is refused with a line that says so, and what runs goes on.
# Usage: test_full_memory.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"
limit=$((64 << 20)) group='' backend=''
! grep -Eq "__[at]san_init" "$build/tools/shmtool" || limit=$((256 << 20)) # it takes more itself
refusal='the new sections need [0-9]+ bytes of memory, and'
remedy="make them smaller, or give the machine \(or the manager's cgroup\) more"

sql() { sqlite3 "$work/state/sections.db" "$1"; }
wish() { sql "INSERT INTO section(name, owner, size, kind) VALUES('$1', '$1', $2, 'raw')"; }
drop() { sql "DELETE FROM section WHERE name = '$1'; DELETE FROM worker WHERE name = '$1'"; }

# ---- a cgroup of our own, below the one that we are in

group_here() {
    local unified legacy
    unified=$(findmnt -n -o TARGET -t cgroup2 | head -n 1)$(sed -n 's/^0:://p' /proc/self/cgroup)
    legacy=$(findmnt -n -o TARGET -t cgroup -O memory | head -n 1)$(
        sed -n 's/^[0-9]*:\(.*,\)*memory\(,.*\)*://p' /proc/self/cgroup)
    if grep -qw memory "$unified/cgroup.subtree_control" 2>/dev/null; then
        echo "$unified/${work##*/}" memory.max memory.current
    elif [ -w "$legacy/memory.limit_in_bytes" ]; then
        echo "$legacy/${work##*/}" memory.limit_in_bytes memory.usage_in_bytes
    fi
}

group_begin() {
    local max
    read -r group max usage <<<"$(group_here)" || :
    [ -n "$group" ] || return 1
    if ! mkdir "$group" 2>/dev/null; then
        group=''
        return 1
    fi
    echo "$limit" >"$group/$max" 2>/dev/null
}

# Its last process is the keeper.
group_end() {
    local status=$?
    set +e
    if [ -n "$manager" ]; then
        shmtool destroy --yes >/dev/null 2>&1 || kill "$manager"
        wait "$manager" 2>/dev/null
        manager=''
    fi
    [ -z "$group" ] || await 30 rmdir "$group"
    (exit "$status")
    clean_up
}
trap group_end EXIT

# shellcheck disable=SC2016 # the other shell's variables
start_limited() {
    bash -c 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"' - "$group" \
        "$build/daemon/shm-manager" --key "$SHMC_KEY" --state-dir "$work/state" \
        --runtime-dir "$SHMC_RUNTIME_DIR" >>"$work/manager.log" 2>&1 &
    manager=$!
    shmtool status --wait 30000 >/dev/null
}

# ---- what lives on

layout() { shmtool list | awk '{ print $1, $2, $3, $4 }'; }
# REFUSAL: the table as it is now is refused by that, and all is as it was.
refused() {
    local pid=$manager
    ok "$backend: $case is refused" says 1 "^shmtool reload: $1: $remedy\$" shmtool reload
    ok "$backend: $case: the status says so" says 0 "rejected: $1: .*the last good one runs" \
        shmtool status
    ok "$backend: $case: the manager lives on" kill -0 "$pid"
    ok "$backend: $case: with the layout before" diff "$work/layout" <(layout)
    ok "$backend: $case: a worker publishes" answers publish published
    ok "$backend: $case: a reader reads" await 30 answers 'read temps' 'read alive'
}

# A table with two small sections, in a segment of so many bytes, and somebody attached.
begin() { # SIZE START
    if [ -n "$manager" ]; then
        shmtool destroy --yes >/dev/null
        wait "$manager" 2>/dev/null || :
    fi
    rm -f "$work"/state/*
    SHM_TEST_BACKEND=$backend make_table
    sql "UPDATE segment SET size = $1;
        INSERT INTO section(name, owner, size) VALUES('temps', 'driver', 64), ('brief', 'driver', 64)"
    "$2"
    layout >"$work/layout"
    coproc talk { exec "$build/tests/system/attached"; }
    attached_pid=$!
    ok "$backend: somebody is attached" answers publish published
}
end() {
    end_child "$attached_pid"
}

has=$(($(awk '$1 == "MemTotal:" { print int($2 / 4) }' /proc/meminfo) * 4096))
for backend in sysv memfd; do
    case="more than the machine has"
    begin $((4 * has)) start_manager
    wish huge $((2 * has))
    ok "$backend: a plan doesn't touch it" says 0 "add +huge" shmtool plan
    refused "$refusal [0-9]+ can be had"
    end_manager KILL
    start_manager
    ok "$backend: $case: no start is stopped by it" says 0 "rejected: $refusal [0-9]+ can be had" \
        shmtool status
    ok "$backend: $case: and the layout is that before" diff "$work/layout" <(layout)
    ok "$backend: $case: a worker publishes on" answers publish published
    drop huge
    wish small 1000000
    ok "$backend: what there is can be had afterwards" says 0 'small' shmtool reload
    end
done

if ! group_begin; then
    echo "skip: no limit can be set on a cgroup here (no memory controller that is ours)"
    exit 0
fi
used() { cat "$group/$usage"; }
for backend in sysv memfd; do
    case="more than the cgroup has"
    begin $((1 << 30)) start_limited
    before=$(used)
    wish huge $((3 * limit))
    refused "$refusal (it|[0-9]+) can('t)? be had"
    echo "figure: full_memory.$backend.left_behind $((($(used) - before) / 1024)) KiB"
    ok "$backend: $case: nothing of it is left behind" [ "$(used)" -lt $((before + limit / 8)) ]
    for _ in 1 2 3; do
        ok "$backend: $case: again" says 1 "$refusal" shmtool reload
    done
    drop huge
    wish half $((limit / 2))
    ok "$backend: half of it can be had" says 0 'half' shmtool reload
    ok "$backend: and is taken" [ "$(used)" -gt $((limit / 2)) ]
    layout >"$work/layout"
    wish other $((limit * 3 / 4))
    case="more than is left"
    refused "$refusal (it|[0-9]+) can('t)? be had"
    ok "$backend: nobody but the child was killed" kill -0 "$manager"
    end
done
