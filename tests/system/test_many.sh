#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Sections that many write, as the manager serves them: planned and placed, made and mended, adopted, and
# what becomes of them with an edit while others are attached.  Usage: test_many.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"
# shellcheck source=tests/system/driving.sh
. "$(dirname "$0")/driving.sh"

# A control line as it should be: its name, and a count.
control_is() { # SECTION MAGIC COUNT
    local at
    at=$(column "$1" offset)
    perl -e 'my $id = shmget(hex shift, 0, 0) // die "$!"; my ($at, $magic, $count) = @ARGV;
        shmread($id, my $line, $at, 64) or die "$!";
        my @line = unpack("a4 L L", $line);
        exit !($line[0] eq $magic && $line[1] == 1 && $line[2] == $count)' "$SHMC_KEY" "$at" "$2" "$3"
}

# ---- a table of the version before
table=$work/state/sections.db
sqlite3 "$table" "PRAGMA application_id = $((0x53484d74)); PRAGMA user_version = 1; PRAGMA journal_mode = WAL" \
    ".read $source_dir/daemon/table-schema-1.sql" >/dev/null
sqlite3 "$table" "UPDATE segment SET backend = '${SHM_TEST_BACKEND-sysv}', auto_apply = 0"
segment_bytes() {
    shmtool status --json | tr -d ' \n' | grep -o '"bytes":[0-9]*' | head -1
}
start_manager
edit "INSERT INTO section(name, owner, kind, size, count) VALUES ('seats', 'web', 'slots', 100, 4), ('jobs', 'web', 'queue', 1000, 2);
    INSERT INTO section(name, owner, kind, size, shared) VALUES ('board', 'web', 'raw', 1000, 1);
    INSERT INTO section(name, owner, size) VALUES ('cam', 'web', 1000);"
ok 'what it lacks is not to be had' says 1 'made by an earlier version, and .*pregrab.*: shmtool table upgrade' \
    shmtool table set seats pregrab=1
ok 'it is brought up to date' says 0 'is brought to schema version 2' shmtool table upgrade
ok 'once' says 0 'has schema version 2' shmtool table upgrade
ok 'and nothing is another' says 0 'nothing had changed' shmtool reload
ok 'all columns are there' says 0 '' shmtool table set seats pregrab=1 clear=free
ok 'and are applied in place' says 0 '^change +seats +pregrab 0 -> 1, clear never -> free' shmtool reload
ok 'a dump has them' says 0 "pregrab, clear.* VALUES.*1, 'free'" shmtool table dump
shmtool table dump >"$work/dump.sql"
shmtool table set seats pregrab=0 clear=never >"$work/set.log"
ok 'and loads' says 0 '' shmtool table load "$work/dump.sql"
ok 'as it was' says 0 '^clear +free' shmtool table show seats
ok 'with nothing to apply' says 0 'nothing had changed' shmtool reload
edit "UPDATE section SET pregrab = 0, clear = 'never' WHERE name = 'seats'"

# ---- served
ok 'slots are listed' says 0 'seats.* slots ' shmtool list
ok 'queues too' says 0 'jobs.* queue ' shmtool list
ok 'on whole pages' test "$(($(column seats offset) % 4096 + $(column jobs offset) % 4096 + $(column board offset) % 4096))" = 0
if on_sysv; then
    ok 'slots are made' control_is seats SLOT 4
    ok 'queues too' control_is jobs QEUE 2
    poke "$(column jobs offset)" 0 64
    ok 'what somebody wrote over is mended' await 30 control_is jobs QEUE 2
fi
before=$(column jobs offset)
end_manager KILL
start_manager
ok 'the next manager adopts them' test "$(column jobs offset)" = "$before"

# ---- edits: nobody is in them, though many are attached
drive other -
drive late -
drive web web
ok 'slots are grabbed' does other '^0' 'grab seats'
does other '^0' 'fill seats 0 left behind'
does other '^0' 'free seats 0'
does other '^0' 'stay seats 2'
does other '^0' 'fill seats 2 to stay'
ok 'and by another' does late '^0' 'grab seats'
does late '^0' 'fill seats 0 in use'
sql "UPDATE section SET count = 8, size = 200 WHERE name = 'seats'"
ok 'an edit waits for who is in slots' says 1 "section 'seats': it can't go to another place while process [0-9]+ is in it" shmtool reload
does late '^0' 'free seats 0'
ok 'each of them' says 1 "section 'seats': it can't go to another place while process ${pid[other]} is in it" shmtool reload
ends other
ok 'one that stays is no hindrance once its process has gone' await 30 says 0 'is in force' shmtool reload
ok 'as the edit says' test "$(column seats count)" = 8
ok 'it is in use with its value' does late '^7 to stay' 'slot seats 2'
ok 'what was free has its last value' does late '^6 in use' 'slot seats 0'
ok 'who is attached finds them where they are' does late '^0' 'grab seats'
does late '^0' 'free seats 0'
ok 'fewer, and smaller' edit "UPDATE section SET count = 3, size = 50 WHERE name = 'seats'"
ok 'have what goes in' does late '^7 to stay' 'slot seats 2'
ok 'a value that does not is refused' refuses "section 'seats': size 5 is too small for its newest value, which has 7 bytes" \
    "UPDATE section SET size = 5 WHERE name = 'seats'" "UPDATE section SET size = 50 WHERE name = 'seats'"

# ---- a queue
before=$(column jobs offset)
drive sender -
ok 'a message' does sender '^0' 'send jobs first'
sql "UPDATE section SET write_group = '$(id -g)' WHERE name = 'jobs'"
ok 'an edit waits for who has a lane' says 1 "section 'jobs': it can't go to another place while process ${pid[sender]} is in it" shmtool reload
does sender '^0' 'send jobs second'
ends sender
ok 'and not for what is in it' await 30 says 0 'is in force' shmtool reload
ok 'which goes along' test "$(column jobs offset)" != "$before"
ok 'to who receives' does web '^0 first' 'peek jobs 10000'
sql "UPDATE section SET offset = 33554432 WHERE name = 'jobs'"
ok 'nor is it moved while somebody has a message' says 1 "section 'jobs': it can't go to another place while process ${pid[web]} is in it" shmtool reload
does web '^0' 'ack jobs'
ok 'then it is' says 0 'is in force' shmtool reload
ok 'with the rest' does web '^6 second' 'receive jobs 10000'
ok 'and nothing twice' does web '^EAGAIN' 'receive jobs 0'
does late '^0' 'send jobs third'
ends late
sql "UPDATE section SET count = 5, offset = NULL WHERE name = 'jobs'"
divided() { says 1 "section 'jobs': its size or count can't change while 1 messages are in it" shmtool reload; }
ok 'other lanes wait until it is empty' await 30 divided
does web '^5 third' 'receive jobs 10000'
ok 'and no longer' says 0 'is in force' shmtool reload
ok 'then they are there' test "$(column jobs count)" = 5
drive sender -
ok 'to be sent to' does sender '^0' 'send jobs fourth'
ok 'and received from' does web '^6 fourth' 'receive jobs 10000'

# ---- a manager that is killed between sealing and the flip
seal() { # OFFSET of an owner word
    perl -e 'my $id = shmget(hex shift, 0, 0) // die "$!"; shmwrite($id, pack("Q", 3 << 8), shift, 8) or die "$!"' "$SHMC_KEY" "$1"
}
if on_sysv; then
    ends sender
    end_manager KILL
    seal $(($(column jobs offset) + 64 + 128))
    seal $(($(column seats offset) + 64))
    start_manager
    drive sender -
    ok 'is followed by one that unseals lanes' does sender '^0' 'send jobs fifth'
    does web '^5 fifth' 'receive jobs 10000'
    ok 'and slots' does sender '^0' 'grab seats'
    does sender '^0' 'free seats 0'
fi

# ---- by force
ok 'a lane' does sender '^0' 'send jobs lost'
sql "UPDATE section SET size = 2000 WHERE name = 'jobs'"
ok 'by force it is taken' says 0 '^move +jobs .*begins empty.*taken from who writes it' shmtool reload --force
ok 'and is empty' does web '^EAGAIN' 'receive jobs 0'
ok 'who had a lane sends on' does sender '^0' 'send jobs anew'
ok 'to who receives' does web '^4 anew' 'receive jobs 10000'
ok 'the worker'"'"'s own is still its own' does web '^0' 'put cam mine'

# ---- another segment
does sender '^0' 'send jobs kept'
does sender '^0' 'stay seats 1'
does sender '^0' 'fill seats 1 kept, too'
ends sender
ends web
before=$(segment_bytes)
sql "UPDATE segment SET size = 134217728"
ok 'a larger segment' await 30 says 0 'is in force' shmtool reload
ok 'is another' test "$(segment_bytes)" != "$before"
drive web web
ok 'and has the messages' does web '^4 kept' 'receive jobs 10000'
ok 'and the slots' does web '^9 kept, too' 'slot seats 1'
ok 'in use as before' does web '^7 to stay' 'slot seats 2'
ends web
await 30 says 0 ' free ' shmtool workers web

ok 'a group that is not there is refused' refuses "section 'jobs': there is no group 'nobody-has-it' on this host" \
    "UPDATE section SET write_group = 'nobody-has-it' WHERE name = 'jobs'" "UPDATE section SET write_group = '$(id -g)' WHERE name = 'jobs'"
ok 'a queue is not kept over a reboot' refuses "section 'jobs': persist is for values" \
    "PRAGMA ignore_check_constraints = on; UPDATE section SET persist = 1 WHERE name = 'jobs'" "UPDATE section SET persist = 0 WHERE name = 'jobs'"
edit "DELETE FROM section WHERE name IN ('jobs', 'board', 'seats')"
ok 'they go' says 0 '^cam ' shmtool list
