#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A client of 2,000 sections in 20 arenas holds as much as one of 20 in 20, and no descriptor.
# Usage: test_footprint.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"
arenas=20

holds() { # FILE EACH [WORKER]
    "$build/tests/system/footprint" $arenas "${@:2}" >"$work/$1"
}

start_manager
for backend in sysv memfd; do
    export SHM_TEST_BACKEND=$backend
    for each in 1 100; do
        shmtool destroy --yes >/dev/null
        wait "$manager" 2>/dev/null || :
        rm -f "$work"/state/*
        start_manager
        edit_table <<SQL
WITH RECURSIVE a(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM a WHERE i < $arenas),
    s(j) AS (SELECT 1 UNION ALL SELECT j + 1 FROM s WHERE j < $each)
INSERT INTO section(name, owner, size) SELECT 'a' || i || '-s' || j, 'a' || i, 64 FROM a, s;
SQL
        for who in reader worker; do
            as=()
            [ $who = reader ] || as=(a7)
            ok "$backend: a $who of $arenas arenas with $each section(s) each" \
                holds "$who.$each" "$each" "${as[@]}"
        done
    done
    for who in reader worker; do
        ok "$backend: with 100 in each a $who holds what it did with 1" \
            diff "$work/$who.1" "$work/$who.100"
        awk -v of="$backend.$who" -v arenas=$arenas '{
            print "figure: footprint." of ".mappings_attached", $1, "mappings"
            printf "figure: footprint.%s.mappings_per_arena %.2f mappings\n", of, ($2 - $1) / arenas
            print "figure: footprint." of ".descriptors", $3, "descriptors" }' "$work/$who.100"
    done
done
