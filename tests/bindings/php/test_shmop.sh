#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The class that reads a segment with shmop_* alone: damaged memory, misuse, a segment that is
# replaced, one that is destroyed, and leaks.  That it finds what is there is tests/interop/test_php.sh.
. "$(dirname "$0")/../../interop/harness.sh"
here=$source_dir/tests/bindings/php
php -r 'exit(extension_loaded("shmop") && extension_loaded("pcntl") && extension_loaded("posix") ? 0 : 1);' 2>/dev/null ||
    { echo "no PHP with shmop here"; exit 77; }
on_sysv || { echo "shmop reaches System V's memory alone"; exit 77; }
try() { timeout -k 1 120 php "$here/shmop.php" "$@"; }

make_table
sqlite3 "$work/state/sections.db" "UPDATE segment SET size = 8388608"
start_manager
edit_table <<'SQL'
INSERT INTO section(name, owner, size) VALUES('text', 'author', 1000);
INSERT INTO section(name, owner, size) VALUES('never', 'nobody', 64);
INSERT INTO section(name, owner, kind, size) VALUES('plain', 'php', 'raw', 5000);
INSERT INTO section(name, owner, kind, size, count) VALUES('board', 'php', 'slots', 64, 4);
SQL
printf 'a value' | shmtool put text
printf 'plain text' | shmtool put plain

ok "damaged memory is named" try damage
ok "misuse is refused" try misuse
ok "nothing leaks" try leaks

# README's first two blocks: how it is installed, and an example.
cd "$work"
awk '/^```(sh|php)$/ { file = "block-" ++n; next } /^```$/ { file = "" } file { print > file }' \
    "$source_dir/libclient/bindings/php/README.md"
installed() { (cd "$source_dir" && bash -c "$(sed "s,shm  *#.*,$work/shm," "$work/block-1")"); }
ok "it is installed as README says" installed
edit_table <<'SQL'
INSERT INTO section(name, owner, size) VALUES('greeting', 'author', 1000);
INSERT INTO section(name, owner, kind, size) VALUES('note', 'php', 'raw', 5);
SQL
printf 'hello' | shmtool put greeting
printf '12345' | shmtool put note
timeout -k 1 120 php block-2 >reader.log &
reader=$!
children+=("$reader")
ok "README's reader reads" await 60 grep -qx 'version 1: hello' reader.log
printf 'again' | shmtool put greeting
ok "and ends" wait "$reader"
ok "with what it was to print" test "$(tail -n 2 reader.log)" = $'version 2: again\nthe first bytes: 12345'

coproc talk { exec timeout -k 1 240 php "$here/shmop.php" talk; }
children+=("$talk_PID")
ok "a value is read" answers "read text" "a value"
end_manager KILL
ok "and while no manager lives" answers "read text" "a value"
start_manager
edit_table <<<"UPDATE segment SET size = 16777216"
await 30 answers "bytes -" 16777216 >"$work/answers"
ok "a segment of another size is followed" answers "bytes -" 16777216
ok "with its values" answers "read text" "a value"
ok "and raw bytes" answers "raw plain" "plain text"
printf 'the next' | shmtool put text
ok "and gets the next ones" answers "read text" "the next"
ended() { shmtool destroy --yes >"$work/destroy.log" && { wait "$manager" || :; manager=''; }; }
ok "it is destroyed" ended
destroyed() {
    echo "read text" >&"${talk[1]}"
    read -r -t 60 answer <&"${talk[0]}"
    case $answer in "EIDRM segment $SHMC_KEY: it was destroyed"*) ;; *) echo "$answer"; return 1 ;; esac
}
ok "which is said" destroyed
