#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Sections that workers make at run time: the library's cases (client_made.c), what managers make of them
# that come later, people's table beside them, and shmtool.  Usage: test_made.sh BUILD-DIRECTORY

# On a disk each commit would wait for it.
[ -n "${TMPDIR-}" ] || [ ! -w /dev/shm ] || export TMPDIR=/dev/shm
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"

made=$build/tests/system/client_made
table=$work/state/sections.db
unset SHMC_LEASE
start_manager
edit_table <<'SQL'
INSERT INTO section(name, owner, size) VALUES ('table', 'driver', 1000);
INSERT INTO worker(name, may_create) VALUES ('maker', 1048576), ('other', 65536), ('greedy', 67108864);
INSERT INTO worker(name, instances, may_create) VALUES ('prefork', 2, 65536);
SQL
for name in $("$made" --list); do
    ok "$name" "$made" "$name"
done

# ---- people's table beside them
names() { shmtool list --json | jq -r '.sections[].name' | tr '\n' ' '; }
ok "one is made" says 0 '^done$' "$made" made 1000 0
ok "and one to be saved" says 0 '^done$' "$made" saved 1000 4
ok "that is in the history" says 0 "worker 'maker' pid [0-9]+ +applied +[0-9]+ +created 'made', 8192 bytes" \
    shmtool history
ok "and in the journal" grep -q "generation [0-9]*: created 'made', 8192 bytes" "$work/manager.log"
ok "a worker made it, says list" says 0 'made +maker \(made\)' shmtool list
ok "there is nothing to plan" says 0 'nothing to do' shmtool plan
ok "nor to check" says 0 '^0 change' "$build/daemon/shm-manager" --check --key "$SHMC_KEY" \
    --state-dir "$work/state" --runtime-dir "$SHMC_RUNTIME_DIR"
ok "the table is what runs" shmtool diff
ok "the table has no such row" says 1 '' shmtool table show made
ok "and gets none" says 0 '' shmtool table revert
ok "nor has its text one" [ "$(shmtool table dump | grep -c made)" -eq 0 ]
edit() { sqlite3 "$table" "$1" && shmtool reload; }
ok "an edit leaves it alone" says 0 'in force' edit "UPDATE section SET size = 2000 WHERE name = 'table'"
ok "its value too" says 0 '^told$' shmtool get made
says 0 "size 2000 -> 1000" shmtool rollback --yes 2
ok "a rollback too" says 0 '^told$' shmtool get made
EDITOR='sed -i s/1000/3000/' shmtool table edit --yes >"$work/edited"
ok "and an editor's plan has no word of it" test "$(grep -c "3000" "$work/edited") $(grep -c made "$work/edited")" = '2 0'
ok "nor what is told of an edit" test "$(shmtool history 50 --diff | grep -c "^  .*'made'")" = 0
ok "its name is taken" says 1 "section 'Made': worker 'maker' made a section 'made' at run time, and the name is taken \(shmtool drop made, then shmtool reload; or" \
    edit "INSERT INTO section(name, owner, size) VALUES ('Made', 'driver', 1)"
sqlite3 "$table" "DELETE FROM section WHERE name = 'Made'"
ok "its id too" says 1 "section 'high': id must be a number from 1 to 281474976710655" \
    edit "INSERT INTO section(id, name, owner, size) VALUES (281474976710656, 'high', 'driver', 1)"
sqlite3 "$table" "DELETE FROM section WHERE name = 'high'"
ok "its worker stays" says 1 "worker 'maker': it can't be removed, nor its instances, while it has sections that it made at run time, like 'made' \(shmtool drop made, then shmtool reload; or put the row back\)" \
    edit "DELETE FROM worker WHERE name = 'maker'"
sqlite3 "$table" "INSERT INTO worker(name, may_create, instances) VALUES ('maker', 1048576, 2)"
ok "and stays one" says 1 "nor its instances" shmtool reload
ok "it may make less" says 0 'in force' \
    edit "UPDATE worker SET may_create = 4096, instances = 1 WHERE name = 'maker'"
ok "and then makes no more" says 1 "has used 16384 of the 4096" "$made" more 1 0
sqlite3 "$table" "UPDATE worker SET may_create = 1048576 WHERE name = 'maker'"
ok "before it may again" says 0 'in force' shmtool reload

ok "a segment of another size has them as well" says 0 'in force' \
    edit "UPDATE segment SET size = 100663296"
ok "with their values" says 0 '^told$' shmtool get made
ok "and gets others" says 0 '^done$' "$made" made 1000 0

# ---- an administrator
SHM_TEST_HOLDS=1 "$made" held 1000 2 >"$work/held" &
holder=$!
children+=("$holder")
await 30 grep -q '^done$' "$work/held"
ok "one that is held isn't dropped" says 1 "section 'held': worker 'maker' holds it \(end that worker, or shmtool drop --force held\)" \
    shmtool drop held
ok "list says that it won't last" says 0 'held +maker \(transient\)' shmtool list
ok "another can't be that worker" says 1 '.' timeout 60 shmtool run --worker maker -- true
ok "by force it is" says 0 "^section 'held' is gone$" shmtool drop --force held
ok "one of the table isn't" says 1 "section 'table' wasn't made at run time: its row is in the table" shmtool drop table
ok "nor one that there isn't" says 1 "there is no section 'nothing' \(shmtool list\)" shmtool drop nothing
end_child "$holder"

# ---- a manager that comes later
SHM_TEST_HOLDS=1 "$made" brief 1000 2 >"$work/brief" &
holder=$!
children+=("$holder")
await 30 grep -q '^done$' "$work/brief"
for signal in TERM KILL; do
    end_manager $signal
    start_manager
    ok "they are there after SIG$signal" [ "$(names)" = 'brief made saved table ' ]
    ok "with what was published" says 0 '^told$' shmtool get brief
done
end_manager KILL
end_child "$holder"
start_manager
ok "what went with a lease while no manager ran is gone" [ "$(names)" = 'made saved table ' ]
end_manager TERM
rm "$work/state/state.db"
SHM_TEST_BACKEND='' start_manager
ok "the segment says what there is when state.db doesn't" [ "$(names)" = 'made saved table ' ]
ok "and another can be made" says 0 '^done$' "$made" another 1000 0
ids() { shmtool list --json | jq '.sections[] | select(.made) | .section_id' | sort -u | wc -l; }
ok "with an id of its own" [ "$(ids)" -eq 3 ]
ok "what is to be saved is" says 0 'saved' shmtool checkpoint
shmtool destroy --yes >/dev/null
end_manager TERM
start_manager
ok "a new segment has them as well" [ "$(names)" = 'another made saved table ' ]
ok "one with what was saved" says 0 '^told$' shmtool get saved
ok "the others are empty" says 1 'nothing was published' shmtool get made
for name in another made saved; do
    ok "drop $name" says 0 'is gone' shmtool drop "$name"
done
ok "nothing is left" [ "$(names)" = 'table ' ]
end_manager TERM
start_manager
ok "and nothing comes back" [ "$(names)" = 'table ' ]
