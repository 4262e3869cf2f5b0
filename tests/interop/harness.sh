# shellcheck shell=bash disable=SC2034 # the sourcing scripts use the variables
# SPDX-License-Identifier: Apache-2.0
#
# For the scripts beside it, which source it with the build directory in $1: a key, directories and
# (for root) an IPC namespace of the test's own, all gone at its end.
set -euo pipefail
build=$(cd "$1" && pwd)
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

if [ "$(id -u)" -eq 0 ] && [ -z "${SHM_TEST_ALONE-}" ] && unshare --ipc true 2>/dev/null; then
    SHM_TEST_ALONE=ipc exec unshare --ipc "$0" "$@"
fi

# No lease lasts on an overlay, which /tmp is in many a container.
base=${TMPDIR:-/tmp}
[ "$(stat -f -c %T "$base")" != overlayfs ] || base=/dev/shm
work=$(mktemp -d "$base/shm-interop.XXXXXX")
mkdir "$work/state" "$work/run"
SHMC_KEY=$(printf '0x%08x' $((0x40000000 | RANDOM << 15 | RANDOM)))
export SHMC_KEY SHMC_RUNTIME_DIR=$work/run
PATH=$build/tools:$PATH
children=() manager='' failed=0 talk=()

# A segment of System V and its doorbells, whose id is in its header: what a reboot takes.
remove_segment() { # KEY
    perl -e 'my $id = shmget(hex shift, 0, 0) // exit;
        my $bells = pack("L", 0); # the id + 1
        shmread($id, $bells, 140, 4);
        shmctl($_, 0, 0) for $id, unpack("L", $bells) - 1' "$1"
}

# Doorbells and probes that a manager made, and was killed before any header had their ids: ours,
# of nobody who lives, and in no segment.
remove_unfound() {
    perl -ne 'my ($key, $id, undef, $bytes, $maker, undef, $attached, $uid) = split;
        my $bells = pack("L", 0);
        $named{unpack("L", $bells) - 1} = 1 if $key && shmread($id, $bells, 140, 4);
        push @private, $id if $key eq "0" && ($bytes == 4096 || $bytes == 1052672) &&
            $attached eq "0" && $uid eq $> && $maker && !-e "/proc/$maker";
        END { shmctl($_, 0, 0) for grep { !$named{$_} } @private }' /proc/sysvipc/shm
}

show_log() {
    [ ! -e "$work/manager.log" ] || sed 's/^/manager: /' "$work/manager.log"
}

clean_up() {
    local status=$? child
    trap - EXIT
    for child in "${children[@]}"; do
        { kill "$child" && kill -CONT "$child" && wait "$child"; } 2>/dev/null || :
    done
    if [ -n "$manager" ]; then
        kill -CONT "$manager" 2>/dev/null || :
        shmtool destroy --yes >/dev/null 2>&1 || kill "$manager" 2>/dev/null || :
        { wait "$manager"; } 2>/dev/null || :
    fi
    if declare -F at_end >/dev/null; then at_end; fi # the script's own
    remove_segment "$SHMC_KEY"
    ipcrm -S "$SHMC_KEY" 2>/dev/null || :
    remove_unfound
    if [ "$status" -eq 0 ] && [ "${SHM_TEST_ALONE-}" = ipc ] && ipcs -m -s | grep '^0x'; then
        echo "not ok nothing of System V is left behind"
        status=1
    fi
    [ "$status" -eq 0 ] || [ "$status" -eq 77 ] || show_log
    rm -rf "$work"
    exit "$status"
}
trap clean_up EXIT

# Looks every 20 ms, for at most so many seconds.
await() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.02
    done
}

# A case: its name, then a command that must succeed.
ok() {
    local name=$1
    shift
    if "$@"; then
        echo "ok $name"
    else
        echo "not ok $name (it was: $*)"
        exit 1
    fi
}

# With SHM_TEST_BACKEND=memfd the same tests run on that backend.  They say themselves when an edit
# is to be applied (unless SHM_TEST_AUTO says otherwise), so as to have its outcome.
make_table() {
    [ ! -e "$work/state/state.db" ] && [ ! -e "$work/state/sections.db" ] || return 0
    shmtool table init --table "$work/state/sections.db" >/dev/null
    sqlite3 "$work/state/sections.db" "UPDATE segment SET backend = '${SHM_TEST_BACKEND-sysv}',
        auto_apply = ${SHM_TEST_AUTO-0}"
}

on_sysv() {
    [ "${SHM_TEST_BACKEND-sysv}" = sysv ]
}

start_manager() {
    make_table
    "$build/daemon/shm-manager" --key "$SHMC_KEY" --state-dir "$work/state" \
        --runtime-dir "$SHMC_RUNTIME_DIR" >>"$work/manager.log" 2>&1 &
    manager=$!
    shmtool status --wait 30000 >/dev/null
}

# Reads SQL for the table, and applies it.
edit_table() {
    sqlite3 "$work/state/sections.db" && shmtool reload >"$work/reload.log"
}

# What a package would hold, below $root; its library first in line.
install_tree() {
    root=$work/root
    DESTDIR=$root cmake --install "$build" >"$work/install.log"
    PKG_CONFIG_LIBDIR=$(dirname "$(find "$root" -name shmclient.pc)")
    libdir=$(dirname "$PKG_CONFIG_LIBDIR")
    export PKG_CONFIG_LIBDIR PKG_CONFIG_SYSROOT_DIR=$root LD_LIBRARY_PATH=$libdir
}

# The manager with this test's key and directories, where it shall end by itself.
daemon() {
    timeout -k 1 60 "$build/daemon/shm-manager" --key "$SHMC_KEY" --state-dir "$work/state" \
        --runtime-dir "$SHMC_RUNTIME_DIR" "$@"
}

# STATUS REGEX COMMAND...: its exit status, and a line that it prints.
says() {
    local status=$1 regex=$2 code=0 out
    shift 2
    out=$("$@" 2>&1 </dev/null) || code=$?
    [ "$code" -eq "$status" ] && grep -Eq -e "$regex" <<<"$out" && return
    echo "gave $code (not $status), or no /$regex/ in: $out" >&2
    return 1
}

# NAME STATUS REGEX COMMAND...: a case behind which the script goes on; it ends with $failed.
expect() {
    local name=$1
    shift
    if says "$@"; then
        echo "ok $name"
    else
        echo "not ok $name (it was: ${*:3})"
        failed=1
    fi
}

end_manager() { # SIGNAL
    { kill "-$1" "$manager" && wait "$manager"; } 2>/dev/null || :
    manager=''
}

# Who holds the keeper's listening socket.
keeper_pid() {
    local inode fd path=$SHMC_RUNTIME_DIR/${SHMC_KEY#0x}.keeper
    inode=$(awk -v path="$path" '$8 == path && $4 == "00010000" { print $7 }' /proc/net/unix)
    for fd in /proc/[0-9]*/fd/3; do
        [ "$(readlink "$fd" 2>/dev/null)" = "socket:[$inode]" ] || continue
        fd=${fd#/proc/}
        echo "${fd%%/*}"
        return
    done
    return 1
}

# What the program `attached`, coprocess `talk`, answers to a line.
answers() { # LINE ANSWER
    local answer
    echo "$1" >&"${talk[1]}"
    read -r -t 60 answer <&"${talk[0]}"
    [ "$answer" = "$2" ] || { echo "$1 gave: $answer"; return 1; }
}

# System V memory from outside, as any user's script: perl's shmget, shmread, shmwrite.
poke() { # OFFSET BYTE COUNT
    perl -e 'my $id = shmget(hex shift, 0, 0) // die "$!"; my ($at, $byte, $n) = @ARGV;
             shmwrite($id, chr($byte) x $n, $at, $n) or die "$!"' "$SHMC_KEY" "$@"
}
segment_id() {
    perl -e 'print shmget(hex shift, 0, 0) // "none"' "$SHMC_KEY"
}

end_child() { # PID
    { kill "$1" && wait "$1"; } 2>/dev/null || :
}
