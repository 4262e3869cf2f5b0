#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A manager under a uid of its own, root's table, and the attacks of other users on it: hostile.h.
# Usage: test_hostile.sh BUILD-DIRECTORY memfd|sysv [NAME...]
[ "$(id -u)" -eq 0 ] || { echo "skipped: to be other users takes root"; exit 77; }
export SHM_TEST_BACKEND=$2
names=("${@:3}")
# On a disk each commit would wait for it.
[ -n "${TMPDIR-}" ] || [ ! -w /dev/shm ] || export TMPDIR=/dev/shm
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"

# As tmpfiles.d and the service have it: the table is root's, for the manager to read.
user=65520
chmod 755 "$work"
chown $user:$user "$work/run" "$work/state"
chmod 700 "$work/state"
mkdir "$work/table"
chown root:$user "$work/table"
chmod 2750 "$work/table"
export SHM_TEST_TABLE=$work/table/sections.db
shmtool table init --table "$SHM_TEST_TABLE" >/dev/null
# Edits are asked for, as what the manager has open of the table is counted, too.
sqlite3 "$SHM_TEST_TABLE" <<SQL
UPDATE segment SET backend = '$SHM_TEST_BACKEND', group_name = '65530', auto_apply = 0;
INSERT INTO worker(name, user, may_create) VALUES ('driver', '65521', 65536), ('mallory', '65523', 65536);
INSERT INTO worker(name) VALUES ('spare'), ('heir');
INSERT INTO worker(name, instances) VALUES ('crowd', 40);
INSERT INTO section(name, owner, size) VALUES
    ('temps', 'driver', 4000), ('bait', 'mallory', 2000), ('other', 'spare', 64);
INSERT INTO section(name, owner, kind, size) VALUES
    ('bytes', 'driver', 'raw', 4000), ('bait.raw', 'mallory', 'raw', 64),
    ('heirloom', 'heir', 'raw', 64);
INSERT INTO section(name, owner, kind, size, count, write_group) VALUES
    ('jobs', 'driver', 'queue', 4096, 4, NULL), ('guarded', 'driver', 'queue', 4096, 4, '65531'),
    ('pit', 'heir', 'queue', 4096, 4, NULL), ('bench', 'driver', 'slots', 64, 8, NULL),
    ('guarded.slots', 'driver', 'slots', 64, 8, '65531');
UPDATE section SET persist = 1 WHERE name IN ('temps', 'bait');
INSERT INTO section(name, owner, size) VALUES ('secret', 'driver', 64);
SQL
# sysv can't keep some of the group from reading, and refuses to promise it.
on_sysv || sqlite3 "$SHM_TEST_TABLE" "UPDATE section SET read_group = '65531' WHERE name = 'secret'"

# What AddressSanitizer keeps of freed memory isn't the manager's.
start_as_user() {
    ASAN_OPTIONS=${ASAN_OPTIONS-}:quarantine_size_mb=4 \
        setpriv --reuid $user --regid $user --clear-groups "$build/daemon/shm-manager" --key "$SHMC_KEY" \
        --state-dir "$work/state" --runtime-dir "$SHMC_RUNTIME_DIR" --table "$SHM_TEST_TABLE" >>"$work/manager.log" 2>&1 &
    manager=$!
    shmtool status --wait 30000 >/dev/null
}
start_as_user
cd /
# Attackers don't tidy up.
ASAN_OPTIONS=${ASAN_OPTIONS-}:detect_leaks=0 HOSTILE_MANAGER=$manager timeout -k 1 840 "$build/tests/hostile/hostile" run "${names[@]}"
ok "the same manager serves" says 0 "pid $manager," shmtool status
[ "${#names[@]}" -eq 0 ] || exit 0

# ---- what they leave behind, and the manager's end
hostile=$build/tests/hostile/hostile
mkfifo "$work/end"
sleep 300 >"$work/end" & # holds it open
children+=("$!")
"$hostile" hold-garbage <"$work/end" >"$work/garbage" &
children+=("$!")
await 30 grep -q holding "$work/garbage"
on_sysv || ok "bytes that it doesn't know don't end the keeper" "$hostile" pester-keeper
before=$(shmtool get temps | sha256sum)
same() { [ "$(shmtool get temps | sha256sum)" = "$before" ]; }
for signal in KILL TERM; do
    end_manager $signal
    start_as_user
    ok "a manager after SIG$signal adopts what is others', beside random bytes" same
    ok "and checks who holds them" says 0 'mallory +leased' shmtool workers
done
