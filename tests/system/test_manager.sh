#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The live manager: what it refuses at its start, adopts, rebuilds and mends, how it applies a table, and
# what a rude client can't do to it.  Usage: test_manager.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh disable=SC2016 # perl's variables
. "$(dirname "$0")/../interop/harness.sh"

db=$work/state/sections.db
value_is() { # SECTION TEXT
    [ "$(shmtool get "$1")" = "$2" ]
}
status_has() { # REGEX on the reply without its blanks
    shmtool status --json | tr -d ' \n' | grep -Eq -e "$1"
}

start_manager
sqlite3 "$db" "INSERT INTO section(name, owner, size) VALUES ('temps', 'driver', 1000), ('cam', 'grabber', 50000);"
ok 'reload applies' says 0 '' shmtool reload
printf 'it stays' | shmtool put temps
ok 'a value can be put' value_is temps 'it stays'

ok 'a second manager is refused, and told by whom' says 1 "served already, by the manager with pid $manager" daemon
ok 'also with other directories' says 1 "by the manager with pid $manager" \
    "$build/daemon/shm-manager" --key "$SHMC_KEY" --state-dir "$work/other" --runtime-dir "$work/other-run"

id=$(segment_id)
end_manager TERM
ok 'stopping leaves the segment' test "$(segment_id)" = "$id"
! on_sysv || ok 'and readers read on' value_is temps 'it stays' # who attaches now needs no manager
start_manager
ok 'it is adopted' test "$(segment_id)" = "$id"
ok 'with its data' value_is temps 'it stays'
end_manager KILL
start_manager
ok 'the same after kill -9' value_is temps 'it stays'

if on_sysv; then # elsewhere nobody can write there
    poke 0 0 4096
    ok 'a header that was zeroed is mended' await 30 status_has '"repairs":[1-9]'
    ok 'and nothing is lost' value_is temps 'it stays'
    ok 'it said who was there' grep -q 'somebody wrote into the header' "$work/manager.log"

    end_manager TERM
    poke 0 0 200000
    start_manager
    ok 'a destroyed header and directory are rebuilt' grep -q 'its directory was damaged and is rebuilt' "$work/manager.log"
    ok 'from the placement, without touching data' value_is temps 'it stays'
    printf 'next' | shmtool put temps
    ok 'and the section can be written' value_is temps next

    end_manager TERM
    poke 8 9 1
    ok 'another ABI is refused with both versions' says 1 'has ABI 9, this manager has 1' daemon
    poke 8 1 1
    start_manager
else
    printf next | shmtool put temps
fi

sqlite3 "$db" "UPDATE section SET size = 16700000 WHERE name = 'temps';"
ok 'a table that cannot follow is rejected by reload' says 1 "section 'temps'" shmtool reload
ok 'and the old one goes on' value_is temps next
end_manager TERM
start_manager
ok 'a bad table does not stop a start' status_has '"outcome":"rejected"'
ok 'the last good one runs' value_is temps next
sqlite3 "$db" "UPDATE section SET size = 1000, stale_ms = 60000 WHERE name = 'temps';"
kill -HUP "$manager"
ok 'SIGHUP applies it' await 30 status_has '"outcome":"applied"'

ok '--check says what would change' says 0 '^0 change' daemon --check
sqlite3 "$db" "INSERT INTO section(name, owner, size) VALUES ('big1', 'driver', 6000000), ('big2', 'driver', 6000000),
    ('big3', 'driver', 6000000);"
ok '--check refuses what cannot be placed' says 1 "section 'big" daemon --check
ok 'and changes nothing' says 1 "section 'big" shmtool plan
sqlite3 "$db" "DELETE FROM section WHERE name LIKE 'big%';"

end_manager TERM
mkdir "$work/good"
mv "$db"* "$work/good" # the log belongs to it
echo 'this is not a database, however long it may be' >"$db"
start_manager
ok 'a file that is not SQLite does not stop a start' status_has '"outcome":"unreadable"'
ok 'and the last good table runs' value_is temps next
rm -f "$db"*
mv "$work/good/"* "$work/state"
ok 'the file is taken again when it is mended' says 0 '' shmtool reload

end_manager TERM
mkdir "$work/gone"
mv "$db"* "$work/gone"
start_manager
ok 'a table that is gone takes nothing away' value_is temps next
ok 'and that is said' status_has 'wasgone,andanemptyonewasmade'
ok 'revert brings its rows back' says 0 '' shmtool table revert
ok 'and they are applied' says 0 '' shmtool reload
ok 'to the same values' value_is temps next

# Rude clients.
client=(perl -MSocket -e 'my ($path, $code) = @ARGV;
    socket(my $s, PF_UNIX, SOCK_SEQPACKET, 0) or die; connect($s, sockaddr_un($path)) or die;
    eval $code; die $@ if $@' "$SHMC_RUNTIME_DIR/${SHMC_KEY#0x}.sock") # and code that has the socket in $s
ok 'garbage ends its connection' "${client[@]}" 'recv($s, my $m, 65536, 0); send($s, "x" x 1000, 0);
    recv($s, $m, 65536, 0); die unless $m =~ /not a message/; recv($s, $m, 65536, 0); die if length $m'
"${client[@]}" 'my @all = $s; my $path = $ARGV[0]; for (1 .. 300) { socket(my $t, PF_UNIX, SOCK_SEQPACKET, 0);
    connect($t, sockaddr_un($path)) or last; push @all, $t } print "full\n"; STDOUT->flush; sleep 60' >"$work/full" &
children+=($!)
await 30 grep -q full "$work/full"
if [ "$(id -u)" -eq 0 ]; then # a silent crowd of one uid leaves room for others
    chmod 755 "$work"
    ok 'a crowd of silent clients of one user leaves room for others' setpriv --reuid 65533 --clear-groups \
        "${client[@]}" 'recv($s, my $m, 65536, 0); die "refused: $m" unless length $m == 40'
fi
end_child "$!"
ok 'and the manager serves on' await 30 shmtool plan

# One that claims a worker and never takes the lease: it holds the name for a while, not for ever.
"${client[@]}" 'my $m; recv($s, $m, 65536, 0); send($s, pack("LSSLl a64 LL", 0x43534d53, 1, 2, 88, 0, "driver", 0, 0), 0);
    print "claimed\n"; STDOUT->flush; sleep 60' >"$work/claimed" &
silent=$!
children+=("$silent")
await 30 grep -q claimed "$work/claimed"
ok 'a lease that is not taken is told as such' says 1 'is being taken by process' \
    shmtool run --worker driver -- true
ok 'and is void after some seconds' says 0 '' shmtool run --worker driver --wait 30000 -- true
shmtool run --worker driver -- sleep 300 &
holder=$!
children+=("$holder")
held_by() { # PID
    says 0 "^driver +leased +$1 " shmtool workers driver
}
await 30 held_by "$holder"
end_manager KILL
start_manager
ok 'also for the next manager, and its successor keeps it' held_by "$holder"
ok 'for as long as it likes' says 1 "held by process $holder" shmtool run --worker driver -- true
end_child "$silent"
end_child "$holder"
await 30 says 0 ' free ' shmtool workers driver

# A lease that is taken back.
shmtool run --worker driver -- sleep 300 &
holder=$!
children+=("$holder")
# Seen without a claim: whoever tries the name may have it before the holder does.
await 30 says 0 ' leased ' shmtool workers driver
ok 'a worker is held' says 1 "held by process $holder" shmtool run --worker driver -- true
ok 'its lease is taken back' says 0 'is free' shmtool revoke driver
ok 'and taken by another' says 0 '' shmtool run --worker driver -- true
ok 'with the value' value_is temps next
end_child "$holder"

# Foreign memory under the key.
ok 'destroy takes it away' says 0 '' shmtool destroy --yes
wait "$manager" 2>/dev/null || :
manager=''
ok 'no segment is left' test "$(segment_id)" = none
ok 'no socket is left' test ! -e "$SHMC_RUNTIME_DIR/${SHMC_KEY#0x}.sock"
if on_sysv; then
    perl -e 'shmget(hex shift, 8192, 0600 | 01000) // die "$!"' "$SHMC_KEY"
    foreign=$(segment_id)
    ok 'a foreign segment is refused by its id' says 1 "shmid $foreign under key $SHMC_KEY is not a segment of ours" daemon
    ok 'and left alone' test "$(segment_id)" = "$foreign"
    ipcrm -m "$foreign"
    if [ "$(id -u)" -eq 0 ]; then
        foreign=$(setpriv --reuid 65533 --clear-groups perl -e 'print shmget(hex shift, 8192, 0600 | 01000)' "$SHMC_KEY")
        ok "another user's is refused by its owner" says 1 "shmid $foreign .* belongs to uid 65533 and was made by process" daemon
        ipcrm -m "$foreign"
        [ -z "${SHM_TEST_ALONE-}" ] || {
            echo 1 >/proc/sys/kernel/shm_rmid_forced
            ok 'shm_rmid_forced is refused with its remedy' says 1 'sysctl -w kernel.shm_rmid_forced=0' daemon
            echo 0 >/proc/sys/kernel/shm_rmid_forced
        }
    fi
fi
# What systemd would hear, in that order, until it is told that all is ready.
perl -MSocket -e 'my $s; socket($s, PF_UNIX, SOCK_DGRAM, 0) && bind($s, sockaddr_un($ARGV[0])) or die $!;
    $| = 1;
    print "$_\n" until !defined recv($s, $_, 4096, 0) || /^READY=1/m' "$work/notify" >"$work/notified" &
children+=($!)
await 30 test -S "$work/notify"
NOTIFY_SOCKET=$work/notify start_manager
ok 'then it starts afresh' status_has '"outcome":"applied"'
is_announced() { grep -Eq '^STATUS=generation [0-9]+; [0-9]+ sections' "$work/notified"; }
wait "${children[-1]}"
ok 'and says how it is before it says that it is ready' is_announced
if on_sysv; then
    bells=$(perl -e 'shmread(shmget(hex shift, 0, 0), my $id, 140, 4) or die; print unpack("L", $id) - 1' \
        "$SHMC_KEY")
    has_bells() { awk -v id="$bells" '$2 == id { n = 1 } END { exit !n }' /proc/sysvipc/shm; }
    ok 'a segment has its doorbells' has_bells
    ipcrm -m "$(segment_id)"
    ok 'an ipcrm behind its back is seen' await 30 status_has '"removed":true'
    end_manager TERM
    ok 'its doorbells go with the manager' says 1 '' has_bells
fi
