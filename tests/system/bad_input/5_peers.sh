# shellcheck shell=bash disable=SC2016,SC2154 # perl's variables; the sourcing script's
# SPDX-License-Identifier: Apache-2.0
#
# Who talks to the manager, and who doesn't: other versions, noise, stopped processes; and the clock.

client=(perl -MSocket -e 'my ($path, $code) = @ARGV;
    socket(my $s, PF_UNIX, SOCK_SEQPACKET, 0) or die; connect($s, sockaddr_un($path)) or die;
    eval $code; die $@ if $@' "$SHMC_RUNTIME_DIR/${SHMC_KEY#0x}.sock")

kind 'a client of another ABI'
answer='recv($s, $m, 65536, 0); my ($magic, $version, $type, $bytes, $result, $holder, $zero, $text) = unpack("LSSLlLL Z*", $m);
    print "$text\n"; exit($result == 0 ? 0 : 7)'
for version in 0 2 9 65535; do
    bad "protocol version $version" 7 'speaks protocol version 1: use its own library' "${client[@]}" \
        "my \$m; recv(\$s, \$m, 65536, 0); send(\$s, pack('LSSLl a64 LL', 0x43534d53, $version, 2, 88, 0, 'driver', 0, 0), 0); $answer"
done
bad 'a message type of a later version' 7 'was not a message|makes no sense' "${client[@]}" \
    "my \$m; recv(\$s, \$m, 65536, 0); send(\$s, pack('LSSLl a64 LL', 0x43534d53, 1, 99, 88, 0, 'driver', 0, 0), 0); $answer"
bad 'a longer message' 7 'was not a message|makes no sense' "${client[@]}" \
    "my \$m; recv(\$s, \$m, 65536, 0); send(\$s, pack('LSSLl a64 LLQ', 0x43534d53, 1, 2, 96, 0, 'driver', 0, 0, 0), 0); $answer"

kind 'random bytes'
descriptors() { find "/proc/$manager/fd" -mindepth 1 | wc -l; }
was=$(descriptors)
for seed in 1 2 3; do
    fine "a storm of them, seed $seed" "${client[@]}" 'srand '"$seed"'; for (1 .. 500) {
        socket(my $t, PF_UNIX, SOCK_SEQPACKET, 0); connect($t, sockaddr_un($path)) or die "$!";
        my $m = join "", map { chr int rand 256 } 1 .. 8 + int rand 4000;
        substr($m, 0, 4) = pack("L", 0x43534d53) if rand() < .5; substr($m, 4, 2) = pack("S", 1) if rand() < .5;
        send($t, $m, 0); }'
done
fine 'the manager answers as before' says 0 '' shmtool plan
few_descriptors() { [ "$(descriptors)" -le "$((was + 1))" ]; }
fine 'and has no more descriptors open' await 30 few_descriptors
for bytes in 0 1 4 19 20 87 89 65536; do
    fine "a message of $bytes bytes" "${client[@]}" "my \$m; recv(\$s, \$m, 65536, 0); send(\$s, 'x' x $bytes, 0)"
done
fine 'and answers still' says 0 '' shmtool plan

kind 'stopped processes'
kill -STOP "$manager"
fine 'readers read while the manager is stopped' value_is temps 'it stays'
bad 'a claim gives up at its deadline' 3 'the manager did not answer in the time given' \
    timeout 60 shmtool run --worker driver --wait 300 -- true
bad 'a question too' 3 'the manager did not answer in the time given' timeout 60 shmtool plan
kill -CONT "$manager"
fine 'and is answered afterwards' says 0 '' shmtool run --worker driver --wait 30000 -- true
kill -STOP "$keeper"
bad 'a stopped worker keeps its name' 1 "held by process $keeper" shmtool run --worker keeper -- true
fine 'and holds up no edit' says 0 '' shmtool reload
end_manager KILL
start_manager
bad 'also over a restart of the manager' 1 "held by process $keeper" shmtool run --worker keeper -- true
kill -CONT "$keeper"
"${client[@]}" 'my $m; recv($s, $m, 65536, 0); send($s, pack("LSSLl a64 LL", 0x43534d53, 1, 2, 88, 0, "driver", 0, 0), 0);
    kill "STOP", $$; sleep 60' &
half=$!
children+=("$half")
# Not before it has claimed: whoever asks takes the name for a moment.
is_stopped() { [ "$(ps -o state= -p "$half")" = T ]; }
await 30 is_stopped
await 30 says 1 'is being taken by process' shmtool run --worker driver -- true
bad 'one that was stopped amid its claim' 1 "is being taken by process $half" shmtool run --worker driver -- true
fine 'loses it' says 0 '' shmtool run --worker driver --wait 30000 -- true
kill -KILL "$half"

kind 'clock jumps'
clock=$build/tests/system/libclock.so
end_manager TERM
echo 0 >"$work/clock"
jumping=(env SHM_TEST_CLOCK="$work/clock" LD_PRELOAD="$clock" ASAN_OPTIONS="${ASAN_OPTIONS-}:verify_asan_link_order=0")
start_jumping() {
    "${jumping[@]}" "$build/daemon/shm-manager" --key "$SHMC_KEY" --state-dir "$work/state" --runtime-dir "$SHMC_RUNTIME_DIR" \
        >>"$work/manager.log" 2>&1 &
    manager=$!
    shmtool status --wait 30000 >/dev/null
}
start_jumping
sql "INSERT INTO section(name, owner, size, stale_ms) VALUES('clocked', 'driver', 64, 600000)"
shmtool reload >/dev/null
lines=$(grep -c 'stale;' "$work/manager.log" || :)
for seconds in 86400 -86400 31536000 -631152000 -1700000000 6000000000; do
    echo "$seconds" >"$work/clock"
    printf '%s' "$seconds" | "${jumping[@]}" shmtool put clocked
    fine "by $seconds s: a value published then" value_is clocked "$seconds"
    stamped=$(shmtool list --json clocked | sed -n 's/.*"real_ns": \([0-9]*\),/\1/p')
    off=$((stamped / 1000000000 - $(date +%s)))
    ok "the clock did jump by $seconds s" test "$off" -gt $((seconds - 60)) -a "$off" -lt $((seconds + 60))
    fresh_there() { "${jumping[@]}" shmtool list --json temps clocked | grep -c '"stale": false' | grep -qx 2; }
    fine "by $seconds s: nothing is stale" fresh_there
    sql "UPDATE section SET format = 'at $seconds' WHERE name = 'clocked'"
    fine "by $seconds s: an edit" says 0 'in force' "${jumping[@]}" shmtool reload
    end_manager KILL
    start_jumping
    fine "by $seconds s: a restart" says 0 'applied' "${jumping[@]}" shmtool status
    bad "by $seconds s: a second owner" 1 "held by process $keeper" "${jumping[@]}" shmtool run --worker keeper -- true
done
fine 'nothing was said to be stale' test "$(grep -c 'stale;' "$work/manager.log" || :)" = "$lines"
end_manager TERM
if root && unshare --time --monotonic 1000000 --boottime 1000000 true 2>/dev/null; then
    # Ages mean nothing in another time namespace; all else goes on.
    unshare --time --monotonic 1000000 --boottime 1000000 "$build/daemon/shm-manager" --key "$SHMC_KEY" \
        --state-dir "$work/state" --runtime-dir "$SHMC_RUNTIME_DIR" >>"$work/manager.log" 2>&1 &
    manager=$!
    shmtool status --wait 30000 >/dev/null
    # Before Linux 6.3 it would be its children only.
    fine 'a manager in another time namespace' test "$(readlink "/proc/$manager/ns/time")" != "$(readlink /proc/self/ns/time)"
    fine 'leaves values be' value_is temps 'it stays'
    bad 'whose workers are known' 1 'shmtool run: worker .keeper.' shmtool run --worker keeper -- true
    fine 'grants' says 0 '' shmtool run --worker driver --wait 30000 -- true
    fine 'a reader in another one' says 0 'it stays' unshare --time --monotonic 1000000 shmtool get temps
    end_manager TERM
fi
start_manager
fine 'then all is as it was' says 0 'applied' shmtool status
