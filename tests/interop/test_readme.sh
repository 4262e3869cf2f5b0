#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# README, taken at its word: what it says to do by hand is done, its programs are compiled as it says
# and run, its first edit and first crash come out as it shows them.
. "$(dirname "$0")/harness.sh"
readme=$source_dir/README.md
key=$SHMC_KEY
HOME=$work/home
mkdir "$HOME" "$work/clone"
tar -C "$source_dir" -c --exclude=./build --exclude=./.git . | tar -C "$work/clone" -x
cd "$work"

# Each ```c block begins with a comment that names its file; the ```console blocks are numbered.
awk '/^```/ { file = "" }
    /^```c$/ { getline; file = $2; sub(/:$/, "", file) }
    /^```console$/ { file = "console-" ++n; next }
    /^```sh$/ { file = "by-hand"; next }
    file != "" { print > file }' "$readme"

# But for its key, so that no other segment of this machine is meant.
by_hand() {
    sed -i "s/0x1234/$key/" by-hand
    cd "$work/clone"
    # shellcheck source=/dev/null
    . "$work/by-hand" >"$work/by-hand.log" 2>"$work/manager.log" || { cat "$work/by-hand.log"; return 1; }
    manager=$!
    cd "$work"
    shmtool status --wait 30000 >>by-hand.log
}
ok "a manager runs by hand" by_hand
ok "from what was installed" grep -qx "$HOME/shm/bin/shmtool" <(command -v shmtool)

build_line() { sed -n "s/^    \(cc -o $1 .*\)/\1 -Wall -Wextra -Werror/p" "$readme"; }
compile() { bash -c "$(build_line "$1")"; }
ok "README's worker compiles" compile worker
ok "README's reader compiles" compile reader
ok "README's sender compiles" compile sender
ok "README's receiver compiles" compile receiver

# Lines that begin with "$ " are commands, the others what they print.  Numbers are compared as 0,
# runs of blanks as one.
plain() { sed -E 's/0x[0-9a-f]+|[0-9]+(\.[0-9]+)?/0/g; s/[[:space:]]+/ /g; s/ $//'; }
replay() {
    sed -n 's/^\$ //p' "$1" | while read -r command; do
        echo "\$ $command"
        bash -c "$command" 2>&1 || :
    done >found
    diff <(plain <"$1") <(plain <found)
}

ok "the first edit is as README shows it" replay console-1
./worker 2>worker.log &
children+=($!)
worker=$!
attached() { grep -q '^temp-driver *leased' <(shmtool workers); }
ok "the first worker attaches" await 30 attached
ok "the second worker is told as README shows it" await 30 replay console-2
stdbuf -oL ./reader >reader.log 2>&1 &
reader=$!
children+=("$reader")
ok "the reader reads" await 30 grep -q '^version [0-9]*: 2[0-9]\.[0-9], 21.0' reader.log
{ kill -9 "$worker" && wait "$worker"; } 2>/dev/null || :
wait "$reader"
ok "and says that the writer is gone" grep -q 'does its owner run? The writer is gone\.$' reader.log
queue() { # the line that makes it, before the programs need it
    bash -c "$(sed -n 's/^    \(shmtool table add jobs .*\)/\1 --reload/p' "$readme")"
}
ok "the queue is made as README says" queue
ok "sent to" ./sender 'fetch water' 'chop wood'
ok "and by hand" bash -c "$(sed -n 's/^`\(shmtool send jobs 1 sweep\)`.*/\1/p' "$readme")"
./receiver >receiver.log 2>&1 &
receiver=$!
children+=("$receiver")
ok "and received" await 30 grep -q '^sweep, from process [0-9]*$' receiver.log
ok "in order" test "$(sed 's/,.*//' receiver.log | paste -s -d,)" = 'fetch water,chop wood,sweep'
end_child "$receiver"
ok "it is all taken away again" shmtool destroy --yes
{ wait "$manager"; } 2>/dev/null || :
manager=''
