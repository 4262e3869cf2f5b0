#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Does shm-segment(7) say the same offsets and sizes as layout.h, for every field of it?  The page's
# tables become static asserts.
set -euo pipefail
source_dir=$(cd "$(dirname "$0")/../.." && pwd)
page=$source_dir/include/shm-manager/shm-segment.7
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

awk '
    /^\.\\" struct / { type = $3; next }
    /^\.EE/ { type = "" }
    type != "" && $1 ~ /^[0-9]+$/ && $2 ~ /^[0-9]+$/ && $3 ~ /^[a-z]/ && $3 != "reserved" {
        field = type ", " $3 ") == " $1
        printf "_Static_assert(offsetof(struct %s, \"%s offset\");\n", field, type "." $3
        printf "_Static_assert(sizeof ((struct %s *)0)->%s == %s, \"%s size\");\n", type, $3, $2,
            type "." $3
    }' "$page" >"$work/asserts"
{ echo '#include <shm-manager/layout.h>'; cat "$work/asserts"; } >"$work/page.c"
gcc -std=gnu17 -I"$source_dir/include" -fsyntax-only "$work/page.c"
echo "ok $(grep -c offsetof "$work/asserts") fields of the page are where layout.h has them"

# and the other way round: each field that layout.h pins must stand in the page
missing=$(sed -n 's/^SHM_AT(\(shm_[a-z_]*\), \([a-z_]*\), .*/\1 \2/p' \
    "$source_dir/include/shm-manager/layout.h" |
    grep -Ev '^shm_directory_place ' |
    grep -Ev '^(shm_header directories|shm_snapshot control)$' |
    while read -r type field; do
        grep -qF "struct $type, $field)" "$work/asserts" || echo "$type.$field"
    done)
if [ -n "$missing" ]; then
    echo "not ok the page lacks: $missing"
    exit 1
fi
echo "ok every field of layout.h stands in the page"
