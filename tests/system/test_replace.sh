#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The segment gets another size while everything runs: values, versions and ages stay, readers,
# followers and sleepers go along, and what was viewed stays in memory.
# Usage: test_replace.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"
# shellcheck source=tests/system/driving.sh
. "$(dirname "$0")/driving.sh"

mib=1048576

resize() { # BYTES [MORE SQL]
    sql "UPDATE segment SET size = $1; ${2-}"
    says 0 "^replace +segment +size [0-9]+ -> $1, a new segment" shmtool reload
}
# From outside, of a segment by its id: its state, and whether it has a successor.
state_of() { # ID
    perl -e 'my ($state, $next); shmread($ARGV[0], $state, 136, 4) && shmread($ARGV[0], $next, 176, 8) or die "$!";
        printf "%d %s", unpack("L", $state), unpack("Q", $next) ? "successor" : "none"' "$1"
}
# Is the segment of the first size mapped by nobody any more?
first_is_gone() {
    ! awk '$4 == 67108864' /proc/sysvipc/shm | grep -q .
}

all_have_names() {
    ! shmtool workers | grep -q anonymous
}

start_manager
edit "INSERT INTO section(name, owner, size, stale_ms) VALUES ('cam', 'driver', 1000, 100000), ('other', 'driver', 1000, 0);
    INSERT INTO section(name, owner, size, kind) VALUES ('notes', 'driver', 256, 'raw');
    INSERT INTO section(name, owner, size) VALUES ('blank', 'grabber', 64);
    INSERT INTO section(name, owner, size, kind, shared) VALUES ('common', 'grabber', 256, 'raw', 1);"
drive reader
drive sleeper
drive follower
drive any
drive driver driver
does driver '^0' 'put cam first'
does driver '^0' 'put cam second'
does driver '^0' 'put other elsewhere'
does driver '^0' 'raw notes these are raw'
does reader 'v2 second' 'get cam'
does reader 'v1 elsewhere' 'get other'
does sleeper 'v2 second' 'next cam 30000'
does follower 'v1 first' 'follow cam 30000'
does follower 'v2 second' 'follow cam 30000'
does any 'v2 second' 'get cam'
does reader '^0' 'view cam'

# ---- somebody writes
ok 'who writes is waited for' refuses "takes a new segment, which waits until nobody writes: worker 'driver' holds its lease" \
    "UPDATE segment SET size = 128 * $mib;" "UPDATE segment SET size = 64 * $mib;"
ends driver
await 30 says 0 ' free ' shmtool workers driver
drive guest -
ok 'also who has no name' refuses "waits until nobody writes: 1 anonymous attachment holds its lease" \
    "UPDATE segment SET size = 128 * $mib;" "UPDATE segment SET size = 64 * $mib;"
ends guest
await 30 all_have_names

# ---- nobody does
told sleeper 'next cam 30000'
told follower 'follow cam 30000'
told any 'any cam 30000'
! on_sysv || before=$(segment_id)
born=$(column other real_ns)
sql "UPDATE segment SET size = 128 * $mib;"
ok 'plan says what it takes' says 0 '^replace +segment +size 67108864 -> 134217728, a new segment; up to [0-9]+ bytes of values are copied' \
    shmtool plan
ok '--check too' says 0 '^replace segment: size 67108864 -> 134217728' daemon --check
ok 'a larger segment' resize $((128 * mib))
ok 'is there' says 0 ', 128 MiB' shmtool status
ok 'with values and versions' value_of cam 2 second
ok 'all of them' value_of other 1 elsewhere
ok 'raw bytes too' test "$(shmtool get notes | head -c 13)" = 'these are raw'
ok 'what was never published is not' says 1 'nothing was published' shmtool get blank
ok 'and is as old as before' test "$(column other real_ns)" = "$born"
if on_sysv; then
    ok 'the key leads there' test "$(segment_id)" != "$before"
    ok 'the old header says that it was replaced' test "$(state_of "$before")" = '3 successor'
    ok 'and the new one that it is served' test "$(state_of "$(segment_id)")" = '1 none'
fi
ok 'what was viewed stays in memory' does reader '^0 second' 'look cam'
ok 'the size is the new one' does reader '^134217728 ' 'size cam'
ok 'with all sections' does reader '^5 ' 'sections cam'
ok 'a reader goes along' does reader 'v2 second' 'get cam'
ok 'also for another section' does reader 'v1 elsewhere' 'get other'
ok 'what was viewed stays for longer' does reader '^0 second' 'look cam'
drive driver driver
ok 'the worker goes on' does driver '^0' 'put cam third'
ok 'for who slept' hears sleeper 'v3 third'
ok 'for who follows' hears follower 'v3 third'
ok 'and for who waited for any' hears any '^0 '
ok 'a new value' value_of cam 3 third
does driver '^0' 'put cam fourth'
ok 'followers miss nothing' does follower 'v4 fourth' 'follow cam 30000'
if on_sysv; then
    does reader '^0' 'view cam' # what was viewed before is given up
    for id in sleeper follower any; do
        does "$id" 'v4 fourth' 'get cam'
    done
    ok 'the old memory goes with who looked at it' await 30 first_is_gone
fi

# ---- more than that in one edit
ends driver
await 30 says 0 ' free ' shmtool workers driver
sql "UPDATE segment SET size = 32 * $mib; UPDATE section SET size = 2000, name = 'camera' WHERE name = 'cam';
    DELETE FROM section WHERE name = 'blank'; INSERT INTO section(name, owner, size) VALUES ('more', 'grabber', 500);
    UPDATE section SET kind = 'raw', count = NULL WHERE name = 'other';"
for line in "^replace +segment +size 134217728 -> $((32 * mib))" "^change +camera +renamed from 'cam', size 1000 -> 2000" \
    '^remove +blank ' '^add +more ' '^change +other +kind snapshot -> raw, begins empty'; do
    ok "a smaller one: plan shows $line" says 0 "$line" shmtool plan
done
ok 'all of it at once' resize $((32 * mib))
ok 'is in force' value_of camera 4 fourth
ok 'by the other name, too' does reader 'v4 fourth' 'get cam'
ok 'an empty one' says 1 'nothing was published' shmtool get more
ok 'and bytes of another kind' test "$(shmtool get other | tr -d '\0' | wc -c)" = 0

# ---- refused
ok 'too small for its sections' refuses 'no room' \
    "UPDATE segment SET size = $mib; UPDATE section SET size = 150000 WHERE name IN ('more', 'camera');" \
    "UPDATE segment SET size = 32 * $mib; UPDATE section SET size = iif(name = 'more', 500, 2000) WHERE name IN ('more', 'camera');"
ok 'too small for a value' refuses 'size 3 is too small for its newest value, which has 6 bytes' \
    "UPDATE segment SET size = 16 * $mib; UPDATE section SET size = 3 WHERE name = 'camera';" \
    "UPDATE segment SET size = 32 * $mib; UPDATE section SET size = 2000 WHERE name = 'camera';"
sql "UPDATE segment SET size = 8192 * $mib"
has=$(sed -n 's/^VmSize:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$manager/status")
prlimit --pid "$manager" --as=$((has * 1024 + 1024 * mib)):
ok 'larger than can be had' says 1 'no address space|Cannot allocate memory' shmtool reload
prlimit --pid "$manager" --as=unlimited:
ok 'leaves all as it was' value_of camera 4 fourth
ok 'for readers, too' does reader 'v4 fourth' 'get cam'
! on_sysv || ok 'and nothing behind' test "$(awk 'NR > 1 && $4 >= 8589934592' /proc/sysvipc/shm | wc -l)" = 0
sql "UPDATE segment SET size = 32 * $mib"
ok 'and is undone' says 0 'nothing had changed' shmtool reload

# ---- lives
ok 'what a worker was is known' says 0 'driver' shmtool workers driver
end_manager KILL
start_manager
ok 'the next manager finds it' value_of camera 4 fourth
ok 'and so do readers' does reader 'v4 fourth' 'get cam'
end_manager TERM
sql "UPDATE segment SET size = 48 * $mib"
start_manager
ok 'a size that was set meanwhile' says 0 ', 48 MiB' shmtool status
ok 'is one with all values' value_of camera 4 fourth
ok 'also for who is attached' does reader 'v4 fourth' 'get cam'
sql "UPDATE section SET persist = 1 WHERE name = 'camera'"
ok 'a checkpoint' says 0 'change +camera' shmtool reload
ok 'is taken of the new one' says 0 '1 section' shmtool checkpoint
drive driver driver
sql "UPDATE segment SET auto_apply = 1"
shmtool reload >"$work/reload.log"
sql "UPDATE segment SET size = 49 * $mib"
ok 'an edit that waits' await 30 says 0 "pending.*takes a new segment" shmtool status
ends driver
ok 'is applied by itself' await 30 says 0 ', 49 MiB' shmtool status
ok 'for who is attached' does reader 'v4 fourth' 'get cam'
sql "UPDATE segment SET auto_apply = 0"
shmtool reload >"$work/reload.log"
ok 'several in turn' resize $((50 * mib))
ok 'nobody looked at' resize $((52 * mib))
ok 'are one to who comes late' does reader 'v4 fourth' 'get cam'
ok 'wherever he was' does sleeper 'v4 fourth' 'get cam'
drive driver driver
ok 'and it goes on' does driver '^0' 'put camera fifth'
ok 'for all' does reader 'v5 fifth' 'get cam'
ends driver
# ---- by force
edit "INSERT INTO section(name, owner, size) VALUES ('begun', 'driver', 500);"
drive driver driver
drive guest -
does guest '^0' 'raw common the guest was here'
does driver '^0' 'put camera before'
does driver '^0' 'begin begun begun before'
does sleeper 'before' 'get cam'
told sleeper 'next cam 30000'
sql "UPDATE segment SET size = 56 * $mib"
ok 'plan --force says whom it is taken from' says 0 "copied, although worker 'driver' and 1 more hold their leases" shmtool plan --force
ok 'by force' says 0 "^replace +segment .* although worker 'driver' and 1 more hold their leases" shmtool reload --force
ok 'its values come along' test "$(shmtool get camera)" = before
ok 'who held it goes on' does driver '^0' 'put camera behind'
ok 'as the worker that it was' says 0 "driver +leased +${pid[driver]}" shmtool workers driver
ok 'for all who read' does reader 'behind' 'get cam'
ok 'and for who slept' hears sleeper 'behind'
ok 'what was begun before' does driver '^0' 'commit begun 12'
ok 'is committed there' test "$(shmtool get begun | tr -d '\0')" = 'begun before'
ok 'who had no name writes there' does guest '^0' 'raw common and is'
ok 'for all' test "$(shmtool get common | tr -d '\0' | head -c 6)" = 'and is'
ok 'by another attachment, which is the only one' test "$(shmtool workers | grep -c anonymous)" = 1
ok 'of that process' says 0 "^- +leased +${pid[guest]} .*anonymous" shmtool workers
shows_guest() { shmtool workers --json | tr -d ' \n' | grep -Eq "\"anonymous\":\[\{[^]]*\"pid\":${pid[guest]},"; }
ok 'as JSON, too' shows_guest
ok 'and status counts it' says 0 'leased, 1 anonymous' shmtool status
ok 'whom no pattern matches' says 1 'no worker matches' shmtool workers -- -
does driver '^0' 'raw notes forced'
ok 'raw bytes go there' test "$(shmtool get notes | head -c 6)" = forced
ok 'nobody else gets it meanwhile' says 1 'is held by process' timeout 20 shmtool run --worker driver -- true

# A writer at full speed, who is brought elsewhere again and again: its readers see its values in their
# order (one maybe twice, which came late and was copied all the same), and the last.
told reader 'watch cam'
told driver 'count camera 3000'
rounds=0
until read -r -t 0 <&"${from[driver]}"; do
    size=$(((40 + rounds % 2) * mib)) rounds=$((rounds + 1))
    sql "UPDATE segment SET size = $size"
    says 0 '^replace' shmtool reload --force
done
ok 'a writer at full speed goes on' hears driver '^[0-9]+ '
last=${reply%% *}
ok 'its readers miss nothing that counts' hears reader "^$last "
ok 'brought elsewhere some times' test "$rounds" -ge 3
echo "figure: replace.rounds $rounds rounds"
echo "figure: replace.published $last values"
ok 'and are there with the next call' does reader '^8 ' 'get cam'

# The manager is killed at some moment of it, again and again: whichever segment it is then, who held
# the lease publishes there, and who reads finds the newest value.
killed_meanwhile() {
    local round asker # guest and driver are attached all the while
    for round in {1..10}; do
        does driver '^0' "put camera round $round" || return 1
        sql "UPDATE segment SET size = $(((30 + round % 7) * mib))"
        shmtool reload --force >"$work/reload.log" 2>&1 &
        asker=$!
        perl -e 'select undef, undef, undef, rand 0.03'
        end_manager KILL
        wait "$asker" || :
        start_manager
        does reader "v[0-9]+ round $round" 'get cam' || return 1
        does guest '^0' "raw common round $round" || return 1
    done
}
ok 'killed in the midst of it, the manager loses nothing' killed_meanwhile
ends guest
ends driver

ok 'destroyed' says 0 '' shmtool destroy --yes
wait "$manager" || :
manager=''
ok 'it is gone for good' does reader '^EIDRM' 'get cam'
for id in reader sleeper follower any; do ends "$id"; done
