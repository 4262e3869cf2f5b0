#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The same operations on slots as Apache's mod_slotmem_shm does them and on sections
# (slots_semantics.c): what differs is what shmc_slots(3) says differs, word for word.
# Usage: test_slots_semantics.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"

start_manager
edit_table <<<"INSERT INTO section(name, owner, kind, size, count, shared, pregrab) VALUES
    ('plain', 'nobody', 'slots', 64, 4, 1, 0), ('pregrab', 'nobody', 'slots', 64, 4, 1, 1)"
ok "every case runs on both" timeout 840 "$build/tests/system/slots_semantics" >"$work/cases"

listed() {
    sed -n '/^\.SH COMPARED WITH APACHE/,/^\.SH EXAMPLE/p' "$source_dir/libclient/shmc_slots.3" |
        awk '/^\.TP/ { tag = 1; next } tag { name = substr($0, 4); tag = 0; next }
            /^Apache: / { print name ": " $0 }'
}
found() { awk -F '|' 'NF == 3 && $2 != $3 { print $1 ": Apache: " $2 "; here: " $3 "." }' "$work/cases"; }
ok "what differs is what the page lists" diff <(found | sort) <(listed | sort)
ok "which is some" test "$(listed | wc -l)" -ge 4
echo "figure: semantics.slots_cases $(grep -c '|' "$work/cases") cases"
echo "figure: semantics.slots_differences $(found | wc -l) cases"
