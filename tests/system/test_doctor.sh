#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What `shmtool doctor` finds on a host that is not as it should be, what it advises, and what --fix
# mends.  A log that belongs to another table: test_shmtool_manners.sh.
# Usage: test_doctor.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"
unset SHM_STATE_DIR NO_COLOR

db=$work/state/sections.db
doctor() { shmtool doctor -S "$work/state" "$@"; }
as_nobody() { setpriv --reuid 65533 --regid 65533 --clear-groups "$@"; }
limited() { # ULIMIT-OPTION VALUE COMMAND...
    bash -c 'ulimit "$1" "$2" && shift 2 && exec "$@"' - "$@"
}
mode_is() { [ "$(stat -c %a "$1")" = "$2" ]; }
sanitized() { grep -q __asan_init "$build/tools/shmtool"; }

start_manager
edit_table <<<"INSERT INTO section(name, owner, size) VALUES('temps', 'driver', 64)"
printf one | shmtool put temps
ok 'a host that is as it should be' says 0 '^0 wrong, 0 fixed' doctor

# The kernel, in an IPC namespace of our own.
on_sysv || ok 'memfds mind nothing of System V' says 0 'ok +kernel: it needs no System V memory' doctor
if [ -n "${SHM_TEST_ALONE-}" ] && on_sysv; then
    kernel=/proc/sys/kernel
    before=$(cat $kernel/shmmax $kernel/shmall)
    echo 1 >$kernel/shm_rmid_forced
    ok 'shm_rmid_forced' says 1 'WRONG +kernel.shm_rmid_forced: it is 1: the kernel removes' doctor
    ok 'with its remedy' says 1 'do: sysctl -w kernel.shm_rmid_forced=0' doctor
    ok '--fix sets it back' says 0 'fixed +kernel.shm_rmid_forced: it was 1, and is 0 until the next boot' doctor --fix
    ok 'and says what is left to do' test "$(cat $kernel/shm_rmid_forced)" = 0
    echo 1000000 >$kernel/shmmax
    ok 'shmmax too small' says 1 'WRONG +kernel.shmmax: it is 1000000: the table wants a segment of 67108864 bytes' doctor
    ok '--fix raises it' says 0 'fixed +kernel.shmmax: it was 1000000, and is 67108864' doctor --fix
    echo 100 >$kernel/shmall
    ok 'shmall too small' says 1 'WRONG +kernel.shmall: it is 100: .* wants a segment of 16384' doctor
    ok '--fix raises that too' says 0 'fixed +kernel.shmall: it was 100' doctor --fix
    ok 'then the kernel is fine' says 0 'ok +kernel: System V memory is as it must be' doctor
    head -n 1 <<<"$before" >$kernel/shmmax
    tail -n 1 <<<"$before" >$kernel/shmall
fi

# The kernel's queues, which are beside the table: notes.
if [ -n "${SHM_TEST_ALONE-}" ]; then
    kernel=/proc/sys/kernel
    before=$(cat $kernel/msgmnb $kernel/msgmni)
    queue=$(perl -e 'print msgget(0, 0600)')
    ok 'queues in use are counted' says 0 \
        "ok +System V queues: 1 of $(cat $kernel/msgmni) in use, 0 messages, 0 bytes; up to $(cat $kernel/msgmax) bytes in one message" doctor
    perl -e '1 while msgsnd($ARGV[0], pack("l! a1024", 1, "x"), 04000)' "$queue"
    ok 'a full queue is named' says 0 "note +queue 0x00000000: System V queue $queue is full: 16 messages, 16384 bytes of at most 16384; process 0 received last" doctor
    ipcrm -q "$queue"
    echo 1000 >$kernel/msgmnb
    ok 'messages that no queue would ever take' says 0 'note +kernel.msgmnb: it is 1000, less than kernel.msgmax' doctor
    echo 2 >$kernel/msgmni
    queue=$(perl -e 'print msgget(0, 0600)')
    other=$(perl -e 'print msgget(0, 0600)')
    ok 'no more queues to be had' says 0 'note +kernel.msgmni: 2 System V queues of at most 2 are in use' doctor
    ok 'with its remedy' says 0 'do: sysctl -w kernel.msgmni=4' doctor
    ipcrm -q "$queue" -q "$other"
    head -n 1 <<<"$before" >$kernel/msgmnb
    tail -n 1 <<<"$before" >$kernel/msgmni
fi

# A sanitizer's shadow takes more than that by itself.
sanitized || ok 'an address space that has no room' says 1 \
    'WRONG +address space: RLIMIT_AS is 122880000, which leaves no room for a segment of 67108864' \
    limited -v 120000 shmtool doctor -S "$work/state"
ok 'few descriptors' says 1 'WRONG +open files: RLIMIT_NOFILE is at most 100' limited -n 100 shmtool doctor -S "$work/state"

# The table's owner and mode.
chmod o+w "$db"
ok 'a table that everybody may write' says 1 'WRONG +table: .* may be written by everybody' doctor
ok '--fix takes that away' says 0 "fixed +table: .* could be written by everybody, and can't now" doctor --fix
ok 'and nothing else' mode_is "$db" 640
chmod g+w "$db"
ok 'a group that may write it is noted' says 0 'note +table: .* may be written by its group' doctor
chmod g-w "$db"
if [ "$(id -u)" -eq 0 ]; then
    chown 65533 "$db"
    ok "a table of somebody else's" says 1 'WRONG +table: .* belongs to uid 65533, who so controls the segment' doctor
    ok '--fix gives it to the manager' says 0 "fixed +table: .* was uid 65533's, and is uid 0's now" doctor --fix
    ok 'and its log with it' test -z "$(find "$work/state" -name 'sections.db*' ! -user 0)"
    chown 65533 "$db"
    ln "$db" "$work/second-name"
    ok 'but no file that has a second name' says 1 'WRONG +table: .* belongs to uid 65533' doctor --fix
    rm "$work/second-name"
    chown 0 "$db"
fi

# Who may attach, as the segment itself says.
if [ "$(id -u)" -eq 0 ]; then
    chmod 755 "$work" "$work/state"
    edit_table <<<"UPDATE segment SET group_name = '65530'"
    ok 'a user outside the group' says 1 \
        "WRONG +group: uid 65533 may not attach: it is not in the segment's group \(gid 65530\)" as_nobody shmtool doctor -S "$work/state"
    ok 'with the remedy' says 1 'do: usermod -aG 65530 USER as root, and log in anew' as_nobody shmtool doctor -S "$work/state"
    ok 'a member' says 0 'ok +group: uid 65533 may attach, also as a worker' \
        setpriv --reuid 65533 --regid 65533 --groups 65530 shmtool doctor -S "$work/state"
    edit_table <<<"UPDATE segment SET mode = '0664'"
    ok 'one who may only read' says 0 'note +group: uid 65533 may read, and be no worker' as_nobody shmtool doctor -S "$work/state"
    edit_table <<<"UPDATE segment SET mode = '0660'"
    # The installed table, under root directories of the test's own.
    if [ -n "${SHM_TEST_ALONE-}" ] && unshare -m true 2>/dev/null; then
        { cat /etc/group; echo 'shm-manager:x:65529:'; } >"$work/group"
        {
            cat /etc/passwd
            echo 'shm-manager:x:65529:65529::/:/bin/false'
        } >"$work/passwd"
        installed() { # COMMAND... with ours in the place of the service's
            unshare -m bash -c 'set -e; work=$1; shift
                mount --bind "$work/group" /etc/group; mount --bind "$work/passwd" /etc/passwd
                mount -t tmpfs tmpfs /var/lib; mkdir -p /var/lib/shm-manager
                cp "$work/state/sections.db" /var/lib/shm-manager; chmod 640 /var/lib/shm-manager/sections.db
                env SHMC_KEY=0x4bad0003 SHMC_RUNTIME_DIR="$work" "$@"' - "$work" "$@"
        }
        ok "a table that the service can't read" says 1 \
            "WRONG +table: /var/lib/shm-manager/sections.db \(mode 0640, group 0\) can't be read by the manager" installed shmtool doctor
        ok '--fix gives it to the group' says 1 'fixed +table: .* was not readable for group shm-manager, and is now' \
            installed shmtool doctor --fix
    fi
fi

# What stands behind the manager.
if ! on_sysv; then
    ok 'memfds' says 0 'ok +segment: memfd, 67108864 bytes' doctor
    if [ "$(id -u)" -eq 0 ]; then
        ok 'which somebody is not handed' says 1 \
            "WRONG +segment: .* to uid 65533: uid 65533 is not in the segment's group '65530'" as_nobody shmtool doctor -S "$work/state"
        ok 'a member is' says 0 'ok +segment: memfd' \
            setpriv --reuid 65533 --regid 65533 --groups 65530 shmtool doctor -S "$work/state"
    fi
    end_manager KILL
    ok 'no manager' says 1 'WRONG +manager: .*no manager answers' doctor
    ok 'a keeper that goes on without one' says 1 \
        'note +segment: no manager serves it; what .*\.keeper holds stays' doctor
    ok 'with the remedy' says 1 'do: start the manager: it adopts it with all values' doctor
    start_manager
    ok 'as it does' test "$(shmtool get temps)" = one
    ok 'then all is fine' says 0 '^0 wrong' doctor
    exit 0
fi

# What stands under the key, and what was left behind.
ok 'a manager that is looked for in the wrong place' says 1 "note +segment: shmid [0-9]+ was served [0-9]+ ms ago, by process $manager, which doesn't answer" \
    env SHMC_RUNTIME_DIR="$work" shmtool doctor -S "$work/state"
end_manager KILL
ok 'no manager' says 1 'WRONG +manager: .*no manager answers' doctor
ok 'a segment that goes on without one' await 30 says 1 'note +segment: shmid [0-9]+ is whole, and no manager serves it' doctor
poke 8 9 1
ok 'another ABI' says 1 'WRONG +segment: shmid [0-9]+ is of ABI 9, and this program knows 1 \(header.abi\)' doctor
ok 'is left to its manager' says 1 'do: use the version that made it' doctor --fix
poke 8 1 1
poke 64 255 80 # bell_id too
ok 'a damaged header' says 1 'WRONG +segment: the header of shmid [0-9]+ is damaged' doctor
start_manager
ok 'which the manager mends, as it said' says 0 'ok +segment:' doctor
if [ -n "${SHM_TEST_ALONE-}" ]; then
    ok 'doorbells that it has no use for since' says 0 'fixed +orphan: doorbells' doctor --fix
    ok 'and only those' says 0 '0 fixed' doctor --fix
fi
end_manager KILL

ours=$SHMC_KEY
segment=$(segment_id)
export SHMC_KEY=0x4bad0004
orphans() { { doctor "$@" || :; } | grep -E 'orphan|do: (ipcrm|shmtool doctor)'; }
ok "a segment that another key's manager left" await 30 says 0 "note +orphan: segment $ours \(shmid $segment, 64 MiB\) has no manager" orphans
ok 'is not removed, as it has values' says 0 "do: ipcrm -m $segment" orphans --fix
SHMC_KEY=$ours
start_manager
ok 'and can be adopted' test "$(shmtool get temps)" = one
end_manager KILL
ipcrm -m "$segment"
if [ -n "${SHM_TEST_ALONE-}" ]; then
    ok 'doorbells without their segment' says 0 'note +orphan: doorbells \(shmid [0-9]+\) of a segment that is gone' orphans
    ok 'are removed by --fix' says 0 'fixed +orphan: doorbells' orphans --fix
    ok 'and are gone' says 1 '' orphans
fi
perl -e 'shmget(hex shift, 8192, 0600 | 01000) // die "$!"' "$SHMC_KEY"
ok 'a foreign segment under the key' says 1 "WRONG +segment: shmid [0-9]+ has our key and is no shm-manager's \(uid $(id -u) made it\)" doctor
ok 'is not removed either' says 1 'do: ipcrm -m [0-9]+, if nobody needs it; or another key' doctor --fix
ipcrm -M "$SHMC_KEY"
# In an IPC namespace that is not ours the doorbells would stay.
[ -n "${SHM_TEST_ALONE-}" ] || doctor --fix >/dev/null || :
start_manager # whose end takes the rest away
