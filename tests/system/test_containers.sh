#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Workers, readers and manager in different PID, IPC, mount and user namespaces, as containers have
# them, with nothing in common but the runtime directory: what works there, and what the messages
# say, also of what can't.  shm-containers(7) has the same for people.
# Usage: test_containers.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"
[ "$(id -u)" -eq 0 ] || { echo "it takes root to make the namespaces"; exit 77; }
for kind in --pid --ipc --mount --user; do
    unshare $kind --fork true 2>/dev/null || { echo "there is no unshare $kind here"; exit 77; }
done
chmod 755 "$work"
own=(unshare --pid --ipc --mount --fork --kill-child=KILL --mount-proc)
member=(setpriv --reuid 65533 --regid 65530 --clear-groups)
other=(setpriv --reuid 65532 --regid 65530 --clear-groups)
shm_manager=("$build/daemon/shm-manager" --key "$SHMC_KEY" --runtime-dir "$SHMC_RUNTIME_DIR")
journal=$work/manager.log
holder='' waiting='' lone_pid=''

# shellcheck disable=SC2016 # the other shell's variables
container() { # COMMAND...: sees the runtime directory at another place, and neither table nor state
    "${own[@]}" bash -c 'mount --bind "$1" /mnt && mount -t tmpfs none "$2" && shift 2 &&
        SHMC_RUNTIME_DIR=/mnt exec "$@"' - "$SHMC_RUNTIME_DIR" "$work" "$@"
}
logged() { grep -Eq -e "$1" "$journal"; }
value_is() { [ "$(shmtool get "$1")" = "$2" ]; }
worker_is() { says 0 "$1" shmtool workers driver; }
free() { shmtool workers driver | grep -q ' free '; }
# A worker in a container, which goes on; its pid as it is here.
hold() { # COMMAND...
    "$@" shmtool run --worker driver -- sleep 300 2>"$work/hold" &
    holder=$!
    await 30 worker_is ' leased ' || { cat "$work/hold"; return 1; }
}
# The first process below PID, and below that; they have no other children.
lowest() {
    local pid=$1 next
    while next=$(cat "/proc/$pid/task/$pid/children" 2>/dev/null) && [ -n "$next" ]; do
        pid=${next%% *}
    done
    echo "$pid"
}
destroy() { # [COMMAND...]: as whom
    [ -n "$manager" ] || return 0
    "$@" shmtool destroy --yes >/dev/null
    wait "$manager" 2>/dev/null || :
    manager=''
}
# The first process of a PID namespace, and unshare above it, don't mind SIGTERM.
cut_off() { # PID
    [ -z "$1" ] || kill -KILL "$(lowest "$1")" 2>/dev/null || :
    [ -z "$1" ] || { wait "$1"; } 2>/dev/null || :
}
# Not the lowest, which is a keeper.
cut_off_manager() {
    kill -KILL "$(cat "/proc/$manager/task/$manager/children")" 2>/dev/null || kill -KILL "$manager"
    { wait "$manager"; } 2>/dev/null || :
}
finish() {
    local status=$?
    set +e
    cut_off "$holder"
    cut_off "$waiting"
    cut_off "$lone_pid"
    if [ "$status" -ne 0 ]; then
        cut_off_manager
        manager=''
    fi
    (exit "$status")
    clean_up
}
trap finish EXIT
with_manager() { # BACKEND COMMAND...: started by that
    destroy
    rm -rf "$work"/state/*
    SHM_TEST_BACKEND=$1 make_table
    sqlite3 "$work/state/sections.db" "UPDATE segment SET group_name = '65530';
        INSERT INTO section(name, owner, size)
        VALUES('temps', 'driver', 64), ('brief', 'driver', 64), ('mine', 'member', 64);
        UPDATE worker SET user = '65533' WHERE name = 'member'"
    again "${@:2}"
}
again() { # COMMAND...: the manager, with what there is
    "$@" "${shm_manager[@]}" --state-dir "$work/state" >>"$journal" 2>&1 &
    manager=$!
    shmtool status --wait 30000 >/dev/null
}

# ---- memfd: workers and readers in containers, the manager outside
with_manager memfd env
ok 'a worker in a container publishes' container shmtool put temps <<<one
ok 'which is read outside' value_is temps one
ok 'and in another container' says 0 '^one$' container shmtool get temps
ok 'that has nothing but the directory' says 3 "no shared memory under key .*, so no manager" \
    container env SHMC_RUNTIME_DIR="$SHMC_RUNTIME_DIR" shmtool get temps
ok 'a process there is worker and reader at once' says 0 'published' container bash -c \
    "$build/tests/system/attached <<<publish"
ok 'a worker in a container holds its lease' hold container
pid=$(lowest "$holder")
ok 'its pid is the one that the manager sees' worker_is " leased +$pid "
ok 'also as it is seen in a container' says 0 " leased +$pid " container shmtool workers driver
ok 'where its sections have a living writer' says 0 '^temps .* alive ' container shmtool list
ok 'who wants its name outside is told by whom it is held' \
    says 1 "held by process $pid \(sleep\): end it" shmtool put temps
ok 'and so in another container' says 1 "held by process $pid \(sleep\): end it" \
    container shmtool put temps
container shmtool get --follow --count 1 --timeout 30000 brief >"$work/waited" 2>&1 &
waiting=$!
kill -KILL "$pid"
ok 'a kill -9 ends its lease' await 30 free
ok 'and the journal says so' await 30 logged "worker 'driver': process $pid (was killed|ended)"
cut_off "$holder"
printf two | shmtool put brief
ok 'who waits in a container is woken by a publish outside' wait "$waiting"
ok 'and has the value' grep -q two "$work/waited"
ok 'a container is told of the dead writer' says 0 '^temps .* gone ' container shmtool list
ok 'status is true in a container' says 0 'memfd' container shmtool status

# ---- the manager in a PID namespace of its own: it can't see who comes
with_manager memfd "${own[@]}"
anybody='a process of another PID namespace'
for where in env container; do
    ok "$where: a worker publishes by a manager that can't see it" "$where" shmtool put temps <<<three
    ok "$where: and is read" value_is temps three
    ok "$where: the journal says what it was" \
        await 30 logged "worker 'driver' is $anybody \(uid 0\)"
    ok "$where: it holds its lease" hold "$where"
    ok "$where: without a pid" worker_is ' leased +- '
    ok "$where: who wants its name is told what is known" says 1 \
        "held by $anybody than the manager's \(uid 0\): end it there, or wait" shmtool put temps
    : >"$journal"
    kill -KILL "$(lowest "$holder")"
    ok "$where: a kill -9 ends its lease" await 30 free
    ok "$where: and the journal says so" \
        await 30 logged "worker 'driver': $anybody (was killed|ended)"
    cut_off "$holder"
done
printf four | shmtool put temps
hold container
ok 'the status tells whose number its pid is' says 0 '"pid_namespace": ?[1-9]' shmtool status --json
ok 'revoke takes the lease of one that it cannot see' shmtool revoke driver
ok 'and another takes its name' shmtool put temps <<<five
cut_off "$holder"
holder=''

# ---- user namespaces
ok 'a member of the group in a user namespace reads' says 0 five \
    "${member[@]}" unshare --user --map-root-user shmtool get temps
ok 'and is the worker that the table names' \
    "${member[@]}" unshare --user --map-root-user shmtool put mine <<<six
ok 'another is not, and its true uid is named' \
    says 1 "worker 'mine' may only be|worker 'member' may only be user '65533' .* you are uid 65532" \
    "${other[@]}" unshare --user --map-root-user shmtool put mine
chmod 777 "$SHMC_RUNTIME_DIR"
ok 'in a directory where anybody writes, a manager that has no uid there is not trusted' \
    says 3 "is somebody's whom your user namespace doesn't know, and others may write in" \
    "${member[@]}" unshare --user --map-root-user shmtool get temps
chmod 755 "$SHMC_RUNTIME_DIR"
began=${EPOCHREALTIME/./}
destroy
ok "destroy doesn't wait for the process that has the manager's number here" \
    [ $((${EPOCHREALTIME/./} - began)) -lt 12000000 ]
mkdir "$work/rootless" "$work/rootless/state"
SHMC_RUNTIME_DIR=$work/rootless/run
mkdir "$SHMC_RUNTIME_DIR"
mv "$work"/state/* "$work/rootless/state"
chown -R 65533:65530 "$work/rootless"
"${member[@]}" unshare --user --map-root-user "${own[@]}" "$build/daemon/shm-manager" \
    --key "$SHMC_KEY" --runtime-dir "$SHMC_RUNTIME_DIR" --state-dir "$work/rootless/state" \
    >"$work/rootless.log" 2>&1 &
manager=$!
ok 'a manager without root in a user namespace serves its own uid' \
    says 0 'memfd' "${member[@]}" shmtool status --wait 30000
ok 'whose workers publish from outside' "${member[@]}" shmtool put temps <<<seven
ok 'and another uid is told why it is refused' \
    says 1 "your uid has no number in the manager's user namespace: run the manager in the host's" \
    "${other[@]}" shmtool get temps
destroy "${member[@]}"
SHMC_RUNTIME_DIR=$work/run

# ---- sysv: only with the IPC namespace in common
with_manager sysv env
shared=(unshare --pid --mount --fork --kill-child=KILL --mount-proc)
ok 'sysv: a worker in a PID namespace publishes' "${shared[@]}" shmtool put temps <<<eight
ok 'sysv: and is read outside' value_is temps eight
ok 'sysv: in another IPC namespace a reader is told what to share' says 3 \
    "no shared memory under key .* serves it in /mnt, with backend sysv: .* another IPC namespace" \
    container shmtool get temps
ok 'sysv: and a worker' says 3 'another IPC namespace' container shmtool put temps
ok 'sysv: a user namespace does not know who made the memory' says 3 \
    "made by somebody whom your user namespace doesn't know .* or use backend memfd" \
    "${member[@]}" unshare --user --map-root-user shmtool get temps

# ---- where the keeper is
with_manager memfd env
printf nine | shmtool put temps
end_manager TERM
again "${own[@]}"
ok 'a manager in a container finds the keeper outside' value_is temps nine
cut_off_manager
again "${own[@]}"
ok 'and the end of its container costs nothing' value_is temps nine
destroy
again "${own[@]}"
printf ten | shmtool put temps
ok 'a keeper that it started itself is in its container' value_is temps ten
cut_off_manager
again env
ok 'and ends with that, with what it held' says 1 'nothing' shmtool get temps

# ---- a directory that can't be written, and the socket's file instead of it
# shellcheck disable=SC2016 # the other shell's variables
ok 'mounted read-only the directory serves as well' container bash -c \
    'mount -o remount,bind,ro /mnt && ! touch /mnt/x 2>/dev/null && shmtool put temps <<<read-only'
mkdir "$work/lone"
# shellcheck disable=SC2016 # the other shell's variables
mounted='touch "$2" && mount --bind "$1" "$2" && echo mounted && read -r && shmtool get temps'
socket=${SHMC_KEY#0x}.sock
coproc lone { SHMC_RUNTIME_DIR=$work/lone exec "${own[@]}" bash -c "$mounted" - \
    "$work/run/$socket" "$work/lone/$socket" 2>&1; }
lone_pid=$!
exec {from_lone}<&"${lone[0]}" {to_lone}>&"${lone[1]}" # bash's own are gone as soon as it ends
read -r line <&"$from_lone"
ok 'a socket is mounted without its directory' [ "$line" = mounted ]
end_manager TERM
again env
echo >&"$to_lone"
read -r line <&"$from_lone"
ok 'after a restart nobody answers there' grep -q 'no manager answers at .*lone' <<<"$line"
