#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# sections.d: files of SQL applied to the table, by shmtool and at the manager's start: in which
# order, which hide which, what is written, what is refused.
# Usage: test_include.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh disable=SC2016 # PHP has variables too
. "$(dirname "$0")/../interop/harness.sh"
unset SHMC_LEASE SHM_STATE_DIR
db=$work/state/sections.db vendor=$work/vendor local=$work/local
mkdir "$vendor" "$local"
shmtool table init --table "$db" >"$work/init.log"

sql() { sqlite3 "$db" "$@"; }
include() { shmtool table include --table "$db" "$vendor" "$local" "$@"; }
file() { cat >"$1.sql"; } # PATH: its text from standard input
sizes() { sql "SELECT group_concat(name || '=' || size, ' ') FROM (SELECT * FROM section ORDER BY name)"; }
has() { [ "$(sizes)" = "$1" ] || { echo "there is: $(sizes)"; return 1; }; }

# One connection for all, as the manager has one: what it sees is what others committed.
coproc watch { exec sqlite3 "$db"; }
watch_pid=$!
children+=("$watch_pid")
data_version() {
    echo 'PRAGMA data_version;' >&"${watch[1]}"
    read -r -t 60 version <&"${watch[0]}"
}
unwritten() { # COMMAND...: nothing was committed behind it
    local before
    data_version
    before=$version
    "$@"
    data_version
    [ "$version" = "$before" ]
}

# ---- order, and what hides what
ok "no directories are no files" says 0 "^no files NAME.sql in $work/none, $vendor\$" \
    shmtool table include --table "$db" "$work/none" "$vendor"
file "$vendor/10-base" <<<"INSERT INTO section(name, owner, size) VALUES('first', 'w', 1) ON CONFLICT DO NOTHING;"
file "$vendor/30-size" <<<"UPDATE section SET size = 3 WHERE name = 'first';"
file "$local/20-size" <<<"UPDATE section SET size = size + 1 WHERE name = 'first' AND size < 2;"
file "$local/.hidden" <<<"DELETE FROM section;"
echo "DELETE FROM section;" >"$local/10-base.sql.orig"
ok "they are applied in the order of their names" says 0 "^$local/20-size.sql is applied\$" include
ok "over all directories" has 'first=3'
ok "and are told in that order" diff <(include | sed 's, .*,,; s,.*/,,') - <<<$'10-base.sql\n20-size.sql\n30-size.sql'
file "$local/30-size" <<<"UPDATE section SET size = 33 WHERE name = 'first';"
ok "one hides that of its name in the directory before" says 0 "$local/30-size.sql is applied" include
ok "which has no say then" has 'first=33'
sql "UPDATE section SET size = 8"
: >"$local/30-size.sql"
ok "an empty one hides it as well" says 0 "$local/30-size.sql changes nothing" include
ok "and does nothing" has 'first=8'
ln -sf /dev/null "$local/30-size.sql"
ok "so does a link to /dev/null" says 0 "$local/30-size.sql changes nothing" include
ok "which is no file either" has 'first=8'
rm "$local/30-size.sql"
ok "it shows again when that goes" says 0 "$vendor/30-size.sql is applied" include
ok "and has its say" has 'first=3'

# ---- twice is once
file "$vendor/40-more" <<'SQL'
-- what an administrator changes stays
INSERT INTO section(name, owner, size) VALUES('free', 'w', 100) ON CONFLICT(name) DO NOTHING;
-- what an administrator changes is set again, but for stale_ms
INSERT INTO section(name, owner, size, stale_ms) VALUES('fixed', 'v#2', 100, 5)
    ON CONFLICT(name) DO UPDATE SET size = excluded.size;
INSERT OR REPLACE INTO section(name, owner, size) VALUES('anew', 'w', 7);
UPDATE worker SET user = 'root' WHERE name = 'w';
UPDATE segment SET auto_apply = 0;
BEGIN; COMMIT;
SQL
ok "a file of many statements" says 0 '40-more.sql is applied' include
id=$(sql "SELECT id FROM section WHERE name = 'anew'")
once_more() { ! include | grep -v 'changes nothing$'; }
ok "applied again it commits nothing" unwritten once_more
ok "and a row that was replaced by itself keeps its id" \
    test "$(sql "SELECT id FROM section WHERE name = 'anew'")" = "$id"
sql "UPDATE section SET size = 200, stale_ms = 9 WHERE name IN ('free', 'fixed')"
ok "what was changed by hand" says 0 '40-more.sql is applied' include
ok "stays, or is set again" has 'anew=7 first=3 fixed=100 free=200'
ok "in those columns that the file sets" test "$(sql "SELECT stale_ms FROM section WHERE name = 'fixed'")" = 9
sql "DELETE FROM section WHERE name = 'free'"
ok "what was deleted by hand" says 0 '40-more.sql is applied' include
ok "comes back" has 'anew=7 first=3 fixed=100 free=100'

# ---- the page's example
example() { sed -n '/50\\-camera/,/^\.EE/p' "$source_dir/daemon/shm-table.5" | sed '$d; s/\\-/-/g'; }
example | file "$local/50-camera"
ok "the example of shm-table(5)" says 0 '50-camera.sql is applied' include
sql "UPDATE section SET size = 200000, format = 'x', stale_ms = 7 WHERE name = 'camera'"
ok "is applied to what was changed" says 0 '50-camera.sql is applied' include
ok "as the page says" test "$(sql "SELECT size, format, stale_ms FROM section WHERE name = 'camera'")" = '200000|camera/2|7'
echo "DELETE FROM section WHERE name = 'camera';" | file "$local/50-camera"
ok "and DELETE takes it away" says 0 '50-camera.sql is applied' include
rm "$local/50-camera.sql"

# ---- what is refused, and what becomes of the others
file "$local/50-good" <<<"INSERT INTO section(name, owner, size) VALUES('good', 'w', 5) ON CONFLICT DO NOTHING;"
refused() { # NAME REGEX: the file 45-bad changes nothing, and the one behind it is applied
    sql "DELETE FROM section WHERE name = 'good'"
    ok "$1" says 1 "^shmtool table include: $vendor/45-bad.sql$2" include
    ok "  changes nothing, and the others are applied" has 'anew=7 first=3 fixed=100 free=100 good=5'
}
only=': only INSERT, UPDATE and DELETE of rows in segment, worker and section may stand here, not'
drop_all="DELETE FROM section WHERE name = 'free'; -- is undone with the rest"
while IFS='|' read -r text regex; do
    file "$vendor/45-bad" <<<"$drop_all"$'\n'"${text//%/$'\n'}"
    refused "$text" "$regex"
done <<END
ATTACH '$work/x.db' AS x;|, line 2$only ATTACH
PRAGMA user_version = 2;|, line 2$only PRAGMA
CREATE TABLE more(a);|, line 2$only CREATE
CREATE TRIGGER evil AFTER INSERT ON section BEGIN SELECT 1; END;|, line 2$only CREATE
DROP TRIGGER section_insert;|, line 2$only DROP
ALTER TABLE section ADD COLUMN more;|, line 2$only ALTER
ANALYZE;|, line 2$only ANALYZE
REINDEX;|, line 2$only REINDEX
SAVEPOINT here;|, line 2$only SAVEPOINT
ROLLBACK;|, line 2$only ROLLBACK
DELETE FROM sqlite_sequence;|, line 2$only sqlite_sequence
SELECT sql FROM sqlite_schema;|, line 2$only sqlite_master
SELECT * FROM json_each('[1]');|, line 2$only a function that is a table
SELECT load_extension('$work/x.so');|, line 2$only load_extension\(\)
/* one comment */ ; -- and another%/* and a third,% of two lines */%ATTACH 'x' AS y;|, line 5$only ATTACH
SELECT writefile('$work/x', 'x');|, line 2: no such function: writefile
VACUUM INTO '$work/x.db';|, line 2: cannot VACUUM
.shell touch $work/x|, line 2: near "\.": syntax error
INSERT INTO section(name, owner, size) VALUES('a', 'w', 0);|, line 2: section.size takes bytes, 1 or more
INSERT INTO worker(name) VALUES('w');|, line 2: UNIQUE .*worker.name; a file is applied at each start, so write INSERT
UPDATE worker SET instances = 1 WHERE name = 'v';|: section 'fixed': its owner 'v#2' is beyond
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n;|, line 2: the statement comes to no end
END
ok "none of it was done outside" test ! -e "$work/x" -a ! -e "$work/x.db"
ok "nor in the schema" diff <(sql .schema) <(sqlite3 :memory: ".read $source_dir/daemon/table-schema.sql" .schema)
printf 'SELECT 1;\0DELETE FROM section;' | file "$vendor/45-bad"
refused "a zero byte" ' has a zero byte'
rm "$vendor/45-bad.sql"
mkfifo "$vendor/45-bad.sql"
refused "a pipe" ' is no regular file: .* a link to /dev/null hides one'
rm "$vendor/45-bad.sql"
ln -s nowhere "$vendor/45-bad.sql"
refused "a link to nowhere" " can't be read: No such file"
rm "$vendor/45-bad.sql"
file "$vendor/45-bad" <<<"DELETE FROM section;"
chmod o+w "$vendor/45-bad.sql"
refused "one that everybody may write" ': everybody may write it: chmod o-w it$'
rm "$vendor/45-bad.sql"
chmod o+w "$local"
ok "a directory where everybody may" \
    says 1 "^shmtool table include: $local: everybody may write there: chmod o-w it" include
chmod o-w "$local"
file "$vendor/45-bad" <<<"INSERT INTO section(name, owner, size) WITH RECURSIVE n(i) AS
    (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 500) SELECT 'much' || i, 'w', 1 FROM n;"
no_room() { (ulimit -f 1; exec shmtool table include --table "$db" "$vendor" "$local"); }
ok "a disk without room" says 1 "^shmtool table include: $vendor/45-bad.sql: .*(disk|full)" no_room
ok "leaves the table as it was" has 'anew=7 first=3 fixed=100 free=100 good=5'
rm "$vendor/45-bad.sql"
ok "a directory that is none is told, and the others are applied" \
    says 1 "^shmtool table include: $vendor/10-base.sql can't be read: Not a directory" \
    include "$vendor/10-base.sql"
file "$vendor/45-bad" <<<'SELECT;'
json_says() { # EXPRESSION of PHP, on $v
    { include --json || :; } | php -r '$v = json_decode(stream_get_contents(STDIN), true, 64, JSON_THROW_ON_ERROR);
        exit(eval("return $argv[1];") ? 0 : 1);' "$1"
}
ok "as JSON" json_says '!$v["ok"] && !$v["changed"] && $v["error"] === "1 of 6 could not be applied"'
ok "with each file's outcome" json_says \
    'array_column($v["files"], "outcome") === ["same", "same", "same", "same", "failed", "same"]'
ok "and why it failed" json_says 'str_contains($v["files"][4]["error"], "45-bad.sql, line 1: near")'
rm "$vendor/45-bad.sql"

# ---- a table that can't take them
sql "UPDATE worker SET instances = 1 WHERE name = 'v'"
ok "a table that is refused itself" says 1 'is refused as it is, so no file is applied to it: section' include
sql "UPDATE worker SET instances = 2 WHERE name = 'v'"
sql "CREATE TRIGGER evil AFTER INSERT ON section BEGIN DELETE FROM worker; END"
ok "a trigger that somebody planted" says 1 "is refused as it is, .*'evil'" include
sql "DROP TRIGGER evil"
ok "no table" says 1 'no section table: shmtool table init' \
    shmtool table include --table "$work/state/none.db" "$vendor"
tell() { echo "$1 SELECT 'done';" >&"${watch[1]}" && read -r -t 60 <&"${watch[0]}"; }
ok "(an editor begins)" tell "BEGIN IMMEDIATE;"
ok "one that is being edited" says 1 "sections.db is locked by another program" include
ok "(and ends)" tell "ROLLBACK;"
ok "later it can be" says 0 'changes nothing' include
eval "exec ${watch[1]}>&-" # the last connection takes the log away
ok "(nobody has it open)" wait "$watch_pid"
chmod 0755 "$work" "$work/state"
as_other=()
[ "$(id -u)" -ne 0 ] || as_other=(setpriv --reuid 65533 --regid 65533 --clear-groups)
chmod 0444 "$db"
if "${as_other[@]}" test -x "$build/tools/shmtool" -a ! -w "$db"; then
    ok "one that may not be written" \
        says 1 "can't be written by uid [0-9]+ \(Permission denied\): run this as its owner" \
        "${as_other[@]}" "$build/tools/shmtool" table include --table "$db" "$vendor"
fi
chmod 0640 "$db"

# ---- at the manager's start
daemon_says() { # REGEX DIRECTORY...: it starts, with a line that it logs
    local regex=$1 dirs=()
    shift
    : >"$work/manager.log"
    for dir; do dirs+=(--sections-dir "$dir"); done
    "$build/daemon/shm-manager" --key "$SHMC_KEY" --state-dir "$work/state" \
        --runtime-dir "$SHMC_RUNTIME_DIR" "${dirs[@]}" >>"$work/manager.log" 2>&1 &
    manager=$!
    shmtool status --wait 30000 >"$work/status" && grep -Eq -- "$regex" "$work/manager.log"
}
last_start() { shmtool list >"$work/list" && end_manager TERM; }
rm -f "$db"
rm "$vendor"/* "$local"/*
file "$vendor/10-one" <<<"INSERT INTO section(name, owner, size) VALUES('one', 'w', 64) ON CONFLICT DO NOTHING;"
file "$vendor/20-two" <<<"DELETE FROM section;"
file "$local/20-two" <<<"INSERT INTO section(name, owner, size) VALUES('two', 'w', 64) ON CONFLICT DO NOTHING;"
file "$local/15-bad" <<<"PRAGMA user_version = 3;"
ok "the first start applies them" daemon_says "$vendor/10-one.sql is applied to the table" "$vendor" "$local"
ok "and says what is wrong with one" grep -q "$local/15-bad.sql, line 1: .* not PRAGMA" "$work/manager.log"
ok "the sections are there" last_start
ok "both" diff <(awk 'NR > 1 { print $1 }' "$work/list") - <<<$'one\ntwo'
once_more() { daemon_says 'serving key' "$vendor" "$local" && shmtool list >"$work/list" && end_manager TERM; }
ok "the next one" once_more
ok "finds nothing to change" says 1 '' grep 'is applied' "$work/manager.log"
file "$vendor/30-three" <<<"INSERT INTO section(name, owner, size) VALUES('three', 'w', 64);"
ok "--check finds nothing to do" says 0 '^0 change' \
    daemon --check --sections-dir "$vendor" --sections-dir "$local"
ok "as it leaves the files alone" has 'one=64 two=64'
rm "$vendor/30-three.sql"
ok "without the option there are none" daemon_says 'serving key'
file "$vendor/30-three" <<<"INSERT INTO section(name, owner, size) VALUES('three', 'w', 64) ON CONFLICT DO NOTHING;"
at_once() { # several of them: each waits for the others
    local pids=() pid
    for _ in {1..6}; do
        include & pids+=($!)
    done >"$work/at-once"
    for pid in "${pids[@]}"; do wait "$pid" || return 1; done
    [ "$(grep -c '30-three.sql is applied' "$work/at-once")" -eq 1 ]
}
rm "$local/15-bad.sql"
ok "while it runs, and several at once, one of them applies a file" at_once
ok "--reload puts it in force" says 0 '30-three.sql changes nothing' include --reload
ok "as the manager says" says 0 three shmtool list
shmtool table rm one --reload >"$work/rm.log"
ok "(it ends)" last_start
ok "a table that is refused stops no start" sql "UPDATE worker SET instances = 2 WHERE name = 'w'"
ok "nor is a file applied to it" daemon_says 'is refused as it is, so no file is applied' "$vendor" "$local"
ok "and the last good one runs" says 0 two shmtool list
exit $failed
