#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Queues through the library and shmtool, on a live manager, which is also killed in the midst of it.
# The cases are client_queue*.c beside this; each runs in a process of its own.
# Usage: test_queue.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"

export SHM_TEST_TABLE=$work/state/sections.db
unset SHMC_LEASE
start_manager
edit_table <<'SQL'
INSERT INTO worker(name, instances) VALUES ('crew', 2);
INSERT INTO section(name, owner, size) VALUES ('temps', 'driver', 4096);
INSERT INTO section(name, owner, kind, size, count) VALUES
    ('jobs', 'runner', 'queue', 4096, 4), ('tiny', 'runner', 'queue', 256, 1),
    ('pool', 'crew', 'queue', 16384, 8);
SQL

for program in client_queue client_queue_life client_queue_process; do
    for name in $("$build/tests/system/$program" --list); do
        status=0
        (cd "$work" && exec "$build/tests/system/$program" "$name") || status=$?
        case $status in
        0) echo "ok $program $name" ;;
        77) echo "skip $program $name" ;;
        *) echo "not ok $program $name (status $status)" && failed=1 ;;
        esac
    done
done

# ---- a manager that comes and goes under the traffic

"$build/tests/system/client_queue_traffic" >"$work/traffic.log" 2>&1 &
traffic=$!
children+=("$traffic")
await 60 grep -q '^flowing' "$work/traffic.log"
for _ in 1 2 3; do
    end_manager KILL
    sleep 0.2
    start_manager
done
kill -TERM "$traffic"
status=0
wait "$traffic" || status=$?
cat "$work/traffic.log"
if [ "$status" -ne 0 ]; then
    echo "not ok traffic goes on without a manager (status $status)"
    failed=1
fi

# ---- a queue that goes to another place under the traffic, whenever nobody is in it, and by force

moves=0
under_traffic() { # MODE OFFSET [OPTION...]: pins it there; again until it comes through
    local mode=$1 offset=$2 end=$((SECONDS + 60))
    shift 2
    sqlite3 "$work/state/sections.db" "UPDATE section SET offset = $offset WHERE name = 'pool'"
    until shmtool reload "$@" >>"$work/$mode.reload" 2>&1; do
        [ "$SECONDS" -lt "$end" ] || return 1
    done
    moves=$((moves + 1))
}
# By force also while somebody is in it.
for mode in restless forced; do
    "$build/tests/system/client_queue_traffic" "$mode" >"$work/$mode.log" 2>&1 &
    traffic=$!
    children+=("$traffic")
    await 60 grep -q '^flowing' "$work/$mode.log"
    force=()
    [ "$mode" = restless ] || force=(--force)
    for i in {0..14}; do
        under_traffic "$mode" $((33554432 + 1048576 * (moves % 30))) "${force[@]}" ||
            { echo "not ok move $i of traffic $mode"; failed=1; break; }
    done
    kill -TERM "$traffic"
    status=0
    wait "$traffic" || status=$?
    cat "$work/$mode.log"
    [ "$status" -eq 0 ] || { echo "not ok traffic $mode (status $status)"; failed=1; }
done
echo "figure: queue.moves $moves moves"
edit_table <<<"UPDATE section SET offset = NULL WHERE name = 'pool';"

# ---- shmtool

expect "send" 0 '^$' shmtool send jobs 3 three
printf 'from a pipe' | shmtool send jobs 1
printf 'a file\n' >"$work/message"
expect "send a file" 0 '"length": 7' shmtool send --json --input "$work/message" jobs 2 -
expect "peek shows what waits" 0 '^ *0 +[0-9]+ +3 +5 .* three$' shmtool peek jobs
expect "and takes nothing" 0 'from a pipe$' shmtool peek jobs
expect "peek as JSON" 0 '"type":1,.*"data":"from a pipe"' shmtool peek --json jobs
expect "peek as a dump" 0 '^00000000  66 72 6f 6d' shmtool peek --hex jobs
expect "stat" 0 '^jobs: 3 messages wait \(23 B' shmtool stat jobs
expect "stat of each lane" 0 '^ *0 +free ' shmtool stat jobs
expect "stat as JSON" 0 '"messages": 3,' shmtool stat --json jobs
changed() { shmtool stat --json tiny | jq '.changed_generation, .changed_real_ns' | xargs; }
read -r generation real_ns < <(changed)
edit_table <<<"UPDATE section SET format = 'tiny/2' WHERE name = 'tiny'"
read -r next_generation next_ns < <(changed)
now_ns=$(date +%s%N)
expect "stat says when it was changed" 0 '^later$' echo "$(
    [ "$next_generation" -gt "$generation" ] && [ "$real_ns" -gt $((now_ns - 3600 * 1000000000)) ] &&
        [ "$next_ns" -gt "$real_ns" ] && [ "$next_ns" -le "$now_ns" ] && echo later)"
expect "list counts them" 0 '^jobs +runner +queue +4096 +[0-9]+ +3 waiting ' shmtool list jobs
expect "receive by type" 0 '^from a pipe$' shmtool receive --type 1 jobs
expect "receive but one type" 0 '^a file$' shmtool receive --type 3 --except jobs
expect "receive the first" 0 '^three$' shmtool receive jobs
expect "receive from an empty one" 1 "queue 'jobs' has no such message" shmtool receive jobs
expect "receive in time" 1 'no such message in that time' shmtool receive --wait 20 jobs
# A manager that is late has the time to answer that it has without --wait.
connections() { grep -c "$SHMC_RUNTIME_DIR/.*sock" /proc/net/unix; }
kill -STOP "$manager"
before=$(connections)
shmtool receive --wait 20 jobs >"$work/late" 2>&1 &
late=$!
children+=("$late")
asks_again() { [ "$(connections)" -ge $((before + 2)) ]; }
await 30 asks_again || { echo "not ok it asks again"; failed=1; }
kill -CONT "$manager"
status=0
wait "$late" || status=$?
expect "receive in time from a late manager" 0 '^1 .*no such message in that time' \
    echo "$status $(cat "$work/late")"
expect "a type that is none" 2 "'soap' is no type" shmtool send jobs soap
expect "a queue that isn't" 1 "no section 'job'; did you mean 'jobs'" shmtool send job 1 x
expect "a section of another kind" 1 'is a snapshot, expected is a queue' shmtool send temps 1 x
expect "get of a queue" 1 'is of kind queue: shmtool peek jobs' shmtool get jobs
expect "put to a queue" 1 'is a queue: shmtool send jobs' shmtool put --input /dev/null jobs
expect "a message too long" 1 'which is 2048 bytes' shmtool send --input /bin/sh jobs 1
expect "--except needs a type" 2 'which type' shmtool receive --except jobs
expect "one of two receivers" 1 'has no such message' shmtool receive pool

shmtool send pool 1 'under a lease'
expect "under shmtool run, by its lease" 0 '^under a lease$' \
    shmtool run --worker 'crew#2' -- shmtool receive pool

for i in 1 2 3; do shmtool send jobs 1 "job $i"; done
expect "receive --count" 0 '^job 2$' shmtool receive --count 2 jobs
shmtool receive --follow jobs >"$work/followed" 2>&1 &
children+=("$!")
follower=$!
await 30 grep -qx 'job 3' "$work/followed"
shmtool send jobs 1 'job 4'
await 30 grep -qx 'job 4' "$work/followed" || { echo "not ok receive --follow"; failed=1; }
expect "another receiver meanwhile" 1 "held by process $follower" shmtool receive jobs
end_child "$follower"
# What can't be written out stays in the queue.
shmtool send jobs 1 kept
expect "a full disk loses nothing" 1 'stdout' sh -c 'shmtool receive --wait 60000 jobs >/dev/full'
expect "and the message is there" 0 '^kept$' shmtool receive --wait 60000 jobs

# ---- memory that is removed while no manager is there to say so

if on_sysv; then
    "$build/tests/system/client_queue_traffic" gone >"$work/gone.log" 2>&1 &
    sender=$!
    children+=("$sender")
    await 60 grep -q '^flowing' "$work/gone.log"
    end_manager KILL
    remove_segment "$SHMC_KEY"
    status=0
    wait "$sender" || status=$?
    tail -n 1 "$work/gone.log"
    [ "$status" -eq 0 ] || { echo "not ok who sends is told that the segment is gone"; failed=1; }
fi
exit $failed
