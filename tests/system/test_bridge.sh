#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# shm-bridge: how it begins and ends, and that it loses nothing, wherever it is killed; what comes
# twice is what its page says.  Usage: test_bridge.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"
perl -MIPC::Msg -e 1 2>/dev/null || { echo "no Perl with IPC::Msg here"; exit 77; }
PATH=$build/tools/bridge:$PATH
key=$(printf '0x%08x' $((SHMC_KEY & 0x0fffffff | 0x10000000)))
rounds=${SHM_SOAK:+300}
rounds=${rounds:-20}

start_manager
edit_table <<'SQL'
INSERT INTO section(name, owner, kind, size, count) VALUES('jobs', 'driver', 'queue', 4096, 4);
INSERT INTO worker(name, instances) VALUES('crew', 2);
INSERT INTO section(name, owner, kind, size, count) VALUES('shared', 'crew', 'queue', 4096, 4);
INSERT INTO section(name, owner, size) VALUES('temps', 'driver', 64);
SQL
# shellcheck disable=SC2317 # called by the harness
at_end() { ipcrm -Q "$key" 2>/dev/null || :; }

bridge() { timeout -k 1 60 shm-bridge "$@"; }
sysv() { perl -MIPC::Msg -MIPC::SysV=IPC_NOWAIT -e 'my $q = IPC::Msg->new(hex shift, 0) or die $!; '"$1" "$key" "${@:2}"; }
send_numbers() { # FIRST LAST: each a message
    # shellcheck disable=SC2016 # Perl's
    sysv '$q->snd(1 + $_ % 3, $_) or die $! for $ARGV[0] .. $ARGV[1]' "$@"
}
receive_numbers() { # all that there are
    # shellcheck disable=SC2016
    sysv 'while ($q->rcv(my $n, 100, 0, IPC_NOWAIT)) { print "$n\n" }'
}
jobs_numbers() { # all that there are
    { shmtool receive jobs --json --count 1000000 2>/dev/null || :; } | jq -r 'select(.ok).data'
}

# ---- how it begins
ok "--help" says 0 '^usage: shm-bridge' bridge --help
ok "--version" says 0 '^shm-bridge [0-9]' bridge --version
ok "one argument" says 2 'a source and a target' bridge jobs
ok "two sections" says 2 "one of the two is sysv:KEY" bridge jobs jobs
ok "two kernel queues" says 2 "one of the two is sysv:KEY" bridge sysv:1 sysv:2
ok "no key" says 2 "a System V key is a number above 0" bridge sysv:0 jobs
ok "a wrong mode" says 2 "a mode is octal" bridge --create=9 "sysv:$key" jobs
ok "an unknown option" says 2 "unrecognized option" bridge --lossy "sysv:$key" jobs
ok "no kernel queue" says 1 "there is no System V queue with key $key: start the program that makes it, or give --create" \
    bridge "sysv:$key" jobs
ok "no section" says 1 "segment has no section 'nothing'" bridge --create "sysv:$key" nothing
ok "a section of another kind" says 1 "section 'temps' is a snapshot, expected is a queue" bridge "sysv:$key" temps
ok "one of several receivers" says 1 "section 'shared': its owner has instances; say which to be: --worker crew#1" \
    bridge shared "sysv:$key"
ok "as which it begins" says 0 '0 messages moved' bridge --drain --worker 'crew#2' shared "sysv:$key"
each_option() {
    local option
    for option in $(shm-bridge --help | grep -oE -- '--[a-z-]+' | sort -u); do
        sed 's/\\-/-/g; s/\\f[BRI]//g' "$source_dir/tools/bridge/shm-bridge.1" | grep -q -e "$option" ||
            { echo "no $option"; return 1; }
    done
}
ok "its page has each option" each_option
ok "no manager" says 1 . bridge --key 0x7fffffff --timeout 0 "sysv:$key" jobs

# ---- both ways, and how it ends
send_numbers 1 5
ok "it drains the kernel's queue" says 0 '5 messages moved' bridge --drain "sysv:$key" jobs
same() { diff <("$1") <(seq "$2" "$3"); }
ok "into the section, in order" same jobs_numbers 1 5
for n in 1 2 3; do shmtool send jobs $n $n; done
ok "it counts" says 0 '2 messages moved' bridge --count 2 jobs "sysv:$key"
ok "as the section's owner" says 0 '1 messages moved' bridge --drain jobs "sysv:$key"
# shellcheck disable=SC2016
ok "with the types" test "$(sysv 'while (my $t = $q->rcv(my $n, 100, 0, IPC_NOWAIT)) { print "$t$n " }')" = "11 22 33 "

background() { # leaves $pid
    shm-bridge "$@" 2>"$work/bridge.log" &
    pid=$!
    children+=("$pid")
}
await_end() { # STATUS
    local code=0
    wait "$pid" || code=$?
    [ "$code" -eq "$1" ] || { echo "it gave $code"; cat "$work/bridge.log"; return 1; }
}
catches() { # SIGTERM, the 15th, behind the other
    local mask
    [[ $(readlink "/proc/$pid/exe") = */shm-bridge ]] || return 1
    mask=$(sed -n 's/^SigCgt:\s*//p' "/proc/$pid/status")
    (((16#$mask & 1 << 14) != 0))
}
for way in "sysv:$key jobs" "jobs sysv:$key"; do
    for signal in TERM INT; do
        # shellcheck disable=SC2086 # two words
        background $way
        await 30 catches
        kill -$signal "$pid"
        ok "SIG$signal ends one that waits: $way" await_end 0
        ok "and it says what it did" grep -q '^shm-bridge: 0 messages moved' "$work/bridge.log"
    done
done

# ---- full
# shellcheck disable=SC2016
sysv '$q->set(qbytes => 100) or die $!'
for n in $(seq -f %010.0f 1 30); do
    shmtool send jobs 1 "$n" --wait 60000
done
background jobs "sysv:$key"
# shellcheck disable=SC2016
holds() { [ "$(sysv 'print $q->stat->qnum')" -eq "$1" ]; }
ok "a full queue fills" await 30 holds 10
kill -TERM "$pid"
ok "and SIGTERM ends who waits for room" await_end 0
ok "the rest stays where it was" test "$(shmtool peek jobs --json | wc -l)" -eq 20
background jobs "sysv:$key"
drained() { receive_numbers >>"$work/drained"; [ "$(wc -l <"$work/drained")" -eq 30 ]; }
ok "with room it goes on" await 60 drained
ok "and all have come, in order" diff "$work/drained" <(seq -f %010.0f 1 30)
ipcrm -Q "$key"
shmtool send jobs 1 x
ok "a queue that is removed ends it" await_end 1
ok "and it says so" grep -q "System V queue $key: it was removed" "$work/bridge.log"
jobs_numbers >/dev/null

# ---- what never fits
perl -MIPC::Msg -MIPC::SysV=IPC_CREAT -e 'IPC::Msg->new(hex shift, IPC_CREAT | 0600) or die $!' "$key"
# shellcheck disable=SC2016
sysv '$q->snd(1, "x" x 5000) or die $!'
ok "too long for the section" says 3 "the next message \(type 1\) has 5000 bytes, more than a lane of the section takes: raise the section's size; it stays where it is" \
    bridge "sysv:$key" jobs
ok "it stays" holds 1
# shellcheck disable=SC2016
sysv '$q->rcv(my $n, 10000, 0, 0); $q->set(qbytes => 100) or die $!'
printf '%0200d' 1 | shmtool send jobs
ok "too long for the kernel's queue" says 3 "has 200 bytes, more than the System V queue takes" bridge jobs "sysv:$key"
ok "it stays" test "$(jobs_numbers | wc -c)" -eq 201
# shellcheck disable=SC2016
sysv '$q->set(qbytes => 16384) or die $!'

# ---- killed: each message comes, in order, and at most one twice for each kill
judge() { # FILE LAST KILLS
    awk -v last="$2" -v kills="$3" '
        $1 == previous { twice++; next }
        $1 != previous + 1 { print $1 " came behind " previous; wrong = 1 }
        { previous = $1 }
        END { if (previous != last) print "the last one was " previous
              if (twice > kills) print twice " came twice, with " kills " kills"
              exit wrong || previous != last || twice > kills }' "$1"
}
killed_at() { # SYSTEM-CALL WHICH ARGUMENTS: before that one of its calls is made
    { timeout -k 1 60 strace -o /dev/null -e "inject=$1:signal=KILL:when=$2" \
        shm-bridge "${@:3}"; } 2>/dev/null || :
}
if command -v strace >/dev/null && strace -o /dev/null true 2>/dev/null; then
    for call in msgrcv:1 msgrcv:2 msgrcv:3 msgrcv:4 msgrcv:7; do
        send_numbers 1 5
        killed_at "${call%:*}" "${call#*:}" --drain "sysv:$key" jobs
        jobs_numbers >"$work/got"
        first=$(wc -l <"$work/got")
        bridge --drain "sysv:$key" jobs 2>/dev/null
        jobs_numbers >>"$work/got"
        ok "killed at $call: nothing is lost" judge "$work/got" 5 1
        # An even one takes a message that the section has already.
        ok "what was sent and not taken comes twice" test "$(wc -l <"$work/got") $first" = \
            "$((5 + (${call#*:} + 1) % 2)) $((${call#*:} / 2))"
    done
    for when in 1 2 4; do
        for n in 1 2 3 4 5; do shmtool send jobs 1 $n; done
        killed_at msgsnd "$when" --drain jobs "sysv:$key"
        bridge --drain jobs "sysv:$key" 2>/dev/null
        receive_numbers >"$work/got"
        ok "killed before msgsnd $when: each comes once" judge "$work/got" 5 0
    done
    for n in 1 2 3 4 5; do shmtool send jobs 1 $n; done
    strace -o /dev/null -e inject=msgsnd:delay_exit=100000000:when=3 \
        shm-bridge --drain jobs "sysv:$key" 2>/dev/null &
    tracer=$!
    children+=("$tracer")
    ok "three are sent, and two acknowledged" await 30 holds 3
    traced=$(cat "/proc/$tracer/task/$tracer/children")
    kill -KILL "${traced% }" "$tracer" # in this order
    wait "$tracer" 2>/dev/null || :
    bridge --drain jobs "sysv:$key" 2>/dev/null
    ok "the third one comes twice" test "$(receive_numbers | tr '\n' ' ')" = "1 2 3 3 4 5 "
fi

# At random, while messages flow.
# shellcheck disable=SC2016
sysv 'my $n = 0; do { $q->snd(1 + $n % 3, ++$n) or die $! } until -e $ARGV[0]; print $n' \
    "$work/enough" >"$work/last" &
sender=$!
children+=("$sender")
shmtool receive jobs --json --follow 2>/dev/null >"$work/flow" &
children+=($!)
for ((i = 0; i < rounds; i++)); do
    background "sysv:$key" jobs
    sleep "0.0$((RANDOM % 90 + 10))"
    { kill -KILL "$pid" && wait "$pid"; } 2>/dev/null || :
done
background "sysv:$key" jobs
touch "$work/enough"
wait "$sender"
last=$(cat "$work/last")
arrived() { tail -n 1 "$work/flow" | grep -q "\"data\":\"$last\"}"; }
ok "killed $rounds times, it brings all messages" await 120 arrived
jq -r .data "$work/flow" >"$work/got"
ok "in order, and at most one twice for each kill" judge "$work/got" "$last" "$rounds"
kill -TERM "$pid"
ok "and ends" await_end 0
echo "figure: bridge.kills $rounds kills"
echo "figure: bridge.messages $last messages"
