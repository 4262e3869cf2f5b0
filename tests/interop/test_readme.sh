#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# README's programs, compiled as it says against an installed tree, and run; its first edit and its
# first crash come out as it shows them.
. "$(dirname "$0")/harness.sh"
readme=$source_dir/README.md
install_tree
cd "$work"

# Each ```c block begins with a comment that names its file; the ```console blocks are numbered.
awk '/^```/ { file = "" }
    /^```c$/ { getline; file = $2; sub(/:$/, "", file) }
    /^```console$/ { file = "console-" ++n; next }
    file != "" { print > file }' "$readme"
compile() {
    # shellcheck disable=SC2046 # flags are words
    gcc -Wall -Wextra -Werror -o "$1" "$1.c" $(pkg-config --cflags --libs shmclient)
}
ok "README's worker compiles" compile worker
ok "README's reader compiles" compile reader

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

start_manager
ln -s "$work/state/sections.db" sections.db
ok "the first edit is as README shows it" replay console-1
./worker 2>worker.log &
children+=($!)
worker=$!
ok "the second worker is told as README shows it" await 5 replay console-2
stdbuf -oL ./reader >reader.log 2>&1 &
reader=$!
children+=("$reader")
ok "the reader reads" await 5 grep -q '^version [0-9]*: 2[0-9]\.[0-9], 21.0' reader.log
{ kill -9 "$worker" && wait "$worker"; } 2>/dev/null || :
wait "$reader"
ok "and says that the writer is gone" grep -qx 'nothing new; the writer is gone' reader.log
