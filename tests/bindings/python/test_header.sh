#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The structs, constants and functions that the Python binding declares are those of shmclient.h, and
# a change of one of them is found.
. "$(dirname "$0")/../../interop/harness.sh"
here=$source_dir/tests/bindings/python
. "$here/python.sh"
header=$(find "$root" -name shmclient.h)
print() { # INCLUDE DIRECTORY
    python "$here/drift.py" program >"$work/drift.c" &&
        gcc -std=gnu17 -I"$1" -o "$work/drift" "$work/drift.c" && "$work/drift"
}
agrees() { print "$(dirname "$1")" | python "$here/drift.py" compare "$1"; }
ok "the header and the binding agree" agrees "$header"

# CHANGE: of the header, by sed; LINE: that tells of it.
found() {
    mkdir -p "$work/changed"
    sed -E "$1" "$header" >"$work/changed/shmclient.h"
    ! cmp -s "$header" "$work/changed/shmclient.h" || return 1
    if agrees "$work/changed/shmclient.h" >"$work/said" 2>&1; then return 1; fi
    grep -q -e "$2" "$work/said" || { cat "$work/said"; return 1; }
}
ok "a field that moved is found" found \
    's/^    uint64_t missed;/    uint64_t before_missed, missed;/' 'offsetof(struct shmc_value, missed)'
ok "a field that grew is found" found \
    's/^    uint32_t reserved1;/    uint64_t reserved1;/' 'reserved1 is 8, and here 4'
ok "a constant that changed is found" found \
    's/(define SHMC_SLOT_STAYS +)0x1u/\10x8u/' 'SHMC_SLOT_STAYS is 8'
ok "an argument that was added is found" found \
    's/^(int shmc_slot_release\(shmc_section \*section, int slot)/\1, unsigned flags/' 'shmc_slot_release'
ok "and one of another type" found 's/^int shmc_slot_take\((.*)uint64_t/int shmc_slot_take(\1uint32_t/' \
    'shmc_slot_take'
