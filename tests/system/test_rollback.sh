#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The table as it was: shown, compared, and put back, with the values that follow its rows; what can't
# be had again is told.  Usage: test_rollback.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"
unset SHMC_LEASE SHM_STATE_DIR

db=$work/state/sections.db

sql() { sqlite3 "$db" "$1"; }
edit() { # SQL: applied
    sql "$1"
    says 0 'is in force' shmtool reload
}
generation() {
    shmtool status --json | tr -d ' \n' | sed 's/.*"generation":\([0-9]*\).*/\1/'
}
newest_edit() {
    shmtool history 1 --json | tr -d ' \n' | sed 's/.*"edit":\([0-9]*\).*/\1/'
}
id_of() { sql "SELECT id FROM section WHERE name = '$1'"; }
rolls_back() { # REGEX GENERATION [OPTION...]
    local regex=$1
    shift
    says 0 "$regex" shmtool rollback --yes "$@" && says 0 'nothing to do' shmtool plan &&
        says 0 '^$' shmtool diff
}
unchanged() { # COMMAND...: neither the file nor what runs
    local before runs code=0
    before=$(sqlite3 "$db" .dump) runs=$(generation)
    "$@" || code=$?
    [ "$(sqlite3 "$db" .dump)" = "$before" ] && [ "$(generation)" = "$runs" ] || return 98
    return "$code"
}

start_manager
edit "INSERT INTO worker(name, may_create) VALUES ('driver', 100);
    INSERT INTO section(name, owner, size) VALUES ('cam', 'driver', 1000), ('lamp', 'switch', 64);"
first=$(generation)
cam=$(id_of cam)
printf 'a value' | shmtool put cam
shmtool table dump >"$work/first.sql"

# ---- one thing after the other, and back again
edit "UPDATE section SET size = 2000 WHERE name = 'cam'"
second=$(generation)
ok 'a generation is shown' diff "$work/first.sql" <(shmtool table dump --generation "$first")
ok 'and this one' diff <(shmtool table dump) <(shmtool table dump -G "$second")
expect 'as JSON, with its number' 0 "\"generation\": $first" shmtool table dump -G "$first" --json
expect 'compared with the table' 1 "^\+ .*'cam'.* 2000" shmtool diff "$first"
expect 'compared with another' 1 "^\+ .*'cam'.* 1000" shmtool diff "$second" "$first"
expect 'as JSON' 1 '"row": "section"' shmtool diff "$first" "$second" --json
expect 'with itself' 0 '^$' shmtool diff "$second" "$second"
ok 'a size goes back' rolls_back "^move +cam: |^[a-z]+ +cam " "$first"
expect 'and the value stays' 0 '^a value' shmtool get cam
ok 'what was shown is what was done' diff "$work/first.sql" <(shmtool table dump)

edit "UPDATE section SET name = 'camera' WHERE name = 'cam'"
ok 'a name goes back' rolls_back "cam" "$first"
expect 'and its value follows' 0 '^a value' shmtool get cam
ok 'with the id' test "$(id_of cam)" = "$cam"

edit "DELETE FROM section WHERE name = 'cam'; INSERT INTO section(name, owner, size) VALUES ('extra', 'driver', 10)"
extra=$(id_of extra)
ok 'what was removed comes back' rolls_back "^add +cam " "$first"
expect 'empty' 1 'nothing' shmtool get cam
ok 'with the id that it had' test "$(id_of cam)" = "$cam"
edit "INSERT INTO section(name, owner, size) VALUES ('later', 'driver', 10)"
ok 'and a new section gets none that another had' test "$(id_of later)" -gt "$extra"

# ---- workers: no section changes, and the generation stays
rolls_back '' "$first" || exit 1
runs=$(generation)
before=$(newest_edit)
edit "UPDATE worker SET user = '0', may_create = 4096 WHERE name = 'driver'"
ok "a worker's edit flips nothing" test "$(generation)" = "$runs"
ok 'its edit goes back' rolls_back '' "edit:$before"
ok 'with the worker as it was' test "$(sql "SELECT coalesce(user, 'any') || ' ' || may_create FROM worker WHERE name = 'driver'")" = 'any 100'
edit "DELETE FROM section WHERE owner = 'switch'; DELETE FROM worker WHERE name = 'switch'"
ok 'a worker who is gone comes back' rolls_back '^add +lamp ' "$first"
ok 'with its row' test "$(sql "SELECT count(*) FROM worker WHERE name = 'switch'")" = 1
expect 'a second time there is nothing to do' 0 'nothing was written' shmtool rollback --yes "$first"

# ---- asking
edit "UPDATE section SET size = 500 WHERE name = 'cam'"
expect 'it asks, and needs a terminal for it' 2 'say --yes' unchanged shmtool rollback "$first"
on_terminal() { "$build/tests/system/on_terminal" "$@" >"$work/screen"; }
refused() { ! on_terminal "$@"; }
ok 'a no leaves all as it is' unchanged refused 'apply it?' $'n\n' shmtool rollback "$first"
ok 'it had shown the rows' grep -q "+ INSERT INTO section.*'cam', 'driver', 1000" "$work/screen"
ok 'and the plan' grep -q 'cam .*size 500 -> 1000' "$work/screen"
rm "$work/screen"
"$build/tests/system/on_terminal" EDITED $'y\n' \
    sh -c "tty >'$work/tty'; exec shmtool rollback $first" >"$work/screen" &
asking=$!
children+=("$asking")
ok 'while it asks' await 50 grep -q 'apply it?' "$work/screen"
sql "UPDATE section SET size = 600 WHERE name = 'cam'"
echo EDITED >"$(cat "$work/tty")"
wait "$asking" && exit 1
ok 'what somebody edits' grep -q 'was changed by somebody else meanwhile' "$work/screen"
ok 'is not overwritten' test "$(sql "SELECT size FROM section WHERE name = 'cam'")" = 600
ok 'a yes does it' on_terminal 'apply it?' $'y\n' shmtool rollback "$first"
expect 'as was shown' 0 '^$' shmtool diff "$first"

# ---- what is shown beforehand is what is done
if ! on_sysv; then
    edit "INSERT INTO section(name, owner, size, read_group) VALUES ('few', 'driver', 64, '0')"
    few=$(generation)
    edit "UPDATE section SET stale_ms = 5 WHERE name = 'lamp'"
    shmtool rollback --yes "$few" >"$work/rolled"
    ok 'a group of readers is looked up before' test "$(grep -c ' few ' "$work/rolled")" = 0
    rolls_back '' "$first" || exit 1
fi

# ---- what each edit changed
edit "UPDATE section SET size = 500, persist = 1 WHERE name = 'cam'; UPDATE worker SET may_create = 5 WHERE name = 'driver';
    DELETE FROM section WHERE name = 'lamp'; INSERT INTO section(name, owner, size, format) VALUES ('lights', 'switch', 64, 'on/1');
    UPDATE segment SET mode = '0664'"
changes=$work/changes
shmtool history 1 --diff >"$changes"
ok 'history --diff has the edit' grep -Eq '^edit [0-9]+  [-0-9T:]+Z  uid .*  applied  generation [0-9]+: ' "$changes"
ok 'what changed' grep -qx "  ~ section 'cam': .*size 1000 -> 500.*" "$changes"
ok 'each column' grep -qx "  ~ section 'cam': .*persist 0 -> 1.*" "$changes"
ok 'and no other' test "$(grep "'cam'" "$changes" | grep -c owner)" = 0
ok 'what is gone' grep -qx "  - section 'lamp'" "$changes"
ok 'what is new' grep -qx "  + section 'lights': count 4, format on/1, .*owner switch, size 64, .*" "$changes"
ok 'workers' grep -qx "  ~ worker 'driver': may_create 100 -> 5" "$changes"
ok 'and the segment' grep -qx '  ~ segment: mode 0660 -> 0664' "$changes"
expect 'as JSON' 0 '"more": false' shmtool history 1 -d --json
expect 'without it no rows are told' 0 '"what"' shmtool history 1 --json
rolls_back '' "$first" || exit 1

# ---- what somebody holds
edit "INSERT INTO section(name, owner, size) VALUES ('held', 'holder', 64)"
printf 'still here' | shmtool put held
shmtool run --worker holder -- sh -c "echo ready >'$work/ready'; exec sleep 600" &
holder=$!
children+=("$holder")
await 30 test -s "$work/ready"
expect 'what is held is not taken away' 1 "'held'.*can't be removed while worker 'holder' holds its lease" \
    unchanged shmtool rollback --yes "$first"
expect 'nor its name' 0 'still here' shmtool get held
expect 'but by force' 0 '^remove +held ' shmtool rollback --yes --force "$first"
expect 'it is gone' 1 "held" shmtool get held
end_child "$holder"
await 30 says 0 '^holder +|no worker' shmtool workers

# ---- and where edits apply themselves, it waits
edit "UPDATE segment SET auto_apply = 1"
automatic=$(generation)
sql "INSERT INTO section(name, owner, size) VALUES ('held', 'holder', 64)"
runs() { shmtool list | grep -q "^$1 "; }
await 60 runs held
rm "$work/ready"
shmtool run --worker holder -- sh -c "echo ready >'$work/ready'; exec sleep 600" &
holder=$!
children+=("$holder")
await 30 test -s "$work/ready"
shmtool rollback --yes "$automatic" >"$work/rolled" 2>&1 && exit 1
ok 'what has to wait is told beforehand' grep -q "would be pending: section 'held': it can't be removed" "$work/rolled"
ok 'and is written' grep -q 'has the new rows, which are applied when nobody is in the way' "$work/rolled"
expect 'the history has it' 0 'pending .*held' shmtool history
ok 'the holder has what it had' runs held
end_child "$holder"
gone() { ! runs "$1"; }
ok 'with the holder gone it is done' await 60 gone held
expect 'to the letter' 0 '^$' shmtool diff "$automatic"
rolls_back '' "$first" || exit 1

# ---- a table that is refused as it is
edit "UPDATE section SET size = 700 WHERE name = 'cam'"
sql "PRAGMA ignore_check_constraints = ON; UPDATE section SET size = 0 WHERE name = 'lamp'"
says 1 'lamp' shmtool reload || exit 1
expect 'rows that no manager takes are replaced' 0 'is in force' shmtool rollback --yes "$first"
expect 'by those' 0 '^$' shmtool diff "$first"

# ---- what can't be had again
rejected() {
    shmtool history 50 --json | tr -d ' \n' | grep -o '"edit":[0-9]*,[^{]*"outcome":"rejected"' | head -n 1 |
        sed 's/"edit":\([0-9]*\).*/\1/'
}
expect 'a generation that is to come' 1 'the table of generation 999 is not kept: those of generations 1 to' \
    unchanged shmtool rollback --yes 999
expect 'a table that was rejected' 1 "edit $(rejected) was never in force, its outcome is 'rejected'" \
    unchanged shmtool rollback --yes "edit:$(rejected)"
expect 'an edit that there is not' 1 'the history has no edit 999' shmtool diff edit:999
expect 'what is no generation' 1 "'yesterday' is neither a generation, as 41, nor an edit" \
    shmtool table dump -G yesterday
sql "DELETE FROM section WHERE name = 'cam'"
says 0 'is in force' shmtool reload || exit 1
edit "INSERT INTO section(id, name, owner, size) VALUES ($cam, 'other', 'driver', 1000)"
printf "other's" | shmtool put other
expect 'an id that is another section now' 1 \
    "section 'cam' had the id $cam then, which is section 'other' by now" unchanged shmtool rollback --yes "$first"
expect 'which is no hindrance to look at it' 0 "'cam'" shmtool table dump -G "$first"
shmtool table dump -G "$first" >"$work/then.sql"
expect 'nor to load the rows' 0 '^add +cam ' shmtool table load --reload "$work/then.sql"
expect 'and cam has no value of another' 1 'nothing' shmtool get cam

expect 'a table that there is not' 3 'there is no section table: shmtool table init makes one' \
    shmtool rollback --yes "$first" --table "$work/none.db"
ok 'is not made' test ! -e "$work/none.db"

# ---- without a manager
edit "UPDATE section SET size = 300 WHERE name = 'lamp'"
end_manager KILL
export SHM_STATE_DIR=$work/state
expect 'so is what was changed' 0 "~ section 'lamp': .*size 64 -> 300" shmtool history --diff
expect 'the database is read' 0 "'lamp', 'switch', 64" shmtool table dump -G "$first"
last=$(sqlite3 "$work/state/state.db" "SELECT max(generation) - 1 FROM edit WHERE outcome = 'applied'")
expect 'the table is put back' 3 'a manager applies them at its start' shmtool rollback --yes "$last"
start_manager
unset SHM_STATE_DIR
expect 'and one does' 0 '^$' shmtool diff "$last"

# ---- the history was lost
end_manager KILL
printf 'damage' | dd of="$work/state/state.db" conv=notrunc status=none
start_manager
ok 'it begins anew, and says so' grep -q 'the history is lost' "$work/manager.log"
expect 'with what runs' 1 "the table of generation $first is not kept: those of generations $(generation) to" \
    unchanged shmtool rollback --yes "$first"
exit "$failed"
