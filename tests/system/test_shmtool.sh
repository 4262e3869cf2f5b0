#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Every verb of shmtool, on a live manager and without one: what it prints, what it changes, and its
# exit status.  Usage: test_shmtool.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"
shm_manager=$build/daemon/shm-manager
workers=$build/tools/workers
unset SHMC_LEASE SHM_STATE_DIR
db=$work/state/sections.db

end() { # SIGNAL PID; its status in $ended
    ended=0
    { kill "-$1" "$2" && wait "$2"; } 2>/dev/null || ended=$?
}

check() { # NAME COMMAND...
    local name=$1
    shift
    if "$@" >/dev/null 2>&1; then
        echo "ok $name"
    else
        echo "not ok $name (it was: $*)"
        failed=1
    fi
}

# A field of a JSON reply, by a path of names and numbers.
field() { # PATH COMMAND...
    local path=$1
    shift
    "$@" | php -r '$v = json_decode(stream_get_contents(STDIN), true, 64, JSON_THROW_ON_ERROR);
        foreach (explode(".", $argv[1]) as $name) $v = $v[$name];
        echo is_string($v) ? $v : json_encode($v);' "$path"
}
has() { # VALUE PATH COMMAND...
    local value=$1
    shift
    [ "$(field "$@")" = "$value" ]
}

start() { # COMMAND...; its pid in $child
    "$@" >>"$work/child.log" 2>&1 &
    child=$!
    children+=("$child")
}

command_line() {
    expect "usage without a verb" 2 '^usage: shmtool' shmtool
    expect "--help" 0 'table add' shmtool --help
    expect "--version" 0 '^shmtool [0-9]+\.[0-9]+\.[0-9]+ ' shmtool --version
    expect "help of a verb" 0 '^usage: shmtool get NAME' shmtool get --help
    expect "help of a verb with two words" 0 '^usage: shmtool table set NAME' shmtool help table set
    expect "an unknown verb, with the one meant" 2 "did you mean 'status'" shmtool staus
    expect "an unknown verb, with nothing near" 2 'shmtool --help lists them' shmtool frobnicate
    expect "an unknown option" 2 "unknown option '--frob'.*shmtool list --help" shmtool list --frob
    expect "an option of another verb" 2 'no option of this verb' shmtool list --follow
    expect "an option without its argument" 2 'needs its KEY' shmtool list --key
    expect "a key that is none" 2 "'zero' won't do" shmtool --key zero list
    expect "too few operands" 2 'usage: shmtool get NAME' shmtool get
    expect "run without --worker" 2 'which worker' shmtool run -- true
}

without_segment() {
    expect "status without a segment" 3 . shmtool status
    expect "list without a segment" 3 . shmtool list
    expect "get without a segment" 3 . shmtool get numbers
    expect "put without a segment" 3 . shmtool put numbers
    expect "plan without a manager" 3 . shmtool plan
    expect "run without a manager" 3 . shmtool run --worker counter -- true
    expect "an error as JSON" 3 '"ok": false' shmtool status --json
}

table_verbs() {
    local table=$work/table.db
    expect "table show of a file that isn't there" 3 "$table" shmtool table show --table "$table"
    expect "table init" 0 'is made' shmtool table init --table "$table"
    expect "table init twice" 1 'exists' shmtool table init --table "$table"
    check "table init --if-missing" shmtool table init --if-missing --table "$table"
    expect "table add says what is next" 0 'shmtool history --wait' \
        shmtool table add cam camera 64K count=8 format=cam/1 --table "$table"
    check "sizes end in K" has 65536 section.size shmtool table show cam --table "$table" --json
    check "columns are set" has 8 section.count shmtool table show cam --table "$table" --json
    expect "the same name again" 1 cam shmtool table add cam camera 4K --table "$table"
    expect "a bad name, in the schema's own words" 1 . shmtool table add 9cam camera 4K --table "$table"
    expect "a column that is none" 2 "did you mean 'stale_ms'" \
        shmtool table set cam stalems=5 --table "$table"
    expect "no column at all" 2 'not of the form' shmtool table set cam 5 --table "$table"
    expect "a size that is none" 2 'no number' shmtool table set cam size=big --table "$table"
    expect "a flag that is none" 2 'neither yes nor no' shmtool table set cam persist=x --table "$table"
    expect "a column twice" 2 'given twice' shmtool table set cam size=1K size=2K --table "$table"
    check "table set" shmtool table set cam stale_ms=500 persist=yes --table "$table"
    check "and it is set" has 500 section.stale_ms shmtool table show cam --table "$table" --json
    expect "table set of an unknown section" 1 "did you mean 'cam'" \
        shmtool table set can size=1K --table "$table"
    expect "quotes are data, not SQL" 1 'no section' \
        shmtool table rm "x' OR '1'='1" --table "$table"
    expect "table show" 0 '^cam +camera +snapshot +65536 +8 ' shmtool table show --table "$table"
    check "table rm" shmtool table rm cam --table "$table"
    expect "table rm twice" 1 "no section 'cam'" shmtool table rm cam --table "$table"
    shmtool table example >"$work/example.sql"
    check "the example is SQL that the table takes" sqlite3 -bail "$table" ".read $work/example.sql"
    check "and that the manager takes" "$shm_manager" --check --table "$table" \
        --state-dir "$work" --runtime-dir "$work/run" --key "$SHMC_KEY"
    expect "a file that is no table" 1 "$work/example.sql" shmtool table show -T "$work/example.sql"
}

with_manager() {
    start_manager
    expect "status" 0 '^manager +pid' shmtool status
    check "status as JSON" has "$manager" manager.pid shmtool status --json
    expect "list of nothing" 0 'no sections yet' shmtool list
    expect "the table is the manager's" 0 "$db|reload" shmtool table add numbers counter 4K count=4
    expect "status tells that the table was edited" 0 'shmtool reload' shmtool status
    expect "plan" 0 'add +numbers' shmtool plan
    expect "reload" 0 'generation [0-9]+ is in force' shmtool reload
    expect "reload with no change" 0 'nothing had changed' shmtool reload
    expect "plan with no change" 0 'nothing to do' shmtool plan
    expect "add and reload in one" 0 'is in force' \
        shmtool table add notes scribe 256 kind=raw --reload
    expect "history" 0 'applied' shmtool history
    check "history as JSON, as many as asked for" php -r \
        'exit(count(json_decode(stream_get_contents(STDIN))->edits) === 1 ? 0 : 1);' \
        < <(shmtool history 1 --json)
    expect "list" 0 '^numbers +counter +snapshot +4096 ' shmtool list
    expect "list of a pattern" 0 '^notes ' shmtool list 'no*'
    expect "list of a pattern that nothing matches" 1 "no section matches 'x" shmtool list 'x*'
    check "no colours into a pipe" php -r 'exit(str_contains(stream_get_contents(STDIN), "\e") ? 1 : 0);' \
        < <(shmtool list)
    check "table set of a new worker's section" shmtool table set notes owner=writer size=66000000
    expect "an edit that there is no room for is refused, by name" 1 notes shmtool reload
    expect "and status says so" 0 'rejected' shmtool status
    expect "and history" 0 'rejected' shmtool history
    expect "plan shows a move" 0 '^move +notes +owner scribe -> writer' eval 'shmtool table set notes size=256 && shmtool plan'
    expect "plan --force is for the same" 0 'apply it with: shmtool reload --force' shmtool plan --force
    check "reload --force too" shmtool reload --force
    shmtool table set notes owner=scribe --reload >/dev/null
}

values() {
    expect "get before the first value" 1 'nothing was published yet' shmtool get numbers
    expect "get of an unknown section" 1 "did you mean 'numbers'" shmtool get number
    printf 'one' >"$work/one"
    check "put" shmtool put numbers -i "$work/one"
    check "get, byte for byte" cmp "$work/one" <(shmtool get numbers)
    head -c 4096 /dev/urandom >"$work/two"
    check "put of any bytes, from stdin" shmtool put numbers <"$work/two"
    shmtool get numbers -o "$work/copy"
    check "get into a file" cmp "$work/two" "$work/copy"
    check "as JSON it is base64" has base64 encoding shmtool get numbers --json
    check "which is the value" cmp "$work/two" <(field value shmtool get numbers --json | base64 -d)
    check "the version counts" has 2 version shmtool get numbers --json
    expect "a value that is too large" 1 'takes 4096 bytes' shmtool put numbers -i "$(command -v bash)"
    check "changes nothing" has 2 version shmtool get numbers --json
    check "put into raw" shmtool put notes -i "$work/one"
    expect "get of raw, as hex" 0 '^00000000  6f 6e 65 00' shmtool get notes --hex
    expect "raw can't be followed" 2 'no versions' shmtool get notes --follow
    expect "get --timeout" 1 'no newer value in 50 ms' shmtool get numbers -f -t 50 -o /dev/null
}

# Every version, in order, while another process publishes them.
follow() {
    local i=0
    shmtool get numbers -f -n 6 -t 30000 --json >"$work/followed" 2>&1 &
    child=$!
    children+=("$child")
    while [ -d "/proc/$child" ] && [ "$i" -lt 500 ]; do
        i=$((i + 1))
        printf 'value %s' "$i" | shmtool put numbers
        await 30 ahead "$i"
    done
    if wait "$child"; then code=0; else code=$?; fi
    check "get --follow ends after --count" test "$code" -eq 0
    check "having told of every version in order" php -r '
        foreach (file($argv[1]) as $line) $values[] = json_decode($line);
        for ($i = 1; $i < 6; $i++)
            if ($values[$i]->version != $values[$i - 1]->version + 1 || $values[$i]->missed) exit(1);
        exit(count($values) === 6 ? 0 : 1);' "$work/followed"
}
ahead() { # has the follower seen value N, or ended?
    [ ! -d "/proc/$child" ] || grep -q "\"value $1\"" "$work/followed"
}

leases() {
    local holder
    start shmtool run --worker counter -- sleep 600
    holder=$child
    await 30 grep -q sleep "/proc/$holder/comm"
    check "workers tells who holds it" has "$holder" workers.0.pid shmtool workers counter --json
    expect "put when it is held names the holder" 1 "$holder" shmtool put numbers -i "$work/one"
    expect "run when it is held" 1 "$holder" shmtool run --worker counter -- true
    end KILL "$holder"
    check "how it ended is known" await 30 has "killed by SIGKILL" workers.0.last_end \
        shmtool workers counter --json
    start shmtool run --worker counter -- sleep 600
    holder=$child
    await 30 grep -q sleep "/proc/$holder/comm"
    start shmtool put numbers -i "$work/one" --wait 30000
    check "put --wait waits" await 30 has 1 clients.waiting shmtool status --json
    end KILL "$holder"
    if wait "$child"; then code=0; else code=$?; fi
    check "put --wait has its turn" test "$code" -eq 0
    expect "no such worker" 1 . shmtool run --worker nobody -- true
    expect "run gives the command's status" 7 . shmtool run --worker counter -- sh -c 'echo .; exit 7'
    expect "a command that isn't there" 127 'No such file' shmtool run --worker counter -- "$work/none"
    expect "a command that is none" 126 'denied' shmtool run --worker counter -- "$work/one"
    expect "put within run has the lease" 0 '"ok": true' shmtool run --worker counter -- \
        sh -c 'printf inside | shmtool put numbers --json'
    expect "and it is published" 0 '^inside$' shmtool get numbers
    expect "the lease is free again" 0 '"state": "free"' shmtool workers counter --json
}

demo_workers() {
    local system watcher
    shmtool table add system system 1M format=system/1 stale_ms=60000 >/dev/null
    shmtool table add alerts watcher 16K format=alerts/1 --reload >/dev/null
    start "$workers/system" --hz 50
    system=$child
    start "$workers/watcher" --memory 100
    watcher=$child
    check "the system worker publishes" shmtool get system -t 30000 -f -n 3
    check "this very machine" has "$(hostname)" host shmtool get system
    check "the watcher publishes" shmtool get alerts -t 30000
    alerted() { shmtool get alerts | grep -q "\"kind\":\"$1\""; }
    check "it derives alerts" await 30 alerted memory
    expect "list --rates" 0 '' await 30 \
        says 0 '^system .* [1-9][0-9]*\.[0-9]$' shmtool list --rates 0.5 system
    expect "format is checked at open" 1 'notes' "$workers/system" --worker scribe --section notes
    end KILL "$system"
    check "the watcher says that the writer is gone" await 30 alerted source
    start "$workers/system" --hz 50
    system=$child
    check "a successor goes on" await 30 sh -c '! shmtool get alerts | grep -q "\"kind\":\"source\""'
    end TERM "$system"
    check "system ends cleanly" test "$ended" -eq 0
    end INT "$watcher"
    check "watcher ends cleanly" test "$ended" -eq 0
}

without_manager() {
    end_manager KILL
    if on_sysv; then
        expect "status without its manager" 0 'readers and workers go on' shmtool status
        expect "get without a manager" 0 '^inside$' shmtool get numbers
        check "list without a manager" shmtool list
    else
        expect "status without its manager" 3 'no manager answers' shmtool status
        expect "get without a manager" 3 'no manager answers' shmtool get numbers
        expect "list without a manager" 3 'no manager answers' shmtool list
    fi
    expect "status --wait without one" 3 . shmtool status --wait 10
    expect "reload without a manager" 3 . shmtool reload
    expect "put without a manager" 3 . shmtool put numbers -i "$work/one"
    expect "history from the database" 0 'applied' shmtool history --state-dir "$work/state"
    expect "table edits go on" 0 'reload' shmtool table set numbers stale_ms=900 --state-dir "$work/state"
    start_manager
    check "the next manager applied that" has 900 sections.0.stale_ms shmtool list numbers --json
    expect "and has the value" 0 '^inside$' shmtool get numbers
}

destroy() {
    expect "destroy asks, and needs a terminal for it" 2 'with --yes' shmtool destroy
    check "which leaves all as it was" shmtool get numbers
    expect "destroy --yes" 0 'gone' shmtool destroy --yes
    wait "$manager" || failed=1
    manager=''
    expect "then there is nothing" 3 . shmtool status
    check "no segment is left" sh -c "! ipcs -m | grep -q $SHMC_KEY"
}

command_line
without_segment
table_verbs
with_manager
values
follow
leases
demo_workers
without_manager
destroy
[ "$failed" -eq 0 ] || sed 's/^/workers: /' "$work/child.log"
exit "$failed"
