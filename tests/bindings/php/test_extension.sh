#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The extension, as phpize builds it over an installed library: each case of extension.php on both
# backends, what becomes of a process when its lease, manager or segment goes, and a pool of FPM's.
. "$(dirname "$0")/../../interop/harness.sh"
here=$source_dir/tests/bindings/php
PATH=$PATH:/usr/sbin
fpm=$(compgen -c php-fpm | sort | head -n 1)
for program in phpize php-config cgi-fcgi "$fpm"; do
    command -v "$program" >/dev/null || { echo "no ${program:-php-fpm} here"; exit 77; }
done
install_tree

# README's blocks of code, by number.
mkdir "$work/readme"
awk -v to="$work/readme/" '/^```(sh|php)$/ { file = to (++n); next } /^```$/ { file = "" }
    file { print > file }' "$source_dir/libclient/bindings/php/README.md"
cp -r "$source_dir/libclient/bindings/php/ext" "$work/ext"
build_extension() {
    (cd "$work/ext" && CFLAGS='-O1 -Werror' bash -ec "$(grep '^phpize' "$work/readme/3")" &&
        make install INSTALL_ROOT="$work/php") >"$work/build.log" 2>&1 && return
    tail -n 30 "$work/build.log"
    return 1
}
ok "it is built as README says, without a warning" build_extension
cd "$work"
gcc -std=gnu17 -I"$source_dir/include" -o worker "$source_dir/tests/interop/worker.c" \
    -L"$libdir" -lshmclient
extension=$(find "$work/php" -name shmclient.so)
php() { timeout -k 1 120 "$(php-config --php-binary)" -n -d extension=posix "$@"; }
try() { php -d "extension=$extension" "$@"; }

stub() { diff <(php "$here/reflection.php" "$work/ext/shmclient.stub.php") <(try "$here/reflection.php"); }
ok "it is what the stub file says" stub

cases() {
    local case
    for case; do
        ok "$case (${SHM_TEST_BACKEND-sysv})" try "$here/extension.php" "$case"
    done
}

# The table's manager and its segment, from the beginning.
begin() { # BACKEND
    export SHM_TEST_BACKEND=$1
    rm -rf "$work/state"
    mkdir "$work/state"
    start_manager
    edit_table <"$here/extension.sql"
}
end() { shmtool destroy --yes >"$work/destroy.log" && { wait "$manager" || :; manager=''; }; }

lives() { # what becomes of a worker that others do something to
    coproc talk { exec timeout -k 1 240 "$(php-config --php-binary)" -n -d extension=posix \
        -d "extension=$extension" "$here/extension.php" talk author; }
    children+=("$talk_PID")
    ok "a worker attaches" answers attach attached
    ok "and publishes" answers "publish text hello" published
    end_manager KILL
    ok "without a manager it reads" answers "read text" hello
    ok "and publishes" answers "publish text again" published
    ok "and no other attaches" answers "other maker" ENOTCONN
    start_manager
    ok "but with the next manager" await 60 answers "other maker" maker
    ok "and it publishes there" answers "publish text there" published
    shmtool revoke author >"$work/revoke.log"
    ok "its lease is taken back" answers "publish text x" EKEYREVOKED
    ok "it attaches anew" answers attach attached
    ok "and publishes" answers "publish text anew" published
    ok "for all" test "$(shmtool get text)" = anew
    end
    ok "the segment is destroyed" answers "read text" EIDRM
    start_manager
    ok "it attaches to another" answers attach attached
    ok "which is empty" answers "read text" ENODATA
    ok "and publishes there" answers "publish text another" published
    ok "and reads" answers "read text" another
    kill "$talk_PID"
    { wait "$talk_PID"; } 2>/dev/null || :
}

pool() { # three children of FPM, as this user
    sed -e "s|@work@|$work|; s|@key@|$SHMC_KEY|; s|@user@|$(id -un)|" "$here/fpm.conf" >fpm.conf
    "$fpm" -n -R -F -d "extension=$extension" -y "$work/fpm.conf" >fpm.out 2>&1 &
    pool=$!
    children+=("$pool")
    ok "a pool starts" await 60 test -S "$work/fpm.sock"
}
ask() { # VERB: each of the children; their lines
    local i askers=()
    meeting=$((meeting + 1))
    for i in 1 2 3; do
        REQUEST_METHOD=GET SCRIPT_FILENAME=$here/fpm.php QUERY_STRING="$1&$work/meeting.$meeting" \
            timeout -k 1 120 cgi-fcgi -bind -connect "$work/fpm.sock" >"answer.$i" &
        askers+=($!)
    done
    wait "${askers[@]}" || return 1
    grep -ah '^pid' "answer.1" "answer.2" "answer.3" | sort >"$1"
    [ "$(wc -l <"$1")" -eq 3 ] || { cat "answer.1" "answer.2" "answer.3" fpm.out fpm.log; return 1; }
}
pids() { awk '{ print $2 }' "$1" | sort -u; }
one_works() { # the others are told by whom
    local winner
    ask work || return 1
    winner=$(sed -n 's/^pid \([0-9]*\) works$/\1/p' work)
    [ -n "$winner" ] && [ "$(shmtool get page)" = "$winner" ] &&
        [ "$(grep -c "^pid [0-9]* EBUSY $winner$" work)" -eq 2 ] && return
    cat work
    return 1
}

begin sysv
cases values bytes slots queues made lists misuse persistence forks streams garbage signals leaks
ok "a script uses its memory up" says 255 '^10000 at the end' try "$here/extension.php" exhausted
"$work/worker" publish counter numbers 0 10240 &
writer=$!
children+=("$writer")
cases whole
end_child "$writer"
lives
freed() { grep -q "^$1  *free" <(shmtool workers); }
ok "the names are free" await 60 freed author
ok "that README's example takes" await 60 freed php
sample() { diff <(sed -E 's/[0-9]+/0/g' <<<"$1") <(try "$work/readme/4" | sed -E 's/[0-9]+/0/g'); }
ok "README's example says what it should" sample $'version 0: hello\nwash, of process 0\ntoo long'
sqlite3 "$work/state/sections.db" "INSERT INTO section(name, owner, size) VALUES('page', 'web', 64)"
shmtool reload >"$work/reload.log"
meeting=0
pool
ok "all children read" ask read
ok "the same" test "$(awk '{ print $3 }' read | sort -u)" = hello
ok "each of them has a slot" ask put
ok "of its own" test "$(awk '{ print $4 }' put | sort -u | wc -l)" -eq 3
cp put before
ok "also in the next request" ask put
ok "the same, with the same attachment" cmp before put
three_held() { [ "$(shmtool slots board | grep -c ' held ')" -eq 3 ]; }
ok "which others see" await 60 three_held
ok "each of them sends" ask send
ok "what is received" test "$(for _ in 1 2 3; do shmtool receive jobs; echo; done | sort)" = "$(pids send)"
ok "one of them is the worker" one_works
ok "and is it in its next request" one_works
kill -9 "$(shmtool get page)"
ok "when it was killed, its name is free" await 60 freed web
ok "and another one is it" one_works
end_child "$pool"
end

begin memfd
cases values bytes slots queues made persistence forks streams
lives
