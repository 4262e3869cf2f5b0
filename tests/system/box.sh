# shellcheck shell=bash disable=SC2034 # the sourcing scripts use the variables
# SPDX-License-Identifier: Apache-2.0
#
# A box: a real systemd, PID 1 of namespaces of its own, over a copy-on-write view of this machine's
# root.  For the scripts beside it, which source it with the build directory in $1; 77 where there
# can be none.  On the machine it is a directory, a cgroup and processes; all of them end with the
# script, however that ends:
#
#   the script    runs again as PID 1 of a PID and a mount namespace: when it goes, the kernel ends
#                 all that it started and unmounts all that it mounted
#   the sweeper   waits outside until nobody has the other end of its pipe, so that nothing runs
#                 any more, and removes the cgroup and the directory
#
# box_up, box_down and box_cut boot it, halt it, and pull its plug.  Disks outlive that: whatever is
# neither on /run, /tmp and /var/log nor memory.
set -euo pipefail
key=
box_source=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

box_lacks() {
    echo "no systemd can be booted here: $*"
    exit 77
}

# Where cgroup v2 shows this process.
box_own_cgroup() { sed -n 's/^0:://p' /proc/self/cgroup | sed 's,^/$,,'; }

# Standard input ends when the last process of the box has.  Any directory will do to mount on: the
# mount namespace is the sweeper's alone.
box_sweep() {
    local try
    trap '' INT TERM
    cat >/dev/null
    mount -t cgroup2 box /sys
    for try in {1..100}; do
        [ -d "/sys$BOX_NAME" ] || break
        find "/sys$BOX_NAME" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.02
    done
    rmdir "$SHM_BOX"
}

box_begin() {
    local tool sweeper status
    [ "$(id -u)" -eq 0 ] || box_lacks "it takes root"
    [ -x /lib/systemd/systemd ] || box_lacks "systemd is not installed"
    for tool in unshare nsenter setpriv pivot_root cmake useradd; do
        command -v $tool >/dev/null || box_lacks "there is no $tool"
    done
    grep -q '^0::' /proc/self/cgroup || box_lacks "the kernel has no cgroup v2 hierarchy"
    unshare --mount --pid --ipc --uts --net --cgroup --fork true || box_lacks "no namespaces"
    SHM_BOX=$(mktemp -d "${TMPDIR:-/tmp}/shm-box.XXXXXX")
    BOX_NAME=$(box_own_cgroup)/${SHM_BOX##*/}
    export SHM_BOX BOX_NAME
    export -f box_sweep
    exec 3> >(exec setsid unshare --mount --propagation private "$BASH" -c box_sweep >/dev/null)
    sweeper=$!
    # unshare blocks the signals that end a test; this shell's own death ends it all the same.
    setpriv --pdeathsig KILL unshare --mount --propagation private --pid --fork \
        --kill-child=KILL --mount-proc "$0" "$@" &
    trap 'kill -KILL $!' INT TERM
    status=0
    wait $! || status=$?
    exec 3>&-
    wait "$sweeper" || :
    exit "$status"
}

[ -n "${SHM_BOX-}" ] || box_begin "$@"
mount -t tmpfs -o mode=0755 box "$SHM_BOX"
mkdir "$SHM_BOX"/{upper,work,root,units,cgroup,tmp}
mount -t cgroup2 box "$SHM_BOX/cgroup" || box_lacks "cgroup v2 can't be mounted"
BOX_CGROUP=$SHM_BOX/cgroup$BOX_NAME
mkdir "$BOX_CGROUP" || box_lacks "cgroups can't be made"
export BOX_CGROUP
export TMPDIR=$SHM_BOX/tmp SHM_TEST_ALONE=1
# shellcheck source=tests/interop/harness.sh
. "$box_source/../interop/harness.sh"

# A command in the box; the environment is that of a login there.  systemctl waits 25 s for an
# answer by itself, which a busy machine exceeds.
inside() {
    nsenter --target "$box_pid" --mount --uts --ipc --net --pid --cgroup --root --wdns=/ -- \
        env -i HOME=/root LANG=C.UTF-8 SYSTEMD_PAGER= SYSTEMD_BUS_TIMEOUT=120 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}
as() { # USER COMMAND...
    local user=$1
    shift
    inside setpriv --reuid "$user" --regid "$user" --init-groups "$@"
}

# What a failure leaves to read.
show_log() {
    [ -z "${box_pid-}" ] ||
        inside timeout 30 journalctl --no-pager -b -n 100 -o short-monotonic SYSLOG_IDENTIFIER=shm-manager + _PID=1 || :
}

box_up() {
    local state='' end=$((SECONDS + 60))
    rm -f "$SHM_BOX/pid"
    unshare --pid --fork --kill-child=KILL "$box_source/box_init.sh" >"$work/box.log" 2>&1 &
    box_outer=$!
    until [ -s "$SHM_BOX/pid" ]; do
        if ! kill -0 "$box_outer" 2>/dev/null; then
            cat "$work/box.log"
            [ -z "${box_pid-}" ] || return 1 # it could before
            box_lacks "see above"
        fi
        sleep 0.02
    done
    box_pid=$(<"$SHM_BOX/pid")
    box_root=/proc/$box_pid/root
    until [ "$state" = running ]; do
        state=$(inside timeout 30 systemctl is-system-running --wait 2>/dev/null) || :
        if [ "$state" = degraded ] || [ "$SECONDS" -gt "$end" ]; then
            echo "the box's systemd is '$state'"
            inside systemctl --failed --no-legend --plain || :
            return 1
        fi
    done
}

box_gone() { ! kill -0 "$box_outer" 2>/dev/null; }

box_down() {
    kill -RTMIN+3 "$box_pid" # systemd: halt
    await 60 box_gone || { echo "the box's systemd does not come to an end"; return 1; }
    wait "$box_outer" || :
}

box_cut() {
    kill -KILL "$box_pid"
    wait "$box_outer" 2>/dev/null || :
}

# As the README says; the programs of the tests besides.
box_install() {
    local name
    DESTDIR=$box_root cmake --install "$build" >"$work/install.log"
    {
        inside ldconfig
        inside systemd-sysusers
        inside systemd-tmpfiles --create
        inside systemctl daemon-reload
    } >>"$work/install.log" 2>&1
    if [ -z "${SHM_SOAK-}" ]; then
        # A host may stop this machine for longer than 10 s, which is no manager that hangs.
        for name in shm-manager shm-manager@; do
            mkdir -p "$box_root/etc/systemd/system/$name.service.d"
            printf '[Service]\nWatchdogSec=5min\n' \
                >"$box_root/etc/systemd/system/$name.service.d/box.conf"
        done
        inside systemctl daemon-reload
    fi
    install "$build/tests/system/box_load" "$box_root/usr/local/bin/"
}

box_users() {
    inside useradd --system --user-group --groups shm-workers plant
    inside useradd --system --user-group mallory
}

# UNIT PROPERTY
property() { inside systemctl show --value --property "$2" "$1"; }
active() { [ "$(property "$1" ActiveState)" = active ]; }
main_pid() { property "$1" MainPID; }

# Has the unit a main process that isn't PID?
follows() { # UNIT PID
    local pid
    pid=$(main_pid "$1")
    [ "$pid" -gt 0 ] && [ "$pid" -ne "$2" ] && active "$1"
}
# What the journal of this boot says about a unit.
journal_of() { inside journalctl --sync && inside journalctl --no-pager -o cat -u "$@"; }
journal_says() { # UNIT REGEX
    local said
    said=$(journal_of "$1") && grep -Eq -e "$2" <<<"$said"
}

# ---- the table, and load

# Forty sections that stay as they are, and the ones that box_load works on.
box_table() { # DIRECTORY
    {
        echo "INSERT INTO section(name, owner, size, kind) VALUES"
        local i
        for i in {1..40}; do
            printf "('kept%02d', 'kept', %d, '%s'),\n" "$i" $((i * i * 160)) \
                "$([ $((i % 4)) -eq 0 ] && echo raw || echo snapshot)"
        done
        echo "('load1', 'load1', 10240, 'snapshot'), ('load2', 'load2', 10240, 'snapshot'),"
        echo "('load3', 'load3', 10240, 'snapshot'), ('come', 'comer', 64, 'snapshot');"
    } | inside sqlite3 "$1/sections.db"
}

# As user plant, on the segment of key $key when that is set.
load() { as plant env ${key:+SHMC_KEY=0x$key} box_load "$@"; }
sums() { load sums; }

declare -A box_loads
load_is_ready() { grep -q '^ready ' "$work/load$key"; }
load_begin() {
    rm -f "$work/load$key" # of a load before
    load run >"$work/load$key" 2>&1 &
    box_loads[x$key]=$!
    await 90 load_is_ready || { cat "$work/load$key"; return 1; }
}
load_end() {
    inside kill -TERM "$(sed -n 's/^ready //p' "$work/load$key")" || return 1
    wait "${box_loads[x$key]}" || { cat "$work/load$key"; return 1; }
    sed -n 's/.* publishes .*/load: &/p' "$work/load$key"
}
