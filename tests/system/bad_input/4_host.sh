# shellcheck shell=bash disable=SC2016,SC2154 # perl's variables; the sourcing script's
# SPDX-License-Identifier: Apache-2.0
#
# A host that doesn't give what is asked for: permissions, kernel limits, disk space, RLIMITs.

kind 'no permission'
if root; then
    bad 'for the runtime directory' 1 "$work/run2: can't be made: Permission denied" \
        as_nobody timeout 60 "$build/daemon/shm-manager" --key 0x4bad0001 --state-dir "$work/theirs" --runtime-dir "$work/run2"
    bad 'for the state directory' 1 "state2: can't be made: Permission denied|Permission denied" \
        as_nobody timeout 60 "$build/daemon/shm-manager" --key 0x4bad0001 --state-dir "$work/state2" --runtime-dir "$work/theirs"
    bad 'for a reader outside the group' 1 'uid 65533 may not read it; become a member of its group' as_nobody shmtool list
    bad 'for a worker' 1 'uid 65533 may not write it; become a member of its group' as_nobody shmtool run --worker driver -- true
    bad 'for who may not manage' 1 'takes root, the manager|not permitted' as_nobody shmtool reload
    bad 'nor destroy' 1 'takes root, the manager|not permitted' as_nobody shmtool destroy --yes
    sql "UPDATE worker SET user = '65532' WHERE name = 'driver'; UPDATE segment SET group_name = '65530'"
    shmtool reload >/dev/null
    bad 'for a member who is not that worker' 1 "worker 'driver' may only be user '65532' \(uid 65532\), and you are uid 65533" \
        setpriv --reuid 65533 --regid 65533 --groups 65530 shmtool run --worker driver -- true
    sql "UPDATE worker SET user = NULL; UPDATE segment SET group_name = 'shm-workers'"
    shmtool reload >/dev/null
else
    left_out 'it takes root to be somebody else'
fi

kind 'a full shmmax or shmall'
if [ -n "${SHM_TEST_ALONE-}" ]; then
    short_of() { # FILE VALUE REGEX
        local was
        was=$(cat "/proc/sys/kernel/$1")
        echo "$2" >"/proc/sys/kernel/$1"
        bad "kernel.$1" 1 "$3" second_daemon
        echo "$was" >"/proc/sys/kernel/$1"
    }
    short_of shmmax 1000000 'larger than kernel.shmmax: raise that, or lower segment.size'
    short_of shmall 100 'kernel.shmmni or kernel.shmall is reached: see ipcs -l, or lower segment.size'
    short_of shmmni 2 'kernel.shmmni or kernel.shmall is reached: see ipcs -l, or lower segment.size'
else
    left_out 'the host is not ours'
fi

kind 'a full disk'
if [ -n "${SHM_TEST_MOUNTS-}" ]; then
    sql "INSERT INTO section(name, owner, size) VALUES('late', 'driver', 64)"
    fill() { head -c 16M /dev/zero >"$work/state/filler" 2>/dev/null || :; }
    fill
    bad 'for an edit that is applied' 1 "the edit can't be written down in .*state.db: No space left" shmtool reload
    fine 'for a claim, which needs none' says 0 '' shmtool run --worker driver -- true
    bad 'for an editor' 13 'disk is full' sqlite3 "$db" "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
        INSERT INTO section(name, owner, size) SELECT 'x' || i, 'driver', 64 FROM n"
    end_manager KILL
    start_manager
    fine 'at a start' says 0 "written down|disk is full|No space" shmtool status
    rm "$work/state/filler"
    fine 'with room again the edit is applied' says 0 "add +late" shmtool reload
    sql "DELETE FROM section WHERE name = 'late'"
    shmtool reload >/dev/null
    sql "UPDATE segment SET auto_apply = 1"
    shmtool reload >/dev/null
    kill -STOP "$manager" # it finds the disk full already
    sql "INSERT INTO section(name, owner, size) VALUES('late', 'driver', 64)"
    fill
    kill -CONT "$manager"
    fine 'for an edit that applies itself, which is pending' await 30 says 0 \
        "pending: the edit can't be written down in .*state.db: No space left" shmtool status
    rm "$work/state/filler"
    fine 'and is applied once there is room' await 30 says 0 late shmtool list
    sql "DELETE FROM section WHERE name = 'late'; UPDATE segment SET auto_apply = 0"
    fine 'with which it is over' says 0 '' shmtool history --wait 30000
    mkdir "$work/state/third"
    fill
    bad 'for a first start' 1 "state.db can't be used: the disk is full: make room" \
        timeout -k 1 60 "$build/daemon/shm-manager" --key 0x4bad0102 --state-dir "$work/state/third" --runtime-dir "$work/second"
    rm "$work/state/filler"
else
    left_out 'it takes root to mount a small disk'
fi

kind 'low limits'
bad_limit() { # WHO OPTION VALUE STATUS REGEX COMMAND...
    local name="$1 with ulimit $2 $3" option=$2 value=$3 status=$4 regex=$5
    shift 5
    bad "$name" "$status" "$regex" limited "$option" "$value" "$@"
}
fresh=(timeout -k 1 60 "$build/daemon/shm-manager" --key 0x4bad0103 --state-dir "$work/second" --runtime-dir "$work/second")
bad_limit 'a manager' -n 8 1 'shm-manager: error: .*(Too many open files|too many open files|unable to open)' "${fresh[@]}"
bad_limit 'a manager' -n 12 1 'error: .*(raise LimitNOFILE|Too many open files)' "${fresh[@]}"
bad_limit 'a manager' -f 0 1 'the disk fails, or may not be written so far \(dmesg, quota, ulimit -f\)' "${fresh[@]}" \
    --state-dir "$work/limited"
if ! sanitized; then # whose shadow takes more address space than that by itself
    bad_limit 'a manager' -v 100000 1 'no address space|no memory|attached' "${fresh[@]}"
    has_remedy() { # REGEX: at whatever limit that is what there is no room for
        local limit out
        for limit in {40..140..5}; do
            out=$(limited -v "${limit}000" "${fresh[@]}" 2>&1) || :
            ! grep -q "$1" <<<"$out" || return 0
        done
        return 1
    }
    fine 'a manager with no room for the shadow says what to do' has_remedy 'shadow .*: raise RLIMIT_AS'
    fine 'and for the segment' has_remedy "can't be attached: .*raise RLIMIT_AS"
    bad_limit 'a reader' -v 60000 3 'no address space for all of it; raise RLIMIT_AS \(ulimit -v\)' shmtool get temps
    bad_limit 'a worker' -v 60000 3 'no address space for all of it; raise RLIMIT_AS \(ulimit -v\)' shmtool run --worker driver -- true
    bad_limit 'a worker' -n 4 3 'no descriptor free to take it with; raise RLIMIT_NOFILE' shmtool run --worker driver -- true
fi
remove_segment 0x4bad0103
ipcrm -S 0x4bad0103 2>/dev/null || :
shmtool get temps >"$work/value"
bad_limit 'a reader that writes a file' -f 0 1 'File too large|too large' shmtool get -o "$work/value" temps
fine 'leaves that as it was' cmp -s "$work/value" <(printf 'it stays')
fine 'a reader that may lock nothing reads' says 0 'it stays' limited -l 0 shmtool get temps
if root; then
    cp "$work/good.db" "$work/theirs/sections.db"
    sqlite3 "$work/theirs/sections.db" "DELETE FROM section; UPDATE segment SET lock_memory = 1, group_name = '65533'"
    chown -R 65533 "$work/theirs"
    bash -c 'ulimit -l 0 && exec "$@"' - setpriv --reuid 65533 --regid 65533 --clear-groups "$build/daemon/shm-manager" --key 0x4bad0104 \
        --state-dir "$work/theirs" --runtime-dir "$work/theirs" >"$work/locking.log" 2>&1 &
    second_pid=$!
    children+=("$second_pid")
    fine 'a manager that may lock no memory rejects such a table' await 30 \
        grep -q 'locked into memory.*raise LimitMEMLOCK, or set segment.lock_memory to 0' "$work/locking.log"
    fine 'and serves' await 30 grep -q 'serving key 0x4bad0104' "$work/locking.log"
    end_second TERM
    remove_segment 0x4bad0104
    ipcrm -S 0x4bad0104
fi
# Out of descriptors while it runs, it says so at once, to everybody, and doesn't spin.
bash -c 'ulimit -n 32 && exec "$@"' - "$build/daemon/shm-manager" --key 0x4bad0101 --state-dir "$work/second" --runtime-dir "$work/second" \
    >>"$work/second.log" 2>&1 &
second_pid=$!
children+=("$second_pid")
second shmtool status --wait 30000 >/dev/null
rm -f "$work/crowd"
perl -MSocket -MIO::Handle -e 'my $path = shift; my @all; for (1 .. 60) { socket(my $t, PF_UNIX, SOCK_SEQPACKET, 0);
    connect($t, sockaddr_un($path)) or last; push @all, $t } print "full\n"; STDOUT->flush; sleep 60' \
    "$work/second/4bad0101.sock" >"$work/crowd" &
crowd=$!
children+=("$crowd")
await 30 grep -q full "$work/crowd"
bad 'a manager out of descriptors' 3 'no descriptor left for another connection: try again, or raise its LimitNOFILE' second shmtool plan
fine 'which it says once' test "$(grep -c 'no descriptor is left' "$work/second.log")" -eq 1
end_child "$crowd"
second shmtool destroy --yes >/dev/null
{ wait "$second_pid"; } 2>/dev/null || :
