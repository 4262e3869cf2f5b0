#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Edits to sections that exist, held and not: values stay, versions go on, and what can't be is refused
# in one line.  Each line of "Edits while it runs" in shm-table(5) is a case.  Usage: test_edits.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"
# shellcheck source=tests/system/driving.sh
. "$(dirname "$0")/driving.sh"

start_manager
edit "INSERT INTO section(name, owner, size) VALUES ('cam', 'driver', 1000), ('other', 'driver', 1000);
    INSERT INTO section(name, owner, size, kind) VALUES ('notes', 'driver', 256, 'raw');"
drive reader
drive driver driver
ok 'a value, twice' does driver '^0' 'put cam first'
does driver '^0' 'put cam second'
does driver '^0' 'put other elsewhere'
does driver '^0' 'raw notes these are raw'
does reader 'v2 second' 'get cam'

# ---- nobody holds it
ends driver
await 30 says 0 ' free ' shmtool workers driver
edit "UPDATE section SET stale_ms = 60000, format = 'text/1', persist = 1, notify = 'always', stamp = 'coarse' WHERE name = 'cam';"
ok 'what needs no other place changes in place' value_of cam 2 second
ok 'a size within the space that is there too' edit "UPDATE section SET size = 960 WHERE name = 'cam';"
sql "UPDATE section SET size = 131072 WHERE name = 'cam';"
ok 'plan says that it moves' says 0 '^move +cam ' shmtool plan
ok '--check too' says 0 '^move +cam: size 960 -> 131072' daemon --check
ok 'a larger size moves it at once' says 0 '^move +cam ' shmtool reload
ok 'with its value and version' value_of cam 2 second
ok 'and a reader goes along' does reader 'v2 second' 'get cam'
ok 'another count' edit "UPDATE section SET count = 7 WHERE name = 'cam';"
ok 'brings it along' value_of cam 2 second
ok 'an offset' edit "UPDATE section SET offset = 16777216 WHERE name = 'cam';"
ok 'is taken' test "$(column cam offset)" = 16777216
ok 'with the value' value_of cam 2 second
ok 'its own space is no place for it' refuses 'would overlap its own place before' \
    "UPDATE section SET offset = 16781312 WHERE name = 'cam';" "UPDATE section SET offset = 16777216 WHERE name = 'cam';"
ok 'the offset is the manager'"'"'s again' edit "UPDATE section SET offset = NULL WHERE name = 'cam';"
ok 'a smaller size' edit "UPDATE section SET size = 64 WHERE name = 'cam';"
ok 'that its value fits' value_of cam 2 second
ok 'one that it does not fit is refused, with both numbers' refuses 'size 5 is too small for its newest value, which has 6 bytes' \
    "UPDATE section SET size = 5 WHERE name = 'cam';" "UPDATE section SET size = 64 WHERE name = 'cam';"
ok 'another owner' edit "UPDATE section SET owner = 'grabber' WHERE name = 'cam';"
ok 'gets it with its value' value_of cam 2 second
drive grabber grabber
ok 'and goes on counting' does grabber '^0' 'put cam third'
ok 'for all who read' does reader 'v3 third' 'get cam'
ends grabber
await 30 says 0 ' free ' shmtool workers grabber
edit "UPDATE section SET owner = 'driver' WHERE name = 'cam';"
ok 'another name' edit "UPDATE section SET name = 'camera' WHERE name = 'cam';"
ok 'has the value' value_of camera 3 third
edit "UPDATE section SET name = 'cam' WHERE name = 'camera';"
ok 'raw bytes grow' edit "UPDATE section SET size = 70000 WHERE name = 'notes';"
ok 'with what they were' test "$(shmtool get notes | head -c 13)" = 'these are raw'
edit "UPDATE section SET size = 256, offset = 33554432 WHERE name = 'notes';"
ok 'and go elsewhere' test "$(shmtool get notes | head -c 13)" = 'these are raw'
edit "UPDATE section SET offset = NULL WHERE name = 'notes';"
ok 'another kind begins empty' edit "UPDATE section SET kind = 'raw', size = 100, count = NULL WHERE name = 'other';"
ok 'with zeros' test "$(shmtool get other | tr -d '\0' | wc -c)" = 0
edit "UPDATE section SET kind = 'snapshot', size = 1000, count = 4 WHERE name = 'other';"
if ! on_sysv; then
    ok 'another group of readers' edit "UPDATE section SET read_group = '0' WHERE name = 'cam';"
    ok 'reads the same value' value_of cam 3 third
    edit "UPDATE section SET read_group = NULL WHERE name = 'cam';"
fi

edit "DELETE FROM section WHERE name = 'other';"
ok 'removal' says 1 "no section 'other'|not.*'other'|other" shmtool get other
edit "INSERT INTO section(name, owner, size) VALUES ('other', 'driver', 1000);"

# ---- somebody holds it
drive driver driver
does driver '^0' 'put cam fourth'
does driver '^0' 'put other once more'
does driver '^0' 'raw notes held raw'
does reader 'v4 fourth' 'get cam'
does reader '^0' 'view cam'
sql "UPDATE section SET size = 131060, count = 5 WHERE name = 'cam';"
ok 'plan says for whom it waits' says 0 "^move +cam .*next publish.*driver" shmtool plan
ok 'a held section moves with the next publish' says 0 "^move +cam .*next publish.*driver" shmtool reload
ok 'status says so' moving "\\{\"section\":\"cam\",\"waits_for\":\"driver\",\"pid\":${pid[driver]}\\}"
ok 'in plain text too' says 0 "cam.*driver" shmtool status
ok 'until then it is read where it was' does reader 'v4 fourth' 'get cam'
ok 'what was viewed there stays in memory' does reader '^[01] fourth' 'look cam'
ok 'other edits go on meanwhile' edit "UPDATE section SET stale_ms = 50000 WHERE name = 'cam';"
ok 'but not another move' refuses "still moving, with the next publish of worker 'driver'" \
    "UPDATE section SET count = 9 WHERE name = 'cam';" "UPDATE section SET count = 5 WHERE name = 'cam';"
told reader 'next cam 20000'
ok 'the publish' does driver '^0' 'put cam fifth'
ok 'reaches who slept' hears reader 'v5 fifth'
ok 'and ends the move' await 30 moving ''
ok 'it is told' grep -q "moved 'cam'" "$work/manager.log"
does driver '^0' 'put cam sixth'
ok 'its version goes on' value_of cam 6 sixth

edit "UPDATE section SET count = 3 WHERE name = 'cam';"
ok 'what was begun' does driver '^0' 'begin other begun'
edit "UPDATE section SET size = 30000 WHERE name = 'other';"
ok 'before the edit' does driver '^0' 'commit other 6'
ok 'is committed to the new place' does reader '^6 v[0-9]+ begun' 'get other'
ok 'an offset, held' does driver '^0' 'put cam seventh'
await 30 moving ''
edit "UPDATE section SET offset = 25165824 WHERE name = 'cam';"
does driver '^0' 'put cam eighth'
await 30 moving ''
ok 'is taken with the next publish' test "$(column cam offset)" = 25165824
ok 'with the value, once more' value_of cam 8 eighth
edit "UPDATE section SET offset = NULL WHERE name = 'cam';"
ok 'what changes in place' edit "UPDATE section SET stale_ms = 40000, format = 'text/2', persist = 0, notify = 'demand',
    stamp = 'precise', size = 131072 WHERE name = 'cam';"
ok 'needs no publish' moving ''
edit "UPDATE section SET format = '' WHERE name = 'cam';"
if ! on_sysv; then
    ok 'another group, held' edit "UPDATE section SET read_group = '0' WHERE name = 'cam';"
    ok 'waits for a publish' moving '.*"section":"cam".*'
    does driver '^0' 'put cam eighth'
    await 30 moving ''
    ok 'and has it then' does reader 'eighth' 'get cam'
    edit "UPDATE section SET read_group = NULL WHERE name = 'cam';"
    does driver '^0' 'put cam eighth'
    await 30 moving ''
fi
version=$(column cam version)

held="while worker 'driver' holds its lease"
ok 'a smaller size is refused' refuses "can't shrink from 131072 to 90 $held" \
    "UPDATE section SET size = 90 WHERE name = 'cam';" "UPDATE section SET size = 131072 WHERE name = 'cam';"
ok 'another name is refused' refuses "can't be renamed to 'camera' $held" \
    "UPDATE section SET name = 'camera' WHERE name = 'cam';" "UPDATE section SET name = 'cam' WHERE name = 'camera';"
ok 'another owner is refused' refuses "its owner can't change from driver to grabber $held" \
    "UPDATE section SET owner = 'grabber' WHERE name = 'cam';" "UPDATE section SET owner = 'driver' WHERE name = 'cam';"
ok 'another kind is refused' refuses "its kind can't change from snapshot to raw $held" \
    "UPDATE section SET kind = 'raw', count = NULL WHERE name = 'other';" \
    "UPDATE section SET kind = 'snapshot', count = 4 WHERE name = 'other';"
ok 'sharing is refused' refuses "shared can't change from 0 to 1 $held" \
    "UPDATE section SET shared = 1 WHERE name = 'notes';" "UPDATE section SET shared = 0 WHERE name = 'notes';"
ok 'raw bytes do not go elsewhere' refuses "can't go to another place $held" \
    "UPDATE section SET offset = 37748736 WHERE name = 'notes';" "UPDATE section SET offset = NULL WHERE name = 'notes';"
ok 'raw bytes do not move' refuses "can't go to another place $held" \
    "UPDATE section SET size = 70000 WHERE name = 'notes';" "UPDATE section SET size = 256 WHERE name = 'notes';"
row=$(sqlite3 "$db" "SELECT id FROM section WHERE name = 'other'")
ok 'removal is refused' refuses "can't be removed $held" "DELETE FROM section WHERE name = 'other';" \
    "INSERT INTO section(id, name, owner, size, count) VALUES ($row, 'other', 'driver', 30000, 4);"

# ---- whoever it waits for goes
ends driver KILL
ok 'with its writer gone a section moves at once' await 30 moving ''
ok 'and keeps its value' value_of cam "$version" eighth
drive driver driver
ok 'which the next goes on from' does driver '^0' 'put cam ninth'
edit "UPDATE section SET size = 200000 WHERE name = 'cam';"
end_manager KILL
start_manager
ok 'a move outlives the manager' moving '.*"section":"cam".*'
ok 'is ended by the writer' does driver '^0' 'put cam tenth'
ok 'and seen by the next manager' await 30 moving ''
ok 'with its value, again' value_of cam $((version + 2)) tenth
edit "UPDATE section SET size = 300000 WHERE name = 'cam';"
end_manager KILL
ok 'a writer needs no manager for it' does driver '^0' 'put cam eleventh'
start_manager
if ! on_sysv; then # where its new memory comes from: so far it went on in the old place
    arrives() {
        does driver '^0' 'put cam eleventh' && moving ''
    }
    await 30 arrives
    version=$(($(column cam version) - 3))
fi
ok 'one that ended while no manager ran is done' await 30 moving ''
ok 'with the value' value_of cam $((version + 3)) eleventh
edit "UPDATE section SET size = 310000 WHERE name = 'cam';"
end_manager KILL
ends driver KILL
start_manager
ok 'one whose writer died meanwhile, too' await 30 moving ''
ok 'its value is there' value_of cam $((version + 3)) eleventh

# ---- by force
drive driver driver
does driver '^0' 'put cam twelfth'
ok 'begun by one' does driver '^0' 'begin cam too late'
sql "UPDATE section SET owner = 'grabber' WHERE name = 'cam';"
ok 'plan --force shows what it takes' says 0 '^move +cam .*driver' shmtool plan --force
ok 'taken away' says 0 '^move +cam ' shmtool reload --force
ok 'from who had begun' does driver '^E[A-Z]+' 'commit cam 9'
ok 'the newest whole value goes along' value_of cam $((version + 4)) twelfth
drive grabber grabber
ok 'the new owner' does grabber '^0' 'put cam mine now'
ok 'goes on counting from there' value_of cam $((version + 5)) 'mine now'
ok 'the old one is told' does driver '^E[A-Z]+' 'put cam again'
ok 'and reaches nobody' value_of cam $((version + 5)) 'mine now'
ok 'its other sections are its own' does driver '^0' 'put other still mine'
sql "UPDATE section SET size = 20 WHERE name = 'other';"
ok 'room is taken away' says 0 '^move +other .*driver' shmtool reload --force
ok 'with the next publish' does driver '^EMSGSIZE' 'put other more than twenty bytes long'
ok 'which is told' does driver '^0' 'put other short'
ok 'how much there is' does reader ' short' 'get other'
sql "UPDATE section SET name = 'another' WHERE name = 'other';"
ok 'a name is taken away' says 0 "renamed from 'other'" shmtool reload --force
ok 'who has it open goes along' does driver '^0' 'put other with its name'
ok 'to the new one' test "$(shmtool get another)" = 'with its name'
does driver '^0' 'open another'
sql "UPDATE section SET kind = 'raw', count = NULL WHERE name = 'another';"
ok 'its kind, too' says 0 'begins empty' shmtool reload --force
ok 'who wrote it the other way is told' does driver '^E[A-Z]+' 'put another of the old kind'
sql "DELETE FROM section WHERE name = 'another';"
ok 'and the section itself' says 0 '^remove +another ' shmtool reload --force
ok 'who wrote it is told once more' does driver '^E[A-Z]+' 'put another still there?'
ends grabber
ends driver
await 30 says 0 ' free ' shmtool workers driver
await 30 says 0 ' free ' shmtool workers grabber
ok 'with it gone, what it had is free' await 30 grep -q 'freed what' "$work/manager.log"
edit "UPDATE section SET owner = 'driver' WHERE name = 'cam';"

# ---- a lease that is taken back from one who was stopped in the midst of a publish
drive driver driver
freed=$(grep -c 'freed what' "$work/manager.log")
frees() { # OPERATOR: since then
    test "$(grep -c 'freed what' "$work/manager.log")" "$1" "$freed"
}
does driver '^0' 'put cam by the first'
does driver '^0' 'raw notes by the first'
ok 'stopped between begin and commit' does driver '^0' 'begin cam never seen'
kill -STOP "${pid[driver]}"
ok 'its lease is taken back' says 0 'is free' shmtool revoke driver
ok 'the value stays' value_of cam $((version + 6)) 'by the first'
ok 'and raw bytes' test "$(shmtool get notes | head -c 12)" = 'by the first'
drive second driver
ok 'another is that worker' does second '^0' 'put cam by the second'
does second '^0' 'raw notes by the second'
end_manager KILL
start_manager
ok 'also for the next manager' says 0 "leased +${pid[second]}" shmtool workers driver
ok 'whose it stays' does second '^0' 'put cam by the second again'
told driver 'commit cam 11'
told driver 'raw notes over it all'
kill -CONT "${pid[driver]}"
ok 'the first goes on, and is told' hears driver '^EKEYREVOKED'
hears driver '^'
ok 'what it did reaches nobody' value_of cam $((version + 8)) 'by the second again'
ok 'nor the raw bytes' test "$(shmtool get notes | head -c 13)" = 'by the second'
ok 'it can be revoked again' says 0 'is free' shmtool revoke driver
ok 'with the values' value_of cam $((version + 8)) 'by the second again'
ok 'and what was left is not used' frees -eq
ok 'which --check knows' says 0 '^0 change' daemon --check
ends driver
ends second
! on_sysv || ok 'until both are gone' await 30 frees -gt # elsewhere there is nothing to wait for
drive driver driver
ok 'and the next one works' does driver '^0' 'put cam at last'
ok 'as ever' value_of cam $((version + 9)) 'at last'
