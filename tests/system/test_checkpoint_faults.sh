#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The whole manager killed, and its system calls failed, while it saves and while it starts on fresh
# memory and restores: the next one finds the checkpoint before or the one that was being made, both
# sections of it, and the values in memory are the newest in any case.  (Each call of saving and of
# restoring by itself: tests/crash/faults/checkpoint.sh.)  A sample; with SHM_SOAK all points.
# Usage: test_checkpoint_faults.sh BUILD-DIRECTORY

# On a disk each commit would wait for it.
[ -n "${TMPDIR-}" ] || [ ! -w /dev/shm ] || export TMPDIR=/dev/shm
# shellcheck source=tests/interop/harness.sh disable=SC2016 # perl's variables
. "$(dirname "$0")/../interop/harness.sh"
[ -x "$build/tests/crash/faults/faults_manager" ] || { echo 'skipped: sanitizers are not to be traced'; exit 77; }
command -v strace >/dev/null || { echo 'skipped: no strace'; exit 77; }
strace -qq -o /dev/null true 2>/dev/null || { echo 'skipped: nothing can be traced'; exit 77; }
on_sysv || { echo 'skipped: for sysv'; exit 77; }
sample=24
[ -z "${SHM_SOAK-}" ] || sample=100000
daemon_command=("$build/daemon/shm-manager" --key "$SHMC_KEY" --state-dir "$work/state"
    --runtime-dir "$SHMC_RUNTIME_DIR" --checkpoint-every 0)
calls='trace=pwrite64,pread64,fdatasync,unlink,openat,fcntl,ftruncate,shmget,shmat,mmap,close'

values() { echo "$(shmtool get a) $(shmtool get b)"; }
put_both() {
    for section in a b; do printf '%s-%s' "$1" "$section" | shmtool put "$section"; done
}
# Under strace, with or without a fault; true when it serves.
start_traced() { # STRACE-OPTIONS...
    {
        strace -f -qq -o "$work/trace" -e "$calls" "$@" "${daemon_command[@]}"
        exit
    } >>"$work/manager.log" 2>&1 & # bash's "Killed", too
    manager=$!
    until shmtool status --wait 20 >/dev/null 2>&1; do
        kill -0 "$manager" 2>/dev/null || { end_traced; return 1; }
    done
}
# strace passes on neither TERM nor its own death.
end_traced() {
    [ -n "$manager" ] || return 0
    local pid
    pid=$(pgrep -P "$manager" || :) # strace, and the manager below
    [ -z "$pid" ] || pid=$(pgrep -P "$pid" || :)
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || :
    ended=0
    wait "$manager" || ended=$?
    manager=''
}
# What happens at one point, and what must be so behind it.
setting() { # 1st is saved
    rm -rf "$work/state"
    cp -r "$work/kept" "$work/state"
    remove_segment "$SHMC_KEY"
}
save() { # STRACE-OPTIONS...
    setting
    start_manager
    put_both 2nd
    end_manager KILL
    start_traced "$@" || return 0
    shmtool checkpoint >/dev/null 2>&1 || :
    end_traced
}
check_save() {
    start_manager
    local found
    found=$(values 2>/dev/null || :)
    [ "$found" = '2nd-a 2nd-b' ] || { echo "$1: in memory is: $found"; return 1; }
    end_manager KILL
    remove_segment "$SHMC_KEY"
    start_manager
    found=$(values 2>/dev/null || :)
    end_manager TERM
    case $found in '1st-a 1st-b' | '2nd-a 2nd-b') ;; *) echo "$1: came back: $found"; return 1 ;; esac
}
restore() {
    setting
    start_traced "$@" || return 0
    end_traced
}
check_restore() {
    start_manager
    local found
    found=$(values 2>/dev/null || :)
    end_manager TERM
    [ "$found" = '1st-a 1st-b' ] || { echo "$1: came back: $found"; return 1; }
}

traced() { sed -nE 's/^[0-9]+ +([a-z0-9_]+)\(.*/\1/p' "$1" | sort | uniq -c; }
points_of() { # "NAME N ACTION" of a run's own calls, from the trace of one without faults
    local name n count first
    while read -r count name; do
        first=$(traced "$work/early" | awk -v name="$name" '$2 == name { print $1 }')
        for ((n = ${first:-0} + 1; n <= count; n++)); do
            echo "$name $n signal=KILL"
            case $name in
            pwrite64 | ftruncate) echo "$name $n error=ENOSPC" ;;
            mmap | shmget | shmat) echo "$name $n error=ENOMEM" ;;
            close) ;;
            *) echo "$name $n error=EIO" ;;
            esac
        done
    done < <(traced "$work/trace")
}
points=0 ended=0
sweep() { # save | restore
    local list step name n action
    "$1"
    points_of >"$work/points"
    list=$(wc -l <"$work/points")
    step=$(((list + sample - 1) / sample))
    while read -r name n action; do
        "$1" -e inject="$name:$action:when=$n"
        end_traced
        case $ended in 0 | 1 | 137) ;; *) echo "$1, $name $n $action: ended by $ended"; return 1 ;; esac
        "check_$1" "$1, $name $n $action" || return 1
        points=$((points + 1))
    done < <(awk -v step="$step" 'NR % step == 1 % step' "$work/points")
}

strace -f -qq -o "$work/early" -e "$calls" "$build/daemon/shm-manager" --help >/dev/null # the loader's
start_manager
edit_table <<<"INSERT INTO section(name, owner, size, persist) VALUES ('a', 'driver', 64, 1), ('b', 'driver', 9000, 1)"
put_both 1st
shmtool checkpoint >/dev/null
end_manager TERM
cp -r "$work/state" "$work/kept"
ok 'killed or failed while it starts and restores: all comes back' sweep restore
ok 'and while it saves: what was, or what was to be' sweep save
echo "figure: kill_points.checkpoint_manager $points points"
