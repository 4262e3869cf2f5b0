#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# shmtool's manners: the whole table out and in, the plan before an edit, one line for monitoring,
# what doctor finds and mends, patterns, completion.  Usage: test_shmtool_manners.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"
unset SHMC_LEASE SHM_STATE_DIR VISUAL EDITOR NO_COLOR
db=$work/state/sections.db
head=2 # lines of a dump before its workers: the segment has a row, as it isn't the default

sql() { sqlite3 "$db" "$@"; }
id_of() { sql "SELECT id FROM section WHERE name = '$1'"; }

prepare() {
    start_manager
    edit_table <<<"INSERT INTO section(name, owner, size, stale_ms, format)
            VALUES('temps', 'driver', 4096, 60000, 'it''s/1');
        INSERT INTO section(name, owner, size, count, persist) VALUES('cam.left', 'web#2', 8192, 8, 1);
        INSERT INTO section(name, owner, size) VALUES('cam.right', 'web#1', 8192);
        INSERT INTO section(name, owner, kind, size) VALUES('notes', 'scribe', 'raw', 256);"
    printf 'twenty' | shmtool put temps
}

# ---- the table as a whole

dump_and_load() {
    shmtool table dump >"$work/dump.sql"
    expect "dump leaves defaults out" 0 \
        "^INSERT INTO section\(name, owner, size, count, persist\) VALUES\('cam.left', 'web#2', 8192, 8, 1\);\$" \
        cat "$work/dump.sql"
    expect "dump doubles quotes" 0 "'it''s/1'" cat "$work/dump.sql"
    sqlite3 "$work/other.db" <"$source_dir/daemon/table-schema.sql"
    ok "a dump is SQL for an empty table" sqlite3 -bail "$work/other.db" ".read $work/dump.sql"
    expect "loading the same writes nothing" 0 'nothing was written' shmtool table load "$work/dump.sql"
    local temps
    temps=$(id_of temps)
    sql "DELETE FROM section WHERE name = 'notes'; UPDATE section SET stale_ms = 1 WHERE name = 'temps'"
    expect "load" 0 '4 sections and 3 workers' shmtool table load "$work/dump.sql"
    ok "dumps the same again" diff <(shmtool table dump) "$work/dump.sql"
    ok "the id follows the name" test "$(id_of temps)" = "$temps"
    sed 's/4096/1024/; s/8192, 8, 1/0, 8, 1/' "$work/dump.sql" >"$work/bad.sql"
    expect "a bad row is named by its line" 1 "bad.sql, line $((head + 4)): section.size takes" \
        shmtool table load "$work/bad.sql"
    ok "and nothing was changed" diff <(shmtool table dump) "$work/dump.sql"
    expect "ATTACH is refused" 1 'line 2: only INSERT, UPDATE and DELETE' \
        shmtool table load <(printf "DELETE FROM section;\nATTACH '%s/x' AS x;" "$work")
    expect "rows beyond a zero byte are not left out in silence" 1 'has a zero byte: it is no SQL text' \
        shmtool table load <(head -n 1 "$work/dump.sql"; printf '\0'; cat "$work/dump.sql")
    expect "a statement without an end is ended" 1 'line 2: the statement comes to no end' \
        shmtool table load <(printf '%s\n' 'DELETE FROM section;' \
            'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n;')
    expect "PRAGMA and DDL too" 1 'only INSERT, UPDATE and DELETE' \
        shmtool table load <(sql .dump)
    expect "a transaction of its own is no hindrance" 0 'nothing was written' \
        shmtool table load <(echo 'BEGIN;'; cat "$work/dump.sql"; echo 'COMMIT;')
    expect "but it can't be rolled back" 1 'line 2: only INSERT' \
        shmtool table load <(printf 'BEGIN;\nROLLBACK;')
    expect "dump as JSON" 0 '"name": "cam.left"' shmtool table dump --json
}

import() {
    sqlite3 "$db" ".backup $work/backup.db"
    sql "DELETE FROM section WHERE name LIKE 'cam%'"
    sqlite3 "$work/backup.db" "UPDATE section SET stale_ms = 70000 WHERE name = 'temps'"
    expect "import" 0 '4 sections' shmtool table import "$work/backup.db"
    expect "has its rows" 0 '^stale_ms +70000' shmtool table show temps
    expect "import of another application's" 1 "another application|is not an SQLite" \
        shmtool table import "$work/dump.sql"
    sqlite3 "$work/backup.db" "CREATE TRIGGER evil AFTER INSERT ON section BEGIN SELECT 1; END"
    expect "import of a planted trigger" 1 "trigger 'evil'" shmtool table import "$work/backup.db"
}

diff_and_revert() {
    expect "diff" 1 "^\+ INSERT INTO section.*'temps'.*70000" shmtool diff
    expect "diff shows what runs" 1 "^- INSERT INTO section.*'temps'.*60000" shmtool diff
    expect "diff as JSON" 1 '"row": "section"' shmtool diff --json
    expect "revert" 0 'sections.db has 4 sections' shmtool table revert
    expect "then there is no difference" 0 '^$' shmtool diff
    expect "which the manager confirms" 0 'nothing to do' shmtool plan
    expect "and the value stayed" 0 '^twenty' shmtool get temps
}

waiting() {
    sql "UPDATE section SET stale_ms = 50000 WHERE name = 'temps'"
    expect "history --wait of an open edit" 1 'not decided yet' shmtool history --wait 1
    shmtool history --wait 30000 1 >"$work/waited" &
    local waiter=$!
    children+=("$waiter")
    shmtool reload >/dev/null
    ok "history --wait ends when it is applied" wait "$waiter"
    ok "with that edit" grep -q 'applied' "$work/waited"
    sql "UPDATE section SET size = 1 WHERE name = 'temps'"
    shmtool reload >/dev/null 2>&1 || :
    expect "history --wait of a rejected one" 1 'rejected' shmtool history --wait 30000
    expect "revert of a rejected table" 0 'is in force' shmtool table revert --reload
}

edit() {
    expect "edit asks, and needs a terminal for it" 2 'say --yes' shmtool table edit
    EDITOR='sed -i s/50000/40000/' expect "edit shows the change" 0 '^\+ .*40000' shmtool table edit --yes
    expect "and has made it" 0 '^stale_ms +40000' shmtool table show temps
    EDITOR='sed -i s/4096/16700000/' expect "edit says what the manager would refuse" 1 \
        "would refuse it: section 'temps'" shmtool table edit --yes
    cat >"$work/user-editor" <<'EOS'
#!/bin/sh
sed -i "s/(name) VALUES('scribe')/(name, user) VALUES('scribe', 'no-such-user')/" "$1"
EOS
    chmod +x "$work/user-editor"
    EDITOR=$work/user-editor expect "for whatever reason" 1 \
        "would refuse it: worker 'scribe': there is no account 'no-such-user'" shmtool table edit --yes
    EDITOR='sed -i s/INSERT/INSURT/' expect "and what is no SQL" 1 "line $((head + 1)): .*syntax error" \
        shmtool table edit --yes
    EDITOR=false expect "an editor that fails" 1 'nothing was changed' shmtool table edit --yes
    EDITOR=true expect "no change" 0 'nothing was written' shmtool table edit --yes
    cat >"$work/slow-editor" <<EOS
#!/bin/sh
sqlite3 '$db' "UPDATE section SET stale_ms = 30000 WHERE name = 'temps'"
sed -i s/40000/20000/ "\$1"
EOS
    chmod +x "$work/slow-editor"
    EDITOR=$work/slow-editor expect "somebody else's change meanwhile" 1 'changed by somebody else' \
        shmtool table edit --yes
    expect "is not lost" 0 '^stale_ms +30000' shmtool table show temps
    sql "UPDATE section SET stale_ms = 600000 WHERE name = 'temps'"
    shmtool reload >/dev/null
}

# ---- patterns

patterns() {
    printf left | shmtool put 'cam.l*'
    expect "put of a pattern that means one" 0 '^left$' shmtool get cam.left
    expect "put of one that means several" 1 'matches 2 sections' shmtool put 'cam*'
    printf right | shmtool put cam.right
    expect "get of a pattern" 0 '^==> cam.right <==$' shmtool get 'cam*'
    expect "get of one that means nothing" 1 'no section matches' shmtool get 'zz*'
    expect "get --follow takes one" 2 'takes one' shmtool get 'cam*' --follow
    expect "table show of a pattern" 0 '^cam.left +web#2' shmtool table show 'cam*'
    shmtool table set 'cam*' stale_ms=77 >/dev/null
    ok "table set of a pattern" test "$(sql "SELECT count(*) FROM section WHERE stale_ms = 77")" = 2
    shmtool table set 'cam*' stale_ms=0 --reload >/dev/null
    shmtool run --worker 'web#*' -- sh -c \
        'echo "$SHMC_LEASE"; exec shmtool run --worker "web#*" -- sh -c "echo \$SHMC_LEASE"' \
        >"$work/leases" 2>&1 || :
    expect "run of a pattern takes the first free worker" 0 ':web#1:' cat "$work/leases"
}

# ---- monitoring

monitoring() {
    expect "check is fine" 0 '^SHM OK - 1 section, generation [0-9]+ \| sections=1 stale=0 ' \
        shmtool check notes
    expect "a writer that is gone is a warning" 1 '^SHM WARNING - 1 without their writer: temps' \
        shmtool check temps
    expect "unless ignored" 0 '^SHM OK' shmtool check temps --ignore dead
    expect "or critical" 2 '^SHM CRITICAL' shmtool check temps --critical dead
    shmtool table set temps stale_ms=1 --reload >/dev/null
    expect "a stale value is critical" 2 '^SHM CRITICAL - 1 stale: temps ' shmtool check temps
    expect "as JSON" 2 '"state": "CRITICAL"' shmtool check temps --json
    sql "UPDATE section SET size = 66000000 WHERE name = 'notes'"
    expect "an edit that waits" 1 'edited and not applied' shmtool check notes --warning edited
    shmtool reload >/dev/null 2>&1 || :
    expect "a rejected table is a warning" 1 'table rejected: section .notes' shmtool check notes
    shmtool table revert --reload >/dev/null
    expect "nothing matches: unknown" 3 'no section matches' shmtool check 'zz*'
    expect "no segment: unknown" 3 '^SHM UNKNOWN - ' shmtool check --key 0x7ffffff1
    expect "a wrong option: unknown" 3 'unknown option' shmtool check --frob
    expect "a wrong condition: unknown" 3 'is none of' shmtool check --warning frob
    end_manager KILL
    expect "no manager is critical" 2 'CRITICAL - no manager answers' shmtool check notes
    start_manager
}

watching() {
    local frames
    shmtool watch -n 3 --every 0.02 'cam*' >"$work/frames"
    frames=$(grep -c '^cam.left ' "$work/frames")
    ok "watch prints frames" test "$frames" -eq 3
    without() { ! grep -q "$1" "$2"; }
    ok "without a terminal no codes" without $'\033' "$work/frames"
    expect "watch as JSON" 0 '"values_per_s"' shmtool watch -n 1 --json
    on_terminal() { "$build/tests/system/on_terminal" "$@" >"$work/screen"; }
    ok "on a terminal q ends it" on_terminal 'cam.left' q shmtool watch --every 60
    ok "and it clears the screen" grep -q $'\033\[H\033\[2J' "$work/screen"
    ok "Ctrl-C ends it too" on_terminal 'cam.left' $'\003' shmtool watch --every 60
    ok "no colours when they aren't wanted" on_terminal 'cam.left' q env NO_COLOR=1 shmtool watch
    ok "and there are none" without $'\033\[3' "$work/screen"
}

# ---- the host

doctoring() {
    expect "doctor finds it fine" 0 '^0 wrong' shmtool doctor
    chmod o+w "$db"
    expect "a table that everybody writes" 1 'do: chmod o-w' shmtool doctor
    chmod o-w "$db"
    sql "CREATE TRIGGER evil AFTER INSERT ON section BEGIN SELECT 1; END"
    expect "a planted trigger" 1 "WRONG +table: .*'evil'" shmtool doctor
    sql "DROP TRIGGER evil"
    end_manager KILL
    expect "a left socket" 1 'WRONG +socket: .*nobody listens' shmtool doctor -S "$work/state"
    expect "is removed by --fix" 1 'fixed +socket:' shmtool doctor --fix -S "$work/state"
    expect "a missing directory" 1 'does not exist' shmtool doctor -S "$work/none"
    expect "is made by --fix" 1 'fixed +table.s directory' shmtool doctor --fix -S "$work/none"
    expect "as JSON" 1 '"finding": "WRONG"' shmtool doctor --json -S "$work/state"
    start_manager
}

# A database that was moved over one in use: its log belongs to the file before.
moved_table() {
    sqlite3 "$db" ".backup $work/moved.db"
    sqlite3 "$work/moved.db" "PRAGMA journal_mode = DELETE; UPDATE section SET notify = 'always';
        WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT i + 1 FROM n WHERE i < 2000)
        INSERT INTO section(name, owner, size, format) SELECT 'filler' || i, 'filler', 1, hex(zeroblob(30)) FROM n;
        VACUUM" >/dev/null
    cp "$db" "$work/kept.db"
    mkfifo "$work/hold"
    sqlite3 "$db" <"$work/hold" >/dev/null &
    local editor=$!
    children+=("$editor")
    exec 9>"$work/hold"
    echo '.timeout 30000' >&9 # who opens or leaves it beside us has it locked for a moment
    for i in $(seq 40); do
        echo "UPDATE section SET stale_ms = $i WHERE name = 'temps';"
        echo "INSERT INTO section(name, owner, size) VALUES('more$i', 'driver', 64);"
    done >&9
    ok "an editor has it open" await 30 test -s "$db-wal"
    written() { sql "SELECT name FROM section" | grep -qx more40; }
    ok "and has written" await 30 written
    { kill -9 "$editor" && wait "$editor"; } 2>/dev/null || :
    exec 9>&-
    mv "$work/moved.db" "$db"
    if shmtool table show >/dev/null 2>&1 && sqlite3 "$db" 'PRAGMA quick_check' | grep -qx ok; then
        echo "left out: this SQLite doesn't mind the other's log"
        rm -f "$db-wal" "$db-shm"
        return
    fi
    expect "a table that was moved over one in use" 1 'WRONG +table: .*-wal and -shm' shmtool doctor
    expect "is mended by --fix" 0 'fixed +table: the log beside' shmtool doctor --fix
    expect "and is read again" 0 '^notify +always' shmtool table show temps
    ok "the log is put aside, not lost" sh -c "ls '$db-wal.stale-'*"
}

completion() {
    local dir=$source_dir/tools/shmtool/completion
    # shellcheck source=tools/shmtool/completion/shmtool.bash
    . "$dir/shmtool.bash"
    complete_line() { # WORDS...: what could stand for the last of them
        COMP_WORDS=(shmtool "$@")
        COMP_CWORD=$#
        _shmtool
        printf '%s\n' "${COMPREPLY[@]}"
    }
    ok "completes verbs" grep -qx history <(complete_line hi)
    ok "and those of table" grep -qx revert <(complete_line table re)
    ok "and options" grep -qx -- --follow <(complete_line get --fo)
    ok "and sections" grep -qx cam.right <(complete_line get cam.)
    ok "and generations" grep -qx 2 <(complete_line rollback "")
    ok "and workers" grep -qx scribe <(complete_line run --worker sc)
    ok "and the conditions of check" grep -qx stale <(complete_line check --critical st)
    if command -v zsh >/dev/null; then
        ok "zsh takes its own" zsh -n "$dir/_shmtool"
    else
        echo "left out: no zsh here"
    fi
}

documented() {
    local verb
    sed 's/\\f[BIR]//g; s/^\.B //; s/\\-/-/g' "$source_dir/tools/shmtool/shmtool.1" >"$work/page"
    while read -r verb; do
        grep -qE "^$verb( |\$)" "$work/page" || { echo "shmtool(1) lacks: $verb"; return 1; }
    done < <(shmtool --help | sed -nE 's/^  ((table )?[a-z]+) .*/\1/p')
}

prepare
ok "each verb stands in shmtool(1)" documented
dump_and_load
import
diff_and_revert
waiting
edit
patterns
monitoring
watching
doctoring
completion
moved_table
exit "$failed"
