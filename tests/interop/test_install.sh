#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What `cmake --install` gives, and workers that are built outside of this tree from nothing else.
. "$(dirname "$0")/harness.sh"
here=$source_dir/tests/interop
install_tree

for file in bin/shmtool sbin/shm-manager include/shmclient.h include/shmop.h include/shmc_alloc.h include/shm-manager/layout.h \
    lib/systemd/system/shm-manager.service lib/systemd/system/shm-manager.socket \
    lib/sysusers.d/shm-manager.conf lib/tmpfiles.d/shm-manager.conf share/man/man1/shmtool.1 \
    share/man/man3/libshmclient.3 share/man/man5/shm-table.5 share/man/man7/shm-segment.7 \
    share/man/man7/shm-edits.7 share/man/man8/shm-manager.8; do
    [ -n "$(find "$root" -path "*/$file")" ] || { echo "not ok $file is not installed"; exit 1; }
done
echo "ok programs, headers, units and pages are installed"

nm -D --defined-only "$libdir/libshmclient.so" | awk '{ print $3 }' >"$work/exports"
only_shmc() {
    grep -q '^shmc_attach@@SHMC' "$work/exports" &&
        ! grep -v '^SHMC\|^shmc_[a-z_]*@@SHMC' "$work/exports"
}
ok "the library exports shmc_* alone, with versions" only_shmc

# shellcheck disable=SC2046 # flags are words
strict() { "$@" -Wall -Wextra -Wpedantic -Werror $(pkg-config --cflags --libs shmclient); }
ok "pkg-config builds a worker" strict gcc -std=gnu11 -o "$work/worker" "$here/worker.c"
ok "pkg-config builds C++" strict g++ -std=c++11 -o "$work/program" "$here/program.cpp"

mkdir "$work/outside"
cp "$here/worker.c" "$work/outside"
cat >"$work/outside/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.25)
project(outside C)
find_package(shmclient 0.1 REQUIRED)
add_executable(worker worker.c)
target_link_libraries(worker PRIVATE shmclient::shmclient)
CMAKE
outside() { cmake -S "$work/outside" -B "$work/outside/build" -G Ninja \
    -DCMAKE_PREFIX_PATH="$(dirname "$libdir");$(dirname "$(dirname "$libdir")")" &&
    cmake --build "$work/outside/build"; }
ok "find_package builds a worker" outside >"$work/outside.log"

start_manager
edit_table <<<"INSERT INTO section(name, owner, size) VALUES('numbers', 'counter', 10240);"
"$work/worker" publish counter numbers 0 10240 &
children+=($!)
ok "what the one publishes, the other reads" "$work/outside/build/worker" check numbers 1000
cxx_reads() { "$work/program" numbers >"$work/value" && [ "$(wc -c <"$work/value")" -eq 10240 ]; }
ok "and so does C++" cxx_reads
