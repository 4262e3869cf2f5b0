#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Edits are applied by themselves: once they are committed, whole, and when nobody is in the way.  What
# becomes of the file (replaced, restored, locked, deleted) leaves what runs as it is, is said, and
# is over by itself.  Usage: test_auto_apply.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"

SHM_TEST_AUTO=1
db=$work/state/sections.db
holder=''

sql() {
    sqlite3 "$db" "$1"
}
status_field() { # NAME: of the table
    shmtool status --json | tr -d '\n' | sed "s/.*\"table\": *{\\([^}]*\\)}.*/\\1/" | tr ',' '\n' |
        sed -n "s/^ *\"$1\": *\"\\{0,1\\}\\([^\"]*\\)\"\\{0,1\\} *$/\\1/p"
}
generation() {
    shmtool status --json | tr -d ' \n' | sed 's/.*"generation":\([0-9]*\).*/\1/'
}
decided() { # STATUS: what history says, once the last edit is decided
    says "$1" "${2-.}" shmtool history --wait 30000 1
}
outcome() { # OUTCOME REGEX: it comes to that
    await 30 eval '[ "$(status_field outcome)" = "'"$1"'" ]' || { shmtool status; return 1; }
    says 0 "$2" shmtool status
}
there() { # SECTION
    shmtool list --json "$1" | grep -q "\"$1\""
}
hold() { # WORKER
    shmtool run --worker "$1" -- sleep 1000 &
    holder=$!
    children+=("$holder")
    await 30 eval "shmtool workers '$1' | grep -q leased"
}
let_go() {
    end_child "$holder"
}
newest() { # REGEX: the newest line of the history
    says 0 "$1" shmtool history 1
}

start_manager

applied() {
    sql "INSERT INTO section(name, owner, size) VALUES('a', 'x', 1000)"
    decided 0 "auto_apply +applied .*add 'a'" && there a
}
ok "a committed edit is applied" applied

rolled_back() {
    local before
    before=$(generation)
    sql "BEGIN; DELETE FROM section; ROLLBACK"
    sql "BEGIN; UPDATE section SET size = 500; UPDATE section SET size = 1000; COMMIT"
    decided 0 && [ "$(generation)" = "$before" ]
}
ok "what is rolled back or comes to nothing changes nothing" rolled_back

# A shell that stays: what it prints goes to a file.
open_editor() {
    rm -f "$work/editor" "$work/editor.out"
    mkfifo "$work/editor"
    sqlite3 -cmd '.timeout 30000' "$db" <"$work/editor" >"$work/editor.out" 2>&1 &
    editor=$!
    children+=("$editor")
    exec {type}>"$work/editor"
}
editor_does() { # SQL
    echo "$1; SELECT 'typed';" >&"$type"
    await 30 grep -q typed "$work/editor.out"
}
close_editor() { # somebody else may have the other end of the pipe, too
    echo .quit >&"$type"
    exec {type}>&-
    wait "$editor"
}

whole() {
    local before
    before=$(generation)
    open_editor
    editor_does "BEGIN IMMEDIATE; INSERT INTO section(name, owner, size) VALUES('b1', 'x', 1000)"
    says 0 'nothing had changed' shmtool reload && [ "$(generation)" = "$before" ] || return 1
    echo "INSERT INTO section(name, owner, size) VALUES('b2', 'x', 1000); COMMIT;" >&"$type"
    close_editor
    decided 0 "add 'b1', add 'b2'" && [ "$(generation)" = $((before + 1)) ]
}
ok "an edit is seen whole" whole

rejected() {
    local before
    before=$(generation)
    sql "PRAGMA ignore_check_constraints = ON; UPDATE section SET size = 0 WHERE name = 'a'"
    decided 1 "auto_apply +rejected .*section 'a': size must be a number" || return 1
    [ "$(generation)" = "$before" ] && outcome rejected "section 'a': size must be a number"
    says 1 "size must be" shmtool check || return 1
    sql "UPDATE section SET size = 1000 WHERE name = 'a'"
    decided 0 && outcome applied 'applied'
}
ok "a bad edit is rejected, with its reason, and a good one goes on" rejected

# The manager's look at what one shell wrote is no lock that the next one meets.
one_after_the_other() {
    local i
    for i in $(seq 80); do
        sql "INSERT INTO section(name, owner, size) VALUES('row$i', 'x', 64)" || return 1
    done
    decided 0 "add 'row80'" && sql "DELETE FROM section WHERE name LIKE 'row%'" && decided 0
}
ok "shells that don't wait for locks meet none" one_after_the_other

# ---- what waits

pending() {
    hold x
    sql "DELETE FROM section WHERE name = 'b2'"
    outcome pending "pending: section 'b2': it can't be removed while worker 'x' holds its lease" || return 1
    newest "auto_apply +pending .*section 'b2': it can't be removed" || return 1
    says 1 "pending: section 'b2'" shmtool history --wait 100 || return 1
    says 1 "section 'b2': it can't be removed" shmtool reload || return 1
    there b2
}
ok "what a holder would lose is pending" pending
ok "which monitoring says" says 1 'edited' shmtool check --warning edited
ok "and doctor, too" says 0 'an edit is pending' shmtool doctor
ends() {
    let_go
    decided 0 "auto_apply +applied .*remove 'b2'" && ! there b2 &&
        says 0 "waited .*section 'b2': it can't be removed" shmtool history 3
}
ok "and is applied once he is gone" ends

forced() {
    hold x
    sql "DELETE FROM section WHERE name = 'b1'"
    outcome pending "section 'b1'" && says 0 'is in force' shmtool reload --force && ! there b1 &&
        outcome applied applied
}
ok "or by force" forced

taken_back() {
    local before
    before=$(generation)
    sql "UPDATE section SET name = 'other' WHERE name = 'a'"
    outcome pending "renamed to 'other'" || return 1
    sql "UPDATE section SET name = 'a' WHERE name = 'other'"
    outcome applied applied && [ "$(generation)" = "$before" ] && there a
}
ok "or is taken back" taken_back

wrong() {
    sql "PRAGMA ignore_check_constraints = ON; UPDATE section SET name = 'other';
        INSERT INTO section(name, owner, size) VALUES('c', 'y', 0)"
    decided 1 "rejected .*section 'c': size must be" || return 1
    sql "DELETE FROM section WHERE name = 'c'; UPDATE section SET name = 'a'"
    decided 0
}
ok "nobody waits for what is wrong" wrong

over_restart() {
    sql "DELETE FROM section WHERE name = 'a'"
    outcome pending "section 'a'" || return 1
    end_manager TERM
    start_manager
    outcome pending "section 'a'" && there a || return 1
    let_go
    decided 0 "remove 'a'" && ! there a
}
ok "it is pending over a restart of the manager" over_restart

# ---- not by themselves

by_hand() {
    sql "UPDATE segment SET auto_apply = 0"
    decided 0 || return 1
    sql "INSERT INTO section(name, owner, size) VALUES('a', 'x', 1000)"
    says 1 'apply it with: shmtool reload' shmtool history --wait 1500 && ! there a || return 1
    says 0 "add +a" shmtool reload && there a || return 1
    hold x
    sql "DELETE FROM section"
    says 1 "can't be removed" shmtool reload && outcome rejected "can't be removed" || return 1
    let_go
    await 30 eval "shmtool workers x | grep -q free" && there a &&
        says 0 'remove' shmtool reload || return 1
    sql "UPDATE segment SET auto_apply = 1;
        INSERT INTO section(name, owner, size) VALUES('a', 'x', 1000), ('b', 'x', 1000)"
    says 0 'is in force' shmtool reload && sql "DELETE FROM section WHERE name = 'b'" && decided 0 "remove 'b'"
}
ok "with auto_apply = 0 an edit waits for reload" by_hand

# ---- an edit that killed the manager

# Killed where it begins to write the edit down.
kill_with() { # SQL: it is the running manager's end
    rm -f "$work/strace.log" # the last one's says that it is attached
    strace -p "$manager" -o "$work/strace" -e trace=fdatasync,fsync \
        -e inject=fdatasync,fsync:signal=KILL:when=1 2>"$work/strace.log" &
    children+=("$!")
    await 30 grep -q attached "$work/strace.log" || return 1
    sql "$1"
    { wait "$manager"; } 2>/dev/null || :
    manager=''
}
not_tried_again() {
    kill_with "INSERT INTO section(name, owner, size) VALUES('deadly', 'x', 1000)"
    start_manager
    says 0 'rejected: the manager ended while it applied .*, which is not tried again' shmtool status || return 1
    ! there deadly && there a || return 1
    sql "INSERT INTO section(name, owner, size) VALUES('harmless', 'x', 1000)"
    decided 0 "add 'deadly', add 'harmless'"
}
tried_on_request() {
    kill_with "UPDATE section SET stale_ms = 77 WHERE name = 'deadly'"
    start_manager
    says 0 'is not tried again' shmtool status &&
        says 0 'stale_ms 0 -> 77' shmtool reload && outcome applied applied
}
# A kill at start may be anybody's: here, once it is noted what is applied.
tried_at_start() {
    local close note=$SHMC_RUNTIME_DIR/${SHMC_KEY#0x}.attempt
    end_manager TERM
    sql "DELETE FROM section WHERE name IN ('deadly', 'harmless')"
    for close in 1 3 3; do # before it is written it is read twice, if it is there
        says 137 . daemon_under strace -o "$work/strace" -P "$note" -e trace=close \
            -e inject=close:signal=KILL:when=$close || return 1
    done
    start_manager
    outcome rejected 'is not tried again' && there deadly && says 0 'remove' shmtool reload
}
daemon_under() { # COMMAND...
    timeout -k 1 60 "$@" "$build/daemon/shm-manager" --key "$SHMC_KEY" --state-dir "$work/state" \
        --runtime-dir "$SHMC_RUNTIME_DIR"
}
if strace -o /dev/null true 2>/dev/null; then
    ok "an edit that killed the manager is not tried again" not_tried_again
    ok "but when somebody asks for it" tried_on_request
    ok "one that does so at start is tried three times" tried_at_start
fi

# ---- what becomes of the file

vacuumed() {
    local before
    before=$(generation)
    sql "VACUUM"
    sql "INSERT INTO section(name, owner, size) VALUES('v', 'x', 1000)"
    decided 0 "add 'v'" && [ "$(generation)" = $((before + 1)) ]
}
ok "vacuumed" vacuumed

restored() {
    sql ".backup '$work/backup.db'"
    sql "DELETE FROM section WHERE name = 'v'"
    decided 0 "remove 'v'" || return 1
    sql ".restore '$work/backup.db'"
    await 30 there v && decided 0 "add 'v'"
}
ok "restored from a backup" restored

moved_over() {
    sqlite3 "$work/backup.db" "UPDATE section SET name = 'w' WHERE name = 'v'"
    mv "$work/backup.db" "$db"
    rm -f "$db-wal" "$db-shm"
    await 30 there w && outcome applied applied
}
ok "replaced by mv, with its log put away" moved_over

# An editor has it open, so that its log stays: what a shell says then is not this table's.
stale_log() {
    sql ".backup '$work/backup.db'"
    sqlite3 "$work/backup.db" "UPDATE section SET stale_ms = 5 WHERE name = 'w'"
    open_editor
    editor_does "UPDATE section SET stale_ms = 7 WHERE name = 'w'"
    decided 0
    mv "$work/backup.db" "$db"
    close_editor
    there w
}
ok "replaced by mv under an editor: what runs goes on" stale_log
mended() {
    shmtool doctor --fix --state-dir "$work/state" >/dev/null || :
    await 30 eval '[ "$(status_field outcome)" = applied ]' || return 1
    sql "INSERT INTO section(name, owner, size) VALUES('x1', 'x', 1000)"
    decided 0 "add 'x1'"
}
ok "and doctor --fix mends it" mended

# While a manager has it open nobody else can have it alone; so he has it from before.
locked() {
    end_manager TERM
    open_editor
    editor_does "PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE; DELETE FROM section WHERE name = 'x1'; COMMIT"
    start_manager
    outcome unreadable 'is locked by another program' && there x1 || return 1
    close_editor
    await 30 eval '! there x1' && outcome applied applied
}
ok "locked for long" locked

deleted() {
    cp "$db" "$work/backup.db"
    rm -f "$db" "$db-wal" "$db-shm"
    outcome unreadable 'there is no section table' && there w || return 1
    shmtool table init --table "$db" >/dev/null
    outcome rejected 'is another file than before, and has no sections' && there w || return 1
    shmtool table revert --table "$db" >/dev/null && outcome applied applied && there w || return 1
    mv "$work/backup.db" "$db"
    sql "INSERT INTO section(name, owner, size) VALUES('y1', 'x', 1000)"
    decided 0 "add 'y1'"
}
ok "deleted, made anew, and brought back" deleted
