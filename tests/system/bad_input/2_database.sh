# shellcheck shell=bash disable=SC2016,SC2154 # perl's variables; the sourcing script's
# SPDX-License-Identifier: Apache-2.0
#
# Databases: the table's, and the manager's own state.db.

# NAME REGEX: with whatever stands in the table's place now, at a reload, with --check, and at a start, which
# goes on with the last good table.
unusable() {
    bad "$1, at a reload" 1 "$2" shmtool reload
    bad "$1, with --check" 1 "$2" daemon --check
    end_manager KILL
    start_manager
    fine "$1, at a start" says 0 "$2" shmtool status
}
aside() { # the good table, by a copy that has its log in it
    sql ".backup $work/good.db"
    rm -f "$db" "$db-wal" "$db-shm"
}
mended() {
    rm -f "$db" "$db-wal" "$db-shm"
    cp "$work/good.db" "$db"
    chmod 640 "$db"
    fine 'when it is mended, it is taken' says 0 '' shmtool reload
}
state_refused() { # NAME REGEX COMMAND...: what is done to state.db, and then undone
    local name=$1 regex=$2
    shift 2
    end_manager KILL
    cp "$work/state/state.db" "$work/good-state.db"
    "$@"
    bad "$name" 1 "$regex" daemon
    cp "$work/good-state.db" "$work/state/state.db"
    start_manager
    counted "$name, mended"
}
state_sql() { sqlite3 "$work/state/state.db" "$@"; }

kind 'not SQLite'
aside
echo 'this is not a database, however long it may be' >"$db"
unusable 'text' 'is not an SQLite database'
: >"$db"
unusable 'an empty file' 'is empty: remove it'
head -c 6000 "$work/good.db" >"$db"
unusable 'half of one' 'is damaged|malformed'
rm "$db"
mkdir "$db"
unusable 'a directory' 'is not an SQLite database, and no file at all: move it away'
rmdir "$db"
mkfifo "$db"
unusable 'a pipe, which holds up nobody' 'is not an SQLite database, and no file at all: move it away'
rm "$db"
mended
end_manager KILL
cp "$work/state/state.db" "$work/good-state.db"
echo 'this is not a database either' >"$work/state/state.db"
start_manager
fine 'state.db is kept, and a new one made' grep -q 'state.db was damaged; it is kept as' "$work/manager.log"

kind 'another application'
sql "PRAGMA application_id = 7"
unusable "somebody's" 'of another application \(application_id 7'
sql "PRAGMA application_id = $((0x53484d74))"
fine 'when it is mended, it is taken' says 0 '' shmtool reload
state_refused "state.db is somebody's" "it is another application's, or a newer version's: move it away" \
    state_sql 'PRAGMA application_id = 7'

kind 'a newer schema'
sql "PRAGMA user_version = 99"
unusable 'of the table' 'has schema version 99, this program knows 2: use the version that wrote it'
sql "PRAGMA user_version = 2"
fine 'when it is mended, it is taken' says 0 '' shmtool reload
state_refused "of state.db" "it is another application's, or a newer version's: move it away" \
    state_sql 'PRAGMA user_version = 99'

kind 'a locked database'
locked() { # FILE SQL: another process has it for itself
    rm -f "$work/locker" "$work/locked"
    mkfifo "$work/locker"
    sqlite3 "$1" <"$work/locker" >"$work/locked" 2>&1 &
    locker=$!
    children+=("$locker")
    exec 7>"$work/locker"
    printf '%s;\nSELECT "locked";\n' "$2" >&7
    await 30 grep -q '^locked' "$work/locked"
}
unlocked() { # not by closing its input, which a manager may have inherited
    exec 7>&-
    end_child "$locker"
}
locked "$db" 'BEGIN IMMEDIATE'
fine 'an editor that keeps a transaction open holds up nobody' says 0 '' shmtool reload
unlocked
aside
cp "$work/good.db" "$db"
sql 'PRAGMA journal_mode = DELETE' >/dev/null
locked "$db" 'BEGIN EXCLUSIVE'
unusable 'by somebody, whole' 'is locked by another program: end its transaction, and try again'
unlocked
mended
end_manager KILL
locked "$work/state/state.db" 'BEGIN EXCLUSIVE'
bad 'state.db' 1 "state.db can't be used: somebody else has it locked: end that" daemon
unlocked
start_manager

kind 'an unreadable database'
if root; then
    chmod 755 "$work"
    mkdir "$work/theirs"
    cp "$work/good.db" "$work/theirs/sections.db"
    chmod 600 "$work/theirs/sections.db"
    chown 65533 "$work/theirs"
    bad 'by its mode' 1 'readable for uid 65533' \
        as_nobody timeout 60 "$build/daemon/shm-manager" --check --table "$work/theirs/sections.db"
    bad 'for shmtool' 1 'readable for uid 65533|Permission denied' \
        as_nobody "$build/tools/shmtool" table dump --table "$work/theirs/sections.db"
fi
aside
ln -s "$work/nowhere" "$db"
bad 'a link that leads nowhere' 1 'there is no section table|No such file' shmtool reload
rm "$db"
bad 'a table that is gone' 1 'there is no section table: shmtool table init makes one' shmtool reload
mended

kind 'foreign triggers'
foreign() { # NAME REGEX SQL UNDO
    sql "$3"
    unusable "$1" "$2"
    sql "$4"
    fine "$1, dropped" says 0 '' shmtool reload
}
foreign 'a trigger' "trigger 'spy' that is not shm-manager's" \
    "CREATE TRIGGER spy AFTER INSERT ON section BEGIN SELECT 1; END" 'DROP TRIGGER spy'
foreign 'a view' "view 'peek' that is not shm-manager's" 'CREATE VIEW peek AS SELECT * FROM section' 'DROP VIEW peek'
foreign 'a table' "table 'loot' that is not shm-manager's" 'CREATE TABLE loot(x)' 'DROP TABLE loot'
foreign 'an index' "index 'fast' that is not shm-manager's" 'CREATE INDEX fast ON section(size)' 'DROP INDEX fast'
own=$(sql "SELECT name FROM sqlite_schema WHERE type = 'trigger' ORDER BY name LIMIT 1")
text=$(sql "SELECT sql FROM sqlite_schema WHERE name = '$own'")
foreign 'one of ours that is gone' "the table lacks its trigger '$own'" "DROP TRIGGER $own" "$text"
