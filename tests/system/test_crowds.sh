#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A manager that many want something of, or that can't take a connection: others are served, and it
# keeps to its share of the processor.
# Usage: test_crowds.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"

# ---- a machine without descriptors

can_trace() {
    command -v strace >/dev/null && strace -qq -o /dev/null true 2>/dev/null
}
# strace passes on neither TERM nor its own death.
end_traced() {
    local pid
    pid=$(pgrep -P "$manager")
    kill "$pid"
    wait "$manager" || :
    manager=''
}
failed_accepts() { grep -c 'ENFILE' "$work/trace"; }
seconds_of_them() {
    perl -ne '/^(?:\d+ +)?(\d+\.\d+) .*ENFILE/ or next; $first //= $1; $last = $1;
              END { printf "%d\n", $last - $first }' "$work/trace"
}

if can_trace; then
    make_table
    strace -f -qq -ttt -o "$work/trace" -e trace=accept4 -e inject=accept4:error=ENFILE:when=1..12 \
        "$build/daemon/shm-manager" --key "$SHMC_KEY" --state-dir "$work/state" \
        --runtime-dir "$SHMC_RUNTIME_DIR" >>"$work/manager.log" 2>&1 &
    manager=$!
    ok 'who comes while the machine has no descriptor is served when it has' \
        await 90 shmtool status --wait 30000
    ok 'it was tried again' test "$(failed_accepts)" -eq 12
    ok 'with pauses between' test "$(seconds_of_them)" -ge 1
    ok 'and said once' test "$(grep -c 'no connection can be taken' "$work/manager.log")" -eq 1
    ok 'with the remedy' grep -q 'Too many open files in system.*sysctl fs.file-max' "$work/manager.log"
    end_traced
else
    echo 'left out: nothing can be traced here'
fi

# ---- many connections, and many requests

[ "$(id -u)" -eq 0 ] || { echo 'left out: it takes root to be several users'; exit 0; }
chmod 755 "$work"
as() { # UID COMMAND...: itself, where it goes on behind us
    exec setpriv --reuid "$1" --regid 65530 --clear-groups "${@:2}"
}
make_table
shmtool table init --if-missing --table "$work/state/sections.db" >/dev/null
sqlite3 "$work/state/sections.db" <<SQL
BEGIN;
UPDATE segment SET group_name = '65530';
INSERT INTO section(name, owner, size) VALUES ('temps', 'driver', 64);
$(seq -f "INSERT INTO section(name, owner, size) VALUES ('s%g', 'crowd', 64);" 2000)
COMMIT;
SQL
start_manager
shmtool run --worker driver -- sleep 3600 &
children+=("$!")
await 30 says 0 ' leased ' shmtool workers driver

# To wait for a worker has no end, so that only room that is made lets another in.
waits_in_crowds() { # UID
    as "$1" perl -MSocket -MIO::Handle -e '
        my $claim = pack("L S S L l a64 L L", 0x43534d53, 1, 2, 88, 0, "driver", 1, 0);
        my @all;
        for (1 .. 256) {
            socket(my $to, PF_UNIX, SOCK_SEQPACKET, 0);
            connect($to, sockaddr_un($ARGV[0])) or die "connect: $!";
            sysread($to, my $hello, 1000);
            syswrite($to, $claim);
            sysread($to, my $waiting, 1000);
            unpack("x6 S", $waiting) == 3 or die "$_: no WAITING";
            push @all, $to;
        }
        print "full\n";
        STDOUT->flush;
        sleep 3600' "$SHMC_RUNTIME_DIR/${SHMC_KEY#0x}.sock" >"$work/crowd.$1" &
    children+=("$!")
    ok "user $1 takes all that it may" await 60 grep -q full "$work/crowd.$1"
}
if [ "$(ulimit -Hn)" -ge 4096 ]; then
    for uid in 65521 65522 65523 65524; do waits_in_crowds "$uid"; done
    ok 'then a fifth user has room made for it' says 0 'waiting' as 65525 shmtool status
    ok 'by one that had more' says 0 '102[34] connected, 10[0-9]{2} waiting' as 65525 shmtool status
else
    echo 'left out: few descriptors are allowed here'
fi

# The manager's processor time while others do nothing but ask; they end by themselves.
ticks() { awk '{ print $14 + $15 }' "/proc/$manager/stat"; }
asks_on_and_on() { # UID
    # shellcheck disable=SC2016 # the other shell's variables
    as "$1" timeout 4 bash -c 'while :; do shmtool plan >>"$0" 2>&1; done' "$work/plans.$1"
}
touch "$work/plans.65526"
chmod 666 "$work/plans.65526"
asking=()
from_ticks=$(ticks) from_ns=$(date +%s%N)
for _ in 1 2 3; do
    asks_on_and_on 65526 &
    asking+=("$!")
done
ok 'beside one who asks on and on others are answered' says 0 'nothing to do' shmtool plan
wait "${asking[@]}" || : # timeout's status
share=$((($(ticks) - from_ticks) * 100000000000 / $(getconf CLK_TCK) / ($(date +%s%N) - from_ns)))
echo "figure: crowds.manager_share_of_one_who_asks $share percent"
ok 'he was answered, too' grep -q 'nothing to do: generation' "$work/plans.65526"
ok 'the manager had time for others' test "$share" -lt 50
