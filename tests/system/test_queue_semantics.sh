#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The same operations on a System V message queue and on a section (queue_semantics.c): what differs is
# what shmc_queue(3) says differs, no more and no less, word for word.
# Usage: test_queue_semantics.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"

start_manager
export SHM_TEST_TABLE=$work/state/sections.db
ok "every case runs on both" timeout 840 "$build/tests/system/queue_semantics" >"$work/cases"
sed -n '/|/!p' "$work/cases"

# "CASE: System V: this; here: that", as the page has it behind each tag.
listed() {
    sed -e 's/\\-/-/g' "$source_dir/libclient/shmc_queue.3" |
        sed -n '/^\.SS As System V message queues/,/^\.S[HS] /p' |
        awk '/^\.TP/ { tag = 1; next } tag { name = substr($0, 4); tag = 0; next }
            /^System V: / { print name ": " $0 }'
}
found() { awk -F '|' 'NF == 3 && $2 != $3 { print $1 ": System V: " $2 "; here: " $3 "." }' "$work/cases"; }
ok "what differs is what the page lists" diff <(found | sort) <(listed | sort)
ok "which is some" test "$(listed | wc -l)" -ge 8
echo "figure: semantics.queue_cases $(grep -c '|' "$work/cases") cases"
echo "figure: semantics.queue_differences $(found | wc -l) cases"
