#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# PHP walks the segment and reads and writes sections with shmop_* and unpack() alone.
. "$(dirname "$0")/harness.sh"
here=$source_dir/tests/interop
reader=$source_dir/tools/workers/reader.php
php -r 'exit(extension_loaded("shmop") ? 0 : 1);' 2>/dev/null || { echo "no PHP with shmop here"; exit 77; }
gcc -std=gnu17 -I"$source_dir/include" -o "$work/worker" "$here/worker.c" \
    -L"$build/libclient" -lshmclient -Wl,-rpath,"$build/libclient"

start_manager
edit_table <<'SQL'
INSERT INTO section(name, owner, size, stale_ms, format) VALUES('text', 'author', 1000, 500, 'text/1');
INSERT INTO section(name, owner, size, count) VALUES('numbers', 'counter', 10240, 8);
INSERT INTO section(name, owner, size) VALUES('never', 'nobody', 64);
INSERT INTO section(name, owner, kind, size) VALUES('plain', 'php', 'raw', 5000);
SQL

equal() { [ "$1" = "$2" ] || { printf '%s\n--- is not ---\n%s\n' "$1" "$2"; return 1; }; }
walk() {
    shmtool list --json >"$work/list.json" && shmtool workers --json >"$work/workers.json" &&
        php "$here/walk.php" "$SHMC_KEY" "$work/list.json" "$work/workers.json"
}

ok "header, directory, arenas and workers are as shmtool says" walk
printf 'one' | shmtool put text
ok "a snapshot is read" equal "$(php "$reader" get text)" one
head -c 1000 /dev/urandom | base64 -w 0 | head -c 1000 >"$work/long"
shmtool put text -i "$work/long"
ok "and the next one, as long as they get" equal "$(php "$reader" get text)" "$(cat "$work/long")"
refused() { ! php "$reader" get never 2>"$work/error" && grep -q "nothing was published" "$work/error"; }
ok "one that was never published says so" refused

ok "under shmtool run PHP owns its raw section" \
    shmtool run --worker php -- php "$reader" put plain 4990 "0123456789"
ok "and its bytes are where others look" equal "$(shmtool get plain | tail -c 10)" 0123456789
beyond() { ! php "$reader" put plain 4991 0123456789 2>"$work/error" &&
    grep -q "has 5000 bytes" "$work/error"; }
ok "it minds the section's end" beyond
ok "and reads what C wrote" equal "$(printf 'from C' | shmtool put plain &&
    php "$reader" get plain | head -c 6)" "from C"

mkfifo "$work/go"
shmtool run --worker php -- cat "$work/go" >/dev/null &
holder=$!
children+=("$holder")
held() { shmtool workers | grep -q '^php  *leased'; }
ok "the lease is held meanwhile" await 30 held
claim() { ! shmtool put plain 2>"$work/error" </dev/null && grep -q "$holder" "$work/error"; }
ok "and another claimant is told by whom" claim
ok "the walk finds the holder too" walk
echo >"$work/go"
wait "$holder"

# a holder that publishes nothing leaves a move where it is
moving() { php "$here/walk.php" "$SHMC_KEY" moving "$1"; }
shmtool run --worker author -- cat "$work/go" >/dev/null &
holder=$!
children+=("$holder")
held() { shmtool workers | grep -q '^author  *leased'; }
await 10 held
edit_table <<<"UPDATE section SET size = 2000 WHERE name = 'text'"
ok "a section is on its way, with a holder who says nothing" moving text
ok "it is read where it was" equal "$(php "$reader" get text)" "$(cat "$work/long")"
ok "and the walk finds both places" walk
echo >"$work/go"
wait "$holder"
arrived() { ! moving "$1"; }
ok "it arrives when its holder has left" await 10 arrived text
ok "with its value" equal "$(php "$reader" get text)" "$(cat "$work/long")"
printf 'there' | shmtool put text
ok "and takes the next one there" equal "$(php "$reader" get text)" there

edit_table <<<"INSERT INTO section(name, owner, size) VALUES('another', 'counter', 100);"
ok "a new generation is followed" walk
"$work/worker" publish counter numbers 0 10240 &
children+=($!)
written() { php "$reader" get numbers; }
await 30 written
ok "reads are whole under a writer at full speed" \
    php "$here/walk.php" "$SHMC_KEY" watch numbers 1000
touch "$work/moves"
php "$here/walk.php" "$SHMC_KEY" watch numbers 100 "$work/moves" &
watcher=$!
children+=("$watcher")
for count in 7 9 8; do
    edit_table <<<"UPDATE section SET count = $count WHERE name = 'numbers'"
    ok "the section moves, to $count buffers" await 10 arrived numbers
done
rm "$work/moves"
ok "and they are whole and in order on the way" wait "$watcher"
