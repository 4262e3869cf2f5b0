#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# shmop in C on sections: bounds, leases, other kinds, edits of the table, fork, and a manager that
# is killed.
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../../interop/harness.sh"
here=$source_dir/tests/bindings/c
install_tree
# shellcheck disable=SC2046 # flags are words
gcc -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Werror -o "$work/script" "$here/shmop_script.c" \
    $(pkg-config --cflags --libs shmcompat)

start_manager
edit_table <<'SQL'
INSERT INTO section(name, owner, kind, size) VALUES('plain', 'author', 'raw', 5000),
    ('other', 'author', 'raw', 64), ('foreign', 'somebody', 'raw', 64);
INSERT INTO section(name, owner, kind, size, shared) VALUES('common', 'author', 'raw', 64, 1);
INSERT INTO section(name, owner, size) VALUES('whole', 'author', 64);
INSERT INTO section(name, owner, kind, size, count) VALUES('board', 'author', 'slots', 64, 8),
    ('jobs', 'author', 'queue', 65536, 4);
SQL

# A program, asked line by line; what it says with -e is "ENAME: text".
begin() { # COMMAND...
    coproc script { exec "$@" "$work/script" -e; }
    # shellcheck disable=SC2154 # coproc's
    talk=("${script[@]}") pid=$script_PID
    children+=("$pid")
}
finish() {
    local in=${talk[1]}
    exec {in}>&-
    wait "$pid"
}
matches() { # LINE REGEX
    local answer
    echo "$1" >&"${talk[1]}"
    read -r -t 60 answer <&"${talk[0]}"
    [[ $answer =~ ^$2$ ]] || { echo "$1 gave: $answer"; return 1; }
}

begin env
ok "a section is opened to read" answers "section 0 plain a" 5000
ok "it isn't written" matches "write 0 01 0" "EACCES: the block was opened to read alone.*"
ok "nor deleted" matches "delete 0" "EPERM: a section is not deleted by shmop; .*"
ok "without a lease it isn't opened to write" matches "section 1 plain w" \
    "EACCES: section 'plain' belongs to worker 'author'.*shmtool run --worker author.*"
ok "nor made" matches "section 1 plain c" "EINVAL: section 'plain', flags \"c\";.*"
ok "one that isn't there says so" matches "section 1 nothing a" "ENOENT: .*nothing.*"
ok "a snapshot is refused" matches "section 1 whole a" "EPROTOTYPE: section 'whole' isn't raw.*shmc_read.*"
ok "and slots" matches "section 1 board a" "EPROTOTYPE: .*shmc_slot_get.*"
ok "and a queue" matches "section 1 jobs a" "EPROTOTYPE: .*shmc_queue_send.*"
ok "a section that is shared is written by anybody" answers "section 2 common w" 64
ok "and again" answers "section 3 common w" 64
ok "each" answers "write 2 61 0" 1
ok "of them" answers "write 3 62 1" 1
ok "as others see" answers "read 2 0 2" 6162
printf 'from C' | shmtool put plain
ok "it reads what the library wrote" answers "read 0 0 6" 66726f6d2043
ok "to the end" answers "read 0 4998 0" 0000
ok "at which there is nothing" answers "read 0 5000 0" ""
ok "and not beyond" matches "read 0 4999 2" "EINVAL: a read of 2 bytes at 4999 is beyond the block's 5000"
finish

begin shmtool run --worker author --
ok "under shmtool run it writes what the worker owns" answers "section 0 plain w" 5000
ok "to the end, and no further" answers "write 0 30313233343536373839 4995" 5
ok "at the end nothing" answers "write 0 3031 5000" 0
ok "beyond it" matches "write 0 30 5001" "EINVAL: a write of 1 bytes at 5001 .*"
ok "and as the library reads it" test "$(shmtool get plain | tail -c 6 | od -An -c | tr -d ' \n')" = '\001234'
ok "a second section beside it" answers "section 1 other w" 64
ok "and the first once more" answers "section 2 plain w" 5000
ok "but not another worker's" matches "section 3 foreign w" "EACCES: .*foreign.*"
ok "another segment isn't his" matches "open 3 $SHMC_KEY a 0 0" "$(on_sysv && echo 67108864 || echo 'ENOENT: .*shmop_open_section.*')"
finish

begin env
ok "a caller's own attachment counts" answers "attach author" ok
ok "for as many sections" answers "section-in 0 plain w" 5000
ok "as he likes" answers "section-in 1 other w" 64
ok "and may" matches "section-in 2 foreign w" "EACCES: .*"
ok "it writes" answers "write 0 41 0" 1
ok "others read it" test "$(shmtool get plain | head -c 1)" = A
echo "fork 0" >&"${talk[1]}"
of_child() { # twice: of a read, and of a write
    local first second
    read -r -t 60 first <&"${talk[0]}"
    read -r -t 60 second <&"${talk[0]}"
    [[ $first = ECHILD:* && $second = ECHILD:* ]] || { echo "$first, $second"; return 1; }
}
ok "a child of it gets ECHILD, and closes" of_child
ok "while its parent goes on" answers "read 0 0 1" 41
grown() {
    local answer
    echo "repeat 0 33333" >&"${talk[1]}" # a write, a read, and one that is refused
    read -r -t 250 answer <&"${talk[0]}"
    [[ $answer =~ ^(-?[0-9]+)\ 0\ 0$ && ${BASH_REMATCH[1]} -lt 40000 ]] ||
        { echo "for each 1000: $answer"; return 1; }
}
ok "100000 operations leave nothing" grown
ok "and it writes still" answers "write 0 41 0" 1
echo "figure: bindings.c.leak_operations 100000 operations"
ok "what was detached" answers "detach" ok
ok "is refused" matches "read 0 0 1" "EBADF: .*"
ok "and closed" answers "close 0" ok
finish

begin env
ok "a reader's block" answers "section 0 plain a" 5000
edit_table <<<"UPDATE section SET size = 3000 WHERE name = 'plain'"
smaller() { answers "size 0" 3000 && answers "read 0 0 1" 41; }
ok "follows an edit of the table" await 30 smaller
end_manager KILL
ok "is read while there is no manager" answers "read 0 0 1" 41
ok "of which one who would write is told" matches "section 1 common w" "ENOTCONN: .*"
start_manager
edit_table <<<"DELETE FROM section WHERE name = 'plain'"
gone() { matches "read 0 0 1" "EIDRM: .*"; }
ok "and ends with its section" await 30 gone
ok "when it is closed" answers "close 0" ok
finish
