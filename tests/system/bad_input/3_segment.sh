# shellcheck shell=bash disable=SC2016,SC2154 # perl's variables; the sourcing script's
# SPDX-License-Identifier: Apache-2.0
#
# Memory that isn't what it should be: damaged, of another version, somebody else's, gone.

flip() { # OFFSET...: a byte of each, to its contrary; twice is as before
    perl -e 'my $id = shmget(hex shift, 0, 0) // die "$!"; for (@ARGV) { shmread($id, my $byte, $_, 1) or die "$!";
             shmwrite($id, ~$byte & "\xff", $_, 1) or die "$!" }' "$SHMC_KEY" "$@"
}
# A reader gives the value, or one line and an error.
value_or_line() {
    local code=0 out
    out=$(timeout 60 shmtool get temps 2>&1) || code=$?
    [ "$code" -eq 0 ] && [ "$out" = 'it stays' ] && return
    [ "$code" -ge 1 ] && [ "$code" -le 3 ] && [ "$(wc -l <<<"$out")" -eq 1 ] && [ -n "$out" ] && return
    echo "gave $code: $out" >&2
    return 1
}
repairs() { shmtool status --json | sed -n 's/.*"repairs": \([0-9]*\).*/\1/p'; }
number_at() { # OFFSET BYTES
    perl -e 'my $id = shmget(hex shift, 0, 0) // die "$!"; my ($at, $n) = @ARGV; shmread($id, my $all, $at, $n) or die "$!";
             print unpack($n == 8 ? "Q" : "L", $all)' "$SHMC_KEY" "$@"
}
# Of N bytes one: all of them take long, and a sanitizer makes each start slow.
pace() { # N
    if [ -n "${SHM_SOAK-}" ]; then
        echo 1
    elif sanitized; then
        echo "$((8 * $1))"
    else
        echo "$1"
    fi
}
# Within the first records of workers and attachments, and both directories.
spots=()
offsets=(0 4 8 24 40 60 64 68 72 100 128 136 150 200 260 300 400)
! sanitized || offsets=(0 64 72 128)
for place in "$(number_at 88 4)" "$(number_at 96 4)" "$(number_at 144 8)" "$(number_at 160 8)"; do
    for offset in "${offsets[@]}"; do
        spots+=($((place + offset)))
    done
done

kind 'flipped bytes'
end_manager KILL
step=$(pace 4)
for byte in $(seq 0 "$step" 255) "${spots[@]}"; do
    flip "$byte"
    value_or_line || { echo "not ok $this: byte $byte, as a reader sees it"; exit 1; }
    flip "$byte"
done
fine "each $step. byte of the header, as a reader sees it" value_is temps 'it stays'
start_manager
step=$(pace 8)
for byte in $(seq 0 "$step" 255) "${spots[@]}"; do
    [ $((byte & ~3)) -ne 8 ] || continue # that is another ABI: below
    end_manager KILL
    flip "$byte"
    start_manager
    nothing_lost || { echo "not ok $this: byte $byte, while the manager was away"; exit 1; }
done
fine "each $step. byte, while the manager was away" value_is temps 'it stays'
end_manager KILL
poke 0 255 4096
start_manager
fine 'all bytes of its page' value_is temps 'it stays'
end_manager KILL
poke 0 0 200000
start_manager
fine 'all bytes of page and records' says 0 'serving|applied' shmtool status
was=$(repairs)
more_repairs() { [ "$(repairs)" -gt "$was" ]; }
# shellcheck disable=SC2046 # one word for each offset
flip $(seq 0 37 4095)
fine 'under a running manager, which mends them' await 30 more_repairs
fine 'and says so' grep -q 'somebody wrote into the header' "$work/manager.log"
sql "$(row "'x'")"
shmtool reload >/dev/null
printf first | shmtool put x
head=$(($(shmtool list --json x | sed -n 's/.*"offset": \([0-9]*\),/\1/p') + 64))
poke "$head" 255 8
fine "a section's head, under the next who takes it over" shmtool put x -i <(printf second)
fine 'who goes on' value_is x second
poke "$head" 255 8
fine 'and where there is none' await 30 value_is x second
fine 'which is said' grep -q "'x': somebody wrote over its head; its newest whole value, version 2, is back" "$work/manager.log"
sql "DELETE FROM section WHERE name = 'x'"
shmtool reload >/dev/null

kind 'another ABI'
end_manager KILL
poke 8 9 1
ok "$this: a manager" one_line 1 'has ABI 9, this manager has 1 .*: start the manager that made it, or remove it' daemon
ok "$this: a reader" one_line 3 'ABI 9.* ABI 1' shmtool get temps
ok "$this: a worker" one_line 3 'ABI 9.* ABI 1' shmtool run --worker driver -- true
poke 8 1 1
start_manager
counted 'mended'

# A second manager, with a key and directories of its own, whose segment may come to harm.
second() { # COMMAND...
    env SHMC_KEY=0x4bad0101 SHMC_RUNTIME_DIR="$work/second" "$@"
}
second_daemon() {
    timeout -k 1 60 "$build/daemon/shm-manager" --key 0x4bad0101 --state-dir "$work/second" --runtime-dir "$work/second"
}
start_second() {
    "$build/daemon/shm-manager" --key 0x4bad0101 --state-dir "$work/second" --runtime-dir "$work/second" \
        >>"$work/second.log" 2>&1 &
    second_pid=$!
    children+=("$second_pid")
    second shmtool status --wait 30000 >/dev/null
}
end_second() { # SIGNAL
    { kill "-$1" "$second_pid" && wait "$second_pid"; } 2>/dev/null || :
}
remove_second() { remove_segment 0x4bad0101; }
mkdir "$work/second"
start_second
sqlite3 "$work/second/sections.db" "INSERT INTO section(name, owner, size) VALUES('other', 'driver', 64)"
second shmtool reload >/dev/null
printf 'theirs' | second shmtool put other

kind 'a truncated segment'
end_second KILL
perl -e 'my $id = shmget(0x4bad0101, 0, 0) // die "$!"; shmread($id, my $all, 0, 2 << 20) or die "$!";
    shmctl($id, 0, 0) // die "$!"; $id = shmget(0x4bad0101, 2 << 20, 01600 | 0600) // die "$!";
    shmwrite($id, $all, 0, 2 << 20) or die "$!"'
bad 'a manager' 1 'shmid [0-9]+ under key 0x4bad0101 is not a segment of ours \(header.segment_bytes\): remove it' second_daemon
bad 'a reader' 3 '0x4bad0101.*segment_bytes' second shmtool get other
bad 'doctor' 1 'header.segment_bytes' eval 'second shmtool doctor | grep segment_bytes; false'
remove_second

kind 'a foreign segment'
perl -e 'shmget(0x4bad0101, 8192, 01600 | 0600) // die "$!"'
bad 'a manager' 1 'shmid [0-9]+ under key 0x4bad0101 is not a segment of ours \(header.magic\): remove it' second_daemon
bad 'a reader' 3 '0x4bad0101' second shmtool get other
remove_second
if root; then
    setpriv --reuid 65533 --clear-groups perl -e 'shmget(0x4bad0101, 8192, 01600 | 0666) // die "$!"'
    bad "another user's" 1 'shmid [0-9]+ under key 0x4bad0101 belongs to uid 65533 and was made by process [0-9]+, not by this manager: remove it' second_daemon
    bad "another user's, for a reader" 3 'uid 65533' second shmtool get other
    remove_second
fi
wrong_state() { # the right key with the wrong directory
    timeout -k 1 60 "$build/daemon/shm-manager" --key "$SHMC_KEY" --state-dir "$work/wrong" --runtime-dir "$SHMC_RUNTIME_DIR"
}
end_manager TERM
for try in first second; do
    bad "one that this state directory doesn't know, the $try time" 1 "the sections that run under key $SHMC_KEY are in neither $work/wrong/sections.db nor" wrong_state
done
start_manager
counted 'and with the right one'
fine 'it serves on' says 0 'applied' shmtool status

kind 'shm_rmid_forced'
if [ -n "${SHM_TEST_ALONE-}" ]; then
    echo 1 >/proc/sys/kernel/shm_rmid_forced
    bad 'a manager' 1 'kernel.shm_rmid_forced is 1, .*: sysctl -w kernel.shm_rmid_forced=0' second_daemon
    echo 0 >/proc/sys/kernel/shm_rmid_forced
else
    left_out 'the host is not ours'
fi

kind 'ipcrm'
rm -rf "$work/second/state.db"
start_second
printf 'theirs' | second shmtool put other
ipcrm -M 0x4bad0101
bad 'a reader' 3 'no shared memory|there is no' second shmtool get other
removed() { second shmtool status --json | grep -q '"removed": true'; }
fine 'is seen' await 30 removed
fine 'and said' grep -q 'somebody removed the segment 0x4bad0101 (ipcrm)' "$work/second.log"
bad 'a worker' 3 'ipcrm|no shared memory|there is no' second shmtool run --worker driver -- true
end_second TERM
start_second
fine 'a restart has a new one, from the table' says 0 '^other' second shmtool list
second shmtool destroy --yes >/dev/null
{ wait "$second_pid"; } 2>/dev/null || :
