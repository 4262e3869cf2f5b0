#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What an edit of one row takes in a table of many until it shows, when the manager is asked to
# reload and when it finds the edit by itself ("auto"), and what a writer and a reader at full speed
# notice of it.  That what they read is right is seen to on the way.
# Usage: edits.sh BUILD-DIRECTORY [HOW-MANY [ROUNDS]]
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"
many=${2-10000} rounds=${3-6}
if [ "$(nproc)" -lt 2 ]; then
    echo "edits: this takes two cores"
    exit 77
fi

table=$work/state/sections.db
start_manager
if [ "$many" -gt 10000 ]; then # each has a doorbell, and takes a KiB twice over
    shmtool destroy --yes >/dev/null
    wait "$manager"
    sqlite3 "$table" "UPDATE segment SET size = $many * 5120 / 4096 * 4096"
    start_manager
fi
sqlite3 "$table" <<SQL
UPDATE segment SET auto_apply = 0;
INSERT INTO section(name, owner, size) VALUES('written', 'writer', 100);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $many - 2)
INSERT INTO section(name, owner, size)
    SELECT 's' || i, 'driver' || CASE WHEN i <= 4 THEN 1 ELSE i % 100 END, 100 FROM n;
SQL
shmtool reload >/dev/null
count() {
    shmtool list | tail -n +2 | wc -l
}
ok "there are $((many - 1))" test "$(count)" -eq $((many - 1))
"$build/tests/bench/bench" --edits "$table" "$rounds"
ok "there are still $((many - 1))" test "$(count)" -eq $((many - 1))
