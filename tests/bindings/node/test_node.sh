#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The Node binding: what it does, what it survives, and that it leaves nothing behind.
. "$(dirname "$0")/node.sh"

install=node_modules/shmclient/install.js
ok "without the library it says so" says 1 "the library: pkg-config failed: install pkg-config and shm-manager" \
    env PKG_CONFIG_LIBDIR=/nonexistent PKG_CONFIG_PATH= node $install
ok "and without a compiler" says 1 "the addon: nocc can't be run .ENOENT.: a C compiler" \
    env CC=nocc node $install
ok "and where it wasn't built" says 1 "the addon can't be loaded .*: 'node .*/install.js' makes it" \
    node -e 'require("fs").cpSync("node_modules/shmclient/lib", "moved", { recursive: true });
        require("./moved/native.js")'

serve() {
    start_manager
    export MANAGER=$manager TABLE=$work/state/sections.db
    edit_table <<'SQL'
INSERT INTO worker(name, may_create) VALUES('driver', 1048576);
INSERT INTO section(name, owner, size, count, format) VALUES('states', 'driver', 65536, 8, 'states/1');
INSERT INTO section(name, owner, size, stale_ms) VALUES('aging', 'driver', 64, 100);
INSERT INTO section(name, owner, size) VALUES('quiet', 'driver', 64);
INSERT INTO section(name, owner, size) VALUES('never', 'driver', 64);
INSERT INTO section(name, owner, kind, size) VALUES('plain', 'driver', 'raw', 10000);
INSERT INTO section(name, owner, kind, size, count) VALUES('board', 'driver', 'slots', 100, 4);
INSERT INTO section(name, owner, kind, size, count) VALUES('jobs', 'driver', 'queue', 4096, 8);
SQL
}

serve
ulimit -c 0 # one of them ends a program by a segmentation fault
for part in calls waiting views abuse processes; do
    ok "$part" run "$part.test.mjs"
done
ok "CommonJS, ES modules and types are one" run modules.cjs

{ wait "$manager"; } 2>/dev/null || : # they killed it
start_manager
# A young generation that stays small, and one arena, so that what grows is what leaks.
leaks() { MALLOC_ARENA_MAX=1 run --max-semi-space-size=1 leaks.test.mjs; }
ok "nothing leaks" leaks

edit_table <<'SQL'
INSERT INTO section(name, owner, size) VALUES('temps', 'temp-driver', 64);
INSERT INTO section(name, owner, kind, size) VALUES('work', 'work-runner', 'queue', 4096);
SQL
readme_programs
readme() {
    timeout 60 node publisher.mjs >publisher.log 2>&1 &
    local publisher=$! status=0
    children+=("$publisher")
    timeout 60 node reader.mjs >reader.log 2>&1 || status=$?
    kill "$publisher" 2>/dev/null || :
    if [ "$status" -ne 0 ] || ! grep -q '^version [0-9]*: 2[0-9]' reader.log; then
        cat ./*.log
        return 1
    fi
}
ok "README's publisher and reader" readme
queue() {
    timeout 60 node jobs.mjs >jobs.log 2>&1
    grep -qx 'did sweep, of 2' jobs.log || { cat jobs.log; return 1; }
}
ok "README's queue" queue

on_sysv || exit 0
shmtool destroy --yes >/dev/null
wait "$manager"
rm -r "$work/state"
mkdir "$work/state"
SHM_TEST_BACKEND=memfd serve
for part in calls views; do
    ok "$part on memfd" run "$part.test.mjs"
done
