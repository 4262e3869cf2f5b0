# shellcheck shell=bash disable=SC2016,SC2154 # perl's variables; the sourcing script's
# SPDX-License-Identifier: Apache-2.0
#
# Rows that can't be served.  What the table's own constraints refuse is tried at the edit, and once more
# past them, as a shell can switch them off.

refused() { # NAME REGEX SQL
    bad "$1, at the edit" 19 "$2" sqlite3 "$db" "$3"
}
past=unchecked # or untriggered, without which an unknown owner gets no worker
rejected() { # NAME REGEX SQL [UNDO]
    "$past" "$3"
    bad "$1, by the manager" 1 "$2" shmtool reload
    bad "$1, by the plan" 1 "$2" shmtool plan
    "$past" "${4-DELETE FROM section WHERE name NOT IN ('temps', 'kept');
        DELETE FROM worker WHERE name NOT IN ('driver', 'keeper');}"
}
add="INSERT INTO section(name, owner, kind, size, offset) VALUES"
row() { echo "INSERT INTO section(name, owner, size) VALUES ($1, 'driver', ${2-64})"; }

kind 'overlapping pins'
rejected 'two pins' "section 'y': at offset 33558528 its 8192 bytes would overlap" \
    "$add ('x', 'driver', 'raw', 8192, 33554432), ('y', 'grabber', 'raw', 8192, 33558528)"
at=$(shmtool list --json temps | sed -n 's/.*"offset": \([0-9]*\),/\1/p')
rejected 'a pin on what runs' "section 'x': at offset $((at / 4096 * 4096)) .*overlap" \
    "$add ('x', 'grabber', 'raw', 4096, $((at / 4096 * 4096)))"
rejected 'a pin on the header' "section 'x': " "$add ('x', 'driver', 'raw', 4096, 4096)"
rejected 'a pin at the end' "section 'x': " "$add ('x', 'driver', 'raw', 8192, 67104768)"
rejected 'a pin beyond the end' "section 'x': " "$add ('x', 'driver', 'raw', 8192, 9223372036854771712)"
rejected 'a crooked pin' "section 'x': offset" "$add ('x', 'driver', 'raw', 4096, 33554433)"
rejected 'a pin below zero' "section 'x': offset" "$add ('x', 'driver', 'raw', 4096, -4096)"

kind 'zero sizes'
refused 'a section' 'section.size takes bytes, 1 or more' "$(row "'x'" 0)"
rejected 'a section' "section 'x': size must be a number from 1" "$(row "'x'" 0)"
rejected 'a section below zero' "section 'x': size must be a number from 1" "$(row "'x'" -1)"
refused 'no buffers' 'section.count' \
    "INSERT INTO section(name, owner, size, count) VALUES ('x', 'driver', 64, 0)"
rejected 'no buffers' "section 'x': count" \
    "INSERT INTO section(name, owner, size, count) VALUES ('x', 'driver', 64, 0)"
refused 'the segment' 'segment.size' "UPDATE segment SET size = 0"
rejected 'the segment' 'segment' "UPDATE segment SET size = 0" "UPDATE segment SET size = 67108864"

kind 'huge sizes'
refused 'a section' 'more than segment.size' "$(row "'x'" 70000000000000)"
past=untriggered
rejected 'a section' "section 'x': " "$(row "'x'" 70000000000000)"
rejected 'the largest number' "section 'x': " "$(row "'x'" 9223372036854775807)"
rejected 'a number that is no integer' "section 'x': |Error" "$(row "'x'" 9223372036854775806)"
rejected 'buffers' "section 'x': count" \
    "INSERT INTO section(name, owner, size, count) VALUES ('x', 'driver', 64, 4294967297)"
rejected 'size times buffers' "section 'x': " \
    "INSERT INTO section(name, owner, size, count) VALUES ('x', 'driver', 60000000, 256)"
rejected 'all together' "section 'x[0-9]+': no room for" "$(for i in {1..9}; do row "'x$i'" 3000000; echo ';'; done)"
rejected 'the segment' 'segment' "UPDATE segment SET size = 9223372036854775807" "UPDATE segment SET size = 67108864"

past=unchecked

kind 'bad names'
refused 'spaces' 'section.name takes 1 to 63 letters, digits' "$(row "'no spaces'")"
rejected 'spaces' "name 'no spaces' is not 1 to 63 of letters" "$(row "'no spaces'")"
for name in "''" "'1st'" "'.hidden'" "'a/b'" "'ä'" "'a' || char(10) || 'b'" "'a' || char(0) || 'b'" \
    "'x''; DROP TABLE section; --'" "printf('%.64c', 'x')" "printf('%.100000c', 'x')"; do
    rejected "$name" 'name .* is not 1 to 63 of letters|name must be a text of at most 63 bytes|has a row of more than 65536 bytes' "$(row "$name")"
done
refused 'one that differs in case only' 'a section has that name but for its case' "$(row "'TEMPS'")"
refused 'one that is there' 'has that name|UNIQUE' "$(row "'temps'")"
rejected 'an owner' "owner 'a b'|worker 'a b'" "INSERT INTO section(name, owner, size) VALUES ('x', 'a b', 64)"
rejected 'a worker' "worker '-x'" "INSERT INTO worker(name) VALUES ('-x')"
rejected 'an account' "account 'nobody-here'" "UPDATE worker SET user = 'nobody-here' WHERE name = 'driver'" \
    "UPDATE worker SET user = NULL"

kind 'unknown kinds'
refused 'a stack' "section.kind takes 'raw', 'snapshot', 'slots' or 'queue'" "$add ('x', 'driver', 'stack', 1, NULL)"
rejected 'a stack' "section 'x': kind must be raw, snapshot, slots or queue" "$add ('x', 'driver', 'stack', 1, NULL)"
rejected 'a queue that outlives its memory' "section 'x': persist is for values" \
    "INSERT INTO section(name, owner, kind, size, count, persist) VALUES ('x', 'driver', 'queue', 64, 2, 1)"
rejected 'a queue of values' "section 'x': stale_ms is 5, but a queue has no times" \
    "INSERT INTO section(name, owner, kind, size, count, stale_ms) VALUES ('x', 'driver', 'queue', 64, 2, 5)"
rejected 'upper case' "section 'x': kind must be raw, snapshot, slots or queue" "$add ('x', 'driver', 'RAW', 1, NULL)"
rejected 'a backend' 'backend' "UPDATE segment SET backend = 'disk'" "UPDATE segment SET backend = 'sysv'"

kind 'cycles of edits'
sql "$(row "'a'"); $(row "'b'")"
shmtool reload >/dev/null
printf 'was a' | shmtool put a
printf 'was b' | shmtool put b
swap="BEGIN; UPDATE section SET name = 'tmp' WHERE name = 'a'; UPDATE section SET name = 'a' WHERE name = 'b';
    UPDATE section SET name = 'b' WHERE name = 'tmp'; COMMIT;"
sql "$swap"
fine 'two names are swapped in one edit' says 0 '' shmtool reload
fine 'data follows the row' value_is b 'was a'
fine 'and the other' value_is a 'was b'
shmtool run --worker driver -- sleep 3600 &
holder=$!
children+=("$holder")
await 30 says 0 'leased' shmtool workers driver
sql "$swap"
bad 'not while they are held' 1 "section '[ab]': it can't be renamed to '[ab]' while worker 'driver' holds its lease" shmtool reload
end_child "$holder"
await 30 says 0 'free' shmtool workers driver
fine 'but when their holder has gone' says 0 '' shmtool reload
fine 'back where they were' value_is a 'was a'
generation() { shmtool status --json | sed -n 's/.*"generation": \([0-9]*\),/\1/p'; }
was=$(generation)
sql "$swap $swap"
fine 'there and back is nothing' says 0 'nothing had changed' shmtool reload
ok 'and makes no generation' test "$(generation)" = "$was"
for _ in {1..15}; do
    sql "UPDATE section SET format = 'one' WHERE name = 'a'"
    shmtool reload >/dev/null
    sql "UPDATE section SET format = 'two' WHERE name = 'a'"
    shmtool reload >/dev/null
    unchecked "UPDATE section SET size = 0 WHERE name = 'b'"
    shmtool reload >/dev/null 2>&1 && exit 1
    sql "UPDATE section SET size = 64 WHERE name = 'b'"
done
fine 'quick flapping, good and bad, ends as the last good edit says' says 0 '^format +two' shmtool table show a
fine 'with its values' value_is a 'was a'
sql "DELETE FROM section WHERE name IN ('a', 'b')"
fine 'and can be taken back' says 0 '' shmtool reload
