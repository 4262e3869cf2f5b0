#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Bad input of every kind: one clear line, a non-zero exit, nothing lost.
# Usage: test_bad_input.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh disable=SC2016 # perl's variables
. "$(dirname "$0")/../interop/harness.sh"

db=$work/state/sections.db
sql() { sqlite3 "$db" "$@"; }
unchecked() { sql "PRAGMA ignore_check_constraints = on; $1"; }
value_is() { [ "$(shmtool get "$1")" = "$2" ]; }

# The edit is refused at the INSERT, with that sentence.
refused() { # NAME REGEX SQL
    ok "$1, at the edit" says 19 "$2" sqlite3 "$db" "$3"
}

# It comes in past the constraints, and the manager refuses all of it; SQL that takes it back follows.
rejected() { # NAME REGEX SQL UNDO
    unchecked "$3"
    ok "$1, by the manager" says 1 "$2" shmtool reload
    ok "$1: the layout that runs stays" value_is temps 'it stays'
    unchecked "$4"
}

start_manager
edit_table <<'SQL'
INSERT INTO section(name, owner, size) VALUES ('temps', 'driver', 1000);
SQL
printf 'it stays' | shmtool put temps

refused 'a size of zero' 'section.size takes bytes, 1 or more' \
    "INSERT INTO section(name, owner, size) VALUES ('x', 'driver', 0)"
rejected 'a size of zero' "section 'x': size must be a number from 1" \
    "INSERT INTO section(name, owner, size) VALUES ('x', 'driver', 0)" "DELETE FROM section WHERE name = 'x'"
refused 'a huge size' 'more than segment.size' \
    "INSERT INTO section(name, owner, size) VALUES ('x', 'driver', 70000000000000)"
refused 'a bad name' 'section.name takes 1 to 63 letters, digits' \
    "INSERT INTO section(name, owner, size) VALUES ('no spaces', 'driver', 1)"
rejected 'a bad name' "name 'no spaces' is not 1 to 63 of letters" \
    "INSERT INTO section(name, owner, size) VALUES ('no spaces', 'driver', 1)" \
    "DELETE FROM section WHERE name = 'no spaces'"
refused 'an unknown kind' "section.kind takes 'raw', 'snapshot', 'slots' or 'queue'" \
    "INSERT INTO section(name, owner, kind, size) VALUES ('x', 'driver', 'stack', 1)"
rejected 'an unknown kind' "section 'x': kind must be raw, snapshot, slots or queue" \
    "INSERT INTO section(name, owner, kind, size) VALUES ('x', 'driver', 'stack', 1)" \
    "DELETE FROM section WHERE name = 'x'"
rejected 'a kind of a later version' "section 'x': kind 'queue' is not served by this version" \
    "INSERT INTO section(name, owner, kind, size, count) VALUES ('x', 'driver', 'queue', 64, 2)" \
    "DELETE FROM section WHERE name = 'x'"
rejected 'pins that overlap' "section 'y': at offset 33558528 its 8192 bytes would overlap" \
    "INSERT INTO section(name, owner, kind, size, offset) VALUES ('x', 'driver', 'raw', 8192, 33554432),
        ('y', 'grabber', 'raw', 8192, 33558528)" \
    "DELETE FROM section WHERE name IN ('x', 'y'); DELETE FROM worker WHERE name = 'grabber'"

# Two renames that pass through each other's names are one edit, whole.
sql "INSERT INTO section(name, owner, size) VALUES ('a', 'driver', 64), ('b', 'driver', 64);"
shmtool reload >/dev/null
printf 'was a' | shmtool put a
sql "BEGIN; UPDATE section SET name = 'tmp' WHERE name = 'a'; UPDATE section SET name = 'a' WHERE name = 'b';
     UPDATE section SET name = 'b' WHERE name = 'tmp'; COMMIT;"
ok 'a cycle of renames is applied' says 0 '' shmtool reload
ok 'and data follows the row' value_is b 'was a'
sql "DELETE FROM section WHERE name IN ('a', 'b');"
shmtool reload >/dev/null

# The database.
sql "CREATE TRIGGER spy AFTER INSERT ON section BEGIN SELECT 1; END;"
ok 'a foreign trigger is refused by its name' says 1 "trigger 'spy' that is not shm-manager's" shmtool reload
sql "DROP TRIGGER spy;"
sql "PRAGMA user_version = 99;"
ok 'a newer schema is refused' says 1 'has schema version 99' shmtool reload
sql "PRAGMA user_version = 1; PRAGMA application_id = 7;"
ok "another application's is refused" says 1 'of another application \(application_id 7' shmtool reload
sql "PRAGMA application_id = $((0x53484d74));"
ok 'mended, it is taken' says 0 '' shmtool reload

mkfifo "$work/locker"
sqlite3 "$db" <"$work/locker" >"$work/locked" 2>&1 &
children+=("$!")
exec 7>"$work/locker"
printf 'PRAGMA locking_mode = EXCLUSIVE;\nBEGIN EXCLUSIVE;\nSELECT "locked";\n' >&7
await 10 grep -q '^locked' "$work/locked"
ok 'an editor that keeps a transaction open holds up nobody' says 0 '' shmtool reload
exec 7>&-
wait "${children[-1]}" || :

as_nobody() { setpriv --reuid 65533 --regid 65533 --clear-groups "$@"; }
if [ "$(id -u)" -eq 0 ]; then
    chmod 755 "$work"
    mkdir "$work/theirs"
    sqlite3 "$work/theirs/sections.db" 'CREATE TABLE secret(x);'
    chmod 600 "$work/theirs/sections.db"
    chown 65533 "$work/theirs"
    ok 'an unreadable table is told with the user who needs it' says 1 'readable for uid 65533' \
        as_nobody timeout 20 "$build/daemon/shm-manager" --check --table "$work/theirs/sections.db"
    ok 'no permission for the runtime directory' says 1 "$work/run2: can't be made: Permission denied" \
        as_nobody timeout 20 "$build/daemon/shm-manager" --key 0x4bad0001 --state-dir "$work/theirs" \
        --runtime-dir "$work/run2"
    ok 'a reader outside the group is told of it' says 1 'uid 65533 may not read it; become a member of its group' \
        as_nobody "$build/tools/shmtool" list
    ok "a worker's claim by an outsider too" says 1 'uid 65533 may not write it|not in the segment' \
        as_nobody "$build/tools/shmtool" run --worker driver -- true
    ok 'and one who may not manage' says 1 'takes root, the manager|not permitted' as_nobody "$build/tools/shmtool" reload
fi

# The socket: another protocol, and a storm of random bytes.
client=(perl -MSocket -e 'my ($path, $code) = @ARGV;
    socket(my $s, PF_UNIX, SOCK_SEQPACKET, 0) or die; connect($s, sockaddr_un($path)) or die;
    eval $code; die $@ if $@' "$SHMC_RUNTIME_DIR/${SHMC_KEY#0x}.sock")
ok 'a client of another version is told so' "${client[@]}" 'my $m; recv($s, $m, 65536, 0);
    send($s, pack("LSSLl a64 LL", 0x43534d53, 9, 2, 88, 0, "driver", 0, 0), 0); recv($s, $m, 65536, 0);
    die $m unless $m =~ /speaks protocol version 1/'
ok 'random bytes harm nobody' "${client[@]}" 'my $path = $ARGV[0]; srand 7; for (1 .. 500) {
    socket(my $t, PF_UNIX, SOCK_SEQPACKET, 0); connect($t, sockaddr_un($path)) or die "$!";
    my $m = join "", map { chr int rand 256 } 1 .. 1 + int rand 4000;
    substr($m, 0, 4) = pack("L", 0x43534d53) if rand() < .5; substr($m, 4, 2) = pack("S", 1) if rand() < .5;
    send($t, $m, 0); }'
ok 'the manager answers as before' says 0 '' shmtool plan
ok 'and the value is what it was' value_is temps 'it stays'

# Stopped processes.
kill -STOP "$manager"
ok 'readers read while the manager is stopped' value_is temps 'it stays'
ok 'a claim gives up at its deadline' says 3 'the manager did not answer in the time given' timeout 20 shmtool run --worker driver --wait 300 -- true
kill -CONT "$manager"
ok 'and is granted afterwards' says 0 '' shmtool run --worker driver --wait 10000 -- true
shmtool run --worker driver -- sleep 60 &
held=$!
children+=("$held")
await 10 says 0 'leased' shmtool workers driver
kill -STOP "$held"
ok 'a stopped worker keeps its name' says 1 "held by process $held" shmtool run --worker driver -- true
ok 'and holds up no reader' value_is temps 'it stays'
kill -CONT "$held"
end_child "$held"

# Bytes of the header that somebody flipped while no manager ran: adopted or rebuilt, never lost.
for at in 0 12 24 40 64 120 128 136 144 160 4096 4160 4300; do
    end_manager KILL
    poke "$at" 255 2
    start_manager
    value_is temps 'it stays' || break
done
ok 'whatever part of the header is destroyed while the manager is away' value_is temps 'it stays'
printf 'again' | shmtool put temps
ok 'the section can be written afterwards' value_is temps again

# Limits of the host (in an IPC namespace of our own).
shmtool destroy --yes >/dev/null
wait "$manager" 2>/dev/null || :
manager=''
if [ -n "${SHM_TEST_ALONE-}" ]; then
    limit() { # FILE VALUE: what was there is in $was
        was=$(cat "/proc/sys/kernel/$1")
        echo "$2" >"/proc/sys/kernel/$1"
    }
    limit shmmax 1000000
    ok 'kernel.shmmax too small' says 1 'larger than kernel.shmmax: raise that, or lower segment.size' daemon
    echo "$was" >/proc/sys/kernel/shmmax
    limit shmall 100
    ok 'kernel.shmall too small' says 1 'kernel.shmmni or kernel.shmall is reached' daemon
    echo "$was" >/proc/sys/kernel/shmall
fi
ok 'too few descriptors' says 1 'shm-manager: error: ' bash -c "ulimit -n 8; $(declare -f daemon); build='$build' work='$work' daemon"
# A sanitizer's shadow takes more address space than that by itself.
if ! grep -q __asan_init "$build/daemon/shm-manager"; then
    ok 'too little address space' says 1 'shm-manager: error: ' bash -c "ulimit -v 100000; $(declare -f daemon); build='$build' work='$work' daemon"
fi

# A full disk below the state directory.
if [ "$(id -u)" -eq 0 ] && unshare -m true 2>/dev/null; then
    mkdir "$work/full"
    full() { # a manager whose state directory is a file system without room
        unshare -m bash -c 'mount -t tmpfs -o size=64k tmpfs "$1" && head -c 65536 /dev/zero >"$1/filler" 2>/dev/null
            shift; exec timeout -k 1 20 "$@"' - "$work/full" "$build/daemon/shm-manager" --key 0x4bad0002 \
            --state-dir "$work/full" --runtime-dir "$SHMC_RUNTIME_DIR"
    }
    ok 'a full disk' says 1 "state.db can't be used: the disk is full" full
fi
start_manager
ok 'after all this it starts' says 0 '' shmtool plan
