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

if on_sysv; then
    as_worker="shmtool run --worker WORKER --"
    perl -MIPC::SharedMem -e 1 && part perl raw,snapshot- "$as_worker perl $here/foreign.pl"
    /usr/bin/python3 -c 'import sysv_ipc' &&
        part sysv-ipc raw,snapshot- "$as_worker /usr/bin/python3 $here/foreign.py"
    php -r 'exit(extension_loaded("shmop") ? 0 : 1);' &&
        part php-shmop raw,snapshot- "$as_worker php $here/foreign.php"
fi

start_manager
rows() {
    local program name
    for program in "${programs[@]}"; do
        name=${program%%:*}
        echo "INSERT INTO section(name, owner, kind, size) VALUES('$name.raw', '$name', 'raw', 65536);
            INSERT INTO section(name, owner, size) VALUES('$name.snapshot', '$name', 65536);
            INSERT INTO section(name, owner, kind, size, count)
                VALUES('$name-r.queue', '$name-r', 'queue', 262144, 6);"
    done
}
rows | edit_table
ok "every pair" /usr/bin/python3 "$here/matrix.py" "$work" "${programs[@]}"
