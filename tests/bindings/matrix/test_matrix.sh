#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Each language writes what each language reads: raw, snapshot and queue sections, values compared;
# and beside them, on System V memory, programs that have never heard of the library.
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../../interop/harness.sh"
here=$source_dir/tests/bindings/matrix
install_tree

programs=()
# NAME KINDS COMMAND: one that takes part, with WORKER in the place of who it is.
part() { programs+=("$1:$2:$3"); }
all=raw,snapshot,queue

# shellcheck disable=SC2046 # flags are words
gcc -std=gnu17 -Wall -Wextra -Werror -o "$work/matrix" "$here/matrix.c" \
    $(pkg-config --cflags --libs shmclient)
part c $all "$work/matrix WORKER"

bindings=$source_dir/libclient/bindings
have() { # LANGUAGE COMMAND...: is it here?
    local language=$1
    shift
    "$@" >"$work/have.log" 2>&1 || { echo "no $language here"; return 1; }
}

node_package() {
    mkdir "$work/node_modules" && cp -r "$bindings/node" "$work/node_modules/shmclient" &&
        CFLAGS=-O0 node "$work/node_modules/shmclient/install.js"
}
if have "Node.js 18" node -e 'process.exitCode = parseInt(process.versions.node) < 18 ? 1 : 0'; then
    ok "Node's binding is built" node_package
    part node $all "env NODE_PATH=$work/node_modules node $here/matrix.mjs WORKER"
fi

# Without phpize, whose configure takes longer than all the rest; its own test goes that way.
# shellcheck disable=SC2046 # flags are words
php_extension() {
    mkdir "$work/php" && cp "$bindings"/php/ext/*.[ch] "$bindings"/php/ext/*.php "$work/php" &&
        cd "$work/php" && php -n arginfo.php shmclient.stub.php >shmclient_arginfo.h &&
        gcc -shared -fPIC -DCOMPILE_DL_SHMCLIENT -o shmclient.so ./*.c $(php-config --includes) \
            $(pkg-config --cflags --libs shmclient) && cd "$work"
}
if have "PHP with its headers" php-config --includes; then
    ok "PHP's is built" php_extension
    part php $all "php -d extension=$work/php/shmclient.so $here/matrix.php WORKER"
fi

have "Python" /usr/bin/python3 -c 'import ctypes' &&
    part python $all "env PYTHONPATH=$bindings/python PYTHONDONTWRITEBYTECODE=1 \
        /usr/bin/python3 $here/matrix_worker.py WORKER"

ruby_extension() {
    cp -r "$bindings/ruby" "$work/ruby" && cd "$work/ruby/ext/shmclient" &&
        ruby extconf.rb --with-cflags=-O0 >"$work/ruby.log" &&
        make -s install sitearchdir="$work/ruby/lib" >>"$work/ruby.log" && cd "$work"
}
if have "Ruby with its headers" ruby -r mkmf -e 'exit have_header("ruby.h")'; then
    ok "Ruby's is built" ruby_extension
    part ruby $all "ruby -I $work/ruby/lib $here/matrix.rb WORKER"
fi

languages=("${programs[@]}")
as_worker="shmtool run --worker WORKER --"
have "Perl's IPC::SharedMem" perl -MIPC::SharedMem -e 1 &&
    part perl raw,snapshot- "$as_worker perl $here/foreign.pl"
have "Python's sysv_ipc" /usr/bin/python3 -c 'import sysv_ipc' &&
    part sysv-ipc raw,snapshot- "$as_worker /usr/bin/python3 $here/foreign.py"
have "PHP's shmop" php -r 'exit(extension_loaded("shmop") ? 0 : 1);' &&
    part php-shmop raw,snapshot- "$as_worker php $here/foreign.php"

rows() {
    local program name
    for program; do
        name=${program%%:*}
        echo "INSERT INTO section(name, owner, kind, size) VALUES('$name.raw', '$name', 'raw', 65536);
            INSERT INTO section(name, owner, size) VALUES('$name.snapshot', '$name', 65536);
            INSERT INTO section(name, owner, kind, size, count)
                VALUES('$name-r.queue', '$name-r', 'queue', 262144, 6);"
    done
}
every_pair() { # BACKEND SUFFIX-OF-THE-FIGURE PROGRAM...
    local SHM_TEST_BACKEND=$1 suffix=$2
    shift 2
    start_manager
    { rows "$@"; echo "INSERT INTO section(name, owner, size, count) VALUES('c.storm', 'c', 16384, 200);"; } |
        edit_table
    ok "every pair on $SHM_TEST_BACKEND" /usr/bin/python3 "$here/matrix.py" "$work" "$suffix" "$@"
    shmtool destroy --yes >/dev/null
    wait "$manager"
    manager=''
    rm -r "$work/state"/*
}
every_pair sysv '' "${programs[@]}"
every_pair memfd _memfd "${languages[@]}"
