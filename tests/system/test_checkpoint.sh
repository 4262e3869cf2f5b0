#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Checkpoints: what is saved, when, and what comes back after which event; each refusal by its line.
# A reboot is what the manager sees of one: the memory is gone, and (for root) the boot id another.
# Usage: test_checkpoint.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh disable=SC2016 # perl's variables
if [ "$(id -u)" -eq 0 ] && [ -z "${SHM_TEST_MOUNTS-}" ] && unshare --mount true 2>/dev/null; then
    SHM_TEST_MOUNTS=1 exec unshare --mount "$0" "$@"
fi
# On a disk each commit would wait for it.
[ -n "${TMPDIR-}" ] || [ ! -w /dev/shm ] || export TMPDIR=/dev/shm
. "$(dirname "$0")/../interop/harness.sh"

every=0
start() {
    make_table
    "$build/daemon/shm-manager" --key "$SHMC_KEY" --state-dir "$work/state" \
        --runtime-dir "$SHMC_RUNTIME_DIR" --checkpoint-every "$every" >>"$work/manager.log" 2>&1 &
    manager=$!
    shmtool status --wait 30000 >/dev/null
}
# What a reboot takes: the segment with its bells, or the keeper, which ends without its socket.
take_memory() {
    if on_sysv; then
        remove_segment "$SHMC_KEY"
    else
        rm -rf "${SHMC_RUNTIME_DIR:?}"/*
    fi
}
# Mounts of the test's own namespace: nobody needs to take them away.
mounts=''
if [ -n "${SHM_TEST_MOUNTS-}" ] && mount -t tmpfs none /mnt; then
    mounts=yes
    cat /proc/sys/kernel/random/uuid >/mnt/boot_id
    mount --bind /mnt/boot_id /proc/sys/kernel/random/boot_id
fi
new_boot_id() {
    [ -z "$mounts" ] || cat /proc/sys/kernel/random/uuid >/mnt/boot_id
}
reboot() { # SQL for state.db or for the table is run meanwhile: DATABASE SQL
    [ -z "$manager" ] || end_manager TERM
    take_memory
    new_boot_id
    [ $# -eq 0 ] || sqlite3 "$work/state/$1" "$2"
    start
}
put() { printf '%s' "$2" | shmtool put "$1"; }
value_is() { [ "$(shmtool get "$1" | tr -d '\0')" = "$2" ]; }
field() { shmtool list "$1" --json | sed -nE "s/.*\"$2\": *\"?([a-z0-9]*).*/\1/p" | head -n 1; }
field_is() { [ "$(field "$1" "$2")" = "$3" ]; }
empty() { says 1 'nothing was published yet' shmtool get "$1"; }
in_state() { sqlite3 -cmd '.timeout 30000' "$work/state/state.db" "$1"; }
saved() { in_state 'SELECT count(*) FROM saved WHERE stage = 0'; }
saved_temps() {
    [ "$(in_state "SELECT CAST(data AS TEXT) FROM chunk NATURAL JOIN saved
        WHERE name = 'temps' AND stage = 0")" = "$1" ]
}
said() { grep -Eq -- "$1" "$work/manager.log"; }
quiet_log() { : >"$work/manager.log"; }
saves() { # N: so many sections
    says 0 "^$1 section\(s\) saved" shmtool checkpoint
}
file_stands() { stat -c '%y %s' "$work/state/state.db"; }
status_says() { says 0 "$1" shmtool status; }

start
edit_table <<'SQL'
INSERT INTO section(name, owner, size, persist, format) VALUES ('temps', 'driver', 64, 1, 'temps/1');
INSERT INTO section(name, owner, size, persist, stale_ms) VALUES ('slow', 'driver', 64, 1, 1),
    ('fresh', 'driver', 64, 1, 3600000), ('still', 'driver', 64, 1, 0);
INSERT INTO section(name, owner, size) VALUES ('brief', 'guest', 64);
INSERT INTO section(name, owner, size, persist, stamp) VALUES ('timeless', 'guest', 64, 1, 'none');
INSERT INTO section(name, owner, kind, size, persist) VALUES ('page', 'driver', 'raw', 5000, 1),
    ('blank', 'driver', 'raw', 100, 1);
INSERT INTO section(name, owner, size, persist, count) VALUES ('big', 'big', 4000000, 1, 2);
SQL
ok 'nothing is saved at first, and status says so' status_says 'checkpoint .*8 sections.*nothing saved yet'
ok 'there is nothing to save' saves 0
for section in temps slow fresh brief timeless page; do put "$section" "1st-$section"; done
head -c 3500000 /dev/urandom >"$work/big"
shmtool put big <"$work/big"
ok 'a pattern that matches none that persists' says 1 "no section that matches 'brief' is marked persist" \
    shmtool checkpoint brief
ok 'one section is saved' says 0 '^1 section\(s\) saved \(9 B\), 0 had not changed' \
    shmtool checkpoint 'tem*'
ok 'then the others' says 0 '^5 section\(s\) saved .*, 3 had not changed' shmtool checkpoint
before=$(file_stands)
ok 'what did not change is not written again' saves 0
ok 'not a byte of it' test "$before" = "$(file_stands)"
ok 'status says when' status_says 'checkpoint .*8 sections, last saved [0-9.]+ (ms|s) ago'
ok 'a value of several MiB is in chunks' test "$(in_state \
    "SELECT count(*) FROM chunk NATURAL JOIN saved WHERE name = 'big'")" -eq 4
if [ "$(id -u)" -eq 0 ] && chmod 711 "$work" "$work/run" &&
    setpriv --reuid 65533 --clear-groups true 2>/dev/null; then
    ok 'it is not for everybody' says 1 "'checkpoint' takes root, the manager's user" \
        setpriv --reuid 65533 --clear-groups "$build/tools/shmtool" checkpoint
fi

# Without a reboot the memory is newer than any checkpoint.
put temps 2nd
end_manager KILL
start
ok 'killed: the newer value stays' value_is temps 2nd
end_manager TERM
ok 'without a manager there is none, at once' says 3 'no manager answers' \
    timeout 60 shmtool checkpoint
ok 'stopped: it was saved' saved_temps 2nd
in_state "UPDATE chunk SET data = CAST('old' AS BLOB) WHERE data = CAST('2nd' AS BLOB)"
start
ok 'and a start puts nothing into memory that is there' value_is temps 2nd
ok 'which it says' said 'adopted, with all its data'
put temps 3rd
ok 'what is saved is known to the new manager' saves 1

# A reboot.
real=$(field temps real_ns) incarnation=$(field temps incarnation)
quiet_log
reboot
ok 'rebooted: it is said what came back' said ': 6 section\(s\) restored from the checkpoint'
ok 'the value' value_is temps 3rd
ok 'as the first version' field_is temps version 1
ok 'of a new incarnation' test "$(field temps incarnation)" -gt "$incarnation"
ok 'with the time of its publishing' field_is temps real_ns "$real"
age=$(field temps age_ns) now=$(date +%s%N)
ok 'its age is counted from then' test $((now - real - age)) -lt 5000000000 -a "$age" -le $((now - real))
ok 'what was stale is' field_is slow stale true
ok 'what was not is not' field_is fresh stale false
ok 'who waits for news of it is told so' says 1 'the last is .* old .stale after 1 ms' \
    shmtool get slow -f -n 2 -t 300 -o /dev/null
ok 'a value without a time has none' field_is timeless age_ns null
ok 'and is whole' value_is timeless 1st-timeless
ok 'so are raw bytes' value_is page 1st-page
ok 'and large values' cmp "$work/big" <(shmtool get big)
ok 'what does not persist is empty' empty brief
ok 'so is what was never published' empty still
put temps 4th
ok 'a writer goes on with version 2' field_is temps version 2
ok 'nothing of all that is saved again but the new' saves 1

# Events.
ipc_gone() { on_sysv && ipcrm -m "$(segment_id)"; }
if ipc_gone; then
    end_manager TERM
    start
    ok 'ipcrm: it comes back with the next manager' value_is temps 4th
    ok 'on the same boot with the monotonic clock' test "$(field temps age_ns)" -lt 60000000000
fi
put temps 5th
shmtool destroy --yes >/dev/null
manager=''
start
ok 'destroyed: it was saved, and comes back' value_is temps 5th
ok 'what does not persist does not' empty brief
edit_table <<<"UPDATE section SET name = 'heat' WHERE name = 'temps'"
reboot
ok 'a renamed section is the same one' value_is heat 5th
edit_table <<<"UPDATE section SET name = 'temps' WHERE name = 'heat'"
edit_table <<<"DELETE FROM section WHERE name = 'fresh'; UPDATE section SET persist = 0 WHERE name = 'slow'"
ok 'a section that went, or persists no longer' saves 0
ok 'is forgotten' test "$(saved)" -eq 4
edit_table <<<"INSERT INTO section(name, owner, size, persist) VALUES ('fresh', 'driver', 64, 1)"
reboot
ok 'and a new one of its name has nothing of it' empty fresh
ok 'nor has the other' empty slow
ok 'raw bytes that were never written are not saved' test "$(saved)" -eq 4

# Refused, one by one.
all_zero() { [ "$(shmtool get "$1" | tr -d '\0' | wc -c)" -eq 0 ]; }
refuses() { # WHAT LINE DATABASE SQL
    quiet_log
    cp "$work/state/state.db" "$work/kept.db"
    end_manager TERM
    reboot "$3" "$4"
    ok "$1: it is said" said "error: section '$refused': not restored, and left empty: $2"
    ok "in status, too" status_says "section '$refused': not restored, and left empty: "
    ok 'the section is empty' "${5-empty}" "$refused"
    ok 'the others are restored' value_is timeless 1st-timeless
    ok 'and nothing takes the place of what was saved' saves 0
    end_manager TERM
    take_memory
    cp "$work/kept.db" "$work/state/state.db"
}
chunk="id = (SELECT id FROM saved WHERE name = 'temps')" refused=temps
ok 'the value is there' value_is temps 5th
refuses 'a flipped bit' "what was saved is damaged \(its bytes" state.db \
    "UPDATE chunk SET data = CAST('5ti' AS BLOB) WHERE $chunk"
start
ok 'put right, it is restored' value_is temps 5th
refuses 'cut short' 'what was saved is damaged \(its bytes' state.db \
    "UPDATE chunk SET data = CAST('5t' AS BLOB) WHERE $chunk"
start
refuses 'too long' 'what was saved is damaged \(its bytes' state.db \
    "UPDATE chunk SET data = CAST('5tht' AS BLOB) WHERE $chunk"
start
refuses 'a missing chunk' 'what was saved is damaged \(its bytes' state.db \
    "DELETE FROM chunk WHERE $chunk"
start
refuses 'a damaged row' 'what was saved is damaged \(what was noted' state.db \
    "UPDATE saved SET real_ns = real_ns + 1 WHERE name = 'temps'"
start
refuses 'a huge length' 'what was saved is damaged \(what was noted' state.db \
    "UPDATE saved SET bytes = -1 WHERE name = 'temps'"
start
refuses 'another format' "what was saved has the format 'temps/1', and the table says 'temps/2'" \
    sections.db "UPDATE section SET format = 'temps/2' WHERE name = 'temps'"
sqlite3 "$work/state/sections.db" "UPDATE section SET format = 'temps/1' WHERE name = 'temps'"
start
refuses 'another kind' 'what was saved is of another kind \(snapshot\)' \
    sections.db "UPDATE section SET kind = 'raw', count = NULL WHERE name = 'temps'" all_zero
sqlite3 "$work/state/sections.db" "UPDATE section SET kind = 'snapshot', count = 4 WHERE name = 'temps'"
start
refuses 'a smaller size' 'what was saved has 3 bytes, and its size is 2' \
    sections.db "UPDATE section SET size = 2 WHERE name = 'temps'"
sqlite3 "$work/state/sections.db" "UPDATE section SET size = 6400 WHERE name = 'temps'"
start
ok 'a larger size takes it' value_is temps 5th

# Slots, each of which may have a value and be in use.
slot_is() { # SECTION SLOT STATE VALUE
    shmtool slots "$1" | grep -Eq "^ *$2  $3 " && [ "$(shmtool slots "$1" "$2" | tr -d '\0')" = "$4" ]
}
none_of_two() { shmtool slots "$1" | grep -q '^0 of 2 in use'; }
slots_empty() { shmtool slots "$1" | grep -q '^0 of 4 in use' && says 1 'nothing was put' shmtool slots "$1" 0; }
edit_table <<'SQL'
INSERT INTO worker(name) VALUES ('holder');
INSERT INTO section(name, owner, kind, size, count, persist, clear) VALUES
    ('board', 'holder', 'slots', 64, 4, 1, 'never'), ('cleared', 'holder', 'slots', 64, 4, 1, 'restart');
INSERT INTO section(name, owner, kind, size, count, persist, shared) VALUES
    ('pool', 'holder', 'slots', 64, 4, 1, 1);
SQL
saves 0
for section in board cleared pool; do "$build/tests/system/slots_fill" "$section" "1st-$section"; done
ok 'slots are saved' saves 3
ok 'and not again' saves 0
ok 'for nobody else to read' test "$(stat -c %a "$work/state/state.db")" = 600
"$build/tests/system/slots_fill" board 2nd
ok 'with what changed' saves 1
reboot
ok 'rebooted: what stays is in use' slot_is board 0 stays 1st-board-0
ok 'what came free has its value' slot_is board 1 stays 2nd-0
ok 'the last one, too' slot_is board 2 'free, value left' 2nd-1
ok 'and what nobody grabbed has none' says 1 'nothing was put into slot 3' shmtool slots board 3
ok 'cleared at a restart, nothing is in use' slot_is cleared 0 'free, value left' 1st-cleared-0
ok 'shared slots are in use' slot_is pool 0 'stays' 1st-pool-0
ok 'and have their bytes' slot_is pool 1 'free, value left' 1st-pool-1
"$build/tests/system/slots_fill" board 3rd
ok 'it goes on from there' slot_is board 2 stays 3rd-0
ok 'which is saved, and what is in use no more' saves 2
chunk="id = (SELECT id FROM saved WHERE name = 'board')" refused=board
refuses 'a flipped bit in a slot' 'what was saved is damaged \(its bytes' state.db \
    "UPDATE chunk SET data = CAST(replace(hex(data), hex('2nd'), hex('2md')) AS BLOB) WHERE $chunk" slots_empty
start
refuses 'slots cut short' 'what was saved is damaged \(its bytes' state.db \
    "UPDATE chunk SET data = substr(data, 1, length(data) - 8) WHERE $chunk" slots_empty
start
refuses 'slots that grew' 'what was saved is damaged \(its bytes' state.db \
    "UPDATE chunk SET data = CAST(data || data AS BLOB) WHERE $chunk" slots_empty
start
refuses 'fewer bytes, and a row that says so' 'what was saved is damaged \(what was noted' state.db \
    "UPDATE saved SET bytes = bytes - 8 WHERE name = 'board'" slots_empty
start
refuses 'fewer slots' 'what was saved are more slots, longer ones' sections.db \
    "UPDATE section SET count = 2 WHERE name = 'board'" none_of_two
sqlite3 "$work/state/sections.db" "UPDATE section SET count = 5 WHERE name = 'board'"
start
ok 'more slots take it' slot_is board 2 stays 3rd-0

# By itself, once a second.
every=1
end_manager TERM
start
put temps 6th
ok 'what changed is saved by itself' await 30 saved_temps 6th
end_manager KILL
take_memory
new_boot_id
start
ok 'and is there after a crash of all' value_is temps 6th

# Beside the rest: a large value doesn't hold up anybody.
edit_table <<'SQL'
INSERT INTO section(name, owner, size, persist, count) VALUES ('huge', 'other', 12000000, 1, 2);
SQL
save_large() {
    local asked from took
    longest=0
    head -c 12000000 /dev/zero | tr '\0' x | shmtool put huge
    shmtool checkpoint >"$work/said" &
    asked=$!
    while kill -0 "$asked" 2>/dev/null; do
        from=$(date +%s%N)
        shmtool status >/dev/null
        took=$((($(date +%s%N) - from) / 1000000))
        [ "$took" -le "$longest" ] || longest=$took
    done
    wait "$asked"
}
longest=2000
for try in 1 2 3; do # the machine may stall
    [ "$longest" -lt 2000 ] || ok "a large value is saved ($try)" save_large
done
echo "figure: checkpoint.longest_answer_meanwhile $longest ms"
ok 'and the manager answers meanwhile' test "$longest" -lt 2000

# A full disk.
if [ -n "$mounts" ]; then
    end_manager TERM
    mkdir /mnt/state
    mount -t tmpfs -o size=30m none /mnt/state
    cp -r "$work/state/." /mnt/state/
    mount --bind /mnt/state "$work/state"
    every=1
    start
    head -c 12000000 /dev/zero | tr '\0' y | shmtool put huge
    put temps 7th
    quiet_log
    ok 'the disk is full' says 1 'state.db: the disk is full, make room; the one before it stands' \
        shmtool checkpoint
    ok 'status says so' status_says "checkpoint .*the disk is full"
    ok 'the journal, too' said "error: the checkpoint can't be written .*the disk is full"
    ok 'what was saved is' saved_temps 6th
    mount -o remount,size=100m /mnt/state
    ok 'with room it is written by itself' await 30 saved_temps 7th
    ok 'which is said' await 30 said 'the checkpoint could be written again'
    ok 'in status' status_says 'checkpoint .*last saved'
    ok 'the disk was full more than once, and it was said once' \
        test "$(grep -c 'the disk is full' "$work/manager.log")" -eq 1
    reboot
    ok 'and the last value comes back' value_is temps 7th
    shmtool destroy --yes >/dev/null
    manager=''
    umount "$work/state"
fi
