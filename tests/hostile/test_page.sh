#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# shm-security(7) lists the attacks; are they those that are tried?
# Usage: test_page.sh BUILD-DIRECTORY
set -euo pipefail
page=$(dirname "$0")/../../include/shm-manager/shm-security.7
table() { # between the markers of its table
    sed -n '/^\.\\" attacks/,/^\.EE/p' "$page" | sed '1,/^---/d; /^\.EE/d; s/\\-/-/g'
}
if ! diff <(table) <("$1/tests/hostile/hostile" --table); then
    echo "not ok shm-security(7) has another list than hostile --table"
    exit 1
fi
denied=$(table | awk '$3 == "denied"' | wc -l)
[ "$denied" -ge 50 ] || { echo "not ok only $denied are denied"; exit 1; }
echo "ok shm-security(7) lists each of $denied attacks"
