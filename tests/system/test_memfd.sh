#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The memfd backend by hand: the keeper and the manager outlive each other, and parts of the segment
# go to whom the table lets have them.  The cases with users are memfd_*.c beside this.
# Usage: test_memfd.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh
SHM_TEST_BACKEND=memfd
. "$(dirname "$0")/../interop/harness.sh"
export SHM_TEST_BACKEND SHM_TEST_TABLE=$work/state/sections.db
keeper=$SHMC_RUNTIME_DIR/${SHMC_KEY#0x}.keeper
db=$work/state/sections.db

value_is() { # SECTION TEXT
    [ "$(shmtool get "$1")" = "$2" ]
}
logged() { grep -Eq -e "$1" "$work/manager.log"; }

start_manager
edit_table <<'SQL'
UPDATE segment SET group_name = '65530';
INSERT INTO section(name, owner, size) VALUES ('temps', 'driver', 64), ('cam', 'grabber', 50000);
INSERT INTO section(name, owner, size, read_group) VALUES ('secret', 'driver', 64, '65531');
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
INSERT INTO section(name, owner, size) SELECT printf('many%04d', i), 'bulk', 64 FROM n;
SQL
printf first | shmtool put temps
printf hidden | shmtool put secret

# ---- lives
first=$(keeper_pid)
ok 'a keeper runs' test -n "$first"
end_manager KILL
ok 'it outlives the manager' test "$(keeper_pid)" = "$first"
ok '--check looks at what it keeps' says 0 '^0 change' daemon --check
"$build/tests/system/memfd_parts" alone_waits >"$work/waits" &
waiting=$!
await 30 grep -q waiting "$work/waits"
start_manager
ok 'who attaches meanwhile waits for the next, and reads' wait "$waiting"
mkfifo "$work/went"
"$build/tests/system/memfd_parts" alone_lists <>"$work/went" >"$work/lists" &
lists=$!
await 30 grep -q attached "$work/lists"
end_manager KILL
echo gone >"$work/went"
ok 'who looks at all sections meanwhile waits for it once' wait "$lists"
start_manager
kill -KILL "$first"
ok 'a keeper that died is replaced' await 30 logged 'a new one holds'
second=$(keeper_pid)
ok 'by another' test -n "$second" -a "$second" != "$first"
end_manager TERM
ok 'who attaches without a manager is told' says 3 'so no manager' shmtool get temps
start_manager
ok 'which gives all of it back' value_is temps first
ok 'also what few may read' value_is secret hidden
kill -STOP "$second"
sqlite3 "$db" "INSERT INTO section(name, owner, size) VALUES ('hang', 'hanger', 64)"
shmtool reload >"$work/refused" 2>&1 || :
kill -CONT "$second" # whatever became of it
ok 'an edit that needs a keeper which hangs is refused' grep -q 'keeper.*timed out' "$work/refused"

finds_it_well() { { shmtool doctor || :; } | grep -q '^ok *segment: memfd'; }
ok 'doctor finds it well' finds_it_well

# ---- the other backend
sqlite3 "$db" "DELETE FROM section WHERE name = 'hang'; DELETE FROM worker WHERE name = 'hanger';
    UPDATE section SET read_group = NULL; UPDATE segment SET backend = 'sysv'"
ok 'the backend is what it is' says 1 "segment: its backend can't change from memfd to sysv while it runs" \
    shmtool reload
end_manager TERM
start_manager
ok 'also over a restart' value_is temps first
ok 'which says so' says 0 "can't change from memfd to sysv" shmtool status
sqlite3 "$db" "UPDATE segment SET backend = 'memfd';
    UPDATE section SET read_group = '65531' WHERE name = 'secret'"
ok 'set back, it is applied' shmtool reload

# ---- squatters
if [ "$(id -u)" -eq 0 ]; then
    as_nobody=(setpriv --reuid 65533 --regid 65533 --clear-groups)
    squatter=$("${as_nobody[@]}" perl -e 'print shmget(hex shift, 8192, 0600 | 01000)' "$SHMC_KEY")
    ok "another user's segment under the key keeps nobody out" value_is temps first
    end_manager TERM
    start_manager
    ok 'nor the manager' value_is temps first
    ipcrm -m "$squatter"
    chmod 755 "$work"
    mkdir -m 1777 "$work/open"
    # shellcheck disable=SC2016 # perl's variables
    "${as_nobody[@]}" perl -MSocket -e 'my ($path, $key) = @ARGV; socket(my $s, PF_UNIX, SOCK_SEQPACKET, 0) or die;
        bind($s, sockaddr_un($path)) or die; listen($s, 8); print "listens\n"; STDOUT->flush;
        while (accept(my $c, $s)) { send($c, pack("LSSLlLLLLQ", 0x43534d53, 1, 1, 40, 0, 1, hex $key, $$, 2, 77), 0);
        recv($c, my $m, 65536, 0) }' "$work/open/${SHMC_KEY#0x}.sock" "$SHMC_KEY" >"$work/listens" &
    children+=($!)
    await 30 grep -q listens "$work/listens"
    ok "another user's socket is not taken for the manager's" \
        says 3 'uid 65533.*neither root nor the owner' \
        shmtool --runtime-dir "$work/open" get temps
    end_child "$!"
fi

# ---- locked into memory, as far as there are sections
locked() { # KiB at least, at most
    local kib
    kib=$(sed -n 's/^VmLck:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$manager/status")
    [ "$kib" -ge "$1" ] && [ "$kib" -le "$2" ] && return
    echo "locked are $kib KiB"
    return 1
}
if grep -Eq '__[at]san_init' "$build/daemon/shm-manager"; then
    echo 'skip locking (sanitizers keep from it)'
elif [ "$(ulimit -l)" = unlimited ] || [ "$(id -u)" -eq 0 ]; then
    ok 'nothing is locked' locked 0 0
    sqlite3 "$db" "UPDATE segment SET lock_memory = 1"
    ok 'the segment can be locked' shmtool reload
    ok 'and is, without its slack' locked 2000 30000
    end_manager TERM
    start_manager
    ok 'also after a restart' locked 2000 30000
    sqlite3 "$db" "UPDATE segment SET lock_memory = 0"
    ok 'and unlocked' shmtool reload
    ok 'at once' locked 0 0
fi

# ---- who may have what
shmtool run --worker driver -- sleep 300 &
holder=$!
children+=("$holder")
await 30 says 0 ' leased ' shmtool workers driver
failed=0
chmod 755 "$work"
for case in $(for program in memfd_parts memfd_revoke memfd_keeper; do
    "$build/tests/system/$program" --list | sed "s/^/$program:/"
done); do
    program=$build/tests/system/${case%:*} name=${case#*:}
    as=()
    case $name in
    own_*) ;;
    alone_*) continue ;;
    reader_*) as=(setpriv --reuid 65533 --regid 65533 --groups 65530) ;;
    trusted_*) as=(setpriv --reuid 65533 --regid 65533 --groups "65530,65531") ;;
    outsider_*) as=(setpriv --reuid 65532 --regid 65532 --clear-groups) ;;
    esac
    if [ "${#as[@]}" -gt 0 ] && [ "$(id -u)" -ne 0 ]; then
        echo "skip $name (it takes another user)"
    elif "${as[@]}" "$program" "$name"; then
        echo "ok $name"
    else
        echo "not ok $name" && failed=1
    fi
done
end_child "$holder"

ok 'after all of which nothing is lost' value_is temps first

# ---- the end
ok 'destroy ends it' says 0 '' shmtool destroy --yes
wait "$manager" 2>/dev/null || :
manager=''
gone() { ! keeper_pid && [ ! -e "$keeper" ]; }
ok 'and the keeper' await 30 gone
start_manager
ok 'a new one begins empty' says 1 '' shmtool get temps
exit $failed
