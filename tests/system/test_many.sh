#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Sections that many write, as the manager serves them: planned and placed, made and mended, adopted, and
# what becomes of an edit of them while somebody is attached.  Usage: test_many.sh BUILD-DIRECTORY
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

# ---- edits
drive other
drive holder web
sql "UPDATE section SET count = 8 WHERE name = 'seats'"
ok 'an edit waits for who may write' says 1 "section 'seats': it can't go to another place while somebody is attached" shmtool reload
ends holder
await 30 says 0 ' free ' shmtool workers web
ok 'and is made then' says 0 'is in force' shmtool reload
ok 'as it says' test "$(column seats count)" = 8
ok 'a write_group' edit "UPDATE section SET write_group = '$(id -g)' WHERE name = 'jobs'"
ok 'takes another place' test "$(column jobs offset)" != "$before"
ok 'a group that is not there is refused' refuses "section 'jobs': there is no group 'nobody-has-it' on this host" \
    "UPDATE section SET write_group = 'nobody-has-it' WHERE name = 'jobs'" "UPDATE section SET write_group = '$(id -g)' WHERE name = 'jobs'"
ok 'a queue is not kept over a reboot' refuses "section 'jobs': persist is for values" \
    "PRAGMA ignore_check_constraints = on; UPDATE section SET persist = 1 WHERE name = 'jobs'" "UPDATE section SET persist = 0 WHERE name = 'jobs'"
drive holder web
sql "UPDATE section SET size = 2000 WHERE name = 'jobs'"
ok 'by force it is taken' says 0 '^move +jobs .*begins empty.*taken from who writes it' shmtool reload --force
ok 'the worker'"'"'s own is still its own' does holder '^0' 'put cam mine'
ends holder
edit "DELETE FROM section WHERE name IN ('jobs', 'board', 'seats')"
ok 'they go' says 0 '^cam ' shmtool list
